// Weights that quantisation limits in pairs are those that the byte kernels for AVX2 add in 16 bits: whatever the
// layer, these kernels are exact for full-range UINT8.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "planish/ir/text.h"
#include "planish/kernels/cpu/depthwise_int8/depthwise_int8.h"
#include "planish/kernels/cpu/igemm/igemm.h"
#include "planish/quant/weights.h"

namespace planish {
namespace {

constexpr int32_t kMaxByte = 255;

struct Layer {
  std::string name;
  std::string weights;  ///< shape
  std::string attrs;
};

/// The layer's weights, limited in pairs.
Tensor limited_weights(const Layer& layer) {
  const auto graph = parse_text("graph \"g\" (x: f32[1,8,9,9]) -> (y) {\n const w: f32" + layer.weights +
                                " = seed(3)\n y = Conv(x, w) " + layer.attrs + " @conv\n}");
  EXPECT_TRUE(graph.ok()) << (graph.ok() ? "" : graph.error().message());
  const QuantisedProduct product{0, graph->nodes[0].inputs[0], graph->nodes[0].inputs[1], 0};
  return quantise_weights(*graph->constant_of(product.weights), 0, true,
                          {kLargestWeight, kPairOfWeights, weight_neighbours(*graph, product)})
      .q;
}

TEST(WeightsInPairs, AreExactInTheByteKernelForConvolutions) {
  for (const Layer& layer :
       {Layer{"3x3", "[24,8,3,3]", ""}, Layer{"pictures", "[24,3,3,3]", ""}, Layer{"grey", "[24,1,5,5]", ""},
        Layer{"odd channels", "[24,5,2,4]", ""}, Layer{"1x1", "[24,7,1,1]", ""},
        Layer{"groups", "[24,3,3,3]", "{group = 2}"}, Layer{"dilated", "[24,3,3,3]", "{dilations = [2, 2]}"}}) {
    SCOPED_TRACE(layer.name);
    const Tensor w = limited_weights(layer);
    kernels::IgemmShape s;
    s.groups = layer.attrs.find("group") == std::string::npos ? 1 : 2;
    s.outputs = w.shape()[0] / s.groups;
    s.channels = w.shape()[1];
    s.kernel_h = w.shape()[2];
    s.kernel_w = w.shape()[3];
    s.dilation_h = s.dilation_w = layer.attrs.find("dilations") == std::string::npos ? 1 : 2;
    int limited = 0;
    for (const kernels::IgemmKernel& kernel : kernels::igemm_kernels()) {
      std::vector<int8_t> packed(igemm_packed_bytes(s, kernel.format));
      igemm_pack(s, kernel.format, w.data<int8_t>(), packed.data());
      EXPECT_TRUE(igemm_is_exact(kernel, kMaxByte, igemm_max_pair(s, kernel.format, packed.data()))) << kernel.name;
      limited += kernel.pair_limit > 0 ? 1 : 0;
    }
    EXPECT_GT(limited, 0) << "some kernel adds products in 16 bits";
  }
}

TEST(WeightsInPairs, AreExactInTheByteKernelForDepthwiseConvolutions) {
  for (const int64_t size : {2, 3, 5}) {
    const std::string k = std::to_string(size);
    const Tensor w = limited_weights({k, "[8,1," + k + "," + k + "]", "{group = 8}"});
    kernels::DepthwiseShape s;
    s.channels = 8;
    s.kernel_h = s.kernel_w = size;
    for (const kernels::DepthwiseInt8Kernel& kernel : kernels::depthwise_int8_kernels()) {
      std::vector<int8_t> packed(depthwise_packed_bytes(s, kernel.format));
      depthwise_pack(s, kernel.format, w.data<int8_t>(), packed.data());
      EXPECT_TRUE(depthwise_is_exact(kernel, kMaxByte, depthwise_max_pair(s, kernel.format, packed.data())))
          << kernel.name << ", " << size << " lines";
    }
  }
}

}  // namespace
}  // namespace planish
