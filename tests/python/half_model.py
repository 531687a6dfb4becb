"""Turns FP32 ONNX models into models that are FP16 or BF16 throughout: weights, activations, inputs and outputs."""
import numpy as np
import onnx
from onnx import numpy_helper

KEEPS_FLOAT = {"Resize": (1, 2)}  # inputs whose type is f32 whatever the data's


def _as_half(tensor, elem_type):
    values = numpy_helper.to_array(tensor)
    if elem_type == onnx.TensorProto.FLOAT16:
        limit = np.finfo(np.float16).max
        half = numpy_helper.from_array(np.clip(values, -limit, limit).astype(np.float16), tensor.name)
    else:
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
        rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
        half = onnx.TensorProto(name=tensor.name, data_type=elem_type, dims=values.shape, raw_data=rounded.tobytes())
    tensor.CopyFrom(half)


def _kept(graph):
    return {node.input[i] for node in graph.node for i in KEEPS_FLOAT.get(node.op_type, ()) if i < len(node.input)}


def to_half(model, elem_type):
    """Rewrites `model` in place; graphs without bodies (If, Loop) only."""
    graph = model.graph
    kept = _kept(graph)
    for tensor in graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and tensor.name not in kept:
            _as_half(tensor, elem_type)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name == "to" and attribute.i == onnx.TensorProto.FLOAT:
                attribute.i = elem_type
            is_kept = node.output[0] in kept
            if attribute.type == attribute.TENSOR and attribute.t.data_type == onnx.TensorProto.FLOAT and not is_kept:
                _as_half(attribute.t, elem_type)
    for value in [*graph.input, *graph.output]:
        tensor_type = value.type.tensor_type
        if tensor_type.elem_type == onnx.TensorProto.FLOAT:
            tensor_type.elem_type = elem_type
    del graph.value_info[:]
    return model
