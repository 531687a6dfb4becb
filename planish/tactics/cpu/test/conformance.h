#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "planish/tactics/tactic.h"

namespace planish::test {

/// One node in the notation of ir/text.h (the graph has exactly one), run by every tactic that accepts it in every
/// combination of layouts and compared with the reference operator.
struct ConformanceCase {
  const char* label;
  const char* graph;
  const char* must;         ///< id of a tactic that has to accept the node in some layout
  double tolerance = 5e-5;  ///< of |got - expected| / (1 + |expected|)
  double low = -1;          ///< range of the random inputs
  double high = 1;
  double steps = 0;  ///< of whole numbers that results may differ by besides
  int threads = 2;
};

/// Element `index` (row-major) of a tensor lies at this element of its memory.
int64_t physical_index(const TensorDesc& desc, int64_t index);

/// The tensor's elements as they lie in `desc.layout`; padding is zero.
Tensor to_layout(const Tensor& tensor, const TensorDesc& desc);

/// Runs the case with GoogleTest expectations. Refusals are printed.
void check_conformance(const ConformanceCase& c);

/// How many runs so far wrote their output over an operand.
int overwriting_runs();

}  // namespace planish::test
