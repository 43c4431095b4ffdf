"""What chapters read that neither the package nor the repository holds: files in published packages."""

import shutil
from pathlib import Path

import pytest

from minegan_lite.data import packages
from minegan_lite.metrics.pictures import WEIGHTS
from minegan_lite.published import TABLE

FILES = {"lite0": (WEIGHTS,)} | {name: row.files for name, row in TABLE.items()}
# Which of them a chapter needs, as data_scripts/get_weights.py calls them; what is not listed needs none.
NEEDED = {
    "faces": ("lite0", "celeba-dcgan-64", "digiface-dcgan-64"),
    "twenty_five_pictures": ("lite0", "celeba-dcgan-64"),
}


def places(chapter: str) -> list[Path]:
    """The files in this machine's cache; skips the test, and says how to bring them, where one is not there."""
    found = []
    for name in NEEDED.get(chapter, ()):
        for file in FILES[name]:
            found.append(packages.place(file["package"], file["version"], file["file"]))
            if not found[-1].is_file():
                pytest.skip(f"{chapter} needs {name}: python data_scripts/get_weights.py {name} brings it")
    return found


def lend(chapter: str, cache: Path) -> None:
    """Copies them into another cache, which then has nothing else."""
    for path in places(chapter):
        there = cache / path.relative_to(packages.wheels().parent)
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, there)
