"""Runs a stranger's method in a process of its own, which holds no test data, no clock and no record.

The harness (the parent) starts a process (the child), which shuts itself in before it imports the plugin. The child
trains; the parent evaluates the networks that the child hands over. They talk through one socket in JSON headers and
raw arrays; nothing is unpickled. ``docs/isolation.md`` says what this protects from, and what not.

May import: ``runs``, ``plugins``, ``records``, ``training``, ``search``, ``objectives``, ``networks``, ``data``,
``declarations``, ``errors``, ``arrays``.
"""
