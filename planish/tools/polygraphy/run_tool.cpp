#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "planish/base/atomic_file.h"
#include "planish/tools/polygraphy/array_stats.h"
#include "planish/tools/polygraphy/compare.h"
#include "planish/tools/polygraphy/engine_build.h"
#include "planish/tools/polygraphy/input_data.h"
#include "planish/tools/polygraphy/numpy_text.h"
#include "planish/tools/polygraphy/option_groups.h"
#include "planish/tools/polygraphy/runner.h"
#include "planish/tools/polygraphy/saved_data.h"
#include "planish/tools/polygraphy/tool.h"
#include "planish/tools/trtexec/text.h"

namespace planish::tools {
namespace {

/// "out:top-5,axis=1"
struct TopK {
  int64_t k = 0;
  int64_t axis = -1;
};

Result<std::pair<std::string, TopK>> parse_top_k(const std::string& text) {
  const Error bad{.code = Code::invalid_argument,
                  .file = "--postprocess",
                  .what = fmt::format("'{}' is not a post-processing", text),
                  .fix = "write top-5, top-5,axis=1 or logits:top-5"};
  const size_t at = text.rfind("top-");
  if (at == std::string::npos || (at > 0 && text[at - 1] != ':')) return bad;
  const std::string rest = text.substr(at + 4);
  const size_t comma = rest.find(',');
  TopK top;
  const auto k = parse_integer(rest.substr(0, comma), 1, int64_t{1} << 40, "--postprocess");
  if (!k.ok()) return bad;
  top.k = *k;
  if (comma != std::string::npos) {
    if (rest.compare(comma, 6, ",axis=") != 0) return bad;
    const auto axis = parse_integer(rest.substr(comma + 6), -64, 63, "--postprocess");
    if (!axis.ok()) return bad;
    top.axis = *axis;
  }
  return std::pair{at > 0 ? text.substr(0, at - 1) : std::string(), top};
}

/// Indices of the `k` largest values along an axis, largest first; ties in order.
Result<Tensor> top_indices(const Tensor& x, TopK top, const std::string& name) {
  const int64_t axis = top.axis < 0 ? top.axis + x.rank() : top.axis;
  if (axis < 0 || axis >= x.rank())
    return Error{.code = Code::invalid_argument,
                 .tensor = name,
                 .file = "--postprocess",
                 .what = fmt::format("axis {} does not exist in shape {}", top.axis, python_tuple(x.shape())),
                 .fix = "name another axis"};
  const int64_t length = x.dim(axis);
  int64_t inner = 1;
  for (int64_t i = axis + 1; i < x.rank(); ++i) inner *= x.dim(i);
  const int64_t k = std::min(top.k, length);
  Shape shape = x.shape();
  shape[static_cast<size_t>(axis)] = k;
  Tensor out(DType::i64, shape);
  const int64_t outer = length > 0 && inner > 0 ? x.size() / length / inner : 0;
  std::vector<int64_t> order(static_cast<size_t>(length));
  for (int64_t row = 0; row < outer * inner; ++row) {
    const int64_t base = row / inner * length * inner + row % inner;
    std::iota(order.begin(), order.end(), int64_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return x.at(base + a * inner) > x.at(base + b * inner); });
    for (int64_t i = 0; i < k; ++i)
      out.data<int64_t>()[row / inner * k * inner + i * inner + row % inner] = order[static_cast<size_t>(i)];
  }
  return out;
}

class RunTool {
 public:
  RunTool(const ParsedOptions& options, PolygraphyLog& log) : options_(options), log_(log) {}

  Result<bool> run() {
    PLANISH_TRY(check_options());
    CompareOptions how = PLANISH_TRY(compare_options(options_));
    comparison_ = std::make_unique<AccuracyComparison>(log_, std::move(how));
    for (const std::string& text : options_.values("--postprocess"))
      postprocess_.insert(PLANISH_TRY(parse_top_k(text)));
    PLANISH_TRY(make_runners());
    if (runners_.empty())
      log_.print(PolygraphyLog::warning, "No runners have been selected. Inference will not be run!");
    data_ = PLANISH_TRY(make_input_data(options_, log_));
    const bool sequential = options_.has("--sequential-runners");
    Status status = sequential ? run_sequentially() : run_streaming();
    // What was computed before a failure is kept: a NaN is looked for in the saved outputs.
    Status saved = finish_writers();
    PLANISH_TRY(std::move(status));
    PLANISH_TRY(std::move(saved));
    if (runners_.empty()) PLANISH_TRY(compare_saved());
    if (!runners_.empty() && loaded_ && !stopped_ &&
        std::ranges::any_of(*loaded_, [&](const auto& r) { return r.second.size() > judged_; }))
      warn_of_lengths(judged_, false);
    const bool accurate = !stopped_ && comparison_->finish();
    if (options_.has("--save-accuracy-results")) {
      const std::string path = options_.text("--save-accuracy-results");
      log_.print(PolygraphyLog::info, "Saving accuracy results to " + path);
      PLANISH_TRY(write_file_atomically(path, comparison_->to_json()));
    }
    return accurate;
  }

