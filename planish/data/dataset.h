#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "planish/base/status.h"
#include "planish/data/detection.h"
#include "planish/data/image.h"
#include "planish/data/preprocess.h"
#include "planish/ir/tensor.h"

namespace planish {

enum class DatasetKind {
  unlabelled,      ///< pictures only (calibration)
  classification,  ///< one class index per picture
  detection        ///< boxes per picture
};

/// A box of a YOLO label file: centre and size as fractions of the picture.
struct RelativeBox {
  int64_t class_index = 0;
  double cx = 0, cy = 0, w = 0, h = 0;
};

struct Sample {
  std::string file;                ///< path of the picture, or "images.npz[17]"
  int64_t label = -1;              ///< class index; -1 when there is none
  std::vector<RelativeBox> boxes;  ///< detection only
};

/// An ordered list of pictures with what is known about them. The order is by file name (or that of the list or array),
/// the same on every machine.
class Dataset {
 public:
  /// Recognises by what is on disk:
  /// - an .npz file with `images` (u8 [N,H,W,3], [N,H,W,1] or [N,H,W]) and optionally `labels` and `class_names`;
  /// - a .csv file, or a folder with labels.csv: columns for the file (file, filename, image, path) and the class
  ///   (class_index, label, class, target); without a header the first two columns. Paths are relative to the file;
  /// - a folder with images/ and labels/ (YOLO text files; a missing or empty file means "no box");
  /// - a folder of class folders: index by name in classes.txt if there is one, as a number if all names are numbers,
  ///   else in order of the names;
  /// - a folder of pictures, or a single picture (unlabelled).
  /// classes.txt (in the folder or above it) holds one name per line.
  /// Errors: not_found, corrupt, with file and line.
  static Result<Dataset> open(const std::string& path);

  [[nodiscard]] DatasetKind kind() const { return kind_; }
  [[nodiscard]] int64_t size() const { return static_cast<int64_t>(samples_.size()); }
  [[nodiscard]] const std::vector<Sample>& samples() const { return samples_; }
  /// Empty when the source does not name its classes.
  [[nodiscard]] const std::vector<std::string>& class_names() const { return class_names_; }
  /// Reads and decodes one picture.
  [[nodiscard]] Result<Image> load(int64_t index) const;
  /// True boxes in pixels of a picture of the given size.
  [[nodiscard]] std::vector<GroundTruth> truths(int64_t index, int64_t width, int64_t height) const;
  /// Keeps the first `count` samples, or every (size/count)-th when `spread` is set: data sorted by class needs that.
  void limit(int64_t count, bool spread);

 private:
  friend struct DatasetBuilder;
  DatasetKind kind_ = DatasetKind::unlabelled;
  std::vector<Sample> samples_;
  std::vector<std::string> class_names_;
  Tensor images_;                       // [N,H,W] or [N,H,W,C] u8 of an .npz file
  std::vector<int64_t> image_indices_;  // position in images_ of each sample
};

/// Preprocessed pictures, ready for a model.
struct Batch {
  Tensor input;  // f32 [N,C,H,W] or [N,H,W,C]
  std::vector<int64_t> indices;
  std::vector<int64_t> labels;
  std::vector<ImageMapping> mappings;
  /// Pictures in the batch; input may hold more rows (zeros) when the model's batch is fixed.
  [[nodiscard]] int64_t count() const { return static_cast<int64_t>(indices.size()); }
};

struct BatchOptions {
  int64_t batch = 1;
  bool pad_last = false;  ///< the last batch has `batch` rows too, filled up with zeros; else it is shorter
  int threads = 1;        ///< decode this many pictures at a time
};

/// Walks a data set in order. The data set must outlive the iterator.
class BatchIterator {
 public:
  BatchIterator(const Dataset& dataset, Preprocess preprocess, InputSize input, BatchOptions options);
  /// The next batch, or nullopt at the end. An error names the picture; the walk can go on after it.
  Result<std::optional<Batch>> next();
  [[nodiscard]] int64_t batches() const;

 private:
  const Dataset* dataset_;
  Preprocess preprocess_;
  InputSize input_;
  BatchOptions options_;
  int64_t position_ = 0;
};

}  // namespace planish
