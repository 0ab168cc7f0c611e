"""The tasks: the paper's eight data sets (section 4.1), the embedded demonstration, and tasks for language models.

Those are running text (WikiText-2, IMDB), choices by likelihood (PIQA to WinoGrande), and the last word of a passage
(LAMBADA).

Budgets are in seconds. The paper's models have the paper's budgets. The compact model has a quarter of them or less on
a CPU, so that all methods can be compared in one night. On two CPU cores, training the super-network of a small task
takes about half of the budget of 20 minutes, and the search has the rest. The larger data sets get an hour. A GPU gets
a quarter of the CPU's budget or less. Networks of BERT-base's size that are not the paper's have its budgets on a GPU,
and so has BERT-large, because a recent GPU needs far less for the paper's networks (``budgets.py``).
On a CPU their budgets are six times those of the compact model: a pass costs eight times as much, and their training
has fewer epochs. Decoders have the budgets of BERT-base's size on these tasks, because a pass costs about as much:
SmolLM2-135M has 106 M parameters in its layers, BERT-base and GPT-2 have 85 M. On text and zero-shot tasks they get an
hour on two CPU cores, which holds some 300 training steps of four passages or 240 evaluations, and a quarter of it on a
GPU.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nasbench.declarations.model import DeviceClass, Track
from nasbench.declarations.task import DataSource, Task

_SMALL: Mapping[tuple[Track, DeviceClass], float] = {
    ("paper", "gpu"): 7_200.0,
    ("base", "gpu"): 7_200.0,
    ("base", "cpu"): 7_200.0,
    ("large", "gpu"): 7_200.0,
    ("decoder", "gpu"): 7_200.0,
    ("decoder", "cpu"): 7_200.0,
    ("compact", "gpu"): 300.0,
    ("compact", "cpu"): 1_200.0,
}
_LARGE: Mapping[tuple[Track, DeviceClass], float] = {
    ("paper", "gpu"): 14_400.0,
    ("base", "gpu"): 14_400.0,
    ("base", "cpu"): 21_600.0,
    ("large", "gpu"): 14_400.0,
    ("decoder", "gpu"): 14_400.0,
    ("decoder", "cpu"): 21_600.0,
    ("compact", "gpu"): 600.0,
    ("compact", "cpu"): 3_600.0,
}
_DEMO: Mapping[tuple[Track, DeviceClass], float] = {
    ("demo", "gpu"): 60.0,
    ("demo", "cpu"): 360.0,
}
_DEFAULT_MODELS: Mapping[DeviceClass, str] = {"gpu": "bert-base-cased", "cpu": "minilm-l6"}
_VALIDATION_LIMIT = 2_048
"""``validation_limit`` of the larger data sets."""


def _glue(name: str, text_columns: tuple[str, ...], n_rows: tuple[int, int], **options: object) -> DataSource:
    return DataSource(
        text_columns=text_columns,
        repository="nyu-mll/glue",
        configuration=name,
        revision="bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c",
        folder=name,
        n_rows=n_rows,
        **options,  # type: ignore[arg-type]
    )


RTE = Task(
    name="rte",
    title="RTE",
    summary="Recognising textual entailment: does the first sentence imply the second",
    kind="classification",
    n_labels=2,
    class_names=("entailment", "not_entailment"),
    metric="accuracy",
    data=_glue("rte", ("sentence1", "sentence2"), (2_490, 277)),
    budgets=_SMALL,
    default_models=_DEFAULT_MODELS,
)

MRPC = Task(
    name="mrpc",
    title="MRPC",
    summary="Microsoft paraphrases: do two sentences from the news mean the same",
    kind="classification",
    n_labels=2,
    class_names=("not_equivalent", "equivalent"),
    metric="f1",
    other_metrics=("accuracy",),
    data=_glue("mrpc", ("sentence1", "sentence2"), (3_668, 408)),
    budgets=_SMALL,
    default_models=_DEFAULT_MODELS,
)

STSB = Task(
    name="stsb",
    title="STS-B",
    summary="Semantic textual similarity of two sentences, 0 to 5",
    kind="regression",
    n_labels=1,
    metric="spearman",
    other_metrics=("pearson",),
    data=_glue("stsb", ("sentence1", "sentence2"), (5_749, 1_500), label_range=(0.0, 5.0)),
    budgets=_SMALL,
    default_models=_DEFAULT_MODELS,
)

COLA = Task(
    name="cola",
    title="CoLA",
    summary="Linguistic acceptability: is a sentence grammatical",
    kind="classification",
    n_labels=2,
    class_names=("unacceptable", "acceptable"),
    metric="matthews",
    other_metrics=("accuracy",),
    data=_glue("cola", ("sentence",), (8_551, 1_043)),
    budgets=_SMALL,
    default_models=_DEFAULT_MODELS,
)

IMDB = Task(
    name="imdb",
    title="IMDB",
    summary="Sentiment of film reviews, cut to 128 tokens",
    kind="classification",
    n_labels=2,
    class_names=("negative", "positive"),
    metric="accuracy",
    data=DataSource(
        text_columns=("text",),
        repository="stanfordnlp/imdb",
        configuration="plain_text",
        revision="e6281661ce1c48d982bc483cf8a173c1bbeb5d31",
        folder="imdb",
        test_split="test",
        n_rows=(25_000, 25_000),
    ),
    budgets=_LARGE,
    default_models=_DEFAULT_MODELS,
    validation_limit=_VALIDATION_LIMIT,
)

SST2 = Task(
    name="sst2",
    title="SST-2",
    summary="Sentiment of phrases from film reviews",
    kind="classification",
    n_labels=2,
    class_names=("negative", "positive"),
    metric="accuracy",
    data=_glue("sst2", ("sentence",), (67_349, 872)),
    budgets=_LARGE,
    default_models=_DEFAULT_MODELS,
    validation_limit=_VALIDATION_LIMIT,
)

SWAG = Task(
    name="swag",
    title="SWAG",
    summary="Which of four endings continues a scene",
    kind="multiple_choice",
    n_labels=4,
    metric="accuracy",
    data=DataSource(
        text_columns=("startphrase", "ending0", "ending1", "ending2", "ending3"),
        repository="allenai/swag",
        configuration="regular",
        revision="dc48148372b3853a9c7bae7bb06c161b46d8364a",
        folder="swag",
        n_rows=(73_546, 20_006),
    ),
    budgets=_LARGE,
    default_models=_DEFAULT_MODELS,
    validation_limit=_VALIDATION_LIMIT,
)

QNLI = Task(
    name="qnli",
    title="QNLI",
    summary="Does a sentence from an encyclopedia answer a question",
    kind="classification",
    n_labels=2,
    class_names=("entailment", "not_entailment"),
    metric="accuracy",
    data=_glue("qnli", ("question", "sentence"), (104_743, 5_463)),
    budgets=_LARGE,
    default_models=_DEFAULT_MODELS,
    validation_limit=_VALIDATION_LIMIT,
)

_DECODER_BUDGETS: Mapping[tuple[Track, DeviceClass], float] = {
    ("decoder", "gpu"): 900.0,
    ("decoder", "cpu"): 3_600.0,
}
_DECODERS: Mapping[DeviceClass, str] = {"gpu": "smollm2-135m-q4_1", "cpu": "smollm2-135m-q4_1"}


def _text(name: str, title: str, summary: str, data: DataSource) -> Task:
    """Bits per byte of running text.

    Passages have less than 1,000 bytes, about 230 tokens. A pass over 32 of them takes about 15 s on two CPU cores.
    """
    return Task(
        name=name,
        title=title,
        summary=summary,
        kind="language_modelling",
        n_labels=1,
        metric="compression",
        other_metrics=("bits_per_byte",),
        data=data,
        budgets=_DECODER_BUDGETS,
        default_models=_DECODERS,
        max_length=1_000,
        train_limit=2_048,
        validation_limit=32,
        test_limit=64,
        default_space="medium",
    )


WIKITEXT2 = _text(
    "wikitext2",
    "WikiText-2",
    "Articles of Wikipedia: bits per byte of a language model; reviews of IMDB are the text to train on",
    DataSource(
        text_columns=("text",),
        folder="wikitext2",
        train_folder="imdb",
        validation_split="validation",
        test_split="test",
        n_rows=(41_502, 1_678),  # passages
    ),
)

IMDB_LM = _text(
    "imdb-lm",
    "IMDB-LM",
    "Film reviews: bits per byte of a language model",
    DataSource(
        text_columns=("text",),
        repository="stanfordnlp/imdb",
        configuration="plain_text",
        revision="e6281661ce1c48d982bc483cf8a173c1bbeb5d31",
        folder="imdb",
        test_split="test",
        n_rows=(41_502, 40_595),  # passages; those of a review may be in train and validation, never in the test
    ),
)


def _halves(*text_columns: str, folder: str, n_rows: int) -> DataSource:
    """A data set with a single split: one half for the search, the other for the test."""
    n_search = round(n_rows / 2)
    return DataSource(
        text_columns=text_columns,
        folder=folder,
        train_split="validation",
        test_split=None,
        n_rows=(n_search, n_rows - n_search),
    )


_BY_LIKELIHOOD: Mapping[str, Any] = {
    "budgets": _DECODER_BUDGETS,
    "default_models": _DECODERS,
    # Nothing has to be trained: most rows of the search half are for validation, the others for calibration.
    "validation_fraction": 0.8,
    "validation_limit": 150,
    "test_limit": 300,
    "max_length": 512,
    "default_space": "medium",
}
"""What all tasks of :func:`_halves` declare. A pass over 150 texts of 100 tokens takes about 20 s on two CPU cores."""


def _zero_shot(
    name: str, title: str, summary: str, n_choices: int, data: DataSource, choices_first: bool = False
) -> Task:
    """A choice by likelihood."""
    return Task(
        name=name,
        title=title,
        summary=summary,
        kind="zero_shot_choice",
        n_labels=n_choices,
        metric="accuracy",
        data=data,
        choices_first=choices_first,
        **_BY_LIKELIHOOD,
    )


def _question(name: str, title: str, summary: str, n_choices: int, n_rows: int) -> Task:
    """A choice of one of several endings."""
    columns = "query", *(f"choices.{i}" for i in range(n_choices))
    return _zero_shot(name, title, summary, n_choices, _halves(*columns, folder=name, n_rows=n_rows))


PIQA = _question("piqa", "PIQA", "Which of two ways reaches a physical goal, by likelihood", 2, 1_838)
ARC_EASY = _question("arc_easy", "ARC-easy", "Questions of science with four answers, by likelihood", 4, 2_376)
BOOLQ = _question("boolq", "BoolQ", "Yes or no to a question on a passage, by likelihood", 2, 3_270)
OPENBOOKQA = _question("openbookqa", "OpenBookQA", "Which of four endings fits a fact, by likelihood", 4, 500)
WINOGRANDE = _zero_shot(
    "winogrande",
    "WinoGrande",
    "Which of two names fits a sentence, by the likelihood of what follows it",
    2,
    _halves("continuation", "context_options.0", "context_options.1", folder="winogrande", n_rows=1_267),
    choices_first=True,
)
ZERO_SHOT_TASKS = (PIQA, ARC_EASY, BOOLQ, OPENBOOKQA, WINOGRANDE)

LAMBADA = Task(
    name="lambada",
    title="LAMBADA",
    summary="The last word of a passage: bits per byte of a language model that has read the rest",
    kind="language_modelling",
    n_labels=1,
    metric="compression",
    other_metrics=("bits_per_byte",),
    data=_halves("context", "continuation", folder="lambada", n_rows=5_153),
    **_BY_LIKELIHOOD,
)

DEMO = Task(
    name="demo",
    summary="Entailment between sentences of a small grammar; embedded, needs neither a network nor files",
    kind="classification",
    n_labels=2,
    class_names=("entailment", "not_entailment"),
    metric="accuracy",
    data=DataSource(
        text_columns=("premise", "hypothesis"),
        generator="nasbench.benchmark.entailment:generate",
        n_rows=(3_000, 600),
    ),
    budgets=_DEMO,
    default_models={"gpu": "minilm-l6", "cpu": "minilm-l6"},
    track="demo",  # a toy task: rankings of real tasks must not depend on it
)

PAPER_TASKS = (RTE, MRPC, STSB, COLA, IMDB, SST2, SWAG, QNLI)
"""The paper's tasks by size of the training set. Experiments and figures use this order."""

TASKS = (DEMO, *PAPER_TASKS, WIKITEXT2, IMDB_LM, *ZERO_SHOT_TASKS, LAMBADA)
"""All tasks of the suite, in the order of the figures."""