 private:
  Status check_options() {
    PLANISH_TRY(refuse(options_, {"--tf"}, "this needs TensorFlow", "use the polygraphy Python package"));
    PLANISH_TRY(
        refuse(options_, {"--pluginref"}, "this needs TensorRT's plugins", "use the polygraphy Python package"));
    PLANISH_TRY(refuse(options_, {"--gen", "--compare-func-script", "--postprocess-func-script"},
                       "such a script works on the polygraphy Python package's own objects",
                       "use that package, or the options of `polygraphy run --help`"));
    const bool sequential = options_.has("--sequential-runners");
    const int64_t warm_up = PLANISH_TRY(options_.integer("--warm-up", 0, 0, 1000000000));
    if (!sequential && warm_up > 0)
      return plain_error("--warm-up is only supported with --sequential-runners", "add --sequential-runners");
    return {};
  }

  Status make_runners() {
    const std::string model = options_.positionals.empty() ? "" : options_.positionals[0];
    for (const std::string& option : options_.sequence) {
      if (option != "--trt" && option != "--onnxrt") continue;
      if (model.empty())
        return plain_error("A model is required to run inference", "polygraphy run MODEL.onnx " + option);
      const std::string name = runner_name(option.substr(2), static_cast<int>(runners_.size()));
      runners_.push_back(option == "--trt" ? make_trt_runner(name, model, options_)
                                           : make_onnxrt_runner(name, model, options_));
    }
    return {};
  }

  Status activate(Runner& runner) {
    log_.print(PolygraphyLog::start, fmt::format("{:35} | Activating and starting inference", runner.name()));
    return runner.activate(log_);
  }

  Status open_writers() {
    inputs_writer_ = PLANISH_TRY(IterationWriter::open(options_.text("--save-inputs"), "inference input data", log_));
    outputs_writer_ = PLANISH_TRY(IterationWriter::open(options_.text("--save-outputs"), "inference results", log_));
    if (options_.has("--save-input-blob"))
      log_.print(PolygraphyLog::info, "Saving raw inference input tensors to: " + blob_folder());
    return {};
  }

  [[nodiscard]] std::string blob_folder() const { return options_.text("--save-input-blob", "input_blob"); }

  /// All runners side by side, one iteration after the other.
  Status run_streaming() {
    for (const auto& runner : runners_) PLANISH_TRY(activate(*runner));
    if (!runners_.empty()) {
      PLANISH_TRY(data_->prepare(runners_[0]->inputs()));
      PLANISH_TRY(open_writers());
    }
    for (size_t index = 0; !runners_.empty() && !stopped_; ++index) {
      const auto feed = PLANISH_TRY(data_->next());
      if (!feed) break;
      log_.print_once(PolygraphyLog::info, fmt::format("Streaming iteration {}\n---- Inference Input(s) ----\n{}",
                                                       index, tensors_text(*feed)));
      if (index == 1 && (inputs_writer_->accumulates() || outputs_writer_->accumulates()))
        log_.print(
            PolygraphyLog::warning,
            "Saving streamed results to a single file accumulates every iteration in memory; pass a directory to "
            "--save-inputs/--save-outputs (read back with --load-inputs/--load-outputs) to keep memory constant.");
      PLANISH_TRY(save_feed(*feed, index));
      SavedRunResults results;
      for (const auto& runner : runners_) {
        SavedIteration one = PLANISH_TRY(infer(*runner, *feed));
        log_outputs(runner->name(), one.outputs);
        results.push_back({runner->name(), {std::move(one)}});
      }
      PLANISH_TRY(outputs_writer_->add_outputs(results));
      PLANISH_TRY(judge(index, std::move(results)));
    }
    return {};
  }

  Status save_feed(const NamedTensors& feed, size_t index) {
    PLANISH_TRY(inputs_writer_->add_inputs(feed));
    return options_.has("--save-input-blob") ? write_input_blobs(blob_folder(), index, feed) : Status();
  }

  Result<SavedIteration> infer(Runner& runner, const NamedTensors& inputs) {
    const NamedTensors feed = PLANISH_TRY(feed_for(runner, inputs));
    Runner::Inference inference = PLANISH_TRY(runner.infer(feed));
    return SavedIteration{std::move(inference.outputs), inference.runtime_s, runner.name()};
  }

  void log_outputs(const std::string& runner, const NamedTensors& outputs) {
    log_.print_once(PolygraphyLog::info,
                    fmt::format("{:35}\n---- Inference Output(s) ----\n{}", runner, tensors_text(outputs)));
  }

