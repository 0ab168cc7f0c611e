"""Run a training inside a run: charge it to the budget, checkpoint it, skip it on resuming, share its outcome."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from nasbench.declarations.model import TrainingConfiguration
from nasbench.errors import CannotResume, MethodError, first_line, printable
from nasbench.networks.supernet import SuperNetwork
from nasbench.runs.context import RunContext
from nasbench.training.pace import Pace
from nasbench.training.trainer import Trainer

CHECKPOINT_INTERVAL_S = 60.0
"""Charged seconds between two checkpoints. A kill loses at most this much training."""


NEAR_END = 0.1
"""A training that has fewer than this share of its steps to go is not shortened any more."""


_WARM: set[torch.device] = set()
"""GPUs on which this process has trained."""


class _ShareSpent(Exception):
    """A training has used up its share of the budget."""


class TrainingSession:
    """One training of one network, in one or several calls of :meth:`run`. ``Problem.training`` makes it.

    Args:
        make_trainer: makes the trainer. The call is charged.
        is_repeating: whether a resumed run still repeats its earlier attempt.
        key: JSON values that tell this training from others on the same data. None if its outcome is not shared.
        is_first: whether the run has evaluated nothing yet.
        n_validation: number of validation examples.
    """

    def __init__(
        self,
        context: RunContext,
        network: SuperNetwork,
        fine_tuning: TrainingConfiguration,
        make_trainer: Callable[[], Trainer],
        is_repeating: Callable[[], bool],
        key: dict[str, Any] | None,
        is_first: Callable[[], bool] = lambda: False,
        n_validation: int = 0,
    ) -> None:
        self._context, self._network, self._fine_tuning = context, network, fine_tuning
        self._budget, self._checkpoints = context.budget, context.checkpoints
        self._make_trainer, self._is_repeating, self._key = make_trainer, is_repeating, key
        self._trainer: Trainer | None = None
        self._n_skipped_epochs = 0
        self._has_run = False
        self._last_saved_s = 0.0
        self._share_s = float("inf")
        self._is_first, self._n_validation = is_first, n_validation
        self._pace: Pace | None = None

    def run(self, until_epoch: int | None = None, budget_share: float = 1.0) -> None:
        """Train to the end of an epoch. A training of 0 epochs leaves the network as it is.

        If the whole training would not end in time, it is shortened as soon as its speed is known: it makes fewer
        steps, its learning rate still falls to 0, and it leaves time for an evaluation. This holds with a
        ``budget_share`` and for trainings before the first evaluation. Later trainings end with the budget.

        Args:
            until_epoch: the epoch, counted from 1; None for the last epoch.
            budget_share: end the training for good once this share of the whole budget is spent. So a method that
                first trains and then searches has time to search on a slow machine, too.

        Raises:
            BudgetExhausted: if the budget is spent. The network keeps the weights of the last step.
            MethodError: if ``until_epoch`` is less than 1, or the training of a super-network does not fit the memory.
            CannotResume: if the weights or the checkpoint of an earlier attempt are missing or of another model.
        """
        if until_epoch is not None and until_epoch < 1:
            raise MethodError(f"until_epoch = {until_epoch!r}; epochs are counted from 1")
        if self._fine_tuning.epochs == 0:
            return
        until = until_epoch or self._fine_tuning.epochs
        self._share_s = budget_share * self._budget.seconds
        if self._restore_skipped(until, budget_share) or self._take_shared(until):
            return
        if not self._repeats:
            self._budget.proceed()
        self._context.observer.phase("training", self._budget.elapsed_s)
        with self._budget.charged("training"):
            try:
                trainer = self._made()
            except torch.OutOfMemoryError as error:
                self._give_up(None, error)
                return
            self._last_saved_s = self._budget.elapsed_s
            self._watch(until, budget_share)
            try:
                self._warm_up(trainer)
                trainer.run(until * trainer.steps_per_epoch, self._after_step)
            except _ShareSpent:
                pass
            except torch.OutOfMemoryError as error:
                self._give_up(trainer, error)
                return
            except KeyboardInterrupt:  # unlike a kill, an interrupt leaves time for a checkpoint
                if trainer.is_between_steps and not self._repeats:
                    self._save()
                raise
            finally:
                self._note_shortened(trainer)
        is_cut = trainer.step < min(until * trainer.steps_per_epoch, trainer.n_steps)
        if is_cut:
            self._context.shortened[self._network.name] = trainer.step
            self._context.note(
                f"training of {self._network.name!r} ended at step {trainer.step} of {trainer.n_steps}, where "
                f"{self._share_s / self._budget.seconds:.0%} of the budget was spent"
            )
        if is_cut or trainer.step == trainer.n_steps:
            trainer.release()
            self._keep_outcome(is_cut)
        elif not self._repeats:
            self._save()

    @property
    def _repeats(self) -> bool:
        """Whether an earlier attempt has made this training, and saved an evaluation or a later training after it."""
        return self._is_repeating() or self._network.name in self._context.trained

    def _restore_skipped(self, until: int, budget_share: float) -> bool:
        """Skip a training that an earlier attempt has finished, and load its weights. Returns whether it is skipped."""
        if not self._repeats:
            return False
        if not self._network.is_extracted:
            # Later evaluations need shared weights. If the file is lost, they are trained again, uncharged.
            if not self._checkpoints.has_weights(self._network.name):
                # Uncharged training cannot tell where the budget ended or shortened the first training.
                if budget_share < 1 or self._network.name in self._context.shortened:
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
        self._context.trained.append(self._network.name)
        self._budget.charge("training", charged_s)
        self._context.observer.phase("training", self._budget.elapsed_s)
        self._context.note(
            f"{self._network.name!r} was trained by another run of this experiment; its {charged_s:.0f} s of training "
            "are charged"
        )
        return True

    def _warm_up(self, trainer: Trainer) -> None:
        """Do what the first step of a process does once on a GPU, off the clock."""
        device = trainer.network.device
        if device.type != "cuda" or device in _WARM or trainer.step == trainer.n_steps:
            return
        _WARM.add(device)
        with self._budget.uncharged("loading"):
            trainer.warm_up()

    def _give_up(self, trainer: Trainer | None, error: torch.OutOfMemoryError) -> None:
        """Go on without a network whose training does not fit the memory: its evaluations fail.

        Raises:
            MethodError: for a super-network, without which a run has nothing to evaluate.
        """
        if trainer is None:
            what = f"training of {self._network.name!r} did not begin"
            why = "its gradients and its optimizer need too much memory"
        else:
            what = f"training of {self._network.name!r} ended at step {trainer.step} of {trainer.n_steps}"
            why = "one example at a time needs too much memory"
            trainer.release()
        reason = printable(f"{what}: {first_line(error)}; {why}")
        if not self._network.is_extracted:
            raise MethodError(reason)
        self._context.broken[self._network.model] = reason
        self._context.note(reason)

    def _keep_outcome(self, is_cut: bool) -> None:
        """Save the weights of a super-network, for resuming and for other runs."""
        if self._network.is_extracted:
            return
        self._context.trained.append(self._network.name)
        with self._budget.uncharged("recording"):
            self._checkpoints.save_weights(self._network)
            is_whole = not is_cut and self._network.name not in self._context.shortened
            if self._context.shared is not None and self._key is not None and is_whole:
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

    def _watch(self, until: int, budget_share: float) -> None:
        """Watch the speed of a training that may have to be shortened: not one in parts, nor one without a limit."""
        trainer = self._made()
        is_whole = until >= self._fine_tuning.epochs and self._n_skipped_epochs == 0 and not self._has_run
        self._has_run = True
        if not is_whole or not math.isfinite(self._share_s) or not (budget_share < 1 or self._is_first()):
            return
        self._pace = Pace(
            trainer.step, self._budget.elapsed_s, self._share_s, self._budget.seconds,
            self._fine_tuning.batch_size, self._n_validation,
        )  # fmt: skip

    def _keep_pace(self, trainer: Trainer, elapsed_s: float) -> None:
        """Shorten the training whenever its speed says that it would not end in time."""
        assert self._pace is not None
        n_steps = self._pace.judge(trainer.step, elapsed_s, trainer.n_steps)
        if n_steps is None:
            return
        pace = self._pace
        if n_steps == trainer.step < trainer.n_steps:  # no time is left
            self._share_s = pace.end_s
        elif n_steps < trainer.n_steps:
            if trainer.n_steps == trainer.n_declared:
                rest = "with time left to evaluate"
                if not pace.evaluation_fits:
                    rest = "and what is left may be too short for an evaluation; give a larger --budget"
                self._context.observer.notice(
                    f"the training of {self._network.name!r} is shortened from {trainer.n_steps:,} to about "
                    f"{n_steps:,} steps: at {pace.seconds_per_step:.3g} s a step the budget of "
                    f"{self._budget.seconds:g} s holds no more, {rest}"
                )
            trainer.shorten(n_steps)
            self._share_s = pace.end_s
        # Near the end the learning rate is close to 0, so that a cut does little harm.
        is_near_end = trainer.n_steps - trainer.step <= NEAR_END * trainer.n_steps
        self._pace = None if is_near_end else pace.again(trainer.step, elapsed_s)

    def _note_shortened(self, trainer: Trainer) -> None:
        if trainer.n_steps == trainer.n_declared:
            return
        self._context.shortened[self._network.name] = trainer.n_steps
        self._context.note(
            f"training of {self._network.name!r} was shortened from {trainer.n_declared:,} to {trainer.n_steps:,} "
            f"steps, because the budget of {self._budget.seconds:g} s held no more"
        )

    def _after_step(self) -> None:
        assert self._trainer is not None
        elapsed_s = self._budget.elapsed_s
        if self._pace is not None:
            self._keep_pace(self._trainer, elapsed_s)
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
                "trained": self._context.trained,
            }
            self._checkpoints.save_training(state)
            self._context.observer.saved(self._budget.elapsed_s)
            self._context.sample_speed()
        self._last_saved_s = self._budget.elapsed_s
