"""End a run whose method ignores its budget, and refuse what a run's other threads and processes report.

A watching thread compares the charged time with the budget. Once the budget is exceeded by more than a grace, it raises
an error inside the method, wherever that is: in an endless loop, asleep, or waiting. Evaluations reported by then
count. Code that never returns to Python cannot be ended so.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from nasbench.errors import BudgetExhausted, WillNotEnd
from nasbench.runs.budget import Budget

GRACE_S = 10.0
GRACE_SHARE = 0.02
"""A method may exceed its budget by the larger of :data:`GRACE_S` and this share of the budget."""
INTERVAL_S = 0.5
_SIGNAL = signal.SIGURG
"""Ignored by default, and used by hardly any program."""
_OWN_MODULES = ("nasbench.runs.harness", "nasbench.runs.session")


def grace_s(budget_s: float) -> float:
    """Seconds that a method may go on after the end of its budget."""
    return max(GRACE_S, GRACE_SHARE * budget_s)


@contextmanager
def watched(budget: Budget) -> Iterator[None]:
    """End the code inside if it exceeds the budget by more than the grace.

    Nothing is watched if there is no time limit, or if a test pretends the clock.

    Raises:
        BudgetExhausted: from within the suite's code, for a training step or an evaluation that takes too long.
        WillNotEnd: from within the method's code. It is raised again if the method goes on. In another thread than the
            main one, it is raised wherever the thread is, and once.
    """
    if budget.seconds == float("inf") or budget.clock is not time.monotonic:
        yield
        return
    allowed = grace_s(budget.seconds)
    thread, is_main = threading.get_ident(), threading.current_thread() is threading.main_thread()
    has_ended = threading.Event()
    strikes = 0

    def strike(_: int, frame: FrameType | None) -> None:
        # The clock may have stopped since the signal was sent. Work of the harness is not interrupted.
        nonlocal strikes
        if has_ended.is_set() or budget.overshoot_s < allowed:
            return
        strikes += 1
        text = f"the budget of {budget.seconds:g} s is exceeded by {budget.overshoot_s:.1f} s"
        if strikes == 1 and _is_in_own_code(frame):
            raise BudgetExhausted(text)
        raise WillNotEnd(f"the method went on although {text}; call problem.check_budget() in long loops")

    def watch() -> None:
        while not has_ended.wait(INTERVAL_S):
            if budget.is_charging and budget.overshoot_s >= allowed:
                if is_main:
                    signal.pthread_kill(thread, _SIGNAL)
                else:  # handlers run in the main thread only; this one ends Python code, but no sleep
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(WillNotEnd))
                    return

    before = signal.signal(_SIGNAL, strike) if is_main else None
    watcher = threading.Thread(target=watch, name="nasbench-watchdog", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        has_ended.set()
        watcher.join()
        if is_main:
            signal.signal(_SIGNAL, before)


def _is_in_own_code(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__") in _OWN_MODULES:
            return True
        frame = frame.f_back
    return False


def end_forked_copy(process: int) -> None:
    """End this process if it is not the one that runs the method: a copy that a method forked must not write."""
    if os.getpid() != process:
        sys.stderr.write("error: a process that a method forked went on in the suite's code; it is ended\n")
        sys.stderr.flush()
        os._exit(1)
