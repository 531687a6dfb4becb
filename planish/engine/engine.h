#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "planish/base/status.h"
#include "planish/ir/graph.h"
#include "planish/tactics/tactic.h"

namespace planish {

/// Allowed shapes of one network input; `opt` is what tactics are tuned for.
struct ShapeRange {
  Shape min;
  Shape opt;
  Shape max;
  friend bool operator==(const ShapeRange&, const ShapeRange&) = default;
};

/// An optimisation profile: one range per network input, in the order of Graph::inputs.
struct Profile {
  std::vector<ShapeRange> inputs;
  friend bool operator==(const Profile&, const Profile&) = default;
};

/// One candidate that the builder looked at for a layer.
struct Candidate {
  std::string tactic;
  float time_ms = 0;  ///< median of its timings, reformats not included; 0 when it was not timed
};

/// How one node of the engine's graph is executed.
struct LayerPlan {
  std::string tactic;                  ///< id; "" for nodes that need no kernel (views)
  std::vector<PackedConstant> packed;  ///< constants in the tactic's form
  std::string detail;                  ///< what ran underneath at the tuned shapes (Kernel::detail)
  float time_ms = 0;                   ///< measured while building, at the tuned shapes
  std::vector<Candidate> candidates;   ///< everything that was timed, fastest first
  std::string precision;               ///< "fp32", "fp16", "bf16", "int8": type of the computation
  std::string note;                    ///< why it differs from what was asked for, for people; may be empty
};

/// Facts about an engine that do not change what it computes.
struct EngineInfo {
  std::string name;                  ///< of the network
  std::string producer;              ///< "planish 0.1.0"
  std::string source;                ///< file name (no folder) of the ONNX model
  uint64_t source_hash = 0;          ///< of the ONNX file's bytes and its external data's; 0 when unknown
  std::string device;                ///< what it was tuned on, for people
  std::string device_fingerprint;    ///< Device::fingerprint()
  int32_t threads = 0;               ///< threads it was tuned with
  std::string precision;             ///< what was allowed: "fp32", "fp32+fp16", ...
  std::string calibration = "none";  ///< "none", "cache", "data(N)", "random", "qdq"
  std::string build_options;         ///< JSON object text
  std::string profiling_verbosity = "detailed";
  double build_seconds = 0;
  bool refittable = false;
  bool weights_stripped = false;           ///< written without weights: a refit comes before the first run
  std::vector<std::string> debug_tensors;  ///< outputs of the graph that are shown on request only
  int64_t opset = 0;
};

/// A built network: the optimised graph, how each node runs, and the packed weights. Immutable once built; the memory
/// behind its constants may be a mapped file, which `storage` keeps alive.
struct Engine {
  Graph graph;
  std::vector<LayerPlan> layers;  ///< parallel to graph.nodes
  std::vector<Profile> profiles;  ///< at least one
  EngineInfo info;
  std::shared_ptr<const void> storage;
};

/// Writes the engine to `path`: to a temporary file beside it first, then renamed, so that a kill leaves the old file.
/// Returns the number of bytes.
Result<uint64_t> save_engine(const Engine& engine, const std::filesystem::path& path);

/// Maps and checks an engine file. Errors: not_found, io, version (newer format; a real TensorRT plan), corrupt
/// (truncated, checksum, anything inconsistent). Nothing in the file can crash the process.
Result<Engine> load_engine(const std::filesystem::path& path);

/// The same from memory that stays valid and unchanged while the Engine lives.
Result<Engine> load_engine(std::span<const uint8_t> bytes, const std::string& name);

/// True when the bytes begin like an engine file of ours.
bool is_engine_file(std::span<const uint8_t> first_bytes);

}  // namespace planish
