#pragma once

#include "planish/builder/builder.h"

namespace planish {

/// Gives network inputs and outputs the types and layouts that `options.io_formats` asks for: the network behind them
/// stays as it is, with a Cast in between where the types differ (a DequantizeLinear or QuantizeLinear for INT8, whose
/// scale is that of the Q/DQ node next to it). Errors: a name that is no input or output; INT8 without a scale; a
/// layout that the tensor's rank does not have.
Status apply_io_formats(Graph& graph, const BuildOptions& options);

/// The formats that tell the inputs and outputs of `engine` from those of `model`, by name.
std::map<std::string, IoFormat> io_formats_of(const Graph& engine, const Graph& model);

}  // namespace planish
