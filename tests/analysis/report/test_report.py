import base64
import hashlib
import json
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from support.generated_results import HOSTILE

from nasbench.analysis.figures.catalogue import FIGURES
from nasbench.analysis.reading.results import read_results
from nasbench.analysis.report.explorer import spread
from nasbench.analysis.report.page import embed
from nasbench.analysis.report.report import report
from nasbench.errors import UnknownName, UserError
from nasbench.search.pareto import pareto_mask


class Page(HTMLParser):
    """The parts of a page: scripts, texts, references, event handlers and the content security policy."""

    def __init__(self, text):
        super().__init__()
        self.scripts, self.text, self.sources, self.policy, self.handlers = [], [], [], "", []
        self._inside = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self._inside = tag
        if tag == "script":
            self.scripts.append((named.get("type"), ""))
        self.sources += [named[name] for name in ("src", "href", "srcset", "data") if named.get(name)]
        self.handlers += [name for name in named if name.startswith("on")]
        if named.get("http-equiv") == "Content-Security-Policy":
            self.policy = named["content"]

    def handle_data(self, data):
        if self._inside == "script":
            kind, text = self.scripts[-1]
            self.scripts[-1] = (kind, text + data)
        elif self._inside != "style":
            self.text.append(data)

    def handle_endtag(self, tag):  # noqa: ARG002 - the base class passes it
        self._inside = None


