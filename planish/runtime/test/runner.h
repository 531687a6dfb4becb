#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "planish/ir/text.h"
#include "planish/ops/infer_graph.h"
#include "planish/ops/op.h"
#include "planish/runtime/context.h"
#include "planish/runtime/executable.h"

namespace planish::test {

inline const TacticTable& host_reference_table() {
  static const TacticTable table{{&kHostReferenceTactic}};
  return table;
}

/// An engine without tuning: every node runs by the first tactic of the table. Dimensions of inputs that the text
/// leaves open range from 0 to 64, tuned for 2.
inline std::shared_ptr<const Engine> engine_of(std::string_view text, const TacticTable& table) {
  auto graph = parse_text(text);
  EXPECT_TRUE(graph.ok()) << (graph.ok() ? "" : graph.error().message());
  auto engine = std::make_shared<Engine>();
  if (!graph.ok()) return engine;
  engine->graph = std::move(*graph);
  for (size_t n = 0; n < engine->graph.nodes.size(); ++n) {
    engine->layers.emplace_back();
    engine->layers.back().tactic = std::string(table.tactics.front()->id);
  }
  Profile profile;
  for (const ValueId v : engine->graph.inputs) {
    ShapeRange range{*engine->graph.value(v).shape, *engine->graph.value(v).shape, *engine->graph.value(v).shape};
    for (size_t d = 0; d < range.opt.size(); ++d)
      if (range.opt[d] == kUnknownDim) {
        range.min[d] = 0;
        range.opt[d] = 2;
        range.max[d] = 64;
      }
    profile.inputs.push_back(range);
  }
  engine->profiles.push_back(profile);
  return engine;
}

inline std::shared_ptr<const Executable> executable_of(std::shared_ptr<const Engine> engine, bool opaque = false) {
  auto made = opaque ? Executable::create(std::move(engine), opaque_test_device(), opaque_test_tactics(), 1)
                     : Executable::create(std::move(engine), host_device(), host_reference_table(), 1);
  EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().message());
  return made.ok() ? *made : nullptr;
}

inline std::unique_ptr<Context> context_of(std::string_view text, bool opaque = false,
                                           const ContextOptions& options = {}) {
  const TacticTable& table = opaque ? opaque_test_tactics() : host_reference_table();
  auto context = Context::create(executable_of(engine_of(text, table), opaque), options);
  EXPECT_TRUE(context.ok());
  return std::move(context).value();
}

/// Outputs of the context equal those of the interpreter, bit by bit.
inline void expect_like_interpreter(Context& context, const std::vector<Tensor>& inputs) {
  auto expected = interpret(context.executable().graph(), inputs);
  ASSERT_TRUE(expected.ok()) << expected.error().message();
  auto got = context.run_host(inputs);
  ASSERT_TRUE(got.ok()) << got.error().message();
  ASSERT_EQ(got->size(), expected->size());
  for (size_t i = 0; i < got->size(); ++i)
    EXPECT_TRUE(bitwise_equal((*got)[i], (*expected)[i]))
        << "output " << i << " " << to_string((*got)[i].shape()) << " expected " << to_string((*expected)[i].shape());
}

}  // namespace planish::test
