"""The claim ledger: every claim has its source and its paper number, and a verdict follows from runs or waits."""

import hashlib
import json
import re
import string
from collections import Counter

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pybtex.database import parse_file
from scipy import stats

from book import claims, tables, verdicts
from book.verdicts import UNTESTED, VERDICTS, Number
from minegan_lite import UserError
from minegan_lite.chapters import ledger, paper, runner

GROUPS = verdicts.sections()
CLAIMS = {claim["id"]: claim for group in GROUPS for claim in group["claims"]}
TESTS = {"lower", "higher", "similar", "results", "every", "untested"}
OPTIONAL = {"setting", "within", "cases", "as", "chapter", "runs"}
SHIPPED = runner.book() / "results"


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A function that records a run, of one seed and with any numbers, in a ledger that is empty at first."""
    monkeypatch.setenv("MINEGAN_RESULTS", str(tmp_path))
    monkeypatch.setattr(ledger, "_folders", lambda: [tmp_path])
    monkeypatch.setattr(ledger, "_commit", lambda: ("0" * 40, False))  # no git for each of the many runs

    def run(name, seed, **numbers):
        provenance = {"seeds": seed, "device": "cpu", "seconds": 1.0, "n": 10, "command": "test"}
        ledger.record(f"{name}-seed{seed}", numbers, settings={}, **provenance)

    return run


def found(name: str) -> verdicts.Outcome:
    return verdicts.outcome(CLAIMS[name])


def row(name: str) -> list[str]:
    return claims.row(CLAIMS[name], found(name))


# --- what is typed ------------------------------------------------------------------------------------------------


def test_every_claim_says_where_it_stands_and_what_tests_it():
    assert len(CLAIMS) == sum(len(group["claims"]) for group in GROUPS) > 60
    pages = runner.pages()
    for name, claim in CLAIMS.items():
        assert re.fullmatch(r"[a-z0-9-]+", name)
        assert claim["claim"].endswith(".")
        assert re.search(r"Abstract|Sec\. \d|[Ss]upplement [A-F]", claim["source"]), name
        assert len(claim.keys() & TESTS) == len(claim.keys() & {"paper", "no_number"}) == 1, name
        assert set(claim) <= {"id", "claim", "source", "paper", "no_number"} | TESTS | OPTIONAL, name
        assert ("setting" in claim) != bool(claim.keys() & {"untested", "every"}), name
        assert claim.get("chapter", pages[0]) in pages, name


def test_the_papers_numbers_come_from_the_one_place_where_they_are_typed():
    for name, claim in CLAIMS.items():
        if "paper" in claim:
            assert list(filter(None, (field for _, field, *_ in string.Formatter().parse(claim["paper"])))), name
            typed = re.sub(r"{[^}]*}|at (?:a true share|true shares) of [\d., and]+", "", claim["paper"])
            assert not re.search(r"\d\.\d|\d%", typed), name
            assert re.search(r"\d", claims.quoted(claim)), name
        else:
            assert re.fullmatch(r"– \([^\d]+\)", claims.quoted(claim)), name


def test_each_table_and_figure_of_results_and_each_text_has_its_claims():
    sources = " ".join(claim["source"] for claim in CLAIMS.values())
    sources = (
        re.sub(r"(Fig|Table)s", r"\1", sources).replace("Fig. ", "Fig.").replace("Table 1 and 2", "Table 1, Table 2")
    )
    for number in (1, 2, 3, 4):
        assert f"Table {number}" in sources
    for number in ("1a", *range(3, 11), 14, 16):
        assert f"Fig.{number}" in sources, number
    for section in "ABCDF":
        assert f"upplement {section}" in sources
    bibliography = parse_file(runner.book() / "references.bib").entries
    texts = {group["text"] for group in GROUPS}
    assert texts == {"minegan", "minegan_journal", "mind2mind", "transferi2i"} <= set(bibliography)


def test_what_the_paper_prints_bold_is_the_best_of_its_column():
    for which in paper.TABLE_1_FID.values():
        columns = zip(*(row if isinstance(row, tuple) else (row,) for row in which.values()), strict=True)
        assert all(min(column) == column[-1] for column in columns)
    assert list(paper.TABLE_1_FID["tower"])[-1] == "MineGAN"
    for target, (first, _) in paper.SUPPLEMENT_F_CRITIC.items():
        assert paper.TABLE_1_FID[target]["MineGAN"] == first
    for which in paper.TABLE_2.values():
        assert set(which) == set(paper.TABLE_2_MS)
        for column in (0, 1):
            assert min(which, key=lambda method: which[method][column]) == "MineGAN"
    for which in paper.FIGURE_6.values():
        assert min(which, key=lambda method: which[method][0]) == "MineGAN"
        assert max(which, key=lambda method: which[method][1] or 0) == "MineGAN"


# Every tolerance, and what it stands for.
TOLERANCES = {
    "fig5-off-mining": ("10%", "slightly worse: by a tenth at most"),
    "fig4-scratch": (-0.05, "overfitting is copying clearly above its floor"),
    "fig4-transfergan": (-0.05, "as fig4-scratch"),
    "fig4-minegan": (0.05, "no overfitting: not clearly above the floor"),
    "fig6-similar": ("10%", "similar: within a tenth"),
    "table1-mixture": (0.08, "set after the first runs; the paper's own distance from the truth is 0.06"),
    "table3-mean": (0.06, "the paper's own distance from one half is 0.01"),
    "fig9-enough": ("10%", "similar: within a tenth"),
}


def tolerance(claim: dict) -> float | str | None:
    """What a claim allows: `within`, or the bound that the results page's selector is given."""
    (arguments,) = claim.get("results", {"": []}).values()
    return claim.get("within", arguments[2] if len(arguments) > 2 else None)


