"""Whether the libraries of classic algorithms are there: tests skip without, or fail where they are required."""

import importlib
import os

import pytest

#: Set to 1 where the extra has to be installed, so that nothing is skipped in silence.
REQUIRED = "LLM_MORL_REQUIRE_CLASSIC"


def require(module):
    """The module; without it the tests of a file are skipped, or fail where the environment variable is set."""
    if os.environ.get(REQUIRED) == "1":
        return importlib.import_module(module)
    return pytest.importorskip(module, reason="the extra 'classic' is not installed")
