"""The commands that save a pruned network and use it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nasbench.errors import UserError

if TYPE_CHECKING:
    from nasbench.export.latency import Latency
    from nasbench.records.record import Evaluation, RunRecord

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("run", type=PATH)
@click.option(
    "--max-params",
    type=float,
    help="The largest fraction of all parameters that the network may have; default: 1.",
)
@click.option(
    "--max-prunable",
    type=float,
    help="Instead: the largest fraction of the parameters that can be pruned (those of the layers) that it may keep.",
)
@click.option("--out", type=PATH, required=True, help="The folder for the pruned model: a new or an empty one.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["transformers", "onnx"]),
    default="transformers",
    show_default=True,
    help="onnx also writes OUT/model.onnx; it needs the extra onnx.",
)
@click.option("--push-to-hub", "repository", metavar="OWNER/NAME", help="Also upload the folder to the hub.")
@click.option("--private", is_flag=True, help="With --push-to-hub: a new repository is private.")
def export(
    run: Path,
    max_params: float | None,
    max_prunable: float | None,
    out: Path,
    form: str,
    repository: str | None,
    private: bool,
) -> None:
    """Save a pruned network of a run.

    RUN is the run's folder. The command saves the network of the Pareto front that has the best validation error among
    those small enough. transformers loads the folder OUT without nasbench; OUT/README.md shows how.
    """
    from nasbench.export.card import NO_BETTER
    from nasbench.export.folder import export_network
    from nasbench.records.front import is_no_better_than_constant

    if private and repository is None:
        raise click.UsageError("--private goes with --push-to-hub")
    if form == "onnx":
        from nasbench.export import onnx_file

        onnx_file.check_installed()
    max_params = _params_limit(run, max_params, max_prunable)
    limit = 1.0 if max_params is None else max_params
    exported = export_network(run, out, limit, with_latency=True, with_onnx=form == "onnx")
    record, evaluation = exported.record, exported.evaluation
    click.echo(
        f"wrote {out}: {100 * evaluation.params:.1f} % of all parameters"
        f"{_of_prunable(record, evaluation)}, validation error {evaluation.error:.4f}"
    )
    click.echo(f"size: {evaluation.n_params:,} of {record.n_params_full:,} parameters, {exported.n_bytes / 1e6:.1f} MB")
    for times in exported.latency:
        click.echo(_speed(times))
    if form == "onnx":
        click.echo(f"wrote {out / onnx_file.FILE}: its outputs agree with the network's")
    if is_no_better_than_constant(record, evaluation):
        click.echo(f"warning: {NO_BETTER[0].lower()}{NO_BETTER[1:]}", err=True)
    if repository is not None:
        from nasbench.export.hub import push

        click.echo(f"uploaded to {push(out, repository, private)}")
    is_language_model = record.interface is not None and record.interface.is_language_model
    more = " and generate text" if is_language_model else f"; nasbench predict {out} FILE answers for a table of texts"
    click.echo(f"{out / 'README.md'} shows how to load it{more}")


def _params_limit(run: Path, max_params: float | None, max_prunable: float | None) -> float | None:
    """The limit as a fraction of all parameters, from whichever of the two options was given."""
    if max_prunable is None:
        return max_params
    if max_params is not None:
        raise UserError("--max-params and --max-prunable exclude each other; give one of them")
    from nasbench.export.folder import fraction_of_all

    return fraction_of_all(run, max_prunable)


def _speed(times: Latency) -> str:
    return (
        f"speed: {times.speedup:.2f} times as fast as the full network ({times.full_ms:.1f} -> "
        f"{times.pruned_ms:.1f} ms, {times.batch_size} x {times.length} tokens, threads: {times.n_threads})"
    )


def _of_prunable(record: RunRecord, evaluation: Evaluation) -> str:
    from nasbench.networks.subnetwork import Dimensions

    fixed = Dimensions.from_json(record.dimensions).n_fixed_params
    kept = (evaluation.n_params - fixed) / max(1, record.n_params_full - fixed)
    return f" ({100 * kept:.1f} % of those that can be pruned)"


@click.command()
@click.argument("run", type=PATH)
@click.option("--max-params", type=float, help="The largest fraction of all parameters.")
@click.option("--max-prunable", type=float, help="Instead: the largest fraction of those that can be pruned.")
@click.option("--max-bytes", help="The largest size of the weights in fp32, such as 50MB.")
@click.option("--max-latency", type=float, help="The largest time of a pass, as a fraction of the full network's.")
@click.option("--min-metric", help="The smallest validation metric: a number, or 95% of the full network's.")
@click.option("--export", "out", type=PATH, help="Also save the network in this folder, as nasbench export does.")
def recommend(
    run: Path,
    max_params: float | None,
    max_prunable: float | None,
    max_bytes: str | None,
    max_latency: float | None,
    min_metric: str | None,
    out: Path | None,
) -> None:
    """Name the network of a run to take.

    RUN is the run's folder. With --min-metric, this is the smallest network of the Pareto front that reaches the
    metric; otherwise it is the most accurate network within the limits.
    """
    from nasbench.export.folder import export
    from nasbench.export.recommendation import BYTES_PER_PARAMETER, Limits
    from nasbench.export.recommendation import recommend as choose

    max_params = _params_limit(run, max_params, max_prunable)
    for name, value in (("--max-params", max_params), ("--max-latency", max_latency)):
        if value is not None and not 0 < value <= 1:
            raise UserError(f"{name} is a fraction, 0.5 for half of the full network's, not {value:g}")
    share, metric = _metric_limit(min_metric)
    size = None if max_bytes is None else _bytes(max_bytes)
    found = choose(run, Limits(max_params, size, metric, share, max_latency))
    record, evaluation = found.record, found.evaluation
    click.echo(
        f"evaluation {evaluation.index}: {100 * evaluation.params:.1f} % of all parameters"
        f"{_of_prunable(record, evaluation)}, {BYTES_PER_PARAMETER * evaluation.n_params / 1e6:.1f} MB in fp32"
    )
    for split in ("validation", "test"):
        value, whole = (_metric_of(each, split) for each in (evaluation, found.full))
        if value is not None:
            relative = f", {100 * value / whole:.1f} % of the full network's" if whole and whole > 0 else ""
            chosen = "; the network was chosen by it" if split == "validation" else ""
            click.echo(f"{split} {record.metric}: {value:.4f}{relative}{chosen}")
    for times in found.latency:
        click.echo(_speed(times))
    if out is None:
        click.echo("save it: the same command with --export FOLDER")
    else:
        export(run, out, index=evaluation.index)
        click.echo(f"wrote {out}")


def _metric_limit(text: str | None) -> tuple[float | None, float | None]:
    """The share of the full network's metric, or the metric itself, that ``--min-metric`` asks for."""
    if text is None:
        return None, None
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = float("nan")
    is_share = text.endswith("%")
    if not (0 < value <= 100 if is_share else -1 <= value <= 1):
        raise UserError(f"--min-metric is a number such as 0.8, or a percentage such as 95%, not {text!r}")
    return (value / 100, None) if is_share else (None, value)


