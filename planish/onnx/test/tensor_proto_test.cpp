#include "planish/onnx/tensor_proto.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "proto_builder.h"

namespace planish {
namespace {

using namespace testing;
namespace fs = std::filesystem;

/// A folder that is gone after the test.
struct TempFolder {
  fs::path path;
  TempFolder() {
    std::string pattern = (fs::temp_directory_path() / "planish_onnx_XXXXXX").string();
    path = mkdtemp(pattern.data());
  }
  ~TempFolder() { fs::remove_all(path); }
};

void write(const fs::path& file, const std::string& text) { std::ofstream(file, std::ios::binary) << text; }

onnx::TensorProto typed(DType dtype, const std::vector<int64_t>& dims) {
  onnx::TensorProto t;
  t.set_name("t");
  t.set_data_type(static_cast<int32_t>(dtype));
  for (const int64_t d : dims) t.add_dims(d);
  return t;
}

onnx::TensorProto external(const std::string& location, int64_t offset, int64_t length) {
  auto t = typed(DType::f32, {2});
  t.set_data_location(onnx::TensorProto::EXTERNAL);
  const auto add = [&t](const char* key, const std::string& value) {
    auto* e = t.add_external_data();
    e->set_key(key);
    e->set_value(value);
  };
  add("location", location);
  add("offset", std::to_string(offset));
  if (length >= 0) add("length", std::to_string(length));
  return t;
}

std::vector<double> elements(const Tensor& t) {
  std::vector<double> out;
  for (int64_t i = 0; i < t.size(); ++i) out.push_back(t.at(i));
  return out;
}

TEST(TensorReader, PackedTypesInInt32Data) {
  auto i4 = typed(DType::i4, {3});
  i4.add_int32_data(0x2f);  // -1, 2
  i4.add_int32_data(0x08);  // -8
  auto r = TensorReader{fs::path()}.read(i4);
  ASSERT_TRUE(r.ok()) << r.error().message();
  EXPECT_EQ(elements(*r), (std::vector<double>{-1, 2, -8}));

  auto u2 = typed(DType::u2, {5});
  u2.add_int32_data(0b11100100);  // 0, 1, 2, 3
  u2.add_int32_data(0b10);
  r = TensorReader{fs::path()}.read(u2);
  ASSERT_TRUE(r.ok()) << r.error().message();
  EXPECT_EQ(elements(*r), (std::vector<double>{0, 1, 2, 3, 2}));

  auto half = typed(DType::f16, {1});
  half.add_int32_data(0x3c00);
  r = TensorReader{fs::path()}.read(half);
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(elements(*r), std::vector<double>{1});

  auto f8 = typed(DType::f8e4m3fn, {1});
  f8.add_int32_data(0xb8);
  r = TensorReader{fs::path()}.read(f8);
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(elements(*r), std::vector<double>{-1});
}

TEST(TensorReader, RawData) {
  auto t = typed(DType::i16, {2});
  t.set_raw_data(std::string("\x01\x00\xff\xff", 4));
  auto r = TensorReader{fs::path()}.read(t);
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(elements(*r), (std::vector<double>{1, -1}));
  auto b = typed(DType::boolean, {2});
  b.set_raw_data(std::string("\x00\x07", 2));
  r = TensorReader{fs::path()}.read(b);
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r->data<uint8_t>()[1], 1);
}

TEST(TensorReader, SizesMustFit) {
  const auto refused = [&](const onnx::TensorProto& t, Code code) {
    const auto r = TensorReader{fs::path()}.read(t);
    EXPECT_FALSE(r.ok());
    if (!r.ok()) {
      EXPECT_EQ(r.error().code, code) << r.error().message();
    }
  };
  auto raw = typed(DType::f32, {3});
  raw.set_raw_data(std::string(8, '\0'));
  refused(raw, Code::corrupt);
  auto few = typed(DType::f32, {3});
  few.add_float_data(1);
  refused(few, Code::corrupt);
  refused(typed(DType::f32, {-1}), Code::corrupt);
  refused(typed(DType::f32, {int64_t{1} << 40, int64_t{1} << 40}), Code::corrupt);
  refused(typed(DType::string, {1}), Code::unsupported);
  auto unknown = typed(DType::f32, {1});
  unknown.set_data_type(99);
  refused(unknown, Code::unsupported);
}

TEST(TensorReader, EmptyTensorsAndScalars) {
  const auto empty = TensorReader{fs::path()}.read(typed(DType::i64, {0}));
  ASSERT_TRUE(empty.ok());
  EXPECT_EQ(empty->size(), 0);
  auto scalar = typed(DType::i64, {});
  scalar.add_int64_data(7);
  const auto r = TensorReader{fs::path()}.read(scalar);
  ASSERT_TRUE(r.ok());
  EXPECT_EQ(r->int_at(0), 7);
}

TEST(TensorReader, ExternalData) {
  const TempFolder folder;
  const float values[] = {0, 1, 2, 3};
  write(folder.path / "w.bin", std::string(reinterpret_cast<const char*>(values), sizeof(values)));
  const auto read = [&folder](const onnx::TensorProto& t) { return TensorReader(folder.path).read(t); };
  auto r = read(external("w.bin", 8, 8));
  ASSERT_TRUE(r.ok()) << r.error().message();
  EXPECT_EQ(elements(*r), (std::vector<double>{2, 3}));
  r = read(external("w.bin", 1, -1));  // not aligned: copied
  ASSERT_TRUE(r.ok()) << r.error().message();
  const auto beyond = read(external("w.bin", 12, 8));
  ASSERT_FALSE(beyond.ok());
  EXPECT_EQ(beyond.error().code, Code::corrupt);
  const auto wrong = read(external("w.bin", 0, 4));
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.error().tensor, "t");
  EXPECT_FALSE(read(external("missing.bin", 0, 8)).ok());
  EXPECT_FALSE(TensorReader{fs::path()}.read(external("w.bin", 0, 8)).ok());
}

