#include <fmt/format.h>

#include <cstring>

#include "engine_generated.h"
#include "planish/base/atomic_file.h"
#include "planish/engine/engine.h"
#include "planish/engine/file_header.h"

namespace planish {
namespace {

using flatbuffers::FlatBufferBuilder;
template <typename T>
using Off = flatbuffers::Offset<T>;

/// Collects weights in the order in which they are written; equal memory is written once.
class Writer {
 public:
  Off<fb::TensorData> tensor(const Tensor& t) {
    const bool has_data = t.raw() != nullptr;
    uint64_t offset = 0;
    const uint64_t size = has_data ? t.bytes() : 0;
    if (has_data) offset = blob(t.raw(), size);
    return fb::CreateTensorData(builder, static_cast<uint8_t>(t.dtype()), builder.CreateVector(t.shape()), has_data,
                                offset, size);
  }

  Off<fb::GraphData> graph(const Graph& g) {
    std::vector<Off<fb::ValueData>> values;
    for (const Value& v : g.values) {
      Off<fb::TensorData> constant = 0;
      if (v.constant) constant = tensor(*v.constant);
      values.push_back(fb::CreateValueData(builder, string(v.name), static_cast<uint8_t>(v.dtype), v.shape.has_value(),
                                           v.shape ? builder.CreateVector(*v.shape) : 0, strings(v.dim_names),
                                           static_cast<uint8_t>(v.layout), constant));
    }
    std::vector<Off<fb::NodeData>> nodes;
    for (const Node& n : g.nodes) nodes.push_back(node(n));
    std::vector<int32_t> captures;
    for (const auto& [input, value] : g.captures) captures.insert(captures.end(), {input, value});
    return fb::CreateGraphData(builder, string(g.name), builder.CreateVector(values), builder.CreateVector(nodes),
                               builder.CreateVector(g.inputs), builder.CreateVector(g.outputs),
                               builder.CreateVector(captures), g.opset);
  }

  Off<fb::LayerData> layer(const LayerPlan& l) {
    std::vector<Off<fb::PackedData>> packed;
    for (const PackedConstant& p : l.packed)
      packed.push_back(fb::CreatePackedData(builder, p.input, string(p.format), tensor(p.data)));
    std::vector<Off<fb::CandidateData>> candidates;
    for (const Candidate& c : l.candidates)
      candidates.push_back(fb::CreateCandidateData(builder, string(c.tactic), c.time_ms));
    return fb::CreateLayerData(builder, string(l.tactic), builder.CreateVector(packed), string(l.detail), l.time_ms,
                               builder.CreateVector(candidates), string(l.precision), string(l.note));
  }

  Off<fb::ProfileData> profile(const Profile& p) {
    std::vector<Off<fb::RangeData>> ranges;
    for (const ShapeRange& r : p.inputs)
      ranges.push_back(fb::CreateRangeData(builder, builder.CreateVector(r.min), builder.CreateVector(r.opt),
                                           builder.CreateVector(r.max)));
    return fb::CreateProfileData(builder, builder.CreateVector(ranges));
  }

  Off<flatbuffers::String> string(const std::string& s) { return builder.CreateSharedString(s); }
  [[nodiscard]] const std::vector<std::span<const uint8_t>>& pieces() const { return pieces_; }
  [[nodiscard]] uint64_t weights_bytes() const { return end_; }

  FlatBufferBuilder builder{1 << 20};

 private:
  Off<flatbuffers::Vector<Off<flatbuffers::String>>> strings(const std::vector<std::string>& v) {
    return builder.CreateVectorOfStrings(v);
  }

  Off<fb::NodeData> node(const Node& n) {
    std::vector<Off<fb::AttrData>> attrs;
    for (const auto& [key, attr] : n.attrs) attrs.push_back(attribute(key, attr));
    return fb::CreateNodeData(builder, string(n.op), string(n.domain), string(n.name), builder.CreateVector(n.inputs),
                              builder.CreateVector(n.outputs), builder.CreateVector(attrs), strings(n.origins));
  }

