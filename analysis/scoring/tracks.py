"""Tracks and device classes. Runs are only compared within one track and one device class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

TRACKS = {
    "paper": "Paper models",
    "base": "Models of BERT-base's size",
    "large": "Models of BERT-large's size",
    "compact": "Compact models",
    "decoder": "Decoders",
    "demo": "Demo",
}
EVERY_TRACK = {**TRACKS, "user": "User's own tasks and models"}
"""All tracks, including the one that is not on the leaderboard."""
DEVICE_CLASSES = {"gpu": "GPU", "cpu": "CPU"}
TABLE = "table"
"""The device class of simulated runs. They have sections of their own, without a run on a network."""
EVERY_DEVICE_CLASS = {**DEVICE_CLASSES, TABLE: "simulated on tables"}
"""All device classes, including that of simulated runs."""


def section_title(track: str, device_class: str) -> str:
    """The heading of a section of results, such as ``Paper models, GPU``."""
    base, _, objectives = track.partition(":")
    title = EVERY_TRACK.get(base, base) + (f", {objectives.replace('+', ', ')}" if objectives else "")
    return f"{title}, {EVERY_DEVICE_CLASS.get(device_class, device_class)}"


def with_objectives(tracks: Mapping[str, str], found: Iterable[str]) -> list[str]:
    """These tracks, each followed by those of its runs with other objectives than error and parameters.

    Args:
        found: the tracks of all runs.
    """
    others = sorted({track for track in found if ":" in track})
    return [name for track in tracks for name in (track, *(o for o in others if o.partition(":")[0] == track))]
