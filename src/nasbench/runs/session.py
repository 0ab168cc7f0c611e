"""Run a training inside a run: charge it to the budget, checkpoint it, skip it on resuming, share its outcome."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nasbench.declarations.model import TrainingConfiguration
from nasbench.errors import CannotResume
from nasbench.networks.supernet import SuperNetwork
from nasbench.runs.context import RunContext
from nasbench.training.trainer import Trainer

CHECKPOINT_INTERVAL_S = 60.0
"""Charged seconds between two checkpoints. A kill loses at most this much training."""


class _ShareSpent(Exception):
    """A training has used up its share of the budget."""


class TrainingSession:
    """One training of one network, in one or several calls of :meth:`run`. ``Problem.training`` makes it.

    Args:
        make_trainer: makes the trainer. The call is charged.
        is_repeating: whether a resumed run still repeats its earlier attempt.
        key: JSON values that tell this training from others on the same data. None if its outcome is not shared.
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
        """Train to the end of an epoch.

        Args:
            until_epoch: the epoch, counted from 1; None for the last epoch.
            budget_share: end the training for good once this share of the whole budget is spent. So a method that
                first trains and then searches has time to search on a slow machine, too.

        Raises:
            BudgetExhausted: if the budget is spent. The network keeps the weights of the last step.
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
            except KeyboardInterrupt:  # unlike a kill, an interrupt leaves time for a checkpoint
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
        """Skip a training that an earlier attempt has finished, and load its weights. Returns whether it is skipped."""
        if not self._is_repeating():
            return False
        if not self._network.is_extracted:
            # Later evaluations need shared weights. If the file is lost, they are trained again, uncharged.
            if not self._checkpoints.has_weights(self._network.name):
                if budget_share < 1:  # uncharged training cannot tell where the budget ended the first training
                    raise CannotResume(
                        f"cannot resume {self._context.folder.path}: the weights of {self._network.name!r} are "
                        "missing; remove the folder to start again"
                    )
                return False
            self._checkpoints.load_weights(self._network, self._network.name)
        self._n_skipped_epochs = until
        return True

    def _take_shared(self, until: int) -> bool:
        """Load the weights that another run of the experiment trained, and charge for them. Returns whether it did."""
        shared, key = self._context.shared, self._key
        if shared is None or key is None or self._trainer is not None or until < self._fine_tuning.epochs:
            return False
        with self._budget.uncharged("loading"):
            state = self._checkpoints.load_training()
            charged_s = shared.charged_s(key)
            has_begun_its_own = state is not None and state["name"] == self._network.name
            # If this run's budget would have ended the training early, its outcome would differ.
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
        """Save the weights of a super-network, for resuming and for other runs."""
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
