#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "planish/base/status.h"
#include "planish/device/device.h"
#include "planish/ir/graph.h"
#include "planish/ir/layout.h"
#include "planish/ir/tensor.h"

namespace planish {

/// Type, logical shape and physical layout of a tensor at run time. All dimensions are known.
struct TensorDesc {
  DType dtype = DType::undefined;  ///< undefined: an absent optional input or output
  Shape shape;
  Layout layout = Layout::row_major;

  [[nodiscard]] bool present() const { return dtype != DType::undefined; }
  [[nodiscard]] size_t bytes() const { return present() ? layout_bytes(dtype, shape, layout) : 0; }
  [[nodiscard]] int64_t size() const { return element_count(shape); }
  [[nodiscard]] int64_t rank() const { return static_cast<int64_t>(shape.size()); }
  friend bool operator==(const TensorDesc&, const TensorDesc&) = default;
};

/// A node with everything concrete: what a tactic decides on.
struct NodeView {
  const Node* node = nullptr;
  std::vector<TensorDesc> inputs;
  std::vector<TensorDesc> outputs;
  /// Value of each constant input (host memory, row-major), nullptr for the others. While building, every constant is
  /// there. When an engine is loaded, constants that the tactic packed are absent: see Tactic::prepare.
  std::vector<const Tensor*> constants;

