"""A module that is not what it is declared to be is refused; one that is, is rebuilt to the last bit."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from nasbench.networks.factored.rebuilding import rebuilt
from nasbench.networks.space import make_space
from nasbench.networks.subnetwork import SubNetwork
from nasbench.testing.decoders import TINY_GPT2, TINY_LLAMA
from nasbench.testing.models import TINY_BERT, TINY_DISTILBERT, TINY_MPNET, TINY_ROBERTA
from nasbench.testing.networks import tiny_network
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR, TINY_TEXT
from nasbench.training.losses import label_loss


@pytest.fixture(scope="module")
def tiny():
    return tiny_network(TINY_BERT, TINY_PAIR)


def structure_of(network):
    """Ranks from 0 upwards, and the last projections whole."""
    space = make_space("ranks", network.dims)
    return space.to_subnetwork(np.minimum(np.arange(space.n_dims), space.upper))


def filled(network, structure):
    small = network.extract(structure)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    small.refresh()
    return small


@pytest.mark.parametrize(
    ("model", "task"),
    [(TINY_BERT, TINY_PAIR), (TINY_ROBERTA, TINY_CHOICE), (TINY_DISTILBERT, TINY_PAIR), (TINY_MPNET, TINY_PAIR),
     (TINY_LLAMA, TINY_TEXT)],
    ids=lambda part: part.name,
)  # fmt: skip
@pytest.mark.parametrize("is_factored", [True, False])
def test_honest_module_is_rebuilt_to_the_last_bit(model, task, is_factored):
    tiny = tiny_network(model, task)
    full = SubNetwork.full(tiny.network.dims)
    structure = structure_of(tiny.network) if is_factored else SubNetwork(full.heads, full.units & (np.arange(48) < 7))
    small = filled(tiny.network, structure)
    # Used as a method uses it: trained, run in stock code, in train mode.
    batch = tiny.batch()
    label_loss(task.kind, small.forward(batch), batch.labels).backward()
    small.stock_logits(batch)
    small.model.train()
    found = rebuilt(tiny.network, structure, small.model, "rebuilt")
    assert (found.name, found.is_extracted, found.subnetwork) == ("rebuilt", True, structure)
    assert found.fingerprint() == small.fingerprint()
    assert found.count_params() == structure.n_params(tiny.network.dims)
    small.model.eval()
    with torch.inference_mode():
        assert torch.equal(found.forward(batch), small.forward(batch))
    assert not {p.data_ptr() for p in found.parameters() if p.numel()} & {p.data_ptr() for p in small.parameters()}


def test_later_changes_of_the_module_do_not_reach_the_rebuilt_network(tiny):
    structure = structure_of(tiny.network)
    small = filled(tiny.network, structure)
    found = rebuilt(tiny.network, structure, small.model, "rebuilt")
    before = found.fingerprint()
    with torch.no_grad():
        small.model.bert.encoder.layer[2].output.dense.weight.mul_(2)
    assert found.fingerprint() == before


class Bigger(nn.Linear):
    def forward(self, x):
        return super().forward(x) + 1


def query(model):
    return model.bert.encoder.layer[1].attention.self.query


def _larger_rank(model):
    first, second = query(model)
    first.weight = nn.Parameter(torch.zeros(len(first.weight) + 1, 32))
    second.weight = nn.Parameter(torch.zeros(32, len(first.weight)))


def _dense_instead_of_factors(model):
    model.bert.encoder.layer[1].attention.self.query = nn.Linear(32, 32)


def _third_factor(model):
    query(model).append(nn.Linear(32, 32))


def _hidden_parameter(model):
    model.bert.register_parameter("more", nn.Parameter(torch.zeros(1000)))


def _hidden_tensor(model):
    query(model).memory = torch.zeros(1000)


def _hidden_list(model):
    model.notes = [torch.zeros(1000)]


def _hidden_module(model):
    model.bert.encoder.adapter = nn.Linear(32, 32)


def _hidden_buffer(model):
    model.register_buffer("more", torch.zeros(1000))


def _patched_forward(model):
    model.forward = lambda **_: torch.zeros(12, 2)


def _patched_inner_forward(model):
    big = torch.randn(32, 32)
    query(model).forward = lambda x: x @ big


def _another_class(model):
    query(model)[1].__class__ = Bigger


def _subclassed_model(model):
    model.__class__ = type("Mine", (type(model),), {})


def _another_activation(model):
    model.bert.encoder.layer[0].intermediate.intermediate_act_fn = nn.Tanh()


def _closure_as_activation(model):
    model.bert.encoder.layer[0].intermediate.__dict__["intermediate_act_fn"] = torch.tanh


def _forward_hook(model):
    query(model).register_forward_hook(lambda _module, _inputs, output: output + 1)


def _pre_hook(model):
    model.register_forward_pre_hook(lambda _module, inputs: inputs)


def _state_hook(model):
    model._register_state_dict_hook(lambda *_: None)


def _weight_norm(model):
    nn.utils.parametrizations.weight_norm(query(model)[1])


def _double(model):
    query(model)[1].weight = nn.Parameter(query(model)[1].weight.detach().double())


def _half(model):
    model.half()


def _view_of_more(model):
    rank = len(query(model)[0].weight)
    query(model)[0].weight = nn.Parameter(torch.randn(rank + 9, 32)[:rank])


def _expanded(model):
    query(model)[1].bias = nn.Parameter(torch.randn(1).expand(32))


def _shared(model):
    model.bert.encoder.layer[0].attention.self.key[1].bias = query(model)[1].bias


def _overlapping(model):
    both = torch.randn(32)
    query(model)[1].bias, model.bert.encoder.layer[1].attention.self.key[1].bias = (nn.Parameter(both) for _ in "ab")


def _without_bias(model):
    query(model)[1].bias = None


def _removed_block(model):
    del model.bert.encoder.layer[2]


def _fewer_layers_named_the_same(model):
    model.bert.encoder.layer[2] = model.bert.encoder.layer[1]


def _meta(model):
    query(model)[0].weight = nn.Parameter(torch.empty(query(model)[0].weight.shape, device="meta"))


def _sparse(model):
    query(model)[0].weight = nn.Parameter(query(model)[0].weight.detach().to_sparse())


class Lying(torch.Tensor):
    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return super().__torch_function__(func, types, args, kwargs or {})


def _tensor_of_another_class(model):
    query(model)[0]._parameters["weight"] = query(model)[0].weight.detach().as_subclass(Lying)


def _lying_about_its_modules(model):
    model.bert.encoder.adapter = nn.Linear(32, 32)
    model.named_modules = model.named_parameters = lambda *_, **__: iter(())


def _endless(model):
    model.bert.encoder.layer[2].attention.more = model


LIES = [
    (_larger_rank, r"'bert.encoder.layer.1.*query.0.weight' of float32 \(\d+, 32\) where float32 \(\d+, 32\) is due"),
    (_dense_instead_of_factors, "without 'bert.encoder.layer.1.attention.self.query.0'|Linear where"),
    (_third_factor, "with 'bert.encoder.layer.1.attention.self.query.2'"),
    (_hidden_parameter, "with the tensor 'bert.more'"),
    (_hidden_tensor, "'bert.encoder.layer.1.attention.self.query' with an attribute 'memory'"),
    (_hidden_list, "with an attribute 'notes'"),
    (_hidden_module, "with 'bert.encoder.adapter'"),
    (_hidden_buffer, "with the tensor 'more'"),
    (_patched_forward, "with an attribute 'forward'"),
    (_patched_inner_forward, "query' with an attribute 'forward'"),
    (_another_class, r"of class .*Bigger where torch.nn.modules.linear.Linear is due"),
    (_subclassed_model, r"of class .*Mine where transformers.*BertForSequenceClassification is due"),
    (_another_activation, r"intermediate_act_fn' of class torch.*Tanh where transformers.*GELUActivation is due"),
    (_closure_as_activation, "with an attribute 'intermediate_act_fn'"),
    (_forward_hook, "query' with a hook"),
    (_pre_hook, "a module with a hook"),
    (_state_hook, "a module with a hook"),
    (_weight_norm, "parametrizations|of class"),
    (_double, r"of float64 \(32, \d+\) where float32 \(32, \d+\) is due"),
    (_half, "float16"),
    (_view_of_more, r"numbers in memory that holds [\d,]+; give a copy"),
    (_expanded, "of 32 numbers in memory that holds 1; give a copy"),
    (_shared, "shares its memory with"),
    (_overlapping, "shares its memory with"),
    (_without_bias, "without the tensor"),
    (_removed_block, "without 'bert.encoder.layer.2'"),
    (_fewer_layers_named_the_same, "is due"),
    (_meta, "no plain Parameter with values"),
    (_sparse, "no plain Parameter with values"),
    (_tensor_of_another_class, "no plain Parameter with values"),
    (_lying_about_its_modules, "with an attribute 'named_modules'"),
    (_endless, "more than 20,000 modules"),
]


@pytest.mark.parametrize(("lie", "message"), LIES, ids=lambda part: getattr(part, "__name__", "").strip("_"))
def test_module_that_is_not_what_it_is_declared_to_be_is_refused(tiny, lie, message):
    structure = structure_of(tiny.network)
    model = filled(tiny.network, structure).model
    lie(model)
    with pytest.raises(ValueError, match=message) as caught:
        rebuilt(tiny.network, structure, model, "rebuilt")
    assert "\n" not in str(caught.value)


def test_module_of_another_structure_is_refused(tiny):
    space = make_space("ranks", tiny.network.dims)
    model = filled(tiny.network, space.to_subnetwork(space.midpoint)).model
    with pytest.raises(ValueError, match="is due"):
        rebuilt(tiny.network, space.to_subnetwork(space.midpoint - 1), model, "rebuilt")
    with pytest.raises(ValueError, match="query"):
        rebuilt(tiny.network, space.to_subnetwork(space.largest), model, "rebuilt")


def test_untied_head_is_refused():
    tiny = tiny_network(TINY_GPT2, TINY_TEXT)
    structure = SubNetwork.full(tiny.network.dims)
    model = copy.deepcopy(filled(tiny.network, structure).model)
    assert model.lm_head.weight is model.transformer.wte.weight
    model.lm_head.weight = nn.Parameter(model.lm_head.weight.detach().clone())
    with pytest.raises(ValueError, match="is not tied to"):
        rebuilt(tiny.network, structure, model, "rebuilt")


def test_something_else_than_a_module_is_refused(tiny):
    with pytest.raises(ValueError, match="no module"):
        rebuilt(tiny.network, structure_of(tiny.network), {"weight": torch.zeros(3)}, "rebuilt")
