"""Predefined experiments: the runs that the paper's figures need.

Experiments are data. Each run has an equivalent ``nasbench run`` command. Runs that compare searchers, spaces or
strategies also name the super-network that they share: it is trained once, and each run is charged the recorded
training time.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product

from nasbench.errors import UnknownName, UserError
from nasbench.networks.space import PAPER_SPACES
from nasbench.networks.subnetwork import Dimensions
from nasbench.plugins import registry
from nasbench.training.strategies import STRATEGIES

BERT_BASE = Dimensions(n_layers=12, n_heads=12, n_units=3072, hidden_size=768, head_size=64, n_fixed_params=23_257_346)
"""BERT-base-cased with two labels, for which figures 2 and 3 are drawn."""
TASKS = tuple(task.name for task in registry.paper_tasks())
"""Names of the paper's tasks, by size of the training set."""
ROBERTA = "roberta-base"
MODELS = ("bert-base-cased", ROBERTA)
"""The paper's models. Users select other models, such as ``minilm-l6``, by name."""
SEEDS = tuple(range(10))
STANDARD_SEARCHERS = ("random", "local", "morea", "ehvi", "moasha")
WEIGHT_SHARING_SEARCHERS = ("random", "local", "morea", "ehvi")
BEST_STRATEGY = "full"
TRAININGS: Mapping[str, Mapping[str, str]] = {
    **{strategy: {"strategy": strategy} for strategy in STRATEGIES},
    "full, T=1": {"strategy": "full", "temperature": "1"},
    "full, T^2": {"strategy": "full", "t_squared": "true"},
}
"""Trainings of super-networks compared in figure 7: the paper's six strategies, and two variants of ``full``.

At T = 10 without the factor T^2, as in equation (2), the distillation term has 1 to 3 % of the gradient of the label
loss. The variants have T = 1, and the factor. Options by name, as for ``--set``; other options have their defaults.
"""
FIVE_METHODS = (
    ("head-pruning", None, "large"),
    ("layer-dropping", None, "layer"),
    ("rfp", None, "large"),
    ("s-nas", "random", "small"),
    ("ws-nas", "ehvi", "small"),
)
"""Method, searcher and space of the five-method comparison (section 4.2)."""
DECODER_ENTRIES = (
    "shortgpt@layer",
    "wanda-sp@large",
    "flap@large",
    "magnitude@large",
    "rfp@large",
    "ws-nas/random@medium",
    "ws-nas-ordered/ehvi-exact@large [method.strategy=random]",
)
"""Entries that are compared on language modelling, each with another algorithm; no experiment makes their runs.

``ws-nas`` searches the default space of these tasks. ``ws-nas-ordered`` trains one random sub-network in a step: the
budget of a decoder leaves few steps to its default strategy, which trains four networks in each.
"""
N_RANDOM = 100
N_LAYER = 64
"""Networks of LAYER in the study of weight sharing: all of a model of six layers, a random sample of a larger model."""
N_INITIAL = 3
"""Every searcher first evaluates the full network, the smallest network and the middle network."""


class MissingRuns(UserError):
    """No run for a figure.

    Attributes:
        has: what there is not, in words.
        experiment: name of the experiment that makes such runs; None if only ``command`` does.
    """

    def __init__(self, what: str, experiment: str | None, command: str | None = None) -> None:
        self.has, self.experiment = f"no run to show in {what}", experiment
        self.command = command or f"nasbench experiment {experiment} --dry-run"
        super().__init__(f"{self.has}; see: {self.command}")


@dataclass(frozen=True)
class SuperNetworkKey:
    """Everything that a trained super-network depends on. Runs with equal keys share a super-network.

    Attributes:
        training: a name of :data:`TRAININGS`.
        trained_in: the space of the random and smallest sub-networks of the training.
    """

    task: str
    model: str
    seed: int
    training: str
    trained_in: str


@dataclass(frozen=True)
class RunSpecification:
    """One run of an experiment.

    Attributes:
        options: text values by option name, as for ``--set``; other options have their defaults.
        max_evaluations: limit on the evaluations; None for a run that ends with its budget.
        super_network: the super-network shared with other runs; None if the run trains none.
    """

    task: str
    model: str
    space: str
    method: str
    searcher: str | None
    seed: int
    options: Mapping[str, str] = field(default_factory=dict)
    max_evaluations: int | None = None
    super_network: SuperNetworkKey | None = None

    def arguments(self) -> list[str]:
        """The arguments of ``nasbench run`` that make this run alone."""
        words = ["--task", self.task, "--model", self.model, "--method", self.method, "--space", self.space]
        if self.searcher is not None:
            words += ["--searcher", self.searcher]
        for name, value in sorted(self.options.items()):
            words += ["--set", f"{name}={value}"]
        words += ["--seed", str(self.seed)]
        if self.max_evaluations is not None:
            words += ["--max-evaluations", str(self.max_evaluations)]
        return words

    def command(self, *options: str) -> str:
        """The command to type into a shell, with further words at the end."""
        return shlex.join(["nasbench", "run", *self.arguments(), *options])


Maker = Callable[[str, str, int], Iterator[RunSpecification]]
"""All runs of an experiment for one task, model and seed."""


