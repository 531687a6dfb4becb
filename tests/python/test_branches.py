"""Branches of If that the shapes of a build do not fit, as exporters write them for other input sizes (a voice activity
detector with one network for each sampling rate): the engine is built, and only the branch that is taken has to run."""
import numpy as np
import onnx
import planish_program
import pytest
from onnx import TensorProto, helper, numpy_helper


def branch(name, filters):
    """A convolution over `filters.shape[-1]` numbers, and the largest result."""
    nodes = [helper.make_node("Conv", ["x", f"{name}_w"], [f"{name}_c"], name=f"{name}_conv"),
             helper.make_node("ReduceMax", [f"{name}_c"], [f"{name}_y"], keepdims=0)]
    return helper.make_graph(nodes, name, [], [helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, [])],
                             [numpy_helper.from_array(filters, f"{name}_w")])


@pytest.fixture
def model(tmp_path):
    rng = np.random.default_rng(0)
    short, long = (rng.standard_normal((4, 1, taps)).astype(np.float32) for taps in (8, 64))
    nodes = [helper.make_node("If", ["wide"], ["y"], name="rate", then_branch=branch("short", short),
                              else_branch=branch("long", long))]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, "T"]),
                     helper.make_tensor_value_info("wide", TensorProto.BOOL, [])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [])])
    path = tmp_path / "rates.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    x = rng.standard_normal((1, 1, 32)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "yes.npy", np.array(True))
    np.save(tmp_path / "no.npy", np.array(False))
    return path, max(np.correlate(x[0, 0], taps[0], "valid").max() for taps in short)


@pytest.mark.parametrize("level", ["0", "3"])
def test_a_branch_that_does_not_fit(tmp_path, model, level):
    path, expected = model
    planish_program.call("build", path, "-o", tmp_path / "e.engine", "--shapes=x:1x1x32",
                         f"--builderOptimizationLevel={level}")
    feed = ["run", tmp_path / "e.engine", f"--input=x={tmp_path / 'x.npy'}"]
    planish_program.call(*feed, f"--input=wide={tmp_path / 'yes.npy'}", f"--output={tmp_path / 'out'}")
    y = np.load(next((tmp_path / "out").glob("*.npy")))
    np.testing.assert_allclose(y, expected, rtol=1e-5)
    message = planish_program.call(*feed, f"--input=wide={tmp_path / 'no.npy'}", code=1)
    assert "long_conv" in message and "64" in message, message
