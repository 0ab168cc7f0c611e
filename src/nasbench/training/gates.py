"""Gates over heads and units that are trained with the weights, and close until the network has the size asked for.

Each gate is a hard concrete variable (Louizos et al. 2018, "Learning sparse neural networks through L0
regularization", equations 10 and 11): it is 0 or 1 with a probability that can be trained, and between them otherwise.
Voita et al. (2019) have gates over heads, CoFi (Xia et al. 2022) over heads and units.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from nasbench.arrays import FloatArray
from nasbench.data.batching import Batch
from nasbench.declarations.task import Kind
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.training.losses import WHOLE, Shares, label_loss, share_of

BETA, LOWEST, HIGHEST = 2 / 3, -0.1, 1.1
"""Temperature and ends of the stretched concrete distribution, as in Louizos et al. (2018, section 4)."""
START = 2.5
"""log alpha at the beginning: a gate is then open with a probability of 0.98."""
RAMP = 0.5
"""The size asked for falls linearly over this share of the steps."""
_NAMES = ("gates_of_heads", "gates_of_units", "gate_multipliers")


class Gates:
    """Gates of all heads and units of a network, and the loss that closes them.

    The loss is that on the labels plus l1 (s - t) + l2 (s - t)^2, where s is the expected share of the parameters of
    heads and units that stay and t the share asked for at this step. The gates minimise it, l1 and l2 maximise it (Wang
    et al. 2020, "Structured pruning of large language models").

    The tensors are buffers of the model until :meth:`remove`, so that checkpoints and saved weights hold them.

    Args:
        network: the full network; it must hold no gates.
        share: t at the end, between 0 and 1.
    """

    rate = 40.0

    def __init__(self, network: SuperNetwork, share: float) -> None:
        self._network, self._share = network, share
        dims, full = network.dims, SubNetwork.full(network.dims)
        shapes = full.heads.shape, full.units.shape, (2,)
        for name, shape, start in zip(_NAMES, shapes, (START, START, 0.0), strict=True):
            network.model.register_buffer(name, torch.full(shape, start, device=network.device, requires_grad=True))
        self._present = [torch.tensor(mask, device=network.device) for mask in (full.heads, full.units)]
        sizes = dims.n_params_per_head, dims.n_params_per_unit
        total = sum(size * int(mask.sum()) for size, mask in zip(sizes, self._present, strict=True))
        self._costs = [size / total for size in sizes]

    def tensors(self) -> list[Tensor]:
        """log alpha of heads ``(n_layers, n_heads)`` and units ``(n_layers, n_units)``, and (l1, l2)."""
        return [self._network.model.get_buffer(name) for name in _NAMES]

    def loss(
        self, network: SuperNetwork, kind: Kind, batch: Batch, embedded: Tensor, progress: float,
        shares: Shares = WHOLE,
    ) -> Tensor:  # fmt: skip
        """The loss of a batch or of a part, see :class:`~nasbench.training.objective.Objective`."""
        heads, units, multipliers = self.tensors()
        encoded = self._encode(network, batch, embedded, *(_drawn(values) for values in (heads, units)))
        distance = self.expected_share() - (1 - (1 - self._share) * min(1.0, progress / RAMP))
        # The gradient of the multipliers is turned round, because they maximise what the rest minimises.
        first, second = 2 * multipliers.detach() - multipliers
        penalty: Tensor = first * distance + second * distance**2
        of_labels = label_loss(kind, network.classify(encoded, batch), batch.labels)
        return share_of(of_labels + penalty, shares.labels)

    def expected_share(self) -> Tensor:
        """The expected share of the parameters of heads and units that stay."""
        shift = BETA * math.log(-LOWEST / HIGHEST)
        opens = (torch.sigmoid(values - shift) for values in self.tensors()[:2])
        parts = zip(self._costs, opens, self._present, strict=True)
        return torch.stack([cost * (chance * present).sum() for cost, chance, present in parts]).sum()

    def values(self) -> tuple[FloatArray, FloatArray]:
        """The gates without noise, ``(n_layers, n_heads)`` and ``(n_layers, n_units)``, from 0 to 1 (equation 13)."""
        heads, units = (
            (_stretched(torch.sigmoid(values.detach())) * present).double().cpu().numpy()
            for values, present in zip(self.tensors()[:2], self._present, strict=True)
        )
        return heads, units

    def remove(self) -> None:
        """Take the tensors out of the model."""
        for name in _NAMES:
            delattr(self._network.model, name)

    @staticmethod
    def _encode(network: SuperNetwork, batch: Batch, embedded: Tensor, heads: Tensor, units: Tensor) -> Tensor:
        """As :meth:`SuperNetwork.encode`, with the outputs of heads and the activations of units times their gates."""
        mask, hidden = batch.attention_mask, network.dropout(embedded)
        heads, units = (values.to(hidden.dtype) for values in (heads, units))
        slices = network.slices()
        last_attention = max((i for i, kept in enumerate(slices) if kept.head_rows is not None), default=-1)
        if last_attention == -1:
            hidden = network.read(hidden, mask)
        for i, kept in enumerate(slices):
            entering = hidden
            if kept.head_rows is not None:
                is_last = i == last_attention
                context = network.context(i, kept, hidden, mask, read_only=is_last)
                gates = heads[i, : kept.n_heads].repeat_interleave(network.dims.head_width)
                entering = network.read(hidden, mask) if is_last else hidden
                hidden = network.attention_output(i, kept, context * gates, entering)
            if kept.units is not None:
                inner = network.inner(i, kept, network.feed_forward_input(entering, hidden))
                hidden = network.feed_forward_output(i, kept, inner * units[i, : inner.shape[-1]], hidden)
        return network.states(hidden)


def _drawn(values: Tensor) -> Tensor:
    """Gates with noise, from log alpha; the same shape."""
    noise = torch.rand_like(values).clamp(1e-6, 1 - 1e-6)
    return _stretched(torch.sigmoid((noise.logit() + values) / BETA))


def _stretched(values: Tensor) -> Tensor:
    return (values * (HIGHEST - LOWEST) + LOWEST).clamp(0, 1)
