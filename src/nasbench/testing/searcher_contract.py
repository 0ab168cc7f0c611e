"""The contract of searchers: checks on a formula, and one check with a method on a tiny network."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from nasbench.arrays import FloatArray
from nasbench.networks.space import Config, SearchSpace, make_space
from nasbench.networks.subnetwork import Dimensions
from nasbench.plugins import registry
from nasbench.plugins.method import Method
from nasbench.search.searcher import Decision, MultiFidelitySearcher, Searcher
from nasbench.testing.contract import disturbed_random_state, require, stopped_anywhere
from nasbench.testing.subject import SEED, Broken, MethodSubject

N_PROPOSALS = 12
DIMENSIONS = Dimensions(n_layers=4, n_heads=4, n_units=12, hidden_size=16, head_size=4, n_fixed_params=2000)


@dataclass(frozen=True)
class SearcherSubject:
    """A searcher under test.

    Attributes:
        options: an instance of the searcher's ``Options``, None for the defaults.
        folder: an empty folder for runs on a tiny network.
    """

    searcher: type[Searcher]
    folder: Path
    options: Any = None
    _usual: dict[str, list[Config]] = field(default_factory=dict)

    @property
    def space(self) -> SearchSpace:
        """The first of the searcher's spaces, over a small network."""
        return make_space(self.searcher.spaces[0], DIMENSIONS)

    def make(self, space: SearchSpace) -> Searcher:
        """A new searcher, always with the same seed."""
        return self.searcher(space, np.random.default_rng(SEED), self.options)

    def proposals(self, space: SearchSpace, tell_every: int = 1) -> list[Config]:
        """The proposals of a new searcher that knows the three initial networks and is told about its own proposals.

        Args:
            tell_every: tell only the values of every ``tell_every``-th proposal, as if the others had failed.

        Raises:
            ValueError: if a proposal is not in the space.
        """
        searcher = self.make(space)
        for config in (space.largest, space.smallest, space.midpoint):
            searcher.tell(config, _values(space, config))
        found = []
        for i in range(N_PROPOSALS):
            proposal = searcher.ask()
            space.check(proposal)
            found.append(proposal.copy())
            if i % tell_every == 0:
                searcher.tell(proposal, _values(space, proposal))
        return found

    def usual(self, name: str) -> list[Config]:
        """The proposals in the space of that name; computed once, because a proposal may take a tenth of a second."""
        if name not in self._usual:
            self._usual[name] = self.proposals(make_space(name, DIMENSIONS))
        return self._usual[name]


SearcherCheck = Callable[[SearcherSubject], str]
"""Returns its observation, or raises :class:`~nasbench.testing.subject.Broken`."""


def inside_its_spaces(subject: SearcherSubject) -> str:
    """Each proposal is in the searcher's space, for all of its spaces."""
    for name in subject.searcher.spaces:
        try:
            subject.usual(name)
        except ValueError as error:
            raise Broken(f"in space {name!r}: {error}") from error
    return f"{N_PROPOSALS} proposals in each of {', '.join(subject.searcher.spaces)}"


def deterministic(subject: SearcherSubject) -> str:
    """All randomness comes from the given generator."""
    for name in subject.searcher.spaces:
        first = subject.usual(name)
        with disturbed_random_state():
            second = subject.proposals(make_space(name, DIMENSIONS))
        require(np.array_equal(first, second), f"in space {name!r}, the same generator gave other proposals")
    return "the same generator gives the same proposals"


def leaves_random_state_alone(subject: SearcherSubject) -> str:
    """The searcher does not change the state of the global random generators."""
    before = _global_state()
    subject.proposals(subject.space)
    changed = [name for name, state in _global_state().items() if state != before[name]]
    require(
        not changed, f"it changed the state of the global generator of {' and '.join(changed)}; use the given generator"
    )
    return "global random generators are untouched"


def copes_with_failures(subject: SearcherSubject) -> str:
    """The searcher continues if it is not told the values of its proposals."""
    space = subject.space
    subject.proposals(space, tell_every=3)
    subject.proposals(space, tell_every=N_PROPOSALS + 1)
    return "continues when it is told one of three evaluations, or none"


def leaves_arguments_alone(subject: SearcherSubject) -> str:
    """``tell`` does not write to its arguments."""
    space = subject.space
    searcher = subject.make(space)
    for config in (space.largest, space.smallest, space.midpoint):
        values = _values(space, config)
        told, known = config.copy(), values.copy()
        searcher.tell(told, values)
        proposal = searcher.ask()
        proposal[:] = 0  # a caller may write to a proposal
        same = np.array_equal(told, config) and np.array_equal(values, known)
        require(same, "tell() changed an array that it was given; work on copies")
    return "tell() leaves its arguments unchanged"


