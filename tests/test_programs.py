"""The programs run from any directory without environment variables, in the build folder and installed."""
import subprocess

import pytest

PROGRAMS = ["planish", "trtexec", "polygraphy"]


def help_of(program, cwd):
    return subprocess.run([program, "--help"], cwd=cwd, env={}, capture_output=True, text=True, timeout=60)


@pytest.fixture(scope="module")
def installed(root, tmp_path_factory):
    prefix = tmp_path_factory.mktemp("prefix")
    subprocess.run(["cmake", "--install", root / "build" / "release", "--prefix", prefix], check=True, capture_output=True)
    return prefix


@pytest.mark.parametrize("name", PROGRAMS)
def test_built_program_runs_anywhere(bin_dir, tmp_path, name):
    result = help_of(bin_dir / name, tmp_path)
    assert result.returncode == 0, result.stderr
    assert name in result.stdout


@pytest.mark.parametrize("name", PROGRAMS)
def test_installed_program_uses_its_own_library(installed, tmp_path, name):
    result = help_of(installed / "bin" / name, tmp_path)
    assert result.returncode == 0, result.stderr
    assert (installed / "lib" / "libdnnl.so.3").exists()
    linked = subprocess.run(["ldd", installed / "bin" / name], capture_output=True, text=True, check=True).stdout
    dnnl = [line for line in linked.splitlines() if "libdnnl" in line]
    assert dnnl and all(str(installed) in line for line in dnnl), linked


def test_programs_are_one_binary(bin_dir):
    assert {(bin_dir / name).resolve() for name in PROGRAMS} == {(bin_dir / "planish").resolve()}
