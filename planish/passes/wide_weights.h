#pragma once

#include "planish/passes/edit.h"

namespace planish {

/// Makes a QuantizedConv or QuantizedMatMul under construction, whose weights are `node.in(1)`, compute with the
/// weights plus `rest` (i16, of the same shape): integers of nine bits as sums of some of eight. The results stay
/// exact.
/// - Products of one group read the few input channels that `rest` needs a second time, behind the others: a 1x1
///   product chooses them.
/// - Convolutions in groups get another convolution as their residual.
/// New nodes are put before `anchor`. False, and nothing changed: too many channels to gain from, or the residual is
/// taken.
bool add_rest_of_weights(Edit& edit, int32_t anchor, Node& node, const Tensor& rest);

}  // namespace planish
