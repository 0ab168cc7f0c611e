"""Evaluation without padding, as on a GPU, against the padded evaluation; attention of a GPU has a plain stand-in."""

import gc
import itertools
import sys
import types
import weakref

import numpy as np
import pytest
import torch
from support.launches import launches
from support.steps import MODELS, TASKS, tiny_of
from torch.nn import functional

from nasbench.data.batching import collate, pack, packed_batches
from nasbench.networks.architectures.bert import Bert
from nasbench.networks.passes import variable_length
from nasbench.networks.passes.packed import PackedNetwork
from nasbench.networks.passes.variable_length import fused_attention
from nasbench.networks.space import SPACES, make_space
from nasbench.networks.subnetwork import SubNetwork
from nasbench.networks.supernet import SuperNetwork
from nasbench.training import evaluation
from nasbench.training.evaluation import Evaluator

CPU = torch.device("cpu")


def plain_attention(query, key, value, starts, longest):
    """One sequence after the other, in fp32."""
    context = torch.empty_like(query)
    bounds = starts.tolist()
    assert max(np.diff(bounds)) == longest
    for start, end in itertools.pairwise(bounds):
        q, k, v = (x[start:end].transpose(0, 1).float() for x in (query, key, value))
        context[start:end] = functional.scaled_dot_product_attention(q, k, v).transpose(0, 1).to(context.dtype)
    return context


@pytest.fixture(params=["fused", "rows"])
def attention(request, monkeypatch):
    """Attention as on a GPU that has a fused kernel, and as on one that has none."""
    chosen = plain_attention if request.param == "fused" else None
    monkeypatch.setattr(evaluation, "fused_attention", lambda *_: chosen)
    return chosen


def _packing(tiny, max_tokens=None):
    evaluator = Evaluator(tiny.data.train, tiny.task, tiny.pad_id, CPU)
    evaluator._packs = True
    evaluator._max_tokens = max_tokens or evaluator._max_tokens
    evaluator._make_batches()
    return evaluator


def _padding(tiny):
    return Evaluator(tiny.data.train, tiny.task, tiny.pad_id, CPU)


def _subnetworks(dims):
    """One of each space, the full one, one without any block, and one with holes."""
    for i, name in enumerate(SPACES):
        space = make_space(name, dims)
        yield space.to_subnetwork(space.sample(np.random.default_rng(i)))
    yield SubNetwork.full(dims)
    heads, units = np.ones((dims.n_layers, dims.n_heads), bool), np.ones((dims.n_layers, dims.n_units), bool)
    yield SubNetwork(~heads, ~units)
    heads[1, 1:], heads[2], units[0], units[1, ::2] = False, False, False, False
    yield SubNetwork(heads, units)


CLOSE = {"rtol": 1e-5, "atol": 1e-5}
"""Logits are about 1 to 3 here, and other processors add in another order."""
CASES = [
    *((model, "tiny-pair") for model in sorted(MODELS)),
    *(("tiny-bert", task) for task in ("tiny-choice", "tiny-regression")),
]


@pytest.mark.parametrize(("model", "task"), CASES)
@pytest.mark.usefixtures("attention")
def test_packed_logits_equal_padded_logits(model, task):
    tiny = tiny_of(model, task)
    packing, padding = _packing(tiny, 400), _padding(tiny)
    assert len(packing._batches) > 1
    for subnetwork in _subnetworks(tiny.network.dims):
        expected = padding.logits(tiny.network, subnetwork)
        np.testing.assert_allclose(packing.logits(tiny.network, subnetwork), expected, **CLOSE)
        for n_layers in (0, 3):
            expected = padding.logits_of_depths(tiny.network, subnetwork, n_layers)
            np.testing.assert_allclose(packing.logits_of_depths(tiny.network, subnetwork, n_layers), expected, **CLOSE)
    assert packing._packs  # it has not given up


@pytest.mark.parametrize("model", ["tiny-bert", "tiny-mpnet"])
@pytest.mark.usefixtures("attention")
def test_packed_logits_of_an_extracted_network_equal_those_of_the_super_network(model):
    tiny = tiny_of(model)
    *_, with_holes = _subnetworks(tiny.network.dims)
    extracted = tiny.network.extract(with_holes)
    packing = _packing(tiny)
    expected = _padding(tiny).logits(tiny.network, with_holes)
    np.testing.assert_allclose(packing.logits(extracted, with_holes), expected, **CLOSE)
    with pytest.raises(ValueError, match="only run the sub-network that was extracted"):
        packing.logits(extracted, SubNetwork.full(tiny.network.dims))
    assert packing._packs


