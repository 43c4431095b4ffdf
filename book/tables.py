"""The results page's tables, made from the ledger at every build: the paper's numbers, ours over seeds, a verdict.

What the ledger does not hold is *pending*; nothing here is typed but the paper's numbers, in `minegan_lite.chapters.paper`.
"""

from minegan_lite.chapters import ledger, paper
from minegan_lite.chapters import verdicts as judging

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
    """Mean, sd and seeds of a number over the recorded runs name/seed…, None while there are none."""
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
        name = "table4/{}-{}-".format(*which)
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
            run = f"ratio/{share}-{objective}"
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
        recorded = ledger.series(f"four/{digit}")
        names = recorded[0]["numbers"]["probabilities"] if recorded else []
        p = [
            f"{name.removeprefix('mnist-only-')}: "
            + told(over(f"four/{digit}", "probabilities", name), ".2f", False)
            for name in names
        ]
        error = over(f"four/{digit}", "classifier_error", "value")
        rows.append([str(digit), "; ".join(p) or PENDING, told(error, ".1%")])
    return markdown(["target", "p by the source's digits", "error"], rows)


def ablations() -> str:
    """Depth, start and critic, around the off-manifold nine."""
    base = "table4/off-unconditional-9"
    which = {
        "as Table 4: two layers, our start, pretrained critic": base,
        **{f"layers: {n}": f"depth/{n}" for n in (1, 3, 4, 5)},
        "start: the paper's": "init/paper",
        "conditional source": "table4/off-conditional-9",
        "conditional source, 3000 steps": "longer/off-conditional-9",
        "critic: fresh weights": "critic/fresh",
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


# --- verdicts -----------------------------------------------------------------

# The claims that the tables below are about.
CLAIMS = (
    "off-manifold-digits",
    "off-manifold-nine",
    "table4-conditional",
    "off-is-harder",
    "table1-mixture",
    "table3-mean",
    "fig9-depth",
    "critic-start",
)


def quoted(claim: dict) -> str:
    """The paper's number, or why there is none."""
    if "no_number" in claim:
        return f"– ({claim['no_number']})"
    means = {
        name: f"{value:.1%}" if name.endswith("error") else f"{value:.1f}"
        for name, value in judging.constants().items()
    }
    milliseconds = paper.TABLE_2_MS
    ours = milliseconds["MineGAN"]
    return claim["paper"].format(
        p=paper,
        cars=", ".join(f"{p:.2f}" for p in paper.TABLE_1_CARS.values()),
        five=f"{paper.TABLE_4['off', 'unconditional'][5][1]}%",
        nine=f"{paper.TABLE_4['off', 'unconditional'][9][1]}%",
        times_dgn_am=f"{milliseconds['DGN-AM'] / ours:.0f}",
        times_ppgn=f"{milliseconds['PPGN'] / ours:.0f}",
        **means,
    )


def cell(claim: dict, found: judging.Outcome) -> str:
    """A verdict with its scale and recipe, where something was compared."""
    by = f"<br>({claim['by']})" if "by" in claim and found.found else ""
    return f"**{found.verdict}**{by}"


def verdicts() -> str:
    """The claims of the tables below, and what became of them."""
    claims, outcomes = judging.claims(), judging.outcomes()
    rows = [
        [
            claims[name]["claim"],
            quoted(claims[name]),
            "<br>".join(outcomes[name].found) or PENDING,
            cell(claims[name], outcomes[name]),
        ]
        for name in CLAIMS
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
