"""Figure 2: head masks drawn from the four search spaces (section 3.3)."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from nasbench.analysis.figures import style
from nasbench.networks.space import PAPER_SPACES, make_space
from nasbench.networks.subnetwork import Dimensions

TITLE = "Head masks drawn from the four search spaces"


def data(dims: Dimensions, *, n_masks: int = 3, seed: int = 19) -> pd.DataFrame:
    """Random head masks of each space, drawn in the same way as the searchers draw configurations.

    Returns:
        One row for each head: ``space, mask, layer, head, kept``.
    """
    rows = []
    for name in PAPER_SPACES:
        space = make_space(name, dims)
        rng = np.random.default_rng(seed)
        for mask in range(n_masks):
            kept = space.to_subnetwork(space.sample(rng)).heads
            layer, head = np.indices(kept.shape)
            columns = {"layer": layer.ravel(), "head": head.ravel(), "kept": kept.ravel()}
            rows.append(pd.DataFrame({"space": name, "mask": mask, **columns}))
    return pd.concat(rows, ignore_index=True)


def draw(data: pd.DataFrame) -> Figure:
    """Draw one row for each mask and one column for each space. Kept heads are coloured; layer 1 is at the bottom."""
    spaces, masks = data["space"].unique(), data["mask"].unique()
    with style.applied():
        figure = style.new_figure(style.COLUMN_IN * 1.35, 1.02 * len(masks) + 0.4)
        axes = figure.subplots(len(masks), len(spaces), squeeze=False, sharex=True, sharey=True)
        for (space, mask), part in data.groupby(["space", "mask"]):
            ax = axes[list(masks).index(mask), list(spaces).index(space)]
            kept = part.pivot_table(index="layer", columns="head", values="kept", aggfunc="first").to_numpy()
            colours = ListedColormap(["#ECECEC", style.SPACES[str(space)]])
            ax.pcolormesh(kept.astype(float), cmap=colours, vmin=0, vmax=1, edgecolors="white", linewidth=0.6)
            ax.set(aspect="equal", xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
        for ax, space in zip(axes[0], spaces, strict=True):
            ax.set_title(str(space).upper(), loc="center")
        figure.supxlabel("heads", fontsize=7.5)
        figure.supylabel("layers, first at the bottom", fontsize=7.5)
    return figure
