"""Prose cannot lie: no result is typed, and what the committed chapters say is what the ledger says.

Three nets. (1) Typed text, in pages and in Markdown cells, holds no number that looks like a result: a percentage, a
decimal number, anything with ±, or a number soon after the name of a measure. Set-up constants are listed below, each
with what it is; a paper's number may stand beside its table. (2) What a cell said that needs nothing but the ledger is
said again, from today's ledger, and compared. (3) What a cell said of its own run is in the chapter's own record.
"""

import ast
import copy
import inspect
import json
import re

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

from minegan_lite.chapters import ledger, paper, runner

ROOT = runner.book().parent
PAGES = sorted([*runner.book().glob("*.md"), *runner.book().glob("*.ipynb"), *ROOT.glob("*.md")])

# --- typed --------------------------------------------------------------------------------------------------------

SETTINGS = "a setting of one of the three texts that the page compares"
# Numbers of a page that look like results and are none: number → what it is.
ALLOWED = {
    "baselines.ipynb": {"95": "the confidence of an interval", "4.303": "Student's t for two degrees of freedom"},
    "claims.md": {"95": "the confidence of the rule"},
    "faces.ipynb": {"95": "the confidence of an interval"},
    "glossary.md": {"0": "the error of repeating one good digit", "95": "the confidence of an interval"},
    "latent_spaces.ipynb": {
        "50": "two that cannot be told apart",
        "3": "a score, as an example of one",
        "11.3": "the square root of 128",
    },
    "off_manifold_digits.ipynb": {
        "95": "the confidence of an interval",
        "0.01": "supplement A: how small the paper's first weights are",
    },
    "measuring.ipynb": {
        "0": "the error of repeating one good digit",
        "0.05": "the level of a test",
        "0.9": "a rule of thumb, which an exercise derives",
        "95": "the confidence of an interval",
    },
    "official_code.md": dict.fromkeys(
        ("0.002", "0.01", "0.5", "0.9", "0.99", "0.999", "1.5e-3", "1e-4", "1e-6", "1e-8", "2e-4", "4e-4"), SETTINGS
    )
    | {"71.6": "a size, counted in the official code"},
    "README.md": {"9.2": "a size, of two files that are in the repository"},
    "second_stage.ipynb": {"1": "the score of a perfect copy, by definition"},
    "several_gans.ipynb": {"0.3": "an exercise's premise"},
    "two_dimensions.ipynb": {"0.1": "a setting, the penalty's weight"},
}

FENCE = re.compile(r"^(`{3,})([^\n]*)\n(.*?)^\1[ ]*$", re.M | re.S)
NOT_PROSE = re.compile(
    r"`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]+\$|\]\([^)]*\)|https?://\S+|^\[[^]\n]+\]:[^\n]*|^#[^\n]*", re.M | re.S
)
PLACE = re.compile(
    r"\b(?:Sec|Fig|Eq|Table|[Ss]upplement|footnote)s?\b\.? *[A-Z]?\d[\d., ]*(?:and \d[\d.]*)?"
    r"|\b(?:Python|PyTorch|CC BY(?:-SA)?) *\(?\d[\d., ]*(?:(?:to|or|and) \d[\d.]*)?"
)
NUMBER = r"(?>(?<![\w./^-])\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?)"
MEASURE = (
    r"\b(?:errors?|distances?|FIDs?|KMMD|MV|coverage|copying|confidence|floors?|precision|recall|accuracy|scores?)\b"
)
RESULT = re.compile(
    rf"({NUMBER})(?=\s?%| per ?cent|\s?±)|±\s?({NUMBER})|((?<![\w./^-])\d+(?:\.\d+(?:e-?\d+)?|e-?\d+))"
    rf"|{MEASURE}[^.;:|()\n\d]{{0,40}}?({NUMBER})(?!-|\s+(?:images|samples|seeds|steps)\b)",
    re.I,
)
OF_A_PAPER = re.compile(r"\bpapers?\b|\bTable \d|\bFig\. \d|[Ss]upplement")


