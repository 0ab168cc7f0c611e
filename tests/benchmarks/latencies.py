"""Whether measured costs repeat: ``python tests/benchmarks/latencies.py [OBJECTIVE]``, on a machine without other work.

Ten random sub-networks of MiniLM-L6 are measured beside the full network, as the networks of a front are after a run
with the objective (``latency`` if none is named); then all of them again. Prints both ratios, their difference, the
share of multiply-accumulates, and how far the two orders agree.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from scipy.stats import spearmanr
from tabulate import tabulate

from nasbench.networks.pretrained import load_pretrained
from nasbench.networks.space import make_space
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.objectives.declared import DECLARED
from nasbench.objectives.measurers import MEASURERS
from nasbench.plugins import registry

N_NETWORKS = 10


def main() -> None:
    torch.set_num_threads(1)
    model = load_pretrained(registry.models()["minilm-l6"], registry.tasks()["stsb"], seed=0).network
    dims = SuperNetwork(model).dims
    rng, spaces = np.random.default_rng(1), [make_space(name, dims) for name in ("small", "medium")]
    networks = [space.to_subnetwork(space.sample(rng)) for space in spaces for _ in range(N_NETWORKS // 2)]
    counts = np.array([n.head_counts for n in networks]), np.array([n.unit_counts for n in networks])
    count = DECLARED["macs"].count
    assert count is not None
    full = SubNetwork.full(dims)
    macs = count(dims, *counts) / count(dims, full.head_counts[None], full.unit_counts[None])
    measurer = MEASURERS[sys.argv[1] if len(sys.argv) > 1 else "latency"](model, dims)
    first, second = ([measurer.measured(network) for network in networks] for _ in range(2))
    ratios = np.array([[one["ratio"], other["ratio"]] for one, other in zip(first, second, strict=True)])
    differences = np.abs(ratios[:, 1] / ratios[:, 0] - 1)
    rows = [
        [f"{one['ratio']:.3f} [{one['low']:.3f}, {one['high']:.3f}]",
         f"{other['ratio']:.3f} [{other['low']:.3f}, {other['high']:.3f}]", f"{difference:.1%}", f"{share:.3f}"]
        for one, other, difference, share in zip(first, second, differences, macs, strict=True)
    ]  # fmt: skip
    rows = [row for _, row in sorted(zip(macs, rows, strict=True), key=lambda pair: pair[0])]
    lines = [
        tabulate(rows, ["ratio", "again", "difference", "multiply-accumulates"], "pipe", disable_numparse=True),
        f"median difference {np.median(differences):.1%}, largest {differences.max():.1%}",
        f"Spearman of ratio and multiply-accumulates: {spearmanr(ratios.mean(axis=1), macs).statistic:.3f}",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
