"""Commands by subject, each module with a tuple ``COMMANDS`` that the main command adds.

May import: every package of the engine, and the leaves. A command imports heavy modules when it runs.
"""
