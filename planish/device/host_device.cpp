// The CPU as a device: addresses are host addresses, streams run work at once on the calling thread.

#include <cstdlib>
#include <cstring>

#include <fmt/format.h>

#include "planish/base/huge_pages.h"
#include "planish/base/isa.h"
#include "planish/base/parallel.h"
#include "planish/device/device.h"

namespace planish {
namespace {

constexpr size_t kAlignment = 64;
/// More than the address space of a process; refused here, so that checkers of allocations do not see it.
constexpr size_t kMaxBytes = size_t{1} << 46;

/// A thread's share of a large copy: small enough to split what takes microseconds, large enough to pay for the
/// hand-over.
constexpr int64_t kCopiedAtOnce = 64 << 10;

void* as_host(DevicePtr p) { return reinterpret_cast<void*>(static_cast<uintptr_t>(p.value)); }

class HostStream final : public Stream {
 public:
  Status synchronize() override { return {}; }
};

class HostDevice final : public Device {
 public:
  [[nodiscard]] std::string name() const override { return cpu_features().brand; }
  [[nodiscard]] std::string fingerprint() const override { return "cpu:" + cpu_features().fingerprint(); }

  Result<DevicePtr> allocate(size_t bytes) override {
    void* p = bytes > kMaxBytes ? nullptr : allocate_pages(bytes, kAlignment);
    if (p == nullptr)
      return Error{.code = Code::out_of_memory,
                   .what = fmt::format("cannot allocate {} bytes of host memory", bytes),
                   .fix = "use a smaller batch or input, or close other programs"};
    return DevicePtr{reinterpret_cast<uintptr_t>(p)};
  }
  void release(DevicePtr ptr) override { std::free(as_host(ptr)); }

  Status copy_to_device(DevicePtr dst, const void* src, size_t bytes, Stream&) override {
    if (bytes != 0) std::memcpy(as_host(dst), src, bytes);
    return {};
  }
  Status copy_to_host(void* dst, DevicePtr src, size_t bytes, Stream&) override {
    if (bytes != 0) std::memcpy(dst, as_host(src), bytes);
    return {};
  }
  Status copy_on_device(DevicePtr dst, DevicePtr src, size_t bytes, Stream&) override {
    if (bytes == 0) return {};
    auto* to = static_cast<uint8_t*>(as_host(dst));
    const auto* from = static_cast<const uint8_t*>(as_host(src));
    const uint64_t apart = dst.value > src.value ? dst.value - src.value : src.value - dst.value;
    if (apart < bytes) {
      std::memmove(to, from, bytes);
      return {};
    }
    parallel_for(static_cast<int64_t>(bytes), kCopiedAtOnce, [&](int64_t first, int64_t last) {
      std::memcpy(to + first, from + first, static_cast<size_t>(last - first));
    });
    return {};
  }
  Result<std::unique_ptr<Stream>> create_stream() override { return std::unique_ptr<Stream>(new HostStream); }
  [[nodiscard]] bool shares_host_memory() const override { return true; }
};

}  // namespace

Device& host_device() {
  static HostDevice device;
  return device;
}

}  // namespace planish
