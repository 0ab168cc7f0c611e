"""The contract of methods: checks that run in seconds on a tiny network.

``nasbench check`` runs these checks. A plugin's own tests run them through the pytest class :class:`MethodContract`::

    from nasbench.testing import MethodContract

    class TestMine(MethodContract):
        method = Mine

See :mod:`nasbench.testing.subject` for the runs and their fake clock.
"""

from __future__ import annotations

import dataclasses
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch

from nasbench.data.sources import SplitName
from nasbench.networks.space import make_space
from nasbench.networks.subnetwork import Dimensions
from nasbench.plugins.method import Method
from nasbench.runs.problem import Problem
from nasbench.search.searcher import Searcher
from nasbench.testing import tasks
from nasbench.testing.models import TINY_BERT, TINY_ROBERTA
from nasbench.testing.subject import (
    MOST_READINGS,
    NOT_REPEATABLE,
    Broken,
    Killed,
    KillingObserver,
    MethodSubject,
    Outcome,
    SteppingClock,
)
from nasbench.training.evaluation import Evaluator

N_STOPS = 4
"""Number of points at which a run is killed."""
SLACK_READINGS = 50
"""Readings of the clock that a run may make after its budget is spent, while it leaves its phases."""
OF_TEST = ("test_error", "test_metrics")
"""Fields of an evaluation that depend on the test split."""

OTHER_KINDS = ((TINY_ROBERTA, tasks.TINY_REGRESSION), (TINY_BERT, tasks.TINY_CHOICE))
"""Models and tasks that the other checks do not cover: they run BERT on a classification of pairs."""

MethodCheck = Callable[[MethodSubject], str]
"""Returns its observation, or raises :class:`Broken`."""


def runs(subject: MethodSubject) -> str:
    """The method ends by itself or with its budget, and reports at least one successful evaluation."""
    outcome = subject.usual[0]
    require(outcome.record.status == "complete", f"the run failed: {outcome.record.reason}")
    n_failed = sum(evaluation.status == "failed" for evaluation in outcome.evaluations)
    require(n_failed < len(outcome.evaluations), f"all {n_failed} evaluations failed")
    return f"{len(outcome.evaluations)} evaluations"


def deterministic(subject: MethodSubject) -> str:
    """The same seed gives the same evaluations, whatever the state of the global random generators."""
    with disturbed_random_state():
        again = subject.run()
    require_equal(subject.usual[0], again, "a second run with the same seed differs")
    return "two runs with one seed are equal"


def inside_the_space(subject: MethodSubject) -> str:
    """Each reported configuration is in the space and describes the network that was measured."""
    outcome = subject.usual[0]
    reason = outcome.record.reason or ""
    require(not any(sign in reason for sign in ("evaluate()", "evaluate_module()", "proposed")), reason)
    space = make_space(outcome.record.identity.space, Dimensions.from_json(outcome.record.dimensions))
    for evaluation in outcome.evaluations:
        config = space.from_json(evaluation.config)
        space.check(config)
        subnetwork = space.to_subnetwork(config)
        same = subnetwork.key == evaluation.key and subnetwork.n_params(space.dims) == evaluation.n_params
        require(same, f"evaluation {evaluation.index} measured another network than its configuration describes")
    return f"all {len(outcome.evaluations)} configurations are in {space.name!r}"


def obeys_the_budget(subject: MethodSubject) -> str:
    """The method lets ``BudgetExhausted`` pass, whenever it is raised."""
    total_s = sum(subject.usual[0].record.charged_s.values())
    for share in (0.3, 0.9):
        budget_s = share * total_s
        clock = SteppingClock(limit=MOST_READINGS)
        try:
            outcome = subject.run(clock=clock, budget_s=budget_s, max_evaluations=None)
        except Killed:
            raise Broken("it went on after the budget was spent; let BudgetExhausted pass") from None
        # A run whose budget is too small for any evaluation has failed, but not because of the method.
        require("went on" not in (outcome.record.reason or ""), str(outcome.record.reason))
        spent_s = sum(outcome.record.charged_s.values())
        require(
            spent_s <= budget_s + SLACK_READINGS,
            f"it went on for {spent_s - budget_s:.0f} readings of the clock after the budget was spent; "
            "let BudgetExhausted pass",
        )
        late = [evaluation.index for evaluation in outcome.evaluations if evaluation.elapsed_s > budget_s]
        require(not late, f"evaluations {late} were recorded after the budget was spent")
    return "ended in time with 30 % and with 90 % of its usual budget"


