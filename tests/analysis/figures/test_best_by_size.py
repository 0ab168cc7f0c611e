"""What the panels of the figures by size show."""

import pandas as pd
import pytest

from nasbench.analysis.figures import best_by_size

LOOKS = {"first": ("first", "#0072B2"), "second": ("second", "#D55E00")}


def _table(first, second):
    """Two names with one metric at each of two limits."""
    facts = {"scenario": "stsb/minilm-l6/cpu", "task": "stsb", "model": "minilm-l6", "device_class": "cpu"}
    nothing = {"metric": "spearman", "low": float("nan"), "high": float("nan"), "n": 1, "separated": False}
    rows = [
        {**facts, **nothing, "name": name, "limit": limit, "test_metric": metric, "leads": name == "first"}
        for name, metrics in (("first", first), ("second", second))
        for limit, metric in zip((0.5, 1.0), metrics, strict=True)
    ]
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    ("first", "second", "least", "most"),
    [
        ((0.7, 0.8), (0.65, 0.7), 0.65, 0.8),  # all are useful
        ((0.7, 0.8), (-0.2, 0.1), 0.6, 0.8),  # three quarters of the best
        ((-0.3, -0.2), (-0.9, -0.8), -0.9, -0.2),  # all are useless
    ],
)
def test_panel_shows_the_useful_lines_large(first, second, least, most):
    (ax,) = best_by_size.draw(_table(first, second), LOOKS, "size").axes
    low, high = ax.get_ylim()
    assert least - 0.45 * (most - least) < low < least
    assert most < high < most + 0.3 * (most - least)
