"""The claim ledger as a page: each claim of `claims.yml` beside what became of it, made at every build."""

from collections import Counter
from statistics import fmean

from book import tables
from minegan_lite.chapters import verdicts
from minegan_lite.chapters.verdicts import VERDICTS, Number, Outcome

RESULTS = (
    "https://github.com/minegan-lite/minegan-lite/blob/main/book/results"
)


def link(name: str) -> str:
    """A link to a claim of this page."""
    return f'<a href="#claim-{name}">{name}</a>'


def span(values: list, as_: str) -> str:
    """From the least to the greatest, or the one that they are."""
    ends = format(min(values), as_), format(max(values), as_)
    return "–".join(dict.fromkeys(ends))


def counted(numbers: tuple[Number, ...]) -> str:
    """Over how many seeds, and how many samples were judged at a time."""
    recorded = [n for n in numbers if n.rows]
    if not recorded:
        return ""
    samples = [row["n"] for n in recorded for row in n.rows.values()]
    seeds = [len(n.values) for n in recorded]
    return f"seeds: {span(seeds, 'd')}; n = {span(samples, ',')}"


def floor(numbers: tuple[Number, ...], as_: str) -> str:
    """Real against real, the mean over the seeds of each number that has it."""
    means = [
        fmean(row["floor"] for row in n.rows.values())
        for n in numbers
        if n.rows and all("floor" in row for row in n.rows.values())
    ]
    return span(means, as_) if means else "–"


def runs(claim: dict, numbers: tuple[Number, ...]) -> str:
    """Every recorded run that the verdict stands on, by seed, and the chapter."""
    series = {n.series: n.rows for n in numbers if n.rows}
    parts = [
        f"{name}: "
        + " ".join(f"[{s}]({RESULTS}/{name}/seed{s}.json)" for s in seeds)
        for name, seeds in series.items()
    ]
    if "chapter" in claim:
        parts.append(f"{{doc}}`{claim['chapter']}`")
    return "<br>".join(parts) or "–"


def row(claim: dict, found: Outcome) -> list[str]:
    """The cells of a claim."""
    name = claim["id"]
    if "every" in claim:
        setting = "sums up " + ", ".join(map(link, claim["every"]))
    else:
        setting = claim.get("setting") or claim["untested"]
    note = f"({claim['note']})" if "note" in claim else ""
    ours = [f"*{setting}*", *found.found, counted(found.numbers), note]
    return [
        f'<span id="claim-{name}"></span>{claim["claim"]}'
        f"<br><small>{claim['source']} · {link(name)}</small>",
        tables.quoted(claim),
        "<br>".join(filter(None, ours)),
        floor(found.numbers, claim.get("as", ".1f")),
        tables.cell(claim, found),
        runs(claim, found.numbers),
    ]


def summary(groups: list[dict], found: dict[str, Outcome]) -> str:
    """How many claims have which verdict, in all and by heading."""
    counts = {
        group["heading"]: Counter(
            found[claim["id"]].verdict for claim in group["claims"]
        )
        for group in groups
    }
    total = sum(counts.values(), Counter())
    told = ", ".join(
        f"{verdict}: **{total[verdict]}**" for verdict in VERDICTS
    )
    rows = [
        [heading, *(str(count[verdict] or "–") for verdict in VERDICTS)]
        for heading, count in counts.items()
    ]
    return f"Of {total.total()} claims, {told}.\n\n" + tables.markdown(
        ["claims", *VERDICTS], rows
    )


def claims() -> str:
    """The whole page below its introduction."""
    groups, found = verdicts.sections(), verdicts.outcomes()
    header = ["claim", "paper", "ours", "floor", "verdict", "runs"]
    parts = [summary(groups, found)]
    for group in groups:
        rows = [row(claim, found[claim["id"]]) for claim in group["claims"]]
        table = tables.markdown(header, rows)
        parts.append(
            f"## {group['heading']}\n\nFrom {{cite:t}}`{group['text']}`.\n\n"
            f":::{{table}}\n:class: claims\n\n{table}:::\n"
        )
    return "\n".join(parts)
