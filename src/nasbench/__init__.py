"""nasbench: structural pruning of pre-trained language models by multi-objective neural architecture search."""

__version__ = "0.1.0"
