"""Products of floats with constant integers: what the engine keeps of the integers, and what comes of them."""
import numpy as np
import planish_program
import pytest
from quantised_graphs import Maker, assert_same, run_onnxruntime

pytest.importorskip("onnxruntime")

F32 = np.float32
K, N = 320, 210


def product(tmp_path, rows, bits, block, zero_points, activation):
    """x * MatMulNBits weights + bias, with or without an activation."""
    m = Maker(rows + bits)
    blocks = -(-K // block)
    inputs = [m.input(m.floats((rows, K))), m.const(m.bytes((N, blocks, block * bits // 8))), m.scale((N, blocks))]
    if zero_points:
        inputs.append(m.const(m.bytes((N, -(-blocks * bits // 8)))))
    y = m.node("Add", [m.node("MatMulNBits", inputs, K=K, N=N, bits=bits, block_size=block), m.const(m.floats(N))], "")
    m.output(m.node("Relu", [y], "") if activation else y, F32)
    return m, m.save(tmp_path / "model.onnx")


def build(path, folder, *options):
    engine = folder / "e.engine"
    planish_program.call("build", path, "-o", engine, "--builderOptimizationLevel=0", *options)
    return engine


def run_engine(engine, feeds, folder):
    np.savez(folder / "inputs.npz", **feeds)
    planish_program.call("run", engine, "-i", folder / "inputs.npz", "-o", folder / "outputs.npz")
    with np.load(folder / "outputs.npz") as outputs:
        return {name: outputs[name] for name in outputs.files}


@pytest.mark.parametrize("forbidden", ["cpu.widened", "cpu.weight_only"])
@pytest.mark.parametrize("rows,bits,block,zero_points,activation", [
    (1, 4, 32, False, False), (7, 4, 16, True, True), (40, 4, 128, True, False), (1, 8, 32, False, True),
    (5, 8, 128, True, True)])
def test_agrees_with_onnxruntime(tmp_path, rows, bits, block, zero_points, activation, forbidden):
    m, path = product(tmp_path, rows, bits, block, zero_points, activation)
    engine = build(path, tmp_path, f"--disable-tactic={forbidden}")
    assert_same(run_engine(engine, m.feeds, tmp_path), run_onnxruntime(path, m.feeds), tolerance=3e-6)


@pytest.mark.parametrize("axis,shape,transposed", [(1, (K, N), False), (0, (N, K), True)])
def test_bytes_with_a_scale_per_column(tmp_path, axis, shape, transposed):
    m = Maker(3)
    w = m.const(m.rng.integers(-127, 128, shape).astype(np.int8))
    real = m.node("DequantizeLinear", [w, m.scale(N, 0.01)], "", axis=axis)
    if transposed:
        real = m.node("Transpose", [real], "", perm=[1, 0])
    m.output(m.node("MatMul", [m.input(m.floats((2, 3, K))), real], ""), F32)
    path = m.save(tmp_path / "model.onnx")
    layers = planish_program.call("inspect", build(path, tmp_path, "--disable-tactic=cpu.widened"), "--layers")
    assert "cpu.weight_only" in layers
    assert_same(run_engine(tmp_path / "e.engine", m.feeds, tmp_path), run_onnxruntime(path, m.feeds), tolerance=3e-6)


def test_engines_keep_four_bits(tmp_path):
    m, path = product(tmp_path, 1, 4, 32, True, False)
    engine = build(path, tmp_path, "--disable-tactic=cpu.widened")
    panels = -(-N // 16) * 16
    packed = panels * K // 2 + panels * (K // 32) * 5 + 4 * N
    assert engine.stat().st_size < packed + 16384
    assert_same(run_engine(engine, m.feeds, tmp_path), run_onnxruntime(path, m.feeds), tolerance=3e-6)


@pytest.mark.parametrize("first,second", [("cpu.widened", "cpu.weight_only"), ("cpu.weight_only", "cpu.widened")])
@pytest.mark.parametrize("bits", [4, 8])
def test_retuning_gets_the_integers_back(tmp_path, bits, first, second):
    m, path = product(tmp_path, 4, bits, 64, True, False)
    engine = build(path, tmp_path, f"--disable-tactic={first}")
    planish_program.call("build", f"--retune={engine}", "--builderOptimizationLevel=0", f"--disable-tactic={second}")
    assert ("cpu.widened" if second == "cpu.weight_only" else "cpu.weight_only") in planish_program.call(
        "inspect", engine, "--layers")
    assert_same(run_engine(engine, m.feeds, tmp_path), run_onnxruntime(path, m.feeds), tolerance=3e-6)
