"""Every architecture that can be pruned keeps the contract."""

from __future__ import annotations

from typing import get_args

import pytest
from click.testing import CliRunner

from nasbench.cli.main import cli
from nasbench.declarations.model import Architecture
from nasbench.testing import ArchitectureContract
from nasbench.testing.decoders import (
    TINY_DECODERS,
    TINY_GPT2,
    TINY_GPT_NEOX,
    TINY_LLAMA,
    TINY_MISTRAL,
    TINY_QWEN2,
)
from nasbench.testing.models import (
    TINY_BERT,
    TINY_CAMEMBERT,
    TINY_DEBERTA_V2,
    TINY_DISTILBERT,
    TINY_ELECTRA,
    TINY_ENCODERS,
    TINY_MODERNBERT,
    TINY_MPNET,
    TINY_ROBERTA,
    TINY_XLM_ROBERTA,
)


class TestBert(ArchitectureContract):
    model = TINY_BERT


class TestRoberta(ArchitectureContract):
    model = TINY_ROBERTA


class TestXLMRoberta(ArchitectureContract):
    model = TINY_XLM_ROBERTA


class TestCamembert(ArchitectureContract):
    model = TINY_CAMEMBERT


class TestElectra(ArchitectureContract):
    model = TINY_ELECTRA


class TestDistilBert(ArchitectureContract):
    model = TINY_DISTILBERT


class TestMPNet(ArchitectureContract):
    model = TINY_MPNET


class TestModernBert(ArchitectureContract):
    model = TINY_MODERNBERT


class TestDebertaV2(ArchitectureContract):
    model = TINY_DEBERTA_V2


class TestLlama(ArchitectureContract):
    model = TINY_LLAMA


class TestMistral(ArchitectureContract):
    model = TINY_MISTRAL


class TestQwen2(ArchitectureContract):
    model = TINY_QWEN2


class TestGPT2(ArchitectureContract):
    model = TINY_GPT2


class TestGPTNeoX(ArchitectureContract):
    model = TINY_GPT_NEOX


def test_every_declared_architecture_has_a_tiny_network() -> None:
    models = (*TINY_ENCODERS, *TINY_DECODERS)
    assert {model.architecture for model in models} == set(get_args(Architecture))
    contracts = [value.model for value in globals().values() if isinstance(value, type) and hasattr(value, "model")]
    assert set(contracts) == set(models)


@pytest.mark.parametrize("as_json", [False, True])
def test_command_line_lists_the_architectures(as_json: bool) -> None:
    done = CliRunner().invoke(cli, ["models", "--architectures", *(["--json"] if as_json else [])])
    assert done.exit_code == 0, done.output
    for architecture in get_args(Architecture):
        assert architecture in done.output
    assert (done.output[0] == "[") == as_json
