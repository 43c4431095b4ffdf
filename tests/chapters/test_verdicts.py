"""One function decides: the interval of paired differences inside the claim's region, outside it, or neither."""

import ast
import math
import re

import nbformat
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from IPython.core.inputtransformer2 import TransformerManager
from scipy import stats

from minegan_lite.chapters import paper, runner, verdicts
from minegan_lite.chapters.verdicts import FAILS, HOLDS, INCONCLUSIVE, UNCONFIRMED, UNTESTED, judge
from minegan_lite.errors import UserError

ROOT = runner.book().parent


def by_seed(*values: float, first: int = 0) -> dict[int, float]:
    return dict(enumerate(values, first))


# --- the rule -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ([-2.0, -2.5, -3.0], HOLDS),  # −2.5 ± 4.303 · 0.5 / √3 = −2.5 ± 1.24
        ([-1.0, -2.0, -3.0], INCONCLUSIVE),  # −2 ± 4.303 · 1 / √3 = −2 ± 2.48
        ([-1.0, -2.0, -3.0, -2.0, -2.0], HOLDS),  # −2 ± 2.776 · 0.707 / √5 = −2 ± 0.88
        ([-1.0, -3.0], INCONCLUSIVE),  # −2 ± 12.71 · 1.414 / √2
        ([-5.0], INCONCLUSIVE),  # one seed has no interval
        ([5.0], INCONCLUSIVE),
        ([-0.5, -0.5], HOLDS),
        ([0.0, 0.0, 0.0], INCONCLUSIVE),  # a tie is neither lower nor higher
        ([1.0, -1.0], INCONCLUSIVE),
        ([1.0, 2.0, 3.0], INCONCLUSIVE),  # a mean on the other side alone refutes nothing
        ([2.0, 2.5, 3.0], FAILS),
        ([], UNTESTED),
    ],
)
def test_lower_holds_where_the_whole_interval_is_and_fails_where_none_of_it_is(differences, verdict):
    assert judge(by_seed(*differences), 0.0, "lower").verdict == verdict
    assert judge(by_seed(*(-one for one in differences)), 0.0, "higher").verdict == verdict
    assert judge(0.0, by_seed(*differences), "higher").verdict == verdict


@pytest.mark.parametrize(
    ("differences", "verdict"),
    [
        ([0.1, -0.1, 0.0], HOLDS),  # 0 ± 0.25
        ([0.5, 0.6, 0.7], HOLDS),  # 0.6 ± 0.25
        ([0.7, 0.8, 0.9], INCONCLUSIVE),  # 0.8 ± 0.25 reaches beyond 1
        ([-0.7, -0.8, -0.9], INCONCLUSIVE),
        ([-3.0, 0.0, 3.0], INCONCLUSIVE),  # no difference is shown, and so no equality
        ([0.0], INCONCLUSIVE),
        ([2.0, 2.1, 2.2], FAILS),
        ([-2.0, -2.1, -2.2], FAILS),
        ([1.0, 1.0], INCONCLUSIVE),  # on the edge
        ([], UNTESTED),
    ],
)
def test_similar_holds_only_where_the_whole_interval_is_within_the_tolerance(differences, verdict):
    assert judge(by_seed(*differences), 0.0, "similar", 1.0).verdict == verdict


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-10, 10).map(lambda x: round(x, 3)), min_size=2, max_size=8).filter(lambda x: len({*x}) > 1))
def test_the_rule_is_a_paired_t_test_at_five_per_cent_to_each_side(differences):
    test = stats.ttest_1samp(differences, 0.0)
    if abs(test.pvalue - 0.05) > 1e-6:
        expected = INCONCLUSIVE if test.pvalue > 0.05 else HOLDS if test.statistic < 0 else FAILS
        assert judge(by_seed(*differences), 0.0, "lower").verdict == expected


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-2, 2).map(lambda x: round(x, 3)), min_size=2, max_size=8).filter(lambda x: len({*x}) > 1))
def test_similar_is_two_one_sided_tests(differences):
    """Equivalence by two one-sided tests, each at 2.5 %, since the interval has 95 %."""
    above = stats.ttest_1samp(differences, -1.0, alternative="greater").pvalue
    below = stats.ttest_1samp(differences, 1.0, alternative="less").pvalue
    if min(abs(above - 0.025), abs(below - 0.025)) > 1e-6:
        holds = above < 0.025 and below < 0.025
        assert (judge(by_seed(*differences), 0.0, "similar", 1.0).verdict == HOLDS) == holds


