"""Files beside a run's record: weights of the networks on the front, and a checkpoint of the current training.

Neither is part of the record. Resuming and ``nasbench export`` need the weights. A training replaces its checkpoint as
it proceeds. A complete run removes it, and the weights that only resuming needs. The runs of an experiment share
super-networks in a folder beside their own.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from nasbench.errors import CannotResume, MethodError, NasbenchError
from nasbench.networks.supernet import SuperNetwork
from nasbench.records.record import write_atomically


class Checkpoints:
    """The files ``weights/<name>.safetensors`` and ``checkpoints/training.pt`` of a run's folder.

    Attributes:
        architecture: the folder ``weights/model``, which holds the full network's configuration and its tokenizer.
    """

    def __init__(self, folder: Path) -> None:
        self._weights = folder / "weights"
        self.architecture = self._weights / "model"
        self._training = folder / "checkpoints" / "training.pt"
        self._fingerprints: dict[str, int] = {}
        self._kept: set[str] = set()

    def has_weights(self, name: str) -> bool:
        """Whether weights are saved under this name."""
        return self.weights_file(name).exists()

    def save_weights(self, network: SuperNetwork) -> None:
        """Save a network's parameters under its name. The write is atomic and replaces an earlier file.

        Raises:
            MethodError: if this run has kept other parameters of an evaluation under the same name.
        """
        fingerprint = network.fingerprint()
        if network.name in self._kept and self._fingerprints[network.name] != fingerprint:
            raise _changed(network.name)
        _save_weights(network, self.weights_file(network.name), {})
        self._fingerprints[network.name] = fingerprint

    def keep_weights(self, network: SuperNetwork) -> None:
        """Save a network's parameters for an evaluation, unless they are saved already.

        Raises:
            MethodError: if this run has saved other parameters under the same name.
        """
        if not self.has_weights(network.name):
            self.save_weights(network)
        # A file from an earlier attempt has no fingerprint yet. Its weights are taken to equal the network's, because a
        # resumed method repeats its steps.
        elif self._fingerprints.setdefault(network.name, now := network.fingerprint()) != now:
            raise _changed(network.name)
        self._kept.add(network.name)

    def check_weights(self, names: Iterable[str]) -> None:
        """Check the saved weights of these names, as far as their files exist.

        Raises:
            CannotResume: if a file is damaged.
        """
        for name in sorted(names):
            if self.has_weights(name):
                _read_weights(self.weights_file(name), "remove the run's folder to start again")

    def load_weights(self, network: SuperNetwork, name: str) -> None:
        """Overwrite a network's parameters with saved ones.

        Raises:
            CannotResume: if the file is missing or damaged, or its tensors have other shapes.
        """
        _load_weights(network, self.weights_file(name), "remove the run's folder to start again")
        self._fingerprints[name] = network.fingerprint()

    def save_architecture(self, model: Any, tokenizer: Any) -> None:
        """Save the configuration and the tokenizer, so that export needs neither the hub nor a package.

        Raises:
            NasbenchError: if the files cannot be written.
        """
        config = copy.deepcopy(model.config)
        config.architectures = [type(model).__name__]
        try:
            config.save_pretrained(self.architecture)
            tokenizer.save_pretrained(self.architecture)
        except OSError as error:
            raise NasbenchError(f"cannot write {self.architecture}: {error.strerror}") from error

    def remove_weights(self, name: str) -> None:
        """Delete the weights of this name, if there are any."""
        self.weights_file(name).unlink(missing_ok=True)

    def save_training(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint of the current training.

        Args:
            state: holds at least ``name`` (of the network), ``trainer`` and ``charged_s``.
        """
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomically(self._training, buffer.getbuffer())

    def load_training(self) -> dict[str, Any] | None:
        """The checkpoint of the current training, or None if there is none.

        Raises:
            CannotResume: if the file is damaged or is not such a checkpoint.
        """
        if not self._training.exists():
            return None
        try:
            with zipfile.ZipFile(self._training) as file:  # torch writes checksums and does not check them
                if (bad := file.testzip()) is not None:
                    raise zipfile.BadZipFile(f"wrong checksum of {bad}")
            state: dict[str, Any] = torch.load(self._training, map_location="cpu", weights_only=True)
        except Exception as error:  # unpickling and unzipping can raise anything
            raise CannotResume(
                f"cannot read the checkpoint {self._training} ({type(error).__name__}); delete it"
            ) from error
        if not isinstance(state, dict) or not {"name", "trainer", "charged_s"} <= state.keys():
            raise CannotResume(f"{self._training} is not a checkpoint of a training; delete it")
        return state

    def finish(self, names: Collection[str]) -> None:
        """Delete what only resuming needs: the checkpoint of the current training, and weights of other names."""
        shutil.rmtree(self._training.parent, ignore_errors=True)
        for path in self._weights.glob("*.safetensors"):
            if path.stem not in names:
                path.unlink()

    def weights_file(self, name: str) -> Path:
        """The path for weights of this name, whether the file exists or not."""
        return self._weights / f"{name}.safetensors"


