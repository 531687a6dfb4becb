#pragma once

#include <string>
#include <vector>

#include "planish/builder/builder.h"

namespace planish {

/// One constant of a layer that a refit replaces.
struct RefittableWeight {
  std::string layer;
  std::string role;  ///< "kernel", "bias", "constant"
  DType dtype = DType::undefined;
  Shape shape;
};

/// The weights of an engine, in layer order. Small integers that shapes depend on are part of the network, not weights.
std::vector<RefittableWeight> refittable_weights(const Engine& engine);

/// Takes the weights out of an engine: what remains says how every layer runs. It must be refitted before it can run.
void strip_weights(Engine& engine);

/// The engine with the weights of `model`, which must be the same network: it goes through the same passes, and layers
/// are matched by the names of the tensors they make. Tactics and layouts stay; nothing is timed. Of `options` only the
/// passes and `warn` count. Errors: not_found or invalid_argument naming the first layer that differs; unsupported when
/// a tactic of the engine does not exist here.
Result<Engine> refit_engine(const Engine& engine, Graph model, const BuildOptions& options, Device& device,
                            const TacticTable& table);

}  // namespace planish
