"""The results page's tables, made from the ledger at every build: the paper's numbers, ours over seeds, a verdict.

What the ledger does not hold is *pending*; nothing here is typed but the paper's numbers, in `minegan_lite.chapters.paper`.
"""

from itertools import pairwise

from minegan_lite.chapters import ledger, paper

DIGITS = range(10)
PENDING = "*pending*"
NAMES = {
    ("off", "unconditional"): "Off-manifold, unconditional source",
    ("off", "conditional"): "Off-manifold, conditional source",
    ("on", "unconditional"): "On-manifold, unconditional source",
    ("on", "conditional"): "On-manifold, conditional source",
}
SOURCES = "mnist-only-06"  # whose p is compared with the share of zeros


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def over(name: str, *keys: str) -> dict | None:
    """Mean, sd and seeds of a number over the recorded runs name-seed…, None while there are none."""
    recorded = ledger.series(name)
    return ledger.over_seeds(recorded, *keys) if recorded else None


def told(value: dict | None, as_: str, seeds: bool = True) -> str:
    """mean ± sd (number of seeds) of what `over` gives."""
    if value is None:
        return PENDING
    spread = "" if value["sd"] is None else f" ± {value['sd']:{as_}}"
    return f"{value['mean']:{as_}}{spread}" + (
        f" ({len(value['seeds'])})" if seeds else ""
    )


def mean(value: dict) -> float:
    return value["mean"]


def table_4() -> str:
    """Table 4, a table for each of its columns."""
    parts = []
    for which, title in NAMES.items():
        name = "table4-{}-{}-".format(*which)
        errors = {
            d: over(f"{name}{d}", "classifier_error", "value") for d in DIGITS
        }
        rows = []
        for digit, error in errors.items():
            run = f"{name}{digit}"
            fid, theirs = paper.TABLE_4[which][digit]
            floor = over(run, "classifier_error", "floor")
            distance, its_floor = (
                over(run, "frechet", key) for key in ("value", "floor")
            )
            rows.append(
                [
                    str(digit),
                    told(error, ".2%"),
                    f"{floor['mean']:.2%}" if floor else "–",
                    f"{theirs:.1f}%",
                    told(distance, ".1f", seeds=False) if distance else "–",
                    f"{its_floor['mean']:.1f}" if its_floor else "–",
                    f"{fid:.1f}",
                ]
            )
        done = [d for d, error in errors.items() if error]
        if done:
            ours = sum(mean(errors[d]) for d in done) / len(done)
            theirs = sum(paper.TABLE_4[which][d][1] for d in done) / len(done)
            said = f"**{ours:.2%}**", "", f"**{theirs:.1f}%**", "", "", ""
            rows.append([f"**mean of {len(done)}**", *said])
        header = [
            "digit",
            "error (seeds)",
            "its floor",
            "paper",
            "Fréchet, ours",
            "its floor",
            "FID, paper",
        ]
        parts.append(f"### {title}\n\n" + markdown(header, rows))
    return "\n".join(parts)


def mixtures() -> str:
    """Tables 1 and 3: what the selector makes of a known mixture."""
    rows = []
    for share, theirs in paper.TABLE_1_CARS.items():
        for objective in ("max", "mean"):
            run = f"ratio-{share}-{objective}"
            p = over(run, "probabilities", SOURCES)
            if objective == "mean":
                theirs = paper.TABLE_3_CARS["mean"] if share == 0.3 else None
            rows.append(
                [
                    f"{share}",
                    objective,
                    told(p, ".3f"),
                    "–" if theirs is None else f"{theirs:.2f}",
                    told(over(run, "frechet", "value"), ".1f", seeds=False),
                ]
            )
    header = ["true share", "objective", "p (seeds)", "paper", "Fréchet"]
    return markdown(header, rows)


def four() -> str:
    """Table 1, right half: four sources, a target that none has seen."""
    rows = []
    for digit in (9, 8):
        recorded = ledger.series(f"four-{digit}")
        names = recorded[0]["numbers"]["probabilities"] if recorded else []
        p = [
            f"{name.removeprefix('mnist-only-')}: "
            + told(over(f"four-{digit}", "probabilities", name), ".2f", False)
            for name in names
        ]
        error = over(f"four-{digit}", "classifier_error", "value")
        rows.append([str(digit), "; ".join(p) or PENDING, told(error, ".1%")])
    return markdown(["target", "p by the source's digits", "error"], rows)


def ablations() -> str:
    """Depth, start and critic, around the off-manifold nine."""
    base = "table4-off-unconditional-9"
    which = {
        "as Table 4: two layers, our start, pretrained critic": base,
        **{f"layers: {n}": f"depth-{n}" for n in (1, 3, 4, 5)},
        "start: the paper's": "init-paper",
        "conditional source": "table4-off-conditional-9",
        "conditional source, 3000 steps": "longer-off-conditional-9",
        "critic: fresh weights": "critic-fresh",
    }
    rows = []
    for label, run in which.items():
        cells = [
            told(
                over(run, key, "value"), as_, seeds=key == "classifier_error"
            )
            for key, as_ in (
                ("classifier_error", ".2%"),
                ("frechet", ".1f"),
                ("coverage", ".3f"),
            )
        ]
        rows.append([label, *cells])
    return markdown(["miner", "error (seeds)", "Fréchet", "coverage"], rows)


def printed(*which: str) -> str:
    """The paper's mean error over all ten digits of a column of Table 4."""
    errors = [error for _, error in paper.TABLE_4[which]]
    # tenths of a percent, whose sum is inexact: a half is rounded up, as in print
    return f"{sum(errors) / len(errors) + 1e-9:.1f}%"


# --- verdicts -----------------------------------------------------------------


