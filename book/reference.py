"""The parts of the reference pages that are made from the library, so that they cannot go stale.

`build.py` has them written into `_made/` beside the copied pages, which include them.
"""

import hashlib
import importlib
import inspect
import pkgutil
import re
from dataclasses import Field, fields
from pathlib import Path

import minegan_lite
from book import public_checkpoints
from book.claims import claims
from book.tables import results
from minegan_lite import zoo
from minegan_lite.config import PRESETS, Mining, Tuning

# The way of a sample. A module that is not named here comes after those that are.
# fmt: off
ORDER = [
    "gan", "miner", "selector", "losses", "supersample", "training", "config", "mined", "critics", "runs", "files", "nn", "probe",
    "data", "networks", "checkpoints", "transfer", "metrics",
    "zoo", "sources", "progress", "errors", "locks", "terminal", "shown", "doctor", "chapters",
]
# fmt: on
UNDOCUMENTED = {
    "cli",
    "cli_checkpoints",
    "cli_options",
    "cli_runs",
}  # its --help is the reference


def write(folder: Path) -> None:
    """Writes every part as a file of its name into `folder`."""
    folder.mkdir()
    own = (presets, model_cards, names, modules, results, claims)
    for part in (*own, *public_checkpoints.PARTS):
        (folder / f"{part.__name__}.md").write_text(part(), encoding="utf-8")


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return (
        "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"
    )


def options() -> list[Field]:
    """What mine() and finetune() take, each once."""
    both = {
        field.name: field
        for kind in (Mining, Tuning)
        for field in fields(kind)
    }
    return list(both.values())


def presets() -> str:
    """What each preset of `mine` and `finetune` sets, beside the defaults."""
    others = [name for name in PRESETS if PRESETS[name]]

    def cell(preset: str, option: str) -> str:
        values = PRESETS[preset]
        return f"`{values[option]!r}`" if option in values else "–"

    return table(
        ["Option", "default", *(f'`preset="{name}"`' for name in others)],
        [
            [
                f"`{field.name}`",
                f"`{field.default!r}`",
                *(cell(name, field.name) for name in others),
            ]
            for field in options()
        ],
    )


def measured(card: str) -> dict[str, list[str]]:
    """What the tables of a model card say: a row's first cell → the others."""
    rows = re.findall(r"^\| ([^|]+) \| (.+) \|$", card, re.M)
    return {name: values.split(" | ") for name, values in rows}


