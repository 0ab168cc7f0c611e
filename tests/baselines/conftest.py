"""Fixtures for tests of the pruning baselines."""

import numpy as np
import pytest
from support import published_rfp

from nasbench.baselines.masks import tuning


@pytest.fixture
def exact_least_squares(monkeypatch):
    """Both implementations of mask tuning solve their equations exactly, in place of LSMR.

    LSMR stops at a tolerance, and mask values in nearly flat directions are then as much rounding as result: they
    differ between machines. Exact solutions compare the equations and not the place where the solver stops.
    """

    def solve(matrix, right, damp, maxiter):  # noqa: ARG001
        augmented = np.vstack([matrix, damp * np.eye(len(right))])
        return np.linalg.lstsq(augmented, np.concatenate([right, np.zeros(len(right))]), rcond=None)[0], 2

    monkeypatch.setattr(tuning, "lsmr", solve)
    monkeypatch.setattr(published_rfp, "lsmr", solve)
