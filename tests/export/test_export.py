"""An exported network is the measured network: transformers alone computes the recorded error with it."""

import dataclasses
import json
import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from click.testing import CliRunner
from support.runs import QUICK

import nasbench
from nasbench.cli.main import cli
from nasbench.data.batching import collate
from nasbench.data.splits import load_task_data
from nasbench.errors import NasbenchError, UserError
from nasbench.export.card import model_card
from nasbench.export.command import command_of
from nasbench.export.folder import choose, export, export_network, fraction_of_all
from nasbench.methods.s_nas import StandardNAS
from nasbench.methods.ws_nas import WeightSharingNAS
from nasbench.networks.subnetwork import Dimensions
from nasbench.records.record import RunFolder
from nasbench.runs import runner
from nasbench.search.pareto import pareto_mask
from nasbench.testing.models import TINY_BERT, TINY_ROBERTA
from nasbench.testing.subject import MethodSubject
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR, TINY_REGRESSION
from nasbench.training import metrics


def _run(folder, method=WeightSharingNAS, **subject):
    options = QUICK if method is WeightSharingNAS else None
    subject = MethodSubject(method, folder, options, n_evaluations=7, **subject)
    request = subject.request(folder)
    record = runner.run(request)
    assert record.status == "complete", record.reason
    return request.folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run. Tests work on copies of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NASBENCH_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        return _run(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def run(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "run"))


def _validation_error(model, task, tokenizer):
    """The validation error from the stock module's own forward pass, one example at a time."""
    data = load_task_data(task, tokenizer, seed=3)
    logits = []
    for i in range(len(data.validation)):
        batch = collate(data.validation, np.array([i]), tokenizer.pad_token_id)
        inputs = {"input_ids": batch.input_ids, "token_type_ids": batch.token_type_ids}
        inputs["attention_mask"] = (batch.input_ids != tokenizer.pad_token_id).long()
        if task.kind == "multiple_choice":
            inputs = {name: value[None] for name, value in inputs.items()}
        with torch.no_grad():
            logits.append(model(**inputs).logits[0].numpy())
    return 1 - metrics.compute((task.metric,), task.kind, np.stack(logits), data.validation.labels)[task.metric]


@pytest.mark.parametrize("task", [TINY_PAIR, TINY_REGRESSION, TINY_CHOICE], ids=lambda task: task.name)
@pytest.mark.parametrize("model", [TINY_BERT, TINY_ROBERTA], ids=lambda model: model.name)
def test_loaded_network_has_the_recorded_error_and_size(tmp_path, task, model):
    # Shared weights are cut on export. Networks that were trained alone have pruned weights.
    for method in (WeightSharingNAS, StandardNAS) if model is TINY_BERT else (WeightSharingNAS,):
        folder = _run(tmp_path / method.name, method, task=task, model=model)
        evaluations = [e for e in RunFolder(folder).read_evaluations() if e.weights is not None]
        on_front = pareto_mask([(e.error, e.params) for e in evaluations])
        front = [e for e, is_member in zip(evaluations, on_front, strict=True) if is_member]
        assert len(front) >= 2
        for i, member in enumerate(front):
            out = tmp_path / f"{method.name}-{i}"
            exported = export(folder, out, member.params)
            assert exported == member
            loaded = nasbench.load(out)
            assert isinstance(loaded, transformers.PreTrainedModel)
            assert not loaded.training
            assert sum(p.numel() for p in loaded.parameters()) == member.n_params
            assert not any(tensor.is_meta for tensor in (*loaded.parameters(), *loaded.buffers()))
            tokenizer = transformers.AutoTokenizer.from_pretrained(out)
            assert _validation_error(loaded, task, tokenizer) == pytest.approx(member.error, abs=1e-5)


def test_exported_folder_describes_its_network(run, tmp_path):
    evaluation = export(run, tmp_path / "out", 0.9)
    description = json.loads((tmp_path / "out" / "nasbench.json").read_text())
    record = RunFolder(run).read_run()
    for key in ("config", "metrics", "n_params", "params", "error", "test_error", "head_counts", "unit_counts"):
        assert description[key] == getattr(evaluation, key)
    assert description["task"] == "tiny-pair"
    assert description["model"] == "tiny-bert"
    assert description["precision"] == "fp32"
    assert description["provenance"] == record.provenance
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"model.safetensors", "tokenizer.json"}


def test_command_in_the_card_has_the_whole_budget(run):
    record = RunFolder(run).read_run()
    identity = dataclasses.replace(record.identity, budget_s=7200.125)
    record = dataclasses.replace(record, identity=identity, unofficial=["a budget of 7200.12 s"])
    assert " --budget 7200.125" in command_of(record)


