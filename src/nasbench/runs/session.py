"""A training as a run sees it: on the clock, in parts, checkpointed, left out on resuming, shared in an experiment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nasbench.declarations.model import TrainingConfiguration
from nasbench.errors import CannotResume
from nasbench.networks.supernet import SuperNetwork
from nasbench.runs.context import RunContext
from nasbench.training.trainer import Trainer

CHECKPOINT_INTERVAL_S = 60.0
"""Charged seconds of training that a kill costs at most."""


class _ShareSpent(Exception):
    """A training has used the share of the budget that it was given."""


class TrainingSession:
    """One training of one network, run in parts, checkpointed by the harness. Made by ``Problem.training``.

    Args:
        make_trainer: makes what does the steps, on the clock.
        is_repeating: whether the run is being resumed and has not come to anything new yet.
        key: what tells this training from others on the same data, if other runs may use its outcome.
    """

    def __init__(
        self,
        context: RunContext,
        network: SuperNetwork,
        fine_tuning: TrainingConfiguration,
        make_trainer: Callable[[], Trainer],
        is_repeating: Callable[[], bool],
        key: dict[str, Any] | None,
    ) -> None:
        self._context, self._network, self._fine_tuning = context, network, fine_tuning
        self._budget, self._checkpoints = context.budget, context.checkpoints
        self._make_trainer, self._is_repeating, self._key = make_trainer, is_repeating, key
        self._trainer: Trainer | None = None
        self._n_skipped_epochs = 0
        self._last_saved_s = 0.0
        self._share_s = float("inf")

    def run(self, until_epoch: int | None = None, budget_share: float = 1.0) -> None:
        """Train up to the end of an epoch counted from 1 (default: the last).

        Args:
            budget_share: end the training early, for good, where this share of the whole budget is spent; so that on
                a slow machine a method that first trains and then searches still has something to report.

        Raises:
            BudgetExhausted: the network is left as the last step made it.
        """
        until = until_epoch or self._fine_tuning.epochs
        self._share_s = budget_share * self._budget.seconds
        if self._restore_skipped(until, budget_share) or self._take_shared(until):
            return
        self._context.observer.phase("training", self._budget.elapsed_s)
        with self._budget.charged("training"):
            trainer = self._made()
            self._last_saved_s = self._budget.elapsed_s
            try:
                trainer.run(until * trainer.steps_per_epoch, self._after_step)
            except _ShareSpent:
                pass
            except KeyboardInterrupt:  # unlike a kill it leaves time to keep all that was done
                if trainer.is_between_steps and not self._is_repeating():
                    self._save()
                raise
        is_cut = trainer.step < until * trainer.steps_per_epoch
        if is_cut:
            self._context.note(
                f"training of {self._network.name!r} ended at step {trainer.step} of {trainer.n_steps}, where "
                f"{budget_share:.0%} of the budget was spent"
            )
        if is_cut or trainer.step == trainer.n_steps:
            trainer.release()
            self._keep_outcome(is_cut)
        elif not self._is_repeating():
            self._save()

    def _restore_skipped(self, until: int, budget_share: float) -> bool:
        """Leave a training out whose outcome is in the record of an earlier attempt; True if so."""
        if not self._is_repeating():
            return False
        if not self._network.is_extracted:
            # Weights that later evaluations share are needed; without the file they are trained again, off the clock.
            if not self._checkpoints.has_weights(self._network.name):
                if budget_share < 1:  # off the clock, nothing says where the budget cut it
                    raise CannotResume(
                        f"cannot resume {self._context.folder.path}: the weights of {self._network.name!r} are "
                        "missing; remove the folder to start again"
                    )
                return False
            self._checkpoints.load_weights(self._network, self._network.name)
        self._n_skipped_epochs = until
        return True

    def _take_shared(self, until: int) -> bool:
        """Take over what another run of the experiment trained, and be charged for it; True if there is such."""
        shared, key = self._context.shared, self._key
        if shared is None or key is None or self._trainer is not None or until < self._fine_tuning.epochs:
            return False
        with self._budget.uncharged("loading"):
            state = self._checkpoints.load_training()
            charged_s = shared.charged_s(key)
            has_begun_its_own = state is not None and state["name"] == self._network.name
            # A training that this run's budget would have cut short is not the same training.
            if has_begun_its_own or charged_s is None or self._budget.elapsed_s + charged_s >= self._share_s:
                return False
            shared.load_weights(self._network, key)
            self._checkpoints.save_weights(self._network)
        self._budget.charge("training", charged_s)
        self._context.observer.phase("training", self._budget.elapsed_s)
        self._context.note(
            f"{self._network.name!r} was trained by another run of this experiment; its {charged_s:.0f} s of training "
            "are charged"
        )
        return True

    def _keep_outcome(self, is_cut: bool) -> None:
        """Save weights that many evaluations share."""
        if self._network.is_extracted:
            return
        with self._budget.uncharged("recording"):
            self._checkpoints.save_weights(self._network)
            if self._context.shared is not None and self._key is not None and not is_cut:
                self._context.shared.save(self._network, self._key, self._budget.charged_s["training"])

    def _made(self) -> Trainer:
        if self._trainer is None:
            self._trainer = self._make_trainer()
            with self._budget.uncharged("loading"):
                self._continue_from_checkpoint(self._trainer)
        return self._trainer

    def _continue_from_checkpoint(self, trainer: Trainer) -> None:
        state, folder = self._checkpoints.load_training(), self._context.folder.path
        if state is not None and state["name"] == self._network.name:
            try:
                trainer.restore(state["trainer"])
            except (RuntimeError, ValueError, KeyError) as error:
                raise CannotResume(
                    f"the checkpoint in {folder} is of another model or version; remove that folder to start again"
                ) from error
        elif self._n_skipped_epochs:
            raise CannotResume(
                f"cannot resume {folder}: the checkpoint of {self._network.name!r} is missing; remove the folder to "
                "start again"
            )

    def _after_step(self) -> None:
        assert self._trainer is not None
        elapsed_s = self._budget.elapsed_s
        self._context.observer.training(self._trainer.step, self._trainer.n_steps, elapsed_s)
        self._budget.check()
        if self._share_s <= elapsed_s < self._budget.seconds:
            raise _ShareSpent
        if elapsed_s - self._last_saved_s >= CHECKPOINT_INTERVAL_S:
            self._save()

    def _save(self) -> None:
        assert self._trainer is not None
        with self._budget.uncharged("recording"):
            state = {
                "name": self._network.name,
                "trainer": self._trainer.state(),
                "charged_s": self._budget.charged_s,
            }
            self._checkpoints.save_training(state)
        self._last_saved_s = self._budget.elapsed_s
