"""The results page: what is missing is pending, what is there is the ledger's, and a verdict follows from numbers."""

import re

import pytest

from book import tables
from minegan_lite.chapters import ledger, paper


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A function that records a run in a ledger of its own, which is empty at first."""
    monkeypatch.setenv("MINEGAN_RESULTS", str(tmp_path))
    monkeypatch.setattr(ledger, "_folders", lambda: [tmp_path])

    def run(name, seed, **numbers):
        provenance = {"seeds": seed, "device": "cpu", "seconds": 1.0, "n": 10, "command": "test"}
        ledger.record(f"{name}-seed{seed}", numbers, settings={}, **provenance)

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
    assert set(rows(tables.verdicts()).keys()) > {"More layers increase performance"}
    assert {row[-1] for name, row in rows(tables.verdicts()).items() if name not in ("claim", "---")} == {
        "not tested yet"
    }
    assert page.count(tables.PENDING) >= 40 + 6 + 2 + 9
    assert not re.search(r"\d ± \d", page)


def test_a_row_is_the_mean_and_spread_of_its_runs(runs):
    for seed, error in enumerate((0.02, 0.04, 0.06)):
        runs("table4-off-unconditional-9", seed, **judged(error, frechet=50.0 + seed))
    row = rows(tables.table_4().split("###")[1])["9"]
    fid, theirs = paper.TABLE_4["off", "unconditional"][9]
    assert row == ["4.00% ± 2.00% (3)", "1.00%", f"{theirs}%", "51.0 ± 1.0", "4.0", str(fid)]
    assert rows(tables.table_4().split("###")[1])["mean of 1"][0] == "**4.00%**"


def test_the_papers_means_are_those_that_it_prints():
    assert tables.printed("off", "unconditional") == "6.0%"
    assert tables.printed("off", "conditional") == "3.2%"
    assert tables.printed("on", "unconditional") == "5.7%"


@pytest.mark.parametrize(("error", "verdict"), [(0.05, "holds"), (0.074, "holds"), (0.08, "weaker")])
def test_the_error_is_compared_with_the_papers_for_the_same_digits(runs, error, verdict):
    runs("table4-off-unconditional-9", 0, **judged(error))
    assert tables.off_manifold()[1] == verdict  # the paper's nine: 7.4 %


@pytest.mark.parametrize(("conditional", "verdict"), [(0.01, "holds"), (0.045, "weaker"), (0.06, "fails")])
def test_a_difference_within_the_noise_is_weaker(runs, conditional, verdict):
    for seed in (0, 1):
        runs("table4-off-unconditional-9", seed, **judged(0.05 + 0.01 * seed - 0.005))
        runs("table4-off-conditional-9", seed, **judged(conditional))
    assert tables.compared("off-conditional", "off-unconditional")[1] == verdict


@pytest.mark.parametrize(("off", "verdict"), [(0.07, "holds"), (0.09, "fails")])
def test_the_selector_must_be_close_at_every_ratio(runs, off, verdict):
    for share in paper.TABLE_1_CARS:
        p = {tables.SOURCES: share + (off if share == 0.5 else 0.0)}
        runs(f"ratio-{share}-max", 0, **judged(probabilities=p))
        assert (tables.selector("max", {0.3: 0.3, 0.5: 0.5, 0.7: 0.7}, 0.08)[1] == "not tested yet") == (share < 0.7)
    said, judgement = tables.selector("max", {0.3: 0.3, 0.5: 0.5, 0.7: 0.7}, 0.08)
    assert judgement == verdict
    assert f"at most {off:.2f} off" in said


@pytest.mark.parametrize(("four", "verdict"), [(30.0, "holds"), (48.0, "weaker"), (60.0, "weaker"), (95.0, "fails")])
def test_depth_and_critic(runs, four, verdict):
    assert tables.deeper()[1] == tables.critics()[1] == "not tested yet"
    for name, frechet in (("depth-1", 90.0), ("table4-off-unconditional-9", 50.0), ("depth-4", four)):
        for seed in (0, 1):
            runs(name, seed, **judged(frechet=frechet + 4 * seed))
    assert tables.deeper()[1] == verdict
    for seed in (0, 1):
        runs("ratio-0.3-max", seed, **judged(frechet=40.0 + seed))
        runs("critic-second", seed, **judged(frechet=41.0 + seed))
    assert tables.critics()[1] == "holds"


@pytest.mark.parametrize(
    ("way", "row", "off", "verdict"),
    [
        ("max", "The selector estimates the target's mixture", 0.079, "holds"),
        ("max", "The selector estimates the target's mixture", 0.081, "fails"),
        ("mean", "With the mean objective it chooses both equally", 0.059, "holds"),
        ("mean", "With the mean objective it chooses both equally", 0.061, "fails"),
    ],
)
def test_how_close_the_selector_must_be_for_the_page(runs, way, row, off, verdict):
    """The bounds themselves; the paper's own distances are at most 0.06 and 0.01."""
    for share in paper.TABLE_1_CARS:
        right = share if way == "max" else 0.5
        runs(f"ratio-{share}-{way}", 0, **judged(probabilities={tables.SOURCES: right + off}))
    assert rows(tables.verdicts())[row][-1] == verdict


@pytest.mark.parametrize(("apart", "verdict"), [(1.9, "holds"), (2.1, "fails")])
def test_the_first_critic_matters_beyond_two_standard_deviations(runs, apart, verdict):
    for seed, deviation in enumerate((-1, 0, 1)):  # sd 1
        runs("ratio-0.3-max", seed, **judged(frechet=40.0 + deviation))
        runs("critic-second", seed, **judged(frechet=40.0 + apart + deviation))
    assert tables.critics()[1] == verdict


def test_the_page_stands_on_what_is_recorded():
    """The shipped ledger: the runs that the chapters speak of are there, and clean."""
    for name, count in {
        **{f"table4-off-unconditional-{digit}": 5 for digit in (9, 5, 1)},
        **{f"ratio-{share}-{way}": 3 for share in (0.3, 0.5, 0.7) for way in ("max", "mean")},
        **dict.fromkeys(("table4-off-conditional-9", "init-paper", "depth-1", "depth-4"), 3),
    }.items():
        recorded = ledger.series(name)
        assert len(recorded) >= count, name
        assert not any(result["provenance"]["dirty"] for result in recorded)
        assert all(result["settings"]["origin"] == "mnist" for result in recorded)
