"""The record of a run: two files in a folder of its own.

``run.json`` says what was run, where, and how it ended. ``evaluations.jsonl`` has one line per evaluation, in order.
Each line is written before the next evaluation starts, so a killed run leaves a valid record. If the kill cut the last
line off, reading skips it. Resuming, export, statistics and leaderboard read only these two files.
"""

from __future__ import annotations

import gc
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from nasbench.errors import NasbenchError, UserError
from nasbench.records import progress, schema
from nasbench.records.interface import Interface
from nasbench.records.lines import Lines
from nasbench.records.schema import RecordError

RunStatus = Literal["running", "complete", "failed"]
"""A killed run keeps the status ``running``. The command that started it resumes it."""

EvaluationStatus = Literal["ok", "failed"]
UNFINISHED = ".unfinished"
"""Ending of a temporary file's name. A method chooses how other names begin, and users add files of their own."""


@dataclass(frozen=True)
class Identity:
    """The fields that tell runs apart. They decide a run's folder.

    Attributes:
        options: all options of the method and the searcher, ``{"method": {...}, "searcher": {...}}``.
        budget_s: charged seconds; None if only ``max_evaluations`` ends the run.
        declaration: digest of task and model if one is a user's own; None if both are part of the suite or a package.
        objectives: names of the objectives; None for error and parameters.
        table: digest of the table that answered a simulated run; None for a run on a network, and in older records.
    """

    task: schema.Name
    model: schema.Name
    space: schema.Name
    method: schema.Name
    searcher: schema.Name | None
    options: schema.Values
    seed: schema.Integer
    device_class: schema.Name
    budget_s: schema.Limit | None
    max_evaluations: schema.PositiveCount | None = None
    declaration: schema.Name | None = None
    objectives: schema.Objectives | None = None
    table: schema.Name | None = None
    __pydantic_config__: ClassVar = schema.STRICT

    @property
    def algorithm(self) -> str:
        """The method with its searcher, if it has one: ``ws-nas/ehvi``, ``rfp``."""
        return self.method if self.searcher is None else f"{self.method}/{self.searcher}"

    def folder(self, changed_options: bool, official_budget: bool) -> str:
        """The run's path below the results folder, ``task/model/algorithm_space_device_seed``.

        Other objectives than error and parameters come before the seed. The digest of a user's declaration follows the
        task, that of a table the device. A digest is appended if the options or the budget are not the defaults, or if
        the evaluations are limited.
        """
        device = self.device_class if self.table is None else f"{self.device_class}-{self.table}"
        objectives = "" if self.objectives is None else f"_{'+'.join(self.objectives)}"
        name = f"{self.algorithm.replace('/', '+')}_{self.space}_{device}{objectives}_seed{self.seed}"
        if changed_options or not official_budget or self.max_evaluations is not None:
            told_apart = json.dumps([self.options, self.budget_s, self.max_evaluations], sort_keys=True)
            name += "_" + hashlib.sha256(told_apart.encode()).hexdigest()[:8]
        task = self.task if self.declaration is None else f"{self.task}-{self.declaration}"
        return f"{task}/{self.model}/{name}"


