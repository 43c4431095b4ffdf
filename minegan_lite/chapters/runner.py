"""The book's chapters as runs: which there are, their parameters per tier, and one chapter executed through papermill.

A chapter is a notebook that `book/_toc.yml` names. Its cell tagged `parameters` holds the reader tier's values as
literals; other tiers are injected after it. It records its numbers with `ledger.record` as chapters/NAME.
"""

import ast
import contextlib
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import yaml

from minegan_lite.errors import UserError

TIERS = ("smoke", "reader", "full")
# The kernel that a committed notebook names, without versions: those of the run are in its record.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}
_PACKAGE = Path(__file__).resolve().parents[1]


def book() -> Path:
    """The `book/` folder of the checkout around this package. Raises UserError if there is no checkout."""
    folder = _PACKAGE.parent / "book"
    if not (folder / "_toc.yml").is_file():
        raise UserError(
            "the chapters are not part of the installed package: clone the repository and run it from there"
        )
    return folder


def pages() -> list[str]:
    """Every page of the book, in the order of `_toc.yml`, without suffix."""

    def files(entry: dict | list) -> Iterator[str]:
        if isinstance(entry, list):
            for item in entry:
                yield from files(item)
            return
        yield from (entry[key] for key in ("root", "file") if key in entry)
        for key in ("parts", "chapters", "sections"):
            yield from files(entry.get(key, []))

    return list(files(yaml.safe_load((book() / "_toc.yml").read_text(encoding="utf-8"))))


def chapters() -> list[str]:
    """The pages that are notebooks."""
    return [page for page in pages() if (book() / f"{page}.ipynb").is_file()]


def tier(chapter: str, name: str) -> dict:
    """Parameters of `chapter` at tier `name`; UserError on an unknown tier or chapter, naming the known ones."""
    if name not in TIERS:
        raise UserError(f"unknown tier {name!r}: use one of {', '.join(TIERS)}")
    # in an installed package the tiers lie inside it: a notebook in Colab has no checkout
    folder = next(f for f in (_PACKAGE / "tiers", _PACKAGE.parent / "book" / "tiers") if f.is_dir())
    known = yaml.safe_load((folder / f"{name}.yml").read_text(encoding="utf-8"))
    if chapter not in known:
        raise UserError(f"no chapter {chapter!r}: use one of {', '.join(known)}")
    return dict(known[chapter])


def tagged(notebook, tag: str) -> list:
    """The code cells of `notebook` that carry `tag`."""
    return [c for c in notebook.cells if c.cell_type == "code" and tag in c.metadata.get("tags", [])]


def parameters(notebook) -> dict:
    """What the one cell tagged `parameters` assigns; UserError unless each statement is `name = literal`.

    Literals only, because papermill injects *after* this cell: a value derived in it would stay stale.
    """
    cells = tagged(notebook, "parameters")
    if len(cells) != 1:
        raise UserError(f"{len(cells)} cells are tagged 'parameters': a chapter has exactly one")
    values = {}
    for statement in ast.parse(cells[0].source).body:
        try:
            (target,) = statement.targets
            values[target.id] = ast.literal_eval(statement.value)
        except (AttributeError, ValueError) as error:
            line = ast.unparse(statement)
            raise UserError(f"the parameters cell may only say `name = literal`, not {line!r}") from error
    return values


def injected(notebook, wanted: dict) -> dict:
    """The part of `wanted` that differs from the parameters cell; UserError on names that the cell does not have."""
    own = parameters(notebook)
    if unknown := sorted(set(wanted) - set(own)):
        raise UserError(f"unknown parameters {', '.join(unknown)}: the chapter has {', '.join(own)}")
    return {name: value for name, value in wanted.items() if own[name] != value}


