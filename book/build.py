"""The book from its source: `python book/build.py html` builds the pages, `chapters` rewrites the committed outputs.

Both start the chapters through `minegan_lite.chapters`; neither is needed to read or to use the library.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

from bs4 import BeautifulSoup

from book import live, ranges, records, reference
from minegan_lite.chapters import runner
from minegan_lite.metrics.evaluation import format_report

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "_build"
SHORTEST = 200  # characters of text that a page must have


def build(out: Path, executed: Path | None = None) -> list[Path]:
    """Build the whole book into `out/_build/html`, from the committed notebooks.

    executed: a chapter as it was run on this machine, its record beside it in results/: its numbers stand on its
        page in a box of their own.
    RuntimeError where Sphinx warns, and where a page is missing, empty or shows a traceback. Returns the pages' paths.
    """
    source = out / "_build" / "book-src"
    shutil.rmtree(source, ignore_errors=True)
    hidden = shutil.ignore_patterns(
        "_ext",
        "results",
        "tiers",
        "*.py",
        ".ipynb_checkpoints",
        "__pycache__",
    )
    shutil.copytree(ROOT / "book", source, ignore=hidden)
    if executed:
        live.insert(executed, executed.parent / "results", source)
    reference.write(source / "_made")
    return sphinx(source, out, runner.pages())


def sphinx(source: Path, out: Path, pages: list[str]) -> list[Path]:
    """One strict Jupyter Book build of the folder `source`, and a look at what it wrote."""
    html = out / "_build" / "html"
    shutil.rmtree(html, ignore_errors=True)
    program = Path(sys.executable).with_name("jupyter-book")
    command = [
        program,
        "build",
        source,
        "--config",
        ROOT / "_config.yml",
        "--path-output",
        out,
    ]
    done = subprocess.run(
        [*map(str, command), "-W", "--keep-going", "-n"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"the book does not build:\n{done.stdout}")
    if faults := [
        fault for page in pages for fault in look(html / f"{page}.html")
    ]:
        raise RuntimeError("the book was built, but:\n" + "\n".join(faults))
    return [html / f"{page}.html" for page in pages]


def look(page: Path) -> list[str]:
    """What is wrong with a built page, one line each. (A build can exit 0 without writing any.)"""
    if not page.is_file():
        return [f"{page.name} is not there"]
    article = BeautifulSoup(
        page.read_text(encoding="utf-8"), "html.parser"
    ).find("article")
    text = article.get_text(" ", strip=True) if article else ""
    faults = []
    if len(text) < SHORTEST:
        faults.append(f"{page.name} is empty: {len(text)} characters of text")
    elif not article.find("h1"):
        faults.append(f"{page.name} has no title")
    if "Traceback (most recent call last)" in text:
        faults.append(f"{page.name} shows a traceback")
    return faults


def rewrite(names: list[str]) -> None:
    """Execute chapters at reader tier; put outputs and records into the book where the numbers are in range."""
    for name in names:
        print(f"{name}: running", flush=True)
        out = BUILD / "chapters" / "reader"
        notebook = runner.run(name, "reader", out, timeout=900)
        made = runner.own_record(name, out / "results")
        record = json.loads(made.read_text(encoding="utf-8"))
        if broken := runner.violations(record, ranges.rows(name, "reader")):
            raise RuntimeError(
                f"{name}: nothing rewritten, see {notebook}:\n"
                + "\n".join(broken)
            )
        shutil.copy(notebook, ROOT / "book")
        kept = runner.own_record(name, records.FOLDER)
        shutil.copy(made, kept)
        records.update(kept)
        print(f"{name}: rewritten")


def run_live(chapter: str) -> Path:
    """Run a chapter at reader tier for `build`; the path of the executed copy, its record beside it in results/."""
    print(f"{chapter}: running at reader tier (minutes)", flush=True)
    return runner.run(chapter, "reader", BUILD / "live", timeout=900)


def summary(executed: Path) -> str:
    """What mining changed in a chapter that was run live, as it recorded it."""
    file = runner.own_record(executed.stem, executed.parent / "results")
    record = json.loads(file.read_text(encoding="utf-8"))
    parts = [
        f"{when} mining: {format_report(record['numbers'][when])}"
        for when in ("before", "after")
    ]
    rows = ranges.rows(executed.stem, record["settings"]["tier"])
    return "\n\n".join([*parts, *runner.violations(record, rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    html = commands.add_parser(
        "html", help="build the pages into _build/html"
    )
    html.add_argument(
        "--live",
        metavar="CHAPTER",
        help="run this chapter first, at reader tier, and say on its page what came out",
    )
    again = commands.add_parser(
        "chapters",
        help="execute chapters at reader tier and rewrite their committed outputs",
    )
    again.add_argument("names", nargs="*", help="default: every chapter")
    options = parser.parse_args()
    try:
        if options.command == "chapters":
            rewrite(options.names or runner.chapters())
            return
        executed = options.live and run_live(options.live)
        print("building the pages", flush=True)
        first = build(ROOT, executed)[0]
        if executed:
            print(f"\n{summary(executed)}")
        print(f"\nopen {first.with_name('index.html')}")
    except (RuntimeError, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
