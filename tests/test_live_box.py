"""The box of a live run: its own numbers and picture beside the recorded ones; nothing else on the page changes."""

import base64
import json
import shutil

import nbformat
import pytest

from book import live, ranges
from minegan_lite.chapters import runner

CHAPTER = "off_manifold_digits"
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture
def run(tmp_path):
    """A function: numbers of after-mining by name → an executed quickstart whose record has them."""

    def made(**after: float):
        (tmp_path / "results" / "chapters").mkdir(parents=True)
        record = json.loads(runner.own_record(CHAPTER, runner.book() / "results").read_text("utf-8"))
        for name, value in after.items():
            record["numbers"]["after"][name]["value"] = value
        record["provenance"] |= {"device_name": "a reader's laptop", "seconds": 42.4}
        runner.own_record(CHAPTER, tmp_path / "results").write_text(json.dumps(record))
        notebook = nbformat.read(runner.book() / f"{CHAPTER}.ipynb", 4)
        (cell,) = runner.tagged(notebook, live.PICTURE)
        cell.outputs[0]["data"]["image/png"] = base64.b64encode(PIXEL).decode()
        nbformat.write(notebook, tmp_path / f"{CHAPTER}.ipynb")
        return tmp_path / f"{CHAPTER}.ipynb", tmp_path / "results"

    return made


def recorded(name: str) -> float:
    record = json.loads(runner.own_record(CHAPTER, runner.book() / "results").read_text("utf-8"))
    return record["numbers"]["after"][name]["value"]


def middle(name: str) -> float:
    """A number in the middle of its range, and not the recorded one."""
    (row,) = [row for row in ranges.rows(CHAPTER, "reader") if row["path"] == f"numbers.after.{name}.value"]
    return (row["min"] + row["max"]) / 2 * 1.001


def test_the_box_tells_this_runs_numbers_beside_the_recorded_ones(run):
    error = middle("classifier_error")
    text, picture = live.box(*run(classifier_error=error))
    assert f"| classifier error | {error:.3g} | {recorded('classifier_error'):.3g} (" in text
    assert "a reader's laptop" in text
    assert "42 s" in text
    assert "All of them lie" in text
    assert picture == PIXEL
    assert f"_live/{CHAPTER}.png" in text


def test_a_run_out_of_range_is_called_so(run):
    text, _ = live.box(*run(classifier_error=0.97))
    assert "All of them lie" not in text
    assert "**Not all of them lie" in text
    assert "after.classifier_error.value = 0.97" in text


def test_the_recorded_page_stays_as_it_is_around_the_box(run, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(runner.book() / f"{CHAPTER}.ipynb", source)
    live.insert(*run(frechet=middle("frechet")), source)
    before = nbformat.read(runner.book() / f"{CHAPTER}.ipynb", 4).cells
    after = nbformat.read(source / f"{CHAPTER}.ipynb", 4).cells
    assert after[:1] + after[2:] == before
    assert after[1].source.startswith("````{admonition}")
    assert (source / "_live" / f"{CHAPTER}.png").read_bytes() == PIXEL
