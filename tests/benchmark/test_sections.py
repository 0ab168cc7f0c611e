from __future__ import annotations

import pytest

from nasbench.plugins import registry

SECTIONS = {section.name: section for section in registry.sections()}


def test_paper_section_is_the_papers_grid() -> None:
    section = SECTIONS["paper-gpu"]
    assert len(section.scenarios) == 8 * 2
    assert len(section.blocks) == 8 * 2 * 10
    assert {model for _, model in section.scenarios} == {"bert-base-cased", "roberta-base"}


@pytest.mark.parametrize("section", registry.sections(), ids=lambda section: section.name)
def test_every_block_can_be_run_officially(section) -> None:
    """Each scenario exists, lies in the section's track, and has a budget on the section's device class."""
    assert section.name == f"{section.track}-{section.device_class}"
    assert set(section.seeds) <= set(range(10))
    assert len(set(section.blocks)) == len(section.blocks) == len(section.scenarios) * len(section.seeds)
    for task_name, model_name in section.scenarios:
        task, model = registry.tasks()[task_name], registry.models()[model_name]
        assert task.track_of(model) == section.track
        assert task.budget_s(model, section.device_class) is not None


def test_blocks_are_named_like_the_scenarios_of_results() -> None:
    assert SECTIONS["demo-cpu"].blocks[:2] == (("demo/minilm-l6/cpu", 0), ("demo/minilm-l6/cpu", 1))