def test_no_tolerance_is_changed_in_one_place_alone():
    found = {name: allowed for name, claim in CLAIMS.items() if (allowed := tolerance(claim)) is not None}
    assert found == {name: allowed for name, (allowed, _) in TOLERANCES.items()}


def test_no_comparison_is_changed_in_one_place_alone():
    """Which runs a claim compares, and how: after a change that has its reason, put the new digest here with it."""
    kinds = {*verdicts.COMPARISONS, "results", "runs", "cases", "every"}
    compared = {name: {k: claim[k] for k in claim.keys() & kinds} for name, claim in sorted(CLAIMS.items())}
    digest = hashlib.sha256(json.dumps(compared, sort_keys=True, default=str).encode()).hexdigest()
    assert digest[:16] == "bda39a6d752049e2", "what tests a claim has changed"


# --- the rule -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ([2.0, 2.5, 3.0], "holds"),  # 2.5 ± 4.303 · 0.5 / √3 = 2.5 ± 1.24
        ([1.0, 2.0, 3.0], "weaker"),  # 2 ± 4.303 · 1 / √3 = 2 ± 2.48
        ([1.0, 2.0, 3.0, 2.0, 2.0], "holds"),  # 2 ± 2.776 · 0.707 / √5 = 2 ± 0.88
        ([1.0, 3.0], "weaker"),  # 2 ± 12.71 · 1.414 / √2
        ([5.0], "weaker"),
        ([0.5, 0.5], "holds"),
        ([0.0, 0.0, 0.0], "fails"),
        ([1.0, -1.0], "fails"),
        ([-2.0], "fails"),
        ([-2.0, -2.5, -3.0], "fails"),
    ],
)
def test_a_claim_holds_where_the_interval_is_on_its_side(differences, verdict):
    assert verdicts.judged(differences) == verdict


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-10, 10).map(lambda x: round(x, 3)), min_size=2, max_size=8).filter(lambda x: len({*x}) > 1))
def test_holding_is_a_paired_t_test_at_five_per_cent(differences):
    p = stats.ttest_1samp(differences, 0.0).pvalue
    mean = sum(differences) / len(differences)
    if abs(p - 0.05) > 1e-6 and abs(mean) > 1e-6:
        assert verdicts.judged(differences) == ("fails" if mean < 0 else "holds" if p < 0.05 else "weaker")


def test_the_margin_is_that_of_the_comparison_that_decides_with_its_interval():
    weaker, holds, fails = [10.0, 20.0, 60.0], [2.0, 2.5, 3.0], [-2.0, -2.5, -3.0]
    assert verdicts.margin([holds, [20.0, 21.0]], ".2f") == "margin 2.50 [1.26, 3.74]"  # ± 4.303 · 0.5 / √3
    assert verdicts.margin([holds, weaker], ".0f") == "margin 30 [-36, 96]"  # ± 4.303 · 26.5 / √3
    assert verdicts.margin([weaker, fails, holds], ".2f") == "margin -2.50 [-3.74, -1.26]"
    assert verdicts.margin([[7.0], holds], ".0f") == "margin 7"
    assert verdicts.margin([[0.1, 0.1]], ".0%") == "margin 10% [10%, 10%]"


