// Operators that only move elements: Transpose, Concat, Split, Slice, Expand, in every layout that allows it.

#include <algorithm>
#include <array>
#include <cstring>

#include <fmt/format.h>

#include "planish/base/parallel.h"
#include "planish/tactics/cpu/loop_nest.h"
#include "planish/tactics/cpu/own_tactics.h"

namespace planish {
namespace {

/// One strided copy; offsets and strides in elements.
struct Move {
  size_t input = 0;
  size_t output = 0;
  int64_t from_offset = 0;
  int64_t to_offset = 0;
  std::vector<int64_t> dims;
  std::vector<int64_t> from;
  std::vector<int64_t> to;
};

constexpr int64_t kTransposeTile = 16;

/// Copies a [rows, cols] matrix of elements whose fast dimension differs on both sides, tile by tile, so that both
/// sides are walked in whole cache lines.
template <typename T>
void copy_2d(const T* src, T* dst, int64_t rows, int64_t cols, int64_t src_row, int64_t src_col, int64_t dst_row,
             int64_t dst_col) {
  for (int64_t r0 = 0; r0 < rows; r0 += kTransposeTile)
    for (int64_t c0 = 0; c0 < cols; c0 += kTransposeTile) {
      const int64_t r1 = std::min(rows, r0 + kTransposeTile);
      const int64_t c1 = std::min(cols, c0 + kTransposeTile);
      for (int64_t r = r0; r < r1; ++r)
        for (int64_t c = c0; c < c1; ++c) dst[r * dst_row + c * dst_col] = src[r * src_row + c * src_col];
    }
}

/// Rows of kBytes: no call per row.
template <size_t kBytes>
void copy_short_rows(const std::byte* src, std::byte* dst, int64_t rows, int64_t src_row, int64_t dst_row) {
  for (int64_t r = 0; r < rows; ++r) std::memcpy(dst + r * dst_row, src + r * src_row, kBytes);
}

/// Copies rows of `bytes` contiguous bytes; pitches in bytes.
void copy_rows(const std::byte* src, std::byte* dst, int64_t rows, size_t bytes, int64_t src_row, int64_t dst_row) {
  switch (bytes) {
    case 16: return copy_short_rows<16>(src, dst, rows, src_row, dst_row);
    case 32: return copy_short_rows<32>(src, dst, rows, src_row, dst_row);
    case 64: return copy_short_rows<64>(src, dst, rows, src_row, dst_row);
    case 128: return copy_short_rows<128>(src, dst, rows, src_row, dst_row);
    default:
      for (int64_t r = 0; r < rows; ++r) std::memcpy(dst + r * dst_row, src + r * src_row, bytes);
  }
}

template <typename T>
void run_move(const Move& m, const T* src, T* dst, int64_t begin, int64_t end) {
  const size_t rank = m.dims.size();
  const int64_t cols = m.dims[rank - 1];
  const int64_t rows = rank > 1 ? m.dims[rank - 2] : 1;
  const int64_t src_row = rank > 1 ? m.from[rank - 2] : 0;
  const int64_t dst_row = rank > 1 ? m.to[rank - 2] : 0;
  const int64_t src_col = m.from[rank - 1];
  const int64_t dst_col = m.to[rank - 1];
  // Items are rows of the two innermost loops, so that few outer iterations still spread over the threads.
  for (int64_t item = begin; item < end;) {
    const int64_t row = item % rows;
    const int64_t count = std::min(rows - row, end - item);
    int64_t outer = item / rows;
    int64_t s = m.from_offset + row * src_row;
    int64_t d = m.to_offset + row * dst_row;
    for (size_t k = rank > 2 ? rank - 2 : 0; k-- > 0;) {
      s += outer % m.dims[k] * m.from[k];
      d += outer % m.dims[k] * m.to[k];
      outer /= m.dims[k];
    }
    if (src_col == 1 && dst_col == 1)
      copy_rows(reinterpret_cast<const std::byte*>(src + s), reinterpret_cast<std::byte*>(dst + d), count,
                static_cast<size_t>(cols) * sizeof(T), src_row * static_cast<int64_t>(sizeof(T)),
                dst_row * static_cast<int64_t>(sizeof(T)));
    else
      copy_2d(src + s, dst + d, count, cols, src_row, src_col, dst_row, dst_col);
    item += count;
  }
}

class MoveKernel final : public Kernel {
 public:
  MoveKernel(std::vector<Move> moves, int element_bytes) : moves_(std::move(moves)), element_bytes_(element_bytes) {}

  Status run(const Bindings& b) override {
    if (have_same_rows()) {
      run_together(b);
      return {};
    }
    for (const Move& m : moves_)
      parallel_for(rows_of(m), grain_of(m.dims.back()), [&](int64_t begin, int64_t end) { run_one(m, b, begin, end); });
    return {};
  }

 private:
  static constexpr int64_t kElementsPerThread = 16384;

