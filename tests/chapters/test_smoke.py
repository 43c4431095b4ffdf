"""Every chapter runs at smoke tier, through papermill, on a bare machine, and what it records is in range."""

import copy
import json
import re

import papermill
import pytest

from book import ranges
from minegan_lite.chapters import runner
from tests.chapters import brought

CHAPTERS = runner.chapters()
QUICKSTART = "off_manifold_digits"
TABLE = ranges.table()


@pytest.fixture
def bare(request, monkeypatch, tmp_path):
    """No data folder, no network, and a cache with the files of packages that the chapter needs, mostly none."""
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    if hasattr(request.node, "callspec"):
        brought.lend(request.node.callspec.params["chapter"], nothing)
    before = sorted(nothing.rglob("*"))
    monkeypatch.setenv("MINEGAN_DATA", str(nothing))
    monkeypatch.setenv("MINEGAN_CACHE", str(nothing))
    monkeypatch.setenv("MINEGAN_OFFLINE", "1")
    yield
    assert sorted(nothing.rglob("*")) == before


def record(folder, chapter: str) -> dict:
    return json.loads(runner.own_record(chapter, folder / "results").read_text(encoding="utf-8"))


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_chapter_runs_without_data_and_network(chapter, tmp_path, bare):
    runner.run(chapter, "smoke", tmp_path, timeout=600)
    made = record(tmp_path, chapter)
    assert made["settings"]["tier"] == "smoke"
    assert made["settings"]["origin"] in ("mnist", "synthetic", "pack")
    assert runner.violations(made, ranges.rows(chapter, "smoke")) == []


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_what_a_chapter_brings_from_packages_is_listed(chapter):
    """No more and no less: what is not listed is not there on the bare machine above."""
    source = (runner.book() / f"{chapter}.ipynb").read_text(encoding="utf-8")
    used = {name for name in brought.TABLE if f'\\"{name}\\"' in source}
    used |= {"lite0"} if re.search(r"\b(lite0|face_attributes)\(\)", source) else set()
    listed = brought.NEEDED.get(chapter, ())
    assert files(used) == files(listed), chapter


def files(names) -> set[str]:
    return {file["file"] for name in names for file in brought.FILES[name]}


def test_the_quickstart_is_the_experiment_on_a_bare_machine(tmp_path, bare):
    """What `make book` runs live: nines, and the numbers of the committed page up to the stated spread."""
    runner.run(QUICKSTART, "reader", tmp_path, timeout=1800)
    made = record(tmp_path, QUICKSTART)
    assert runner.violations(made, ranges.rows(QUICKSTART, "reader")) == []
    assert made["numbers"]["after"]["classifier_error"]["value"] <= 0.12
    assert made["numbers"]["after"]["target"] == "mnist:9"


def test_a_chapter_that_trains_nothing_is_out_of_range(tmp_path, monkeypatch):
    for name, value in ranges.untrained_profile(tmp_path / "profile").items():
        monkeypatch.setenv(name, value)
    runner.run(QUICKSTART, "smoke", tmp_path, timeout=600)
    broken = runner.violations(record(tmp_path, QUICKSTART), ranges.rows(QUICKSTART, "smoke"))
    assert any("after.classifier_error" in line for line in broken)
    assert any("after.frechet" in line for line in broken)


# --- the table of ranges ----------------------------------------------------------------------------------------


def complaints(table: dict) -> list[str]:
    """What is wrong with a table of ranges."""
    found = []
    for chapter, tiers in table.items():
        if unknown := set(tiers) - set(runner.TIERS):
            found.append(f"{chapter}: tiers {unknown}")
        for tier, entry in tiers.items():
            where = f"{chapter}, {tier}"
            if set(entry) != {"runs", "rows"} or "seeds" not in entry["runs"]:
                found.append(f"{where}: {sorted(entry)}")
            for row in entry["rows"]:
                if set(row) - {"untrained", "scale"} != {"path", "n", "mean", "sd"} or row.get("scale", "log") != "log":
                    found.append(f"{where}: {sorted(row)}")
                elif not (row["path"].startswith("numbers.") and row["sd"] > 0):
                    found.append(f"{where}: {row}")
            if tier == "smoke":
                found += [f"{where}: fewer than ten runs of {r['path']}" for r in entry["rows"] if r.get("n", 0) < 10]
                if any("untrained" not in row for row in entry["rows"]):
                    found.append(f"{where}: no untrained runs")
                elif trains(entry["rows"]) and not any(excludes(row) for row in entry["rows"]):
                    found.append(f"{where}: an untrained run is in range everywhere")
    return found


