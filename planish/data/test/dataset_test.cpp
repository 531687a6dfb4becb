#include "planish/data/dataset.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "planish/base/atomic_file.h"
#include "planish/data/csv.h"
#include "planish/data/npz.h"

namespace planish {
namespace fs = std::filesystem;
namespace {

/// A folder of its own for each test, removed afterwards.
class DatasetTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() /
            (std::string("planish_dataset_") + testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  void TearDown() override { fs::remove_all(root_); }
  void picture(const std::string& name, uint8_t value) {
    fs::create_directories((root_ / name).parent_path());
    ASSERT_TRUE(save_png((root_ / name).string(), Image::filled(8, 4, value)).ok());
  }
  void text(const std::string& name, const std::string& content) {
    fs::create_directories((root_ / name).parent_path());
    ASSERT_TRUE(write_file_atomically((root_ / name).string(), content).ok());
  }
  Result<Dataset> open(const std::string& name = "") { return Dataset::open((root_ / name).string()); }
  static std::vector<int64_t> labels(const Dataset& data) {
    std::vector<int64_t> labels;
    for (const Sample& s : data.samples()) labels.push_back(s.label);
    return labels;
  }
  fs::path root_;
};

TEST_F(DatasetTest, ClassFolders) {
  picture("dog/1.png", 1);
  picture("cat/2.png", 2);
  picture("cat/1.png", 3);
  text("cat/notes.txt", "not a picture");
  const auto data = open();
  ASSERT_TRUE(data.ok()) << data.error().message();
  EXPECT_EQ(data->kind(), DatasetKind::classification);
  EXPECT_EQ(data->class_names(), (std::vector<std::string>{"cat", "dog"}));
  EXPECT_EQ(labels(data.value()), (std::vector<int64_t>{0, 0, 1}));
  EXPECT_EQ(data->load(0)->pixels[0], 3);
  EXPECT_EQ(data->load(3).error().code, Code::invalid_argument);
}

TEST_F(DatasetTest, NumberedFoldersAndNamesFile) {
  picture("numbers/10/a.png", 1);
  picture("numbers/2/a.png", 2);
  EXPECT_EQ(labels(open("numbers").value()), (std::vector<int64_t>{10, 2}));
  picture("names/cat/a.png", 1);
  text("names/classes.txt", "zebra\ncat\n");
  EXPECT_EQ(labels(open("names").value()), (std::vector<int64_t>{1}));
}

TEST_F(DatasetTest, CsvWithAndWithoutHeader) {
  picture("a.png", 1);
  picture("b, c.png", 2);
  text("labels.csv",
       "\xEF\xBB\xBF"
       "wnid,file,class_index\r\nx,\"b, c.png\",7\r\n\r\ny,a.png,3\r\n");
  EXPECT_EQ(labels(open().value()), (std::vector<int64_t>{7, 3}));
  EXPECT_EQ(open()->load(0)->pixels[0], 2);
  text("other.csv", "a.png,dog\n\"b, c.png\",cat\n");
  EXPECT_EQ(labels(open("other.csv").value()), (std::vector<int64_t>{1, 0}));
}

TEST_F(DatasetTest, CsvErrorsNameTheLine) {
  picture("a.png", 1);
  text("missing.csv", "file,label\na.png,1\nz.png,2\n");
  EXPECT_NE(open("missing.csv").error().file.find("missing.csv:3"), std::string::npos);
  text("short.csv", "a.png\n");
  EXPECT_NE(open("short.csv").error().file.find("short.csv:1"), std::string::npos);
  text("empty.csv", "");
  EXPECT_FALSE(open("empty.csv").ok());
}

TEST_F(DatasetTest, YoloFolders) {
  picture("images/b.png", 1);
  picture("images/a.png", 2);
  text("labels/b.txt", "3 0.5 0.5 0.25 1\n1 0.25 0.5 0.5 0.5\n");
  const auto data = open();
  ASSERT_TRUE(data.ok()) << data.error().message();
  EXPECT_EQ(data->kind(), DatasetKind::detection);
  EXPECT_TRUE(data->truths(0, 8, 4).empty());
  EXPECT_EQ(data->truths(1, 8, 4), (std::vector<GroundTruth>{{3, 0, 5, 4, 3}, {0, 1, 4, 3, 1}}));
  EXPECT_EQ(open("images")->size(), 2);
  for (const char* bad : {"3 0.5 0.5 0.25", "x 1 1 1 1", "1.5 0 0 0 0", "0 nan 0 1 1", "0 0 0 -1 1", "0 1 2 3 4 5 6"}) {
    text("labels/b.txt", std::string("0 1 1 1 1\n") + bad + "\n");
    ASSERT_FALSE(open().ok()) << bad;
    EXPECT_NE(open().error().file.find("b.txt:2"), std::string::npos);
  }
}

TEST_F(DatasetTest, NpzArrays) {
  Tensor images(DType::u8, {3, 2, 2, 3});
  for (int64_t i = 0; i < images.size(); ++i) images.set(i, static_cast<double>(i));
  Tensor truth = Tensor::from_i64(std::vector<int64_t>{5, 0, 9});
  const std::string path = (root_ / "x.npz").string();
  ASSERT_TRUE(write_npz(path, {{"images", images}, {"labels", truth}}, true).ok());
  auto data = Dataset::open(path);
  ASSERT_TRUE(data.ok()) << data.error().message();
  EXPECT_EQ(labels(data.value()), (std::vector<int64_t>{5, 0, 9}));
  EXPECT_EQ(data->load(2)->pixels[1], 25);
  data->limit(2, true);
  EXPECT_EQ(labels(data.value()), (std::vector<int64_t>{5, 0}));
  ASSERT_TRUE(write_npz(path, {{"images", images}, {"labels", Tensor::from_i64(std::vector<int64_t>{1})}}).ok());
  EXPECT_EQ(Dataset::open(path).error().code, Code::corrupt);
  ASSERT_TRUE(write_npz(path, {{"images", Tensor(DType::u8, {int64_t{1} << 50, 0, 3})}}).ok());
  EXPECT_FALSE(Dataset::open(path).ok());
  ASSERT_TRUE(write_npz(path, {{"x", images}}).ok());
  EXPECT_EQ(Dataset::open(path).error().code, Code::not_found);
}

TEST_F(DatasetTest, FlatFolderSinglePictureAndNothing) {
  picture("b.png", 1);
  picture("a.png", 2);
  EXPECT_EQ(open()->kind(), DatasetKind::unlabelled);
  EXPECT_EQ(open()->load(0)->pixels[0], 2);
  EXPECT_EQ(open("b.png")->size(), 1);
  fs::create_directories(root_ / "empty");
  EXPECT_EQ(open("empty").error().code, Code::not_found);
  EXPECT_EQ(open("nothing").error().code, Code::not_found);
}

TEST_F(DatasetTest, BatchesEndRaggedOrPadded) {
  for (int i = 0; i < 5; ++i) picture(std::to_string(i) + "/a.png", static_cast<uint8_t>(10 * i));
  const Dataset data = open().take_value();
  for (const bool pad : {false, true}) {
    BatchIterator it(data, preprocess_preset("raw").value(), {3, 4, 8}, {.batch = 2, .pad_last = pad, .threads = 3});
    EXPECT_EQ(it.batches(), 3);
    std::vector<int64_t> seen, rows;
    for (auto batch = it.next(); batch.ok() && batch->has_value(); batch = it.next()) {
      const Batch& b = **batch;
      rows.push_back(b.input.dim(0));
      for (int64_t i = 0; i < b.count(); ++i) {
        seen.push_back(b.labels[static_cast<size_t>(i)]);
        EXPECT_EQ(b.input.at(i * 3 * 4 * 8), 10.0 * static_cast<double>(seen.back()));
      }
    }
    EXPECT_EQ(seen, (std::vector<int64_t>{0, 1, 2, 3, 4}));
    EXPECT_EQ(rows, pad ? (std::vector<int64_t>{2, 2, 2}) : (std::vector<int64_t>{2, 2, 1}));
  }
}

TEST_F(DatasetTest, ABadPictureIsNamedAndSkippable) {
  text("a.png", "not a picture");
  picture("b.png", 3);
  const Dataset data = open().take_value();
  BatchIterator it(data, preprocess_preset("raw").value(), {3, 4, 8}, {});
  const auto first = it.next();
  ASSERT_FALSE(first.ok());
  EXPECT_NE(first.error().file.find("a.png"), std::string::npos);
  EXPECT_TRUE(it.next()->has_value());
  EXPECT_FALSE(it.next()->has_value());
}

TEST(Csv, QuotesAndLineBreaks) {
  const auto rows = parse_csv("a, b ,\"c \"\"d\"\"\"\n\n\"x\ny\",,z");
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].fields, (std::vector<std::string>{"a", "b", "c \"d\""}));
  EXPECT_EQ(rows[1].fields, (std::vector<std::string>{"x\ny", "", "z"}));
  EXPECT_EQ(rows[1].line, 3U);
}

