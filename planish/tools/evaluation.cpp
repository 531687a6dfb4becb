#include "planish/tools/evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>

#include "planish/tools/console.h"
#include "planish/tools/picture_input.h"

namespace planish::tools {
namespace {

using SteadyClock = std::chrono::steady_clock;

double seconds_since(SteadyClock::time_point start) {
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

/// Scores of classes: [N, classes] with nothing but ones behind.
bool holds_scores(const std::vector<int64_t>& dims) {
  return dims.size() >= 2 && dims[1] >= 2 &&
         std::all_of(dims.begin() + 2, dims.end(), [](int64_t d) { return d == 1; });
}

/// YOLOv8's boxes: [N, 4 + classes, boxes] or the last two swapped.
bool holds_boxes(const std::vector<int64_t>& dims) { return dims.size() == 3 && std::min(dims[1], dims[2]) >= 5; }

Result<int64_t> choose_batch(const PictureInput& input, int64_t wanted) {
  const int64_t batch = wanted > 0 ? wanted : input.opt_batch;
  if (batch >= input.min_batch && batch <= input.max_batch) return batch;
  // Smaller than the smallest batch works by filling it up.
  if (batch < input.min_batch && wanted == 0) return input.min_batch;
  const std::string allowed = input.min_batch == input.max_batch
                                  ? fmt::format("is fixed at {}", input.min_batch)
                                  : fmt::format("goes from {} to {}", input.min_batch, input.max_batch);
  return Error{.code = Code::invalid_argument,
               .file = "--batch",
               .what = fmt::format("{} was asked for, but the engine's batch {}", batch, allowed),
               .fix = "leave the option out, or build the engine for that batch"};
}

class Evaluator {
 public:
  Evaluator(const Dataset& data, const EvaluationOptions& options, Evaluation& result)
      : data_(data), options_(options), result_(result) {}

  Status add(const api::ExecutionContext& context, const api::Engine& engine, const Batch& batch) {
    const Tensor output = PLANISH_TRY(judged_output(context, engine));
    return result_.kind == DatasetKind::detection ? add_boxes(output, batch) : add_scores(output, batch);
  }

  void finish() {
    result_.top1_hits = accuracy_.top1_hits();
    result_.top5_hits = accuracy_.top5_hits();
    if (result_.kind == DatasetKind::detection) result_.map = coco_.compute();
  }

 private:
  Result<Tensor> judged_output(const api::ExecutionContext& context, const api::Engine& engine) {
    if (!result_.output.empty()) return borrowed(PLANISH_TRY(context.output(result_.output)));
    std::string shapes;
    for (const api::TensorInfo& info : engine.outputs()) {
      if (!options_.output.empty() && info.name != options_.output) continue;
      const auto output = PLANISH_TRY(context.output(info.name));
      shapes += fmt::format("{}{} {}", shapes.empty() ? "" : ", ", info.name, tuple_text(output.dims));
      const bool fits = result_.kind == DatasetKind::detection ? holds_boxes(output.dims) : holds_scores(output.dims);
      if (!fits && options_.output.empty()) continue;
      result_.output = info.name;
      return borrowed(output);
    }
    return no_output(shapes);
  }

  [[nodiscard]] Error no_output(const std::string& shapes) const {
    const char* wanted =
        result_.kind == DatasetKind::detection ? "YOLOv8 boxes [N, 4 + classes, boxes]" : "class scores [N, classes]";
    return Error{.code = Code::shape_mismatch,
                 .tensor = options_.output,
                 .what = options_.output.empty()
                             ? fmt::format("the labels need {}, but the outputs are {}", wanted, shapes)
                             : "the engine has no output of that name",
                 .fix = options_.output.empty() ? "evaluate it on data with the matching kind of labels"
                                                : "planish inspect lists the outputs"};
  }

  Status add_scores(const Tensor& output, const Batch& batch) {
    PLANISH_TRY(accuracy_.add_batch(output, batch.labels));
    const Tensor scores = output.cast(DType::f32);
    const auto classes = static_cast<size_t>(scores.dim(1));
    for (size_t i = 0; i < batch.indices.size(); ++i) {
      const auto row = scores.span<float>().subspan(i * classes, classes);
      const int64_t best = argmax(row);
      result_.verdicts.push_back({batch.indices[i],
                                  best,
                                  best < 0 ? 0.0 : row[static_cast<size_t>(best)],
                                  rank_of_label(row, batch.labels[i]),
                                  {}});
    }
    return {};
  }

  Status add_boxes(const Tensor& output, const Batch& batch) {
    for (size_t i = 0; i < batch.indices.size(); ++i) {
      const ImageMapping& mapping = batch.mappings[i];
      auto found = PLANISH_TRY(decode_yolo(output, static_cast<int64_t>(i), mapping, options_.detection));
      coco_.add(found, data_.truths(batch.indices[i], mapping.image_width, mapping.image_height));
      result_.verdicts.push_back({.sample = batch.indices[i], .boxes = std::move(found)});
    }
    return {};
  }

  const Dataset& data_;
  const EvaluationOptions& options_;
  Evaluation& result_;
  Accuracy accuracy_;
  CocoEvaluator coco_;
};

Status check_labels(const Dataset& data) {
  if (data.size() == 0)
    return Error{.code = Code::not_found, .what = "there is no picture in the data", .fix = "check the path"};
  if (data.kind() != DatasetKind::unlabelled) return {};
  return Error{.code = Code::invalid_argument,
               .file = data.samples()[0].file,
               .what = "the pictures have no labels",
               .fix = "give a labels.csv, class folders, or images/ and labels/ (YOLO)"};
}

}  // namespace

Result<Evaluation> evaluate(const api::Engine& engine, const Dataset& data, const Preprocess& preprocess,
                            const EvaluationOptions& options, const std::function<void(int64_t, int64_t)>& progress) {
  PLANISH_TRY(check_labels(data));
  const PictureInput input = PLANISH_TRY(picture_input(engine, preprocess));
  Evaluation result;
  result.kind = data.kind();
  result.batch = PLANISH_TRY(choose_batch(input, options.batch));
  const auto context = PLANISH_TRY(engine.create_context(0, static_cast<int>(options.threads)));
  const int cores = api::cpu_device().cores;
  BatchIterator batches(data, preprocess, input.size,
                        {.batch = result.batch,
                         .pad_last = data.size() % result.batch != 0 &&
                                             data.size() % result.batch<input.min_batch, .threads = options.threads> 0
                                         ? static_cast<int>(options.threads)
                                         : cores});
  Evaluator evaluator(data, options, result);
  const auto start = SteadyClock::now();
  while (true) {
    std::optional<Batch> batch = PLANISH_TRY(batches.next());
    if (!batch) break;
    const Tensor values = input.tensor.dtype == DType::f32 ? batch->input : batch->input.cast(input.tensor.dtype);
    PLANISH_TRY(context->set_input(input.tensor.name, values.shape(),
                                   {static_cast<const std::byte*>(values.raw()), values.bytes()}));
    const auto run_start = SteadyClock::now();
    PLANISH_TRY(context->run());
    result.inference_seconds += seconds_since(run_start);
    PLANISH_TRY(evaluator.add(*context, engine, *batch));
    result.pictures += batch->count();
    if (progress) progress(result.pictures, data.size());
  }
  evaluator.finish();
  result.seconds = seconds_since(start);
  return result;
}

}  // namespace planish::tools
