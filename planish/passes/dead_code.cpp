// Drops nodes whose outputs nobody reads, and constants without readers. Graph inputs stay.

#include "planish/passes/edit.h"
#include "planish/passes/pass.h"

namespace planish {

Result<Graph> dead_code(const Graph& graph, const PassOptions&) {
  Edit edit(graph);
  // Readers stand behind the values they read, so one walk from the end suffices.
  for (int32_t n = edit.size() - 1; n >= 0; --n)
    if (edit.alive(n)) edit.remove_if_unused(n);
  return std::move(edit).finish();
}

}  // namespace planish
