#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "planish/base/status.h"

namespace onnx {
class ModelProto;
}

namespace planish {

struct DeleteModel {
  void operator()(onnx::ModelProto* model) const;
};
using ModelPtr = std::unique_ptr<onnx::ModelProto, DeleteModel>;

/// Decodes the bytes of an ONNX file. Error corrupt: what the bytes are instead, or that they are truncated.
Result<ModelPtr> parse_model(std::span<const std::byte> bytes);

}  // namespace planish
