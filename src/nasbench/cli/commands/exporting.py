"""The commands that save a pruned network and use it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nasbench.errors import UserError

if TYPE_CHECKING:
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
@click.option("--out", type=PATH, required=True, help="The folder for the pruned model; it must not exist.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["transformers", "onnx"]),
    default="transformers",
    show_default=True,
    help="onnx also writes OUT/model.onnx; it needs the extra onnx.",
)
def export(run: Path, max_params: float | None, max_prunable: float | None, out: Path, form: str) -> None:
    """Save a pruned network of a run.

    RUN is the run's folder. The command saves the network of the Pareto front that has the best validation error among
    those small enough. transformers loads the folder OUT without nasbench; OUT/README.md shows how.
    """
    from nasbench.export.card import NO_BETTER
    from nasbench.export.folder import export_network, fraction_of_all
    from nasbench.records.front import is_no_better_than_constant

    if form == "onnx":
        from nasbench.export import onnx_file

        onnx_file.check_installed()
    if max_prunable is not None:
        if max_params is not None:
            raise UserError("--max-params and --max-prunable exclude each other; give one of them")
        max_params = fraction_of_all(run, max_prunable)
    exported = export_network(run, out, 1.0 if max_params is None else max_params, with_latency=True)
    record, evaluation = exported.record, exported.evaluation
    click.echo(
        f"wrote {out}: {100 * evaluation.params:.1f} % of all parameters"
        f"{_of_prunable(record, evaluation)}, validation error {evaluation.error:.4f}"
    )
    click.echo(f"size: {evaluation.n_params:,} of {record.n_params_full:,} parameters, {exported.n_bytes / 1e6:.1f} MB")
    for times in exported.latency:
        click.echo(
            f"speed: {times.speedup:.2f} times as fast as the full network ({times.full_ms:.1f} -> "
            f"{times.pruned_ms:.1f} ms, {times.batch_size} x {times.length} tokens, threads: {times.n_threads})"
        )
    if form == "onnx":
        from nasbench.export.loading import load, load_tokenizer

        network = load(out)
        path = onnx_file.write_onnx(network, load_tokenizer(out, network).model_input_names, out)
        click.echo(f"wrote {path}: its outputs agree with the network's")
    if is_no_better_than_constant(record, evaluation):
        click.echo(f"warning: {NO_BETTER[0].lower()}{NO_BETTER[1:]}", err=True)
    click.echo(f"{out / 'README.md'} shows how to load it; nasbench predict {out} FILE answers for a table of texts")


def _of_prunable(record: RunRecord, evaluation: Evaluation) -> str:
    fixed = record.dimensions.get("n_fixed_params", 0)
    kept = (evaluation.n_params - fixed) / max(1, record.n_params_full - fixed)
    return f" ({100 * kept:.1f} % of those that can be pruned)"


@click.command()
@click.argument("folder", type=PATH)
@click.argument("file", type=PATH)
@click.option(
    "--text", "columns", multiple=True, help="A column of texts (repeat for pairs); default: the columns of the task."
)
@click.option("--out", type=PATH, help="The CSV file to write; default: FILE's name with -predictions.csv.")
def predict(folder: Path, file: Path, columns: tuple[str, ...], out: Path | None) -> None:
    """Classify the texts of a file.

    FOLDER is an exported network. FILE is a CSV, TSV, JSON or Parquet file. The command writes FILE's columns, the
    predicted class and the probability of every class.
    """
    target = out or file.with_name(f"{file.name.partition('.')[0]}-predictions.csv")
    if out is None and target.exists():
        raise UserError(f"{target} exists already; name another file with --out")
    from nasbench.export.predict import predict as carry_out

    predictions = carry_out(folder, file, columns)
    predictions.write(target)
    shares = ", ".join(f"{name} {count}" for name, count in predictions.counts.items())
    click.echo(f"wrote {target}: {predictions.table.num_rows} rows" + (f" ({shares})" if shares else ""))


COMMANDS = (export, predict)
