"""The harness behind a problem. It measures sub-networks, records them, and answers a resumed method from the record.

A method never reaches the harness. :mod:`nasbench.runs.problem` is the side that a method sees.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import suppress

import torch

from nasbench.errors import CannotResume, first_line, printable
from nasbench.networks.space import Config, SearchSpace
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.objectives.costs import PARAMETERS
from nasbench.records.record import Evaluation
from nasbench.runs import watchdog
from nasbench.runs.context import RunContext
from nasbench.search.pareto import empty_front
from nasbench.training.evaluation import Evaluator, Logits

MOST_EVALUATIONS = 100_000
"""Evaluations after which a run without a limit of its own ends: 70 MB of lines. A fast GPU makes them in minutes, and
then a search is an enumeration."""


class Harness:
    """Measures, records and repeats the evaluations of one run.

    Args:
        space: the search space of the run.
        validator: evaluates on the validation split.
        context: the record, the budget and the test split of the run.
    """

    def __init__(self, space: SearchSpace, validator: Evaluator, context: RunContext) -> None:
        self.validator = validator
        self._space, self._dims, self._metric = space, space.dims, validator.task.metric
        self._context, self._budget = context, context.budget
        self._evaluations: list[Evaluation] = []
        self._costs = context.costs
        self._front = empty_front(1 + len(self._costs.names))
        self._keys: set[str] = set()
        self._extracted: set[str] = set()
        self._n_duplicates = 0
        self._logits: Logits | None = None  # of the last validation pass
        self._is_warm = False
        if self.is_repeating or context.repeats_to is not None:
            self._budget.suspend()

    @property
    def is_repeating(self) -> bool:
        """Whether the next evaluation is answered from the record of an earlier attempt."""
        return len(self._evaluations) < len(self._context.recorded)

    @property
    def n_evaluations(self) -> int:
        """Number of evaluations of the run so far."""
        return len(self._evaluations)

    def has_evaluated(self, key: str) -> bool:
        """Whether a sub-network with this key has been evaluated in the run."""
        return key in self._keys

    def note_duplicate(self) -> None:
        """Count a proposal of a known sub-network in the record of the next evaluation."""
        self._budget.check()
        self._n_duplicates += 1

    def evaluate(
        self,
        network: SuperNetwork,
        configs: list[Config],
        run: Callable[[Evaluator], Logits],
        epochs: float | None = None,
        is_shared: bool = False,
    ) -> list[Evaluation]:
        """Measure sub-networks in one pass and record them. Recorded evaluations of an earlier attempt are returned.

        Args:
            run: gives their logits on a split, ``(len(configs), n_examples, n_logits)``.
            epochs: epochs of training so far, see :class:`Evaluation`.
            is_shared: whether the pass runs several networks, so that no network has a latency of its own.

        Returns:
            The evaluations without test results, in the order of ``configs``.

        Raises:
            BudgetExhausted: if the budget was spent before the pass ended, and nothing is recorded; or if the run has
                made its last evaluation, which is recorded.
            CannotResume: if the record has another sub-network at this index.
        """
        watchdog.end_forked_copy(self._context.process)
        self._budget.check_caller()
        subnetworks = [self._space.to_subnetwork(config) for config in configs]
        done: list[Evaluation] = []
        while self.is_repeating and len(done) < len(configs):
            done.append(self._repeat(network, subnetworks[len(done)]))
        if len(done) < len(configs):
            self._budget.proceed()
            self._budget.check()
            self._check_limit()
            broken = self._context.broken
            if broken and network.model in broken:  # the network of a table has no module
                reason = broken[network.model]

                def run(_: Evaluator) -> Logits:
                    raise torch.OutOfMemoryError(reason)

            measured = self._measure(configs, subnetworks, run, epochs, is_shared)
            test_logits: Logits | None = None
            for i in range(len(done), len(configs)):
                evaluation = dataclasses.replace(
                    measured[i], index=len(self._evaluations), n_duplicates=self._n_duplicates
                )
                error = evaluation.error
                if error is not None and self._front.would_hold(error, *evaluation.cost_values):
                    if test_logits is None:
                        test_logits = self._test(run, evaluation.index)
                    if test_logits is not None:
                        evaluation = self._with_test(network, test_logits[i], evaluation)
                        self._keep_predictions(evaluation, i, test_logits[i])
                self._record(evaluation)
                done.append(evaluation)
        return [dataclasses.replace(evaluation, test_error=None, test_metrics=None) for evaluation in done]

    def _repeat(self, network: SuperNetwork, subnetwork: SubNetwork) -> Evaluation:
        evaluation = self._context.recorded[len(self._evaluations)]
        if evaluation.key != subnetwork.key:
            raise CannotResume(
                f"cannot resume {self._context.folder.path}: evaluation {evaluation.index} is of another sub-network "
                "than the method now reports; the method or its version differs. Remove the folder to start again"
            )
        if network.is_extracted:
            self._extracted.add(network.name)
        self._note(evaluation)
        if not self.is_repeating and self._context.repeats_to is None:
            self._budget.proceed()
        # A run that was killed right after its last evaluation has already reached the limit.
        self._check_limit()
        return evaluation

    def _measure(
        self,
        configs: list[Config],
        subnetworks: list[SubNetwork],
        run: Callable[[Evaluator], Logits],
        epochs: float | None,
        is_shared: bool,
    ) -> list[Evaluation]:
        """Run a charged validation pass. Raises :class:`BudgetExhausted` if the budget was spent before its end."""
        self._warm_up(run)
        with self._budget.charged("validation"):
            started = self._budget.now()
            outcomes = self._outcomes(run, len(configs))
            duration = self._budget.now() - started
        charged = self._budget.charged_s
        self._budget.check()
        measured = []
        for config, subnetwork, (metrics, reason) in zip(configs, subnetworks, outcomes, strict=True):
            n_params = subnetwork.n_params(self._dims)
            measured.append(
                Evaluation(
                    index=-1,
                    config=self._space.to_json(config),
                    key=subnetwork.key,
                    head_counts=subnetwork.head_counts.tolist(),
                    unit_counts=subnetwork.unit_counts.tolist(),
                    error=1 - metrics[self._metric] if metrics else None,
                    params=n_params / self._dims.n_params,
                    n_params=n_params,
                    elapsed_s=sum(charged.values()),
                    charged_s=charged,
                    latency_ms=None if is_shared else 1e3 * duration / len(self.validator.labels),
                    status="ok" if metrics else "failed",
                    metrics=metrics,
                    epochs=epochs,
                    reason=reason,
                    costs=self._costs_of(subnetwork),
                )
            )
        return measured

    def _costs_of(self, subnetwork: SubNetwork) -> dict[str, float] | None:
        """What the record says about costs: nothing in a usual run, whose evaluations have their parameters anyway."""
        return None if self._costs == PARAMETERS else self._costs.of_subnetwork(self._dims, subnetwork)

    def _warm_up(self, run: Callable[[Evaluator], Logits]) -> None:
        """Run the first pass on a GPU once off the clock: it also loads kernels and makes handles."""
        if self._is_warm or self.validator.device.type != "cuda":
            return
        self._is_warm = True
        with self._budget.uncharged("loading"), suppress(torch.OutOfMemoryError):  # the charged pass says so
            run(self.validator)

    def _outcomes(self, run: Callable[[Evaluator], Logits], n: int) -> list[tuple[dict[str, float], str | None]]:
        """The metrics of each sub-network of a pass, or no metrics and the reason of the failure."""
        try:
            logits = self._logits = run(self.validator)
        except torch.OutOfMemoryError as error:
            return [({}, printable(first_line(error)))] * n
        outcomes: list[tuple[dict[str, float], str | None]] = []
        for network_logits in logits:
            try:
                outcomes.append((self.validator.metrics(network_logits), None))
            except FloatingPointError as error:
                outcomes.append(({}, str(error)))
        return outcomes

    def _test(self, run: Callable[[Evaluator], Logits], index: int) -> Logits | None:
        """Logits on the test split, uncharged; None if there is not enough memory. The run goes on without them."""
        try:
            with self._budget.uncharged("test"):
                return run(self._context.test)
        except torch.OutOfMemoryError as error:
            self._context.note(f"evaluation {index} has no test results: {printable(first_line(error))}")
            return None

    def _with_test(self, network: SuperNetwork, logits: Logits, evaluation: Evaluation) -> Evaluation:
        """Add test results and save the weights, uncharged and hidden from the method."""
        try:
            metrics = self._context.test.metrics(logits)
        except FloatingPointError:
            return evaluation
        with self._budget.uncharged("recording"):
            self._context.checkpoints.keep_weights(network)
            if network.is_extracted:
                self._extracted.add(network.name)
        return dataclasses.replace(
            evaluation, test_error=1 - metrics[self._metric], test_metrics=metrics, weights=network.name
        )

    def _keep_predictions(self, evaluation: Evaluation, i: int, test: Logits) -> None:
        """Keep what a network on the front predicts: network i of the last pass. Uncharged, before its line."""
        if self._context.predictions is not None and self._logits is not None and evaluation.test_error is not None:
            with self._budget.uncharged("recording"):
                self._context.predictions.keep(evaluation.index, {"validation": self._logits[i], "test": test})

    def _record(self, evaluation: Evaluation) -> None:
        with self._budget.uncharged("recording"):
            self._context.folder.append(evaluation)
            self._note(evaluation)
            self._context.observer.evaluated(evaluation)
            self._context.sample_speed()
        self._check_limit()

    def _check_limit(self) -> None:
        limit = self._context.limit
        if limit is None:  # an earlier version may have recorded more
            limit = max(MOST_EVALUATIONS, len(self._context.recorded))
            if len(self._evaluations) == limit:
                self._context.note(f"ended after {limit:,} evaluations, the most that a run records")
        if len(self._evaluations) >= limit:
            self._budget.refuse(f"the limit of {limit} evaluations is reached")

    def _note(self, evaluation: Evaluation) -> None:
        """Remember an evaluation. Delete the weights of extracted networks that it drives off the front."""
        self._evaluations.append(evaluation)
        self._keys.add(evaluation.key)
        self._n_duplicates = 0
        if evaluation.error is None:
            return
        left = self._front.add((evaluation.error, *evaluation.cost_values), evaluation.index)
        if self._context.predictions is not None:
            self._context.predictions.drop(left)
        for index in left:
            name = self._evaluations[index].weights
            if name is not None and name in self._extracted and not self.is_repeating:
                self._context.checkpoints.remove_weights(name)