def test_a_judgement_tells_mean_interval_and_seeds():
    one = judge(by_seed(3.0, 4.0, 5.0), by_seed(5.0, 6.5, 8.0), "lower")
    assert (one.mean, one.low, one.high) == pytest.approx((-2.5, -3.742, -1.258), abs=1e-3)
    assert one.seeds == (0, 1, 2)
    assert one.told(".2f") == "−2.50 [−3.74, −1.26]"
    assert judge({0: 1.0}, 3.0, "lower").told(".0f") == "−2 [no interval]"
    assert judge({}, 3.0, "lower").told(".0f") == "*pending*"
    assert judge({}, 3.0, "lower").high == math.inf
    assert [judge(by_seed(*two), 2.0, "similar").direction for two in ([1, 1], [3, 3], [1, 3], [1])] == [
        "lower", "higher", "not clearly different", "not clearly different",
    ]  # fmt: skip


def test_only_common_seeds_count():
    one = judge({0: 1.0, 1: 2.0, 2: 4.0}, {1: 7.0, 2: 9.0, 5: -100.0}, "lower")
    assert (one.mean, one.seeds, one.verdict) == (-5.0, (1, 2), HOLDS)
    assert judge({0: 1.0}, {1: 2.0}, "lower").verdict == UNTESTED


def test_pairs_are_compared_and_not_means():
    """Seeds differ by ten, methods by one, always: unpaired, nobody could tell."""
    first, second = by_seed(0.0, 10.0, 20.0), by_seed(1.0, 11.1, 20.9)
    assert judge(first, second, "lower").verdict == HOLDS
    assert judge(first, by_seed(20.9, 1.0, 11.1), "lower").verdict == INCONCLUSIVE


@pytest.mark.parametrize(
    ("within", "kind", "verdict"),
    [
        (0, "lower", FAILS),
        (1.5, "lower", INCONCLUSIVE),
        (2.5, "lower", HOLDS),
        ("10%", "lower", HOLDS),  # of 30
        ("4%", "lower", INCONCLUSIVE),  # 1.2, the interval is 1 ± 0.25
        ("2%", "lower", FAILS),
        ("4.3%", "similar", HOLDS),
        (-0.5, "higher", HOLDS),  # a margin that is kept
        (-1.0, "higher", INCONCLUSIVE),
        (-1.5, "higher", FAILS),
    ],
)
def test_a_tolerance_is_a_number_or_a_share_of_the_second_mean(within, kind, verdict):
    within = 1.26 if within == 2.5 else 1.2 if within == 1.5 else within
    assert judge(by_seed(30.9, 31.0, 31.1), by_seed(30.0, 30.0, 30.0), kind, within).verdict == verdict


def test_what_is_no_comparison_is_refused():
    with pytest.raises(UserError, match="lower, higher, similar"):
        judge({0: 1.0}, 2.0, "better")
    with pytest.raises(UserError, match="two constants"):
        judge(1.0, 2.0, "lower")


@pytest.mark.parametrize(
    ("parts", "verdict"),
    [
        ([HOLDS, HOLDS], HOLDS),
        ([HOLDS, INCONCLUSIVE], INCONCLUSIVE),
        ([HOLDS, INCONCLUSIVE, FAILS], FAILS),
        ([HOLDS, FAILS, UNCONFIRMED], UNCONFIRMED),
        ([FAILS, UNCONFIRMED, UNTESTED], UNTESTED),
        ([HOLDS, UNTESTED], UNTESTED),
    ],
)
def test_of_several_parts_all_must_hold_and_all_are_waited_for(parts, verdict):
    assert verdicts.combined(parts) == verdicts.combined(parts[::-1]) == verdict


# --- numbers ------------------------------------------------------------------------------------------------------


def test_a_number_is_read_by_seed_or_is_a_constant(runs):
    for seed, value in ((2, 0.5), (0, 0.25)):
        runs("a/b", seed, kmmd={"value": value, "floor": 0.1, "n": 77}, shares=[0.0, value])
    number = verdicts.number("a/b kmmd value")
    assert (number.series, number.values) == ("a/b", {0: 0.25, 2: 0.5})
    assert number.rows[0] == {"n": 77, "value": 0.25, "floor": 0.1}
    assert number.told(".2f") == "0.38 ± 0.18"
    assert verdicts.number("a/b shares 1").values == {0: 0.25, 2: 0.5}
    assert verdicts.number("1/8").values == 0.125
    assert verdicts.number("a/c kmmd value").values == {}
    with pytest.raises(UserError, match=r"a/b/seed0.*kmmd\.ceiling"):
        verdicts.number("a/b kmmd ceiling")