def numbers(*values: float, first: int = 0) -> Number:
    by_seed = dict(enumerate(values, first))
    return Number("run", by_seed, {seed: {"n": 10} for seed in by_seed})


def test_differences_are_those_of_common_seeds():
    one, other = numbers(1.0, 2.0, 4.0), numbers(7.0, 9.0, first=1)
    assert verdicts.gaps("lower", one, other, 0) == [[5.0, 5.0]]
    assert verdicts.gaps("higher", one, other, 0) == [[-5.0, -5.0]]
    assert verdicts.gaps("lower", one, numbers(1.0, first=3), 0) == [[]]
    assert verdicts.gaps("similar", numbers(), other, "10%") == [[], []]


def test_a_tolerance_is_a_number_or_a_share_of_the_second_mean():
    one, other = numbers(1.0, 2.0), numbers(10.0, 30.0)
    assert verdicts.gaps("lower", one, other, 0.5) == [[9.5, 28.5]]
    assert verdicts.gaps("lower", one, other, -0.5) == [[8.5, 27.5]]
    assert verdicts.gaps("higher", one, other, "10%") == [[-7.0, -26.0]]
    assert verdicts.gaps("similar", one, other, "10%") == [[11.0, 30.0], [-7.0, -26.0]]


def test_a_constant_has_every_seed():
    share = verdicts.number("1/9")
    assert share.at(7) == pytest.approx(1 / 9)
    assert verdicts.gaps("higher", numbers(1.0, 2.0), share, 0) == [pytest.approx([8 / 9, 17 / 9])]
    assert verdicts.gaps("lower", share, numbers(1.0), 0) == [pytest.approx([8 / 9])]
    assert verdicts.gaps("lower", numbers(), share, 0) == [[]]


def test_the_worst_verdict_decides_and_a_test_that_is_missing_is_worse_than_all():
    assert verdicts.worst(["holds", "weaker"]) == "weaker"
    assert verdicts.worst(["fails", "holds", "weaker"]) == "fails"
    assert verdicts.worst(["fails", UNTESTED]) == UNTESTED


# --- from runs to verdicts ----------------------------------------------------------------------------------------


def baseline(runs, method, n, values, seeds=range(3), spread=0.01, **rest):
    """Recorded runs of the baselines' protocol whose numbers are all `values`, a little apart."""
    for seed in seeds:
        one = {"value": values + spread * seed, "floor": 0.5, "n": 504, "m": 504}
        runs(
            f"baseline-{method}-{n}",
            seed,
            evaluation={"frechet": one, "classifier_error": one, "coverage": one, "copying": one},
            kmmd=one | {"n": n, "interval": [0.0, 1.0]},
            mean_variance=one | {"n": n, "interval": [0.0, 1.0]},
            **rest,
        )


def test_an_empty_ledger_tests_nothing(runs):
    assert {outcome.verdict for outcome in verdicts.outcomes(GROUPS).values()} == {UNTESTED}
    page = claims.claims()
    assert f"Of {len(CLAIMS)} claims, holds: **0**, weaker: **0**, fails: **0**, {UNTESTED}: **{len(CLAIMS)}**" in page
    assert "±" not in page
    assert claims.RESULTS not in page


def test_figure_5_is_judged_case_by_case_once_its_runs_are_there(runs):
    baseline(runs, "minegan", 25, 40.0)
    baseline(runs, "scratch", 25, 90.0)
    assert found("fig5-fid").verdict == UNTESTED  # TransferGAN is missing
    baseline(runs, "transfergan", 25, 60.0)
    outcome = found("fig5-fid")
    assert outcome.verdict == "holds"
    assert outcome.ours == (
        "25: 40.0 ± 0.0 against 90.0 ± 0.0, 60.0 ± 0.0; margin 20.0 [20.0, 20.0]",
        "pending: 100, 1000",
    )
    for method, value in (("minegan", 40.0), ("scratch", 50.0), ("transfergan", 39.0)):
        baseline(runs, method, 100, value)
    outcome = found("fig5-fid")
    assert outcome.verdict == "fails"
    assert [line.rpartition(": ")[2] for line in outcome.ours] == ["holds", "fails", "1000"]
    assert row("fig5-fid")[3] == "0.5"
    assert "baseline-transfergan-100: " in row("fig5-fid")[5]
    assert f"[2]({claims.RESULTS}/baseline-minegan-25-seed2.json)" in row("fig5-fid")[5]
    assert "seeds: 3; n = 504" in row("fig5-fid")[2]


