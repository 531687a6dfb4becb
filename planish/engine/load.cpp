#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "engine_generated.h"
#include "planish/base/atomic_file.h"
#include "planish/engine/engine.h"
#include "planish/engine/file_header.h"

namespace planish {
namespace {

/// Bodies nested deeper than this are no network that anybody exported.
constexpr int kMaxGraphDepth = 16;
constexpr size_t kMaxRank = 64;

struct Mapping {
  void* base = nullptr;
  size_t size = 0;
  Mapping() = default;
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() {
    if (base != nullptr) ::munmap(base, size);
  }
};

std::string text(const flatbuffers::String* s) { return s == nullptr ? std::string() : s->str(); }

/// Copied as bytes: in a hostile file the elements need not be aligned.
template <typename T>
std::vector<T> numbers(const flatbuffers::Vector<T>* v) {
  if (v == nullptr || v->size() == 0) return {};
  std::vector<T> out(v->size());
  std::memcpy(out.data(), v->Data(), out.size() * sizeof(T));
  return out;
}

std::vector<std::string> texts(const flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>>* v) {
  std::vector<std::string> out;
  if (v != nullptr)
    for (const auto* s : *v) out.push_back(text(s));
  return out;
}

class Reader {
 public:
  Reader(std::string name, std::span<const uint8_t> weights, std::shared_ptr<const void> storage)
      : name_(std::move(name)), weights_(weights), storage_(std::move(storage)) {}

  [[nodiscard]] Error corrupt(std::string what) const {
    return Error{.code = Code::corrupt,
                 .file = name_,
                 .what = "the engine file is damaged: " + what,
                 .fix = "build it again from the ONNX model"};
  }

  Result<Tensor> tensor(const fb::TensorData& t) const {
    const auto dtype = static_cast<DType>(t.dtype());
    Shape shape = PLANISH_TRY(checked_shape(numbers(t.dims())));
    if (dtype_bits(dtype) == 0 || !is_static(shape)) return corrupt("a tensor has no type or size");
    const int64_t count = element_count(shape);
    constexpr int64_t kMaxCount = int64_t{1} << 48;
    if (count > kMaxCount) return corrupt("a tensor is too large");
    if (!t.has_data()) return Tensor::share(dtype, std::move(shape), nullptr, nullptr);
    if (t.size() != dtype_bytes(dtype, count)) return corrupt("a tensor has another size than its shape says");
    if (t.offset() % kWeightAlignment != 0 || t.offset() > weights_.size() || t.size() > weights_.size() - t.offset())
      return corrupt("a tensor lies outside of the weights");
    return Tensor::share(dtype, std::move(shape), storage_, weights_.data() + t.offset());
  }

  Result<Graph> graph(const fb::GraphData& g, int depth = 0) const {
    if (depth > kMaxGraphDepth) return corrupt("graphs are nested too deeply");
    Graph out;
    out.name = text(g.name());
    out.opset = g.opset();
    if (g.values() != nullptr)
      for (const auto* v : *g.values()) out.values.push_back(PLANISH_TRY(value(*v)));
    if (g.nodes() != nullptr)
      for (const auto* n : *g.nodes()) out.nodes.push_back(PLANISH_TRY(node(*n, depth)));
    out.inputs = numbers(g.inputs());
    out.outputs = numbers(g.outputs());
    const auto captures = numbers(g.captures());
    if (captures.size() % 2 != 0) return corrupt("captures are no pairs");
    for (size_t i = 0; i < captures.size(); i += 2) out.captures.emplace_back(captures[i], captures[i + 1]);
    return out;
  }

  Result<LayerPlan> layer(const fb::LayerData& l, bool stripped) const {
    LayerPlan out;
    out.tactic = text(l.tactic());
    out.detail = text(l.detail());
    out.time_ms = l.time_ms();
    out.precision = text(l.precision());
    out.note = text(l.note());
    if (l.packed() != nullptr)
      for (const auto* p : *l.packed()) {
        if (p->data() == nullptr) return corrupt("a packed weight has no data");
        Tensor data = PLANISH_TRY(tensor(*p->data()));
        if (data.raw() == nullptr && !stripped) return corrupt("a packed weight has no data");
        out.packed.push_back({p->input(), text(p->format()), std::move(data)});
      }
    if (l.candidates() != nullptr)
      for (const auto* c : *l.candidates()) out.candidates.push_back({text(c->tactic()), c->time_ms()});
    return out;
  }

