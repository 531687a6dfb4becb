#include "planish/builder/network_runner.h"

#include <algorithm>
#include <cstring>

#include "planish/builder/plan_choice.h"
#include "planish/builder/reformats.h"
#include "planish/ir/text.h"
#include "planish/ops/infer_graph.h"

namespace planish {
namespace {

using Clock = std::chrono::steady_clock;

/// Runs of each plan in a race: at least so many, at most so many, and in between for as long as so many take, within
/// these times.
constexpr size_t kFewestRuns = 5;
constexpr size_t kMostRuns = 40;
constexpr double kUsualRuns = 16;
constexpr double kShortestRaceMs = 50;  ///< times the number of plans
constexpr double kLongestRaceMs = 110;
/// Plans shorter than this may find their weights in the caches when they run again and again, but not behind another
/// plan: they run once more before they count.
constexpr double kShortMs = 10;

double ms_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

double lower_quartile(std::vector<double> ms) {
  if (ms.empty()) return 0;
  const auto at = ms.begin() + static_cast<std::ptrdiff_t>(ms.size() / 4);
  std::ranges::nth_element(ms, at);
  return *at;
}

/// Memory for the inputs with what any network takes: floats in [-1, 1), everything else 0.
Status bind_inputs(const Graph& graph, const Profile& profile, Device& device, Context& context,
                   std::vector<DeviceBuffer>& memory) {
  for (size_t i = 0; i < graph.inputs.size(); ++i) {
    const Value& value = graph.value(graph.inputs[i]);
    const Shape& shape = profile.inputs[i].opt;
    const size_t bytes = std::max<size_t>(layout_bytes(value.dtype, shape, value.layout), 64);
    const Tensor content =
        dtype_is_float(value.dtype) ? seeded_tensor(value.dtype, shape, i + 1, -1, 1) : Tensor(value.dtype, shape);
    std::vector<uint8_t> all(bytes, 0);
    std::memcpy(all.data(), content.raw(), std::min(bytes, content.bytes()));
    memory.push_back(PLANISH_TRY(DeviceBuffer::create(device, bytes)));
    PLANISH_TRY(device.copy_to_device(memory.back().get(), all.data(), bytes, context.stream()));
    PLANISH_TRY(context.stream().synchronize());
    PLANISH_TRY(context.bind(value.name, memory.back().get()));
  }
  return {};
}

}  // namespace

struct NetworkRunner::Running {
  Entry entry;
  std::vector<DeviceBuffer> inputs;
  std::unique_ptr<Context> context;
  std::vector<int32_t> node_of;                          ///< by layer: the node of the form, -1 for reformats
  std::vector<std::optional<ReformatTime>> reformat_of;  ///< by layer, without the time
  size_t nodes = 0;
  std::vector<PackKey> packs;
  std::vector<std::vector<double>> ms;  ///< by layer: of the runs that count
};

NetworkRunner::NetworkRunner(const std::vector<Profile>& profiles, const BuildOptions& options, const Target& target,
                             const TacticTable& table, double budget_ms)
    : profiles_(profiles),
      options_(options),
      target_(target),
      table_(table),
      begin_(Clock::now()),
      budget_ms_(budget_ms) {}

NetworkRunner::~NetworkRunner() = default;

double NetworkRunner::time_left() const { return 1.0 - ms_since(begin_) / budget_ms_; }

Result<std::unique_ptr<NetworkRunner::Running>> NetworkRunner::prepare(const Entry& entry, Packs& packs) {
  const NetworkForm& form = *entry.form;
  std::vector<Choice> choices = choices_of(*form.space, entry.picks);
  auto engine = std::make_shared<Engine>();
  engine->graph = insert_reformats(form.graph, form.views, choices);
  engine->profiles = profiles_;
  const Graph& graph = engine->graph;
  const Uses uses(graph);
  std::vector<std::optional<Shape>> tuned;
  for (const ShapeRange& r : profiles_[0].inputs) tuned.emplace_back(r.opt);
  const ShapeFacts facts = PLANISH_TRY(infer_shapes(graph, tuned));
  const auto views = tuned_views(graph, facts);
  engine->layers.resize(graph.nodes.size());
  auto running = std::make_unique<Running>();
  running->entry = entry;
  running->nodes = form.graph.nodes.size();
  running->node_of.resize(graph.nodes.size(), -1);
  running->reformat_of.resize(graph.nodes.size());
  running->ms.resize(graph.nodes.size());
  for (size_t n = 0; n < graph.nodes.size(); ++n) {
    running->node_of[n] = choices[n].node;
    if (!views[n]) continue;
    NodeView view = *views[n];
    view.node = &graph.nodes[n];
    const Tactic* tactic = choices[n].tactic;
    if (choices[n].node < 0) {
      const TensorDesc& from = view.inputs[0];
      const TensorDesc& to = view.outputs[0];
      const int32_t writer = uses.producer[static_cast<size_t>(graph.nodes[n].inputs[0])];
      const auto& readers = uses.consumers[static_cast<size_t>(graph.nodes[n].outputs[0])];
      running->reformat_of[n] = ReformatTime{
          .change = {from.shape, {from.layout, from.dtype}, {to.layout, to.dtype}},
          .writer = writer < 0 ? -1 : choices[static_cast<size_t>(writer)].node,
          .reader = readers.empty() ? -1 : choices[static_cast<size_t>(readers[0])].node,
      };
      tactic = reformat_tactic(view, options_, target_, table_);
    }
    if (tactic == nullptr) continue;
    LayerPlan& layer = engine->layers[n];
    layer.tactic = std::string(tactic->id);
    if (tactic->pack == nullptr) continue;
    const Choice& c = choices[n];
    const Node* node = c.node < 0 ? nullptr : &form.graph.nodes[static_cast<size_t>(c.node)];
    const ValueId read = node == nullptr ? kNoValue : node->in(0);
    const ValueId written = node == nullptr ? kNoValue : node->out(0);
    const PackKey key{read, written, view.node->op, tactic->id, c.in, c.out, c.types.in, c.types.out};
    auto known = packs.find(key);
    if (known == packs.end()) {
      const auto before = packs_.find(key);
      auto packed = before != packs_.end() ? before->second : PLANISH_TRY(tactic->pack(view, target_));
      known = packs.emplace(key, std::move(packed)).first;
    }
    layer.packed = known->second;
    running->packs.push_back(key);
  }
  auto executable = PLANISH_TRY(Executable::create(std::move(engine), *target_.device, table_, target_.threads));
  running->context = PLANISH_TRY(
      Context::create(std::move(executable), {.profile = 0, .memory_limit_bytes = options_.memory_limit_bytes}));
  PLANISH_TRY(bind_inputs(form.graph, profiles_[0], *target_.device, *running->context, running->inputs));
  PLANISH_TRY(run_once(*running, false));
  return running;
}

Status NetworkRunner::run_once(Running& running, bool counts) {
  std::vector<LayerTime> times;
  PLANISH_TRY(running.context->run(&times));
  if (!counts) return {};
  for (const LayerTime& time : times) running.ms[static_cast<size_t>(time.node)].push_back(time.ms);
  return {};
}

Result<std::vector<PlanTimes>> NetworkRunner::race(const std::vector<Entry>& plans) {
  Packs packs;
  std::vector<std::unique_ptr<Running>> running;
  for (const Entry& entry : plans) {
    const auto ready = std::ranges::find_if(running_, [&entry](const auto& r) {
      return r && r->entry.form == entry.form && r->entry.picks == entry.picks;
    });
    running.push_back(ready != running_.end() ? std::move(*ready) : PLANISH_TRY(prepare(entry, packs)));
    for (auto& ms : running.back()->ms) ms.clear();
    for (const PackKey& key : running.back()->packs)
      if (const auto known = packs_.find(key); known != packs_.end()) packs.insert(*known);
  }
  running_ = std::move(running);
  packs_ = std::move(packs);
  const auto first = Clock::now();
  for (const auto& plan : running_) PLANISH_TRY(run_once(*plan, false));
  const double count = static_cast<double>(plans.size());
  const double run_ms = ms_since(first) / count;
  const bool warms_up = plans.size() > 1 && run_ms < kShortMs;
  const auto begin = Clock::now();
  const double race_ms =
      count *
      (options_.is_exhaustive() ? kLongestRaceMs : std::clamp(kUsualRuns * run_ms, kShortestRaceMs, kLongestRaceMs));
  for (size_t run = 0; run < kFewestRuns || (run < kMostRuns && ms_since(begin) < race_ms);) {
    const size_t in_turn = warms_up ? 2 : 1;
    for (size_t k = 0; k < running_.size(); ++k) {
      Running& plan = *running_[(k + run / in_turn) % running_.size()];
      if (warms_up) PLANISH_TRY(run_once(plan, false));
      for (size_t i = 0; i < in_turn; ++i) PLANISH_TRY(run_once(plan, true));
    }
    run += in_turn;
  }
  std::vector<PlanTimes> out;
  for (const auto& plan : running_) {
    PlanTimes& times = out.emplace_back();
    times.node_ms.resize(plan->nodes);
    for (size_t layer = 0; layer < plan->ms.size(); ++layer) {
      const double ms = lower_quartile(plan->ms[layer]);
      if (plan->reformat_of[layer])
        times.reformats.emplace_back(*plan->reformat_of[layer]).ms = ms;
      else if (plan->node_of[layer] >= 0)
        times.node_ms[static_cast<size_t>(plan->node_of[layer])] += ms;
    }
  }
  return out;
}

}  // namespace planish
