"""MkDocs hooks: pages from the documents at the repository's root, from the packages' docstrings and from the notebook.

README.md, CONTRIBUTING.md and the others stay where GitHub shows them, and the site has no copies of them. A page is a
document or some of its sections; links between documents lead to the page that holds the section they name.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markdown.extensions.toc import slugify
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / ".dev" / "nasbench"  # the engine and its leaves as one package, linked by the development install
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"
COPIED = {"LICENSE": "LICENSE.txt", "CITATION.cff": "CITATION.cff"}
"""Files that the documents link to, and their names on the site."""


@dataclass(frozen=True)
class Source:
    """The document of a page, and the headings of its sections; without any, all sections that no other page holds."""

    document: str
    headings: tuple[str, ...] = ()


PAGES = {
    "index.md": Source("README.md"),
    "first-run.md": Source("README.md", ("A first real run", "A smaller model")),
    "comparing.md": Source("README.md", ("Comparing",)),
    "contributing.md": Source("CONTRIBUTING.md"),
    "method.md": Source("CONTRIBUTING.md", ("A method in five minutes",)),
    "searcher.md": Source("CONTRIBUTING.md", ("A searcher",)),
    "package.md": Source("CONTRIBUTING.md", ("A package of your own",)),
    "task.md": Source("CONTRIBUTING.md", ("A task of your own",)),
    "architecture.md": Source("ARCHITECTURE.md"),
    "benchmarks.md": Source("BENCHMARKS.md"),
    "changelog.md": Source("CHANGELOG.md"),
    "leaderboard.md": Source("leaderboard.md"),
}


class Documents:
    """The pages made from documents, and which page holds which heading."""

    def __init__(self) -> None:
        self.markdown: dict[str, str] = {}
        self._home: dict[tuple[str, str], str] = {}  # (document, anchor or "") -> page
        for document in {source.document for source in PAGES.values()}:
            self._split(document)

    def _split(self, document: str) -> None:
        sections = split_sections((ROOT / document).read_text(encoding="utf-8"))
        pages = {page: source for page, source in PAGES.items() if source.document == document}
        claimed = {heading for source in pages.values() for heading in source.headings}
        if missing := claimed - set(sections):
            raise PluginError(f"{document} has no section {sorted(missing)}: correct PAGES in docs/mkdocs_hooks.py")
        for page, source in pages.items():
            headings = source.headings or [heading for heading in sections if heading not in claimed]
            self.markdown[page] = "\n".join(sections[heading] for heading in headings)
            if source.headings:
                self.markdown[page] = promote(self.markdown[page])
            else:
                self._home[document, ""] = page
            for line in unfenced(self.markdown[page]):
                if line.startswith("#"):
                    self._home[document, slugify(line.lstrip("# "), "-")] = page

    def page(self, path: str, anchor: str) -> str | None:
        """The page for a file of the repository, or None if the site does not hold it."""
        if (path, "") in self._home:
            return self._home.get((path, anchor), self._home[path, ""])
        if path == NOTEBOOK.relative_to(ROOT).as_posix():
            return "notebook.md"
        return COPIED.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)


def unfenced(markdown: str) -> list[str]:
    """The lines outside fenced code, with empty lines in place of the others."""
    lines, fenced = [], False
    for line in markdown.splitlines():
        fence = line.lstrip().startswith("```")
        lines.append("" if fenced or fence else line)
        fenced ^= fence
    return lines


def split_sections(markdown: str) -> dict[str, str]:
    """A document by its headings of the second level; what precedes them is under the empty heading."""
    sections: dict[str, list[str]] = {"": []}
    heading = ""
    for line, prose in zip(markdown.splitlines(), unfenced(markdown), strict=True):
        if prose.startswith("## "):
            heading = prose.removeprefix("## ").strip()
            sections[heading] = []
        sections[heading].append(line)
    return {heading: "\n".join(lines) + "\n" for heading, lines in sections.items()}


def promote(markdown: str) -> str:
    """Make the first heading the title of a page, and raise the headings below it by one level."""
    lines, n_sections = [], 0
    for line, prose in zip(markdown.splitlines(), unfenced(markdown), strict=True):
        n_sections += prose.startswith("## ")
        lines.append(line.removeprefix("#") if prose.startswith("##") and n_sections == 1 else line)
    return "\n".join(lines) + "\n"


def package_pages() -> dict[str, str]:
    """A page for every package, with its docstring and those of its modules, and one for every module beside them."""
    pages = {}
    for folder, _, names in os.walk(PACKAGE, followlinks=True):
        package = ".".join(Path(folder).relative_to(PACKAGE.parent).parts)
        modules = sorted(Path(name).stem for name in names if name.endswith(".py") and not name.startswith("_"))
        if package == "nasbench":
            modules.remove("api")  # docs/api/index.md documents it
            pages |= {
                f"api/{module}.md": f"# nasbench.{module}\n\n{directive(f'nasbench.{module}')}" for module in modules
            }
        elif "__init__.py" in names:
            blocks = [f"# {package}\n", directive(package)]
            blocks += [directive(f"{package}.{module}", heading_level=2) for module in modules]
            pages[f"api/{package.removeprefix('nasbench.')}.md"] = "\n".join(blocks)
    return dict(sorted(pages.items(), key=lambda item: item[0].removesuffix(".md")))


def directive(name: str, **options: int | bool) -> str:
    """The lines that mkdocstrings replaces by documentation; it gets a heading if the options have a level."""
    options = options or {"heading_level": 2, "show_root_heading": False}
    return f"::: {name}\n    options: {json.dumps(options)}\n"


_documents: Documents


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """List the packages' pages in the navigation."""
    if not PACKAGE.is_dir():
        raise PluginError(f"no folder {PACKAGE}: run 'make docs', or install nasbench with 'pip install -e .'")
    (reference,) = [entry["API reference"] for entry in config.nav if "API reference" in entry]
    reference += [{Path(page).stem: page} for page in package_pages()]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made here."""
    global _documents
    _documents = Documents()
    for page, markdown in (_documents.markdown | package_pages()).items():
        files.append(File.generated(config, page, content=markdown))
    for path, name in COPIED.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / path)))
    add_notebook(files, config)
    return files


def add_notebook(files: Files, config: MkDocsConfig) -> None:
    """Add the notebook as a page, with the outputs that it was saved with: nothing is executed."""
    from nbconvert import MarkdownExporter

    markdown, resources = MarkdownExporter().from_filename(str(NOTEBOOK))
    files.append(File.generated(config, "notebook.md", content=markdown))
    for name, content in resources["outputs"].items():
        files.append(File.generated(config, name, content=content))


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Replace links between files of the repository by links between pages."""
    here = page.file.src_uri
    source = PAGES[here].document if here in PAGES else f"docs/{here}"

    def replaced(match: re.Match[str]) -> str:
        path, anchor = match["path"], match["anchor"] or ""
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path)) if path else source
        destination = _documents.page(target, anchor.removeprefix("#"))
        if destination is None or (not path and destination == here):
            return match[0]
        return f"]({posixpath.relpath(destination, posixpath.dirname(here) or '.')}{anchor}"

    return re.sub(r"\]\((?P<path>[\w./-]*)(?P<anchor>#[\w-]+)?(?=\))", replaced, markdown)
