#include "planish/tactics/cpu/cpu_tactics.h"

#include "planish/tactics/cpu/onednn_tactics.h"
#include "planish/tactics/cpu/own_tactics.h"

namespace planish {

const TacticTable& cpu_tactics() {
  static const TacticTable table{{
      &kOneDnnConv,
      &kOneDnnMatMul,
      &kOneDnnPool,
      &kOneDnnReformat,
      &kCpuPointwise,
      &kCpuMove,
      &kCpuNormalize,
      &kCpuSoftmax,
      &kCpuAttention,
      &kCpuResize,
      &kCpuReduceMean,
      &kHostReferenceTactic,
  }};
  return table;
}

}  // namespace planish
