#include "planish/tactics/cpu/cpu_tactics.h"

#include "planish/base/isa.h"
#include "planish/kernels/cpu/convert/convert.h"
#include "planish/tactics/cpu/onednn_tactics.h"
#include "planish/tactics/cpu/own_tactics.h"

namespace planish {

const TacticTable& cpu_tactics() {
  // Blocks as wide as the vector registers; the other block size would only be computed by weaker code.
  const Layout blocked = cpu_features().avx512 ? Layout::blocked16 : Layout::blocked8;
  static const TacticTable table{{
                                     &kOneDnnConv,
                                     &kCpuStemConv,
                                     &kCpuPanelConv,
                                     &kCpuSplitConv,
                                     &kCpuSplitGemm,
                                     &kCpuDepthwise,
                                     &kCpuConvChain,
                                     &kCpuConvChainChannels,
                                     &kCpuSplitChain,
                                     &kCpuSqueezeExcite,
                                     &kCpuNormGemm,
                                     &kCpuNormStrassen,
                                     &kCpuWinograd4,
                                     &kCpuWinograd2,
                                     &kOneDnnDeconv,
                                     &kOneDnnMatMul,
                                     &kCpuGemm,
                                     &kCpuStrassen,
                                     &kCpuWeightOnly,
                                     &kCpuWidenedOneDnn,
                                     &kCpuWidenedGemm,
                                     &kCpuWidenedStrassen,
                                     &kCpuBf16Gemm,
                                     &kOneDnnQuantizedConv,
                                     &kOneDnnQuantizedMatMul,
                                     &kOneDnnPool,
                                     &kCpuCast,
                                     &kOneDnnReformat,
                                     &kCpuChannelGate,
                                     &kCpuPointwise,
                                     &kCpuMove,
                                     &kCpuNormalize,
                                     &kCpuGroupNorm,
                                     &kCpuSoftmax,
                                     &kCpuBf16Attention,
                                     &kCpuAttention,
                                     &kCpuResize,
                                     &kCpuReduceMean,
                                     &kCpuGlobalMean,
                                     &kCpuRecurrent,
                                     &kCpuGridSample,
                                     &kCpuRoiAlign,
                                     &kOneDnnLrn,
                                     &kCpuIgemm,
                                     &kCpuDepthwiseInt8,
                                     &kCpuInvertedResidual,
                                     &kCpuInvertedResidualChannels,
                                     &kCpuInvertedResidualParts,
                                     &kCpuFork,
                                     &kCpuForkOneDnn,
                                     &kCpuDepthwiseInteger,
                                     &kCpuIntegerProduct,
                                     &kCpuDynamicQuantize,
                                     &kCpuByteMean,
                                     &kCpuByteMaxPool,
                                     &kCpuByteAveragePool,
                                     &kCpuLogSoftmax,
                                     &kCpuTopK,
                                     &kCpuArgReduce,
                                     &kCpuGatherElements,
                                     &kCpuScatterElements,
                                     &kCpuScatterNd,
                                     &kCpuDeformConv,
                                     &kHostReferenceTactic,
                                 },
                                 {Layout::row_major, Layout::channels_last, blocked}};
  return table;
}

void widen_half(DType from, int64_t n, const uint16_t* x, float* y) {
  const kernels::ConvertKernels& convert = kernels::best_convert_kernels();
  (from == DType::f16 ? convert.f16_to_f32 : convert.bf16_to_f32)(n, x, y);
}

}  // namespace planish
