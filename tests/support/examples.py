"""Settings of hypothesis for tests."""

from hypothesis import settings

same_examples = settings(derandomize=True, deadline=None)
"""The same examples at every run, and no time limit: tests share the machine."""
