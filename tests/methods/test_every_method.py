"""Every method writes a valid record on every kind of task, with both architectures of the tiny models."""

import pytest
from support.runs import assert_valid_record, trained_briefly

from nasbench.plugins import registry
from nasbench.records.record import RunFolder
from nasbench.search.searcher import MultiFidelitySearcher
from nasbench.testing.models import TINY_BERT, TINY_ROBERTA
from nasbench.testing.subject import MethodSubject
from nasbench.testing.tasks import TINY_CHOICE, TINY_PAIR, TINY_REGRESSION, TINY_SINGLE
from nasbench.training.configuration import TrainingOptions

METHODS, SEARCHERS = registry.methods(), registry.searchers()
MULTI_FIDELITY = [name for name in SEARCHERS if issubclass(SEARCHERS[name], MultiFidelitySearcher)]
ENTRIES = [(name, None) for name in METHODS] + [
    (name, searcher) for name in METHODS if METHODS[name].multi_fidelity for searcher in MULTI_FIDELITY
]
PAIRS = [
    # The contract of methods runs BERT on a pair and on a choice, and RoBERTa on a regression.
    (TINY_BERT, TINY_SINGLE),
    (TINY_BERT, TINY_REGRESSION),
    (TINY_ROBERTA, TINY_PAIR),
    (TINY_ROBERTA, TINY_CHOICE),
]


@pytest.mark.parametrize(("model", "task"), PAIRS, ids=lambda each: each.name)
@pytest.mark.parametrize(("method", "searcher"), ENTRIES)
def test_run_writes_a_valid_record(method, searcher, model, task, tmp_path):
    if searcher is None:  # a multi-fidelity searcher chooses the epochs at which it decides by the declared number
        model = trained_briefly(model)
    chosen = searcher and SEARCHERS[searcher]
    subject = MethodSubject(METHODS[method], tmp_path, None, chosen, task, model, n_evaluations=4)
    record = subject.run(tmp_path).record
    assert_valid_record(record, RunFolder(subject.request(tmp_path).folder), task)
    if issubclass(METHODS[method].Options, TrainingOptions):
        assert record.charged_s["training"] > 0
