"""How many steps a training can make in the time it has. Reads no clock: the caller gives all times."""

from __future__ import annotations

WATCHED = 0.1
"""Share of the time for a training that passes before its speed is judged. The first steps are slow (memory, CUDA
graphs), so the speed is measured in the second half of this time."""
MARGIN = 0.95
"""Share of the remaining time that a shortened training plans to use."""
PASS_SHARE = 1 / 3
"""A forward pass costs about a third of a forward and backward pass (Kaplan et al. 2020, section 2.1)."""
RESERVE = (0.1, 0.5)
"""Smallest and largest share of the time, from the first watched step to the end of the run, that is kept for
evaluating the network."""


class Pace:
    """Watches the first steps of a training, then says how many steps fit into its time.

    Args:
        step: steps made before.
        elapsed_s: the time now.
        end_s: the time at which the training must have ended.
        budget_s: the time at which the run ends.
        rows_per_step: training examples in a step.
        n_rows: examples of an evaluation. Time for one evaluation is kept free before ``budget_s``.
    """

    def __init__(
        self, step: int, elapsed_s: float, end_s: float, budget_s: float, rows_per_step: int, n_rows: int
    ) -> None:
        self._first, self._mark = (step, elapsed_s), (step, elapsed_s)
        self._end_s, self._budget_s = end_s, budget_s
        self._rows_per_step, self._n_rows = rows_per_step, n_rows
        self._watched_s = WATCHED * (end_s - elapsed_s)
        self.seconds_per_step = 0.0
        self.end_s = end_s
        self.evaluation_fits = True

    def again(self, step: int, elapsed_s: float) -> Pace:
        """Watch the next steps, to notice when the speed changes."""
        return Pace(step, elapsed_s, self._end_s, self._budget_s, self._rows_per_step, self._n_rows)

    def judge(self, step: int, elapsed_s: float, n_steps: int) -> int | None:
        """The number of steps to plan, at most ``n_steps``; None as long as the speed is not known.

        Sets :attr:`seconds_per_step`, :attr:`end_s`, the end that leaves time for an evaluation, and
        :attr:`evaluation_fits`: whether that time is as long as an evaluation probably takes.
        """
        first_s = self._first[1]
        if self._mark == self._first and elapsed_s - first_s >= self._watched_s / 2:
            self._mark = step, elapsed_s
        if elapsed_s - first_s < self._watched_s:
            return None
        since_step, since_s = self._mark if self._mark[0] < step else self._first
        self.seconds_per_step = (elapsed_s - since_s) / (step - since_step)
        evaluation_s = PASS_SHARE * self._n_rows / self._rows_per_step * self.seconds_per_step
        smallest_s, largest_s = (share * (self._budget_s - first_s) for share in RESERVE)
        reserve_s = min(max(evaluation_s, smallest_s), largest_s)
        self.evaluation_fits = evaluation_s <= reserve_s
        self.end_s = min(self._end_s, self._budget_s - reserve_s)
        left_s = max(0.0, self.end_s - elapsed_s)
        if (n_steps - step) * self.seconds_per_step <= left_s:
            return n_steps
        return step + int(MARGIN * left_s / self.seconds_per_step)
