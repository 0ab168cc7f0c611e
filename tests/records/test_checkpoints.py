"""Weights and training checkpoints beside a record: saved, found again, and refused where they do not fit."""

import pytest
import torch
from safetensors.torch import save_file

from nasbench.errors import CannotResume, MethodError, NasbenchError
from nasbench.records.checkpoints import Checkpoints, SharedSuperNetworks
from nasbench.testing.models import TINY_BERT, TINY_ROBERTA
from nasbench.testing.networks import tiny_network
from nasbench.testing.tasks import TINY_PAIR

STATE = {"name": "network", "trainer": {"step": 3, "model": {"a": torch.ones(2)}}, "charged_s": {"training": 1.5}}
KEY = {"seed": [0, "network"], "strategy": {"n_random": 2}}


@pytest.fixture
def network():
    return tiny_network(TINY_BERT, TINY_PAIR).network


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path)


def _change(network):
    with torch.no_grad():
        network.model.classifier.bias.add_(1)


def _values(network):
    return {name: value.clone() for name, value in network.model.state_dict().items()}


def _assert_equal(network, values):
    for name, value in network.model.state_dict().items():
        assert torch.equal(value, values[name]), name


def test_weights_are_loaded_as_saved(checkpoints, network):
    assert not checkpoints.has_weights("network")
    checkpoints.save_weights(network)
    assert checkpoints.has_weights("network")
    before = _values(network)
    _change(network)
    checkpoints.load_weights(network, "network")
    _assert_equal(network, before)
    checkpoints.remove_weights("network")
    checkpoints.remove_weights("network")
    assert not checkpoints.has_weights("network")


def _assert_refuses_changes(checkpoints, network, write):
    """Changed weights are not written under their old name, and its file stays."""
    saved = checkpoints.weights_file("network").read_bytes()
    _change(network)
    with pytest.raises(MethodError, match="the weights of 'network' have changed since they were saved"):
        write(network)
    assert checkpoints.weights_file("network").read_bytes() == saved


def test_keep_weights_rejects_changed_weights_under_one_name(checkpoints, network, tmp_path):
    for _ in range(2):
        checkpoints.keep_weights(network)
    _assert_refuses_changes(checkpoints, network, checkpoints.keep_weights)
    checkpoints.keep_weights(network.renamed("changed"))
    assert checkpoints.has_weights("changed")
    # The file of a killed attempt is taken for the network's present weights: a resumed method repeats its steps.
    Checkpoints(tmp_path).keep_weights(network)


def test_a_training_does_not_replace_the_weights_of_an_evaluation(checkpoints, network):
    checkpoints.save_weights(network)  # by a training, and by its second part
    _change(network)
    checkpoints.save_weights(network)
    checkpoints.keep_weights(network)
    checkpoints.save_weights(network)
    _assert_refuses_changes(checkpoints, network, checkpoints.save_weights)


def test_keep_weights_rejects_changes_after_loading(checkpoints, network, tmp_path):
    checkpoints.save_weights(network)
    resumed = Checkpoints(tmp_path)
    resumed.load_weights(network, "network")
    resumed.keep_weights(network)
    _change(network)
    with pytest.raises(MethodError, match="have changed since they were saved"):
        resumed.keep_weights(network)


@pytest.mark.parametrize("n_bytes", [0, 10, 1000])
def test_load_weights_rejects_damaged_file(checkpoints, network, n_bytes):
    checkpoints.save_weights(network)
    path = checkpoints.weights_file("network")
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(
        CannotResume, match=r"cannot read the weights .*network\.safetensors .*; remove the run's folder"
    ):
        checkpoints.load_weights(network, "network")


def test_load_weights_rejects_missing_file(checkpoints, network):
    with pytest.raises(CannotResume, match=r"cannot read the weights .*none\.safetensors"):
        checkpoints.load_weights(network, "none")


def test_load_weights_rejects_another_model(checkpoints, network):
    checkpoints.save_weights(tiny_network(TINY_ROBERTA, TINY_PAIR).network)
    with pytest.raises(CannotResume, match=r"network\.safetensors holds weights of another model"):
        checkpoints.load_weights(network, "network")


def test_training_checkpoint_is_loaded_as_saved_and_removed(checkpoints, tmp_path):
    assert checkpoints.load_training() is None
    checkpoints.save_training({**STATE, "name": "earlier"})
    checkpoints.save_training(STATE)
    state = checkpoints.load_training()
    assert state["name"] == "network"
    assert state["charged_s"] == STATE["charged_s"]
    assert torch.equal(state["trainer"]["model"]["a"], torch.ones(2))
    checkpoints.finish(())
    checkpoints.finish(())
    assert checkpoints.load_training() is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("n_bytes", [0, 10, 500])
def test_load_training_rejects_damaged_file(checkpoints, tmp_path, n_bytes):
    checkpoints.save_training(STATE)
    path = tmp_path / "checkpoints" / "training.pt"
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(CannotResume, match=r"cannot read the checkpoint .*training\.pt \(\w+\); delete it"):
        checkpoints.load_training()


@pytest.mark.parametrize("contents", [{"trainer": {}}, [1, 2], torch.ones(1)])
def test_load_training_rejects_other_contents(checkpoints, contents):
    checkpoints.save_training(contents)
    with pytest.raises(CannotResume, match=r"training\.pt is not a checkpoint of a training; delete it"):
        checkpoints.load_training()


def test_save_architecture_fails_with_one_line(tmp_path):
    class Unwritable:
        def save_pretrained(self, folder):  # noqa: ARG002
            raise OSError(28, "No space left on device")

    class Model:
        config = Unwritable()

    with pytest.raises(NasbenchError, match=r"cannot write .*weights/model: No space left on device"):
        Checkpoints(tmp_path).save_architecture(Model(), Unwritable())


def test_shared_super_network_is_found_by_key_and_origin(network, tmp_path):
    shared = SharedSuperNetworks(tmp_path, {"data": "d"})
    assert shared.charged_s(KEY) is None
    shared.save(network, KEY, 12.345678901234567)
    before = _values(network)
    again = SharedSuperNetworks(tmp_path, {"data": "d"})
    assert again.charged_s(KEY) == 12.345678901234567
    assert again.charged_s({**KEY, "seed": [1, "network"]}) is None
    assert SharedSuperNetworks(tmp_path, {"data": "e"}).charged_s(KEY) is None
    _change(network)
    again.load_weights(network, dict(reversed(KEY.items())))
    _assert_equal(network, before)


def test_shared_super_network_rejects_a_file_that_names_no_seconds(network, tmp_path):
    shared = SharedSuperNetworks(tmp_path, {})
    shared.save(network, KEY, 1.0)
    (file,) = tmp_path.iterdir()
    save_file({"a": torch.ones(1)}, file)
    with pytest.raises(CannotResume, match=r"cannot read the shared super-network .*; delete it"):
        shared.charged_s(KEY)


def test_shared_super_network_rejects_damaged_file(network, tmp_path):
    shared = SharedSuperNetworks(tmp_path, {})
    shared.save(network, KEY, 1.0)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(CannotResume, match=r"cannot read the shared super-network .*; delete it"):
        shared.charged_s(KEY)
    with pytest.raises(CannotResume, match=r"cannot read the weights .*; delete it"):
        shared.load_weights(network, KEY)
