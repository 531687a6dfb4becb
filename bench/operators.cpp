// Speed of single operators at the sizes that networks have: every tactic that takes the node row-major, in nanoseconds
// per element of the largest tensor. Shows which operators still run on their reference in real networks.
//
//   operators [threads] [part of an operator's name]

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <string>
#include <vector>

#include "planish/base/parallel.h"
#include "planish/ir/text.h"
#include "planish/ops/op.h"
#include "planish/tactics/cpu/cpu_tactics.h"

namespace {

using namespace planish;
using Clock = std::chrono::steady_clock;

/// One node; the random inputs of the graph lie in [low, high).
struct Row {
  const char* graph;
  double low = -1;
  double high = 1;
};

const Row kRows[] = {
    {"(x: f32[1,64,112,112]) -> (y) {\n const s: f32[64,1,1] = seed(1)\n y = PRelu(x, s)\n}"},
    {"(x: f32[1,64,80,80]) -> (y) {\n const w: f32[64,64,2,2] = seed(1)\n y = planish.FusedConvTranspose(x, w) "
     "{strides "
     "= [2,2]}\n}"},
    {"(x: f32[1,64,80,80], g: f32[1,80,80,2]) -> (y) {\n y = GridSample(x, g) {mode = \"linear\", padding_mode = "
     "\"zeros\"}\n}"},
    {"(x: f32[1,64,80,80], g: f32[1,80,80,2]) -> (y) {\n y = GridSample(x, g) {mode = \"cubic\"}\n}"},
    {"(x: f32[1,64,50,50]) -> (y) {\n const r: f32[100,4] = seed(1, 0, 700)\n const b: i64[100] = fill(0)\n y = "
     "RoiAlign(x, r, b) {output_height = 7, output_width = 7, sampling_ratio = 2, spatial_scale = 0.0625}\n}"},
    {"(x: f32[1,64,50,50]) -> (y) {\n const r: f32[100,5] = seed(1, 0, 1)\n y = MaxRoiPool(x, r) {pooled_shape = "
     "[7,7], spatial_scale = 0.0625}\n}"},
    {"(x: f32[1,64,40,40]) -> (y) {\n const s: i64[4] = [1,64,80,80]\n y = Resize(x, _, _, s) {mode = \"linear\"}\n}"},
    {"(x: f32[1,64,40,40]) -> (y) {\n const s: i64[4] = [1,64,80,80]\n y = Resize(x, _, _, s) {mode = \"cubic\"}\n}"},
    {"(x: f32[1,16,8,20,20]) -> (y) {\n const s: i64[5] = [1,16,16,40,40]\n y = Resize(x, _, _, s) {mode = "
     "\"linear\"}\n}"},
    {"(x: f32[1,8400,80], i: i64[2000,2], u: f32[2000,80]) -> (y) {\n y = ScatterND(x, i, u)\n}", 0, 1},
    {"(x: f32[256,1024], i: i64[256,1024], u: f32[256,1024]) -> (y) {\n y = ScatterElements(x, i, u) {axis = 1}\n}", 0,
     200},
    {"(x: f32[1,80,8400]) -> (y, z) {\n const k: i64[1] = [300]\n y, z = TopK(x, k)\n}"},
    {"(x: f32[1,50000]) -> (y, z) {\n const k: i64[1] = [10]\n y, z = TopK(x, k)\n}"},
    {"(b: f32[1,1000,4], s: f32[1,20,1000]) -> (y) {\n const m: i64[1] = [100]\n const i: f32[1] = [0.5]\n const t: "
     "f32[1] = [0.3]\n y = NonMaxSuppression(b, s, m, i, t)\n}",
     0, 1},
    {"(x: f32[1,512,1024]) -> (y) {\n const a: i64[] = [1]\n y = CumSum(x, a)\n}"},
    {"(x: i64[8,512]) -> (y) {\n const a: i64[] = [1]\n y = CumSum(x, a)\n}"},
    {"(x: f32[64,1,256]) -> (y) {\n const w: f32[1,1024,256] = seed(1)\n const r: f32[1,1024,256] = seed(2)\n const b: "
     "f32[1,2048] = seed(3)\n y = LSTM(x, w, r, b) {hidden_size = 256}\n}"},
    {"(x: f32[64,1,256]) -> (y) {\n const w: f32[1,768,256] = seed(1)\n const r: f32[1,768,256] = seed(2)\n y = GRU(x, "
     "w, r) {hidden_size = 256, linear_before_reset = 1}\n}"},
    {"(x: f32[64,1,256]) -> (y) {\n const w: f32[1,256,256] = seed(1)\n const r: f32[1,256,256] = seed(2)\n y = RNN(x, "
     "w, r) {hidden_size = 256}\n}"},
    {"(i: i64[1,384]) -> (y) {\n const t: f32[30522,384] = seed(1)\n y = Gather(t, i)\n}", 0, 30000},
    {"(x: f32[64,128,80], i: i64[64,128,80]) -> (y) {\n y = GatherElements(x, i) {axis = 1}\n}", 0, 100},
    {"(x: f32[100,8400], i: i64[500,2]) -> (y) {\n y = GatherND(x, i)\n}", 0, 90},
    {"(x: f32[1,64,80,80]) -> (y) {\n const p: i64[8] = [0,0,1,1,0,0,1,1]\n y = Pad(x, p)\n}"},
    {"(x: f32[1,64,80,80]) -> (y) {\n const p: i64[8] = [0,0,1,1,0,0,1,1]\n y = Pad(x, p, _) {mode = \"reflect\"}\n}"},
    {"(x: f32[1,64,112,112]) -> (y) {\n const s: f32[64] = seed(1)\n const b: f32[64] = seed(2)\n y = "
     "InstanceNormalization(x, s, b)\n}"},
    {"(x: f32[1,64,56,56]) -> (y) {\n const s: f32[64] = seed(1)\n const b: f32[64] = seed(2)\n y = "
     "GroupNormalization(x, s, b) {num_groups = 8}\n}"},
    {"(x: f32[1,64,56,56]) -> (y) {\n const s: f32[64] = fill(1)\n const b: f32[64] = fill(0)\n y = "
     "BatchNormalization(x, s, b, b, s)\n}"},
    {"(x: f32[1,64,56,56]) -> (y) {\n y = LRN(x) {size = 5}\n}"},
    {"(x: f32[1,128,1024]) -> (y) {\n y = LogSoftmax(x)\n}"},
    {"(x: f32[1,64,56,56]) -> (y) {\n y = LpNormalization(x) {axis = 1}\n}"},
    {"(x: f32[1,128,1024]) -> (y) {\n const a: i64[1] = [2]\n y = ReduceSum(x, a)\n}"},
    {"(x: f32[1,128,1024]) -> (y) {\n const a: i64[1] = [2]\n y = ReduceMax(x, a)\n}"},
    {"(x: f32[1,128,1024]) -> (y) {\n const a: i64[1] = [1]\n y = ReduceMax(x, a)\n}"},
    {"(x: f32[1,128,1024]) -> (y) {\n const a: i64[1] = [2]\n y = ReduceL2(x, a)\n}"},
    {"(x: f32[1,128,1024]) -> (y) {\n const a: i64[1] = [1]\n y = ReduceMean(x, a)\n}"},
    {"(x: f32[1,128,1024]) -> (y) {\n y = ArgMax(x) {axis = -1}\n}"},
    {"(x: f32[1,80,8400]) -> (y) {\n y = ArgMax(x) {axis = 1}\n}"},
    {"(c: bool[1,12,128,128], x: f32[1,12,128,128]) -> (y) {\n const m: f32[] = [-10000.0]\n y = Where(c, x, m)\n}"},
    {"(x: f32[1,12,128,128]) -> (y) {\n const m: f32[] = [0.5]\n y = Greater(x, m)\n}"},
    {"(x: i64[8,384]) -> (y) {\n const m: i64[] = [0]\n y = Equal(x, m)\n}", 0, 2},
    {"(a: bool[1,12,128,128], b: bool[1,12,128,128]) -> (y) {\n y = And(a, b)\n}"},
    {"(a: bool[1,12,128,128]) -> (y) {\n y = Not(a)\n}"},
    {"(a: i64[8,512], b: i64[8,512]) -> (y) {\n y = Add(a, b)\n}", -9, 9},
    {"(a: i64[8,512]) -> (y) {\n y = Cast(a) {to = 1}\n}", -9, 9},
    {"(a: bool[1,1,384,384]) -> (y) {\n y = Cast(a) {to = 1}\n}"},
    {"(a: f32[1,64,80,80]) -> (y) {\n y = Sin(a)\n}"},
    {"(a: f32[1,64,80,80]) -> (y) {\n y = Atan(a)\n}"},
    {"(a: f32[1,64,80,80]) -> (y) {\n y = Selu(a)\n}"},
    {"(a: f32[1,64,80,80]) -> (y) {\n y = Softsign(a)\n}"},
    {"(a: f32[1,64,80,80]) -> (y) {\n y = ThresholdedRelu(a)\n}"},
    {"(a: f32[1,64,80,80]) -> (y) {\n y = IsNaN(a)\n}"},
    {"(a: f32[1,64,80,80]) -> (y) {\n const m: f32[] = [0.5]\n y = Mod(a, m) {fmod = 1}\n}"},
    {"(a: f32[1,64,80,80]) -> (y) {\n y = DepthToSpace(a) {blocksize = 2}\n}"},
    {"(a: f32[1,64,80,80]) -> (y) {\n y = SpaceToDepth(a) {blocksize = 2}\n}"},
    {"(a: f32[1,64,20,20]) -> (y) {\n const r: i64[4] = [1,1,2,2]\n y = Tile(a, r)\n}"},
    {"(a: f32[512,512]) -> (y) {\n y = Trilu(a)\n}"},
    {"(a: i64[8,384]) -> (y) {\n const d: i64[1] = [100]\n const v: f32[2] = [0,1]\n y = OneHot(a, d, v)\n}", 0, 100},
    {"(a: f32[1,12,64,64], b: f32[1,12,64,64]) -> (y) {\n y = Einsum(a, b) {equation = \"bhid,bhjd->bhij\"}\n}"},
    {"(a: f32[1,64,56,56]) -> (y) {\n y = GlobalMaxPool(a)\n}"},
    {"(a: f32[1,64,56,56]) -> (y) {\n y = MaxPool(a) {kernel_shape = [3,3], dilations = [2,2]}\n}"},
    {"(a: f32[1,64,56,56]) -> (y) {\n y = LpPool(a) {kernel_shape = [3,3]}\n}"},
    {"(x: f32[1,32,40,40], o: f32[1,18,40,40]) -> (y) {\n const w: f32[32,32,3,3] = seed(1)\n y = DeformConv(x, w, o) "
     "{pads = [1,1,1,1]}\n}"},
    {"(a: f32[1,12,128,64]) -> (y) {\n const c: f32[1,128,32] = seed(1)\n y = RotaryEmbedding(a, c, c)\n}"},
    {"(x: f32[1,8,128,64], k: f32[1,2,128,64], v: f32[1,2,128,64]) -> (y) {\n y = Attention(x, k, v)\n}"},
    {"(x: f32[1,8,128,64], k: f32[1,8,128,64], v: f32[1,8,128,64], m: bool[128,128]) -> (y) {\n y = Attention(x, k, v, "
     "m)\n}"},
    {"(a: f32[4,1,64,64], b: f32[1,8,64,64]) -> (y) {\n y = planish.FusedMatMul(a, b)\n}"},
    {"(a: f32[1,8,256,2]) -> (y) {\n const d: i64[] = [256]\n y = DFT(a, d) {axis = 2}\n}"},
    {"(x: f32[1,16000,1]) -> (y) {\n const s: i64[] = [160]\n const w: f32[400] = seed(1)\n y = STFT(x, s, w)\n}"},
    {"(x: f32[1,128,4096]) -> (y) {\n y = Hardmax(x)\n}"},
    {"(x: f32[1,64,56,56]) -> (y) {\n y = MeanVarianceNormalization(x)\n}"},
    {"(a: f32[1,100,8400]) -> (y) {\n y = NonZero(a)\n}"},
    {"(a: f32[1,16,32,32]) -> (y) {\n const n: i64[1] = [1]\n const s: i64[1] = [-1]\n const e: i64[1] = [-1000]\n "
     "const x: i64[1] = [3]\n y = Slice(a, s, e, x, s)\n}"},
    {"(x: f32[1,384,1536]) -> (y) {\n const a: i64[2] = [0,1]\n y = ReduceSumSquare(x, a)\n}"},
    {"(x: f32[1,128,1024], s: f32[1024], b: f32[1024]) -> (y, m) {\n y, m = LayerNormalization(x, s, b)\n}"},
    {"(x: f32[4,128,512]) -> (y) {\n const s: f32[] = [0.02]\n const z: i8[] = [0]\n y = QuantizeLinear(x, s, z)\n}"},
};

Tensor random_input(const Value& value, uint64_t seed, const Row& row) {
  if (value.dtype != DType::boolean) return seeded_tensor(value.dtype, *value.shape, seed, row.low, row.high);
  const Tensor t = seeded_tensor(DType::f32, *value.shape, seed, -1, 1);
  Tensor b(DType::boolean, *value.shape);
  for (int64_t e = 0; e < t.size(); ++e) b.set(e, t.at(e) > -0.3 ? 1 : 0);
  return b;
}

/// The node with its tensors; outputs are what the reference made.
struct Problem {
  Graph graph;
  std::vector<Tensor> inputs;
  std::vector<Tensor> outputs;
  NodeView view;
};

Status bind(const Row& row, Problem& p) {
  p.graph = PLANISH_TRY(parse_text(std::string("graph \"g\" ") + row.graph, row.graph));
  const Node& node = p.graph.nodes[0];
  p.view.node = &node;
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const ValueId v = node.inputs[i];
    const Tensor* constant = p.graph.constant_of(v);
    Tensor t;
    if (constant != nullptr)
      t = *constant;
    else if (v != kNoValue)
      t = random_input(p.graph.value(v), 11 + i, row);
    p.view.inputs.push_back({t.dtype(), t.shape()});
    p.view.constants.push_back(constant);
    p.view.constant_inputs.push_back(constant != nullptr);
    p.inputs.push_back(std::move(t));
  }
  std::vector<const Tensor*> pointers;
  for (const Tensor& t : p.inputs) pointers.push_back(t.defined() ? &t : nullptr);
  p.outputs.resize(node.outputs.size());
  PLANISH_TRY(run_reference(node, pointers, p.outputs));
  for (const Tensor& t : p.outputs) p.view.outputs.push_back({t.dtype(), t.shape()});
  return {};
}

