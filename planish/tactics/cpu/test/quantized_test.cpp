// Quantised layers by oneDNN, programs that read and write bytes, and what moves bytes, against the reference
// operators. Tactics may differ from the reference by one step of the output where a value lies on the edge of a
// rounding step.

#include <gtest/gtest.h>

#include <cstdlib>

#include "planish/base/isa.h"
#include "planish/tactics/cpu/test/conformance.h"

namespace planish::test {
namespace {

const ConformanceCase kProducts[] = {
    {"depthwise_3x3_u8",
     "graph \"g\" (x: u8[1,24,9,8]) -> (y) {\n const w: i8[24,1,3,3] = seed(1, -127, 128)\n"
     " const s: f32[24] = seed(2, 0.001, 0.01)\n const b: f32[24] = seed(3)\n"
     " y = planish.QuantizedConv(x, w, s, b) {x_scale = 0.05, x_zero = 3, group = 24, pads = [1,1,1,1], strides = "
     "[2,2], activation = \"Relu\", y_type = \"u8\", y_scale = 0.05, y_zero = 3} @q\n}",
     "cpu.onednn.qconv", 0, 0, 256},
    {"depthwise_7x7_i8",
     "graph \"g\" (x: i8[2,20,9,8]) -> (y) {\n const w: i8[20,1,7,7] = seed(1, -127, 128)\n"
     " const s: f32[1] = [0.004]\n y = planish.QuantizedConv(x, w, s) {x_scale = 0.05, x_low = 0, group = 20, "
     "pads = [3,3,3,3]} @q\n}",
     "cpu.onednn.qconv", 5e-5, 0, 128},
    {"channels_last_3x3_dilated",
     "graph \"g\" (x: i8[1,32,11,10]) -> (y) {\n const w: i8[48,32,3,3] = seed(1, -127, 128)\n"
     " const s: f32[48] = seed(2, 0.001, 0.01)\n y = planish.QuantizedConv(x, w, s) {x_scale = 0.05, dilations = "
     "[2,2], pads = [2,2,2,2], activation = \"HardSwish\"} @q\n}",
     "cpu.onednn.qconv", 5e-5, -128, 128},
    {"taps_that_meet_padding_only",
     "graph \"g\" (x: i8[1,64,2,15]) -> (y) {\n const w: i8[64,64,7,1] = seed(1, -127, 128)\n"
     " const s: f32[64] = seed(2, 0.001, 0.01)\n y = planish.QuantizedConv(x, w, s) {x_scale = 0.05, dilations = "
     "[3,1], pads = [1,0,16,0]} @q\n}",
     "cpu.igemm", 5e-5, -128, 128},
    // Strides as wide as the kernel, channels that fill no block of 64.
    {"patches_of_2x2",
     "graph \"g\" (x: u8[1,96,8,12]) -> (y) {\n const w: i8[64,96,2,2] = seed(1, -127, 128)\n"
     " const s: f32[64] = seed(2, 0.001, 0.01)\n y = planish.QuantizedConv(x, w, s) {x_scale = 0.05, strides = [2,2]} "
     "@q\n}",
     "cpu.igemm", 5e-5, 0, 256},
    {"patches_of_4x4",
     "graph \"g\" (x: i8[1,48,16,20]) -> (y) {\n const w: i8[32,48,4,4] = seed(1, -127, 128)\n"
     " const s: f32[32] = seed(2, 0.001, 0.01)\n y = planish.QuantizedConv(x, w, s) {x_scale = 0.05, strides = [4,4]} "
     "@q\n}",
     "cpu.igemm", 5e-5, -128, 128},
    {"matmul_two_activations",
     "graph \"g\" (a: u8[2,3,9,32], b: i8[2,3,32,17]) -> (y) {\n const s: f32[1] = [0.03]\n"
     " y = planish.QuantizedMatMul(a, b, s) {a_scale = 0.05, a_zero = 100, b_zero = -7, alpha = 0.125, y_type = "
     "\"i8\", y_scale = 0.35} @q\n}",
     "cpu.onednn.qmatmul", 0, -128, 128},
    {"matmul_two_activations_transposed",
     "graph \"g\" (a: i8[2,9,32], b: i8[2,17,32]) -> (y) {\n const s: f32[1] = [0.03]\n"
     " y = planish.QuantizedMatMul(a, b, s) {a_scale = 0.05, trans_b = 1} @q\n}",
     "cpu.onednn.qmatmul", 5e-5, -128, 128},
};

const ConformanceCase kResidual = {
    "residual_of_bytes",
    "graph \"g\" (x: u8[2,32,7,6], r: u8[2,48,7,6]) -> (y) {\n const w: i8[48,32,1,1] = seed(1, -127, 128)\n"
    " const s: f32[48] = seed(2, 0.001, 0.01)\n const b: f32[48] = seed(3)\n"
    " y = planish.QuantizedConv(x, w, s, b, r) {x_scale = 0.05, x_zero = 3, r_scale = 0.07, r_zero = 9, activation = "
    "\"Relu\", y_type = \"u8\", y_scale = 0.09, y_zero = 5} @q\n}",
    "cpu.onednn.qconv",
    0,
    0,
    256,
    1};

const ConformanceCase kPrograms[] = {
    {"mean_of_bytes",
     "graph \"g\" (x: i8[2,75,9,7]) -> (y) {\n y = planish.QuantizedGlobalAveragePool(x) {x_scale = 0.05, x_zero = "
     "-9} @q\n}",
     "cpu.byte_mean", 5e-5, -128, 128},
    {"gate",
     "graph \"g\" (x: u8[2,75,9,7], g: f32[2,75,1,1]) -> (y) {\n y = planish.Pointwise(g, x) {steps = "
     "[\"DequantizeLinear 1 scale=0.05 zero=3\", \"Mul 0 2\", \"QuantizeLinear 3 scale=0.031 zero=-10 type=i8\"]} "
     "@q\n}",
     "cpu.pointwise", 0, 0, 2},
    {"gate_of_bytes",
     "graph \"g\" (x: i8[2,75,9,7], g: u8[2,75,1,1]) -> (y) {\n y = planish.Pointwise(x, g) {steps = "
     "[\"DequantizeLinear 1 scale=0.0039 zero=0\", \"DequantizeLinear 0 scale=0.05 zero=3\", \"Mul 3 2\", "
     "\"QuantizeLinear 4 scale=0.037 zero=10 type=u8\"]} @q\n}",
     "cpu.pointwise", 0, 0, 100},
    {"quantize_picture",
     "graph \"g\" (x: f32[2,3,17,23]) -> (y) {\n y = planish.Pointwise(x) {steps = [\"QuantizeLinear 0 "
     "scale=0.0123 zero=100 type=u8\"]} @q\n}",
     "cpu.pointwise", 0, -1.3, 2},
    {"quantize",
     "graph \"g\" (x: f32[2,16,5,3]) -> (y) {\n y = planish.Pointwise(x) {steps = [\"QuantizeLinear 0 "
     "scale=0.0123 zero=3 type=i8\"]} @q\n}",
     "cpu.pointwise", 0, -2, 2},
    {"dequantize",
     "graph \"g\" (x: u8[2,16,5,3]) -> (y) {\n y = planish.Pointwise(x) {steps = [\"DequantizeLinear 0 "
     "scale=0.0123 zero=103\"]} @q\n}",
     "cpu.pointwise", 5e-5, 0, 256},
    {"lookup_of_a_selection",
     "graph \"g\" (x: i8[2,16,5,7]) -> (y) {\n y = planish.Pointwise(x) {steps = [\"DequantizeLinear 0 scale=0.03 "
     "zero=0\", \"Neg 1\", \"Greater 1 2\", \"Where 3 1 2\", \"QuantizeLinear 4 scale=0.03 zero=-74 type=i8\"]} @q\n}",
     "cpu.pointwise", 0, -128, 128},
    {"quantised_sum",
     "graph \"g\" (a: i8[2,16,5,7], b: u8[2,16,5,7]) -> (y) {\n y = planish.Pointwise(a, b) {steps = "
     "[\"DequantizeLinear 0 scale=0.5 zero=3\", \"DequantizeLinear 1 scale=0.25 zero=128\", \"Add 2 3\", \"Relu 4\", "
     "\"QuantizeLinear 5 scale=0.31 zero=10 type=u8\"]} @q\n}",
     "cpu.pointwise", 0, 0, 128},
    {"one_byte_in_and_out",
     "graph \"g\" (a: i8[2,16,5,7]) -> (y) {\n y = planish.Pointwise(a) {steps = [\"DequantizeLinear 0 scale=0.03 "
     "zero=3\", \"Sigmoid 1\", \"QuantizeLinear 2 scale=0.0039 zero=0 type=u8\", \"DequantizeLinear 3 scale=0.0039 "
     "zero=0\", \"Mul 1 4\", \"QuantizeLinear 5 scale=0.029 zero=-100 type=i8\"]} @q\n}",
     "cpu.pointwise", 0, -128, 128},
    {"byte_times_gate",
     "graph \"g\" (a: u8[2,16,5,7], g: f32[2,16,1,1]) -> (y) {\n y = planish.Pointwise(a, g) {steps = "
     "[\"DequantizeLinear 0 scale=0.03 zero=9\", \"Mul 2 1\", \"QuantizeLinear 3 scale=0.029 zero=11 type=u8\"]} @q\n}",
     "cpu.pointwise", 0, 0, 256},
    {"byte_in_the_middle",
     "graph \"g\" (x: i8[2,16,5,7], b: f32[16,1,1]) -> (y) {\n y = planish.Pointwise(x, b) {steps = "
     "[\"DequantizeLinear 0 scale=0.03 zero=3\", \"Add 2 1\", \"QuantizeLinear 3 scale=0.041 zero=-7 type=i8\", "
     "\"DequantizeLinear 4 scale=0.041 zero=-7\", \"Sigmoid 5\", \"Mul 5 6\", \"QuantizeLinear 7 scale=0.043 zero=20 "
     "type=u8\"]} @q\n}",
     "cpu.pointwise", 0, -128, 128},
    {"byte_in_the_middle_and_a_number",
     "graph \"g\" (x: u8[2,16,5,7], g: f32[2,16,1,1], n: f32[1]) -> (y) {\n y = planish.Pointwise(x, g, n) {steps = "
     "[\"DequantizeLinear 0 scale=0.03 zero=9\", \"Mul 3 1\", \"QuantizeLinear 4 scale=0.9 zero=11 type=u8\", "
     "\"DequantizeLinear 5 scale=0.9 zero=11\", \"Greater 6 2\", \"Neg 6\", \"Where 7 6 8\", \"QuantizeLinear 9 "
     "scale=1.9 "
     "zero=-3 type=i8\"]} @q\n}",
     "cpu.pointwise", 0, 0, 256},
    {"byte_in_the_middle_beside_others",
     "graph \"g\" (x: i8[2,16,5,7], b: f32[16,1,1]) -> (y) {\n y = planish.Pointwise(x, b) {steps = "
     "[\"DequantizeLinear 0 scale=0.03 zero=3\", \"Add 2 1\", \"QuantizeLinear 3 scale=0.041 zero=-7 type=i8\", "
     "\"DequantizeLinear 4 scale=0.041 zero=-7\", \"Sigmoid 5\", \"Mul 3 6\", \"QuantizeLinear 7 scale=0.043 zero=20 "
     "type=u8\"]} @q\n}",
     "cpu.pointwise", 0, -128, 128},
};

const ConformanceCase kMoves[] = {
    {"max_pool_i8",
     "graph \"g\" (x: i8[1,32,9,9]) -> (y) {\n y = MaxPool(x) {kernel_shape = [3,3], strides = [2,2], "
     "pads = [1,1,1,1]} @p\n}",
     "cpu.onednn.pool", 0, -128, 128},
    {"max_pool_u8",
     "graph \"g\" (x: u8[1,16,9,9]) -> (y) {\n y = MaxPool(x) {kernel_shape = [5,5], pads = "
     "[2,2,2,2]} @p\n}",
     "cpu.onednn.pool", 0, 0, 256},
    {"max_pool_i8_dilated",
     "graph \"g\" (x: i8[2,75,11,12]) -> (y) {\n y = MaxPool(x) {kernel_shape = [3,2], strides = [2,3], dilations = "
     "[2,3], pads = [1,0,2,1], ceil_mode = 1} @p\n}",
     "cpu.byte_max_pool", 0, -128, 128},
    {"max_pool_u8_1d",
     "graph \"g\" (x: u8[1,64,20]) -> (y) {\n y = MaxPool(x) {kernel_shape = [4], strides = [2]} @p\n}",
     "cpu.byte_max_pool", 0, 0, 256},
    {"average_pool_u8",
     "graph \"g\" (x: u8[2,75,11,12]) -> (y) {\n y = planish.QuantizedAveragePool(x) {kernel_shape = [3,3], pads = "
     "[1,1,1,1], x_scale = 0.05, x_zero = 3, y_scale = 0.031, y_zero = -9, y_type = \"i8\"} @p\n}",
     "cpu.byte_average_pool", 0, 0, 256},
    {"average_pool_i8_with_pads",
     "graph \"g\" (x: i8[1,64,11,12]) -> (y) {\n y = planish.QuantizedAveragePool(x) {kernel_shape = [3,2], strides = "
     "[2,3], dilations = [2,3], pads = [1,0,2,1], ceil_mode = 1, count_include_pad = 1, x_scale = 0.05, x_zero = 3, "
     "y_scale = 0.06, y_zero = 100, y_type = \"u8\"} @p\n}",
     "cpu.byte_average_pool", 0, -128, 128},
    {"average_pool_to_floats_1d",
     "graph \"g\" (x: u8[1,19,20]) -> (y) {\n y = planish.QuantizedAveragePool(x) {kernel_shape = [4], strides = [2], "
     "x_scale = 0.05, x_zero = 128, y_type = \"f32\"} @p\n}",
     "cpu.byte_average_pool", 0, 0, 256},
    {"reformat_i8", "graph \"g\" (x: i8[2,16,5,3]) -> (y) {\n y = planish.Reformat(x) @r\n}", "cpu.onednn.reformat", 0,
     -128, 128},
    {"reformat_u8_odd", "graph \"g\" (x: u8[1,3,5,3]) -> (y) {\n y = planish.Reformat(x) @r\n}", "cpu.onednn.reformat",
     0, 0, 256},
    {"resize_i8",
     "graph \"g\" (x: i8[1,16,5,3]) -> (y) {\n const s: f32[4] = [1,1,2,2]\n y = Resize(x, _, s) {mode = "
     "\"nearest\", coordinate_transformation_mode = \"asymmetric\", nearest_mode = \"floor\"} @r\n}",
     "cpu.resize", 0, -128, 128},
    {"concat_u8", "graph \"g\" (a: u8[1,16,5,3], b: u8[1,32,5,3]) -> (y) {\n y = Concat(a, b) {axis = 1} @c\n}",
     "cpu.move", 0, 0, 256},
    {"split_i8",
     "graph \"g\" (x: i8[1,48,5,3]) -> (a, b) {\n const s: i64[2] = [16, 32]\n a, b = Split(x, s) {axis = "
     "1} @s\n}",
     "cpu.move", 0, -128, 128},
    {"transpose_i8", "graph \"g\" (x: i8[2,7,5,3]) -> (y) {\n y = Transpose(x) {perm = [0,2,1,3]} @t\n}", "cpu.move", 0,
     -128, 128},
};

class QuantizedTactics : public testing::TestWithParam<ConformanceCase> {};

TEST_P(QuantizedTactics, AgreeWithTheReference) { check_conformance(GetParam()); }

/// oneDNN multiplies bytes exactly only there; elsewhere its tactics refuse.
class QuantizedProducts : public QuantizedTactics {};

TEST_P(QuantizedProducts, AgreeWithTheReference) {
  const bool lowered = std::getenv("ONEDNN_MAX_CPU_ISA") != nullptr;
  if (lowered || (!cpu_features().avx512_vnni && !cpu_features().avx_vnni)) GTEST_SKIP() << "this CPU has no VNNI";
  check_conformance(GetParam());
}

TEST(QuantizedInPlace, BytesAreSummedWhereTheOutputLies) {
  const bool lowered = std::getenv("ONEDNN_MAX_CPU_ISA") != nullptr;
  if (lowered || (!cpu_features().avx512_vnni && !cpu_features().avx_vnni)) GTEST_SKIP() << "this CPU has no VNNI";
  const int before = overwriting_runs();
  check_conformance(kResidual);
  EXPECT_GT(overwriting_runs(), before);
}

const auto kName = [](const auto& row) { return std::string(row.param.label); };
INSTANTIATE_TEST_SUITE_P(Products, QuantizedProducts, testing::ValuesIn(kProducts), kName);
INSTANTIATE_TEST_SUITE_P(Programs, QuantizedTactics, testing::ValuesIn(kPrograms), kName);
INSTANTIATE_TEST_SUITE_P(Moves, QuantizedTactics, testing::ValuesIn(kMoves), kName);

}  // namespace
}  // namespace planish::test