  /// One runner after the other, each over all inputs.
  Status run_sequentially() {
    std::vector<NamedTensors> feeds;
    SavedRunResults all;
    for (const auto& runner : runners_) {
      PLANISH_TRY(activate(*runner));
      if (all.empty()) {
        PLANISH_TRY(data_->prepare(runner->inputs()));
        while (true) {
          auto feed = PLANISH_TRY(data_->next());
          if (!feed) break;
          feeds.push_back(*std::move(feed));
        }
      }
      auto iterations = PLANISH_TRY(run_one(*runner, feeds));
      all.push_back({runner->name(), std::move(iterations)});
    }
    PLANISH_TRY(open_writers());
    for (size_t i = 0; i < feeds.size(); ++i) {
      PLANISH_TRY(save_feed(feeds[i], i));
      SavedRunResults results;
      for (const auto& [name, iterations] : all) results.push_back({name, {iterations[i]}});
      PLANISH_TRY(outputs_writer_->add_outputs(results));
      if (!stopped_) PLANISH_TRY(judge(i, std::move(results)));
    }
    return {};
  }

  Result<std::vector<SavedIteration>> run_one(Runner& runner, const std::vector<NamedTensors>& feeds) {
    const int64_t warm_up = PLANISH_TRY(options_.integer("--warm-up", 0, 0, 1000000000));
    if (warm_up > 0 && !feeds.empty()) {
      log_.print(PolygraphyLog::start, fmt::format("{:35} | Running {} warm-up run(s)", runner.name(), warm_up));
      for (int64_t i = 0; i < warm_up; ++i) (void)PLANISH_TRY(infer(runner, feeds[0]));
      log_.print(PolygraphyLog::finish, fmt::format("{:35} | Finished {} warm-up run(s)", runner.name(), warm_up));
    }
    std::vector<SavedIteration> out;
    double total_ms = 0;
    for (const NamedTensors& feed : feeds) {
      log_.print_once(PolygraphyLog::info,
                      fmt::format("{:35}\n---- Inference Input(s) ----\n{}", runner.name(), tensors_text(feed)));
      out.push_back(PLANISH_TRY(infer(runner, feed)));
      total_ms += out.back().runtime_s * 1000;
      log_outputs(runner.name(), out.back().outputs);
    }
    if (!out.empty())
      log_.print(PolygraphyLog::finish,
                 fmt::format("{:35} | Completed {} iteration(s) in {:.4g} ms | Average inference time: {:.4g} ms.",
                             runner.name(), out.size(), total_ms, total_ms / static_cast<double>(out.size())));
    return out;
  }

  /// Adds what --load-outputs holds for this iteration, then validates, postprocesses and compares.
  Status judge(size_t index, SavedRunResults results) {
    if (!loaded_) PLANISH_TRY(load_outputs());
    judged_ = index + 1;
    bool complete = true;
    for (const auto& [runner, iterations] : *loaded_) {
      if (index < iterations.size()) {
        results.push_back({runner, {iterations[index]}});
        continue;
      }
      complete = false;
    }
    if (!complete) warn_of_lengths(index, true);
    if (options_.has("--validate")) PLANISH_TRY(validate(index, results));
    std::vector<std::pair<std::string, const NamedTensors*>> runners;
    for (auto& [runner, iterations] : results) {
      PLANISH_TRY(postprocess(iterations[0].outputs));
      runners.emplace_back(runner, &iterations[0].outputs);
    }
    if (!complete) return {};
    const bool passed = PLANISH_TRY(comparison_->add(runners));
    stopped_ = !passed && options_.has("--fail-fast");
    return {};
  }

  /// When runners and --load-outputs have different numbers of iterations; `index`: the first that not all have.
  void warn_of_lengths(size_t index, bool runners_go_on) {
    std::vector<size_t> ended;
    const size_t streams = runners_.size() + loaded_->size();
    for (size_t i = 0; i < runners_.size() && !runners_go_on; ++i) ended.push_back(i);
    for (size_t i = 0; i < loaded_->size(); ++i)
      if ((*loaded_)[i].second.size() <= index) ended.push_back(runners_.size() + i);
    if (ended.empty() || ended.size() == streams || warned_of_lengths_) return;
    warned_of_lengths_ = true;
    log_.print(
        PolygraphyLog::warning,
        fmt::format("The provided streams have different numbers of iterations. Only the first {} iteration(s) -- "
                    "present in all {} streams -- were compared; stream(s) at index [{}] ran out first.",
                    index, streams, fmt::join(ended, ", ")));
  }

  Status load_outputs() {
    loaded_.emplace();
    for (const std::string& path : options_.values("--load-outputs"))
      for (auto& runner : PLANISH_TRY(load_results(path, log_))) loaded_->push_back(std::move(runner));
    return {};
  }

