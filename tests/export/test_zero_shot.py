"""Language models of a run on zero-shot tasks: values against transformers alone, intervals, and the file."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from click.testing import CliRunner
from scipy import stats
from support.exports import masks
from support.generated_results import Entry, Plan, write_results

from nasbench.analysis.reading.results import read_results
from nasbench.analysis.reading.zero_shot import measured
from nasbench.analysis.report.report import report
from nasbench.analysis.report.results_page import page
from nasbench.analysis.scoring.quantiles import Quantiles
from nasbench.cli.main import cli
from nasbench.data.splits import load_task_data
from nasbench.errors import UserError
from nasbench.export.folder import rebuilt
from nasbench.export.zero_shot import measure, with_interval
from nasbench.networks.pretrained import load_pretrained
from nasbench.plugins import registry
from nasbench.records.front import front_of
from nasbench.records.record import RunFolder
from nasbench.records.schema import RecordError
from nasbench.records.zero_shot import FILE, MeasuredNetwork, OnTask, ZeroShot, read_zero_shot, write_zero_shot
from nasbench.testing.decoders import TINY_GPT2, TINY_LLAMA
from nasbench.testing.tasks import TINY_PAIR, TINY_TEXT, TINY_ZERO_SHOT, WORDS

CONFIGS = [masks([4, 4, 4], [48, 48, 48]), masks([2, 0, 4], [5, 48, 0]), masks([1, 1, 1], [3, 3, 3])]
RunOf = Callable[..., Path]


@pytest.fixture(scope="module", params=[TINY_LLAMA, TINY_GPT2], ids=lambda model: model.name)
def run(request: pytest.FixtureRequest, run_of: RunOf) -> tuple[Path, Any]:
    return run_of(CONFIGS, model=request.param, task=TINY_TEXT), request.param


def by_transformers(network: Any, model: Any) -> float:
    """The accuracy on the test rows, from the logits of the exported module, one ending after the other."""
    tokenizer = load_pretrained(model, TINY_ZERO_SHOT, 0).tokenizer
    split = load_task_data(TINY_ZERO_SHOT, tokenizer, seed=0).test
    likelihoods = []
    for i in range(len(split) * split.n_choices):
        part = slice(split.offsets[i], split.offsets[i + 1])
        ids, counts = (torch.from_numpy(array[part].astype(np.int64)) for array in (split.tokens, split.segments))
        with torch.no_grad():
            shares = network(ids[None]).logits[0, :-1].double().log_softmax(-1)
        likelihoods.append(float((shares.gather(1, ids[1:, None])[:, 0] * counts[1:]).sum()))
    chosen = np.array(likelihoods).reshape(-1, split.n_choices).argmax(1)
    return float((chosen == split.labels).mean())


def test_networks_of_the_front_are_measured_as_transformers_measures_them(run: Any) -> None:
    folder, model = run
    record, evaluations = RunFolder(folder).read_run(), RunFolder(folder).read_evaluations()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    found = measure(folder, TINY_ZERO_SHOT)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    front = [each.index for each in front_of(evaluations) if each.index != 0]
    assert [network.index for network in found.networks] == [0, *front]
    assert [network.is_full for network in found.networks] == [True] + [False] * len(front)
    for network in found.networks:
        expected = by_transformers(rebuilt(folder, record, evaluations[network.index]), model)
        assert network.value == pytest.approx(expected, abs=1e-12)
        assert network.low < network.value < network.high
        assert network.params == evaluations[network.index].params
    assert (found.metric, found.precision) == ("accuracy", "fp32")
    assert found.chance == pytest.approx(max(np.bincount(_labels(model))) / found.n_examples)


def _labels(model: Any) -> Any:
    tokenizer = load_pretrained(model, TINY_ZERO_SHOT, 0).tokenizer
    return load_task_data(TINY_ZERO_SHOT, tokenizer, seed=0).test.labels


def test_a_text_is_measured_as_its_own_run_has_measured_it(run: Any) -> None:
    folder, _ = run
    evaluations = RunFolder(folder).read_evaluations()
    for network in measure(folder, TINY_TEXT).networks:
        assert 1 - network.value == pytest.approx(evaluations[network.index].test_error, abs=1e-6)
        assert network.low < network.value < network.high


def test_last_word_of_lambada_is_right_where_greedy_decoding_writes_it(run: Any, tmp_path: Path) -> None:
    folder, model = run
    starts = [f"ba {'be ' * i}bo" for i in range(8)]
    rows = {"context": [start for start in starts for _ in WORDS], "continuation": [*WORDS] * len(starts)}
    (tmp_path / "lambada").mkdir()
    pyarrow.parquet.write_table(pa.table(rows), tmp_path / "lambada" / "validation.parquet")
    task = dataclasses.replace(registry.tasks()["lambada"], max_length=60)
    found = measure(folder, task, tmp_path)
    assert (found.task, found.metric, found.chance) == ("lambada", "accuracy", 0.0)
    split = load_task_data(task, load_pretrained(model, task, 0).tokenizer, 0, tmp_path).test
    assert found.n_examples == len(split) == len(starts) * len(WORDS) // 2
    record, evaluations = RunFolder(folder).read_run(), RunFolder(folder).read_evaluations()
    for network in found.networks:
        module: Any = rebuilt(folder, record, evaluations[network.index])
        n_right = sum(written_greedily(module, split, i) for i in range(len(split)))
        wanted = stats.binomtest(n_right, len(split)).proportion_ci(method="wilson")
        assert (network.value, network.low, network.high) == pytest.approx((n_right / len(split), *wanted), abs=1e-9)
        if model is TINY_LLAMA:  # whose words are single tokens, so that a likeliest token is a word of some row
            assert n_right > 0


def written_greedily(module: Any, split: Any, i: int) -> bool:
    """Whether ``generate`` of transformers goes on with the marked tokens of an example."""
    part = slice(split.offsets[i], split.offsets[i + 1])
    ids, marks = (torch.from_numpy(array[part].astype(np.int64)) for array in (split.tokens, split.segments))
    n_start = int((marks == 0).sum())
    written = module.generate(ids[None, :n_start], do_sample=False, max_new_tokens=len(ids) - n_start)
    return bool(torch.equal(written[0], ids))


@pytest.mark.parametrize(("n_right", "n"), [(0, 7), (3, 7), (150, 300), (300, 300)])
def test_interval_of_an_accuracy_is_wilsons(n_right: int, n: int) -> None:
    labels = np.zeros(n, dtype=np.int64)
    logits = np.zeros((n, 2), dtype=np.float32)
    logits[np.arange(n), (np.arange(n) >= n_right).astype(int)] = 1.0
    found = with_interval(TINY_ZERO_SHOT, logits, labels)
    wanted = stats.binomtest(n_right, n).proportion_ci(method="wilson")
    assert found == pytest.approx((n_right / n, wanted.low, wanted.high), abs=1e-9)


def test_interval_of_a_compression_is_that_of_resampled_passages() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(20, 200, size=400)
    bits = labels * rng.normal(2.0, 0.5, size=400)
    found = with_interval(TINY_TEXT, -bits[:, None].astype(np.float32), labels)
    assert found.value == pytest.approx(1 - bits.sum() / labels.sum() / 8, abs=1e-6)
    drawn = rng.integers(400, size=(4000, 400))
    resampled = 1 - bits[drawn].sum(1) / labels[drawn].sum(1) / 8
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(resampled, [0.025, 0.975])), abs=1e-3)
    worst = np.array([[-200.0], [-400.0]], dtype=np.float32)  # 20 bits for each byte
    assert with_interval(TINY_TEXT, worst, np.array([10, 20])) == (-1.0, -1.0, -1.0)


def test_classifiers_and_trained_tasks_are_refused(run: Any, run_of: RunOf, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run in"):
        measure(tmp_path, TINY_ZERO_SHOT)
    with pytest.raises(UserError, match="has pruned a classifier"):
        measure(run_of(CONFIGS[:1], model=TINY_LLAMA), TINY_ZERO_SHOT)
    with pytest.raises(UserError, match="needs a trained classifier"):
        measure(run[0], TINY_PAIR)
    with pytest.raises(UserError, match="no weights of the full network"):
        measure(run_of(CONFIGS[1:2], model=TINY_LLAMA, task=TINY_TEXT), TINY_ZERO_SHOT)


def test_command_keeps_the_values_of_each_task(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = run
    tasks = {"tiny-zero-shot": TINY_ZERO_SHOT, "tiny-text": TINY_TEXT}
    monkeypatch.setattr(registry, "find", lambda _kind, name, _known: tasks[name])
    arguments = ["zero-shot", str(folder), "--task", "tiny-zero-shot", "--networks", "1"]
    for more in ([], ["--task", "tiny-text"]):
        done = CliRunner().invoke(cli, [*arguments, *more])
        assert done.exit_code == 0, done.output
    found = read_zero_shot(folder)
    assert [each.task for each in found.tasks] == ["tiny-zero-shot", "tiny-text"]
    assert [len(each.networks) for each in found.tasks] == [2, 2]
    value = found.tasks[0].networks[0]
    assert f"full network              {value.value:.3f} [{value.low:.3f}, {value.high:.3f}]" in done.output
    (folder / FILE).unlink()


def on_task(task: str, shift: float = 0.0) -> OnTask:
    networks = [MeasuredNetwork(i, i == 0, 1 / (i + 1), 0.6 - shift, 0.5, 0.7) for i in range(2)]
    return OnTask(task, "accuracy", 300, 0.5, "00", "fp32", {"torch": "2"}, networks)


def test_file_is_read_back_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    assert read_zero_shot(tmp_path) == ZeroShot()
    kept = ZeroShot().with_task(on_task("piqa")).with_task(on_task("boolq")).with_task(on_task("piqa", 0.1))
    assert [each.task for each in kept.tasks] == ["boolq", "piqa"]
    write_zero_shot(tmp_path, kept)
    assert read_zero_shot(tmp_path) == kept
    text = json.loads((tmp_path / FILE).read_text())
    text["tasks"][0]["networks"][0]["value"] = "high"
    (tmp_path / FILE).write_text(json.dumps(text))
    with pytest.raises(RecordError, match=FILE):
        read_zero_shot(tmp_path)


@pytest.fixture
def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports have tables and a page only."""
    monkeypatch.setattr("nasbench.analysis.report.report.FIGURES", {})