/// Milliseconds of the best run.
Result<double> time_of(const Tactic& tactic, Problem& p, const Target& target) {
  std::vector<PackedConstant> packed;
  if (tactic.pack != nullptr) packed = PLANISH_TRY(tactic.pack(p.view, target));
  const auto kernel = PLANISH_TRY(tactic.prepare(p.view, packed, target));
  std::vector<DevicePtr> in;
  std::vector<DevicePtr> out;
  for (Tensor& t : p.inputs) in.push_back({reinterpret_cast<uintptr_t>(t.raw())});
  for (PackedConstant& c : packed) in[static_cast<size_t>(c.input)] = {reinterpret_cast<uintptr_t>(c.data.raw())};
  for (Tensor& t : p.outputs) out.push_back({reinterpret_cast<uintptr_t>(t.raw())});
  Tensor workspace(DType::u8, {static_cast<int64_t>(kernel->workspace_bytes()) + 64});
  const auto stream = PLANISH_TRY(host_device().create_stream());
  double best = 1e9;
  double total = 0;
  for (int run = 0; run < 50 && total < 300; ++run) {
    const auto begin = Clock::now();
    PLANISH_TRY(kernel->run({in, out, {reinterpret_cast<uintptr_t>(workspace.raw())}, stream.get()}));
    const double ms = std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
    best = std::min(best, ms);
    total += ms;
  }
  return best;
}

