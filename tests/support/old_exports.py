"""Exported folders of format 1, as nasbench wrote them at first: layers keep the numbers of the full network."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoConfig

from nasbench.networks.adapter import shrink
from nasbench.networks.architectures import adapt
from nasbench.networks.space import Large, make_space
from nasbench.networks.subnetwork import Dimensions
from nasbench.records.record import Evaluation, RunFolder


def write_format_1(run: Path, evaluation: Evaluation, out: Path) -> None:
    """Export an evaluation of a run that shares its weights."""
    record = RunFolder(run).read_run()
    dims = Dimensions.from_json(record.dimensions)
    space = make_space(record.identity.space, dims)
    subnetwork = space.to_subnetwork(space.from_json(evaluation.config))
    architecture = run / "weights" / "model"
    config = AutoConfig.from_pretrained(architecture)
    with torch.random.fork_rng(devices=[]):
        model = getattr(transformers, config.architectures[0])(config)
    from safetensors.torch import load_file

    model.load_state_dict(load_file(run / "weights" / f"{evaluation.weights}.safetensors"))
    shrink(adapt(model), subnetwork, dims)
    shutil.copytree(architecture, out)
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, out / "model.safetensors")
    large = Large(dims)
    masks = large.to_json(large.from_subnetwork(subnetwork))
    description = {"format_version": 1, "dimensions": dims.to_json(), "masks": masks}
    (out / "nasbench.json").write_text(json.dumps(description))
