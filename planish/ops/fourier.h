#pragma once

#include <complex>
#include <vector>

namespace planish {

/// In-place discrete Fourier transform of any length: X[k] = sum over n of x[n] exp(-2 pi i k n / N), or the inverse
/// with the opposite sign and a factor 1/N. Mixed radix: O(N * sum of prime factors of N).
/// Source: Cooley and Tukey, "An Algorithm for the Machine Calculation of Complex Fourier Series", 1965.
void fourier_transform(std::vector<std::complex<double>>& x, bool inverse);

}  // namespace planish
