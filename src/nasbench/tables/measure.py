"""Make a table: train a super-network as ``ws-nas`` does, then measure the whole grid.

The training is a run of ``ws-nas`` in SMALL, in the table's work folder, so it is checkpointed and resumed as any run,
and the weights are those of a real run with the same seed whose budget does not cut its training. Then one pass for
each number of heads and units measures all depths. Each pass is a line of a file in the work folder; a killed
tabulation goes on after the last complete line.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nasbench.arrays import FloatArray
from nasbench.errors import NasbenchError, UserError
from nasbench.networks.space import SmallGrid
from nasbench.networks.supernet import SuperNetwork
from nasbench.plugins import options
from nasbench.records.checkpoints import Checkpoints
from nasbench.records.record import RunFolder, RunRecord, write_atomically
from nasbench.records.resume import locked
from nasbench.runs import runner
from nasbench.runs.budget import Budget
from nasbench.runs.loading import Loaded, load
from nasbench.runs.observer import Observer
from nasbench.runs.request import RunRequest
from nasbench.tables.table import TableInfo, check_widths, write_table
from nasbench.training.evaluation import Evaluator, Logits

NETWORK = "super-network"
"""The name under which ``ws-nas`` saves its super-network."""
PASSES = "passes.jsonl"
CLOCK = "clock"
N_REPEATS = 3
"""Passes of each depth whose fastest one counts for the share of the depth."""

Progress = Callable[[int, int], None]
"""Told the passes done, and all passes."""


def tabulate(
    request: RunRequest,
    out: Path,
    unit_step: int | None = None,
    observer: Observer | None = None,
    progress: Progress = lambda *_: None,
    cpu_clock: bool = False,
) -> TableInfo:
    """Make a table, or go on with one that was interrupted.

    Args:
        request: a run of ``ws-nas`` in SMALL, ended after one evaluation. Its results folder is replaced by the work
            folder of the table, ``<out>.work``, which is deleted in the end.
        out: the Parquet file to write; it must not exist.
        unit_step: units per step of the grid, None for that of the space ``small-grid``.
        observer: receives the events of the training.
        cpu_clock: record CPU seconds per thread in place of wall-clock seconds. On a machine that other work shares,
            they are closer to the wall-clock seconds of a quiet machine.

    Returns:
        The metadata of the table.

    Raises:
        UserError: if the file exists, the network was pruned before, the step does not fit the network, or the work
            folder belongs to another table or was begun with the other clock.
        NasbenchError: if the training fails.
    """
    if out.exists():
        raise UserError(f"{out} exists already; remove it or choose another --out")
    work = work_folder(out)
    request = dataclasses.replace(request, results_dir=work, max_evaluations=1, budget_s=None)
    clock = _cpu_clock() if cpu_clock else time.monotonic
    clock_name = "cpu" if cpu_clock else "wall"
    with locked(work):
        _keep_clock(work / CLOCK, clock_name)
        loaded = load(request)
        check_widths(loaded.dims, f"model {request.model.name!r}")
        record = _trained(request, observer, clock)
        for name in ("data_sha256", "weights_sha256", "precision"):
            if record.provenance.get(name) != loaded.origin[name]:
                raise UserError(f"{work}: the super-network was trained with another {name}; remove the folder")
        try:
            space = SmallGrid(loaded.dims, unit_step)
        except ValueError as error:
            raise UserError(f"--unit-step {unit_step}: {error}") from None
        checkpoints = Checkpoints(request.folder)
        network = loaded.network
        checkpoints.load_weights(network, NETWORK)
        weights = checkpoints.weights_file(NETWORK).read_bytes()
        info = TableInfo(
            task=request.task.name,
            model=request.model.name,
            seed=request.seed,
            metric=request.task.metric,
            metrics=(request.task.metric, *request.task.other_metrics),
            unit_step=space.step,
            dimensions=loaded.dims.to_json(),
            options=options.to_json(request.method_options),
            track=record.track,
            training_s=record.charged_s["training"],
            n_validation=len(loaded.data.validation.labels),
            depth_shares=(),
            depth_0_s=0.0,
            suite_version=record.suite_version,
            provenance=record.provenance,
            super_network_sha256=hashlib.sha256(weights).hexdigest(),
            clock=clock_name,
            unofficial=tuple(loaded.data.unofficial),
            started_at=record.started_at,
        )
        grid = _Grid(network, space, loaded, request, info.metrics, clock)
        key = {"super_network_sha256": info.super_network_sha256, "unit_step": space.step, "clock": info.clock}
        passes = grid.measure(_PassFile(work / PASSES, key), progress)
        depth_0_s, shares = grid.depths()
        info = dataclasses.replace(info, depth_shares=shares, depth_0_s=depth_0_s)
        write_table(out, info, *passes)
    shutil.rmtree(work)
    return info


def work_folder(out: Path) -> Path:
    """The folder of the unfinished parts of a table.

    Raises:
        UserError: for a path that ends without a name, such as ``.``.
    """
    if not out.name:
        raise UserError(f"--out {out} is a folder; name the file to write")
    return out.with_name(f"{out.name}.work")


def _cpu_clock() -> Callable[[], float]:
    """A clock that counts the CPU seconds of this process, divided by the number of its threads."""
    n_threads = torch.get_num_threads()
    return lambda: time.process_time() / n_threads


def _keep_clock(path: Path, name: str) -> None:
    """Write down the clock that begins a table, and refuse to go on with another: its seconds would not compare."""
    if path.exists() and path.read_text() != name:
        remedy = "leave out --cpu-clock" if name == "cpu" else "add --cpu-clock"
        raise UserError(f"{path.parent} was begun with the other clock; {remedy}, or remove the folder")
    write_atomically(path, name.encode())


def _trained(request: RunRequest, observer: Observer | None, clock: Callable[[], float]) -> RunRecord:
    """The record of the training in the work folder, carried out unless it is complete."""
    folder = RunFolder(request.folder)
    if folder.exists() and (record := folder.read_run()).status == "complete":
        return record
    record = runner.run(request, observer, clock)
    if record.status == "failed":
        raise NasbenchError(f"the training of the super-network failed: {record.reason}")
    return record


@dataclass(frozen=True)
class _PassFile:
    """The measured passes, one JSON line each. The first line tells which super-network and grid they are of.

    Raises:
        UserError: if the file is of another super-network or grid.
    """

    path: Path
    key: dict[str, Any]

    def read(self) -> dict[tuple[int, int], dict[str, Any]]:
        """The complete passes by heads and steps of units. A line that a kill cut off is removed."""
        if not self.path.exists():
            write_atomically(self.path, json.dumps(self.key).encode() + b"\n")
            return {}
        data = self.path.read_bytes()
        if not data.endswith(b"\n"):
            data = data[: data.rfind(b"\n") + 1]
            write_atomically(self.path, data)
        first, *lines = data.splitlines()
        if json.loads(first) != self.key:
            raise UserError(f"{self.path} is of another super-network, --unit-step or clock; remove {self.path.parent}")
        found = [json.loads(line) for line in lines]
        return {(line["heads"], line["steps"]): line for line in found}

    def append(self, line: dict[str, Any]) -> None:
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise NasbenchError(f"cannot write {self.path}: {error.strerror}") from error


class _Grid:
    """Measures the grid of one super-network."""

    def __init__(
        self,
        network: SuperNetwork,
        space: SmallGrid,
        loaded: Loaded,
        request: RunRequest,
        metrics: tuple[str, ...],
        clock: Callable[[], float],
    ) -> None:
        self._network, self._space, self._metrics = network, space, metrics
        device = torch.device(request.device)
        self._validation, self._test = (
            Evaluator(split, request.task, loaded.pad_id, device, network.dtype)
            for split in (loaded.data.validation, loaded.data.test)
        )
        wait = partial(torch.cuda.synchronize, request.device) if request.device_class == "gpu" else (lambda: None)
        self._clock = Budget(float("inf"), clock=clock, synchronise=wait)

    def measure(self, file: _PassFile, progress: Progress) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Validation metrics, test metrics and seconds of all passes, in the shapes of :func:`write_table`."""
        n_heads, n_steps, _ = self._space.upper
        done = file.read()
        due = [(h, u) for h in range(n_heads, -1, -1) for u in range(n_steps, -1, -1)]
        for heads, steps in due:
            if (heads, steps) not in done:
                done[heads, steps] = line = self._pass(heads, steps)
                file.append(line)
                progress(len(done), len(due))
        lines = [[done[h, u] for u in range(n_steps + 1)] for h in range(n_heads + 1)]
        return (
            _array([[line["validation"] for line in row] for row in lines]),
            _array([[line["test"] for line in row] for row in lines]),
            _array([[line["seconds"] for line in row] for row in lines]),
        )

    def _pass(self, heads: int, steps: int) -> dict[str, Any]:
        """Measure all depths of a width on both splits."""
        started = self._clock.now()
        validation = list(self._depths(self._validation, heads, steps))
        seconds = self._clock.now() - started
        test = list(self._depths(self._test, heads, steps))
        return {"heads": heads, "steps": steps, "seconds": seconds, "validation": validation, "test": test}

    def _depths(self, evaluator: Evaluator, heads: int, steps: int) -> Iterator[list[float | None]]:
        """The metrics of each depth; None where the outputs are not finite."""
        for logits in self._logits(evaluator, heads, steps):
            try:
                found = evaluator.metrics(logits)
            except FloatingPointError:
                yield [None] * len(self._metrics)
            else:
                yield [found[name] for name in self._metrics]

    def _logits(self, evaluator: Evaluator, heads: int, steps: int) -> Logits:
        n_layers = int(self._space.upper[2])
        widest = self._space.to_subnetwork(np.array([heads, steps, n_layers]))
        return evaluator.logits_of_depths(self._network, widest, n_layers)

    def depths(self) -> tuple[float, tuple[float, ...]]:
        """Seconds of a pass without layers, and the share of each depth in the rest of a full pass.

        A run evaluates a network of l layers by a pass of l layers, in which the last one costs less, because only
        the first token is needed. The shares are measured on the widths of the middle and the largest configuration,
        the fastest of :data:`N_REPEATS` passes each.
        """
        n_layers = int(self._space.upper[2])
        shares, without = [], []
        for widest in (self._space.midpoint, self._space.largest):
            seconds = np.array([self._seconds_of(np.array([*widest[:2], depth])) for depth in range(n_layers + 1)])
            seconds = np.maximum.accumulate(seconds)
            without.append(seconds[0])
            shares.append((seconds - seconds[0]) / max(seconds[-1] - seconds[0], 1e-9))
        mean = np.mean(shares, axis=0)
        return float(min(without)), tuple(float(share) for share in mean)

    def _seconds_of(self, config: Any) -> float:
        """Seconds of the fastest of some passes of one network."""
        subnetwork, seconds = self._space.to_subnetwork(config), []
        for _ in range(N_REPEATS):
            started = self._clock.now()
            self._validation.logits(self._network, subnetwork)
            seconds.append(self._clock.now() - started)
        return min(seconds)


def _array(nested: Any) -> FloatArray:
    """An array from nested lists, NaN for None."""
    return np.array(nested, dtype=np.float64)
