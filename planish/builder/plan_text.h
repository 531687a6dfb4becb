#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "planish/builder/chains.h"

namespace planish {

/// A plan as the timing cache keeps it: "CHAINS|CHOICES". A chain is the values that its parts write, a choice is
/// tactic, layouts and types.
std::string plan_text(const std::vector<Chain>& chains, const std::vector<Choice>& choices);

struct PlanOfText {
  std::vector<Chain> chains;
  std::vector<Choice> choices;  ///< without times
};
/// The inverse; nullopt where the text is none or names a tactic that `table` does not have.
std::optional<PlanOfText> plan_of_text(std::string_view text, const TacticTable& table);

}  // namespace planish
