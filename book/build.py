"""The book from its source: `python book/build.py html` builds the pages, `chapters` rewrites the committed outputs.

Both start the chapters through `minegan_lite.chapters`; neither is needed to read or to use the library.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from bs4 import BeautifulSoup

from book import reference
from minegan_lite import chapters
from minegan_lite.metrics.evaluation import format_report

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "_build"
RANGES = ROOT / "tests" / "chapters" / "ranges.yml"
SHORTEST = 200  # characters of text that a page must have


def build(out: Path, live: list[Path] = ()) -> list[Path]:
    """Build the whole book into `out/_build/html`, with the notebooks `live` in the place of the committed ones.

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
    for notebook in live:
        shutil.copy(notebook, source)
    reference.write(source / "_made")
    return sphinx(source, out, chapters.pages())


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


def ranges(chapter: str, tier: str, record: dict) -> list[dict]:
    """The rows of `ranges.yml` that `record`, written by `chapter` at `tier`, must keep; they depend on the data."""
    origin = record["settings"]["origin"]
    rows = (
        yaml.safe_load(RANGES.read_text(encoding="utf-8"))
        .get(chapter, {})
        .get(tier, {})
        .get(origin, [])
    )
    if not rows:
        raise RuntimeError(
            f"{RANGES.name} has no range for {chapter}, tier {tier}, data from {origin}"
        )
    return rows


def rewrite(names: list[str]) -> None:
    """Execute chapters at reader tier; put outputs and records into the book where the numbers are in range."""
    for name in names:
        print(f"{name}: running", flush=True)
        out = BUILD / "chapters" / "reader"
        notebook = chapters.run(name, "reader", out, timeout=900)
        record = json.loads(
            (out / "results" / f"{name}.json").read_text(encoding="utf-8")
        )
        if record["settings"]["origin"] == "uci-digits":
            raise RuntimeError(
                f"{name}: MNIST was not found, so nothing was rewritten: set MINEGAN_DATA to its folder"
            )
        if broken := chapters.violations(
            record, ranges(name, "reader", record)
        ):
            raise RuntimeError(
                f"{name}: nothing rewritten, see {notebook}:\n"
                + "\n".join(broken)
            )
        shutil.copy(notebook, ROOT / "book")
        for file in chapters.own_records(name, out / "results"):
            shutil.copy(file, ROOT / "book" / "results")
        print(f"{name}: rewritten")


def before_after(record: dict) -> str:
    """What mining changed in the quickstart, as the chapter recorded it."""
    parts = [
        f"{when} mining: {format_report(record['numbers'][when])}"
        for when in ("before", "after")
    ]
    if record["settings"]["origin"] == "uci-digits":
        parts.insert(
            0,
            "MNIST was not found: these are scikit-learn's embedded digits, enlarged.",
        )
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    html = commands.add_parser(
        "html", help="build the pages into _build/html"
    )
    html.add_argument(
        "--live",
        metavar="CHAPTER",
        help="run this chapter first, at reader tier, into the build",
    )
    again = commands.add_parser(
        "chapters",
        help="execute chapters at reader tier and rewrite their committed outputs",
    )
    again.add_argument("names", nargs="*", help="default: every chapter")
    options = parser.parse_args()
    try:
        if options.command == "chapters":
            rewrite(options.names or chapters.chapters())
            return
        live = []
        if options.live:
            print(
                f"{options.live}: running at reader tier (minutes)",
                flush=True,
            )
            live = [
                chapters.run(
                    options.live, "reader", BUILD / "live", timeout=900
                )
            ]
        print("building the pages", flush=True)
        first = build(ROOT, live)[0]
        if options.live:
            record = json.loads(
                (
                    BUILD / "live" / "results" / f"{options.live}.json"
                ).read_text(encoding="utf-8")
            )
            print(f"\n{before_after(record)}")
        print(f"\nopen {first.with_name('index.html')}")
    except (RuntimeError, ValueError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
