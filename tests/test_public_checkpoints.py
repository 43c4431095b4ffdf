"""The tables of the page on public checkpoints are the library's facts and the ledger's numbers."""

import re

import pytest

from benchmarks import load_full_size
from book import public_checkpoints, reference
from minegan_lite.chapters import ledger, runner
from minegan_lite.checkpoints import LAYOUTS
from minegan_lite.checkpoints.about import ABOUT
from tests.test_reference_pages import rows

NAMES = [layout.NAME for layout in LAYOUTS]


def test_every_layout_has_its_row_and_its_item():
    lines = public_checkpoints.files_and_licences().split("\n")
    for name, row, item in zip(NAMES, rows(public_checkpoints.layouts()), lines, strict=True):
        about = ABOUT[name]
        assert f"`{name} <minegan_lite.checkpoints." in row[0]
        assert f"`{name} <minegan_lite.checkpoints." in item
        assert row[1:] == [about.family, about.critic]
        for fact in (about.origin, about.published, about.code_licence, about.weights_licence):
            assert fact in item


def test_the_rows_of_traps_are_the_layouts():
    assert [row[1] for row in rows(public_checkpoints.traps())] == [ABOUT[name].traps for name in NAMES]


def test_full_sizes_are_those_of_the_ledger():
    numbers = ledger.read("benchmarks/load_full_size")["numbers"]
    assert set(numbers) == set(load_full_size.NAMES)
    for row in rows(public_checkpoints.full_size()):
        assert float(row[5]) == numbers[row[0]]["memory_gb"]
        assert float(row[1]) == numbers[row[0]]["resolution"]


def result(worst: float) -> dict:
    def row(median):
        return {"median": median, "low": median - 0.1, "high": median + 0.1, "seconds": 2.0}

    times = {"published code": row(1.0), "ours": row(0.5), "ours, bfloat16": row(0.25)}
    slow = times | {"ours": row(worst)}
    apart = {name: {"forward": 3e-3, "forward and backward": 2e-6} for name in times}
    return {
        "numbers": {"time": {"1": {"forward": times}, "4": {"forward": slow}}, "apart": apart},
        "settings": {"aim": 1.0, "rounds": 7, "package_version": "0.1.1"},
    }


@pytest.mark.parametrize(("worst", "said"), [(0.9, "Ours is not slower: at most 0.90"), (1.01, "Ours is **slower**")])
def test_the_verdict_on_speed_is_that_of_the_worst_case(monkeypatch, worst, said):
    monkeypatch.setattr(ledger, "read", lambda name: result(worst))
    page = public_checkpoints.speed()
    assert page.startswith(said)
    assert "2e-06 in the gradients" in page
    assert "| 1, forward | 2.00 s | 0.50 (0.40–0.60) | 0.25 (0.15–0.35) |" in page


def test_the_record_of_speed_holds_what_is_claimed():
    numbers = ledger.read("benchmarks/biggan_deep_speed")["numbers"]
    assert max(numbers["apart"]["ours"].values()) <= 1e-5
    assert set(numbers["time"]) == {"1", "2", "4"}
    assert all(rows["ours"]["median"] <= 1 for passes in numbers["time"].values() for rows in passes.values())


def test_the_page_includes_every_part_and_types_no_layout():
    page = (runner.book() / "checkpoints.md").read_text(encoding="utf-8")
    assert re.findall(r"_made/(\w+)\.md", page) == [part.__name__ for part in public_checkpoints.PARTS]
    assert "No published file was opened" in page
    assert [name for name in NAMES if name in page] == []


def test_what_the_package_of_checkpoints_defines_is_on_the_page_on_the_library():
    sections = dict(re.findall(r"automodule:: (\S+)\n(   :no-members:\n)?", reference.modules()))
    assert sections["minegan_lite.checkpoints"] == ""
    assert sections["minegan_lite.metrics"] != ""
