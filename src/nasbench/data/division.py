"""Divide rows in two at random: as they come, class by class, or group by group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nasbench.data.labels import Labels

Indices = npt.NDArray[np.int64]


def divide(
    n_rows: int,
    fraction: float,
    rng: np.random.Generator,
    strata: Labels | None = None,
    groups: Sequence[str] = (),
) -> tuple[Indices, Indices]:
    """Indices of most rows and of a random part, each in random order.

    Args:
        fraction: share of the rows that the part gets, rounded.
        strata: classes ``(n_rows,)``. Each class then has its share in the part, as exactly as whole rows allow.
        groups: names ``(n_rows,)``. Rows of one group then stay together, and the part's size is as near as whole
            groups in random order allow. Each side has at least one group if there are two.
    """
    order = rng.permutation(n_rows).astype(np.int64)
    n_part = round(fraction * n_rows)
    if groups:
        in_part = _whole_groups(order, groups, n_part)
    elif strata is not None:
        in_part = _equal_shares(order, strata, n_part)
    else:
        return order[: n_rows - n_part], order[n_rows - n_part :]
    return order[~in_part[order]], order[in_part[order]]


def _equal_shares(order: Indices, strata: Labels, n_part: int) -> npt.NDArray[np.bool_]:
    classes, counts = np.unique(strata, return_counts=True)
    quotas = counts * n_part / len(order)
    sizes = np.floor(quotas).astype(int)
    # The classes with the largest remainders get the rows that rounding down left over.
    left_over = np.argsort(-(quotas - sizes), kind="stable")[: n_part - sizes.sum()]
    sizes[left_over] += 1
    in_part = np.zeros(len(order), dtype=np.bool_)
    for value, size in zip(classes, sizes, strict=True):
        members = order[strata[order] == value]
        in_part[members[len(members) - size :]] = True
    return in_part


def _whole_groups(order: Indices, groups: Sequence[str], n_part: int) -> npt.NDArray[np.bool_]:
    counts = Counter(groups)
    drawn = list(dict.fromkeys(groups[i] for i in order))
    chosen: set[str] = set()
    size = 0
    for name in drawn[: len(drawn) - 1]:  # the other side keeps a group
        grown = size + counts[name]
        if not chosen or abs(grown - n_part) < abs(size - n_part):
            chosen.add(name)
            size = grown
    return np.array([name in chosen for name in groups], dtype=np.bool_)
