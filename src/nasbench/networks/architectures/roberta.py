"""RoBERTa (Liu et al. 2019), XLM-RoBERTa and CamemBERT: BERT with other positions and another classifier."""

from __future__ import annotations

from typing import cast

from torch import Tensor

from nasbench.networks.architectures.bert import Bert


class Roberta(Bert):
    """A RoBERTa, XLM-RoBERTa or CamemBERT. The classifier reads the first token; multiple choice pools it as BERT."""

    @property
    def first_position(self) -> int:
        return int(self.base.embeddings.padding_idx) + 1

    def classify(self, states: Tensor) -> Tensor:
        if self.is_multiple_choice:
            return super().classify(states)
        return cast(Tensor, self.model.classifier(states[:, None]))
