#include "planish/tactics/cpu/cpu_tactics.h"

#include "planish/tactics/cpu/onednn_tactics.h"

namespace planish {

const TacticTable& cpu_tactics() {
  static const TacticTable table{{
      &kOneDnnConv,
      &kOneDnnMatMul,
      &kOneDnnPool,
      &kOneDnnReformat,
      &kHostReferenceTactic,
  }};
  return table;
}

}  // namespace planish