def stopped_anywhere(subject: MethodSubject) -> str:
    """A run that is killed at any point and resumed ends with the evaluations of an undisturbed run."""
    usual, n_events, _ = subject.usual
    stops = sorted({max(1, round(n_events * i / N_STOPS)) for i in range(1, N_STOPS + 1)})
    for stop in stops:
        results = subject.new_folder()
        try:
            subject.run(results, KillingObserver(stop))
        except Killed:
            pass
        else:
            raise Broken(f"a kill at event {stop} of {n_events} was swallowed; never catch BaseException")
        again = subject.run(results)
        require(again.record.status == "complete", f"resumed after event {stop}, it failed: {again.record.reason}")
        require_equal(usual, again, f"killed at event {stop} of {n_events} and resumed, it differs")
    return f"killed at {len(stops)} points and resumed, it ended the same"


def leaves_given_weights_alone(subject: MethodSubject) -> str:
    """The run does not change the data and the pre-trained weights of the problem."""
    changed: list[str] = []

    def before_and_after(run: Callable[[Method, Problem], None], method: Method, problem: Problem) -> None:
        before = _given(problem)
        try:
            run(method, problem)
        finally:
            after = _given(problem)
            changed.extend(name for name in before if not np.array_equal(before[name], after[name]))

    subject.run(method=_wrapped(subject.method, before_and_after))
    require(not changed, f"it changed {', '.join(changed[:3])}; work on copies")
    return "pre-trained weights and data are untouched"


def survives_a_failed_evaluation(subject: MethodSubject) -> str:
    """The method continues after a failed evaluation, of a network whose outputs are not finite."""
    if len(subject.usual[0].evaluations) < 2:
        return "not applicable: it makes one evaluation"

    def failing(run: Callable[[Method, Problem], None], method: Method, problem: Problem) -> None:
        evaluator = Evaluator(problem.validation, problem.task, problem.pad_id, torch.device("cpu"))
        problem._harness.validator = cast(Evaluator, _FailsOnce(evaluator))
        run(method, problem)

    outcome = subject.run(method=_wrapped(subject.method, failing))
    statuses = [evaluation.status for evaluation in outcome.evaluations]
    require(outcome.record.status == "complete", f"a failed evaluation ended the run: {outcome.record.reason}")
    require(statuses.count("failed") == 1, "no failure was recorded")
    require(len(statuses) > 2 or len(subject.usual[0].evaluations) == 2, "it gave up after a failed evaluation")
    return f"continued after a failed evaluation, {len(statuses)} evaluations"


def sees_no_test_data(subject: MethodSubject) -> str:
    """Other test labels change only test results."""
    source = dataclasses.replace(subject.task.data, generator=f"{__name__}:pair_with_other_test_labels")
    other = subject.run(task=dataclasses.replace(subject.task, data=source))
    require_equal(subject.usual[0], other, "with other test labels it differs", (*NOT_REPEATABLE, *OF_TEST))
    tested = [[evaluation.test_error for evaluation in run.evaluations] for run in (subject.usual[0], other)]
    require(tested[0] != tested[1], "test results do not depend on the test labels")
    return "other test labels change only test results"


def runs_on_every_kind(subject: MethodSubject) -> str:
    """The method works with BERT and RoBERTa, and on a regression and a multiple choice, too."""
    for model, task in OTHER_KINDS:
        record = subject.run(task=task, model=model, max_evaluations=2).record
        kind = task.kind.replace("_", " ")
        require(record.status == "complete", f"on a {kind} with {model.architecture} it failed: {record.reason}")
    return "works with RoBERTa, on a regression and on a multiple choice"


METHOD_CHECKS: Mapping[str, MethodCheck] = {
    "runs": runs,
    "runs on every kind of task and model": runs_on_every_kind,
    "is deterministic": deterministic,
    "reports only configurations inside the space": inside_the_space,
    "obeys the budget": obeys_the_budget,
    "can be stopped anywhere": stopped_anywhere,
    "leaves the given weights alone": leaves_given_weights_alone,
    "survives a failed evaluation": survives_a_failed_evaluation,
    "sees no test data": sees_no_test_data,
}


