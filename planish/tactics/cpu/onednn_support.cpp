#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <numeric>
#include <set>

#include "planish/base/code_pages.h"
#include "planish/base/isa.h"
#include "planish/tactics/cpu/cpu_tactics.h"
#include "planish/tactics/cpu/onednn_internal.h"

namespace planish::onednn {
namespace {

using Tag = dnnl::memory::format_tag;
constexpr std::string_view kFormatPrefix = "onednn:";

struct Activation {
  std::string_view name;
  dnnl::algorithm algorithm;
  /// oneDNN's alpha and beta from the node's act_alpha and act_beta.
  float (*alpha)(const Node&);
  float (*beta)(const Node&);
};

float zero(const Node&) { return 0.0F; }
float one(const Node&) { return 1.0F; }
template <int kPermille>
float act_alpha(const Node& n) {
  return n.attr_float("act_alpha", kPermille / 1000.0F);
}
float act_beta_half(const Node& n) { return n.attr_float("act_beta", 0.5F); }
float clip_low(const Node& n) { return n.attr_float("act_alpha", -3.4028235e38F); }
float clip_high(const Node& n) { return n.attr_float("act_beta", 3.4028235e38F); }
float sixth(const Node&) { return 1.0F / 6.0F; }
float half(const Node&) { return 0.5F; }

constexpr Activation kActivations[] = {
    {"Relu", dnnl::algorithm::eltwise_relu, zero, zero},
    {"LeakyRelu", dnnl::algorithm::eltwise_relu, act_alpha<10>, zero},
    {"Sigmoid", dnnl::algorithm::eltwise_logistic, zero, zero},
    {"Tanh", dnnl::algorithm::eltwise_tanh, zero, zero},
    {"Swish", dnnl::algorithm::eltwise_swish, act_alpha<1000>, zero},
    {"HardSwish", dnnl::algorithm::eltwise_hardswish, sixth, half},
    {"HardSigmoid", dnnl::algorithm::eltwise_hardsigmoid, act_alpha<200>, act_beta_half},
    {"Elu", dnnl::algorithm::eltwise_elu, act_alpha<1000>, zero},
    {"Clip", dnnl::algorithm::eltwise_clip, clip_low, clip_high},
    {"Mish", dnnl::algorithm::eltwise_mish, zero, zero},
    {"Softplus", dnnl::algorithm::eltwise_soft_relu, one, zero},
    {"Abs", dnnl::algorithm::eltwise_abs, zero, zero},
    {"Sqrt", dnnl::algorithm::eltwise_sqrt, zero, zero},
    {"Exp", dnnl::algorithm::eltwise_exp, zero, zero},
};

const Activation* find_activation(const std::string& name) {
  for (const Activation& a : kActivations)
    if (a.name == name) return &a;
  return nullptr;
}

Tag tag_of(Layout layout, size_t rank) {
  static constexpr Tag kPlain[] = {Tag::a, Tag::a, Tag::ab, Tag::abc, Tag::abcd, Tag::abcde, Tag::abcdef};
  static constexpr Tag kLast[] = {Tag::undef, Tag::undef, Tag::undef, Tag::acb, Tag::acdb, Tag::acdeb};
  static constexpr Tag kBlock8[] = {Tag::undef, Tag::undef, Tag::undef, Tag::aBc8b, Tag::aBcd8b, Tag::aBcde8b};
  static constexpr Tag kBlock16[] = {Tag::undef, Tag::undef, Tag::undef, Tag::aBc16b, Tag::aBcd16b, Tag::aBcde16b};
  if (layout == Layout::row_major) return rank < std::size(kPlain) ? kPlain[rank] : Tag::undef;
  if (rank >= std::size(kLast)) return Tag::undef;
  if (layout == Layout::channels_last) return kLast[rank];
  return layout == Layout::blocked8 ? kBlock8[rank] : kBlock16[rank];
}

}  // namespace

dnnl::engine& engine() {
  static dnnl::engine e(dnnl::engine::kind::cpu, 0);
  return e;
}

dnnl::stream& stream() {
  thread_local dnnl::stream s(engine());
  return s;
}

std::optional<dnnl::memory::data_type> data_type(DType t) {
  switch (t) {
    case DType::f32: return dnnl::memory::data_type::f32;
    case DType::bf16: return dnnl::memory::data_type::bf16;
    case DType::f16: return dnnl::memory::data_type::f16;
    case DType::i8: return dnnl::memory::data_type::s8;
    case DType::u8: return dnnl::memory::data_type::u8;
    case DType::i32: return dnnl::memory::data_type::s32;
    default: return std::nullopt;
  }
}

WhyNot float_refusal(DType t) {
  const CpuFeatures& cpu = cpu_features();
  const bool native = t == DType::f32 || (t == DType::bf16 && (cpu.avx512_bf16 || cpu.amx_bf16)) ||
                      (t == DType::f16 && cpu.avx512_fp16);
  if (native) return std::nullopt;
  if (t == DType::bf16 || t == DType::f16) return fmt::format("this processor does not multiply {}", dtype_name(t));
  return fmt::format("computes in f32, bf16 or f16, got {}", dtype_name(t));
}

dnnl::memory::dims to_dims(const Shape& shape) {
  if (shape.empty()) return {1};
  return {shape.begin(), shape.end()};
}

dnnl::memory::desc describe(const TensorDesc& d) {
  const auto type = data_type(d.dtype);
  const Tag tag = tag_of(d.layout, d.shape.empty() ? 1 : d.shape.size());
  if (!type || tag == Tag::undef)
    throw dnnl::error(dnnl_unimplemented, "no oneDNN description of this type, rank and layout");
  return {to_dims(d.shape), *type, tag};
}

dnnl::memory::desc describe_image(const TensorDesc& d) {
  TensorDesc image = d;
  const bool one_pixel =
      d.rank() >= 3 && std::all_of(d.shape.begin() + 2, d.shape.end(), [](int64_t size) { return size == 1; });
  if (one_pixel && d.layout == Layout::row_major) image.layout = Layout::channels_last;
  return describe(image);
}

bool append_activation(dnnl::post_ops& ops, const Node& node) {
  const std::string name = node.attr_string("activation", "");
  if (name.empty()) return true;
  if (name == "Gelu") {
    const bool tanh = node.attr_string("act_approximate", "none") == "tanh";
    ops.append_eltwise(tanh ? dnnl::algorithm::eltwise_gelu_tanh : dnnl::algorithm::eltwise_gelu_erf, 0.0F, 0.0F);
    return true;
  }
  const Activation* a = find_activation(name);
  if (a == nullptr) return false;
  ops.append_eltwise(a->algorithm, a->alpha(node), a->beta(node));
  return true;
}

WhyNot activation_refusal(const Node& node) {
  const std::string name = node.attr_string("activation", "");
  if (name.empty() || name == "Gelu" || find_activation(name) != nullptr) return std::nullopt;
  return fmt::format("oneDNN has no activation {}", name);
}

Status check_reach(const Node& node, const WindowGeometry& window) {
  for (size_t axis = 0; axis < window.axes(); ++axis) {
    bool reached = false;
    for (int64_t r = 0; r < window.kernel[axis] && !reached; ++r) {
      const WindowGeometry::Range outputs = window.valid_outputs(axis, r);
      reached = outputs.begin < outputs.end;
    }
    if (!reached) return Error{.code = Code::unsupported, .node = node.name, .what = "all windows lie in the padding"};
  }
  return {};
}

WhyNot wrong_on_amx(const TensorDesc& x, const ConvShape& conv) {
  const CpuFeatures& cpu = cpu_features();
  const bool bytes = x.dtype == DType::i8 || x.dtype == DType::u8;
  const bool amx = bytes ? cpu.amx_int8 : cpu.amx_bf16;
  if (!amx || x.dtype == DType::f32 || x.layout != Layout::channels_last || conv.groups != 1) return std::nullopt;
  const WindowGeometry& g = conv.window;
  const size_t line = g.axes() - 1;
  // It takes neighbouring columns that windows step over together for channels of one.
  const int64_t step = bytes ? 64 : 32;  // channels that are multiplied at a time
  const int64_t together = std::gcd(std::gcd(g.kernel[line], g.strides[line]), g.in[line]);
  if (g.pads_begin[line] == 0 && conv.c % step != 0)
    for (int64_t n = 2; n <= together; ++n)
      if (together % n == 0 && conv.c * n % step == 0 && conv.c * n > step)
        return "columns taken together as channels come out wrong on AMX";
  // Now and then values beyond the image are not zero: those of dilated lines with a stride between them, and where
  // windows leave lines of the image out.
  if (line > 0 && g.dilations[line] > 1 && g.strides[line - 1] > 1)
    return "dilated lines with a stride between them come out wrong on AMX";
  for (size_t axis = 0; axis < line && g.kernel[line] > 1; ++axis) {
    std::set<int64_t> read;  // lines that windows read, of as many as they move by
    for (int64_t tap = 0; tap < g.kernel[axis]; ++tap) read.insert(tap * g.dilations[axis] % g.strides[axis]);
    if (static_cast<int64_t>(read.size()) < g.strides[axis])
      return "windows that leave lines out come out wrong on AMX";
  }
  return std::nullopt;
}

std::string format_name(const dnnl::memory::desc& desc) {
  const auto dims = desc.get_dims();
  for (int tag = 2; tag < static_cast<int>(dnnl_format_tag_last); ++tag) {
    dnnl_memory_desc_t candidate = nullptr;
    if (dnnl_memory_desc_create_with_tag(&candidate, static_cast<int>(dims.size()), dims.data(),
                                         dnnl::memory::convert_to_c(desc.get_data_type()),
                                         static_cast<dnnl_format_tag_t>(tag)) != dnnl_success)
      continue;
    const bool equal = dnnl_memory_desc_equal(candidate, desc.get()) != 0;
    dnnl_memory_desc_destroy(candidate);
    if (equal) return fmt::format("{}{}", kFormatPrefix, tag);
  }
  return {};
}

std::optional<dnnl::memory::desc> format_desc(const std::string& name, const dnnl::memory::dims& dims,
                                              dnnl::memory::data_type type) {
  if (!name.starts_with(kFormatPrefix)) return std::nullopt;
  int tag = 0;
  const char* end = name.data() + name.size();
  const auto [p, ec] = std::from_chars(name.data() + kFormatPrefix.size(), end, tag);
  if (ec != std::errc() || p != end || tag < 2 || tag >= static_cast<int>(dnnl_format_tag_last)) return std::nullopt;
  try {
    return dnnl::memory::desc(dims, type, static_cast<Tag>(tag));
  } catch (const dnnl::error&) {
    return std::nullopt;
  }
}

Tensor reorder(const Tensor& src, const dnnl::memory::desc& from, const dnnl::memory::desc& to) {
  Tensor out(DType::u8, {static_cast<int64_t>(to.get_size())});
  dnnl::memory in_memory(from, engine(), const_cast<void*>(src.raw()));  // read only: the API has one memory type
  dnnl::memory out_memory(to, engine(), out.raw());
  dnnl::reorder(in_memory, out_memory).execute(stream(), in_memory, out_memory);
  stream().wait();
  return out;
}

Status own_weights(PrimitiveKernel& kernel, const NodeView& view, std::span<const PackedConstant> packed, size_t index,
                   const dnnl::memory::desc& stored, const dnnl::memory::desc& wanted) {
  const Tensor* weights = packed.empty() ? view.constants[index] : &packed[0].data;
  if (weights == nullptr) return Error{.code = Code::internal, .node = view.node->name, .what = "weights are missing"};
  kernel.own(DNNL_ARG_WEIGHTS, wanted, reorder(*weights, stored, wanted));
  return {};
}

PrimitiveKernel::PrimitiveKernel(dnnl::primitive primitive, const dnnl::memory::desc& scratchpad,
                                 const std::vector<Arg>& args, std::string detail)
    : primitive_(std::move(primitive)),
      args_(args),
      workspace_bytes_(scratchpad.get_size()),
      detail_(std::move(detail)) {
  memories_.reserve(args.size() + 4);
  for (const Arg& a : args) {
    memories_.emplace_back(a.desc, engine(), nullptr);
    exec_.push_back({a.key, memories_.back().get()});
  }
  if (workspace_bytes_ != 0) {
    scratchpad_.emplace(scratchpad, engine(), nullptr);
    exec_.push_back({DNNL_ARG_SCRATCHPAD, scratchpad_->get()});
  }
}

void PrimitiveKernel::own(int key, const dnnl::memory::desc& desc, Tensor data) {
  owned_.push_back(std::move(data));
  memories_.emplace_back(desc, engine(), owned_.back().raw());
  exec_.push_back({key, memories_.back().get()});
}

Status PrimitiveKernel::run(const Bindings& b) {
  for (size_t i = 0; i < args_.size(); ++i) {
    const Arg& a = args_[i];
    void* p = host_ptr(a.output ? b.outputs[a.index] : b.inputs[a.index]);
    dnnl_memory_set_data_handle(memories_[i].get(), p);
  }
  if (scratchpad_) dnnl_memory_set_data_handle(scratchpad_->get(), host_ptr(b.workspace));
  const dnnl_status_t status =
      dnnl_primitive_execute(primitive_.get(), stream().get(), static_cast<int>(exec_.size()), exec_.data());
  if (status != dnnl_success)
    return Error{.code = Code::internal,
                 .what = fmt::format("oneDNN failed to run {} (status {})", detail_, static_cast<int>(status))};
  return {};
}

}  // namespace planish::onednn

namespace planish {

void release_cpu_kernel_makers() {
  // Making a primitive runs through most of oneDNN's 40 MiB of code, running one through code that was generated.
  // Not the address of a function, which may be that of a stub in this program; the table of versions is oneDNN's own.
  release_code_pages(dnnl_version());
}

}  // namespace planish