def test_choose_returns_the_best_front_member_that_is_small_enough(run):
    evaluations = RunFolder(run).read_evaluations()
    front = [e for e in evaluations if not any(
        o.error <= e.error and o.params <= e.params and (o.error, o.params) != (e.error, e.params) for o in evaluations
    )]  # fmt: skip
    for max_params in sorted({e.params for e in evaluations}):
        chosen = choose(evaluations, max_params, run)
        assert chosen in front
        assert chosen.error == min(e.error for e in front if e.params <= max_params)
    assert choose(evaluations, 1.0, run).error == min(e.error for e in evaluations)
    failed = [dataclasses.replace(e, error=None, status="failed") for e in evaluations]
    with pytest.raises(UserError, match="has no evaluated network"):
        choose(failed, 1.0, run)


def test_limit_of_prunable_parameters_counts_the_layers_only(run, tmp_path):
    record, evaluations = RunFolder(run).read_run(), RunFolder(run).read_evaluations()
    dims = Dimensions.from_json(record.dimensions)
    of_layers = dims.count_params([dims.n_heads] * dims.n_layers, [dims.n_units] * dims.n_layers) - dims.n_fixed_params
    for e in evaluations:
        kept = dims.count_params(e.head_counts, e.unit_counts) - dims.n_fixed_params
        limit = fraction_of_all(run, kept / of_layers)
        assert e.params <= limit < e.params + 1e-9
    assert fraction_of_all(run, 0) == pytest.approx(dims.n_fixed_params / dims.n_params)
    with pytest.raises(UserError, match=r"--max-prunable is a fraction .* not 1\.5$"):
        fraction_of_all(run, 1.5)
    done = CliRunner().invoke(cli, ["export", str(run), "--max-prunable", "1", "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "% of those that can be pruned)" in done.output
    both = ["export", str(run), "--max-prunable", "1", "--max-params", "1", "--out", str(tmp_path / "other")]
    assert "exclude each other" in str(CliRunner().invoke(cli, both).exception)


def test_export_rejects_size_below_the_smallest_network(run, tmp_path):
    smallest = min(e.params for e in RunFolder(run).read_evaluations())
    with pytest.raises(UserError, match=rf"at most 0\.001 of the parameters; the smallest has {smallest:.4f}$"):
        export(run, tmp_path / "out", 0.001)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("index", [-1, 1000])
def test_export_rejects_the_number_of_no_evaluation(run, tmp_path, index):
    last = len(RunFolder(run).read_evaluations()) - 1
    with pytest.raises(UserError, match=rf"has evaluations 0 to {last}, and no {index}$"):
        export_network(run, tmp_path / "out", 1.0, with_latency=False, index=index)


def test_card_says_which_networks_its_table_has(run):
    record, evaluations = RunFolder(run).read_run(), RunFolder(run).read_evaluations()
    chosen = choose(evaluations, 1.0, run)

    def card(objectives):
        identity = dataclasses.replace(record.identity, objectives=objectives)
        changed = dataclasses.replace(record, identity=identity)
        return model_card(changed, evaluations, chosen, "out", "AutoModel", None, [], ())

    assert "no other network of the run is both smaller and better on validation data." in card(None)
    assert "Pareto front in error, macs, with the error on validation data." in card(("error", "macs"))


def test_export_rejects_folder_without_run(tmp_path):
    with pytest.raises(UserError, match=rf"no run in {tmp_path}/none: it has no run\.json"):
        export(tmp_path / "none", tmp_path / "out", 1.0)


def test_export_overwrites_no_existing_file(run, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    export(run, out, 1.0)
    before = {path: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(UserError, match="out exists already; choose another folder"):
        export(run, out, 1.0)
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(UserError, match="file exists already"):
        export(run, file, 1.0)


@pytest.mark.parametrize("is_there", [False, True])
@pytest.mark.parametrize("stage", ["measure", "write_atomically", "_limit_length"])
def test_failed_export_leaves_nothing_and_can_be_repeated(run, tmp_path, monkeypatch, stage, is_there):
    out = tmp_path / "out"
    if is_there:
        out.mkdir()

    def fail(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(f"nasbench.export.folder.{stage}", fail)
        with pytest.raises(KeyboardInterrupt):
            export_network(run, out, 1.0, with_latency=True)
    assert (list(out.iterdir()) == []) if is_there else not out.exists()
    export(run, out)
    nasbench.load(out)


def test_weights_that_do_not_fit_on_the_disk_are_one_line(run, tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))  # room for the tokenizer
    try:
        with pytest.raises(NasbenchError, match=r"^cannot write .*out: Error while serializing: .*File too large"):
            export(run, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not (tmp_path / "out").exists()


def test_export_rejects_run_without_weights(run, tmp_path):
    shutil.rmtree(run / "weights")
    with pytest.raises(UserError, match=r"are not in .*weights: they were removed, or the run was made on another"):
        export(run, tmp_path / "out", 1.0)
    assert not (tmp_path / "out").exists()


def _damage_weights(run):
    path = run / "weights" / "super-network.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def _swap_weights(run):
    path = run / "weights" / "super-network.safetensors"
    torch.save({}, path)


def _drop_config(run):
    (run / "weights" / "model" / "config.json").unlink()


def _other_config(run):
    path = run / "weights" / "model" / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps({**config, "hidden_size": 16}))


def _other_key(run):
    _edit_evaluations(run, '"key": "', '"key": "0')


def _cut_config(run):
    _edit_evaluations(run, '"heads"', '"hands"')


def _edit_evaluations(run, old, new):
    """Edit a record that is older than the checksum of its evaluations."""
    path = run / "evaluations.jsonl"
    path.write_text(path.read_text().replace(old, new))
    record = RunFolder(run).read_run()
    record.n_evaluations = record.evaluations_sha256 = None
    RunFolder(run).write_run(record)


def test_export_refuses_a_run_that_has_lost_evaluations(run, tmp_path):
    path = run / "evaluations.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:4]))
    with pytest.raises(UserError, match="3 of 7 evaluations are lost since they were recorded"):
        export(run, tmp_path / "out", 1.0)


def test_export_refuses_weights_that_have_changed(run, tmp_path):
    (path,) = (run / "weights").glob("*.safetensors")
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"super-network.safetensors has changed since it was written \(its checksum"):
        export(run, tmp_path / "out", 1.0)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_damage_weights, "super-network.safetensors is damaged"),
        (_swap_weights, "super-network.safetensors is damaged"),
        (_drop_config, "config.json is missing or damaged"),
        (_other_config, "holds weights of another network"),
        (_other_key, "configuration and key of evaluation .* do not agree"),
        (_cut_config, "has no valid configuration"),
    ],
)
def test_export_rejects_damaged_run_with_one_line(run, tmp_path, damage, message):
    damage(run)
    with pytest.raises(UserError, match=message) as caught:
        export(run, tmp_path / "out", 1.0)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def _replaced(name, text):
    def damage(out):
        (out / name).write_text(text)

    return damage


