#pragma once

#include "planish/tactics/tactic.h"

namespace planish {

extern const Tactic kOneDnnConv;
extern const Tactic kOneDnnDeconv;
extern const Tactic kOneDnnMatMul;
extern const Tactic kOneDnnQuantizedConv;
extern const Tactic kOneDnnQuantizedMatMul;
extern const Tactic kOneDnnPool;
extern const Tactic kOneDnnLrn;
extern const Tactic kOneDnnReformat;

}  // namespace planish