TEST(SharedData, EverySourceOpens) {
  if (!fs::exists("../shared/data")) GTEST_SKIP() << "no ../shared";
  const auto imagenet = Dataset::open("../shared/data/imagenet500");
  ASSERT_TRUE(imagenet.ok()) << imagenet.error().message();
  EXPECT_EQ(imagenet->size(), 500);
  EXPECT_EQ(imagenet->samples()[1].label, 2);
  const auto cifar = Dataset::open("../shared/data/cifar10/test_2000.npz");
  ASSERT_TRUE(cifar.ok()) << cifar.error().message();
  EXPECT_EQ(cifar->class_names()[9], "truck");
  EXPECT_EQ(cifar->samples()[1999].label, 9);
  const auto calibration = Dataset::open("../shared/data/cifar10/calib_images");
  ASSERT_TRUE(calibration.ok()) << calibration.error().message();
  EXPECT_EQ(calibration->size(), 512);
  const auto coco = Dataset::open("../shared/data/coco128");
  ASSERT_TRUE(coco.ok()) << coco.error().message();
  size_t boxes = 0;
  for (const Sample& s : coco->samples()) boxes += s.boxes.size();
  EXPECT_EQ(coco->size(), 96);
  EXPECT_EQ(boxes, 704U);
  EXPECT_EQ(coco->class_names().size(), 80U);
}

}  // namespace
}  // namespace planish
