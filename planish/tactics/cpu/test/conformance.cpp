#include "planish/tactics/cpu/test/conformance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <iostream>
#include <map>
#include <set>

#include "planish/ir/text.h"
#include "planish/ops/infer_graph.h"
#include "planish/ops/op.h"
#include "planish/tactics/cpu/cpu_tactics.h"
#include "planish/tactics/layout_choice.h"
#include "planish/tactics/type_choice.h"

namespace planish::test {
namespace {

constexpr Layout kLayouts[] = {Layout::row_major, Layout::channels_last, Layout::blocked8, Layout::blocked16};

/// A node bound to concrete tensors.
struct Fixture {
  Graph graph;
  std::vector<Tensor> inputs;    ///< by node input; undefined: absent
  std::vector<Tensor> expected;  ///< by node output; undefined: unused
  NodeView view;                 ///< everything row-major
};

Tensor random_input(const Value& value, size_t i, const ConformanceCase& c) {
  const uint64_t seed = 11 + i;
  if (value.dtype != DType::boolean) return seeded_tensor(value.dtype, *value.shape, seed, c.low, c.high);
  Tensor t = seeded_tensor(DType::f32, *value.shape, seed, -1, 1);
  Tensor b(DType::boolean, *value.shape);
  for (int64_t e = 0; e < t.size(); ++e) b.set(e, t.at(e) > -0.3 ? 1 : 0);
  return b;
}

void bind(const ConformanceCase& c, Fixture& f) {
  auto graph = parse_text(c.graph, c.label);
  ASSERT_TRUE(graph.ok()) << graph.error().message();
  f.graph = std::move(*graph);
  ASSERT_EQ(f.graph.nodes.size(), 1U);
  std::vector<Tensor> graph_inputs;
  for (size_t i = 0; i < f.graph.inputs.size(); ++i)
    graph_inputs.push_back(random_input(f.graph.value(f.graph.inputs[i]), i, c));
  const Node& node = f.graph.nodes[0];
  f.view.node = &node;
  std::vector<const Tensor*> pointers;
  for (const ValueId v : node.inputs) {
    Tensor t;
    if (const Tensor* constant = f.graph.constant_of(v)) t = *constant;
    for (size_t i = 0; i < f.graph.inputs.size(); ++i)
      if (f.graph.inputs[i] == v) t = graph_inputs[i];
    f.inputs.push_back(t);
  }
  for (size_t i = 0; i < f.inputs.size(); ++i) {
    const Tensor& t = f.inputs[i];
    const Tensor* constant = f.graph.constant_of(node.inputs[i]);
    pointers.push_back(t.defined() ? &t : nullptr);
    f.view.inputs.push_back({t.dtype(), t.shape()});
    f.view.constants.push_back(constant);
    f.view.constant_inputs.push_back(constant != nullptr);
  }
  f.expected.resize(node.outputs.size());
  const Status status = run_reference(node, pointers, f.expected);
  ASSERT_TRUE(status.ok()) << status.error().message();
  for (const Tensor& t : f.expected) f.view.outputs.push_back({t.dtype(), t.shape()});
}

struct Tolerance {
  double relative = 0;
  double steps = 0;
};

bool agrees(double got, double expected, Tolerance tolerance) {
  if (std::isnan(expected)) return std::isnan(got);
  if (std::isinf(expected)) return got == expected;
  return std::fabs(got - expected) <= tolerance.relative * (1 + std::fabs(expected)) + tolerance.steps;
}

void compare(const Tensor& memory, const TensorDesc& desc, const Tensor& expected, Tolerance tolerance) {
  std::set<int64_t> used;
  for (int64_t e = 0; e < expected.size(); ++e) {
    const int64_t at = physical_index(desc, e);
    used.insert(at);
    ASSERT_TRUE(agrees(memory.at(at), expected.at(e), tolerance))
        << "element " << e << " is " << memory.at(at) << ", expected " << expected.at(e);
  }
  for (int64_t at = 0; at < memory.size(); ++at) {
    if (used.contains(at)) continue;
    ASSERT_EQ(memory.at(at), 0.0) << "padding at " << at << " is not zero";
  }
}

/// Equal bits, or for forms that arithmetic made, equal up to rounding.
bool comes_back(const std::string& format, const Tensor& back, const Tensor& plain) {
  if (!format.starts_with("winograd:") && !format.starts_with("quadrants:")) return bitwise_equal(back, plain);
  if (back.shape() != plain.shape() || back.dtype() != plain.dtype()) return false;
  for (int64_t i = 0; i < plain.size(); ++i)
    if (std::abs(back.at(i) - plain.at(i)) > 1e-6) return false;
  return true;
}

/// Constants that were packed must come back, otherwise another machine cannot read the engine.
void check_round_trip(const Tactic& tactic, const NodeView& view, std::span<const PackedConstant> packed) {
  for (const PackedConstant& p : packed) {
    const Tensor* plain = view.constants[static_cast<size_t>(p.input)];
    ASSERT_NE(plain, nullptr) << "packed an input that is no constant";
    if (p.format.empty()) continue;
    ASSERT_NE(tactic.unpack, nullptr);
    NodeView without = view;
    without.constants[static_cast<size_t>(p.input)] = nullptr;
    auto back = tactic.unpack(without, p);
    ASSERT_TRUE(back.ok()) << back.error().message();
    EXPECT_TRUE(comes_back(p.format, *back, *plain)) << "unpack is not the inverse of pack for " << p.format;
    if (tactic.to_roundable != nullptr) {
      const auto form = tactic.to_roundable(view, p);
      ASSERT_TRUE(form.ok()) << form.error().message();
      const auto again = tactic.from_roundable(plain->shape(), *form);
      ASSERT_TRUE(again.ok()) << again.error().message();
      EXPECT_EQ(again->format, p.format);
      EXPECT_TRUE(bitwise_equal(again->data, p.data)) << "the form for rounding is not the inverse for " << p.format;
      const auto elsewhere = tactic.unpack(without, *form);
      ASSERT_TRUE(elsewhere.ok()) << elsewhere.error().message();
      EXPECT_TRUE(bitwise_equal(*elsewhere, *plain)) << "another machine cannot read " << form->format;
      PackedConstant short_of = *form;
      short_of.data = Tensor(DType::f32, {1});
      EXPECT_FALSE(tactic.from_roundable(plain->shape(), short_of).ok()) << "reads behind the end of packed data";
    }
    PackedConstant foreign = p;
    foreign.format = "somebody else's";
    EXPECT_FALSE(tactic.unpack(without, foreign).ok()) << "accepts a format that it does not know";
    PackedConstant cut = p;
    cut.data = Tensor(DType::u8, {1});
    EXPECT_FALSE(tactic.unpack(without, cut).ok()) << "reads behind the end of packed data";
  }
}

int g_overwriting = 0;

void run_once(const Tactic& tactic, const NodeView& view, const Fixture& f, const Target& target, Tolerance tolerance) {
  std::vector<PackedConstant> packed;
  if (tactic.pack != nullptr) {
    auto made = tactic.pack(view, target);
    ASSERT_TRUE(made.ok()) << made.error().message();
    packed = std::move(*made);
    check_round_trip(tactic, view, packed);
  }
  auto kernel = tactic.prepare(view, packed, target);
  ASSERT_TRUE(kernel.ok()) << kernel.error().message();
  std::vector<Tensor> memory;
  std::vector<DevicePtr> in(view.inputs.size());
  std::vector<DevicePtr> out(view.outputs.size());
  for (size_t i = 0; i < view.inputs.size(); ++i) {
    if (!view.inputs[i].present()) continue;
    memory.push_back(to_layout(f.inputs[i], view.inputs[i]));
    in[i] = {reinterpret_cast<uintptr_t>(memory.back().raw())};
  }
  for (const PackedConstant& p : packed) in[static_cast<size_t>(p.input)] = {reinterpret_cast<uintptr_t>(p.data.raw())};
  std::vector<Tensor> results;
  for (size_t i = 0; i < view.outputs.size(); ++i) {
    const TensorDesc& d = view.outputs[i];
    const auto elements = static_cast<int64_t>(d.bytes() * 8 / static_cast<size_t>(std::max(1, dtype_bits(d.dtype))));
    results.emplace_back(d.dtype, Shape{elements});
    if (results.back().bytes() != 0) std::memset(results.back().raw(), 0x3d, results.back().bytes());
    out[i] = {reinterpret_cast<uintptr_t>(results.back().raw())};
  }
  // As other layers leave it: all bits are NaN in every type.
  Tensor workspace(DType::u8, {static_cast<int64_t>((*kernel)->workspace_bytes()) + 64});
  std::memset(workspace.raw(), 0xff, workspace.bytes());
  auto stream = host_device().create_stream();
  ASSERT_TRUE(stream.ok());
  for (int run = 0; run < 2; ++run) {
    if ((*kernel)->overwrites()) {
      const auto i = static_cast<size_t>(tactic.overwrites);
      const Tensor operand = to_layout(f.inputs[i], view.inputs[i]);
      std::memcpy(results[0].raw(), operand.raw(), operand.bytes());
      in[i] = out[0];
      ++g_overwriting;
    }
    const Status status = (*kernel)->run({in, out, {reinterpret_cast<uintptr_t>(workspace.raw())}, stream->get()});
    ASSERT_TRUE(status.ok()) << status.error().message();
  }
  for (size_t i = 0; i < results.size(); ++i) {
    SCOPED_TRACE("output " + std::to_string(i));
    compare(results[i], view.outputs[i], f.expected[i], tolerance);
  }
}

/// As it is, and where the tactic can, with the output in the memory of an operand.
void run_tactic(const Tactic& tactic, const NodeView& view, const Fixture& f, const Target& target,
                Tolerance tolerance) {
  run_once(tactic, view, f, target, tolerance);
  if (!overwritable(tactic, view)) return;
  SCOPED_TRACE("in place");
  NodeView over = view;
  over.may_overwrite = true;
  run_once(tactic, over, f, target, tolerance);
}

/// The same node with activations and weights in 16 bits: the reference computes in f32 and rounds its result, and so
/// has every tactic to do, whatever the layout.
void check_in_16_bits(const Fixture& f, const Target& target, DType half, double tolerance) {
  for (const TypePair types : type_pairs(f.view, half)) {
    SCOPED_TRACE(std::string(dtype_name(types.in)) + " to " + std::string(dtype_name(types.out)));
    Node node;
    std::deque<Tensor> converted;
    Fixture g;
    g.view = with_types(f.view, types, node, [&converted](const Tensor& constant, DType type) {
      return &converted.emplace_back(constant.cast(type));
    });
    std::vector<const Tensor*> pointers;
    for (size_t i = 0; i < f.inputs.size(); ++i)
      g.inputs.push_back(g.view.inputs[i].present() ? f.inputs[i].cast(g.view.inputs[i].dtype) : Tensor());
    for (const Tensor& t : g.inputs) pointers.push_back(t.defined() ? &t : nullptr);
    g.expected.resize(f.expected.size());
    const Status status = run_reference(node, pointers, g.expected);
    ASSERT_TRUE(status.ok()) << status.error().message();
    for (size_t o = 0; o < g.expected.size(); ++o) ASSERT_EQ(g.expected[o].dtype(), g.view.outputs[o].dtype);
    for (const Layout in : kLayouts)
      for (const Layout out : kLayouts) {
        const NodeView view = with_layouts(g.view, in, out);
        for (const Tactic* tactic : supporting_tactics(cpu_tactics(), view, target)) {
          if (tactic->ops.empty()) continue;
          SCOPED_TRACE(std::string(tactic->id) + " " + std::string(layout_name(in)) + " to " +
                       std::string(layout_name(out)));
          run_tactic(*tactic, view, g, target, {tolerance});
        }
      }
  }
}

}  // namespace

int overwriting_runs() { return g_overwriting; }

int64_t physical_index(const TensorDesc& d, int64_t index) {
  if (d.layout == Layout::row_major || d.rank() < 2) return index;
  int64_t spatial = 1;
  for (size_t i = 2; i < d.shape.size(); ++i) spatial *= d.shape[i];
  const int64_t channels = d.shape[1];
  const int64_t s = index % spatial;
  const int64_t c = index / spatial % channels;
  const int64_t n = index / spatial / channels;
  if (d.layout == Layout::channels_last) return (n * spatial + s) * channels + c;
  const int64_t block = layout_block(d.layout);
  const int64_t blocks = (channels + block - 1) / block;
  return ((n * blocks + c / block) * spatial + s) * block + c % block;
}

Tensor to_layout(const Tensor& t, const TensorDesc& d) {
  if (d.layout == Layout::row_major) return t;
  const int64_t width = dtype_bits(d.dtype) / 8;
  Tensor out(d.dtype, {static_cast<int64_t>(d.bytes()) / width});
  for (int64_t e = 0; e < t.size(); ++e)
    std::memcpy(out.data<char>() + physical_index(d, e) * width, t.data<char>() + e * width,
                static_cast<size_t>(width));
  return out;
}

void check_conformance(const ConformanceCase& c) {
  SCOPED_TRACE(c.label);
  Fixture f;
  ASSERT_NO_FATAL_FAILURE(bind(c, f));
  const Target target{.device = &host_device(), .threads = c.threads};
  std::set<std::string> accepted;
  std::map<std::string, std::string> refused;
  for (const Layout in : kLayouts)
    for (const Layout out : kLayouts) {
      NodeView view = with_layouts(f.view, in, out);
      if (f.view.node->is("Reformat", "planish") && in == out) continue;
      const bool same_as_before = (in != Layout::row_major && view.inputs == f.view.inputs) ||
                                  (out != Layout::row_major && view.outputs == f.view.outputs);
      if (same_as_before) continue;
      std::vector<Refusal> refusals;
      for (const Tactic* tactic : supporting_tactics(cpu_tactics(), view, target, &refusals)) {
        SCOPED_TRACE(std::string(tactic->id) + " " + std::string(layout_name(in)) + " to " +
                     std::string(layout_name(out)));
        accepted.insert(std::string(tactic->id));
        // Minimal filtering adds and subtracts multiples of the data: some digits more go.
        const bool winograd = tactic->id.starts_with("cpu.winograd");
        run_tactic(*tactic, view, f, target, {winograd ? std::max(c.tolerance, 4e-4) : c.tolerance, c.steps});
      }
      for (Refusal& r : refusals) {
        EXPECT_FALSE(r.reason.empty()) << r.tactic << " refuses without a reason";
        refused.try_emplace(r.tactic, std::move(r.reason));
      }
    }
  for (const auto& [tactic, reason] : refused)
    if (!accepted.contains(tactic)) std::cout << "  " << c.label << ": " << tactic << " refuses: " << reason << "\n";
  EXPECT_TRUE(accepted.contains(c.must)) << c.must << " did not accept the case in any layout";
  check_in_16_bits(f, target, DType::bf16, 1e-2);
  check_in_16_bits(f, target, DType::f16, 2e-3);
}

}  // namespace planish::test