def excludes(row: dict) -> bool:
    """Whether the untrained numbers of a row are out of its range."""
    low, high = ranges.bounds(row)
    return not any(low <= value <= high for value in row["untrained"])


def trains(rows: list[dict]) -> bool:
    """Whether a chapter trains what it measures: two of them draw, or measure, what was trained before."""
    pairs = ((ranges.bounds(row, k=3), value) for row in rows for value in row["untrained"])
    return any(not low <= value <= high for (low, high), value in pairs)


def test_ranges_are_well_formed_and_every_chapter_has_some():
    assert complaints(TABLE) == []
    assert set(TABLE) == set(CHAPTERS)
    for chapter in CHAPTERS:
        for tier in ("smoke", "reader"):
            assert ranges.rows(chapter, tier), (chapter, tier)


def test_a_range_is_the_mean_and_k_sds(monkeypatch):
    row = {"path": "numbers.a", "n": 10, "mean": 2.0, "sd": 0.5}
    monkeypatch.setattr(ranges, "table", lambda: {"nine": {"smoke": {"runs": "seeds 0 to 4", "rows": [row]}}})
    (checked,) = ranges.rows("nine", "smoke")
    assert (checked["min"], checked["max"]) == (2 - 0.5 * ranges.K, 2 + 0.5 * ranges.K)
    for value, fine in ((2 + 0.499 * ranges.K, True), (2 + 0.501 * ranges.K, False), (float("nan"), False)):
        assert (runner.violations({"numbers": {"a": value}}, [checked]) == []) is fine
    row |= {"scale": "log"}
    (checked,) = ranges.rows("nine", "smoke")
    assert checked["min"] == pytest.approx(2.718281828 ** (2 - 0.5 * ranges.K))
    assert checked["max"] == pytest.approx(2.718281828 ** (2 + 0.5 * ranges.K))
    with pytest.raises(RuntimeError, match="no range for nine, tier reader"):
        ranges.rows("nine", "reader")


GOOD = {"path": "numbers.a", "n": 10, "mean": 0.5, "sd": 0.01, "untrained": [0.9, 0.95]}


@pytest.mark.parametrize(
    "change",
    [
        {"sd": 0},
        {"path": "a"},
        {"n": 9},
        {"untrained": [0.54, 0.55]},
        {"untrained": [0.95, 0.55]},
        {"note": "more"},
        {"scale": "square"},
    ],
)
def test_a_malformed_range_is_told(change):
    def one(row):
        return {"a": {"smoke": {"runs": "seeds 0 to 4", "rows": [row]}}}

    assert complaints(one(GOOD)) == []
    assert complaints(one(GOOD | change))
    wrong = copy.deepcopy(one(GOOD))
    wrong["a"]["smoke"]["runs"] = "guessed"
    assert complaints(wrong)
    assert complaints({"a": {"nightly": one(GOOD)["a"]["smoke"]}})


def test_what_is_written_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(ranges, "TABLE", tmp_path / "ranges.yml")
    ranges.write(TABLE)
    assert ranges.table() == TABLE
    assert (tmp_path / "ranges.yml").read_text() == (ranges.ROOT / "tests/chapters/ranges.yml").read_text()


# --- tiers ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_tiers_know_the_chapters_parameters(chapter):
    known = set(papermill.inspect_notebook(str(runner.book() / f"{chapter}.ipynb")))
    for name in runner.TIERS:
        assert set(runner.tier(chapter, name)) == known, name