@pytest.mark.usefixtures("without_figures")
def test_report_has_a_table_of_the_values_and_says_which_file_is_damaged(tmp_path: Path) -> None:
    plan = Plan([Entry("ws-nas", "ehvi")], tasks=["rte"], seeds=range(2), n_evaluations=6)
    one, other = write_results(tmp_path / "results", plan)
    write_zero_shot(one, ZeroShot([on_task("piqa"), dataclasses.replace(on_task("boolq"), n_examples=7)]))
    (other / FILE).write_text("{")
    results = read_results(tmp_path / "results")
    table = measured(results.runs)
    assert table[["task", "n_examples", "index", "is_full", "value", "chance"]].to_numpy().tolist() == [
        ["piqa", 300, 0, True, 0.6, 0.5], ["piqa", 300, 1, False, 0.6, 0.5],
        ["boolq", 7, 0, True, 0.6, 0.5], ["boolq", 7, 1, False, 0.6, 0.5],
    ]  # fmt: skip
    (remark,) = [finding.message for finding in results.findings]
    assert FILE in remark
    assert "the accuracies on zero-shot tasks are left out" in remark
    report([tmp_path / "results"], tmp_path / "out")
    rows = (tmp_path / "out" / "tables" / "zero_shot.csv").read_text().splitlines()
    assert len(rows) == 1 + 4
    assert rows[0].startswith("run,entry,scenario,seed,task,metric,n_examples,index,is_full,params,value,low,high")