def test_figure_5_needs_common_seeds(runs):
    baseline(runs, "minegan", 25, 40.0, seeds=(0, 1))
    baseline(runs, "scratch", 25, 90.0, seeds=(1, 2))
    baseline(runs, "transfergan", 25, 90.0, seeds=(2,))
    assert found("fig5-kmmd").verdict == UNTESTED
    baseline(runs, "transfergan", 25, 90.0, seeds=(0, 1, 2))
    assert found("fig5-kmmd").verdict == "weaker"  # one seed is common with the runs from scratch
    assert "seeds: 2–3" in row("fig5-kmmd")[2]


@pytest.mark.parametrize(
    ("mined", "bsa", "similar", "better"),
    [(0.30, 0.34, UNTESTED, "holds"), (0.34, 0.30, UNTESTED, "fails"), (0.30, 0.30, UNTESTED, "fails")],
)
def test_figure_6_compares_kmmd_and_mean_variance(runs, mined, bsa, similar, better):
    baseline(runs, "minegan", 25, mined, spread=0.001)
    baseline(runs, "bsa", 25, bsa, spread=0.001)
    assert found("fig6-bsa-kmmd").verdict == better
    assert found("fig6-bsa-mv").verdict == ("holds" if mined > bsa else "fails")
    assert found("fig6-similar").verdict == similar  # mining alone is missing
    assert found("fig6-kmmd-best").verdict == UNTESTED


@pytest.mark.parametrize(
    ("alone", "spread", "verdict"),
    [(0.34, 0.0, "holds"), (0.36, 0.0, "holds"), (0.38, 0.0, "fails"), (0.30, 0.0, "fails"), (0.35, 0.02, "weaker")],
)
def test_similar_is_within_a_tenth_to_both_sides(runs, alone, spread, verdict):
    for seed, sign in enumerate((-1, 0, 1)):
        baseline(runs, "minegan-nofinetune", 25, alone + sign * spread, seeds=(seed,), spread=0.0)
    baseline(runs, "bsa", 25, 0.34, spread=0.0)
    assert found("fig6-similar").verdict == verdict


def test_a_tie_is_no_advantage(runs):
    for method in ("minegan", "scratch", "transfergan", "vae", "bsa", "minegan-nofinetune"):
        baseline(runs, method, 25, 0.3)
    assert found("fig6-kmmd-best").verdict == found("fig6-mv-best").verdict == "fails"


@pytest.mark.parametrize(("copying", "verdict"), [(0.45, "fails"), (0.54, "fails"), (0.56, "holds"), (0.9, "holds")])
def test_overfitting_is_copying_well_above_its_floor(runs, copying, verdict):
    baseline(runs, "scratch", 100, copying, spread=0.0)  # the floor: 0.5
    assert found("fig4-scratch").verdict == verdict


@pytest.mark.parametrize(("cut", "uncut", "verdict"), [(0.1, 0.4, "holds"), (0.4, 0.1, "fails")])
def test_a_key_may_hold_a_point(runs, cut, uncut, verdict):
    for seed in range(3):
        by = {
            "0.3": {"evaluation": {"classifier_error": {"value": cut + 0.01 * seed, "floor": 0.01}}},
            "1": {"evaluation": {"classifier_error": {"value": uncut, "floor": 0.01}}},
        }
        runs("baseline-bsa-100", seed, by_truncation=by)
    assert found("bsa-truncation").verdict == verdict
    assert found("bsa-no-truncation").verdict == UNTESTED


def test_a_run_without_the_number_is_no_silent_gap(runs):
    runs("baseline-minegan-25", 0, evaluation={"frechet": {"value": 1.0}})
    with pytest.raises(UserError, match=r"baseline-minegan-25-seed0.*kmmd\.value"):
        found("fig5-kmmd")


def test_a_sum_fails_with_the_first_and_waits_for_the_last(runs):
    known = [verdicts.Outcome(v) for v in ("holds", UNTESTED)]
    assert verdicts.summed_up(known).verdict == UNTESTED
    assert verdicts.summed_up([*known, verdicts.Outcome("fails")]).verdict == "fails"
    assert verdicts.summed_up([verdicts.Outcome("holds"), verdicts.Outcome("weaker")]).verdict == "weaker"
    assert verdicts.summed_up(known).ours == ("1 of 2 tested, 0 failed",)


