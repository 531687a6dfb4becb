#pragma once

// Which layers of an INT8 network are better left in float: from the tuned times of its layers in both forms.

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "planish/api/engine.h"
#include "planish/api/layer_join.h"
#include "planish/base/status.h"

namespace planish::api {

/// Layers that have to be in one precision together.
struct MixGroup {
  std::vector<std::string> products;  ///< INT8 nodes in it, by ONNX name
  double float_ms = 0;
  double int8_ms = 0;
  bool always_float = false;  ///< works on floats in the INT8 network too
};

/// A tensor between two groups; changing its type takes `convert_ms`.
struct MixEdge {
  size_t from = 0;
  size_t to = 0;
  double convert_ms = 0;
};

/// A network as far as the choice is concerned.
struct MixProblem {
  std::vector<MixGroup> groups;
  std::vector<MixEdge> edges;
};

/// `products`: the ONNX nodes that the INT8 form has quantised and may leave in float.
MixProblem mix_problem(const LayerProfile& in_float, const LayerProfile& in_int8,
                       const std::vector<std::string>& products);

/// The assignment with the least time, conversions counted `conversions` times: true for groups in float. A minimum
/// cut between the groups in INT8 and those in float.
std::vector<bool> float_groups(const MixProblem& problem, double conversions);

/// What a search for the best mix has done to it: builds and runs.
class MixBench {
 public:
  virtual ~MixBench() = default;
  /// Builds the INT8 form with these nodes in float; forms count from 1 in the order of building, 0 is all in INT8.
  virtual Result<LayerProfile> build(const std::vector<std::string>& in_float) = 0;
  /// Times of whole runs of form 0 and of another one in ms, taken in turns.
  virtual Result<std::pair<std::vector<double>, std::vector<double>>> race(size_t form) = 0;
};

struct MixChoice {
  size_t form = 0;  ///< of the bench
  FloatFallback report;
};

/// Looks for a mix that is faster than all in INT8: builds at most three that promise to be, and takes the best of them
/// where whole runs confirm it with a clear margin.
Result<MixChoice> choose_mix(const LayerProfile& in_float, const LayerProfile& in_int8,
                             const std::vector<std::string>& products, MixBench& bench);

/// Whether runs that took `candidate` are clearly faster than those that took `base`: by median and lower quartile.
bool clearly_faster(std::vector<double> candidate, std::vector<double> base);

}  // namespace planish::api
