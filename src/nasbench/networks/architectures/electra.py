"""ELECTRA (Clark et al. 2020), the discriminator: BERT with narrower embeddings and another classifier."""

from __future__ import annotations

from typing import cast

from torch import Tensor

from nasbench.networks.architectures.bert import Bert


class Electra(Bert):
    """An ELECTRA discriminator."""

    def embed(self, words: Tensor, token_type_ids: Tensor, mask: Tensor | None, places: Tensor | None = None) -> Tensor:
        """As for BERT. Small models project the sum to the width of the layers; dropout follows the projection."""
        embedded = super().embed(words, token_type_ids, mask, places)
        project = getattr(self.base, "embeddings_project", None)
        return embedded if project is None else cast(Tensor, project(embedded))

    def classify(self, states: Tensor) -> Tensor:
        if self.is_multiple_choice:
            return cast(Tensor, self.model.classifier(self.model.sequence_summary(states[:, None])))
        return cast(Tensor, self.model.classifier(states[:, None]))
