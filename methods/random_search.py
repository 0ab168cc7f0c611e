"""Random search, the simplest baseline (Bergstra and Bengio 2012; appendix D of the paper)."""

from __future__ import annotations

from nasbench.arrays import FloatArray
from nasbench.networks.space import Config
from nasbench.objectives.declared import MOST_OBJECTIVES
from nasbench.search.searcher import Searcher


class RandomSearch(Searcher):
    """Samples the space uniformly and ignores all values."""

    name = "random"
    summary = "uniform sampling of the space"
    most_objectives = MOST_OBJECTIVES

    def ask(self) -> Config:
        return self.space.sample(self.rng)

    def tell(self, config: Config, values: FloatArray) -> None:
        """Do nothing."""