def test_what_the_results_page_judges_has_one_verdict(runs):
    for seed in (0, 1):
        for kind, error in (("unconditional", 0.05), ("conditional", 0.01)):
            one = {"value": error + 0.002 * seed, "floor": 0.01, "n": 77}
            p = {"mnist-cond-no-9:4": 0.3}
            runs(f"table4-off-{kind}-9", seed, classifier_error=one, probabilities=p)
        runs("table4-off-unconditional-5", seed, classifier_error={"value": 0.2, "floor": 0.02, "n": 77})
    outcome = found("table4-conditional")
    said, verdict = tables.compared("off-conditional", "off-unconditional")
    assert (outcome.ours[0], outcome.verdict) == (said, verdict) == ("1.1% against 5.1%, one digit", "holds")
    assert {n.series for n in outcome.numbers} == {"table4-off-conditional-9", "table4-off-unconditional-9"}
    assert "n = 77" in row("table4-conditional")[2]
    assert row("table4-conditional")[3] == "1.0%"


# --- the page as shipped ------------------------------------------------------------------------------------------


def test_the_page_counts_its_rows_and_its_links_lead_somewhere():
    page = claims.claims()
    told = re.findall(r"\| \*\*([a-z ]+)\*\* \| (?=[^|]*\|\n)", page)
    assert len(told) == len(CLAIMS)
    counts = Counter(told)
    assert set(counts) <= set(VERDICTS)
    line = ", ".join(f"{verdict}: **{counts[verdict]}**" for verdict in VERDICTS)
    assert f"Of {len(CLAIMS)} claims, {line}." in page
    files = re.findall(rf"\({re.escape(claims.RESULTS)}/([^)]+)\)", page)
    assert len(files) > 50
    assert [file for file in files if not (SHIPPED / file).is_file()] == []
    assert (
        set(re.findall(r'href="#claim-([^"]+)"', page)) == set(re.findall(r'id="claim-([^"]+)"', page)) == set(CLAIMS)
    )


def test_a_verdict_of_the_page_stands_on_clean_runs():
    for name, outcome in verdicts.outcomes(GROUPS).items():
        if outcome.verdict != UNTESTED and "every" not in CLAIMS[name]:
            assert outcome.numbers, name
            for number in outcome.numbers:
                runs = ledger.series(number.series) if number.series else []
                assert not any(result["provenance"]["dirty"] for result in runs), number.series


def test_a_claim_and_the_results_page_agree():
    there = {line.strip("| ").split(" | ")[-1] for line in tables.verdicts().splitlines()[2:]}
    ours = {found(name).verdict for name, claim in CLAIMS.items() if "results" in claim}
    assert there == ours


# Where a chapter says its verdict on the same runs, and how often.
IN_CHAPTERS = {
    "ablations": ["fig9-depth"],
    "second_stage": ["finetuning-helps"],
    "several_gans": ["table1-mixture", "table3-mean"],
}


@pytest.mark.parametrize("chapter", IN_CHAPTERS)
def test_a_claim_and_its_chapter_agree(chapter):
    notebook = nbformat.read(runner.book() / f"{chapter}.ipynb", as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    (text,) = [text for output in outputs if "**Verdict" in (text := output.get("data", {}).get("text/markdown", ""))]
    assert re.findall(r"\*\*(holds|weaker|fails)\*\*", text) == [found(name).verdict for name in IN_CHAPTERS[chapter]]


# --- provenance ---------------------------------------------------------------------------------------------------


def test_every_file_of_the_ledger_says_where_it_comes_from():
    assert set(ledger.read_all()) >= {path.stem for path in SHIPPED.glob("*.json")}


FIELDS = ["command", "commit", "dirty", "seeds", "device", "device_name", "seconds", "n", "date", "versions"]


@pytest.mark.parametrize("field", FIELDS)
def test_a_file_that_does_not_say_so_is_refused_by_ledger_and_page(field, tmp_path, monkeypatch):
    name = "depth-1-seed0"
    result = json.loads((SHIPPED / f"{name}.json").read_text(encoding="utf-8"))
    assert set(result["provenance"]) == set(FIELDS)
    monkeypatch.setattr(ledger, "_folders", lambda: [tmp_path])
    (tmp_path / f"{name}.json").write_text(json.dumps(result))
    ledger.read_all()
    del result["provenance"][field]
    (tmp_path / f"{name}.json").write_text(json.dumps(result))
    for reader in (ledger.read_all, claims.claims):
        with pytest.raises(UserError, match=rf"{name}.*{field} is missing"):
            reader()