std::string describe(const NodeView& view) {
  std::string text = op_key(*view.node);
  for (const TensorDesc& d : view.inputs) text += d.present() ? " " + to_string(d.shape) : " -";
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::max(1, std::atoi(argv[1])) : 2;
  const std::string filter = argc > 2 ? argv[2] : "";
  set_num_threads(threads);
  const Target target{.device = &host_device(), .threads = threads};
  for (const Row& row : kRows) {
    if (std::string(row.graph).find(filter) == std::string::npos) continue;
    Problem p;
    if (const Status status = bind(row, p); !status.ok()) {
      fmt::print("{}\n", status.error().message());
      continue;
    }
    int64_t elements = 1;
    for (size_t i = 0; i < p.inputs.size(); ++i)
      if (!p.view.is_constant(i)) elements = std::max(elements, p.inputs[i].size());
    for (const Tensor& t : p.outputs) elements = std::max(elements, t.size());
    for (const Tactic* tactic : supporting_tactics(cpu_tactics(), p.view, target)) {
      const auto ms = time_of(*tactic, p, target);
      if (ms.ok())
        fmt::print("{:9.3f} ms {:8.2f} ns  {:<20} {}\n", *ms, *ms * 1e6 / static_cast<double>(elements), tactic->id,
                   describe(p.view));
      else
        fmt::print("{}\n", ms.error().message());
      std::fflush(stdout);
    }
  }
  return 0;
}
