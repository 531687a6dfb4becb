#pragma once

#include "planish/engine/engine.h"

namespace planish {

/// The graph of an engine as it was before tactics were chosen: no reformats, every layout row-major, every constant in
/// the graph's own form. Error unsupported: a weight is packed in a form that no tactic of `table` can read.
Result<Graph> untuned_graph(const Engine& engine, const TacticTable& table);

}  // namespace planish
