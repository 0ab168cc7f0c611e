"""The common style of all figures: colours and markers, sizes, and how figures are saved.

An entry has the same colour, line and marker in every figure and on the page. The colour stands for the searcher (or
the baseline). The line stands for the method: solid with filled markers for weight-sharing NAS, dashed with open
markers for standard NAS, and dotted for entries of both in MEDIUM. The palette is Okabe and Ito's with additions from
Paul Tol's. A test simulates three colour vision deficiencies and checks that the colours within a figure remain
distinct.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nasbench.plugins import registry

COLUMN_IN = 3.3
"""Width of a printed column, inches."""
PAGE_IN = 6.75
"""Width of a printed page's text, inches."""

GREY = "#767676"
INK = "#222222"

_SEARCHERS = {  # name: (shown as, colour, marker)
    "random": ("RS", "#0072B2", "o"),
    "local": ("LS", "#44BB99", "s"),
    "morea": ("MO-REA", "#882255", "D"),
    "ehvi": ("EHVI", "#D55E00", "^"),
    "moasha": ("MO-ASHA", "#332288", "v"),
    "nsga2": ("NSGA-2", "#225522", "P"),
    "ehvi-exact": ("EHVI-exact", "#EE8866", "X"),
    # Optimisers of other libraries:
    "pymoo:SMSEMOA": ("pymoo SMS-EMOA", "#2525F4", "p"),
    "pymoo:NSGA3": ("pymoo NSGA-3", "#DAB80B", "<"),
    "pymoo:MOEAD": ("pymoo MOEA/D", "#A655F6", ">"),
    "pymoo:AGEMOEA": ("pymoo AGE-MOEA", "#061A79", "d"),
    "optuna:NSGAIISampler": ("Optuna NSGA-2", "#94B8DB", "8"),
    "optuna:TPESampler": ("Optuna TPE", "#000000", "H"),
}
METHODS = {
    "head-pruning": ("HP", "#E69F00", "v"),
    "rfp": ("RFP", "#CC79A7", "D"),
    "layer-dropping": ("LD", "#56B4E9", "s"),
    "s-nas": ("S-NAS", "#0072B2", "o"),
    "ws-nas": ("WS-NAS", "#D55E00", "^"),
    "ws-nas-depth/depth": ("WS-NAS-depth", "#000000", "h"),
    "ws-nas-ordered/ehvi-exact": ("WS-NAS-ordered", "#009E73", "P"),
    "distillation": ("distillation", "#661100", ">"),
    "low-rank": ("low rank", "#332288", "<"),
    "shortgpt": ("ShortGPT", "#DAB80B", "p"),
    "wanda-sp": ("Wanda-sp", "#5B6770", "d"),
    "flap": ("FLAP", "#A655F6", "8"),
    "magnitude": ("magnitude", "#225522", "H"),
    "learned-gates": ("learned gates", "#882255", "X"),
}
"""How the algorithms with a look of their own are shown, with colour and marker; the look of any other is automatic."""
_USUAL_SPACES = {
    "head-pruning": "large", "rfp": "large", "layer-dropping": "layer", "shortgpt": "layer", "wanda-sp": "large",
    "flap": "large", "distillation": "large", "ws-nas-ordered": "large", "low-rank": "ranks", "magnitude": "large",
    "learned-gates": "large",
}  # fmt: skip
_SPARE_COLOURS = ("#117733", "#999933", "#661100", "#AA4499", "#004488", "#8C6BB1", "#BB5566", "#5B6770")
_SPARE_MARKERS = ("p", "<", ">", "d", "8", "H")
_TAKEN = {(colour, marker) for _, colour, marker in METHODS.values()}
SPACES = {"small": "#0072B2", "medium": "#E69F00", "layer": "#009E73", "large": "#CC79A7"}
"""Colours of the four search spaces."""


@dataclass(frozen=True)
class Look:
    """How an entry is drawn.

    Attributes:
        name: the printed name, safe as matplotlib text.
        colour: hexadecimal, ``#rrggbb``.
        marker: matplotlib's marker code.
        dash: matplotlib's line style.
        filled: whether markers are filled.
    """

    name: str
    colour: str
    marker: str
    dash: Literal["-", "--", "-.", ":"]
    filled: bool = True

    @property
    def line(self) -> dict[str, Any]:
        """Keyword arguments of ``Axes.plot``."""
        return {
            "color": self.colour,
            "linestyle": self.dash,
            "marker": self.marker,
            "markerfacecolor": self.colour if self.filled else "white",
            "markeredgecolor": self.colour if not self.filled else "white",
        }


