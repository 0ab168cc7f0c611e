from __future__ import annotations

import dataclasses
import io
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from nasbench.cli.progress import Progress
from nasbench.cli.summary import duration
from nasbench.cli.sweep_view import LiveSweepView, SweepView, view_of
from nasbench.cli.terminal import LiveView, PlainView, View, observer, plan
from nasbench.data.summary import DataSummary, SplitSummary
from nasbench.errors import NasbenchError
from nasbench.networks.space import Config, SearchSpace, make_space
from nasbench.networks.subnetwork import Dimensions
from nasbench.plugins import registry
from nasbench.records.front import front_of, spread
from nasbench.records.record import Evaluation, Identity, RunFolder, RunRecord
from nasbench.runs.picture import draw_front
from nasbench.sweeps.driver import Sweep

DIMS = Dimensions(n_layers=4, n_heads=4, n_units=100, hidden_size=16, head_size=4, n_fixed_params=1000)
SPACE = make_space("small", DIMS)
WIDTH = 80
SPLITS = {"train": 1_000, "validation": 400, "test": 80}


def make_evaluation(
    index: int, config: list[int], error: float | None, test_error: float | None = None, space: SearchSpace = SPACE
) -> Evaluation:
    vector: Config = np.array(config, dtype=np.int64)
    subnetwork = space.to_subnetwork(vector)
    n_params = subnetwork.n_params(DIMS)
    return Evaluation(
        index=index,
        config=space.to_json(vector),
        key=subnetwork.key,
        head_counts=subnetwork.head_counts.tolist(),
        unit_counts=subnetwork.unit_counts.tolist(),
        error=error,
        params=n_params / DIMS.n_params,
        n_params=n_params,
        elapsed_s=10.0 * (index + 1),
        status="ok" if error is not None else "failed",
        test_error=test_error,
    )


FULL = make_evaluation(0, [4, 100, 4], 0.2, 0.25)
EMPTY = make_evaluation(1, [0, 0, 0], 0.5, 0.5)
HALF = make_evaluation(2, [2, 50, 2], 0.28, 0.4)
DOMINATED = make_evaluation(3, [3, 90, 4], 0.3)
FAILED = make_evaluation(4, [1, 10, 1], None)
EVALUATIONS = [FULL, EMPTY, HALF, DOMINATED, FAILED]


def make_record(method: str = "ws-nas") -> RunRecord:
    identity = Identity("rte", "tiny", "small", method, "random", {}, 0, "cpu", 200.0)
    return RunRecord(identity, "1", "demo", "accuracy", DIMS.n_params, DIMS.to_json())


def screen(width: int = WIDTH, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=terminal, highlight=False)


def printed(view: View) -> str:
    file = view.console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def rendered(view: LiveView) -> str:
    console = screen()
    console.print(view.render())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def finish(view: View, record: RunRecord, evaluations: list[Evaluation], folder: Path) -> str:
    record.charged_s = {"training": 100.0, "validation": 60.0, "search": 30.0, "idle": 10.0}
    record.uncharged_s = {"test": 7.5}
    record.status = "complete"
    view.run_started(record, folder, 0, 200.0)
    view.run_finished(record, evaluations)
    return printed(view)


def test_progress_counts_failures_and_keeps_best_error_and_front(tmp_path: Path) -> None:
    progress = Progress()
    progress.run_started(make_record(), tmp_path, 0, 200.0)
    for evaluation in EVALUATIONS:
        progress.evaluated(evaluation)
    assert (progress.n_evaluations, progress.n_failed, progress.best_error) == (5, 1, 0.2)
    assert progress.elapsed_s == 50.0
    small, middle = EMPTY.params, HALF.params
    by_hand = (1 - 1) * 0.8 + (1 - middle) * (1 - 0.28) + (middle - small) * (1 - 0.5)
    assert progress.raw_hypervolume == pytest.approx(by_hand, abs=1e-12)


