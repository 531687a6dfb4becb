#include <gtest/gtest.h>

#include "planish/tactics/cpu/test/conformance.h"

namespace planish::test {
namespace {

const ConformanceCase kCases[] = {
    {"matmul_i8_zero_at_run_time",
     "graph \"g\" (a: u8[7,33], z: u8[]) -> (y) {\n const b: i8[33,20] = seed(1, -127, 128)\n"
     " y = MatMulInteger(a, b, z) @q\n}",
     "cpu.igemm_integer", 0, 0, 256},
    {"matmul_u8_weights",
     "graph \"g\" (a: u8[2,5,64], z: u8[]) -> (y) {\n const b: u8[64,70] = seed(1, 0, 256)\n"
     " const w: u8[] = seed(2, 100, 150)\n y = MatMulInteger(a, b, z, w) @q\n}",
     "cpu.igemm_integer", 0, 0, 256},
    {"matmul_zero_per_column",
     "graph \"g\" (a: i8[9,48], z: i8[1]) -> (y) {\n const b: i8[48,17] = seed(1, -128, 128)\n"
     " const w: i8[17] = seed(2, -20, 20)\n y = MatMulInteger(a, b, z, w) @q\n}",
     "cpu.igemm_integer", 0, -128, 128},
    {"matmul_without_zeros",
     "graph \"g\" (a: u8[1,300]) -> (y) {\n const b: u8[300,10] = seed(1, 0, 256)\n y = MatMulInteger(a, b) @q\n}",
     "cpu.igemm_integer", 0, 0, 256},
    {"conv_u8_weights_padding",
     "graph \"g\" (x: u8[2,13,10,11], z: u8[]) -> (y) {\n const w: u8[19,13,3,3] = seed(1, 0, 256)\n"
     " const wz: u8[] = seed(2, 100, 150)\n y = ConvInteger(x, w, z, wz) {pads = [1,0,1,2], strides = [2,1]} @q\n}",
     "cpu.igemm_integer", 0, 0, 256},
    {"conv_grouped_zero_per_channel",
     "graph \"g\" (x: u8[1,24,8,8], z: u8[]) -> (y) {\n const w: i8[48,6,3,3] = seed(1, -128, 128)\n"
     " const wz: i8[48] = seed(2, -9, 9)\n y = ConvInteger(x, w, z, wz) {group = 4, pads = [1,1,1,1]} @q\n}",
     "cpu.igemm_integer", 0, 0, 256},
    {"conv_depthwise",
     "graph \"g\" (x: u8[1,16,9,9], z: u8[]) -> (y) {\n const w: u8[16,1,3,3] = seed(1, 0, 256)\n"
     " const wz: u8[] = seed(2, 100, 150)\n y = ConvInteger(x, w, z, wz) {group = 16, pads = [1,1,1,1]} @q\n}",
     "cpu.igemm_integer", 0, 0, 256},
    {"depthwise_u8_weights",
     "graph \"g\" (x: u8[2,37,9,10], z: u8[]) -> (y) {\n const w: u8[37,1,3,3] = seed(1, 0, 256)\n"
     " const wz: u8[] = seed(2, 0, 256)\n y = ConvInteger(x, w, z, wz) {group = 37, pads = [1,0,1,2], strides = [2,1]} "
     "@q\n}",
     "cpu.depthwise_integer", 0, 0, 256},
    {"depthwise_zero_per_channel",
     "graph \"g\" (x: u8[1,64,8,8], z: u8[]) -> (y) {\n const w: i8[64,1,5,5] = seed(1, -128, 128)\n"
     " const wz: i8[64] = seed(2, -9, 9)\n y = ConvInteger(x, w, z, wz) {group = 64, pads = [2,2,2,2]} @q\n}",
     "cpu.depthwise_integer", 0, 0, 256},
    {"depthwise_signed_1d",
     "graph \"g\" (x: i8[2,16,31], z: i8[]) -> (y) {\n const w: i8[16,1,5] = seed(1, -127, 128)\n"
     " y = ConvInteger(x, w, z) {group = 16, pads = [2,2]} @q\n}",
     "cpu.depthwise_integer", 0, -128, 128},
    {"conv_1d",
     "graph \"g\" (x: i8[2,16,31], z: i8[]) -> (y) {\n const w: i8[16,16,5] = seed(1, -127, 128)\n"
     " y = ConvInteger(x, w, z) {pads = [2,2], dilations = [1]} @q\n}",
     "cpu.igemm_integer", 0, -128, 128},
    {"dynamic_quantize", "graph \"g\" (x: f32[3,7,40,50]) -> (y, s, z) {\n y, s, z = DynamicQuantizeLinear(x) @q\n}",
     "cpu.dynamic_quantize", 1e-7, -3, 5},
    {"scaled_sums",
     "graph \"g\" (x: i32[2,5,40], s: f32[40]) -> (y) {\n const b: f32[40] = seed(3)\n"
     " y = planish.Pointwise(x, s, b) {steps = [\"DequantizeLinear 0 scale=1 zero=0\", \"Mul 3 1\", \"Add 4 2\"]} "
     "@p\n}",
     "cpu.pointwise", 1e-6, -1e6, 1e6},
    {"dynamic_quantize_one", "graph \"g\" (x: f32[1]) -> (y, s, z) {\n y, s, z = DynamicQuantizeLinear(x) @q\n}",
     "cpu.dynamic_quantize", 1e-7, -3, 5},
};

class DynamicTactics : public testing::TestWithParam<ConformanceCase> {};

TEST_P(DynamicTactics, AgreeWithTheReference) { check_conformance(GetParam()); }

INSTANTIATE_TEST_SUITE_P(Products, DynamicTactics, testing::ValuesIn(kCases),
                         [](const auto& row) { return std::string(row.param.label); });

}  // namespace
}  // namespace planish::test
