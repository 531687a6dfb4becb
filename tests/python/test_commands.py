"""planish build, run, bench, inspect, compare and eval on the demo's model, as a user calls them."""
import csv
import json

import numpy as np
import planish_program
import pytest

DEMO = planish_program.ROOT / "demo"
MODEL = DEMO / "digits.onnx"
RANGES = ["--minShapes=image:1x1x32x32", "--optShapes=image:4x1x32x32", "--maxShapes=image:32x1x32x32"]


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    path = tmp_path_factory.mktemp("engines") / "digits.engine"
    out = planish_program.call("build", MODEL, "-o", path, *RANGES, "--builderOptimizationLevel=1")
    assert "input image: 1x1x32x32 to 32x1x32x32, tuned for 4x1x32x32" in out
    return path


@pytest.fixture(scope="module")
def fixed_engine(tmp_path_factory):
    path = tmp_path_factory.mktemp("engines") / "fixed.engine"
    planish_program.call("build", MODEL, "-o", path, "--shapes=image:7x1x32x32", "--builderOptimizationLevel=0")
    return path


def evaluated(tmp_path, *arguments):
    report = tmp_path / "report.json"
    planish_program.call("eval", *arguments, f"--data={DEMO / 'images'}", f"--preset={DEMO / 'preprocess.json'}",
                         f"--json={report}")
    return json.loads(report.read_text())


def test_eval_counts_like_the_training_script(tmp_path, engine):
    right, _, count = (DEMO / "accuracy.txt").read_text().split()[:3]
    report = evaluated(tmp_path, engine)
    assert report["top1_hits"] == int(right) and report["pictures"] == int(count)
    assert report["preprocess"]["name"] == "digits" and report["batch"] == 4


def test_eval_fills_up_a_fixed_batch(tmp_path, engine, fixed_engine):
    whole, fixed = evaluated(tmp_path, engine), evaluated(tmp_path, fixed_engine)
    assert fixed["batch"] == 7 and 359 % 7 != 0
    assert (fixed["top1_hits"], fixed["top5_hits"]) == (whole["top1_hits"], whole["top5_hits"])


def test_eval_builds_from_a_model_and_limits(tmp_path):
    predictions = tmp_path / "predictions.csv"
    report = evaluated(tmp_path, MODEL, "--limit=50", "--builderOptimizationLevel=0", f"--predictions={predictions}")
    rows = list(csv.DictReader(predictions.open()))
    assert report["pictures"] == len(rows) == 50
    assert sum(row["rank_of_label"] == "0" for row in rows) == report["top1_hits"]
    assert len({row["label"] for row in rows}) == 10  # spread over the data


def test_run_agrees_with_onnxruntime(tmp_path, engine):
    ort = pytest.importorskip("onnxruntime")
    values = np.random.default_rng(0).random((3, 1, 32, 32), np.float32)
    np.save(tmp_path / "x.npy", values)
    want = ort.InferenceSession(str(MODEL)).run(None, {"image": values})[0]
    out = planish_program.call("run", engine, "--input", f"image={tmp_path / 'x.npy'}", "-o", tmp_path / "out.npz")
    assert "logits float32 (3, 10)" in out and "best classes of row 2" in out
    np.testing.assert_allclose(np.load(tmp_path / "out.npz")["logits"], want, rtol=1e-3, atol=1e-4)
    planish_program.call("run", engine, "-i", tmp_path / "x.npy", "-o", tmp_path / "folder")
    np.testing.assert_allclose(np.load(tmp_path / "folder" / "logits.npy"), want, rtol=1e-3, atol=1e-4)
    planish_program.call("run", MODEL, "-i", tmp_path / "x.npy", "-o", tmp_path / "out.json",
                         "--builderOptimizationLevel=0")
    assert json.loads((tmp_path / "out.json").read_text())["polygraphy_class"] == "RunResults"


def test_run_on_pictures(engine):
    pictures = sorted((DEMO / "images").glob("*.png"))[:2]
    out = planish_program.call("run", engine, *(f"--input={p}" for p in pictures),
                               f"--preset={DEMO / 'preprocess.json'}")
    assert "logits float32 (2, 10)" in out


def test_bench(tmp_path, engine):
    out = planish_program.call("bench", engine, "--duration=0.2", "--warmUp=20", "--streams=2",
                               f"--json={tmp_path / 'bench.json'}")
    assert "Latency: min" in out and "in batches of 4" in out
    report = json.loads((tmp_path / "bench.json").read_text())
    assert len(report["latencies_ms"]) >= 20
    assert report["latency_ms"]["min"] <= report["latency_ms"]["median"] <= report["latency_ms"]["p99"]


