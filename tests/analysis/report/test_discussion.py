"""Texts about a folder of records: shown beside the figure and the claim that they name, and refused for any other."""

from pathlib import Path

import pytest
from support.generated_results import Entry, Plan, write_results

from nasbench.analysis.report.discussion import FILE, read_discussion
from nasbench.analysis.report.results_page import page
from nasbench.analysis.scoring.quantiles import Quantiles
from nasbench.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
CLAIM = "standard NAS: moasha beats random search on average"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    entries = [Entry("s-nas", "random", shift=0.05), Entry("s-nas", "moasha", shift=-0.05)]
    write_results(tmp_path, Plan(entries, tasks=["rte", "mrpc", "cola"], seeds=range(3), noise=0.001))
    return tmp_path


def test_texts_stand_beside_their_figure_and_their_claim(folder: Path) -> None:
    without = page(folder, Quantiles())
    (folder / FILE).write_text(
        f'[figures.13]\ntext = "Eight bits are fast."\n[figures.11]\npicture = "a.png"\ntext = "It stops early."\n'
        f'[claims."paper/gpu"]\n"{CLAIM}" = "Rungs stop bad networks."\n'
    )
    parts = page(folder, Quantiles()).split("\n\n")
    (claim,) = [part for part in parts if part.startswith(f"**{CLAIM}")]
    assert claim.endswith(" Rungs stop bad networks.")
    place = next(i for i, part in enumerate(parts) if part.startswith("### Figure 11: "))
    assert parts[place + 1].endswith("](a.png)")
    assert parts[place + 2] == "It stops early. `nasbench report --figure 11` draws it."
    assert parts[place + 3].startswith("Runs: ")
    place = next(i for i, part in enumerate(parts) if part.startswith("### Figure 13: "))
    assert parts[place + 1].startswith("Eight bits are fast.")
    assert not parts[place + 2].startswith("Runs: ")
    assert "### Figure 13" not in without
    assert "Rungs" not in without


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[figures.99]\ntext = "x"', "unknown figure '99'"),
        ('[claims."paper/gpu"]\n"rfp wins" = "x"', "unknown claim 'rfp wins'"),
        ('[claims."paper/cpu"]\n"rfp wins" = "x"', "has claims of 'paper/cpu', where nothing has run"),
        ('[claims]\n"rfp wins" = "x"', FILE),
        ("[figures.8]\nwords = 'x'", "unexpected keyword argument 'words'"),
        ('[figures]\n8 = "x"', FILE),
        ("[figures.8]\ntext = 3", "'text' of '8' is 3, not a text"),
        ('[claims."paper/gpu"]\n"rfp wins" = 1', "'rfp wins' of 'paper/gpu' is 1, not a text"),
        ('[claims."paper/gpu"]\n"rfp wins" = ["""a\nb"""]', "not a text"),
        ("figures = 1", "'figures' is 1, not a table"),
        ("claims = []", "'claims' is [], not a table"),
        ("[thoughts]", "unknown table 'thoughts'"),
        ("[claims", FILE),
    ],
)
def test_other_texts_are_refused_with_one_line(folder: Path, text: str, message: str) -> None:
    (folder / FILE).write_text(text)
    with pytest.raises(UserError) as caught:
        page(folder, Quantiles())
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_discussion_that_cannot_be_read_is_one_line(folder: Path) -> None:
    (folder / FILE).mkdir()
    with pytest.raises(UserError, match="Is a directory") as caught:
        page(folder, Quantiles())
    assert "\n" not in str(caught.value)
    (folder / FILE).rmdir()
    (folder / FILE).write_bytes(b'text = "\xff"')
    with pytest.raises(UserError, match="codec can't decode"):
        page(folder, Quantiles())


def test_pictures_of_the_committed_discussion_exist() -> None:
    found = read_discussion(ROOT / "results")
    assert len(found.claims["compact/cpu"]) >= 8
    for figure in found.figures.values():
        assert not figure.picture or (ROOT / "results" / figure.picture).resolve().is_file()
