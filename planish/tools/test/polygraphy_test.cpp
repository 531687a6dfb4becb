#include "planish/tools/polygraphy/polygraphy.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "planish/tools/polygraphy/inspect_arguments.h"
#include "planish/tools/polygraphy/model_text.h"
#include "planish/tools/polygraphy/numpy_text.h"
#include "planish/tools/test/golden.h"

namespace planish::tools {
namespace {

struct Outcome {
  int code = 0;
  std::string out;
  std::string err;
};

Outcome call(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "polygraphy");
  std::vector<char*> argv;
  for (std::string& a : arguments) argv.push_back(a.data());
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  Outcome outcome;
  outcome.code = polygraphy_main(static_cast<int>(argv.size()), argv.data());
  std::fflush(stdout);
  outcome.out = testing::internal::GetCapturedStdout();
  outcome.err = testing::internal::GetCapturedStderr();
  return outcome;
}

/// The first line holds the absolute path.
std::string without_first_line(const std::string& text) { return text.substr(text.find('\n') + 1); }

Tensor f32(const Shape& shape, std::vector<float> values) {
  Tensor t(DType::f32, shape);
  std::copy(values.begin(), values.end(), t.data<float>());
  return t;
}

TEST(PolygraphyInspect, OnnxModel) {
  const Outcome plain = call({"inspect", "model", "demo/digits.onnx"});
  EXPECT_EQ(plain.code, 0);
  EXPECT_EQ(plain.out.rfind("[I] Loading model: /", 0), 0u) << plain.out;
  expect_golden("polygraphy_digits.txt", without_first_line(plain.out));
  const Outcome layers = call({"inspect", "model", "demo/digits.onnx", "--show", "layers", "attrs"});
  expect_golden("polygraphy_digits_layers.txt", without_first_line(layers.out));
  EXPECT_EQ(layers.out, call({"inspect", "model", "--show", "layers", "attrs", "demo/digits.onnx"}).out);
  EXPECT_EQ(layers.out, call({"inspect", "model", "--show", "layers", "attrs", "--", "demo/digits.onnx"}).out);
  EXPECT_EQ(layers.out, call({"inspect", "model", "demo/digits.onnx", "--mode=attrs"}).out);
}

TEST(PolygraphyInspect, AsNetwork) {
  const Outcome network = call({"inspect", "model", "demo/digits.onnx", "--display-as", "trt"});
  EXPECT_EQ(network.code, 0);
  EXPECT_NE(network.out.find("[I] ==== TensorRT Network ====\n    Name: digits | Explicit Batch Network"),
            std::string::npos);
  EXPECT_NE(network.out.find("---- 1 Network Input(s) ----"), std::string::npos);
  EXPECT_NE(network.out.find("---- 38 Layer(s) ----"), std::string::npos);
}

TEST(PolygraphyInspect, ExitCodes) {
  EXPECT_EQ(call({}).code, 2);
  EXPECT_EQ(call({"-h"}).code, 0);
  EXPECT_EQ(call({"--version"}).out.rfind("Polygraphy | Version: ", 0), 0u);
  EXPECT_EQ(call({"insepct"}).code, 2);
  EXPECT_EQ(call({"inspect", "modle"}).code, 2);
  EXPECT_EQ(call({"inspect", "model"}).code, 2);
  const Outcome unknown = call({"inspect", "model", "demo/digits.onnx", "--shw", "layers"});
  EXPECT_EQ(unknown.code, 2);
  EXPECT_NE(unknown.err.find("did you mean --show?"), std::string::npos);
  const Outcome choice = call({"inspect", "model", "demo/digits.onnx", "--show", "layer"});
  EXPECT_EQ(choice.code, 2);
  EXPECT_NE(choice.err.find("invalid choice: 'layer' (choose from 'layers', 'attrs', 'weights')"), std::string::npos);
  const Outcome absent = call({"inspect", "model", "no_such.onnx"});
  EXPECT_EQ(absent.code, 1);
  EXPECT_EQ(absent.err.rfind("[!] ", 0), 0u) << absent.err;
  const Outcome foreign = call({"inspect", "model", "README.md"});
  EXPECT_EQ(foreign.code, 1);
  EXPECT_NE(foreign.err.find("[!] Could not automatically determine model type for: /"), std::string::npos);
}

TEST(PolygraphyInspect, OtherToolsNameThePackage) {
  for (const char* tool : {"check", "template", "surgeon"}) {
    const Outcome outcome = call({tool, "model.onnx"});
    EXPECT_EQ(outcome.code, 1);
    EXPECT_NE(outcome.err.find("the polygraphy Python package"), std::string::npos);
  }
}

TEST(PolygraphyInspect, QuietAndSilent) {
  EXPECT_EQ(call({"inspect", "model", "demo/digits.onnx", "-q"}).out, "");
  EXPECT_EQ(call({"inspect", "model", "no_such.onnx", "--silent"}).err, "");
  EXPECT_NE(call({"inspect", "model", "no_such.onnx", "-qqq"}).err, "");
}

TEST(PolygraphyInspect, WarnsAboutOptionsWithoutEffect) {
  const Outcome outcome = call({"inspect", "model", "demo/digits.onnx", "--shape-inference"});
  EXPECT_EQ(outcome.code, 0);
  EXPECT_NE(outcome.out.find("[W] --shape-inference has no effect here"), std::string::npos);
}

TEST(Indented, EveryLineEvenEmptyOnes) {
  EXPECT_EQ(indented("a\n\nb\n"), "    a\n    \n    b");
  EXPECT_EQ(indented(""), "");
}

TEST(TensorSet, AbsentInputsKeepTheirPlace) {
  EXPECT_EQ(tensor_set({{"x", "[t]"}, {"", ""}, {"y", ""}}), "{x [t],\n ,\n y}");
  EXPECT_EQ(tensor_set({{"", ""}, {"y", ""}}), "{,\n y}");
  EXPECT_EQ(tensor_set({}), "{}");
}

// Expected texts are those of NumPy 2.
TEST(NumpyText, Floats) {
  EXPECT_EQ(numpy_text(f32({3}, {1, 2, 3})), "[1. 2. 3.]");
  EXPECT_EQ(numpy_text(f32({3}, {1e-5F, 1, 1000})), "[1.e-05 1.e+00 1.e+03]");
  EXPECT_EQ(numpy_text(f32({2}, {123456.789F, 0.001234F})), "[1.2345679e+05 1.2340000e-03]");
  EXPECT_EQ(numpy_text(f32({3}, {INFINITY, -1.5F, NAN})), "[ inf -1.5  nan]");
  EXPECT_EQ(numpy_text(f32({2, 2}, {0.1F, -2, 0.333333343F, 4})),
            "[[ 0.1        -2.        ]\n [ 0.33333334  4.        ]]");
  EXPECT_EQ(numpy_text(f32({}, {2.5F})), "2.5");
  EXPECT_EQ(numpy_text(f32({2, 0}, {})), "[]");
  Tensor half(DType::f16, {3});
  const std::array<double, 3> values{0.1, 65504, -3};
  for (size_t i = 0; i < values.size(); ++i) half.set(static_cast<int64_t>(i), values[i]);
  EXPECT_EQ(numpy_text(half), "[ 1.00e-01  6.55e+04 -3.00e+00]");
}

TEST(NumpyText, IntegersAndBooleans) {
  std::vector<int64_t> many(2000);
  std::iota(many.begin(), many.end(), 0);
  EXPECT_EQ(numpy_text(Tensor::from_i64(many)), "[   0    1    2 ... 1997 1998 1999]");
  const std::array<int64_t, 3> few{-3, 0, 12};
  EXPECT_EQ(numpy_text(Tensor::from_i64(few)), "[-3  0 12]");
  Tensor flags(DType::boolean, {1, 2});
  flags.set(0, 1);
  EXPECT_EQ(numpy_text(flags), "[[ True False]]");
}

TEST(NumpyText, BreaksLongRowsAndSeparatesMatrices) {
  EXPECT_EQ(numpy_text(f32({2, 1, 1}, {1, 2})), "[[[1.]]\n\n [[2.]]]");
  const std::string text = numpy_text(f32({40}, std::vector<float>(40, 0.25F)));
  EXPECT_EQ(text.substr(0, text.find('\n')), "[0.25 0.25 0.25 0.25 0.25 0.25 0.25 0.25 0.25 0.25 0.25 0.25 0.25 0.25");
}

TEST(PythonText, FloatsAndStrings) {
  EXPECT_EQ(python_float(static_cast<double>(0.1F)), "0.10000000149011612");
  EXPECT_EQ(python_float(2), "2.0");
  EXPECT_EQ(python_float(1e-7), "1e-07");
  EXPECT_EQ(python_string("b'c"), "\"b'c\"");
  EXPECT_EQ(python_string("plain"), "'plain'");
}

}  // namespace
}  // namespace planish::tools