def test_inspect(engine):
    report = json.loads(planish_program.call("inspect", engine, "--json", "--profile", "--rounds=3"))
    nodes = {node for layer in report["layers"] for node in layer["onnx_nodes"]}
    assert "stem/conv" in nodes and "classifier" in nodes
    assert report["profiles"][0]["image"]["max"] == [32, 1, 32, 32]
    assert sum(layer["time_ms"] for layer in report["layers"]) > 0
    assert "ONNX nodes" in planish_program.call("inspect", engine, "--layers")
    model = json.loads(planish_program.call("inspect", MODEL, "--json"))
    assert model["inputs"][0]["shape"] == ["N", 1, 32, 32] and len(model["nodes"]) == 38


def test_compare(tmp_path, engine, fixed_engine):
    out = planish_program.call("compare", engine, fixed_engine, "--rounds=3", f"--json={tmp_path / 'c.json'}",
                               f"--csv={tmp_path / 'c.csv'}", f"--md={tmp_path / 'c.md'}")
    assert "Delta (ms)" in out and "Whole run" in out
    report = json.loads((tmp_path / "c.json").read_text())
    for group in report["groups"]:
        assert group["delta_ms"] == pytest.approx(group["b_ms"] - group["a_ms"], abs=2e-6)
    nodes = [node for group in report["groups"] for node in group["onnx_nodes"]]
    assert len(nodes) == len(set(nodes)) and "classifier" in nodes
    assert (tmp_path / "c.md").read_text().startswith("| ONNX nodes |")


def test_disabled_tactics_are_left_out(tmp_path):
    path = tmp_path / "e.engine"
    planish_program.call("build", MODEL, "-o", path, "--shapes=image:4x1x32x32", "--disable-tactic=cpu.winograd,onednn")
    told = json.loads(planish_program.call("inspect", path, "--json"))
    assert json.loads(told["build_options"])["disabled_tactics"] == ["cpu.winograd", "onednn"]
    tactics = {layer["tactic"] for layer in told["layers"]}
    assert tactics and not any(t.startswith(("cpu.winograd", "cpu.onednn")) for t in tactics)


def test_retune_in_place(tmp_path, engine):
    copy = tmp_path / "copy.engine"
    copy.write_bytes(engine.read_bytes())
    planish_program.call("build", f"--retune={copy}", "--builderOptimizationLevel=0")
    assert evaluated(tmp_path, copy)["top1_hits"] == evaluated(tmp_path, engine)["top1_hits"]


@pytest.mark.parametrize("arguments, text", [
    (["build", MODEL], "add -o model.engine"),
    (["build", MODEL, "-o", "x.engine", "--fp61"], "did you mean --fp16?"),
    (["build", MODEL, "-o", "no_such_folder/x.engine"], "no_such_folder"),
    (["build", "README.md", "-o", "x.engine"], "README.md"),
    (["build", MODEL, "-o", "x.engine", "--shapes=imag:1x1x32x32"], "did you mean 'image'?"),
    (["eval", MODEL], "--data"),
    (["eval", MODEL, "--data=no_such_folder"], "no_such_folder"),
    (["run", "no_such.engine"], "no_such.engine"),
    (["bench", MODEL, "--streams=0"], "out of range"),
    (["compare", MODEL], "B is missing"),
    (["inspect", MODEL, "--profile"], "needs an engine"),
    (["inspect", MODEL, "--json=x.json"], "takes no value"),
    (["run", MODEL, "-o", "no_such_folder/o.npz"], "no_such_folder"),
    (["run", MODEL, "--labels=no_such.txt"], "no_such.txt"),
    (["bench", MODEL, "--json=no_such_folder/b.json"], "no_such_folder"),
    (["eval", MODEL, "--data=.", "--json=no_such_folder/e.json"], "no_such_folder"),
    (["eval", MODEL, f"--data={DEMO / 'images'}", "--preset=imagnet"], "imagnet"),
])
def test_errors_say_what_to_do(tmp_path, monkeypatch, arguments, text):
    monkeypatch.chdir(tmp_path)
    assert text in planish_program.call(*arguments, code=1)
    assert not list(tmp_path.iterdir())  # nothing half-written


@pytest.mark.parametrize("command", ["build", "run", "bench", "inspect", "compare", "eval"])
def test_help_carries_an_example(command):
    out = planish_program.call(command, "--help")
    assert f"Example:\n  planish {'build' if command == 'compare' else command} " in out
