// Outputs that take over the memory of an operand: a tactic for Add that asks for it, in graphs where it may have it
// and in graphs where somebody else still needs that memory.

#include <array>

#include "planish/runtime/test/runner.h"

namespace planish::test {
namespace {

int g_overwriting = 0;  ///< kernels made that overwrite

class AddKernel final : public Kernel {
 public:
  AddKernel(int64_t size, bool overwrites) : size_(size), overwrites_(overwrites) {}
  [[nodiscard]] bool overwrites() const override { return overwrites_; }
  Status run(const Bindings& b) override {
    const auto* x = host_ptr<const float>(b.inputs[0]);
    const auto* other = host_ptr<const float>(b.inputs[1]);
    auto* y = host_ptr<float>(b.outputs[0]);
    if (overwrites_ != (x == y)) return Error{.code = Code::internal, .what = "the output lies elsewhere"};
    for (int64_t i = 0; i < size_; ++i) y[i] = x[i] + other[i];
    return {};
  }

 private:
  int64_t size_;
  bool overwrites_;
};

WhyNot supports(const NodeView& view, const Target&) {
  if (!view.node->is("Add") || view.inputs[0] != view.inputs[1] || view.inputs[0].dtype != DType::f32)
    return "adds f32 tensors of one shape";
  return std::nullopt;
}

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant>, const Target&) {
  g_overwriting += view.may_overwrite ? 1 : 0;
  return std::unique_ptr<Kernel>(std::make_unique<AddKernel>(view.outputs[0].size(), view.may_overwrite));
}

constexpr std::array<std::string_view, 1> kOps{"Add"};
constexpr Tactic kAdd{.id = "test.add", .ops = kOps, .supports = supports, .prepare = prepare, .overwrites = 0};

struct Case {
  const char* label;
  const char* body;  ///< of a graph from x: f32[2,6]
  const char* outputs;
  int overwriting;  ///< how many additions may take their first operand's memory
};

constexpr Case kCases[] = {
    {"plain", "a = Relu(x)\n b = Neg(x)\n s = Add(a, b)\n y = Abs(s)", "y", 1},
    {"chain", "a = Relu(x)\n b = Neg(x)\n s = Add(a, b)\n t = Add(s, b)\n u = Add(t, x)\n y = Abs(u)", "y", 3},
    {"operand_read_later", "a = Relu(x)\n b = Neg(x)\n s = Add(a, b)\n t = Mul(s, a)\n y = Abs(t)", "y", 0},
    {"operand_twice", "a = Relu(x)\n s = Add(a, a)\n y = Abs(s)", "y", 0},
    {"operand_through_a_view",
     "const k: i64[2] = [3, 4]\n a = Relu(x)\n v = Reshape(a, k)\n n = Neg(x)\n w = Reshape(n, k)\n s = Add(v, w)\n y "
     "= Abs(s)",
     "y", 1},
    {"view_of_operand_read_later",
     "const k: i64[1] = [12]\n a = Relu(x)\n v = Reshape(a, k)\n b = Neg(x)\n s = Add(a, b)\n y = Abs(s)\n z = Neg(v)",
     "y, z", 0},
    {"view_of_operand_made_later",
     "const k: i64[1] = [12]\n a = Relu(x)\n b = Neg(x)\n s = Add(a, b)\n v = Reshape(a, k)\n y = Abs(s)\n z = Neg(v)",
     "y, z", 0},
    {"operand_is_input", "b = Neg(x)\n s = Add(x, b)\n y = Abs(s)", "y", 0},
    {"operand_is_constant", "const c: f32[2,6] = seed(1)\n s = Add(c, x)\n y = Abs(s)", "y", 0},
    {"operand_is_output", "a = Relu(x)\n b = Neg(x)\n s = Add(a, b)\n y = Abs(s)", "a, y", 0},
    {"result_is_output", "a = Relu(x)\n b = Neg(x)\n s = Add(a, b)", "s", 0},
    {"result_in_a_concat", "a = Relu(x)\n b = Neg(x)\n s = Add(a, b)\n c = Concat(s, b) {axis = 0}\n y = Abs(c)", "y",
     1},
    {"operand_in_a_concat",
     "a = Relu(x)\n b = Neg(x)\n c = Concat(a, b) {axis = 0}\n s = Add(a, b)\n y = Abs(s)\n z = Neg(c)", "y, z", 0},
    {"operand_is_part_of_a_split",
     "r = Relu(x)\n p, q = Split(r) {axis = 0, num_outputs = 2}\n s = Add(p, q)\n y = Abs(s)", "y", 0},
    {"both_operands_views_of_one",
     "const k: i64[2] = [3, 4]\n r = Relu(x)\n v = Reshape(r, k)\n w = Reshape(r, k)\n s = Add(v, w)\n y = Abs(s)", "y",
     0},
};

TEST(Overwrite, OnlyWhereNobodyElseNeedsTheMemory) {
  const TacticTable table{{&kAdd, &kHostReferenceTactic}};
  for (const Case& c : kCases) {
    SCOPED_TRACE(c.label);
    const std::string text = "graph \"g\" (x: f32[2,6]) -> (" + std::string(c.outputs) + ") {\n " + c.body + "\n}";
    auto executable = Executable::create(engine_of(text, table), host_device(), table, 1);
    ASSERT_TRUE(executable.ok()) << executable.error().message();
    auto context = Context::create(*executable, {});
    ASSERT_TRUE(context.ok()) << context.error().message();
    g_overwriting = 0;
    for (uint64_t seed = 1; seed <= 2; ++seed)
      expect_like_interpreter(**context, {seeded_tensor(DType::f32, {2, 6}, seed, -2, 2)});
    EXPECT_EQ(g_overwriting, c.overwriting);
  }
}

}  // namespace
}  // namespace planish::test
