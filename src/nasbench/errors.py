"""The errors that nasbench raises on purpose, and how their messages are written.

A user's mistake is a :class:`UserError`. Its message is one line that names the value, the place and the remedy. The
command line prints the line without a traceback and exits with code 2. A :class:`MethodError` means that the method
under test misbehaved: the run keeps its record with status ``failed``, and the exit code is 1.
"""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

_LONGEST = 1000
"""Characters of a text in a record or on a terminal that others decide."""


class NasbenchError(Exception):
    """Base class of all errors that nasbench raises on purpose."""

    exit_code = 1


class UserError(NasbenchError):
    """The caller asked for something that does not exist or cannot be done."""

    exit_code = 2


class CannotResume(UserError):
    """The files of an earlier attempt do not allow the run to be resumed."""


class MethodError(NasbenchError):
    """A method or searcher broke its contract."""


class BudgetExhausted(NasbenchError):
    """Raised inside a method when the budget is spent. Methods must not catch it: the runner does, and ends the run."""


class WillNotEnd(BaseException):
    """Raised in a method that keeps catching :class:`BudgetExhausted`. No ``except Exception`` can catch this one."""


class Interrupted(NasbenchError):
    """A person or a batch system ended the command. Everything recorded is kept."""

    exit_code = 130  # 128 + SIGINT, as in shells


class Interruption(BaseException):
    """Ends a run from outside, as a kill does: its record stays as it is. Tests raise it."""


class UnknownName(UserError):
    """A name that nasbench does not know. The message suggests the nearest known name."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        choices = sorted(known)
        near = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(choices) or 'none'}"
        super().__init__(f"unknown {kind} {name!r}; {hint}")


def in_one_line(error: BaseException, own_files: Collection[str] = ()) -> str:
    """An error of third-party code as one line for a record or a terminal: type, place and message.

    Args:
        own_files: files of the third-party code. The place is the last line of these files in the traceback. Without
            such a line, the place is the line that raised the error.
    """
    frames = traceback.extract_tb(error.__traceback__)
    where = next((frame for frame in reversed(frames) if frame.filename in own_files), frames[-1] if frames else None)
    place = f" in {Path(where.filename).name}:{where.lineno}" if where else ""
    try:
        text = printable(str(error))
    except Exception:  # noqa: BLE001 - the text of third-party code can raise anything
        text = ""
    return f"{type(error).__name__}{place}" + (f": {text}" if text else "")


def printable(text: str, longest: int = _LONGEST) -> str:
    """A text in one line, in which characters that would steer a terminal are escaped.

    Args:
        longest: number of characters, 3 or more; what is longer is cut and ends in three dots.
    """
    shown = escaped(" ".join(text[: 10 * longest].split()))
    return shown if len(shown) <= longest else f"{shown[: longest - 3]}..."


def escaped(line: str) -> str:
    """A line in which characters that would steer a terminal are escaped. Its spaces stay, its tabs become spaces."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line.expandtabs())


def listed(names: Sequence[str]) -> str:
    """The first ten names, and how many more there are."""
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the name of its type if the message is empty."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def first_error(error: BaseException, outer: BaseException | None = None) -> BaseException:
    """The error that set off a chain of errors raised while others were handled.

    Args:
        outer: the error that was being handled before the chain began, which is no part of it.
    """
    while True:
        before = error.__cause__ or error.__context__
        if before is None or before is outer:
            return error
        error = before
