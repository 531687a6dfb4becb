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


COMMANDS = ["planish --help", "planish build --help", "planish nothing", "planish run missing.engine", "trtexec",
            "trtexec --onnx=missing.onnx", "polygraphy inspect model missing.onnx", "planish completion bash",
            "planish build MODEL -o new.engine", "planish run MODEL", "planish inspect MODEL"]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("lost", [">/dev/full", "2>/dev/full", ">/dev/full 2>&1", ">&-", "2>&-", ">&- 2>&- <&-"])
def test_output_that_cannot_be_written_ends_no_program(root, bin_dir, tmp_path, command, lost):
    line = f"{bin_dir}/{command} {lost}".replace("MODEL", str(root / "demo" / "digits.onnx"))
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env={}, capture_output=True, text=True, timeout=60)
    assert 0 <= done.returncode <= 2, done
    if lost in (">/dev/full", ">&-") and "missing" not in command and "nothing" not in command:
        assert done.returncode == 1 and "standard output was lost" in done.stderr
    if command.endswith("new.engine"):
        assert (tmp_path / "new.engine").read_bytes().startswith(b"PLANISH"), "printed text went into the engine"


def test_version(bin_dir):
    for word in ("--version", "version"):
        done = subprocess.run([bin_dir / "planish", word], env={}, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0 and done.stdout.startswith("planish "), done
