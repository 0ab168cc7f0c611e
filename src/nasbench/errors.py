"""Everything that can go wrong on purpose, and how it is said.

A user's mistake is a :class:`UserError`: one line that names the value, the place and the remedy; the command line
prints it without a traceback and exits with code 2. A run that ends because the method under test misbehaved is a
:class:`MethodError`: its record is kept with status ``failed`` and the exit code is 1.
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Collection, Iterable
from pathlib import Path


class NasbenchError(Exception):
    """Root of all errors raised by nasbench on purpose."""

    exit_code = 1


class UserError(NasbenchError):
    """The caller asked for something that does not exist or cannot be done."""

    exit_code = 2


class CannotResume(UserError):
    """What an earlier attempt at a run left behind cannot be gone on with."""


class MethodError(NasbenchError):
    """A method or searcher broke the contract it runs under."""


class BudgetExhausted(NasbenchError):
    """Raised inside a method when the budget is spent. Methods let it pass; the runner ends the run with it."""


class WillNotEnd(BaseException):
    """Raised in a method that swallows one :class:`BudgetExhausted` after another, past any ``except Exception``."""


class UnknownName(UserError):
    """A name that no registry holds, with the nearest one that does."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        choices = sorted(known)
        near = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(choices) or 'none'}"
        super().__init__(f"unknown {kind} {name!r}; {hint}")
        self.kind, self.name = kind, name


def in_one_line(error: BaseException, own_files: Collection[str] = ()) -> str:
    """What a stranger's code raised and where, for a record or a terminal.

    Args:
        own_files: the files of that code. The last line of theirs that the error came through is named, or where none
            is known, the line that raised it.
    """
    frames = traceback.extract_tb(error.__traceback__)
    where = next((frame for frame in reversed(frames) if frame.filename in own_files), frames[-1] if frames else None)
    place = f" in {Path(where.filename).name}:{where.lineno}" if where else ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}{place}" + (f": {text}" if text else "")


def first_line(error: BaseException) -> str:
    """The first line of a library's message, its type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
