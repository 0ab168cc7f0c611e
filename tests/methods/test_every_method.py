"""Every method writes a valid record on every architecture and kind of task."""

import pytest
from support.runs import assert_valid_record

from nasbench.plugins import registry
from nasbench.records.record import RunFolder
from nasbench.search.searcher import MultiFidelitySearcher
from nasbench.testing.models import TINY_MODELS
from nasbench.testing.subject import MethodSubject
from nasbench.testing.tasks import TINY_TASKS

METHODS, SEARCHERS = registry.methods(), registry.searchers()
OPTIONS = {
    # One epoch for each training: the quality of the networks does not matter here.
    name: METHODS[name].Options(epochs=2 if name == "ws-nas-ordered" else 1)
    for name in METHODS
}
MULTI_FIDELITY = [name for name in SEARCHERS if issubclass(SEARCHERS[name], MultiFidelitySearcher)]
ENTRIES = [(name, None) for name in METHODS] + [
    (name, searcher) for name in METHODS if METHODS[name].multi_fidelity for searcher in MULTI_FIDELITY
]


@pytest.mark.parametrize("task", TINY_TASKS, ids=lambda task: task.name)
@pytest.mark.parametrize("model", TINY_MODELS, ids=lambda model: model.name)
@pytest.mark.parametrize(("method", "searcher"), ENTRIES)
def test_run_writes_a_valid_record(method, searcher, model, task, tmp_path):
    # A multi-fidelity searcher sets the number of epochs itself.
    options, searcher = (OPTIONS[method], None) if searcher is None else (None, SEARCHERS[searcher])
    subject = MethodSubject(METHODS[method], tmp_path, options, searcher, task, model, n_evaluations=4)
    record = subject.run(tmp_path).record
    assert_valid_record(record, RunFolder(subject.request(tmp_path).folder), task)
    assert record.charged_s["training"] > 0
