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


def fake_quantised_network(path):
    """As torch.onnx.export writes networks prepared by torch.ao's FX mode: scales of one element, zero points as
    tensors, quantisers on float weights, batch norms undone by a division and done again behind the convolution."""
    import numpy as np
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    rng = np.random.default_rng(0)
    nodes, constants = [], []

    def constant(name, value):
        constants.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def quantised(x, scale, zero, **axis):
        names = [constant(f"{x}_scale", scale), constant(f"{x}_zero", zero)]
        nodes.append(helper.make_node("QuantizeLinear", [x, *names], [f"{x}_q"], name=f"{x}/q", **axis))
        nodes.append(helper.make_node("DequantizeLinear", [f"{x}_q", *names], [f"{x}_dq"], name=f"{x}/dq", **axis))
        return f"{x}_dq"

    x, channels = quantised("x", np.float32([2 / 255]), np.uint8([128])), 16
    for i in range(3):
        w = rng.normal(0, 0.1, (32, channels, 3, 3)).astype(np.float32)
        weights = quantised(constant(f"w{i}", w), np.abs(w).max((1, 2, 3)) / 127, np.zeros(32, np.int8), axis=0)
        factor = rng.uniform(0.5, 1.5, (1, 32, 1, 1)).astype(np.float32)
        nodes.append(helper.make_node("Conv", [x, weights], [f"c{i}"], name=f"conv{i}", pads=[1] * 4))
        nodes.append(helper.make_node("Div", [f"c{i}", constant(f"f{i}", factor)], [f"d{i}"], name=f"div{i}"))
        norm = [constant(f"n{i}_{j}", rng.uniform(0.5, 1.5, 32).astype(np.float32)) for j in range(4)]
        nodes.append(helper.make_node("BatchNormalization", [f"d{i}", *norm], [f"b{i}"], name=f"norm{i}"))
        nodes.append(helper.make_node("Relu", [f"b{i}"], [f"r{i}"], name=f"relu{i}"))
        x, channels = quantised(f"r{i}", np.float32([0.02]), np.uint8([0])), 32
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [value("x", 1, [2, 16, 12, 12])], [value(x, 1, [2, 32, 12, 12])], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return x


def test_networks_of_torch_ao_run_in_int8(tmp_path):
    import numpy as np
    ort = pytest.importorskip("onnxruntime")
    output = fake_quantised_network(tmp_path / "m.onnx")
    planish_program.call("build", tmp_path / "m.onnx", "--int8", "--builderOptimizationLevel=0", "-o",
                         tmp_path / "e.engine")
    _, layer_of = layers_by_node(tmp_path / "e.engine")
    for i in range(3):
        layer = layer_of[f"conv{i}"]
        assert layer["precision"] == "int8" and layer is layer_of[f"norm{i}"] and layer is layer_of[f"div{i}"]
    x = np.random.default_rng(1).uniform(-1, 1, (2, 16, 12, 12)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x)
    planish_program.call("run", tmp_path / "e.engine", "-i", tmp_path / "x.npz", "-o", tmp_path / "y.npz")
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    expected = ort.InferenceSession(str(tmp_path / "m.onnx"), options).run(None, {"x": x})[0]
    steps = np.abs(np.load(tmp_path / "y.npz")[output] - expected) / 0.02
    assert steps.max() <= 2.01 and (steps > 0.5).mean() < 0.02, (steps.max(), (steps > 0.5).mean())
