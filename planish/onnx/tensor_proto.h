#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "planish/base/status.h"
#include "planish/ir/tensor.h"
#include "planish/onnx/external_data.h"

namespace onnx {
class SparseTensorProto;
class TensorProto;
class TypeProto;
}  // namespace onnx

namespace planish {

/// Element type of a TensorProto.DataType number; undefined for numbers that planish does not know.
DType dtype_of_onnx(int32_t data_type);

/// Turns TensorProto messages into tensors. Errors name the tensor: corrupt (data does not fit the dimensions),
/// unsupported (strings, unknown types), and those of ExternalData.
class TensorReader {
 public:
  explicit TensorReader(std::filesystem::path folder) : external_(std::move(folder)) {}

  /// Messages must outlive the reader: one that is read twice (function bodies) gives tensors that share their data.
  Result<Tensor> read(const onnx::TensorProto& proto);
  /// The same, but takes raw_data out of the message instead of copying it.
  Result<Tensor> take(onnx::TensorProto& proto);
  /// Writes the stored elements into a tensor of zeros.
  Result<Tensor> read_sparse(const onnx::SparseTensorProto& proto);
  /// The files outside of the model that were read so far, in order of name.
  [[nodiscard]] std::vector<std::filesystem::path> external_files() const { return external_.files(); }

 private:
  Result<Tensor> read_external(const onnx::TensorProto& proto, DType dtype, Shape shape);

  Result<Tensor> read_fresh(const onnx::TensorProto& proto);
  Result<Tensor> read_sparse_fresh(const onnx::SparseTensorProto& proto);

  ExternalData external_;
  std::unordered_map<const void*, Tensor> known_;  ///< by message
};

/// Writes `tensor` into `proto` (dims, data_type, raw_data); the name is left alone.
void write_tensor(const Tensor& tensor, onnx::TensorProto& proto);

/// A declared type, as far as the graph can represent it.
struct DeclaredType {
  DType dtype = DType::undefined;
  std::optional<Shape> shape;
  std::vector<std::string> dim_names;  ///< as in Value::dim_names
  std::string refusal;                 ///< "a sequence", "an optional", ...; "" for tensors
};
DeclaredType read_type(const onnx::TypeProto& proto);

}  // namespace planish
