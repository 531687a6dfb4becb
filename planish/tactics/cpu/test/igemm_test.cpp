// Quantised layers by our integer kernels against the reference operators. Bytes must come out the same: the seeds are
// such that no value lies on the edge of a rounding step.

#include <gtest/gtest.h>

#include <string>

#include "planish/kernels/cpu/inverted_residual_int8/inverted_residual_int8.h"
#include "planish/tactics/cpu/test/conformance.h"

namespace planish::test {
namespace {

constexpr double kOneStep = 1;

const ConformanceCase kConv[] = {
    {"qconv_1x1_f32",
     "graph \"g\" (x: i8[2,24,5,7]) -> (y) {\n const w: i8[40,24,1,1] = seed(1, -127, 128)\n"
     " const s: f32[40] = seed(2, 0.001, 0.01)\n y = planish.QuantizedConv(x, w, s) {x_scale = 0.05} @q\n}",
     "cpu.igemm", 5e-5, -128, 128},
    {"qconv_3x3_bias_relu_i8",
     "graph \"g\" (x: i8[1,16,9,8]) -> (y) {\n const w: i8[20,16,3,3] = seed(1, -127, 128)\n"
     " const s: f32[20] = seed(2, 0.001, 0.01)\n const b: f32[20] = seed(3)\n"
     " y = planish.QuantizedConv(x, w, s, b) {x_scale = 0.05, pads = [1,1,1,1], activation = \"Relu\", y_type = "
     "\"i8\", y_scale = 0.5} @q\n}",
     "cpu.igemm", 0, -127, 128},
    {"qconv_never_negative",
     "graph \"g\" (x: i8[1,16,9,8]) -> (y) {\n const w: i8[20,16,3,3] = seed(1, -128, 128)\n"
     " const s: f32[20] = seed(2, 0.001, 0.01)\n y = planish.QuantizedConv(x, w, s) {x_scale = 0.05, x_low = 0, "
     "pads = [1,1,1,1], y_type = \"i8\", y_scale = 0.5} @q\n}",
     "cpu.igemm", 0, 0, 128},
    {"qconv_slightly_negative_small_weights",
     "graph \"g\" (x: i8[1,16,9,8]) -> (y) {\n const w: i8[20,16,3,3] = seed(1, -60, 61)\n"
     " const s: f32[20] = seed(2, 0.001, 0.01)\n y = planish.QuantizedConv(x, w, s) {x_scale = 0.05, x_low = -9, "
     "pads = [1,1,1,1], y_type = \"i8\", y_scale = 0.5} @q\n}",
     "cpu.igemm", 0, -9, 128},
    {"qconv_slightly_negative_large_weights",
     "graph \"g\" (x: i8[1,16,9,8]) -> (y) {\n const w: i8[20,16,3,3] = seed(1, -127, 128)\n"
     " const s: f32[20] = seed(2, 0.001, 0.01)\n y = planish.QuantizedConv(x, w, s) {x_scale = 0.05, x_low = -9, "
     "pads = [1,1,1,1], y_type = \"i8\", y_scale = 0.5} @q\n}",
     "cpu.igemm", 0, -9, 128},
    {"qconv_u8_zero_points",
     "graph \"g\" (x: u8[2,13,10,11]) -> (y) {\n const w: i8[19,13,3,3] = seed(1, -128, 128)\n"
     " const s: f32[1] = seed(2, 0.001, 0.01)\n y = planish.QuantizedConv(x, w, s) {x_scale = 0.02, x_zero = 117, "
     "strides = [2,1], pads = [1,0,1,2], y_type = \"u8\", y_scale = 0.3, y_zero = 99} @q\n}",
     "cpu.igemm", 0, 0, 256},
    {"qconv_first_layer",
     "graph \"g\" (x: i8[1,3,33,35]) -> (y) {\n const w: i8[32,3,7,7] = seed(1, -127, 128)\n"
     " const s: f32[32] = seed(2, 0.001, 0.01)\n const b: f32[32] = seed(3)\n"
     " y = planish.QuantizedConv(x, w, s, b) {x_scale = 0.05, strides = [2,2], pads = [3,3,3,3], activation = "
     "\"Clip\", act_alpha = 0.0, act_beta = 6.0, y_type = \"u8\", y_scale = 0.02} @q\n}",
     "cpu.igemm", 0, -128, 128},
    {"qconv_residual_i8",
     "graph \"g\" (x: i8[1,16,7,7], r: i8[1,24,7,7]) -> (y) {\n const w: i8[24,16,1,1] = seed(1, -127, 128)\n"
     " const s: f32[24] = seed(2, 0.001, 0.01)\n const b: f32[24] = seed(3)\n"
     " y = planish.QuantizedConv(x, w, s, b, r) {x_scale = 0.05, r_scale = 0.1, r_zero = -4, activation = \"Relu\", "
     "y_type = \"i8\", y_scale = 0.25, y_zero = -100} @q\n}",
     "cpu.igemm", 0, -127, 128},
    {"qconv_residual_u8_last",
     "graph \"g\" (x: u8[1,16,7,7], r: u8[1,24,7,7]) -> (y) {\n const w: i8[24,16,3,3] = seed(1, -127, 128)\n"
     " const s: f32[24] = seed(2, 0.001, 0.01)\n"
     " y = planish.QuantizedConv(x, w, s, _, r) {x_scale = 0.05, x_zero = 128, r_scale = 0.1, r_zero = 128, pads = "
     "[1,1,1,1], activation = \"Relu\", residual_last = 1, y_type = \"u8\", y_scale = 0.25, y_zero = 90} @q\n}",
     "cpu.igemm", 0, 0, 256},
    {"qconv_residual_f32_last_plain",
     "graph \"g\" (x: i8[1,16,7,7], r: f32[1,24,7,7]) -> (y) {\n const w: i8[24,16,1,1] = seed(1, -127, 128)\n"
     " const s: f32[24] = seed(2, 0.001, 0.01)\n"
     " y = planish.QuantizedConv(x, w, s, _, r) {x_scale = 0.05, residual_last = 1} @q\n}",
     "cpu.igemm", 5e-5, -127, 128},
    {"qconv_swish",
     "graph \"g\" (x: i8[1,16,9,8]) -> (y) {\n const w: i8[20,16,3,3] = seed(1, -127, 128)\n"
     " const s: f32[20] = seed(2, 0.0001, 0.001)\n y = planish.QuantizedConv(x, w, s) {x_scale = 0.05, pads = "
     "[1,1,1,1], activation = \"Swish\", y_type = \"i8\", y_scale = 0.05} @q\n}",
     "cpu.igemm", 0, -127, 128, kOneStep},
    {"qconv_hard_swish_u8",
     "graph \"g\" (x: i8[1,16,9,8]) -> (y) {\n const w: i8[20,16,1,1] = seed(1, -127, 128)\n"
     " const s: f32[20] = seed(2, 0.0001, 0.001)\n y = planish.QuantizedConv(x, w, s) {x_scale = 0.05, activation = "
     "\"HardSwish\", y_type = \"u8\", y_scale = 0.01, y_zero = 20} @q\n}",
     "cpu.igemm", 0, -127, 128},
    {"qconv_leaky_relu",
     "graph \"g\" (x: i8[1,16,9,8]) -> (y) {\n const w: i8[20,16,1,1] = seed(1, -127, 128)\n"
     " const s: f32[20] = seed(2, 0.0001, 0.001)\n y = planish.QuantizedConv(x, w, s) {x_scale = 0.05, activation = "
     "\"LeakyRelu\", act_alpha = 0.1, y_type = \"i8\", y_scale = 0.05} @q\n}",
     "cpu.igemm", 0, -127, 128},
    {"qconv_grouped",
     "graph \"g\" (x: i8[1,24,8,8]) -> (y) {\n const w: i8[48,6,3,3] = seed(1, -127, 128)\n"
     " const s: f32[48] = seed(2, 0.001, 0.01)\n y = planish.QuantizedConv(x, w, s) {x_scale = 0.05, group = 4, pads "
     "= [1,1,1,1], y_type = \"i8\", y_scale = 0.5} @q\n}",
     "cpu.igemm", 0, -127, 128},
    {"qconv_dilated",
     "graph \"g\" (x: i8[1,6,15,15]) -> (y) {\n const w: i8[16,6,3,3] = seed(1, -127, 128)\n"
     " const s: f32[16] = seed(2, 0.001, 0.01)\n y = planish.QuantizedConv(x, w, s) {x_scale = 0.05, dilations = "
     "[2,3], pads = [2,3,2,3], y_type = \"i8\", y_scale = 0.5} @q\n}",
     "cpu.igemm", 0, -127, 128},
    {"qconv_1d",
     "graph \"g\" (x: i8[2,16,31]) -> (y) {\n const w: i8[16,16,5] = seed(1, -127, 128)\n"
     " const s: f32[16] = seed(2, 0.001, 0.01)\n y = planish.QuantizedConv(x, w, s) {x_scale = 0.05, pads = [2,2]} "
     "@q\n}",
     "cpu.igemm", 5e-5, -127, 128},
    {"qconv_same_upper_one_pixel",
     "graph \"g\" (x: i8[3,32,1,1]) -> (y) {\n const w: i8[10,32,3,3] = seed(1, -127, 128)\n"
     " const s: f32[10] = seed(2, 0.001, 0.01)\n y = planish.QuantizedConv(x, w, s) {x_scale = 0.05, auto_pad = "
     "\"SAME_UPPER\"} @q\n}",
     "cpu.igemm", 5e-5, -127, 128},
};

const ConformanceCase kDepthwise[] = {
    {"qdepthwise_3x3_relu6",
     "graph \"g\" (x: i8[2,40,9,10]) -> (y) {\n const w: i8[40,1,3,3] = seed(1, -127, 128)\n"
     " const s: f32[40] = seed(2, 0.001, 0.01)\n const b: f32[40] = seed(3)\n"
     " y = planish.QuantizedConv(x, w, s, b) {x_scale = 0.05, group = 40, pads = [1,1,1,1], activation = \"Clip\", "
     "act_alpha = 0.0, act_beta = 6.0, y_type = \"i8\", y_scale = 0.05} @q\n}",
     "cpu.depthwise_int8", 0, -127, 128},
    {"qdepthwise_never_negative_stride_2",
     "graph \"g\" (x: i8[1,96,14,14]) -> (y) {\n const w: i8[96,1,3,3] = seed(1, -127, 128)\n"
     " const s: f32[96] = seed(2, 0.001, 0.01)\n y = planish.QuantizedConv(x, w, s) {x_scale = 0.05, x_low = 0, group "
     "= "
     "96, strides = [2,2], pads = [0,0,1,1], y_type = \"u8\", y_scale = 0.1, y_zero = 128} @q\n}",
     "cpu.depthwise_int8", 0, 0, 128},
    {"qdepthwise_slightly_negative",
     "graph \"g\" (x: i8[1,40,7,7]) -> (y) {\n const w: i8[40,1,3,3] = seed(1, -60, 61)\n"
     " const s: f32[40] = seed(2, 0.001, 0.01)\n y = planish.QuantizedConv(x, w, s) {x_scale = 0.05, x_low = -20, "
     "group = 40, pads = [1,1,1,1], y_type = \"i8\", y_scale = 0.2} @q\n}",
     "cpu.depthwise_int8", 0, -20, 128},
    {"qdepthwise_5x5_hard_swish_u8",
     "graph \"g\" (x: u8[1,24,14,14]) -> (y) {\n const w: i8[24,1,5,5] = seed(1, -127, 128)\n"
     " const s: f32[1] = seed(2, 0.001, 0.01)\n y = planish.QuantizedConv(x, w, s) {x_scale = 0.05, x_zero = 120, "
     "group "
     "= 24, pads = [2,2,2,2], activation = \"HardSwish\", y_type = \"u8\", y_scale = 0.2, y_zero = 3} @q\n}",
     "cpu.depthwise_int8", 0, 0, 256},
    {"qdepthwise_1d_residual",
     "graph \"g\" (x: i8[1,24,14], r: i8[1,24,14]) -> (y) {\n const w: i8[24,1,3] = seed(1, -127, 128)\n"
     " const s: f32[24] = seed(2, 0.001, 0.01)\n y = planish.QuantizedConv(x, w, s, _, r) {x_scale = 0.05, group = 24, "
     "pads = [1,1], r_scale = 0.1, y_type = \"i8\", y_scale = 0.1} @q\n}",
     "cpu.depthwise_int8", 0, -127, 128},
};

const ConformanceCase kMatMul[] = {
    {"qmatmul",
     "graph \"g\" (a: i8[7,33]) -> (y) {\n const b: i8[33,20] = seed(1, -127, 128)\n"
     " const s: f32[20] = seed(2, 0.001, 0.01)\n y = planish.QuantizedMatMul(a, b, s) {a_scale = 0.05} @q\n}",
     "cpu.igemm", 5e-5, -128, 128},
    {"qmatmul_batch_bias_gelu",
     "graph \"g\" (a: u8[2,17,48]) -> (y) {\n const b: i8[48,70] = seed(1, -127, 128)\n"
     " const s: f32[70] = seed(2, 0.0001, 0.001)\n const c: f32[70] = seed(3)\n"
     " y = planish.QuantizedMatMul(a, b, s, c) {a_scale = 0.05, a_zero = 120, activation = \"Gelu\", y_type = \"u8\", "
     "y_scale = 0.03, y_zero = 10} @q\n}",
     "cpu.igemm", 0, 0, 256, kOneStep},
    {"qmatmul_trans_b_alpha_residual",
     "graph \"g\" (a: i8[5,24], r: i8[5,10]) -> (y) {\n const b: i8[10,24] = seed(1, -127, 128)\n"
     " const s: f32[1] = seed(2, 0.001, 0.01)\n const c: f32[10] = seed(3)\n"
     " y = planish.QuantizedMatMul(a, b, s, c, r) {a_scale = 0.05, trans_b = 1, alpha = 0.125, r_scale = 0.02, "
     "y_type = \"i8\", y_scale = 0.04} @q\n}",
     "cpu.igemm", 0, -127, 128},
    {"qmatmul_one_row",
     "graph \"g\" (a: i8[1,2049]) -> (y) {\n const b: i8[2049,100] = seed(1, -127, 128)\n"
     " const s: f32[100] = seed(2, 0.001, 0.01)\n y = planish.QuantizedMatMul(a, b, s) {a_scale = 0.05} @q\n}",
     "cpu.igemm", 5e-5, -127, 128},
};

const char* const kInvertedResidual =
    "graph \"g\" (x: i8[1,16,13,12]) -> (y) {\n const w: i8[72,16,1,1] = seed(1, -127, 128)\n"
    " const d: i8[72,1,3,3] = seed(2, -127, 128)\n const p: i8[16,72,1,1] = seed(3, -127, 128)\n"
    " const s: f32[72] = seed(4, 0.0005, 0.002)\n const t: f32[1] = [0.002]\n const b: f32[72] = seed(5)\n"
    " y = planish.QuantizedInvertedResidual(x, w, s, b, d, s, b, p, t, _, x) {expand_x_scale = 0.05, "
    "expand_activation = \"Relu\", expand_y_type = \"u8\", expand_y_scale = 0.01, depthwise_group = 72, "
    "depthwise_pads = [1,1,1,1], depthwise_x_scale = 0.01, depthwise_activation = \"Clip\", depthwise_act_alpha = 0.0, "
    "depthwise_act_beta = 6.0, depthwise_y_type = \"i8\", depthwise_y_scale = 0.02, depthwise_y_zero = -128, "
    "project_x_scale = 0.02, project_x_zero = -128, project_r_scale = 0.05, project_y_type = \"i8\", "
    "project_y_scale = 0.1} @q\n}";

/// A value between the layers that lies on the edge of a rounding step moves the result by less than one step; one of
/// f32 by less than 0.02.
const ConformanceCase kInvertedResiduals[] = {
    {"inverted_residual_parts", kInvertedResidual, "cpu.inverted_residual_parts", 0, -127, 128, kOneStep},
    {"inverted_residual_hard_swish",
     "graph \"g\" (x: u8[2,8,9,9]) -> (y) {\n const w: i8[40,8,1,1] = seed(1, -127, 128)\n"
     " const d: i8[40,1,5,5] = seed(2, -127, 128)\n const p: i8[24,40,1,1] = seed(3, -127, 128)\n"
     " const s: f32[1] = [0.002]\n y = planish.QuantizedInvertedResidual(x, w, s, _, d, s, _, p, s) {expand_x_scale = "
     "0.05, expand_activation = \"HardSwish\", expand_y_type = \"u8\", expand_y_scale = 0.01, expand_y_zero = 9, "
     "depthwise_group = 40, depthwise_pads = [2,2,2,2], depthwise_strides = [2,2], depthwise_x_scale = 0.01, "
     "depthwise_x_zero = 9, depthwise_y_type = \"i8\", depthwise_y_scale = 0.02, project_x_scale = 0.02} @q\n}",
     "cpu.inverted_residual_parts", 1e-3, 0, 256, 0.02},
};

const ConformanceCase kForks[] = {
    {"fork_of_bytes",
     "graph \"g\" (x: u8[2,20,11,9]) -> (y) {\n const w: i8[70,20,1,1] = seed(1, -127, 128)\n"
     " const v: i8[33,20,3,3] = seed(2, -127, 128)\n const s: f32[70] = seed(3, 0.0005, 0.002)\n"
     " const t: f32[1] = [0.001]\n const b: f32[33] = seed(4)\n"
     " y = planish.QuantizedFork(x, w, s, _, v, t, b) {first_x_scale = 0.05, first_x_zero = 7, first_activation = "
     "\"Relu\", first_y_scale = 0.02, first_y_type = \"u8\", second_pads = [1,1,1,1], second_x_scale = 0.05, "
     "second_x_zero = 7, second_activation = \"Relu\", second_y_scale = 0.02, second_y_type = \"u8\"} @q\n}",
     "cpu.fork", 0, 0, 256, 1},
    {"fork_with_a_curve",
     "graph \"g\" (x: i8[1,16,8,7]) -> (y) {\n const w: i8[64,16,3,3] = seed(1, -127, 128)\n"
     " const v: i8[64,16,1,1] = seed(2, -127, 128)\n const s: f32[1] = [0.001]\n"
     " y = planish.QuantizedFork(x, w, s, _, v, s) {first_x_scale = 0.05, first_strides = [2,2], first_pads = "
     "[1,1,1,1], "
     "first_activation = \"Swish\", first_y_scale = 0.02, first_y_type = \"i8\", second_strides = [2,2], "
     "second_x_scale = 0.05, second_y_scale = 0.02, second_y_type = \"i8\"} @q\n}",
     "cpu.fork", 0, -127, 128, 1},
};

/// Where rows of the output lie is no attribute's affair: a file could name any memory.
const ConformanceCase kForeignAttributes[] = {
    {"qconv_rows_far_apart",
     "graph \"g\" (x: i8[1,16,5,7]) -> (y) {\n const w: i8[24,16,1,1] = seed(1, -127, 128)\n"
     " const s: f32[1] = [0.002]\n y = planish.QuantizedConv(x, w, s) {x_scale = 0.05, y_row = 1099511627776} @q\n}",
     "cpu.igemm", 5e-5, -128, 128},
    {"qmatmul_rows_backwards",
     "graph \"g\" (x: i8[9,16]) -> (y) {\n const w: i8[16,24] = seed(1, -127, 128)\n"
     " const s: f32[1] = [0.002]\n y = planish.QuantizedMatMul(x, w, s) {a_scale = 0.05, y_row = -5} @q\n}",
     "cpu.igemm", 5e-5, -128, 128},
    {"fork_rows_far_apart",
     "graph \"g\" (x: u8[1,20,5,5]) -> (y) {\n const w: i8[8,20,1,1] = seed(1, -127, 128)\n"
     " const s: f32[1] = [0.001]\n y = planish.QuantizedFork(x, w, s, _, w, s) {first_y_row = 1099511627776, "
     "first_x_scale = 0.05, first_y_scale = 0.02, first_y_type = \"u8\", second_y_row = -5, second_x_scale = 0.05, "
     "second_y_scale = 0.02, second_y_type = \"u8\"} @q\n}",
     "cpu.fork", 0, 0, 256, 1},
};

TEST(InvertedResidualTactics, OneKernelWhereTheMachineHasIt) {
  bool any = false;
  bool any_weights = false;
  for (const kernels::InvertedResidualKernel& k : kernels::inverted_residual_kernels())
    if (cpu_features().has(k.isa)) {
      any = true;
      any_weights = any_weights || k.pair_limit == 0;
    }
  if (!any) GTEST_SKIP() << "no kernel of this machine";
  std::string narrow = kInvertedResidual;  // weights that sums of two products hold in 16 bits
  for (const std::string seed : {"seed(2, ", "seed(3, "}) {
    const std::string wide = seed + "-127, 128";
    narrow.replace(narrow.find(wide), wide.size(), seed + "-64, 65");
  }
  for (const char* id : {"cpu.inverted_residual", "cpu.inverted_residual_channels"}) {
    check_conformance({id, narrow.c_str(), id, 0, -127, 128, kOneStep});
    if (any_weights) check_conformance({id, kInvertedResidual, id, 0, -127, 128, kOneStep});
  }
}

class IntegerTactics : public testing::TestWithParam<ConformanceCase> {};

TEST_P(IntegerTactics, AgreeWithTheReference) { check_conformance(GetParam()); }

const auto kName = [](const auto& row) { return std::string(row.param.label); };
INSTANTIATE_TEST_SUITE_P(Conv, IntegerTactics, testing::ValuesIn(kConv), kName);
INSTANTIATE_TEST_SUITE_P(Depthwise, IntegerTactics, testing::ValuesIn(kDepthwise), kName);
INSTANTIATE_TEST_SUITE_P(InvertedResidual, IntegerTactics, testing::ValuesIn(kInvertedResiduals), kName);
INSTANTIATE_TEST_SUITE_P(Fork, IntegerTactics, testing::ValuesIn(kForks), kName);
INSTANTIATE_TEST_SUITE_P(ForeignAttributes, IntegerTactics, testing::ValuesIn(kForeignAttributes), kName);
INSTANTIATE_TEST_SUITE_P(MatMul, IntegerTactics, testing::ValuesIn(kMatMul), kName);

}  // namespace
}  // namespace planish::test
