"""A results folder as two tidy frames, runs and evaluations, with a finding for every oddity.

Reading never stops at a bad record: a record that cannot be read or trusted is left out and becomes a :class:`Finding`.
Files are parsed and validated by column, because a record may have 10^5 lines and a results folder 10^6.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from nasbench.analysis.reading.beside import COLUMNS as BESIDE
from nasbench.analysis.reading.beside import read_beside
from nasbench.analysis.reading.entries import name_entries, set_options
from nasbench.analysis.reading.evaluation_file import empty_table, read_evaluation_file
from nasbench.analysis.reading.objectives import label
from nasbench.analysis.reading.scenarios import device_labels, task_labels
from nasbench.arrays import BoolArray
from nasbench.declarations.task import OBJECTIVES
from nasbench.errors import UserError
from nasbench.export.command import command_of
from nasbench.records.record import RunFolder, RunRecord, find_runs
from nasbench.records.schema import RecordError, present_options
from nasbench.tables.table import table_of
from nasbench.trust.marks import Mark, mark_of

DEFAULT_FOLDERS = (Path("runs"), Path("results"))
"""Where runs are looked for unless a folder is named: a user's own runs, then the curated records of a checkout."""

RUN_LEVEL = (
    "run",
    "task",
    "model",
    "track",
    "device_class",
    "scenario",
    "objectives",
    "space",
    "method",
    "searcher",
    "algorithm",
    "entry",
    "options_digest",
    "suite_version",
)
"""Text columns of the runs that the evaluations repeat as categories."""

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
    "conditions": "object",
    "level": "str",
    "reproduced": "object",
    "author": "str",
    "link": "str",
    "command": "str",
    **dict.fromkeys(BESIDE, "object"),
}
"""Columns of the runs, in order. A frame without runs has them too."""


@dataclass(frozen=True)
class Finding:
    """A remark on a record that a reader must know.

    Attributes:
        place: the run folder, as in the column ``run`` of the runs.
        message: the remark, with file and line if known.
        damage: whether the record is broken or contradicts another record. A failed or unfinished run is no damage.
    """

    place: str
    message: str
    damage: bool

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


