"""Whole networks: every exported graph, built and run by the program, agrees with ONNX Runtime.

Not part of `make test`: `make test-models` runs them (pytest -m models). $PLANISH_BIN names another folder of programs.
"""
import os
import subprocess

import graphs
import numpy as np
import pytest

pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.models

TOLERANCE = 1e-3  # relative L2, per output
# With random weights these amplify rounding: ONNX Runtime's own optimisation levels differ by more than half.
CHAOTIC = {"dynamo_efficientnet_v2_s": "random weights make its logits depend on rounding"}
BATCHES = (1, 4)
SEQUENCES = (1, 17, 128, 384)
NAMES = graphs.names() or [pytest.param("none", marks=pytest.mark.skip(reason="../shared/models/graphs is absent"))]


@pytest.fixture(scope="session")
def planish(bin_dir):
    program = (bin_dir if "PLANISH_BIN" not in os.environ else graphs.Path(os.environ["PLANISH_BIN"])) / "planish"
    if not program.exists():
        pytest.skip(f"{program} is not built")
    return program


def call(*arguments):
    done = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def build(planish, model, engine, shapes):
    """Builds with little timing: which tactic wins is not what is tested here."""
    call(planish, "build", model, "-o", engine, "--builderOptimizationLevel=1", *shapes)


def run(planish, engine, feeds, folder):
    np.savez(folder / "inputs.npz", **feeds)
    call(planish, "run", engine, "-i", folder / "inputs.npz", "-o", folder / "outputs.npz")
    with np.load(folder / "outputs.npz") as outputs:
        return {name: outputs[name] for name in outputs.files}


def assert_close(actual, expected, at):
    assert set(actual) == set(expected), at
    for name, reference in expected.items():
        assert actual[name].shape == reference.shape, f"{at}: {name}"
        assert actual[name].dtype == reference.dtype, f"{at}: {name}"
        assert np.isfinite(actual[name]).all(), f"{at}: {name}"
        error = graphs.relative_l2(actual[name], reference)
        assert error <= TOLERANCE, f"{at}: {name} is off by {error:.3g}"


def profile(dims, smallest, tuned, largest):
    """Shape options of one engine for all sizes between two; none where every dimension is fixed."""
    if not any(isinstance(d, str) for shape in dims.values() for d in shape):
        return []
    return [f"--{word}Shapes=" + graphs.shapes_text({k: graphs.dims_at(v, **sizes) for k, v in dims.items()})
            for word, sizes in (("min", smallest), ("opt", tuned), ("max", largest))]


@pytest.mark.parametrize("name", NAMES)
def test_one_engine_for_all_shapes_agrees_with_onnxruntime(planish, tmp_path, name):
    import onnxruntime
    if name in CHAOTIC:
        pytest.skip(CHAOTIC[name])
    dims = graphs.input_dims(name)
    symbols = {d for shape in dims.values() for d in shape if isinstance(d, str)}
    sequences = SEQUENCES if "S" in symbols else (1,)
    cases = [{"N": n, "S": s} for s in sequences for n in (BATCHES if "N" in symbols else (1,))]
    model, engine = graphs.hydrate(name, tmp_path), tmp_path / "model.engine"
    try:
        build(planish, model, engine, profile(dims, cases[0], cases[0] | {"S": 128}, cases[-1]))
        session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        for seed, sizes in enumerate(cases):
            feeds = graphs.make_inputs(name, seed, **sizes)
            expected = graphs.onnxruntime_outputs(model, feeds, session)
            assert_close(graphs.in_order_of(expected, run(planish, engine, feeds, tmp_path)), expected, sizes)
    finally:
        for file in tmp_path.iterdir():
            file.unlink()


@pytest.mark.parametrize("name", NAMES)
def test_activation_memory_is_near_the_largest_live_set(bin_dir, tmp_path, name):
    report = bin_dir.parent / "tests" / "dev" / "arena_report"
    if not report.exists():
        pytest.skip(f"{report} is not built")
    model = graphs.hydrate(name, tmp_path)
    for size in BATCHES:
        call(report, model, "--dims", size)  # exit status 1 above 1.15