@pytest.fixture(scope="module")
def page(report_folder):
    return Page((report_folder / "out" / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def payload(page):
    return json.loads(next(text for kind, text in page.scripts if kind == "application/json"))


def test_report_writes_page_tables_and_figures(report_folder):
    out = report_folder / "out"
    written = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    tables = ("leaderboard", "runs", "hypervolume", "comparison", "relative", "warnings")
    drawn = (
        "figure_2",
        "figure_3",
        "figure_4",
        "figure_6",
        "figure_8",
        "figure_10",
        "figure_11",
        "figure_12",
        "figure_6-window",
        "figure_11-window",
        "figure_12-window",
        "contest",
        "families",
        "front",
        "ranks",
    )
    assert written == (
        {"report.html"}
        | {f"tables/{name}.{kind}" for name in tables for kind in ("csv", "md")}
        | {f"figures/{name}.{kind}" for name in drawn for kind in ("svg", "pdf", "png")}
    )


def test_figures_name_the_missing_runs_and_their_command(report_folder, page):
    text = " ".join(" ".join(page.text).split())
    restricted = "--task rte --task mrpc --model bert-base-cased --seed 0 --seed 1"
    lacking = (
        ("Figure 5", "none of 16 runs", f"fig5 {restricted}", "makes them"),
        ("Figure 6", "12 of 36 runs", f"fig6 {restricted}", "makes the others"),
        ("Figure 8", "16 of 20 runs", f"fig8 {restricted}", "makes the others"),
        ("Figure 9", "no run", "fig8 --task sst2 --model minilm-l6 --seed 0", "makes the first 5"),
        ("Figure 10", "16 of 20 runs", f"fig8 {restricted}", "makes the others"),
        ("Figure 12", "8 of 16 runs", f"fig12 {restricted}", "makes the others"),
    )
    for heading, has, command, effect in lacking:
        assert f"{has}; nasbench experiment {command} {effect}" in text.partition(f"{heading} ")[2][:400]
    assert sum(source.startswith("data:image/") for source in page.sources) == len(FIGURES) - 7
    warnings = pd.read_csv(report_folder / "out" / "tables" / "warnings.csv")
    assert [place for place in warnings["place"] if "figure" in place] == [
        f"figure {number}" for number in (5, 6, 7, 8, 9, 10, 11, 12)
    ]


def test_page_refers_to_nothing_outside_itself(page):
    assert all(source.startswith(("#", "data:image/")) for source in page.sources)
    assert page.handlers == []


def test_policy_allows_only_the_embedded_scripts(page):
    running = [text for kind, text in page.scripts if kind is None]
    assert len(page.scripts) == 3
    assert len(running) == 2
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in running]
    assert f"script-src {' '.join(hashes)};" in page.policy
    assert page.policy.startswith("default-src 'none';")


def test_hostile_name_is_escaped_in_page_and_tables(report_folder, page):
    text = (report_folder / "out" / "report.html").read_text(encoding="utf-8")
    assert HOSTILE not in text
    assert sum(HOSTILE in part for part in page.text) >= 2  # leaderboard and coverage
    for table in ("leaderboard", "runs", "hypervolume"):
        assert HOSTILE not in (report_folder / "out" / "tables" / f"{table}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", ["</script><script>x", "<!--<script>", "]]>", "&lt;", "\u2028", "\\u003c", "\"'`"])
def test_embedded_data_survive_any_text(text):
    embedded = str(embed({"name": text, text: [1.5, None]}))
    assert json.loads(embedded) == {"name": text, text: [1.5, None]}
    assert not set(embedded) & set("<>&")


def test_page_has_complete_fronts(report_folder, payload):
    results = read_results(report_folder / "results")
    assert len(payload["runs"]) == len(results.runs) == 24
    for run in payload["runs"]:
        row = int(results.runs.index[results.runs["run"] == run["folder"]][0])
        own = results.evaluations[results.evaluations["run_row"] == row]
        front = own[pareto_mask(own[["error", "params"]].to_numpy())]
        points = run["points"]
        shown = {i for i, on_front in zip(points["index"], points["front"], strict=True) if on_front}
        assert shown == set(front["index"])
        assert len(points["index"]) == 30
        by_index = dict(zip(points["index"], points["test"], strict=True))
        for evaluation in own.itertuples():
            expected = None if np.isnan(evaluation.test_error) else pytest.approx(evaluation.test_error, rel=1e-4)
            assert by_index[evaluation.index] == expected


def test_page_has_the_test_hypervolume_in_each_scenario(report_folder, page):
    means = pd.read_csv(report_folder / "out" / "tables" / "hypervolume.csv").set_index(["entry", "scenario"])["test"]
    text = [part.strip() for part in page.text if part.strip()]
    rows = text[text.index("Test hypervolume in each scenario (number of runs)") :]
    rows = rows[: rows.index("Explore")]
    # The table has a column for every scenario of the section's list.
    assert rows[1:3] == ["Test hypervolume, Paper models, GPU", "Entry"]  # the caption, for screen readers
    columns = rows[3 : rows.index("ws-nas/ehvi@small")]
    assert len(columns) == 16
    assert {"mrpc/bert-base-cased", "rte/bert-base-cased", "qnli/roberta-base"} < set(columns)
    for name in ("rfp@large", HOSTILE + "@small"):
        i = rows.index(name) + 1
        found = dict(zip(columns, rows[i : i + len(columns)], strict=True))
        assert {column: cell for column, cell in found.items() if cell != "-"} == {
            scenario: f"{means[name, f'{scenario}/gpu']:.3f} (2)"
            for scenario in ("mrpc/bert-base-cased", "rte/bert-base-cased")
        }


def test_page_has_the_columns_of_the_ranking(report_folder, page):
    board = pd.read_csv(report_folder / "out" / "tables" / "leaderboard.csv").set_index("entry")
    text = [part.strip() for part in page.text if part.strip()]
    start = text.index("Test hypervolume") - 2
    columns = text[start : text.index("Runs", start) + 1]
    assert columns == [
        *("Entry", "Place", "Test hypervolume", "On these tasks", "On tasks like these", "Own runs"),
        *("Validation", "Average rank", "At 50 % of prunable", "At 30 % of prunable", "Runs"),
    ]
    first = text[start + len(columns) : start + 2 * len(columns)]
    own = board.loc[first[0]]
    assert first[0] == board.index[0]
    assert first[1:8] == [
        *(f"{own['place']:.0f}", f"{own['test']:.3f}", "-", "-", f"{own['own_test']:.3f}"),
        *(f"{own['validation']:.3f}", f"{own['rank']:.2f}"),
    ]
    assert first[-1] == "4 of 160"


def test_tables_agree_with_each_other(report_folder):
    runs = pd.read_csv(report_folder / "out" / "tables" / "runs.csv")
    by_scenario = pd.read_csv(report_folder / "out" / "tables" / "hypervolume.csv")
    board = pd.read_csv(report_folder / "out" / "tables" / "leaderboard.csv").set_index("entry")
    assert len(runs) == 24
    assert len(by_scenario) == 12
    own = runs[(runs["entry"] == "rfp@large") & (runs["task"] == "rte")]
    row = by_scenario[(by_scenario["entry"] == "rfp@large") & (by_scenario["scenario"] == "rte/bert-base-cased/gpu")]
    for kind in ("test", "validation"):
        values = own[f"{kind}_hypervolume"]
        assert row[kind].item() == pytest.approx(values.mean(), rel=1e-6)
        assert row[f"{kind}_std"].item() == pytest.approx(values.std(ddof=1), rel=1e-6)
    assert row["n_runs"].item() == 2
    own = by_scenario[by_scenario["entry"] == "rfp@large"]
    assert board.loc["rfp@large", "own_test"] == pytest.approx(own["test"].mean(), rel=1e-6)
    assert board.loc["rfp@large", "validation"] == pytest.approx(own["validation"].mean(), rel=1e-6)
    comparison = pd.read_csv(report_folder / "out" / "tables" / "comparison.csv")
    assert len(comparison) == 6 * 5 / 2


def test_same_results_give_same_bytes(report_folder, tmp_path):
    report(report_folder / "results", tmp_path, figures=("6", "8"))
    written = {path for path in tmp_path.rglob("*") if path.is_file()}
    names, kinds = ("figure_6", "figure_8"), ("svg", "pdf", "png")
    assert written == {tmp_path / "figures" / f"{name}.{kind}" for name in names for kind in kinds}
    for path in written:
        assert path.read_bytes() == (report_folder / "out" / path.relative_to(tmp_path)).read_bytes(), path


def test_single_figure_can_be_made(report_folder, tmp_path):
    outcome = report(report_folder / "results", tmp_path, figures=("3",))
    assert [path.name for path in outcome.files] == ["figure_3.svg", "figure_3.pdf", "figure_3.png"]
    assert outcome.exit_code == 0


def test_unknown_figure_missing_runs_and_missing_folder_raise(report_folder, tmp_path):
    with pytest.raises(UnknownName, match="unknown figure 'figure6'"):
        report(report_folder / "results", tmp_path, figures=("figure6",))
    with pytest.raises(UserError, match="figure 5: none of 16 runs; `nasbench experiment fig5 --task rte"):
        report(report_folder / "results", tmp_path, figures=("5",))
    with pytest.raises(UserError, match="no results folder"):
        report(tmp_path / "nowhere", tmp_path)


@pytest.fixture
def without_figures(monkeypatch):
    """Draw only the cheapest figure in tests that are not about figures."""
    monkeypatch.setattr("nasbench.analysis.report.report.FIGURES", {"4": FIGURES["4"]})


@pytest.mark.usefixtures("without_figures")
def test_empty_results_folder_has_a_page(tmp_path):
    (tmp_path / "results").mkdir()
    outcome = report(tmp_path / "results", tmp_path / "out")
    page = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert "No complete run yet" in " ".join(page.text)
    assert page.scripts == []
    assert outcome.exit_code == 0
    assert outcome.files[-1].name == "report.html"


@pytest.mark.usefixtures("without_figures")
def test_single_unofficial_run_has_a_section(tmp_path, write_run):
    write_run(
        tmp_path / "results", "my-method", None, "small", [(1.0, 0.2, 0.2), (0.5, 0.3, 0.3)], unofficial=["plugin"]
    )
    report(tmp_path / "results", tmp_path / "out")
    page = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert "Paper models, GPU, with unofficial runs" in page.text


@pytest.mark.usefixtures("without_figures")
def test_only_a_section_with_finished_unofficial_runs_is_repeated_with_them(tmp_path, write_run):
    points = [(1.0, 0.2, 0.2), (0.5, 0.3, 0.3)]
    for track, device, method, changes in (
        ("paper", "gpu", "my-method", {"unofficial": ["plugin"]}),
        ("demo", "cpu", "my-method", {"unofficial": ["plugin"]}),
        ("paper", "cpu", "rfp", {}),
        ("compact", "gpu", "rfp", {}),
        ("compact", "gpu", "my-method", {"unofficial": ["plugin"], "status": "running"}),
    ):
        changes |= {"task": f"{track}-task", "track": track, "device_class": device}
        write_run(tmp_path / "results", method, None, "large", points, **changes)
    report(tmp_path / "results", tmp_path / "out")
    text = Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8")).text
    titles = ("Paper models, GPU", "Demo, CPU", "Paper models, CPU", "Compact models, GPU")
    assert [title for title in titles if f"{title}, with unofficial runs" in text] == [*titles[:2]]


def payload_of(page_path):
    page = Page(page_path.read_text(encoding="utf-8"))
    return json.loads(next(text for kind, text in page.scripts if kind == "application/json"))


@pytest.mark.usefixtures("without_figures")
def test_users_tasks_have_a_section(tmp_path, write_run):
    points = [(1.0, 0.2, 0.2), (0.5, 0.3, 0.3)]
    write_run(tmp_path / "results", "rfp", None, "large", points, task="films", track="user", unofficial=["own task"])
    report(tmp_path / "results", tmp_path / "out")
    text = " ".join(Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8")).text)
    assert "No complete run yet" not in text
    assert "films" in text
    assert "User's own tasks and models, GPU, with unofficial runs" in text


@pytest.mark.usefixtures("without_figures")
def test_each_run_has_its_own_horizon(tmp_path, write_run):
    results = tmp_path / "results"
    points = [(1.0, 0.2, 0.2), (0.5, 0.3, 0.3), (0.3, 0.4, 0.4)]  # evaluated after 1, 2 and 3 seconds
    write_run(results, "rfp", None, "large", points)
    write_run(results, "rfp", None, "large", points, seed=1, budget_s=6.0)
    write_run(results, "rfp", None, "large", points, seed=2, budget_s=None, max_evaluations=3)
    report(results, tmp_path / "out")
    payload = payload_of(tmp_path / "out" / "report.html")
    runs = {run["seed"]: run for run in payload["runs"]}
    assert {seed: run["horizon_s"] for seed, run in runs.items()} == {0: 100.0, 1: 6.0, 2: 3.0}
    for run in runs.values():
        times = [part * run["horizon_s"] for part in payload["grid"]]
        begun = [value is not None for value in run["hypervolume"]]
        assert begun == [time >= 1.0 for time in times]
        assert begun[-1]


@pytest.mark.usefixtures("without_figures")
def test_ranks_over_time_use_the_largest_table_where_no_block_is_complete(tmp_path, write_run):
    results = tmp_path / "results"
    points = [(1.0, 0.2, 0.2), (0.5, 0.3, 0.3)]
    for seed in (0, 1):
        for method in ("head-pruning", "rfp"):
            write_run(results, method, None, "large", points, seed=seed)
    write_run(results, "layer-dropping", None, "layer", points, task="mrpc")
    report(results, tmp_path / "out")
    payload = payload_of(tmp_path / "out" / "report.html")
    (ranks,) = payload["ranks"]
    shown = [payload["entries"][line["entry"]]["name"] for line in ranks["lines"]]
    assert (shown, ranks["left_out"]) == (["head-pruning@large", "rfp@large"], ["layer-dropping@layer"])
    for line in ranks["lines"]:
        assert set(line["mean"]) == {1.5}
        assert set(line["low"]) == set(line["high"]) == {None}  # one scenario is too few
    # All entries share a block: nothing is left out, and MRPC does not count.
    write_run(results, "layer-dropping", None, "layer", points)
    report(results, tmp_path / "out")
    (ranks,) = payload_of(tmp_path / "out" / "report.html")["ranks"]
    assert (len(ranks["lines"]), ranks["left_out"]) == (3, [])
    assert {value for line in ranks["lines"] for value in line["mean"]} == {2.0}


@pytest.mark.usefixtures("without_figures")
def test_entries_that_share_no_block_have_no_ranks(tmp_path, write_run):
    points = [(1.0, 0.2, 0.2), (0.5, 0.3, 0.3)]
    write_run(tmp_path / "results", "rfp", None, "large", points)
    write_run(tmp_path / "results", "head-pruning", None, "large", points, task="mrpc")
    report(tmp_path / "results", tmp_path / "out")
    assert payload_of(tmp_path / "out" / "report.html")["ranks"] == []
    text = " ".join(Page((tmp_path / "out" / "report.html").read_text(encoding="utf-8")).text)
    assert "There are none yet" in text


@pytest.mark.usefixtures("without_figures")
def test_error_of_the_full_network_comes_from_the_pruning_methods(tmp_path, write_run):
    results = tmp_path / "results"
    for seed, error in ((0, 0.2), (1, 0.3)):
        write_run(results, "rfp", None, "large", [(1.0, error, error + 0.02), (0.5, 0.5, 0.5)], seed=seed)
        write_run(results, "ws-nas", "ehvi", "small", [(1.0, 0.4, 0.45), (0.5, 0.5, 0.5)], seed=seed)
        write_run(results, "ws-nas", "ehvi", "small", [(1.0, 0.4, 0.45), (0.5, 0.5, 0.5)], seed=seed, task="mrpc")
        for task in ("cola", "sst2"):
            write_run(results, "ws-nas", "ehvi", "small", [(0.5, 0.5, 0.5)], seed=seed, task=task)
    for task in ("mrpc", "sst2"):  # another budget: counts only if no usual run has the full network
        write_run(results, "rfp", None, "large", [(1.0, 0.1, 0.15)], task=task, budget_s=7.0)
    report(results, tmp_path / "out")
    scenarios = payload_of(tmp_path / "out" / "report.html")["scenarios"]
    assert {scenario["task"]: scenario["full_error"] for scenario in scenarios} == {
        "rte": {"validation": 0.25, "test": 0.27},
        "mrpc": {"validation": 0.4, "test": 0.45},
        "cola": {"validation": None, "test": None},
        "sst2": {"validation": 0.1, "test": 0.15},
    }


@pytest.mark.usefixtures("without_figures")
def test_bad_records_are_named_and_the_others_reported(tmp_path, write_run):
    results = tmp_path / "results"
    points = [(1.0, 0.2, 0.2), (0.5, 0.3, 0.3)]
    write_run(results, "rfp", None, "large", points)
    write_run(results, "s-nas", "random", "small", [])
    write_run(results, "ws-nas", "ehvi", "small", points, status="failed", reason="out of <b>memory</b>")
    damaged = write_run(results, "head-pruning", None, "large", points)
    (damaged / "run.json").write_text('{"identity"', encoding="utf-8")
    outcome = report(results, tmp_path / "out")
    assert outcome.exit_code == 1
    text = "\n".join(outcome.warnings)
    for expected in ("not JSON", "no evaluations", "out of <b>memory</b>"):
        assert expected in text
    raw = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    shown = " ".join(Page(raw).text)
    assert "<b>memory" not in raw.split("<script")[0]
    for expected in ("not JSON", "no evaluations", "out of <b>memory</b>", "rfp@large"):
        assert expected in shown


def test_spread_keeps_evenly_spaced_candidates():
    runs = np.array([0] * 10 + [1] * 3 + [2])
    candidates = np.ones(14, dtype=bool)
    candidates[[0, 13]] = False
    kept = spread(runs, candidates, 3)
    # every third of the nine candidates of run 0, all of run 1, none of run 2
    assert np.flatnonzero(kept).tolist() == [1, 4, 7, 10, 11, 12]
