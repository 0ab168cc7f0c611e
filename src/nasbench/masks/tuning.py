"""Real mask values for a pruned network, chosen so that each block reproduces the output of a larger network.

Mask tuning of Kwon et al. 2022: linear least squares over the mask values of the kept heads (or units), block by block
from the input. The input of each block comes from the network tuned so far.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import lsmr
from torch import Tensor, nn
from torch.nn import functional

from nasbench.arrays import FloatArray
from nasbench.networks.sliced import LayerSlice
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork

DAMPING = 1.0
LARGEST_SCALE = 10.0
_MAX_ITERATIONS = 20
"""Iterations of LSMR per mask value. Scipy's default of 1 is enough only in exact arithmetic."""
_SOLVED = (0, 1, 2, 4, 5)
"""LSMR's reasons to stop that mean a solution, within the tolerance or within rounding."""


@dataclass(frozen=True)
class TuningBatch:
    """Padded examples.

    Attributes:
        embedded: ``(n, length, d)``.
        mask: ``(n, length)``, True = a token; None if nothing is padded.
        counts: weight of each token, fp32 ``(n, length)``; 0 for padding.
    """

    embedded: Tensor
    mask: Tensor | None
    counts: Tensor


def tune_masks(
    network: SuperNetwork,
    student: SubNetwork,
    teacher: SubNetwork,
    batches: Sequence[TuningBatch],
    after_batch: Callable[[], None] = lambda: None,
) -> tuple[FloatArray, FloatArray]:
    """Mask values with which the blocks of a student reproduce the outputs of a teacher.

    Least squares compares the sums of block output and residual stream before LayerNorm, over all tokens. In the last
    feed-forward block it compares only the token that the classifier reads. The attention of layer 0 is not
    tuned, as published, nor are blocks that the student or the teacher skips. (The authors' code also fits a constant
    to each attention block and then drops it; this code does not fit it.) If the solver fails or a scale leaves
    [-10, 10], tuning ends and keeps the scales found so far.

    Args:
        network: the full network of which both are sub-networks; runs in eval mode.
        student: the sub-network to tune.
        teacher: the sub-network to reproduce.
        batches: examples to tune on.
        after_batch: called after each batch of each block; may raise to stop.

    Returns:
        ``(n_layers, n_heads)`` and ``(n_layers, n_units)``; 1 where a block was not tuned.
    """
    dims = network.dims
    head_scales, unit_scales = np.ones((dims.n_layers, dims.n_heads)), np.ones((dims.n_layers, dims.n_units))
    student_slices, teacher_slices = network.slices(student), network.slices(teacher)
    streams = [_Streams.of(batch) for batch in batches]
    with torch.inference_mode():
        for i in range(dims.n_layers):
            for stream in streams:
                stream.enter_layer()
            own, other = (_attention(network, i, slices[i]) for slices in (student_slices, teacher_slices))
            scales = _pass_block(own, other, streams, tuned=i > 0, after_batch=after_batch)
            if scales is None:
                break
            head_scales[i, student.heads[i]] = scales
            if i + 1 == dims.n_layers:
                streams = [stream.read_only(network) for stream in streams]
            own, other = (_feed_forward(network, i, slices[i]) for slices in (student_slices, teacher_slices))
            scales = _pass_block(own, other, streams, tuned=True, after_batch=after_batch)
            if scales is None:
                break
            unit_scales[i, student.units[i]] = scales
    return head_scales, unit_scales


@dataclass
class _Streams:
    """Hidden states ``(n, length, d)`` of both networks between two blocks, and those that entered the layer."""

    student: Tensor
    teacher: Tensor
    mask: Tensor | None
    counts: Tensor
    student_entering: Tensor
    teacher_entering: Tensor

    @classmethod
    def of(cls, batch: TuningBatch) -> _Streams:
        return cls(batch.embedded, batch.embedded, batch.mask, batch.counts, batch.embedded, batch.embedded)

    def enter_layer(self) -> None:
        self.student_entering, self.teacher_entering = self.student, self.teacher

    def read_only(self, network: SuperNetwork) -> _Streams:
        student, teacher, counts, *entering = (
            network.read(x, self.mask)
            for x in (self.student, self.teacher, self.counts[..., None], self.student_entering, self.teacher_entering)
        )
        return _Streams(student, teacher, self.mask, counts[..., 0], *entering)


@dataclass(frozen=True)
class _Block:
    """One block of one of the two networks.

    Attributes:
        outputs: function from hidden states, those that entered the layer, and mask to the outputs of heads or units,
            ``(n, length, m)``.
        columns: columns of the output projection, ``(d, m)``, in the network's dtype.
        norm: the norm of the sum; None if the block normalises its input instead.
        width: number of consecutive outputs that share a mask value: the head width for heads, 1 for units.
    """

    outputs: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    columns: Tensor
    bias: Tensor | None
    norm: nn.Module | None
    width: int

    @property
    def n_values(self) -> int:
        """Number of heads or units, hence of mask values."""
        return self.columns.shape[1] // self.width

    def total(self, outputs: Tensor, residual: Tensor) -> Tensor:
        """Block output plus residual stream, before LayerNorm, in fp32."""
        product = functional.linear(outputs, self.columns).float()
        return (product if self.bias is None else product + self.bias) + residual.float()

    def normed(self, total: Tensor, like: Tensor) -> Tensor:
        """Hidden states after the block, from :meth:`total`."""
        return (total if self.norm is None else self.norm(total)).to(like.dtype)


