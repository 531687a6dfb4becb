#pragma once
// The ONNX file as it is, without import: names, types, attributes, initialisers.

#include "planish/onnx/inspect.h"
