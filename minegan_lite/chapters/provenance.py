"""What a record says of the run behind it: device, versions, a command without one machine's folders."""

import json
import platform
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

import torch

_ROOTED = re.compile(r"(?:~?/(?!/)|\.\./|file:/+|[A-Za-z]:[/\\]|\\\\)")  # not https://, nor a relative runs/nine


def outputs_only(root: Path, entry: str, git: Callable[..., str]) -> bool:
    """Whether a line of `git status` is of a notebook of the book that has the cells it was committed with."""
    status, path = entry[:2], entry[3:]
    if "M" not in status or not path.startswith("book/") or not path.endswith(".ipynb"):
        return False
    try:
        return _cells((root / path).read_text("utf-8")) == _cells(git("show", f"HEAD:{path}"))
    except (KeyError, TypeError, ValueError):  # no notebook
        return False


def _cells(notebook: str) -> list[tuple]:
    """Of each cell what runs it: its kind, its source and its tags."""
    cells = json.loads(notebook)["cells"]
    return [(c["cell_type"], "".join(c["source"]), c.get("metadata", {}).get("tags")) for c in cells]


def device_name(device: str) -> str:
    """What the GPU or the processor calls itself."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    try:
        model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    except OSError:  # not Linux
        model = None
    return model[1] if model else platform.processor() or platform.machine()  # not every processor's has this line


def versions() -> dict[str, str]:
    """Of Python, torch and this library."""
    import minegan_lite

    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "minegan_lite": minegan_lite.__version__,
    }


def _portable_text(text: str) -> str:
    """`--out=/home/me/runs/nine` → `--out=nine`: what leads through one machine's folders keeps its last part."""
    option = found[0] if (found := re.match(r"-[\w-]+=", text)) else ""
    value = text.removeprefix(option)
    if _ROOTED.match(value) or ".." in PureWindowsPath(value).parts:  # as a whole: its folders may hold spaces
        return option + PureWindowsPath(value).name
    return re.sub(rf"(?<![\w./~]){_ROOTED.pattern}[^\s=,;'\"()\[\]]+", lambda path: PureWindowsPath(path[0]).name, text)


def portable(value: Any) -> Any:
    """A value without the folders of one machine, in all of its texts."""
    if isinstance(value, dict):
        return {key: portable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [portable(item) for item in value]
    return _portable_text(str(value)) if isinstance(value, (str, Path)) else value


def portable_command(command: str | Sequence[str]) -> str:
    """A command line without the folders of one machine."""
    words = shlex.split(command) if isinstance(command, str) else [str(word) for word in command]
    return shlex.join(_portable_text(word) for word in words)
