#include "planish/tools/calibration/calibration_source.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <thread>

#include "planish/tools/calibration/batch_source.h"

namespace planish::tools {
namespace {

namespace fs = std::filesystem;

api::TensorInfo input_of(const std::string& name, std::vector<int64_t> dims, DType dtype = DType::f32) {
  api::TensorInfo info;
  info.name = name;
  info.dtype = dtype;
  info.dims = std::move(dims);
  return info;
}

Tensor counting(const Shape& shape, DType dtype = DType::f32) {
  Tensor tensor(dtype, shape);
  for (int64_t i = 0; i < tensor.size(); ++i) tensor.set(i, static_cast<double>(i));
  return tensor;
}

void expect_has(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text;
}

/// What walking through a source came to.
struct Walk {
  std::vector<int64_t> samples;            // per batch
  std::vector<std::vector<int64_t>> dims;  // of the first input per batch
  std::vector<float> first_values;
  std::vector<std::string> errors;
};

Walk walk(api::CalibrationSource& source) {
  Walk result;
  for (int step = 0; step < 1000; ++step) {
    auto batch = source.next();
    if (!batch.ok()) {
      result.errors.push_back(batch.error().message());
      if (source.fatal()) return result;
      continue;
    }
    if (!batch->has_value()) return result;
    result.samples.push_back((*batch)->samples);
    result.dims.push_back((*batch)->inputs[0].second.dims);
    if ((*batch)->inputs[0].second.dtype == DType::f32)
      result.first_values.push_back(*reinterpret_cast<const float*>((*batch)->inputs[0].second.data.data()));
  }
  ADD_FAILURE() << "the source does not end";
  return result;
}

class CalibrationSourceTest : public testing::Test {
 protected:
  CalibrationSourceTest() {
    folder_ = fs::path(testing::TempDir()) /
              (std::string("calib_") + testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  ~CalibrationSourceTest() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  [[nodiscard]] std::string file(const std::string& name) const {
    const fs::path path = folder_ / name;
    fs::create_directories(path.parent_path());
    return path.string();
  }
  Result<std::unique_ptr<api::CalibrationSource>> open(const std::string& path, std::vector<int64_t> dims,
                                                       int64_t max_samples = -1, int64_t batch = 0) {
    notes.clear();
    warnings.clear();
    CalibrationPlace place{.path = path, .max_samples = max_samples, .batch = batch, .threads = 2};
    place.note = [this](const std::string& text) { notes.push_back(text); };
    place.warn = [this](const std::string& text) { warnings.push_back(text); };
    return open_calibration_source(place, {input_of("x", std::move(dims))}, {input_of("y", {-1, 10})});
  }
  Walk walk_of(const std::string& path, std::vector<int64_t> dims, int64_t max_samples = -1, int64_t batch = 0) {
    auto source = open(path, std::move(dims), max_samples, batch);
    if (!source.ok()) {
      ADD_FAILURE() << source.error().message();
      return {};
    }
    return walk(**source);
  }
  std::string error_of(const std::string& path, std::vector<int64_t> dims) {
    auto source = open(path, std::move(dims));
    return source.ok() ? "" : source.error().message();
  }

  fs::path folder_;
  std::vector<std::string> notes, warnings;
};

TEST_F(CalibrationSourceTest, NpyGivesSamplesInBatches) {
  ASSERT_TRUE(write_npy(file("c.npy"), counting({5, 1, 2, 2})).ok());
  const Walk free = walk_of(file("c.npy"), {-1, 1, 2, 2}, -1, 2);
  EXPECT_EQ(free.samples, (std::vector<int64_t>{2, 2, 1}));
  EXPECT_EQ(free.dims[2], (std::vector<int64_t>{1, 1, 2, 2})) << "a free batch may be ragged";
  EXPECT_EQ(free.first_values, (std::vector<float>{0, 8, 16}));
  const Walk fixed = walk_of(file("c.npy"), {4, 1, 2, 2});
  EXPECT_EQ(fixed.samples, (std::vector<int64_t>{4, 1}));
  EXPECT_EQ(fixed.dims[1], (std::vector<int64_t>{4, 1, 2, 2})) << "a fixed batch is filled up";
  ASSERT_TRUE(write_npz(file("c.npz"), {{"x", counting({5, 1, 2, 2})}}).ok());
  EXPECT_EQ(walk_of(file("c.npz"), {-1, 1, 2, 2}, 3, 2).samples, (std::vector<int64_t>{2, 1})) << "no more than asked";
  EXPECT_EQ(walk_of(file("c.npy"), {1, 1, 2, 2}, 2).first_values, (std::vector<float>{0, 8})) << "spread";
}

TEST_F(CalibrationSourceTest, NpyOfOneSampleAndOfOtherTypes) {
  ASSERT_TRUE(write_npy(file("one.npy"), counting({1, 2, 2}, DType::f64)).ok());
  EXPECT_EQ(walk_of(file("one.npy"), {-1, 1, 2, 2}).samples, (std::vector<int64_t>{1}));
  ASSERT_TRUE(write_npy(file("batches.npy"), counting({3, 2, 1, 2, 2})).ok());
  EXPECT_EQ(walk_of(file("batches.npy"), {-1, 1, 2, 2}, -1, 4).samples, (std::vector<int64_t>{4, 2}));
}

TEST_F(CalibrationSourceTest, WrongArraysAreNamedBeforeAnythingRuns) {
  ASSERT_TRUE(write_npy(file("nhwc.npy"), counting({5, 2, 2, 3})).ok());
  const std::string text = error_of(file("nhwc.npy"), {-1, 3, 2, 2});
  expect_has(text, "nhwc.npy");
  expect_has(text, "tensor 'x'");
  expect_has(text, "float32 (1, 2, 2, 3), but the input is float32 (?, 3, 2, 2)");
  expect_has(text, "transpose");
  ASSERT_TRUE(write_npy(file("flat.npy"), counting({7})).ok());
  expect_has(error_of(file("flat.npy"), {-1, 3, 2, 2}), "number of dimensions");
  std::ofstream(file("cut.npy")) << "\x93NUMPY nothing";
  expect_has(error_of(file("cut.npy"), {-1, 3, 2, 2}), ".npy format version");
  expect_has(error_of(file("nothing.npy"), {-1, 3, 2, 2}), "there is no such file or folder");
  std::ofstream(file("model.txt")) << "hello";
  expect_has(error_of(file("model.txt"), {-1, 3, 2, 2}), "neither calibration data nor a calibration cache");
}

TEST_F(CalibrationSourceTest, NotANumberCostsOneSample) {
  Tensor values = counting({4, 1, 2, 2});
  values.set(5, std::nan(""));
  values.set(14, HUGE_VAL);
  ASSERT_TRUE(write_npy(file("c.npy"), values).ok());
  const Walk result = walk_of(file("c.npy"), {-1, 1, 2, 2}, -1, 8);
  EXPECT_EQ(result.samples, (std::vector<int64_t>{2}));
  ASSERT_EQ(result.errors.size(), 2U);
  expect_has(result.errors[0], "c.npy[1]', tensor 'x': the sample holds NaN or infinity");
  expect_has(result.errors[1], "c.npy[3]");
}

TEST_F(CalibrationSourceTest, NpzMembersAreInputs) {
  ASSERT_TRUE(write_npz(file("c.npz"), {{"x", counting({3, 1, 2, 2})}, {"other", counting({1})}}).ok());
  EXPECT_EQ(walk_of(file("c.npz"), {-1, 1, 2, 2}, -1, 8).samples, (std::vector<int64_t>{3}));
  ASSERT_EQ(warnings.size(), 1U);
  expect_has(warnings[0], "'other' is no input");
  ASSERT_TRUE(write_npz(file("arr.npz"), {{"arr_0", counting({3, 1, 2, 2})}}).ok());
  EXPECT_EQ(walk_of(file("arr.npz"), {-1, 1, 2, 2}, -1, 8).samples, (std::vector<int64_t>{3}));
  ASSERT_TRUE(write_npz(file("no.npz"), {{"a", counting({3})}, {"b", counting({1})}}).ok());
  expect_has(error_of(file("no.npz"), {-1, 1, 2, 2}), "is called like an input of the network (x)");
}

TEST_F(CalibrationSourceTest, AFolderOfArraysSkipsWhatDoesNotFit) {
  ASSERT_TRUE(write_npy(file("f/a.npy"), counting({1, 2, 2})).ok());
  ASSERT_TRUE(write_npy(file("f/b.npy"), counting({1, 3, 3})).ok());
  ASSERT_TRUE(write_npz(file("f/c.npz"), {{"x", counting({2, 1, 2, 2})}}).ok());
  const Tensor raw = counting({2, 1, 2, 2});
  std::ofstream(file("f/d.bin"), std::ios::binary).write(static_cast<const char*>(raw.raw()), 32);
  std::ofstream(file("f/e.raw"), std::ios::binary).write(static_cast<const char*>(raw.raw()), 7);
  const Walk result = walk_of(file("f"), {-1, 1, 2, 2}, -1, 2);
  EXPECT_EQ(result.samples, (std::vector<int64_t>{2, 2, 1})) << "rows of different files share batches";
  ASSERT_EQ(result.errors.size(), 2U);
  expect_has(result.errors[0], "b.npy");
  expect_has(result.errors[1], "7 bytes are no multiple of the 16 bytes of one sample");
}

TEST_F(CalibrationSourceTest, AFolderOfPicturesSurvivesABrokenOne) {
  for (const char* name : {"a/1.png", "a/2.png", "b/3.png"})
    ASSERT_TRUE(save_png(file(std::string("p/") + name), Image::filled(7, 5, 100)).ok());
  ASSERT_TRUE(save_png(file("p/b/grey.png"), Image::filled(4, 4, 10, 1)).ok());
  std::ofstream(file("p/b/broken.jpg")) << "\xff\xd8\xff\xe0 not a picture";
  std::ofstream(file("p/readme.txt")) << "x";
  const Walk result = walk_of(file("p"), {-1, 3, 4, 4}, -1, 3);
  EXPECT_EQ(result.samples, (std::vector<int64_t>{3, 1}));
  ASSERT_EQ(result.errors.size(), 1U);
  expect_has(result.errors[0], "broken.jpg");
  EXPECT_EQ(result.dims[0], (std::vector<int64_t>{3, 3, 4, 4}));
  ASSERT_EQ(warnings.size(), 1U);
  expect_has(warnings[0], "'imagenet' is a guess");
  EXPECT_EQ(walk_of(file("p"), {-1, 3, 4, 4}, 2, 1).samples.size(), 2U);
}

TEST_F(CalibrationSourceTest, PicturesPreparedAheadByThreadsComeInOrder) {
  constexpr size_t kPictures = 41;
  for (size_t i = 0; i < kPictures; ++i)
    ASSERT_TRUE(save_png(file(fmt::format("p/{:02}.png", i)), Image::filled(4, 4, static_cast<uint8_t>(6 * i))).ok());
  auto plain = open(file("p"), {1, 3, 4, 4});
  auto ahead = open(file("p"), {1, 3, 4, 4});
  ASSERT_TRUE(plain.ok());
  ASSERT_TRUE(ahead.ok());
  const Walk expected = walk(**plain);
  ASSERT_EQ(expected.first_values.size(), kPictures);
  std::vector<api::CalibrationBatch> batches;  // all of them stay valid
  int prepared = 0;
  for (bool more = true; more;) {
    std::atomic<int> count{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t)
      threads.emplace_back([&] {
        while ((*ahead)->prepare()) ++count;
      });
    for (std::thread& t : threads) t.join();
    prepared += count;
    for (int i = 0; more && i < 5; ++i) {
      auto batch = (*ahead)->next();
      ASSERT_TRUE(batch.ok());
      more = batch->has_value();
      if (more) batches.push_back(**batch);
    }
  }
  EXPECT_GT(prepared, 20);
  ASSERT_EQ(batches.size(), kPictures);
  for (size_t i = 0; i < kPictures; ++i) {
    EXPECT_NE(batches[i].owner, nullptr);
    EXPECT_EQ(*reinterpret_cast<const float*>(batches[i].inputs[0].second.data.data()), expected.first_values[i]);
  }
}

TEST_F(CalibrationSourceTest, EmptyFoldersAndUnknownSizesAreRefused) {
  fs::create_directories(folder_ / "empty");
  expect_has(error_of(file("empty"), {-1, 3, 4, 4}), "the folder is empty");
  std::ofstream(file("text/a.txt")) << "x";
  expect_has(error_of(file("text"), {-1, 3, 4, 4}), "none of the 1 files in it is a picture or an array");
  ASSERT_TRUE(save_png(file("p/1.png"), Image::filled(7, 5, 100)).ok());
  expect_has(error_of(file("p"), {-1, 3, -1, -1}), "--optShapesCalib=x:");
  expect_has(error_of(file("p"), {-1, 16}), "pictures need a network with one input of floats");
}

TEST_F(CalibrationSourceTest, RandomOnlyByName) {
  auto source = open("random:3", {-1, 2});
  ASSERT_TRUE(source.ok());
  EXPECT_EQ((*source)->description(), "random");
  ASSERT_EQ(warnings.size(), 1U);
  expect_has(warnings[0], "RANDOM values");
  const Walk first = walk(**source);
  ASSERT_TRUE((*source)->rewind().ok());
  EXPECT_EQ(walk(**source).first_values, first.first_values);
  EXPECT_EQ(first.samples, (std::vector<int64_t>{3}));
  expect_has(error_of("random:many", {-1, 2}), "no number of samples");
  expect_has(error_of("./random", {-1, 2}), "there is no such file or folder");
}

TEST_F(CalibrationSourceTest, RewindingGivesTheSameAndTheIdentityFollowsTheData) {
  ASSERT_TRUE(write_npy(file("f/a.npy"), counting({3, 2})).ok());
  auto source = open(file("f"), {-1, 2});
  ASSERT_TRUE(source.ok());
  const std::string identity = (*source)->identity();
  EXPECT_EQ(walk(**source).samples, (std::vector<int64_t>{3}));
  ASSERT_TRUE((*source)->rewind().ok());
  EXPECT_EQ(walk(**source).samples, (std::vector<int64_t>{3}));
  ASSERT_TRUE(write_npy(file("f/a.npy"), counting({4, 2})).ok());
  auto changed = open(file("f"), {-1, 2});
  ASSERT_TRUE(changed.ok());
  EXPECT_NE((*changed)->identity(), identity);
}

/// A reader with several inputs.
TEST(BatchSource, ChecksNamesTypesAndRowsOfAllInputs) {
  const std::vector<api::TensorInfo> inputs{input_of("ids", {-1, -1}, DType::i64),
                                            input_of("mask", {-1, -1}, DType::i64)};
  std::vector<CalibrationItem> items;
  items.push_back({{{"ids", counting({2, 5}, DType::i64)}, {"mask", counting({2, 5}, DType::i32)}}, "first"});
  items.push_back({{{"ids", counting({2, 7}, DType::i64)}, {"mask", counting({2, 7}, DType::i64)}}, "second"});
  items.push_back({{{"ids", counting({2, 7}, DType::i64)}}, "third"});
  items.push_back({{{"id", counting({2, 7}, DType::i64)}}, "fourth"});
  items.push_back({{{"ids", counting({2, 7})}, {"mask", counting({2, 7}, DType::i64)}}, "fifth"});
  items.push_back({{{"ids", counting({2, 7}, DType::i64)}, {"mask", counting({3, 7}, DType::i64)}}, "sixth"});
  BatchSource source(memory_reader(std::move(items), "memory"), inputs, 3);
  const Walk result = walk(source);
  EXPECT_EQ(result.samples, (std::vector<int64_t>{2, 2})) << "rows of different lengths do not share a batch";
  ASSERT_EQ(result.errors.size(), 4U);
  expect_has(result.errors[0], "file 'third', tensor 'mask': there is no array for this input");
  expect_has(result.errors[1], "did you mean 'ids'?");
  expect_has(result.errors[2], "save it as int64");
  expect_has(result.errors[3], "it has 3 samples, but 'ids' has 2");
}

TEST(CalibrationPlaces, AreRecognised) {
  const fs::path cache = fs::path(testing::TempDir()) / "recognised.cache";
  std::ofstream(cache) << "TRT-100300-EntropyCalibration2\nx: 3c010a14\n";
  EXPECT_TRUE(is_calibration_cache(cache.string()));
  EXPECT_FALSE(is_calibration_cache("/nowhere"));
  EXPECT_TRUE(is_script("loader.py:batches"));
  EXPECT_FALSE(is_script("loader.npy"));
  EXPECT_EQ(guess_preset(input_of("i", {1, 3, 640, 640}), {input_of("o", {1, 84, 8400})}), "yolo");
  EXPECT_EQ(guess_preset(input_of("i", {1, 3, 224, 224}), {input_of("o", {1, 1000})}), "imagenet");
  EXPECT_EQ(guess_preset(input_of("i", {1, 3, 32, 32}), {input_of("o", {1, 10})}), "cifar10");
  fs::remove(cache);
}

}  // namespace
}  // namespace planish::tools
