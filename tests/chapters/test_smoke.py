"""Every chapter runs at smoke tier through papermill, and the numbers that it records are in range."""

import json
import re

import nbformat
import papermill
import pytest
import yaml

from book import build
from minegan_lite import chapters

CHAPTERS = chapters.chapters()
DATA = {"smoke": ("mnist", "uci-digits"), "reader": ("mnist",)}  # what a chapter on images may have at hand


def check(folder, chapter: str) -> dict:
    record = json.loads((folder / "results" / f"{chapter}.json").read_text(encoding="utf-8"))
    assert record["settings"]["tier"] == "smoke"
    assert chapters.violations(record, build.ranges(chapter, "smoke", record)) == []
    return record


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_chapter_runs_with_what_is_at_hand(chapter, tmp_path):
    chapters.run(chapter, "smoke", tmp_path, timeout=300)
    check(tmp_path, chapter)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_chapter_runs_without_data_and_network(chapter, tmp_path, monkeypatch):
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    monkeypatch.setenv("MINEGAN_DATA", str(nothing))
    monkeypatch.setenv("MINEGAN_CACHE", str(nothing))
    monkeypatch.setenv("MINEGAN_OFFLINE", "1")
    executed = chapters.run(chapter, "smoke", tmp_path, timeout=300)
    origin = check(tmp_path, chapter)["settings"]["origin"]
    assert origin == ("synthetic" if is_synthetic(chapter) else "uci-digits")
    if is_synthetic(chapter):
        return
    # pages drop stderr, where the library says it: the chapter must say it itself
    outputs = [output for cell in nbformat.read(executed, as_version=4).cells for output in cell.get("outputs", [])]
    assert any("embedded" in output.get("data", {}).get("text/markdown", "") for output in outputs)


def is_synthetic(chapter: str) -> bool:
    """A chapter that makes its own data: its ranges know no other origin, and so must its records, with data or not."""
    table = yaml.safe_load(build.RANGES.read_text(encoding="utf-8"))
    return set(table.get(chapter, {}).get("smoke", {})) == {"synthetic"}


def loaders(source: str) -> list[str]:
    """What of `source` reads images from a data set."""
    return re.findall(r"\bfew_shot\b|\bload_mnist\b|\bminegan_lite\.data\b|\btorchvision\b", source)


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_only_a_chapter_that_loads_no_images_is_synthetic(chapter):
    notebook = nbformat.read(chapters.book() / f"{chapter}.ipynb", as_version=4)
    named = loaders("\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code"))
    assert bool(named) != is_synthetic(chapter), named


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_tiers_know_the_chapters_parameters(chapter):
    known = set(papermill.inspect_notebook(str(chapters.book() / f"{chapter}.ipynb")))
    for name in chapters.TIERS:
        assert set(chapters.tier(chapter, name)) == known, name


def complaints(table: dict) -> list[str]:
    """What is wrong with a table of ranges."""
    found = []
    for chapter, tiers in table.items():
        if unknown := set(tiers) - set(chapters.TIERS):
            found.append(f"{chapter}: tiers {unknown}")
        known = {"synthetic"} if "synthetic" in tiers.get("smoke", {}) else set(DATA["smoke"])
        for tier, origins in tiers.items():
            if unknown := set(origins) - known:
                found.append(f"{chapter}, {tier}: data from {unknown}")
            for row in (row for rows in origins.values() for row in rows):
                if set(row) != {"path", "min", "max", "origin"}:
                    found.append(f"{chapter}, {tier}: {sorted(row)}")
                elif not (row["min"] < row["max"] and row["path"].startswith("numbers.") and "seed" in row["origin"]):
                    found.append(f"{chapter}, {tier}: {row}")
    return found


def test_ranges_are_well_formed_and_every_chapter_has_some():
    table = yaml.safe_load(build.RANGES.read_text(encoding="utf-8"))
    assert complaints(table) == []
    for chapter in CHAPTERS:
        for tier, origins in DATA.items():
            for origin in ("synthetic",) if is_synthetic(chapter) else origins:
                assert build.ranges(chapter, tier, {"settings": {"origin": origin}}), (chapter, tier, origin)


GOOD = {"path": "numbers.a", "min": 0.1, "max": 0.2, "origin": "spread of seeds 0-2, widened by half"}


@pytest.mark.parametrize(
    "change", [{"min": 0.3}, {"path": "a"}, {"origin": ""}, {"origin": "guessed"}, {"note": "more"}]
)
def test_a_malformed_range_is_told(change):
    assert complaints({"a": {"smoke": {"mnist": [GOOD]}}}) == []
    assert complaints({"a": {"smoke": {"mnist": [GOOD | change]}}})
    assert complaints({"a": {"smoke": {"nowhere": [GOOD]}}})
    assert complaints({"a": {"nightly": {"mnist": [GOOD]}}})


def test_synthetic_stands_alone_at_every_tier():
    synthetic, images = {"synthetic": [GOOD]}, {"mnist": [GOOD]}
    assert complaints({"a": {"smoke": synthetic, "reader": synthetic}}) == []
    assert complaints({"a": {"smoke": synthetic | images}})
    assert complaints({"a": {"smoke": synthetic, "reader": images}})
    assert complaints({"a": {"smoke": images, "reader": synthetic}})


@pytest.mark.parametrize("source", ["few_shot('mnist', digit=9)", "data.load_mnist('test')", "import torchvision"])
def test_a_loader_is_seen(source):
    assert loaders(f"x = 1\n{source}")
    assert not loaders("from minegan_lite.mined import draw\nmine(gan, points)")


def test_a_chapter_without_ranges_is_refused():
    with pytest.raises(RuntimeError, match="no range for nine, tier smoke, data from mnist"):
        build.ranges("nine", "smoke", {"settings": {"origin": "mnist"}})
