"""Whole networks as ONNX Runtime's and NNCF's tools quantise them: all import, run, and agree with ONNX Runtime.

Not part of `make test`: `make test-models` runs them (pytest -m models). NNCF's files are made where that package is
installed. With random weights rounding is amplified, so that two correct computations drift apart by as much as
quantising itself changed the result: where the relative L2 distance to ONNX Runtime exceeds 2e-2, planish must be no
further from it than ONNX Runtime is from the FP32 model, and as near to the FP32 model as ONNX Runtime (10 % of slack).
"""
import graphs
import numpy as np
import pytest
from quantised_graphs import run_onnxruntime, run_planish

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.models

MODELS = {"resnet18": dict(N=4), "mobilenet_v2": dict(N=4), "yolov8n": dict(N=1), "minilm_l6": dict(N=2, S=64)}
CLASSIFIERS = ("resnet18", "mobilenet_v2")
STATIC = {  # format, activations, weights, per channel, reduced range
    "qdq_u8s8": ("QDQ", "QUInt8", "QInt8", True, False),
    "qdq_s8s8": ("QDQ", "QInt8", "QInt8", True, False),
    "qdq_u8s8_reduced": ("QDQ", "QUInt8", "QInt8", False, True),
    "qoperator_u8u8": ("QOperator", "QUInt8", "QUInt8", False, False),
    "qoperator_u8s8": ("QOperator", "QUInt8", "QInt8", True, False),
}
DYNAMIC = {"dynamic_u8": ("QUInt8", False), "dynamic_s8": ("QInt8", True)}


def calibration_data(name, count=4):
    return [graphs.make_inputs(name, 1000 + i, **(MODELS[name] | dict(N=1))) for i in range(count)]


class Reader:
    """Calibration data as onnxruntime.quantization reads it."""

    def __init__(self, name):
        self.items = iter(calibration_data(name))

    def get_next(self):
        return next(self.items, None)


@pytest.fixture(scope="module", params=sorted(MODELS))
def network(request, tmp_path_factory):
    """Name, and the FP32 file as quant_pre_process leaves it."""
    from onnxruntime.quantization.shape_inference import quant_pre_process
    if not graphs.GRAPHS.exists():
        pytest.skip("../shared/models/graphs is absent")
    folder = tmp_path_factory.mktemp(request.param)
    prepared = folder / "prepared.onnx"
    quant_pre_process(str(graphs.hydrate(request.param, folder)), str(prepared), skip_symbolic_shape=True)
    yield request.param, prepared
    for file in folder.iterdir():
        file.unlink()


def quantised(kind, name, source, folder):
    from onnxruntime import quantization as q
    path = folder / "quantised.onnx"
    if kind == "nncf":
        nncf = pytest.importorskip("nncf")
        import onnx
        onnx.save(nncf.quantize(onnx.load(source), nncf.Dataset(calibration_data(name)), subset_size=4), path)
    elif kind in DYNAMIC:
        weights, per_channel = DYNAMIC[kind]
        q.quantize_dynamic(str(source), str(path), weight_type=q.QuantType[weights], per_channel=per_channel)
    else:
        form, activations, weights, per_channel, reduced = STATIC[kind]
        q.quantize_static(str(source), str(path), Reader(name), quant_format=q.QuantFormat[form],
                          activation_type=q.QuantType[activations], weight_type=q.QuantType[weights],
                          per_channel=per_channel, reduce_range=reduced)
    return path


def distance(actual, expected):
    return max(graphs.relative_l2(actual[name], expected[name]) for name in expected)


def same_top1(actual, expected):
    key = next(iter(expected))
    return float((actual[key].argmax(-1) == expected[key].argmax(-1)).mean())


@pytest.mark.parametrize("kind", [*STATIC, *DYNAMIC, "nncf"])
def test_quantised_network_agrees_with_onnxruntime(network, tmp_path, kind):
    name, source = network
    path = quantised(kind, name, source, tmp_path)
    feeds = graphs.make_inputs(name, 5000, **MODELS[name])
    shapes = f"--shapes={graphs.shapes_text(feeds)}"
    actual = run_planish(path, feeds, tmp_path, shapes)
    expected = run_onnxruntime(path, feeds, optimised=True)
    assert all(actual[k].shape == v.shape and np.isfinite(actual[k]).all() for k, v in expected.items())
    error = distance(actual, expected)
    print(f"{name} {kind}: relative L2 to ONNX Runtime {error:.2e}", end="")
    if name in CLASSIFIERS:
        print(f", same top-1 {same_top1(actual, expected):.0%}")
        assert error <= 2e-2 or same_top1(actual, expected) >= 0.99
        return
    if error <= 2e-2:
        return
    exact = run_onnxruntime(source, feeds, optimised=True)
    noise = distance(expected, exact)
    print(f"; to FP32: planish {distance(actual, exact):.2e}, ONNX Runtime {noise:.2e}")
    assert error <= noise
    assert distance(actual, exact) <= 1.1 * noise
