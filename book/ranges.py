"""Where a chapter's numbers must lie: measured over seeds and instruction sets, by one rule, and checked.

    python book/ranges.py smoke                          # every chapter; hours of one core, goes on where it stopped
    python book/ranges.py reader off_manifold_digits     # one chapter at reader tier

Each chapter is run with five seeds under two instruction sets, and twice with an optimiser that does nothing. Then
tests/chapters/ranges.yml gets, for each path that it names, the mean and sd of the runs and the numbers of the
untrained ones. A number is in range if it lies within mean ± K·sd, and a distance, which is above zero and has no
upper bound, if its logarithm does (`scale: log`). To add a number, write its row with the path alone, and the scale.
"""

import argparse
import json
import math
import os
import statistics
import sys
from pathlib import Path

import yaml

from minegan_lite.chapters import runner

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "tests" / "chapters" / "ranges.yml"
RUNS = ROOT / "_build" / "ranges"
# Of ten runs, K sds leave out an eleventh in one case of three thousand
# (Student's t with 9 degrees of freedom, at K / √1.1), were they normal.
K = 6
SEEDS = range(5)
PROCESSORS = {
    "own": {},
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    },
}
UNTRAINED = "untrained"
UNTRAINED_SEEDS = range(2)
# What IPython runs before a chapter's first cell: training goes through every
# step and changes nothing.
STARTUP = "import torch\ntorch.optim.Adam.step = lambda *args: None\n"
HEAD = f"""\
# Where the numbers that a chapter records must lie, by chapter and tier: within mean ± {K}·sd. Written by
# book/ranges.py, but for the choice of the paths (dotted, into the record). n, mean, sd: of runs that differ in seed
# and instruction set, as `runs` says; with `scale: log`, of the numbers' logarithms. untrained: the number of each run
# in which the optimiser did nothing.
# Smoke tier is checked by tests/chapters/test_smoke.py, reader tier by `make chapters` and `make book`.
"""


def table() -> dict:
    """All of ranges.yml: chapter → tier → {runs, rows}."""
    return yaml.safe_load(TABLE.read_text(encoding="utf-8"))


def rows(chapter: str, tier: str) -> list[dict]:
    """What `runner.violations` takes for a chapter at a tier; RuntimeError where the table has nothing on it."""
    known = table().get(chapter, {}).get(tier)
    if not known:
        raise RuntimeError(
            f"{TABLE.name} has no range for {chapter}, tier {tier}"
        )
    return [
        {
            "path": row["path"],
            **dict(zip(("min", "max"), bounds(row), strict=True)),
            "origin": f"{row['n']} runs, {known['runs']}",
        }
        for row in known["rows"]
    ]


def bounds(row: dict, k: float = K) -> tuple[float, float]:
    """Least and largest number that a row of the table lets pass."""
    low, high = row["mean"] - k * row["sd"], row["mean"] + k * row["sd"]
    if row.get("scale") == "log":
        return math.exp(low), math.exp(high)
    return low, high


def number(record: dict, path: str) -> float:
    """What a record has at a dotted path."""
    for key in path.split("."):
        record = record[key]
    return float(record)


def untrained_profile(folder: Path) -> dict[str, str]:
    """The variable under which a kernel trains nothing; `folder` will hold its IPython profile."""
    startup = folder / "profile_default" / "startup"
    startup.mkdir(parents=True, exist_ok=True)
    (startup / "00-untrained.py").write_text(STARTUP)
    return {"IPYTHONDIR": str(folder)}


def run(chapter: str, tier: str, seed: int, processor: str) -> None:
    """One run of a chapter, unless its record is there already."""
    out = RUNS / tier / processor / str(seed) / chapter
    if runner.own_record(chapter, out / "results").is_file():
        return
    print(f"{chapter}, {tier}, seed {seed}, {processor}", flush=True)
    (out / "results").mkdir(parents=True, exist_ok=True)
    variables = (
        untrained_profile(RUNS / UNTRAINED)
        if processor == UNTRAINED
        else PROCESSORS[processor]
    )
    before = os.environ.copy()
    os.environ.update(variables)
    try:
        runner.execute(
            runner.book() / f"{chapter}.ipynb",
            runner.tier(chapter, tier) | {"seed": seed},
            out,
            timeout=1800,
        )
    finally:
        os.environ.clear()
        os.environ.update(before)


def measured(chapter: str, tier: str, wanted: list[dict]) -> dict:
    """The table's entry of a chapter at a tier, from the records that are there; wanted: rows with path and scale."""

    def records(processors: list[str]) -> list[dict]:
        files = [
            file
            for name in processors
            for file in (RUNS / tier / name).glob(
                f"*/{chapter}/results/chapters/{chapter}.json"
            )
        ]
        return [json.loads(f.read_text("utf-8")) for f in sorted(files)]

    trained, untrained = records(list(PROCESSORS)), records([UNTRAINED])
    seeds = sorted({r["provenance"]["seeds"][0] for r in trained})
    (device,) = {r["provenance"]["device_name"] for r in trained}
    entry = {
        "runs": f"seeds {seeds[0]} to {seeds[-1]}, each with and without AVX-512, on {device}",
        "rows": [],
    }
    for row in wanted:
        path, logarithmic = row["path"], row.get("scale") == "log"
        values = [number(record, path) for record in trained]
        if logarithmic:
            values = [math.log(value) for value in values]
        row = {
            "path": path,
            **({"scale": "log"} if logarithmic else {}),
            "n": len(values),
            "mean": _rounded(statistics.fmean(values)),
            "sd": _rounded(statistics.stdev(values)),
        }
        if untrained:
            row["untrained"] = [_rounded(number(r, path)) for r in untrained]
        entry["rows"].append(row)
    return entry


def _rounded(value: float, digits: int = 6) -> float:
    if value == 0 or not math.isfinite(value):
        return value
    return round(value, digits - 1 - math.floor(math.log10(abs(value))))


def write(known: dict) -> None:
    """Writes the table, a row a line."""
    lines = [HEAD]
    for chapter, tiers in sorted(known.items()):
        lines.append(f"{chapter}:\n")
        for tier, entry in tiers.items():
            lines.append(f"  {tier}:\n    runs: {entry['runs']}\n    rows:\n")
            for row in entry["rows"]:
                flow = yaml.safe_dump(
                    row,
                    default_flow_style=True,
                    width=math.inf,
                    sort_keys=False,
                    allow_unicode=True,
                )
                lines.append(f"      - {flow}")
    TABLE.write_text("".join(lines), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("tier", choices=runner.TIERS)
    parser.add_argument(
        "chapters", nargs="*", metavar="CHAPTER", help="default: all"
    )
    options = parser.parse_args()
    known = table()
    for chapter in options.chapters or runner.chapters():
        if options.tier not in known.get(chapter, {}):
            sys.exit(
                f"{TABLE.name} names no path of {chapter} at tier {options.tier}"
            )
        for seed in SEEDS:
            for processor in PROCESSORS:
                run(chapter, options.tier, seed, processor)
        if options.tier == "smoke":
            for seed in UNTRAINED_SEEDS:
                run(chapter, options.tier, seed, UNTRAINED)
        known[chapter][options.tier] = measured(
            chapter, options.tier, known[chapter][options.tier]["rows"]
        )
        write(known)


if __name__ == "__main__":
    main()
