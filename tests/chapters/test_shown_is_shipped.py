"""Code that a chapter shows is the code that the library ships.

A cell tagged `shown:minegan_lite.miner.Miner` (one tag for each name) holds that class or function as the library has
it: equal as syntax trees, docstrings and comments aside. Besides it, the cell may hold imports and nothing else.
"""

import ast
import importlib
import inspect
import textwrap

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

from minegan_lite import gan
from minegan_lite.chapters import runner

TAG = "shown:"


def tree(source: str) -> ast.Module:
    """The syntax tree without docstrings."""
    module = ast.parse(source)
    for node in ast.walk(module):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return module


def library(name: str) -> str:
    """The source of a dotted name; AttributeError or ImportError where the library does not have it."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            thing = getattr(thing, part)
        return textwrap.dedent(inspect.getsource(thing))
    raise ImportError(f"no module in {name}")


def differences(names: list[str], shown: str) -> list[str]:
    """What of a cell is not as in the library, one line each."""
    body = tree(TransformerManager().transform_cell(shown)).body
    cell = {getattr(node, "name", ast.unparse(node)): node for node in body if not _imports(node)}
    found = [f"{name} is not named by a tag" for name in cell if name not in {n.rpartition(".")[2] for n in names}]
    for name in names:
        (ours,) = tree(library(name)).body
        here = cell.get(ours.name)
        if here is None or ast.dump(here) != ast.dump(ours):
            found.append(f"{name} differs from the library, which has:\n{ast.unparse(ours)}")
    return found


def _imports(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


SHOWN = [
    pytest.param([tag.removeprefix(TAG) for tag in tags], cell.source, id=f"{chapter}-{' '.join(tags)}")
    for chapter in runner.chapters()
    for cell in nbformat.read(runner.book() / f"{chapter}.ipynb", as_version=4).cells
    if (tags := [tag for tag in cell.metadata.get("tags", []) if tag.startswith(TAG)])
]


@pytest.mark.parametrize(("names", "source"), SHOWN)
def test_shown_code_is_shipped_code(names, source):
    assert differences(names, source) == []


NAME = "minegan_lite.gan.StandardNormal"
SOURCE = inspect.getsource(gan.StandardNormal)


def test_the_same_code_passes_with_other_comments_and_docstrings():
    bare = ast.unparse(tree(SOURCE))
    assert '"""' not in bare
    assert differences([NAME], f"import torch\n\n{SOURCE}\n# a remark\n") == []
    assert differences([NAME], bare) == []


def test_a_method_may_be_shown_alone():
    method = textwrap.dedent(inspect.getsource(gan.StandardNormal.__call__))
    assert differences([f"{NAME}.__call__"], method) == []


@pytest.mark.parametrize(
    "shown",
    [
        SOURCE.replace("return ", "return -"),
        SOURCE.replace("StandardNormal", "Normal"),
        SOURCE + "\nx = 1",
        "",
    ],
    ids=["another body", "another name", "something besides", "nothing"],
)
def test_drift_is_seen(shown):
    assert differences([NAME], shown)


@pytest.mark.parametrize("name", ["minegan_lite.gan.Nothing", "minegan_lite.nowhere.Miner", "nowhere.Miner"])
def test_a_tag_that_names_nothing_is_an_error(name):
    with pytest.raises((AttributeError, ImportError)):
        differences([name], SOURCE)
