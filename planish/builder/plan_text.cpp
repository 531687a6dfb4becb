#include "planish/builder/plan_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace planish {
namespace {

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const size_t end = std::min(text.find(at), text.size());
    out.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

std::optional<int> number(std::string_view text) {
  int value = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<std::vector<Chain>> chains_in(std::string_view text) {
  std::vector<Chain> chains;
  for (const std::string_view chain : split(text, ';')) {
    Chain& values = chains.emplace_back();
    for (const std::string_view value : split(chain, ',')) {
      const auto v = number(value);
      if (!v) return std::nullopt;
      values.push_back(*v);
    }
  }
  return chains;
}

std::optional<std::vector<Choice>> choices_in(std::string_view text, const TacticTable& table) {
  std::vector<Choice> choices;
  for (const std::string_view choice : split(text, ';')) {
    const auto parts = split(choice, ',');
    if (parts.size() != 5) return std::nullopt;
    Choice& c = choices.emplace_back();
    if (!parts[0].empty() && (c.tactic = table.find(parts[0])) == nullptr) return std::nullopt;
    std::array<int, 4> numbers{};
    for (size_t i = 0; i < numbers.size(); ++i) {
      const auto n = number(parts[i + 1]);
      if (!n) return std::nullopt;
      numbers[i] = *n;
    }
    c.in = static_cast<Layout>(numbers[0]);
    c.out = static_cast<Layout>(numbers[1]);
    c.types = {static_cast<DType>(numbers[2]), static_cast<DType>(numbers[3])};
  }
  return choices;
}

}  // namespace

std::string plan_text(const std::vector<Chain>& chains, const std::vector<Choice>& choices) {
  std::string text;
  for (const Chain& chain : chains) text += fmt::format("{};", fmt::join(chain, ","));
  text += '|';
  for (const Choice& c : choices)
    text += fmt::format("{},{},{},{},{};", c.tactic != nullptr ? c.tactic->id : "", static_cast<int>(c.in),
                        static_cast<int>(c.out), static_cast<int>(c.types.in), static_cast<int>(c.types.out));
  return text;
}

std::optional<PlanOfText> plan_of_text(std::string_view text, const TacticTable& table) {
  const size_t at = text.find('|');
  if (at == std::string_view::npos) return std::nullopt;
  auto chains = chains_in(text.substr(0, at));
  auto choices = choices_in(text.substr(at + 1), table);
  if (!chains || !choices) return std::nullopt;
  return PlanOfText{std::move(*chains), std::move(*choices)};
}

}  // namespace planish
