#pragma once

#include <cassert>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "planish/base/macros.h"

namespace planish {

/// Whose fault an error is and what kind; decides nothing but wording and tests (every error exits with 1).
enum class Code {
  invalid_argument,  ///< a flag, option or API argument is wrong
  invalid_model,     ///< the ONNX file (or graph) is malformed
  shape_mismatch,    ///< shapes do not fit together
  unsupported,       ///< legal, but planish cannot do it (yet)
  not_found,         ///< a file, tensor or name does not exist
  io,                ///< reading or writing failed
  corrupt,           ///< checksum, truncation, hostile content
  version,           ///< newer or foreign format
  out_of_memory,     ///< a memory limit would be exceeded
  cancelled,         ///< the user interrupted
  internal           ///< a bug of ours
};

std::string_view code_name(Code code);

/// An error that names the culprit, the cause and the remedy. Empty fields are not printed.
struct Error {
  Code code = Code::internal;
  std::string node;                  ///< ONNX node name, when one is to blame
  std::string tensor;                ///< tensor name, when one is to blame
  std::string file;                  ///< file or flag, when one is to blame
  std::string what;                  ///< the cause, one sentence without a final stop
  std::string fix;                   ///< what the user can do about it, one sentence
  std::vector<std::string> context;  ///< outermost last; added on the way up

  /// Adds "while <text>" to the message and returns the error (for use in return statements).
  Error&& with_context(std::string text) &&;
  /// One or more lines for people: `node 'x' (tensor 'y'): cause. Fix: remedy. [while ...]`.
  [[nodiscard]] std::string message() const;
};

/// A value or an Error. Must be checked.
template <typename T>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT(google-explicit-constructor)
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(google-explicit-constructor)

  [[nodiscard]] bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  [[nodiscard]] T& value() & {
    assert(ok());
    return *std::get_if<0>(&state_);
  }
  [[nodiscard]] const T& value() const& {
    assert(ok());
    return *std::get_if<0>(&state_);
  }
  [[nodiscard]] T&& value() && {
    assert(ok());
    return std::move(*std::get_if<0>(&state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  [[nodiscard]] const Error& error() const {
    assert(!ok());
    return *std::get_if<1>(&state_);
  }
  [[nodiscard]] Error take_error() && { return std::move(*std::get_if<1>(&state_)); }
  [[nodiscard]] T take_value() && { return std::move(*std::get_if<0>(&state_)); }

 private:
  std::variant<T, Error> state_;
};

/// Success or an Error. Must be checked.
template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)
  [[nodiscard]] bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  [[nodiscard]] const Error& error() const {
    assert(!ok());
    return *error_;
  }
  [[nodiscard]] Error take_error() && { return std::move(*error_); }
  void take_value() && {}

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;
inline Status ok_status() { return {}; }

/// Reason for a refusal; nullopt means "accepted".
using WhyNot = std::optional<std::string>;

}  // namespace planish
