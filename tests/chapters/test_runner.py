"""minegan_lite.chapters: parameters, tiers, clean outputs, and a notebook executed for real."""

import shutil

import nbformat
import papermill
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from minegan_lite.chapters import runner
from minegan_lite.errors import UserError


def notebook(*cells: str, parameters: str | None = "steps = 600\nseed = 0"):
    made = new_notebook(metadata=runner.METADATA)
    if parameters is not None:
        made.cells.append(new_code_cell(parameters, metadata={"tags": ["parameters"]}))
    made.cells += [new_code_cell(cell) for cell in cells]
    return made


def written(folder, name: str, *cells: str, **kwargs):
    path = folder / f"{name}.ipynb"
    nbformat.write(notebook(*cells, **kwargs), path)
    return path


def test_pages_have_sources():
    assert runner.pages()[0] == "intro"
    for page in runner.pages():
        assert any((runner.book() / f"{page}{suffix}").is_file() for suffix in (".md", ".ipynb")), page
    assert set(runner.chapters()) < set(runner.pages())


@pytest.mark.parametrize("name", runner.TIERS)
def test_each_tier_says_its_own_name_for_each_chapter(name):
    for chapter in runner.chapters():
        assert runner.tier(chapter, name)["tier"] == name


def test_unknown_tier_and_chapter_name_the_known_ones():
    with pytest.raises(UserError, match="smoke, reader, full"):
        runner.tier("off_manifold_digits", "huge")
    with pytest.raises(UserError, match="off_manifold_digits"):
        runner.tier("no_such_chapter", "smoke")
    with pytest.raises(UserError, match="off_manifold_digits"):
        runner.run("no_such_chapter", "smoke")


def test_an_installed_package_knows_the_tiers_but_has_no_chapters(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "minegan_lite"
    shutil.copytree(runner.book() / "tiers", package / "tiers")
    expected = runner.tier("off_manifold_digits", "full")
    monkeypatch.setattr(runner, "_PACKAGE", package)
    assert runner.tier("off_manifold_digits", "full") == expected
    with pytest.raises(UserError, match="clone the repository"):
        runner.run("off_manifold_digits", "full")


def test_parameters_are_read_as_papermill_reads_them(tmp_path):
    source = 'tier = "reader"  # which\nsteps = 600\nrate = -1e-3\nwidths = [8, 16]'
    path = written(tmp_path, "a", parameters=source)
    values = runner.parameters(nbformat.read(path, as_version=4))
    assert values == {"tier": "reader", "steps": 600, "rate": -1e-3, "widths": [8, 16]}
    assert set(values) == set(papermill.inspect_notebook(str(path)))


@pytest.mark.parametrize(
    "source", ["steps = 2 * 300", "a = b = 1", "import os", "steps: int = 3", "print(1)", "a, b = 1, 2"]
)
def test_only_literals_may_be_parameters(source):
    with pytest.raises(UserError, match="name = literal"):
        runner.parameters(notebook(parameters=source))


def test_one_parameters_cell():
    with pytest.raises(UserError, match="0 cells"):
        runner.parameters(notebook(parameters=None))
    twice = notebook()
    twice.cells.append(twice.cells[0])
    with pytest.raises(UserError, match="2 cells"):
        runner.parameters(twice)


def test_only_what_differs_is_injected_and_unknown_names_are_refused():
    assert runner.injected(notebook(), {"steps": 600, "seed": 0}) == {}
    assert runner.injected(notebook(), {"steps": 40, "seed": 0}) == {"steps": 40}
    with pytest.raises(UserError, match="unknown parameters step: the chapter has steps, seed"):
        runner.injected(notebook(), {"step": 40})


def test_a_notebook_runs_with_its_parameters_in_its_folder_with_this_package(tmp_path, monkeypatch):
    monkeypatch.setenv("MINEGAN_DATA", ".")
    monkeypatch.setenv("MPLBACKEND", "agg")
    source = written(
        tmp_path,
        "a",
        "import os, sys, pathlib\nimport minegan_lite\nprint(steps, seed)\nprint(minegan_lite.__file__)",
        "pathlib.Path('here').touch()\npathlib.Path(os.environ['MINEGAN_RESULTS']).mkdir()\nprint(pathlib.Path.cwd())\n"
        "print('gone', file=sys.stderr)\nprint(os.path.isabs(os.environ['MINEGAN_DATA']), os.environ['MPLBACKEND'])",
    )
    before = source.read_bytes()
    out = tmp_path / "out"
    out.mkdir()
    made = runner.execute(source, {"steps": 40, "seed": 0}, out, timeout=60)
    assert source.read_bytes() == before
    assert made == out / "a.ipynb"
    assert (out / "here").is_file()
    assert (out / "results").is_dir()
    cells = nbformat.read(made, as_version=4).cells
    assert [cell.source for cell in cells if "injected-parameters" in cell.metadata.get("tags", [])] == [
        "# Parameters\nsteps = 40\n"
    ]
    assert cells[2].outputs[0].text == "40 0\nminegan_lite/__init__.py\n"
    assert len(cells[3].outputs) == 1
    assert cells[3].outputs[0].text == ".\nTrue module://matplotlib_inline.backend_inline\n"


def test_a_failing_cell_is_named(tmp_path):
    source = written(tmp_path, "a", "1 / 0")
    (tmp_path / "out").mkdir()
    with pytest.raises(RuntimeError, match="a: cell 2 failed with ZeroDivisionError"):
        runner.execute(source, {}, tmp_path / "out", timeout=60)


def test_clean_keeps_what_a_reader_sees(tmp_path):
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "a"}}
    bar = {"text/plain": "  0%|          | 0/600 [00:00<?, ?it/s]", **view}
    dirty = new_notebook(
        metadata={
            "papermill": {"duration": 3},
            "language_info": {"name": "python", "version": "3.11.7"},
            "widgets": {"state": 1},
        },
        cells=[
            new_markdown_cell("text", metadata={"papermill": {}, "tags": []}),
            new_code_cell(
                "x",
                metadata={"papermill": {"duration": 1}, "execution": {"iopub.execute_input": "now"}, "tags": ["keep"]},
                execution_count=1,
                outputs=[
                    new_output("stream", name="stdout", text="10%\r50%\rdone\n"),
                    new_output("stream", name="stderr", text="warning"),
                    new_output("stream", name="stdout", text=f"{tmp_path}/runs/nine\n"),
                    new_output("display_data", data=bar),
                    new_output("display_data", data=view | {"image/png": "bb"}, metadata=view),
                    new_output("execute_result", data={"text/plain": f"Path('{tmp_path}')", "image/png": "aa"}),
                ],
            ),
        ],
    )
    cleaned = runner.clean(dirty, {tmp_path})
    assert set(cleaned.metadata) == {"kernelspec", "language_info"}
    assert "version" not in cleaned.metadata.language_info
    text, code = cleaned.cells
    assert text.metadata == {}
    assert code.metadata == {"tags": ["keep"]}
    stream, still, result = code.outputs
    assert stream.text == "done\nruns/nine\n"
    assert still == {"output_type": "display_data", "data": {"image/png": "bb"}, "metadata": {}}
    assert result.data == {"text/plain": "Path('.')", "image/png": "aa"}
    nbformat.validate(cleaned)
    assert runner.clean(nbformat.from_dict(cleaned)) == cleaned


