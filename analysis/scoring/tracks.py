"""Tracks and device classes. Runs are only compared within one track and one device class."""

from __future__ import annotations

TRACKS = {"paper": "Paper models", "base": "Models of BERT-base's size", "compact": "Compact models", "demo": "Demo"}
EVERY_TRACK = {**TRACKS, "user": "User's own tasks and models"}
"""All tracks, including the one that is not on the leaderboard."""
DEVICE_CLASSES = {"gpu": "GPU", "cpu": "CPU"}
EVERY_DEVICE_CLASS = {**DEVICE_CLASSES, "table": "simulated on tables"}
"""All device classes, including simulated runs, which are not on the leaderboard."""


def section_title(track: str, device_class: str) -> str:
    """The heading of a section of results, such as ``Paper models, GPU``."""
    return f"{EVERY_TRACK.get(track, track)}, {EVERY_DEVICE_CLASS.get(device_class, device_class)}"
