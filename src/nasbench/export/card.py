"""The model card of an exported network: what it is, how good and how large, how to use it, how it was made."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence

from nasbench.export.command import command_of
from nasbench.export.latency import Latency
from nasbench.networks.subnetwork import Dimensions
from nasbench.records.front import front_of, full_network, is_no_better_than_constant, spread
from nasbench.records.record import Evaluation, RunRecord

MAX_ROWS = 12
"""Largest number of rows in the table of the front; a longer front is thinned evenly."""
_GENERATION = """\
It goes on with a text:

```python
start = tokenizer("The weather today is", return_tensors="pt")
ids = model.generate(**start, max_new_tokens=40, do_sample=False)
print(tokenizer.decode(ids[0], skip_special_tokens=True))
```

It was measured by the likelihood of texts, each after the token that begins a text, or else the one that ends it."""
_FORMULAS = {"compression": " (1 - bits per byte / 8)"}
"""What a metric is, where its name does not say it."""
NO_BETTER = "On validation data this network is no better than giving every example the same answer"


def model_card(
    record: RunRecord,
    evaluations: Sequence[Evaluation],
    chosen: Evaluation,
    folder: str,
    loader: str,
    code: str | None,
    latency: Sequence[Latency] = (),
    ranks: Collection[int] = (),
) -> str:
    """The text of ``README.md``, Markdown with the hub's YAML header.

    Args:
        evaluations: all evaluations of the run.
        folder: the name of the exported folder, for the examples.
        loader: the auto class of transformers that loads the network.
        code: the file of the folder that loading runs, None if the class is one of transformers.
        latency: measured times; empty for none.
        ranks: the ranks of the projections that are products of two matrices.
    """
    identity = record.identity
    parts = [
        _header(record, "low-rank" if ranks else "pruned"),
        f"# {identity.model} for {identity.task}, {'of low rank, with' if ranks else 'pruned to'} "
        f"{100 * chosen.params:.0f} %{' of the parameters' if ranks else ''}",
        f"This network has {_millions(chosen.n_params)} of the full network's {_millions(record.n_params_full)} "
        f"parameters. [nasbench](https://arxiv.org/abs/2405.02267) {_change(record, chosen, ranks)}.",
        "## Numbers",
        _front(record, evaluations, chosen),
        f"All numbers are {record.metric}{_FORMULAS.get(record.metric, '')}. "
        f"Validation chose this network, so its validation result is optimistic. "
        f"{_which_rows(record, evaluations)} This network is in bold.",
        _warning(record, chosen),
        _speed(latency),
        "## Use",
        _use(record, folder, loader, code, bool(ranks)),
        "## Origin",
        _origin(record),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _header(record: RunRecord, tag: str) -> str:
    interface = record.interface
    lines = ["library_name: transformers", "tags:", f"- {tag}", "- nasbench"]
    if interface is None or interface.kind != "multiple_choice":
        is_language_model = interface is not None and interface.is_language_model
        lines.append(f"pipeline_tag: text-{'generation' if is_language_model else 'classification'}")
    return "\n".join(("---", *lines, "---"))


def _change(record: RunRecord, chosen: Evaluation, ranks: Collection[int]) -> str:
    """What the network has lost, in words."""
    if not ranks:
        return f"removed {_removed(record, chosen)}"
    span = f"ranks {min(ranks)} to {max(ranks)}" if min(ranks) < max(ranks) else f"rank {min(ranks)}"
    what = f"{len(ranks)} projections" if len(ranks) > 1 else "one projection"
    return f"replaced {what} by products of two matrices of {span}"


def _removed(record: RunRecord, chosen: Evaluation) -> str:
    """The removed layers, heads and units in words."""
    dims = Dimensions.from_json(record.dimensions)
    n_layers, n_heads, n_units = dims.n_layers, int(dims.most_heads.sum()), int(dims.most_units.sum())
    pairs = list(zip(chosen.head_counts, chosen.unit_counts, strict=True))
    n_gone = sum(heads == 0 and units == 0 for heads, units in pairs)
    heads, units = n_heads - sum(chosen.head_counts), n_units - sum(chosen.unit_counts)
    if not heads + units:
        return "nothing"
    whole = f"{n_gone} of {n_layers} layers, and in all " if n_gone else ""
    groups = "groups of " if dims.n_queries > 1 else ""  # query heads with a shared key and value
    return f"{whole}{heads} of {n_heads} {groups}attention heads and {units} of {n_units} feed-forward units"


def _which_rows(record: RunRecord, evaluations: Sequence[Evaluation]) -> str:
    """What the networks of the table have in common."""
    objectives = record.identity.objectives
    if objectives is None:
        text = "the run's Pareto front: no other network of the run is both smaller and better on validation data."
    else:
        text = f"the run's Pareto front in {', '.join(objectives)}, with the error on validation data."
    n_networks = len(front_of(evaluations))
    return f"The rows are {text}" + (f" The front has {n_networks} networks." if n_networks > MAX_ROWS + 1 else "")


def _front(record: RunRecord, evaluations: Sequence[Evaluation], chosen: Evaluation) -> str:
    front = spread([e for e in front_of(evaluations) if e.index != chosen.index], MAX_ROWS)
    full = full_network(record, evaluations)
    rows = sorted([*front, chosen], key=lambda e: e.n_params)
    lines = ["| evaluation | parameters | share | validation | test |", "|---|---|---|---|---|"]
    for row in rows:
        name = "full network" if row is full else str(row.index)
        lines.append(_row(name, row, is_bold=row is chosen))
    if full is not None and full not in rows:
        lines.append(_row("full network", full, is_bold=False))
    return "\n".join(lines)


def _row(name: str, evaluation: Evaluation, is_bold: bool) -> str:
    cells = [
        f"{name} (this network)" if is_bold else name,
        _millions(evaluation.n_params),
        f"{100 * evaluation.params:.1f} %",
        _metric(evaluation.error),
        _metric(evaluation.test_error),
    ]
    return "| " + " | ".join(f"**{cell}**" if is_bold else cell for cell in cells) + " |"


def _warning(record: RunRecord, chosen: Evaluation) -> str:
    if not is_no_better_than_constant(record, chosen):
        return ""
    return f"**{NO_BETTER}.** Do not use it."


def _speed(latency: Sequence[Latency]) -> str:
    if not latency:
        return ""
    lines = ["| examples a pass | full network | this network | faster |", "|---|---|---|---|"]
    for times in latency:
        both = f"{times.full_ms:.1f} ms | {times.pruned_ms:.1f} ms"
        lines.append(f"| {times.batch_size} | {both} | {times.speedup:.2f} times |")
    threads = f"{latency[0].n_threads} thread{'s' if latency[0].n_threads > 1 else ''}"
    where = f"Measured on a CPU with {threads}, in fp32, with {latency[0].length} tokens an example:"
    return "\n".join([where, "", *lines])


def _use(record: RunRecord, folder: str, loader: str, code: str | None, is_factored: bool) -> str:
    interface = record.interface
    trust = ", trust_remote_code=True" if code else ""
    reason = "Its projections are products of two matrices" if is_factored else "Its layers have different widths"
    why = f"{reason}, so transformers builds it with `{code}` in this folder.\n\n" if code else ""
    example = (
        f"{why}```python\nfrom transformers import AutoTokenizer, {loader}\n\n"
        f"tokenizer = AutoTokenizer.from_pretrained({folder!r}{trust})\n"
        f"model = {loader}.from_pretrained({folder!r}{trust})\n```"
    )
    if interface is None:
        return example
    if interface.is_language_model:
        return f"{example}\n\n{_GENERATION}"
    columns = ", ".join(f"`{name}`" for name in interface.text_columns)
    classes = ", ".join(f"{i} = {name}" for i, name in enumerate(interface.label_names))
    facts = [f"Texts: {columns}, cut to {interface.max_length} tokens."]
    facts += [f"Classes: {classes}."] if not all(name.isdigit() for name in interface.label_names) else []
    return (
        f"{example}\n\nOr, with nasbench, for a table with the same columns of texts:\n\n"
        f"```\nnasbench predict {shlex.quote(folder)} table.csv\n```\n\n{' '.join(facts)}"
    )


def _origin(record: RunRecord) -> str:
    provenance = record.provenance
    kept = {"precision": "precision", "weights_sha256": "pre-trained weights", "data_sha256": "data"}
    facts = [f"- {text}: `{str(provenance[key])[:16]}`" for key, text in kept.items() if provenance.get(key)]
    own = " (a task of the user's own: `--task` takes its file)" if record.track == "user" else ""
    notes = [f"- {note}" for note in record.notes]
    lines = [f"Made with nasbench {record.suite_version} by{own}", "", "```", command_of(record), "```"]
    return "\n".join([*lines, "", *facts, *notes]).rstrip()


def _millions(n_params: int) -> str:
    return f"{n_params / 1e6:.1f} M" if n_params >= 1e5 else f"{n_params:,}"


def _metric(error: float | None) -> str:
    return "" if error is None else f"{1 - error:.4f}"
