"""Load the networks that :mod:`nasbench.export.folder` saves, and the networks that a run has saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from nasbench.data.hub import quiet
from nasbench.errors import UserError, first_line
from nasbench.networks.adapter import shrink
from nasbench.networks.architectures import adapt
from nasbench.networks.architectures.compact import FORMAT_VERSION, MARK, empty
from nasbench.networks.pretrained import pruned_configurations
from nasbench.networks.space import Large
from nasbench.networks.subnetwork import Dimensions, SubNetwork
from nasbench.records import checkpoints

DESCRIPTION = "nasbench.json"
WEIGHTS = "model.safetensors"
_OTHER_NAMES = {"embed_out.weight": "lm_head.weight", "lm_head.weight": "embed_out.weight"}
"""Names of the head of a GPT-NeoX: files and versions of transformers differ."""


def load(folder: Path | str) -> nn.Module:
    """Load an exported network. Runs no code from the folder.

    Returns:
        A module of transformers with pruned parameters, in fp32 and eval mode.

    Raises:
        UserError: if the folder has no exported network, or if the network is damaged.
    """
    folder = Path(folder)
    description = read_description(folder)
    version = description.get("format_version")
    if version != 1:
        model = empty_network(folder)
    else:  # the layers of version 1 have the numbers of the full network, and its configuration is the full network's
        try:
            dims = Dimensions.from_json(description["dimensions"])
            subnetwork = Large(dims).to_subnetwork(Large(dims).from_json(description["masks"]))
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged(folder, error) from error
        model = empty_network(folder)
        shrink_checked(model, subnetwork, dims, folder)
    fill(model, read_tensors(folder / WEIGHTS, "export the network again"), folder / WEIGHTS)
    return model


def load_tokenizer(folder: Path, network: Any) -> Any:
    """The tokenizer of an exported network. It pads on the right, and makes no types of tokens for a network without.

    GPT-2 has no types and takes them all the same: it adds word vectors for them. Stock networks count positions from
    the first token, be it padding or not, and were measured with padding on the right.

    Raises:
        UserError: if the folder has none or a damaged one.
    """
    import transformers

    try:
        # With the configuration at hand, transformers does not need the folder's code.
        with quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(
                folder, config=network.config, local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # for a damaged file, transformers raises errors of many types
        raise UserError(f"no tokenizer in {folder} ({first_line(error)}); save it there") from error
    tokenizer.padding_side = "right"
    if not adapt(network).has_token_types:
        tokenizer.model_input_names = [name for name in tokenizer.model_input_names if name != "token_type_ids"]
    return tokenizer


def read_description(folder: Path) -> dict[str, Any]:
    """The contents of ``nasbench.json``.

    A folder that ``save_pretrained`` of a loaded network wrote has none. What loading needs is in ``config.json``.

    Raises:
        UserError: if the folder has no exported network, a newer one or a damaged one.
    """
    try:
        description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
        version = description["format_version"]
        if type(version) is not int or version < 1:
            raise ValueError(f"format_version is {version!r}")
    except FileNotFoundError as error:
        try:
            description = json.loads((folder / "config.json").read_text(encoding="utf-8"))[MARK]
            version = description["format_version"]
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(f"no exported network in {folder}: it has no {DESCRIPTION}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, error) from error
    if version > FORMAT_VERSION:
        raise UserError(f"{folder} was exported by a newer nasbench (format {version}); upgrade nasbench")
    return dict(description)


def _damaged(folder: Path, error: Exception) -> UserError:
    return UserError(f"{folder / DESCRIPTION} is damaged ({first_line(error)}); export the network again")


def empty_network(folder: Path) -> nn.Module:
    """The network of a saved configuration, in eval mode, with parameters that take no memory.

    Raises:
        UserError: if the configuration is missing or damaged.
    """
    import transformers

    path = folder / "config.json"
    try:
        with quiet():
            values = json.loads(path.read_text(encoding="utf-8"))
            loader = pruned_configurations().get(values.get("model_type"), transformers.AutoConfig)
            config = loader.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            names = config.architectures or [""]
            return empty(config, names[0])
    except UserError:
        raise
    except Exception as error:  # transformers checks a configuration with errors of many types
        raise UserError(f"{path} is missing or damaged ({first_line(error)})") from error


def shrink_checked(model: nn.Module, subnetwork: SubNetwork, dims: Dimensions, folder: Path) -> None:
    """Reduce a stock model to a sub-network, in place.

    Raises:
        UserError: if the model has other dimensions.
    """
    adapter = adapt(model)
    if adapter.dimensions() != dims:
        raise UserError(f"{folder}: configuration and masks are of different networks; export it again")
    shrink(adapter, subnetwork, dims)


def read_tensors(path: Path, remedy: str) -> dict[str, Tensor]:
    """The tensors of a file.

    Raises:
        UserError: if the file is missing or damaged.
    """
    try:
        tensors, is_sound = checkpoints.read_tensors(path)
    except FileNotFoundError as error:
        raise UserError(f"no weights {path}; {remedy}") from error
    except (OSError, SafetensorError) as error:
        raise UserError(f"{path} is damaged ({first_line(error)}); {remedy}") from error
    if not is_sound:
        raise UserError(f"{path} has changed since it was written (its checksum differs); {remedy}")
    return tensors


def fill(model: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Set all parameters of a model.

    Raises:
        UserError: if names or shapes differ.
    """
    stock = cast(Any, model)
    tied = stock._tied_weights_keys or {} if getattr(stock.config, "tie_word_embeddings", False) else {}
    tensors = {name: tensors[source] for name, source in tied.items() if source in tensors} | tensors
    for name in set(tensors) & set(_OTHER_NAMES) - set(model.state_dict()):
        tensors[_OTHER_NAMES[name]] = tensors.pop(name)
    try:
        model.load_state_dict({name: value.to(torch.float32) for name, value in tensors.items()}, assign=True)
        stock.tie_weights()
    except RuntimeError as error:
        raise UserError(f"{path} holds weights of another network") from error
