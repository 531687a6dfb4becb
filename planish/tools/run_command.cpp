#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <sstream>

#include "planish/api/file_kind.h"
#include "planish/base/atomic_file.h"
#include "planish/tools/command_line.h"
#include "planish/tools/console.h"
#include "planish/tools/measurement.h"
#include "planish/tools/open_engine.h"
#include "planish/tools/picture_input.h"
#include "planish/tools/planish_commands.h"
#include "planish/tools/tensor_files.h"

namespace planish::tools {
namespace {

constexpr size_t kTopShown = 5;
constexpr int64_t kRowsShown = 4;

struct RunCommand {
  std::string path;
  std::vector<std::string> inputs;
  std::string output_path;
  std::string preprocess;
  std::string labels_path;
  BuildArguments build;
  CommandLine line;

  RunCommand()
      : line("run", "Runs an engine once and shows its outputs; classifiers get a list of their best classes.",
             "  planish run resnet50.engine --input=input=cat.jpg --preset=imagenet --labels=classes.txt\n"
             "  planish run bert.onnx --input=tokens.npz -o outputs.npz    # one array per input, by name") {
    line.positional("ENGINE|MODEL", path, "Engine file, or ONNX model to build one from");
    line.texts("-i,--input", inputs, "[NAME=]FILE",
               ".npy, .npz, .json (polygraphy inputs) or a picture; several pictures make a batch");
    line.text("-o,--output", output_path, "PATH",
              "Write the outputs: .npz, .json (polygraphy) or a folder of .npy files");
    line.text("--preset,--preprocess", preprocess, "NAME|FILE",
              "Preprocessing of pictures: imagenet, caffe, cifar10, yolo, raw, or a JSON file");
    line.text("--labels", labels_path, "FILE", "Class names, one a line");
    build.declare_common(line);
  }
};

/// Shapes of the given arrays, for a model that is built on the spot: "name:1x3x224x224,...".
std::string shapes_of(const GivenInputs& given, const api::Model& model) {
  std::string shapes;
  for (const auto& [name, tensor] : given.arrays) {
    const std::string input = name.empty() && model.inputs().size() == 1 ? model.inputs()[0].name : name;
    for (const api::TensorInfo& info : model.inputs())
      if (info.name == input && tensor.rank() == static_cast<int64_t>(info.dims.size()) && tensor.rank() > 0)
        shapes += fmt::format("{}'{}':{}", shapes.empty() ? "" : ",", input, extents_text(tensor.shape()));
  }
  return shapes;
}

Result<api::Engine> open_for(RunCommand& command, const GivenInputs& given) {
  BuildArguments build = command.build;
  build.default_batch = std::max<int64_t>(static_cast<int64_t>(given.pictures.size()), 1);
  const bool has_shapes =
      !build.shapes.empty() || !build.min_shapes.empty() || !build.opt_shapes.empty() || !build.max_shapes.empty();
  if (!has_shapes && !given.arrays.empty() && PLANISH_TRY(api::file_kind(command.path)) == api::FileKind::onnx)
    build.shapes = shapes_of(given, PLANISH_TRY(api::Model::read(command.path)));
  return open_engine("run", command.path, build);
}

std::string statistics_text(const Tensor& tensor) {
  if (tensor.size() == 0) return "empty";
  double low = INFINITY, high = -INFINITY, sum = 0, squares = 0;
  int64_t count = 0;
  for (int64_t i = 0; i < tensor.size(); ++i) {
    const double value = tensor.at(i);
    if (!std::isfinite(value)) continue;
    low = std::min(low, value);
    high = std::max(high, value);
    sum += value;
    squares += value * value;
    ++count;
  }
  const int64_t odd = tensor.size() - count;
  if (count == 0) return "no finite value";
  const double mean = sum / static_cast<double>(count);
  const double variance = std::max(squares / static_cast<double>(count) - mean * mean, 0.0);
  return fmt::format("min {:.6g}, max {:.6g}, mean {:.6g}, deviation {:.6g}{}", low, high, mean, std::sqrt(variance),
                     odd > 0 ? fmt::format(", {} values are not finite", odd) : "");
}

Result<std::vector<std::string>> read_labels(const std::string& path) {
  std::vector<std::string> labels;
  if (path.empty()) return labels;
  std::istringstream file(PLANISH_TRY(read_file(path)));
  for (std::string text; std::getline(file, text);) labels.push_back(text);
  return labels;
}

bool looks_like_scores(const Tensor& output) {
  constexpr int64_t kMostClasses = 100000;
  if (output.rank() < 2 || !dtype_is_float(output.dtype()) || output.dim(1) < 3 || output.dim(1) > kMostClasses)
    return false;
  return output.size() == output.dim(0) * output.dim(1);
}

/// Classes of one row with the highest scores; probabilities by softmax unless the scores already are.
void print_best_classes(std::span<const float> scores, const std::vector<std::string>& labels) {
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), size_t{0});
  const size_t shown = std::min(kTopShown, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(shown), order.end(),
                    [&](size_t a, size_t b) { return scores[a] != scores[b] ? scores[a] > scores[b] : a < b; });
  const double total = std::accumulate(scores.begin(), scores.end(), 0.0);
  const bool probabilities =
      std::abs(total - 1) < 1e-3 && std::all_of(scores.begin(), scores.end(), [](float s) { return s >= 0; });
  double exponentials = 0;
  for (const float s : scores) exponentials += std::exp(static_cast<double>(s) - static_cast<double>(scores[order[0]]));
  for (size_t i = 0; i < shown; ++i) {
    const double score = scores[order[i]];
    const double share = probabilities ? score : std::exp(score - static_cast<double>(scores[order[0]])) / exponentials;
    fmt::print("    {:5} {:6.2f} %  {:<10.5g} {}\n", order[i], share * 100, score,
               order[i] < labels.size() ? labels[order[i]] : "");
  }
}

