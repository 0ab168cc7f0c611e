"""Declarations of pre-trained networks: where their weights come from and how they are fine-tuned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DeviceClass = Literal["gpu", "cpu"]
Track = Literal["paper", "compact", "demo", "user"]


@dataclass(frozen=True)
class TrainingConfiguration:
    """How a network is fine-tuned unless told otherwise; declared with the model.

    The paper's (section 4.1.3): AdamW with torch's defaults, learning rate 2e-5 with linear decay to 0, no warm-up, no
    clipping, batches of 4, 5 epochs.

    Attributes:
        warmup: fraction of all steps over which the learning rate rises linearly from 0.

    Raises:
        ValueError: for a value that makes no sense.
    """

    learning_rate: float = 2e-5
    batch_size: int = 4
    epochs: int = 5
    warmup: float = 0.0
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        for name in ("learning_rate", "batch_size", "epochs"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise ValueError(f"{name} must be positive, not {value}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup is a fraction in [0, 1), not {self.warmup}")
        if not 0 <= self.weight_decay < float("inf"):
            raise ValueError(f"weight_decay must be 0 or more, not {self.weight_decay}")


@dataclass(frozen=True)
class Model:
    """A pre-trained network and where its weights come from.

    Attributes:
        track: results are compared within a track only; that of the task, if it has one, goes before.
        hub_id, revision: repository and pinned commit on the hub.
        weights_sha256: of ``model.safetensors``, None where it is not known.
        package: a Python package that ships the weights (in its folder ``package_folder``), used when installed.
        generator: an embedded constructor as ``module:function``, for models made on the spot. The function answers
            with a configuration and a tokenizer; weights are drawn with a fixed seed.
        local_folder: a user's own saved model.
        fine_tuning: of one network alone.
        super_network: of shared weights, which need longer: each sub-network gets part of the steps.
    """

    name: str
    summary: str
    architecture: Literal["bert", "roberta"]
    track: Track
    hub_id: str | None = None
    revision: str | None = None
    weights_sha256: str | None = None
    package: str | None = None
    package_folder: str | None = None
    generator: str | None = None
    local_folder: str | None = None
    fine_tuning: TrainingConfiguration = TrainingConfiguration()
    super_network: TrainingConfiguration = TrainingConfiguration()