def numbers_of(value) -> set[float]:
    """Every number in nested dicts, lists and tuples; the keys that are numbers, too."""
    if isinstance(value, dict):
        return set().union(*map(numbers_of, value), *map(numbers_of, value.values()))
    if isinstance(value, list | tuple):
        return set().union(*map(numbers_of, value))
    if isinstance(value, str):
        return {float(value)} if re.fullmatch(r"\d+(\.\d+)?", value) else set()
    return {float(value)} if isinstance(value, int | float) and not isinstance(value, bool) else set()


THEIRS = numbers_of([value for name, value in vars(paper).items() if name.isupper()])


def typed(text: str) -> list[str]:
    """The numbers of a text that look like results and are no paper's, quoted with where it says so."""
    found = []
    without_code = FENCE.sub(lambda fence: fence[3] if fence[2].startswith("{") else "", text)  # a directive has text
    for part in re.split(r"\n\s*\n|\|\s*\n", NOT_PROSE.sub(" ", without_code)):
        quoted = OF_A_PAPER.search(part)
        for match in RESULT.finditer(PLACE.sub(" ", part)):
            number = next(filter(None, match.groups()))
            if not (quoted and float(number.replace(",", "")) in THEIRS):
                found.append(number)
    return found


def prose(page) -> str:
    """What is typed on a page that is no code."""
    if page.suffix == ".md":
        return page.read_text(encoding="utf-8")
    return "\n\n".join(c.source for c in nbformat.read(page, as_version=4).cells if c.cell_type == "markdown")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_result_is_typed(page):
    found, allowed = typed(prose(page)), ALLOWED.get(page.name, {})
    assert [number for number in found if number not in allowed] == []
    assert [number for number in allowed if number not in found] == [], "allowed, and not there any more"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The error is 6% there.", ["6"]),
        ("An error of 5.7 % ± 0.8 %.", ["5.7", "0.8"]),
        ("It is 52 ± 5 now.", ["52", "5"]),
        ("The Fréchet distance to held-out nines fell to 42.", ["42"]),
        ("It fell to 0.034.", ["0.034"]),
        ("coverage | 0.86 |", ["0.86"]),
        ("We get 7.4 %.", ["7.4"]),
        ("The paper's Table 4 has 7.4 %.", []),
        ("The paper's Table 4 has 7.45 %.", ["7.45"]),
        ("Table 4 of the paper.\n\nOurs is 7.4 %.", ["7.4"]),
        ("```{note}\nThe error is 6%.\n```\n\nNo, 7%.\n\n```{note}\n```", ["6", "7"]),
        ("Sec. 3.2, 3.4 and Fig. 5, Eq. 3 and 4, supplement D.", []),
        ("`mix={0: 0.3}` and $0.01^2$ and [a](b_0.5.md)\n```python\nx = 0.5\n\ny = 0.6\n```", []),
        ("With Python 3.11, 3.12 or 3.13, 1000 images and 600 steps; CC BY 4.0.", []),
        ("An error over 10,000 samples, MNIST's digits 0 to 9.", []),
    ],
)
def test_what_looks_like_a_result(text, found):
    assert typed(text) == found


# --- said from the ledger -----------------------------------------------------------------------------------------

# nothing that trains or measures; data may be imported
OFFERED = {"ledger", "paper", "verdicts", "zoo", "Markdown", "pairwise"}


class OfTheRunError(Exception):
    """The cell tells of the chapter's own run."""


class Withheld:
    """Stands for everything else that a chapter imports."""

    def __getattr__(self, name):
        raise OfTheRunError(name)

    def __call__(self, *args, **kwargs):
        raise OfTheRunError