@dataclass(frozen=True)
class Results:
    """The contents of one or several folders of runs.

    Attributes:
        runs: one row per run, sorted by folder, index 0, 1, 2, .... No two runs share entry, scenario and seed.
            Columns: ``run`` (the run's folder, relative to the folder that was read; after the name of that folder if
            several were read);
            ``task, model, track, device_class, space, method, searcher, seed, suite_version, metric, n_params_full,
            max_evaluations, status, reason, started_at`` as recorded;
            ``budget_s``, NaN if only ``max_evaluations`` ends the run;
            ``algorithm`` (``ws-nas/ehvi``); ``objectives`` (``error,params``);
            ``scenario`` (``task/model/device_class``, see :mod:`~nasbench.analysis.reading.scenarios`; it and ``track``
            end with other objectives than the usual ones);
            ``entry``, see :func:`~nasbench.analysis.reading.entries.name_entries`;
            ``options`` (JSON text, without options that are None) and ``options_digest``; ``official`` (bool);
            ``elapsed_s`` (charged seconds at the last evaluation), ``n_evaluations``, ``n_failed``;
            ``level`` (self-reported, re-scored or re-run), ``reproduced`` (whether a repeated run agreed, None without
            one), ``author, link`` (None unless somebody submitted the run), ``command``; ``quantized, zero_shot``, see
            :mod:`nasbench.analysis.reading.beside`;
            and as Python objects ``unofficial`` (list), ``changed_options`` (dict or None) and ``dimensions,
            provenance, charged_s, uncharged_s`` (dicts), ``conditions`` (list of dicts).
        evaluations: one row per evaluation, in the order of the runs and of their evaluations. Columns:
            ``run_row`` (row of the run in ``runs``);
            ``index, error, params, n_params, test_error, elapsed_s, status, latency_ms, n_duplicates, epochs, key,
            weights, reason`` as recorded; ``config`` as text (``heads=3, units=100, layers=2``);
            ``metric.<name>`` and ``test_metric.<name>`` for all metrics of the folder, ``cost.<name>`` for costs
            beside the parameters, and ``measured_<name>`` for the measured values of modelled costs, which networks on
            the front have; NaN if a run does not have one;
            and ``seed, official, budget_s`` and the columns :data:`RUN_LEVEL` of the run.
        findings: records, runs and evaluations that were left out, with the reason; failed and unfinished runs.
    """

    runs: pd.DataFrame
    evaluations: pd.DataFrame
    findings: tuple[Finding, ...] = field(default=())

    @property
    def warnings(self) -> list[str]:
        """The findings, one line of text each."""
        return [str(finding) for finding in self.findings]

    @property
    def exit_code(self) -> int:
        """1 if any record is damaged, else 0."""
        return int(any(finding.damage for finding in self.findings))

    def select(self, keep: npt.ArrayLike) -> Results:
        """The results of the selected runs, with all findings.

        Args:
            keep: ``(n_runs,)`` bool, in the order of ``runs``.

        Raises:
            ValueError: if the length of ``keep`` is not the number of runs.
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
        """The results of runs that have ended. Evaluations before a failure count, so failed runs stay."""
        return self.select(self.runs["status"].to_numpy() != "running")

    def official(self) -> Results:
        """The results of finished official runs, which the leaderboard counts."""
        finished = self.runs["status"].to_numpy() != "running"
        return self.select(finished & self.runs["official"].to_numpy(dtype=np.bool_))


def read_results(folders: Path | Sequence[Path]) -> Results:
    """Read all runs below one or several folders. Folders without runs give two empty frames.

    If two folders hold the same run, the run of the folder that is named first counts.

    Args:
        folders: a folder of runs, or several.

    Raises:
        UserError: if a folder does not exist.
    """
    findings: list[Finding] = []
    records: list[tuple[str, RunRecord, pa.Table]] = []
    marks: dict[str, Mark] = {}
    beside: dict[str, dict[str, list[Any]]] = {}
    seen: dict[str, tuple[Path, str]] = {}
    for folder, path, name in _named_runs([folders] if isinstance(folders, Path) else folders):
        try:
            record = RunFolder(path).read_run()
            identity = _identity_text(record)
            first, place = seen.get(identity, (folder, ""))
            if first != folder:
                findings.append(Finding(name, f"the same run as {place}; left out", damage=False))
                continue
            if place:
                raise RecordError(f"the same identity as {place}; left out")
            table, oddities = read_evaluation_file(path / RunFolder.EVALUATIONS, record)
        except RecordError as error:
            # The message starts with the full path. The place says it already, and is the same on every machine.
            findings.append(Finding(name, _encodable(str(error).removeprefix(f"{path}/")), damage=True))
            continue
        except RecursionError:
            findings.append(Finding(name, "nested too deep to be read", damage=True))
            continue
        seen[identity] = folder, name
        findings += [Finding(name, text, damage=True) for text in oddities]
        findings += _run_findings(name, record, len(table))
        records.append((name, record, table))
        marks[name] = mark_of(path)
        beside[name], remarks = read_beside(path)
        findings += [Finding(name, _encodable(remark), damage=False) for remark in remarks]
        if marks[name].note:
            findings.append(Finding(name, f"{marks[name].note}; it counts as self-reported", damage=False))
    records.sort(key=lambda found: Path(found[0]))
    tables = [table for _, _, table in records]
    runs = _runs_frame([(name, record) for name, record, _ in records], tables, marks)
    for column in BESIDE:
        runs[column] = pd.Series([beside[name][column] for name, _, _ in records], dtype=object)
    records.clear()
    results = Results(runs, _evaluations_frame(runs, tables), tuple(findings))
    return _without_collisions(results)


def existing_folders(folders: Sequence[Path]) -> list[Path]:
    """The folders to read: those named, else those of :data:`DEFAULT_FOLDERS` that exist.

    Raises:
        UserError: if none is named and none of the default folders exists.
    """
    found = list(folders) or [folder for folder in DEFAULT_FOLDERS if folder.is_dir()]
    if not found:
        names = " or ".join(str(folder) for folder in DEFAULT_FOLDERS)
        raise UserError(
            f"no results folder {names} here; make runs with 'nasbench run' or name a folder with --results"
        )
    return found


def _named_runs(folders: Sequence[Path]) -> Iterator[tuple[Path, Path, str]]:
    """Each run once: the folder in which it was found, its own folder, and its name in the tables."""
    known: set[Path] = set()
    for folder in folders:
        if not folder.is_dir():
            raise UserError(
                f"no results folder {folder}; make runs with 'nasbench run' or name another folder with --results"
            )
        for path in find_runs(folder):
            if path.resolve() not in known:
                known.add(path.resolve())
                yield folder, path, _encodable((path if len(folders) > 1 else path.relative_to(folder)).as_posix())


def _without_collisions(results: Results) -> Results:
    """The results with one run per entry, scenario and seed. Odd names can coincide although identities differ."""
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


def _identity_text(record: RunRecord) -> str:
    """Equal text for two records of one run, even if they write unset options or the number 100 differently."""
    identity = record.identity
    fields = dataclasses.asdict(identity) | {
        "options": set_options(present_options(identity.method, identity.options)),
        "budget_s": None if identity.budget_s is None else float(identity.budget_s),
        "table": table_of(record),
    }
    return json.dumps(fields, sort_keys=True)


def _encodable(text: str) -> str:
    """Text from a damaged file or a folder's name, with characters escaped that have no UTF-8 form."""
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