def _bytes(text: str) -> int:
    number = text.strip().lower().removesuffix("b")
    factor = {"k": 10**3, "m": 10**6, "g": 10**9}.get(number[-1:], 1)
    try:
        size = float(number.rstrip("kmg")) * factor
    except ValueError:
        size = 0.0
    if not 0 < size < float("inf"):
        raise UserError(f"--max-bytes is a size such as 50MB or 50000000, not {text!r}")
    return int(size)


def _metric_of(evaluation: Evaluation | None, split: str) -> float | None:
    if evaluation is None:
        return None
    error = evaluation.error if split == "validation" else evaluation.test_error
    return None if error is None else 1.0 - error


@click.command()
@click.argument("folder", type=PATH)
@click.argument("file", type=PATH)
@click.option(
    "--text",
    "columns",
    multiple=True,
    help="A column of texts (repeat for pairs, and for a choice: the start, then the endings); default: the columns of "
    "the task.",
)
@click.option("--out", type=PATH, help="The CSV file to write; default: FILE's name with -predictions.csv.")
def predict(folder: Path, file: Path, columns: tuple[str, ...], out: Path | None) -> None:
    """Predict for the texts of a file.

    FOLDER is an exported network. FILE is a CSV, TSV, JSON or Parquet file. The command writes FILE's columns, the
    predicted class and the probability of every class. For a choice, the endings are the classes; a regression gets
    one number.
    """
    if out is None and not file.name:
        raise UserError(f"{file} gives the predictions no name; name the file to write with --out")
    target = out or file.with_name(f"{file.name.partition('.')[0]}-predictions.csv")
    if out is None and target.exists():
        raise UserError(f"{target} exists already; name another file with --out")
    if target.exists() and any(map(target.samefile, [file] if file.exists() else file.parent.glob(file.name))):
        raise UserError(f"--out {target} would overwrite the texts; name another file")
    from nasbench.export.predict import predict as carry_out

    predictions = carry_out(folder, file, columns)
    predictions.write(target)
    shares = ", ".join(f"{name} {count}" for name, count in predictions.counts.items())
    click.echo(f"wrote {target}: {predictions.table.num_rows} rows" + (f" ({shares})" if shares else ""))
    if predictions.left_out:
        click.echo(f"left out, because a cell cannot hold their values: {', '.join(predictions.left_out)}")


COMMANDS = (export, recommend, predict)
