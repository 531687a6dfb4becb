// Every variant of the attention kernel that this machine can run, against the formula in double.

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "planish/base/half.h"
#include "planish/kernels/cpu/attention/attention.h"

namespace planish::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

struct HeadCase {
  const char* label;
  int64_t sq, sk, d, dv;
  enum class Mask : uint8_t { none, full, row, column } mask = Mask::none;
  bool causal = false;
  int64_t causal_offset = 0;
};

constexpr HeadCase kCases[] = {
    {"one", 1, 1, 1, 1},
    {"odd", 5, 7, 3, 9},
    {"one_query", 1, 33, 64, 64},
    {"bert", 17, 17, 64, 64},
    {"deit", 50, 50, 32, 32},
    {"wide_values", 6, 40, 8, 70},
    {"mask", 9, 21, 16, 16, HeadCase::Mask::full},
    {"mask_row", 9, 21, 16, 16, HeadCase::Mask::row},
    {"mask_column", 9, 21, 16, 16, HeadCase::Mask::column},
    {"causal", 19, 19, 16, 24, HeadCase::Mask::none, true, 0},
    {"causal_offset", 5, 19, 16, 24, HeadCase::Mask::none, true, 14},
    {"causal_nothing_visible", 6, 6, 16, 16, HeadCase::Mask::none, true, -3},
    {"causal_mask", 13, 13, 16, 16, HeadCase::Mask::full, true, 0},
};

std::vector<float> normal(int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> d;
  std::vector<float> x(static_cast<size_t>(n));
  for (float& v : x) v = d(random);
  return x;
}

class AttentionVariants : public testing::TestWithParam<const AttentionKernel*> {
 protected:
  void SetUp() override {
    if (!cpu_features().has(GetParam()->isa)) GTEST_SKIP() << "this CPU lacks " << isa_name(GetParam()->isa);
  }
};

TEST_P(AttentionVariants, AgreeWithTheFormula) {
  const AttentionKernel& kernel = *GetParam();
  for (const HeadCase& c : kCases) {
    const int64_t pad = 5;  // rows lie apart, as heads of a fused projection do
    const auto q = normal(c.sq * (c.d + pad), 1);
    const auto k = normal(c.sk * (c.d + pad), 2);
    const auto v = normal(c.sk * (c.dv + pad), 3);
    std::vector<float> mask = normal(c.sq * c.sk, 4);
    // A row of nothing but -1e9 would leave no digits for the scores, therefore -inf for whole rows.
    const float low = c.mask == HeadCase::Mask::column ? -kInf : -1e9F;
    for (size_t i = 0; i < mask.size(); i += 3) mask[i] = i % 2 == 0 ? -kInf : low;
    std::vector<float> packed(static_cast<size_t>(kernel.packed_keys_size(c.sk, c.d)));
    kernel.pack_keys(c.sk, c.d, k.data(), c.d + pad, packed.data());
    std::vector<float> out(static_cast<size_t>(c.sq * (c.dv + pad)), 42.0F);
    AttentionHead head{.sq = c.sq,
                       .sk = c.sk,
                       .d = c.d,
                       .dv = c.dv,
                       .q = q.data(),
                       .v = v.data(),
                       .packed_k = packed.data(),
                       .q_row = c.d + pad,
                       .v_row = c.dv + pad,
                       .causal = c.causal,
                       .causal_offset = c.causal_offset,
                       .scale = 0.7F,
                       .out = out.data(),
                       .out_row = c.dv + pad};
    if (c.mask != HeadCase::Mask::none) head.mask = mask.data();
    head.mask_row = c.mask == HeadCase::Mask::row ? 0 : (c.mask == HeadCase::Mask::column ? 1 : c.sk);
    head.mask_col = c.mask == HeadCase::Mask::column ? 0 : 1;
    std::vector<float> scratch(static_cast<size_t>(kernel.scratch_size(c.sk)));
    const int64_t half = std::min(kernel.block_rows, c.sq);
    kernel.run(head, 0, half, scratch.data());
    kernel.run(head, half, c.sq, scratch.data());

    for (int64_t i = 0; i < c.sq; ++i) {
      std::vector<double> p(static_cast<size_t>(c.sk), -INFINITY);
      double top = -INFINITY;
      for (int64_t j = 0; j < c.sk; ++j) {
        if (c.causal && j > i + c.causal_offset) continue;
        double s = 0;
        for (int64_t e = 0; e < c.d; ++e)
          s += static_cast<double>(q[static_cast<size_t>(i * (c.d + pad) + e)]) *
               k[static_cast<size_t>(j * (c.d + pad) + e)];
        s *= 0.7F;
        if (head.mask != nullptr) s += mask[static_cast<size_t>(i * head.mask_row + j * head.mask_col)];
        p[static_cast<size_t>(j)] = s;
        top = std::max(top, s);
      }
      double sum = 0;
      for (double& e : p) sum += e = top == -INFINITY ? 0 : std::exp(e - top);
      for (int64_t e = 0; e < c.dv + pad; ++e) {
        const float got = out[static_cast<size_t>(i * (c.dv + pad) + e)];
        if (e >= c.dv) {
          ASSERT_EQ(got, 42.0F) << kernel.name << " " << c.label << " wrote behind its row";
          continue;
        }
        double exact = 0;
        for (int64_t j = 0; j < c.sk; ++j)
          exact += p[static_cast<size_t>(j)] * v[static_cast<size_t>(j * (c.dv + pad) + e)];
        if (sum != 0) exact /= sum;
        ASSERT_NEAR(got, exact, 2e-5) << kernel.name << " " << c.label << " row " << i << " column " << e;
      }
    }
  }
}

