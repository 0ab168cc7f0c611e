"""Pre-trained networks with the head that a task needs.

Weights come from an installed package, the hub at a pinned revision, a user's own folder, or a generator. The result is
a stock model of transformers. A language model keeps its head; so does a trained classifier that fits the task.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nasbench.data.endings import end_texts, set_padding
from nasbench.data.hub import quiet
from nasbench.declarations.model import ARCHITECTURES, DECODERS, POSITIONS_AFTER_PADDING, Architecture, Model
from nasbench.declarations.task import Task
from nasbench.errors import UserError, first_line, listed
from nasbench.networks.architectures import adapt
from nasbench.networks.output_labels import match_outputs
from nasbench.networks.weights import check_tokenizer_files, file_sha256, made_folder, weights_folder

if TYPE_CHECKING:
    import torch

    from nasbench.data.splits import TaskData

_GENERATED_WEIGHTS_SEED = 0
_NEW_MODULES = ("classifier.", "pooler.", "sequence_summary.", "score.", "head.dense.", "head.norm.")
"""Only parameters with these in their names may be missing from a checkpoint."""
_UNUSUAL = ("add_cross_attention", "scale_attn_by_inverse_layer_idx")
"""Options of GPT-2 that make a layer depend on its number or on other inputs."""
REGRESSION_OUTPUT = "score"
"""Name of the only output of a regression in ``id2label``."""
_OUTPUTS = {"classifier.bias", "classifier.out_proj.bias", "score.weight"}
"""The parameter of the output layer that shows whether it is new: its bias, or for decoders its weight."""


_CROSS_ATTENTION = "a {} has an encoder and a decoder with cross-attention, and only one stack of layers can be pruned"
_PRUNED_AND_FUSED = "was pruned before, and its layers hold the heads that each has left in one matrix"
_REASONS = {
    "albert": "the layers of an ALBERT share one set of weights, so heads and units could be pruned from all of them "
    "alike only, and blocks could be dropped, which the suite does not do",
    "t5": _CROSS_ATTENTION.format("T5"),
    "mt5": _CROSS_ATTENTION.format("mT5"),
    "bart": _CROSS_ATTENTION.format("BART"),
    "pruned-mpnet": "this MPNet was pruned before, and its layers share a bias for the heads that each has left",
    "pruned-modernbert": f"this ModernBERT {_PRUNED_AND_FUSED}",
    "pruned-gpt2": f"this GPT-2 {_PRUNED_AND_FUSED}",
    "pruned-gpt_neox": f"this GPT-NeoX {_PRUNED_AND_FUSED}",
}
"""Why networks of known families cannot be pruned."""
_PRUNED_FOR_GOOD = ("pruned-mpnet", "pruned-modernbert", "pruned-gpt2", "pruned-gpt_neox")
"""Networks that cannot be pruned again: their heads may not be the first ones of their layers."""


class Pretrained(NamedTuple):
    """A network with the head that a task needs, and its tokenizer.

    Attributes:
        network: ``AutoModelForSequenceClassification`` with ``task.n_logits`` outputs, ``AutoModelForMultipleChoice``
            or ``AutoModelForCausalLM``, in fp32 and eval mode.
        tokenizer: a fast tokenizer.
        weights_sha256: hash of the weights files, of the GGUF file, or of the tensors of a generated network.
        output_is_new: whether the output layer has random weights, because the loaded weights have none that fits.
        notes: remarks for the record: how a trained output layer is used, or why it is not.
    """

    network: Any
    tokenizer: Any
    weights_sha256: str
    output_is_new: bool
    notes: tuple[str, ...] = ()

    def check_fits(self, data: TaskData) -> None:
        """Check that the network has an embedding for every token and position of the data, and for the padding.

        Raises:
            UserError: one line, if a text is too long for the network or the tokenizer belongs to another network.
        """
        config, splits = self.network.config, (data.train, data.validation, data.test)
        longest = max(int(split.lengths.max()) for split in splits)
        room = n_positions(config.to_dict())
        if longest > room:
            raise UserError(
                f"the longest text has {longest} tokens, and the network takes {room}; choose another model, or set "
                f"max_length = {room} in a task of your own"
            )
        # A network without embeddings of segments ignores them.
        for what, found, n_known in (
            ("token", [self.tokenizer.pad_token_id, *(split.tokens.max() for split in splits)], config.vocab_size),
            ("segment", [split.segments.max() for split in splits], getattr(config, "type_vocab_size", 0) or 2),
        ):
            highest = max(map(int, found))
            if highest >= n_known:
                raise UserError(
                    f"the tokenizer belongs to another network: it makes {what} {highest}, and the network knows 0 to "
                    f"{n_known - 1}; save both together"
                )


def load_pretrained(model: Model, task: Task, seed: int) -> Pretrained:
    """A pre-trained network with the head that a task needs.

    Args:
        seed: seed of a new head's weights, which are normal with the network's ``initializer_range``; biases are 0.
            The same seed gives the same weights. Global random state does not change.

    Raises:
        UserError: one line, for weights that are not available, are damaged, or differ from the declaration; for a
            network that cannot be pruned; for an encoder where the task measures a language model.
        NasbenchError: if the cache of weights cannot be written.
    """
    if task.needs_language_model and model.architecture not in DECODERS:
        raise UserError(
            f"task {task.name!r} measures a language model, and {model.name!r} is an encoder; choose a decoder"
        )
    if model.generator is not None:
        return _generate(model, task, seed)
    folder = weights_folder(model)
    # That of a GGUF file or of joined parts. weights_folder has checked what was made of them.
    weights_sha256 = str(model.weights_sha256) if folder == made_folder(model) else _weights_sha256(folder)
    if model.weights_sha256 not in (None, weights_sha256):
        raise UserError(
            f"{folder}: the weights of {model.name!r} have sha256 {weights_sha256[:12]}... instead of the declared "
            f"{str(model.weights_sha256)[:12]}...; install or download them again"
        )
    network, tokenizer, is_new, notes = _load_folder(folder, model, task, seed)
    return Pretrained(network, tokenizer, weights_sha256, is_new, notes)


def n_positions(config: Mapping[str, Any]) -> int:
    """The longest sequence that a network takes, in tokens, from its ``config.json``.

    RoBERTa and MPNet count positions from the padding index + 1, so they have fewer than ``max_position_embeddings``.
    """
    is_after = config["model_type"].removeprefix("pruned-") in POSITIONS_AFTER_PADDING
    before = int(config.get("pad_token_id", 1)) + 1 if is_after else 0
    return int(config.get("max_position_embeddings", config.get("n_positions", 512))) - before


def cannot_prune(folder: Path, model_type: object) -> UserError:
    """The error for a network of another family."""
    if model_type in _REASONS:
        remedy = "the network that it was made from" if model_type in _PRUNED_FOR_GOOD else "another network"
        return UserError(f"{folder}: {_REASONS[str(model_type)]}; start from {remedy}")
    *others, last = ARCHITECTURES.values()
    return UserError(
        f"{folder}: the network is a {model_type}, only {', '.join(others)} and {last} can be pruned; ask for another "
        "family in an issue"
    )


def _weights_sha256(folder: Path) -> str:
    """Hash of the weights file; if the weights are sharded, of all files in order."""
    files = sorted(folder.glob("model*.safetensors")) or sorted(folder.glob("pytorch_model.bin"))
    if not files:
        raise UserError(f"no weights in {folder}: it has neither model.safetensors nor pytorch_model.bin")
    return file_sha256(files)


def _load_folder(folder: Path, model: Model, task: Task, seed: int) -> tuple[Any, Any, bool, tuple[str, ...]]:
    """Network, tokenizer, whether the output layer is new, and notes on a trained output layer."""
    import torch
    import transformers

    check_tokenizer_files(folder)
    try:
        # Loading draws random weights for the head, which are replaced below. It must not change global random state.
        with quiet(), torch.random.fork_rng(devices=[]):
            model_type = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
            if architecture_of(model_type) != model.architecture:
                raise cannot_prune(folder, model_type)
            loader = pruned_configurations().get(model_type, transformers.AutoConfig)
            config = loader.from_pretrained(folder, local_files_only=True)
            is_unusual = getattr(config, "position_embedding_type", "absolute") != "absolute"
            if is_unusual or (getattr(config, "is_decoder", False) and model.architecture not in DECODERS):
                raise UserError(f"{folder}: only encoders with absolute positions can be pruned")
            unusual = [name for name in _UNUSUAL if getattr(config, name, False)]
            if unusual:
                raise UserError(f"{folder}: a network with {unusual[0]} cannot be pruned; start from another network")
            if getattr(config, "ranks", None):
                raise UserError(
                    f"{folder}: the projections of this network are products of two matrices, so it cannot be pruned; "
                    "start from another network"
                )
            outputs = tuple(str(config.id2label[i]) for i in sorted(config.id2label or {}))
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, config=config, local_files_only=True)
            network, report = _loader(task, config).from_pretrained(
                folder,
                config=_with_head(config, task),
                dtype=torch.float32,
                local_files_only=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except UserError:
        raise
    except Exception as error:  # for a damaged file, the libraries raise errors of many types
        raise UserError(f"{folder}: cannot be loaded as a saved model ({first_line(error)})") from error
    if model_type != model.architecture:
        network = _filled_up(network, task)
    if model.architecture in DECODERS:
        prepare_decoder(network, tokenizer, task)
    else:
        _check_tokenizer(tokenizer, folder)
    new = {*report["missing_keys"], *(key[0] for key in report["mismatched_keys"])}
    lost = sorted(name for name in new if not any(module in name for module in _NEW_MODULES))
    if lost:
        raise UserError(
            f"{folder}: the weights belong to another network, {len(lost)} parameters do not fit (first: {lost[0]}); "
            f"save the weights with their config.json"
        )
    mismatched = {key[0] for key in report["mismatched_keys"]}
    is_new = bool(new & _OUTPUTS)
    notes: tuple[str, ...] = ()
    if task.kind == "classification" and new & _OUTPUTS <= mismatched:
        is_new, notes = _place_outputs(network, outputs, task, is_new)
    if (reason := adapt(network).prepare(is_new)) is not None:
        raise UserError(f"{folder}: {reason}; start from another network")
    _initialise(network, new | (_output_names(network) if is_new else set()), seed)
    return network.eval(), tokenizer, is_new, notes


def _place_outputs(network: Any, outputs: tuple[str, ...], task: Task, is_new: bool) -> tuple[bool, tuple[str, ...]]:
    """Give each class the trained output of its name.

    Args:
        outputs: names of the trained outputs, in order.
        is_new: whether the trained output layer has another size than the task needs.

    Returns:
        Whether the output layer must be new, and a note that says what was done.
    """
    import torch

    classes = task.classes
    places = None if is_new else match_outputs(classes, outputs, task.data.names_in_output_order)
    if places is None:
        remedy = "" if is_new else "; to use it, list the classes in the order of its outputs: labels in [data]"
        own, wanted = (listed([*map(repr, names)]) for names in (outputs, classes))
        return True, (
            f"the trained output layer is not used and a new one is trained, because its outputs ({own}) are not the "
            f"classes of the data ({wanted}){remedy}",
        )
    layer = adapt(network).output_layer
    with torch.no_grad():
        for values in layer.parameters():
            values.copy_(values[list(places)].clone())
    pairs = [f"{name!r} is output {place} ({outputs[place]!r})" for name, place in zip(classes, places, strict=True)]
    return False, (f"the trained output layer is used: {listed(pairs)}",)


def _output_names(network: Any) -> set[str]:
    """Names of the parameters of the output layer."""
    parameters = list(adapt(network).output_layer.parameters())
    return {name for name, value in network.named_parameters() if any(value is one for one in parameters)}


def _check_tokenizer(tokenizer: Any, folder: Path) -> None:
    if tokenizer.pad_token_id is None:
        raise UserError(f"{folder}: the tokenizer has no padding token; save it with its tokenizer_config.json")
    nothing, word = (tokenizer(text)["input_ids"] for text in ("", "a"))
    if nothing[:1] != word[:1]:
        raise UserError(
            f"{folder}: the tokenizer puts no marker such as [CLS] or <s> before a text, and the classifier reads the "
            "first token only; save the tokenizer that the network was trained with"
        )


def prepare_decoder(network: Any, tokenizer: Any, task: Task) -> None:
    """Give a decoder's tokenizer what the task needs, and the network its padding token."""
    if task.needs_language_model:
        set_padding(tokenizer)
    else:
        end_texts(tokenizer)
    network.config.pad_token_id = tokenizer.pad_token_id


