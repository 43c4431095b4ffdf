"""The bar: a widget in a notebook and nothing beside it, a line on stderr elsewhere."""

import copy

import nbclient
import nbformat

from minegan_lite.chapters import runner
from minegan_lite.progress import bar

CODE = """
from minegan_lite.progress import bar
with bar(total=3, desc="mine", disable=quiet) as shown:
    for _ in range(3):
        shown.update()
    shown.set_postfix({"metric": "0.1"})
"""


def executed(quiet: bool) -> list:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(f"quiet = {quiet}\n{CODE}")])
    nbclient.NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    outputs = copy.deepcopy(notebook.cells[0].outputs)
    assert runner.clean(notebook).cells[0].outputs == []
    return outputs


def test_a_notebook_shows_a_widget_and_no_text():
    (shown,) = executed(quiet=False)
    assert shown.output_type == "display_data"
    assert list(shown.data) == ["application/vnd.jupyter.widget-view+json"]
    assert executed(quiet=True) == []


def test_elsewhere_it_is_a_line_on_stderr(capsys):
    with bar(total=3, desc="mine") as shown:
        shown.update(3)
    out, err = capsys.readouterr()
    assert out == ""
    assert "mine: 100%" in err
    with bar(total=3, disable=True) as shown:
        shown.update(3)
    assert capsys.readouterr() == ("", "")
