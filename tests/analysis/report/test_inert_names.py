"""Texts from strangers' records are inert in the page, the leaderboard and the CSV files, whichever field has them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from support.generated_results import Entry, Plan, write_results

from nasbench.analysis.figures.catalogue import FIGURES
from nasbench.analysis.reading.results import read_results
from nasbench.analysis.report import report as report_module
from nasbench.analysis.report.leaderboard import render
from nasbench.analysis.report.report import report

KINDS = {
    "script": "<script>alert('MARK')</script><img src=x onerror=alert('MARK')>",
    "link": "[x](javascript:alert('MARK')) ![y](http://example.org/MARK.png)",
    "formula": '=HYPERLINK("http://example.org/MARK")',
}
"""Texts with a place for the mark that tells which field they are from."""


def marked(kind: str, field: str) -> str:
    return KINDS[kind].replace("MARK", mark_of(kind, field))


def mark_of(kind: str, field: str) -> str:
    """Letters only, so that nothing escapes them."""
    return f"{kind}Of{field.capitalize()}"


def put(*path: str) -> Callable[[dict[str, Any], Any], None]:
    """Sets a field of a record."""

    def change(record: dict[str, Any], value: Any) -> None:
        inner = record
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = [value] if isinstance(inner.get(path[-1]), list) else value

    return change


CHANGES: dict[str, Callable[[dict[str, Any], Any], None]] = {
    "method": put("identity", "method"),
    "searcher": put("identity", "searcher"),
    "space": put("identity", "space"),
    "task": put("identity", "task"),
    "model": put("identity", "model"),
    "option": lambda record, value: record["identity"].update(options={value: value}),
    "metric": put("metric"),
    "track": put("track"),
    "version": put("suite_version"),
    "reason": put("reason"),
    "unofficial": put("unofficial"),
    "notes": lambda record, value: record.update(notes=[value]),
    "provenance": lambda record, value: record["provenance"].update({"nasbench": value, value: value}),
    "started": put("started_at"),
}

FIELDS = (*CHANGES, "author", "command")
SHOWN = {
    "page": {
        *("method", "searcher", "space", "task", "model", "option", "metric"),
        *("version", "reason", "unofficial", "provenance", "started"),
    },
    "CSV": {"method", "searcher", "space", "task", "model", "track", "version", "reason", "author"},
    "tables": {"method", "searcher", "space", "task", "model", "track", "version", "reason", "author"},
    "board": {"method", "searcher", "space", "track", "version", "author"},
}
"""The fields whose text is shown in each place."""
NOT_SHOWN = {"notes", "command"}
"""The fields that no place shows: the command is that of the record, not what its author wrote."""


class Elements(HTMLParser):
    """The elements of a page that run code or load something."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        for name, value in attributes:
            if name.startswith("on") or (value or "").lstrip().startswith("javascript:"):
                self.found.append(f"{tag} {name}={value}")
            if name in ("src", "href") and not (value or "").startswith(("#", "data:")):
                self.found.append(f"{tag} {name}={value}")
        if tag in ("script", "iframe", "object", "base"):
            self.found.append(tag)


def elements(page: Path) -> list[str]:
    parser = Elements()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser.found


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """Results in which each text field of some run, its author and its command hold each kind of text."""
    for kind in KINDS:
        for number, (name, change) in enumerate(CHANGES.items()):
            status = "failed" if name == "reason" else "complete"
            entry = Entry(f"{kind}{number}", "random")  # of its own: the second of two equal runs is not shown
            models = [kind if name == "metric" else "bert-base-cased"]  # only the first metric of a scenario is shown
            plan = Plan([entry], ["rte"], models, seeds=[0], n_evaluations=6, status=status)
            (run,) = write_results(tmp_path / "runs" / f"{kind}{number}", plan)
            record = json.loads((run / "run.json").read_text())
            change(record, marked(kind, name))
            (run / "run.json").write_text(json.dumps(record))
            author, command = marked(kind, "author"), marked(kind, "command")
            submission = {"author": author, "link": "https://example.org/x", "command": command, "schema_version": 1}
            (run / "submission.json").write_text(json.dumps(submission))
    return tmp_path


def test_texts_of_records_are_inert_everywhere(hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_module, "FIGURES", {"front": FIGURES["front"]})
    report(hostile / "runs", hostile / "out")
    plain = hostile / "plain"
    write_results(plain / "runs", Plan([Entry("ws-nas", "random")], ["rte"], seeds=[0], n_evaluations=6))
    report(plain / "runs", plain / "out")
    assert elements(hostile / "out" / "report.html") == elements(plain / "out" / "report.html")
    page = (hostile / "out" / "report.html").read_text(encoding="utf-8")

    cells = []
    for path in sorted((hostile / "out" / "tables").glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            cells += [cell for row in csv.reader(file) for cell in row]
    tables = [path.read_text(encoding="utf-8") for path in sorted((hostile / "out" / "tables").glob("*.md"))]
    board = render(read_results(hostile / "runs"))
    places = {"page": page, "CSV": "\n".join(cells), "tables": "\n".join(tables), "board": board}
    assert set().union(*SHOWN.values()) == {*FIELDS} - NOT_SHOWN
    for kind in KINDS:
        marks = {field: mark_of(kind, field) for field in FIELDS}
        seen = {place: {field for field in FIELDS if marks[field] in text} for place, text in places.items()}
        assert seen == SHOWN, kind
    for cell in cells:
        assert not cell.startswith(("=", "@", "+", "\t", "\r")), cell
        assert not cell.startswith("-") or re.fullmatch(r"-|-[\d.]+(e-?\d+)?|-inf", cell), cell

    for written in (*tables, board):
        assert "<script" not in written
        assert "<img" not in written
        assert not re.search(r"(?<!\\)\[[xy](?<!\\)\]\(", written)