def look(entry: str, others: Collection[str] = ()) -> Look:
    """The look of an algorithm (``ws-nas/ehvi``) or entry (``ws-nas/ehvi@small``), the same on every machine.

    An algorithm that is not in :data:`METHODS` gets its look from a digest of its name, so the look does not depend on
    the other entries of a figure. The same holds for an algorithm with changed options or outside its usual space,
    which may appear beside the usual entry. Colour and marker together are never those of an algorithm in
    :data:`METHODS`. MEDIUM is a usual space of NAS, the default of language models.

    Args:
        others: the entries of the figure; the name of one in MEDIUM has the space if SMALL is among them, too.
    """
    algorithm, _, place = entry.rpartition("@") if "@" in entry else (entry, "", "")
    method, _, searcher = algorithm.partition("/")
    is_nas = method in ("s-nas", "ws-nas") and (not searcher or searcher in _SEARCHERS)
    in_medium = is_nas and place == "medium"
    if place not in ("", _USUAL_SPACES.get(method, "small")) and not in_medium:
        algorithm, is_nas = entry, False
    if is_nas:
        shown, colour, marker = METHODS[method]
        if searcher:
            suffix, colour, marker = _SEARCHERS[searcher]
            shown = f"{shown} ({suffix})"
        if in_medium and f"{algorithm}@small" in others:
            shown += ", MEDIUM"
        dash: Literal["-", "--", ":"] = ":" if in_medium else "-" if method == "ws-nas" else "--"
        return Look(shown, colour, marker, dash, method == "ws-nas")
    if algorithm in METHODS:
        shown, colour, marker = METHODS[algorithm]
        return Look(shown, colour, marker, "-.")
    digest = hashlib.sha256(algorithm.encode(errors="replace")).digest()
    colour = _SPARE_COLOURS[digest[0] % len(_SPARE_COLOURS)]
    first = digest[1] % len(_SPARE_MARKERS)
    markers = (*_SPARE_MARKERS[first:], *_SPARE_MARKERS[:first])
    marker = next(marker for marker in markers if (colour, marker) not in _TAKEN)
    return Look(text(algorithm), colour, marker, ("-", "--", "-.", ":")[digest[2] % 4])


def searcher_name(algorithm: str) -> str:
    """The printed name of the searcher in ``method/searcher``; the printed name of the algorithm without a searcher."""
    searcher = algorithm.partition("/")[2]
    return _SEARCHERS[searcher][0] if searcher in _SEARCHERS else text(searcher or look(algorithm).name)


_MODEL_NAMES = {
    "bert-base-cased": "BERT-base",
    "roberta-base": "RoBERTa-base",
    "minilm-l6": "MiniLM-L6",
    "mpnet-base": "MPNet-base",
    "modernbert-base": "ModernBERT-base",
    "deberta-v3-base": "DeBERTa-v3-base",
    "bert-large-uncased": "BERT-large",
    "smollm2-135m": "SmolLM2-135M",
    "smollm2-135m-q4_1": "SmolLM2-135M Q4_1",
    "gpt2": "GPT-2",
    "pythia-160m": "Pythia-160M",
    "demo-bert": "demo BERT",
}


@dataclass(frozen=True)
class PanelTitle:
    """The title of a panel: the task on the left, the model (and the device class if needed) on the right."""

    task: str
    model: str


def panel_titles(frame: pd.DataFrame) -> dict[str, PanelTitle]:
    """The scenarios of a frame with their panel titles, ordered by model, then by size of the training set.

    Args:
        frame: columns ``scenario, task, model``. A scenario names device class, table and unusual objectives.
    """
    columns = ["scenario", "task", "model"]
    scenarios = [tuple(map(str, row)) for row in frame[columns].drop_duplicates("scenario").itertuples(index=False)]
    task_names = {task.name: task.title or task.name for task in registry.suite_tasks()}
    n_devices = Counter((task, model) for _, task, model in scenarios)
    titles = {}
    for scenario, task, model in sorted(
        scenarios, key=lambda row: (*_sort_key(row[2], _MODEL_NAMES), *_sort_key(row[1], task_names), row[0])
    ):
        shown = model_name(model)
        device, _, objectives = scenario.rpartition("/")[2].partition(":")
        if n_devices[task, model] > 1:
            shown += f", {text(device).upper()}"
        if objectives:
            shown += f", {text(objectives).replace('+', ', ')}"
        titles[scenario] = PanelTitle(task_names.get(task, text(task, 24)), shown)
    return titles


