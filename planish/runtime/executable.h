#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "planish/engine/engine.h"
#include "planish/tactics/half_weights.h"

namespace planish {

/// What a device's library can do for loading and planning beside its tactics; nullptr: nothing.
struct RuntimeHooks {
  /// Gives back memory that only making kernels needs. Called when an engine has been loaded and when a context has
  /// made its first kernels.
  void (*release_makers)() = nullptr;
  /// Expands weights that are stored in 16 bits; without it portable loops do.
  WidenHalf widen = nullptr;
};

/// An engine on a device, ready to make contexts: tactics looked up, weights in place. Immutable and shared by any
/// number of threads.
class Executable {
 public:
  struct Layer {
    const Tactic* tactic = nullptr;  ///< nullptr: no kernel (view), or no static choice
    std::vector<PackedConstant> packed;
    std::vector<DevicePtr> constants;  ///< by input: device address of the constant, null when not constant
    bool replaced = false;             ///< the engine's tactic does not exist here; another one was taken
  };

  /// `threads`: 0 for all cores. `table`: tactics of the device, in order of preference. Tactics that do not exist (or
  /// refuse) here are replaced by the first that accepts; `warnings` states the loss of an engine that was tuned on
  /// another processor.
  static Result<std::shared_ptr<const Executable>> create(std::shared_ptr<const Engine> engine, Device& device,
                                                          const TacticTable& table, int threads,
                                                          const RuntimeHooks& hooks = {});

  [[nodiscard]] const Engine& engine() const { return *engine_; }
  [[nodiscard]] const Graph& graph() const { return engine_->graph; }
  [[nodiscard]] Device& device() const { return *device_; }
  [[nodiscard]] const TacticTable& table() const { return *table_; }
  [[nodiscard]] const RuntimeHooks& hooks() const { return hooks_; }
  [[nodiscard]] const Target& target() const { return target_; }
  [[nodiscard]] const std::vector<Layer>& layers() const { return layers_; }
  [[nodiscard]] const std::vector<std::string>& warnings() const { return warnings_; }
  /// Device address of a constant of the graph; null when the value is none.
  [[nodiscard]] DevicePtr constant_address(ValueId v) const { return constants_[static_cast<size_t>(v)]; }
  /// Whether runs compute with subnormal numbers instead of taking them for zero: where the network was written to,
  /// that is, a factor, limit or summand of it is such a number (log(x + 1e-45)).
  [[nodiscard]] bool keeps_subnormals() const { return keeps_subnormals_; }
  /// Bytes of weights on the device.
  [[nodiscard]] size_t weight_bytes() const { return weight_bytes_; }

 private:
  Executable() = default;
  Status place_weights();
  Result<std::string> describe_loss() const;
  Result<DevicePtr> place(const Tensor& tensor);

  std::shared_ptr<const Engine> engine_;
  Device* device_ = nullptr;
  const TacticTable* table_ = nullptr;
  RuntimeHooks hooks_;
  Target target_;
  std::vector<Layer> layers_;
  std::vector<DevicePtr> constants_;
  std::vector<DeviceBuffer> uploads_;
  std::vector<std::string> warnings_;
  size_t weight_bytes_ = 0;
  bool keeps_subnormals_ = false;
};

}  // namespace planish
