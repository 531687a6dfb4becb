"""The benchmark's reports; the measuring itself is not a test."""
import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))
import memory  # noqa: E402
import report  # noqa: E402

PEERS = ["onnxruntime", "openvino"]


def row(model, precision="fp32", mode="latency", **more):
    out = {"model": model, "precision": precision, "mode": mode, "build_s": 1.0, "ratio": 2.0, "share": 0.8}
    for key, ms in {"planish": 5.0, "onnxruntime": 10.0, "openvino": 20.0}.items():
        out |= {f"{key}_ms": ms, f"{key}_qps": 1e3 / ms}
    return out | more


def test_rows_are_grouped_by_precision_and_mode():
    rows = [row("a"), row("a", "int8"), row("b")]
    assert {key: [r["model"] for r in part] for key, part in report.groups(rows).items()} == {
        ("fp32", "latency"): ["a", "b"], ("int8", "latency"): ["a"]}


def test_latencies_and_ratios_are_in_the_table():
    lines = report.table([row("network"), row("b")], PEERS, markdown=True).splitlines()
    assert [cell.strip() for cell in lines[0].split("|")[1:-1]] == [
        "model", "planish ms", "onnxruntime ms", "openvino ms", "ratio to best peer", "share of limit", "build s"]
    assert set(lines[1]) <= set("| -")
    assert [cell.strip() for cell in lines[2].split("|")[1:-1]] == ["network", "5.00", "10.00", "20.00", "2.00", "0.80",
                                                                  "1.0"]
    assert len({len(line) for line in lines}) == 1


def test_throughput_shows_queries_and_scaling():
    text = report.table([row("a", mode="throughput", scaling=0.93)], PEERS, markdown=False)
    assert "planish queries/s" in text and "200.0" in text and "0.93" in text


def test_quantised_networks_show_the_same_file_too():
    text = report.table([row("a", "int8", planish_qdq_ms=6.5, ratio_qdq=1.5)], PEERS, markdown=False)
    assert "same file ms" in text and "6.50" in text and "1.50" in text


def test_title_has_the_geometric_mean():
    assert "1.414" in report.title("fp32", "latency", [row("a", ratio=1.0), row("b", ratio=2.0)])


def test_chart_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    report.chart([row("a"), row("a", "int8", ratio=0.9)], PEERS, {"cpu": "x", "threads": 2}, tmp_path / "c.svg")
    assert (tmp_path / "c.svg").read_text().lstrip().startswith("<?xml")


def test_gate_names_an_unknown_revision():
    done = subprocess.run([sys.executable, ROOT / "bench/gate.py", "no-such-revision"], capture_output=True, text=True)
    assert done.returncode == 1 and "no-such-revision is no revision" in done.stderr


def test_machine_figures_are_json():
    program = ROOT / "build/release/bin/bench_machine"
    if not program.exists():
        pytest.skip("bench_machine is built by make bench-peers")
    told = json.loads(subprocess.run([program, "1", "0.01"], check=True, capture_output=True).stdout)
    assert told["fp32_gflops"] > 0 and told["read_gb_s"] > 0


def test_peak_memory_is_the_program_s_own():
    ballast = bytearray(256 << 20)
    assert memory.peak_of(["/bin/true"]) < 64, f"counts {len(ballast)} bytes of the process that measures"
    program = "b = bytearray(100 << 20); print('a line of its own')"
    assert 100 < memory.peak_of([sys.executable, "-I", "-S", "-c", program]) < 200
