"""Paths shared by the tests that run the built programs."""
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def bin_dir():
    return ROOT / "build" / "release" / "bin"


def pytest_configure(config):
    config.addinivalue_line("markers", "models: whole networks, minutes of work; make test-models runs them")
