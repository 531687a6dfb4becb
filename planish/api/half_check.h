#pragma once

#include "planish/builder/builder.h"

namespace planish::api {

/// Largest relative L2 difference between an engine with 16-bit layers or weights and its FP32 form, per output. The
/// bar for users is 1e-2; real inputs differ by up to 1.5 times what the ones tried here do.
inline constexpr double kMaxHalfError = 7e-3;
/// The same for networks that read indices only (tokens): what the layers see are rows of the network's own tables,
/// and other indices differ by up to 1.1 times as much.
inline constexpr double kMaxHalfErrorOfIndices = 8.5e-3;

/// build_engine(), and when layers are computed or weights stored in 16 bits, a check of the result: the network runs
/// with seeded inputs (noise, and for images even areas too) in that form and in FP32. Layers whose values leave the
/// range of FP16 go back to FP32, and as long as an output differs by more than the bounds above, so do more and more
/// of those that save the least time or come first, and then the weights that are only stored in 16 bits. See
/// docs/precision.md.
Result<planish::Engine> build_checked(Graph graph, const BuildOptions& options, Device& device,
                                      const TacticTable& table, BuildReport* report = nullptr);

}  // namespace planish::api
