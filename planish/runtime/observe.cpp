#include <algorithm>

#include "planish/base/subnormals.h"
#include "planish/runtime/context.h"
#include "planish/runtime/plan.h"

namespace planish {
namespace {

/// Values in the order in which a run completes them: shown[s] are those that are complete after step `s`.
///
/// A node without a step (a view, a concat whose parts were written in place) is complete with the last of its inputs.
std::vector<std::vector<ValueId>> completed_by(const Graph& graph, const Plan& plan) {
  std::vector<int32_t> step_of(graph.nodes.size(), -1);
  for (size_t s = 0; s < plan.steps.size(); ++s)
    step_of[static_cast<size_t>(plan.steps[s].node)] = static_cast<int32_t>(s);
  std::vector<int32_t> ready(graph.values.size(), -1);
  std::vector<std::vector<ValueId>> shown(plan.steps.size());
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    int32_t when = step_of[n];
    if (when < 0)
      for (const ValueId v : graph.nodes[n].inputs)
        if (v != kNoValue) when = std::max(when, ready[static_cast<size_t>(v)]);
    for (const ValueId v : graph.nodes[n].outputs) {
      if (v == kNoValue) continue;
      ready[static_cast<size_t>(v)] = when;
      if (when >= 0) shown[static_cast<size_t>(when)].push_back(v);
    }
  }
  return shown;
}

}  // namespace

Status Context::run_observed(FunctionRef<bool(ValueId)> wanted, FunctionRef<Status(const Observation&)> show) {
  PLANISH_TRY(plan());
  if (bindings_changed_) PLANISH_TRY(resolve_bindings());
  const Graph& graph = executable_->graph();
  const Plan& plan = *plans_.front();
  Device& device = executable_->device();
  const auto shown = completed_by(graph, plan);
  std::vector<std::byte> copy;
  for (size_t s = 0; s < plan.steps.size(); ++s) {
    {
      const FlushSubnormals flush(!executable_->keeps_subnormals());
      PLANISH_TRY(run_step_named(s, nullptr));
    }
    for (const ValueId v : shown[s]) {
      const auto k = static_cast<size_t>(v);
      if (!plan.shapes[k] || !is_static(*plan.shapes[k]) || !wanted(v)) continue;
      const DevicePtr address = address_of(v);
      if (!address) continue;
      Observation seen{v, graph.name_of(v), {plan.facts.dtypes[k], *plan.shapes[k], graph.value(v).layout}, nullptr};
      PLANISH_TRY(stream_->synchronize());
      if (device.shares_host_memory()) {
        seen.data = host_ptr<const std::byte>(address);
      } else {
        copy.resize(seen.desc.bytes());
        PLANISH_TRY(device.copy_to_host(copy.data(), address, copy.size(), *stream_));
        PLANISH_TRY(stream_->synchronize());
        seen.data = copy.data();
      }
      PLANISH_TRY(show(seen));
    }
  }
  return copy_outputs_elsewhere();
}

}  // namespace planish
