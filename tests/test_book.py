"""The book builds strictly from the committed notebooks, without executing them, and its pages are whole."""

import importlib
import inspect
import re
import shutil

import nbformat
import pytest
from bs4 import BeautifulSoup

import minegan_lite
from book import build, reference
from minegan_lite import zoo
from minegan_lite.chapters import runner
from minegan_lite.config import PRESETS


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> dict[str, BeautifulSoup]:
    """Every page of one build, parsed; RuntimeError on any warning of Sphinx."""
    built = build.build(tmp_path_factory.mktemp("book"))
    return {page.stem: BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser") for page in built}


def heading(page: str) -> str:
    """The title that a page has in its source."""
    source = runner.book() / f"{page}.md"
    if source.is_file():
        text = source.read_text(encoding="utf-8")
    else:
        text = nbformat.read(source.with_suffix(".ipynb"), as_version=4).cells[0].source
    return re.search(r"^# (.+)$", text, re.M).group(1)


def test_every_page_of_the_contents_is_there_under_its_title(site):
    assert list(site) == runner.pages()
    for name, page in site.items():
        assert page.find("article").find("h1").get_text().removesuffix("#") == heading(name)


def test_outputs_are_on_the_page(site):
    for name in runner.chapters():
        stored = nbformat.read(runner.book() / f"{name}.ipynb", as_version=4)
        images = sum("image/png" in o.get("data", {}) for c in stored.cells if c.cell_type == "code" for o in c.outputs)
        assert len(site[name].select("article .cell_output img")) == images
        for cell in runner.tagged(stored, "nbval-check-output"):
            assert cell.outputs[0].get("text", "").strip() in site[name].get_text()


def test_every_image_has_an_alt_text(site):
    for name, page in site.items():
        for image in page.select("article img"):
            assert image.get("alt", "").strip(), (name, image)


def test_pages_ask_no_other_server(site):
    for name, page in site.items():
        loaded = [tag.get("src") for tag in page.select("script[src], img[src], iframe[src]")]
        loaded += [tag.get("href") for tag in page.select("link[href]") if "canonical" not in tag.get("rel", [])]
        assert [url for url in loaded if re.match(r"(?:https?:)?//", url)] == [], name
        assert not any("THEBE_JS_URL" in script.get_text() for script in page.select("script")), name


def test_mathjax_and_fonts_lie_beside_the_pages(tmp_path):
    built = _small(tmp_path, "# Title\n\n$$x^2$$\n\n" + "A page with a formula. " * 20)
    script = BeautifulSoup(built.read_text(encoding="utf-8"), "html.parser").find("script", src=re.compile("mathjax"))
    file = built.parent / script["src"].partition("?")[0]
    assert file.stat().st_size > 100_000
    assert list((file.parent / "output" / "chtml" / "fonts").rglob("*.woff"))


def test_notebooks_have_a_colab_button(site):
    for name in runner.chapters():
        target = f"https://colab.research.google.com/github/minegan-lite/minegan-lite/blob/main/book/{name}.ipynb"
        assert site[name].select(f'.article-header-buttons a[href="{target}"]'), name


# The reference pages.


def test_every_public_name_is_on_the_page_on_the_library(site):
    there = {tag["id"] for tag in site["api"].select("article [id]")}
    for name in minegan_lite.__all__:
        thing = getattr(minegan_lite, name)
        module = inspect.ismodule(thing)
        assert (f"module-{thing.__name__}" if module else f"{thing.__module__}.{thing.__qualname__}") in there, name
    for name, package in reference.public_modules().items():
        assert f"module-{name}" in there
        for member, thing in {} if package else vars(importlib.import_module(name)).items():
            own = getattr(thing, "__module__", None) == name and not member.startswith("_")
            if own and (inspect.isclass(thing) or inspect.isfunction(thing)):
                assert f"{name}.{member}" in there, f"{name}.{member} has no docstring"


def test_docstrings_leave_no_markup_and_no_machine_on_the_page(site):
    text = site["api"].find("article").get_text()
    for trace in ("`", "\\", "~torch", "<factory>", "**kwargs", "PosixPath", str(build.ROOT)):
        assert trace not in text, text[text.index(trace) - 80 : text.index(trace) + 80]


def test_every_model_card_is_a_section(site):
    page = site["model_cards"].find("article")
    titles = [title.get_text().removesuffix("#") for title in page.find_all("h2")]
    assert sorted(titles) == sorted(path.stem for path in zoo.WEIGHTS.glob("*.md"))
    assert {link["href"] for link in page.select("table a")} >= {f"#card-{name}" for name in titles}


def test_the_page_on_the_official_code_has_the_presets_of_the_library(site):
    cells = {cell.get_text() for cell in site["official_code"].select("article td")}
    assert {field.name for field in reference.options()} <= cells
    assert {repr(value) for preset in PRESETS.values() for value in preset.values()} <= cells


def test_terms_can_be_linked_to(site):
    assert {"term-Miner", "term-Critic", "term-Held-out"} <= {t["id"] for t in site["glossary"].select("dt[id]")}


# The net itself: a small book with one fault each.


def _small(folder, text: str):
    source = folder / "source"
    source.mkdir()
    (source / "_toc.yml").write_text("format: jb-book\nroot: page\n")
    (source / "page.md").write_text(text, encoding="utf-8")
    shutil.copy(runner.book() / "references.bib", source)
    return build.sphinx(source, folder, ["page"])[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# Title\n\n{cite:p}`nobody`" + " words" * 100, "nobody"),
        ("# Title\n\n{ref}`nowhere`" + " words" * 100, "nowhere"),
        ("# Title\n\nshort", "page.html is empty"),
        ("# Title\n\nTraceback (most recent call last)" + " words" * 100, "page.html shows a traceback"),
    ],
    ids=["citation", "reference", "empty", "traceback"],
)
def test_a_faulty_book_is_refused(text, message, tmp_path):
    with pytest.raises(RuntimeError, match=message):
        _small(tmp_path, text)


def test_a_page_that_was_not_written_is_missed(tmp_path):
    assert build.look(tmp_path / "page.html") == ["page.html is not there"]