class SharedSuperNetworks:
    """Trained super-networks, one file each, shared by runs that differ only in searcher or space.

    A file's name is a digest of everything that its training depends on. So a run finds exactly the network that it
    would have trained itself. The file also holds the seconds of its training, and every run that loads it is charged
    for them.

    Args:
        origin: JSON values that all trainings of a run depend on: data, weights, precision, code, hardware.
    """

    def __init__(self, folder: Path, origin: Mapping[str, Any]) -> None:
        self._folder, self._origin = folder, dict(origin)

    def charged_s(self, key: Mapping[str, Any]) -> float | None:
        """The seconds that the training took, or None if no network is saved under this key.

        Args:
            key: JSON values that tell this training from others with the same origin.

        Raises:
            CannotResume: if the file is damaged.
        """
        path = self._file(key)
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                return float((file.metadata() or {})["charged_s"])
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise CannotResume(f"cannot read the shared super-network {path} ({error}); delete it") from error

    def load_weights(self, network: SuperNetwork, key: Mapping[str, Any]) -> None:
        """Overwrite a network's parameters with the saved ones.

        Raises:
            CannotResume: if the file is damaged or its tensors have other shapes.
        """
        _load_weights(network, self._file(key), "delete it")

    def save(self, network: SuperNetwork, key: Mapping[str, Any], charged_s: float) -> None:
        """Save a trained super-network for other runs, with the seconds of its training."""
        _save_weights(network, self._file(key), {"charged_s": repr(charged_s)})

    def _file(self, key: Mapping[str, Any]) -> Path:
        text = json.dumps([self._origin, dict(key)], sort_keys=True)
        return self._folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.safetensors"


def _changed(name: str) -> MethodError:
    return MethodError(
        f"the weights of {name!r} have changed since they were saved under that name; evaluate "
        "network.renamed('another-name')"
    )


def _save_weights(network: SuperNetwork, path: Path, metadata: dict[str, str]) -> None:
    tensors = {name: value.cpu().contiguous() for name, value in network.model.state_dict().items()}
    seen: set[int] = set()
    for name, value in tensors.items():  # the format holds no tensor twice, as a head tied to the embeddings is
        tensors[name] = value.clone() if value.data_ptr() in seen else value
        seen.add(value.data_ptr())
    metadata = {"sha256": _digest(tensors, metadata), **metadata}
    write_atomically(path, save(tensors, metadata=metadata))


def _load_weights(network: SuperNetwork, path: Path, remedy: str) -> None:
    tensors = _read_weights(path, remedy)
    try:
        network.model.load_state_dict(tensors)
    except RuntimeError as error:
        raise CannotResume(f"{path} holds weights of another model; {remedy}") from error
    network.refresh()


def _read_weights(path: Path, remedy: str) -> dict[str, Tensor]:
    try:
        tensors, is_sound = read_tensors(path)
    except (OSError, SafetensorError) as error:
        raise CannotResume(f"cannot read the weights {path} ({error}); {remedy}") from error
    if not is_sound:
        raise CannotResume(f"{path} has changed since it was written (its checksum differs); {remedy}")
    return tensors


def read_tensors(path: Path) -> tuple[dict[str, Tensor], bool]:
    """The tensors of a file, and whether they have the checksum that it names. Older files name none.

    Raises:
        OSError: if the file cannot be read.
        SafetensorError: if it is damaged.
    """
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        metadata = dict(file.metadata() or {})
    expected = metadata.pop("sha256", None)
    metadata.pop("format", None)
    return tensors, expected is None or expected == _digest(tensors, metadata)


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Checksum of names, shapes, values and metadata."""
    digest = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
