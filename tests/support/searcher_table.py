"""Runs the searchers on the analytic problems and writes the table in docs/searchers.md (``make searcher-table``)."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import click
import numpy as np

from nasbench.arrays import FloatArray
from nasbench.plugins import registry
from nasbench.testing.analytic import PROBLEMS, REFERENCE

N_SEEDS = 20
ROWS = (
    ("random", 60),
    ("ehvi", 60),
    ("ehvi-exact", 60),
    ("random", 200),
    ("local", 200),
    ("morea", 200),
    ("nsga2", 200),
    ("random", 1000),
)
"""Rows of the table: searcher and number of evaluations."""

_TEXT = """# Searchers on problems with known answers

Written by `make searcher-table`; do not edit.

The table shows the median hypervolume over {n_seeds} seeds. Brackets hold a distribution-free 95 % confidence
interval of the median: the {low} and {high} smallest values. Compare only searchers with the same number of
evaluations. The last line is the hypervolume of the true Pareto front of all 519,337 configurations.

The three analytic problems (`nasbench.testing.analytic`) use the space SMALL with the dimensions of BERT-base.
Parameter counts are those of the real network; errors follow a formula. The problem `noisy` adds noise with a
standard deviation of 0.02 to the errors of `smooth`; its hypervolume uses the exact errors of the networks that
look best. The reference point is error {reference_error:g}, parameters {reference_params:g}.

"""


def run(problem: str, searcher: str, n_evaluations: int, seed: int) -> float:
    """Hypervolume of one search."""
    analytic = PROBLEMS[problem]
    search_rng, noise_rng = (np.random.default_rng([seed, stream]) for stream in range(2))
    cls = registry.searchers()[searcher]
    return analytic.run(cls(analytic.space, search_rng), n_evaluations, noise_rng).hypervolume


def interval(values: FloatArray) -> tuple[float, float, float]:
    """Median of 20 values and order statistics 6 and 15, which enclose the true median with probability 95.9 %."""
    ordered = np.sort(values)
    low, high = _INTERVAL
    return float(np.median(ordered)), float(ordered[low - 1]), float(ordered[high - 1])


_INTERVAL = (6, 15)
"""Order statistics of 20 values: P(5 < Binomial(20, 1/2) < 15) = 0.959."""


def table(n_processes: int) -> str:
    """The page, in Markdown."""
    jobs = [(problem, *row, seed) for row in ROWS for problem in PROBLEMS for seed in range(N_SEEDS)]
    with ProcessPoolExecutor(n_processes) as pool:
        results = np.array(list(pool.map(run, *zip(*jobs, strict=True))))
    cells = results.reshape(len(ROWS), len(PROBLEMS), N_SEEDS)
    lines = ["| searcher | evaluations | " + " | ".join(PROBLEMS) + " |", "|---|---|" + "---|" * len(PROBLEMS)]
    for (searcher, n_evaluations), row in zip(ROWS, cells, strict=True):
        texts = ("{:.4f} [{:.4f}, {:.4f}]".format(*interval(values)) for values in row)
        lines.append(f"| {searcher} | {n_evaluations} | " + " | ".join(texts) + " |")
    optima = (f"{problem.optimum:.4f}" for problem in PROBLEMS.values())
    lines.append("| true front | all | " + " | ".join(optima) + " |")
    text = _TEXT.format(
        n_seeds=N_SEEDS,
        low=f"{_INTERVAL[0]}th",
        high=f"{_INTERVAL[1]}th",
        reference_error=REFERENCE[0],
        reference_params=REFERENCE[1],
    )
    return text + "\n".join(lines) + "\n"


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/searchers.md"), show_default=True)
@click.option("--processes", type=click.IntRange(min=1), default=2, show_default=True)
def main(out: Path, processes: int) -> None:
    """Run all searches (about ten minutes on two cores) and write the page."""
    out.write_text(table(processes), encoding="utf-8")


if __name__ == "__main__":
    main()
