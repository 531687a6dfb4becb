#pragma once

#include <cstdint>

namespace planish::tools {

/// Searches the smallest number of layers that must be marked for a check to pass: by halving, which takes passing as
/// monotone, or one more at a time from none.
class LayerMarker {
 public:
  LayerMarker(int64_t layers, bool linear)
      : layers_(layers), linear_(linear), marked_(linear ? 0 : layers), good_(layers + 1) {}

  /// How many layers the next check has marked.
  [[nodiscard]] int64_t marked() const { return marked_; }
  /// Takes the outcome of a check with marked() layers; true when the search is over.
  bool step(bool success);
  /// After the end: whether some number passed, and which is the smallest known to.
  [[nodiscard]] bool found() const { return good_ <= layers_; }
  [[nodiscard]] int64_t good() const { return good_; }
  /// About how many checks are left.
  [[nodiscard]] int64_t remaining() const;

 private:
  int64_t layers_;
  bool linear_;
  int64_t marked_;
  int64_t good_;
  int64_t bad_ = 0;
};

}  // namespace planish::tools
