"""A class that stands for a stranger's method or searcher has everything that the class declares."""

import json

import pytest

from nasbench.isolation.stand_in import describe, stand_in
from nasbench.plugins import registry
from nasbench.plugins.method import Method
from nasbench.search.searcher import Searcher

DECLARED = {
    base: [name for name in base.__annotations__ if name != "Options" and "ClassVar" in str(base.__annotations__[name])]
    for base in (Method, Searcher)
}


def test_the_declared_names_are_those_of_the_contracts():
    assert {"name", "spaces", "multi_fidelity", "adds_output_biases"} <= set(DECLARED[Method])
    assert {"name", "spaces", "expects_depths", "most_objectives"} <= set(DECLARED[Searcher])


@pytest.mark.parametrize("base", [Method, Searcher], ids=lambda base: base.__name__)
def test_every_declaration_survives_as_json(base):
    """Each flag is turned around once, so that none is the default by chance."""
    example = (registry.methods() if base is Method else registry.searchers())["ws-nas" if base is Method else "random"]
    usual = {name: getattr(example, name) for name in DECLARED[base]}
    turned = {name: not value if isinstance(value, bool) else value for name, value in usual.items()}
    for declared in (usual, turned):
        cls = type("Stranger", (example,), dict(declared))
        made, chosen = stand_in(json.loads(json.dumps(describe(cls, cls.Options()))))
        assert {name: getattr(made, name) for name in DECLARED[base]} == declared
        assert issubclass(made, base)
        assert vars(chosen).keys() == vars(cls.Options()).keys()


@pytest.mark.parametrize("name", sorted(registry.methods()))
def test_every_method_of_the_suite_has_a_stand_in(name):
    cls = registry.methods()[name]
    made, _ = stand_in(json.loads(json.dumps(describe(cls, cls.Options()))))
    assert {each: getattr(made, each) for each in DECLARED[Method]} == {
        each: getattr(cls, each) for each in DECLARED[Method]
    }
