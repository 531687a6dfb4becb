// Whole networks decide between close choices: the search, without clocks, and what the timing cache keeps of it.

#include "planish/builder/in_place_search.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <random>

#include "planish/builder/plan_text.h"
#include "planish/ir/text.h"
#include "planish/ops/op.h"
#include "planish/runtime/context.h"
#include "planish/tactics/cpu/cpu_tactics.h"

namespace planish {
namespace {

/// Nodes without edges: the cheapest plan is the cheapest choice of each.
class Independent final : public PlanSpace {
 public:
  explicit Independent(const std::vector<std::vector<double>>& alone) {
    for (const auto& row : alone) {
      auto& choices = choices_.emplace_back();
      for (const double ms : row) choices.emplace_back().time_ms = ms;
    }
  }
  const std::vector<std::vector<Choice>>& choices() const override { return choices_; }
  Picks cheapest(const std::vector<std::vector<double>>& ms, const Picks&) override {
    Picks picks;
    for (const auto& row : ms) picks.push_back(static_cast<size_t>(std::ranges::min_element(row) - row.begin()));
    return picks;
  }
  double cost_ms(const std::vector<std::vector<double>>& ms, Picks picks) override {
    double sum = 0;
    for (size_t n = 0; n < picks.size(); ++n) sum += ms[n][picks[n]];
    return sum;
  }
  std::vector<LocalOptimum> local_optima(const std::vector<std::vector<double>>& ms) override {
    return {{{}, cheapest(ms, {})}};
  }
  std::optional<size_t> find(size_t, const Choice&) override { return std::nullopt; }
  void set_reformat_ms(const FormChange&, double) override {}

 private:
  std::vector<std::vector<Choice>> choices_;
};

/// Knows what every choice takes in place; a race may fall into a slow spell.
class KnownTimes final : public PlanRace {
 public:
  explicit KnownTimes(std::vector<std::vector<double>> in_place) : in_place_(std::move(in_place)) {}
  Result<std::vector<PlanTimes>> run(std::span<const Picks> plans) override {
    ++races;
    if (races > fails_after) return Error{.code = Code::internal, .what = "a run failed"};
    const double spell = slow_spells && races % 2 == 0 ? 1.9 : 1.0;
    std::vector<PlanTimes> out;
    for (const Picks& picks : plans) {
      PlanTimes& times = out.emplace_back();
      for (size_t n = 0; n < picks.size(); ++n) times.node_ms.push_back(spell * in_place_[n][picks[n]]);
      if (penalty_ms > 0 && picks[0] != 0) times.node_ms.back() += penalty_ms;
    }
    return out;
  }
  double time_left() override { return 1.0 - static_cast<double>(races) / static_cast<double>(most_races); }

  int races = 0;
  int most_races = 50;
  int fails_after = 1000;
  bool slow_spells = false;
  double penalty_ms = 0;  ///< what another choice of the first node costs the last one

