"""What the tests of exported folders share."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file

from nasbench.data.batching import Batch
from nasbench.networks.space import make_space
from nasbench.networks.subnetwork import Dimensions
from nasbench.networks.supernet import SuperNetwork
from nasbench.records.record import RunFolder

ALONE = """
import sys
from importlib.abc import MetaPathFinder

class Blocked(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "nasbench":
            raise ImportError(name + " is blocked")

sys.meta_path.insert(0, Blocked())
import torch
import transformers

inputs, outputs = sys.argv[1:]
found = []
for folder, loader, batch in torch.load(inputs):
    model, report = getattr(transformers, loader).from_pretrained(
        folder, trust_remote_code=True, output_loading_info=True
    )
    assert not any(report.values()), (folder, report)
    with torch.no_grad():
        found.append(model(**batch).logits)
torch.save(found, outputs)
assert "nasbench" not in sys.modules
"""
"""A program that loads folders in a process that cannot import nasbench."""


def logits_alone(cases: Sequence[tuple[Path, str, dict[str, torch.Tensor]]], scratch: Path) -> list[torch.Tensor]:
    """The logits of exported networks in a process that cannot import nasbench.

    Args:
        cases: of each network, its folder, the auto class of transformers, and the inputs. The folders have different
            names: transformers knows the code of a folder by its name.
        scratch: a folder for the inputs and the outputs.
    """
    assert len({folder.name for folder, _, _ in cases}) == len(cases)
    inputs, outputs = scratch / "inputs.pt", scratch / "logits.pt"
    torch.save([(str(folder), loader, batch) for folder, loader, batch in cases], inputs)
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(inputs), str(outputs)],
        capture_output=True,
        text=True,
        cwd=scratch,
        env={"HF_HOME": str(scratch / "hub"), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    found: list[torch.Tensor] = torch.load(outputs)
    return found


def encoded(folder: Path) -> dict[str, torch.Tensor]:
    """Three padded pairs of sentences, from the exported tokenizer."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=True)
    pairs = [("ba be bi", "ba"), ("ko", "ge di do ba"), ("da", "da")]
    return dict(tokenizer(*map(list, zip(*pairs, strict=True)), padding=True, return_tensors="pt"))


def masks(heads: list[int], units: list[int]) -> list[int]:
    """A configuration of LARGE for the tiny networks, from numbers of heads and units; keeps the last ones."""
    bits = [[int(i >= 4 - n) for i in range(4)] for n in heads] + [[int(i >= 48 - n) for i in range(48)] for n in units]
    return [bit for row in bits for bit in row]


def measured(run: Path, batch: dict[str, torch.Tensor], index: int = 0) -> torch.Tensor:
    """The logits of a sub-network, by the pass with which the run measured it.

    Args:
        index: of its evaluation.
    """
    record, evaluation = RunFolder(run).read_run(), RunFolder(run).read_evaluations()[index]
    config = transformers.AutoConfig.from_pretrained(run / "weights" / "model")
    model = getattr(transformers, config.architectures[0])(config).eval()
    model.load_state_dict(load_file(run / "weights" / f"{evaluation.weights}.safetensors"))
    network = SuperNetwork(model)
    network.n_choices = batch["input_ids"].shape[1] if batch["input_ids"].ndim == 3 else 1
    space = make_space(record.identity.space, Dimensions.from_json(record.dimensions))
    flat = {name: value.reshape(-1, value.shape[-1]) for name, value in batch.items()}
    labels = torch.zeros(3, dtype=torch.long)
    positions: Any = labels.numpy()
    types = torch.zeros_like(flat["input_ids"])
    tokens = Batch(flat["input_ids"], types, flat["attention_mask"].bool(), labels, positions)
    with torch.no_grad():
        return network.forward(tokens, space.to_subnetwork(space.from_json(evaluation.config)))
