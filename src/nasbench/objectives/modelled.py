"""Models of costs that are measured, fitted to a few dozen sub-networks; for searches, which cannot measure each.

What a pass takes is modelled as a constant plus an amount for each non-empty block, each head and each unit, none below
zero. It is fitted for each shape of the input to measured ratios to the full network. The cost of a network is the
geometric mean of its ratios over the shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nasbench.arrays import FloatArray, IntArray
from nasbench.networks.space import make_space
from nasbench.networks.subnetwork import Dimensions, SubNetwork
from nasbench.objectives.declared import DECLARED

SHAPES = ((1, 32), (1, 128), (32, 32), (32, 128))
"""Batch sizes and tokens of each text."""
N_NETWORKS = 24
COVERAGE = 0.95

Shape = tuple[int, int]
Measure = Callable[[Sequence[SubNetwork]], FloatArray]
"""Measures sub-networks beside the full network; ratios ``(n, n_shapes)``."""


@dataclass(frozen=True)
class Modelled:
    """A cost that is known from a fitted model.

    Attributes:
        name: the name of the objective.
        shapes: the shapes of the input.
        coefficients: for each shape, of :func:`features`; the full network's ratio is 1.
        median_error: median relative error of networks that were left out of the fit, each once.
        largest_error: the largest of these errors.
        n_networks: number of measured networks.
        seconds: time of measuring and fitting.
    """

    name: str
    shapes: tuple[Shape, ...]
    coefficients: tuple[tuple[float, ...], ...]
    median_error: float
    largest_error: float
    n_networks: int
    seconds: float

    def of(
        self, dims: Dimensions, heads: IntArray, units: IntArray, n_spared: IntArray | int = 0,  # noqa: ARG002
    ) -> FloatArray:  # fmt: skip
        # A run refuses such an objective where factors spare weights: the model knows heads and units only.
        return predict(np.array(self.coefficients), features(dims, heads, units))

    def describe(self, dims: Dimensions) -> dict[str, Any]:  # noqa: ARG002 - as for other costs
        return {
            "unit": f"geometric mean of the ratios{DECLARED[self.name].unit.removeprefix('ratio')}",
            "source": "modelled",
            "shapes": [list(shape) for shape in self.shapes],
            "coefficients": [list(row) for row in self.coefficients],
            "median_error": self.median_error,
            "largest_error": self.largest_error,
            "n_networks": self.n_networks,
            "seconds": self.seconds,
        }

    @classmethod
    def from_json(cls, name: str, described: Mapping[str, Any]) -> Modelled:
        """The inverse of :meth:`describe`.

        Raises:
            KeyError, TypeError, ValueError: for other values.
        """
        shapes = tuple((int(batch_size), int(length)) for batch_size, length in described["shapes"])
        rows = tuple(tuple(float(value) for value in row) for row in described["coefficients"])
        if len(rows) != len(shapes) or any(len(row) != N_FEATURES or min(row) < 0 for row in rows):
            raise ValueError("the coefficients do not fit the shapes")
        errors = float(described["median_error"]), float(described["largest_error"])
        return cls(name, shapes, rows, *errors, int(described["n_networks"]), float(described["seconds"]))


N_FEATURES = 5


def features(dims: Dimensions, heads: IntArray, units: IntArray) -> FloatArray:
    """A constant, and shares of attention blocks, heads, feed-forward blocks and units; ``(n, 5)``, 1 = all.

    Args:
        heads: heads that each layer keeps, ``(n, n_layers)``.
        units: units that each layer keeps, ``(n, n_layers)``.
    """
    columns = [np.ones(len(heads))]
    for counts, most in ((heads, dims.most_heads), (units, dims.most_units)):
        columns += [(counts > 0).sum(axis=1) / max(1, (most > 0).sum()), counts.sum(axis=1) / max(1, most.sum())]
    return np.column_stack(columns)


def predict(coefficients: FloatArray, inputs: FloatArray) -> FloatArray:
    """Geometric mean over the shapes of the modelled ratios, ``(n,)``.

    Args:
        coefficients: ``(n_shapes, 5)``.
        inputs: of :func:`features`, ``(n, 5)``.
    """
    return np.asarray(np.exp(np.log(np.maximum(inputs @ coefficients.T, 1e-9)).mean(axis=1)))


def fit(inputs: FloatArray, ratios: FloatArray) -> FloatArray:
    """Non-negative least squares of relative errors for each shape, with a ratio of exactly 1 for the full network.

    Args:
        inputs: of :func:`features`, ``(n, 5)``.
        ratios: measured ratios, ``(n, n_shapes)``, positive.

    Returns:
        Coefficients ``(n_shapes, 5)``.
    """
    from scipy.optimize import nnls  # only where it is needed: listing the searchers must not load it

    rows = []
    for column in ratios.T:
        found = nnls(inputs / column[:, None], np.ones(len(inputs)))[0]
        rows.append(found / found.sum() if found.sum() > 0 else np.eye(N_FEATURES)[0])
    return np.array(rows)


def left_out_errors(inputs: FloatArray, ratios: FloatArray) -> FloatArray:
    """Relative error of the prediction for each network from a fit to the others, ``(n,)``."""
    truth = np.exp(np.log(ratios).mean(axis=1))
    errors = []
    for i in range(len(inputs)):
        others = np.arange(len(inputs)) != i
        errors.append(abs(predict(fit(inputs[others], ratios[others]), inputs[i : i + 1])[0] / truth[i] - 1))
    return np.array(errors)


def sample_networks(dims: Dimensions, n: int = N_NETWORKS) -> list[SubNetwork]:
    """Networks for a fit, the same for all runs on a network: half from SMALL, half from MEDIUM."""
    rng, spaces = np.random.default_rng(0), [make_space(name, dims) for name in ("small", "medium")]
    return [spaces[i % 2].to_subnetwork(spaces[i % 2].sample(rng)) for i in range(n)]


def fit_model(
    name: str, dims: Dimensions, shapes: Sequence[Shape], measure: Measure, clock: Callable[[], float]
) -> Modelled:
    """Measure networks and fit a model.

    Args:
        name: the name of the objective.
        clock: gives seconds.
    """
    started = clock()
    networks = sample_networks(dims, N_NETWORKS)
    ratios = measure(networks)
    counts = np.array([n.head_counts for n in networks]), np.array([n.unit_counts for n in networks])
    inputs = features(dims, *counts)
    errors = left_out_errors(inputs, ratios)
    return Modelled(
        name,
        tuple(shapes),
        tuple(tuple(row) for row in fit(inputs, ratios).tolist()),
        float(np.median(errors)),
        float(errors.max()),
        len(networks),
        clock() - started,
    )


def median_interval(values: npt.ArrayLike) -> tuple[float, float, float]:
    """Median of a sample and the 95 % interval of the median from order statistics, which assumes no distribution.

    Args:
        values: ``(n,)``, n > 0; may be infinite. Fewer than six have no interval: its bounds are NaN.
    """
    from scipy.stats import binom

    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n = len(ordered)
    # The largest k for which fewer than k values lie on one side of the true median in at most 2.5 % of samples.
    k = int(binom.ppf((1 - COVERAGE) / 2, n, 0.5))
    low, high = (float(ordered[k - 1]), float(ordered[n - k])) if k else (np.nan, np.nan)
    return float(np.median(ordered)), low, high


def ratio_with_interval(ratios: FloatArray) -> dict[str, float]:
    """The measured cost of a network: the median over rounds of the geometric mean over shapes, with its 95 % interval.

    Args:
        ratios: ``(n_rounds, n_shapes)``, six rounds or more.
    """
    median, low, high = median_interval(np.exp(np.log(ratios).mean(axis=1)))
    return {"ratio": median, "low": low, "high": high}
