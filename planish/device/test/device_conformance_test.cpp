// What every device must do, run over all of them.

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <set>
#include <thread>
#include <vector>

#include "planish/device/device.h"

namespace planish {
namespace {

struct DeviceCase {
  const char* label;
  Device& (*device)();
};

class DeviceConformance : public testing::TestWithParam<DeviceCase> {
 protected:
  Device& device() const { return GetParam().device(); }
  std::unique_ptr<Stream> stream() {
    auto s = device().create_stream();
    EXPECT_TRUE(s.ok());
    return std::move(s).value();
  }
};

std::vector<uint8_t> counting(size_t n) {
  std::vector<uint8_t> bytes(n);
  std::iota(bytes.begin(), bytes.end(), uint8_t{1});
  return bytes;
}

TEST_P(DeviceConformance, HasANameAndAStableFingerprint) {
  EXPECT_FALSE(device().name().empty());
  EXPECT_FALSE(device().fingerprint().empty());
  EXPECT_EQ(device().fingerprint(), device().fingerprint());
}

TEST_P(DeviceConformance, AllocationsAreAlignedDistinctAndNeverNull) {
  std::vector<DeviceBuffer> buffers;
  std::set<uint64_t> addresses;
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{63}, size_t{64}, size_t{65}, size_t{100'000}}) {
    auto buffer = DeviceBuffer::create(device(), bytes);
    ASSERT_TRUE(buffer.ok()) << bytes;
    EXPECT_TRUE(buffer->get()) << bytes;
    EXPECT_EQ(buffer->get().value % 64, 0U) << bytes;
    EXPECT_TRUE(addresses.insert(buffer->get().value).second);
    buffers.push_back(std::move(*buffer));
  }
}

TEST_P(DeviceConformance, BytesSurviveTheWayThroughTheDevice) {
  const auto s = stream();
  for (const size_t bytes : {size_t{0}, size_t{1}, size_t{77}, size_t{4096}, size_t{1'000'001}}) {
    auto a = DeviceBuffer::create(device(), bytes + 16);
    auto b = DeviceBuffer::create(device(), bytes + 16);
    ASSERT_TRUE(a.ok() && b.ok());
    const auto sent = counting(bytes);
    std::vector<uint8_t> back(bytes, 0);
    ASSERT_TRUE(device().copy_to_device(a->get() + 8, sent.data(), bytes, *s).ok());
    ASSERT_TRUE(device().copy_on_device(b->get() + 16, a->get() + 8, bytes, *s).ok());
    ASSERT_TRUE(device().copy_to_host(back.data(), b->get() + 16, bytes, *s).ok());
    ASSERT_TRUE(s->synchronize().ok());
    EXPECT_EQ(back, sent);
  }
}

TEST_P(DeviceConformance, WorkOfAStreamKeepsItsOrder) {
  const auto s = stream();
  auto buffer = DeviceBuffer::create(device(), 64);
  ASSERT_TRUE(buffer.ok());
  for (int i = 0; i < 100; ++i) {
    int back = -1;
    ASSERT_TRUE(device().copy_to_device(buffer->get(), &i, sizeof(i), *s).ok());
    ASSERT_TRUE(device().copy_to_host(&back, buffer->get(), sizeof(back), *s).ok());
    ASSERT_TRUE(s->synchronize().ok());
    EXPECT_EQ(back, i);
  }
}

TEST_P(DeviceConformance, AnImpossibleAllocationIsAnErrorThatNamesTheSize) {
  for (const size_t bytes : {SIZE_MAX, SIZE_MAX - 63, SIZE_MAX / 2}) {
    auto p = device().allocate(bytes);
    ASSERT_FALSE(p.ok()) << bytes;
    EXPECT_EQ(p.error().code, Code::out_of_memory);
    EXPECT_NE(p.error().what.find(std::to_string(bytes)), std::string::npos) << p.error().what;
  }
}

TEST_P(DeviceConformance, MovingABufferMovesItsMemory) {
  auto a = DeviceBuffer::create(device(), 128);
  ASSERT_TRUE(a.ok());
  const DevicePtr address = a->get();
  DeviceBuffer b = std::move(*a);
  EXPECT_EQ(b.get(), address);
  EXPECT_EQ(b.bytes(), 128U);
  DeviceBuffer c;
  c = std::move(b);
  EXPECT_EQ(c.get(), address);
  EXPECT_FALSE(DeviceBuffer().get());
}

TEST_P(DeviceConformance, MayBeUsedFromSeveralThreads) {
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < wrong.size(); ++t)
    threads.emplace_back([&, t] {
      auto s = device().create_stream();
      for (size_t i = 1; i < 200; ++i) {
        auto buffer = DeviceBuffer::create(device(), i);
        std::vector<uint8_t> sent(i, static_cast<uint8_t>(t + i));
        std::vector<uint8_t> back(i);
        const bool ok = s.ok() && buffer.ok() && device().copy_to_device(buffer->get(), sent.data(), i, **s).ok() &&
                        device().copy_to_host(back.data(), buffer->get(), i, **s).ok() && (*s)->synchronize().ok();
        if (!ok || back != sent) ++wrong[t];
      }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

INSTANTIATE_TEST_SUITE_P(Devices, DeviceConformance,
                         testing::Values(DeviceCase{"host", host_device}, DeviceCase{"opaque", opaque_test_device}),
                         [](const auto& row) { return std::string(row.param.label); });

TEST(HostDevice, SharesHostMemory) {
  EXPECT_TRUE(host_device().shares_host_memory());
  EXPECT_FALSE(opaque_test_device().shares_host_memory());
}

TEST(OpaqueTestDevice, ResolvesLiveHandlesOnly) {
  DevicePtr gone;
  {
    auto buffer = DeviceBuffer::create(opaque_test_device(), 100);
    ASSERT_TRUE(buffer.ok());
    gone = buffer->get();
    EXPECT_NE(opaque_test_resolve(gone), nullptr);
    EXPECT_NE(opaque_test_resolve(gone + 99), nullptr);
    EXPECT_EQ(opaque_test_resolve(gone + 4096), nullptr);
  }
  EXPECT_EQ(opaque_test_resolve(gone), nullptr);
  EXPECT_EQ(opaque_test_resolve({}), nullptr);
}

TEST(OpaqueTestDevice, RefusesCopiesThatLeaveAnAllocation) {
  Device& device = opaque_test_device();
  auto stream = device.create_stream();
  auto buffer = DeviceBuffer::create(device, 100);
  ASSERT_TRUE(buffer.ok() && stream.ok());
  std::vector<uint8_t> host(200);
  EXPECT_FALSE(device.copy_to_device(buffer->get(), host.data(), 101, **stream).ok());
  EXPECT_FALSE(device.copy_to_host(host.data(), buffer->get() + 50, 51, **stream).ok());
  EXPECT_FALSE(device.copy_on_device(buffer->get(), buffer->get() + 1, 100, **stream).ok());
  // A host address is no handle of the device.
  EXPECT_FALSE(device.copy_on_device({reinterpret_cast<uintptr_t>(host.data())}, buffer->get(), 1, **stream).ok());
}

}  // namespace
}  // namespace planish
