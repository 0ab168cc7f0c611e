"""Names of entries: what competes on the leaderboard, told apart by algorithm, space, options and budget."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

import pandas as pd

_WORD = re.compile(r"(?!(?:true|false|null|NaN|Infinity)$)[A-Za-z][\w.+-]*")
"""Text that cannot be mistaken for another JSON value or for part of a list of options."""


def name_entries(runs: pd.DataFrame) -> list[str]:
    """The name of each run's entry, ``(n_runs,)``. Runs with equal names are comparable runs of one entry.

    The name is ``algorithm@space``. Differences from the usual run follow in brackets: each changed option (as JSON, or
    ``name unset``), the budget if it is not the scenario's, and a limit on the evaluations. An option is changed if the
    record says so in ``changed_options``, or if it differs from the algorithm's default, see :func:`_default_options`.

    Args:
        runs: columns ``run, algorithm, space, scenario, options, changed_options, budget_s, max_evaluations, seed``.
    """
    defaults = {algorithm: _default_options(group) for algorithm, group in runs.groupby("algorithm")}
    limited = runs[runs["budget_s"].notna()]
    usual_budget = {scenario: _usual_budget(group) for scenario, group in limited.groupby("scenario")}
    names = []
    for row in runs.to_dict("records"):
        default = defaults[row["algorithm"]]
        own = _flat(json.loads(row["options"]))
        changed = _flat(row["changed_options"] or {})
        marks = [
            f"{key}={own[key]}" if key in own else f"{key} unset"
            for key in sorted(default | own | changed)
            if own.get(key) != default.get(key) or key in changed
        ]
        if not pd.isna(row["budget_s"]) and row["budget_s"] != usual_budget[row["scenario"]]:
            marks.append(f"budget_s={row['budget_s']:.15g}")
        if not pd.isna(row["max_evaluations"]):
            marks.append(f"max_evaluations={row['max_evaluations']}")
        names.append(f"{row['algorithm']}@{row['space']}" + (f" [{', '.join(marks)}]" if marks else ""))
    return names


def short_names(entries: Sequence[str]) -> dict[str, tuple[str, str]]:
    """A short name for each entry, and what it leaves out.

    The differences in brackets become a number: ``ws-nas/ehvi@small [method.epochs=3]`` is ``ws-nas/ehvi@small ·1``,
    with a space that does not break.

    Returns:
        By name, the short name and the differences; the differences are empty if the name is short already.
    """
    found: dict[str, tuple[str, str]] = {}
    numbers: Counter[str] = Counter()
    for name in entries:
        base, bracket, differences = name.partition(" [")
        if bracket:
            numbers[base] += 1
            found[name] = f"{base}\N{NO-BREAK SPACE}·{numbers[base]}", differences.removesuffix("]")
        else:
            found[name] = name, ""
    return found


def _default_options(runs: pd.DataFrame) -> dict[str, str]:
    """The default options of one algorithm, by ``outer.inner`` name.

    They are the options of the runs whose ``changed_options`` is empty. An old record without ``changed_options``
    counts as such a run if its folder's name has no digest. If no run has default options, the most frequent options
    are taken, and corrected by the options that other runs left unchanged.
    """
    changes = [None if changed is None else _flat(changed) for changed in runs["changed_options"]]
    has_defaults = [
        plain if changed is None else not changed for changed, plain in zip(changes, _has_no_digest(runs), strict=True)
    ]
    if any(has_defaults):
        return _flat(json.loads(_most_frequent(runs.loc[has_defaults, "options"])))
    default = _flat(json.loads(_most_frequent(runs["options"])))
    for text, changed in zip(runs["options"], changes, strict=True):
        if changed is not None:
            own = _flat(json.loads(text))
            default = {key: value for key, value in default.items() if key in own or key in changed}
            default |= {key: value for key, value in own.items() if key not in changed}
    return default


def _usual_budget(runs: pd.DataFrame) -> Any:
    """The budget of the runs whose folder's name has no digest, else the most frequent budget."""
    plain = _has_no_digest(runs)
    return _most_frequent(runs.loc[plain, "budget_s"] if any(plain) else runs["budget_s"])


def _has_no_digest(runs: pd.DataFrame) -> list[bool]:
    """Whether the name of each run's folder has no digest, which the runner adds for changed options or budget."""
    names = runs["run"].astype(str)
    return [str(name).endswith(f"_seed{seed}") for name, seed in zip(names, runs["seed"], strict=True)]


def _most_frequent(values: pd.Series[Any]) -> Any:
    """The most frequent value; of equally frequent ones the smallest."""
    counts = Counter(values.tolist())
    return min(counts, key=lambda value: (-counts[value], value))


def _flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Options by ``outer.inner`` name, with their values as text."""
    flat: dict[str, str] = {}
    for key, value in options.items():
        if isinstance(value, dict):
            flat |= _flat(cast("dict[str, Any]", value), f"{prefix}{key}.")
        else:
            flat[prefix + key] = _shown(value)
    return flat


def _shown(value: Any) -> str:
    """A value as JSON, so that 1 and "1" differ. Unambiguous words have no quotes."""
    if isinstance(value, str) and _WORD.fullmatch(value):
        return value
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def set_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are set.

    An option that is None takes its value from the task or the model. An older record without the option does the same.
    """
    kept = {key: set_options(value) if isinstance(value, dict) else value for key, value in options.items()}
    return {key: value for key, value in kept.items() if value is not None and value != {}}


def option(runs: pd.DataFrame, name: str) -> list[Any]:
    """The value of an option in each run; None if the run has no such option."""
    return [_find(json.loads(text), name) for text in runs["options"]]


def _find(values: dict[str, Any], name: str) -> Any:
    if name in values:
        return values[name]
    return next((value[name] for value in values.values() if isinstance(value, dict) and name in value), None)
