"""The bar of a training: a widget in a notebook, a line on stderr elsewhere."""

import sys
from typing import Any

from tqdm import tqdm


def bar(**options: Any) -> tqdm:
    """tqdm's bar, with its options.

    In a notebook the bar is the widget alone. It writes nothing to stderr, which tools that compare a notebook's
    outputs take for an error, and no text in place of the widget, which would differ each time.
    """
    if options.get("disable") or not _in_notebook():
        return tqdm(**options)
    from IPython.display import display
    from tqdm.notebook import tqdm as tqdm_notebook

    shown = tqdm_notebook(**options, display=False)
    view = {"version_major": 2, "version_minor": 0, "model_id": shown.container.model_id}
    display({"application/vnd.jupyter.widget-view+json": view}, raw=True)
    return shown


def say(line: str) -> None:
    """A line on stderr, above a bar; nothing in a notebook, where stderr passes for an error: the record says it."""
    if not _in_notebook():
        tqdm.write(line, file=sys.stderr)


def _in_notebook() -> bool:
    """Whether a Jupyter kernel runs this, Colab's included."""
    if "IPython" not in sys.modules:
        return False
    shell = sys.modules["IPython"].get_ipython()
    return shell is not None and "IPKernelApp" in shell.config
