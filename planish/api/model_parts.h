#pragma once
// Cutting nodes out of ONNX files.

#include "planish/onnx/extract.h"
