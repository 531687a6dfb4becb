// Walks passes/test/<pass>.ir: blocks of an input graph, a line of five dashes and the expected output, separated by
// lines of five equals signs. A "must not fire" case expects its input. Every block is also run before and after.
//
// PLANISH_UPDATE_GOLDENS=1 rewrites the expected parts; look at the difference before you commit it.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "planish/ir/text.h"
#include "planish/ops/infer_graph.h"
#include "planish/ops/op.h"
#include "planish/passes/pass.h"

namespace planish {
namespace {

constexpr double kTolerance = 1e-5;

std::string read(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::vector<std::string> split(const std::string& text, const std::string& line) {
  std::vector<std::string> parts{""};
  std::istringstream in(text);
  for (std::string l; std::getline(in, l);) {
    if (l == line)
      parts.emplace_back();
    else
      parts.back() += l + "\n";
  }
  return parts;
}

/// Text that compares: no comments (hashes of large constants among them), no blank lines.
std::string normalised(const std::string& text) {
  std::string out;
  std::istringstream in(text);
  for (std::string l; std::getline(in, l);) {
    if (const size_t hash = l.find(" #"); hash != std::string::npos) l.resize(hash);
    while (!l.empty() && l.back() == ' ') l.pop_back();
    if (!l.empty() && l[0] != '#') out += l + "\n";
  }
  return out;
}

/// Inputs for a graph: unknown dimensions get small sizes, the same for the same name.
std::vector<Tensor> seeded_inputs(const Graph& g) {
  std::vector<Tensor> inputs;
  std::map<std::string, int64_t> sizes;
  for (size_t i = 0; i < g.inputs.size(); ++i) {
    const Value& v = g.value(g.inputs[i]);
    Shape shape = v.shape.value_or(Shape{});
    for (size_t d = 0; d < shape.size(); ++d) {
      if (shape[d] >= 0) continue;
      const std::string name = d < v.dim_names.size() ? v.dim_names[d] : "";
      shape[d] = sizes.try_emplace(name, 2 + static_cast<int64_t>(sizes.size())).first->second;
    }
    const bool is_index = !dtype_is_float(v.dtype);
    inputs.push_back(seeded_tensor(v.dtype, shape, 1000 + i, is_index ? 0 : -2, 2));
  }
  return inputs;
}

bool interpretable(const Graph& g) {
  return std::ranges::all_of(g.nodes, [](const Node& n) {
    const OpDecl* op = find_op(n.domain, n.op);
    return op != nullptr && op->reference != nullptr;
  });
}

double relative_error(const Tensor& a, const Tensor& b) {
  double difference = 0;
  double norm = 0;
  for (int64_t i = 0; i < a.size(); ++i) {
    const double x = a.at(i);
    const double y = b.at(i);
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    difference += (x - y) * (x - y);
    norm += x * x;
  }
  return difference == 0 ? 0 : std::sqrt(difference / std::max(norm, 1e-30));
}

void expect_same_results(const Graph& before, const Graph& after) {
  ASSERT_TRUE(interpretable(before)) << "an operator has no reference:\n" << to_text(before);
  ASSERT_TRUE(interpretable(after)) << "an operator has no reference:\n" << to_text(after);
  const auto inputs = seeded_inputs(before);
  const auto a = interpret(before, inputs);
  ASSERT_TRUE(a.ok()) << a.error().message();
  const auto b = interpret(after, inputs);
  ASSERT_TRUE(b.ok()) << b.error().message() << "\n" << to_text(after);
  ASSERT_EQ(a->size(), b->size());
  for (size_t i = 0; i < a->size(); ++i) {
    ASSERT_EQ((*a)[i].dtype(), (*b)[i].dtype());
    ASSERT_EQ((*a)[i].shape(), (*b)[i].shape());
    EXPECT_LE(relative_error((*a)[i], (*b)[i]), kTolerance) << "output " << i;
  }
}

class PassGolden : public testing::TestWithParam<std::string> {};

TEST_P(PassGolden, RewritesAsExpectedAndKeepsTheResults) {
  const std::filesystem::path path = "planish/passes/test/" + GetParam() + ".ir";
  const Pass* pass = find_pass(GetParam());
  ASSERT_NE(pass, nullptr) << path << " is not named after a pass of the pipeline";
  std::string updated;
  int index = 0;
  for (const std::string& block : split(read(path), "=====")) {
    SCOPED_TRACE(path.string() + ", block " + std::to_string(++index));
    const auto parts = split(block, "-----");
    ASSERT_GE(parts.size(), 1U);
    const auto before = parse_text(parts[0], path.string());
    ASSERT_TRUE(before.ok()) << before.error().message();
    const auto after = run_pass(*pass, *before);
    ASSERT_TRUE(after.ok()) << after.error().message();
    const std::string text = to_text(*after);
    updated += (index == 1 ? "" : "=====\n") + parts[0] + "-----\n" + normalised(text);
    if (std::getenv("PLANISH_UPDATE_GOLDENS") == nullptr) {
      EXPECT_EQ(normalised(text), normalised(parts.size() > 1 ? parts[1] : ""));
    }
    expect_same_results(*before, *after);
  }
  if (std::getenv("PLANISH_UPDATE_GOLDENS") != nullptr) std::ofstream(path) << updated;
}

std::vector<std::string> golden_files() {
  std::vector<std::string> names;
  std::error_code ec;
  for (const auto& entry : std::filesystem::directory_iterator("planish/passes/test", ec))
    if (entry.path().extension() == ".ir") names.push_back(entry.path().stem().string());
  std::ranges::sort(names);
  return names;
}

INSTANTIATE_TEST_SUITE_P(Passes, PassGolden, testing::ValuesIn(golden_files()),
                         [](const auto& param) { return param.param; });

TEST(Pipeline, EveryPassHasGoldens) {
  const auto files = golden_files();
  for (const Pass& pass : common_passes())
    EXPECT_NE(std::ranges::find(files, pass.name), files.end()) << "no golden file for " << pass.name;
}

constexpr std::string_view kNet = R"(graph "net" (x: f32[N,4]) -> (y) {
  const a: f32[4] = [1, 2, 3, 4]
  b = Neg(a) @neg
  c = Add(x, b) @add
  unused = Relu(x) @unused
  y = Relu(c) @relu
})";

Graph net() { return parse_text(kNet).value(); }

TEST(Pipeline, ReportsEveryPass) {
  std::vector<PassReport> report;
  size_t calls = 0;
  const auto g = run_passes(net(), {.progress = [&calls](std::string_view, size_t, size_t) { ++calls; }}, &report);
  ASSERT_TRUE(g.ok()) << g.error().message();
  EXPECT_EQ(report.size(), common_passes().size());
  EXPECT_EQ(calls, report.size());
  EXPECT_EQ(report.front().nodes_before, 4U);
  EXPECT_LT(report.back().nodes_after, 4U);
}

TEST(Pipeline, StopsAndSkipsByName) {
  const auto has = [](const Graph& g, std::string_view op) {
    return std::ranges::any_of(g.nodes, [op](const Node& n) { return n.op == op; });
  };
  const auto unfolded = run_passes(net(), {.disabled = {"fold_constants"}});
  ASSERT_TRUE(unfolded.ok());
  EXPECT_TRUE(has(*unfolded, "Neg"));
  const auto first = run_passes(net(), {.stop_after = "fold_constants"});
  ASSERT_TRUE(first.ok());
  EXPECT_FALSE(has(*first, "Neg"));
  const auto nothing = run_passes(net(), {.stop_after = "0"});
  ASSERT_TRUE(nothing.ok());
  EXPECT_EQ(nothing->nodes.size(), 4U);
}

TEST(Pipeline, RefusesUnknownNames) {
  EXPECT_FALSE(run_passes(net(), {.stop_after = "no_such_pass"}).ok());
  const auto r = run_passes(net(), {.disabled = {"no_such_pass"}});
  ASSERT_FALSE(r.ok());
  EXPECT_NE(r.error().message().find("fold_constants"), std::string::npos) << r.error().message();
}

TEST(Pipeline, DumpsTheGraphAfterEveryPass) {
  const auto folder = std::filesystem::path(testing::TempDir()) / "planish_dump";
  std::filesystem::remove_all(folder);
  ASSERT_TRUE(run_passes(net(), {.stop_after = "1", .dump_folder = folder.string()}).ok());
  EXPECT_TRUE(std::filesystem::exists(folder / "00_input.ir"));
  const auto again = parse_text(read(folder / ("01_" + std::string(common_passes()[0].name) + ".ir")));
  ASSERT_TRUE(again.ok()) << again.error().message();
  std::filesystem::remove_all(folder);
}

TEST(Pipeline, RewritesSubgraphs) {
  const auto g = parse_text(R"(graph "net" (p: bool[], x: f32[2]) -> (y) {
    y = If(p, x) {else_branch = graph "e" () captures (1 xe: f32[2]) -> (r) { r = Neg(xe) },
      then_branch = graph "t" () captures (1 xt: f32[2]) -> (r) {
        const a: f32[2] = [1, 2]
        b = Neg(a)
        dead = Relu(xt)
        r = Add(xt, b)
      }}
  })");
  ASSERT_TRUE(g.ok()) << g.error().message();
  const auto after = run_passes(*g, {});
  ASSERT_TRUE(after.ok()) << after.error().message();
  const auto body = after->nodes[0].attr_graph("then_branch");
  ASSERT_NE(body, nullptr);
  EXPECT_EQ(body->nodes.size(), 1U) << to_text(*body);
}

}  // namespace
}  // namespace planish