  Off<fb::AttrData> attribute(const std::string& key, const Attr& attr) {
    const Off<flatbuffers::String> name = string(key);
    const auto kind = static_cast<uint8_t>(attr.index());
    return std::visit(
        [&](const auto& v) {
          using T = std::decay_t<decltype(v)>;
          if constexpr (std::is_same_v<T, int64_t>)
            return fb::CreateAttrData(builder, name, kind, v);
          else if constexpr (std::is_same_v<T, float>)
            return fb::CreateAttrData(builder, name, kind, 0, v);
          else if constexpr (std::is_same_v<T, std::string>)
            return fb::CreateAttrData(builder, name, kind, 0, 0, string(v));
          else if constexpr (std::is_same_v<T, std::vector<int64_t>>)
            return fb::CreateAttrData(builder, name, kind, 0, 0, 0, builder.CreateVector(v));
          else if constexpr (std::is_same_v<T, std::vector<float>>)
            return fb::CreateAttrData(builder, name, kind, 0, 0, 0, 0, builder.CreateVector(v));
          else if constexpr (std::is_same_v<T, std::vector<std::string>>)
            return fb::CreateAttrData(builder, name, kind, 0, 0, 0, 0, 0, strings(v));
          else if constexpr (std::is_same_v<T, Tensor>)
            return fb::CreateAttrData(builder, name, kind, 0, 0, 0, 0, 0, 0, tensor(v));
          else
            return fb::CreateAttrData(builder, name, kind, 0, 0, 0, 0, 0, 0, 0, graph(*v));
        },
        attr);
  }

  uint64_t blob(const void* data, uint64_t size) {
    static constexpr std::array<uint8_t, kWeightAlignment> kZeros{};
    const auto [it, fresh] = placed_.try_emplace({data, size}, end_);
    if (!fresh || size == 0) return it->second;
    pieces_.emplace_back(static_cast<const uint8_t*>(data), size);
    const uint64_t padding = (kWeightAlignment - size % kWeightAlignment) % kWeightAlignment;
    if (padding != 0) pieces_.emplace_back(kZeros.data(), padding);
    end_ += size + padding;
    return it->second;
  }

  std::map<std::pair<const void*, uint64_t>, uint64_t> placed_;
  std::vector<std::span<const uint8_t>> pieces_;
  uint64_t end_ = 0;
};

}  // namespace

Result<uint64_t> save_engine(const Engine& engine, const std::filesystem::path& path) {
  Writer w;
  std::vector<Off<fb::LayerData>> layers;
  for (const LayerPlan& l : engine.layers) layers.push_back(w.layer(l));
  std::vector<Off<fb::ProfileData>> profiles;
  for (const Profile& p : engine.profiles) profiles.push_back(w.profile(p));
  const auto graph = w.graph(engine.graph);
  const EngineInfo& i = engine.info;
  const auto root = fb::CreateEngineData(
      w.builder, graph, w.builder.CreateVector(layers), w.builder.CreateVector(profiles), w.string(i.name),
      w.string(i.producer), w.string(i.source), i.source_hash, w.string(i.device), w.string(i.device_fingerprint),
      i.threads, w.string(i.precision), w.string(i.calibration), w.string(i.build_options),
      w.string(i.profiling_verbosity), i.build_seconds, i.refittable, i.opset, i.weights_stripped,
      w.builder.CreateVectorOfStrings(i.debug_tensors));
  w.builder.Finish(root);

  const std::span<const uint8_t> meta(w.builder.GetBufferPointer(), w.builder.GetSize());
  const uint64_t padding = (kWeightAlignment - meta.size() % kWeightAlignment) % kWeightAlignment;
  FileHeader header{};
  header.magic = kEngineMagic;
  header.format = kEngineFormat;
  header.header_bytes = sizeof(FileHeader);
  header.meta_bytes = meta.size();
  header.weights_offset = sizeof(FileHeader) + meta.size() + padding;
  header.weights_bytes = w.weights_bytes();
  header.meta_checksum = checksum64(meta);
  Checksum64 sum;
  for (const auto& piece : w.pieces()) sum.update(piece);
  header.weights_checksum = sum.value();
  const std::span<const uint8_t> header_bytes(reinterpret_cast<const uint8_t*>(&header), sizeof(header));
  header.header_checksum = checksum64(header_bytes.first(offsetof(FileHeader, header_checksum)));

  const std::array<uint8_t, kWeightAlignment> zeros{};
  std::vector<std::span<const uint8_t>> pieces{header_bytes, meta, std::span(zeros).first(padding)};
  pieces.insert(pieces.end(), w.pieces().begin(), w.pieces().end());
  PLANISH_TRY(write_file_atomically(path, pieces));
  return header.weights_offset + header.weights_bytes;
}

}  // namespace planish
