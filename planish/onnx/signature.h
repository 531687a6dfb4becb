#pragma once

#include "planish/base/status.h"
#include "planish/ir/graph.h"

namespace planish {

/// Checks that a node of the default domain has the inputs it needs and no more inputs and outputs than ONNX gives the
/// newest version of its operator, so that operators need not expect anything else. Unknown operators pass.
/// Error invalid_model names the node.
Status check_signature(const Node& node);

}  // namespace planish