def decides_at_rungs(subject: SearcherSubject) -> str:
    """A multi-fidelity searcher answers every report with a decision, and the last rung ends a trial."""
    if not issubclass(subject.searcher, MultiFidelitySearcher):
        return "not applicable: it makes no decisions"
    space = subject.space
    searcher = subject.make(space)
    assert isinstance(searcher, MultiFidelitySearcher)
    rungs = searcher.rungs
    require(len(rungs) > 0 and rungs[0] >= 1, f"rungs are whole epochs from 1 on, not {rungs}")
    require(list(rungs) == sorted(set(rungs)), f"rungs must ascend, not {rungs}")
    for trial in range(N_PROPOSALS):
        values = _values(space, searcher.ask())
        for epoch in rungs:
            decision = searcher.report(trial, epoch, values)
            require(isinstance(decision, Decision), f"report() answered {decision!r}, not a Decision")
            is_last = epoch == rungs[-1]
            fits = decision is not Decision.CONTINUE if is_last else decision is not Decision.FINISHED
            require(fits, f"report() answered {decision} at rung {epoch} of {rungs}")
            if decision is not Decision.CONTINUE:
                break
    return f"rungs {rungs}"


def survives_a_kill(subject: SearcherSubject) -> str:
    """A run that uses the searcher can be killed and resumed, and ends with the same evaluations."""
    method = _driver(subject.searcher)
    space = subject.searcher.spaces[0]
    # The searcher is under test, not the training: one epoch is enough, unless the searcher sets the number of epochs.
    options = method.Options() if method.multi_fidelity else method.Options(epochs=1)
    driven = MethodSubject(method, subject.folder, options, subject.searcher, space=space)
    return f"with {method.name} in {space!r}: {stopped_anywhere(driven)}"


SEARCHER_CHECKS: Mapping[str, SearcherCheck] = {
    "proposes only points of its spaces": inside_its_spaces,
    "is deterministic": deterministic,
    "leaves global random state alone": leaves_random_state_alone,
    "leaves what it is told alone": leaves_arguments_alone,
    "copes with failed evaluations": copes_with_failures,
    "decides at rungs": decides_at_rungs,
    "can be stopped anywhere": survives_a_kill,
}


class SearcherContract:
    """All checks of a searcher as pytest tests. Name a subclass ``Test...`` and set :attr:`searcher`.

    Attributes:
        searcher: the class under test.
        options: an instance of its ``Options``, None for the defaults.
    """

    searcher: ClassVar[type[Searcher]]
    options: ClassVar[Any] = None
    _folder: ClassVar[tempfile.TemporaryDirectory[str]]
    _subject: ClassVar[SearcherSubject]

    @classmethod
    def setup_class(cls) -> None:
        cls._folder = tempfile.TemporaryDirectory(prefix="nasbench-contract-")
        cls._subject = SearcherSubject(cls.searcher, Path(cls._folder.name), cls.options)

    @classmethod
    def teardown_class(cls) -> None:
        cls._folder.cleanup()

    def test_proposes_only_points_of_its_spaces(self) -> None:
        inside_its_spaces(self._subject)

    def test_is_deterministic(self) -> None:
        deterministic(self._subject)

    def test_leaves_global_random_state_alone(self) -> None:
        leaves_random_state_alone(self._subject)

    def test_leaves_what_it_is_told_alone(self) -> None:
        leaves_arguments_alone(self._subject)

    def test_copes_with_failed_evaluations(self) -> None:
        copes_with_failures(self._subject)

    def test_decides_at_rungs(self) -> None:
        decides_at_rungs(self._subject)

    def test_can_be_stopped_anywhere(self) -> None:
        survives_a_kill(self._subject)


def _driver(searcher: type[Searcher]) -> type[Method]:
    """A method of the suite that works with the searcher."""
    name = "ws-nas"
    if issubclass(searcher, MultiFidelitySearcher):
        name = "s-nas"
    elif searcher.expects_depths:
        name = "ws-nas-depth"
    return registry.find("method", name, registry.methods())


def _values(space: SearchSpace, config: Config) -> FloatArray:
    """Values ``(2,)`` on a smooth front: larger networks have lower errors. Read-only, as in a run."""
    params = space.n_params(config)[0] / space.dims.n_params
    values = np.array([0.6 - 0.4 * np.sqrt(params) + 0.01 * np.cos(config.sum()), params])
    values.setflags(write=False)
    return values


def _global_state() -> dict[str, Any]:
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002
    assert isinstance(numpy_state, dict)
    return {
        "random": random.getstate(),
        "numpy": (numpy_state["state"]["key"].tobytes(), numpy_state["state"]["pos"]),
        "torch": torch.get_rng_state().numpy().tobytes(),
    }