@dataclass
class RunRecord:
    """The contents of ``run.json``.

    Attributes:
        identity: the fields that tell this run from others.
        track: that of the task, or else of the model, such as ``compact``. The analysis tells other objectives apart.
        unofficial: the reasons why the run does not count for the leaderboard; empty for an official run.
        metric: name of the primary metric; error = 1 - metric.
        n_params_full: number of parameters of the full network.
        dimensions: sizes of the full network, see :class:`nasbench.networks.subnetwork.Dimensions`.
        changed_options: options that differ from their defaults, by ``method`` and ``searcher``; None in older records.
        data_summary: what the splits hold, see ``nasbench.data.summary.DataSummary.to_json``; None in older records.
        constant_error: lowest validation error of a network that gives every example the same answer (for accuracy, the
            most frequent class); None in older records.
        interface: inputs and outputs of the task's networks; None in records that are older than this field.
        provenance: package versions, git revision, hardware, hashes of data and weights.
        status, reason: how the run ended; ``reason`` says why it failed.
        charged_s: charged seconds by phase (training, search, validation, idle); their sum is the elapsed budget.
        uncharged_s: seconds that cost no budget, by phase (such as loading, test and recording) or modelled objective.
        notes: remarks for readers, such as a training that the budget cut short.
        shortened_trainings: by network name, the number of steps of each training that had to be shorter than declared,
            because the budget held no more.
        declaration: task and model, if one of them is a user's own, see :mod:`nasbench.plugins.declaration`.
        simulated: name of the table whose recorded errors and seconds the run used; None for a run on a network.
        n_evaluations, evaluations_sha256: number and checksum of the lines of ``evaluations.jsonl``; None while the run
            lasts and in older records.
        conditions: what the machine did during each attempt, see :mod:`nasbench.runs.machine`.
        overshoot_s: charged seconds beyond the budget; None if there are none, and in older records.
        costs: by objective beside the error, its unit, where its values come from, and the full network's amount; None
            for error and parameters.
    """

    identity: Identity
    suite_version: schema.Name
    track: schema.Name
    metric: schema.Name
    n_params_full: schema.Count
    dimensions: schema.NetworkSizes
    unofficial: schema.Texts = field(default_factory=list)
    provenance: schema.Values = field(default_factory=dict)
    status: RunStatus = "running"
    reason: schema.Text | None = None
    charged_s: schema.SecondsByPhase = field(default_factory=dict)
    uncharged_s: schema.SecondsByPhase = field(default_factory=dict)
    started_at: schema.Text | None = None
    notes: schema.Texts = field(default_factory=list)
    changed_options: schema.ChangedOptions | None = None
    simulated: schema.Text | None = None
    data_summary: schema.Values | None = None
    constant_error: schema.Error | None = None
    interface: Interface | None = None
    shortened_trainings: schema.Sizes = field(default_factory=dict)
    declaration: schema.Values | None = None
    n_evaluations: schema.Count | None = None
    evaluations_sha256: schema.Text | None = None
    conditions: schema.Conditions = field(default_factory=list)
    overshoot_s: schema.Seconds | None = None
    costs: schema.Values | None = None
    schema_version: schema.Version = schema.SCHEMA_VERSION
    __pydantic_config__: ClassVar = schema.STRICT


@dataclass(frozen=True)
class Evaluation:
    """One line of ``evaluations.jsonl``.

    Attributes:
        index: 0, 1, 2, ... in the order of evaluation.
        config: the configuration in its space, see ``SearchSpace.to_json``.
        key: digest of the masks, see :attr:`nasbench.networks.subnetwork.SubNetwork.key`.
        head_counts, unit_counts: numbers of heads and units kept in each layer.
        error: validation error, 1 - metric; None if ``status`` is ``failed``.
        params: fraction of the full network's parameters.
        n_params: number of parameters.
        elapsed_s: charged seconds from the start of the method to the end of this evaluation.
        metrics: all validation metrics by name.
        test_error, test_metrics: test results; None unless the network was on the validation Pareto front when it was
            evaluated.
        latency_ms: milliseconds per example of the validation pass; None if one pass measured several networks.
        n_duplicates: number of proposals since the previous line whose sub-network had been evaluated before.
        weights: name of the saved weights, which ``nasbench export`` reads; None if they are not saved.
        epochs: epochs of training before this evaluation; None unless the method varies them (multi-fidelity).
        charged_s: charged seconds by phase so far; their sum is ``elapsed_s``.
        reason: why the evaluation failed.
        costs: by objective beside the error, fractions of the full network's; None for error and parameters.
    """

    index: schema.Count
    config: schema.Configuration
    key: schema.Text
    head_counts: schema.Counts
    unit_counts: schema.Counts
    error: schema.Error | None
    params: schema.Fraction
    n_params: schema.Count
    elapsed_s: schema.Seconds
    status: EvaluationStatus = "ok"
    metrics: schema.Numbers = field(default_factory=dict)
    test_error: schema.Error | None = None
    test_metrics: schema.Numbers | None = None
    latency_ms: schema.Number | None = None
    n_duplicates: schema.Count = 0
    weights: schema.Text | None = None
    epochs: schema.Number | None = None
    charged_s: schema.SecondsByPhase = field(default_factory=dict)
    reason: schema.Text | None = None
    costs: schema.Costs | None = None
    __pydantic_config__: ClassVar = schema.STRICT

    @property
    def cost_values(self) -> tuple[float, ...]:
        """The values beside the error that the run minimises, in the order of its objectives."""
        return (self.params,) if self.costs is None else tuple(self.costs.values())


