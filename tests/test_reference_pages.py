"""What the reference pages are made of, without building them: made parts, typed options, docstrings as shown."""

import ast
import inspect
import json
import pkgutil
import re
import shutil

import pytest

import minegan_lite
from book import reference
from book._ext import house_docstrings
from minegan_lite import zoo
from minegan_lite.chapters import runner
from minegan_lite.config import PRESETS, Mining, Tuning, resolve

DEFAULTS = {field.name: field.default for field in reference.options()}
OFFICIAL = (runner.book() / "official_code.md").read_text(encoding="utf-8")


def rows(table: str) -> list[list[str]]:
    """The cells of a Markdown table's rows, without its head."""
    return [line.strip("| ").split(" | ") for line in table.strip().split("\n")[2:] if line.startswith("|")]


# --- paper, official code, ours -----------------------------------------------------------------------------------

SPAN = re.compile(r"`(\w+)=([^`]+)`")


def claims(page: str) -> list[tuple[list[str], str, object]]:
    """(presets, option, value) for each `option=value` that the page writes: of which presets it says that.

    A claim's presets stand before it between two semicolons of a cell, "default" being one; none: the option exists.
    """
    found = []
    for line in page.split("\n"):
        for part in re.split(r"[|;]", line) if line.startswith("|") else []:
            presets = [ast.literal_eval(value) for option, value in SPAN.findall(part) if option == "preset"]
            presets += ["default"] if re.search(r"\bdefault\b", part) else []
            for option, value in SPAN.findall(part):
                if option != "preset":
                    found.append((presets, option, ast.literal_eval(value)))
    return found


def refuted(page: str) -> list[str]:
    """The claims of a page that the library does not keep, one line each; UserError for an option that is not there."""
    wrong = []
    for presets, option, value in claims(page):
        resolve(Tuning if option == "generator_lr" else Mining, "default", {option: value})
        for preset in presets:
            real = getattr(resolve(Tuning if option == "generator_lr" else Mining, preset, {}), option)
            if real != value:
                wrong.append(f"the page says {option}={value!r} of {preset}, it is {real!r}")
    return wrong


def test_every_option_on_the_page_on_the_official_code_is_one():
    assert refuted(OFFICIAL) == []
    of = {preset: {option for presets, option, _ in claims(OFFICIAL) if preset in presets} for preset in PRESETS}
    assert of["default"] >= {f.name for f in reference.options()} - {"seed", "log_every", "save_every"}
    for preset, values in PRESETS.items():
        assert of[preset] >= set(values), preset


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ('default: `batch=64`; `preset="paper"`, `preset="official"`: `batch=50`', ["of paper, it is 64"]),
        ("default: `init='paper'`", ["of default, it is 'scale-preserving'"]),
        ("or `hidden=(3, 4)`", []),
    ],
)
def test_a_wrong_claim_is_refuted(cell, told):
    assert [
        line.partition(" of ")[1] + line.partition(" of ")[2] for line in refuted(f"| Item | – | – | {cell} |")
    ] == [f" {line}" for line in told]


@pytest.mark.parametrize("cell", ["`speed=9`", "`batch=0`", '`preset="best"`, `batch=50`'])
def test_an_option_that_is_not_there_is_refused(cell):
    with pytest.raises(minegan_lite.UserError):
        refuted(f"| Item | – | – | {cell} |")


def exists(code: str) -> bool:
    """Whether code that the page names is there: an option, a name of the package, a call with arguments it takes."""
    if call := re.fullmatch(r"(\w+)(\(.+\))", code):
        arguments = {word.arg: word.value for word in ast.parse(code, mode="eval").body.keywords}
        known = {*inspect.signature(getattr(minegan_lite, call[1])).parameters, *DEFAULTS}
        return set(arguments) <= known
    if code in DEFAULTS:
        return True
    try:
        return bool(pkgutil.resolve_name(f"minegan_lite.{code}"))
    except (AttributeError, ImportError):
        return False


def test_what_the_column_ours_names_exists():
    tables = re.findall(r"(?:^\|.*\n)+", OFFICIAL, re.M)
    ours = [cell for table in tables if "| Ours |" in table for *_, cell in rows(table)]
    assert len(ours) > 50
    named = [code for cell in ours for code in re.findall(r"`([^`]+)`", cell) if not SPAN.fullmatch(f"`{code}`")]
    assert [code for code in named if not exists(code)] == []
    assert [cell for cell in ours if "not in the library yet" in cell and "`" in cell] == []
    assert exists("metrics.frechet_distance")
    assert not exists("metrics.inception_score")
    assert not exists("few_shot(digits=9)")


def test_the_table_of_presets_is_the_library():
    lines = rows(reference.presets())
    assert [line[0] for line in lines] == [f"`{field.name}`" for field in reference.options()]
    for name, default, *values in lines:
        assert ast.literal_eval(default.strip("`")) == DEFAULTS[name.strip("`")]
        for preset, value in zip([name for name in PRESETS if PRESETS[name]], values, strict=True):
            if value == "–":
                assert name.strip("`") not in PRESETS[preset]
            else:
                assert ast.literal_eval(value.strip("`")) == PRESETS[preset][name.strip("`")]


# --- model cards --------------------------------------------------------------------------------------------------


