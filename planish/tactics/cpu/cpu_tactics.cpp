#include "planish/tactics/cpu/cpu_tactics.h"

#include "planish/base/isa.h"
#include "planish/tactics/cpu/onednn_tactics.h"
#include "planish/tactics/cpu/own_tactics.h"

namespace planish {

const TacticTable& cpu_tactics() {
  // Blocks as wide as the vector registers; the other block size would only be computed by weaker code.
  const Layout blocked = cpu_features().avx512 ? Layout::blocked16 : Layout::blocked8;
  static const TacticTable table{{
                                     &kOneDnnConv,
                                     &kCpuPanelConv,
                                     &kCpuDepthwise,
                                     &kCpuWinograd4,
                                     &kCpuWinograd2,
                                     &kOneDnnDeconv,
                                     &kOneDnnMatMul,
                                     &kCpuGemm,
                                     &kCpuStrassen,
                                     &kOneDnnQuantizedConv,
                                     &kOneDnnQuantizedMatMul,
                                     &kOneDnnPool,
                                     &kCpuCast,
                                     &kOneDnnReformat,
                                     &kCpuPointwise,
                                     &kCpuMove,
                                     &kCpuNormalize,
                                     &kCpuGroupNorm,
                                     &kCpuSoftmax,
                                     &kCpuAttention,
                                     &kCpuResize,
                                     &kCpuReduceMean,
                                     &kCpuRecurrent,
                                     &kCpuGridSample,
                                     &kCpuRoiAlign,
                                     &kOneDnnLrn,
                                     &kCpuIgemm,
                                     &kCpuDepthwiseInt8,
                                     &kCpuIntegerProduct,
                                     &kCpuDynamicQuantize,
                                     &kCpuByteMean,
                                     &kCpuByteMaxPool,
                                     &kHostReferenceTactic,
                                 },
                                 {Layout::row_major, Layout::channels_last, blocked}};
  return table;
}

}  // namespace planish
