#pragma once

#include "planish/tactics/tactic.h"

namespace planish {

/// Every tactic of host_device(), best guess first, the reference last.
const TacticTable& cpu_tactics();

}  // namespace planish
