"""Tests marked slow take a minute or more: they run with PLANISH_SLOW_TESTS=1 or when `-m` asks for them."""
import os

import pytest


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes a minute or more; PLANISH_SLOW_TESTS=1 or -m slow runs it")


def pytest_collection_modifyitems(config, items):
    if "slow" in config.getoption("-m") or os.environ.get("PLANISH_SLOW_TESTS") == "1":
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="slow; PLANISH_SLOW_TESTS=1 runs it"))
