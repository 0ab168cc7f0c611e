"""``nasbench new-method``: a first method that works, and its test, to be changed into one's own."""

from __future__ import annotations

import importlib.util
import keyword
import re
from pathlib import Path
from string import Template

from nasbench.errors import UserError
from nasbench.plugins import registry

_METHOD = Template('''\
"""$title: fine-tune the network once, then measure random parts of it.

Say here what the method does, and from which paper or idea it comes.
"""

from __future__ import annotations

from dataclasses import dataclass

from nasbench import Method, Problem


@dataclass(frozen=True)
class ${class_name}Options:
    """Each field can be set on the command line: --set n_samples=50."""

    n_samples: int = 100

    def __post_init__(self) -> None:
        # A ValueError here becomes one line for whoever typed the value.
        if self.n_samples < 1:
            raise ValueError(f"n_samples must be positive, not {self.n_samples}")


class $class_name(Method):
    """What it does, in a sentence or two."""

    name = "$name"
    summary = "fine-tune once, then measure random sub-networks"
    Options = ${class_name}Options
    # The spaces it works in. The first is used where the task's default is not among them.
    spaces = ("small", "medium", "layer", "large")

    def run(self, problem: Problem) -> None:
        # A fresh copy of the pre-trained network, to do with as you like. Loading it costs no budget; training does.
        network = problem.pretrained()
        problem.training(network).run()

        # A configuration is a point of problem.space, a vector of integers. evaluate() measures error and size on the
        # validation split and writes them down; the test split is not yours to see. When the budget is spent, or the
        # number of evaluations is reached, evaluate() and training raise BudgetExhausted: let it pass.
        problem.evaluate(network, problem.space.largest)
        seen = {problem.space.to_subnetwork(problem.space.largest).key}
        for _ in range(self.options.n_samples):
            # Randomness comes from problem.rng and from nowhere else, so that the same seed gives the same run, and a
            # killed run can be resumed by repeating it.
            config = problem.space.sample(problem.rng)
            # Several configurations may name the same network. Measuring it twice would waste budget.
            key = problem.space.to_subnetwork(config).key
            if key in seen:
                continue
            seen.add(key)
            evaluation = problem.evaluate(network, config)
            # evaluation.error is None where the measurement failed; a search would skip such a network.
            if evaluation.error is None:
                continue
''')

_TEST = Template('''\
${imported}from nasbench.testing import MethodContract


class Test$class_name(MethodContract):
    """Determinism, budget, resuming, space, weights, failures, test data: what every method must hold to."""

    method = $class_name
''')


def write_method(name: str, folder: Path) -> tuple[Path, Path]:
    """Write ``<name>.py`` and ``test_<name>.py`` into a folder.

    If that is ``methods/`` or ``baselines/`` of a checkout, the test goes to the folder of the same name in ``tests/``.

    Returns:
        The two paths.

    Raises:
        UserError: for a name that is taken or unfit, and if one of the files exists.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise UserError(f"a method's name has lower-case letters, digits and single hyphens, not {name!r}")
    class_name = "".join(part.capitalize() for part in name.split("-"))
    if keyword.iskeyword(name) or keyword.iskeyword(class_name):
        raise UserError(f"{name!r} is a word of Python's own, so nothing can be called that; choose another name")
    if name in registry.methods():
        raise UserError(f"there is a method {name!r} already ({registry.methods().place(name)})")
    module, package, test_folder = name.replace("-", "_"), _package(folder), folder
    imported = f"from {module} import {class_name}\n\n"
    if package is not None:
        test_folder = folder.resolve().parent / "tests" / folder.resolve().name
        imported = f"from {package}.{module} import {class_name}\n"
    words = {
        "name": name,
        "title": name.replace("-", " ").capitalize(),
        "class_name": class_name,
        "imported": imported,
    }
    files = {folder / f"{module}.py": _METHOD, test_folder / f"test_{module}.py": _TEST}
    for path in files:
        if path.exists():
            raise UserError(f"{path} exists; nothing was written")
    # pytest puts the folder first on the path of imports
    if package is None and importlib.util.find_spec(module) is not None:
        raise UserError(f"there is a Python module {module!r}, which {module}.py would hide; choose another name")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, template in files.items():
            path.write_text(template.substitute(words), encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}") from error
    method_file, test_file = files
    return method_file, test_file


def _package(folder: Path) -> str | None:
    """The package of the suite that a folder is in a checkout; None for any other folder."""
    folder = folder.resolve()
    is_leaf = (folder / "__init__.py").is_file() and (folder.parent / "tests" / folder.name).is_dir()
    return next((leaf for leaf in registry.LEAVES if is_leaf and leaf == f"nasbench.{folder.name}"), None)