def test_every_entry_of_the_zoo_has_its_card():
    page = reference.model_cards()
    names = [*zoo.entries(), *reference.others(zoo.WEIGHTS)]
    assert sorted(names) == sorted(path.stem for path in zoo.WEIGHTS.glob("*.md"))
    assert re.findall(r"^## (.+)$", page, re.M) == names
    assert re.findall(r"^\((.+)\)=$", page, re.M) == [f"card-{name}" for name in names]
    assert not re.search(r"^# ", page, re.M)
    for name, entry in zoo.entries().items():
        card = (zoo.WEIGHTS / entry["card"]).read_text(encoding="utf-8")
        assert card.partition("\n")[2].strip() in page
        (line,) = re.findall(rf"^\| \[`{name}`\]\(#card-{name}\) .+$", page, re.M)
        assert f"| `{entry['sha256'][:8]}` |" in line
        if entry["kind"] != "gan":
            continue
        if entry["architecture"] == "progan":
            nearer = re.search(r"^\| share nearer to a training .+? \| ([\d.]+) \|", card, re.M)[1]
            assert f"| {nearer} |" in line
            continue
        shares = re.search(r"^\| share \| (.+) \|$", card, re.M)[1].split(" | ")
        unseen = sum(float(shares[digit].removesuffix("%")) for digit in set(range(10)) - set(entry["digits"]))
        drawn = {10: "all", 9: f"all but {({*range(10)} - {*entry['digits']} or {0}).pop()}"}
        drawn = drawn.get(len(entry["digits"]), ", ".join(map(str, entry["digits"])))
        assert f"| {drawn}{', by class' if 'cond' in name else ''} |" in line
        assert f"| {unseen:.1f}% |" in line or len(entry["digits"]) == 10


def test_a_new_entry_appears_by_itself(tmp_path):
    entries = zoo.entries()
    entry = entries["mnist-no-9"] | {"sha256": "4" * 64, "card": "mnist-no-4.md", "digits": [0, 1, 2, 3, 5, 6, 7, 8, 9]}
    for old in entries.values():
        shutil.copy(zoo.WEIGHTS / old["card"], tmp_path)
    card = (tmp_path / "mnist-no-9.md").read_text(encoding="utf-8").replace("mnist-no-9", "mnist-no-4")
    (tmp_path / "mnist-no-4.md").write_text(card, encoding="utf-8")
    (tmp_path / "manifest.json").write_text(json.dumps(entries | {"mnist-no-4": entry}))
    page = reference.model_cards(tmp_path)
    share = reference.measured(card)["share"][4]
    assert f"| [`mnist-no-4`](#card-mnist-no-4) | all but 4 | {share} |" in page
    assert "\n## mnist-no-4\n" in page


# --- the library --------------------------------------------------------------------------------------------------


def test_every_module_is_on_the_page_on_the_library():
    package = runner.book().parent / "minegan_lite"
    files = {path.relative_to(package).with_suffix("") for path in package.rglob("*.py")}
    paths = {".".join(path.parts).removesuffix(".__init__") for path in files}
    paths -= {"__init__", *reference.UNDOCUMENTED}
    assert {name.removeprefix("minegan_lite.") for name in reference.public_modules()} == paths
    assert re.findall(r"^\.\. automodule:: (.+)$", reference.modules(), re.M) == list(reference.public_modules())


def test_what_the_package_exports_is_listed_with_its_place():
    listed = [re.match(r"{py:obj}`(\w+) <minegan_lite\.\w[\w.]*>`", row[0])[1] for row in rows(reference.names())]
    assert listed == minegan_lite.__all__
    assert "<minegan_lite.metrics.evaluation.evaluate>" in reference.names()


def shown(docstring: str, *known: str) -> str:
    return "\n".join(house_docstrings.to_rst(docstring.split("\n"), set(known))).strip()


@pytest.mark.parametrize(
    ("docstring", "rst"),
    [
        ("One line\nand another.", "One line and another."),
        ("E[|z|] of `a|b` and x_ and **options\\.", "E[\\|z\\|] of ``a|b`` and x\\_ and \\*\\*options\\\\."),
        ("the `u`s, (`z`).", "the ``u``\\ s, (``z``)."),
        (
            "gan: the source; its critic is\n    copied.\nout: a folder. bar: whether.\nRaises UserError.",
            "``gan``\n   the source; its critic is copied.\n\n``out``\n   a folder.\n\n``bar``\n   whether.\n\n"
            "Raises UserError.",
        ),
        (
            "a, b (both), gan: the first,\nsecond and gan: all.",
            "``a``, ``b`` (both), ``gan``\n   the first, second and gan: all.",
        ),
        (
            "A sentence. It says: nothing.\n\ngan: the source.",
            "A sentence. It says: nothing.\n\n``gan``\n   the source.",
        ),
        (
            'source "mnist" of gan: train\n    from it.\nNothing else.',
            'source "mnist" of ``gan``\n   train from it.\n\nNothing else.',
        ),
        (
            "One\nof::\n\n    gan: *it*\n      more\n\n    gan: the source.\nAn end.",
            "One of::\n\n    gan: *it*\n      more\n\n``gan``\n   the source.\n\nAn end.",
        ),
    ],
    ids=["prose", "markup", "code", "arguments", "several", "paragraphs", "hanging", "literal"],
)
def test_a_docstring_is_shown_as_it_was_meant(docstring, rst):
    assert shown(docstring, "gan", "out", "bar", "a", "b") == rst


# --- glossary -----------------------------------------------------------------------------------------------------


def test_the_glossary_has_the_names_of_the_house():
    text = (runner.book() / "glossary.md").read_text(encoding="utf-8")
    body = text[text.index("```{glossary}") : text.index("## References")]
    terms = re.findall(r"^(?!:|`)(\S.*)$", body, re.M)
    assert len(terms) == len({term.lower() for term in terms}) > 40
    assert {"Generator", "Critic", "Latent", "Prior", "Miner", "Selector", "Supersample", "Target", "Held-out"} <= set(
        terms
    )
    assert {"Source", "Off-manifold", "Floor", "Tier", "Ledger", "Coverage", "Fréchet distance"} <= set(terms)
