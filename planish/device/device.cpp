#include "planish/device/device.h"

namespace planish {

Result<DeviceBuffer> DeviceBuffer::create(Device& device, size_t bytes) {
  DeviceBuffer buffer;
  buffer.ptr_ = PLANISH_TRY(device.allocate(bytes));
  buffer.device_ = &device;
  buffer.bytes_ = bytes;
  return buffer;
}

DeviceBuffer::~DeviceBuffer() {
  if (device_ != nullptr && ptr_) device_->release(ptr_);
}

}  // namespace planish
