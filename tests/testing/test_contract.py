"""The checks of the contracts: for each check, a method or searcher that breaks exactly this check."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.contract_classes import methods_with_a_class
from support.runs import trained_briefly

from nasbench.arrays import FloatArray
from nasbench.cli import check
from nasbench.errors import BudgetExhausted, UnknownName, UserError
from nasbench.networks.space import Config
from nasbench.plugins import registry
from nasbench.plugins.method import Method
from nasbench.plugins.registry import PluginError
from nasbench.runs.problem import Problem
from nasbench.search.searcher import Decision, MultiFidelitySearcher, Searcher
from nasbench.testing import MethodContract, SearcherContract
from nasbench.testing.contract import METHOD_CHECKS
from nasbench.testing.models import TINY_BERT
from nasbench.testing.searcher_contract import SEARCHER_CHECKS, SearcherSubject
from nasbench.testing.subject import Broken, MethodSubject

pytestmark = pytest.mark.usefixtures("one_thread")


class Honest(Method):
    """Evaluates random untrained networks: the smallest method that passes the contract."""

    name, summary = "honest", "random networks"

    def run(self, problem: Problem) -> None:
        network = problem.pretrained()
        for _ in range(20):
            self.consider(problem, network, problem.space.sample(problem.rng))

    def consider(self, problem: Problem, network: Any, config: Config) -> None:
        problem.evaluate(network, config)


class GlobalRandom(Honest):
    def consider(self, problem: Problem, network: Any, config: Config) -> None:
        config[0] = np.random.randint(problem.space.upper[0] + 1)  # noqa: NPY002
        problem.evaluate(network, config)


class Outside(Honest):
    def consider(self, problem: Problem, network: Any, config: Config) -> None:
        problem.evaluate(network, config + problem.space.upper)


class Swallows(Honest):
    """Catches the end of the budget and continues."""

    def run(self, problem: Problem) -> None:
        network = problem.pretrained()
        while True:
            try:
                problem.evaluate(network, problem.space.sample(problem.rng))
            except BudgetExhausted:
                continue


class SwallowsEverything(Honest):
    def consider(self, problem: Problem, network: Any, config: Config) -> None:
        try:
            problem.evaluate(network, config)
        except BaseException as error:
            if isinstance(error, BudgetExhausted):
                raise


class Relabels(Honest):
    def run(self, problem: Problem) -> None:
        problem.train.labels.setflags(write=True)
        problem.train.labels[0] += 1
        super().run(problem)


class CannotFail(Honest):
    def consider(self, problem: Problem, network: Any, config: Config) -> None:
        error = problem.evaluate(network, config).error
        assert error is not None, "every evaluation must succeed"


class GivesUp(Honest):
    def run(self, problem: Problem) -> None:
        network = problem.pretrained()
        for _ in range(20):
            if problem.evaluate(network, problem.space.sample(problem.rng)).error is None:
                return


class Peeks(Honest):
    def consider(self, problem: Problem, network: Any, config: Config) -> None:
        config[0] = int(problem._context.test.labels.sum()) % (problem.space.upper[0] + 1)
        problem.evaluate(network, config)


class SelectsByTest(Honest):
    """Evaluates the best and the worst of its networks on the test data."""

    def run(self, problem: Problem) -> None:
        network, evaluator = problem.pretrained(), problem._context.test
        drawn = [problem.space.sample(problem.rng) for _ in range(8)]

        def test_error(config: Config) -> float:
            logits = evaluator.logits(network, problem.space.to_subnetwork(config))
            return 1 - evaluator.metrics(logits)["accuracy"]

        problem.evaluate(network, min(drawn, key=test_error))
        problem.evaluate(network, max(drawn, key=test_error))


class Exits(Honest):
    def consider(self, *_: Any) -> None:
        raise SystemExit(0)


class Bloats(Honest):
    """Adds parameters to a network that are not counted."""

    def consider(self, problem: Problem, network: Any, config: Config) -> None:
        network.model.classifier.register_parameter("more", torch.nn.Parameter(torch.zeros(1000)))
        problem.evaluate(network, config)


class Replaces(Honest):
    """Changes weights after they were saved under their name."""

    def consider(self, problem: Problem, network: Any, config: Config) -> None:
        with torch.no_grad():
            network.model.classifier.weight.mul_(1.5)
        problem.evaluate(network, config)


class TrainsTwice(Honest):
    def run(self, problem: Problem) -> None:
        for _ in range(2):
            network = problem.pretrained()
            problem.training(network).run()
            problem.evaluate(network, problem.space.largest)


class KnowsOnlyBert(Honest):
    """Reads a module that RoBERTa does not have."""

    def consider(self, problem: Problem, network: Any, config: Config) -> None:
        assert network.model.bert.encoder.layer
        problem.evaluate(network, config)


class CountsClasses(Honest):
    """Works only where every row has as many outputs as the task has classes."""

    def consider(self, problem: Problem, network: Any, config: Config) -> None:
        batch = problem.batch(problem.train, np.arange(4))
        if problem.task.kind != "regression":
            assert len(batch.input_ids) == len(batch.labels)
        problem.evaluate(network, config)


@dataclass(frozen=True)
class Shares:
    """An option of each kind that JSON writes differently."""

    shares: tuple[float, ...] = (0.5, 1.0)
    names: tuple[str, ...] | None = ("a", "b")
    nested: tuple[tuple[int, ...], ...] = ((1, 2), ())


class HasTupleOptions(Honest):
    """A kill and a resume must find equal options."""

    name, Options = "has-tuple-options", Shares


class Idle(Method):
    name, summary = "idle", "reports nothing"

    def run(self, problem: Problem) -> None:
        problem.check_budget()


class TestHonest(MethodContract):
    method = Honest


class TestHasTupleOptions(MethodContract):
    method = HasTupleOptions
    options = Shares((0.1, 0.25), None, ((3,),))


@pytest.mark.parametrize(
    ("method", "name", "reason"),
    [
        (GlobalRandom, "is deterministic", "a second run with the same seed differs"),
        (Outside, "reports only configurations inside the space", "a network or a configuration outside the space"),
        (Swallows, "obeys the budget", "let BudgetExhausted pass"),
        (SwallowsEverything, "can be stopped anywhere", "never catch BaseException"),
        (Relabels, "leaves the given weights alone", "it changed train labels"),
        (CannotFail, "survives a failed evaluation", "every evaluation must succeed"),
        (GivesUp, "survives a failed evaluation", "it gave up after a failed evaluation"),
        (Peeks, "sees no test data", "with other test labels it differs"),
        (SelectsByTest, "sees no test data", "with other test labels it differs"),
        (Exits, "runs", "SystemExit in test_contract.py"),
        (Bloats, "runs", "are left of the original"),
        (Replaces, "runs", "have changed since they were saved"),
        (TrainsTwice, "runs", "two trainings are called 'network'"),
        (Idle, "runs", "before anything was evaluated"),
        (KnowsOnlyBert, "runs on every kind of task and model", "on a regression with roberta it failed: Attri"),
        (CountsClasses, "runs on every kind of task and model", "on a multiple choice with bert it failed: Assert"),
    ],
)
def test_method_check_finds_its_breach(tmp_path: Path, method: type[Method], name: str, reason: str) -> None:
    with pytest.raises(Broken) as caught:
        METHOD_CHECKS[name](MethodSubject(method, tmp_path))
    assert reason in str(caught.value)


@pytest.mark.parametrize("method", [GlobalRandom, CannotFail, GivesUp, Peeks, KnowsOnlyBert])
def test_method_check_passes_for_a_breach_of_another_kind(tmp_path: Path, method: type[Method]) -> None:
    subject = MethodSubject(method, tmp_path)
    for name in ("runs", "obeys the budget", "leaves the given weights alone"):
        METHOD_CHECKS[name](subject)


class Fair(Searcher):
    """Uniform random search: the smallest searcher that passes the contract."""

    name, summary = "fair", "uniform"

    def ask(self) -> Config:
        return self.space.sample(self.rng)

    def tell(self, config: Config, values: FloatArray) -> None:
        """Learns nothing."""


class OutsideSearcher(Fair):
    def ask(self) -> Config:
        return self.space.upper + 1


class GlobalSearcher(Fair):
    def ask(self) -> Config:
        return (np.random.random(self.space.n_dims) * (self.space.upper + 1)).astype(np.int64)  # noqa: NPY002


class WritingSearcher(Fair):
    def tell(self, config: Config, values: FloatArray) -> None:  # noqa: ARG002
        config[:] = 0


class WaitingSearcher(Fair):
    """Raises unless it is told the values of every proposal."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.is_waiting = False

    def ask(self) -> Config:
        if self.is_waiting:
            raise RuntimeError("tell me first")
        self.is_waiting = True
        return super().ask()

    def tell(self, config: Config, values: FloatArray) -> None:  # noqa: ARG002
        self.is_waiting = False


