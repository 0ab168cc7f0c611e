"""A results folder as two tidy frames: runs and evaluations, with everything odd about them named.

Reading never stops at a bad record: what cannot be read or trusted is left out and becomes a :class:`Finding`. Files
are parsed whole and validated as columns, because a record may have 10^5 lines and a results folder 10^6.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from nasbench.analysis.reading.evaluation_file import empty_table, read_evaluation_file
from nasbench.arrays import BoolArray
from nasbench.errors import UserError
from nasbench.records.record import Identity, RunFolder, RunRecord, find_runs
from nasbench.records.schema import RecordError

RUN_LEVEL = (
    "run",
    "task",
    "model",
    "track",
    "device_class",
    "scenario",
    "space",
    "method",
    "searcher",
    "algorithm",
    "entry",
    "options_digest",
    "suite_version",
)
"""Text columns of the runs that the evaluations repeat, as categories."""


_RUN_TYPES = {
    **dict.fromkeys(RUN_LEVEL, "str"),
    "options": "str",
    "seed": "int64",
    "official": "bool",
    "metric": "str",
    "n_params_full": "int64",
    "budget_s": "float64",
    "max_evaluations": "Int64",
    "status": "str",
    "reason": "str",
    "started_at": "str",
    "elapsed_s": "float64",
    "n_evaluations": "int64",
    "n_failed": "int64",
    "unofficial": "object",
    "changed_options": "object",
    "dimensions": "object",
    "provenance": "object",
    "charged_s": "object",
    "uncharged_s": "object",
}
"""Columns of the runs in their order, so that a frame of no runs has them too."""


_WORD = re.compile(r"(?!(?:true|false|null|NaN|Infinity)$)[A-Za-z][\w.+-]*")
"""Text that cannot be taken for another JSON value, nor for a part of a list of options."""


@dataclass(frozen=True)
class Finding:
    """Something about the results that a reader must know.

    Attributes:
        place: the run folder relative to the results folder, with file and line where known.
        damage: whether a record is broken or contradicts another one; a run that merely failed or has not ended is not.
    """

    place: str
    message: str
    damage: bool

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


@dataclass(frozen=True)
class Results:
    """What a results folder holds.

    Attributes:
        runs: one row a run, sorted by folder, index 0, 1, 2, ...; columns ``run`` (folder relative to the results
            folder), ``task, model, track, device_class, space, method, searcher, seed, suite_version, metric,
            n_params_full, budget_s, max_evaluations, status, reason, started_at`` as recorded; ``algorithm``
            (``ws-nas/ehvi``); ``scenario`` (``task/model/device_class``: what may be compared); ``entry`` (algorithm,
            space and whatever tells it apart, see :func:`name_entries`; no two runs share entry, scenario and
            seed); ``options`` (JSON text, without those that are None), ``options_digest``; ``official`` (bool);
            ``budget_s`` is NaN where only ``max_evaluations`` ends the run;
            ``elapsed_s`` (charged, at the last evaluation), ``n_evaluations``, ``n_failed``; and as Python objects
            ``unofficial`` (list), ``changed_options`` (dict or None) and ``dimensions, provenance, charged_s,
            uncharged_s`` (dicts).
        evaluations: one row an evaluation, in the order of runs and of evaluation; ``run_row`` (row of its run in
            ``runs``), ``index, error, params, n_params, test_error, elapsed_s, status, latency_ms, n_duplicates,
            epochs, key, weights, reason, config`` (text to show, ``heads=3, units=100, layers=2``), ``metric.<name>``
            and ``test_metric.<name>``; ``seed``, ``official``, ``budget_s`` and the columns :data:`RUN_LEVEL` of its
            run. Not every results folder has all metrics; what a run does not have is NaN.
        findings: everything that was left out, and why; failed and unfinished runs.
    """

    runs: pd.DataFrame
    evaluations: pd.DataFrame
    findings: tuple[Finding, ...] = field(default=())

    @property
    def warnings(self) -> list[str]:
        """The findings as lines of text."""
        return [str(finding) for finding in self.findings]

    @property
    def exit_code(self) -> int:
        """1 if any record is damaged, else 0."""
        return int(any(finding.damage for finding in self.findings))

    def select(self, keep: npt.ArrayLike) -> Results:
        """The results of some runs only; the findings stay.

        Args:
            keep: ``(n_runs,)`` bool, a row of ``runs`` each.
        """
        mask: BoolArray = np.asarray(keep, dtype=np.bool_)
        if mask.shape != (len(self.runs),):
            raise ValueError(f"keep {mask.shape} must be ({len(self.runs)},)")
        if mask.all():
            return self
        rows = self.evaluations["run_row"].to_numpy()
        kept = mask[rows]
        evaluations = self.evaluations[kept].reset_index(drop=True)
        evaluations["run_row"] = (np.cumsum(mask) - 1)[rows[kept]].astype(np.int32)
        return Results(self.runs[mask].reset_index(drop=True), evaluations, self.findings)

    def finished(self) -> Results:
        """Without runs that have not ended. Failed ones stay: what they had reported by then counts."""
        return self.select(self.runs["status"].to_numpy() != "running")

    def official(self) -> Results:
        """The finished official runs: what the leaderboard counts."""
        finished = self.runs["status"].to_numpy() != "running"
        return self.select(finished & self.runs["official"].to_numpy(dtype=np.bool_))


def read_results(folder: Path) -> Results:
    """All runs below a folder.

    Raises:
        UserError: if there is no such folder. A folder without runs is no error: both frames are empty.
    """
    if not folder.is_dir():
        raise UserError(f"no results folder {folder}; make runs with 'nasbench run' or name another with --results")
    findings: list[Finding] = []
    records: list[tuple[str, RunRecord]] = []
    tables: list[pa.Table] = []
    seen: dict[str, str] = {}
    for path in find_runs(folder):
        name = _encodable(path.relative_to(folder).as_posix())
        try:
            record = RunFolder(path).read_run()
            identity = _told_apart(record.identity)
            if identity in seen:
                raise RecordError(f"the same identity as {seen[identity]}; left out")
            table, oddities = read_evaluation_file(path / RunFolder.EVALUATIONS, record)
        except RecordError as error:
            # RecordError starts with the full path; the place says it already, and the same on every machine.
            findings.append(Finding(name, _encodable(str(error).removeprefix(f"{path}/")), damage=True))
            continue
        except RecursionError:
            findings.append(Finding(name, "nested too deep to be read", damage=True))
            continue
        seen[identity] = name
        findings += [Finding(name, text, damage=True) for text in oddities]
        findings += _run_findings(name, record, len(table))
        records.append((name, record))
        tables.append(table)
    runs = _runs_frame(records, tables)
    results = Results(runs, _evaluations_frame(runs, tables), tuple(findings))
    return _without_collisions(results)


def _without_collisions(results: Results) -> Results:
    """The results with one run in every place: names from strangers can coincide where the identities differ."""
    runs = results.runs
    place = ["entry", "scenario", "seed"]
    again = runs.duplicated(place).to_numpy(dtype=np.bool_)
    if not again.any():
        return results
    first = runs.groupby(place)["run"].transform("first")
    found = [
        Finding(run, f"cannot be told from {other}, another run of {entry} in {scenario}; left out", damage=True)
        for run, other, entry, scenario in zip(
            runs["run"][again], first[again], runs["entry"][again], runs["scenario"][again], strict=True
        )
    ]
    return dataclasses.replace(results.select(~again), findings=(*results.findings, *found))


def _told_apart(identity: Identity) -> str:
    """Equal for two records of one run, however they write an option that is not set, or a budget of 100."""
    budget_s = None if identity.budget_s is None else float(identity.budget_s)
    fields = dataclasses.asdict(identity) | {"options": _set_options(identity.options), "budget_s": budget_s}
    return json.dumps(fields, sort_keys=True)


def _encodable(text: str) -> str:
    """Text that may come from a damaged file or a folder's name, with what has no UTF-8 form escaped."""
    return text.encode("utf-8", "backslashreplace").decode()


