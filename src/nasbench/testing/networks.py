"""Tiny super-networks with their data. Every head, unit, bias and LayerNorm changes their logits clearly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from nasbench.data.batching import Batch, collate
from nasbench.data.splits import Split, TaskData, load_task_data
from nasbench.declarations.model import Model
from nasbench.declarations.task import Task
from nasbench.networks.pretrained import load_pretrained
from nasbench.networks.supernet import Precision, SuperNetwork

NOISE = 0.2
"""Standard deviation of the noise on every parameter. Stock initialisation has zero biases and equal LayerNorms."""


_DROPOUT = (
    "hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "attention_dropout",
    "embd_pdrop", "resid_pdrop", "attn_pdrop",
)  # fmt: skip
"""Names of dropout rates in configurations."""


@dataclass(frozen=True)
class TinyNetwork:
    """A super-network with a task and its data."""

    network: SuperNetwork
    task: Task
    data: TaskData
    pad_id: int

    def batch(self, n: int = 12, split: Split | None = None, length: int | None = None) -> Batch:
        """The first ``n`` examples of a split.

        Args:
            split: None for the validation split.
            length: the padded length, None for the length of the longest example.
        """
        return collate(split or self.data.validation, np.arange(n), self.pad_id, length)


def tiny_network(model: Model, task: Task, precision: Precision = "fp32", dropout: float = 0.0) -> TinyNetwork:
    """A tiny network in eval mode. All calls give equal networks.

    Args:
        dropout: rate of every dropout layer. With 0, training is deterministic and can be compared with autograd.
    """
    stock, tokenizer, *_ = load_pretrained(model, task, seed=0)
    for name in _DROPOUT:
        if hasattr(stock.config, name):
            setattr(stock.config, name, dropout)
    for module in stock.modules():
        if isinstance(module, nn.Dropout):
            module.p = dropout
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in stock.parameters():
            parameter += NOISE * torch.randn(parameter.shape, generator=generator)
    data = load_task_data(task, tokenizer, seed=0)
    network = SuperNetwork(stock, precision)
    network.n_choices = data.train.n_choices
    return TinyNetwork(network, task, data, int(tokenizer.pad_token_id))
