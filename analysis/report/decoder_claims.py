"""Claims about decoders, which are not in the paper: weight-sharing NAS against pruning without any training."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pandas as pd

from nasbench.analysis.experiments.selection import compared_entries, subset
from nasbench.analysis.scoring.scores import Scores, block_table
from nasbench.analysis.scoring.verdicts import Claim, ClaimResult, compared

TASK = "wikitext2"
"""The one task of language modelling that a section of the leaderboard declares."""
RIVALS = {"shortgpt": "ShortGPT", "wanda-sp": "Wanda-sp", "flap": "FLAP"}
_SHARING = ("ws-nas", "ws-nas-ordered")
_SWEEP = (
    f"nasbench sweep --method {_SHARING[0]},{','.join(RIVALS)} --task {TASK} --seed 0-2 && "
    f"nasbench sweep --method {_SHARING[1]} --task {TASK} --seed 0-2 --set strategy=random"
)


def decoder_claims(scores: Scores) -> Iterator[ClaimResult]:
    """The front of weight-sharing NAS has a larger test hypervolume than that of each rival.

    In each block, the front is that of ``ws-nas`` or ``ws-nas-ordered``, whichever has the larger *validation*
    hypervolume. Nothing is chosen by test errors, so the comparison is not optimistic, but the choice takes two runs
    where a rival takes one.

    Args:
        scores: runs on language modelling, of one track and device class.
    """
    runs = scores.runs
    compares = subset(scores, (runs["task"] == TASK).to_numpy(dtype=np.bool_) & compared_entries(runs))
    runs = compares.runs
    is_sharing = runs["method"].isin(_SHARING)
    best = pd.Series(compares.final)[is_sharing].groupby([runs["scenario"], runs["seed"]]).idxmax()
    chosen = subset(compares, (runs["method"].isin(RIVALS) | runs.index.isin(best)).to_numpy(dtype=np.bool_))
    side = chosen.runs["method"].mask(chosen.runs["method"].isin(_SHARING), "weight sharing")
    sides = dataclasses.replace(chosen, runs=chosen.runs.assign(side=side))
    blocks = block_table(sides, by="side", values=sides.test[:, None])
    for rival, name in RIVALS.items():
        text = f"on WikiText-2 the front of ws-nas or ws-nas-ordered, chosen by validation, beats that of {name}"
        claim = Claim(text, "better than", "test hypervolume", "", task=TASK, sweep=_SWEEP)
        yield compared(claim, blocks, "weight sharing", rival)