def _run_findings(name: str, record: RunRecord, n_evaluations: int) -> list[Finding]:
    found = []
    if record.status == "failed":
        found.append(Finding(name, f"the run failed: {record.reason or 'no reason recorded'}", damage=False))
    if record.status == "running":
        found.append(Finding(name, "the run has not ended; its command resumes it", damage=False))
    elif n_evaluations == 0:
        found.append(Finding(name, "the run has no evaluations", damage=True))
    return found


def _runs_frame(records: list[tuple[str, RunRecord]], tables: list[pa.Table]) -> pd.DataFrame:
    rows = []
    for (name, record), table in zip(records, tables, strict=True):
        identity = record.identity
        options = json.dumps(_set_options(identity.options), sort_keys=True)
        elapsed = table["elapsed_s"]
        rows.append(
            {
                "run": name,
                "task": identity.task,
                "model": identity.model,
                "track": record.track,
                "device_class": identity.device_class,
                "scenario": f"{identity.task}/{identity.model}/{identity.device_class}",
                "space": identity.space,
                "method": identity.method,
                "searcher": identity.searcher,
                "algorithm": identity.algorithm,
                "entry": "",
                "options": options,
                "options_digest": hashlib.sha256(options.encode()).hexdigest()[:8],
                "seed": identity.seed,
                "official": not record.unofficial,
                "suite_version": record.suite_version,
                "metric": record.metric,
                "n_params_full": record.n_params_full,
                "budget_s": np.nan if identity.budget_s is None else float(identity.budget_s),
                "max_evaluations": identity.max_evaluations,
                "status": record.status,
                "reason": record.reason,
                "started_at": record.started_at,
                "elapsed_s": elapsed[-1].as_py() if len(elapsed) else 0.0,
                "n_evaluations": len(table),
                "n_failed": int(np.sum(np.asarray(table["status"]) == "failed")),
                "unofficial": record.unofficial,
                "changed_options": record.changed_options,
                "dimensions": record.dimensions,
                "provenance": record.provenance,
                "charged_s": record.charged_s,
                "uncharged_s": record.uncharged_s,
            }
        )
    runs = pd.DataFrame(rows, columns=list(_RUN_TYPES)).astype(_RUN_TYPES)
    runs["entry"] = name_entries(runs)
    return runs


