#pragma once

#include <cstddef>
#include <memory>

namespace planish {

/// Memory that is read from end to end again and again (weights, activations) spends much of its time on address
/// translation; pages of 2 MiB take that away, where the system has them to give.
inline constexpr size_t kHugePageBytes = size_t{2} << 20;

/// `bytes` of uninitialised memory aligned to at least `alignment`, a power of two, on as many huge pages as it fills,
/// the last at least to the half. Freed with std::free. nullptr: out of memory.
void* allocate_pages(size_t bytes, size_t alignment);

}  // namespace planish
