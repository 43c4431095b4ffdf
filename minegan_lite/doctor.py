"""What this installation has: versions, device, data and weights, in a few lines that one can send to a maintainer."""

import platform
from importlib import metadata

from minegan_lite import zoo
from minegan_lite.data import mnist, packages
from minegan_lite.data.download import sha256
from minegan_lite.metrics import pictures
from minegan_lite.nn import pick_device

PACKAGES = ("torch", "torchvision", "numpy", "torchmetrics", "safetensors", "matplotlib", "papermill", "jupyter-book")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def _device() -> str:
    import torch

    device = pick_device("auto")
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"{device.type} ({torch.get_num_threads()} threads)"


def _weights() -> str:
    weights = zoo.verify()
    if bad := [f"{name}: {message}" for name, ok, message in weights if not ok]:
        return "; ".join(bad)
    here = [name for name, *_ in weights if zoo.here(name)]
    absent = [name for name, *_ in weights if name not in here]
    told = f"{len(here)} whole: {', '.join(here)}"
    return f"{told}; {len(absent)} not here, fetched when first loaded: {', '.join(absent)}" if absent else told


def _judge() -> str:
    held = pictures.WEIGHTS
    where = packages.place(held["package"], held["version"], held["file"])
    if not where.exists():
        return "Lite0, not here: evaluate fetches it (17 MB) when it first meets images other than digits"
    whole = sha256(where) == held["sha256"]
    return f"Lite0, {'whole' if whole else 'damaged, unpacked again when it is next used'}: {where}"


def report() -> dict[str, str]:
    """One line for each thing that can be wrong: versions, device, MNIST, and every entry of the zoo."""
    from minegan_lite import __version__

    originals = mnist.original_files()
    return {
        "minegan-lite": __version__,
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
        "device": _device(),
        "MNIST": f"the original files in {originals}" if originals else "whole, in the package",
        "weights": _weights(),
        "judge of pictures": _judge(),
    }


def line() -> str:
    """The same in one line, for a notebook's first cell: versions and device."""
    told = report()
    return " · ".join(f"{key} {told[key]}" for key in ("minegan-lite", "python", "torch", "torchvision")) + (
        f" · {told['device']}"
    )
