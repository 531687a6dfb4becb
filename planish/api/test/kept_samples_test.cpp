#include "planish/api/kept_samples.h"

#include <gtest/gtest.h>

#include <vector>

namespace planish::api {
namespace {

CalibrationBatch batch_of(const std::vector<float>& data, int64_t rows) {
  CalibrationBatch batch{.samples = rows};
  batch.inputs.emplace_back(
      "x", HostTensor{DType::f32, {rows, 3}, std::as_bytes(std::span(data)).first(static_cast<size_t>(rows) * 12)});
  return batch;
}

/// Shows all samples in batches of `rows`; the first values of what is kept tell which they were.
std::vector<float> kept_of(KeptSamples& kept, int64_t samples, int64_t rows) {
  std::vector<float> data(static_cast<size_t>(rows) * 3);
  for (int64_t first = 0; first < samples; first += rows) {
    data[0] = static_cast<float>(first);
    kept.add(batch_of(data, std::min(rows, samples - first)));
  }
  std::vector<float> firsts;
  for (size_t i = 0; i < kept.batches(); ++i)
    firsts.push_back(reinterpret_cast<const float*>(kept.batch(i).inputs[0].second.data.data())[0]);
  return firsts;
}

TEST(KeptSamples, KnowsBeforeWhatItWillKeep) {
  for (const int64_t samples : {1, 7, 64, 125, 128, 129, 500, 1001})
    for (const int64_t rows : {1, 3, 4, 32}) {
      const std::vector<float> data(static_cast<size_t>(rows) * 3);
      KeptSamples unaware;
      KeptSamples aware;
      const int64_t expected = aware.expect(samples, batch_of(data, std::min(rows, samples)));
      const auto kept = kept_of(unaware, samples, rows);
      EXPECT_EQ(kept_of(aware, samples, rows), kept) << samples << " by " << rows;
      EXPECT_EQ(unaware.samples(), expected) << samples << " by " << rows;
    }
}

TEST(KeptSamples, KeepsWithinItsMemory) {
  const std::vector<float> data(12);
  KeptSamples kept(128, 10 * 48);
  EXPECT_EQ(kept.expect(400, batch_of(data, 4)), 28);
  EXPECT_EQ(kept_of(kept, 400, 4).size(), 7U);
}

}  // namespace
}  // namespace planish::api
