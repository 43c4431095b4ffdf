"""What became of each claim of `claims.yml`: its verdict, computed from the recorded runs by one of a few rules.

Each claim has an id, the claim, its source, and either `paper`, with numbers that stand in `minegan_lite.chapters.paper`, or
`no_number`, why there is none. What tests it, with `setting` in words, is one of

    lower, higher  the first number is below (above) each of the others; a number is "SERIES key key …" of the
                   runs SERIES-seed…, or a constant such as 1/9
    similar        the first two numbers differ by less than `within`
    results        a verdict of the results page, by its function in `tables` and the arguments; `runs` are its numbers
    every          the claims, by id, that it sums up
    untested       what it would take

`cases` fill {case}, one comparison each. `within` is a tolerance, a number or a share ("10%") of the second number's
mean; negative, it is a margin that must be kept. `as` formats our numbers; `chapter` is the page that has them.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import inf
from pathlib import Path
from statistics import fmean, stdev

import yaml

from book import tables
from minegan_lite.chapters import ledger

FILE = Path(__file__).with_name("claims.yml")
UNTESTED = "not tested yet"
VERDICTS = ("holds", "weaker", "fails", UNTESTED)  # from the best
COMPARISONS = ("lower", "higher", "similar")


@dataclass(frozen=True)
class Number:
    """A number of recorded runs, by seed; or a constant, which every seed has.

    series: of which runs, None for a constant. values: by seed. rows: by seed, what stands beside the number: n, and
    the floor where it has one.
    """

    series: str | None
    values: dict[int, float]
    rows: dict[int, dict]
    constant: float | None = None

    def at(self, seed: int) -> float:
        return self.values[seed] if self.constant is None else self.constant

    def told(self, as_: str) -> str:
        """mean ± sd over its seeds."""
        if self.constant is not None:
            return format(self.constant, as_)
        values = list(self.values.values())
        spread = f" ± {stdev(values):{as_}}" if len(values) > 1 else ""
        return f"{fmean(values):{as_}}{spread}"


@dataclass(frozen=True)
class Outcome:
    """What became of a claim: the verdict, ours in words, and the recorded numbers that it stands on."""

    verdict: str
    ours: tuple[str, ...] = ()
    numbers: tuple[Number, ...] = ()


def sections() -> list[dict]:
    """The claims under their headings."""
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


def number(text: str) -> Number:
    """A number as `claims.yml` writes it, of no seed while no run is there; UserError where a run lacks it."""
    series, *keys = text.split()
    if not keys:
        return Number(None, {}, {}, float(Fraction(series)))
    values, rows = {}, {}
    for result in ledger.series(series):
        one = ledger.over_seeds([result], *keys)
        (seed,) = one["seeds"]
        values[seed] = one["mean"]
        row = result["numbers"]
        for key in keys[:-1]:
            row = row[key]
        rows[seed] = {"n": result["provenance"]["n"]} | row
    return Number(series, values, rows)


def judged(gaps: list[float]) -> str:
    """The verdict on a claim that says of these differences, one a seed, that they are positive.

    holds: so is the 95 % interval of their mean, by Student's t; weaker: so is the mean, but not the interval, or
    there is one seed and no interval; fails: the mean is zero or negative.
    """
    mean, low, _ = ledger.interval(gaps)
    return "holds" if low > 0 else "weaker" if mean > 0 else "fails"


def margin(found: list[list[float]], as_: str) -> str:
    """By how much that of several comparisons is won which decides: of the worst verdict, the least certain."""

    def decisive(gaps: list[float]) -> tuple[int, float, float]:
        mean, low, _ = ledger.interval(gaps)
        return -VERDICTS.index(judged(gaps)), low, mean

    mean, low, high = ledger.interval(min(found, key=decisive))
    ends = "" if low == -inf else f" [{low:{as_}}, {high:{as_}}]"
    return f"margin {mean:{as_}}{ends}"


def worst(verdicts: list[str]) -> str:
    """The worst of several verdicts; without a test is worse than failed."""
    return max(verdicts, key=VERDICTS.index)


def gaps(kind: str, a: Number, b: Number, within: float | str) -> list[list]:
    """What a comparison says is positive, by seed; two such lists for `similar`. Empty without a common seed."""
    seeds = a.values.keys() & b.values.keys()
    if a.series is None or b.series is None:  # a constant has any seed
        seeds = a.values.keys() | b.values.keys()
    pairs = [(a.at(seed), b.at(seed)) for seed in sorted(seeds)]
    if isinstance(within, str) and pairs:
        share = float(within.removesuffix("%")) / 100
        within = share * abs(fmean(second for _, second in pairs))
    below = [second - first + within for first, second in pairs]
    above = [first - second + within for first, second in pairs]
    which = {"lower": [below], "higher": [above], "similar": [below, above]}
    return which[kind]


def compared(kind: str, claim: dict) -> Outcome:
    """By comparisons. Of the cases those count whose runs are all there; the worst decides."""
    as_, lines, verdicts, pending, numbers = claim["as"], [], [], [], []
    for case in claim["cases"]:
        first, *others = (
            number(text.format(case=case)) for text in claim[kind]
        )
        found = [
            differences
            for other in others
            for differences in gaps(kind, first, other, claim["within"])
        ]
        if not all(found):
            pending.append(str(case))
            continue
        verdicts.append(worst([judged(one) for one in found]))
        against = ", ".join(other.told(as_) for other in others)
        line = f"{first.told(as_)} against {against}; {margin(found, as_)}"
        lines.append(line if case == "" else f"{case}: {line}")
        numbers += [first, *others]
    if not verdicts:
        return Outcome(UNTESTED)
    if len(set(verdicts)) > 1:
        lines = [
            f"{line}: {verdict}"
            for line, verdict in zip(lines, verdicts, strict=True)
        ]
    if pending:
        lines.append("pending: " + ", ".join(pending))
    return Outcome(worst(verdicts), tuple(lines), tuple(numbers))


def of_results_page(claim: dict) -> Outcome:
    """By what the results page says of it."""
    ((name, arguments),) = claim["results"].items()
    said, verdict = getattr(tables, name)(*arguments)
    if verdict == UNTESTED:
        return Outcome(UNTESTED)
    numbers = {}
    for case in claim["cases"]:
        named = [number(text.format(case=case)) for text in claim["runs"]]
        if all(one.values for one in named):
            numbers |= {one.series: one for one in named}
    numbers = tuple(numbers.values())
    lines = [f"{n.series}: {n.told(claim['as'])}" for n in numbers]
    return Outcome(verdict, (said, *lines), numbers)


def summed_up(known: list[Outcome]) -> Outcome:
    """By others: it fails with the first of them, and is tested when all of them are."""
    verdicts = [outcome.verdict for outcome in known]
    failed = verdicts.count("fails")
    tested = len(verdicts) - verdicts.count(UNTESTED)
    said = f"{tested} of {len(verdicts)} tested, {failed} failed"
    return Outcome("fails" if failed else worst(verdicts), (said,))


def outcome(claim: dict) -> Outcome:
    """What became of a claim that stands on runs of its own."""
    claim = {"as": ".1f", "cases": [""], "within": 0} | claim
    for kind in COMPARISONS:
        if kind in claim:
            return compared(kind, claim)
    return of_results_page(claim) if "results" in claim else Outcome(UNTESTED)


def outcomes(groups: list[dict]) -> dict[str, Outcome]:
    """What became of every claim, by id; KeyError for one that sums up a claim which is not there."""
    claims = [claim for group in groups for claim in group["claims"]]
    own = {c["id"]: outcome(c) for c in claims if "every" not in c}
    return own | {
        c["id"]: summed_up([own[one] for one in c["every"]])
        for c in claims
        if "every" in c
    }
