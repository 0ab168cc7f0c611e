"""The commands that measure the networks of a finished run in other ways."""

from __future__ import annotations

from pathlib import Path

import click

from nasbench.errors import UserError

PATH = click.Path(path_type=Path)
data_dir_option = click.option(
    "--data-dir", type=PATH, envvar="NASBENCH_DATA_DIR", help="The folder of local data; default: $NASBENCH_DATA_DIR."
)


@click.command()
@click.argument("run", type=PATH)
@click.option("--task", "own_task", type=PATH, help="The .toml file of the run's task, if it is one of your own.")
@data_dir_option
def quantize(run: Path, own_task: Path | None, data_dir: Path | None) -> None:
    """Quantise networks of a run, and measure error, bytes and latency on this CPU.

    RUN is the run's folder. The full network and networks of the front are measured in fp32, with int8 weights and
    activations, and with int8 and int4 weights only. RUN/quantization.json keeps the values of each device, also if
    the command is interrupted. Earlier values of this device stay until as many networks are measured again.
    """
    from nasbench.export import quantization
    from nasbench.records.quantization import FILE, OnDevice, read_quantization, write_quantization
    from nasbench.records.record import RunFolder
    from nasbench.runs.loading import load
    from nasbench.trust.expected import request_of

    earlier, record = read_quantization(run), RunFolder(run).read_run()
    if record.declaration is not None and own_task is None:
        raise UserError(
            f"the run has a task or model of your own ({record.identity.task!r}, {record.identity.model!r}); name the "
            "task's file: --task NAME.toml. Those declared in Python are not measured again"
        )
    request = request_of(record, data_dir, own_task=own_task)
    loaded = load(request)

    def measured(found: OnDevice, n_networks: int) -> None:
        if len(found.networks) >= min(earlier.n_networks(found.device), n_networks):
            write_quantization(run, earlier.with_device(found))
        network = found.networks[-1]
        name = "full network" if network.is_full else f"{100 * network.params:.1f} % of the parameters"
        click.echo(f"{name} ({len(found.networks)} of {n_networks}):")
        for each in network.variants:
            if each.error is None or each.n_bytes is None or each.latency is None:
                click.echo(f"  {each.scheme:12}  does not run here: {each.reason}")
                continue
            time = f"{each.latency.ratio:.3f} [{each.latency.low:.3f}, {each.latency.high:.3f}]"
            click.echo(
                f"  {each.scheme:12}  validation error {each.error:.4f}, {each.n_bytes / 1e6:.1f} MB, "
                f"{time} of the full network's time"
            )

    click.echo("measuring the full network and networks of the front; each can take minutes")
    quantization.quantize(run, request.task, loaded.data, loaded.pad_id, measured=measured)
    click.echo(f"wrote {run / FILE}")


@click.command("zero-shot")
@click.argument("run", type=PATH)
@click.option(
    "--task", "names", multiple=True, required=True, help="A task that needs no training, such as piqa; repeatable."
)
@click.option("--networks", type=click.IntRange(min=1), default=4, show_default=True, help="Networks of the front.")
@data_dir_option
def zero_shot(run: Path, names: tuple[str, ...], networks: int, data_dir: Path | None) -> None:
    """Measure language models of a run on tasks that need no training.

    RUN is the folder of a run that has pruned a language model. The full network and networks of the front answer the
    test examples of each task by likelihood. RUN/zero_shot.json keeps the values with their 95 % intervals.
    """
    from nasbench.export.zero_shot import measure
    from nasbench.plugins import registry
    from nasbench.records.zero_shot import FILE, read_zero_shot, write_zero_shot

    tasks = [registry.find("task", name, registry.tasks()) for name in dict.fromkeys(names)]
    found = read_zero_shot(run)
    for task in tasks:
        measured = measure(run, task, data_dir, networks)
        found = found.with_task(measured)
        write_zero_shot(run, found)  # a later task may fail
        click.echo(f"{task.name}: {measured.metric} on {measured.n_examples} examples, by chance {measured.chance:.3f}")
        for each in measured.networks:
            name = "full network" if each.is_full else f"{100 * each.params:.1f} % of the parameters"
            click.echo(f"  {name:24}  {each.value:.3f} [{each.low:.3f}, {each.high:.3f}]")
    click.echo(f"wrote {run / FILE}")


COMMANDS = (quantize, zero_shot)
