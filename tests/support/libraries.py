"""Marks of tests that need a library of an extra."""

import importlib.util

import pytest

NEEDS_OPTUNA = pytest.mark.skipif(importlib.util.find_spec("optuna") is None, reason="no Optuna: pip install optuna")
NEEDS_SYNE_TUNE = pytest.mark.skipif(
    importlib.util.find_spec("syne_tune") is None, reason="no Syne Tune: pip install syne-tune"
)