class RunFolder:
    """Reads and writes the two files of a run. A write is either atomic or an append."""

    RUN = "run.json"
    EVALUATIONS = "evaluations.jsonl"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: Lines | None = None

    def exists(self) -> bool:
        """Whether the folder has a ``run.json``."""
        return (self.path / self.RUN).exists()

    def write_run(self, record: RunRecord) -> None:
        """Write ``run.json`` atomically.

        Raises:
            NasbenchError: if the disk is full or the file cannot be written.
        """
        text = json.dumps(schema.to_json(record), indent=1, sort_keys=True, allow_nan=False) + "\n"
        write_atomically(self.path / self.RUN, text.encode())

    def append(self, evaluation: Evaluation) -> None:
        """Append a line to ``evaluations.jsonl``, see :mod:`nasbench.records.lines`.

        Raises:
            NasbenchError: if the disk is full or the file cannot be written. No part of the line stays.
        """
        self._appended().append(json.dumps(schema.to_json(evaluation), allow_nan=False).encode() + b"\n")

    def _appended(self) -> Lines:
        if self._lines is None:
            self._lines = Lines(self.path / self.EVALUATIONS, self._data())
        return self._lines

    def begin_progress(self) -> None:
        """Write what a resumed run finds to ``.progress``, which it keeps up to date."""
        lines = self._appended()
        if lines.tally.n_lines > 0:
            lines.flush()
        else:
            lines.tally.save(self.path)

    def finish(self, record: RunRecord) -> None:
        """Write the ``run.json`` of a run that has ended, with the number and the checksum of its evaluations.

        Raises:
            NasbenchError: as for :meth:`write_run`.
        """
        lines = self._appended()
        if lines.tally.n_lines > 0:
            lines.flush()
        record.n_evaluations, record.evaluations_sha256 = lines.tally.n_lines, lines.tally.sha256
        self.write_run(record)
        (self.path / progress.FILE).unlink(missing_ok=True)

    def read_run(self) -> RunRecord:
        """The contents of ``run.json``.

        Raises:
            RecordError: if the file cannot be read, its schema is newer, a value does not fit its field, or no budget
                ends the run.
        """
        path = self.path / self.RUN
        try:
            text = path.read_bytes()
        except OSError as error:
            raise RecordError(f"{path}: cannot be read ({error.strerror})") from error
        return parse_run(text, str(path))

    def read_evaluations(self, record: RunRecord | None = None) -> list[Evaluation]:
        """All complete lines. A last line without a newline was cut off by a kill and is skipped.

        Args:
            record: the run's record, to check that no line is lost or changed; None to leave that out.

        Raises:
            RecordError: if the file cannot be read, another line is damaged, lines differ in their costs, the indices
                do not count 0, 1, 2, ..., the elapsed time goes back, or lines are lost.
        """
        path, written = self.path / self.EVALUATIONS, progress.read_written(self.path)
        data = self._data()
        # The garbage collector would walk the growing list again and again. At 10^5 lines that took half of the time.
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            evaluations = list(parse_evaluations(data, str(path)))
        finally:
            if was_enabled:
                gc.enable()
        if record is not None:
            progress.check_whole(path, data, written, record.n_evaluations, record.evaluations_sha256)
        return evaluations

    def _data(self) -> bytes:
        return read_if_there(self.path / self.EVALUATIONS) or b""

    def remove_leftovers(self) -> None:
        """Delete the temporary files of writes that a kill interrupted."""
        for path in self.path.rglob(f".*{UNFINISHED}"):
            path.unlink(missing_ok=True)

    def drop_cut_line(self) -> None:
        """Remove a last line that a kill cut off, so that the next line can be appended."""
        data = self._data()
        if data and not data.endswith(b"\n"):
            write_atomically(self.path / self.EVALUATIONS, data[: data.rfind(b"\n") + 1])


