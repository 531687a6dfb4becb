#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "planish/ir/graph.h"
#include "planish/tactics/tactic.h"

namespace planish {

/// One operand of a node that is a contiguous part of another tensor of the node: the parts of a Concat within its
/// output, the outputs of Split or Slice within the input, the output of a view within its input.
struct Part {
  size_t whole_is_output =
      0;                    ///< 1: parts are inputs, the whole is output 0; 0: parts are outputs, the whole is input 0
  size_t index = 0;         ///< which input (or output) the part is
  size_t offset_bytes = 0;  ///< from the start of the whole
  size_t bytes = 0;
};

/// True when the bytes of the tensor lie exactly as in row-major order (for instance NHWC with 1x1 images).
bool is_row_major_equivalent(const TensorDesc& desc);

/// The parts of a node that only moves contiguous memory (a Transpose, too, when the layouts on both sides make up for
/// it), or nullopt when it has to compute or to gather. Such a node
/// costs nothing when parts share the memory of the whole, and plain copies otherwise. View needs its own tensors
/// alone; Split and Slice need the values of their index inputs (NodeView::constants).
std::optional<std::vector<Part>> contiguous_parts(const NodeView& view);

}  // namespace planish
