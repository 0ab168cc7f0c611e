"""Activations of stock modules, by hooks."""

from __future__ import annotations

from typing import Any

import torch

from nasbench.testing.networks import TinyNetwork


def seen(tiny: TinyNetwork, modules: list[Any], is_input: bool) -> list[torch.Tensor]:
    """What goes into (or comes out of) modules of the stock model, for all tokens without padding."""
    found: dict[int, torch.Tensor] = {}
    hooks = [
        module.register_forward_hook(
            lambda _module, inputs, output, i=i: found.update(
                {i: inputs[0] if is_input else output[0] if isinstance(output, tuple) else output}
            )
        )
        for i, module in enumerate(modules)
    ]
    batch = tiny.batch()
    with torch.no_grad():
        tiny.network.stock_logits(batch)
    for hook in hooks:
        hook.remove()
    mask = torch.ones_like(batch.input_ids).bool() if batch.attention_mask is None else batch.attention_mask
    return [found[i][mask].double() for i in range(len(modules))]
