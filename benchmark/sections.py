"""The sections of the leaderboard: the scenarios and seeds that an entry has to run.

The sections of the paper's models and of other models of their size have the paper's eight data sets and ten seeds on a
GPU. A CPU takes 20 minutes for each run of a compact model and two hours for one of BERT-base's size, so those sections
have the data sets that fit on a CPU, and three seeds. Decoders are ranked on language modelling; the zero-shot tasks
measure what comes out of it.
"""

from __future__ import annotations

from itertools import product

from nasbench.declarations.section import Section

from .models import MODELS
from .tasks import PAPER_TASKS

_PAPER_TASKS = tuple(task.name for task in PAPER_TASKS)
_PAPER_MODELS = tuple(model.name for model in MODELS if model.track == "paper")
_TEN_SEEDS = tuple(range(10))

SECTIONS = (
    Section("paper-gpu", "paper", "gpu", tuple(product(_PAPER_TASKS, _PAPER_MODELS)), _TEN_SEEDS),
    Section("compact-gpu", "compact", "gpu", tuple((task, "minilm-l6") for task in _PAPER_TASKS), _TEN_SEEDS),
    Section(
        "compact-cpu",
        "compact",
        "cpu",
        tuple((task, "minilm-l6") for task in ("rte", "mrpc", "stsb", "cola")),
        (0, 1, 2),
    ),
    Section("base-gpu", "base", "gpu", tuple((task, "mpnet-base") for task in _PAPER_TASKS), _TEN_SEEDS),
    Section("base-cpu", "base", "cpu", (("mrpc", "mpnet-base"), ("stsb", "mpnet-base")), (0, 1, 2)),
    Section("large-gpu", "large", "gpu", tuple((task, "bert-large-uncased") for task in _PAPER_TASKS), _TEN_SEEDS),
    Section("decoder-gpu", "decoder", "gpu", (("wikitext2", "smollm2-135m-q4_1"),), _TEN_SEEDS),
    Section("decoder-cpu", "decoder", "cpu", (("wikitext2", "smollm2-135m-q4_1"),), (0, 1, 2)),
    Section("demo-gpu", "demo", "gpu", (("demo", "minilm-l6"),), _TEN_SEEDS),
    Section("demo-cpu", "demo", "cpu", (("demo", "minilm-l6"),), _TEN_SEEDS),
)
