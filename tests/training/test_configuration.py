"""A user's changes to the training configuration declared with a model."""

import dataclasses

import pytest

from nasbench.declarations.model import TrainingConfiguration
from nasbench.training.configuration import SuperNetworkOptions, TrainingOptions

DECLARED = TrainingConfiguration(learning_rate=3e-5, batch_size=16, epochs=7, warmup=0.1, weight_decay=0.3)


def test_without_changes_the_declared_configuration_is_kept():
    assert TrainingOptions().of(DECLARED) == DECLARED


@pytest.mark.parametrize(
    ("name", "value"), [("learning_rate", 1e-3), ("batch_size", 2), ("epochs", 1), ("warmup", 0.0)]
)
@pytest.mark.parametrize("options", [TrainingOptions, SuperNetworkOptions])
def test_a_change_replaces_its_field_and_no_other(options, name, value):
    changed = options(**{name: value}).of(DECLARED)
    assert changed == dataclasses.replace(DECLARED, **{name: value})
    assert getattr(changed, name) == value


def test_options_cover_every_field_but_the_weight_decay():
    options = {field.name for field in dataclasses.fields(TrainingOptions)}
    assert options == {field.name for field in dataclasses.fields(TrainingConfiguration)} - {"weight_decay"}


@pytest.mark.parametrize("options", [TrainingOptions, SuperNetworkOptions])
@pytest.mark.parametrize(
    ("name", "value"),
    [("learning_rate", 0.0), ("learning_rate", float("nan")), ("batch_size", -1), ("epochs", -1), ("warmup", 1.0)],
)
def test_values_out_of_range_are_rejected(options, name, value):
    with pytest.raises(ValueError, match=f"{name} .*{value}"):
        options(**{name: value})


@pytest.mark.parametrize(("name", "value"), [("strategy", "sandwhich"), ("n_random", 0), ("temperature", -1.0)])
def test_super_network_options_check_the_strategy_too(name, value):
    with pytest.raises(ValueError, match=f"{name} .*{value}"):
        SuperNetworkOptions(**{name: value})


def test_super_network_options_keep_strategy_and_changes():
    options = SuperNetworkOptions(epochs=2, strategy="kd", n_random=3)
    assert (options.strategy, options.n_random) == ("kd", 3)
    assert options.of(DECLARED) == dataclasses.replace(DECLARED, epochs=2)
