#pragma once

#include "planish/builder/builder.h"

namespace planish::api {

/// Largest relative L2 difference between an engine with 16-bit layers or weights and its FP32 form, per output. The
/// bar for users is 1e-2; other inputs than the ones tried here may differ a little more.
inline constexpr double kMaxHalfError = 8.5e-3;

/// build_engine(), and when layers are computed or weights stored in 16 bits, a check of the result: the network runs
/// once with seeded inputs in that form and in FP32. Layers whose values leave the range of FP16 go back to FP32, and
/// as long as an output differs by more than kMaxHalfError, so do more and more of those that save the least time or
/// come first, and then the weights that are only stored in 16 bits. See docs/precision.md.
Result<planish::Engine> build_checked(Graph graph, const BuildOptions& options, Device& device,
                                      const TacticTable& table, BuildReport* report = nullptr);

}  // namespace planish::api
