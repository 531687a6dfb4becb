#pragma once

#include "planish/engine/engine.h"

namespace planish {

/// Lets go of the graph's form of every constant that no layer reads: tactics packed them into a form of their own.
void drop_packed_constants(Engine& engine);

}  // namespace planish
