from pathlib import Path

import pytest
from support.generated_results import Entry, Plan, write_results


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Results of a good entry (``ws-nas/ehvi@small``) and a bad entry (``rfp@large``), two tasks, four seeds."""
    entries = [Entry("ws-nas", "ehvi", shift=-0.05), Entry("rfp", space="large", shift=0.05)]
    write_results(tmp_path, Plan(entries, tasks=["rte", "mrpc"], seeds=range(4), n_evaluations=30))
    return tmp_path
