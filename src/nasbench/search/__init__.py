"""The searcher contract, the loop between a method and a searcher, Pareto fronts, and models for Bayesian searchers.

May import: ``errors``, ``arrays``, ``declarations``, ``data``, ``networks``, ``objectives``.
"""
