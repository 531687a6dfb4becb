#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "planish/ops/infer_graph.h"
#include "planish/runtime/executable.h"
#include "planish/runtime/memory_planner.h"
#include "planish/tactics/contiguous_parts.h"
#include "planish/tactics/node_view.h"

namespace planish {

/// Where a value lives during a run.
struct Place {
  enum class Kind : uint8_t {
    none,      ///< nobody needs it in memory
    constant,  ///< weights of the engine; `index` is the value that owns them
    known,     ///< computed while planning (shape arithmetic), uploaded once
    arena,     ///< activation arena, at `offset`
    input,     ///< memory bound to network input `index`
    output,    ///< memory bound to network output `index`
    deferred,  ///< memory sized during the run, because data decides the shape; `index` is the value that owns it
  };
  Kind kind = Kind::none;
  int32_t index = 0;
  size_t offset = 0;
};

/// One thing to execute.
struct PlanStep {
  enum class Kind : uint8_t { kernel, copies, deferred };
  struct Copy {
    ValueId from = kNoValue;
    ValueId to = kNoValue;
    size_t from_offset = 0;
    size_t to_offset = 0;
    size_t bytes = 0;
  };
  int32_t node = 0;
  Kind kind = Kind::kernel;
  std::unique_ptr<Kernel> kernel;
  const Tactic* tactic = nullptr;        ///< what made the kernel
  std::vector<PackedConstant> repacked;  ///< constants of a tactic that replaced the engine's, kept alive here
  std::vector<DeviceBuffer> repacked_memory;
  std::vector<TensorDesc> prepared_inputs;  ///< what the kernel of a deferred step is bound to
  std::vector<TensorDesc> prepared_outputs;
  std::vector<DevicePtr> constants;  ///< by input, null where it is no constant
  std::vector<DevicePtr> inputs;     ///< resolved before the first run and after every new binding
  std::vector<DevicePtr> outputs;
  size_t workspace_offset = 0;
  std::vector<Copy> copies;
};

/// Everything that depends on the input shapes: kernels, memory, order.
struct Plan {
  std::vector<std::optional<Shape>> input_shapes;  ///< key
  std::vector<Tensor> input_values;                ///< key
  ShapeFacts facts;
  std::vector<Place> places;  ///< by ValueId
  std::vector<PlanStep> steps;
  std::vector<DeviceBuffer> known;  ///< memory of Place::Kind::known
  MemoryPlan memory;
  std::vector<std::optional<Shape>> shapes;   ///< facts.shapes, plus what the last run found out
  std::vector<DeviceBuffer> deferred;         ///< by ValueId, memory of Place::Kind::deferred
  std::vector<std::optional<Tensor>> values;  ///< facts.values, plus small results of the last run
  bool has_deferred = false;
};

/// True when every present input and output of the node has a known static shape.
bool is_concrete(const Graph& graph, const Node& node, const std::vector<std::optional<Shape>>& shapes);

/// Binds the layer's tactic to the view; takes the next tactic that accepts when that fails. Fills in kernel,
/// constants and repacked of the step.
Status prepare_step(const Executable& executable, const NodeView& view, PlanStep& step);

/// Plans memory and kernels. Error out_of_memory names the layer where most memory is alive.
Result<std::unique_ptr<Plan>> make_plan(const Executable& executable,
                                        const std::vector<std::optional<Shape>>& input_shapes,
                                        const std::vector<Tensor>& input_values, size_t memory_limit_bytes);

}  // namespace planish
