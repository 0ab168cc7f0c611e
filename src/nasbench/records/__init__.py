"""The files of a run: its record, checkpoints and provenance. Also the checks before an interrupted run is resumed.

May import: ``errors``, ``arrays``, ``devices``, ``declarations``, ``data``, ``networks``, ``objectives``, ``training``,
``search``.
"""
