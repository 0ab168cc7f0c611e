"""Ways to damage a bundle: odd values in its records, changed bytes and predictions, and odd archives."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import stat
import zipfile

import pytest
from hypothesis import strategies as st

from nasbench.records.predictions import FILE as PREDICTIONS
from nasbench.records.predictions import pack, unpack
from nasbench.records.record import RunFolder
from nasbench.trust.bundles import CONTENTS

RUN, LINES = f"runs/0/{RunFolder.RUN}", f"runs/0/{RunFolder.EVALUATIONS}"
STORED = f"runs/0/{PREDICTIONS}"


class Raw(str):
    """JSON text that no encoder would write, such as NaN, put in place of a value."""


DEEP = Raw("[" * 100_000 + "]" * 100_000)
ODD = [
    *(None, True, False, 0, -1, 1, 0.5, -0.5, 2**31, 2**63, -(2**63) - 1, 10**400, 1e308, 5e-324, "", "0", "x" * 5000),
    *(
        "../../etc/passwd",
        "\0",
        "\ud800",
        "\u202e",
        "\x1b[2J",
        "=1+1",
        "<script>",
        "NaN",
        "1e3",
        [],
        {},
        [[]],
        {"": {}},
    ),
    *(Raw("NaN"), Raw("Infinity"), Raw("-Infinity"), Raw("1e400"), Raw("9" * 5000), Raw("0x10"), Raw("01"), DEEP),
    *([1] * 1000, {"a": {"b": {"c": []}}}),
]


def to_text(value) -> bytes:
    """JSON with the raw texts in it."""
    raw: list[str] = []

    def mark(item):
        if isinstance(item, Raw):
            raw.append(item)
            return f"@raw{len(raw) - 1}@"
        if isinstance(item, dict):
            return {key: mark(inner) for key, inner in item.items()}
        return [mark(inner) for inner in item] if isinstance(item, list) else item

    text = json.dumps(mark(value))
    for i, item in enumerate(raw):
        text = text.replace(f'"@raw{i}@"', item)
    return text.encode()


def places(value, path=()):
    """The paths of all values in a JSON value."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value[:3]):
            yield from places(inner, (*path, i))


def mutate_value(draw, value):
    """A copy with one value changed, removed, added or renamed."""
    value = copy.deepcopy(value)
    path = draw(st.sampled_from([path for path in places(value) if path]))
    holder = value
    for step in path[:-1]:
        holder = holder[step]
    key = path[-1]
    old = holder[key]
    kind = draw(st.sampled_from(["odd", "near", "near", "remove", "add"]))
    if kind == "near" and isinstance(old, (int, float)) and not isinstance(old, bool):
        holder[key] = old + draw(st.sampled_from([1, -1, 0.4, -0.4, 1e-3, -1e-3, 1e-7, -1e-7]))
        if isinstance(old, int) and draw(st.booleans()):
            holder[key] = int(holder[key])
    elif kind == "near" and isinstance(old, str):
        holder[key] = draw(st.sampled_from([old + " ", old.upper(), old[:-1], old[::-1], old + "\u0430"]))
    elif kind == "remove":
        del holder[key]
    elif kind == "add" and isinstance(holder, dict):
        holder[draw(st.sampled_from(["new", "error", "../x", "__class__"]))] = draw(st.sampled_from(ODD))
    else:
        holder[key] = draw(st.sampled_from(ODD))
    return value


def mutate_record(draw, members):
    """Change a value of one of the JSON files."""
    name = draw(st.sampled_from([RUN, LINES, LINES, CONTENTS]))
    if name != LINES:
        members[name] = to_text(mutate_value(draw, json.loads(members[name])))
        return
    lines = members[LINES].splitlines()
    i = draw(st.integers(0, len(lines) - 1))
    how = draw(st.sampled_from(["value", "value", "consistent", "consistent", "swap", "drop", "repeat"]))
    if how == "value":
        lines[i] = to_text(mutate_value(draw, json.loads(lines[i])))
    elif how == "consistent":  # error and metric changed together
        line = json.loads(lines[i])
        which = draw(st.sampled_from([("error", "metrics"), ("test_error", "test_metrics")]))
        if line[which[0]] is not None:
            by = draw(st.sampled_from([0.4, 0.1, 1e-3, 1e-6, -1e-3]))
            line[which[0]] -= by
            line[which[1]]["accuracy"] += by
        lines[i] = to_text(line)
    elif how == "swap":
        j = draw(st.integers(0, len(lines) - 1))
        lines[i], lines[j] = lines[j], lines[i]
    elif how == "drop":
        del lines[i]
    else:
        lines.insert(i, lines[i])
    members[LINES] = b"".join(line + b"\n" for line in lines)


