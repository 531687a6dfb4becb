// libFuzzer target: any bytes must import or be refused, and what imports must survive shape inference.

#include <cstddef>
#include <cstdint>
#include <span>

#include "planish/onnx/import.h"
#include "planish/ops/infer_graph.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  auto model = planish::import_onnx(std::as_bytes(std::span(data, size)));
  if (!model.ok()) return 0;
  (void)planish::annotate_shapes(model->graph).ok();
  return 0;
}
