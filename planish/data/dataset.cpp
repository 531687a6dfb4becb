#include "planish/data/dataset.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include "planish/base/atomic_file.h"
#include "planish/data/csv.h"
#include "planish/data/npz.h"

namespace planish {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kMaxTextBytes = uint64_t{1} << 30;

Error dataset_error(Code code, const std::string& file, std::string what, std::string fix) {
  return Error{.code = code, .file = file, .what = std::move(what), .fix = std::move(fix)};
}

template <typename T>
std::optional<T> parse_number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Result<std::string> read_text(const fs::path& path) { return read_file(path, kMaxTextBytes); }

/// Names of a folder's entries that `keep` accepts, sorted byte by byte; hidden ones are left out.
template <typename Keep>
Result<std::vector<std::string>> list_folder(const fs::path& folder, Keep keep) {
  std::vector<std::string> names;
  std::error_code ec;
  fs::directory_iterator it(folder, ec);
  if (ec)
    return dataset_error(Code::io, folder.string(), "the folder cannot be read: " + ec.message(),
                         "check the path and its permissions");
  for (; it != fs::directory_iterator(); it.increment(ec)) {
    if (ec) break;
    const std::string name = it->path().filename().string();
    if (!name.empty() && name[0] != '.' && keep(*it)) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

bool is_picture(const fs::directory_entry& entry) {
  std::error_code ec;
  return has_image_extension(entry.path().filename().string()) && entry.is_regular_file(ec);
}

bool is_folder(const fs::directory_entry& entry) {
  std::error_code ec;
  return entry.is_directory(ec);
}

/// Names of classes.txt in the folder or the one above; empty when there is none.
std::vector<std::string> read_class_names(const fs::path& folder) {
  std::error_code ec;
  for (const fs::path& candidate : {folder / "classes.txt", fs::absolute(folder, ec).parent_path() / "classes.txt",
                                    fs::absolute(folder, ec).parent_path().parent_path() / "classes.txt"}) {
    if (!fs::is_regular_file(candidate, ec)) continue;
    const auto text = read_text(candidate);
    if (text.ok()) return split_lines(text.value());
  }
  return {};
}

int64_t position_of(const std::vector<std::string>& names, std::string_view name) {
  const auto it = std::find(names.begin(), names.end(), name);
  return it == names.end() ? -1 : it - names.begin();
}

/// Class index of each name: by `known` names when they cover all, as numbers when all are, else by sorted order, which
/// then becomes `known`.
std::map<std::string, int64_t> index_classes(const std::set<std::string>& names, std::vector<std::string>& known) {
  std::map<std::string, int64_t> indices;
  const auto by = [&](auto index_of) {
    indices.clear();
    for (const std::string& name : names) {
      const int64_t index = index_of(name);
      if (index < 0) return false;
      indices[name] = index;
    }
    return true;
  };
  if (!known.empty() && by([&](const std::string& name) { return position_of(known, name); })) return indices;
  if (by([](const std::string& name) { return parse_number<int64_t>(name).value_or(-1); })) return indices;
  known.assign(names.begin(), names.end());
  by([&](const std::string& name) { return position_of(known, name); });
  return indices;
}

struct CsvColumns {
  size_t file = 0, label = 1;
  bool header = false;
};

CsvColumns find_columns(const CsvRow& first) {
  constexpr std::array<std::string_view, 6> files{"file", "filename", "file_name", "image", "path", "img"};
  constexpr std::array<std::string_view, 6> labels{"class_index", "class_id", "label", "target", "class", "class_name"};
  std::vector<std::string> lower;
  for (std::string field : first.fields) {
    std::transform(field.begin(), field.end(), field.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    lower.push_back(std::move(field));
  }
  const auto find = [&](const auto& names) -> std::optional<size_t> {
    for (const auto name : names) {
      const int64_t at = position_of(lower, name);
      if (at >= 0) return static_cast<size_t>(at);
    }
    return std::nullopt;
  };
  const auto file = find(files), label = find(labels);
  if (file && label) return {*file, *label, true};
  return {};
}

Result<std::vector<RelativeBox>> parse_yolo_labels(const std::string& text, const std::string& file) {
  std::vector<RelativeBox> boxes;
  const auto lines = split_lines(text);
  for (size_t n = 0; n < lines.size(); ++n) {
    std::vector<double> numbers;
    std::string_view rest = lines[n];
    while (!(rest = trimmed(rest)).empty() && numbers.size() < 5) {
      const size_t end = std::min(rest.find_first_of(" \t"), rest.size());
      const auto number = parse_number<double>(rest.substr(0, end));
      if (!number || !std::isfinite(*number)) break;
      numbers.push_back(*number);
      rest.remove_prefix(end);
    }
    if (numbers.empty() && rest.empty()) continue;
    if (numbers.size() < 5 || !rest.empty() || numbers[0] < 0 || numbers[0] > 1e6 ||
        numbers[0] != std::floor(numbers[0]) || numbers[3] < 0 || numbers[4] < 0)
      return dataset_error(Code::corrupt, fmt::format("{}:{}", file, n + 1), "this line is not one box",
                           "write \"class cx cy w h\", the last four as fractions of the picture's size");
    boxes.push_back({static_cast<int64_t>(numbers[0]), numbers[1], numbers[2], numbers[3], numbers[4]});
  }
  return boxes;
}

}  // namespace

/// The ways to open a data set; each fills one Dataset.
struct DatasetBuilder {
  static Result<Dataset> from_npz(const std::string& path);
  static Result<Dataset> from_csv(const fs::path& path);
  static Result<Dataset> from_yolo(const fs::path& images, const fs::path& labels);
  static Result<Dataset> from_class_folders(const fs::path& folder, const std::vector<std::string>& names);
  static Dataset from_pictures(const fs::path& folder, const std::vector<std::string>& names);
};

Result<Dataset> DatasetBuilder::from_npz(const std::string& path) {
  const NpzFile file = PLANISH_TRY(NpzFile::open(path));
  Dataset data;
  data.images_ = PLANISH_TRY(file.load("images"));
  const Tensor& images = data.images_;
  const bool grey = images.rank() == 3 || (images.rank() == 4 && images.dim(3) == 1);
  if (images.dtype() != DType::u8 || images.size() == 0 || !(grey || (images.rank() == 4 && images.dim(3) == 3)))
    return dataset_error(Code::unsupported, path,
                         fmt::format("\"images\" is {} {}; uint8 [N,H,W,3] is needed", dtype_numpy_name(images.dtype()),
                                     to_string(images.shape())),
                         "save the pictures as uint8, channels last");
  const int64_t count = images.dim(0);
  for (int64_t i = 0; i < count; ++i) {
    data.samples_.push_back({fmt::format("{}[{}]", path, i)});
    data.image_indices_.push_back(i);
  }
  if (file.contains("class_names")) data.class_names_ = PLANISH_TRY(file.load_strings("class_names"));
  if (!file.contains("labels")) return data;
  const Tensor labels = PLANISH_TRY(file.load("labels"));
  if (labels.size() != count || !dtype_is_integer(labels.dtype()))
    return dataset_error(Code::corrupt, path,
                         fmt::format("\"labels\" is {} {} for {} pictures", dtype_numpy_name(labels.dtype()),
                                     to_string(labels.shape()), count),
                         "save one integer per picture");
  for (int64_t i = 0; i < count; ++i) data.samples_[static_cast<size_t>(i)].label = labels.int_at(i);
  data.kind_ = DatasetKind::classification;
  return data;
}

Result<Dataset> DatasetBuilder::from_csv(const fs::path& path) {
  const auto rows = parse_csv(PLANISH_TRY(read_text(path)));
  if (rows.empty()) return dataset_error(Code::corrupt, path.string(), "the file is empty", "list file,class_index");
  const CsvColumns columns = find_columns(rows[0]);
  std::set<std::string> names;
  Dataset data;
  data.kind_ = DatasetKind::classification;
  for (size_t i = columns.header ? 1 : 0; i < rows.size(); ++i) {
    const auto& fields = rows[i].fields;
    const auto where = fmt::format("{}:{}", path.string(), rows[i].line);
    if (fields.size() <= std::max(columns.file, columns.label) || fields[columns.label].empty())
      return dataset_error(Code::corrupt, where, "the line has no class",
                           "write \"file,class_index\" on every line, or a header that names these columns");
    const fs::path picture = path.parent_path() / fields[columns.file];
    std::error_code ec;
    if (!fs::is_regular_file(picture, ec))
      return dataset_error(Code::not_found, where, fmt::format("the picture \"{}\" does not exist", picture.string()),
                           "paths are relative to the list's folder; a first line of other names is taken for data");
    names.insert(fields[columns.label]);
    data.samples_.push_back({picture.string()});
  }
  data.class_names_ = read_class_names(path.parent_path());
  const auto indices = index_classes(names, data.class_names_);
  for (size_t i = 0; i < data.samples_.size(); ++i)
    data.samples_[i].label = indices.at(rows[i + (columns.header ? 1 : 0)].fields[columns.label]);
  return data;
}

Result<Dataset> DatasetBuilder::from_yolo(const fs::path& images, const fs::path& labels) {
  Dataset data = from_pictures(images, PLANISH_TRY(list_folder(images, is_picture)));
  data.kind_ = DatasetKind::detection;
  data.class_names_ = read_class_names(images);
  for (Sample& sample : data.samples_) {
    const fs::path file = labels / fs::path(sample.file).filename().replace_extension(".txt");
    std::error_code ec;
    if (!fs::exists(file, ec)) continue;
    const std::string text = PLANISH_TRY(read_text(file));
    sample.boxes = PLANISH_TRY(parse_yolo_labels(text, file.string()));
  }
  return data;
}

Result<Dataset> DatasetBuilder::from_class_folders(const fs::path& folder, const std::vector<std::string>& names) {
  Dataset data;
  data.kind_ = DatasetKind::classification;
  data.class_names_ = read_class_names(folder);
  const auto indices = index_classes({names.begin(), names.end()}, data.class_names_);
  for (const std::string& name : names) {
    const auto pictures = PLANISH_TRY(list_folder(folder / name, is_picture));
    for (const std::string& picture : pictures)
      data.samples_.push_back({(folder / name / picture).string(), indices.at(name)});
  }
  return data;
}

Dataset DatasetBuilder::from_pictures(const fs::path& folder, const std::vector<std::string>& names) {
  Dataset data;
  for (const std::string& name : names) data.samples_.push_back({(folder / name).string()});
  return data;
}

Result<Dataset> Dataset::open(const std::string& path) {
  std::error_code ec;
  const fs::path p = fs::path(path).has_filename() ? fs::path(path) : fs::path(path).parent_path();
  const auto non_empty = [&](Result<Dataset> data) -> Result<Dataset> {
    if (data.ok() && data->samples_.empty())
      return dataset_error(Code::not_found, path, "there are no pictures here",
                           "name a folder of JPEG, PNG, WebP, BMP or PPM files, a labels.csv or an .npz file");
    return data;
  };
  if (!fs::exists(p, ec)) return dataset_error(Code::not_found, path, "this path does not exist", "check its spelling");
  if (fs::is_regular_file(p, ec)) {
    const std::string extension = p.extension().string();
    if (extension == ".npz") return non_empty(DatasetBuilder::from_npz(path));
    if (extension == ".csv") return non_empty(DatasetBuilder::from_csv(p));
    return DatasetBuilder::from_pictures(p.parent_path(), {p.filename().string()});
  }
  if (fs::is_directory(p / "images", ec) && fs::is_directory(p / "labels", ec))
    return non_empty(DatasetBuilder::from_yolo(p / "images", p / "labels"));
  if (p.filename() == "images" && fs::is_directory(p.parent_path() / "labels", ec))
    return non_empty(DatasetBuilder::from_yolo(p, p.parent_path() / "labels"));
  if (fs::is_regular_file(p / "labels.csv", ec)) return non_empty(DatasetBuilder::from_csv(p / "labels.csv"));
  const auto pictures = PLANISH_TRY(list_folder(p, is_picture));
  if (!pictures.empty()) return DatasetBuilder::from_pictures(p, pictures);
  const auto folders = PLANISH_TRY(list_folder(p, is_folder));
  return non_empty(DatasetBuilder::from_class_folders(p, folders));
}

Result<Image> Dataset::load(int64_t index) const {
  if (index < 0 || index >= size())
    return dataset_error(Code::invalid_argument, "", fmt::format("there is no picture {} of {}", index, size()),
                         "use an index below the size");
  if (!images_.defined()) return load_image(samples_[static_cast<size_t>(index)].file);
  const int64_t height = images_.dim(1), width = images_.dim(2);
  const size_t channels = images_.rank() == 4 ? static_cast<size_t>(images_.dim(3)) : 1;
  Image image = Image::filled(width, height, 0);
  const size_t pixels = static_cast<size_t>(width * height);
  const auto* in =
      images_.data<uint8_t>() + static_cast<size_t>(image_indices_[static_cast<size_t>(index)]) * pixels * channels;
  for (size_t i = 0; i < pixels; ++i)
    for (size_t c = 0; c < 3; ++c) image.pixels[3 * i + c] = in[i * channels + (channels == 3 ? c : 0)];
  return image;
}

std::vector<GroundTruth> Dataset::truths(int64_t index, int64_t width, int64_t height) const {
  std::vector<GroundTruth> truths;
  if (index < 0 || index >= size()) return truths;
  const auto w = static_cast<double>(width), h = static_cast<double>(height);
  for (const RelativeBox& b : samples_[static_cast<size_t>(index)].boxes)
    truths.push_back(
        {(b.cx - b.w / 2) * w, (b.cy - b.h / 2) * h, (b.cx + b.w / 2) * w, (b.cy + b.h / 2) * h, b.class_index});
  return truths;
}

void Dataset::limit(int64_t count, bool spread) {
  const int64_t total = size();
  if (count < 0 || count >= total) return;
  std::vector<Sample> samples;
  std::vector<int64_t> image_indices;
  for (int64_t i = 0; i < count; ++i) {
    const auto from = static_cast<size_t>(spread ? i * total / count : i);
    samples.push_back(std::move(samples_[from]));
    if (!image_indices_.empty()) image_indices.push_back(image_indices_[from]);
  }
  samples_ = std::move(samples);
  image_indices_ = std::move(image_indices);
}

}  // namespace planish
