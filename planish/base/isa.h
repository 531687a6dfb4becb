#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace planish {

/// Instruction sets of x86-64 that kernels are written for, weakest first. Decided by CPUID (and by what the operating
/// system saves), never at compile time.
enum class Isa : uint8_t { baseline, avx2, avxvnni, avx512, avx512vnni, avx512bf16, amx };

std::string_view isa_name(Isa isa);

/// What the processor under us can do.
struct CpuFeatures {
  std::string brand;    ///< processor brand string
  bool avx2 = false;    ///< with FMA and F16C
  bool avx512 = false;  ///< F, BW, DQ and VL
  bool avx512_vnni = false;
  bool avx_vnni = false;  ///< 256-bit VNNI without AVX-512
  bool avx512_bf16 = false;
  bool avx512_fp16 = false;
  bool amx_bf16 = false;
  bool amx_int8 = false;
  int64_t l1d_bytes = 32 << 10;
  int64_t l2_bytes = 512 << 10;
  int64_t l3_bytes = 0;
  int physical_cores = 1;  ///< cores this process may run on

  [[nodiscard]] bool has(Isa isa) const;
  /// Strongest row of Isa.
  [[nodiscard]] Isa best() const;
  /// Short text that changes when tuned engines should be tuned again: brand and feature bits.
  [[nodiscard]] std::string fingerprint() const;
};

/// Detected once. The environment variable PLANISH_MAX_ISA (a name of isa_name) lowers it, for tests of every variant
/// on one machine.
const CpuFeatures& cpu_features();
/// `threads` as options give them: 0 or less stands for all cores.
int threads_or_all(int threads);

}  // namespace planish