def architecture_of(model_type: object) -> Architecture | None:
    """The architecture of a network, also of one that was pruned before to layers of different widths; None for others.

    Args:
        model_type: from ``config.json``.
    """
    if model_type in _PRUNED_FOR_GOOD:
        return None
    return next((name for name in ARCHITECTURES if model_type in (name, f"pruned-{name}")), None)


def pruned_configurations() -> dict[str, Any]:
    """The configuration class of pruned networks for each ``model_type``."""
    from nasbench.networks.architectures.modeling import modeling_decoders, modeling_pruned

    classes = [*vars(modeling_pruned).items(), *vars(modeling_decoders).items()]
    return {
        value.model_type: value for name, value in classes if name.startswith("Pruned") and hasattr(value, "model_type")
    }


def _filled_up(pruned: Any, task: Task) -> Any:
    """A stock network in which zeros stand for the heads and units that a pruned network has lost.

    Its configuration has the heads and units of each layer under ``WIDTHS``, so that the engine leaves out the rest.
    """
    import torch

    from nasbench.networks.adapter import WIDTHS, restore_output_biases

    config = pruned.config
    stock: Any = next(cls for cls in type(config).__mro__ if not cls.__name__.startswith("Pruned"))
    values = stock.to_dict(config)
    widths = {"heads_by_layer": list(config.layer_heads), "units_by_layer": list(config.layer_units)}
    for name in ("layer_heads", "layer_units", "head_size", "model_type", "architectures", "auto_map"):
        values.pop(name, None)
    stock_config = stock(**values, **{WIDTHS: widths})
    with torch.random.fork_rng(devices=[]):
        network = _loader(task, stock_config).from_config(stock_config)
    restore_output_biases(adapt(network))
    kept = pruned.state_dict()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            value.zero_()
            if name in kept:
                value[tuple(slice(n) for n in kept[name].shape)] = kept[name]
    return network