def mutate_bytes(draw, members):
    """Change the bytes of a file: cut it, flip bits, put it in another encoding, repeat a name."""
    name = draw(st.sampled_from(sorted(members)))
    data = members[name]
    how = draw(st.sampled_from(["cut", "flip", "utf-16", "bom", "latin", "empty", "twice", "pickle", "gzip", "crlf"]))
    at = draw(st.integers(0, max(0, len(data) - 1)))
    if how == "flip" and data:
        bit = draw(st.integers(0, 7))
        members[name] = data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]
    elif how == "twice":
        members[name] = data.replace(b"{", b'{"status":"failed","error":0.0,"index":0,', 1)
    else:
        members[name] = {
            "cut": data[:at],
            "utf-16": data.decode("latin-1").encode("utf-16"),
            "bom": b"\xef\xbb\xbf" + data,
            "latin": data.replace(b'"', b"\xe9", 1),
            "pickle": b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94\x93\x94\x8c\x04true\x94\x85\x94R\x94.",
            "gzip": b"\x1f\x8b\x08" + data,
            "crlf": data.replace(b"\n", b"\r\n"),
        }.get(how, b"")


def mutate_predictions(draw, members):
    """Change the stored predictions: another prediction, another network's, one missing, another type."""
    kept = unpack(members[STORED])
    i, j = (draw(st.sampled_from(sorted(kept))) for _ in range(2))
    split = draw(st.sampled_from(["validation", "test"]))
    how = draw(st.sampled_from(["flip", "other", "missing", "float", "longer", "extra"]))
    array = kept[i][split].copy()
    if how == "flip":
        at = draw(st.integers(0, len(array) - 1))
        array[at] ^= 1 << draw(st.integers(0, 7))
        kept[i][split] = array
    elif how == "other":
        kept[i][split] = kept[j][split]
    elif how == "missing":
        del kept[i]
    elif how == "float":
        kept[i][split] = array.astype(float) * float("nan")
    elif how == "longer":
        kept[i][split] = array.repeat(2)
    else:
        kept[max(kept) + 1000] = kept[i]
    members[STORED] = pack(kept)


def put(archive, name, data, mode=stat.S_IFREG | 0o644, **fields):
    entry = zipfile.ZipInfo(name)
    entry.external_attr = mode << 16
    for field, value in fields.items():
        setattr(entry, field, value)
    archive.writestr(entry, data, zipfile.ZIP_DEFLATED)


NAMES = [
    *(
        "../evil",
        "/etc/evil",
        "runs/../../evil",
        "runs/0/../../../evil",
        "C:\\evil",
        "runs\\0\\run.json",
        "runs/00/run.json",
    ),
    *(
        "runs/0/run.json/",
        "runs/\u0660/run.json",
        "runs/0/weights.pt",
        "RUNS/0/run.json",
        "runs/0/.lock",
        "",
        "\u202egpj",
    ),
]


def zipped(draw, members, how):
    """A ZIP file of the members, with something odd about the archive."""
    buffer = io.BytesIO()
    names = list(members)
    if how == "reorder":
        names = draw(st.permutations(names))
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            mode = stat.S_IFLNK | 0o777 if how == "link" and name == RUN else stat.S_IFREG | 0o644
            put(archive, name, b"/etc/passwd" if how == "link" and name == RUN else members[name], mode)
        if how == "name":
            put(archive, draw(st.sampled_from(NAMES)), b"{}")
        if how == "twice":
            with pytest.warns(UserWarning, match="Duplicate"):
                put(archive, RUN, members[RUN])
        if how == "bomb":
            put(archive, "runs/1/submission.json" if draw(st.booleans()) else "runs/1/run.json", bytes(5 * 2**20))
        if how == "pipe":
            put(archive, "runs/1/run.json", b"{}", stat.S_IFIFO | 0o644)
        if how == "comment":
            archive.comment = draw(st.sampled_from([b"a comment", b"PK\x05\x06" * 20]))
    data = bytearray(buffer.getvalue())
    if how == "cut":
        data = data[: draw(st.integers(0, len(data)))]
    if how == "flip":
        for _ in range(draw(st.integers(1, 3))):
            data[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
    if how == "sizes":  # the directory claims other sizes than the files have
        at = data.rfind(b"PK\x01\x02") + draw(st.sampled_from([10, 16, 20, 24, 28, 42]))
        data[at : at + 4] = draw(st.sampled_from([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x01\0\0\0"]))
    if how == "front":
        data = bytearray(b"#!/bin/sh\n") + data
    return bytes(data)


def rename_digests(members, fits_record):
    """Write the digests of changed files into the contents and the record, as an attacker would."""
    try:
        if members[LINES] and fits_record:
            record = json.loads(members[RUN])
            record["n_evaluations"] = members[LINES].count(b"\n")
            record["evaluations_sha256"] = hashlib.sha256(members[LINES]).hexdigest()
            members[RUN] = json.dumps(record).encode()
        contents = json.loads(members[CONTENTS])
        for name, file in ((RUN, RunFolder.RUN), (LINES, RunFolder.EVALUATIONS), (STORED, PREDICTIONS)):
            contents["runs"][0]["sha256"][file] = hashlib.sha256(members[name]).hexdigest()
    except (ValueError, LookupError, TypeError, RecursionError):
        return
    members[CONTENTS] = json.dumps(contents).encode()
