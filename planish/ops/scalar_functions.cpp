#include "planish/ops/scalar_functions.h"

#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <numbers>
#include <type_traits>

namespace planish {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

using P = ScalarParams;

double sigmoid(double x) {
  if (x >= 0) return 1.0 / (1.0 + std::exp(-x));
  const double e = std::exp(x);  // the usual form would divide infinities for large negative x
  return e / (1.0 + e);
}
double softplus(double x) { return (x > 0 ? x : 0.0) + std::log1p(std::exp(-std::fabs(x))); }
double clamp01(double x) { return x < 0 ? 0.0 : (x > 1 ? 1.0 : x); }

double f_acos(double x, const P&) { return std::acos(x); }
double f_acosh(double x, const P&) { return std::acosh(x); }
double f_asin(double x, const P&) { return std::asin(x); }
double f_asinh(double x, const P&) { return std::asinh(x); }
double f_atan(double x, const P&) { return std::atan(x); }
double f_atanh(double x, const P&) { return std::atanh(x); }
double f_ceil(double x, const P&) { return std::ceil(x); }
double f_celu(double x, const P& p) { return x < 0 ? p.alpha * std::expm1(x / p.alpha) : x; }
double f_clip(double x, const P& p) {
  const double y = x < p.alpha ? p.alpha : x;  // in this order, so that max wins when min > max, and NaN stays
  return y > p.beta ? p.beta : y;
}
double f_cos(double x, const P&) { return std::cos(x); }
double f_cosh(double x, const P&) { return std::cosh(x); }
double f_elu(double x, const P& p) { return x < 0 ? p.alpha * std::expm1(x) : x; }
double f_erf(double x, const P&) { return std::erf(x); }
double f_exp(double x, const P&) { return std::exp(x); }
double f_floor(double x, const P&) { return std::floor(x); }
double f_gelu(double x, const P& p) {
  if (p.approximate_tanh) {
    const double inner = std::sqrt(2.0 / std::numbers::pi) * (x + 0.044715 * x * x * x);
    return 0.5 * x * (1.0 + std::tanh(inner));
  }
  return 0.5 * x * std::erfc(-x / std::numbers::sqrt2);  // erfc keeps its digits where 1 + erf cancels
}
double f_hard_sigmoid(double x, const P& p) { return clamp01(p.alpha * x + p.beta); }
double f_hard_swish(double x, const P&) { return x * clamp01(x / 6.0 + 0.5); }
double f_is_inf(double x, const P& p) { return (x == -kInf && p.alpha != 0) || (x == kInf && p.beta != 0) ? 1.0 : 0.0; }
double f_is_nan(double x, const P&) { return std::isnan(x) ? 1.0 : 0.0; }
double f_leaky_relu(double x, const P& p) { return x < 0 ? p.alpha * x : x; }
double f_log(double x, const P&) { return std::log(x); }
double f_mish(double x, const P&) { return x * std::tanh(softplus(x)); }
double f_reciprocal(double x, const P&) { return 1.0 / x; }
double f_round(double x, const P&) { return std::nearbyint(x); }
double f_selu(double x, const P& p) { return p.beta * (x > 0 ? x : p.alpha * std::expm1(x)); }
double f_sigmoid(double x, const P&) { return sigmoid(x); }
double f_sin(double x, const P&) { return std::sin(x); }
double f_sinh(double x, const P&) { return std::sinh(x); }
double f_softplus(double x, const P&) { return softplus(x); }
double f_softsign(double x, const P&) { return x / (1.0 + std::fabs(x)); }
double f_sqrt(double x, const P&) { return std::sqrt(x); }
double f_swish(double x, const P& p) { return x * sigmoid(p.alpha * x); }
double f_tan(double x, const P&) { return std::tan(x); }
double f_tanh(double x, const P&) { return std::tanh(x); }
double f_thresholded_relu(double x, const P& p) { return x > p.alpha ? x : 0.0; }

// Functions that integers have too.
template <typename T>
T f_abs(T x, const P&) {
  if constexpr (std::is_same_v<T, int64_t>) return x < 0 ? static_cast<T>(-static_cast<uint64_t>(x)) : x;
  if constexpr (std::is_same_v<T, double>) return std::fabs(x);
  return x;
}
template <typename T>
T f_neg(T x, const P&) {
  if constexpr (std::is_same_v<T, double>) return -x;
  return static_cast<T>(-static_cast<uint64_t>(x));
}
template <typename T>
T f_relu(T x, const P&) {
  return x < T{0} ? T{0} : x;
}
template <typename T>
T f_sign(T x, const P&) {
  if (x > T{0}) return T{1};
  if (x < T{0}) return static_cast<T>(-1);
  return x == T{0} ? T{0} : x;  // NaN
}
template <typename T>
T f_shrink(T x, const P& p) {
  // long double holds every 64-bit integer.
  using Wide = std::conditional_t<std::is_same_v<T, double>, double, long double>;
  const auto w = static_cast<Wide>(x);
  if (w < -p.beta) return static_cast<T>(w + p.alpha);
  if (w > p.beta) return static_cast<T>(w - p.alpha);
  return T{0};
}
template <typename T>
T f_not(T x, const P&) {
  return x == T{0} ? T{1} : T{0};
}
template <typename T>
T f_bitwise_not(T x, const P&) {
  return static_cast<T>(~x);
}

template <auto F, typename T>
void unary_block(int64_t n, const T* x, T* y, const P& p) {
  for (int64_t i = 0; i < n; ++i) y[i] = F(x[i], p);
}

/// Parameter names and defaults of a row.
struct Attrs {
  std::string_view alpha_attr, beta_attr;
  double alpha = 0, beta = 0;
};

template <double (*F)(double, const P&)>
constexpr UnaryFunction real_row(std::string_view op, Attrs a = {}, bool gives_bool = false) {
  return {op, a.alpha_attr, a.beta_attr, a.alpha, a.beta, gives_bool, F, unary_block<F, double>};
}

template <double (*F)(double, const P&), int64_t (*I)(int64_t, const P&), uint64_t (*U)(uint64_t, const P&)>
constexpr UnaryFunction number_row(std::string_view op, Attrs a = {}) {
  return {op,
          a.alpha_attr,
          a.beta_attr,
          a.alpha,
          a.beta,
          false,
          F,
          unary_block<F, double>,
          unary_block<I, int64_t>,
          unary_block<U, uint64_t>};
}

constexpr std::array kUnary{
    number_row<f_abs<double>, f_abs<int64_t>, f_abs<uint64_t>>("Abs"),
    real_row<f_acos>("Acos"),
    real_row<f_acosh>("Acosh"),
    real_row<f_asin>("Asin"),
    real_row<f_asinh>("Asinh"),
    real_row<f_atan>("Atan"),
    real_row<f_atanh>("Atanh"),
    UnaryFunction{.op = "BitwiseNot",
                  .block_i64 = unary_block<f_bitwise_not<int64_t>, int64_t>,
                  .block_u64 = unary_block<f_bitwise_not<uint64_t>, uint64_t>},
    real_row<f_ceil>("Ceil"),
    real_row<f_celu>("Celu", {"alpha", "", 1.0F}),
    real_row<f_clip>("Clip", {"min", "max", -kInf, kInf}),
    real_row<f_cos>("Cos"),
    real_row<f_cosh>("Cosh"),
    real_row<f_elu>("Elu", {"alpha", "", 1.0F}),
    real_row<f_erf>("Erf"),
    real_row<f_exp>("Exp"),
    real_row<f_floor>("Floor"),
    real_row<f_gelu>("Gelu"),
    real_row<f_hard_sigmoid>("HardSigmoid", {"alpha", "beta", 0.2F, 0.5F}),
    real_row<f_hard_swish>("HardSwish"),
    real_row<f_is_inf>("IsInf", {"detect_negative", "detect_positive", 1, 1}, true),
    real_row<f_is_nan>("IsNaN", {}, true),
    real_row<f_leaky_relu>("LeakyRelu", {"alpha", "", 0.01F}),
    real_row<f_log>("Log"),
    real_row<f_mish>("Mish"),
    number_row<f_neg<double>, f_neg<int64_t>, f_neg<uint64_t>>("Neg"),
    UnaryFunction{.op = "Not",
                  .gives_bool = true,
                  .scalar = f_not<double>,
                  .block = unary_block<f_not<double>, double>,
                  .block_i64 = unary_block<f_not<int64_t>, int64_t>,
                  .block_u64 = unary_block<f_not<uint64_t>, uint64_t>},
    real_row<f_reciprocal>("Reciprocal"),
    number_row<f_relu<double>, f_relu<int64_t>, f_relu<uint64_t>>("Relu"),
    real_row<f_round>("Round"),
    real_row<f_selu>("Selu", {"alpha", "gamma", 1.67326319F, 1.05070102F}),
    number_row<f_shrink<double>, f_shrink<int64_t>, f_shrink<uint64_t>>("Shrink", {"bias", "lambd", 0.0F, 0.5F}),
    real_row<f_sigmoid>("Sigmoid"),
    number_row<f_sign<double>, f_sign<int64_t>, f_sign<uint64_t>>("Sign"),
    real_row<f_sin>("Sin"),
    real_row<f_sinh>("Sinh"),
    real_row<f_softplus>("Softplus"),
    real_row<f_softsign>("Softsign"),
    real_row<f_sqrt>("Sqrt"),
    real_row<f_swish>("Swish", {"alpha", "", 1.0F}),
    real_row<f_tan>("Tan"),
    real_row<f_tanh>("Tanh"),
    real_row<f_thresholded_relu>("ThresholdedRelu", {"alpha", "", 1.0F}),
};

/// Arithmetic of int64_t goes through uint64_t, where overflow wraps instead of being undefined.
struct Add {
  static double of(double a, double b) { return a + b; }
  static uint64_t of(uint64_t a, uint64_t b) { return a + b; }
  static int64_t of(int64_t a, int64_t b) { return static_cast<int64_t>(of(uint64_t(a), uint64_t(b))); }
};
struct Sub {
  static double of(double a, double b) { return a - b; }
  static uint64_t of(uint64_t a, uint64_t b) { return a - b; }
  static int64_t of(int64_t a, int64_t b) { return static_cast<int64_t>(of(uint64_t(a), uint64_t(b))); }
};
struct Mul {
  static double of(double a, double b) { return a * b; }
  static uint64_t of(uint64_t a, uint64_t b) { return a * b; }
  static int64_t of(int64_t a, int64_t b) { return static_cast<int64_t>(of(uint64_t(a), uint64_t(b))); }
};
struct Div {
  static double of(double a, double b) { return a / b; }
  static uint64_t of(uint64_t a, uint64_t b) { return b == 0 ? 0 : a / b; }
  static int64_t of(int64_t a, int64_t b) {
    if (b == 0) return 0;
    return b == -1 ? static_cast<int64_t>(-static_cast<uint64_t>(a)) : a / b;  // INT64_MIN / -1 would trap
  }
};
/// Quotient rounded down: the result has the sign of the divisor.
struct Mod {
  static double of(double a, double b) {
    const double r = std::fmod(a, b);
    if (std::isnan(r)) return r;
    if (r == 0) return std::copysign(0.0, b);
    return (r < 0) != (b < 0) ? (std::isinf(b) ? b : r + b) : r;
  }
  static uint64_t of(uint64_t a, uint64_t b) { return b == 0 ? 0 : a % b; }
  static int64_t of(int64_t a, int64_t b) {
    if (b == 0 || b == -1) return 0;
    const int64_t r = a % b;
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
  }
};
/// Quotient rounded towards zero: the result has the sign of the dividend.
struct Fmod {
  static double of(double a, double b) { return std::fmod(a, b); }
  static uint64_t of(uint64_t a, uint64_t b) { return b == 0 ? 0 : a % b; }
  static int64_t of(int64_t a, int64_t b) { return b == 0 || b == -1 ? 0 : a % b; }
};
struct Pow {
  static double of(double a, double b) { return std::pow(a, b); }
  static uint64_t of(uint64_t a, uint64_t b) {
    uint64_t result = 1;
    for (; b != 0; b >>= 1, a *= a)
      if ((b & 1U) != 0) result *= a;
    return result;
  }
  static int64_t of(int64_t a, int64_t b) {
    if (b >= 0) return static_cast<int64_t>(of(static_cast<uint64_t>(a), static_cast<uint64_t>(b)));
    if (a == 1) return 1;
    if (a == -1) return (b & 1) != 0 ? -1 : 1;
    return 0;  // |a|^b < 1, truncated; 0^b has no value
  }
};
struct Max {
  template <typename T>
  static T of(T a, T b) {
    return a > b || a != a ? a : b;  // a != a: NaN wins, as in numpy; a NaN in b wins by the comparison
  }
};
struct Min {
  template <typename T>
  static T of(T a, T b) {
    return a < b || a != a ? a : b;
  }
};
struct PRelu {
  template <typename T>
  static T of(T x, T slope) {
    return x < T{0} ? Mul::of(slope, x) : x;
  }
};
struct Equal {
  template <typename T>
  static T of(T a, T b) {
    return a == b;
  }
};
struct Greater {
  template <typename T>
  static T of(T a, T b) {
    return a > b;
  }
};
struct GreaterOrEqual {
  template <typename T>
  static T of(T a, T b) {
    return a >= b;
  }
};
struct Less {
  template <typename T>
  static T of(T a, T b) {
    return a < b;
  }
};
struct LessOrEqual {
  template <typename T>
  static T of(T a, T b) {
    return a <= b;
  }
};
struct And {
  template <typename T>
  static T of(T a, T b) {
    return a != T{0} && b != T{0};
  }
};
struct Or {
  template <typename T>
  static T of(T a, T b) {
    return a != T{0} || b != T{0};
  }
};
struct Xor {
  template <typename T>
  static T of(T a, T b) {
    return (a != T{0}) != (b != T{0});
  }
};
struct BitwiseAnd {
  template <typename T>
  static T of(T a, T b) {
    return a & b;
  }
};
struct BitwiseOr {
  template <typename T>
  static T of(T a, T b) {
    return a | b;
  }
};
struct BitwiseXor {
  template <typename T>
  static T of(T a, T b) {
    return a ^ b;
  }
};
/// Narrow types arrive extended to 64 bits, and the store drops the upper ones: both shifts come out right for them.
struct ShiftLeft {
  template <typename T>
  static T of(T a, T b) {
    const auto by = static_cast<uint64_t>(b);
    return by >= 64 ? T{0} : static_cast<T>(static_cast<uint64_t>(a) << by);
  }
};
struct ShiftRight {
  template <typename T>
  static T of(T a, T b) {
    const auto by = static_cast<uint64_t>(b);
    if (by >= 64) return a < T{0} ? static_cast<T>(-1) : T{0};
    return static_cast<T>(a >> by);
  }
};

template <typename F, typename T>
void binary_block(int64_t n, const T* a, const T* b, T* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = F::of(a[i], b[i]);
}

template <typename F>
double real_scalar(double a, double b) {
  return F::of(a, b);
}

template <typename F>
constexpr BinaryFunction row(std::string_view op, bool gives_bool = false) {
  return {op, gives_bool, real_scalar<F>, binary_block<F, double>, binary_block<F, int64_t>, binary_block<F, uint64_t>};
}

template <typename F>
constexpr BinaryFunction integer_row(std::string_view op) {
  return {op, false, nullptr, nullptr, binary_block<F, int64_t>, binary_block<F, uint64_t>};
}

constexpr std::array kBinary{
    row<Add>("Add"),
    row<And>("And", true),
    integer_row<BitwiseAnd>("BitwiseAnd"),
    integer_row<BitwiseOr>("BitwiseOr"),
    integer_row<BitwiseXor>("BitwiseXor"),
    row<Div>("Div"),
    row<Equal>("Equal", true),
    row<Fmod>("Fmod"),
    row<Greater>("Greater", true),
    row<GreaterOrEqual>("GreaterOrEqual", true),
    row<Less>("Less", true),
    row<LessOrEqual>("LessOrEqual", true),
    row<Max>("Max"),
    row<Min>("Min"),
    row<Mod>("Mod"),
    row<Mul>("Mul"),
    row<Or>("Or", true),
    row<PRelu>("PRelu"),
    row<Pow>("Pow"),
    integer_row<ShiftLeft>("ShiftLeft"),
    integer_row<ShiftRight>("ShiftRight"),
    row<Sub>("Sub"),
    row<Xor>("Xor", true),
};

}  // namespace

std::span<const UnaryFunction> unary_functions() { return kUnary; }
std::span<const BinaryFunction> binary_functions() { return kBinary; }

const UnaryFunction* find_unary_function(std::string_view op) {
  for (const UnaryFunction& f : kUnary)
    if (f.op == op) return &f;
  return nullptr;
}

const BinaryFunction* find_binary_function(std::string_view op) {
  for (const BinaryFunction& f : kBinary)
    if (f.op == op) return &f;
  return nullptr;
}

}  // namespace planish
