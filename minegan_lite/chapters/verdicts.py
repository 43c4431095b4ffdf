"""Verdicts: what became of each claim of `book/claims.yml`, decided from the recorded runs by one function, `judge`.

A claim has an id, the claim, its source, and either `paper`, with numbers that stand in `minegan_lite.chapters.paper`,
or `no_number`, why there is none. `setting` says in words what tests it, `by` at which scale and with which recipe. The
test itself is one of::

    lower, higher  the first number is below (above) each of the others
    similar        the first number is as large as each of the others
    every          the claims, by id, that it sums up
    untested       what it would take

A number is "SERIES key key …" of the runs SERIES/seed0, SERIES/seed1, …; or a constant: 0.1, 1/9, or one of the paper's
by its name in `constants`, as {off_unconditional_error}. `cases` fill {case}, one comparison each; with `mean: true`
their mean, seed by seed, is compared once. `within` is a tolerance, a number or a share ("10%") of the second number's
mean; for `lower` and `higher`, negative, it is a margin that must be kept. `as` formats our numbers, `chapter` is the
page that has them, `note` is what a reader should know beside them.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import inf
from pathlib import Path
from statistics import fmean, stdev

import yaml

from minegan_lite.chapters import ledger, paper
from minegan_lite.errors import UserError

HOLDS, FAILS, INCONCLUSIVE = "holds", "fails", "inconclusive"
UNCONFIRMED, UNTESTED = "unconfirmed", "not tested"
VERDICTS = (HOLDS, FAILS, INCONCLUSIVE, UNCONFIRMED, UNTESTED)
KINDS = ("lower", "higher", "similar")
# Methods of ours that reproduce no published behaviour yet: what compares with them is no verdict on anyone's claim.
IN_DOUBT = {"bsa": "our BSA reproduces no published behaviour yet"}
# The recipes (`by`) whose images, networks and sizes are the paper's own; only they judge what an abstract claims.
OWN_SCALE = ("natural images",)
_PACKAGE = Path(__file__).resolve().parents[1]

Values = Mapping[int, float] | float  # of a number: by seed, or a constant, which every seed has


@dataclass(frozen=True)
class Judgement:
    """A verdict on a difference, first − second: its mean over `seeds` and the ends of its 95 % interval.

    Without a common seed it is "not tested", and there is no mean; with one seed the interval has no ends.
    """

    verdict: str
    mean: float = 0.0
    low: float = -inf
    high: float = inf
    seeds: tuple[int, ...] = ()

    @property
    def direction(self) -> str:
        """What the interval says of the first number, whatever was claimed."""
        return "lower" if self.high < 0 else "higher" if self.low > 0 else "not clearly different"

    def told(self, as_: str) -> str:
        """The difference with its interval, as "−5.7 [−7.6, −3.9]"."""
        if not self.seeds:
            return "*pending*"
        ends = f"{_format(self.low, as_)}, {_format(self.high, as_)}" if len(self.seeds) > 1 else "no interval"
        return f"{_format(self.mean, as_)} [{ends}]"


def judge(first: Values, second: Values, kind: str, within: float | str = 0) -> Judgement:
    """THE verdict: does the recorded runs' difference, first − second, lie where a claim says?

    first, second: a number by seed, or a constant, which every seed has. Runs of one seed share their target images,
    so the difference is taken seed by seed, over the seeds that both have. kind, within: the claim is that the
    difference lies below `within` ("lower"), above −within ("higher"), or between −within and within ("similar").
    within may be a share, "10%", of the second's mean.

    holds: so does all of the 95 % interval of the mean difference (Student's t); fails: none of the interval does;
    inconclusive: a part of it does, or there is one seed and no interval; not tested: no common seed. So two methods
    are never found similar because a test failed to tell them apart, but only where the interval is narrow enough.
    Raises UserError for another kind, and for two constants.
    """
    if kind not in KINDS:
        raise UserError(f"a verdict is on {', '.join(KINDS)}, not on {kind!r}")
    by_seed = [set(one) for one in (first, second) if isinstance(one, Mapping)]
    if not by_seed:
        raise UserError("two constants need no verdict: give at least one number by seed")
    seeds = sorted(set.intersection(*by_seed))
    if not seeds:
        return Judgement(UNTESTED)
    pairs = [tuple(one[seed] if isinstance(one, Mapping) else one for one in (first, second)) for seed in seeds]
    if isinstance(within, str):
        within = float(within.removesuffix("%")) / 100 * abs(fmean(b for _, b in pairs))
    mean, low, high = ledger.interval([a - b for a, b in pairs])
    least = -inf if kind == "lower" else -within
    most = inf if kind == "higher" else within
    verdict = INCONCLUSIVE
    if high < least or low > most:
        verdict = FAILS
    elif (least == -inf or low > least) and (most == inf or high < most):
        verdict = HOLDS
    return Judgement(verdict, mean, low, high, tuple(seeds))


def differences(judgements: Sequence[Judgement], as_: str) -> str:
    """Several differences in words, with how many seeds they are over."""
    seeds = sorted({len(one.seeds) for one in judgements})
    count = "one seed" if seeds == [1] else f"{' or '.join(map(str, seeds))} seeds"
    return f"difference over {count} {', '.join(one.told(as_) for one in judgements)}"


def combined(verdicts: Sequence[str]) -> str:
    """The verdict on a claim of several parts (cases, or other claims), all of which it says are so.

    It waits until each part is tested, and confirmed; then one that fails decides, and all must hold.
    """
    for decisive in (UNTESTED, UNCONFIRMED, FAILS):
        if decisive in verdicts:
            return decisive
    return HOLDS if all(verdict == HOLDS for verdict in verdicts) else INCONCLUSIVE


@dataclass(frozen=True)
class Number:
    """A number of recorded runs, by seed; or a constant.

    series: of which runs, None for a constant. values: by seed, or the constant. rows: by seed, what stands beside the
    number: n, and the floor where it has one.
    """

    series: str | None
    values: Values
    rows: Mapping[int, dict]

    def told(self, as_: str) -> str:
        """mean ± sd over its seeds."""
        if not isinstance(self.values, Mapping):
            return format(self.values, as_)
        values = list(self.values.values())
        spread = f" ± {stdev(values):{as_}}" if len(values) > 1 else ""
        return f"{fmean(values):{as_}}{spread}"


@dataclass(frozen=True)
class Outcome:
    """What became of a claim: the verdict, what was found in words, and the recorded numbers that it stands on.

    Where the verdict is "not tested" or "unconfirmed" for another reason than missing runs, `alone` is what the runs
    would say by themselves.
    """

    verdict: str
    found: tuple[str, ...] = ()
    numbers: tuple[Number, ...] = ()
    alone: str | None = None


def claims_file() -> Path:
    """claims.yml of the checkout, else the copy that an installed package carries."""
    return next(f for f in (_PACKAGE / "claims.yml", _PACKAGE.parent / "book" / "claims.yml") if f.is_file())


def sections() -> list[dict]:
    """The claims under their headings."""
    return _parsed(claims_file())


@functools.cache
def _parsed(file: Path) -> list[dict]:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def claims() -> dict[str, dict]:
    """The claims by id."""
    return {claim["id"]: claim for group in sections() for claim in group["claims"]}


def constants() -> dict[str, float]:
    """The paper's numbers that claims compare ours with, by name.

    on_conditional_error (a share), on_conditional_fid, and so on: the means over the ten digits of Table 4's columns as
    the paper prints them, to a tenth. off_unconditional_nine: the error of the nine there. highest_collapse: the higher
    of TransferGAN's two mean variances in Fig. 6.
    """
    found = {
        "off_unconditional_nine": paper.TABLE_4["off", "unconditional"][9][1] / 100,
        "highest_collapse": max(
            v for methods in paper.FIGURE_6.values() if (v := methods["TransferGAN"][1]) is not None
        ),
    }
    for (manifold, kind), rows in paper.TABLE_4.items():
        for name, column, unit in (("fid", 0, 1), ("error", 1, 100)):
            tenths = sum(round(10 * row[column]) for row in rows)  # whole numbers: a half is rounded up, as in print
            found[f"{manifold}_{kind}_{name}"] = (2 * tenths + len(rows)) // (2 * len(rows)) / 10 / unit
    return found


def number(text: str) -> Number:
    """A number as `claims.yml` writes it, of no seed while no run is there; UserError where a run lacks it."""
    series, *keys = text.format(**constants()).split()
    if not keys:
        return Number(None, float(Fraction(series)), {})
    values, rows = {}, {}
    for result in ledger.series(series):
        one = ledger.over_seeds([result], *keys)
        (seed,) = one["seeds"]
        values[seed] = one["mean"]
        row = result["numbers"]
        for key in keys[:-1]:
            row = row[key]
        rows[seed] = {"n": result["provenance"]["n"]} | (row if isinstance(row, dict) else {})
    return Number(series, values, rows)


def mean_of(parts: Sequence[Number]) -> Values:
    """The mean of several numbers for each seed that all have; of equal constants, the constant."""
    by_seed = [part.values for part in parts if isinstance(part.values, Mapping)]
    if len(by_seed) < len(parts):
        (constant,) = {part.values for part in parts}
        return constant
    seeds = set.intersection(*map(set, by_seed))
    return {seed: fmean(values[seed] for values in by_seed) for seed in sorted(seeds)}


def outcome(claim: dict, known: Mapping[str, dict]) -> Outcome:
    """What became of a claim; known: all claims by id, of which it may sum up some."""
    if "every" in claim:
        parts = {name: outcome(known[name], known).verdict for name in claim["every"]}
        lines = [f"{name}: {verdict}" for name, verdict in parts.items()]
        result = Outcome(combined(list(parts.values())), tuple(lines))
    elif "untested" in claim:
        return Outcome(UNTESTED)
    else:
        result = _compared({"as": ".1f", "cases": [""], "within": 0, "mean": False} | claim)
    if result.verdict in (UNTESTED, UNCONFIRMED):
        return result
    if doubts := {why for method, why in IN_DOUBT.items() for n in result.numbers if _is_of(n, method)}:
        return Outcome(UNCONFIRMED, (*result.found, "; ".join(sorted(doubts))), result.numbers, result.verdict)
    if of_an_abstract(claim) and not _at_own_scale(claim, known):
        said = f"at small scale: {result.verdict}; an abstract's claim waits for the paper's own scale"
        return Outcome(UNTESTED, (*result.found, said), result.numbers, result.verdict)
    return result


def outcomes() -> dict[str, Outcome]:
    """What became of every claim, by id."""
    known = claims()
    return {name: outcome(claim, known) for name, claim in known.items()}


def of(name: str) -> Outcome:
    """What became of the claim of that id; UserError for one that is not there."""
    known = claims()
    if name not in known:
        raise UserError(f"no claim {name!r}: use one of {', '.join(known)}")
    return outcome(known[name], known)


def told(name: str) -> str:
    """A claim's verdict as chapters say it, in Markdown: the verdict, scale and recipe, what was compared and found."""
    result, claim = of(name), claims()[name]
    verdict = f"**{result.verdict}**" + (f" ({claim['by']})" if "by" in claim else "")
    if not result.found:
        return f"{verdict}."
    compared = f"{verdict}: {claim['setting']}." if "setting" in claim else f"{verdict}."
    note = f" ({claim['note']})" if "note" in claim else ""
    if len(result.found) == 1:
        return f"{compared}{note} {result.found[0]}."
    return "\n".join([compared + note, "", *(f"- {line}" for line in result.found)])


def of_an_abstract(claim: dict) -> bool:
    """Whether a claim is one of an abstract."""
    return claim["source"].startswith("Abstract")


def _at_own_scale(claim: dict, known: Mapping[str, dict]) -> bool:
    """Whether what tests a claim, or each claim that it sums up, has the paper's own images, networks and sizes."""
    if "every" in claim:
        return all(_at_own_scale(known[name], known) for name in claim["every"])
    return claim.get("by", "").startswith(OWN_SCALE)


def _is_of(number: Number, method: str) -> bool:
    return number.series is not None and re.search(rf"(^|/){method}-", number.series) is not None


def _compared(claim: dict) -> Outcome:
    """By comparisons, which wait until all cases are recorded."""
    kind, as_ = next(kind for kind in KINDS if kind in claim), claim["as"]
    by_case = {case: [number(text.replace("{case}", str(case))) for text in claim[kind]] for case in claim["cases"]}
    lines, verdicts, pending = [], [], []
    for case, (first, *others) in by_case.items():
        judgements = [judge(first.values, other.values, kind, claim["within"]) for other in others]
        if any(one.verdict == UNTESTED for one in judgements):
            pending.append(case)
            continue
        verdicts.append(combined([one.verdict for one in judgements]))
        against = ", ".join(other.told(as_) for other in others)
        line = f"{first.told(as_)} against {against}; {differences(judgements, as_)}"
        lines.append(line if case == "" else f"{case}: {line}")
    there = tuple({n.series: n for case, row in by_case.items() if case not in pending for n in row}.values())
    if pending:
        waits = [f"waits for {', '.join(map(str, pending))}"] if lines else []
        return Outcome(UNTESTED, (*lines, *waits), there)
    if claim["mean"]:
        ours, *theirs = (mean_of(column) for column in zip(*by_case.values(), strict=True))
        judgements = [judge(ours, other, kind, claim["within"]) for other in theirs]
        verdicts = [combined([one.verdict for one in judgements])]
        against = ", ".join(Number(None, other, {}).told(as_) for other in theirs)
        mean = Number(None, ours, {}).told(as_)
        lines = [f"mean of {len(by_case)} {mean} against {against}; {differences(judgements, as_)}"]
    elif len(set(verdicts)) > 1:
        lines = [f"{line}: {verdict}" for line, verdict in zip(lines, verdicts, strict=True)]
    return Outcome(combined(verdicts), tuple(lines), there)


def _format(value: float, as_: str) -> str:
    return format(value, f"+{as_}").replace("-", "−")
