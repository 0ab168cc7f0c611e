"""The files that a run leaves: its record, checkpoints and provenance; and whether an interrupted run can resume.

May import: ``errors``, ``arrays``, ``declarations``, ``data``, ``networks``, ``training``, ``search``.
"""
