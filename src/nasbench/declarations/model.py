"""Declarations of pre-trained networks: the source of their weights and the defaults of fine-tuning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

DeviceClass = Literal["gpu", "cpu"]
Track = Literal["paper", "base", "large", "compact", "decoder", "demo", "user"]
Architecture = Literal[
    "bert",
    "roberta",
    "xlm-roberta",
    "camembert",
    "electra",
    "distilbert",
    "mpnet",
    "modernbert",
    "deberta-v2",
    "llama",
    "mistral",
    "qwen2",
    "gpt2",
    "gpt_neox",
]
"""``model_type`` of the networks that can be pruned."""
ARCHITECTURES: Mapping[Architecture, str] = {
    "bert": "BERT",
    "roberta": "RoBERTa",
    "xlm-roberta": "XLM-RoBERTa",
    "camembert": "CamemBERT",
    "electra": "ELECTRA",
    "distilbert": "DistilBERT",
    "mpnet": "MPNet",
    "modernbert": "ModernBERT",
    "deberta-v2": "DeBERTa-v2",
    "llama": "Llama",
    "mistral": "Mistral",
    "qwen2": "Qwen2",
    "gpt2": "GPT-2",
    "gpt_neox": "GPT-NeoX",
}
"""Name of each architecture for readers."""
DECODERS = ("llama", "mistral", "qwen2", "gpt2", "gpt_neox")
"""Architectures whose tokens attend to earlier tokens only. A classifier reads the last token."""
POSITIONS_AFTER_PADDING = ("roberta", "xlm-roberta", "camembert", "mpnet")
"""Architectures that count positions from the padding index + 1."""


@dataclass(frozen=True)
class TrainingConfiguration:
    """How a network is fine-tuned by default. Declared with the model.

    The defaults are the paper's (section 4.1.3): AdamW with torch's defaults, learning rate 2e-5 with linear decay to
    0, no warm-up, no clipping, batches of 4, 5 epochs.

    Attributes:
        epochs: passes over the train split; 0 keeps the weights as they are.
        warmup: fraction of all steps during which the learning rate rises linearly from 0.

    Raises:
        ValueError: for a value out of range.
    """

    learning_rate: float = 2e-5
    batch_size: int = 4
    epochs: int = 5
    warmup: float = 0.0
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        for name in ("learning_rate", "batch_size"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                raise ValueError(f"{name} must be positive, not {value}")
        if self.epochs < 0:
            raise ValueError(f"epochs must be 0 or more, not {self.epochs}")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup is a fraction in [0, 1), not {self.warmup}")
        if not 0 <= self.weight_decay < float("inf"):
            raise ValueError(f"weight_decay must be 0 or more, not {self.weight_decay}")


@dataclass(frozen=True)
class Model:
    """A pre-trained network and the source of its weights.

    Attributes:
        track: results are compared within one track only. A track of the task takes precedence over this one.
        hub_id: repository on the Hugging Face hub.
        revision: pinned commit on the hub.
        weights_sha256: SHA-256 of ``model.safetensors``, or of the ``gguf_file``; None if unknown.
        package: a Python package that ships the weights in its folder ``package_folder``; used if it is installed.
        package_parts: packages that each ship a part of a zip archive with the weights, in order; used if all are
            installed. Each entry is the package's name and the path of its part, ``package:path``.
        gguf_file: name of a GGUF file in the package's folder. Its quantised weights are restored to fp32 once.
        generator: for models without weight files, a function as ``module:function``. The function returns a
            configuration and a tokenizer; the weights are drawn with a fixed seed.
        local_folder: folder of a model that a user has saved.
        fine_tuning: how to fine-tune a single network.
        super_network: how to fine-tune a super-network. It takes longer, because each sub-network gets only some of the
            steps.
    """

    name: str
    summary: str
    architecture: Architecture
    track: Track
    hub_id: str | None = None
    revision: str | None = None
    weights_sha256: str | None = None
    package: str | None = None
    package_folder: str | None = None
    package_parts: tuple[str, ...] = ()
    gguf_file: str | None = None
    generator: str | None = None
    local_folder: str | None = None
    fine_tuning: TrainingConfiguration = TrainingConfiguration()
    super_network: TrainingConfiguration = TrainingConfiguration()