def name_entries(runs: pd.DataFrame) -> list[str]:
    """A name for what competes: equal names are comparable runs of one entry, different ones are not.

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


def _default_options(runs: pd.DataFrame) -> dict[str, str]:
    """The default options of one algorithm, flat.

    They are the options of the runs whose ``changed_options`` is empty. A record without ``changed_options`` counts as
    such a run if its folder's name has no digest. Without any such run, the options that most runs have are taken, and
    those that a run did not change replace them.
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
    """Options by ``outer.inner`` name, their values as they are shown."""
    flat: dict[str, str] = {}
    for key, value in options.items():
        if isinstance(value, dict):
            flat |= _flat(cast("dict[str, Any]", value), f"{prefix}{key}.")
        else:
            flat[prefix + key] = _shown(value)
    return flat


def _shown(value: Any) -> str:
    """A value as JSON, so that 1 and "1" differ; a word that can be nothing else goes without its quotes."""
    if isinstance(value, str) and _WORD.fullmatch(value):
        return value
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _set_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that say something.

    None leaves a value as the task or the model declares it, and so does a record that has no such option yet.
    """
    kept = {key: _set_options(value) if isinstance(value, dict) else value for key, value in options.items()}
    return {key: value for key, value in kept.items() if value is not None and value != {}}


def _evaluations_frame(runs: pd.DataFrame, tables: list[pa.Table]) -> pd.DataFrame:
    """The tables one below the other. ``tables`` is emptied: they and the frame would not both fit into memory."""
    lengths = [len(table) for table in tables]
    rows = np.repeat(np.arange(len(tables), dtype=np.int32), lengths)
    table = pa.concat_tables(tables, promote_options="default") if tables else empty_table()
    tables.clear()
    # A column at a time: pandas would keep texts as they were parsed, in 1,000 pieces with room to grow.
    columns = {}
    for name in table.column_names:
        columns[name] = table[name].combine_chunks()
        table = table.drop_columns([name])
    table = pa.table(columns)
    columns.clear()
    frame: pd.DataFrame = table.to_pandas(split_blocks=True, self_destruct=True, strings_to_categorical=False)
    frame["status"] = frame["status"].astype("category")
    frame.insert(0, "run_row", rows)
    for name in RUN_LEVEL:
        frame[name] = runs[name].astype("category").iloc[rows].array
    for name in ("seed", "official", "budget_s"):
        frame[name] = runs[name].to_numpy()[rows]
    return frame
