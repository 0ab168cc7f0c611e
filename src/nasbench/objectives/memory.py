"""Peak memory of a pass: the weights, and the most that a pass takes beyond them.

On a GPU, torch counts what it allocates. On a CPU, scratch space of libraries counts, too: a process of its own runs
the passes and watches the peak of its resident set. Its large blocks are mapped one by one and returned at once, so
that a pass finds no memory that an earlier one has left.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nasbench.arrays import FloatArray, IntArray
from nasbench.errors import NasbenchError, UserError
from nasbench.networks.subnetwork import SubNetwork
from nasbench.objectives.measuring import N_ROUNDS, Measurer, inputs_of
from nasbench.objectives.modelled import ratio_with_interval

MAPPED_BYTES = 1 << 16
"""Blocks of this size or larger are mapped one by one."""
_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")

Inputs = Mapping[str, Tensor]


class MemoryMeasurer(Measurer):
    """Measures the peak memory of sub-networks and of the full network."""

    @classmethod
    def check(cls, device: torch.device) -> None:
        if device.type == "cpu" and not _RESET.exists():
            raise UserError(
                f"objective 'peak_memory': without {_RESET}, the peak of a process is not known; leave it out"
            )

    def ratios(self, subnetworks: Sequence[SubNetwork]) -> FloatArray:
        # A second round of ten networks of MiniLM differed by at most 0.7 % in any shape.
        return np.asarray(self._rounds(subnetworks, 1)[0])

    def measured(self, subnetwork: SubNetwork) -> dict[str, float]:
        return ratio_with_interval(self._rounds([subnetwork], N_ROUNDS)[:, 0])

    def _rounds(self, subnetworks: Sequence[SubNetwork], n_rounds: int) -> FloatArray:
        """Ratios to the full network, ``(n_rounds, n, n_shapes)``."""
        inputs = [inputs_of(self._model, *shape) for shape in self.shapes]
        networks = map(self.extracted, (SubNetwork.full(self._dims), *subnetworks))
        measure = peaks if inputs[0]["input_ids"].is_cuda else _in_a_process
        found = measure(networks, inputs, n_rounds)
        return np.asarray(found[:, 1:] / found[:, :1])


def peaks(networks: Iterable[nn.Module], inputs: Sequence[Inputs], n_rounds: int) -> IntArray:
    """Bytes of the weights and of the most that a pass takes beyond them, on the device of the inputs.

    Args:
        inputs: for each shape.

    Returns:
        ``(n_rounds, n_networks, n_shapes)``.
    """
    found = []
    for network in networks:
        with torch.inference_mode():
            for each in inputs:
                network(**each)  # warm up: libraries load kernels and make handles
            rounds = [[_growth(network, each) for each in inputs] for _ in range(n_rounds)]
        found.append(n_bytes(network) + np.array(rounds))
    return np.stack(found, axis=1)


def n_bytes(network: nn.Module) -> int:
    """Bytes of the parameters and buffers."""
    return sum(each.numel() * each.element_size() for each in (*network.parameters(), *network.buffers()))


def _growth(network: nn.Module, inputs: Inputs) -> int:
    """The most bytes that a pass takes beyond those that are taken before it."""
    if inputs["input_ids"].is_cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        network(**inputs)
        return torch.cuda.max_memory_allocated() - before
    _reset_peak()
    before = _peak()
    network(**inputs)
    return _peak() - before


def _reset_peak() -> None:
    """Let Linux forget the largest resident set of this process so far."""
    _RESET.write_text("5")


def _peak() -> int:
    """The largest resident set of this process since it was forgotten, in bytes."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


def _in_a_process(networks: Iterable[nn.Module], inputs: Sequence[Inputs], n_rounds: int) -> IntArray:
    """:func:`peaks` in a new process. Weights are not sent there: memory does not depend on their values.

    Raises:
        NasbenchError: if the process ends early.
    """
    hollow = [_with_parameters(each, lambda p: torch.empty_like(p, device="meta")) for each in networks]
    variables = {"MALLOC_MMAP_THRESHOLD_": str(MAPPED_BYTES), "OMP_NUM_THREADS": str(torch.get_num_threads())}
    done = subprocess.run(
        [sys.executable, "-P", "-m", __name__],
        input=pickle.dumps((hollow, inputs, n_rounds)), stdout=subprocess.PIPE, env=os.environ | variables,
    )  # fmt: skip
    if done.returncode:
        raise NasbenchError(f"the process that measures memory ended with exit code {done.returncode}")
    found: IntArray = pickle.loads(done.stdout)
    return found


def _with_parameters(network: nn.Module, new: Callable[[Tensor], Tensor]) -> nn.Module:
    """The network with other parameters, which are shared as before."""
    found: dict[nn.Parameter, nn.Parameter] = {}
    for module in network.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter not in found:
                found[parameter] = nn.Parameter(new(parameter), requires_grad=False)
            setattr(module, name, found[parameter])
    return network


def _main() -> None:
    networks, inputs, n_rounds = pickle.load(sys.stdin.buffer)
    filled = (_with_parameters(each, lambda p: torch.ones(p.shape, dtype=p.dtype)) for each in networks)
    sys.stdout.buffer.write(pickle.dumps(peaks(filled, inputs, n_rounds)))


if __name__ == "__main__":
    _main()
