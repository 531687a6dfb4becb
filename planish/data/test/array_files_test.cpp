#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <random>

#include "planish/base/atomic_file.h"
#include "planish/data/base64.h"
#include "planish/data/npy.h"
#include "planish/data/npz.h"
#include "planish/data/polygraphy_json.h"

namespace planish {
namespace {

constexpr DType kAllTypes[] = {DType::f32, DType::f64, DType::f16,     DType::bf16, DType::i64,
                               DType::i32, DType::i16, DType::i8,      DType::u64,  DType::u32,
                               DType::u16, DType::u8,  DType::boolean, DType::c64,  DType::c128};

Tensor counting(DType dtype, const Shape& shape) {
  Tensor t(dtype, shape);
  auto* bytes = t.data<uint8_t>();
  for (size_t i = 0; i < t.bytes(); ++i) bytes[i] = static_cast<uint8_t>(dtype == DType::boolean ? i % 2 : 7 * i);
  return t;
}

std::vector<uint8_t> npy_of(const std::string& dict, const std::vector<uint8_t>& data) {
  std::vector<uint8_t> bytes{0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, static_cast<uint8_t>(dict.size()), 0};
  bytes.insert(bytes.end(), dict.begin(), dict.end());
  bytes.insert(bytes.end(), data.begin(), data.end());
  return bytes;
}

TEST(Npy, EveryTypeComesBack) {
  for (const DType dtype : kAllTypes)
    for (const Shape& shape : {Shape{}, Shape{3}, Shape{2, 3, 4}, Shape{0, 5}}) {
      const Tensor t = counting(dtype, shape);
      const auto bytes = npy_encode(t);
      ASSERT_TRUE(bytes.ok()) << bytes.error().message();
      const auto back = npy_decode(bytes.value(), "x");
      ASSERT_TRUE(back.ok()) << back.error().message();
      EXPECT_TRUE(bitwise_equal(t, back.value())) << dtype_name(dtype) << to_string(shape);
    }
}

TEST(Npy, DataIsAlignedTo64Bytes) {
  const auto bytes = npy_encode(Tensor(DType::f32, {1, 3, 224, 224}));
  ASSERT_TRUE(bytes.ok());
  EXPECT_EQ((bytes->size() - size_t{4} * 3 * 224 * 224) % 64, 0U);
}

TEST(Npy, Fp8NeedsTheCallersType) {
  const Tensor t = counting(DType::f8e5m2, {4});
  const auto bytes = npy_encode(t);
  ASSERT_TRUE(bytes.ok());
  EXPECT_TRUE(bitwise_equal(npy_decode(bytes.value(), "x", DType::f8e5m2).value(), t));
  EXPECT_EQ(npy_decode(bytes.value(), "x")->dtype(), DType::u8);
}

TEST(Npy, FourBitIntegersAreWidened) {
  Tensor t(DType::i4, {3});
  for (int i = 0; i < 3; ++i) t.set(i, i - 2);
  const auto back = npy_decode(npy_encode(t).value(), "x");
  ASSERT_EQ(back->dtype(), DType::i8);
  EXPECT_EQ(back->to_i64(), (std::vector<int64_t>{-2, -1, 0}));
}

TEST(Npy, FortranOrderAndBigEndian) {
  const auto bytes =
      npy_of("{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }\n", {0, 1, 0, 4, 0, 2, 0, 5, 0, 3, 0, 6});
  EXPECT_EQ(npy_decode(bytes, "x")->to_i64(), (std::vector<int64_t>{1, 2, 3, 4, 5, 6}));
}

TEST(Npy, RefusalsNameTheCause) {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", "'O'"},
      {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", "structured"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (1000,)}", "needs 1000 elements"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", "'shape'"},
      {"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4294967296)}", "needs"},
      {"{'descr': '<f4', 'shape': (1,)}", "fortran_order"},
      {"{'descr': '', 'fortran_order': False, 'shape': (1,)}", "'descr'"},
      {"{'descr': '<", "'descr'"},
      {"", "'descr'"}};
  for (const auto& [dict, cause] : cases) {
    const auto result = npy_decode(npy_of(dict, {0, 0, 0, 0}), "x.npy");
    ASSERT_FALSE(result.ok()) << dict;
    EXPECT_NE(result.error().message().find(cause), std::string::npos) << result.error().message();
    EXPECT_EQ(result.error().file, "x.npy");
  }
}

TEST(Npz, StoredAndDeflatedComeBack) {
  const NamedTensors tensors{{"images", counting(DType::u8, {3, 4, 5})}, {"labels:0", counting(DType::i64, {3})}};
  for (const bool compress : {false, true}) {
    auto bytes = npz_encode(tensors, compress);
    ASSERT_TRUE(bytes.ok());
    const auto file = NpzFile::from_bytes(std::move(bytes).take_value(), "x.npz");
    ASSERT_TRUE(file.ok()) << file.error().message();
    EXPECT_EQ(file->names(), (std::vector<std::string>{"images", "labels:0"}));
    for (const auto& [name, tensor] : tensors) EXPECT_TRUE(bitwise_equal(file->load(name).value(), tensor));
    const auto missing = file->load("label");
    ASSERT_FALSE(missing.ok());
    EXPECT_NE(missing.error().fix.find("images, labels:0"), std::string::npos);
  }
}

TEST(Npz, ChecksumGuardsTheContent) {
  auto bytes = npz_encode({{"x", counting(DType::u8, {64})}}).take_value();
  bytes[bytes.size() / 4] ^= 1;
  const auto file = NpzFile::from_bytes(bytes, "x.npz");
  EXPECT_TRUE(!file.ok() || !file->load("x").ok());
}

/// Whatever is done to the bytes, the reader answers with a tensor or an error.
TEST(Npz, MutatedFilesNeverCrash) {
  constexpr uint32_t kSeed = 20;
  std::mt19937 random(kSeed);
  SCOPED_TRACE("seed " + std::to_string(kSeed));
  const NamedTensors tensors{{"a", counting(DType::f32, {7, 9})}, {"b", counting(DType::i64, {3})}};
  int refused = 0;
  for (int round = 0; round < 600; ++round) {
    auto bytes = npz_encode(tensors, round % 2 == 0).take_value();
    if (round % 5 == 0) bytes.resize(random() % bytes.size());
    for (uint32_t k = random() % 6 + 1; k-- > 0 && !bytes.empty();)
      bytes[random() % bytes.size()] = static_cast<uint8_t>(random() % 3 == 0 ? 0xFF : random());
    const auto file = NpzFile::from_bytes(std::move(bytes), "x.npz");
    bool good = file.ok();
    if (file.ok())
      for (const std::string& name : file->names()) good = file->load(name).ok() && good;
    refused += good ? 0 : 1;
  }
  EXPECT_GT(refused, 300);
}

TEST(Base64, RoundTripAndRefusals) {
  std::vector<uint8_t> bytes;
  for (int n = 0; n < 70; ++n) {
    const auto back = base64_decode(base64_encode(bytes));
    ASSERT_TRUE(back.ok());
    EXPECT_EQ(back.value(), bytes);
    bytes.push_back(static_cast<uint8_t>(n * 37));
  }
  EXPECT_EQ(base64_encode(std::vector<uint8_t>{'M', 'a'}), "TWE=");
  for (const char* bad : {"A", "AB=", "A===", "AB=C", "A*==", "TWE=TWE="}) EXPECT_FALSE(base64_decode(bad).ok()) << bad;
}

TEST(PolygraphyJson, InputsComeBack) {
  const std::vector<NamedTensors> iterations{{{"x", counting(DType::f32, {2, 2})}, {"n", counting(DType::i64, {})}},
                                             {{"x", counting(DType::f32, {1, 4})}}};
  const auto text = polygraphy_inputs_to_json(iterations);
  ASSERT_TRUE(text.ok());
  EXPECT_NE(text->find("\n        \"x\": {"), std::string::npos) << text.value();
  const auto back = polygraphy_inputs_from_json(text.value(), "i.json");
  ASSERT_TRUE(back.ok()) << back.error().message();
  ASSERT_EQ(back->size(), 2U);
  for (size_t i = 0; i < 2; ++i)
    for (size_t k = 0; k < iterations[i].size(); ++k) {
      EXPECT_EQ((*back)[i][k].first, iterations[i][k].first);
      EXPECT_TRUE(bitwise_equal((*back)[i][k].second, iterations[i][k].second));
    }
}

TEST(PolygraphyJson, ResultsComeBackAndServeAsInputs) {
  const SavedRunResults results{{"trt-runner", {{{{"y", counting(DType::f32, {3})}}, 0.25, "trt-runner"}}}};
  const auto text = polygraphy_results_to_json(results);
  ASSERT_TRUE(text.ok());
  const auto back = polygraphy_results_from_json(text.value(), "o.json");
  ASSERT_TRUE(back.ok()) << back.error().message();
  EXPECT_EQ((*back)[0].first, "trt-runner");
  EXPECT_EQ((*back)[0].second[0].runtime_s, 0.25);
  const auto inputs = polygraphy_inputs_from_json(text.value(), "o.json");
  ASSERT_TRUE(inputs.ok());
  EXPECT_TRUE(bitwise_equal((*inputs)[0][0].second, results[0].second[0].outputs[0].second));
}

TEST(PolygraphyJson, BadFilesAreRefused) {
  for (const char* text :
       {"", "[", "3", "[3]", R"([{"x": 3}])", R"([{"x": {"polygraphy_class": "ndarray"}}])",
        R"([{"x": {"polygraphy_class": "ndarray", "array": "!!"}}])", R"([{"x": {"polygraphy_class": "Tensor"}}])",
        R"({"polygraphy_class": "RunResults", "lst": [3]})",
        R"([{"x": {"polygraphy_class": "ndarray", "array": ""}}])"})
    EXPECT_FALSE(polygraphy_inputs_from_json(text, "i.json").ok()) << text;
  std::string nested = R"({"x": )";
  for (int i = 0; i < 50; ++i) nested += R"({"polygraphy_class": "LazyArray", "values": )";
  nested += "1" + std::string(51, '}');
  EXPECT_FALSE(polygraphy_inputs_from_json(nested, "i.json").ok());
}

TEST(File, WritesWholeAndReportsMissing) {
  const std::string path = (std::filesystem::temp_directory_path() / "planish_file_test.bin").string();
  ASSERT_TRUE(write_file_atomically(path, "abc").ok());
  EXPECT_EQ(read_file(path)->size(), 3U);
  EXPECT_EQ(read_file(path, 2).error().code, Code::unsupported);
  std::filesystem::remove(path);
  EXPECT_EQ(read_file(path).error().code, Code::not_found);
  EXPECT_EQ(read_file(std::filesystem::temp_directory_path().string()).error().code, Code::io);
  EXPECT_FALSE(write_file_atomically("/nonexistent-folder/x", "abc").ok());
}

}  // namespace
}  // namespace planish