def _loader(task: Task, config: Any) -> Any:
    """The class with the task's head: an automatic one, or that of a network with layers of different widths."""
    import transformers

    model_type = str(config.model_type)
    is_decoder = model_type.removeprefix("pruned-") in DECODERS  # it scores each ending by itself
    head = "MultipleChoice" if task.kind == "multiple_choice" and not is_decoder else "SequenceClassification"
    head = "CausalLM" if task.needs_language_model else head
    if model_type.startswith("pruned-"):
        classes = sys.modules[type(config).__module__]
        return getattr(classes, f"{type(config).__name__.removesuffix('Config')}For{head}")
    return getattr(transformers, f"AutoModelFor{head}")


def _generate(model: Model, task: Task, seed: int) -> Pretrained:
    import torch

    module, function = str(model.generator).split(":")
    config, tokenizer = getattr(importlib.import_module(module), function)()
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(_GENERATED_WEIGHTS_SEED)
        network = _loader(task, config).from_config(_with_head(config, task))
    if config.model_type in DECODERS:
        prepare_decoder(network, tokenizer, task)
    head = {name for name, _ in network.named_parameters() if "classifier." in name or "score." in name}
    _initialise(network, head, seed)
    digest = hashlib.sha256()
    for name, value in network.state_dict().items():
        if name not in head:
            digest.update(name.encode() + value.numpy().tobytes())
    return Pretrained(network.eval(), tokenizer, digest.hexdigest(), output_is_new=not task.needs_language_model)


def _with_head(config: Any, task: Task) -> Any:
    if task.needs_language_model:
        return config
    if task.kind == "multiple_choice" and config.model_type in DECODERS:
        config.num_labels = 1  # the likelihood of one ending
    elif task.kind != "multiple_choice":
        names = task.classes or (REGRESSION_OUTPUT,)
        config.num_labels = task.n_labels
        config.id2label, config.label2id = dict(enumerate(names)), {name: i for i, name in enumerate(names)}
        config.problem_type = "regression" if task.kind == "regression" else "single_label_classification"
    return config


def _initialise(network: Any, names: set[str], seed: int) -> None:
    import torch

    generator = torch.Generator().manual_seed(seed)
    parameters: dict[str, torch.Tensor] = dict(network.named_parameters())
    with torch.no_grad():
        for name in sorted(names):
            if name.endswith(".bias"):
                parameters[name].zero_()
            elif name.endswith("norm.weight"):
                parameters[name].fill_(1.0)
            else:
                parameters[name].normal_(0.0, network.config.initializer_range, generator=generator)
