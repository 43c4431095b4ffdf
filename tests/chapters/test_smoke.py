"""Every chapter runs at smoke tier through papermill, and the numbers that it records are in range."""

import json

import nbformat
import papermill
import pytest
import yaml

from book import build
from minegan_lite import chapters

CHAPTERS = chapters.chapters()
ORIGINS = ("mnist", "uci-digits")


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
    assert check(tmp_path, chapter)["settings"]["origin"] == "uci-digits"
    # pages drop stderr, where the library says it: the chapter must say it itself
    outputs = [output for cell in nbformat.read(executed, as_version=4).cells for output in cell.get("outputs", [])]
    assert any("embedded" in output.get("data", {}).get("text/markdown", "") for output in outputs)


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
        for tier, origins in tiers.items():
            if unknown := set(origins) - set(ORIGINS):
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
        for tier, origin in (("smoke", "mnist"), ("smoke", "uci-digits"), ("reader", "mnist")):
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


def test_a_chapter_without_ranges_is_refused():
    with pytest.raises(RuntimeError, match="no range for nine, tier smoke, data from mnist"):
        build.ranges("nine", "smoke", {"settings": {"origin": "mnist"}})
