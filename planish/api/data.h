#pragma once
// What command lines and bindings need from planish/data: tensors in files, pictures, data sets, accuracy.

#include "planish/data/coco_map.h"
#include "planish/data/dataset.h"
#include "planish/data/image.h"
#include "planish/data/metrics.h"
#include "planish/data/npy.h"
#include "planish/data/npy_file.h"
#include "planish/data/npz.h"
#include "planish/data/polygraphy_json.h"
#include "planish/data/preprocess.h"
#include "planish/data/yolo_decode.h"
#include "planish/ir/tensor.h"