ROW = {"path": "numbers.after.error.value", "min": 0.1, "max": 0.3, "origin": "seeds 0-2"}


@pytest.mark.parametrize("value", [0.1, 0.2, 0.3])
def test_a_number_in_range_passes(value):
    assert runner.violations({"numbers": {"after": {"error": {"value": value}}}}, [ROW]) == []


@pytest.mark.parametrize("value", [0.0999, 0.31, float("nan"), None, "0.2", True, {"value": 0.2}])
def test_a_number_out_of_range_is_told_with_the_range_and_its_origin(value):
    (line,) = runner.violations({"numbers": {"after": {"error": {"value": value}}}}, [ROW])
    assert line == f"numbers.after.error.value = {value}, not within 0.1 … 0.3 (seeds 0-2)"


def test_a_number_that_is_not_there_is_a_violation():
    for record in ({}, {"numbers": {"after": 3}}, {"numbers": {"before": {"error": {"value": 0.2}}}}):
        assert len(runner.violations(record, [ROW])) == 1


def test_the_book_itself_is_not_run_into(tmp_path, monkeypatch):
    book = tmp_path / "book"
    (book / "results").mkdir(parents=True)
    (book / "tiers").mkdir()
    (book / "_toc.yml").write_text("format: jb-book\nroot: one\n")
    (book / "tiers/smoke.yml").write_text("one: {seed: 1}\n")
    cell = nbformat.v4.new_code_cell("seed = 0", metadata={"tags": ["parameters"]})
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), book / "one.ipynb")
    (book / "results/chapters").mkdir()
    (book / "results/chapters/one.json").write_text("{}")
    monkeypatch.setattr(runner, "_PACKAGE", tmp_path / "minegan_lite")
    (tmp_path / "linked").symlink_to(book)
    (tmp_path / "half").mkdir()
    (tmp_path / "half/results").symlink_to(book / "results")
    before = {file: file.read_bytes() for file in book.rglob("*") if file.is_file()}
    monkeypatch.chdir(book)
    for out in (book, book / "results", tmp_path / "linked", tmp_path / "half", "."):
        with pytest.raises(UserError, match="of the book itself"):
            runner.run("one", "smoke", out)
    assert {file: file.read_bytes() for file in book.rglob("*") if file.is_file()} == before