@pytest.mark.usefixtures("without_figures")
def test_readers_have_a_table_of_the_values(tmp_path: Path) -> None:
    plan = Plan([Entry("ws-nas", "ehvi")], tasks=["rte"], seeds=range(2), n_evaluations=6)
    one, other = write_results(tmp_path / "results", plan)
    report([tmp_path / "results"], tmp_path / "before")
    assert "Zero-shot" not in (tmp_path / "before" / "report.html").read_text()
    assert "Zero-shot" not in page(tmp_path / "results", Quantiles())
    write_zero_shot(one, ZeroShot([on_task("a|<b>"), on_task("boolq", 0.05)]))
    write_zero_shot(other, ZeroShot([on_task("boolq", 0.1)]))
    due = [  # the full network first
        ["0", "full network", "0.600 [0.500, 0.700]", "0.550 [0.500, 0.700]"],
        ["0", "50.0 % of the parameters", "0.600 [0.500, 0.700]", "0.550 [0.500, 0.700]"],
        ["1", "full network", "-", "0.500 [0.500, 0.700]"],
        ["1", "50.0 % of the parameters", "-", "0.500 [0.500, 0.700]"],
    ]
    report([tmp_path / "results"], tmp_path / "out")
    html = (tmp_path / "out" / "report.html").read_text()
    assert '<a href="#zero-shot">Zero-shot</a>' in html
    _, _, section = html.partition('<section id="zero-shot">')
    section, _, _ = section.partition("</section>")
    assert "a|&lt;b&gt; (accuracy on 300, by chance 0.500)" in section
    found = [re.findall(r'<td class="number">(.*?)</td>', row)[1:] for row in section.split("<tr>")[2:]]
    assert found == due
    _, _, text = page(tmp_path / "results", Quantiles()).partition("## Zero-shot choices")
    lines = [line for line in text.partition("## ")[0].splitlines() if line.startswith("|")]
    assert "a\\|&lt;b&gt; (accuracy on 300, by chance 0.500)" in lines[0]
    assert [[cell.strip().replace("\\", "") for cell in line.split("|")[3:-1]] for line in lines[2:]] == due
