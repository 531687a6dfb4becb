// A device whose addresses mean nothing to the host. See device.h.

#include <cstring>
#include <iterator>
#include <map>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "planish/device/device.h"

namespace planish {
namespace {

class OpaqueStream final : public Stream {
 public:
  Status synchronize() override { return {}; }
};

class OpaqueDevice final : public Device {
 public:
  [[nodiscard]] std::string name() const override { return "opaque test device"; }
  [[nodiscard]] std::string fingerprint() const override { return "test:1"; }

  Result<DevicePtr> allocate(size_t bytes) override {
    const auto refused = [bytes] {
      return Error{.code = Code::out_of_memory,
                   .what = fmt::format("cannot allocate {} bytes of test device memory", bytes),
                   .fix = "use a smaller batch or input"};
    };
    if (bytes > kMaxBytes) return refused();
    std::vector<uint8_t> memory;
    try {
      memory.assign(bytes + kSlack, 0xcd);
    } catch (const std::bad_alloc&) {
      return refused();
    }
    const std::lock_guard lock(mutex_);
    // Handles live in a range that no x86-64 process can map, and leave a gap after every block.
    const uint64_t handle = next_;
    next_ += (bytes + 2 * kGap - 1) / kGap * kGap;
    blocks_.emplace(handle, std::move(memory));
    return DevicePtr{handle};
  }
  void release(DevicePtr ptr) override {
    const std::lock_guard lock(mutex_);
    blocks_.erase(ptr.value);
  }
  Status copy_to_device(DevicePtr dst, const void* src, size_t bytes, Stream&) override {
    uint8_t* p = PLANISH_TRY(range(dst, bytes));
    if (bytes != 0) std::memcpy(p, src, bytes);
    return {};
  }
  Status copy_to_host(void* dst, DevicePtr src, size_t bytes, Stream&) override {
    const uint8_t* p = PLANISH_TRY(range(src, bytes));
    if (bytes != 0) std::memcpy(dst, p, bytes);
    return {};
  }
  Status copy_on_device(DevicePtr dst, DevicePtr src, size_t bytes, Stream&) override {
    uint8_t* to = PLANISH_TRY(range(dst, bytes));
    const uint8_t* from = PLANISH_TRY(range(src, bytes));
    if (bytes != 0) std::memmove(to, from, bytes);
    return {};
  }
  Result<std::unique_ptr<Stream>> create_stream() override { return std::unique_ptr<Stream>(new OpaqueStream); }
  [[nodiscard]] bool shares_host_memory() const override { return false; }

  uint8_t* resolve(DevicePtr ptr, size_t bytes) {
    const std::lock_guard lock(mutex_);
    auto it = blocks_.upper_bound(ptr.value);
    if (it == blocks_.begin()) return nullptr;
    it = std::prev(it);
    const uint64_t offset = ptr.value - it->first;
    const size_t size = it->second.size() - kSlack;
    return offset <= size && bytes <= size - offset ? it->second.data() + offset : nullptr;
  }

 private:
  static constexpr uint64_t kGap = 4096;
  static constexpr size_t kMaxBytes = size_t{1} << 36;
  static constexpr size_t kSlack = 64;

  Result<uint8_t*> range(DevicePtr ptr, size_t bytes) {
    uint8_t* p = resolve(ptr, bytes);
    if (p == nullptr)
      return Error{.code = Code::internal,
                   .what = fmt::format("{} bytes at handle {:#x} are not inside one allocation", bytes, ptr.value)};
    return p;
  }

  std::mutex mutex_;
  uint64_t next_ = 0xffff800000000000ULL - (uint64_t{1} << 44);  // non-canonical addresses: a dereference traps
  std::map<uint64_t, std::vector<uint8_t>> blocks_;
};

OpaqueDevice& instance() {
  static OpaqueDevice device;
  return device;
}

}  // namespace

Device& opaque_test_device() { return instance(); }
void* opaque_test_resolve(DevicePtr ptr) { return instance().resolve(ptr, 0); }

}  // namespace planish