def model_name(model: str) -> str:
    """The name of a model as figures show it."""
    return _MODEL_NAMES.get(model, text(model, 24))


def _sort_key(name: str, known: dict[str, str]) -> tuple[int, str]:
    return (list(known).index(name) if name in known else len(known), name)


def text(name: str, limit: int = 40) -> str:
    """An arbitrary name made safe for matplotlib.

    The result has no mathtext, no line break, and no leading underscore, which would hide the name in a legend.
    """
    one_line = "".join(character if character.isprintable() else " " for character in name)
    if len(one_line) > limit:
        one_line = one_line[: limit - 1] + "…"
    return ("\u200a" if one_line.startswith("_") else "") + one_line.replace("$", r"\$")


_RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so all machines write the same bytes
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "axes.titleweight": "bold",
    "axes.titlepad": 4,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555555",
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "lines.markeredgewidth": 0.5,
    "patch.linewidth": 0.5,
    "hatch.linewidth": 0.5,
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "savefig.dpi": 300,
    "svg.hashsalt": "nasbench",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
}


@contextmanager
def applied() -> Iterator[None]:
    """Apply the style within a ``with`` block; restore matplotlib's settings afterwards."""
    with mpl.rc_context(_RC):
        yield


def new_figure(width_in: float, height_in: float) -> Figure:
    """An empty figure that is not in pyplot's global list. Call inside :func:`applied`."""
    return Figure(figsize=(width_in, height_in))


def panels(n: int, *, per_row: int = 4, height_in: float = 1.55) -> tuple[Figure, list[Axes]]:
    """A figure with ``n`` panels in rows of at most ``per_row``; one column wide for a single panel, else one page.

    The rows have nearly equal lengths. Call inside :func:`applied`.
    """
    rows = -(-n // per_row)
    columns = -(-n // rows)
    width = COLUMN_IN if columns == 1 else PAGE_IN
    figure = new_figure(width, max(height_in, 2.3 if columns <= 2 else 0) * rows + 0.45)
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for unused in axes[n:]:
        unused.remove()
    return figure, axes[:n]


def set_title(ax: Axes, title: PanelTitle) -> None:
    """Write the title above a panel."""
    ax.set_title(title.task)
    ax.set_title(title.model, loc="right", fontsize=6.5, fontweight="normal", color=GREY)


def bottom_panels(axes: list[Axes]) -> list[Axes]:
    """The lowest panel of each column."""
    lowest: dict[int, tuple[int, Axes]] = {}
    for ax in axes:
        place = ax.get_subplotspec()
        if place is not None:
            column, row = place.colspan.start, place.rowspan.start
            if column not in lowest or lowest[column][0] < row:
                lowest[column] = (row, ax)
    return [ax for _, ax in lowest.values()]


def label_bottom(axes: list[Axes], label: str) -> None:
    """Write the same label below the lowest panel of each column."""
    for ax in bottom_panels(axes):
        ax.set_xlabel(label)


def legend_below(figure: Figure, axes: list[Axes], columns: int | None = None) -> None:
    """Draw one legend for all panels below them, with each name once."""
    handles: dict[str, Artist] = {}
    for ax in axes:
        for handle, name in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(str(name), handle)
    if handles:
        fitting = columns or (3 if figure.get_figwidth() < PAGE_IN else 5)
        n_rows = -(-len(handles) // fitting)
        n_columns = -(-len(handles) // n_rows)  # rows of nearly equal length
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=n_columns)


FORMATS = ("svg", "pdf", "png")


def save(figure: Figure, stem: Path, formats: tuple[str, ...] = FORMATS) -> list[Path]:
    """Write a figure as ``stem.svg``, ``stem.pdf`` and ``stem.png`` and return the paths.

    Equal figures give equal bytes: no file contains a date or a version.
    """
    metadata: dict[str, dict[str, str | None]] = {
        "svg": {"Date": None, "Creator": None},
        "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
        "png": {"Software": None},
    }
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = []
    with applied():
        # Layout takes most of the time, and every savefig would repeat it. Lay the figure out once.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        for kind in formats:
            path = stem.parent / f"{stem.name}.{kind}"
            figure.savefig(path, metadata=metadata[kind])
            paths.append(path)
    return paths