class Undecided(MultiFidelitySearcher, Fair):
    rungs = (1, 3)

    def report(self, trial: int, epoch: int, values: FloatArray) -> Decision:  # noqa: ARG002
        return Decision.CONTINUE


class TestFair(SearcherContract):
    searcher = Fair


@pytest.mark.parametrize(
    ("searcher", "name", "reason"),
    [
        (OutsideSearcher, "proposes only points of its spaces", "in space 'small': heads = 5 is outside [0, 4]"),
        (GlobalSearcher, "is deterministic", "the same generator gave other proposals"),
        (GlobalSearcher, "leaves global random state alone", "it changed the state of the global generator of numpy"),
        (WritingSearcher, "leaves what it is told alone", "tell() changed an array"),
        (WaitingSearcher, "copes with failed evaluations", "tell me first"),
        (Undecided, "decides at rungs", "at rung 3 of (1, 3)"),
    ],
)
def test_searcher_check_finds_its_breach(tmp_path: Path, searcher: type[Searcher], name: str, reason: str) -> None:
    with pytest.raises((Broken, RuntimeError)) as caught:
        SEARCHER_CHECKS[name](SearcherSubject(searcher, tmp_path))
    assert reason in str(caught.value)


TESTS = Path(__file__).parents[1]
WITH_A_CLASS = methods_with_a_class(TESTS / "baselines") | methods_with_a_class(TESTS / "methods")
METHODS = {name: f"{cls.__module__}.{cls.__name__}" for name, cls in registry.methods().items()}
WITHOUT_A_CLASS = [name for name, place in METHODS.items() if place not in WITH_A_CLASS]
"""The other methods have their contract in a test class of their own."""