def _attention(network: SuperNetwork, i: int, layer_slice: LayerSlice) -> _Block | None:
    block = network.adapter.attention(i)
    if layer_slice.head_rows is None or block is None:
        return None
    columns = block.output.weight.detach()[:, layer_slice.query_rows].to(network.dtype)
    return _Block(
        lambda hidden, _, mask: network.context(i, layer_slice, hidden, mask),
        columns, block.output.bias, None if block.norm_first else block.norm, network.dims.head_width,
    )  # fmt: skip


def _feed_forward(network: SuperNetwork, i: int, layer_slice: LayerSlice) -> _Block | None:
    block = network.adapter.feed_forward(i)
    if layer_slice.units is None or block is None:
        return None
    columns = block.output.weight.detach()[:, layer_slice.units].to(network.dtype)
    norm = None if block.norm_first else block.norm
    return _Block(
        lambda hidden, entering, _: network.inner(i, layer_slice, network.feed_forward_input(entering, hidden)),
        columns, block.output.bias, norm, width=1,
    )  # fmt: skip


def _pass_block(
    student: _Block | None,
    teacher: _Block | None,
    streams: list[_Streams],
    tuned: bool,
    after_batch: Callable[[], None],
) -> FloatArray | None:
    """Pass both streams through one block, the student's with tuned mask values.

    Returns:
        A mask value for each head or unit of the student; 1 if the block is not tuned. None if there is no solution;
        the streams are then invalid.
    """
    equations = NormalEquations(student.columns, student.width) if tuned and student and teacher else None
    outputs = []
    for stream in streams:
        if student is not None:
            outputs.append(student.outputs(stream.student, stream.student_entering, stream.mask))
        if teacher is not None:
            taught = teacher.outputs(stream.teacher, stream.teacher_entering, stream.mask)
            total = teacher.total(taught, stream.teacher)
            if equations is not None:
                assert student is not None
                target = total if student.bias is None else total - student.bias
                equations.add(outputs[-1], target - stream.student.float(), stream.counts)
            stream.teacher = teacher.normed(total, like=stream.teacher)
        after_batch()
    if student is None:
        return np.ones(0)
    scales = np.ones(student.n_values) if equations is None else equations.solve()
    if scales is None:
        return None
    per_output = torch.as_tensor(np.repeat(scales, student.width), device=student.columns.device)
    for stream, output in zip(streams, outputs, strict=True):
        total = student.total(output * per_output.to(output.dtype), stream.student)
        stream.student = student.normed(total, like=stream.student)
    return scales


class NormalEquations:
    """The equations A^T A x = A^T b for the mask values x of one block, built without A.

    A[(t, i), g] is the contribution of mask value g to feature i of token t: the sum over the outputs j of g of
    columns[i, j] a[t, j]. So A^T A is the elementwise product (a^T a) * (columns^T columns), summed over the outputs of
    each pair of mask values.

    Args:
        columns: columns of the output projection, ``(d, m)``.
        width: number of consecutive outputs that share a mask value.
    """

    def __init__(self, columns: Tensor, width: int) -> None:
        self._columns, self._width = columns.float(), width
        m = columns.shape[1]
        self._left = torch.zeros(m, m, device=columns.device)
        self._right = torch.zeros(m, dtype=torch.float64, device=columns.device)

    def add(self, outputs: Tensor, target: Tensor, counts: Tensor) -> None:
        """Add tokens.

        Args:
            outputs: outputs a of heads or units, ``(n, length, m)``.
            target: b, the block output to reproduce, fp32 ``(n, length, d)``.
            counts: weight of each token, ``(n, length)``.
        """
        flat = outputs.flatten(0, 1).float()
        weighted = flat * counts.reshape(-1, 1)
        self._left.addmm_(weighted.t(), flat)
        self._right += ((target.flatten(0, 1) @ self._columns) * weighted).sum(0)

    def solve(self) -> FloatArray | None:
        """Mask values 1 + delta, where delta is LSMR's solution of the normal equations with a damping of 1.

        LSMR stops at scipy's default tolerance, as published. In directions that hardly change the block's output, the
        values depend on the iteration at which LSMR stops, and so on rounding. The output hardly changes.

        Returns:
            ``(m / width,)``; None if the solver fails or a scale leaves [-10, 10].
        """
        left = (self._left.double() * (self._columns.t() @ self._columns).double()).cpu().numpy()
        n = len(left) // self._width
        left = left.reshape(n, self._width, n, self._width).sum(axis=(1, 3))
        right = self._right.cpu().numpy().reshape(n, self._width).sum(axis=1)
        delta, reason, *_ = lsmr(left, right - left.sum(axis=1), damp=DAMPING, maxiter=_MAX_ITERATIONS * n)
        scales: FloatArray = 1.0 + delta
        if reason not in _SOLVED or not np.all(np.abs(scales) <= LARGEST_SCALE):
            return None
        return scales
