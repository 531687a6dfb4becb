"""The onnx package's backend cases through built engines, on the CPU and on the device whose memory nobody may touch."""
import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
RUNNER = ROOT / "build/release/tests/onnx_backend/onnx_backend_runner"

pytest.importorskip("onnx")


@pytest.mark.parametrize("executor", ["engine", "test-device"])
def test_backend_cases_pass(executor, tmp_path):
    if not RUNNER.exists():
        pytest.skip("onnx_backend_runner is not built")
    report = tmp_path / "report.json"
    done = subprocess.run(
        [sys.executable, ROOT / "tests/onnx_backend/run.py", "--executor", executor, "--json", report],
        stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    assert json.loads(report.read_text())
    assert " passed " in done.stdout.splitlines()[-1]