void print_output(const std::string& name, const Tensor& output, const std::vector<std::string>& labels) {
  fmt::print("{} {} {}: {}\n", name, dtype_numpy_name(output.dtype()), tuple_text(output.shape()),
             statistics_text(output));
  if (!looks_like_scores(output)) return;
  const Tensor scores = output.cast(DType::f32);
  const int64_t rows = std::min(scores.dim(0), kRowsShown);
  const auto classes = static_cast<size_t>(scores.dim(1));
  for (int64_t row = 0; row < rows; ++row) {
    fmt::print("  best classes of row {}:\n", row);
    print_best_classes(scores.span<float>().subspan(static_cast<size_t>(row) * classes, classes), labels);
  }
  if (rows < scores.dim(0)) fmt::print("  and {} more rows\n", scores.dim(0) - rows);
}

Status run(RunCommand& command) {
  const std::vector<std::string> labels = PLANISH_TRY(read_labels(command.labels_path));
  if (!command.output_path.empty()) PLANISH_TRY(check_outputs_path(command.output_path));
  const GivenInputs given = PLANISH_TRY(read_given_inputs(command.inputs));
  const api::Engine engine = PLANISH_TRY(open_for(command, given));
  std::vector<std::string> notes;
  const NamedTensors inputs =
      PLANISH_TRY(assign_inputs(engine, given, command.preprocess, command.build.shapes, notes));
  for (const std::string& note : notes) warn("run", note);
  const auto context = PLANISH_TRY(engine.create_context(0, static_cast<int>(command.build.threads)));
  PLANISH_TRY(bind(*context, inputs));
  const auto start = std::chrono::steady_clock::now();
  PLANISH_TRY(context->run());
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  NamedTensors outputs;
  for (const api::TensorInfo& info : engine.outputs())
    outputs.emplace_back(info.name, borrowed(PLANISH_TRY(context->output(info.name))));
  for (const auto& [name, tensor] : outputs) print_output(name, tensor, labels);
  fmt::print("First run took {} (planish bench measures latency)\n", milliseconds_text(seconds.count() * 1000));
  return command.output_path.empty() ? ok_status() : write_outputs(command.output_path, outputs, seconds.count());
}

}  // namespace

int run_main(int argc, char** argv) {
  RunCommand command;
  if (const auto code = command.line.parse(argc, argv)) return *code;
  const Status status = run(command);
  return status.ok() ? 0 : fail("run", status.error());
}

std::vector<std::string> run_words() { return RunCommand().line.words(); }

}  // namespace planish::tools