TEST(TensorReader, ExternalDataBeyondTwoGigabytes) {
  const TempFolder folder;
  const float values[] = {4, 5};
  constexpr int64_t kOffset = (int64_t{5} << 29);  // 2.5 GiB, a hole in the file that takes no disk space
  write(folder.path / "w.bin", "");
  fs::resize_file(folder.path / "w.bin", kOffset);
  std::ofstream(folder.path / "w.bin", std::ios::binary | std::ios::app)
      .write(reinterpret_cast<const char*>(values), sizeof(values));
  const auto r = TensorReader(folder.path).read(external("w.bin", kOffset, 8));
  ASSERT_TRUE(r.ok()) << r.error().message();
  EXPECT_EQ(elements(*r), (std::vector<double>{4, 5}));
}

TEST(TensorReader, ExternalDataStaysInTheFolder) {
  const TempFolder outside;
  const TempFolder folder;
  write(outside.path / "secret", std::string(8, 'x'));
  fs::create_symlink(outside.path / "secret", folder.path / "link");
  fs::create_directory(folder.path / "sub");
  write(folder.path / "sub" / "w.bin", std::string(8, '\0'));
  const auto read = [&folder](const onnx::TensorProto& t) { return TensorReader(folder.path).read(t); };
  EXPECT_TRUE(read(external("sub/w.bin", 0, 8)).ok());
  for (const std::string& location :
       {(outside.path / "secret").string(), "../" + outside.path.filename().string() + "/secret", std::string("link"),
        std::string("sub/../../" + outside.path.filename().string() + "/secret"), std::string()}) {
    const auto r = read(external(location, 0, 8));
    ASSERT_FALSE(r.ok()) << location;
    EXPECT_EQ(r.error().code, Code::invalid_model) << r.error().message();
  }
}

TEST(TensorReader, Sparse) {
  onnx::SparseTensorProto sparse;
  fill_floats(*sparse.mutable_values(), "s", {2}, {5, 6});
  auto* indices = sparse.mutable_indices();
  indices->set_data_type(onnx::TensorProto::INT64);
  indices->add_dims(2);
  indices->add_dims(2);
  for (const int64_t i : {0, 1, 1, 2}) indices->add_int64_data(i);
  sparse.add_dims(2);
  sparse.add_dims(3);
  const auto r = TensorReader{fs::path()}.read_sparse(sparse);
  ASSERT_TRUE(r.ok()) << r.error().message();
  EXPECT_EQ(elements(*r), (std::vector<double>{0, 5, 0, 0, 0, 6}));
  auto out_of_range = sparse;
  out_of_range.mutable_indices()->set_int64_data(0, 2);
  EXPECT_FALSE(TensorReader{fs::path()}.read_sparse(out_of_range).ok());
  auto huge = sparse;
  huge.set_dims(0, int64_t{1} << 33);
  EXPECT_FALSE(TensorReader{fs::path()}.read_sparse(huge).ok());
}

}  // namespace
}  // namespace planish
