"""An exported network as an ONNX file, checked by running it."""

from __future__ import annotations

import importlib.util
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nasbench.errors import NasbenchError, UserError
from nasbench.networks.architectures import adapt
from nasbench.objectives.measuring import usual_tokens
from nasbench.records.record import write_atomically

FILE = "model.onnx"
LOGITS = "logits"
_TOLERANCE = 1e-3
"""Largest difference of a logit from the network's, relative to the largest logit."""


def check_installed() -> None:
    """Raise :class:`UserError` unless the libraries of the extra ``onnx`` are installed."""
    missing = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(
            f"--format onnx needs {' and '.join(missing)}; install them with pip install 'nasbench-plm[onnx]'"
        )


class _Logits(nn.Module):
    """A network that takes its inputs by position and returns its logits."""

    def __init__(self, network: Any, names: Sequence[str]) -> None:
        super().__init__()
        self.network, self.names = network, names

    def forward(self, *inputs: Tensor) -> Tensor:
        logits: Tensor = self.network(**dict(zip(self.names, inputs, strict=True))).logits
        return logits


def write_onnx(network: Any, input_names: Sequence[str], folder: Path) -> Path:
    """Write ``model.onnx`` and compare its outputs with the network's.

    Numbers of examples, of choices and of tokens may differ from pass to pass.

    Args:
        network: in fp32, eval mode.
        input_names: inputs in order, as the tokenizer names them. One that the network ignores is none of the file:
            types of tokens in some architectures, and the attention mask in a network without layers.

    Raises:
        UserError: if the libraries are not installed.
        NasbenchError: if the file cannot be written, or its outputs differ.
    """
    check_installed()
    if not adapt(network).has_token_types:
        input_names = [name for name in input_names if name != "token_type_ids"]
    axes = {0: "examples", 1: "choices", 2: "tokens"} if _is_choice(network) else {0: "examples", 1: "tokens"}
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # The tracer warns of branches that depend on the inputs. The comparison below uses inputs of other shapes.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Logits(network, input_names).eval(),
            tuple(_example(network, input_names, n_examples=2, n_tokens=9).values()),
            buffer,  # type: ignore[arg-type]  # a file object is accepted, too
            input_names=list(input_names),
            output_names=[LOGITS],
            dynamic_axes={**dict.fromkeys(input_names, axes), LOGITS: {0: "examples"}},
            dynamo=False,
        )
    path = folder / FILE
    write_atomically(path, buffer.getvalue())
    for n_examples, n_tokens in ((1, 5), (3, 17)):
        inputs = _example(network, input_names, n_examples, n_tokens)
        with torch.no_grad():
            expected = network(**inputs).logits.numpy()
        difference = np.abs(run_onnx(path, inputs) - expected).max()
        if not difference <= _TOLERANCE * max(1.0, np.abs(expected).max()):
            path.unlink()
            raise NasbenchError(f"the outputs of {path} differ from the network's by {difference:.2g}; it was removed")
    return path


def run_onnx(path: Path, inputs: dict[str, Tensor]) -> Any:
    """The logits that onnxruntime computes from a file, whose inputs may be some of these only."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run([LOGITS], {entry.name: inputs[entry.name].numpy() for entry in session.get_inputs()})[0]


def _example(network: Any, names: Sequence[str], n_examples: int, n_tokens: int) -> dict[str, Tensor]:
    """Random tokens; the last example is padded to the length of the others."""
    shape = (n_examples, 2, n_tokens) if _is_choice(network) else (n_examples, n_tokens)
    pad_id = network.config.pad_token_id or 0
    ids = torch.randint(*usual_tokens(network.config), shape, generator=torch.Generator().manual_seed(n_tokens))
    mask = torch.ones_like(ids)
    mask[-1, ..., n_tokens // 2 :] = 0
    values = {"input_ids": ids.masked_fill(mask == 0, pad_id), "attention_mask": mask}
    return {name: values.get(name, torch.zeros_like(ids)) for name in names}


def _is_choice(network: Any) -> bool:
    return type(network).__name__.endswith("MultipleChoice")