  Result<Profile> profile(const fb::ProfileData& p, const Graph& graph) const {
    Profile out;
    if (p.inputs() != nullptr)
      for (const auto* r : *p.inputs()) {
        ShapeRange& range = out.inputs.emplace_back();
        range.min = PLANISH_TRY(checked_shape(numbers(r->min())));
        range.opt = PLANISH_TRY(checked_shape(numbers(r->opt())));
        range.max = PLANISH_TRY(checked_shape(numbers(r->max())));
      }
    if (out.inputs.size() != graph.inputs.size()) return corrupt("a profile does not fit the inputs");
    for (size_t i = 0; i < out.inputs.size(); ++i) {
      const ShapeRange& r = out.inputs[i];
      const auto& declared = graph.value(graph.inputs[i]).shape;
      if (!declared || r.min.size() != declared->size() || r.opt.size() != declared->size() ||
          r.max.size() != declared->size())
        return corrupt("a profile has another rank than its input");
      for (size_t d = 0; d < r.min.size(); ++d)
        if (r.min[d] < 0 || r.min[d] > r.opt[d] || r.opt[d] > r.max[d])
          return corrupt("a profile's shapes are out of order");
    }
    return out;
  }

 private:
  Result<Shape> checked_shape(Shape shape) const {
    if (shape.size() > kMaxRank) return corrupt("a tensor has too many dimensions");
    for (const int64_t d : shape)
      if (d < kUnknownDim) return corrupt("a dimension is negative");
    return shape;
  }

  Result<Value> value(const fb::ValueData& v) const {
    Value out;
    out.name = text(v.name());
    out.dtype = static_cast<DType>(v.dtype());
    if (v.has_shape()) out.shape = PLANISH_TRY(checked_shape(numbers(v.dims())));
    out.dim_names = texts(v.dim_names());
    if (v.layout() > static_cast<uint8_t>(Layout::blocked16)) return corrupt("a tensor has an unknown layout");
    out.layout = static_cast<Layout>(v.layout());
    if (v.constant() != nullptr) {
      out.constant = PLANISH_TRY(tensor(*v.constant()));
      if (out.constant->dtype() != out.dtype) return corrupt("a constant has another type than its value");
    }
    return out;
  }

  Result<Node> node(const fb::NodeData& n, int depth) const {
    Node out;
    out.op = text(n.op());
    out.domain = text(n.domain());
    out.name = text(n.name());
    out.inputs = numbers(n.inputs());
    out.outputs = numbers(n.outputs());
    out.origins = texts(n.origins());
    if (n.attrs() != nullptr)
      for (const auto* a : *n.attrs()) {
        Attr attr = PLANISH_TRY(attribute(*a, depth));
        out.attrs.insert_or_assign(text(a->key()), std::move(attr));
      }
    return out;
  }

  Result<Attr> attribute(const fb::AttrData& a, int depth) const {
    switch (a.kind()) {
      case 0: return Attr(a.i());
      case 1: return Attr(a.f());
      case 2: return Attr(text(a.s()));
      case 3: return Attr(numbers(a.ints()));
      case 4: return Attr(numbers(a.floats()));
      case 5: return Attr(texts(a.strings()));
      case 6: {
        if (a.tensor() == nullptr) return corrupt("an attribute has no tensor");
        Tensor t = PLANISH_TRY(tensor(*a.tensor()));
        if (t.raw() == nullptr && t.size() != 0) return corrupt("an attribute has no data");
        return Attr(std::move(t));
      }
      case 7: {
        if (a.graph() == nullptr) return corrupt("an attribute has no graph");
        return Attr(std::make_shared<const Graph>(PLANISH_TRY(graph(*a.graph(), depth + 1))));
      }
      default: return corrupt("an attribute has an unknown kind");
    }
  }

