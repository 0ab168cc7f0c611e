"""Records: what a run leaves behind, one folder a run.

``run.json`` says what was run, where and how it ended; ``evaluations.jsonl`` has one line an evaluation, in order,
written and flushed before the next evaluation starts. A killed run therefore keeps a valid prefix; a last line cut
off by the kill is dropped on reading. Everything downstream (resuming, export, statistics, leaderboard) reads these
two files only.
"""

from __future__ import annotations

import dataclasses
import gc
import hashlib
import json
import math
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from nasbench.errors import NasbenchError, UserError
from nasbench.networks.space import JsonConfig

SCHEMA_VERSION = 1

RunStatus = Literal["running", "complete", "failed"]
"""``running`` is also what a killed run is left with: the same command resumes it."""

EvaluationStatus = Literal["ok", "failed"]


class RecordError(UserError):
    """A record that cannot be read; names file and line."""


@dataclass(frozen=True)
class Identity:
    """What makes two runs the same run; decides the folder.

    ``budget_s`` is None where only ``max_evaluations`` ends the run.
    """

    task: str
    model: str
    space: str
    method: str
    searcher: str | None
    options: dict[str, Any]
    seed: int
    device_class: str
    budget_s: float | None
    max_evaluations: int | None = None

    @property
    def algorithm(self) -> str:
        """The name of the contestant: ``ws-nas/ehvi``, ``rfp``."""
        return self.method if self.searcher is None else f"{self.method}/{self.searcher}"

    def folder(self, changed_options: bool, official_budget: bool) -> str:
        """Path below the results folder. A digest tells apart runs that differ in options or budget."""
        name = f"{self.algorithm.replace('/', '+')}_{self.space}_{self.device_class}_seed{self.seed}"
        if changed_options or not official_budget or self.max_evaluations is not None:
            told_apart = json.dumps([self.options, self.budget_s, self.max_evaluations], sort_keys=True)
            name += "_" + hashlib.sha256(told_apart.encode()).hexdigest()[:8]
        return f"{self.task}/{self.model}/{name}"


@dataclass
class RunRecord:
    """The contents of ``run.json``.

    Attributes:
        identity: what was run.
        track: ``paper``, ``compact``, ``demo`` or ``user``.
        unofficial: reasons why the run does not count for the leaderboard; empty if it does.
        metric: the primary one, error = 1 - metric.
        n_params_full: parameters of the full network.
        dimensions: of the full network, see :class:`nasbench.networks.subnetwork.Dimensions`.
        changed_options: options that differ from their defaults, ``{"method": {...}, "searcher": {...}}``; None in
            records from before this field.
        provenance: package versions, git revision, hardware, hashes of data and weights.
        status, reason: how it ended; ``reason`` names what failed.
        charged_s: charged seconds by phase (training, search, validation, idle); their sum is the elapsed budget.
        uncharged_s: seconds by phase that cost no budget (loading, test, saving).
        notes: what a reader should know, such as a training that the budget cut short.
    """

    identity: Identity
    suite_version: str
    track: str
    metric: str
    n_params_full: int
    dimensions: dict[str, int]
    unofficial: list[str] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)
    status: RunStatus = "running"
    reason: str | None = None
    charged_s: dict[str, float] = field(default_factory=dict)
    uncharged_s: dict[str, float] = field(default_factory=dict)
    started_at: str | None = None
    notes: list[str] = field(default_factory=list)
    changed_options: dict[str, dict[str, Any]] | None = None
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True)
class Evaluation:
    """One line of ``evaluations.jsonl``.

    Attributes:
        index: 0, 1, 2, ... in the order of evaluation.
        config: the configuration in its space, see ``SearchSpace.to_json``.
        key: digest of the masks, :attr:`nasbench.networks.subnetwork.SubNetwork.key`.
        head_counts, unit_counts: kept per layer.
        error: validation error, 1 - metric; None where ``status`` is ``failed``.
        params: fraction of the full network's parameters.
        metrics: all validation metrics by name.
        test_error, test_metrics: None unless a member of the validation Pareto front when it was evaluated.
        elapsed_s: charged seconds from the start of the method to the end of this evaluation.
        latency_ms: of the validation pass, per example; None where one pass measured several networks.
        n_duplicates: proposals since the previous line that named a sub-network already evaluated.
        weights: name of the saved weights that reproduce it, see ``nasbench export``.
        epochs: epochs of training behind it, where that varies (multi-fidelity).
        charged_s: charged seconds by phase so far; they sum to ``elapsed_s``.
        reason: why it failed.
    """

    index: int
    config: JsonConfig
    key: str
    head_counts: list[int]
    unit_counts: list[int]
    error: float | None
    params: float
    n_params: int
    elapsed_s: float
    status: EvaluationStatus = "ok"
    metrics: dict[str, float] = field(default_factory=dict)
    test_error: float | None = None
    test_metrics: dict[str, float] | None = None
    latency_ms: float | None = None
    n_duplicates: int = 0
    weights: str | None = None
    epochs: float | None = None
    charged_s: dict[str, float] = field(default_factory=dict)
    reason: str | None = None