def environment(results: Path) -> dict[str, str]:
    """Variables that a chapter's kernel needs, whatever folder it runs in: this package, this data, `results`."""
    path = [str(_PACKAGE.parent), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    values = {
        "PYTHONPATH": os.pathsep.join(map(os.path.abspath, path)),
        "MINEGAN_RESULTS": str(results.resolve()),
        # small networks: a second thread makes them slower where the cores are busy
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    }
    for name in ("MINEGAN_DATA", "MINEGAN_CACHE"):
        if folder := os.environ.get(name):
            values[name] = os.path.abspath(folder)
    return values


@contextlib.contextmanager
def _environ(values: dict[str, str]) -> Iterator[None]:
    before = os.environ.copy()
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def run(
    chapter: str, name: str = "reader", out: str | Path | None = None, *, timeout: int | None = None, progress=False
) -> Path:
    """Execute a copy of a chapter at tier `name` in the folder `out`; return the path of the executed copy.

    The kernel works in `out` (default `_build/chapters/<tier>` in the checkout). The chapter's records are written to
    `out/results`, so that the committed notebook and ledger stay unchanged.
    `timeout` is in seconds, for each cell. Raises UserError for an unknown chapter or tier and for a folder that is in
    the book, also through a link; RuntimeError if a cell fails.
    """
    wanted = tier(chapter, name)
    if chapter not in chapters():
        raise UserError(f"no chapter {chapter!r}: use one of {', '.join(chapters())}")
    out = Path(out or book().parent / "_build" / "chapters" / name).resolve()
    results = out / "results"
    for place in (out, results.resolve(), (out / f"{chapter}.ipynb").resolve()):
        if place.is_relative_to(book().resolve()):
            raise UserError(
                f"{out} is of the book itself, whose notebooks and records it would replace: choose another"
            )
    results.mkdir(parents=True, exist_ok=True)
    own_record(chapter, results).unlink(missing_ok=True)
    return execute(book() / f"{chapter}.ipynb", wanted, out, timeout=timeout, progress=progress)


def own_record(chapter: str, results: Path) -> Path:
    """Where in `results` a chapter records its numbers."""
    return results / "chapters" / f"{chapter}.json"


def execute(source: Path, wanted: dict, out: Path, *, timeout: int | None = None, progress: bool = False) -> Path:
    """Run the notebook `source` with the parameters `wanted` in the folder `out`; return the cleaned copy's path.

    The copy has the same name. Raises UserError for parameters that the notebook does not have, and RuntimeError, with
    the cell and its error, if a cell fails; the copy then holds the notebook up to that cell.
    """
    try:
        import nbformat
        import papermill
    except ImportError as error:
        raise UserError('running chapters needs more packages: pip install "minegan-lite[book]"') from error

    values = injected(nbformat.read(source, as_version=4), wanted)
    target = out / source.name
    with _environ(environment(out / "results")):
        try:
            # log_output stays off: together with widgets it sometimes hangs
            papermill.execute_notebook(
                source,
                target,
                parameters=values,
                kernel_name="python3",
                language="python",
                cwd=out,
                progress_bar=progress,
                execution_timeout=timeout,
                extra_arguments=["--IPKernelApp.log_level=ERROR"],  # not a word about its transport
            )
        except papermill.PapermillExecutionError as error:
            what = f"{error.ename}: {error.evalue}"
            raise RuntimeError(f"{source.stem}: cell {error.exec_count} failed with {what}; see {target}") from error
    notebook = nbformat.read(target, as_version=4)
    nbformat.write(clean(notebook, {out, book().parent}), target)
    return target


def clean(notebook, private: Collection[Path] = ()):
    """Drop in place what differs between runs or machines: timing, stderr, widgets, paths in `private`.

    Widgets are dropped, since they show nothing without their kernel; the static picture in the next output is kept.
    """
    notebook.metadata = type(notebook.metadata)(METADATA)
    for cell in notebook.cells:
        for key in ("papermill", "execution"):
            cell.metadata.pop(key, None)
        if not cell.metadata.get("tags", True):
            del cell.metadata["tags"]  # papermill leaves an empty list on each cell
        if cell.cell_type == "code":
            cell.outputs = _tidy(cell.outputs, private)
    return notebook


_WIDGET = "application/vnd.jupyter.widget-view+json"


def _tidy(outputs: list, private: Collection[Path]) -> list:
    def public(text: str) -> str:
        for path in sorted(map(str, private), key=len, reverse=True):
            text = text.replace(f"{path}{os.sep}", "").replace(path, ".")
        return text

    kept: list = []
    for output in outputs:
        data = output.get("data", {})
        if output.get("name") == "stderr":
            continue
        if data.pop(_WIDGET, None) is not None:
            output.get("metadata", {}).pop(_WIDGET, None)
            if set(data) <= {"text/plain"}:  # no picture: what the widget says of itself
                continue
        if output.output_type == "stream":
            # a line that was written over shows its last state
            text = re.sub(r"[^\n]*\r(?!\n)", "", public(output.text))
            if kept and kept[-1].output_type == "stream":
                kept[-1].text += text
                continue
            output.text = text
        for kind, value in data.items():
            if kind.startswith("text/") and isinstance(value, str):
                data[kind] = public(value)
        kept.append(output)
    return kept


def violations(record: dict, rows: list[dict]) -> list[str]:
    """Which `rows` ({path, min, max, origin}) the record breaks, one line each; `path` is dotted, bounds are inclusive.

    A path that is not there, or is no finite number, is a violation too.
    """
    found = []
    for row in rows:
        value: Any = record
        for key in row["path"].split("."):
            value = value.get(key) if isinstance(value, dict) else None
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and row["min"] <= value <= row["max"]):
            found.append(f"{row['path']} = {value}, not within {row['min']} … {row['max']} ({row['origin']})")
    return found
