"""`polygraphy inspect model` against the real polygraphy package, byte for byte."""
import subprocess
import sys

import numpy as np
import planish_program
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("polygraphy")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def save(path, nodes, inputs, outputs, initialisers=(), opsets=(("", 17),), doc=""):
    graph = helper.make_graph(nodes, path.stem, inputs, outputs, list(initialisers), doc_string=doc)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(d, v) for d, v in opsets], ir_version=9)
    onnx.save(model, path)
    return path


def branches(path):
    then = helper.make_graph([helper.make_node("Add", ["x", "one"], ["t"], name="then_add")], "then", [],
                             [value("t", ["N", 3])], [numpy_helper.from_array(np.ones(1, np.float32), "one")])
    table = numpy_helper.from_array(np.arange(6, dtype=np.float32).reshape(2, 3) / 3)
    other = helper.make_graph([helper.make_node("Constant", [], ["c"], value=table),
                               helper.make_node("Identity", ["x"], ["e"])], "other", [], [value("e", ["N", 3])])
    node = helper.make_node("If", ["cond"], ["y"], name="branch", then_branch=then, else_branch=other)
    return save(path, [node], [value("x", ["N", 3]), value("cond", [], TensorProto.BOOL)], [value("y", None)],
                opsets=(("", 17), ("com.microsoft", 1)), doc="Two\nlines")


def attributes(path):
    nodes = [helper.make_node("Resize", ["x", "", "", "sizes"], ["r"], name="rs", mode="linear", cubic_coeff_a=-0.75),
             helper.make_node("Custom", ["r", "r"], ["u", "v"], domain="my.domain", fs=[0.1, 1e-7, 2.0, 3e20],
                              ss=["a", "b'c"], t=numpy_helper.from_array(np.array(5, np.int64))),
             helper.make_node("Mul", ["u", "w"], ["y"])]
    initialisers = [numpy_helper.from_array(np.array([1, 3, 16, 16], np.int64), "sizes"),
                    numpy_helper.from_array(np.float32(2.5).reshape(()), "w")]
    return save(path, nodes, [value("x", [None, 3, "H", 8])], [value("y", None), value("v", [])], initialisers,
                (("", 18), ("my.domain", 3)))


def weights(path):
    rng = np.random.default_rng(0)
    arrays = [np.array([1e-5, 1, 1000], np.float32), rng.normal(size=(40, 40)).astype(np.float32),
              np.array([np.inf, -1.5, np.nan], np.float32), np.array([0.1, 65504, -3], np.float16),
              np.array([0.1, 2 / 3, 1e100]), np.zeros((2, 0), np.float32), np.array([[True, False]]),
              np.arange(2000), rng.normal(size=(3, 30)).astype(np.float32), rng.normal(size=(2, 2, 2, 2)),
              np.array([123456.789, 0.001234], np.float32), np.array([-2**63, 5]),
              rng.normal(0, 0.1, (16, 8, 3, 3)).astype(np.float32), np.zeros(3, np.float32)]
    initialisers = [numpy_helper.from_array(a, f"w{i}") for i, a in enumerate(arrays)]
    return save(path, [helper.make_node("Identity", ["x"], ["y"])], [value("x", [1])], [value("y", [1])], initialisers)


@pytest.mark.parametrize("show", [[], ["layers"], ["layers", "attrs"], ["weights"], ["layers", "attrs", "weights"]])
@pytest.mark.parametrize("make", [branches, attributes, weights])
def test_same_text(tmp_path, make, show):
    path = make(tmp_path / f"{make.__name__}.onnx")
    arguments = ["inspect", "model", str(path), *(["--show", *show] if show else [])]
    real = subprocess.run([sys.executable, "-c", "from polygraphy.tools import main; main()", *arguments],
                          capture_output=True, text=True, timeout=120)
    assert real.returncode == 0, real.stderr
    want = [line for line in real.stdout.splitlines() if "'colored' module" not in line]
    assert planish_program.call("polygraphy", *arguments).splitlines() == want