  Status finish_writers() {
    if (inputs_writer_) PLANISH_TRY(inputs_writer_->finish());
    return outputs_writer_ ? outputs_writer_->finish() : Status();
  }

  /// Without runners saved results are compared with each other.
  Status compare_saved() {
    PLANISH_TRY(load_outputs());
    const SavedRunResults results = std::move(*loaded_);
    loaded_->clear();
    size_t count = results.empty() ? 0 : SIZE_MAX;
    for (const auto& [runner, iterations] : results) count = std::min(count, iterations.size());
    for (size_t i = 0; i < count && !stopped_; ++i) {
      SavedRunResults one;
      for (const auto& [runner, iterations] : results) one.push_back({runner, {iterations[i]}});
      PLANISH_TRY(judge(i, std::move(one)));
    }
    *loaded_ = results;
    if (!stopped_) warn_of_lengths(count, true);
    return {};
  }

  Status postprocess(NamedTensors& outputs) {
    for (auto& [name, tensor] : outputs) {
      const auto own = postprocess_.find(name);
      const auto any = postprocess_.find("");
      const auto it = own != postprocess_.end() ? own : any;
      if (it != postprocess_.end()) tensor = PLANISH_TRY(top_indices(tensor, it->second, name));
    }
    return {};
  }

  Status validate(size_t index, const SavedRunResults& results) {
    bool valid = true;
    for (const auto& [runner, iterations] : results)
      for (const auto& [name, tensor] : iterations[0].outputs)
        valid = validate_output(index, runner, name, tensor) && valid;
    if (valid) return {};
    return plain_error(fmt::format(
        "Output validation failed: iteration {} contains invalid values (NaNs/Infs). See the errors above.", index));
  }

  bool validate_output(size_t index, const std::string& runner, const std::string& name, const Tensor& tensor) {
    log_.print(PolygraphyLog::start,
               fmt::format("{:35} | Iteration {} | Validating output: {} (check_inf=True, check_nan=True)", runner,
                           index, name));
    const LogIndent indent(log_);
    const Values values = widened(tensor);
    log_stats(log_, values, false, "");
    const auto has = [&values](auto test) { return std::any_of(values.elements.begin(), values.elements.end(), test); };
    const bool nan = has([](double x) { return std::isnan(x); });
    const bool not_finite = has([](double x) { return !std::isfinite(x); });
    if (nan) log_.print(PolygraphyLog::error, "NaN Detected | One or more NaNs were encountered in this output");
    if (not_finite)
      log_.print(PolygraphyLog::error, "Inf Detected | One or more non-finite values were encountered in this output");
    if (nan || not_finite)
      log_.print(PolygraphyLog::error, "FAILED | Errors detected in output: " + name);
    else
      log_.print(PolygraphyLog::finish, fmt::format("PASSED | Output: {} is valid", name));
    return !nan && !not_finite;
  }

  const ParsedOptions& options_;
  PolygraphyLog& log_;
  std::unique_ptr<AccuracyComparison> comparison_;
  std::map<std::string, TopK> postprocess_;
  std::vector<std::unique_ptr<Runner>> runners_;
  std::unique_ptr<InputData> data_;
  std::optional<IterationWriter> inputs_writer_, outputs_writer_;
  std::optional<SavedRunResults> loaded_;
  bool stopped_ = false;
  bool warned_of_lengths_ = false;
  size_t judged_ = 0;  ///< iterations
};

}  // namespace

const ToolSyntax& run_syntax() {
  static const ToolSyntax kSyntax{
      "polygraphy run",
      "model_file",
      0,
      1,
      {logging_options(), runner_options(), model_options(), data_loader_options(), comparator_options(),
       comparison_options(), build_options(), onnx_options(), tensorflow_options()},
      "Runs a model on one or more runners, compares their outputs with each other and with saved ones, and exits with "
      "1 "
      "when they differ by more than the tolerances.",
      "  polygraphy run resnet50.onnx --trt --onnxrt --input-shapes data:[1,3,224,224] --atol 1e-3 --rtol 1e-3\n"
      "  polygraphy run resnet50.onnx --onnxrt --save-inputs inputs.json --save-outputs golden.json\n"
      "  polygraphy run resnet50.onnx --trt --int8 --calibration-cache resnet50.cache \\\n"
      "      --load-inputs inputs.json --load-outputs golden.json --compare cosine_similarity"};
  return kSyntax;
}

int run_main(const std::vector<std::string>& arguments) {
  return run_tool(run_syntax(), arguments, true,
                  [](const ParsedOptions& options, PolygraphyLog& log) { return RunTool(options, log).run(); });
}

}  // namespace planish::tools
