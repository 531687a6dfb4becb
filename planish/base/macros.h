#pragma once
// The only macros of the project besides include guards.

/// Evaluates `expr` (a Result or Status); on error returns it from the enclosing function, else yields the value.
/// Usage: `auto x = PLANISH_TRY(f());` or `PLANISH_TRY(check());`, once per statement: leaving a statement from its
/// middle does not destroy what it had made already (GCC), so that a second one would leak the value of the first.
#define PLANISH_TRY(expr)                                \
  __extension__({                                        \
    auto&& planish_try_result = (expr);                  \
    if (!planish_try_result.ok()) [[unlikely]]           \
      return std::move(planish_try_result).take_error(); \
    std::move(planish_try_result).take_value();          \
  })

#define PLANISH_INLINE inline __attribute__((always_inline))
#define PLANISH_RESTRICT __restrict__
/// Marks a branch that only a bug of ours can reach.
#define PLANISH_UNREACHABLE() __builtin_unreachable()