 private:
  std::vector<std::vector<double>> in_place_;
};

Picks search(const std::vector<std::vector<double>>& alone, KnownTimes& race, const SearchEffort& effort = {}) {
  Independent space(alone);
  const Picks start = space.cheapest(alone, {});
  const auto times = race.run(std::span(&start, 1));
  if (!times.ok()) return start;
  return search_in_place(space, start, (*times)[0], race, effort);
}

TEST(InPlaceSearch, TakesWhatIsFasterWhereItStands) {
  KnownTimes race({{1.3, 1.0, 1.2}, {0.5, 0.6}, {2.0, 2.5, 1.5}});
  EXPECT_EQ(search({{1.0, 1.1, 1.4}, {0.5, 0.52}, {1.8, 1.9, 2.0}}, race), (Picks{1, 0, 2}));
}

TEST(InPlaceSearch, ColdOperandsMakeOtherChoicesNoFaster) {
  // Alone 0.01, in place 0.05: the others would suffer as much.
  KnownTimes race({{0.05, 0.06}, {1.0, 1.2}});
  EXPECT_EQ(search({{0.01, 0.02}, {1.0, 1.1}}, race), (Picks{0, 0}));
}

TEST(InPlaceSearch, SlowSpellsDecideNothing) {
  std::mt19937 random(7);
  std::uniform_real_distribution<double> ms(0.5, 2.0);
  for (int network = 0; network < 20; ++network) {
    std::vector<std::vector<double>> in_place;
    std::vector<std::vector<double>> alone;
    Picks best;
    for (int n = 0; n < 12; ++n) {
      const double base = ms(random);
      in_place.push_back({base, 0.95 * base, 1.1 * base});
      alone.push_back({base, 1.05 * base, 1.02 * base});
      best.push_back(1);
    }
    KnownTimes race(in_place);
    race.slow_spells = true;
    EXPECT_EQ(search(alone, race), best) << "network " << network;
  }
}

TEST(InPlaceSearch, WhatAChoiceCostsItsNeighboursCounts) {
  KnownTimes race({{1.0, 0.9}, {1.0}});
  race.penalty_ms = 0.3;
  EXPECT_EQ(search({{1.0, 1.0}, {1.0}}, race), (Picks{0, 0}));
}

TEST(InPlaceSearch, FarAlternativesAreNotTried) {
  KnownTimes race({{1.0, 0.1}});
  EXPECT_EQ(search({{1.0, 1.4}}, race), (Picks{0}));
  EXPECT_EQ(race.races, 1);
  EXPECT_EQ(search({{1.0, 1.4}}, race, {.optimism = 0.65}), (Picks{1}));
}

TEST(InPlaceSearch, EndsWhenTheTimeIsUpOrARunFails) {
  const std::vector<std::vector<double>> alone{{1.0, 1.1}, {1.0, 1.1}};
  const std::vector<std::vector<double>> in_place{{1.0, 0.5}, {1.0, 0.5}};
  KnownTimes late(in_place);
  late.most_races = 1;
  EXPECT_EQ(search(alone, late), (Picks{0, 0})) << "nothing was learnt";
  KnownTimes broken(in_place);
  broken.fails_after = 1;
  EXPECT_EQ(search(alone, broken), (Picks{0, 0}));
}

TEST(PlanText, ReadsWhatItWrote) {
  const TacticTable& table = cpu_tactics();
  std::vector<Choice> choices(2);
  choices[0].tactic = table.tactics[0];
  choices[0].in = Layout::channels_last;
  choices[0].out = Layout::blocked16;
  choices[1].types = {DType::bf16, DType::f32};
  const std::vector<Chain> chains{{3, 4, 5}, {7, 9}};
  const auto plan = plan_of_text(plan_text(chains, choices), table);
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->chains, chains);
  ASSERT_EQ(plan->choices.size(), 2U);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(plan->choices[i].tactic, choices[i].tactic);
    EXPECT_EQ(plan->choices[i].in, choices[i].in);
    EXPECT_EQ(plan->choices[i].out, choices[i].out);
    EXPECT_EQ(plan->choices[i].types, choices[i].types);
  }
}

TEST(PlanText, RefusesWhatIsNone) {
  for (const char* text : {"", "1,2;", "1,x;|", "|cpu.unknown,0,0,1,1;", "|,0,0,1;", "|,0,0,1,9999999999;"})
    EXPECT_FALSE(plan_of_text(text, cpu_tactics())) << text;
}

constexpr const char* kNet =
    "graph \"g\" (x: f32[1,16,14,14]) -> (y) {\n const w0: f32[96,16,1,1] = seed(1)\n const w1: f32[96,1,3,3] = "
    "seed(2)\n const w2: f32[16,96,1,1] = seed(3)\n const w3: f32[32,16,3,3] = seed(4)\n"
    " a = planish.FusedConv(x, w0) {activation = \"Relu\"} @expand\n"
    " b = planish.FusedConv(a, w1) {group = 96, pads = [1,1,1,1], activation = \"Relu\"} @filter\n"
    " c = planish.FusedConv(b, w2, _, x) @project\n d = planish.FusedConv(c, w3) {pads = [1,1,1,1]} @dense\n"
    " y = Relu(d) @end\n}";

std::string layers_of(const Engine& engine) {
  std::string text;
  for (size_t n = 0; n < engine.layers.size(); ++n) {
    const Node& node = engine.graph.nodes[n];
    text += node.name + " " + engine.layers[n].tactic + " ";
    text += std::string(layout_name(engine.graph.value(node.out(0)).layout)) + "\n";
  }
  return text;
}