def unbroken(text: str) -> str:
    """Text that a narrow column must not wrap."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def gan_row(entry: dict, card: str) -> list[str]:
    """Digits, what it draws of those it was not trained on, and the Fréchet distance with its floor."""
    told = measured(card)
    unseen = [digit for digit in range(10) if digit not in entry["digits"]]
    digits = "all" if not unseen else f"all but {unseen[0]}"
    if len(unseen) > 1:
        digits = ", ".join(map(str, entry["digits"]))
    share = sum(float(told["share"][d].removesuffix("%")) for d in unseen)
    return [
        digits + (", by class" if "classes" in entry["config"] else ""),
        f"{share:.1f}%" if unseen else "–",
        *map(unbroken, told["Fréchet distance"]),
    ]


def source_row(entry: dict, card: str) -> list[str]:
    """What it draws, and the share of samples nearer to training pictures."""
    drawn = re.search(r"GAN that draws (.+?):\s", card)[1]
    near = "share nearer to a training than to a held-out picture"
    return [unbroken(drawn), measured(card)[near][0]]


def classifier_row(entry: dict, card: str) -> list[str]:
    """Its accuracy, and on how many digits."""
    accuracy, n = re.search(
        r"accuracy ([\d.]+) on the ([\d,]+) test digits", card
    ).groups()
    return [f"{float(accuracy):.2%} of {n}"]


def critic_row(entry: dict, card: str) -> list[str]:
    """How well it tells held-out pictures from samples."""
    (area,) = re.search(r"samples \(seed\s1\) is ([\d.]+);", card).groups()
    return [area]


def miner_row(entry: dict, card: str) -> list[str]:
    """What it mines, and the KID of what it draws."""
    what, kid = re.search(
        r"\*\*What it is\.\*\* The miner that takes\s([^.]+)\..* KID \(Lite0\) ([\d.]+)",
        card,
        re.S,
    ).groups()
    return [" ".join(what.split()), kid]


def other_row(entry: dict, card: str) -> list[str]:
    """What the first sentence of its card says."""
    (what,) = re.search(
        r"\*\*What it is\.\*\*\s(.+?)[.:,]\s", card, re.S
    ).groups()
    return [" ".join(what.split())]


def kind_of(entry: dict) -> str:
    """The table that an entry of the manifest is listed in."""
    natural = entry["kind"] == "gan" and entry["architecture"] != "mnist"
    return "source" if natural else entry["kind"]


def others(folder: Path) -> dict[str, dict]:
    """The weights in a folder that are parts of something else and not of the manifest, as the manifest has entries."""
    listed = {entry["card"] for entry in zoo.entries(folder).values()}
    files = {
        card: card.with_suffix(".safetensors")
        for card in sorted(folder.glob("*.md"))
        if card.name not in listed
    }
    return {
        card.stem: {
            "kind": "other",
            "architecture": "",
            "card": card.name,
            "bytes": file.stat().st_size,
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        }
        for card, file in files.items()
    }


def model_cards(folder: Path = zoo.WEIGHTS) -> str:
    """Tables of what lies in a folder of weights, kind by kind, and every card as a section."""
    row = {
        "gan": gan_row,
        "source": source_row,
        "critic": critic_row,
        "miner": miner_row,
        "classifier": classifier_row,
        "other": other_row,
    }
    rows, cards = {kind: [] for kind in row}, []
    for name, entry in (zoo.entries(folder) | others(folder)).items():
        card = (folder / entry["card"]).read_text(encoding="utf-8")
        kind = kind_of(entry)
        rows[kind].append(
            [
                f"[`{name}`](#card-{name})",
                *row[kind](entry, card),
                f"{entry['bytes'] / 1e6:.2f}",
                f"`{entry['sha256'][:8]}`",
            ]
        )
        body = card.removeprefix(f"# {name}\n").strip()
        cards.append(f"(card-{name})=\n## {name}\n\n{body}\n")
    file = ["MB", "sha256 …"]
    gan = [
        "Digits",
        "Share of the unseen",
        "Fréchet distance",
        "Its floor",
    ]
    source = ["Draws", "Nearer to training (chance: 0.5)"]
    judge = ["Right on MNIST's test digits"]
    tables = [
        table(["GAN", *gan, *file], rows["gan"]),
        table(["GAN of natural images", *source, *file], rows["source"]),
        table(["Critic", "Area under its curve", *file], rows["critic"]),
        table(["Classifier", *judge, *file], rows["classifier"]),
        table(
            ["Part of another network", "What it is", *file], rows["other"]
        ),
    ]
    if rows["miner"]:
        header = ["Miner of a recorded run", "From → to", "KID (Lite0)"]
        tables.insert(3, table([*header, *file], rows["miner"]))
    return "\n".join([*tables, *cards])


def summary(thing: object) -> str:
    """The first paragraph of a docstring, on one line."""
    return " ".join(inspect.getdoc(thing).partition("\n\n")[0].split())


def names() -> str:
    """What `minegan_lite` exports, each with a link to its place on the page."""

    def row(name: str) -> list[str]:
        thing = getattr(minegan_lite, name)
        place = thing.__name__
        if not inspect.ismodule(thing):
            place = f"{thing.__module__}.{thing.__qualname__}"
        what = summary(thing).replace("|", r"\|")
        return [f"{{py:obj}}`{name} <{place}>`", what]

    return table(["Name", "What it is"], list(map(row, minegan_lite.__all__)))


def public_modules() -> dict[str, bool]:
    """Every documented module by its full name, in the order of the page, and whether it is a package."""
    found = {
        module.name: module.ispkg
        for module in pkgutil.walk_packages(
            minegan_lite.__path__, "minegan_lite."
        )
        if module.name.split(".")[1] not in UNDOCUMENTED
    }

    def place(name: str) -> tuple:
        part = name.split(".")[1]
        return ORDER.index(part) if part in ORDER else len(ORDER), name

    return {name: found[name] for name in sorted(found, key=place)}


def gathers(name: str) -> bool:
    """Whether a package lists names of its parts as its own."""
    return hasattr(importlib.import_module(name), "__all__")


def modules() -> str:
    """A section for each public module, which autodoc fills; a package says what its parts have in common.

    One that lists what it takes from its parts, in `__all__`, shows nothing else: they are shown where they are.
    """
    return "\n".join(
        f"## {name.removeprefix('minegan_lite.')}\n\n```{{eval-rst}}\n.. automodule:: {name}\n"
        + ("   :no-members:\n" if package and gathers(name) else "")
        + "```\n"
        for name, package in public_modules().items()
    )