def owner(node) -> str | None:
    """x of x.y, x[0].y, …"""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def binds(statement) -> set[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {alias.asname or alias.name.partition(".")[0] for alias in statement.names}
    return {n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def changes(statement) -> set[str | None]:
    """Names whose value it changes in place: an item, an attribute, a method called for its effect."""
    found = set()
    for node in ast.walk(statement):
        if isinstance(node, ast.Attribute | ast.Subscript) and isinstance(node.ctx, ast.Store):
            found.add(owner(node))
        elif (
            isinstance(node, ast.Expr)
            and isinstance(call := node.value, ast.Call)
            and not isinstance(call.func, ast.Name)
        ):
            found.add(owner(call.func))
    return found


def by_need(statements: list, before: list, names: dict) -> None:
    """Execute statements and, of those before, only what defines or changes a name that turns out to be missing."""
    while True:
        try:
            exec(compile(ast.Module(statements, []), "<cell>", "exec"), names)
            return
        except NameError as error:
            missing = error.name
            last = max((i for i, one in enumerate(before) if missing in binds(one)), default=None)
            if last is None:
                raise
            by_need([before[last]], before[:last], names)
            if isinstance(before[last], ast.Import | ast.ImportFrom):
                for name in binds(before[last]) - OFFERED:
                    if callable(names[name]) or inspect.ismodule(names[name]):
                        names[name] = names["__show__"] if name == "display" else Withheld()
            for i in range(last + 1, len(before)):
                if missing in changes(before[i]):
                    by_need([before[i]], before[:i], names)
            names["__said__"].clear()


def statements(cell) -> list:
    return ast.parse(TransformerManager().transform_cell(cell.source)).body


def stored(cell) -> list[str]:
    """What a cell displayed as Markdown."""
    kept = [output.get("data", {}).get("text/markdown") for output in cell.get("outputs", [])]
    return [text for text in kept if text]


def said_now(notebook) -> list[tuple]:
    """(cell, what it said, what it says by today's ledger) for each cell that said something; None for its own run."""
    found, before = [], []
    for cell in (c for c in notebook.cells if c.cell_type == "code"):
        if stored(cell):
            said = []
            names = {"__said__": said, "__show__": lambda text, said=said: said.append(text.data)}
            try:
                by_need(statements(cell), before, names)
                found.append((cell, stored(cell), said))
            except OfTheRunError:
                found.append((cell, stored(cell), None))
        before += statements(cell)
    return found


@pytest.fixture
def shipped(monkeypatch):
    """The ledger of the checkout, which nothing may write to."""

    def refuse(*args, **kwargs):
        raise OfTheRunError

    monkeypatch.delenv("MINEGAN_RESULTS", raising=False)
    monkeypatch.setattr(ledger, "record", refuse)


def committed(chapter: str):
    return nbformat.read(runner.book() / f"{chapter}.ipynb", as_version=4)


# --- said of the chapter's own run --------------------------------------------------------------------------------

# What a chapter computes from its run and does not record: a ratio of what it does, a count, a place of a maximum.
NOT_RECORDED = {
    "latent_spaces": [
        r"at step \d+ and",
        r"(?<=%) at \d+",
        r"differ from each other by [\d.]+",
        r"strongest direction it is [\d.]+, along the weakest [\d.]+",
        r"mean confidence of [\d., ]+\d",
        r"the best fifth holds [\d.]+ times as many of the digit \d as all samples do, and [\d.]+ times as many of the "
        r"digit \d",
    ],
    "measuring": [r"features digit-classifier\S+", r"-?\d+ \(at n = \d+: \d+\)", r"(?<=p ≤ )0\.05"],
    "off_manifold_digits": [r"The mean of the latents moved by .*", r"The first direction is stretched .*"],
    "several_gans": [r"\*target\* .*"],
    "two_dimensions": [
        r"which is [\d,]+ times its floor",
        r"in the targeted prior [\d.]+",
        r"ends at [\d.]+ times",
        r"the target is [\d,]+ times as dense",
        r"one in [\d,]+ is",
    ],
}
TOLD = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?%?")


def rounds_to(value: float, text: str) -> bool:
    """Whether a number is written as `text`, which says to how many digits, and whether in percent."""
    text, share = text.replace(",", "").rstrip("%"), text.endswith("%")
    value = 100 * value if share else value
    places = 0 if "e" in text else len(text.partition(".")[2])
    return text in (f"{value:.{places}f}", f"{value:.2g}")


def unrecorded(chapter: str, cell, record: dict) -> list[str]:
    """The numbers that a cell told of its run and that no number of the record, nor of the cell's code, rounds to."""
    known = numbers_of(
        [record["numbers"], record["settings"], record["provenance"]["n"], record["provenance"]["seeds"]]
    )
    known |= numbers_of([n.value for one in statements(cell) for n in ast.walk(one) if isinstance(n, ast.Constant)])
    known |= numbers_of(re.findall(r"\d+(?:\.\d+)?", cell.source))
    text = "\n".join(stored(cell))
    for pattern in NOT_RECORDED.get(chapter, []):
        text = re.sub(pattern, " ", text)
    return [number for number in TOLD.findall(text) if not any(rounds_to(value, number) for value in known)]


def lies(chapter: str, notebook) -> list[str]:
    """What a chapter said that the ledger does not, one line each."""
    told, found = said_now(notebook), []
    record = ledger.read(f"chapters/{chapter}") if told else {}
    for cell, said, now in told:
        where = f"{chapter}, cell {cell.execution_count}"
        if now is None:
            found += [f"{where} told {number}, which is not recorded" for number in unrecorded(chapter, cell, record)]
        elif now != said:
            found.append(f"{where} is out of date, run `python book/build.py chapters {chapter}`: it would say {now}")
    return found


@pytest.mark.parametrize("chapter", runner.chapters())
def test_a_chapter_says_what_the_ledger_says(chapter, shipped):
    assert lies(chapter, committed(chapter)) == []


def test_most_numbers_come_from_the_ledger_and_exceptions_are_there(shipped):
    told = {chapter: said_now(committed(chapter)) for chapter in runner.chapters()}
    remade = [now for cells in told.values() for *_, now in cells if now is not None]
    assert len(remade) >= 15
    for chapter, patterns in NOT_RECORDED.items():
        text = "\n".join(part for _, said, now in told[chapter] if now is None for part in said)
        assert [pattern for pattern in patterns if not re.search(pattern, text)] == []


# The nets themselves: a copy of a chapter that is changed in one place, and a ledger that is.

CHAPTER = "ablations"
_ROAD = json.loads((runner.book() / "results" / "chapters" / f"{CHAPTER}.json").read_text(encoding="utf-8"))
OWN = f"{_ROAD['numbers']['road']['ours']:.1%}"  # a number of its own that its prose tells


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("0.851 ± 0.004", "0.861 ± 0.004", "out of date"),
        (OWN, "99.9%", "told 99.9%"),
        ("**inconclusive**", "**holds**", "out of"),
    ],
)
def test_a_changed_output_is_seen(old, new, told, shipped):
    notebook = copy.deepcopy(committed(CHAPTER))
    texts = [output.data for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]
    (text,) = [data for data in texts if old in data.get("text/markdown", "")]
    text["text/markdown"] = text["text/markdown"].replace(old, new)
    (line,) = lies(CHAPTER, notebook)
    assert told in line


