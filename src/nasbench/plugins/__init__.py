"""Extensions: the contract of methods; the registry of methods, searchers and tasks; options; tasks in TOML files.

May import: ``errors``, ``arrays``, ``declarations``, ``data``, ``networks``, ``training``, ``search``, ``records``.
"""
