"""The committed notebooks: a lint of what they hold, and nbval on a copy with smoke parameters and stored outputs."""

import copy
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import papermill
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from papermill.iorw import load_notebook_node

import minegan_lite
from minegan_lite.chapters import runner
from tests.chapters import brought

CHAPTERS = runner.chapters()
CHECKED = "nbval-check-output"
REPOSITORY = yaml.safe_load((runner.book().parent / "_config.yml").read_text(encoding="utf-8"))["repository"]
PRIVATE = re.compile(r"/(?:home|root|tmp|work|Users|private|content)/\w|[A-Z]:\\\\|\b0x[0-9a-f]{6,}")


def committed(chapter: str):
    return nbformat.read(runner.book() / f"{chapter}.ipynb", as_version=4)


def texts(cell) -> str:
    """All text that a cell's outputs hold."""
    parts = []
    for output in cell.outputs:
        parts.append(output.get("text", ""))
        parts += [str(value) for kind, value in output.get("data", {}).items() if kind.startswith("text/")]
    return "".join(parts)


def lint(notebook, chapter: str) -> list[str]:
    """What is wrong with a committed chapter, one line each."""
    found = []
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    prose = [cell for cell in notebook.cells if cell.cell_type == "markdown"]

    if runner.clean(copy.deepcopy(notebook)) != notebook:
        found.append("outputs were not written by `make chapters`")
    if [cell.execution_count for cell in code] != list(range(1, len(code) + 1)):
        found.append("the cells did not run once each, from top to bottom")
    if runner.tagged(notebook, "injected-parameters"):
        found.append("injected parameters were committed")
    elif runner.parameters(notebook) != runner.tier(chapter, "reader"):
        found.append("the parameters cell differs from the reader tier")

    checked = runner.tagged(notebook, CHECKED)
    if len(checked) < 3:
        found.append(f"{len(checked)} cells are tagged {CHECKED}: at least 3")
    found += [f"a checked cell has no stored text: {c.source[:40]!r}" for c in checked if not texts(c).strip()]

    for cell in code:
        where = f"cell {cell.execution_count}"
        if any(output.get("name") == "stderr" for output in cell.outputs):
            found.append(f"{where} stores stderr")
        errors = any(output.output_type == "error" for output in cell.outputs)
        if errors and "raises-exception" not in cell.metadata.get("tags", []):
            found.append(f"{where} stores an error")
        images = sum(kind.startswith("image/") for o in cell.outputs for kind in o.get("data", {}))
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        if images and not alt.strip():
            found.append(f"{where} shows an image without metadata mystnb.image.alt")
        if images > 1:
            found.append(f"{where} shows {images} images: one for each alt text")
    for cell in notebook.cells:
        if match := PRIVATE.search(cell.source + (texts(cell) if cell.cell_type == "code" else "")):
            found.append(f"a path or an address of one machine: {match.group()}")
    for cell in prose:
        images = re.findall(r"!\[(.*?)\]\(", cell.source)
        images += [re.sub(r'.*\balt="([^"]*)".*|.*', r"\1", tag) for tag in re.findall(r"<img\b[^>]*>", cell.source)]
        directives = re.findall(r"^[`:]{3,}\{(?:image|figure)\}(.*?)^[`:]{3,}", cell.source, re.M | re.S)
        images += [" ".join(re.findall(r"^:alt:[ ]*(.*)$", text, re.M)) for text in directives]
        if not all(alt.strip() for alt in images):
            found.append(f"an image without alt text: {cell.source[:40]!r}")

    url, folder, branch = REPOSITORY["url"], REPOSITORY["path_to_book"], REPOSITORY["branch"]
    install = f'%pip install -q "minegan-lite @ git+{url}@{minegan_lite.REFERENCE}"'
    first = code[0].source if code else ""
    if not re.match(r"try:\n    import minegan_lite\b.*\nexcept ImportError:\n", first) or install not in first:
        found.append(f"the first code cell is not: try the import, else {install} (minegan_lite.REFERENCE)")
    colab = f"https://colab.research.google.com/github/{url.partition('github.com/')[2]}/blob/{branch}/{folder}"
    if not any(f"]({colab}/{chapter}.ipynb)" in cell.source for cell in prose):
        found.append(f"no link to {colab}/{chapter}.ipynb")
    return found


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_committed_notebook_is_sound(chapter):
    assert lint(committed(chapter), chapter) == []


def nbval(source: Path, wanted: dict, folder: Path) -> subprocess.CompletedProcess:
    """nbval, lax, on a copy with injected parameters: cells tagged nbval-check-output must repeat their output."""
    notebook = load_notebook_node(str(source))
    values = runner.injected(notebook, wanted)
    (folder / "results").mkdir()
    nbformat.write(papermill.parameterize.parameterize_notebook(notebook, values), folder / "chapter.ipynb")
    (folder / "pytest.ini").write_text("[pytest]\n")  # this project's own options stay out
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    options = (
        "--nbval-lax --nbval-current-env --nbval-cell-timeout 300 -q -p no:cacheprovider -p no:xdist -c pytest.ini"
    )
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options.split(), "chapter.ipynb"],
        cwd=folder,
        env=inherited | runner.environment(folder / "results"),
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_stored_facts_hold_at_smoke_tier(chapter, tmp_path):
    brought.places(chapter)
    done = nbval(runner.book() / f"{chapter}.ipynb", runner.tier(chapter, "smoke"), tmp_path)
    assert done.returncode == 0, done.stdout


