"""The box in which a page tells what the run on this machine gave, apart from the recorded run that the page shows."""

import base64
import json
from pathlib import Path

import nbformat
from nbformat.v4 import new_markdown_cell

from book import ranges
from minegan_lite.chapters import runner

PICTURE = "live"  # the tag of the cell whose picture the box shows


def told(record: dict, recorded: dict, rows: list[dict]) -> str:
    """A table of the numbers that have a range, of this run and of the recorded one, and a sentence on them."""
    lines = ["| number | here | recorded (range) |", "|---|---|---|"]
    for row in rows:
        path = row["path"]
        name = path.removeprefix("numbers.").removesuffix(".value")
        name = name.removeprefix("after.").replace(".", ", ")
        here, there = (ranges.number(r, path) for r in (record, recorded))
        spread = f"{max(row['min'], 0):.3g}–{row['max']:.3g}"
        lines.append(
            f"| {name.replace('_', ' ')} | {here:.3g} | {there:.3g} ({spread}) |"
        )
    outside = runner.violations(record, rows)
    verdict = (
        "All of them lie where the same cells gave them with other seeds and on other processors."
        if not outside
        else "**Not all of them lie where other seeds and processors gave them**: "
        f"{'; '.join(outside)}. Please tell us what machine this is."
    )
    return "\n".join([*lines, "", verdict])


def box(executed: Path, results: Path) -> tuple[str, bytes | None]:
    """The box of an executed chapter, and the picture that it shows, if a cell is tagged so.

    executed: the notebook of the run; results: the folder with its record. The recorded run is the ledger's.
    """
    chapter = executed.stem
    record, recorded = (
        json.loads(runner.own_record(chapter, folder).read_text("utf-8"))
        for folder in (results, runner.book() / "results")
    )
    made = record["provenance"]
    tier = record["settings"]["tier"]
    pictures = [
        output["data"]["image/png"]
        for cell in runner.tagged(nbformat.read(executed, 4), PICTURE)
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    text = [
        "````{admonition} On this machine, when this page was built",
        ":class: tip live-run",
        f"The page below shows the recorded run. This machine ({made['device_name']}) then ran the same cells, "
        f"at the tier *{tier}*, seed {made['seeds'][0]}, {made['n']} samples; training took {made['seconds']:.0f} s.",
        "",
        told(record, recorded, ranges.rows(chapter, tier)),
    ]
    if pictures:
        text += [
            "",
            f"![Samples of the run on this machine, before and after.](_live/{chapter}.png)",
        ]
    picture = base64.b64decode(pictures[0]) if pictures else None
    return "\n".join([*text, "````"]), picture


def insert(executed: Path, results: Path, source: Path) -> None:
    """Puts the box behind the title cell of the chapter in `source`, a copy of the book."""
    text, picture = box(executed, results)
    page = source / executed.name
    notebook = nbformat.read(page, 4)
    notebook.cells.insert(1, new_markdown_cell(text))
    nbformat.write(notebook, page)
    if picture:
        (source / "_live").mkdir(exist_ok=True)
        (source / "_live" / f"{executed.stem}.png").write_bytes(picture)
