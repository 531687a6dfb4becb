#include "planish/onnx/parse.h"

#include <fmt/format.h>

#include <limits>

#include "onnx.pb.h"
#include "planish/onnx/file_kind.h"

namespace planish {

void DeleteModel::operator()(onnx::ModelProto* model) const { delete model; }

Result<ModelPtr> parse_model(std::span<const std::byte> bytes) {
  if (const WhyNot reason = why_not_onnx(bytes))
    return Error{.code = Code::corrupt,
                 .what = "this is not an ONNX model: the file " + *reason,
                 .fix = "give the .onnx file itself"};
  if (bytes.size() > static_cast<size_t>(std::numeric_limits<int>::max()))
    return Error{.code = Code::corrupt,
                 .what = fmt::format("the file has {} bytes; protobuf messages end at 2 GiB", bytes.size()),
                 .fix = "save the model with external data (onnx.save(..., save_as_external_data=True))"};
  ModelPtr model(new onnx::ModelProto);
  const bool good = model->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  if (!good)
    return Error{.code = Code::corrupt,
                 .what = model->has_graph() || model->has_ir_version()
                             ? "the ONNX model is truncated or damaged"
                             : "this is not an ONNX model, or it is damaged: protobuf cannot decode it",
                 .fix = "copy or export the file again"};
  if (!model->has_graph())
    return Error{.code = Code::corrupt,
                 .what = "the file decodes, but it holds no graph: it is not an ONNX model",
                 .fix = "give the .onnx file itself"};
  return model;
}

}  // namespace planish
