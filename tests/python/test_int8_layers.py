"""Which layers of real networks run in INT8, one by one."""
import json

import planish_program
import pytest


def layers_by_node(engine):
    """The layer that computes an ONNX node, by the node's name."""
    layers = json.loads(planish_program.call("inspect", engine, "--layers", "--json"))["layers"]
    return layers, {node: layer for layer in layers for node in layer["onnx_nodes"]}


@pytest.mark.parametrize("level", [0, 3])
def test_every_product_of_the_qat_file_runs_in_int8(level, tmp_path):
    """Explicit precision is obeyed one by one, however fast a layer is in float."""
    onnx = pytest.importorskip("onnx")
    model = planish_program.shared("models", "resnet18_cifar10_qat.onnx")
    planish_program.call("build", model, "--int8", f"--builderOptimizationLevel={level}", "-o", tmp_path / "e.engine")
    _, layer_of = layers_by_node(tmp_path / "e.engine")
    products = [n for n in onnx.load(model).graph.node if n.op_type in ("Conv", "Gemm", "MatMul")]
    assert [n.op_type for n in products].count("Conv") == 20 and len(products) == 21
    for node in products:
        layer = layer_of[node.name]
        assert layer["precision"] == "int8", (node.name, layer["op"], layer["tactic"])
        assert layer["inputs"][0]["type"] in ("int8", "uint8"), node.name


MOVES = {"Concat", "Split", "Slice", "Reshape", "Transpose", "Flatten", "Squeeze", "Unsqueeze", "Gather", "Resize"}


@pytest.mark.slow
def test_only_the_end_of_the_detector_computes_in_float(tmp_path):
    """What decodes the boxes: the softmax, the convolution that is an expectation over it, and the arithmetic behind."""
    model = planish_program.shared("models", "yolov8n_coco128.onnx")
    data = planish_program.shared("data", "coco128", "images")
    planish_program.call("build", model, "--int8", f"--calib={data}", "--preset=yolo", "--calib-samples=4",
                         "--shapes=images:1x3x640x640", "--builderOptimizationLevel=0", "-o", tmp_path / "e.engine",
                         timeout=1200)
    layers, layer_of = layers_by_node(tmp_path / "e.engine")
    computing = [layer for layer in layers if layer["onnx_nodes"] and layer["op"] not in MOVES]
    in_float = [layer for layer in computing if layer["precision"] != "int8"]
    print(f"{len(computing) - len(in_float)} of {len(computing)} layers in INT8; in float:",
          *(f"{layer['op']} {layer['name']}" for layer in in_float), sep="\n  ")
    for layer in in_float:
        assert all(node.startswith("/model.22/") for node in layer["onnx_nodes"]), layer["name"]
    convolutions = [layer for layer in computing if "Conv" in layer["op"]]
    assert [c["onnx_nodes"] for c in convolutions if c["precision"] != "int8"] == [["/model.22/dfl/conv/Conv"]]
    assert len(in_float) <= 12