def test_the_papers_constants_are_what_it_prints():
    found = verdicts.constants()
    printed = {"on_unconditional": (13.5, 0.057), "on_conditional": (13.1, 0.022), "off_unconditional": (21.5, 0.06)}
    for name, (fid, error) in (printed | {"off_conditional": (16.2, 0.032)}).items():
        assert found[f"{name}_fid"] == pytest.approx(fid)
        assert found[f"{name}_error"] == pytest.approx(error)
    assert found["off_unconditional_nine"] == pytest.approx(0.074)
    assert found["highest_collapse"] == 0.785
    assert paper.FIGURE_6["FFHQ"]["TransferGAN"][1] < found["highest_collapse"]


# --- from a claim to its outcome ----------------------------------------------------------------------------------

CLAIM = {"id": "a", "source": "Sec. 1", "lower": ["m/new-{case} x", "m/old-{case} x"], "cases": [5, 7], "by": "digits"}


def outcome(claim, **known):
    return verdicts.outcome(claim, known)


def test_a_claim_waits_until_every_case_is_there(runs):
    assert outcome(CLAIM).verdict == UNTESTED
    assert outcome(CLAIM).found == ()
    for seed in range(3):
        runs("m/new-5", seed, x=1.0 + 0.1 * seed)
        runs("m/old-5", seed, x=0.5)
        runs("m/new-7", seed, x=0.1 * seed)
    early = outcome(CLAIM)
    assert early.verdict == UNTESTED  # though five fails
    assert early.found == (
        "5: 1.1 ± 0.1 against 0.5 ± 0.0; difference over 3 seeds +0.6 [+0.4, +0.8]",
        "waits for 7",
    )
    for seed in range(3):
        runs("m/old-7", seed, x=5.0)
    late = outcome(CLAIM)
    assert late.verdict == FAILS
    assert [line.rpartition(": ")[2] for line in late.found] == [FAILS, HOLDS]
    assert {number.series for number in late.numbers} == {"m/new-5", "m/old-5", "m/new-7", "m/old-7"}


def test_a_claim_on_a_mean_is_one_comparison_seed_by_seed(runs):
    """Five is worse in each seed, seven better by more, and their noise cancels."""
    claim = CLAIM | {"mean": True}
    for seed, noise in enumerate((-3.0, 0.0, 3.0)):
        runs("m/new-5", seed, x=2.0 + noise)
        runs("m/old-5", seed, x=0.0)
        runs("m/new-7", seed, x=-4.0 - noise + 0.1 * seed)
        if seed:
            runs("m/old-7", seed, x=0.0)
    runs("m/old-7", 9, x=0.0)
    assert outcome(CLAIM).verdict == INCONCLUSIVE
    found = outcome(claim)
    assert found.verdict == HOLDS  # −0.95 and −0.9 for the seeds that all have: ± 0.32
    assert found.found == ("mean of 2 -0.9 ± 0.1 against 0.0 ± 0.0; difference over 2 seeds −0.9 [−1.2, −0.6]",)


def test_a_mean_may_be_compared_with_one_of_the_paper(runs):
    claim = {"id": "a", "source": "Sec. 1", "lower": ["t-{case}/x e", "{off_unconditional_error}"], "cases": [1, 2]}
    for case, error in ((1, 0.11), (2, 0.0)):
        for seed in range(3):
            runs(f"t-{case}/x", seed, e=error + 0.001 * seed)
    assert outcome(claim | {"mean": True}).verdict == HOLDS
    assert outcome(claim).verdict == FAILS


def test_what_compares_with_a_method_in_doubt_is_no_verdict(runs):
    for seed in range(3):
        runs("m/minegan-25", seed, x=1.0 + 0.1 * seed)
        runs("m/bsa-25", seed, x=9.0)
        runs("m/bsabsa-25", seed, x=9.0)
    claim = {"id": "a", "source": "Sec. 1", "lower": ["m/minegan-25 x", "m/bsa-25 x"]}
    doubted = outcome(claim)
    assert (doubted.verdict, doubted.alone) == (UNCONFIRMED, HOLDS)
    assert verdicts.IN_DOUBT["bsa"] in doubted.found
    assert outcome(claim | {"lower": ["m/minegan-25 x", "m/bsabsa-25 x"]}).verdict == HOLDS
    total = {"id": "b", "source": "Sec. 1", "every": ["a"]}
    assert outcome(total, a=claim).verdict == UNCONFIRMED