@pytest.mark.usefixtures("attention")
def test_packed_logits_in_bf16_are_as_exact_as_padded_ones():
    exact, rounded = tiny_of(), tiny_of(precision="bf16")
    for subnetwork in _subnetworks(exact.network.dims):
        reference = _padding(exact).logits(exact.network, subnetwork)
        padded = np.abs(_padding(rounded).logits(rounded.network, subnetwork) - reference).mean()
        packing = _packing(rounded)
        packed = np.abs(packing.logits(rounded.network, subnetwork) - reference).mean()
        assert packed <= 1.5 * padded + 1e-6
        assert packing._packs


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.usefixtures("attention")
def test_changed_weights_are_noticed(precision):
    tiny = tiny_of(precision=precision)
    network, packing, padding = tiny.network.copy(), _packing(tiny), _padding(tiny)
    block = network.model.bert.encoder.layer[1].attention.self
    before = packing.logits(network)
    with torch.no_grad():
        block.query.weight += 0.3
    seen = packing.logits(network)
    np.testing.assert_allclose(seen, padding.logits(network), atol=2e-1 if precision == "bf16" else 1e-5)
    assert np.abs(seen - before).max() > 1e-3
    block.value.bias.data += 1.0  # autograd does not see this
    network.refresh()
    changed = packing.logits(network)
    np.testing.assert_allclose(changed, padding.logits(network), atol=2e-1 if precision == "bf16" else 1e-5)
    assert np.abs(changed - seen).max() > 1e-2
    other = network.copy()
    with torch.no_grad():
        other.model.classifier.bias += 1
    np.testing.assert_allclose(packing.logits(other), changed + 1, **CLOSE)
    assert packing._packs


def test_weights_are_laid_out_once_for_all_sub_networks(monkeypatch):
    tiny, made = tiny_of(), []
    init = PackedNetwork.__init__
    monkeypatch.setattr(PackedNetwork, "__init__", lambda self, network: made.append(1) or init(self, network))
    packing = _packing(tiny)
    for subnetwork in _subnetworks(tiny.network.dims):
        packing.logits(tiny.network, subnetwork)
        packing.logits(tiny.network.renamed("other"), subnetwork)
    assert len(made) == 1


def test_layers_of_an_evaluated_network_can_be_freed():
    network = tiny_of().network.copy()
    layer = weakref.ref(network.model.bert.encoder.layer[0].output.dense)
    packed = PackedNetwork(network)
    del network
    gc.collect()
    assert layer() is None
    assert not packed.holds(tiny_of().network)


def test_fused_attention_that_fails_is_not_used_again(monkeypatch):
    tiny, calls = tiny_of(), []

    def fail(*_):
        calls.append(1)
        raise RuntimeError("FlashAttention only supports Ampere GPUs or newer.\nmore of it")

    monkeypatch.setattr(evaluation, "fused_attention", lambda *_: fail)
    packing = _packing(tiny, 400)
    with pytest.warns(UserWarning, match="without fused attention, more slowly: FlashAttention only supports Ampere"):
        found = packing.logits(tiny.network)
    np.testing.assert_allclose(found, _padding(tiny).logits(tiny.network), **CLOSE)
    packing.logits(tiny.network)
    assert len(calls) == 1


def test_packed_batches_are_halved_where_memory_ends(monkeypatch):
    tiny, limit = tiny_of(), 150

    def in_little_memory(query, *rest):
        if len(query) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return plain_attention(query, *rest)

    monkeypatch.setattr(evaluation, "fused_attention", lambda *_: in_little_memory)
    packing = _packing(tiny)
    assert max(batch.input_ids.numel() for batch in packing._batches) > 2 * limit
    np.testing.assert_allclose(packing.logits(tiny.network), _padding(tiny).logits(tiny.network), **CLOSE)
    assert max(batch.input_ids.numel() for batch in packing._batches) <= limit
    limit = 1
    with pytest.raises(torch.OutOfMemoryError):
        packing.logits(tiny.network)


def test_an_architecture_without_packed_passes_is_padded(monkeypatch):
    monkeypatch.setattr(Bert, "can_pack", False)
    tiny = tiny_of()
    packing = _packing(tiny)
    np.testing.assert_array_equal(packing.logits(tiny.network), _padding(tiny).logits(tiny.network))