def parse_run(text: bytes, place: str) -> RunRecord:
    """The contents of a ``run.json``; ``place`` names the file in messages.

    Raises:
        RecordError: as :meth:`RunFolder.read_run` does.
    """
    record = schema.parse(RunRecord, text, place)
    if record.identity.budget_s is None and record.identity.max_evaluations is None:
        raise RecordError(f"{place}: neither identity.budget_s nor identity.max_evaluations ends the run")
    return record


def parse_evaluations(data: bytes, place: str) -> Iterator[Evaluation]:
    """The complete lines of an ``evaluations.jsonl``; ``place`` names the file in messages.

    Raises:
        RecordError: as :meth:`RunFolder.read_evaluations` does.
    """
    elapsed_s, names = 0.0, None
    for index, line in enumerate(data.split(b"\n")[:-1]):
        where = f"{place}, line {index + 1}"
        evaluation = schema.parse(Evaluation, line, where)
        if evaluation.index != index:
            raise RecordError(f"{where}: index {evaluation.index} where {index} is due")
        if evaluation.elapsed_s < elapsed_s:
            raise RecordError(f"{where}: elapsed_s goes back to {evaluation.elapsed_s}")
        if evaluation.status == "ok" and evaluation.error is None:
            raise RecordError(f"{where}: the error is missing, but status is 'ok'")
        own = None if evaluation.costs is None else [*evaluation.costs]
        if index and own != names:
            raise RecordError(f"{where}: costs {own} where the first line has {names}")
        elapsed_s, names = evaluation.elapsed_s, own
        yield evaluation


def read_if_there(path: Path) -> bytes | None:
    """The contents of a file; None without the file.

    Raises:
        RecordError: one line, if the file cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror})") from error


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Write a file so that readers see either its old or its new contents, even after a kill.

    Raises:
        NasbenchError: if the file cannot be written. The old contents stay.
    """
    unfinished: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=UNFINISHED, delete=False) as file:
            unfinished = Path(file.name)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o644)  # only the owner can read a temporary file; anybody may read a record
        unfinished.replace(path)
        progress.sync_folder(path.parent)
    except OSError as error:
        if unfinished is not None:  # free its space on a full disk
            unfinished.unlink(missing_ok=True)
        raise NasbenchError(f"cannot write {path}: {error.strerror}") from error


def find_runs(results: Path, *, follow_links: bool = True) -> list[Path]:
    """All folders below ``results`` that have a ``run.json``, each once, sorted by path. A stranger's links stay shut.

    Raises:
        UserError: if a folder cannot be read, because its runs would go missing silently.
    """

    def refuse(error: OSError) -> None:
        raise UserError(f"cannot read {error.filename}: {error.strerror}") from error

    root, found = results.resolve(), dict[Path, Path | None]()  # a place inside has its own name, not that of a link
    for folder, names, files in os.walk(results, onerror=refuse, followlinks=follow_links):
        place = Path(folder).resolve()
        if place in found:
            names.clear()
            continue
        own = results / place.relative_to(root) if place.is_relative_to(root) else Path(folder)
        found[place] = own if RunFolder.RUN in files else None
    return sorted(path for path in found.values() if path is not None)