class RunFolder:
    """Reads and writes one run's two files. Every write is atomic or a flushed append."""

    RUN = "run.json"
    EVALUATIONS = "evaluations.jsonl"

    def __init__(self, path: Path) -> None:
        self.path = path

    def exists(self) -> bool:
        return (self.path / self.RUN).exists()

    def write_run(self, record: RunRecord) -> None:
        """Replace ``run.json`` as a whole."""
        text = json.dumps(dataclasses.asdict(record), indent=1, sort_keys=True, allow_nan=False) + "\n"
        write_atomically(self.path / self.RUN, text.encode())

    def append(self, evaluation: Evaluation) -> None:
        """Add a line and see it on disk before returning."""
        line = json.dumps(dataclasses.asdict(evaluation), allow_nan=False) + "\n"
        path = self.path / self.EVALUATIONS
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise NasbenchError(f"cannot write {path}: {error.strerror}") from error

    def read_run(self) -> RunRecord:
        """Raises :class:`RecordError` for a file that is damaged or of a newer schema."""
        path = self.path / self.RUN
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data["schema_version"] > SCHEMA_VERSION:
                raise RecordError(
                    f"{path}: schema version {data['schema_version']} is newer than {SCHEMA_VERSION}; upgrade nasbench"
                )
            return RunRecord(**{**data, "identity": Identity(**data["identity"])})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RecordError(f"{path}: not a run record ({error})") from error

    def read_evaluations(self) -> list[Evaluation]:
        """All complete lines. A last line without its newline is the trace of a kill and is left out.

        Raises:
            RecordError: for a damaged line anywhere else, or indices that do not count 0, 1, 2, ...
        """
        # The garbage collector would walk the growing list again and again: more than half of the time at 10^5 lines.
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            return list(self._evaluations())
        finally:
            if was_enabled:
                gc.enable()

    def _evaluations(self) -> Iterator[Evaluation]:
        path = self.path / self.EVALUATIONS
        if not path.exists():
            return
        lines = path.read_text(encoding="utf-8").split("\n")
        for number, line in enumerate(lines[:-1]):
            try:
                evaluation = Evaluation(**json.loads(line))
                if evaluation.index != number:
                    raise ValueError(f"index {evaluation.index} where {number} is due")
                if evaluation.error is not None and not math.isfinite(evaluation.error):
                    raise ValueError(f"error is {evaluation.error}")
            except (ValueError, TypeError) as error:
                raise RecordError(f"{path}, line {number + 1}: not an evaluation ({error})") from error
            yield evaluation

    def remove_leftovers(self) -> None:
        """Delete what a kill left of files that were being replaced."""
        for path in self.path.rglob(".*.*"):
            path.unlink(missing_ok=True)

    def drop_cut_line(self) -> None:
        """Remove a last line that a kill cut off, so that appending continues a valid file."""
        path = self.path / self.EVALUATIONS
        if path.exists():
            data = path.read_bytes()
            if not data.endswith(b"\n"):
                write_atomically(path, data[: data.rfind(b"\n") + 1])


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Write a file so that a reader, or a run after a kill, sees the old contents or the new, never a part."""
    unfinished: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            unfinished = Path(file.name)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o644)  # temporary files are their owner's only, records are for everybody
        unfinished.replace(path)
    except OSError as error:
        if unfinished is not None:  # on a full disk it would be in the way of what is smaller
            unfinished.unlink(missing_ok=True)
        raise NasbenchError(f"cannot write {path}: {error.strerror}") from error


def find_runs(results: Path) -> list[Path]:
    """Folders below ``results`` that hold a ``run.json``, sorted by path.

    Raises:
        UserError: for a folder that cannot be read, whose runs would be missing without a word.
    """

    def refuse(error: OSError) -> None:
        raise UserError(f"cannot read {error.filename}: {error.strerror}") from error

    return sorted(Path(folder) for folder, _, files in os.walk(results, onerror=refuse) if RunFolder.RUN in files)
