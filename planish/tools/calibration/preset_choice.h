#pragma once

#include <optional>
#include <string>
#include <vector>

#include "planish/api/data.h"
#include "planish/api/engine.h"
#include "planish/base/status.h"
#include "planish/tools/calibration/reader.h"

namespace planish::tools {

/// How much sense the answers of a classifier make for one preprocessing of some pictures.
struct PresetEvidence {
  std::string preset;
  double confidence = 0;  ///< mean probability of the best class
  /// Mutual information of picture and answer, in nats: 0 where all pictures get the same answer or every answer is a
  /// shrug, up to log(pictures) where each gets a sure one of its own.
  double information = 0;
  double steadiness = 0;  ///< overlap of the answers with those for the mirrored pictures, 0 to 1
  [[nodiscard]] double score() const { return information * steadiness; }
};

/// Evidence from probabilities or logits [pictures, classes] of pictures and of their mirror images. Zeros where a
/// value is not finite.
PresetEvidence weigh_answers(std::string preset, const std::vector<std::vector<float>>& answers,
                             const std::vector<std::vector<float>>& mirrored);

/// The preset to take when the input's shape alone suggested `evidence[guess]`: another one only where its score is
/// several times as large and no noise. Presets that come first win ties. Returns an index into `evidence`.
size_t prefer_preset(const std::vector<PresetEvidence>& evidence, size_t guess);

/// What the float network says about a guessed preset.
struct PresetChoice {
  std::string preset;    ///< to take
  std::string evidence;  ///< a sentence why it is not the guess, or why the guess was not judged; "" when it stands
};

/// Runs the network in FP32 over up to 16 of the pictures, spread evenly, in every preset. The guess stays where the
/// network is no classifier, or nothing is clearly better. Never fails: what goes wrong leaves the guess.
PresetChoice choose_preset(const api::Model& model, const PictureList& pictures, const std::string& guess,
                           const api::ProfileRanges& shapes, int threads);

}  // namespace planish::tools