@pytest.mark.parametrize("task", sorted(TASKS))
@pytest.mark.parametrize("max_tokens", [1, 90, 10**6])
def test_packed_batches_hold_every_token_once(task, max_tokens):
    tiny = tiny_of(task=task)
    split = tiny.data.train
    batches = list(packed_batches(split, max_tokens))
    assert sorted(i for batch in batches for i in batch.index) == list(range(len(split)))
    for batch in batches:
        assert batch.input_ids.numel() <= max_tokens or len(batch.index) == 1
        padded = collate(split, batch.index, tiny.pad_id)
        n_sequences, longest = padded.input_ids.shape
        is_token = torch.ones_like(padded.input_ids, dtype=torch.bool)
        is_token = is_token if padded.attention_mask is None else padded.attention_mask
        assert batch.longest == longest
        torch.testing.assert_close(batch.is_token, is_token)
        torch.testing.assert_close(batch.input_ids, padded.input_ids[is_token])
        torch.testing.assert_close(batch.token_type_ids, padded.token_type_ids[is_token])
        rows, places = is_token.nonzero(as_tuple=True)
        torch.testing.assert_close(batch.places, places)
        torch.testing.assert_close(batch.from_rows, rows * longest + places)
        torch.testing.assert_close(batch.input_ids[batch.to_rows].view(n_sequences, -1)[is_token], batch.input_ids)
        assert batch.starts.dtype == torch.int32
        for i, (start, end) in enumerate(zip(batch.starts.tolist(), batch.starts.tolist()[1:], strict=False)):
            torch.testing.assert_close(batch.input_ids[start:end], padded.input_ids[i][is_token[i]])
            assert batch.ends[:, i].tolist() == [start, end - 1]


def test_an_evaluation_of_twelve_layers_is_at_most_150_launches():
    """Launches are linear in the number of layers, so two depths give those of BERT-base."""
    n_launches = {}
    for n_layers in (1, 3):
        network = tiny_of().network.copy()
        network.model.bert.encoder.layer = network.model.bert.encoder.layer[:n_layers]
        network = SuperNetwork(network.model, "bf16")
        space = make_space("small", network.dims)
        subnetwork = space.to_subnetwork(np.array([*space.midpoint[:2], n_layers]))
        packed, batch = PackedNetwork(network), pack(tiny_of().data.validation, np.arange(12))

        def evaluate(network=network, packed=packed, batch=batch, subnetwork=subnetwork):
            with torch.inference_mode():
                states = packed.select(network, subnetwork).states(batch, lambda query, *_: query + 0)[0]
                return network.classify(states)

        n_launches[n_layers] = launches(evaluate)
    by_layer = (sum(n_launches[3].values()) - sum(n_launches[1].values())) / 2
    assert sum(n_launches[1].values()) + 11 * by_layer <= 150 - 12  # a fused kernel may also fill its random state
    assert by_layer == 10


def test_weights_are_gathered_once_an_evaluation(monkeypatch):
    tiny = tiny_of()
    full = SubNetwork.full(tiny.network.dims)
    subnetwork = SubNetwork(full.heads & (np.arange(4) > 0), full.units & (np.arange(48) > 0))  # no prefixes
    n_selected = {}
    for max_tokens in (60, 4096):
        monkeypatch.setitem(evaluation.MAX_TOKENS, "cpu", max_tokens)
        evaluator = _padding(tiny)
        counts = launches(lambda evaluator=evaluator: evaluator.logits(tiny.network, subnetwork))
        n_selected[len(evaluator._batches)] = counts["aten.index_select"]
    # Weights and biases of query, key and value, the weight of the output, two weights and a bias of feed-forward.
    assert n_selected == dict.fromkeys(n_selected, 10 * tiny.network.dims.n_layers)
    assert len(n_selected) == 2


def _pretend(monkeypatch, capability):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    fused_attention.cache_clear()


GPU = torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("device", "dtype", "capability"),
    [(CPU, torch.bfloat16, (9, 0)), (GPU, torch.float32, (9, 0)), (GPU, torch.bfloat16, (7, 5))],
)
def test_fused_attention_needs_a_recent_gpu_and_16_bits(monkeypatch, device, dtype, capability):
    _pretend(monkeypatch, capability)
    assert fused_attention(device, dtype) is None


def test_fused_attention_is_that_of_torch_if_it_has_one(monkeypatch):
    _pretend(monkeypatch, (9, 0))
    seen = []
    pretended = types.ModuleType("torch.nn.attention.varlen")
    pretended.varlen_attn = lambda *args: seen.append(args) or args[0]
    monkeypatch.setitem(sys.modules, "torch.nn.attention.varlen", pretended)
    fused = fused_attention(GPU, torch.bfloat16)
    query, key, value, starts = (torch.zeros(1) for _ in range(4))
    assert fused(query, key, value, starts, 7) is query
    assert seen == [(query, key, value, starts, starts, 7, 7)]
    monkeypatch.setitem(sys.modules, "torch.nn.attention.varlen", None)  # an older torch
    variable_length.fused_attention.cache_clear()
    assert fused_attention(GPU, torch.bfloat16) is None
    fused_attention.cache_clear()
