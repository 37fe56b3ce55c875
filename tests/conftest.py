"""``pytest --long`` also runs the tests marked ``long``."""

import pytest


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="also run the long regression")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--long"):
        return
    skip = pytest.mark.skip(reason="long regression: run with --long")
    for item in items:
        if "long" in item.keywords:
            item.add_marker(skip)
