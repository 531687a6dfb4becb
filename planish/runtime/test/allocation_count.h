#pragma once

#include <cstdint>

namespace planish::test {

/// Allocations of this program by operator new so far.
int64_t allocation_count();

}  // namespace planish::test