def copied(name: str, folder, change) -> None:
    """Puts a changed copy of a shipped result into a reader's own folder."""
    result = json.loads((runner.book() / "results" / f"{name}.json").read_text(encoding="utf-8"))
    change(result["numbers"])
    path = folder / f"{name}.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(result))


def test_a_changed_run_is_seen(shipped, tmp_path, monkeypatch):
    def change(numbers):
        numbers["classifier_error"]["value"] += 0.02

    copied("init/paper/seed0", tmp_path, change)
    monkeypatch.setenv("MINEGAN_RESULTS", str(tmp_path))
    told = lies(CHAPTER, committed(CHAPTER))
    assert len(told) == 2  # the table and the finding
    assert all("out of date" in line for line in told)


def test_a_changed_record_is_seen(shipped, tmp_path, monkeypatch):
    def change(numbers):
        numbers["road"]["ours"] += 0.02

    copied(f"chapters/{CHAPTER}", tmp_path, change)
    monkeypatch.setenv("MINEGAN_RESULTS", str(tmp_path))
    assert [line.partition(" told ")[2] for line in lies(CHAPTER, committed(CHAPTER))] == [
        f"{OWN}, which is not recorded"
    ]


@pytest.mark.parametrize(
    ("value", "text", "same"),
    [
        (0.0834, "8.3%", True),
        (0.0834, "8.4%", False),
        (12345.6, "12,346", True),
        (6.3e-05, "6.3e-05", True),
        (-0.004, "-0.00", True),
        (0.86, "0.9", True),
        (0.84, "0.9", False),
    ],
)
def test_a_number_is_compared_at_the_precision_that_it_was_told_with(value, text, same):
    assert rounds_to(value, text) == same
