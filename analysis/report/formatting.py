"""Numbers, intervals and names as the leaderboard, the page, the tables and the claims print them."""

from __future__ import annotations

import re

import numpy as np

DIGITS = 9
"""Decimals to which values are rounded before they are compared or printed; later digits differ between machines."""


_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes for the start of a formula; the last four are the full-width forms."""


def number(value: float, digits: int) -> str:
    """A number with fixed decimals, the same on every machine; ``-`` for NaN."""
    if np.isnan(value):
        return "-"
    # Rounding can leave a negative zero; adding 0 removes its sign.
    return f"{round(round(value, DIGITS), digits) + 0.0:.{digits}f}"


def interval(value: float, low: float, high: float, digits: int) -> str:
    """``3.562 [3.540, 3.584]``; the value alone if a bound is NaN."""
    if np.isnan(low) or np.isnan(high):
        return number(value, digits)
    return f"{number(value, digits)} [{number(low, digits)}, {number(high, digits)}]"


def bounds(low: float, high: float, digits: int) -> str:
    """``[3.540, 3.584]``; ``-`` if a bound is NaN."""
    return "-" if np.isnan(low) or np.isnan(high) else f"[{number(low, digits)}, {number(high, digits)}]"


def percent(value: float) -> str:
    """A fraction in per cent, ``93.5 %``; ``-`` for NaN."""
    return "-" if np.isnan(value) else f"{number(100 * value, 1)} %"


def count(n: int, singular: str, plural: str | None = None) -> str:
    """``1 entry``, ``2 entries``; the plural is the singular with an s unless given."""
    return f"{n} {singular if n == 1 else plural or singular + 's'}"


def percent_over(value: float, n: int, n_runs: int) -> str:
    """A mean fraction in per cent, and how many runs have it unless all have: ``95.1 % (3 of 6 runs)``."""
    return percent(value) + (f" ({n} of {n_runs} runs)" if n < n_runs and not np.isnan(value) else "")


def runs_of(n_runs: int, n_due: int, n_failed: int) -> str:
    """The runs of an entry: ``9 of 12 (1 failed)``."""
    return f"{n_runs} of {n_due}" + (f" ({n_failed} failed)" if n_failed else "")


def printable(text: str) -> str:
    """An arbitrary text on one line without control characters."""
    return "".join(character if character.isprintable() else " " for character in text)


def escape(text: str) -> str:
    """An arbitrary text made safe for a Markdown table: one line, no markup, no HTML."""
    one_line = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|!#])", r"\\\1", one_line)


def csv_cell(text: str) -> str:
    """An arbitrary text that a spreadsheet shows as text: one line, and an apostrophe before what starts a formula.

    Source: OWASP, "CSV Injection". Blanks in front are looked through, because some spreadsheets drop them.
    """
    one_line = printable(text)
    return f"'{one_line}" if one_line.lstrip().startswith(_FORMULA) else one_line
