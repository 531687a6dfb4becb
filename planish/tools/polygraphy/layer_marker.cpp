#include "planish/tools/polygraphy/layer_marker.h"

#include <cstdlib>

namespace planish::tools {

bool LayerMarker::step(bool success) {
  if (linear_) {
    if (success) good_ = marked_;
    return success || ++marked_ > layers_;
  }
  const int64_t before = marked_;
  (success ? good_ : bad_) = marked_;
  const int64_t sum = good_ + bad_;
  // Towards the bad end after a pass, towards the good one after a failure.
  marked_ = success ? sum / 2 : (sum + 1) / 2;
  return marked_ == before || std::abs(good_ - bad_) <= 1 || marked_ > layers_;
}

int64_t LayerMarker::remaining() const {
  if (linear_) return layers_ - marked_;
  int64_t steps = 0;
  for (int64_t span = good_ - bad_; span > 1; span = (span + 1) / 2) ++steps;
  return steps;
}

}  // namespace planish::tools
