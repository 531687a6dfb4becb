#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "planish/api/model_impl.h"
#include "planish/base/temporary_folder.h"
#include "planish/onnx/export.h"

namespace planish::api {
namespace {

uint64_t source_hash(const std::filesystem::path& file) {
  const auto model = Model::read(file);
  EXPECT_TRUE(model.ok()) << model.error().message();
  return model.ok() ? ModelAccess::impl(*model).source_hash : 0;
}

TEST(Model, SourceHashTellsWeightsInAnotherFileApart) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "digits.onnx";
  const auto inside = Model::read("demo/digits.onnx");
  ASSERT_TRUE(inside.ok()) << inside.error().message();
  const Graph& graph = ModelAccess::impl(*inside).model.graph;
  ASSERT_TRUE(export_onnx(graph, file, {.external_bytes = 0, .force_external = true}).ok());
  const auto data = folder.path() / "digits.onnx.data";
  ASSERT_TRUE(std::filesystem::exists(data));

  const uint64_t before = source_hash(file);
  EXPECT_NE(before, 0U);
  EXPECT_EQ(source_hash(file), before);
  {
    std::fstream weights(data, std::ios::in | std::ios::out | std::ios::binary);
    weights.seekg(100);
    const char old = static_cast<char>(weights.get());
    weights.seekp(100);
    weights.put(static_cast<char>(old ^ 1));
  }
  EXPECT_NE(source_hash(file), before);
}

}  // namespace
}  // namespace planish::api
