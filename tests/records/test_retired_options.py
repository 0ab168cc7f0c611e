"""Records with options that a method no longer has."""

import dataclasses
from pathlib import Path

import pytest

from nasbench.errors import UserError
from nasbench.plugins import options, registry
from nasbench.records.record import Identity, RunFolder, find_runs
from nasbench.records.schema import RETIRED_OPTIONS, present_options
from nasbench.trust.expected import request_of

RESULTS = Path(__file__).parents[2] / "results"
ORDERED = next(path for path in find_runs(RESULTS) if path.name.startswith("ws-nas-ordered"))


def _with(identity: Identity, **changed: object) -> Identity:
    own = {**identity.options["method"], **changed}
    return dataclasses.replace(identity, options={**identity.options, "method": own})


def test_committed_records_have_no_option_that_their_method_lacks() -> None:
    """So each of them can be verified and repeated."""
    seen = set()
    for path in find_runs(RESULTS):
        identity = RunFolder(path).read_run().identity
        known = options.to_json(registry.methods()[identity.method].Options())
        assert set(present_options(identity.method, identity.options)["method"]) <= set(known), path
        seen.add(identity.method)
    assert seen >= set(RETIRED_OPTIONS)


def test_retired_options_are_no_options_of_the_present_methods() -> None:
    for method, retired in RETIRED_OPTIONS.items():
        assert not set(retired) & set(options.to_json(registry.methods()[method].Options()))


def test_record_with_the_value_that_stayed_is_repeated_without_the_option() -> None:
    record = RunFolder(ORDERED).read_run()
    record.identity = _with(record.identity, repair=False)
    assert request_of(record).method_options == registry.methods()["ws-nas-ordered"].Options()


def test_record_with_another_value_is_not_repeated() -> None:
    record = RunFolder(ORDERED).read_run()
    record.identity = _with(record.identity, repair=True)
    with pytest.raises(UserError, match="repair"):
        request_of(record)