  [[nodiscard]] bool has_input(size_t i) const { return i < inputs.size() && inputs[i].present(); }
  [[nodiscard]] bool is_constant(size_t i) const { return i < constant_inputs.size() && constant_inputs[i]; }
  /// Which inputs are constant (also when their value is packed away).
  std::vector<bool> constant_inputs;
  /// Set for tactics that name an input in Tactic::overwrites: nobody reads that input once the node has run, nor does
  /// the node read it under another number, and its memory is as large as that of output 0.
  bool may_overwrite = false;
};

/// The machine that is tuned for, and the limits that hold.
struct Target {
  Device* device = nullptr;
  int threads = 1;
  size_t workspace_limit_bytes = SIZE_MAX;
};

/// A constant input in the form that a tactic wants. `format` names the form ("" = as in the graph); a tactic must
/// know every format that it ever wrote into an engine, or refuse it, so that the loader packs again.
struct PackedConstant {
  int32_t input = 0;
  std::string format;
  Tensor data;
};

/// Memory of one execution. Absent tensors have a null address. Constants that were not packed are among the inputs.
struct Bindings {
  std::span<const DevicePtr> inputs;
  std::span<const DevicePtr> outputs;
  DevicePtr workspace;
  Stream* stream = nullptr;
};

/// An implementation bound to concrete shapes. It belongs to one context and is run by one thread at a time; what
/// several contexts share are the packed constants.
class Kernel {
 public:
  virtual ~Kernel() = default;
  [[nodiscard]] virtual size_t workspace_bytes() const { return 0; }
  /// Neither allocates, nor looks things up, nor logs.
  virtual Status run(const Bindings& bindings) = 0;
  /// True when it wants output 0 to lie where the input Tactic::overwrites lies: it then reads that input there.
  [[nodiscard]] virtual bool overwrites() const { return false; }
  /// What ran underneath, for layer information (for instance "brgconv:avx512_core"); "" when the id says it all.
  [[nodiscard]] virtual std::string detail() const { return {}; }
};

/// One way to execute a node. A value: tactics live in constexpr tables, best guess first, the reference last.
struct Tactic {
  /// Stable name, stored in engines and timing caches: "cpu.onednn.conv".
  std::string_view id;
  /// Operators that it may take, by node name with domain prefix ("planish.FusedConv", "MaxPool"); empty: any.
  std::span<const std::string_view> ops;
  /// nullopt, or the reason for the refusal ("needs C % 16 == 0, got C=3").
  WhyNot (*supports)(const NodeView&, const Target&) = nullptr;
  /// Packs constants. nullptr: it uses them as they are. Called once per engine (at the tuned shapes).
  Result<std::vector<PackedConstant>> (*pack)(const NodeView&, const Target&) = nullptr;
  /// Binds to shapes. `packed` is what pack() returned (or what the engine stored); its data outlives the kernel.
  Result<std::unique_ptr<Kernel>> (*prepare)(const NodeView&, std::span<const PackedConstant> packed,
                                             const Target&) = nullptr;
  /// Turns a packed constant back into the graph's form, for another tactic on another machine: bit by bit, or up to
  /// rounding where the form is the result of arithmetic (Winograd).
  Result<Tensor> (*unpack)(const NodeView&, const PackedConstant&) = nullptr;
  /// A packed f32 constant in a form that bears being rounded to 16 bits no worse than the graph's own weights do; for
  /// forms that arithmetic made. nullptr: the packed form is that already.
  Result<PackedConstant> (*to_roundable)(const NodeView&, const PackedConstant&) = nullptr;
  /// The packed form again, when an engine is made ready to run. `shape` is the constant's in the graph.
  Result<PackedConstant> (*from_roundable)(const Shape& shape, const PackedConstant&) = nullptr;
  /// The one input that pack() packs; kSeveral: prepare() looks for its own among what it is given.
  int32_t packs = 1;
  static constexpr int32_t kSeveral = -1;
  /// The input whose memory a kernel can take over for output 0, where NodeView::may_overwrite allows it: memory that
  /// is read and written costs less than memory that is read beside memory that is written. kNone: no such input.
  int32_t overwrites = kNone;
  static constexpr int32_t kNone = -1;
  /// True: while it is in use the processor's clock falls, so that layers of other tactics run slower than they were
  /// timed. Such tactics pay together or not at all, and a plan without any is tried beside one with them.
  bool lowers_clock = false;
  /// Changes when the kernel's speed or result may have changed: part of the timing-cache key.
  int version = 1;
};

/// Whether the input Tactic::overwrites is there, and lies like output 0.
bool overwritable(const Tactic& tactic, const NodeView& view);

/// All tactics of one device, in order of preference.
struct TacticTable {
  std::vector<const Tactic*> tactics;
  /// Physical layouts that tactics of this device prefer for image-like tensors; row_major is always possible.
  std::vector<Layout> layouts{Layout::row_major};
  [[nodiscard]] const Tactic* find(std::string_view id) const;
};

/// "planish.FusedConv", "MaxPool".
std::string op_key(const Node& node);
/// True when the tactic's operator list names this node (or is empty).
bool tactic_takes(const Tactic& tactic, const Node& node);

struct Refusal {
  std::string tactic;
  std::string reason;
};

/// Tactics of `table` that accept the node; refusals are appended to `refusals` when given.
std::vector<const Tactic*> supporting_tactics(const TacticTable& table, const NodeView& view, const Target& target,
                                              std::vector<Refusal>* refusals = nullptr);
/// The error for a node that nothing can execute: lists every refusal and its reason.
Error no_tactic_error(const NodeView& view, std::span<const Refusal> refusals);

/// The constant in the graph's form, by the first tactic of `table` for this operator that knows its format (whichever
/// tactic packed it may not exist here). Error unsupported: there is none.
Result<Tensor> unpack_constant(const TacticTable& table, const NodeView& view, const PackedConstant& packed);

/// Text that identifies the work of a node: operator, attributes, shapes, types, layouts; equal keys cost equal time.
std::string work_key(const NodeView& view);

/// Host address of device memory; only for tactics of a device that shares host memory.
template <typename T = void>
T* host_ptr(DevicePtr p) {
  return reinterpret_cast<T*>(static_cast<uintptr_t>(p.value));
}

/// The portable implementation of every operator that ops/ declares, on devices that share host memory.
extern const Tactic kHostReferenceTactic;

/// Tactics of opaque_test_device(): the reference operators behind its handles.
const TacticTable& opaque_test_tactics();

}  // namespace planish