# The lint and nbval themselves, on a small notebook that is right, and then wrong in one way each.

CHAPTER = "off_manifold_digits"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def sound():
    url = REPOSITORY["url"]
    install = f'%pip install -q "minegan-lite @ git+{url}@{minegan_lite.REFERENCE}"'
    sources = [
        f"try:\n    import minegan_lite\nexcept ImportError:\n    {install}\n    import minegan_lite",
        "\n".join(f"{name} = {value!r}" for name, value in runner.tier(CHAPTER, "reader").items()),
        "print(minegan_lite.__name__)",
        "print(steps > 0)",
        "print(1 + 1)",
        "figure",
    ]
    stored = [None, None, "minegan_lite\n", "True\n", "2\n", None]
    notebook = new_notebook(metadata=runner.METADATA)
    link = f"https://colab.research.google.com/github/minegan-lite/minegan-lite/blob/main/book/{CHAPTER}.ipynb"
    notebook.cells = [new_markdown_cell(f"# Title\n\n[Open in Colab]({link})\n\n![a grid of nines](x.png)")]
    for count, (source, text) in enumerate(zip(sources, stored, strict=True), start=1):
        cell = new_code_cell(source, execution_count=count)
        if text:
            cell.metadata["tags"] = [CHECKED]
            cell.outputs = [new_output("stream", text=text)]
        notebook.cells.append(cell)
    notebook.cells[2].metadata["tags"] = ["parameters"]
    notebook.cells[6].metadata["mystnb"] = {"image": {"alt": "a grid of nines"}}
    notebook.cells[6].outputs = [new_output("display_data", data={"image/png": PNG, "text/plain": "<Figure>"})]
    return notebook


def test_a_sound_notebook_passes_the_lint():
    assert lint(sound(), CHAPTER) == []


def _no_alt(notebook):
    del notebook.cells[6].metadata["mystnb"]


def _two_images(notebook):
    notebook.cells[6].outputs *= 2


def _stderr(notebook):
    notebook.cells[4].outputs.append(new_output("stream", name="stderr", text="careful"))


def _error(notebook):
    notebook.cells[4].outputs.append(new_output("error", ename="E", evalue="", traceback=[]))


def _unchecked(notebook):
    notebook.cells[4].metadata["tags"] = []


def _empty(notebook):
    notebook.cells[4].outputs = [new_output("stream", text="\n")]


def _only_an_image(notebook):
    notebook.cells[4].outputs = [new_output("display_data", data={"image/png": PNG})]


def _path(notebook):
    notebook.cells[4].outputs[0].text = "/home/reader/minegan-lite/runs"


def _address(notebook):
    notebook.cells[4].outputs[0].text = "<generator object at 0x7f1b25befca0>"


def _order(notebook):
    notebook.cells[4].execution_count = 9


def _other_parameters(notebook):
    notebook.cells[2].source = notebook.cells[2].source.replace("seed = 0", "seed = 1")


def _other_repository(notebook):
    notebook.cells[1].source = notebook.cells[1].source.replace("minegan-lite/minegan-lite", "someone/minegan")


def _other_reference(notebook):
    notebook.cells[1].source = notebook.cells[1].source.replace(f"@{minegan_lite.REFERENCE}", "@v99.0.0")


def _other_link(notebook):
    notebook.cells[0].source = notebook.cells[0].source.replace("/blob/main/", "/blob/master/")


def _prose_image(notebook):
    notebook.cells[0].source += "\n![](y.png)"


def _html_image(notebook):
    notebook.cells[0].source += '\n<img src="y.png">'


def _figure(notebook):
    notebook.cells[0].source += "\n```{figure} y.png\n:name: y\n\ncaption\n```"


def _timing(notebook):
    notebook.cells[4].metadata["papermill"] = {"duration": 1.0}


def _injected(notebook):
    notebook.cells[5].metadata["tags"] = ["injected-parameters", CHECKED]


FAULTS = [
    _no_alt, _two_images, _stderr, _error, _unchecked, _empty, _only_an_image, _path, _address, _order, _timing,
    _other_parameters, _other_repository, _other_reference, _other_link, _prose_image, _html_image, _figure, _injected,
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__.strip("_"))
def test_the_lint_sees(fault):
    notebook = sound()
    fault(notebook)
    assert lint(notebook, CHAPTER)


@pytest.mark.parametrize(("stored", "failed"), [("True\n", 0), ("False\n", 1)])
def test_nbval_compares_what_is_stored_under_smoke_parameters(stored, failed, tmp_path):
    notebook = sound()
    notebook.cells[4].outputs[0].text = stored
    notebook.cells[6].source = "import os\nassert steps == 40 and os.environ['MINEGAN_RESULTS']"
    nbformat.write(notebook, tmp_path / "sound.ipynb")
    done = nbval(tmp_path / "sound.ipynb", {"steps": 40}, tmp_path)
    assert done.returncode == failed, done.stdout
    assert "1 failed" in done.stdout or not failed