@dataclass(frozen=True)
class Experiment:
    """A named list of runs.

    Attributes:
        name: name on the command line.
        summary: one line for lists.
        figures: names of the figures made of its runs.
        make: gives its runs for one task, model and seed.
    """

    name: str
    summary: str
    figures: tuple[str, ...]
    make: Maker

    def runs(
        self,
        tasks: tuple[str, ...] = TASKS,
        models: tuple[str, ...] = MODELS,
        seeds: tuple[int, ...] = SEEDS,
    ) -> list[RunSpecification]:
        """All runs on these tasks, models and seeds. Seeds vary slowest: the first seed alone fills every panel."""
        return [run for seed, model, task in product(seeds, models, tasks) for run in self.make(task, model, seed)]


def weight_sharing(
    task: str,
    model: str,
    seed: int,
    *,
    searcher: str,
    space: str = "small",
    training: str = BEST_STRATEGY,
    trained_in: str | None = None,
    max_evaluations: int | None = None,
) -> RunSpecification:
    """A run of ws-nas. Runs with the same task, model, seed, training and training space share a super-network.

    Args:
        space: the space that is searched.
        training: a name of :data:`TRAININGS`.
        trained_in: the space of the training; None for the space that is searched, as in the paper.
    """
    options = dict(TRAININGS[training])
    if options["strategy"] == BEST_STRATEGY:
        del options["strategy"]  # the default
    if trained_in not in (None, space):
        options["training_space"] = str(trained_in)
    shared = SuperNetworkKey(task, model, seed, training, trained_in or space)
    return RunSpecification(task, model, space, "ws-nas", searcher, seed, options, max_evaluations, shared)


def _spaces(task: str, model: str, seed: int) -> Iterator[RunSpecification]:
    for space in PAPER_SPACES:
        yield weight_sharing(task, model, seed, searcher="random", space=space, max_evaluations=N_INITIAL + N_RANDOM)


def _spaces_of_one_network(task: str, model: str, seed: int) -> Iterator[RunSpecification]:
    for space in PAPER_SPACES:
        yield weight_sharing(
            task, model, seed, searcher="random", space=space, trained_in="small", max_evaluations=N_INITIAL + N_RANDOM
        )


def _trainings(task: str, model: str, seed: int) -> Iterator[RunSpecification]:
    for training in TRAININGS:
        yield weight_sharing(
            task, model, seed, searcher="random", training=training, max_evaluations=N_INITIAL + N_RANDOM
        )


def _standard(task: str, model: str, seed: int) -> Iterator[RunSpecification]:
    for searcher in STANDARD_SEARCHERS:
        yield RunSpecification(task, model, "small", "s-nas", searcher, seed)


def _weight_sharing(task: str, model: str, seed: int) -> Iterator[RunSpecification]:
    for searcher in WEIGHT_SHARING_SEARCHERS:
        yield weight_sharing(task, model, seed, searcher=searcher)


def _search(task: str, model: str, seed: int) -> Iterator[RunSpecification]:
    yield from _standard(task, model, seed)
    yield from _weight_sharing(task, model, seed)


def _every_layer_network(task: str, model: str, seed: int) -> Iterator[RunSpecification]:
    yield RunSpecification(task, model, "layer", "s-nas", "exhaustive", seed, {}, N_LAYER)
    yield weight_sharing(task, model, seed, searcher="exhaustive", space="layer", max_evaluations=N_LAYER)


def _five_methods(task: str, model: str, seed: int) -> Iterator[RunSpecification]:
    for method, searcher, space in FIVE_METHODS:
        if method == "ws-nas":
            yield weight_sharing(task, model, seed, searcher=str(searcher), space=space)
        else:
            yield RunSpecification(task, model, space, method, searcher, seed)


EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        Experiment(
            "fig5", f"four search spaces, {N_RANDOM} random sub-networks of a super-network each", ("5",), _spaces
        ),
        Experiment(
            "fig5-shared",
            "like fig5, on one super-network trained in SMALL (not in the paper)",
            ("5-shared",),
            _spaces_of_one_network,
        ),
        Experiment("fig6", "searchers in standard and in weight-sharing NAS", ("6", "11", "12", "6-window"), _search),
        Experiment("fig7", f"{len(TRAININGS)} ways of training, the same {N_RANDOM} sub-networks", ("7",), _trainings),
        Experiment(
            "fig8",
            "HP, LD, RFP, S-NAS and WS-NAS on the same budget",
            ("8", "9", "10", "10-roberta", "front"),
            _five_methods,
        ),
        Experiment(
            "weight-sharing",
            f"{N_LAYER} networks of LAYER, each fine-tuned alone and read off a super-network (not in the paper)",
            ("weight-sharing",),
            _every_layer_network,
        ),
        Experiment("fig11", "five searchers in standard NAS (one half of fig6)", ("11", "11-window"), _standard),
        Experiment(
            "fig12",
            "four searchers in weight-sharing NAS (the other half of fig6)",
            ("12", "12-window"),
            _weight_sharing,
        ),
    )
}


def experiment_of(figure: str) -> Experiment | None:
    """The smallest experiment that makes all runs of a figure; None if no experiment belongs to the figure."""
    makers = [experiment for experiment in EXPERIMENTS.values() if figure in experiment.figures]
    return min(makers, key=lambda experiment: len(experiment.figures), default=None)


def find_experiment(name: str) -> Experiment:
    """The experiment with this name, or the smallest that makes the runs of the figure with this name (``fig9``).

    Raises:
        UnknownName: if there is no such experiment or figure.
    """
    experiment = EXPERIMENTS.get(name) or experiment_of(name.removeprefix("fig"))
    if experiment is None:
        raise UnknownName("experiment", name, EXPERIMENTS)
    return experiment
