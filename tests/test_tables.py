"""The results page: what is missing is pending, what is there is the ledger's, and its verdicts are the ledger's."""

import re

import pytest

from book import tables
from minegan_lite.chapters import ledger, paper, verdicts


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A function that records a run in a ledger of its own, which is empty at first."""
    monkeypatch.setenv("MINEGAN_RESULTS", str(tmp_path))
    monkeypatch.setattr(ledger, "_folders", lambda: [tmp_path])

    def run(name, seed, **numbers):
        provenance = {"seeds": seed, "device": "cpu", "seconds": 1.0, "n": 10, "command": "test"}
        ledger.record(f"{name}/seed{seed}", numbers, settings={}, **provenance)

    return run


def judged(error=0.05, floor=0.01, frechet=40.0, coverage=0.8, **rest):
    return {
        "classifier_error": {"value": error, "floor": floor},
        "frechet": {"value": frechet, "floor": 4.0},
        "coverage": {"value": coverage},
        **rest,
    }


def rows(text: str) -> dict[str, list[str]]:
    """The first cell of each row → the others."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {line[0].strip("*"): line[1:] for line in lines}


def test_an_empty_ledger_is_pending_everywhere_and_judges_nothing(runs):
    page = tables.results()
    cells = [line.strip("| ").split(" | ") for line in tables.verdicts().splitlines()[2:]]
    assert [(ours, verdict) for *_, ours, verdict in cells] == [(tables.PENDING, "**not tested**")] * len(tables.CLAIMS)
    assert page.count(tables.PENDING) >= 40 + 6 + 2 + 9
    assert not re.search(r"\d ± \d", page)


def test_a_row_is_the_mean_and_spread_of_its_runs(runs):
    for seed, error in enumerate((0.02, 0.04, 0.06)):
        runs("table4/off-unconditional-9", seed, **judged(error, frechet=50.0 + seed))
    row = rows(tables.table_4().split("###")[1])["9"]
    fid, theirs = paper.TABLE_4["off", "unconditional"][9]
    assert row == ["4.00% ± 2.00% (3)", "1.00%", f"{theirs}%", "51.0 ± 1.0", "4.0", str(fid)]
    assert rows(tables.table_4().split("###")[1])["mean of 1"][0] == "**4.00%**"


def test_the_verdicts_are_those_of_the_claims(runs):
    """One function decides; the page adds the words of the claim, the paper's number, scale and recipe."""
    for share, off in ((0.3, 0.0), (0.5, 0.2), (0.7, 0.0)):
        for seed in range(3):
            runs(f"ratio/{share}-max", seed, **judged(probabilities={"mnist-only-06": share + off + 0.001 * seed}))
    row = rows(tables.verdicts())[verdicts.claims()["table1-mixture"]["claim"]]
    assert row[0] == "0.34, 0.48, 0.64 for cars at true shares of 0.3, 0.5 and 0.7 (200 images)"
    assert row[1] == "<br>".join(verdicts.of("table1-mixture").found)
    assert row[2] == "**fails**<br>(digits, our defaults)"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("off-manifold-digits", "6.0% classifier error, mean of ten digits (1000 images)"),
        ("off-manifold-nine", "7.4% classifier error (1000 images)"),
        ("table4-conditional", "3.2% against 6.0%, mean of ten digits (1000 images)"),
        ("table4-conditional-fid", "16.2 against 21.5, mean of ten digits (1000 images)"),
        ("table4-conditional-on-fid", "13.1 against 13.5, mean of ten digits (1000 images)"),
        ("off-is-harder", "6.0% against 5.7%, mean of ten digits (1000 images)"),
        ("off-is-harder-fid", "21.5 against 13.5, mean of ten digits (1000 images)"),
        ("fig3-five", "10.9% classifier error, the highest of ten digits (1000 images)"),
        ("fig9-depth", "– (curve only)"),
    ],
)
def test_the_papers_numbers_are_quoted_as_it_prints_them(name, words):
    assert tables.quoted(verdicts.claims()[name]) == words


def test_the_page_stands_on_what_is_recorded():
    """The shipped ledger: the runs that the chapters speak of are there, and clean."""
    for name, count in {
        **{f"table4/off-unconditional-{digit}": 5 for digit in (9, 5, 1)},
        **{f"ratio/{share}-{way}": 3 for share in (0.3, 0.5, 0.7) for way in ("max", "mean")},
        **dict.fromkeys(("table4/off-conditional-9", "init/paper", "depth/1", "depth/4"), 3),
    }.items():
        recorded = ledger.series(name)
        assert len(recorded) >= count, name
        assert not any(result["provenance"]["dirty"] for result in recorded)
        assert all(result["settings"]["origin"] == "mnist" for result in recorded)
