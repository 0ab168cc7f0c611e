"""Tables on disk: schema, lookups, and how a tabulation resumes."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tables.conftest import MakeRequest

from nasbench.errors import UserError
from nasbench.networks.subnetwork import SubNetwork
from nasbench.tables import measure
from nasbench.tables.measure import tabulate, work_folder
from nasbench.tables.table import METADATA_KEY, Table, column_names, find_table, grid_of, write_table


def test_table_has_one_row_for_each_configuration(table: Table) -> None:
    frame = pq.read_table(table.path).to_pandas()
    assert tuple(frame.columns) == column_names(("spearman", "pearson"))
    assert len(frame) == 5 * 13 * 4 == table.info.n_networks
    assert frame["units"].unique().tolist() == list(range(0, 49, 4))
    assert not frame.isna().any().any()
    np.testing.assert_array_equal(frame["error"], 1 - frame["metric.spearman"])
    np.testing.assert_array_equal(frame["n_params"], table.space.n_params(grid_of(table.space)))


def test_entry_and_configuration_of_a_subnetwork(table: Table) -> None:
    config = np.array([2, 7, 3])
    row = pq.read_table(table.path).to_pandas().query("heads == 2 and units == 28 and layers == 3").iloc[0]
    entry = table.entry(config)
    assert (entry.error, entry.test_error, entry.n_params) == (row["error"], row["test_error"], row["n_params"])
    assert entry.metrics == {"spearman": row["metric.spearman"], "pearson": row["metric.pearson"]}
    assert table.config_of(table.space.to_subnetwork(config)).tolist() == [2, 7, 3]
    empty = SubNetwork.from_counts([0, 0, 0], [0, 0, 0], table.info.dims)
    assert table.config_of(empty).tolist() == [0, 0, 0]


def test_shallower_networks_take_less_time(table: Table) -> None:
    seconds = table.columns["seconds"].reshape(5, 13, 4)
    assert (np.diff(seconds, axis=-1) >= 0).all()
    passes = table.columns["pass_s"].reshape(5, 13, 4)[..., -1]
    np.testing.assert_allclose(seconds[..., -1], np.maximum(passes, seconds[..., 0]), rtol=1e-5)


def test_networks_without_blocks_are_one_network(table: Table) -> None:
    first = table.is_first_copy
    assert first.sum() == len(first) - (5 * 13 + 3) + 1  # all of depth 0, and three depths without heads and units
    assert len(np.unique(table.columns["error"][~first])) == 1


def test_killed_tabulation_goes_on_where_it_stopped(
    table: Table, make_request: MakeRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def kill_at(done: int, _: int) -> None:
        if done == 20:
            raise Killed

    out = tmp_path / "again.parquet"
    with pytest.raises(Killed):
        tabulate(make_request(tmp_path), out, progress=kill_at)
    passes = work_folder(out) / measure.PASSES
    with passes.open("a") as file:
        file.write('{"heads": 0, "st')  # a line that the kill cut off
    monkeypatch.setattr(measure.runner, "run", None)  # the training is complete
    seen: list[int] = []
    tabulate(make_request(tmp_path), out, progress=lambda done, _: seen.append(done))
    assert seen == list(range(21, 66))
    assert not work_folder(out).exists()
    for name in ("error", "test_error", "metric.pearson"):
        np.testing.assert_array_equal(Table(out).columns[name], table.columns[name])


def test_mistakes_of_a_tabulation(table: Table, make_request: MakeRequest, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"tiny.parquet exists already; remove it or choose another --out"):
        tabulate(make_request(tmp_path), table.path)
    with pytest.raises(UserError, match="--unit-step 7: a step of 7 units does not divide 48 units"):
        tabulate(make_request(tmp_path), tmp_path / "new.parquet", unit_step=7)


@pytest.mark.parametrize("cpu_clock", [False, True])
def test_a_table_is_not_continued_with_another_clock(
    cpu_clock: bool, make_request: MakeRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(measure.runner, "run", kill)  # in the training
    out = tmp_path / "table.parquet"
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            tabulate(make_request(tmp_path), out, cpu_clock=cpu_clock)
    remedy = "add --cpu-clock" if cpu_clock else "leave out --cpu-clock"
    with pytest.raises(UserError, match=f"was begun with the other clock; {remedy}, or remove the folder"):
        tabulate(make_request(tmp_path), out, cpu_clock=not cpu_clock)


def test_network_whose_layers_differ_in_width_has_no_table(
    table: Table, make_request: MakeRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uneven = dataclasses.replace(table.info.dims, heads_by_layer=(4, 2, 4))
    read = pq.read_table(table.path)
    values = json.loads(read.schema.metadata[METADATA_KEY])
    metadata = {METADATA_KEY: json.dumps({**values, "dimensions": uneven.to_json()}).encode()}
    pq.write_table(read.replace_schema_metadata(metadata), tmp_path / "uneven.parquet")
    with pytest.raises(UserError, match=r"uneven.parquet: a table holds no network that was pruned before"):
        _ = Table(tmp_path / "uneven.parquet").info
    monkeypatch.setattr(measure, "load", lambda _: SimpleNamespace(dims=uneven))
    monkeypatch.setattr(measure.runner, "run", None)  # nothing is trained before
    with pytest.raises(UserError, match="model 'tiny-bert': a table holds no network that was pruned before"):
        tabulate(make_request(tmp_path), tmp_path / "new.parquet")


def test_passes_of_another_grid_are_refused(tmp_path: Path) -> None:
    file = measure._PassFile(tmp_path / "passes.jsonl", {"unit_step": 4})
    assert file.read() == {}
    file.append({"heads": 1, "steps": 2})
    assert file.read() == {(1, 2): {"heads": 1, "steps": 2}}
    with pytest.raises(UserError, match="is of another super-network, --unit-step or clock; remove"):
        dataclasses.replace(file, key={"unit_step": 8}).read()


def test_files_that_are_no_table_give_one_line(table: Table, tmp_path: Path) -> None:
    path = tmp_path / "bad.parquet"
    for content in (b"", b"no Parquet"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="not a table of the tabular benchmark"):
            _ = Table(path).info
    read = pq.read_table(table.path)
    pq.write_table(read.replace_schema_metadata({}), path)
    with pytest.raises(UserError, match="not a table of the tabular benchmark"):
        _ = Table(path).info
    pq.write_table(read.slice(1), path)
    with pytest.raises(UserError, match="259 rows that are not the grid of 260 configurations"):
        _ = Table(path).columns
    metadata = dict(read.schema.metadata)
    newer = json.loads(metadata[b"nasbench"]) | {"table_version": 99}
    pq.write_table(read.replace_schema_metadata({b"nasbench": json.dumps(newer).encode()}), path)
    with pytest.raises(UserError, match="table version 99 is newer than 1; upgrade nasbench"):
        _ = Table(path).info


def test_table_whose_columns_cannot_be_read_gives_one_line(table: Table, tmp_path: Path) -> None:
    path, whole = tmp_path / "bad.parquet", table.path.read_bytes()
    read = pq.read_table(table.path)
    place = read.column_names.index("error")
    texts = pa.array(["low"] * read.num_rows)

    def page_overwritten() -> None:
        path.write_bytes(whole[:4] + bytes(400) + whole[404:])

    def errors_as_text() -> None:
        pq.write_table(read.set_column(place, "error", texts), path)

    def two_columns_of_one_name() -> None:
        pq.write_table(read.append_column("error", read["error"]), path)

    for damage in (page_overwritten, errors_as_text, two_columns_of_one_name):
        damage()
        assert Table(path).info == table.info
        with pytest.raises(UserError, match=r"bad\.parquet: not a complete table \(.+\); make it again with") as caught:
            _ = Table(path).columns
        assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(UserError, match=r"bad\.parquet: cannot be read \(No such file or directory\)"):
        _ = Table(path).digest


def test_seeds_of_runs_spread_over_the_tables_of_a_scenario(table: Table, tmp_path: Path) -> None:
    shape = tuple(table.space.upper + 1)
    metrics, test_metrics = (
        np.stack([table.columns[f"{prefix}{name}"] for name in table.info.metrics], axis=-1).reshape(*shape, -1)
        for prefix in ("metric.", "test_metric.")
    )
    pass_s = table.columns["pass_s"].reshape(shape)[..., 0]
    for seed in (2, 0, 1):
        info = dataclasses.replace(table.info, seed=seed)
        write_table(tmp_path / f"x{9 - seed}.parquet", info, metrics, test_metrics, pass_s)
    place = (table.info.task, table.info.model)
    chosen = [find_table(*place, seed, dict(table.info.options), tmp_path).info.seed for seed in range(7)]
    assert chosen == [0, 1, 2, 0, 1, 2, 0]
    with pytest.raises(UserError, match="were trained with other options; leave out --set"):
        find_table(*place, 0, {"epochs": 1}, tmp_path)
    with pytest.raises(UserError, match=r"no table of task 'rte' with model 'tiny-bert' \(tables: x7, x8, x9\)"):
        find_table("rte", place[1], 0, {}, tmp_path)


def test_tables_are_read_without_torch(table: Table, tmp_path: Path) -> None:
    copy = tmp_path / "copy.parquet"
    shutil.copy(table.path, copy)
    script = (
        "import sys; from pathlib import Path; from nasbench.tables.table import Table\n"
        "table = Table(Path(sys.argv[1])); before = 'pyarrow' in sys.modules\n"
        "print(before, table.info.n_networks, table.values.shape, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(copy)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "260", "(260,", "2)", "False"]