def test_every_method_of_the_suite_is_checked_here_or_in_a_class_of_its_own() -> None:
    assert {METHODS[name] for name in WITHOUT_A_CLASS} | WITH_A_CLASS == {*METHODS.values()}


def test_only_a_class_that_makes_all_checks_as_usual_replaces_those_here(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "from lib import Usual, Searching, Elsewhere, Skipped, Partly, Unnamed, Quick as Fast\n"
        "class TestUsual(MethodContract):\n    method = Usual\n"
        "class TestQuick(MethodContract):\n    'Quick.'\n    method = Fast\n    options = Fast.Options(epochs=1)\n"
        "class TestSearching(MethodContract):\n    method = Searching\n    searcher = Fair\n"
        "class TestElsewhere(MethodContract):\n    method = Elsewhere\n    space = 'small'\n"
        "@mark\nclass TestSkipped(MethodContract):\n    method = Skipped\n"
        "class TestPartly(MethodContract):\n    method = Partly\n    def test_runs(self): pass\n"
        "class Unseen(MethodContract):\n    method = Unnamed\n"
    )
    assert methods_with_a_class(tmp_path) == {"lib.Usual", "lib.Quick"}


@pytest.mark.parametrize("name", WITHOUT_A_CLASS)
def test_every_method_of_the_suite_passes_its_contract(tmp_path: Path, name: str) -> None:
    subject = MethodSubject(registry.methods()[name], tmp_path, model=trained_briefly(TINY_BERT))
    for run in METHOD_CHECKS.values():
        run(subject)


@pytest.mark.parametrize("name", sorted(registry.searchers()))
def test_every_searcher_of_the_suite_passes_its_contract(name: str) -> None:
    lines = list(check.check(registry.searchers()[name]))
    assert len(lines) == len(SEARCHER_CHECKS)
    assert [line for line in lines if not line[0]] == []


def test_checks_continue_after_a_failure() -> None:
    lines = {name: (passed, seen) for passed, name, seen in check.check(Outside)}
    assert list(lines) == list(METHOD_CHECKS)
    assert lines["runs"][0] is False


def test_find_targets_takes_names_and_files(tmp_path: Path) -> None:
    assert [cls.name for cls in check.find_targets("ws-nas")] == ["ws-nas"]
    assert [cls.name for cls in check.find_targets("random")] == ["random"]
    file = tmp_path / "both.py"
    file.write_text(
        "from nasbench.plugins.method import Method\nfrom nasbench.search.searcher import Searcher\n"
        "class A(Method):\n    name = 'a'\n    summary = 'one'\n    def run(self, problem): pass\n"
        "class B(Searcher):\n    name = 'b'\n    summary = 'two'\n    def ask(self): pass\n"
        "    def tell(self, config, values): pass\n"
    )
    assert [cls.name for cls in check.find_targets(str(file))] == ["a", "b"]
    with pytest.raises(UnknownName, match="did you mean 'ws-nas'"):
        check.find_targets("ws-nss")
    (tmp_path / "empty.py").write_text("x = 1")
    with pytest.raises(UserError, match="defines neither a Method nor a Searcher"):
        check.find_targets(str(tmp_path / "empty.py"))
    for lacking in ("name", "summary"):
        incomplete = tmp_path / f"no_{lacking}.py"
        incomplete.write_text(file.read_text().replace(f"    {lacking} = ", "    other = "))
        with pytest.raises(PluginError, match=rf"no_{lacking}\.py: class A has no {lacking}; "):
            check.find_targets(str(incomplete))
