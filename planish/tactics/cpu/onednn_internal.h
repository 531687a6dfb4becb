#pragma once

// Shared by the oneDNN tactics of this folder only; the one header that shows oneDNN's types.

#include <oneapi/dnnl/dnnl.hpp>

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "planish/ops/conv_geometry.h"
#include "planish/tactics/tactic.h"

namespace planish::onednn {

dnnl::engine& engine();
dnnl::stream& stream();

/// Memory descriptor of a tensor in its logical shape and physical layout. Throws dnnl::error.
dnnl::memory::desc describe(const TensorDesc& desc);
/// The same for images: those of one pixel lie alike row-major and channels-last and count as channels-last. oneDNN's
/// cache takes the two for one, so that under two names it depended on what ran before whether a primitive exists.
dnnl::memory::desc describe_image(const TensorDesc& desc);
/// nullopt when oneDNN has the type.
std::optional<dnnl::memory::data_type> data_type(DType t);
dnnl::memory::dims to_dims(const Shape& shape);

/// Appends the activation (an ONNX name, "" for none) to the post-operations. False when oneDNN has none like it.
bool append_activation(dnnl::post_ops& ops, const Node& node);
/// The reason why append_activation would fail, or nullopt.
WhyNot activation_refusal(const Node& node);

/// Error unsupported: every window of the convolution lies in padding. oneDNN's AMX code reads a null pointer there.
Status check_reach(const Node& node, const WindowGeometry& window);
/// The reason why oneDNN's AMX code for 16 bits and bytes computes something else, or nullopt; found by comparing
/// thousands of random windows with the reference.
WhyNot wrong_on_amx(const TensorDesc& x, const ConvShape& conv);

/// Name of a blocked format that stores tensors of `desc`'s dims like `desc`, as "onednn:<number>"; "" when it is a
/// format without a name (or is not blocked).
std::string format_name(const dnnl::memory::desc& desc);
/// Inverse of format_name; nullopt for names that are not ours.
std::optional<dnnl::memory::desc> format_desc(const std::string& name, const dnnl::memory::dims& dims,
                                              dnnl::memory::data_type type);

/// Copies `src` (described by `from`) into a new tensor in the form `to`; the tensor is opaque bytes.
Tensor reorder(const Tensor& src, const dnnl::memory::desc& from, const dnnl::memory::desc& to);

/// Runs `body`; a dnnl::error becomes an Error that names the node.
template <typename F>
auto guarded(const NodeView& view, F&& body) -> decltype(body()) {
  try {
    return body();
  } catch (const dnnl::error& e) {
    return Error{.code = Code::unsupported, .node = view.node->name, .what = std::string("oneDNN: ") + e.what()};
  } catch (const std::bad_alloc&) {
    return Error{
        .code = Code::out_of_memory, .node = view.node->name, .what = "not enough memory to prepare the layer"};
  }
}

/// A oneDNN primitive with its arguments: sources, destination, weights, post-operation operands.
class PrimitiveKernel final : public Kernel {
 public:
  struct Arg {
    int key;  ///< DNNL_ARG_*
    dnnl::memory::desc desc;
    bool output = false;
    size_t index = 0;  ///< of the node's input or output
  };
  PrimitiveKernel(dnnl::primitive primitive, const dnnl::memory::desc& scratchpad, const std::vector<Arg>& args,
                  std::string detail);
  /// An argument that the kernel owns (weights in a form of its own).
  void own(int key, const dnnl::memory::desc& desc, Tensor data);
  /// It finds a summand where its output lies.
  void set_overwrites() { overwrites_ = true; }

  [[nodiscard]] size_t workspace_bytes() const override { return workspace_bytes_; }
  [[nodiscard]] std::string detail() const override { return detail_; }
  [[nodiscard]] bool overwrites() const override { return overwrites_; }
  Status run(const Bindings& bindings) override;

 private:
  dnnl::primitive primitive_;
  std::vector<Arg> args_;
  std::vector<dnnl::memory> memories_;
  std::vector<dnnl_exec_arg_t> exec_;
  std::vector<Tensor> owned_;
  std::optional<dnnl::memory> scratchpad_;
  bool overwrites_ = false;
  size_t workspace_bytes_ = 0;
  std::string detail_;
};

/// Gives the kernel the weights of the node's input `index` in the form `wanted`: the packed ones where there are any,
/// or else the network's constant, either of which lies in memory like `stored`.
Status own_weights(PrimitiveKernel& kernel, const NodeView& view, std::span<const PackedConstant> packed, size_t index,
                   const dnnl::memory::desc& stored, const dnnl::memory::desc& wanted);

/// Whether two descriptions of a layer are served by the same implementation from the same form of weights.
template <typename Desc>
bool same_kernel(const Desc& a, const Desc& b) {
  return a.weights_desc() == b.weights_desc() && std::string_view(a.impl_info_str()) == b.impl_info_str();
}

/// Attributes with the workspace under our control.
inline dnnl::primitive_attr user_scratchpad() {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attr;
}

/// The reason why convolutions, matrix products and pools of that type are not oneDNN's on this machine, or nullopt: it
/// would emulate 16-bit types where the processor cannot multiply them, more slowly than f32.
WhyNot float_refusal(DType t);

/// True for implementations that are slower than ours or merely portable.
inline bool is_reference_impl(const std::string& name) { return name.find("ref") != std::string::npos; }

}  // namespace planish::onednn
