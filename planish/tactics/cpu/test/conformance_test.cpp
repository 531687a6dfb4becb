// Every CPU tactic against the reference operators: one row per case. A new tactic is tested by the rows that its
// operators have already.

#include <gtest/gtest.h>

#include "planish/tactics/cpu/test/conformance.h"

namespace planish::test {
namespace {

const ConformanceCase kChain[] = {
    {"inverted_residual",
     "graph \"g\" (x: f32[2,16,19,11]) -> (y) {\n const w0: f32[48,16,1,1] = seed(1)\n const b0: f32[48] = seed(2)\n"
     " const w1: f32[48,1,3,3] = seed(3)\n const b1: f32[48] = seed(4)\n const w2: f32[16,48,1,1] = seed(5)\n"
     " y = planish.Chain(x, w0, b0, w1, b1, w2) {steps = [\"planish.FusedConv 0 1 2\", "
     "\"planish.FusedConv 6 3 4\", \"planish.FusedConv 7 5 _ 0\"], s0_activation = \"Clip\", s0_act_alpha = 0.0, "
     "s0_act_beta = 0.5, s1_activation = \"Relu\", s1_group = 48, s1_pads = [1,1,1,1]} @c\n}",
     "cpu.conv_chain"},
    {"inverted_residual_for_three_threads",
     "graph \"g\" (x: f32[2,40,7,9]) -> (y) {\n const w0: f32[232,40,1,1] = seed(1)\n const b0: f32[232] = seed(2)\n"
     " const w1: f32[232,1,3,3] = seed(3)\n const b1: f32[232] = seed(4)\n const w2: f32[40,232,1,1] = seed(5)\n"
     " const b2: f32[40] = seed(6)\n y = planish.Chain(x, w0, b0, w1, b1, w2, b2) {steps = "
     "[\"planish.FusedConv 0 1 2\", \"planish.FusedConv 7 3 4\", \"planish.FusedConv 8 5 6 0\"], "
     "s0_activation = \"Swish\", s1_activation = \"Relu\", s1_group = 232, s1_pads = [1,1,1,1], "
     "s2_activation = \"HardSwish\"} @c\n}",
     "cpu.conv_chain_channels", 5e-5, -1, 1, 0, 3},
    // More channels in the middle than cpu.split_chain sums at a time.
    {"inverted_residual_of_many_channels",
     "graph \"g\" (x: f32[1,24,3,5]) -> (y) {\n const w0: f32[1064,24,1,1] = seed(1)\n"
     " const w1: f32[1064,1,3,3] = seed(3)\n const w2: f32[24,1064,1,1] = seed(5)\n const b2: f32[24] = seed(6)\n"
     " y = planish.Chain(x, w0, w1, w2, b2) {steps = [\"planish.FusedConv 0 1\", \"planish.FusedConv 5 2\", "
     "\"planish.FusedConv 6 3 4 0\"], s0_activation = \"Relu\", s1_group = 1064, s1_pads = [1,1,1,1]} @c\n}",
     "cpu.conv_chain_channels", 1e-4},
    {"inverted_residual_strided_with_padding_channels",
     "graph \"g\" (x: f32[1,24,70,64]) -> (y) {\n const w0: f32[72,24,1,1] = seed(1)\n"
     " const w1: f32[72,1,5,5] = seed(3)\n const w2: f32[40,72,1,1] = seed(5)\n const b2: f32[40] = seed(6)\n"
     " y = planish.Chain(x, w0, w1, w2, b2) {steps = [\"planish.FusedConv 0 1\", "
     "\"planish.FusedConv 5 2\", \"planish.FusedConv 6 3 4\"], s0_activation = \"HardSwish\", s1_strides = [2,2], "
     "s1_group = 72, s1_pads = [2,2,2,2]} @c\n}",
     "cpu.conv_chain"},
    {"inverted_residual_in_several_bands",
     "graph \"g\" (x: f32[1,16,56,40]) -> (y) {\n const w0: f32[256,16,1,1] = seed(1)\n"
     " const b0: f32[256] = seed(2)\n const w1: f32[256,1,3,3] = seed(3)\n const b1: f32[256] = seed(4)\n"
     " const w2: f32[24,256,1,1] = seed(5)\n y = planish.Chain(x, w0, b0, w1, b1, w2) {steps = "
     "[\"planish.FusedConv 0 1 2\", \"planish.FusedConv 6 3 4\", \"planish.FusedConv 7 5\"], "
     "s0_activation = \"Relu\", s1_group = 256, s1_pads = [1,1,1,1]} @c\n}",
     "cpu.conv_chain"},
    {"expand_and_depthwise_in_steps",
     "graph \"g\" (x: f32[1,8,80,80]) -> (y) {\n const w0: f32[72,8,1,1] = seed(1)\n"
     " const w1: f32[72,1,5,5] = seed(3)\n const b1: f32[72] = seed(4)\n"
     " y = planish.Chain(x, w0, w1, b1) {steps = [\"planish.FusedConv 0 1\", \"planish.FusedConv 4 2 3\"], "
     "s0_activation = \"HardSwish\", s1_strides = [2,2], s1_group = 72, s1_pads = [2,2,2,2]} @c\n}",
     "cpu.conv_chain"},
    {"expand_and_depthwise",
     "graph \"g\" (x: f32[1,32,40,33]) -> (y) {\n const w0: f32[64,32,1,1] = seed(1)\n"
     " const w1: f32[64,1,3,3] = seed(3)\n y = planish.Chain(x, w0, w1) {steps = [\"planish.FusedConv 0 1\", "
     "\"planish.FusedConv 3 2\"], s0_activation = \"Swish\", s1_activation = \"Swish\", s1_group = 64, "
     "s1_pads = [0,0,2,2]} @c\n}",
     "cpu.conv_chain"},
    {"depthwise_and_project",
     "graph \"g\" (x: f32[1,64,41,50], r: f32[1,20,41,50]) -> (y) {\n const w1: f32[64,1,3,3] = seed(3)\n"
     " const w2: f32[20,64,1,1] = seed(5)\n y = planish.Chain(x, w1, w2, r) {steps = [\"planish.FusedConv 0 1\", "
     "\"planish.FusedConv 4 2 _ 3\"], s0_activation = \"Relu\", s0_group = 64, s0_dilations = [2,1], "
     "s0_pads = [2,1,2,1]} @c\n}",
     "cpu.conv_chain"},
    {"squeeze_excite_with_depthwise",
     "graph \"g\" (x: f32[2,48,19,21], r: f32[2,20,10,11]) -> (y) {\n const w0: f32[48,1,5,5] = seed(1)\n"
     " const b0: f32[48] = seed(2)\n const w1: f32[12,48,1,1] = seed(3)\n const b1: f32[12] = seed(4)\n"
     " const w2: f32[48,12,1,1] = seed(5)\n const b2: f32[48] = seed(6)\n const w3: f32[20,48,1,1] = seed(7)\n"
     " y = planish.Chain(x, w0, b0, w1, b1, w2, b2, w3, r) {steps = [\"planish.FusedConv 0 1 2\", "
     "\"GlobalAveragePool 9\", \"planish.FusedConv 10 3 4\", \"planish.FusedConv 11 5 6\", \"Mul 12 9\", "
     "\"planish.FusedConv 13 7 _ 8\"], s0_activation = \"Swish\", s0_group = 48, s0_strides = [2,2], "
     "s0_pads = [2,2,2,2], s2_activation = \"Swish\", s3_activation = \"Sigmoid\"} @c\n}",
     "cpu.squeeze_excite"},
    {"squeeze_excite_with_more_filters_than_pixels",
     "graph \"g\" (x: f32[2,144,5,6]) -> (y) {\n const w0: f32[144,1,3,3] = seed(1)\n"
     " const w1: f32[72,144,1,1] = seed(3)\n const w2: f32[144,72,1,1] = seed(5)\n"
     " const w3: f32[64,144,1,1] = seed(7)\n const b3: f32[64] = seed(8)\n"
     " y = planish.Chain(x, w0, w1, w2, w3, b3) {steps = [\"planish.FusedConv 0 1\", "
     "\"GlobalAveragePool 6\", \"planish.FusedConv 7 2\", \"planish.FusedConv 8 3\", \"Mul 6 9\", "
     "\"planish.FusedConv 10 4 5\"], s0_group = 144, s0_pads = [1,1,1,1], s2_activation = \"Relu\", "
     "s3_activation = \"HardSigmoid\", s3_act_alpha = 0.2, s3_act_beta = 0.5, s5_activation = \"Relu\"} @c\n}",
     "cpu.squeeze_excite"},
    {"squeeze_excite_behind_an_expansion",
     "graph \"g\" (x: f32[2,24,9,7], r: f32[2,40,5,4]) -> (y) {\n const w: f32[152,24,1,1] = seed(8)\n"
     " const b: f32[152] = seed(9)\n const w0: f32[152,1,5,5] = seed(1)\n const b0: f32[152] = seed(2)\n"
     " const w1: f32[40,152,1,1] = seed(3)\n const b1: f32[40] = seed(4)\n const w2: f32[152,40,1,1] = seed(5)\n"
     " const b2: f32[152] = seed(6)\n const w3: f32[40,152,1,1] = seed(7)\n"
     " y = planish.Chain(x, w, b, w0, b0, w1, b1, w2, b2, w3, r) {steps = [\"planish.FusedConv 0 1 2\", "
     "\"planish.FusedConv 11 3 4\", \"GlobalAveragePool 12\", \"planish.FusedConv 13 5 6\", "
     "\"planish.FusedConv 14 7 8\", \"Mul 15 12\", \"planish.FusedConv 16 9 _ 10\"], s0_activation = \"HardSwish\", "
     "s1_activation = \"HardSwish\", s1_group = 152, s1_strides = [2,2], s1_pads = [2,2,2,2], "
     "s3_activation = \"Relu\", s4_activation = \"HardSigmoid\", s4_act_alpha = 0.2, s4_act_beta = 0.5, "
     "s6_activation = \"Relu\"} @c\n}",
     "cpu.squeeze_excite"},
    {"squeeze_excite_behind_an_expansion_of_one_panel",
     "graph \"g\" (x: f32[1,16,12,12]) -> (y) {\n const w: f32[24,16,1,1] = seed(8)\n"
     " const w0: f32[24,1,3,3] = seed(1)\n const w1: f32[8,24,1,1] = seed(3)\n const w2: f32[24,8,1,1] = seed(5)\n"
     " const w3: f32[16,24,1,1] = seed(7)\n"
     " y = planish.Chain(x, w, w0, w1, w2, w3) {steps = [\"planish.FusedConv 0 1\", \"planish.FusedConv 6 2\", "
     "\"GlobalAveragePool 7\", \"planish.FusedConv 8 3\", \"planish.FusedConv 9 4\", \"Mul 10 7\", "
     "\"planish.FusedConv 11 5 _ 0\"], s0_activation = \"Swish\", s1_activation = \"Swish\", s1_group = 24, "
     "s1_pads = [1,1,1,1], s3_activation = \"Swish\", s4_activation = \"Sigmoid\"} @c\n}",
     "cpu.squeeze_excite"},
    {"squeeze_excite",
     "graph \"g\" (x: f32[1,40,13,9]) -> (y) {\n const w1: f32[8,40,1,1] = seed(3)\n"
     " const w2: f32[40,8,1,1] = seed(5)\n const b2: f32[40] = seed(6)\n const w3: f32[24,40,1,1] = seed(7)\n"
     " y = planish.Chain(x, w1, w2, b2, w3) {steps = [\"GlobalAveragePool 0\", \"planish.FusedConv 5 1\", "
     "\"planish.FusedConv 6 2 3\", \"Mul 7 0\", \"planish.FusedConv 8 4\"], s1_activation = \"Relu\", "
     "s2_activation = \"Sigmoid\"} @c\n}",
     "cpu.squeeze_excite"},
    {"squeeze_excite_divided_by_channels",
     "graph \"g\" (x: f32[2,152,6,5], r: f32[2,56,6,5]) -> (y) {\n const w0: f32[152,1,5,5] = seed(1)\n"
     " const w1: f32[20,152,1,1] = seed(3)\n const b1: f32[20] = seed(4)\n const w2: f32[152,20,1,1] = seed(5)\n"
     " const w3: f32[56,152,1,1] = seed(7)\n const b3: f32[56] = seed(8)\n"
     " y = planish.Chain(x, w0, w1, b1, w2, w3, b3, r) {steps = [\"planish.FusedConv 0 1\", "
     "\"GlobalAveragePool 8\", \"planish.FusedConv 9 2 3\", \"planish.FusedConv 10 4\", \"Mul 11 8\", "
     "\"planish.FusedConv 12 5 6 7\"], s0_activation = \"HardSwish\", s0_group = 152, s0_pads = [2,2,2,2], "
     "s2_activation = \"Relu\", s3_activation = \"HardSigmoid\"} @c\n}",
     "cpu.squeeze_excite"},
    {"squeeze_excite_divided_by_channels_and_lines",
     "graph \"g\" (x: f32[1,120,10,9]) -> (y) {\n const w1: f32[12,120,1,1] = seed(3)\n"
     " const w2: f32[120,12,1,1] = seed(5)\n const w3: f32[40,120,1,1] = seed(7)\n const b3: f32[40] = seed(8)\n"
     " y = planish.Chain(x, w1, w2, w3, b3) {steps = [\"GlobalAveragePool 0\", \"planish.FusedConv 5 1\", "
     "\"planish.FusedConv 6 2\", \"Mul 7 0\", \"planish.FusedConv 8 3 4\"], s1_activation = \"Relu\", "
     "s2_activation = \"Sigmoid\"} @c\n}",
     "cpu.squeeze_excite", 5e-5, -1, 1, 0, 16},
    {"squeeze_excite_with_more_threads_than_lines",
     "graph \"g\" (x: f32[1,40,3,9]) -> (y) {\n const w1: f32[8,40,1,1] = seed(3)\n"
     " const w2: f32[40,8,1,1] = seed(5)\n const w3: f32[24,40,1,1] = seed(7)\n"
     " y = planish.Chain(x, w1, w2, w3) {steps = [\"GlobalAveragePool 0\", \"planish.FusedConv 4 1\", "
     "\"planish.FusedConv 5 2\", \"Mul 6 0\", \"planish.FusedConv 7 3\"], s2_activation = \"Sigmoid\", "
     "s4_activation = \"Relu\"} @c\n}",
     "cpu.squeeze_excite", 5e-5, -1, 1, 0, 7},
    {"squeeze_excite_of_a_small_image",
     "graph \"g\" (x: f32[2,24,3,3]) -> (y) {\n const w1: f32[4,24,1,1] = seed(3)\n"
     " const w2: f32[24,4,1,1] = seed(5)\n const w3: f32[40,24,1,1] = seed(7)\n"
     " y = planish.Chain(x, w1, w2, w3) {steps = [\"GlobalAveragePool 0\", \"planish.FusedConv 4 1\", "
     "\"planish.FusedConv 5 2\", \"Mul 0 6\", \"planish.FusedConv 7 3\"], s2_activation = \"Sigmoid\"} @c\n}",
     "cpu.squeeze_excite"},
    {"norm_in_front_of_a_product_in_chunks",
     "graph \"g\" (x: f32[2,149,72], r: f32[2,149,130]) -> (y) {\n const s: f32[72] = seed(1)\n"
     " const t: f32[72] = seed(2)\n const w: f32[72,130] = seed(3)\n const b: f32[130] = seed(4)\n"
     " y = planish.Chain(x, s, t, w, b, r) {steps = [\"LayerNormalization 0 1 2\", "
     "\"planish.FusedMatMul 6 3 4 5\"], s0_epsilon = 0.001, s1_activation = \"Gelu\"} @c\n}",
     "cpu.norm_gemm"},
    {"norm_in_front_of_a_product_of_paired_rows",
     "graph \"g\" (x: f32[1,301,128]) -> (y) {\n const s: f32[128] = seed(1)\n const w: f32[200,128] = seed(3)\n"
     " y = planish.Chain(x, s, w) {steps = [\"RMSNormalization 0 1\", \"planish.FusedMatMul 3 2\"], s1_trans_b = 1} "
     "@c\n}",
     "cpu.norm_strassen"},
    {"norm_in_front_of_a_product_of_few_rows",
     "graph \"g\" (x: f32[1,1,3,64]) -> (y) {\n const s: f32[64] = seed(1)\n const w: f32[64,500] = seed(3)\n"
     " y = planish.Chain(x, s, w) {steps = [\"LayerNormalization 0 1\", \"planish.FusedMatMul 3 2\"]} @c\n}",
     "cpu.norm_gemm"},
    {"norm_behind_a_product_in_chunks",
     "graph \"g\" (x: f32[2,149,72], r: f32[2,149,130]) -> (y) {\n const s: f32[130] = seed(1)\n"
     " const t: f32[130] = seed(2)\n const w: f32[72,130] = seed(3)\n const b: f32[130] = seed(4)\n"
     " y = planish.Chain(x, w, b, r, s, t) {steps = [\"planish.FusedMatMul 0 1 2 3\", "
     "\"LayerNormalization 6 4 5\"], s1_epsilon = 0.001} @c\n}",
     "cpu.norm_gemm"},
    {"norm_behind_a_product_of_paired_rows",
     "graph \"g\" (x: f32[1,301,128]) -> (y) {\n const s: f32[200] = seed(1)\n const w: f32[128,200] = seed(3)\n"
     " y = planish.Chain(x, w, s) {steps = [\"planish.FusedMatMul 0 1\", \"RMSNormalization 3 2\"], "
     "s0_activation = \"Relu\"} @c\n}",
     "cpu.norm_strassen"},
    {"norm_behind_a_product_of_few_rows",
     "graph \"g\" (x: f32[3,70]) -> (y) {\n const s: f32[96] = seed(1)\n const w: f32[70,96] = seed(3)\n"
     " y = planish.Chain(x, w, s) {steps = [\"planish.FusedMatMul 0 1\", \"LayerNormalization 3 2\"]} @c\n}",
     "cpu.norm_gemm"},
};

const ConformanceCase kConv[] = {
    {"conv_1x1",
     "graph \"g\" (x: f32[2,32,9,11]) -> (y) {\n const w: f32[48,32,1,1] = seed(1)\n"
     " y = planish.FusedConv(x, w) @c\n}",
     "cpu.onednn.conv"},
    {"conv_3x3_bias",
     "graph \"g\" (x: f32[2,32,9,11]) -> (y) {\n const w: f32[16,32,3,3] = seed(1)\n"
     " const b: f32[16] = seed(2)\n y = planish.FusedConv(x, w, b) {pads = [1,1,1,1]} @c\n}",
     "cpu.onednn.conv"},
    {"conv_strided_uneven_pads",
     "graph \"g\" (x: f32[1,16,13,10]) -> (y) {\n const w: f32[24,16,3,3] = seed(1)\n"
     " y = planish.FusedConv(x, w) {strides = [2,2], pads = [0,1,1,0]} @c\n}",
     "cpu.onednn.conv"},
    {"conv_dilated",
     "graph \"g\" (x: f32[1,16,15,15]) -> (y) {\n const w: f32[16,16,3,3] = seed(1)\n"
     " y = planish.FusedConv(x, w) {dilations = [2,3], pads = [2,3,2,3]} @c\n}",
     "cpu.onednn.conv"},
    {"conv_first_layer",
     "graph \"g\" (x: f32[1,3,33,35]) -> (y) {\n const w: f32[32,3,7,7] = seed(1)\n"
     " const b: f32[32] = seed(2)\n y = planish.FusedConv(x, w, b) {strides = [2,2], pads = "
     "[3,3,3,3], activation = \"Relu\"} @c\n}",
     "cpu.onednn.conv"},
    {"conv_odd_channels",
     "graph \"g\" (x: f32[1,13,8,8]) -> (y) {\n const w: f32[19,13,3,3] = seed(1)\n"
     " y = planish.FusedConv(x, w) {pads = [1,1,1,1]} @c\n}",
     "cpu.onednn.conv"},
    // Panels of more weights than a second-level cache of 2 MiB keeps twice, lines of few pixels, a residual.
    {"conv_wide_window",
     "graph \"g\" (x: f32[2,260,5,7], r: f32[2,72,5,7]) -> (y) {\n const w: f32[72,260,3,3] = seed(1)\n"
     " const b: f32[72] = seed(2)\n y = planish.FusedConv(x, w, b, r) {pads = [1,1,1,1], activation = \"Relu\"} @c\n}",
     "cpu.panel_conv"},
    {"conv_grouped",
     "graph \"g\" (x: f32[1,32,8,8]) -> (y) {\n const w: f32[64,8,3,3] = seed(1)\n"
     " y = planish.FusedConv(x, w) {group = 4, pads = [1,1,1,1]} @c\n}",
     "cpu.onednn.conv"},
    {"conv_depthwise",
     "graph \"g\" (x: f32[2,32,9,9]) -> (y) {\n const w: f32[32,1,3,3] = seed(1)\n"
     " const b: f32[32] = seed(2)\n y = planish.FusedConv(x, w, b) {group = 32, pads = [1,1,1,1], "
     "activation = \"Clip\", act_alpha = 0.0, act_beta = 6.0} @c\n}",
     "cpu.onednn.conv"},
    {"conv_depthwise_strided_5x5",
     "graph \"g\" (x: f32[1,24,14,14]) -> (y) {\n const w: f32[24,1,5,5] = seed(1)\n"
     " y = planish.FusedConv(x, w) {group = 24, strides = [2,2], pads = [2,2,2,2]} "
     "@c\n}",
     "cpu.onednn.conv"},
    {"conv_residual",
     "graph \"g\" (x: f32[1,16,8,8], r: f32[1,16,8,8]) -> (y) {\n const w: f32[16,16,3,3] = seed(1)\n"
     " const b: f32[16] = seed(2)\n y = planish.FusedConv(x, w, b, r) {pads = [1,1,1,1], activation "
     "= \"Relu\"} @c\n}",
     "cpu.onednn.conv"},
    {"conv_residual_last",
     "graph \"g\" (x: f32[1,16,8,8], r: f32[1,16,8,8]) -> (y) {\n const w: f32[16,16,3,3] = "
     "seed(1)\n y = planish.FusedConv(x, w, _, r) {pads = [1,1,1,1], activation = \"Swish\", "
     "residual_last = 1} @c\n}",
     "cpu.onednn.conv"},
    {"conv_winograd_tiles",
     "graph \"g\" (x: f32[2,40,21,18], r: f32[2,56,21,18]) -> (y) {\n const w: f32[56,40,3,3] = seed(1)\n"
     " const b: f32[56] = seed(2)\n y = planish.FusedConv(x, w, b, r) {pads = [1,1,1,1], activation "
     "= \"Relu\"} @c\n}",
     "cpu.winograd.4x4"},
    {"conv_winograd_wide",
     "graph \"g\" (x: f32[1,64,7,7]) -> (y) {\n const w: f32[96,64,3,3] = seed(1)\n"
     " const b: f32[96] = seed(2)\n y = planish.FusedConv(x, w, b) {pads = [1,1,1,1], activation "
     "= \"HardSwish\"} @c\n}",
     "cpu.winograd.2x2"},
    {"conv_of_planes",
     "graph \"g\" (x: f32[2,3,19,70]) -> (y) {\n const w: f32[40,3,3,3] = seed(1)\n const b: f32[40] = seed(2)\n"
     " y = planish.FusedConv(x, w, b) {strides = [2,2], pads = [1,1,1,1], activation = \"Relu\"} @c\n}",
     "cpu.stem_conv"},
    {"conv_of_one_plane_into_short_lines",
     "graph \"g\" (x: f32[1,1,9,7]) -> (y) {\n const w: f32[24,1,5,4] = seed(1)\n"
     " y = planish.FusedConv(x, w) {pads = [0,3,4,1], strides = [3,1], activation = \"Swish\"} @c\n}",
     "cpu.stem_conv"},
    {"conv_of_planes_into_long_lines",
     "graph \"g\" (x: f32[1,4,12,130]) -> (y) {\n const w: f32[100,4,7,7] = seed(1)\n const b: f32[100] = seed(2)\n"
     " y = planish.FusedConv(x, w, b) {strides = [2,2], activation = \"HardSwish\"} @c\n}",
     "cpu.stem_conv", 5e-5, -1, 1, 0, 3},
    {"conv_panels_of_any_width",
     "graph \"g\" (x: f32[2,24,7,9], r: f32[2,147,7,9]) -> (y) {\n const w: f32[147,24,1,1] = seed(1)\n"
     " const b: f32[147] = seed(2)\n y = planish.FusedConv(x, w, b, r) {activation = \"Swish\"} @c\n}",
     "cpu.panel_conv"},
    // More weights than image, lines shared out unevenly.
    {"conv_small_image",
     "graph \"g\" (x: f32[1,72,7,9], r: f32[1,168,7,9]) -> (y) {\n const w: f32[168,72,3,3] = seed(1)\n"
     " const b: f32[168] = seed(2)\n y = planish.FusedConv(x, w, b, r) {pads = [1,1,1,1], activation = \"Relu\"} @c\n}",
     "cpu.panel_conv"},
    {"conv_strided_pixels",
     "graph \"g\" (x: f32[2,48,9,15]) -> (y) {\n const w: f32[56,48,1,1] = seed(1)\n const b: f32[56] = seed(2)\n"
     " y = planish.FusedConv(x, w, b) {strides = [2,2], activation = \"Relu\"} @c\n}",
     "cpu.panel_conv"},
    // oneDNN takes columns that windows step over together for channels.
    {"conv_of_patches",
     "graph \"g\" (x: f32[1,48,6,28]) -> (y) {\n const w: f32[32,48,2,2] = seed(1)\n"
     " y = planish.FusedConv(x, w) {strides = [2,2]} @c\n}",
     "cpu.panel_conv"},
    {"conv_of_patches_with_padding_behind",
     "graph \"g\" (x: f32[1,16,6,28]) -> (y) {\n const w: f32[32,16,2,4] = seed(1)\n"
     " y = planish.FusedConv(x, w) {pads = [0,0,0,1], strides = [1,4]} @c\n}",
     "cpu.panel_conv"},
    // Taps so far apart that none meets the image.
    {"conv_of_padding",
     "graph \"g\" (x: f32[1,32,2,15]) -> (y) {\n const w: f32[32,32,7,1] = seed(1)\n const b: f32[32] = seed(2)\n"
     " y = planish.FusedConv(x, w, b) {pads = [1,0,16,0], dilations = [3,1]} @c\n}",
     "cpu.panel_conv"},
    // Strides that leave no column for some of the taps.
    {"conv_of_one_column",
     "graph \"g\" (x: f32[2,40,9,1]) -> (y) {\n const w: f32[24,40,3,3] = seed(1)\n"
     " y = planish.FusedConv(x, w) {pads = [1,1,1,1], strides = [2,2]} @c\n}",
     "cpu.panel_conv"},
    {"conv_of_two_columns",
     "graph \"g\" (x: f32[1,40,6,2]) -> (y) {\n const w: f32[24,40,2,5] = seed(1)\n"
     " y = planish.FusedConv(x, w) {pads = [0,1,1,4], strides = [1,3]} @c\n}",
     "cpu.panel_conv"},
    {"conv_panels_all_border",
     "graph \"g\" (x: f32[1,20,3,4]) -> (y) {\n const w: f32[40,20,5,5] = seed(1)\n"
     " y = planish.FusedConv(x, w) {pads = [4,3,2,5], strides = [1,2], activation = \"Sigmoid\"} @c\n}",
     "cpu.panel_conv"},
    {"conv_panels_wide",
     "graph \"g\" (x: f32[1,33,6,61]) -> (y) {\n const w: f32[70,33,3,3] = seed(1)\n const b: f32[70] = seed(2)\n"
     " y = planish.FusedConv(x, w, b) {pads = [1,1,1,1], strides = [1,2], dilations = [1,2], activation = "
     "\"HardSwish\"} @c\n}",
     "cpu.panel_conv"},
    {"conv_depthwise_wide",
     "graph \"g\" (x: f32[1,24,6,61], r: f32[1,24,6,61]) -> (y) {\n const w: f32[24,1,3,3] = seed(1)\n"
     " const b: f32[24] = seed(2)\n y = planish.FusedConv(x, w, b, r) {group = 24, pads = [1,1,1,1], "
     "activation = \"Swish\", residual_last = 1} @c\n}",
     "cpu.depthwise"},
    {"conv_depthwise_narrow",
     "graph \"g\" (x: f32[3,16,5,3]) -> (y) {\n const w: f32[16,1,5,5] = seed(1)\n"
     " y = planish.FusedConv(x, w) {group = 16, pads = [2,2,2,2], activation = \"HardSwish\"} @c\n}",
     "cpu.depthwise"},
    {"conv_depthwise_by_lines_of_several_images",
     "graph \"g\" (x: f32[3,16,5,7]) -> (y) {\n const w: f32[16,1,3,3] = seed(1)\n"
     " y = planish.FusedConv(x, w) {group = 16, pads = [1,1,1,1]} @c\n}",
     "cpu.depthwise", 5e-5, -1, 1, 0, 2},
    {"conv_depthwise_odd_windows",
     "graph \"g\" (x: f32[1,32,19,23]) -> (y) {\n const w: f32[32,1,2,7] = seed(1)\n"
     " y = planish.FusedConv(x, w) {group = 32, pads = [0,3,1,3], strides = [2,3], dilations = [3,1]} @c\n}",
     "cpu.depthwise"},
    {"conv_residual_last_plain",
     "graph \"g\" (x: f32[1,16,8,8], r: f32[1,16,8,8]) -> (y) {\n const w: "
     "f32[16,16,1,1] = seed(1)\n y = planish.FusedConv(x, w, _, r) {residual_last = 1} "
     "@c\n}",
     "cpu.onednn.conv"},
    {"conv_1d",
     "graph \"g\" (x: f32[2,16,31]) -> (y) {\n const w: f32[16,16,5] = seed(1)\n"
     " y = planish.FusedConv(x, w) {pads = [2,2]} @c\n}",
     "cpu.onednn.conv"},
    {"conv_3d",
     "graph \"g\" (x: f32[1,16,5,6,7]) -> (y) {\n const w: f32[16,16,3,3,3] = seed(1)\n"
     " y = planish.FusedConv(x, w) {pads = [1,1,1,1,1,1]} @c\n}",
     "cpu.onednn.conv"},
    {"conv_same_upper",
     "graph \"g\" (x: f32[1,16,9,8]) -> (y) {\n const w: f32[16,16,3,3] = seed(1)\n"
     " y = planish.FusedConv(x, w) {auto_pad = \"SAME_UPPER\", strides = [2,2]} @c\n}",
     "cpu.onednn.conv"},
};

const ConformanceCase kDeconv[] = {
    {"deconv_2x2",
     "graph \"g\" (x: f32[2,32,9,11]) -> (y) {\n const w: f32[32,48,2,2] = seed(1)\n const b: f32[48] = seed(2)\n"
     " y = planish.FusedConvTranspose(x, w, b) {strides = [2,2]} @c\n}",
     "cpu.onednn.deconv"},
    {"deconv_4x4_relu",
     "graph \"g\" (x: f32[1,32,9,11]) -> (y) {\n const w: f32[32,16,4,4] = seed(1)\n const b: f32[16] = seed(2)\n"
     " y = planish.FusedConvTranspose(x, w, b) {strides = [2,2], pads = [1,1,1,1], activation = \"Relu\"} @c\n}",
     "cpu.onednn.deconv"},
    {"deconv_output_padding",
     "graph \"g\" (x: f32[1,16,7,5]) -> (y) {\n const w: f32[16,24,3,3] = seed(1)\n"
     " y = planish.FusedConvTranspose(x, w) {strides = [2,2], pads = [1,1,1,1], output_padding = [1,1]} @c\n}",
     "cpu.onednn.deconv"},
    {"deconv_output_padding_beyond_pads",
     "graph \"g\" (x: f32[1,16,7,5]) -> (y) {\n const w: f32[16,16,2,2] = seed(1)\n"
     " y = planish.FusedConvTranspose(x, w) {strides = [3,3], output_padding = [2,1]} @c\n}",
     "cpu.reference"},
    {"deconv_dilated_uneven_pads",
     "graph \"g\" (x: f32[1,16,9,8]) -> (y) {\n const w: f32[16,16,3,3] = seed(1)\n"
     " y = planish.FusedConvTranspose(x, w) {dilations = [2,3], pads = [0,1,2,3]} @c\n}",
     "cpu.onednn.deconv"},
    {"deconv_grouped_swish",
     "graph \"g\" (x: f32[1,32,8,8]) -> (y) {\n const w: f32[32,8,3,3] = seed(1)\n const b: f32[32] = seed(2)\n"
     " y = planish.FusedConvTranspose(x, w, b) {group = 4, strides = [2,2], activation = \"Swish\"} @c\n}",
     "cpu.onednn.deconv"},
    {"deconv_depthwise_sigmoid",
     "graph \"g\" (x: f32[2,24,6,7]) -> (y) {\n const w: f32[24,1,4,4] = seed(1)\n const b: f32[24] = seed(2)\n"
     " y = planish.FusedConvTranspose(x, w, b) {group = 24, strides = [2,2], pads = [1,1,1,1], activation = "
     "\"Sigmoid\"} @c\n}",
     "cpu.onednn.deconv"},
    {"deconv_odd_channels_leaky",
     "graph \"g\" (x: f32[1,13,6,7]) -> (y) {\n const w: f32[13,19,4,4] = seed(1)\n const b: f32[19] = seed(2)\n"
     " y = planish.FusedConvTranspose(x, w, b) {strides = [2,2], pads = [1,1,1,1], activation = \"LeakyRelu\", "
     "act_alpha = 0.2} @c\n}",
     "cpu.onednn.deconv"},
    {"deconv_first_pixel",
     "graph \"g\" (x: f32[2,20,1,1]) -> (y) {\n const w: f32[20,32,4,4] = seed(1)\n"
     " y = planish.FusedConvTranspose(x, w) @c\n}",
     "cpu.onednn.deconv"},
    {"deconv_1d",
     "graph \"g\" (x: f32[2,16,31]) -> (y) {\n const w: f32[16,16,8] = seed(1)\n"
     " y = planish.FusedConvTranspose(x, w) {strides = [4], pads = [2,2]} @c\n}",
     "cpu.onednn.deconv"},
    {"deconv_3d",
     "graph \"g\" (x: f32[1,16,3,4,5]) -> (y) {\n const w: f32[16,16,2,2,2] = seed(1)\n"
     " y = planish.FusedConvTranspose(x, w) {strides = [2,2,2]} @c\n}",
     "cpu.onednn.deconv"},
    {"deconv_output_shape",
     "graph \"g\" (x: f32[1,16,5,6]) -> (y) {\n const w: f32[16,16,3,3] = seed(1)\n"
     " y = planish.FusedConvTranspose(x, w) {strides = [2,2], output_shape = [10,12]} @c\n}",
     "cpu.onednn.deconv"},
};

const ConformanceCase kMatMul[] = {
    {"matmul_flat",
     "graph \"g\" (a: f32[7,33]) -> (y) {\n const b: f32[33,20] = seed(1)\n"
     " y = planish.FusedMatMul(a, b) @m\n}",
     "cpu.onednn.matmul"},
    {"matmul_bias_gelu",
     "graph \"g\" (a: f32[2,17,48]) -> (y) {\n const b: f32[48,64] = seed(1)\n const c: f32[64] = "
     "seed(2)\n y = planish.FusedMatMul(a, b, c) {activation = \"Gelu\"} @m\n}",
     "cpu.onednn.matmul"},
    {"matmul_bias_gelu_tanh",
     "graph \"g\" (a: f32[2,17,48]) -> (y) {\n const b: f32[48,64] = seed(1)\n const c: "
     "f32[64] = seed(2)\n y = planish.FusedMatMul(a, b, c) {activation = \"Gelu\", "
     "act_approximate = \"tanh\"} @m\n}",
     "cpu.onednn.matmul"},
    {"matmul_trans_b_alpha",
     "graph \"g\" (a: f32[5,24]) -> (y) {\n const b: f32[10,24] = seed(1)\n"
     " y = planish.FusedMatMul(a, b) {trans_b = 1, alpha = 0.125} @m\n}",
     "cpu.onednn.matmul"},
    {"matmul_alpha_bias",
     "graph \"g\" (a: f32[5,24]) -> (y) {\n const b: f32[24,10] = seed(1)\n const c: f32[10] = "
     "seed(2)\n y = planish.FusedMatMul(a, b, c) {alpha = 0.5, activation = \"Relu\"} @m\n}",
     "cpu.reference"},
    {"matmul_trans_a",
     "graph \"g\" (a: f32[24,5], b: f32[24,10]) -> (y) {\n"
     " y = planish.FusedMatMul(a, b) {trans_a = 1} @m\n}",
     "cpu.onednn.matmul"},
    {"matmul_batched",
     "graph \"g\" (a: f32[2,3,5,8], b: f32[2,3,8,7]) -> (y) {\n y = planish.FusedMatMul(a, b) "
     "@m\n}",
     "cpu.onednn.matmul"},
    {"matmul_batch_broadcast",
     "graph \"g\" (a: f32[2,3,5,8], b: f32[3,8,7]) -> (y) {\n y = planish.FusedMatMul(a, b) "
     "@m\n}",
     "cpu.reference"},
    {"matmul_batched_both_transposed",
     "graph \"g\" (a: f32[2,8,5], b: f32[2,7,8]) -> (y) {\n y = "
     "planish.FusedMatMul(a, b) {trans_a = 1, trans_b = 1} @m\n}",
     "cpu.onednn.matmul"},
    {"matmul_residual",
     "graph \"g\" (a: f32[2,9,16], r: f32[2,9,24]) -> (y) {\n const b: f32[16,24] = seed(1)\n const "
     "c: f32[24] = seed(2)\n y = planish.FusedMatMul(a, b, c, r) @m\n}",
     "cpu.onednn.matmul"},
    {"matmul_residual_last",
     "graph \"g\" (a: f32[2,9,16], r: f32[2,9,24]) -> (y) {\n const b: f32[16,24] = seed(1)\n "
     "const c: f32[24] = seed(2)\n y = planish.FusedMatMul(a, b, c, r) {activation = "
     "\"Tanh\", residual_last = 1} @m\n}",
     "cpu.onednn.matmul"},
    {"matmul_vector",
     "graph \"g\" (a: f32[16]) -> (y) {\n const b: f32[16,24] = seed(1)\n y = planish.FusedMatMul(a, "
     "b) @m\n}",
     "cpu.reference"},
    {"matmul_packed",
     "graph \"g\" (a: f32[3,13,96], r: f32[3,13,200]) -> (y) {\n const b: f32[96,200] = seed(1)\n const c: "
     "f32[200] = seed(2)\n y = planish.FusedMatMul(a, b, c, r) {activation = \"Gelu\"} @m\n}",
     "cpu.gemm"},
    {"matmul_scalar_bias",
     "graph \"g\" (a: f32[5,32]) -> (y) {\n const b: f32[32,1] = seed(1)\n const c: f32[] = seed(2)\n y = "
     "planish.FusedMatMul(a, b, c) @m\n}",
     "cpu.reference"},
    {"matmul_strassen",
     "graph \"g\" (a: f32[39,96], r: f32[39,150]) -> (y) {\n const b: f32[150,96] = seed(1)\n const c: "
     "f32[150] = seed(2)\n y = planish.FusedMatMul(a, b, c, r) {trans_b = 1, activation = \"Relu\", "
     "residual_last = 1} @m\n}",
     "cpu.strassen"},
    {"matmul_of_rows_beyond_the_cache",
     "graph \"g\" (a: f32[60,4096], r: f32[60,256]) -> (y) {\n const b: f32[4096,256] = seed(1)\n const c: f32[256] = "
     "seed(2)\n y = planish.FusedMatMul(a, b, c, r) {activation = \"Relu\"} @m\n}",
     "cpu.gemm", 2e-4},
    {"conv_of_one_pixel_strassen",
     "graph \"g\" (x: f32[2,64,5,7], r: f32[2,72,5,7]) -> (y) {\n const w: f32[72,64,1,1] = seed(1)\n const b: "
     "f32[72] = seed(2)\n y = planish.FusedConv(x, w, b, r) {activation = \"Swish\"} @c\n}",
     "cpu.strassen"},
    {"matmul_bf16",
     "graph \"g\" (a: bf16[9,32]) -> (y) {\n const b: bf16[32,16] = seed(1)\n y = "
     "planish.FusedMatMul(a, b) @m\n}",
     "cpu.reference", 2e-2},
    {"matmul_bf16_packed",
     "graph \"g\" (a: bf16[3,13,96], r: bf16[3,13,200]) -> (y) {\n const b: bf16[96,200] = seed(1)\n const c: "
     "bf16[200] = seed(2)\n y = planish.FusedMatMul(a, b, c, r) {activation = \"Gelu\"} @m\n}",
     "cpu.reference", 2e-2},
    {"conv_of_one_pixel_bf16",
     "graph \"g\" (x: bf16[2,48,5,7], r: bf16[2,72,5,7]) -> (y) {\n const w: bf16[72,48,1,1] = seed(1)\n const b: "
     "bf16[72] = seed(2)\n y = planish.FusedConv(x, w, b, r) {activation = \"Swish\", residual_last = 1} @c\n}",
     "cpu.reference", 2e-2},
};

const ConformanceCase kWeightOnly[] = {
    {"columns_of_bytes",
     "graph \"g\" (a: f32[1,70]) -> (y) {\n const b: i8[70,200] = seed(1, -128, 128)\n const c: f32[200] = seed(2)\n"
     " const s: f32[1,200] = seed(3, 0.005, 0.01)\n"
     " y = planish.WeightOnlyMatMul(a, b, c, _, s) {activation = \"Gelu\"} @m\n}",
     "cpu.weight_only"},
    {"blocks_of_bytes_with_zero_points",
     "graph \"g\" (a: f32[3,2,101], r: f32[3,2,37]) -> (y) {\n const b: u8[37,101] = seed(1, 0, 256)\n"
     " const s: f32[7,37] = seed(3, 0.005, 0.01)\n const z: u8[7,37] = seed(4, 100, 156)\n"
     " y = planish.WeightOnlyMatMul(a, b, _, r, s, z) {trans_b = 1, block_size = 16, activation = \"Relu\"} @m\n}",
     "cpu.weight_only"},
    {"blocks_of_nibbles",
     "graph \"g\" (a: f32[5,2,333], r: f32[5,2,97]) -> (y) {\n const b: u4[333,97] = seed(1, 0, 16)\n"
     " const c: f32[97] = seed(2)\n const s: f32[11,97] = seed(3, 0.05, 0.1)\n const z: u4[11,97] = seed(4, 6, 11)\n"
     " y = planish.WeightOnlyMatMul(a, b, c, r, s, z) {block_size = 32, activation = \"Swish\", residual_last = 1} "
     "@m\n}",
     "cpu.weight_only"},
    {"signed_nibbles_and_many_rows",
     "graph \"g\" (a: f32[70,260]) -> (y) {\n const b: i4[150,260] = seed(1, -8, 8)\n"
     " const s: f32[3,150] = seed(3, 0.05, 0.1)\n"
     " y = planish.WeightOnlyMatMul(a, b, _, _, s) {trans_b = 1, block_size = 128} @m\n}",
     "cpu.widened.strassen"},
    {"unsigned_nibbles_without_zero_points",
     "graph \"g\" (a: f32[4,64]) -> (y) {\n const b: u4[64,65] = seed(1, 0, 16)\n"
     " const s: f32[1,65] = seed(3, 0.05, 0.1)\n y = planish.WeightOnlyMatMul(a, b, _, _, s) @m\n}",
     "cpu.weight_only"},
    {"nibbles_in_odd_blocks",
     "graph \"g\" (a: f32[2,64]) -> (y) {\n const b: i4[64,66] = seed(1, -8, 8)\n"
     " const s: f32[6,66] = seed(3, 0.05, 0.1)\n y = planish.WeightOnlyMatMul(a, b, _, _, s) {block_size = 12} @m\n}",
     "cpu.widened.gemm"},
};

const ConformanceCase kCast[] = {
    {"cast_f32_f16", "graph \"g\" (x: f32[2,20,5,7]) -> (y) {\n y = Cast(x) {to = 10} @c\n}", "cpu.cast", 1e-3},
    {"cast_bool_f32", "graph \"g\" (x: bool[3,19]) -> (y) {\n y = Cast(x) {to = 1} @c\n}", "cpu.cast"},
    {"cast_f16_f32", "graph \"g\" (x: f16[2,20,5,7]) -> (y) {\n y = Cast(x) {to = 1} @c\n}", "cpu.cast"},
    {"cast_f32_bf16", "graph \"g\" (x: f32[2,16,5,7]) -> (y) {\n y = Cast(x) {to = 16} @c\n}", "cpu.cast", 1e-2},
    {"cast_bf16_f32", "graph \"g\" (x: bf16[3,19]) -> (y) {\n y = Cast(x) {to = 1} @c\n}", "cpu.cast"},
};

const ConformanceCase kPool[] = {
    {"maxpool",
     "graph \"g\" (x: f32[1,16,9,9]) -> (y) {\n y = MaxPool(x) {kernel_shape = [3,3], strides = [2,2], pads = "
     "[1,1,1,1]} @p\n}",
     "cpu.onednn.pool"},
    {"maxpool_ceil",
     "graph \"g\" (x: f32[1,16,10,10]) -> (y) {\n y = MaxPool(x) {kernel_shape = [3,3], strides = "
     "[2,2], ceil_mode = 1} @p\n}",
     "cpu.onednn.pool"},
    {"maxpool_dilated",
     "graph \"g\" (x: f32[1,16,12,12]) -> (y) {\n y = MaxPool(x) {kernel_shape = [3,3], dilations = "
     "[2,2]} @p\n}",
     "cpu.reference"},
    {"maxpool_negative_border",
     "graph \"g\" (x: f32[1,8,5,5]) -> (y) {\n y = MaxPool(x) {kernel_shape = [3,3], pads = "
     "[1,1,1,1]} @p\n}",
     "cpu.onednn.pool", 5e-5, -9, -5},
    {"averagepool_exclude",
     "graph \"g\" (x: f32[1,16,9,9]) -> (y) {\n y = AveragePool(x) {kernel_shape = [3,3], strides "
     "= [2,2], pads = [1,1,1,1]} @p\n}",
     "cpu.onednn.pool"},
    {"averagepool_include",
     "graph \"g\" (x: f32[1,16,9,9]) -> (y) {\n y = AveragePool(x) {kernel_shape = [3,3], pads = "
     "[1,1,1,1], count_include_pad = 1} @p\n}",
     "cpu.onednn.pool"},
    {"averagepool_ceil_include",
     "graph \"g\" (x: f32[1,16,10,10]) -> (y) {\n y = AveragePool(x) {kernel_shape = [3,3], "
     "strides = [2,2], pads = [1,1,1,1], ceil_mode = 1, count_include_pad = 1} @p\n}",
     "cpu.reference"},
    {"averagepool_ceil_exclude",
     "graph \"g\" (x: f32[1,16,10,10]) -> (y) {\n y = AveragePool(x) {kernel_shape = [3,3], "
     "strides = [2,2], ceil_mode = 1} @p\n}",
     "cpu.reference"},
    {"averagepool_odd_channels",
     "graph \"g\" (x: f32[2,13,7,7]) -> (y) {\n y = AveragePool(x) {kernel_shape = [2,2], "
     "strides = [2,2]} @p\n}",
     "cpu.onednn.pool"},
    {"global_average_of_padded_channels", "graph \"g\" (x: f32[2,43,5,3]) -> (y) {\n y = GlobalAveragePool(x) @p\n}",
     "cpu.global_mean"},
    {"global_average_of_a_large_image", "graph \"g\" (x: f32[1,3,600,500]) -> (y) {\n y = GlobalAveragePool(x) @p\n}",
     "cpu.global_mean", 5e-5, 0.9, 1.1},
    {"global_average_of_a_line", "graph \"g\" (x: f32[3,24,1000]) -> (y) {\n y = GlobalAveragePool(x) @p\n}",
     "cpu.global_mean"},
    {"global_average", "graph \"g\" (x: f32[2,32,7,7]) -> (y) {\n y = GlobalAveragePool(x) @p\n}", "cpu.onednn.pool"},
    {"global_max", "graph \"g\" (x: f32[2,19,7,5]) -> (y) {\n y = GlobalMaxPool(x) @p\n}", "cpu.reference"},
    {"maxpool_1d",
     "graph \"g\" (x: f32[1,16,20]) -> (y) {\n y = MaxPool(x) {kernel_shape = [4], strides = [2]} "
     "@p\n}",
     "cpu.reference"},
};

const ConformanceCase kPointwise[] = {
    {"add_same", "graph \"g\" (a: f32[2,20,5,7], b: f32[2,20,5,7]) -> (y) {\n y = Add(a, b) @e\n}", "cpu.pointwise"},
    {"mul_per_channel", "graph \"g\" (a: f32[2,32,5,7], b: f32[2,32,1,1]) -> (y) {\n y = Mul(a, b) @e\n}",
     "cpu.pointwise"},
    {"mul_per_channel_with_padding_channels",
     "graph \"g\" (a: f32[3,37,11,13], b: f32[3,37,1,1]) -> (y) {\n y = Mul(a, b) @e\n}", "cpu.channel_gate"},
    {"mul_by_a_gate_in_front", "graph \"g\" (b: f32[2,24,1,1], a: f32[2,24,5,7]) -> (y) {\n y = Mul(b, a) @e\n}",
     "cpu.channel_gate"},
    {"add_bias_constant",
     "graph \"g\" (a: f32[2,16,5,7]) -> (y) {\n const b: f32[16,1,1] = seed(1)\n y = Add(a, b) "
     "@e\n}",
     "cpu.pointwise"},
    {"add_scalar", "graph \"g\" (a: f32[2,16,5,7]) -> (y) {\n const b: f32[] = seed(1)\n y = Add(a, b) @e\n}",
     "cpu.pointwise"},
    {"sub_outer", "graph \"g\" (a: f32[7,1], b: f32[1,9]) -> (y) {\n y = Sub(a, b) @e\n}", "cpu.pointwise"},
    {"div_row", "graph \"g\" (a: f32[3,50,33], b: f32[3,50,1]) -> (y) {\n y = Div(a, b) @e\n}", "cpu.pointwise", 5e-5,
     0.5, 2},
    {"program_chain",
     "graph \"g\" (a: f32[2,16,6,6], b: f32[2,16,6,6]) -> (y) {\n y = planish.Pointwise(a, b) {steps = "
     "[\"Add 0 1\", \"Relu 2\", \"Mul 3 0\", \"Sigmoid 4\"]} @e\n}",
     "cpu.pointwise"},
    {"program_swish",
     "graph \"g\" (a: f32[2,24,6,6]) -> (y) {\n y = planish.Pointwise(a) {steps = [\"Sigmoid 0\", "
     "\"Mul 0 1\"]} @e\n}",
     "cpu.pointwise"},
    {"program_broadcast",
     "graph \"g\" (a: f32[1,16,4,4], s: f32[1,16,1,1], r: f32[1,16,4,4]) -> (y) {\n y = "
     "planish.Pointwise(a, s, r) {steps = [\"Mul 0 1\", \"Add 3 2\"]} @e\n}",
     "cpu.pointwise"},
    {"unary_relu", "graph \"g\" (a: f32[1,13,5,5]) -> (y) {\n y = Relu(a) @e\n}", "cpu.pointwise"},
    {"unary_exp", "graph \"g\" (a: f32[1,13,5,5]) -> (y) {\n y = Exp(a) @e\n}", "cpu.pointwise"},
    {"clip",
     "graph \"g\" (a: f32[1,16,5,5]) -> (y) {\n const lo: f32[] = [-0.25]\n const hi: f32[] = [0.5]\n y = "
     "Clip(a, lo, hi) @e\n}",
     "cpu.pointwise"},
    {"max_of_three", "graph \"g\" (a: f32[4,9], b: f32[9], c: f32[4,1]) -> (y) {\n y = Max(a, b, c) @e\n}",
     "cpu.pointwise"},
    {"leaky_relu", "graph \"g\" (a: f32[4,9]) -> (y) {\n y = LeakyRelu(a) {alpha = 0.2} @e\n}", "cpu.pointwise"},
    {"gelu_tanh", "graph \"g\" (a: f32[4,9]) -> (y) {\n y = Gelu(a) {approximate = \"tanh\"} @e\n}", "cpu.pointwise"},
    {"prelu_per_channel",
     "graph \"g\" (a: f32[2,32,5,7]) -> (y) {\n const s: f32[32,1,1] = seed(1)\n y = PRelu(a, s) @e\n}",
     "cpu.pointwise"},
    {"prelu_odd_channels",
     "graph \"g\" (a: f32[1,19,6,6]) -> (y) {\n const s: f32[19,1,1] = seed(1)\n y = planish.Pointwise(a, s) {steps = "
     "[\"PRelu 0 1\", \"Add 2 0\"]} @e\n}",
     "cpu.pointwise"},
    {"where_mask",
     "graph \"g\" (c: bool[1,1,9,9], a: f32[2,3,9,9]) -> (y) {\n const m: f32[] = [-10000.0]\n y = Where(c, a, m) "
     "@e\n}",
     "cpu.pointwise"},
    {"where_program",
     "graph \"g\" (a: f32[2,16,6,6], b: f32[2,16,6,6]) -> (y) {\n y = planish.Pointwise(a, b) {steps = [\"Greater 0 "
     "1\", \"Mul 0 1\", \"Where 2 3 0\"]} @e\n}",
     "cpu.pointwise"},
    {"greater", "graph \"g\" (a: f32[4,33], b: f32[33]) -> (y) {\n y = Greater(a, b) @e\n}", "cpu.pointwise"},
    {"less_or_equal_i32", "graph \"g\" (a: i32[4,9], b: i32[9]) -> (y) {\n y = LessOrEqual(a, b) @e\n}",
     "cpu.reference", 0, -9, 9},
    {"and", "graph \"g\" (a: bool[4,1,33], b: bool[3,33]) -> (y) {\n y = And(a, b) @e\n}", "cpu.pointwise"},
    {"xor", "graph \"g\" (a: bool[4,33], b: bool[4,33]) -> (y) {\n y = Xor(a, b) @e\n}", "cpu.pointwise"},
    {"not", "graph \"g\" (a: bool[4,33]) -> (y) {\n y = Not(a) @e\n}", "cpu.pointwise"},
    {"selu", "graph \"g\" (a: f32[1,13,5,5]) -> (y) {\n y = Selu(a) @e\n}", "cpu.pointwise", 5e-5, -5, 5},
    {"celu", "graph \"g\" (a: f32[1,13,5,5]) -> (y) {\n y = Celu(a) {alpha = 2.0} @e\n}", "cpu.pointwise", 5e-5, -5, 5},
    {"softsign", "graph \"g\" (a: f32[1,13,5,5]) -> (y) {\n y = Softsign(a) @e\n}", "cpu.pointwise", 5e-5, -5, 5},
    {"large", "graph \"g\" (a: f32[3,1000,40], b: f32[40]) -> (y) {\n y = Add(a, b) @e\n}", "cpu.pointwise"},
    {"add_i64", "graph \"g\" (a: i64[4,9], b: i64[9]) -> (y) {\n y = Add(a, b) @e\n}", "cpu.reference", 0, -9, 9},
};

const ConformanceCase kMove[] = {
    {"concat_channels",
     "graph \"g\" (a: f32[2,16,5,5], b: f32[2,32,5,5]) -> (y) {\n y = Concat(a, b) {axis = 1} "
     "@v\n}",
     "cpu.move"},
    {"concat_channels_odd",
     "graph \"g\" (a: f32[2,5,5,5], b: f32[2,3,5,5]) -> (y) {\n y = Concat(a, b) {axis = 1} "
     "@v\n}",
     "cpu.move"},
    {"concat_last",
     "graph \"g\" (a: f32[2,5,3], b: f32[2,5,4], c: f32[2,5,1]) -> (y) {\n y = Concat(a, b, c) {axis = "
     "-1} @v\n}",
     "cpu.move"},
    {"split_channels",
     "graph \"g\" (a: f32[2,32,5,5]) -> (y, z) {\n y, z = Split(a) {axis = 1, num_outputs = 2} "
     "@v\n}",
     "cpu.move"},
    {"split_uneven",
     "graph \"g\" (a: f32[2,7,5]) -> (y, z) {\n const s: i64[2] = [3, 4]\n y, z = Split(a, s) {axis = "
     "1} @v\n}",
     "cpu.move"},
    {"slice_channels",
     "graph \"g\" (a: f32[2,48,5,5]) -> (y) {\n const s: i64[1] = [16]\n const e: i64[1] = [48]\n "
     "const x: i64[1] = [1]\n y = Slice(a, s, e, x) @v\n}",
     "cpu.move"},
    {"slice_steps",
     "graph \"g\" (a: f32[2,16,9,9]) -> (y) {\n const s: i64[2] = [1, -1]\n const e: i64[2] = [9, -10]\n "
     "const x: i64[2] = [2, 3]\n const t: i64[2] = [2, -3]\n y = Slice(a, s, e, x, t) @v\n}",
     "cpu.move"},
    {"transpose_nchw_nhwc", "graph \"g\" (a: f32[2,16,5,7]) -> (y) {\n y = Transpose(a) {perm = [0,2,3,1]} @v\n}",
     "cpu.move"},
    {"transpose_heads", "graph \"g\" (a: f32[2,17,4,8]) -> (y) {\n y = Transpose(a) {perm = [0,2,1,3]} @v\n}",
     "cpu.move"},
    {"transpose_default", "graph \"g\" (a: f32[3,4,5]) -> (y) {\n y = Transpose(a) @v\n}", "cpu.move"},
    {"transpose_i64", "graph \"g\" (a: i64[3,4]) -> (y) {\n y = Transpose(a) @v\n}", "cpu.reference", 0, -9, 9},
    {"transpose_f16", "graph \"g\" (a: f16[3,4,6]) -> (y) {\n y = Transpose(a) {perm = [1,0,2]} @v\n}",
     "cpu.reference"},
    {"expand", "graph \"g\" (a: f32[1,5,1]) -> (y) {\n const s: i64[4] = [2, 3, 1, 7]\n y = Expand(a, s) @v\n}",
     "cpu.reference"},
    {"reformat", "graph \"g\" (a: f32[2,19,5,7]) -> (y) {\n y = planish.Reformat(a) @v\n}", "cpu.onednn.reformat"},
    {"reformat_3d", "graph \"g\" (a: f32[2,19,5]) -> (y) {\n y = planish.Reformat(a) @v\n}", "cpu.onednn.reformat"},
    {"reformat_bf16", "graph \"g\" (a: bf16[2,19,5,7]) -> (y) {\n y = planish.Reformat(a) @v\n}",
     "cpu.onednn.reformat"},
};

const ConformanceCase kRows[] = {
    {"layer_norm",
     "graph \"g\" (x: f32[2,5,48]) -> (y) {\n const s: f32[48] = seed(1)\n const b: f32[48] = seed(2)\n "
     "y = LayerNormalization(x, s, b) {axis = -1, epsilon = 0.00001} @n\n}",
     "cpu.normalize"},
    {"layer_norm_two_axes",
     "graph \"g\" (x: f32[3,4,6]) -> (y) {\n const s: f32[4,6] = seed(1)\n y = "
     "LayerNormalization(x, s) {axis = 1} @n\n}",
     "cpu.reference"},
    {"rms_norm",
     "graph \"g\" (x: f32[2,5,33]) -> (y) {\n const s: f32[33] = seed(1)\n y = RMSNormalization(x, s) "
     "@n\n}",
     "cpu.normalize"},
    {"softmax_last", "graph \"g\" (x: f32[2,5,33]) -> (y) {\n y = Softmax(x) @n\n}", "cpu.softmax", 5e-5, -9, 9},
    {"softmax_channels", "graph \"g\" (x: f32[2,21,5,7]) -> (y) {\n y = Softmax(x) {axis = 1} @n\n}", "cpu.softmax",
     5e-5, -9, 9},
    {"softmax_first", "graph \"g\" (x: f32[6,300]) -> (y) {\n y = Softmax(x) {axis = 0} @n\n}", "cpu.softmax"},
    {"softmax_dfl", "graph \"g\" (x: f32[1,16,4,50]) -> (y) {\n y = Softmax(x) {axis = 1} @n\n}", "cpu.softmax"},
    {"reduce_mean_spatial",
     "graph \"g\" (x: f32[2,24,5,7]) -> (y) {\n const a: i64[2] = [2, 3]\n y = ReduceMean(x, a) "
     "{keepdims = 1} @n\n}",
     "cpu.reference"},
    {"reduce_mean_last",
     "graph \"g\" (x: f32[2,5,33]) -> (y) {\n const a: i64[1] = [-1]\n y = ReduceMean(x, a) "
     "{keepdims = 0} @n\n}",
     "cpu.reference"},
    {"reduce_max_last",
     "graph \"g\" (x: f32[2,5,33]) -> (y) {\n const a: i64[1] = [-1]\n y = ReduceMax(x, a) {keepdims = 0} @n\n}",
     "cpu.reduce_mean"},
    {"reduce_max_classes",
     "graph \"g\" (x: f32[2,7,133]) -> (y) {\n const a: i64[1] = [1]\n y = ReduceMax(x, a) {keepdims = 0} @n\n}",
     "cpu.reduce_mean"},
    {"reduce_min_spatial",
     "graph \"g\" (x: f32[2,24,5,7]) -> (y) {\n const a: i64[2] = [2, 3]\n y = ReduceMin(x, a) @n\n}",
     "cpu.reduce_mean"},
    {"lrn", "graph \"g\" (x: f32[2,16,6,7]) -> (y) {\n y = LRN(x) {size = 5, alpha = 0.1, bias = 2.0} @n\n}",
     "cpu.onednn.lrn", 5e-5, -3, 3},
    {"lrn_even", "graph \"g\" (x: f32[2,16,6,7]) -> (y) {\n y = LRN(x) {size = 4, beta = 0.5} @n\n}", "cpu.reference",
     5e-5, -3, 3},
    {"resize_linear",
     "graph \"g\" (x: f32[1,16,5,6]) -> (y) {\n const s: i64[4] = [1, 16, 13, 9]\n y = Resize(x, _, _, "
     "s) {mode = \"linear\"} @n\n}",
     "cpu.reference"},
};

const ConformanceCase kIndexed[] = {
    {"log_softmax_last", "graph \"g\" (x: f32[2,5,33]) -> (y) {\n y = LogSoftmax(x) @n\n}", "cpu.log_softmax", 5e-5,
     -30, 30},
    {"log_softmax_half", "graph \"g\" (x: f16[2,5,33]) -> (y) {\n y = LogSoftmax(x) @n\n}", "cpu.log_softmax", 2e-3, -9,
     9},
    {"log_softmax_channels", "graph \"g\" (x: f32[2,5,33]) -> (y) {\n y = LogSoftmax(x) {axis = 1} @n\n}",
     "cpu.reference"},
    {"top_k_rows", "graph \"g\" (x: f32[7,301]) -> (y, i) {\n const k: i64[1] = [9]\n y, i = TopK(x, k) @n\n}",
     "cpu.top_k"},
    {"top_k_all",
     "graph \"g\" (x: f32[3,40]) -> (y, i) {\n const k: i64[1] = [40]\n y, i = TopK(x, k) {largest = 0} "
     "@n\n}",
     "cpu.top_k"},
    {"top_k_long", "graph \"g\" (x: f32[1,150001]) -> (y, i) {\n const k: i64[1] = [300]\n y, i = TopK(x, k) @n\n}",
     "cpu.top_k"},
    {"top_k_ties",
     "graph \"g\" (x: f32[2,8]) -> (y, i) {\n const z: f32[2,8] = [0.0, -0.0, 1.0, 1.0, inf, -1.0, nan, 0.0, -inf, "
     "2.0, nan, "
     "2.0, nan, 2.0, -inf, 2.0]\n const k: i64[1] = [6]\n y, i = TopK(z, k) @n\n}",
     "cpu.top_k"},
    {"top_k_smallest_with_nan",
     "graph \"g\" (x: f32[2,8]) -> (y, i) {\n const z: f32[2,8] = [0.0, -0.0, 1.0, 1.0, inf, -1.0, nan, 0.0, nan, nan, "
     "nan, "
     "nan, nan, 2.0, -inf, 2.0]\n const k: i64[1] = [4]\n y, i = TopK(z, k) {largest = 0} @n\n}",
     "cpu.top_k"},
    {"arg_max_last", "graph \"g\" (x: f32[5,301]) -> (y) {\n y = ArgMax(x) {axis = -1} @n\n}", "cpu.arg_reduce"},
    {"arg_min_classes",
     "graph \"g\" (x: f32[2,21,150]) -> (y) {\n y = ArgMin(x) {axis = 1, keepdims = 0, select_last_index = 1} @n\n}",
     "cpu.arg_reduce"},
    {"arg_max_with_nan",
     "graph \"g\" (x: f32[3,4]) -> (y) {\n const z: f32[3,4] = [1.0, nan, 2.0, nan, 3.0, 3.0, -inf, 3.0, nan, inf, "
     "nan, 0.0]\n y = ArgMax(z) {axis = 1} @n\n}",
     "cpu.arg_reduce"},
    {"arg_max_last_with_nan",
     "graph \"g\" (x: f32[3,4]) -> (y) {\n const z: f32[3,4] = [1.0, nan, 2.0, nan, 3.0, 3.0, -inf, 3.0, nan, inf, "
     "nan, 0.0]\n y = ArgMax(z) {axis = 0, select_last_index = 1} @n\n}",
     "cpu.arg_reduce"},
    {"gather_elements_middle",
     "graph \"g\" (x: f32[4,9,7], i: i64[3,20,6]) -> (y) {\n y = GatherElements(x, i) {axis = 1} @n\n}",
     "cpu.gather_elements", 0, -9, 9},
    {"gather_elements_last",
     "graph \"g\" (x: i64[4,9,7], i: i32[4,8,20]) -> (y) {\n y = GatherElements(x, i) {axis = -1} @n\n}",
     "cpu.gather_elements", 0, -7, 7},
    {"gather_elements_first", "graph \"g\" (x: u8[7], i: i64[50]) -> (y) {\n y = GatherElements(x, i) @n\n}",
     "cpu.gather_elements", 0, 0, 7},
    {"scatter_elements_last",
     "graph \"g\" (x: f32[4,9,7], i: i64[3,8,6], u: f32[3,8,6]) -> (y) {\n y = ScatterElements(x, i, u) {axis = 2} "
     "@n\n}",
     "cpu.scatter_elements", 0, -7, 7},
    {"scatter_elements_first",
     "graph \"g\" (x: f16[9,7], i: i32[8,6], u: f16[8,6]) -> (y) {\n y = ScatterElements(x, i, u) @n\n}",
     "cpu.scatter_elements", 0, -9, 9},
    {"scatter_elements_add",
     "graph \"g\" (x: f32[4,9,7], i: i64[4,20,6], u: f32[4,20,6]) -> (y) {\n y = ScatterElements(x, i, u) {axis = 1, "
     "reduction = \"add\"} @n\n}",
     "cpu.scatter_elements", 1e-6, -9, 9},
    {"scatter_elements_max",
     "graph \"g\" (x: f32[4,9,7], i: i32[4,20,6], u: f32[4,20,6]) -> (y) {\n y = ScatterElements(x, i, u) {axis = 1, "
     "reduction = \"max\"} @n\n}",
     "cpu.scatter_elements", 0, -9, 9},
    {"scatter_nd_elements",
     "graph \"g\" (x: f32[6,6,6], i: i64[50,3], u: f32[50]) -> (y) {\n y = ScatterND(x, i, u) @n\n}", "cpu.scatter_nd",
     0, -6, 6},
    {"scatter_nd_rows",
     "graph \"g\" (x: i32[6,5,4], i: i64[3,2,1], u: i32[3,2,5,4]) -> (y) {\n y = ScatterND(x, i, u) @n\n}",
     "cpu.scatter_nd", 0, -6, 6},
    {"deform_conv",
     "graph \"g\" (x: f32[2,6,13,11], o: f32[2,18,13,11]) -> (y) {\n const w: f32[7,6,3,3] = seed(1)\n y = "
     "DeformConv(x, w, o) {pads = [1,1,1,1]} @n\n}",
     "cpu.deform_conv", 5e-5, -3, 3},
    {"deform_conv_groups",
     "graph \"g\" (x: f32[1,6,13,11], o: f32[1,36,7,6], m: f32[1,18,7,6]) -> (y) {\n const w: f32[4,3,3,3] = seed(1)\n "
     "const b: f32[4] = seed(2)\n y = DeformConv(x, w, o, b, m) {pads = [1,1,1,1], strides = [2,2], group = 2, "
     "offset_group = 2} @n\n}",
     "cpu.deform_conv", 5e-5, -20, 20},
};

const ConformanceCase kSample[] = {
    {"grid_sample_linear", "graph \"g\" (x: f32[2,5,7,6], g: f32[2,9,11,2]) -> (y) {\n y = GridSample(x, g) @s\n}",
     "cpu.grid_sample", 5e-5, -1.5, 1.5},
    {"grid_sample_cubic_border",
     "graph \"g\" (x: f32[1,3,7,6], g: f32[1,9,11,2]) -> (y) {\n y = GridSample(x, g) {mode = \"cubic\", padding_mode "
     "= "
     "\"border\", align_corners = 1} @s\n}",
     "cpu.grid_sample", 5e-5, -1.5, 1.5},
    {"grid_sample_nearest_reflection",
     "graph \"g\" (x: f32[1,3,7,6], g: f32[1,9,11,2]) -> (y) {\n y = GridSample(x, g) {mode = \"nearest\", "
     "padding_mode = \"reflection\"} @s\n}",
     "cpu.grid_sample", 5e-5, -2.5, 2.5},
    {"grid_sample_3d", "graph \"g\" (x: f32[1,3,4,5,6], g: f32[1,3,4,5,3]) -> (y) {\n y = GridSample(x, g) @s\n}",
     "cpu.grid_sample", 5e-5, -1.2, 1.2},
    {"roi_align",
     "graph \"g\" (x: f32[2,5,20,25]) -> (y) {\n const r: f32[6,4] = seed(3, 0, 90)\n const b: i64[6] = [0, 1, 1, 0, "
     "0, "
     "1]\n y = RoiAlign(x, r, b) {output_height = 3, output_width = 5, sampling_ratio = 2, spatial_scale = 0.25} @s\n}",
     "cpu.roi_align"},
    {"roi_align_adaptive",
     "graph \"g\" (x: f32[1,3,40,45]) -> (y) {\n const r: f32[3,4] = [1, 2, 38, 30, 5, 5, 6, 6, -9, -9, 60, 60]\n "
     "const "
     "b: i64[3] = [0, 0, 0]\n y = RoiAlign(x, r, b) {output_height = 2, output_width = 3, "
     "coordinate_transformation_mode = \"output_half_pixel\"} @s\n}",
     "cpu.roi_align"},
    {"roi_align_max",
     "graph \"g\" (x: f32[1,3,20,25]) -> (y) {\n const r: f32[1,4] = [1, 2, 18, 10]\n const b: i64[1] = [0]\n y = "
     "RoiAlign(x, r, b) {output_height = 3, output_width = 3, mode = \"max\"} @s\n}",
     "cpu.reference"},
};

const ConformanceCase kAttention[] = {
    {"attention_4d",
     "graph \"g\" (q: f32[2,3,9,16], k: f32[2,3,11,16], v: f32[2,3,11,8]) -> (y) {\n y = Attention(q, "
     "k, v) @a\n}",
     "cpu.attention"},
    {"attention_3d",
     "graph \"g\" (q: f32[2,9,48], k: f32[2,11,48], v: f32[2,11,48]) -> (y) {\n y = Attention(q, k, v) "
     "{q_num_heads = 3, kv_num_heads = 3} @a\n}",
     "cpu.attention"},
    {"attention_merged",
     "graph \"g\" (x: f32[2,9,144]) -> (y) {\n y = planish.MergedAttention(x) {q_num_heads = 3, kv_num_heads = 3} "
     "@a\n}",
     "cpu.attention"},
    {"attention_merged_shared_keys_mask",
     "graph \"g\" (x: f32[2,9,160], m: f32[2,1,1,9]) -> (y) {\n y = planish.MergedAttention(x, m) {q_num_heads = 6, "
     "kv_num_heads = 2, is_causal = 1} @a\n}",
     "cpu.attention", 5e-5, -3, 3},
    {"attention_causal",
     "graph \"g\" (q: f32[1,2,7,16], k: f32[1,2,7,16], v: f32[1,2,7,16]) -> (y) {\n y = "
     "Attention(q, k, v) {is_causal = 1} @a\n}",
     "cpu.attention"},
    {"attention_scale",
     "graph \"g\" (q: f32[1,2,7,16], k: f32[1,2,7,16], v: f32[1,2,7,16]) -> (y) {\n y = "
     "Attention(q, k, v) {scale = 0.5} @a\n}",
     "cpu.attention"},
    {"attention_gqa",
     "graph \"g\" (q: f32[1,6,7,16], k: f32[1,2,7,16], v: f32[1,2,7,16]) -> (y) {\n y = Attention(q, "
     "k, v) @a\n}",
     "cpu.reference"},
    {"attention_float_mask",
     "graph \"g\" (q: f32[2,3,9,16], k: f32[2,3,11,16], v: f32[2,3,11,8], m: f32[9,11]) -> (y) "
     "{\n y = Attention(q, k, v, m) @a\n}",
     "cpu.attention", 5e-5, -3, 3},
    {"attention_mask_per_batch",
     "graph \"g\" (q: f32[2,3,9,16], k: f32[2,3,11,16], v: f32[2,3,11,8], m: "
     "f32[2,1,1,11]) -> (y) {\n y = Attention(q, k, v, m) @a\n}",
     "cpu.attention", 5e-5, -3, 3},
    {"attention_bool_mask",
     "graph \"g\" (q: f32[2,3,9,16], k: f32[2,3,11,16], v: f32[2,3,11,8], m: bool[9,11]) -> (y) "
     "{\n y = Attention(q, k, v, m) @a\n}",
     "cpu.reference"},
    {"attention_merged_bf16",
     "graph \"g\" (x: bf16[2,21,240], m: f32[2,1,21,21]) -> (y) {\n y = planish.MergedAttention(x, m) {q_num_heads = "
     "6, "
     "kv_num_heads = 2, is_causal = 1} @a\n}",
     "cpu.attention", 2e-2, -3, 3},
    {"attention_bf16_longer_than_what_is_widened_at_a_time",
     "graph \"g\" (q: bf16[1,2,150,16], k: bf16[1,2,139,16], v: bf16[1,2,139,8]) -> (y) {\n y = Attention(q, k, v) "
     "{is_causal = 1} @a\n}",
     "cpu.attention", 2e-2, -3, 3},
    {"attention_bf16_of_a_vision_transformer",
     "graph \"g\" (x: bf16[1,197,576]) -> (y) {\n y = planish.MergedAttention(x) {q_num_heads = 3, kv_num_heads = 3} "
     "@a\n}",
     "cpu.attention", 2e-2, -3, 3},
    {"attention_f16",
     "graph \"g\" (q: f16[2,3,19,16], k: f16[2,3,11,16], v: f16[2,3,11,8]) -> (y) {\n y = Attention(q, k, v) @a\n}",
     "cpu.attention", 2e-3, -3, 3},
    {"attention_softcap",
     "graph \"g\" (q: f32[1,2,7,16], k: f32[1,2,7,16], v: f32[1,2,7,16]) -> (y) {\n y = "
     "Attention(q, k, v) {softcap = 2.0} @a\n}",
     "cpu.reference"},
};

const ConformanceCase kRecurrent[] = {
    {"lstm",
     "graph \"g\" (x: f32[7,3,20]) -> (y, h, c) {\n const w: f32[1,72,20] = seed(1)\n const r: f32[1,72,18] = "
     "seed(2)\n const b: f32[1,144] = seed(3)\n y, h, c = LSTM(x, w, r, b) {hidden_size = 18} @r\n}",
     "cpu.recurrent"},
    {"lstm_bidirectional_with_states",
     "graph \"g\" (x: f32[5,2,8], h0: f32[2,2,16], c0: f32[2,2,16]) -> (y, h, c) {\n const w: f32[2,64,8] = "
     "seed(1)\n const r: f32[2,64,16] = seed(2)\n y, h, c = LSTM(x, w, r, _, _, h0, c0) {hidden_size = 16, "
     "direction = \"bidirectional\"} @r\n}",
     "cpu.recurrent"},
    {"lstm_lengths",
     "graph \"g\" (x: f32[6,3,8]) -> (y, h, c) {\n const w: f32[2,80,8] = seed(1)\n const r: f32[2,80,20] = "
     "seed(2)\n const l: i32[3] = [4, 6, 1]\n y, h, c = LSTM(x, w, r, _, l) {hidden_size = 20, direction = "
     "\"bidirectional\"} @r\n}",
     "cpu.recurrent"},
    {"lstm_wide",
     "graph \"g\" (x: f32[4,1,40]) -> (y, h, c) {\n const w: f32[1,1200,40] = seed(1)\n const r: f32[1,1200,300] "
     "= seed(2)\n y, h, c = LSTM(x, w, r) {hidden_size = 300, direction = \"reverse\"} @r\n}",
     "cpu.recurrent", 2e-4, -0.1, 0.1},
    {"lstm_batch_first",
     "graph \"g\" (x: f32[3,7,8]) -> (y, h) {\n const w: f32[1,64,8] = seed(1)\n const r: f32[1,64,16] = seed(2)\n "
     "y, h = LSTM(x, w, r) {hidden_size = 16, layout = 1} @r\n}",
     "cpu.recurrent"},
    {"lstm_peephole",
     "graph \"g\" (x: f32[3,2,8]) -> (y) {\n const w: f32[1,64,8] = seed(1)\n const r: f32[1,64,16] = seed(2)\n "
     "const p: f32[1,48] = seed(3)\n y = LSTM(x, w, r, _, _, _, _, p) {hidden_size = 16} @r\n}",
     "cpu.reference"},
    {"gru",
     "graph \"g\" (x: f32[7,3,20]) -> (y, h) {\n const w: f32[1,54,20] = seed(1)\n const r: f32[1,54,18] = "
     "seed(2)\n const b: f32[1,108] = seed(3)\n y, h = GRU(x, w, r, b) {hidden_size = 18} @r\n}",
     "cpu.recurrent"},
    {"gru_reset_after",
     "graph \"g\" (x: f32[7,3,20]) -> (y, h) {\n const w: f32[2,54,20] = seed(1)\n const r: f32[2,54,18] = "
     "seed(2)\n const b: f32[2,108] = seed(3)\n y, h = GRU(x, w, r, b) {hidden_size = 18, linear_before_reset = 1, "
     "direction = \"bidirectional\"} @r\n}",
     "cpu.recurrent"},
    {"gru_wide",
     "graph \"g\" (x: f32[3,1,40]) -> (y) {\n const w: f32[1,900,40] = seed(1)\n const r: f32[1,900,300] "
     "= seed(2)\n y = GRU(x, w, r) {hidden_size = 300} @r\n}",
     "cpu.recurrent", 2e-4, -0.1, 0.1},
    {"gru_lengths",
     "graph \"g\" (x: f32[6,3,8]) -> (y, h) {\n const w: f32[2,60,8] = seed(1)\n const r: f32[2,60,20] = "
     "seed(2)\n const l: i32[3] = [4, 6, 0]\n y, h = GRU(x, w, r, _, l) {hidden_size = 20, direction = "
     "\"bidirectional\"} @r\n}",
     "cpu.recurrent"},
    {"rnn",
     "graph \"g\" (x: f32[7,3,20]) -> (y, h) {\n const w: f32[1,18,20] = seed(1)\n const r: f32[1,18,18] = "
     "seed(2)\n const b: f32[1,36] = seed(3)\n y, h = RNN(x, w, r, b) {hidden_size = 18} @r\n}",
     "cpu.recurrent"},
    {"rnn_relu",
     "graph \"g\" (x: f32[3,2,8]) -> (y, h) {\n const w: f32[2,16,8] = seed(1)\n const r: f32[2,16,16] = "
     "seed(2)\n y, h = RNN(x, w, r) {hidden_size = 16, direction = \"bidirectional\", activations = [\"Relu\", "
     "\"relu\"]} @r\n}",
     "cpu.recurrent", 2e-4},
};

class CpuTactics : public testing::TestWithParam<ConformanceCase> {};

TEST_P(CpuTactics, AgreeWithTheReference) { check_conformance(GetParam()); }

const auto kName = [](const auto& row) { return std::string(row.param.label); };
INSTANTIATE_TEST_SUITE_P(Chain, CpuTactics, testing::ValuesIn(kChain), kName);
INSTANTIATE_TEST_SUITE_P(Conv, CpuTactics, testing::ValuesIn(kConv), kName);
INSTANTIATE_TEST_SUITE_P(Deconv, CpuTactics, testing::ValuesIn(kDeconv), kName);
INSTANTIATE_TEST_SUITE_P(MatMul, CpuTactics, testing::ValuesIn(kMatMul), kName);
INSTANTIATE_TEST_SUITE_P(WeightOnly, CpuTactics, testing::ValuesIn(kWeightOnly), kName);
INSTANTIATE_TEST_SUITE_P(Cast, CpuTactics, testing::ValuesIn(kCast), kName);
INSTANTIATE_TEST_SUITE_P(Pool, CpuTactics, testing::ValuesIn(kPool), kName);
INSTANTIATE_TEST_SUITE_P(Pointwise, CpuTactics, testing::ValuesIn(kPointwise), kName);
INSTANTIATE_TEST_SUITE_P(Move, CpuTactics, testing::ValuesIn(kMove), kName);
INSTANTIATE_TEST_SUITE_P(Rows, CpuTactics, testing::ValuesIn(kRows), kName);
INSTANTIATE_TEST_SUITE_P(Indexed, CpuTactics, testing::ValuesIn(kIndexed), kName);
INSTANTIATE_TEST_SUITE_P(Sample, CpuTactics, testing::ValuesIn(kSample), kName);
INSTANTIATE_TEST_SUITE_P(Attention, CpuTactics, testing::ValuesIn(kAttention), kName);
INSTANTIATE_TEST_SUITE_P(Recurrent, CpuTactics, testing::ValuesIn(kRecurrent), kName);

TEST(CpuTacticsInPlace, ResidualsAreSummedWhereTheOutputLies) {
  for (const ConformanceCase& c : kConv) {
    if (std::string_view(c.label) != "conv_residual") continue;
    const int before = overwriting_runs();
    check_conformance(c);
    EXPECT_GT(overwriting_runs(), before);
  }
}

/// Activations of fused layers: what the fusing passes produce must be computed by the fast tactic or be refused.
TEST(CpuTacticsActivations, AgreeWithTheReference) {
  struct Activation {
    const char* name;
    const char* attributes;
    const char* must;
  };
  const Activation activations[] = {
      {"Relu", "", "cpu.onednn.conv"},
      {"LeakyRelu", ", act_alpha = 0.2", "cpu.onednn.conv"},
      {"Sigmoid", "", "cpu.onednn.conv"},
      {"Tanh", "", "cpu.onednn.conv"},
      {"Swish", "", "cpu.onednn.conv"},
      {"HardSwish", "", "cpu.onednn.conv"},
      {"HardSigmoid", ", act_alpha = 0.3, act_beta = 0.4", "cpu.onednn.conv"},
      {"Elu", ", act_alpha = 0.7", "cpu.onednn.conv"},
      {"Clip", ", act_alpha = -0.5, act_beta = 1.5", "cpu.onednn.conv"},
      {"Mish", "", "cpu.onednn.conv"},
      {"Gelu", "", "cpu.onednn.conv"},
      {"Gelu", ", act_approximate = \"tanh\"", "cpu.onednn.conv"},
      {"Softplus", "", "cpu.onednn.conv"},
      {"Abs", "", "cpu.onednn.conv"},
      {"Exp", "", "cpu.onednn.conv"},
      {"Selu", "", "cpu.reference"},
  };
  for (const Activation& a : activations) {
    const std::string text =
        "graph \"g\" (x: f32[1,16,5,5]) -> (y) {\n const w: f32[16,16,1,1] = seed(1)\n y = planish.FusedConv(x, w) "
        "{activation = \"" +
        std::string(a.name) + "\"" + a.attributes + "} @c\n}";
    check_conformance({a.name, text.c_str(), a.must});
  }
}

}  // namespace
}  // namespace planish::test
