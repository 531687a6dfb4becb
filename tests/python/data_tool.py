"""Calls the test program that reaches planish/data; tests that need it are skipped when it has not been built."""
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def find_tool():
    """Path of planish_data_tool: $PLANISH_DATA_TOOL, or the newest one in any build folder."""
    if "PLANISH_DATA_TOOL" in os.environ:
        return Path(os.environ["PLANISH_DATA_TOOL"])
    found = sorted(ROOT.glob("build/*/tests/planish_data_tool"), key=lambda p: p.stat().st_mtime)
    return found[-1] if found else None


def call(*arguments, expect_failure=False):
    """Runs one command; returns standard output, or standard error when a failure is expected."""
    tool = find_tool()
    if tool is None:
        pytest.skip("planish_data_tool is not built")
    done = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    if expect_failure:
        assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
        return done.stderr
    assert done.returncode == 0, done.stderr
    return done.stdout
