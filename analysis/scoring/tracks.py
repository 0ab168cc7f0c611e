"""Tracks and device classes: runs are compared within one of each, never across."""

from __future__ import annotations

TRACKS = {"paper": "Paper models", "compact": "Compact models", "demo": "Demo"}
EVERY_TRACK = {**TRACKS, "user": "User's own tasks and models"}
"""With what is compared but never on the leaderboard."""
DEVICE_CLASSES = {"gpu": "GPU", "cpu": "CPU"}


def section_title(track: str, device_class: str) -> str:
    """``Paper models, GPU``."""
    return f"{EVERY_TRACK.get(track, track)}, {DEVICE_CLASSES.get(device_class, device_class)}"
