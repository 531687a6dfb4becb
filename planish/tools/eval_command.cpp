#include <fmt/format.h>

#include <chrono>
#include <nlohmann/json.hpp>

#include "planish/api/data.h"
#include "planish/base/atomic_file.h"
#include "planish/tools/command_line.h"
#include "planish/tools/console.h"
#include "planish/tools/evaluation.h"
#include "planish/tools/open_engine.h"
#include "planish/tools/picture_input.h"
#include "planish/tools/planish_commands.h"
#include "planish/tools/trtexec/json_text.h"

namespace planish::tools {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kDefaultBatch = 8;

struct EvalCommand {
  std::string path;
  std::string data_path;
  std::string preprocess;
  std::string json_path;
  std::string predictions_path;
  int64_t limit = 0;
  double confidence = YoloOptions{}.confidence;
  double iou = YoloOptions{}.iou;
  EvaluationOptions options;
  BuildArguments build;
  CommandLine line;

  EvalCommand()
      : line("eval",
             "Measures accuracy: top-1 and top-5 for classifiers, COCO mAP for YOLOv8-style detectors. The report says "
             "which preprocessing was used.",
             "  planish eval resnet50.engine --data=imagenet/labels.csv --preset=imagenet --json=accuracy.json\n"
             "  planish eval yolov8n.onnx --data=coco128 --preset=yolo    # images/ and labels/ inside coco128") {
    line.positional("ENGINE|MODEL", path, "Engine file, or ONNX model to build one from");
    line.input(
        "--data", data_path, "PATH",
        "labels.csv, a folder with one (or with class folders, or images/ and labels/), or an .npz of images and "
        "labels");
    line.input("--preset,--preprocess", preprocess, "NAME|FILE",
               "Preprocessing: imagenet, caffe, cifar10, yolo, raw, or a JSON file (default: by the input's size)");
    line.integer("--limit", limit, 1, int64_t{1} << 40, "Evaluate this many pictures, spread over the data");
    line.integer("--batch", options.batch, 1, 1 << 20, "Pictures per run (default: what the engine is tuned for)");
    line.text("--output", options.output, "NAME", "Output to judge (default: the one whose shape fits)");
    line.number("--confidence", confidence, 0, 1, "X", "Detections: lowest score (default 0.001)");
    line.number("--iou", iou, 0, 1, "X", "Detections: overlap that suppresses (default 0.7)");
    line.output("--json", json_path, "FILE", "Write the report");
    line.output("--predictions", predictions_path, "FILE",
                "Write what was found per picture: .csv, or COCO results as .json");
    build.declare_common(line);
  }
};

double percent(int64_t part, int64_t whole) {
  return whole > 0 ? 100.0 * static_cast<double>(part) / static_cast<double>(whole) : 0.0;
}

std::string class_name(const Dataset& data, int64_t index) {
  const auto i = static_cast<size_t>(index);
  return index >= 0 && i < data.class_names().size() ? data.class_names()[i] : fmt::format("{}", index);
}

std::string report_text(const EvalCommand& command, const Evaluation& e, const Preprocess& preprocess) {
  std::string out = fmt::format("{} on {}: {} pictures\n", command.path, command.data_path, e.pictures);
  out += fmt::format("Preprocessing: {} {}\n", preprocess.name, Json::parse(preprocess_to_json(preprocess)).dump());
  if (e.kind == DatasetKind::detection) {
    out += fmt::format("mAP@0.5:      {:.4f}\nmAP@0.5:0.95: {:.4f}\n", e.map.map50, e.map.map50_95);
  } else {
    out += fmt::format("Top-1: {:.2f} % ({} of {})\n", percent(e.top1_hits, e.pictures), e.top1_hits, e.pictures);
    out += fmt::format("Top-5: {:.2f} % ({} of {})\n", percent(e.top5_hits, e.pictures), e.top5_hits, e.pictures);
  }
  const auto pictures = static_cast<double>(std::max<int64_t>(e.pictures, 1));
  return out + fmt::format("Speed: {:.1f} pictures/s in all; inference alone {} a picture in batches of {}\n",
                           pictures / std::max(e.seconds, 1e-9),
                           milliseconds_text(e.inference_seconds * 1000 / pictures), e.batch);
}

Json report_json(const EvalCommand& command, const Evaluation& e, const Preprocess& preprocess,
                 const api::EngineSummary& summary, const Dataset& data) {
  Json json;
  json["engine"] = command.path;
  json["data"] = command.data_path;
  json["pictures"] = e.pictures;
  json["output"] = e.output;
  if (e.kind == DatasetKind::detection) {
    json["map50"] = e.map.map50;
    json["map50_95"] = e.map.map50_95;
    json["confidence"] = command.confidence;
    json["iou"] = command.iou;
    for (const auto& [index, ap] : e.map.ap50_95_by_class) json["ap50_95_by_class"][class_name(data, index)] = ap;
  } else {
    json["top1"] = percent(e.top1_hits, e.pictures) / 100;
    json["top5"] = percent(e.top5_hits, e.pictures) / 100;
    json["top1_hits"] = e.top1_hits;
    json["top5_hits"] = e.top5_hits;
  }
  json["preprocess"] = Json::parse(preprocess_to_json(preprocess));
  json["precision"] = summary.precision;
  json["device"] = summary.device;
  json["batch"] = e.batch;
  json["seconds"] = e.seconds;
  json["inference_seconds"] = e.inference_seconds;
  return json;
}

std::string predictions_csv(const Evaluation& e, const Dataset& data) {
  Table table({{"file"}, {"label"}, {"predicted"}, {"score"}, {"rank_of_label"}});
  for (const Verdict& v : e.verdicts) {
    const Sample& sample = data.samples()[static_cast<size_t>(v.sample)];
    table.add({sample.file, fmt::format("{}", sample.label), fmt::format("{}", v.best_class),
               fmt::format("{:.6g}", v.score), fmt::format("{}", v.rank_of_label)});
  }
  return table.csv();
}

/// The COCO result format: boxes as corner, width and height in pixels of the picture.
std::string predictions_json(const Evaluation& e, const Dataset& data) {
  std::vector<std::string> lines;
  for (const Verdict& v : e.verdicts)
    for (const Detection& d : v.boxes) {
      const Json row{{"image_id", v.sample},
                     {"file_name", data.samples()[static_cast<size_t>(v.sample)].file},
                     {"category_id", d.class_index},
                     {"bbox", {d.x0, d.y0, d.x1 - d.x0, d.y1 - d.y0}},
                     {"score", d.score}};
      lines.push_back(row.dump(-1, ' ', false, Json::error_handler_t::replace));
    }
  return json_array_of_lines(lines);
}

Status write_reports(const EvalCommand& command, const Evaluation& e, const Preprocess& preprocess,
                     const api::Engine& engine, const Dataset& data) {
  if (!command.json_path.empty()) {
    const Json json = report_json(command, e, preprocess, engine.summary(), data);
    PLANISH_TRY(
        write_file_atomically(command.json_path, json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"));
  }
  if (command.predictions_path.empty()) return {};
  const bool boxes = e.kind == DatasetKind::detection;
  return write_file_atomically(command.predictions_path, boxes ? predictions_json(e, data) : predictions_csv(e, data));
}

/// Whether the right class is among the best five no more often than among any five of a thousand, clearly enough.
bool no_better_than_guessing(const Evaluation& e) {
  constexpr int64_t kTelling = 50;
  constexpr double kChance = 0.02;
  return e.kind == DatasetKind::classification && e.pictures >= kTelling &&
         static_cast<double>(e.top5_hits) < kChance * static_cast<double>(e.pictures);
}

Status eval(EvalCommand& command) {
  if (command.data_path.empty())
    return Error{.code = Code::invalid_argument,
                 .file = "--data",
                 .what = "says which pictures to evaluate on, and is missing",
                 .fix = "add --data=FOLDER, --data=labels.csv or --data=images.npz"};
  Dataset data = PLANISH_TRY(Dataset::open(command.data_path));
  if (!command.preprocess.empty()) (void)PLANISH_TRY(load_preprocess(command.preprocess));  // before a build
  if (command.limit > 0) data.limit(command.limit, true);
  command.build.default_batch = command.options.batch > 0 ? command.options.batch : kDefaultBatch;
  const api::Engine engine = PLANISH_TRY(open_engine("eval", command.path, command.build));
  const Preprocess preprocess =
      PLANISH_TRY(choose_preprocess(command.preprocess, engine, data.kind() == DatasetKind::detection));
  if (command.preprocess.empty())
    warn("eval", fmt::format("no --preset was given: '{}' is a guess from the input's shape", preprocess.name));
  command.options.detection.confidence = static_cast<float>(command.confidence);
  command.options.detection.iou = static_cast<float>(command.iou);
  command.options.threads = command.build.threads;
  Progress progress("Evaluating");
  const auto start = std::chrono::steady_clock::now();
  const auto show = [&](int64_t done, int64_t total) {
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    progress.update("pictures", done, total,
                    fmt::format("{:.1f}/s", static_cast<double>(done) / std::max(seconds.count(), 1e-9)));
  };
  const Evaluation e = PLANISH_TRY(evaluate(engine, data, preprocess, command.options, show));
  progress.finish();
  fmt::print("{}", report_text(command, e, preprocess));
  if (no_better_than_guessing(e))
    warn("eval",
         "that is no better than guessing: check that the pictures are prepared as in training (--preset, "
         "--preprocess) and that the labels count the classes as the network does");
  return write_reports(command, e, preprocess, engine, data);
}

}  // namespace

int eval_main(int argc, char** argv) {
  EvalCommand command;
  if (const auto code = command.line.parse(argc, argv)) return *code;
  const Status status = eval(command);
  return status.ok() ? 0 : fail("eval", status.error());
}

std::vector<std::string> eval_words() { return EvalCommand().line.words(); }

}  // namespace planish::tools
