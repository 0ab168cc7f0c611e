"""The contract of architectures: all ways to run a sub-network agree, and counts, gradients and saved files are exact.

A test of a new architecture subclasses :class:`ArchitectureContract` and names a tiny model::

    class TestElectra(ArchitectureContract):
        model = TINY_ELECTRA
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from nasbench.arrays import BoolArray
from nasbench.data.batching import Batch
from nasbench.declarations.model import DECODERS, Model
from nasbench.declarations.task import Task
from nasbench.networks.adapter import shrink
from nasbench.networks.architectures import adapt
from nasbench.networks.architectures.compact import compact
from nasbench.networks.pretrained import n_positions
from nasbench.networks.space import Large
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.testing.networks import TinyNetwork, tiny_network
from nasbench.testing.tasks import TINY_CHOICE, TINY_LANGUAGE_TASKS, TINY_PAIR, TINY_REGRESSION

TOLERANCE = 1e-5
"""Largest difference between logits that should be equal, in fp32."""
CLEAR = 1e-4
"""Smallest difference between logits that should differ."""
TASKS = (TINY_PAIR, TINY_REGRESSION, TINY_CHOICE)


class ArchitectureContract:
    """Checks of one architecture on a tiny model with random weights.

    Attributes:
        model: a declaration with a ``generator``, whose network has 3 layers of 4 heads and 48 units.
    """

    model: ClassVar[Model]

    def _tasks(self) -> tuple[Task, ...]:
        return (*TASKS, *TINY_LANGUAGE_TASKS) if self.model.architecture in DECODERS else TASKS

    @torch.no_grad()
    def test_full_network_equals_the_stock_model(self) -> None:
        for task in self._tasks():
            tiny = _tiny(self.model, task)
            stock = tiny.network.stock_logits(tiny.batch())
            _assert_close(tiny.network.forward(tiny.batch()), stock)
            assert stock.std() > 0.05, "the logits of a tiny network should differ between examples"

    @torch.no_grad()
    def test_sliced_masked_and_extracted_passes_agree(self) -> None:
        for task in self._tasks():
            tiny = _tiny(self.model, task)
            network, batch = tiny.network, tiny.batch()
            for subnetwork in _subnetworks(network):
                sliced, extracted = network.forward(batch, subnetwork), network.extract(subnetwork)
                _assert_close(network.masked(batch, subnetwork), sliced)
                _assert_close(extracted.forward(batch), sliced)
                _assert_close(extracted.stock_logits(batch), sliced)

    def test_parameter_counts_are_exact(self) -> None:
        for task in self._tasks():
            network = _tiny(self.model, task).network
            for subnetwork in _subnetworks(network):
                assert network.extract(subnetwork).count_params() == subnetwork.n_params(network.dims)

    def test_macs_of_heads_and_units_are_half_of_the_operations_that_torch_counts(self) -> None:
        tiny = _tiny(self.model, TINY_PAIR)
        network, dims = tiny.network, tiny.network.dims
        length = n_positions(network.model.config.to_dict())
        few = SubNetwork.from_counts([1] * dims.n_layers, [7] * dims.n_layers, dims)
        full = SubNetwork.full(dims)
        difference = _n_operations(network.extract(full), length) - _n_operations(network.extract(few), length)
        n_heads, n_units = (
            int((all_ & ~kept).sum()) for all_, kept in ((full.heads, few.heads), (full.units, few.units))
        )
        assert n_heads * dims.macs_of_head(length) + n_units * dims.macs_of_unit(length) == difference / 2

    @torch.no_grad()
    def test_every_block_can_be_removed(self) -> None:
        tiny = _tiny(self.model, TINY_PAIR)
        network, batch = tiny.network, tiny.batch()
        full = SubNetwork.full(network.dims)
        logits = network.forward(batch)
        for layer in range(network.dims.n_layers):
            for masks in ((_without(full.heads, layer), full.units), (full.heads, _without(full.units, layer))):
                subnetwork = SubNetwork(*masks)
                sliced = network.forward(batch, subnetwork)
                _assert_close(network.masked(batch, subnetwork), sliced)
                _assert_close(network.extract(subnetwork).stock_logits(batch), sliced)
                assert (sliced - logits).abs().max() > CLEAR

    @torch.no_grad()
    def test_every_head_changes_the_logits(self) -> None:
        tiny = _tiny(self.model, TINY_PAIR)
        network, batch = tiny.network, tiny.batch()
        full, logits = SubNetwork.full(network.dims), network.forward(batch)
        for place in np.ndindex(full.heads.shape):
            heads = full.heads.copy()
            heads[place] = False
            assert (network.forward(batch, SubNetwork(heads, full.units)) - logits).abs().max() > CLEAR, place

    @torch.no_grad()
    def test_padding_does_not_change_logits(self) -> None:
        tiny = _tiny(self.model, TINY_PAIR)
        subnetwork = _subnetworks(tiny.network)[-1]
        logits = tiny.network.forward(tiny.batch(), subnetwork)
        _assert_close(tiny.network.forward(tiny.batch(length=40), subnetwork), logits)

    @torch.no_grad()
    def test_longest_text_fits(self) -> None:
        tiny = _tiny(self.model, TINY_PAIR)
        longest = n_positions(tiny.network.model.config.to_dict())
        ids = torch.full((2, longest), 7)
        first = tiny.batch()
        batch = Batch(ids, torch.zeros_like(ids), None, first.labels[:2], first.index[:2])
        _assert_close(tiny.network.forward(batch), tiny.network.stock_logits(batch))

    @torch.no_grad()
    def test_one_pass_gives_all_depths(self) -> None:
        tiny = _tiny(self.model, TINY_PAIR)
        network, batch = tiny.network, tiny.batch()
        for subnetwork in _subnetworks(network):
            states = network.encode_depths(network.embed(batch), batch.attention_mask, network.slices(subnetwork))
            for depth in range(network.dims.n_layers + 1):
                kept = np.arange(network.dims.n_layers)[:, None] < depth
                shallow = SubNetwork(subnetwork.heads & kept, subnetwork.units & kept)
                _assert_close(network.classify(states[depth]), network.masked(batch, shallow))

    def test_gradients_equal_those_of_the_masked_stock_model(self) -> None:
        for task in (TINY_PAIR, TINY_CHOICE, *self._tasks()[len(TASKS) :]):
            tiny = _tiny(self.model, task)
            network, batch = tiny.network.copy(), tiny.batch()
            for subnetwork in _subnetworks(network):
                sliced = _gradients(network, network.forward(batch, subnetwork))
                masked = _gradients(network, network.masked(batch, subnetwork))
                assert sliced.keys() == masked.keys()
                for name, gradient in masked.items():
                    largest = float(gradient.abs().max())
                    assert (sliced[name] - gradient).abs().max() < 1e-4 * max(largest, 0.1), f"{name}: {task.name}"

    @torch.no_grad()
    def test_saved_network_gives_the_same_logits(self, tmp_path: Path) -> None:
        tiny = _tiny(self.model, TINY_PAIR)
        network, batch = tiny.network, tiny.batch()
        for i, subnetwork in enumerate(_subnetworks(network)):
            smaller = network.copy().model
            shrink(adapt(smaller), subnetwork, network.dims)
            saved: Any = compact(smaller, subnetwork, ("no", "yes"))
            saved.save_pretrained(tmp_path / str(i))
            loaded = type(saved).from_pretrained(tmp_path / str(i)).eval()
            assert sum(p.numel() for p in loaded.parameters()) == subnetwork.n_params(network.dims)
            inputs = {"input_ids": batch.input_ids, "attention_mask": _present(batch).long()}
            if network.adapter.has_token_types:
                inputs["token_type_ids"] = batch.token_type_ids
            _assert_close(loaded(**inputs).logits, network.forward(batch, subnetwork))


_NETWORKS: dict[tuple[str, str], TinyNetwork] = {}


def _tiny(model: Model, task: Task) -> TinyNetwork:
    """The network of a model for a task, made once. No check changes it."""
    key = model.name, task.name
    if key not in _NETWORKS:
        _NETWORKS[key] = tiny_network(model, task)
    return _NETWORKS[key]


def _subnetworks(network: SuperNetwork) -> list[SubNetwork]:
    """The smallest and the largest, prefixes of each layer, one with empty blocks, and a random one of LARGE."""
    dims, rng = network.dims, np.random.default_rng(0)
    space = Large(dims)
    heads, units = rng.random((dims.n_layers, dims.n_heads)) < 0.6, rng.random((dims.n_layers, dims.n_units)) < 0.6
    heads[0] = units[1] = False
    return [
        space.to_subnetwork(space.smallest),
        space.to_subnetwork(space.largest),
        SubNetwork.from_counts(
            [1 + i for i in range(dims.n_layers)], [7 * (i + 1) for i in range(dims.n_layers)], dims
        ),
        SubNetwork(heads, units),
        space.to_subnetwork(space.sample(rng)),
    ]


def _without(mask: BoolArray, layer: int) -> BoolArray:
    reduced = mask.copy()
    reduced[layer] = False
    return reduced


def _present(batch: Batch) -> Tensor:
    return torch.ones_like(batch.input_ids) if batch.attention_mask is None else batch.attention_mask


def _n_operations(network: SuperNetwork, length: int) -> int:
    """Additions and multiplications of a stock pass over one text, as torch counts them."""
    ids = torch.full((1, length), 7)
    # The fused kernel and the inference mode hide products from the counter.
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        network.model(input_ids=ids, attention_mask=torch.ones_like(ids))
    return int(counter.get_total_flops())


def _gradients(network: SuperNetwork, logits: Tensor) -> dict[str, Tensor]:
    """Gradients that are not zero, by name, of a sum over logits with different weights."""
    for parameter in network.parameters():
        parameter.grad = None
    (logits * torch.linspace(-1.0, 2.0, logits.numel()).view_as(logits)).sum().backward()  # type: ignore[no-untyped-call]
    gradients = {name: p.grad for name, p in network.model.named_parameters() if p.grad is not None}
    return {name: gradient.clone() for name, gradient in gradients.items() if gradient.abs().max() > TOLERANCE}


def _assert_close(one: Tensor, other: Tensor) -> None:
    # The log-likelihood of a text is a sum of about -100, which fp32 holds to a millionth of it.
    torch.testing.assert_close(one, other, rtol=1e-6, atol=TOLERANCE)
