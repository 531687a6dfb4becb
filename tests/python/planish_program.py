"""Runs the built planish program; tests that need it are skipped when it has not been built."""
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"


def find_program():
    """Path of planish: $PLANISH_PROGRAM, or the newest one in any build folder."""
    if "PLANISH_PROGRAM" in os.environ:
        return Path(os.environ["PLANISH_PROGRAM"])
    found = sorted(ROOT.glob("build/*/bin/planish"), key=lambda p: p.stat().st_mtime)
    return found[-1] if found else None


def call(*arguments, code=0, timeout=600):
    """Runs one command; returns standard output, or standard error when a failure is expected."""
    program = find_program()
    if program is None:
        pytest.skip("planish is not built")
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, timeout=timeout)
    assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
    return done.stdout if code == 0 else done.stderr


def shared(*parts):
    """A file of ../shared, which not every machine has."""
    path = SHARED.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is not here")
    return path
