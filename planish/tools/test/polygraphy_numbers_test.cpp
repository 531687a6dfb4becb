#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "planish/tools/polygraphy/array_stats.h"
#include "planish/tools/polygraphy/layer_marker.h"
#include "planish/tools/polygraphy/numpy_random.h"
#include "planish/tools/polygraphy/numpy_text.h"
#include "planish/tools/polygraphy/options.h"
#include "planish/tools/polygraphy/tool.h"

namespace planish::tools {
namespace {

std::vector<int64_t> drawn(DType dtype, int64_t low, int64_t high) {
  return RandomState(3).integers(dtype, {9}, low, high).to_i64();
}

using Ints = std::vector<int64_t>;

// Expected numbers are those of numpy.random.RandomState.
TEST(RandomState, FloatsAreNumpys) {
  RandomState random(1);
  const Tensor first = random.floats(DType::f64, {3}, 0, 1);
  EXPECT_DOUBLE_EQ(first.at(0), 4.17022004702574e-01);
  EXPECT_DOUBLE_EQ(first.at(1), 7.203244934421581e-01);
  EXPECT_NEAR(first.at(2), 1.14374817e-04, 1e-12);
  const Tensor many = RandomState(7).floats(DType::f64, {700}, 0, 1);
  EXPECT_DOUBLE_EQ(many.at(623), 0.06993906408407957);
  EXPECT_DOUBLE_EQ(many.at(699), 0.33871568992326884);
  EXPECT_FLOAT_EQ(static_cast<float>(RandomState(1).floats(DType::f32, {1}, -1, 3).at(0)), 4 * 0.417022F - 1);
  EXPECT_TRUE(std::isinf(RandomState(1).floats(DType::f32, {1}, 0, std::numeric_limits<double>::infinity()).at(0)));
}

TEST(RandomState, IntegersAreNumpysInEveryType) {
  EXPECT_EQ(drawn(DType::i64, 0, 10), (Ints{10, 8, 9, 3, 8, 8, 0, 5, 3}));
  EXPECT_EQ(drawn(DType::i32, -3, 100), (Ints{21, 0, 53, 69, -3, 18, 16, 71, 38}));
  EXPECT_EQ(drawn(DType::i8, 0, 5), (Ints{2, 1, 5, 0, 3, 2, 1, 4, 1}));
  EXPECT_EQ(drawn(DType::u8, 0, 200), (Ints{106, 23, 1, 141, 152, 6, 27, 18, 44}));
  EXPECT_EQ(drawn(DType::boolean, 0, 1), (Ints{0, 1, 0, 1, 0, 1, 1, 0, 1}));
  EXPECT_EQ(drawn(DType::i16, 0, 300), (Ints{257, 152, 27, 249, 131, 262, 120, 271, 256}));
  EXPECT_EQ(drawn(DType::i64, 0, int64_t{1} << 40),
            (Ints{1073054410371, 867663915883, 593770158997, 511502908838, 646360949570, 298080869224, 474820540001,
                  655354542587, 144988068219}));
  EXPECT_EQ(drawn(DType::i32, 5, 5), Ints(9, 5));
}

TEST(ArrayStats, TextIsPolygraphys) {
  const std::vector<float> values{1, -2, 3, 4};
  EXPECT_EQ(
      stats_text(widened(Tensor::from_f32(values).reshaped({2, 2}))),
      "mean=1.5, std-dev=2.2913, var=5.25, median=2, min=-2 at (0, 1), max=4 at (1, 1), avg-magnitude=2.5, p90=3.7, "
      "p95=3.85, p99=3.97");
  const std::vector<float> equal{7, 7};
  EXPECT_NE(stats_text(widened(Tensor::from_f32(equal))).find("min=7 at (0,), max=7 at (0,)"), std::string::npos);
}

TEST(ArrayStats, NaNAndNothing) {
  const std::vector<float> values{1, NAN, 3};
  const std::string text = stats_text(widened(Tensor::from_f32(values)));
  EXPECT_NE(text.find("min=nan at (1,), max=nan at (1,)"), std::string::npos) << text;
  EXPECT_EQ(histogram_text(widened(Tensor::from_f32(values))), "");
  const Values none = widened(Tensor(DType::f32, {0, 3}));
  EXPECT_NE(stats_text(none).find("mean=nan"), std::string::npos);
  EXPECT_EQ(histogram_text(none), "");
}

TEST(Histogram, TenBinsAndBars) {
  std::vector<float> values(19, 0);
  values.push_back(3.8208985F);
  EXPECT_EQ(histogram_text(widened(Tensor::from_f32(values))),
            "---- Histogram ----\n"
            "Bin Range      |  Num Elems | Visualization\n"
            "(0    , 0.382) |         19 | ########################################\n"
            "(0.382, 0.764) |          0 | \n"
            "(0.764, 1.15 ) |          0 | \n"
            "(1.15 , 1.53 ) |          0 | \n"
            "(1.53 , 1.91 ) |          0 | \n"
            "(1.91 , 2.29 ) |          0 | \n"
            "(2.29 , 2.67 ) |          0 | \n"
            "(2.67 , 3.06 ) |          0 | \n"
            "(3.06 , 3.44 ) |          0 | \n"
            "(3.44 , 3.82 ) |          1 | ##\n");
  const std::vector<float> one{2};
  EXPECT_NE(histogram_text(widened(Tensor::from_f32(one))).find("(1.5, 1.6)"), std::string::npos);
}

TEST(Fnmatch, AsPython) {
  EXPECT_TRUE(fnmatches("*", ""));
  EXPECT_TRUE(fnmatches("conv_*", "conv_1"));
  EXPECT_TRUE(fnmatches("*/relu?:0", "block1/relu2:0"));
  EXPECT_TRUE(fnmatches("a[0-3]b", "a2b"));
  EXPECT_FALSE(fnmatches("a[!0-3]b", "a2b"));
  EXPECT_FALSE(fnmatches("conv", "conv1"));
  EXPECT_TRUE(fnmatches("[", "["));
  const std::string stars(40, '*');
  EXPECT_FALSE(fnmatches(stars + "b", std::string(2000, 'a')));
}

/// Smallest number of layers found when `needed` or more pass.
int64_t search(int64_t layers, int64_t needed, bool linear) {
  LayerMarker marker(layers, linear);
  for (int step = 0; step < 1000; ++step)
    if (marker.step(marker.marked() >= needed)) return marker.found() ? marker.good() : -1;
  return -2;
}

TEST(LayerMarker, FindsTheSmallestNumber) {
  for (int64_t layers = 1; layers < 40; ++layers)
    for (int64_t needed = 1; needed <= layers + 1; ++needed) {
      const int64_t expected = needed <= layers ? needed : -1;
      EXPECT_EQ(search(layers, needed, false), expected) << layers << " layers, " << needed << " needed";
      EXPECT_EQ(search(layers, needed, true), expected) << layers << " layers, " << needed << " needed";
    }
  EXPECT_EQ(search(5, 0, true), 0);
  EXPECT_GE(LayerMarker(38, false).remaining(), 5);
}

TEST(Shapes, EverySpelling) {
  const auto shapes = parse_shape_options({"image:[1,3,224,224]", "a:b:[ 10 ]", "old,1x3", "s:[]"}, "--input-shapes");
  ASSERT_TRUE(shapes.ok());
  EXPECT_EQ((*shapes)[0], (std::pair{std::string("image"), Ints{1, 3, 224, 224}}));
  EXPECT_EQ((*shapes)[1], (std::pair{std::string("a:b"), Ints{10}}));
  EXPECT_EQ((*shapes)[2], (std::pair{std::string("old"), Ints{1, 3}}));
  EXPECT_EQ((*shapes)[3], (std::pair{std::string("s"), Ints{}}));
  for (const char* bad : {"image", "image:[1,x]", ":[1]"}) {
    const auto result = parse_shape_options({bad}, "--input-shapes");
    ASSERT_FALSE(result.ok()) << bad;
    EXPECT_NE(result.error().message().find("image:[1,3,224,224]"), std::string::npos);
  }
}

TEST(Options, TakeValuesAsArgparseDoes) {
  const auto parsed = parse_options(run_syntax(), {"m.onnx", "--trt", "--onnxrt", "--trt", "--atol", "1e-3", "y:1e-2",
                                                   "-vv", "--iter=4", "--val-range", "[-1,1]", "--seed", "-1"});
  ASSERT_TRUE(parsed.ok()) << parsed.error().what;
  EXPECT_EQ(parsed->positionals, std::vector<std::string>{"m.onnx"});
  EXPECT_EQ(parsed->values("--atol"), (std::vector<std::string>{"1e-3", "y:1e-2"}));
  EXPECT_EQ(parsed->count("-v"), 2);
  EXPECT_EQ(parsed->text("--iterations"), "4");
  EXPECT_EQ(parsed->text("--seed"), "-1");
  EXPECT_EQ(std::vector(parsed->sequence.begin(), parsed->sequence.begin() + 3),
            (std::vector<std::string>{"--trt", "--onnxrt", "--trt"}));
  const auto inspect = parse_options(inspect_data_syntax(), {"-n", "-1", "-as", "x.json"});
  EXPECT_FALSE(inspect.ok());
}

TEST(Options, SayWhatIsWrong) {
  const auto error_of = [](const ToolSyntax& syntax, std::vector<std::string> arguments) {
    const auto parsed = parse_options(syntax, arguments);
    return parsed.ok() ? std::string() : parsed.error().what;
  };
  EXPECT_NE(error_of(run_syntax(), {"m.onnx", "--atoll", "3"}).find("did you mean --atol?"), std::string::npos);
  EXPECT_NE(error_of(run_syntax(), {"m.onnx", "--load"}).find("ambiguous option: --load could match"),
            std::string::npos);
  EXPECT_NE(error_of(run_syntax(), {"m.onnx", "--atol"}).find("expected at least one argument"), std::string::npos);
  EXPECT_NE(error_of(run_syntax(), {"m.onnx", "--compare", "l3"}).find("invalid choice: 'l3'"), std::string::npos);
  EXPECT_NE(error_of(convert_syntax(), {"--int8"}).find("the following arguments are required: model_file"),
            std::string::npos);
  EXPECT_NE(error_of(run_syntax(), {"a.onnx", "b.onnx"}).find("unrecognized arguments: b.onnx"), std::string::npos);
}

TEST(Options, HelpCarriesAnExample) {
  for (const ToolSyntax* syntax :
       {&run_syntax(), &convert_syntax(), &inspect_data_syntax(), &inspect_capability_syntax(), &data_merge_syntax(),
        &data_concat_syntax(), &debug_precision_syntax()}) {
    const std::string help = help_of(*syntax);
    EXPECT_NE(help.find(std::string("\nexample:\n  polygraphy ")), std::string::npos) << help;
    EXPECT_EQ(help.rfind("usage: " + std::string(syntax->program), 0), 0u);
  }
}

}  // namespace
}  // namespace planish::tools
