"""The documentation site: it builds without a warning, and reading it fetches nothing from outside."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OUTSIDE = re.compile(r"(?:https?:)?//", re.IGNORECASE)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site; a warning fails the build: a broken link or anchor, a page outside the navigation, a bad docstring."""
    # `make test` does without the extra "docs"; `make check` installs it.
    pytest.importorskip("mkdocs", reason="no MkDocs: pip install -e '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    # Without --quiet: it also hides warnings from --strict.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


class Fetched(HTMLParser):
    """Addresses that a browser fetches to show a page: scripts, styles, fonts, pictures and frames, but not links."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attributes}
        self.addresses += [values[name] for name in ("src", "srcset", "poster", "data") if name in values]
        if tag == "link" and values.get("rel") not in ("canonical", "prev", "next"):
            self.addresses.append(values["href"])
        self.addresses += css_addresses(values.get("style", ""))


def css_addresses(text: str) -> list[str]:
    """What a style sheet fetches."""
    return [first or second for first, second in re.findall(r"url\(\s*['\"]?([^'\")]*)|@import\s*['\"]([^'\"]*)", text)]


def fetched(path: Path) -> list[str]:
    """Addresses that a file of the site makes a browser fetch."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".css":
        return css_addresses(text)
    parser = Fetched()
    parser.feed(text)
    return parser.addresses + [
        address for style in re.findall(r"(?s)<style.*?</style>", text) for address in css_addresses(style)
    ]


def test_fetched_finds_addresses_of_every_kind(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        '<a href="https://link"></a><link rel="stylesheet" href="//a/b.css"><script src="https://c/d.js"></script>'
        '<style>@import "https://e/f.css"; body {background: url(https://g/h.png)}</style>'
        '<img style="content: url(i)">'
    )
    assert sorted(fetched(page)) == ["//a/b.css", "https://c/d.js", "https://e/f.css", "https://g/h.png", "i"]


@pytest.mark.slow
def test_site_fetches_nothing_from_outside(site: Path) -> None:
    files = [*site.rglob("*.html"), *site.rglob("*.css")]
    assert site / "index.html" in files
    addresses = {(file.relative_to(site).as_posix(), address) for file in files for address in fetched(file)}
    assert any(address.endswith(".js") for _, address in addresses)
    assert {(file, address) for file, address in addresses if OUTSIDE.match(address)} == set()


@pytest.mark.slow
def test_site_documents_the_public_names_and_every_package(site: Path) -> None:
    import nasbench

    public = (site / "api" / "index.html").read_text(encoding="utf-8")
    missing = {name for name in nasbench.__all__ if not re.search(rf'id="nasbench\.(api\.)?{name}"', public)}
    assert missing == {"__version__"}
    packages = [init.parent for init in (ROOT / "src" / "nasbench").glob("*/__init__.py")]
    assert {package.name for package in packages if not (site / "api" / f"{package.name}.html").exists()} == set()