  static int64_t rows_of(const Move& m) {
    int64_t rows = 1;
    for (size_t k = 0; k + 1 < m.dims.size(); ++k) rows *= m.dims[k];
    return rows;
  }
  static int64_t grain_of(int64_t row_elements) {
    return std::max<int64_t>(1, kElementsPerThread / std::max<int64_t>(row_elements, 1));
  }

  /// True for parts of pixels, as a concat of channels-last images has them.
  [[nodiscard]] bool have_same_rows() const {
    return moves_.size() > 1 &&
           std::ranges::all_of(moves_, [&](const Move& m) { return rows_of(m) == rows_of(moves_[0]); });
  }

  /// All parts of a few rows before the next rows, so that the threads start once and lines of the cache are written
  /// while they are there.
  void run_together(const Bindings& b) const {
    constexpr int64_t kRows = 64;
    int64_t row_elements = 0;
    for (const Move& m : moves_) row_elements += m.dims.back();
    parallel_for(rows_of(moves_[0]), grain_of(row_elements), [&](int64_t begin, int64_t end) {
      for (int64_t at = begin; at < end; at += kRows)
        for (const Move& m : moves_) run_one(m, b, at, std::min(end, at + kRows));
    });
  }

  void run_one(const Move& m, const Bindings& b, int64_t begin, int64_t end) const {
    const void* src = host_ptr(b.inputs[m.input]);
    void* dst = host_ptr(b.outputs[m.output]);
    switch (element_bytes_) {
      case 1: return run_move(m, static_cast<const uint8_t*>(src), static_cast<uint8_t*>(dst), begin, end);
      case 2: return run_move(m, static_cast<const uint16_t*>(src), static_cast<uint16_t*>(dst), begin, end);
      case 4: return run_move(m, static_cast<const uint32_t*>(src), static_cast<uint32_t*>(dst), begin, end);
      default: return run_move(m, static_cast<const uint64_t*>(src), static_cast<uint64_t*>(dst), begin, end);
    }
  }

