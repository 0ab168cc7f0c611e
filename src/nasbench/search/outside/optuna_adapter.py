"""Samplers of Optuna as searchers."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import Any

import numpy as np
import optuna

from nasbench.arrays import FloatArray
from nasbench.errors import UnknownName, UserError, first_line
from nasbench.networks.space import Config, SearchSpace
from nasbench.search.outside.proposals import OutsideSearcher
from nasbench.search.searcher import Searcher

MOST_KNOWN = 20
"""After so many known configurations in a row, there is nothing new: some samplers repeat themselves without end."""


def load(name: str) -> type[Searcher]:
    """The searcher of a sampler, such as ``NSGAIISampler``. Raises ImportError, UnknownName and UserError."""
    classes: dict[str, Any] = {key: value for key, value in vars(optuna.samplers).items() if inspect.isclass(value)}
    found = {key: value for key, value in classes.items() if "seed" in inspect.signature(value).parameters}
    if name not in found:
        raise UnknownName("sampler of Optuna", name, found)
    try:
        with OptunaSearcher._quiet():
            study = optuna.create_study(directions=["minimize"] * 2, sampler=found[name](seed=0))
            study.ask({"x": optuna.distributions.IntDistribution(0, 1)})
    except (TypeError, ValueError) as error:  # it needs more than a seed, or takes one objective only
        raise UserError(f"'optuna:{name}' cannot be a searcher: {first_line(error)}") from error
    members = {"name": f"optuna:{name}", "summary": f"Optuna's {name}", "sampler": found[name], "__module__": "optuna"}
    return type(name, (OptunaSearcher,), members)


class OptunaSearcher(OutsideSearcher):
    """Asks a study with all objectives. Values that the study did not ask for are added to it as finished trials."""

    sampler: Any
    most_objectives = 3

    def __init__(self, space: SearchSpace, rng: np.random.Generator, options: Any = None) -> None:
        super().__init__(space, rng, options)
        self._seed = int(rng.integers(2**31))
        make, sizes = optuna.distributions.IntDistribution, zip(space.names, space.upper, strict=True)
        self._dimensions: dict[str, Any] = {name: make(0, int(upper)) for name, upper in sizes}
        self._asked: tuple[Any, Config] | None = None

    @cached_property  # the objectives are not known earlier
    def _study(self) -> Any:
        directions: list[Any] = ["minimize"] * (1 + len(self.costs.names))
        return optuna.create_study(directions=directions, sampler=self.sampler(seed=self._seed))

    def _new_proposal(self) -> Config | None:
        with self._quiet():
            self._finish(None)  # the evaluation of the last proposal has failed
            for _ in range(MOST_KNOWN):
                trial = self._study.ask(self._dimensions)
                config = np.array([trial.params[name] for name in self.space.names], dtype=np.int64)
                self._asked = (trial, config)
                if tuple(config) not in self._told:
                    return config.copy()
                self._finish(self._told[tuple(config)].tolist())
        return None

    def _note(self, config: Config, values: FloatArray) -> None:
        pair = [float(value) for value in values]
        with self._quiet():
            if self._asked is not None and np.array_equal(self._asked[1], config):
                self._finish(pair)
                return
            params = {name: int(value) for name, value in zip(self.space.names, config, strict=True)}
            self._study.add_trial(optuna.trial.create_trial(params=params, distributions=self._dimensions, values=pair))

    def _finish(self, values: list[float] | None) -> None:
        """Tell the trial that was asked for; no values for a failed evaluation."""
        if self._asked is not None:
            state = optuna.trial.TrialState
            with suppress(RuntimeError):  # a sampler of all configurations has had the last one
                self._study.tell(self._asked[0], values, state=state.FAIL if values is None else state.COMPLETE)
            self._asked = None

    @staticmethod
    @contextmanager
    def _quiet() -> Iterator[None]:
        """Without Optuna's messages and its warnings about experimental samplers."""
        before = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        finally:
            optuna.logging.set_verbosity(before)
