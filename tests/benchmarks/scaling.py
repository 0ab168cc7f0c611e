"""Measures how time and memory of a run grow: ``python tests/benchmarks/scaling.py docs/pictures/scaling.png``.

Each point is measured in a process of its own: CPU time, so that other work on the machine matters little, and the rise
of the process's peak memory. ``make scaling`` runs this script.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

WORK = {
    "evaluations": ([10, 100, 1_000, 10_000], "evaluations, instant model"),
    "examples": ([100, 1_000, 10_000, 100_000], "validation examples"),
    "width": ([128, 256, 512, 1_024], "width of the network"),
}
"""Each quantity that grows, with its values and the label of its axis."""


def run_evaluations(n: int) -> Any:
    """A whole run through runner, problem and record; random numbers replace the logits of the networks."""
    from nasbench.plugins.method import Method
    from nasbench.runs import runner
    from nasbench.runs.problem import Problem
    from nasbench.testing.models import TINY_BERT
    from nasbench.testing.tasks import TINY_SINGLE
    from nasbench.training.evaluation import Evaluator

    class Sampler(Method):
        name, summary = "sampler", "random sub-networks"

        def run(self, problem: Problem) -> None:
            network = problem.pretrained()
            while True:
                problem.evaluate(network, problem.space.sample(problem.rng))

    rng = np.random.default_rng(0)

    def instant(evaluator: Evaluator, *_: Any) -> Any:
        return rng.standard_normal((len(evaluator.labels), 2), dtype=np.float32)

    def work() -> None:
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(Evaluator, "logits", instant):
            request = runner.RunRequest(
                TINY_SINGLE,
                TINY_BERT,
                "large",
                Sampler,
                Sampler.Options(),
                None,
                None,
                0,
                "cpu",
                Path(folder),
                max_evaluations=n,
            )
            assert runner.run(request).status == "complete"

    return work


def run_examples(n: int) -> Any:
    """One evaluation of a small network, with new batches."""
    import torch
    from conftest import LENGTHS, bert, make_split

    from nasbench.plugins import registry
    from nasbench.training.evaluation import Evaluator

    rng = np.random.default_rng(0)
    split = make_split(rng.choice(LENGTHS, n), rng)
    network, task = bert(64, n_layers=1), registry.tasks()["rte"]

    def work() -> None:
        evaluator = Evaluator(split, task, 0, torch.device("cpu"))
        evaluator.metrics(evaluator.logits(network))

    return work


def run_width(width: int) -> Any:
    """One evaluation of a network of the given width."""
    import torch
    from conftest import LENGTHS, bert, make_split

    from nasbench.plugins import registry
    from nasbench.training.evaluation import Evaluator

    rng = np.random.default_rng(0)
    split = make_split(rng.choice(LENGTHS, 48), rng)
    network, task = bert(width, n_layers=4), registry.tasks()["rte"]
    return lambda: Evaluator(split, task, 0, torch.device("cpu")).logits(network)


def measure(what: str, n: int) -> tuple[float, float]:
    """CPU seconds and rise of peak memory, MB, of one piece of work. Call it in a process that does nothing else."""
    import torch

    torch.set_num_threads(1)
    make = {"evaluations": run_evaluations, "examples": run_examples, "width": run_width}[what]
    make(min(WORK[what][0]))()  # imports and first calls
    work = make(n)
    before = _memory_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # peak memory counts from here
    started = time.process_time()
    work()
    return time.process_time() - started, max(0.0, _memory_mb("VmHWM") - before)


def _memory_mb(field: str) -> float:
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field)]
    return int(line.split()[1]) / 1024


def draw(measured: dict[str, list[tuple[float, float]]], path: Path) -> None:
    """Draw time above memory, one column per quantity that grows.

    Dashed lines are proportional to the quantity. For the width, they are proportional to its square, as the number of
    parameters is.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    from nasbench.analysis.figures import style

    figure, axes = pyplot.subplots(2, 3, figsize=(style.PAGE_IN, 4.0), sharex="col", layout="constrained")
    for column, (what, points) in enumerate(measured.items()):
        x = np.array(WORK[what][0], dtype=float)
        for row, (label, colour) in enumerate([("CPU time (s)", "#0072B2"), ("memory (MB)", "#D55E00")]):
            y, ax = np.array([point[row] for point in points]), axes[row, column]
            ax.loglog(x, y, "o-", color=colour)
            exponent = 2 if what == "width" else 1
            ax.loglog(x, y[-1] * (x / x[-1]) ** exponent, "--", color=style.GREY, linewidth=1)
            ax.annotate("quadratic" if what == "width" else "linear", (0.05, 0.9), xycoords="axes fraction",
                        color=style.GREY, fontsize=8)  # fmt: skip
            if column == 0:
                ax.set_ylabel(label)
        axes[1, column].set_xticks(WORK[what][0], [f"{n:,}" for n in WORK[what][0]], fontsize=8)
        axes[1, column].minorticks_off()
        axes[1, column].set_xlabel(WORK[what][1])
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main(path: Path) -> None:
    measured: dict[str, list[tuple[float, float]]] = {}
    for what, (values, _) in WORK.items():
        measured[what] = []
        for n in values:
            command = [sys.executable, __file__, what, str(n)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            measured[what].append(tuple(json.loads(output.splitlines()[-1])))
            print(f"{what:12} {n:7}  {measured[what][-1][0]:8.3f} s  {measured[what][-1][1]:8.1f} MB")  # noqa: T201
    draw(measured, path)


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))  # noqa: T201
    else:
        main(Path(sys.argv[1]))
