#pragma once

#include "planish/tactics/tactic.h"

namespace planish {

extern const Tactic kCpuPointwise;
extern const Tactic kCpuChannelGate;
extern const Tactic kCpuMove;
extern const Tactic kCpuNormalize;
extern const Tactic kCpuGroupNorm;
extern const Tactic kCpuSoftmax;
extern const Tactic kCpuAttention;
extern const Tactic kCpuResize;
extern const Tactic kCpuReduceMean;
extern const Tactic kCpuGlobalMean;
extern const Tactic kCpuRecurrent;
extern const Tactic kCpuGridSample;
extern const Tactic kCpuRoiAlign;
extern const Tactic kCpuCast;
extern const Tactic kCpuPanelConv;
extern const Tactic kCpuStemConv;
extern const Tactic kCpuSplitConv;
extern const Tactic kCpuSplitGemm;
extern const Tactic kCpuDepthwise;
extern const Tactic kCpuConvChain;
extern const Tactic kCpuConvChainChannels;
extern const Tactic kCpuSplitChain;
extern const Tactic kCpuSqueezeExcite;
extern const Tactic kCpuNormGemm;
extern const Tactic kCpuNormStrassen;
extern const Tactic kCpuWinograd2;
extern const Tactic kCpuWinograd4;
extern const Tactic kCpuGemm;
extern const Tactic kCpuStrassen;
extern const Tactic kCpuWeightOnly;
extern const Tactic kCpuWidenedOneDnn;
extern const Tactic kCpuWidenedGemm;
extern const Tactic kCpuWidenedStrassen;
extern const Tactic kCpuBf16Attention;
extern const Tactic kCpuBf16Gemm;
extern const Tactic kCpuIgemm;
extern const Tactic kCpuDepthwiseInt8;
extern const Tactic kCpuInvertedResidual;
extern const Tactic kCpuInvertedResidualChannels;
extern const Tactic kCpuInvertedResidualParts;
extern const Tactic kCpuFork;
extern const Tactic kCpuForkOneDnn;
extern const Tactic kCpuDepthwiseInteger;
extern const Tactic kCpuIntegerProduct;
extern const Tactic kCpuDynamicQuantize;
extern const Tactic kCpuByteMean;
extern const Tactic kCpuByteMaxPool;
extern const Tactic kCpuByteAveragePool;
extern const Tactic kCpuLogSoftmax;
extern const Tactic kCpuTopK;
extern const Tactic kCpuArgReduce;
extern const Tactic kCpuGatherElements;
extern const Tactic kCpuScatterElements;
extern const Tactic kCpuScatterNd;
extern const Tactic kCpuDeformConv;

}  // namespace planish
