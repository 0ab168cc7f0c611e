"""Networks that are no sub-networks: measured, recorded, saved and checked as all others, and refused if they lie."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from nasbench.cli.check import check, find_targets
from nasbench.data.batching import collate
from nasbench.data.splits import load_task_data
from nasbench.networks.factored.modules import Factors
from nasbench.networks.pretrained import load_pretrained
from nasbench.networks.space import Large, make_space
from nasbench.networks.subnetwork import Dimensions
from nasbench.plugins.method import Method
from nasbench.testing.contract import METHOD_CHECKS
from nasbench.testing.models import TINY_BERT
from nasbench.testing.subject import SEED, Killed, KillingObserver
from nasbench.testing.tasks import TINY_PAIR
from nasbench.training import metrics
from nasbench.trust.checks import record_checks


def filled(problem, config, name, seed=0):
    """A factored network with random factors."""
    network = problem.pretrained(name).extract(problem.space.to_subnetwork(config), name)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    network.refresh()
    return network


def configs_of(space):
    return [space.largest, space.midpoint, space.smallest, space.midpoint + 1, space.midpoint - 3]


def report_some(problem):
    for i, config in enumerate(configs_of(problem.space)):
        network = filled(problem, config, f"ranks-{i}", i)
        problem.training(network).run()
        problem.evaluate_module(network.model, config, network.name)


def test_recorded_errors_equal_those_of_the_stock_model(run_function):
    """Errors of a plain torch forward pass, and numbers of parameters counted on plain modules."""
    seen = []

    def report(problem):
        for i, config in enumerate(configs_of(problem.space)):
            network = filled(problem, config, f"ranks-{i}", i)
            seen.append(network)
            problem.evaluate_module(network.model, config, network.name)

    outcome = run_function(report, space="ranks")
    assert (outcome.record.status, outcome.record.reason) == ("complete", None)
    tokenizer = load_pretrained(TINY_BERT, TINY_PAIR, SEED)[1]
    data = load_task_data(TINY_PAIR, tokenizer, SEED)
    names = (TINY_PAIR.metric, *TINY_PAIR.other_metrics)

    def measured(network, split):
        batch = collate(split, np.arange(len(split)), tokenizer.pad_token_id)
        with torch.no_grad():
            return metrics.compute(names, TINY_PAIR.kind, network.stock_logits(batch).numpy(), split.labels)

    full = sum(p.numel() for p in seen[0].model.parameters())
    for network, evaluation in zip(seen, outcome.evaluations, strict=True):
        assert evaluation.metrics == pytest.approx(measured(network, data.validation), abs=1e-5)
        assert evaluation.n_params == sum(p.numel() for p in network.model.parameters())
        assert evaluation.params == evaluation.n_params / full
        assert (evaluation.head_counts, evaluation.unit_counts) == ([4] * 3, [48] * 3)
        if evaluation.test_error is not None:
            assert evaluation.test_metrics == pytest.approx(measured(network, data.test), abs=1e-5)
    assert outcome.evaluations[0].params == 1
    assert not any(isinstance(module, Factors) for module in seen[0].model.modules())
    assert any(e.test_error is not None for e in outcome.evaluations)


def test_weights_of_the_front_are_saved_and_hold_what_was_counted(run_function, tmp_path):
    outcome = run_function(report_some, results=tmp_path / "here", space="ranks")
    assert outcome.record.reason is None
    folder = next((tmp_path / "here").rglob("weights"))
    saved = {path.stem: load_file(path) for path in folder.glob("*.safetensors")}
    by_name = {e.weights: e for e in outcome.evaluations if e.weights in saved}
    assert by_name.keys() == saved.keys() != set()
    for name, tensors in saved.items():
        n_buffers = sum(v.numel() for k, v in tensors.items() if not v.is_floating_point())
        assert sum(value.numel() for value in tensors.values()) - n_buffers == by_name[name].n_params


def test_killed_run_resumes_to_the_same_evaluations(run_function, tmp_path):
    whole = run_function(report_some, space="ranks")
    for at in (1, 30, 70):
        results = tmp_path / f"killed-{at}"
        with pytest.raises(Killed):
            run_function(report_some, results=results, observer=KillingObserver(at), space="ranks")
        assert run_function(report_some, results=results, space="ranks").comparable() == whole.comparable()


def test_record_passes_the_checks_and_a_changed_count_does_not(run_function):
    outcome = run_function(report_some, space="ranks", objectives=("error", "params", "macs"))
    record, evaluations = outcome.record, outcome.evaluations
    space = make_space("ranks", Dimensions.from_json(record.dimensions))
    found = {check.name: check for check in record_checks(record, evaluations, space)}
    assert {check.outcome for check in found.values()} == {"ok"}, found
    dense = dataclasses.replace(evaluations[1], n_params=evaluations[0].n_params, params=1.0)
    found = {check.name: check for check in record_checks(record, [evaluations[0], dense], space)}
    assert found["parameters"].outcome == "wrong"
    assert "are due" in found["parameters"].seen
    cheaper = dataclasses.replace(evaluations[1], costs={**evaluations[1].costs, "macs": 0.5})
    found = {check.name: check for check in record_checks(record, [evaluations[0], cheaper], space)}
    assert "macs 0.5 where" in found["parameters"].seen


def test_sub_network_may_take_the_second_door(run_function):
    def report(problem):
        assert isinstance(problem.space, Large)
        config = problem.space.midpoint
        network = problem.pretrained("half").extract(problem.space.to_subnetwork(config))
        evaluations = [problem.evaluate(network, config), problem.evaluate_module(network.model, config, "other")]
        assert evaluations[0].metrics == evaluations[1].metrics

    outcome = run_function(report, space="large")
    assert outcome.record.reason is None
    assert len(outcome.evaluations) == 2


def test_values_that_are_not_finite_are_a_failed_evaluation(run_function):
    def report(problem):
        config = problem.space.midpoint
        network = filled(problem, config, "broken")
        network.model.bert.encoder.layer[0].output.dense[0].weight.data[0, 0] = float("inf")
        failed = problem.evaluate_module(network.model, config, "broken")
        assert (failed.status, failed.error) == ("failed", None)
        problem.evaluate_module(filled(problem, config, "sound").model, config, "sound")

    outcome = run_function(report, space="ranks")
    assert [e.status for e in outcome.evaluations] == ["failed", "ok"]
    assert outcome.evaluations[0].reason == "the network's outputs are not finite"


def _hook(problem, model, config):
    model.register_forward_hook(lambda *_: None)
    problem.evaluate_module(model, config, "second")


def _hidden_layer(problem, model, config):
    model.bert.encoder.more = torch.nn.Linear(32, 32)
    problem.evaluate_module(model, config, "second")


def _larger_than_declared(problem, model, config):
    problem.evaluate_module(model, config - 1, "second")


def _changed_weights(problem, model, config):
    with torch.no_grad():
        model.classifier.weight.mul_(1.5)
    problem.evaluate_module(model, config, "first")


def _outside(problem, model, config):
    problem.evaluate_module(model, config + 10_000, "second")


def _bad_name(problem, model, config):
    problem.evaluate_module(model, config, "../up")


def _name_of_a_training(problem, _model, _config):
    network = problem.pretrained("trained")
    problem.training(network).run()
    problem.evaluate_module(network.model, problem.space.largest, "trained")


def _first_door(problem, _model, config):
    problem.evaluate(problem.pretrained(), config)


def _super_network(problem, _model, config):
    problem.evaluate_module(problem.pretrained(), config, "second")


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        (_hook, "declares: a module with a hook"),
        (_hidden_layer, "declares: a module with 'bert.encoder.more'"),
        (_larger_than_declared, r"declares: 'bert.*' of float32 \(\d+, 32\) where float32 \(\d+, 32\) is due"),
        (_changed_weights, "the weights of 'first' have changed"),
        (_outside, r"is outside \[0, 16\] in space 'ranks'"),
        (_bad_name, "has other characters than letters"),
        (_name_of_a_training, "the name 'trained' of a network that was trained"),
        (_first_door, "space 'ranks' has no sub-networks; report with evaluate_module"),
        (_super_network, "declares: a SuperNetwork, which is no module"),
    ],
)
def test_module_that_is_not_what_it_says_is_refused_and_nothing_is_lost(run_function, lie, message):
    def report(problem):
        config = problem.space.midpoint
        network = filled(problem, config, "first")
        problem.evaluate_module(network.model, config, "first")
        lie(problem, network.model, config)

    outcome = run_function(report, space="ranks")
    assert outcome.record.status == "failed"
    assert outcome.record.reason.count("\n") == 0
    assert re.search(message, outcome.record.reason), outcome.record.reason
    assert [e.index for e in outcome.evaluations] == [0]


def test_rebuilding_is_not_charged_and_measuring_is(run_function, timed):
    def report(problem):
        config = problem.space.midpoint
        problem.evaluate_module(filled(problem, config, "first").model, config, "first")

    outcome = run_function(report, space="ranks", clock=timed)
    assert outcome.evaluations[0].charged_s == {"training": 0, "search": 0, "validation": 100.0, "idle": 0}


def test_guide_shows_a_method_that_works(tmp_path):
    guide = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = guide.split("## A method that reports something else than a sub-network\n")[1]
    plugin = tmp_path / "half_rank.py"
    plugin.write_text(section.split("```python\n")[1].split("```")[0])
    observations = dict(name_and_passed(find_targets(str(plugin))[0]))
    assert observations == dict.fromkeys(METHOD_CHECKS, True)


def name_and_passed(cls):
    return [(name, passed) for passed, name, _ in check(cls)]


def test_contract_names_what_a_lying_method_reports():
    class Lies(Method):
        name, summary, spaces = "lies", "for tests", ("ranks",)

        def run(self, problem):
            _larger_than_declared(problem, filled(problem, problem.space.midpoint, "a").model, problem.space.midpoint)

    lines = {name: (passed, text) for passed, name, text in check(Lies)}
    passed, text = lines["reports only configurations inside the space"]
    assert not passed
    assert re.search(r"evaluate_module\(\) got something else than its configuration declares: .* is due", text)