def digits_of(pairs: list) -> str:
    """How many digits a mean is over."""
    return "one digit" if len(pairs) == 1 else f"mean of {len(pairs)} digits"


def off_manifold() -> tuple[str, str]:
    """Mined digits are about as right as the paper's (Table 4), where run."""
    pairs = [
        (mean(error), paper.TABLE_4["off", "unconditional"][d][1] / 100)
        for d in DIGITS
        if (
            error := over(
                f"table4-off-unconditional-{d}", "classifier_error", "value"
            )
        )
    ]
    if not pairs:
        return PENDING, "not tested yet"
    ours, theirs = (
        sum(side) / len(pairs) for side in zip(*pairs, strict=True)
    )
    said = f"{ours:.1%} against {theirs:.1%}, {digits_of(pairs)}"
    return said, "holds" if ours <= theirs else "weaker"


def compared(one: str, other: str, digits=DIGITS) -> tuple[str, str]:
    """Whether the error of `one` is below that of `other`, where both ran."""
    pairs = []
    for digit in digits:
        both = [
            over(f"table4-{which}-{digit}", "classifier_error", "value")
            for which in (one, other)
        ]
        if all(both):
            pairs.append(both)
    if not pairs:
        return PENDING, "not tested yet"
    lower, higher = (
        sum(mean(side) for side in sides) / len(pairs)
        for sides in zip(*pairs, strict=True)
    )
    noise = max(value["sd"] or 0 for both in pairs for value in both)
    said = f"{lower:.1%} against {higher:.1%}, {digits_of(pairs)}"
    if lower > higher:
        return said, "fails"
    return said, "holds" if higher - lower > noise else "weaker"


def selector(objective: str, wanted: dict[float, float], bound: float):
    """The largest distance of p from what it should be, over the ratios."""
    p = {
        share: over(f"ratio-{share}-{objective}", "probabilities", SOURCES)
        for share in wanted
    }
    if not all(p.values()):
        return PENDING, "not tested yet"
    off = max(abs(mean(p[share]) - wanted[share]) for share in wanted)
    listed = ", ".join(f"{mean(value):.2f}" for value in p.values())
    return f"{listed}; at most {off:.2f} off", (
        "holds" if off <= bound else "fails"
    )


def deeper() -> tuple[str, str]:
    """Whether each further layer lowers the Fréchet distance, by more than seeds do."""
    runs = {n: f"depth-{n}" for n in (1, 3, 4, 5)}
    runs[2] = "table4-off-unconditional-9"
    values = {n: over(runs[n], "frechet", "value") for n in sorted(runs)}
    known = {n: mean(value) for n, value in values.items() if value}
    if len(known) < 3:
        return PENDING, "not tested yet"
    listed = ", ".join(f"{n}: {value:.0f}" for n, value in known.items())
    noise = max(value["sd"] or 0 for value in values.values() if value)
    order = list(known.values())
    falls = all(a - b > noise for a, b in pairwise(order))
    verdict = (
        "holds" if falls else "weaker" if order[-1] < order[0] else "fails"
    )
    said = f"Fréchet distance by layers {listed}; seeds differ by {noise:.0f}"
    return said, verdict


def critics() -> tuple[str, str]:
    """Whether the first critic changes the result by more than seeds do."""
    one, other = (
        over(name, "frechet", "value")
        for name in ("ratio-0.3-max", "critic-second")
    )
    if not one or not other:
        return PENDING, "not tested yet"
    apart = abs(mean(one) - mean(other))
    noise = max(one["sd"] or 0, other["sd"] or 0)
    said = f"Fréchet distance {mean(one):.1f} or {mean(other):.1f}"
    return said, "holds" if apart <= 2 * noise else "fails"


def verdicts() -> str:
    """Every claim of the tables above, and what became of it."""
    shares = list(paper.TABLE_1_CARS)
    tower, bedroom = paper.SUPPLEMENT_F_CRITIC.values()
    rows = [
        [
            "The miner finds digits that the source never saw",
            f"Table 4: {printed('off', 'unconditional')} mean error",
            *off_manifold(),
        ],
        [
            "A conditional source gives a lower error",
            f"Table 4: {printed('off', 'conditional')} against "
            + printed("off", "unconditional"),
            *compared("off-conditional", "off-unconditional"),
        ],
        [
            "On-manifold targets are easier",
            f"Table 4: {printed('on', 'unconditional')} against "
            + printed("off", "unconditional"),
            *compared("on-unconditional", "off-unconditional"),
        ],
        [
            "The selector estimates the target's mixture",
            "Table 1: "
            + ", ".join(f"{p:.2f}" for p in paper.TABLE_1_CARS.values()),
            *selector("max", {share: share for share in shares}, 0.08),
        ],
        [
            "With the mean objective it chooses both equally",
            f"Table 3: {paper.TABLE_3_CARS['mean']:.2f}",
            *selector("mean", dict.fromkeys(shares, 0.5), 0.06),
        ],
        [
            "More layers increase performance",
            "Fig. 9, on BigGAN",
            *deeper(),
        ],
        [
            "Which pretrained critic starts matters little",
            "FID {} or {}, {} or {}".format(*tower, *bedroom),
            *critics(),
        ],
    ]
    return markdown(["claim", "paper", "ours", "verdict"], rows)


def results() -> str:
    """The whole page below its introduction."""
    return "\n".join(
        [
            "## Verdicts\n",
            verdicts(),
            "## Table 4: mining digits\n",
            table_4(),
            "## Tables 1 and 3: mixtures of two sources\n",
            mixtures(),
            "## Table 1: four sources\n",
            four(),
            "## Ablations\n",
            ablations(),
        ]
    )
