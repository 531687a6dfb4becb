#include "planish/kernels/cpu/bf16_gemm/finish_x86_avx512.h"
#include "planish/kernels/cpu/bf16_gemm/variants.h"

namespace planish::kernels {
namespace {

/// What LDTILECFG reads. Source: Intel 64 and IA-32 Architectures Software Developer's Manual, LDTILECFG.
struct alignas(64) TileShapes {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

constexpr int64_t kTileRows = 16;
constexpr int64_t kMostStep = 32;  ///< numbers of bfloat16 in a row of a tile

/// The greatest even divisor of k that fits a row of a tile; tiles that are less than half full do not pay.
int64_t step_of(int64_t k) {
  for (int64_t step = kMostStep; step >= kMostStep / 2; step -= 2)
    if (k % step == 0) return step;
  return 0;
}

/// Sums in tiles: two by two of 16 x 16.
class TileSums {
 public:
  static constexpr int64_t kRows = 2 * kTileRows;

  explicit TileSums(int64_t k) : step_(step_of(k)) {}
  TileSums(const TileSums&) = delete;
  TileSums& operator=(const TileSums&) = delete;
  ~TileSums() {
    if (configured_ != 0) _tile_release();
  }

  void add(const Bf16Step& s) {
    if (s.rows != configured_) configure(s.rows);
    if (s.rows > kTileRows)
      sum<true>(s);
    else
      sum<false>(s);
  }

 private:
  // Tiles 0 to 3: sums, two by two. 4 and 5: rows of A. 6 and 7: columns of the panel.
  void configure(int64_t rows) {
    const auto upper = static_cast<uint8_t>(least(rows, kTileRows));
    const auto lower = static_cast<uint8_t>(rows - upper);
    TileShapes shapes;
    const auto set = [&shapes](int tile, uint8_t count, int64_t bytes) {
      shapes.rows[tile] = count;
      shapes.row_bytes[tile] = count == 0 ? 0 : static_cast<uint16_t>(bytes);
    };
    const int64_t line = 64;
    set(0, upper, line);
    set(1, upper, line);
    set(2, lower, line);
    set(3, lower, line);
    set(4, upper, 2 * step_);
    set(5, lower, 2 * step_);
    set(6, static_cast<uint8_t>(step_ / 2), line);
    set(7, static_cast<uint8_t>(step_ / 2), line);
    _tile_loadconfig(&shapes);
    configured_ = rows;
  }

  template <bool kLower>
  void sum(const Bf16Step& s) const {
    constexpr int64_t kSumsRow = kBf16Panel * static_cast<int64_t>(sizeof(float));
    constexpr int64_t kPairsRow = 2 * kBf16Panel * static_cast<int64_t>(sizeof(uint16_t));
    const int64_t a_bytes = s.a_row * static_cast<int64_t>(sizeof(uint16_t));
    float* const lower = s.sums + kTileRows * kBf16Panel;
    if (s.first) {
      _tile_zero(0);
      _tile_zero(1);
      if constexpr (kLower) {
        _tile_zero(2);
        _tile_zero(3);
      }
    } else {
      _tile_loadd(0, s.sums, kSumsRow);
      _tile_loadd(1, s.sums + 16, kSumsRow);
      if constexpr (kLower) {
        _tile_loadd(2, lower, kSumsRow);
        _tile_loadd(3, lower + 16, kSumsRow);
      }
    }
    const uint16_t* a = s.a;
    const uint16_t* b = s.b;
    // Lines are fetched in proportion to the depth that is done.
    const int64_t lines = s.ahead == nullptr ? 0 : (s.ahead_lines * step_ + s.depth - 1) / s.depth;
    const uint16_t* ahead = s.ahead;
    for (int64_t k = 0; k < s.depth; k += step_, a += step_, b += step_ * kBf16Panel) {
      _tile_loadd(6, b, kPairsRow);
      _tile_loadd(4, a, a_bytes);
      _tile_dpbf16ps(0, 4, 6);
      _tile_loadd(7, b + kBf16Panel, kPairsRow);
      _tile_dpbf16ps(1, 4, 7);
      for (int64_t i = 0; i < lines; ++i, ahead += kBf16Panel)
        _mm_prefetch(reinterpret_cast<const char*>(ahead), _MM_HINT_T1);
      if constexpr (kLower) {
        _tile_loadd(5, a + kTileRows * s.a_row, a_bytes);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      }
    }
    _tile_stored(0, s.sums, kSumsRow);
    _tile_stored(1, s.sums + 16, kSumsRow);
    if constexpr (kLower) {
      _tile_stored(2, lower, kSumsRow);
      _tile_stored(3, lower + 16, kSumsRow);
    }
  }

  int64_t step_;
  int64_t configured_ = 0;
};

}  // namespace

constinit const Bf16GemmKernel kBf16GemmAmx{.name = "gemm_bf16_amx",
                                            .isa = Isa::amx,
                                            .rows = TileSums::kRows,
                                            .depth_step = step_of,
                                            .run = run_bf16_gemm<TileSums, finish_bf16_panel>};

}  // namespace planish::kernels
