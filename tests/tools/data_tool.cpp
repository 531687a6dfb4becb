// Reaches planish/data from Python tests: each command reads files, calls one function and writes .npy or JSON.
#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>

#include "planish/data/coco_map.h"
#include "planish/data/dataset.h"
#include "planish/data/image.h"
#include "planish/data/npy.h"
#include "planish/data/npz.h"
#include "planish/data/polygraphy_json.h"
#include "planish/data/preprocess.h"
#include "planish/data/resample.h"
#include "planish/data/yolo_decode.h"

namespace planish {
namespace {

using Args = std::vector<std::string>;

int64_t integer(const std::string& text) { return std::strtoll(text.c_str(), nullptr, 10); }

Status write_image(const std::string& path, const Image& image) {
  Tensor pixels(DType::u8, {image.height, image.width, image.channels});
  std::memcpy(pixels.raw(), image.pixels.data(), image.pixels.size());
  return write_npy(path, pixels);
}

Status decode(const Args& a) {
  const Image image = PLANISH_TRY(load_image(a[0]));
  return write_image(a[1], image);
}

Status resize(const Args& a) {
  const Image image = PLANISH_TRY(load_image(a[0]));
  const Filter filter = a[3] == "bilinear" ? Filter::bilinear : Filter::bilinear_antialias;
  const Image scaled = PLANISH_TRY(resize_image(image, integer(a[1]), integer(a[2]), filter));
  return write_image(a[4], scaled);
}

Status preprocess(const Args& a) {
  const Preprocess p = PLANISH_TRY(load_preprocess(a[0]));
  const Image image = PLANISH_TRY(load_image(a[1]));
  const InputSize size{integer(a[2]), integer(a[3]), integer(a[4])};
  Tensor out(DType::f32, {size.channels, size.height, size.width});
  const ImageMapping m = PLANISH_TRY(preprocess_image(p, image, size, out.span<float>()));
  fmt::print("{{\"scale\": [{}, {}], \"offset\": [{}, {}]}}\n", m.scale_x, m.scale_y, m.offset_x, m.offset_y);
  return write_npy(a[5], out);
}

/// Rows of detections: picture, x0, y0, x1, y1, score, class; of true boxes: picture, x0, y0, x1, y1, class, crowd.
Status coco_map(const Args& a) {
  const Tensor found = PLANISH_TRY(read_npy(a[0]));
  const Tensor truths = PLANISH_TRY(read_npy(a[1]));
  std::vector<std::vector<Detection>> detections(static_cast<size_t>(integer(a[2])));
  std::vector<std::vector<GroundTruth>> boxes(detections.size());
  for (int64_t i = 0; i < found.size() / 7; ++i) {
    const auto at = [&](int64_t k) { return found.at(i * 7 + k); };
    detections.at(static_cast<size_t>(at(0)))
        .push_back({at(1), at(2), at(3), at(4), at(5), static_cast<int64_t>(at(6))});
  }
  for (int64_t i = 0; i < truths.size() / 7; ++i) {
    const auto at = [&](int64_t k) { return truths.at(i * 7 + k); };
    boxes.at(static_cast<size_t>(at(0)))
        .push_back({at(1), at(2), at(3), at(4), static_cast<int64_t>(at(5)), at(6) != 0});
  }
  CocoEvaluator evaluator;
  for (size_t i = 0; i < boxes.size(); ++i) evaluator.add(detections[i], boxes[i]);
  const CocoMap result = evaluator.compute();
  fmt::print("{{\"map50\": {:.17g}, \"map50_95\": {:.17g}}}\n", result.map50, result.map50_95);
  return ok_status();
}

/// Rows of detections of one raw output [1, 4 + classes, boxes], in input pixels.
Status yolo(const Args& a) {
  const Tensor output = PLANISH_TRY(read_npy(a[0]));
  const ImageMapping identity{integer(a[1]), integer(a[2])};
  const auto detections = PLANISH_TRY(decode_yolo(output, 0, identity));
  Tensor rows(DType::f64, {static_cast<int64_t>(detections.size()), 6});
  double* out = rows.data<double>();
  for (const Detection& d : detections)
    for (const double v : {d.x0, d.y0, d.x1, d.y1, d.score, static_cast<double>(d.class_index)}) *out++ = v;
  return write_npy(a[3], rows);
}

Status copy_npy(const Args& a) {
  const Tensor tensor = PLANISH_TRY(read_npy(a[0]));
  return write_npy(a[1], tensor);
}

Status copy_npz(const Args& a) {
  const NamedTensors tensors = PLANISH_TRY(read_npz(a[0]));
  return write_npz(a[1], tensors, a[2] == "compress");
}

Status copy_inputs(const Args& a) {
  const auto iterations = PLANISH_TRY(read_polygraphy_inputs(a[0]));
  return write_polygraphy_inputs(a[1], iterations);
}

Status list_dataset(const Args& a) {
  const Dataset data = PLANISH_TRY(Dataset::open(a[0]));
  for (const Sample& s : data.samples()) fmt::print("{}\t{}\t{}\n", s.file, s.label, s.boxes.size());
  return ok_status();
}

struct Command {
  size_t arguments;
  std::function<Status(const Args&)> run;
};

int main_of(const Args& all) {
  const std::map<std::string, Command> commands{{"decode", {2, decode}},
                                                {"resize", {5, resize}},
                                                {"preprocess", {6, preprocess}},
                                                {"coco-map", {3, coco_map}},
                                                {"yolo", {4, yolo}},
                                                {"copy-npy", {2, copy_npy}},
                                                {"copy-npz", {3, copy_npz}},
                                                {"copy-inputs", {2, copy_inputs}},
                                                {"list-dataset", {1, list_dataset}}};
  const auto command = all.empty() ? commands.end() : commands.find(all[0]);
  if (command == commands.end() || all.size() != command->second.arguments + 1) {
    for (const auto& [name, c] : commands) fmt::print(stderr, "{} with {} arguments\n", name, c.arguments);
    return 2;
  }
  const Status status = command->second.run(Args(all.begin() + 1, all.end()));
  if (status.ok()) return 0;
  fmt::print(stderr, "{}\n", status.error().message());
  return 1;
}

}  // namespace
}  // namespace planish

int main(int argc, char** argv) { return planish::main_of({argv + 1, argv + argc}); }