class MethodContract:
    """All checks of a method as pytest tests. Name a subclass ``Test...`` and set :attr:`method`.

    Attributes:
        method: the class under test.
        options: an instance of its ``Options``, None for the defaults.
        searcher: a searcher class, None for the method's default.
        space: name of the search space, None for the space that ``nasbench run`` would choose.
    """

    method: ClassVar[type[Method]]
    options: ClassVar[Any] = None
    searcher: ClassVar[type[Searcher] | None] = None
    space: ClassVar[str | None] = None
    _folder: ClassVar[tempfile.TemporaryDirectory[str]]
    _subject: ClassVar[MethodSubject]

    @classmethod
    def setup_class(cls) -> None:
        cls._folder = tempfile.TemporaryDirectory(prefix="nasbench-contract-")
        cls._subject = MethodSubject(cls.method, Path(cls._folder.name), cls.options, cls.searcher, space=cls.space)

    @classmethod
    def teardown_class(cls) -> None:
        cls._folder.cleanup()

    def test_runs(self) -> None:
        runs(self._subject)

    def test_runs_on_every_kind_of_task_and_model(self) -> None:
        runs_on_every_kind(self._subject)

    def test_is_deterministic(self) -> None:
        deterministic(self._subject)

    def test_reports_only_configurations_inside_the_space(self) -> None:
        inside_the_space(self._subject)

    def test_obeys_the_budget(self) -> None:
        obeys_the_budget(self._subject)

    def test_can_be_stopped_anywhere(self) -> None:
        stopped_anywhere(self._subject)

    def test_leaves_the_given_weights_alone(self) -> None:
        leaves_given_weights_alone(self._subject)

    def test_survives_a_failed_evaluation(self) -> None:
        survives_a_failed_evaluation(self._subject)

    def test_sees_no_test_data(self) -> None:
        sees_no_test_data(self._subject)


def pair_with_other_test_labels(split: SplitName) -> dict[str, Any]:
    """The rows of :data:`TINY_PAIR` with all test labels but the first inverted. The best network becomes the worst.

    The first label stays because half of all labels are 1: a network that always gives the same answer would have the
    same test error before and after inverting all of them.
    """
    rows = tasks.pair(split)
    if split == "test":
        rows["label"] = [1 - label if i else label for i, label in enumerate(rows["label"])]
    return rows


class _FailsOnce:
    """An evaluator whose second measurement fails."""

    def __init__(self, evaluator: Any) -> None:
        self._evaluator, self._n_measured = evaluator, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._evaluator, name)

    def metrics(self, logits: Any) -> Any:
        self._n_measured += 1
        if self._n_measured == 2:
            raise FloatingPointError("not finite, to test the contract")
        return self._evaluator.metrics(logits)


def _wrapped(method: type[Method], around: Callable[..., None]) -> type[Method]:
    """A subclass of the method whose ``run`` calls ``around(run, method, problem)``."""

    def run(self: Method, problem: Problem) -> None:
        around(method.run, self, problem)

    return type(method.__name__, (method,), {"run": run, "__module__": method.__module__})


def _given(problem: Problem) -> dict[str, Any]:
    """Copies of the weights and the arrays that a method is given."""
    weights = problem.pretrained("contract").model.state_dict()
    found = {f"weights {name}": value.numpy().copy() for name, value in weights.items()}
    for split_name, split in (("train", problem.train), ("validation", problem.validation)):
        for name, value in vars(split).items():
            if isinstance(value, np.ndarray):
                found[f"{split_name} {name}"] = value.copy()
    return found


@contextmanager
def disturbed_random_state() -> Iterator[None]:
    """Reseed all global random generators inside, and restore them afterwards."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    random.seed(987)
    np.random.seed(987)  # noqa: NPY002
    torch.manual_seed(987)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
        torch.set_rng_state(before[2])


def require(holds: bool, reason: str) -> None:
    """Raise :class:`Broken` with the reason unless the condition holds."""
    if not holds:
        raise Broken(reason)


def require_equal(a: Outcome, b: Outcome, what: str, without: tuple[str, ...] = NOT_REPEATABLE) -> None:
    """Raise :class:`Broken` with the first difference between the evaluations of two runs.

    Args:
        what: begins the message.
        without: fields that are not compared.
    """
    left, right = a.comparable(without), b.comparable(without)
    if left == right:
        return
    for i, (x, y) in enumerate(zip(left, right, strict=False)):
        for key in x:
            if x[key] != y[key]:
                raise Broken(f"{what}: evaluation {i} has {key} {x[key]!r} and {y[key]!r}")
    raise Broken(f"{what}: {len(left)} evaluations and {len(right)}")