@pytest.mark.parametrize("by", ["digits, our defaults", "natural images, our defaults"])
def test_an_abstract_is_judged_at_its_own_scale_only(runs, by):
    for seed in range(3):
        runs("m/new-5", seed, x=1.0 + 0.1 * seed)
        runs("m/old-5", seed, x=0.5)
    own = by.startswith("natural")
    claim = CLAIM | {"cases": [5], "by": by}
    abstract = claim | {"source": "Abstract, as in the first one"}
    assert outcome(claim).verdict == FAILS
    assert outcome(abstract).verdict == (FAILS if own else UNTESTED)
    assert ("at small scale: fails" in " ".join(outcome(abstract).found)) is not own
    total = {"id": "b", "source": "Abstract; Sec. 1", "every": ["a"]}
    assert outcome(total, a=claim).verdict == (FAILS if own else UNTESTED)
    assert "a: fails" in outcome(total, a=claim).found
    digits = claim | {"by": "digits, our defaults"}
    assert outcome(total | {"every": ["a", "d"]}, a=claim, d=digits).verdict == UNTESTED  # each of them must be


def test_a_sum_tells_its_parts():
    parts = {name: {"id": name, "source": "Sec. 1", "untested": "much"} for name in "ab"}
    found = outcome({"id": "c", "source": "Sec. 1", "every": ["a", "b"]}, **parts)
    assert (found.verdict, found.found) == (UNTESTED, ("a: not tested", "b: not tested"))
    with pytest.raises(KeyError):
        outcome({"id": "c", "source": "Sec. 1", "every": ["z"]}, **parts)


def test_a_chapter_is_told_verdict_scale_and_recipe():
    told = verdicts.told("fig4-minegan")
    assert re.match(r"\*\*\w+\*\* \(digits, our defaults\): copying after .*\.\n\n- 9: 0\.\d\d ± ", told)
    assert verdicts.told("fig9-depth").count("\n") == 0
    assert verdicts.told("fig3-nine").count("which is not what its image looks like") == 1
    assert verdicts.told("table2-off") == "**not tested**."
    with pytest.raises(UserError, match="no claim 'nothing'"):
        verdicts.of("nothing")


def test_an_installed_package_has_the_claims_with_it(tmp_path, monkeypatch):
    package = tmp_path / "minegan_lite"
    package.mkdir()
    (package / "claims.yml").write_bytes((runner.book() / "claims.yml").read_bytes())
    expected = verdicts.claims()
    monkeypatch.setattr(verdicts, "_PACKAGE", package)
    assert verdicts.claims_file() == package / "claims.yml"
    assert verdicts.claims() == expected


# --- no other place decides ---------------------------------------------------------------------------------------

WORDS = {*verdicts.VERDICTS, "weaker"}
SOURCES = sorted([*(ROOT / "minegan_lite").rglob("*.py"), *(ROOT / "book").glob("*.py")])
NOTEBOOKS = sorted((ROOT / "book").glob("*.ipynb"))


def says_a_verdict(code: str) -> list[str]:
    """String constants of some code that are a verdict's word, or say one in bold."""
    texts = [node.value for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Constant)]
    texts = [text for text in texts if isinstance(text, str)]
    bold = re.compile(rf"\*\*(?:is )?({'|'.join(sorted(WORDS))})\b")
    return [text for text in texts if text.strip("*.") in WORDS or bold.search(text)]


def test_no_other_module_decides():
    found = {file: says_a_verdict(file.read_text(encoding="utf-8")) for file in SOURCES}
    assert [file.name for file, texts in found.items() if texts] == ["verdicts.py"]


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.name)
def test_no_chapter_decides(file):
    cells = [cell for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == "code"]
    for cell in cells:
        assert says_a_verdict(TransformerManager().transform_cell(cell.source)) == []


@pytest.mark.parametrize(
    "code",
    [
        'v = "holds" if a < b else "fails"',
        'print(f"**weaker** by {x}")',
        'x = "is **inconclusive**"',
        'x = "not tested"',
    ],
)
def test_a_place_that_decides_is_seen(code):
    assert says_a_verdict(code)
    assert not says_a_verdict('"""A file holds either what it held before or all."""\nx = "it holds no pictures"')
