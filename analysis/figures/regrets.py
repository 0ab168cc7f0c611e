"""Hypervolume regret over time, one panel for each scenario; used by figures 11 and 12."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from nasbench.analysis.experiments.definitions import MissingRuns
from nasbench.analysis.experiments.selection import usual
from nasbench.analysis.figures import style
from nasbench.analysis.scoring.scores import Scores
from nasbench.arrays import BoolArray


def over_time(scores: Scores, method: str, searchers: tuple[str, ...], figure: str, experiment: str) -> pd.DataFrame:
    """Mean regret of a method with each searcher, over time.

    Regret is the largest possible hypervolume minus the run's own, see
    :attr:`nasbench.analysis.scoring.scores.Scores.regret`, so other runs do not move it. A line begins when each of its
    runs has evaluated a network. Runs that never do, such as failed ones, are left out, and the report names them.

    Args:
        searchers: the searchers to show.
        figure: for the error message.
        experiment: for the error message.

    Returns:
        One row for each scenario, algorithm and time step: ``scenario, task, model, device_class, algorithm, time_s,
        regret, std, n``. ``regret`` and ``std`` are the mean and the standard deviation over ``n`` runs; ``std`` is NaN
        for one run.

    Raises:
        MissingRuns: if no run of the method has evaluated a network.
    """
    runs = scores.runs
    chosen: BoolArray = usual(runs) & np.asarray(
        (runs["method"] == method) & (runs["space"] == "small") & runs["searcher"].isin(searchers), dtype=np.bool_
    )
    chosen &= scores.final > 0
    regret = np.where(scores.hypervolume > 0, scores.regret, np.nan)
    parts = []
    keys = ["scenario", "task", "model", "device_class", "algorithm"]
    for key, part in runs[chosen].groupby(keys, observed=True):
        values = regret[part.index.to_numpy()]
        n = len(values)
        columns = {
            "time_s": part["begin_s"].mean() + scores.grid * (part["end_s"] - part["begin_s"]).mean(),
            "regret": values.mean(axis=0),
            "std": values.std(axis=0, ddof=1) if n > 1 else np.full(values.shape[1], np.nan),
        }
        parts.append(pd.DataFrame({**dict(zip(keys, key, strict=True)), **columns, "n": n}).dropna(subset="regret"))
    if not parts:
        raise MissingRuns(figure, experiment)
    return pd.concat(parts, ignore_index=True)


def draw(data: pd.DataFrame) -> Figure:
    """Draw one panel for each scenario. The shaded band is one standard deviation to either side."""
    titles = style.panel_titles(data)
    with style.applied():
        figure, axes = style.panels(len(titles))
        for ax, (scenario, title) in zip(axes, titles.items(), strict=True):
            for algorithm, line in data[data["scenario"] == scenario].groupby("algorithm"):
                look, minutes = style.look(str(algorithm)), line["time_s"].to_numpy() / 60
                low, high = line["regret"] - line["std"], line["regret"] + line["std"]
                ax.fill_between(minutes, low.clip(lower=0), high, color=look.colour, alpha=0.13, linewidth=0)
                every = max(len(line) // 4, 1)
                ax.plot(
                    minutes,
                    line["regret"],
                    label=style.searcher_name(str(algorithm)),
                    markevery=(every // 2, every),
                    **look.line,
                )
            style.set_title(ax, title)
            times = data.loc[data["scenario"] == scenario, "time_s"] / 60
            left = 0 if times.min() < 0.1 * times.max() else times.min()
            ax.set(xlim=(left, times.max()), ylim=(0, 1.1 * _axis_top(data[data["scenario"] == scenario])))
        style.label_bottom(axes, "charged minutes")
        figure.supylabel("hypervolume regret", fontsize=7.5)
        style.legend_below(figure, axes)
    return figure


def _axis_top(scenario: pd.DataFrame) -> float:
    """The largest value after the first fifth of the time; earlier values would flatten the rest of the curves."""
    first, last = scenario["time_s"].min(), scenario["time_s"].max()
    later = scenario[scenario["time_s"] >= first + 0.2 * (last - first)]
    return max(float((later["regret"] + later["std"].fillna(0.0)).max()), 1e-3)
