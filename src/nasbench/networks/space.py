"""The four search spaces (section 3.3 and appendix B of the paper), the grid of the tabular benchmark, and ranks.

A configuration is a vector of integers: dimension i takes all values in ``[0, upper[i]]``. Searchers mutate, encode and
compare configurations. :meth:`SearchSpace.to_subnetwork` is the paper's CREATEMASK. Several configurations may give the
same sub-network; in the space ``small``, all configurations without layers do. Masks identify a sub-network. If the
layers of the network have different widths, a layer that has fewer heads or units than a configuration says keeps all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from nasbench.arrays import IntArray
from nasbench.errors import UnknownName
from nasbench.networks.factored.structure import (
    WHOLE,
    FactoredNetwork,
    projection_names,
    projection_shapes,
    spared,
    whole_ranks,
)
from nasbench.networks.subnetwork import Dimensions, SubNetwork

Config = npt.NDArray[np.int64]
"""A point of a search space, shape ``(n_dims,)``."""

JsonConfig = dict[str, int | str | list[int]]

LEAST_STEPS = 96
"""The grid of the tabular benchmark has at least so many steps of units; fewer units have a step each."""


class SearchSpace(ABC):
    """A finite set of sub-networks, encoded as vectors of integers.

    Attributes:
        dims: dimensions of the network that is pruned.
        names: names of the space's dimensions.
        upper: the largest value of each dimension, ``(n_dims,)``. The smallest value is always 0.
    """

    name: ClassVar[str]
    part_of: ClassVar[str | None] = None
    """A space that has all networks of this one, None if there is none. Super-networks are trained in it unless the
    strategy names another space, and methods and searchers that work in it also work in this space."""
    names: tuple[str, ...]
    upper: IntArray

    def __init__(self, dims: Dimensions) -> None:
        self.dims = dims

    @property
    def n_dims(self) -> int:
        """Number of dimensions of the space."""
        return len(self.upper)

    @abstractmethod
    def counts(self, configs: IntArray) -> tuple[IntArray, IntArray]:
        """Numbers of kept heads and units in each layer.

        Args:
            configs: ``(n, n_dims)``.

        Returns:
            Two integer arrays ``(n, n_layers)``.
        """

    @abstractmethod
    def to_subnetwork(self, config: Config) -> SubNetwork:
        """The sub-network of a configuration (appendix B, CREATEMASK)."""

    def _at_most(self, heads: IntArray, units: IntArray) -> tuple[IntArray, IntArray]:
        """The numbers of heads and units ``(n, n_layers)``, or those that a layer has if it has fewer."""
        return np.minimum(heads, self.dims.most_heads), np.minimum(units, self.dims.most_units)

    def sample(self, rng: np.random.Generator) -> Config:
        """A random configuration. Each dimension is uniform, except in the binary spaces."""
        return rng.integers(0, self.upper + 1, dtype=np.int64)

    def redraw(self, config: Config, rng: np.random.Generator) -> Config:
        """A copy of the configuration with one random dimension set to another value, both uniform (algorithm 5)."""
        changed = config.copy()
        free = np.flatnonzero(self.upper)  # a network that was pruned before may have no heads or units
        i = int(free[rng.integers(len(free))])
        value = int(rng.integers(self.upper[i]))
        changed[i] = value + (value >= config[i])
        return changed

    def n_params(self, configs: IntArray) -> IntArray:
        """Numbers of parameters ``(n,)`` of configurations ``(n, n_dims)``, without building masks or networks."""
        configs = np.atleast_2d(configs)
        n_spared = self.n_spared(configs).sum(axis=1)
        return np.asarray(self.dims.count_params(*self.counts(configs)) - n_spared, dtype=np.int64)

    def n_spared(self, configs: IntArray) -> IntArray:
        """Weights that factors spare in each projection of all layers, ``(n, n_projections)``; 0 for sub-networks."""
        return np.zeros((len(configs), len(projection_names(self.dims))), dtype=np.int64)

    @property
    def smallest(self) -> Config:
        """The configuration of zeros: no layers. In ``ranks``, heads and units stay, and projections have rank 0."""
        return np.zeros(self.n_dims, dtype=np.int64)

    @property
    def largest(self) -> Config:
        """The configuration of the full network."""
        return self.upper.copy()

    @property
    def midpoint(self) -> Config:
        """The middle configuration. Every searcher first evaluates the largest, the smallest and this one."""
        return self.upper // 2

    def check(self, config: Config) -> None:
        """Raise :class:`ValueError` unless ``config`` is a point of this space."""
        if config.shape != self.upper.shape:
            raise ValueError(f"a configuration of {self.name!r} has shape {self.upper.shape}, not {config.shape}")
        if not np.issubdtype(config.dtype, np.integer):
            raise ValueError(f"a configuration of {self.name!r} holds integers, not {config.dtype}")
        outside = np.flatnonzero((config < 0) | (config > self.upper))
        if len(outside):
            i = int(outside[0])
            raise ValueError(f"{self.names[i]} = {config[i]} is outside [0, {self.upper[i]}] in space {self.name!r}")

    def to_json(self, config: Config) -> JsonConfig:
        """The configuration as records store it."""
        return {name: int(value) for name, value in zip(self.names, config, strict=True)}

    def from_json(self, record: JsonConfig) -> Config:
        """The inverse of :meth:`to_json`."""
        return np.array([record[name] for name in self.names], dtype=np.int64)


class Small(SearchSpace):
    """(h, u, l): keeps the first h heads and u units of the first l layers."""

    name = "small"
    names = ("heads", "units", "layers")

    def __init__(self, dims: Dimensions) -> None:
        super().__init__(dims)
        self.upper = np.array([dims.n_heads, dims.n_units, dims.n_layers], dtype=np.int64)

    def counts(self, configs: IntArray) -> tuple[IntArray, IntArray]:
        active = np.arange(self.dims.n_layers) < configs[:, 2:3]
        return self._at_most(configs[:, 0:1] * active, configs[:, 1:2] * active)

    def to_subnetwork(self, config: Config) -> SubNetwork:
        heads, units = self.counts(config[None])
        return SubNetwork.from_counts(heads[0], units[0], self.dims)


class SmallGrid(Small):
    """(h, u, l) of SMALL with units in steps: few enough networks to measure all of them.

    A value of the dimension ``units`` counts steps; records hold the number of units, as in SMALL. A super-network for
    the grid is trained in SMALL, so searching either space uses the same weights.

    Args:
        step: units per step, a divisor of ``dims.n_units``; None for :func:`unit_step`.

    Raises:
        ValueError: if the step does not divide the number of units.
    """

    name = "small-grid"
    part_of = "small"

    def __init__(self, dims: Dimensions, step: int | None = None) -> None:
        super().__init__(dims)
        self.step = unit_step(dims) if step is None else step
        if self.step < 1 or dims.n_units % self.step:
            raise ValueError(f"a step of {self.step} units does not divide {dims.n_units} units")
        self.upper = np.array([dims.n_heads, dims.n_units // self.step, dims.n_layers], dtype=np.int64)

    def counts(self, configs: IntArray) -> tuple[IntArray, IntArray]:
        return super().counts(configs * np.array([1, self.step, 1]))

    def to_json(self, config: Config) -> JsonConfig:
        """The configuration with its number of units, as SMALL stores it."""
        return super().to_json(config * np.array([1, self.step, 1]))

    def from_json(self, record: JsonConfig) -> Config:
        """The inverse of :meth:`to_json`.

        Raises:
            ValueError: if the number of units is between two steps.
        """
        config = super().from_json(record)
        if config[1] % self.step:
            raise ValueError(f"units = {config[1]} is not a multiple of {self.step}, as space {self.name!r} needs")
        return np.asarray(config // np.array([1, self.step, 1]), dtype=np.int64)


def unit_step(dims: Dimensions) -> int:
    """Units per step of :class:`SmallGrid`: the largest divisor of the number of units U that is at most U // 96.

    It is 1 for fewer than 96 units.
    """
    target = max(1, dims.n_units // LEAST_STEPS)
    return next(step for step in range(target, 0, -1) if dims.n_units % step == 0)


class Medium(SearchSpace):
    """(h_l, u_l) for each layer l: keeps its first h_l heads and u_l units."""

    name = "medium"

    def __init__(self, dims: Dimensions) -> None:
        super().__init__(dims)
        layers = range(dims.n_layers)
        self.names = (*(f"heads_{i}" for i in layers), *(f"units_{i}" for i in layers))
        self.upper = np.repeat(np.array([dims.n_heads, dims.n_units], dtype=np.int64), dims.n_layers)

    def counts(self, configs: IntArray) -> tuple[IntArray, IntArray]:
        return self._at_most(configs[:, : self.dims.n_layers], configs[:, self.dims.n_layers :])

    def to_subnetwork(self, config: Config) -> SubNetwork:
        heads, units = self.counts(config[None])
        return SubNetwork.from_counts(heads[0], units[0], self.dims)


class _Binary(SearchSpace):
    """One bit per dimension. Samples are uniform in the number of ones, then in their places (section 3.3)."""

    def sample(self, rng: np.random.Generator) -> Config:
        config = np.zeros(self.n_dims, dtype=np.int64)
        k = int(rng.integers(self.n_dims + 1))
        config[rng.choice(self.n_dims, size=k, replace=False, shuffle=False)] = 1
        return config


class Layer(_Binary):
    """One bit per layer: keeps or drops whole layers."""

    name = "layer"

    def __init__(self, dims: Dimensions) -> None:
        super().__init__(dims)
        self.names = tuple(f"layer_{i}" for i in range(dims.n_layers))
        self.upper = np.ones(dims.n_layers, dtype=np.int64)

    @property
    def midpoint(self) -> Config:
        """The configuration that keeps the lower half of the layers."""
        return (np.arange(self.n_dims) < self.n_dims // 2).astype(np.int64)

    def counts(self, configs: IntArray) -> tuple[IntArray, IntArray]:
        return configs * self.dims.most_heads, configs * self.dims.most_units

    def to_subnetwork(self, config: Config) -> SubNetwork:
        heads, units = self.counts(config[None])
        return SubNetwork.from_counts(heads[0], units[0], self.dims)


class Large(_Binary):
    """One bit per head and per unit: any mask. The heads of all layers come first, then the units of all layers."""

    name = "large"

    def __init__(self, dims: Dimensions) -> None:
        super().__init__(dims)
        layers = range(dims.n_layers)
        heads = (f"head_{i}_{j}" for i in layers for j in range(dims.n_heads))
        self.names = (*heads, *(f"unit_{i}_{j}" for i in layers for j in range(dims.n_units)))
        self.upper = np.ones(dims.n_layers * (dims.n_heads + dims.n_units), dtype=np.int64)

    @property
    def midpoint(self) -> Config:
        """The configuration that keeps the first half of the heads and units of every layer."""
        heads = np.arange(self.dims.n_heads) < self.dims.n_heads // 2
        units = np.arange(self.dims.n_units) < self.dims.n_units // 2
        repeats = self.dims.n_layers
        return np.concatenate([np.tile(heads, repeats), np.tile(units, repeats)]).astype(np.int64)

    def _split(self, configs: IntArray) -> tuple[IntArray, IntArray]:
        n, layers = len(configs), self.dims.n_layers
        n_head_bits = layers * self.dims.n_heads
        return configs[:, :n_head_bits].reshape(n, layers, -1), configs[:, n_head_bits:].reshape(n, layers, -1)

    def _present(self, configs: IntArray) -> tuple[IntArray, IntArray]:
        """The bits of heads ``(n, n_layers, n_heads)`` and units that the network has; bits of others are 0."""
        (heads, units), full = self._split(configs), SubNetwork.full(self.dims)
        return heads * full.heads, units * full.units

    def counts(self, configs: IntArray) -> tuple[IntArray, IntArray]:
        heads, units = self._present(configs)
        return heads.sum(axis=-1), units.sum(axis=-1)

    def to_subnetwork(self, config: Config) -> SubNetwork:
        heads, units = self._present(config[None])
        return SubNetwork(heads[0] > 0, units[0] > 0)

    def from_subnetwork(self, subnetwork: SubNetwork) -> Config:
        """The configuration of a sub-network. Every mask is in this space, so baselines report theirs in it."""
        return np.concatenate([subnetwork.heads.ravel(), subnetwork.units.ravel()]).astype(np.int64)

    def to_json(self, config: Config) -> JsonConfig:
        """The configuration as packed bits, because BERT-base has 37,008 of them."""
        heads, units = self._split(config[None])
        return {
            "heads": np.packbits(heads[0].astype(np.bool_)).tobytes().hex(),
            "units": np.packbits(units[0].astype(np.bool_)).tobytes().hex(),
        }

    def from_json(self, record: JsonConfig) -> Config:
        sizes = (self.dims.n_layers * self.dims.n_heads, self.dims.n_layers * self.dims.n_units)
        bits = []
        for name, size in zip(("heads", "units"), sizes, strict=True):
            packed = np.frombuffer(bytes.fromhex(str(record[name])), np.uint8)
            if len(packed) != -(-size // 8):
                raise ValueError(f"{name!r} has {len(packed)} bytes where {size} bits are due")
            bits.append(np.unpackbits(packed, count=size))
        return np.concatenate(bits).astype(np.int64)


class Ranks(SearchSpace):
    """One rank for each projection: networks that are no sub-networks, because W is replaced by a product B A.

    All heads and units stay. The largest value of a dimension is the rank at which B and A would hold no fewer weights
    than W; it stands for W itself.
    """

    name = "ranks"

    def __init__(self, dims: Dimensions) -> None:
        super().__init__(dims)
        self._shapes = projection_shapes(dims, dims.most_heads, dims.most_units)
        self._limits = whole_ranks(self._shapes)
        self.names = tuple(f"{name}_{i}" for i in range(dims.n_layers) for name in projection_names(dims))
        self.upper = np.maximum(self._limits.ravel(), 1)  # a layer that was removed before has no projections

    def ranks(self, configs: IntArray) -> IntArray:
        """Ranks of the projections, ``(n, n_layers, n_projections)``; those of whole ones are too large."""
        return np.asarray(configs.reshape(len(configs), *self._limits.shape), dtype=np.int64)

    def counts(self, configs: IntArray) -> tuple[IntArray, IntArray]:
        shape = len(configs), self.dims.n_layers
        return np.broadcast_to(self.dims.most_heads, shape), np.broadcast_to(self.dims.most_units, shape)

    def n_spared(self, configs: IntArray) -> IntArray:
        ranks = self.ranks(configs)
        found = spared(self._shapes, np.where(ranks < self._limits, ranks, WHOLE))
        return np.asarray(found.sum(axis=1), dtype=np.int64)

    def to_subnetwork(self, config: Config) -> FactoredNetwork:
        return FactoredNetwork.at_most(SubNetwork.full(self.dims), self.ranks(config[None])[0], self.dims)


class Auto(Large):
    """The union of the paper's four spaces, in the bits of LARGE; samples are uniform over the four, then in one.

    For methods that find out by themselves which of the spaces is best.

    Attributes:
        parts: the four spaces.
    """

    name = "auto"

    def __init__(self, dims: Dimensions) -> None:
        super().__init__(dims)
        self.parts = tuple(SPACES[name](dims) for name in PAPER_SPACES)

    def sample(self, rng: np.random.Generator) -> Config:
        part = self.parts[int(rng.integers(len(self.parts)))]
        return self.from_subnetwork(part.to_subnetwork(part.sample(rng)))


PAPER_SPACES = ("small", "medium", "layer", "large")
"""The spaces that the paper compares."""
SPACES: dict[str, type[SearchSpace]] = {space.name: space for space in (Small, Medium, Layer, Large, SmallGrid)}
"""The spaces of sub-networks."""
EVERY_SPACE: dict[str, type[SearchSpace]] = {**SPACES, Auto.name: Auto, Ranks.name: Ranks}
"""All spaces: also the union of the paper's, and those whose networks are no sub-networks."""


def works_in(spaces: tuple[str, ...], name: str) -> bool:
    """Whether a method or searcher with these ``spaces`` works in the space of that name."""
    return name in spaces or EVERY_SPACE[name].part_of in spaces


def make_space(name: str, dims: Dimensions) -> SearchSpace:
    """The search space of that name for a network with these dimensions.

    Raises:
        UnknownName: for a name that is not in :data:`EVERY_SPACE`.
    """
    if name not in EVERY_SPACE:
        raise UnknownName("search space", name, EVERY_SPACE)
    space = EVERY_SPACE[name](dims)
    space.upper.setflags(write=False)
    return space
