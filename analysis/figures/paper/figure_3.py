"""Figure 3: distribution of the parameter counts of uniformly drawn sub-networks (section 3.3).

The parameters are counted from the configurations; no network is built.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from nasbench.analysis.figures import style
from nasbench.networks.space import PAPER_SPACES, make_space
from nasbench.networks.subnetwork import Dimensions

TITLE = "Parameter counts of uniformly drawn sub-networks"


def data(dims: Dimensions, *, n_samples: int = 500, seed: int = 0) -> pd.DataFrame:
    """One row for each sample: ``space, params``, with ``params`` as a fraction of the full network's parameters."""
    parts = []
    for name in PAPER_SPACES:
        space = make_space(name, dims)
        rng = np.random.default_rng(seed)
        # One configuration at a time: the masks of 500 configurations of LARGE would take 150 MB.
        n_params = np.array([space.n_params(space.sample(rng)).item() for _ in range(n_samples)])
        parts.append(pd.DataFrame({"space": name, "params": n_params / dims.n_params}))
    return pd.concat(parts, ignore_index=True)


def draw(data: pd.DataFrame) -> Figure:
    """Draw a histogram of each space on common axes, with its mean. LAYER has one bin for each depth."""
    spaces = list(data["space"].unique())
    n_bins = data.loc[data["space"] == "layer", "params"].nunique()
    smallest, largest = data["params"].min(), data["params"].max()
    with style.applied():
        figure = style.new_figure(style.PAGE_IN, 1.65)
        axes = figure.subplots(1, len(spaces), sharex=True, sharey=True)
        for ax, space in zip(axes, spaces, strict=True):
            params = data.loc[data["space"] == space, "params"]
            sns.histplot(
                x=params,
                bins=max(n_bins, 10),
                binrange=(smallest, largest),
                stat="percent",
                color=style.SPACES[str(space)],
                alpha=1,
                edgecolor="white",
                ax=ax,
            )
            ax.axvline(params.mean(), color=style.INK, linewidth=0.8, linestyle=(0, (3, 2)))
            ax.set_title(str(space).upper())
            ax.set(xlabel="", ylabel="samples (%)", xlim=(0.2, 1.0), xticks=[0.2, 0.4, 0.6, 0.8, 1.0])
            ax.grid(visible=False, axis="x")
            ax.label_outer()
        figure.supxlabel("parameters, fraction of the full network (dashed: mean)", fontsize=7.5)
    return figure