TEST_P(AttentionVariants, WeighScoresInBfloat16) {
  for (const HeadCase& c : kCases) {
    const int64_t wide = (c.sk + 31) / 32 * 32;
    std::vector<float> scores = normal(c.sq * wide, 6);
    const std::vector<float> given = scores;
    std::vector<float> mask = normal(c.sq * c.sk, 4);
    for (size_t i = 0; i < mask.size(); i += 3) mask[i] = -kInf;
    AttentionHead head{.sq = c.sq, .sk = c.sk, .causal = c.causal, .causal_offset = c.causal_offset, .scale = 0.7F};
    if (c.mask != HeadCase::Mask::none) head.mask = mask.data();
    head.mask_row = c.mask == HeadCase::Mask::row ? 0 : (c.mask == HeadCase::Mask::column ? 1 : c.sk);
    head.mask_col = c.mask == HeadCase::Mask::column ? 0 : 1;
    std::vector<uint16_t> weights(static_cast<size_t>(c.sq * wide), 42);
    GetParam()->weigh(head, 0, c.sq, scores.data(), wide, weights.data(), wide);
    for (int64_t i = 0; i < c.sq; ++i) {
      std::vector<double> p(static_cast<size_t>(wide), 0);
      double sum = 0;
      for (int64_t j = 0; j < c.sk; ++j) {
        if (c.causal && j > i + c.causal_offset) continue;
        double s = static_cast<double>(given[static_cast<size_t>(i * wide + j)]) * 0.7F;
        if (head.mask != nullptr) s += mask[static_cast<size_t>(i * head.mask_row + j * head.mask_col)];
        sum += p[static_cast<size_t>(j)] = std::exp(s);
      }
      for (int64_t j = 0; j < wide; ++j) {
        const double exact = sum == 0 ? 0 : p[static_cast<size_t>(j)] / sum;
        const auto got = static_cast<float>(bf16::from_bits(weights[static_cast<size_t>(i * wide + j)]));
        ASSERT_NEAR(got, exact, exact / 256) << GetParam()->name << " " << c.label << " row " << i << " key " << j;
      }
    }
  }
}

TEST_P(AttentionVariants, PackTheKeysWithinTheirSize) {
  for (const auto& [sk, d] : {std::pair<int64_t, int64_t>{1, 1}, {16, 4}, {17, 5}, {33, 64}}) {
    const auto k = normal(sk * d, 5);
    const auto size = static_cast<size_t>(GetParam()->packed_keys_size(sk, d));
    std::vector<float> packed(size + 16, 42.0F);
    GetParam()->pack_keys(sk, d, k.data(), d, packed.data());
    for (size_t i = size; i < packed.size(); ++i) ASSERT_EQ(packed[i], 42.0F) << GetParam()->name;
  }
}

std::vector<const AttentionKernel*> rows() {
  std::vector<const AttentionKernel*> out;
  for (const AttentionKernel& k : attention_kernels()) out.push_back(&k);
  return out;
}

INSTANTIATE_TEST_SUITE_P(Table, AttentionVariants, testing::ValuesIn(rows()),
                         [](const auto& row) { return std::string(row.param->name); });

TEST(AttentionTable, EndsWithARowForEveryMachine) {
  ASSERT_FALSE(attention_kernels().empty());
  EXPECT_EQ(attention_kernels().back().isa, Isa::baseline);
  EXPECT_TRUE(cpu_features().has(best_attention_kernel().isa));
}

}  // namespace
}  // namespace planish::kernels