def test_progress_of_resumed_run_starts_from_the_record(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for evaluation in EVALUATIONS[:3]:
        folder.append(evaluation)
    progress = Progress()
    progress.phase("loading", 30.0)
    progress.run_started(make_record(), tmp_path, 3, 200.0)
    assert (progress.n_evaluations, progress.best_error, progress.elapsed_s) == (3, 0.2, 30.0)


def test_eta_uses_the_speed_of_the_current_training(tmp_path: Path) -> None:
    progress = Progress()
    progress.run_started(make_record(), tmp_path, 0, 200.0)
    progress.training(10, 100, 5.0)
    assert progress.eta_s is None
    progress.training(40, 100, 20.0)
    assert progress.eta_s == pytest.approx(60 * 0.5)
    # A second training of the same length does not use the speed of the first.
    progress.training(1, 100, 60.0)
    assert progress.eta_s is None
    progress.training(3, 100, 64.0)
    assert progress.eta_s == pytest.approx(200 - 64)  # not 97 * 2 s: the budget ends earlier
    progress.phase("search", 64.0)
    assert progress.eta_s is None


def test_front_is_sorted_by_size_without_failures_and_duplicates() -> None:
    copy = dataclasses.replace(HALF, index=5)
    assert front_of([*EVALUATIONS, copy]) == [EMPTY, HALF, FULL]
    assert front_of([]) == []
    assert front_of([FAILED]) == []


def test_long_front_is_thinned_and_keeps_both_ends() -> None:
    front = [dataclasses.replace(FULL, index=i) for i in range(101)]
    assert [e.index for e in spread(front, 5)] == [0, 25, 50, 75, 100]
    assert spread(front[:4], 5) == front[:4]


@pytest.mark.parametrize("view_class", [PlainView, LiveView])
@pytest.mark.parametrize("width", [WIDTH, 140])
def test_summary_shows_front_budget_and_files(tmp_path: Path, view_class: type[View], width: int) -> None:
    text = finish(view_class(screen(width)), make_record(), EVALUATIONS, tmp_path)
    lines = text.splitlines()
    assert "Pareto front of ws-nas/random on rte (tiny): 3 of 5 sub-networks" in text
    rows = [line.split() for line in lines if "%" in line and line.lstrip()[:1].isdigit()]
    assert [row[:3] for row in rows] == [["0", "0", "0"], ["2", "2", "50"], ["4", "4", "100"]]
    # Validation 0.72 of 0.8, test 0.6 of 0.75.
    assert rows[1][-6:] == ["0.7200", "90.0", "%", "0.6000", "80.0", "%"]
    assert rows[1][3] == f"{100 * HALF.params:.1f}"
    assert next(line for line in lines if line.startswith("share")).split() == [
        "share", "50.0", "%", "30.0", "%", "15.0", "%", "5.0", "%",
    ]  # fmt: skip
    assert "off the clock: test 7.5 s" in text
    assert all(len(line) <= width for line in lines if str(tmp_path) not in line)
    assert str(tmp_path / "front.png") in text
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")


def test_full_network_off_the_front_is_shown_below_it(tmp_path: Path) -> None:
    better = make_evaluation(1, [2, 100, 4], 0.1)
    text = finish(PlainView(screen()), make_record(), [FULL, better], tmp_path)
    rows = [line for line in text.splitlines() if "100.0 %" in line and line.lstrip().startswith("4")]
    assert "1 of 2 sub-networks" in text
    assert len(rows) == 1
    assert "112.5 %" in text


def test_summary_without_full_network_shows_no_percentages_of_it(tmp_path: Path) -> None:
    text = finish(PlainView(screen()), make_record(), [EMPTY, HALF], tmp_path)
    assert "relative to the full network" not in text
    assert "0.7200" in text


def test_summary_says_that_heads_are_groups_of_query_heads(tmp_path: Path) -> None:
    grouped = dataclasses.replace(make_record(), dimensions=dataclasses.replace(DIMS, n_queries=3).to_json())
    line = "a head here is a group of 3 query heads with one key and value"
    assert line in finish(PlainView(screen()), grouped, EVALUATIONS, tmp_path).splitlines()
    assert "group" not in finish(PlainView(screen()), make_record(), EVALUATIONS, tmp_path)


def test_run_without_evaluations_draws_no_picture(tmp_path: Path) -> None:
    text = finish(PlainView(screen()), make_record(), [], tmp_path)
    assert "no sub-network was evaluated" in text
    assert "picture" not in text
    assert not (tmp_path / "front.png").exists()


def test_summary_prints_notes_of_the_record(tmp_path: Path) -> None:
    record = make_record()
    record.notes.append("training of 'super-network' ended at step 71 of 990")
    text = finish(PlainView(screen(width=140)), record, EVALUATIONS, tmp_path)
    assert "note: training of 'super-network' ended at step 71 of 990" in text


def test_data_are_summarised_before_the_run() -> None:
    counts = {name: SplitSummary(n, {"bad": n // 4, "good": n - n // 4}, None, 0.25, 2) for name, n in SPLITS.items()}
    summary = DataSummary(counts, {"test in train": 3}, "good", 128, ("class [b]'odd'[/b] has a single row",))
    for view in (PlainView(screen(width=140)), LiveView(screen(width=140))):
        view.phase("loading", 0.0)
        view.data_loaded(summary)
        assert printed(view).splitlines() == [
            "loading data and model",
            "data: 1,000 train, 400 validation, 80 test rows",
            "classes: bad 25.0 %, good 75.0 %; most frequent: good 75.0 % in validation, good 75.0 % in test",
            "F1 is that of the class good",
            "cut at max_length = 128 tokens: 25.0 % of train, 25.0 % of validation, 25.0 % of test",
            "repeated texts: 2 in train, 2 in validation, 2 in test, 3 of test are in train",
            "note: class [b]'odd'[/b] has a single row",
        ]


def test_networks_no_better_than_the_majority_are_marked(tmp_path: Path) -> None:
    record = make_record()
    assert "*" not in finish(PlainView(screen()), record, EVALUATIONS, tmp_path)
    record.constant_error = 0.5
    text = finish(PlainView(screen()), record, EVALUATIONS, tmp_path)
    marked = [line for line in text.splitlines() if "*" in line]
    assert [line.split()[:2] for line in marked] == [["*", "0"], ["*", "no"]]
    assert marked[1] == "* no better than the majority class (validation accuracy 0.5000)"
    assert max(map(len, text.splitlines()[:12])) <= WIDTH
    record.constant_error, record.metric = 0.1, "f1"
    text = finish(PlainView(screen(width=140)), record, EVALUATIONS, tmp_path)
    assert "* no better than the best constant answer (validation f1 0.9000): this is every network here, so" in text
    assert "--budget" not in text
    record.shortened_trainings = {"super-network": 9}
    text = finish(PlainView(screen(width=200)), record, EVALUATIONS, tmp_path)
    assert "the run has found nothing; its training was shortened, so give it a larger --budget" in text


def test_picture_has_a_line_at_the_error_of_the_majority() -> None:
    def dotted(record: RunRecord) -> list[tuple[str, float]]:
        lines = draw_front(record, EVALUATIONS).axes[0].get_lines()
        return [(str(line.get_label()), float(np.ravel(line.get_ydata())[0])) for line in lines if line.get_ls() == ":"]

    record = make_record()
    assert dotted(record) == []
    record.constant_error = 0.5
    assert dotted(record) == [("majority class (1 of the front no better)", 0.5)]
    record.constant_error = 0.6
    assert dotted(record) == [("majority class", 0.6)]
    record.metric = "spearman"
    assert dotted(record) == [("constant answer", 0.6)]


def test_unwritable_picture_raises_one_line(tmp_path: Path) -> None:
    (tmp_path / "front.png").mkdir()
    with pytest.raises(NasbenchError, match="the record is complete, its picture cannot be written: "):
        finish(PlainView(screen()), make_record(), EVALUATIONS, tmp_path)


def test_markup_in_names_is_printed_literally(tmp_path: Path) -> None:
    text = finish(PlainView(screen(width=140)), make_record(method="[red]x[/red]$\\frac"), EVALUATIONS, tmp_path)
    assert "[red]x[/red]$\\frac/random" in text


def test_plain_lines_follow_phases_and_budget(tmp_path: Path) -> None:
    view = PlainView(screen(width=140))
    view.phase("loading", 0.0)
    view.run_started(make_record(), tmp_path, 0, 1000.0)
    view.phase("training", 0.0)
    for step in range(1, 101):
        view.training(step, 100, 0.5 * step)
    for index in range(10):
        view.phase("validation", 50.0 + index)
        view.evaluated(dataclasses.replace(DOMINATED, index=index, elapsed_s=51.0 + index))
        view.phase("search", 51.0 + index)
    lines = [line for line in printed(view).splitlines() if line.startswith("[")]
    assert lines[0] == "[1 s of 16:40 min] training: step 2 of 100, 49 s left; 0 evaluations"
    assert lines[1] == "[21 s of 16:40 min] training: step 42 of 100, 29 s left; 0 evaluations"
    # Each new phase prints one line; the next line follows after 20 seconds of the budget.
    assert [line.split("] ")[1].split(":")[0] for line in lines[3:]] == ["validation", "search"]
    assert "loading data and model" in printed(view)


@pytest.mark.parametrize(
    ("method", "budget_s", "limit", "expected"),
    [
        (
            "ws-nas", 1200.0, None,
            "time: 20:00 min (training at most 16:00 min, evaluations the rest); "
            "loading, test errors and records are extra",
        ),
        ("s-nas", 300.0, None, "time: 5:00 min; loading, test errors and records are extra"),
        (
            "rfp", 300.0, 7,
            "time: 5:00 min (or 7 evaluations if these are made sooner); loading, test errors and records are extra",
        ),
        ("rfp", math.inf, 7, "time: until 7 evaluations are made"),
    ],
)  # fmt: skip
def test_first_view_says_what_the_run_will_do_and_how_long_it_takes(
    method: str, budget_s: float, limit: int | None, expected: str, tmp_path: Path
) -> None:
    record = make_record(method)
    record.identity = dataclasses.replace(record.identity, max_evaluations=limit)
    view = PlainView(screen(width=140))
    view.run_started(record, tmp_path, 0, budget_s)
    lines = printed(view).splitlines()
    assert lines[1] == f"plan: {registry.methods()[method].summary}"
    assert lines[2:4] == [expected, "Ctrl-C is safe: the same command resumes the run"]
    assert plan(make_record("of-a-plugin"), 60.0) == ["time: 1:00 min; loading, test errors and records are extra"]


def test_live_view_fits_a_narrow_terminal(tmp_path: Path) -> None:
    with LiveView(screen(terminal=True)) as view:
        view.run_started(make_record(), tmp_path, 0, 200.0)
        view.training(10, 100, 10.0)
        view.training(50, 100, 50.0)
        view.evaluated(HALF)
        shown = rendered(view)
    assert all(len(line) <= WIDTH for line in shown.splitlines())
    assert "50 s of 3:20 min" in shown
    assert "step 50 of 100, 50 s left" in shown
    assert "best error 0.2800" in shown


def interrupted(view: LiveView, folder: Path) -> None:
    with view:
        view.run_started(make_record(), folder, 0, 200.0)
        assert view._live.is_started
        raise KeyboardInterrupt


def test_live_view_restores_the_terminal_after_an_interrupt(tmp_path: Path) -> None:
    view = LiveView(screen(terminal=True))
    with pytest.raises(KeyboardInterrupt):
        interrupted(view, tmp_path)
    assert not view._live.is_started
    cursor_off, cursor_on = "\x1b[?25l", "\x1b[?25h"
    assert 0 <= printed(view).rfind(cursor_off) < printed(view).rfind(cursor_on)


def test_live_view_without_budget_shows_no_limit(tmp_path: Path) -> None:
    view = LiveView(screen())
    view.run_started(make_record(), tmp_path, 0, math.inf)
    view.evaluated(HALF)
    shown = rendered(view)
    view.__exit__(None, None, None)
    assert "30 s" in shown
    assert " of " not in shown


@pytest.mark.parametrize("is_terminal", [False, True])
def test_views_are_live_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch, is_terminal: bool) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    assert type(observer(quiet=False)) is (LiveView if is_terminal else PlainView)
    assert type(observer(quiet=True)) is PlainView
    sweep = Sweep([], 1)
    assert type(view_of(sweep, quiet=False)) is (LiveSweepView if is_terminal else SweepView)
    assert type(view_of(sweep, quiet=True)) is SweepView


REMARK = " ".join(f"word{i}" for i in range(60))


def test_remarks_are_whole_lines_in_a_log(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    record = make_record()
    record.notes.append(REMARK)
    view = observer(quiet=True)
    view.notice(REMARK)
    view.run_started(record, tmp_path, 0, 200.0)
    view.run_finished(record, EVALUATIONS)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == REMARK
    assert f"note: {REMARK}" in lines
    assert next(line for line in lines if line.startswith("layers")).endswith("test accuracy")


def test_remarks_break_between_words_on_a_terminal() -> None:
    view = LiveView(screen())
    view.notice(REMARK)
    lines = printed(view).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert " ".join(line.strip() for line in lines) == REMARK


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.4, "59 s"), (59.6, "1:00 min"), (187, "3:07 min"), (3765, "1:02:45 h")]
)
def test_duration_formats_seconds(seconds: float, text: str) -> None:
    assert duration(seconds) == text