TEST(InPlace, ARebuildFromTheCacheGivesTheSameEngine) {
  const auto folder =
      std::filesystem::temp_directory_path() / ("planish_in_place_" + std::to_string(static_cast<int>(getpid())));
  std::filesystem::remove_all(folder);
  BuildOptions options;
  options.threads = 1;
  options.timing_cache_file = folder / "timing.cache";
  const auto build = [&] {
    auto graph = parse_text(kNet);
    EXPECT_TRUE(graph.ok());
    auto engine = build_engine(std::move(*graph), options, host_device(), cpu_tactics());
    EXPECT_TRUE(engine.ok()) << engine.error().message();
    return layers_of(*engine);
  };
  const std::string first = build();
  for (int again = 0; again < 3; ++again) EXPECT_EQ(build(), first);
  std::filesystem::remove_all(folder);
}

TEST(InPlace, NetworksThatCannotRunOnAnyInputAreBuiltAllTheSame) {
  // A shape that is an input: what a build would fill in is none.
  const char* text =
      "graph \"g\" (x: f32[?,16], n: i64[2]) -> (y) {\n const w: f32[16,16] = seed(1)\n"
      " a = planish.FusedMatMul(x, w) @product\n y = Reshape(a, n) @reshape\n}";
  auto graph = parse_text(text);
  ASSERT_TRUE(graph.ok()) << graph.error().message();
  BuildOptions options;
  options.threads = 1;
  options.use_timing_cache = false;
  options.profiles.emplace_back()["x"] = {{1, 16}, {4, 16}, {8, 16}};
  const auto engine = build_engine(std::move(*graph), options, host_device(), cpu_tactics());
  EXPECT_TRUE(engine.ok()) << engine.error().message();
}

/// Whether the last kernel to run left the clock low.
bool clock_is_low = false;

void spin(std::chrono::microseconds time) {
  const auto end = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < end) {
  }
}

/// Convolves fast, but what runs next pays for it.
class Heating final : public Kernel {
 public:
  Status run(const Bindings&) override {
    spin(std::chrono::microseconds(200));
    clock_is_low = true;
    return {};
  }
};
class Cool final : public Kernel {
 public:
  Status run(const Bindings&) override {
    spin(std::chrono::microseconds(500));
    return {};
  }
};
class Neighbour final : public Kernel {
 public:
  Status run(const Bindings&) override {
    spin(std::chrono::microseconds(clock_is_low ? 2000 : 1000));
    clock_is_low = false;
    return {};
  }
};

template <typename K>
Result<std::unique_ptr<Kernel>> make_kernel(const NodeView&, std::span<const PackedConstant>, const Target&) {
  return std::unique_ptr<Kernel>(std::make_unique<K>());
}
WhyNot anything(const NodeView&, const Target&) { return std::nullopt; }

constexpr std::array<std::string_view, 1> kConv{"planish.FusedConv"};
constexpr std::array<std::string_view, 1> kSoftmax{"Softmax"};
constinit const Tactic kHeating{
    .id = "test.heating", .ops = kConv, .supports = anything, .prepare = make_kernel<Heating>, .lowers_clock = true};
constinit const Tactic kCool{.id = "test.cool", .ops = kConv, .supports = anything, .prepare = make_kernel<Cool>};
constinit const Tactic kNeighbour{
    .id = "test.neighbour", .ops = kSoftmax, .supports = anything, .prepare = make_kernel<Neighbour>};

TEST(InPlace, APlanWithoutTacticsThatLowerTheClockIsTried) {
  const TacticTable table{{&kHeating, &kCool, &kNeighbour, &kHostReferenceTactic}, {Layout::row_major}};
  const auto tactic_of_conv = [&](std::vector<std::string> disabled) {
    auto graph = parse_text(
        "graph \"g\" (x: f32[1,16,8,8]) -> (y) {\n const w: f32[16,16,1,1] = seed(1)\n"
        " a = planish.FusedConv(x, w) @conv\n y = Softmax(a) @softmax\n}");
    EXPECT_TRUE(graph.ok());
    BuildOptions options;
    options.threads = 1;
    options.use_timing_cache = false;
    options.disabled_tactics = std::move(disabled);
    const auto engine = build_engine(std::move(*graph), options, host_device(), table);
    EXPECT_TRUE(engine.ok()) << engine.error().message();
    return engine.ok() ? engine->layers[0].tactic : "";
  };
  EXPECT_EQ(tactic_of_conv({}), "test.cool") << "0.2 ms alone against 0.5, but 2.2 ms together against 1.5";
  EXPECT_EQ(tactic_of_conv({"test.neighbour"}), "test.heating") << "nothing suffers from it";
}

}  // namespace
}  // namespace planish
