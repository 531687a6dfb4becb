"""Tensors that shape arithmetic computes while planning (small ones made of a shape), read by layers in other layouts:
the results are ONNX Runtime's at the batch where they are known and at the one where they are too large for it."""
import numpy as np
import onnx
import planish_program
import pytest
from onnx import TensorProto, helper, numpy_helper

LARGEST = 4  # batch at which every tensor here has more elements than are carried along while planning


def residual(kind):
    """Nodes that make `r` in the shape of `x`."""
    nodes = [helper.make_node("Shape", ["x"], ["s"])]
    if kind == "filled":
        value = numpy_helper.from_array(np.array([0.5], np.float32))
        return [*nodes, helper.make_node("ConstantOfShape", ["s"], ["r"], value=value)]
    return [*nodes, helper.make_node("Expand", ["k", "s"], ["r"])]


def network(path, kind, channels, size):
    rng = np.random.default_rng(channels)
    weights = {name: rng.standard_normal((channels, channels, 3, 3)).astype(np.float32) * 0.1 for name in ("w", "v")}
    weights["k"] = rng.standard_normal((1, channels, size, size)).astype(np.float32)
    nodes = [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Conv", ["a", "w"], ["c"], pads=[1] * 4),
             *residual(kind), helper.make_node("Add", ["c", "r"], ["t"]), helper.make_node("Relu", ["t"], ["u"]),
             helper.make_node("Conv", ["u", "v"], ["y"], pads=[1] * 4)]
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", channels, size, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items() if name in used])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


@pytest.mark.parametrize("level", ["0", "3", "5"])
@pytest.mark.parametrize("channels, size", [(24, 13), (40, 10), (8, 22), (4, 32)])
@pytest.mark.parametrize("kind", ["filled", "expanded"])
def test_known_residuals(tmp_path, kind, channels, size, level):
    onnxruntime = pytest.importorskip("onnxruntime")
    model, engine = tmp_path / "m.onnx", tmp_path / "m.engine"
    network(model, kind, channels, size)
    dims = f"x{channels}x{size}x{size}"
    planish_program.call("build", model, "-o", engine, f"--minShapes=x:1{dims}", f"--optShapes=x:1{dims}",
                         f"--maxShapes=x:{LARGEST}{dims}", f"--builderOptimizationLevel={level}")
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    for batch in (1, LARGEST):
        x = np.random.default_rng(batch).standard_normal((batch, channels, size, size)).astype(np.float32)
        np.save(tmp_path / "x.npy", x)
        planish_program.call("run", engine, f"--input=x={tmp_path / 'x.npy'}", "-o", tmp_path / "y.npz")
        expected = session.run(None, {"x": x})[0]
        got = np.load(tmp_path / "y.npz")["y"]
        assert np.abs(got - expected).max() <= 1e-4 * np.abs(expected).max(), f"batch {batch}"