  std::vector<Move> moves_;
  int element_bytes_;
};

Error refuse(const NodeView& view, std::string what) {
  return Error{.code = Code::unsupported, .node = view.node->name, .what = std::move(what)};
}

Region whole_region(int64_t rank) {
  return {std::vector<int64_t>(static_cast<size_t>(rank), 0), std::vector<int64_t>(static_cast<size_t>(rank), 1)};
}

Result<std::vector<Move>> concat_moves(const NodeView& view) {
  const TensorDesc& whole = view.outputs[0];
  const int64_t given = view.node->attr_int("axis", 0);
  const auto axis = static_cast<size_t>(given < 0 ? given + whole.rank() : given);
  Region region = whole_region(whole.rank());
  std::vector<Move> moves;
  for (size_t i = 0; i < view.inputs.size(); ++i) {
    const TensorDesc& part = view.inputs[i];
    if (part.size() != 0) {
      Move m{.input = i};
      auto nest = make_region_nest(part, whole, region, m.to_offset);
      if (!nest) return refuse(view, "the parts are no whole blocks of channels");
      m.dims = nest->dims;
      m.from = nest->strides[0];
      m.to = nest->strides[1];
      moves.push_back(std::move(m));
    }
    region.start[axis] += part.shape[axis];
  }
  return moves;
}

/// `part` of output `index`, taken from input 0 at `region`.
Result<Move> extract(const NodeView& view, size_t index, const Region& region) {
  Move m{.output = index};
  auto nest = make_region_nest(view.outputs[index], view.inputs[0], region, m.from_offset);
  if (!nest) return refuse(view, "the parts are no whole blocks of channels");
  m.dims = nest->dims;
  m.to = nest->strides[0];
  m.from = nest->strides[1];
  return m;
}

Result<std::vector<Move>> split_moves(const NodeView& view) {
  const TensorDesc& whole = view.inputs[0];
  const int64_t given = view.node->attr_int("axis", 0);
  const auto axis = static_cast<size_t>(given < 0 ? given + whole.rank() : given);
  Region region = whole_region(whole.rank());
  std::vector<Move> moves;
  for (size_t i = 0; i < view.outputs.size(); ++i) {
    if (!view.outputs[i].present()) return refuse(view, "an output is unused");
    if (view.outputs[i].size() != 0) moves.push_back(PLANISH_TRY(extract(view, i, region)));
    region.start[axis] += view.outputs[i].shape[axis];
  }
  return moves;
}

Result<std::vector<Move>> slice_moves(const NodeView& view) {
  const TensorDesc& whole = view.inputs[0];
  for (size_t i = 1; i < view.inputs.size(); ++i)
    if (view.has_input(i) && view.constants[i] == nullptr)
      return refuse(view, "needs bounds that are known before the run");
  const auto starts = view.constants[1]->to_i64();
  std::vector<int64_t> axes;
  if (view.has_input(3))
    axes = view.constants[3]->to_i64();
  else
    for (size_t i = 0; i < starts.size(); ++i) axes.push_back(static_cast<int64_t>(i));
  std::vector<int64_t> steps(starts.size(), 1);
  if (view.has_input(4)) steps = view.constants[4]->to_i64();
  if (axes.size() != starts.size() || steps.size() != starts.size()) return refuse(view, "bounds differ in length");
  Region region = whole_region(whole.rank());
  for (size_t i = 0; i < axes.size(); ++i) {
    const int64_t axis = axes[i] < 0 ? axes[i] + whole.rank() : axes[i];
    if (axis < 0 || axis >= whole.rank() || steps[i] == 0) return refuse(view, "bounds are malformed");
    const auto a = static_cast<size_t>(axis);
    const int64_t extent = whole.shape[a];
    const int64_t start = starts[i] < 0 ? starts[i] + extent : starts[i];
    region.start[a] = steps[i] > 0 ? std::clamp<int64_t>(start, 0, extent) : std::clamp<int64_t>(start, -1, extent - 1);
    region.step[a] = steps[i];
  }
  std::vector<Move> moves;
  moves.push_back(PLANISH_TRY(extract(view, 0, region)));
  return moves;
}

/// Merges neighbouring loops that are one on both sides.
void merge(Move& m) {
  for (size_t i = m.dims.size() - 1; i-- > 0;) {
    const bool one = m.dims[i + 1] == 1 || m.dims[i] == 1;
    const bool chained = m.from[i] == m.from[i + 1] * m.dims[i + 1] && m.to[i] == m.to[i + 1] * m.dims[i + 1];
    if (!one && !chained) continue;
    if (m.dims[i + 1] == 1) {
      m.from[i + 1] = m.from[i];
      m.to[i + 1] = m.to[i];
    }
    m.dims[i + 1] *= m.dims[i];
    const auto at = static_cast<std::ptrdiff_t>(i);
    m.dims.erase(m.dims.begin() + at);
    m.from.erase(m.from.begin() + at);
    m.to.erase(m.to.begin() + at);
  }
}

Result<std::vector<Move>> transpose_moves(const NodeView& view) {
  const TensorDesc& in = view.inputs[0];
  const TensorDesc& out = view.outputs[0];
  if (in.layout != Layout::row_major || out.layout != Layout::row_major)
    return refuse(view, "takes row-major tensors only");
  auto perm = view.node->attr_ints("perm");
  if (perm.empty())
    for (int64_t i = in.rank(); i-- > 0;) perm.push_back(i);
  if (static_cast<int64_t>(perm.size()) != in.rank() || perm.empty())
    return refuse(view, "needs a permutation of the dimensions");
  const auto strides = row_major_strides(in.shape);
  Move m{.dims = out.shape, .to = row_major_strides(out.shape)};
  for (const int64_t p : perm) m.from.push_back(strides[static_cast<size_t>(p)]);
  merge(m);
  // With the source's fast dimension in the second-innermost loop both sides are walked in tiles.
  const auto fast = std::ranges::find(m.from, 1);
  if (fast != m.from.end() && m.dims.size() > 2) {
    const size_t at = static_cast<size_t>(fast - m.from.begin());
    const size_t want = m.dims.size() - 2;
    if (at < want) {
      for (auto* v : {&m.dims, &m.from, &m.to})
        std::rotate(v->begin() + static_cast<std::ptrdiff_t>(at), v->begin() + static_cast<std::ptrdiff_t>(at) + 1,
                    v->begin() + static_cast<std::ptrdiff_t>(want) + 1);
    }
  }
  return std::vector<Move>{std::move(m)};
}

Result<std::vector<Move>> expand_moves(const NodeView& view) {
  const auto nest = make_loop_nest(view.outputs[0], std::array{view.inputs[0], view.outputs[0]});
  if (!nest) return refuse(view, "the input lies in a layout that does not go with the output's");
  return std::vector<Move>{Move{.dims = nest->dims, .from = nest->strides[0], .to = nest->strides[1]}};
}

Result<std::vector<Move>> moves_of(const NodeView& view) {
  const std::string& op = view.node->op;
  if (op == "Concat") return concat_moves(view);
  if (op == "Split") return split_moves(view);
  if (op == "Slice") return slice_moves(view);
  if (op == "Transpose") return transpose_moves(view);
  return expand_moves(view);
}

WhyNot supports(const NodeView& view, const Target&) {
  const int bits = dtype_bits(view.inputs[0].dtype);
  if (bits < 8 || bits > 64)
    return fmt::format("moves elements of 1 to 8 bytes, got {}", dtype_name(view.inputs[0].dtype));
  auto moves = moves_of(view);
  if (!moves.ok()) return moves.error().what;
  return std::nullopt;
}

Result<std::unique_ptr<Kernel>> prepare(const NodeView& view, std::span<const PackedConstant>, const Target&) {
  std::vector<Move> moves = PLANISH_TRY(moves_of(view));
  return std::unique_ptr<Kernel>(new MoveKernel(std::move(moves), dtype_bits(view.inputs[0].dtype) / 8));
}

constexpr std::array<std::string_view, 5> kOps{"Concat", "Split", "Slice", "Transpose", "Expand"};

}  // namespace

constinit const Tactic kCpuMove{
    .id = "cpu.move", .ops = kOps, .supports = supports, .pack = nullptr, .prepare = prepare, .unpack = nullptr};

}  // namespace planish