def _runs_frame(
    records: list[tuple[str, RunRecord]], tables: list[pa.Table], marks: Mapping[str, Mark]
) -> pd.DataFrame:
    rows = []
    tasks = task_labels([record.identity for _, record in records])
    devices = device_labels([record for _, record in records])
    for (name, record), task, device, table in zip(records, tasks, devices, tables, strict=True):
        identity = record.identity
        options = json.dumps(set_options(present_options(identity.method, identity.options)), sort_keys=True)
        elapsed = table["elapsed_s"]
        rows.append(
            {
                "run": name,
                "task": task,
                "model": identity.model,
                "track": record.track + label(identity.objectives),
                "device_class": identity.device_class,
                "scenario": f"{task}/{identity.model}/{device}{label(identity.objectives)}",
                "objectives": ",".join(identity.objectives or OBJECTIVES),
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
                "conditions": record.conditions,
                **_of_mark(marks[name]),
                "command": command_of(record),
            }
        )
    runs = pd.DataFrame(rows, columns=list(_RUN_TYPES)).astype(_RUN_TYPES)
    runs["entry"] = name_entries(runs)
    return runs


def _of_mark(mark: Mark) -> dict[str, Any]:
    """The columns that come from the files beside a record."""
    return {
        "level": mark.level,
        "reproduced": None if mark.verification is None else mark.verification.reproduced,
        "author": None if mark.submission is None else mark.submission.author,
        "link": None if mark.submission is None else mark.submission.link,
    }


def _evaluations_frame(runs: pd.DataFrame, tables: list[pa.Table]) -> pd.DataFrame:
    """All evaluations in one frame. Empties ``tables``: the tables and the frame may not both fit into memory."""
    lengths = [len(table) for table in tables]
    rows = np.repeat(np.arange(len(tables), dtype=np.int32), lengths)
    table = pa.concat_tables(tables, promote_options="default") if tables else empty_table()
    tables.clear()
    # Combine column by column: otherwise pandas keeps each text column in 1,000 pieces, each with room to grow.
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