  std::string name_;
  std::span<const uint8_t> weights_;
  std::shared_ptr<const void> storage_;
};

Result<FileHeader> read_header(std::span<const uint8_t> bytes, const std::string& name) {
  const auto starts = [&bytes](std::string_view s) {
    return bytes.size() >= s.size() && std::memcmp(bytes.data(), s.data(), s.size()) == 0;
  };
  if (starts("ftrt") || starts("trtf"))
    return Error{.code = Code::version,
                 .file = name,
                 .what = "this is a NVIDIA TensorRT engine, which only TensorRT on its own GPU can run",
                 .fix = "build a planish engine from the ONNX model: trtexec --onnx=MODEL.onnx --saveEngine=FILE"};
  if (!is_engine_file(bytes))
    return Error{.code = Code::corrupt,
                 .file = name,
                 .what = bytes.empty() ? "the file is empty" : "this is no planish engine",
                 .fix = "name a file that planish build or trtexec --saveEngine wrote"};
  if (bytes.size() < sizeof(FileHeader))
    return Error{.code = Code::corrupt,
                 .file = name,
                 .what = "the engine file is truncated within its header",
                 .fix = "copy it again, or build it again"};
  FileHeader h;
  std::memcpy(&h, bytes.data(), sizeof(h));
  if (h.format > kEngineFormat)
    return Error{.code = Code::version,
                 .file = name,
                 .what = fmt::format("the engine has format {}, this planish reads up to {}", h.format, kEngineFormat),
                 .fix = "install a newer planish, or build the engine again with this one"};
  if (checksum64(bytes.first(offsetof(FileHeader, header_checksum))) != h.header_checksum ||
      h.header_bytes != sizeof(FileHeader))
    return Error{.code = Code::corrupt,
                 .file = name,
                 .what = "the engine file is damaged: its header does not check out",
                 .fix = "copy it again, or build it again"};
  const uint64_t size = bytes.size();
  const bool inside = h.meta_bytes <= size - sizeof(FileHeader) && h.weights_offset <= size &&
                      h.weights_bytes <= size - h.weights_offset &&
                      h.weights_offset >= sizeof(FileHeader) + h.meta_bytes && h.weights_offset % kWeightAlignment == 0;
  if (!inside)
    return Error{.code = Code::corrupt,
                 .file = name,
                 .what = fmt::format("the engine file is truncated: {} bytes, its header speaks of {}", size,
                                     h.weights_offset + h.weights_bytes),
                 .fix = "copy it again, or build it again"};
  return h;
}

/// checksum64 of mapped weights, of which no more than a piece is resident at a time: a run brings back what it reads,
/// which of an embedding table are a few rows, and what making kernels needs is gone by then.
uint64_t checksum_passing_through(std::span<const uint8_t> mapped) {
  constexpr size_t kPieceBytes = size_t{4} << 20;
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  Checksum64 sum;
  while (!mapped.empty()) {
    // Pieces end where pages do.
    const size_t into_page = reinterpret_cast<uintptr_t>(mapped.data()) % page;
    const auto piece = mapped.first(std::min(mapped.size(), kPieceBytes - into_page));
    auto* pages = const_cast<uint8_t*>(piece.data() - into_page);
#ifdef MADV_POPULATE_READ
    // One call for all pages instead of a fault for every sixteen; where the kernel does not know it, they fault.
    ::madvise(pages, piece.size() + into_page, MADV_POPULATE_READ);
#endif
    sum.update(piece);
    ::madvise(pages, piece.size() + into_page, MADV_DONTNEED);
    mapped = mapped.subspan(piece.size());
  }
  return sum.value();
}

/// `storage` keeps `bytes` alive where they are a mapped file.
Result<Engine> parse(std::span<const uint8_t> bytes, const std::string& name, std::shared_ptr<const void> storage) {
  const FileHeader h = PLANISH_TRY(read_header(bytes, name));
  const auto meta = bytes.subspan(sizeof(FileHeader), h.meta_bytes);
  const auto weights = bytes.subspan(h.weights_offset, h.weights_bytes);
  const Reader reader(name, weights, storage);
  if (checksum64(meta) != h.meta_checksum) return reader.corrupt("the metadata does not check out");
  if ((storage != nullptr ? checksum_passing_through(weights) : checksum64(weights)) != h.weights_checksum)
    return reader.corrupt("the weights do not check out");
  // The checksums leave the gap between the sections out; a sound file has zeros there.
  const auto gap =
      bytes.subspan(sizeof(FileHeader) + h.meta_bytes, h.weights_offset - sizeof(FileHeader) - h.meta_bytes);
  if (std::ranges::any_of(gap, [](uint8_t b) { return b != 0; }))
    return reader.corrupt("there is something between the metadata and the weights");
  flatbuffers::Verifier verifier(meta.data(), meta.size(), /*max_depth=*/256, /*max_tables=*/20'000'000);
  if (!verifier.VerifyBuffer<fb::EngineData>(nullptr)) return reader.corrupt("the metadata is malformed");
  const fb::EngineData& data = *flatbuffers::GetRoot<fb::EngineData>(meta.data());
  if (data.graph() == nullptr) return reader.corrupt("it holds no network");

  Engine engine;
  engine.graph = PLANISH_TRY(reader.graph(*data.graph()));
  if (Status status = verify(engine.graph); !status.ok()) return reader.corrupt(status.error().what);
  if (data.layers() != nullptr)
    for (const auto* l : *data.layers())
      engine.layers.push_back(PLANISH_TRY(reader.layer(*l, data.weights_stripped())));
  if (engine.layers.size() != engine.graph.nodes.size()) return reader.corrupt("layers and nodes differ in number");
  if (data.profiles() != nullptr)
    for (const auto* p : *data.profiles()) engine.profiles.push_back(PLANISH_TRY(reader.profile(*p, engine.graph)));
  if (engine.profiles.empty()) return reader.corrupt("it has no optimisation profile");
  EngineInfo& i = engine.info;
  i.name = text(data.name());
  i.producer = text(data.producer());
  i.source = text(data.source());
  i.source_hash = data.source_hash();
  i.device = text(data.device());
  i.device_fingerprint = text(data.device_fingerprint());
  i.threads = std::clamp(data.threads(), 0, 4096);
  i.precision = text(data.precision());
  i.calibration = text(data.calibration());
  i.build_options = text(data.build_options());
  i.profiling_verbosity = text(data.profiling_verbosity());
  i.build_seconds = data.build_seconds();
  i.refittable = data.refittable();
  i.weights_stripped = data.weights_stripped();
  i.debug_tensors = texts(data.debug_tensors());
  i.opset = data.opset();
  engine.storage = std::move(storage);
  return engine;
}

}  // namespace

bool is_engine_file(std::span<const uint8_t> first_bytes) {
  return first_bytes.size() >= kEngineMagic.size() &&
         std::memcmp(first_bytes.data(), kEngineMagic.data(), kEngineMagic.size()) == 0;
}

Result<Engine> load_engine(std::span<const uint8_t> bytes, const std::string& name) {
  return parse(bytes, name, nullptr);
}

Result<Engine> load_engine(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const auto failed = [&path](int code, std::string_view doing) {
    return Error{.code = code == ENOENT ? Code::not_found : Code::io,
                 .file = path.string(),
                 .what = fmt::format("{} the engine: {}", doing, std::strerror(code)),
                 .fix = "check the path and its permissions"};
  };
  if (fd < 0) return failed(errno, "cannot open");
  struct stat info {};
  auto mapping = std::make_shared<Mapping>();
  int code = ::fstat(fd, &info) != 0 ? errno : 0;
  if (code == 0 && S_ISDIR(info.st_mode)) code = EISDIR;
  if (code == 0 && info.st_size > 0) {
    mapping->size = static_cast<size_t>(info.st_size);
    void* p = ::mmap(nullptr, mapping->size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
      code = errno;
    else
      mapping->base = p;
  }
  ::close(fd);
  if (code != 0) return failed(code, "cannot map");
  const std::span<const uint8_t> bytes(static_cast<const uint8_t*>(mapping->base), mapping->size);
  return parse(bytes, path.string(), mapping);
}

}  // namespace planish
