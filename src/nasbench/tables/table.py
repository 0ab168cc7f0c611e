"""A table of the tabular benchmark: errors and seconds of every network of the space ``small-grid``.

A table is a Parquet file with one row for each configuration, ordered by heads, units and layers. Its columns are

- ``heads``, ``units``, ``layers``: the configuration, as SMALL stores it;
- ``n_params``, ``params``: number of parameters, and the fraction of the full network's;
- ``error``, ``test_error``: 1 - primary metric on the validation and the test split; NaN if outputs were not finite;
- ``metric.<name>``, ``test_metric.<name>``: all metrics of the task;
- ``pass_s``: seconds of the validation pass that measured all depths of these heads and units;
- ``seconds``: seconds that a validation pass of this network alone takes.

The file's metadata hold one JSON object under :data:`METADATA_KEY`, see :class:`TableInfo`. The module does not load
torch, and reads the columns when they are first needed.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import importlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from nasbench.arrays import BoolArray, FloatArray, IntArray
from nasbench.errors import UserError
from nasbench.networks.space import Config, SmallGrid
from nasbench.networks.subnetwork import Dimensions, SubNetwork
from nasbench.records.record import RunRecord, write_atomically

TABLE_VERSION = 1
"""Version of the schema of tables."""
METADATA_KEY = b"nasbench"
SUFFIX = ".parquet"


@dataclass(frozen=True)
class TableInfo:
    """What a table was made of, and how.

    Attributes:
        task, model, seed: the scenario, and the seed of the data split and of the super-network.
        metric: name of the primary metric; error = 1 - metric.
        metrics: names of all metrics, the primary one first.
        unit_step: units per step of the grid.
        dimensions: sizes of the full network, see :class:`~nasbench.networks.subnetwork.Dimensions`.
        options: options of ``ws-nas`` with which the super-network was trained.
        track: the track of the task with the model.
        training_s: charged seconds of the training.
        n_validation: number of validation examples.
        depth_shares: ``(L + 1,)``, part of the time of a full pass that a pass of the first l layers takes; the time
            of a pass without layers is taken off before.
        depth_0_s: seconds of a validation pass without layers.
        clock: ``wall`` for wall-clock seconds, ``cpu`` for CPU seconds per thread.
        suite_version: of the suite that trained and measured.
        provenance: of the record of the training: hashes of data and weights, hardware, precision, packages.
        super_network_sha256: digest of the file of the trained weights.
        unofficial: reasons why the training is not an official one, such as truncated data.
        started_at: when the training started.
    """

    task: str
    model: str
    seed: int
    metric: str
    metrics: tuple[str, ...]
    unit_step: int
    dimensions: Mapping[str, int | list[int]]
    options: Mapping[str, Any]
    track: str
    training_s: float
    n_validation: int
    depth_shares: tuple[float, ...]
    depth_0_s: float
    clock: str
    suite_version: str
    provenance: Mapping[str, Any] = field(default_factory=dict)
    super_network_sha256: str = ""
    unofficial: tuple[str, ...] = ()
    started_at: str | None = None
    table_version: int = TABLE_VERSION

    @property
    def dims(self) -> Dimensions:
        """Sizes of the full network."""
        return Dimensions.from_json(self.dimensions)

    @property
    def n_networks(self) -> int:
        """Number of configurations of the grid."""
        return int(np.prod(self.space.upper + 1))

    @property
    def space(self) -> SmallGrid:
        """The grid of the table."""
        space = SmallGrid(self.dims, self.unit_step)
        space.upper.setflags(write=False)
        return space


@dataclass(frozen=True)
class Entry:
    """The row of one network.

    Attributes:
        error, test_error: None if the outputs were not finite.
        metrics, test_metrics: by name, the primary one first; empty if the outputs were not finite.
        seconds: of a validation pass of this network alone.
        pass_s: of the validation pass of all depths of its heads and units.
    """

    n_params: int
    params: float
    error: float | None
    test_error: float | None
    metrics: dict[str, float]
    test_metrics: dict[str, float]
    seconds: float
    pass_s: float


class Table:
    """A table on disk. Metadata and columns are read when they are first needed.

    Args:
        path: the Parquet file.

    Raises:
        UserError: by any attribute, if the file cannot be read or is not a table.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def name(self) -> str:
        """Name of the file without its ending, such as ``stsb_minilm-l6_seed0``."""
        return self.path.stem

    @cached_property
    def info(self) -> TableInfo:
        """What the table was made of."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            found = json.loads((pq.read_schema(self.path).metadata or {})[METADATA_KEY])
            version = found["table_version"]
            if version > TABLE_VERSION:
                raise UserError(f"{self.path}: table version {version} is newer than {TABLE_VERSION}; upgrade nasbench")
            for name in ("metrics", "depth_shares", "unofficial"):
                found[name] = tuple(found[name])
            info = TableInfo(**found)
            check_widths(info.dims, str(self.path))
            return info
        except (OSError, pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"{self.path}: not a table of the tabular benchmark ({reason}); 'nasbench tabulate' makes one"
            ) from None

    @cached_property
    def space(self) -> SmallGrid:
        """The search space whose networks the table holds."""
        return self.info.space

    @cached_property
    def columns(self) -> dict[str, FloatArray]:
        """All columns by name, each ``(n_rows,)``, in the order of :func:`grid_of`.

        Raises:
            UserError: if the file is damaged, or rows are missing or in another order.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        info, place = self.info, f"{self.path}: not a complete table"
        try:
            read = pq.read_table(self.path)
            found = {name: read[name].to_numpy().astype(np.float64) for name in read.column_names}
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{place} ({reason}); make it again with 'nasbench tabulate'") from None
        missing = set(column_names(info.metrics)) - found.keys()
        if missing:
            raise UserError(f"{place}, without column {min(missing)!r}; make it again with 'nasbench tabulate'")
        expected = grid_of(self.space) * np.array([1, info.unit_step, 1])
        rows = np.column_stack([found[name] for name in ("heads", "units", "layers")])
        if not np.array_equal(rows, expected):
            raise UserError(
                f"{place}: {len(rows):,} rows that are not the grid of {len(expected):,} configurations; make it again "
                "with 'nasbench tabulate'"
            )
        return found

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file."""
        try:
            return hashlib.sha256(self.path.read_bytes()).hexdigest()
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read ({error.strerror})") from None

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits of :attr:`sha256`, which tell runs on different tables apart."""
        return self.sha256[:8]

    def entry(self, config: Config) -> Entry:
        """The row of a configuration of :attr:`space`."""
        row, columns = self.row(config), self.columns
        values = {name: float(column[row]) for name, column in columns.items()}

        def metrics(prefix: str) -> dict[str, float]:
            found = {name: values[f"{prefix}{name}"] for name in self.info.metrics}
            return {} if any(np.isnan(value) for value in found.values()) else found

        validation, test = metrics("metric."), metrics("test_metric.")
        return Entry(
            int(values["n_params"]), values["params"],
            values["error"] if validation else None, values["test_error"] if test else None,
            validation, test, values["seconds"], values["pass_s"],
        )  # fmt: skip

    def config_of(self, subnetwork: SubNetwork) -> Config:
        """The configuration of a sub-network of the grid; without any block, that of the smallest network."""
        n_layers = subnetwork.n_active_layers
        if n_layers == 0:
            return self.space.smallest
        heads, units = subnetwork.head_counts[0], subnetwork.unit_counts[0]
        return np.array([heads, units // self.info.unit_step, n_layers], dtype=np.int64)

    def row(self, config: Config) -> int:
        """Number of the row of a configuration."""
        return int(np.ravel_multi_index(tuple(config), tuple(self.space.upper + 1)))

    @property
    def values(self) -> FloatArray:
        """Validation error and parameter fraction of every row, ``(n_rows, 2)``."""
        return np.column_stack([self.columns["error"], self.columns["params"]])

    @property
    def test_values(self) -> FloatArray:
        """Test error and parameter fraction of every row, ``(n_rows, 2)``."""
        return np.column_stack([self.columns["test_error"], self.columns["params"]])

    @cached_property
    def is_first_copy(self) -> BoolArray:
        """Mask ``(n_rows,)`` of the rows whose network has no earlier row. All rows without a block are one network."""
        heads, units, layers = grid_of(self.space).T
        is_empty = (layers == 0) | ((heads == 0) & (units == 0))
        return np.asarray(~is_empty | (np.arange(len(is_empty)) == 0))


def check_widths(dims: Dimensions, place: str) -> None:
    """Check that all layers have the same width: the rows are found by that of the first layer.

    Raises:
        UserError: for the dimensions of a network that was pruned before.
    """
    if dims.heads_by_layer is not None or dims.units_by_layer is not None:
        raise UserError(f"{place}: a table holds no network that was pruned before, whose layers differ in width")


def grid_of(space: SmallGrid) -> IntArray:
    """All configurations of a grid in the order of a table's rows, ``(n, 3)``: the layers vary fastest."""
    return np.stack(np.meshgrid(*(np.arange(n + 1) for n in space.upper), indexing="ij"), axis=-1).reshape(-1, 3)


def column_names(metrics: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the columns of a table whose task has these metrics, in order."""
    by_split = (f"{prefix}{name}" for prefix in ("metric.", "test_metric.") for name in metrics)
    return ("heads", "units", "layers", "n_params", "params", "error", "test_error", *by_split, "pass_s", "seconds")


def write_table(path: Path, info: TableInfo, metrics: FloatArray, test_metrics: FloatArray, pass_s: FloatArray) -> None:
    """Write a table atomically.

    Args:
        info: what the table was made of.
        metrics: validation metrics, ``(heads + 1, steps + 1, layers + 1, n_metrics)``, in the order of
            ``info.metrics``; NaN where outputs were not finite.
        test_metrics: test metrics, likewise.
        pass_s: ``(heads + 1, steps + 1)``, seconds of the validation pass of all depths.

    Raises:
        NasbenchError: if the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    space = info.space
    grid = grid_of(space)
    n_params = space.n_params(grid)
    validation, test = (values.reshape(len(grid), -1) for values in (metrics, test_metrics))
    shares = np.array(info.depth_shares)
    passes = np.broadcast_to(pass_s[..., None], (*pass_s.shape, len(shares)))
    seconds = info.depth_0_s + shares * np.maximum(passes - info.depth_0_s, 0.0)
    columns: dict[str, Any] = {
        "heads": grid[:, 0].astype(np.int16),
        "units": (grid[:, 1] * info.unit_step).astype(np.int32),
        "layers": grid[:, 2].astype(np.int16),
        "n_params": n_params,
        "params": n_params / info.dims.n_params,
        "error": 1 - validation[:, 0],
        "test_error": 1 - test[:, 0],
        **{f"metric.{name}": validation[:, i] for i, name in enumerate(info.metrics)},
        **{f"test_metric.{name}": test[:, i] for i, name in enumerate(info.metrics)},
        "pass_s": passes.reshape(-1).astype(np.float32),
        "seconds": seconds.reshape(-1).astype(np.float32),
    }
    metadata = {METADATA_KEY: json.dumps(dataclasses.asdict(info), sort_keys=True, allow_nan=False).encode()}
    buffer = io.BytesIO()
    table = pa.table({name: columns[name] for name in column_names(info.metrics)}).replace_schema_metadata(metadata)
    pq.write_table(table, buffer, compression="zstd", compression_level=19)
    write_atomically(path, buffer.getvalue())


def table_of(record: RunRecord) -> str | None:
    """Digest of the table that answered a simulated run, also of an older record; None for a run on a network."""
    if record.identity.table is not None or record.simulated is None:
        return record.identity.table
    origin = record.provenance.get("table")
    return str(origin.get("sha256"))[:8] if isinstance(origin, dict) else None


@functools.cache
def digests_of_suite() -> frozenset[str]:
    """Digests of the tables that come with the suite."""
    return frozenset(table.digest for table in find_tables())


def shipped_folder() -> Path:
    """The folder of the tables that come with the suite."""
    return Path(importlib.import_module("nasbench.benchmark").__path__[0]) / "tables"


def find_tables(folder: Path | None = None) -> list[Table]:
    """All tables of a folder, sorted by name; None for those that come with the suite."""
    return [Table(path) for path in sorted((folder or shipped_folder()).glob(f"*{SUFFIX}"))]


def find_table(task: str, model: str, seed: int, options: Mapping[str, Any], folder: Path | None = None) -> Table:
    """The table for a run: of all tables of this task, model and super-network training, number ``seed`` modulo n.

    With tables of super-network seeds 0, 1 and 2, run seeds 0, 1 and 2 use the table of the same seed, and many run
    seeds spread evenly over the tables.

    Args:
        options: options of ``ws-nas``, as JSON.
        folder: None for the tables of the suite.

    Raises:
        UserError: if there is none. The message lists those that there are.
    """
    tables = find_tables(folder)
    same = [table for table in tables if (table.info.task, table.info.model) == (task, model)]
    found = sorted((table for table in same if dict(table.info.options) == options), key=lambda table: table.info.seed)
    if found:
        return found[seed % len(found)]
    if same:
        raise UserError(
            f"--table: the super-networks of {', '.join(table.name for table in same)} were trained with other "
            "options; leave out --set for the method, or make a table with 'nasbench tabulate'"
        )
    known = ", ".join(table.name for table in tables) or "none"
    raise UserError(
        f"--table: no table of task {task!r} with model {model!r} (tables: {known}); make one with 'nasbench tabulate "
        f"--task {task} --model {model}' and name it with --table PATH"
    )