def _removed(name):
    return lambda out: (out / name).unlink()


def _newer(out):
    path = out / "nasbench.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format_version": 99}))


def _no_mark(out):
    (out / "nasbench.json").unlink()
    path = out / "config.json"
    path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "nasbench"}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_no_mark, "no exported network in .*: it has no nasbench.json"),
        (_replaced("nasbench.json", "{"), "nasbench.json is damaged"),
        (_replaced("nasbench.json", "{}"), "nasbench.json is damaged"),
        (_newer, r"was exported by a newer nasbench \(format 99\); upgrade nasbench"),
        (_removed("config.json"), "config.json is missing or damaged"),
        (_replaced("config.json", '{"model_type": "bert"}'), "config.json is missing or damaged"),
        (_removed("model.safetensors"), "no weights .*model.safetensors; export the network again"),
        (_replaced("model.safetensors", "not weights"), "model.safetensors is damaged"),
    ],
)
def test_load_rejects_damaged_folder_with_one_line(run, tmp_path, damage, message):
    out = tmp_path / "out"
    export(run, out, 0.99)
    damage(out)
    with pytest.raises(UserError, match=message) as caught:
        nasbench.load(out)
    assert "\n" not in str(caught.value)


def test_load_neither_runs_code_of_the_folder_nor_asks_whether_it_may(run, tmp_path, monkeypatch):
    out = tmp_path / "out"
    export(run, out, 0.99)
    config = {
        "model_type": "strange",
        "auto_map": {"AutoConfig": "code.Config", "AutoTokenizer": [None, "code.Config"]},
    }
    (out / "config.json").write_text(json.dumps(config))
    (out / "tokenizer_config.json").write_text(json.dumps(config))
    (out / "code.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w')\nfrom transformers import BertConfig as Config\n"
    )
    asked = []
    monkeypatch.setattr("builtins.input", lambda *question: asked.append(question) or "y")
    with pytest.raises(UserError, match="is missing or damaged"):
        nasbench.load(out)
    assert asked == []
    assert not (tmp_path / "ran").exists()


def test_load_rejects_masks_of_another_network(run, tmp_path):
    # The smallest network, and the largest on the front, which has the best error.
    small = export(run, tmp_path / "small", min(e.params for e in RunFolder(run).read_evaluations()))
    large = export(run, tmp_path / "large", 1.0)
    assert small.n_params < large.n_params
    shutil.copyfile(tmp_path / "large" / "model.safetensors", tmp_path / "small" / "model.safetensors")
    with pytest.raises(UserError, match="holds weights of another network"):
        nasbench.load(str(tmp_path / "small"))


def test_unfinished_run_can_be_exported(run, tmp_path):
    record = RunFolder(run).read_run()
    record.status = "running"
    RunFolder(run).write_run(record)
    with (run / "evaluations.jsonl").open("a") as file:
        file.write('{"index": 7, "cut')
    assert export(run, tmp_path / "out", 1.0).error is not None


def test_load_keeps_the_random_state(run, tmp_path):
    export(run, tmp_path / "out", 1.0)
    before = torch.get_rng_state()
    nasbench.load(tmp_path / "out")
    assert torch.equal(torch.get_rng_state(), before)
