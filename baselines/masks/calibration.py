"""Activations of a network on calibration examples, for methods that prune without training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from nasbench.data.batching import Batch
from nasbench.errors import UserError
from nasbench.masks.importance import batches
from nasbench.networks.supernet import SuperNetwork
from nasbench.runs.problem import Problem
from nasbench.training.configuration import TrainingOptions

Note = Callable[[int, Tensor], None]
"""Receives a layer and the activations of all tokens, fp32 ``(n_tokens, width)``, without padding."""


@dataclass(frozen=True)
class CalibrationOptions(TrainingOptions):
    """Options of fine-tuning, and the size of the calibration sample.

    A language model is pruned as it is, unless ``epochs`` is set: it needs no new output layer.

    Attributes:
        n_calibration: number of train examples on which activations are measured, drawn without replacement.
    """

    n_calibration: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        check_calibration(self.n_calibration)


def check_calibration(n: int) -> None:
    """Raise ValueError if a calibration sample has no examples."""
    if n < 1:
        raise ValueError(f"n_calibration must be 1 or more, not {n}")


def pruned_as_it_is(problem: Problem, options: TrainingOptions) -> bool:
    """Whether the network to prune is not trained: a language model, unless ``epochs`` is set, and with no epochs."""
    return options.epochs == 0 or (problem.task.needs_language_model and options.epochs is None)


def ready_network(problem: Problem, options: TrainingOptions, trains_later: bool = False) -> SuperNetwork:
    """The network to prune: fine-tuned, or as it is.

    Args:
        trains_later: whether pruned networks are trained with the options.

    Raises:
        UserError: for options of a training that does not take place.
    """
    if pruned_as_it_is(problem, options):
        fields = dataclasses.fields(TrainingOptions)
        unused = [field.name for field in fields if getattr(options, field.name) is not None and field.name != "epochs"]
        if unused and not trains_later:
            raise UserError(f"nothing is trained, so {unused[0]} would do nothing; leave it out, or set epochs above 0")
        return problem.pretrained()
    network = problem.pretrained("fine-tuned")
    problem.training(network, fine_tuning=options.of(problem.fine_tuning)).run()
    return network


def calibration_batches(problem: Problem, network: SuperNetwork, n: int) -> Iterator[Batch]:
    """``n`` examples of the train split, or all if it has fewer, in batches. Checks the budget before each."""
    drawn = np.sort(problem.rng.permutation(len(problem.train))[:n])
    for batch in batches(problem.train.take(drawn), network, problem.pad_id):
        problem.check_budget()
        yield batch


def walk(network: SuperNetwork, batch: Batch, on_heads: Note | None, on_units: Note | None, on_layer: Note) -> None:
    """Run the full network on all tokens and show what passes through it.

    Args:
        on_heads: gets the outputs of the heads of each layer, before the output projection.
        on_units: gets the activations of the units of each layer.
        on_layer: gets the hidden states before each layer, and those after the last one under its number + 1.
    """
    tokens = slice(None) if batch.attention_mask is None else batch.attention_mask.flatten()

    def show(note: Note | None, layer: int, values: Tensor) -> None:
        if note is not None:
            note(layer, values.flatten(0, 1)[tokens].float())

    with torch.inference_mode():
        hidden = network.embed(batch)
        for i, layer_slice in enumerate(network.slices()):
            show(on_layer, i, hidden)
            entering = hidden
            if layer_slice.head_rows is not None:
                context = network.context(i, layer_slice, hidden, batch.attention_mask)
                show(on_heads, i, context)
                hidden = network.attention_output(i, layer_slice, context, hidden)
            if layer_slice.units is not None:
                inner = network.inner(i, layer_slice, network.feed_forward_input(entering, hidden))
                show(on_units, i, inner)
                hidden = network.feed_forward_output(i, layer_slice, inner, hidden)
        show(on_layer, network.dims.n_layers, hidden)
