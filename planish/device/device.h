#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "planish/base/status.h"

namespace planish {

/// Address in the memory of a device. On the CPU it is a host address; elsewhere nothing but that device's functions
/// and kernels may look behind it. Offsets within one allocation are plain arithmetic.
struct DevicePtr {
  uint64_t value = 0;
  [[nodiscard]] explicit operator bool() const { return value != 0; }
  [[nodiscard]] DevicePtr operator+(size_t bytes) const { return {value + bytes}; }
  friend bool operator==(DevicePtr, DevicePtr) = default;
};

/// An order of work on a device. Work of one stream runs in the order it was given.
class Stream {
 public:
  virtual ~Stream() = default;
  /// Waits until everything given so far is done; reports errors of asynchronous work.
  virtual Status synchronize() = 0;
};

/// A place with memory where kernels run. One object per physical device, shared by engines and contexts; all functions
/// may be called from several threads at once.
class Device {
 public:
  virtual ~Device() = default;
  [[nodiscard]] virtual std::string name() const = 0;
  /// Changes whenever a tuned engine should be tuned again.
  [[nodiscard]] virtual std::string fingerprint() const = 0;
  /// Memory of at least `bytes` bytes, 64-byte aligned, content unspecified. Error out_of_memory.
  virtual Result<DevicePtr> allocate(size_t bytes) = 0;
  virtual void release(DevicePtr ptr) = 0;
  virtual Status copy_to_device(DevicePtr dst, const void* src, size_t bytes, Stream& stream) = 0;
  virtual Status copy_to_host(void* dst, DevicePtr src, size_t bytes, Stream& stream) = 0;
  virtual Status copy_on_device(DevicePtr dst, DevicePtr src, size_t bytes, Stream& stream) = 0;
  virtual Result<std::unique_ptr<Stream>> create_stream() = 0;
  /// True when kernels of this device read host memory directly, so that host buffers need no copy.
  [[nodiscard]] virtual bool shares_host_memory() const = 0;
};

/// The CPU: device memory is host memory.
Device& host_device();

/// A device for tests: its memory is host memory behind handles that cannot be dereferenced, so that code which
/// mistakes a device address for a host address crashes at once instead of working by luck.
Device& opaque_test_device();
/// Host address behind a handle of opaque_test_device(); for that device's own tactics only. nullptr when the handle is
/// not inside a live allocation.
void* opaque_test_resolve(DevicePtr ptr);

/// Owning device memory.
class DeviceBuffer {
 public:
  DeviceBuffer() = default;
  static Result<DeviceBuffer> create(Device& device, size_t bytes);
  DeviceBuffer(DeviceBuffer&& other) noexcept { swap(other); }
  DeviceBuffer& operator=(DeviceBuffer&& other) noexcept {
    swap(other);
    return *this;
  }
  DeviceBuffer(const DeviceBuffer&) = delete;
  DeviceBuffer& operator=(const DeviceBuffer&) = delete;
  ~DeviceBuffer();
  [[nodiscard]] DevicePtr get() const { return ptr_; }
  [[nodiscard]] size_t bytes() const { return bytes_; }

 private:
  void swap(DeviceBuffer& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(ptr_, other.ptr_);
    std::swap(bytes_, other.bytes_);
  }
  Device* device_ = nullptr;
  DevicePtr ptr_;
  size_t bytes_ = 0;
};

}  // namespace planish
