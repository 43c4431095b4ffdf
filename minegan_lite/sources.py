"""What a command line or a run's record calls a source, as the GAN itself: of the zoo, or a public checkpoint."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from minegan_lite.errors import UserError
from minegan_lite.gan import GAN, classes_of

SUFFIXES = (".pth", ".pt", ".bin", ".npz", ".pkl", ".safetensors", ".tar", ".ckpt")


def is_file(word: str) -> bool:
    """Whether a source's word means a file, not a name of the zoo."""
    return Path(word).suffix.lower() in SUFFIXES or "/" in word or os.sep in word


def load_gan(source: str | Path, critic: str | Path | None = None, layout: str | None = None) -> GAN:
    """A pretrained GAN: of the zoo by its name ("mnist-no-9", or a class of one, "mnist-cond-no-9:4"), or a file.

    critic, layout: of a file, as checkpoints.load takes them. Raises UserError as zoo.load and checkpoints.load do.
    """
    return named([str(source)], critic, layout)[0]


def named(words: Sequence[str], critic: str | Path | None = None, layout: str | None = None) -> list[GAN]:
    """As many GANs as there are words: names of the zoo, classes such as mnist-cond-no-9:4, and files.

    critic, layout: of the first, which is a file then; see checkpoints.load. Raises UserError as that and zoo.load do.
    """
    from minegan_lite import zoo

    if not is_file(words[0]) and (critic or layout):
        raise UserError(f"--critic and --layout are of a file: {words[0]} is a name of the zoo")
    names = [word for word in words if not is_file(word)]
    of_zoo = dict(zip(names, zoo.load_all(names), strict=True))  # together: classes of one GAN share its generator
    found = []
    for i, word in enumerate(words):
        own = (critic, layout) if i == 0 else (None, None)
        found.append(of_zoo[word] if word in of_zoo else from_file(word, *own))
    return found


def from_file(file: str | Path, critic: str | Path | None = None, layout: str | None = None) -> GAN:
    """A public checkpoint as checkpoints.load gives it, which knows where it came from."""
    from minegan_lite import checkpoints

    gan = checkpoints.load(file, layout, critic=critic)
    places = {"file": str(Path(file).resolve()), "critic": critic and str(Path(critic).resolve())}
    return replace(gan, request={**places, "layout": layout})


def of_run(run: str | Path, record: dict[str, Any]) -> list[GAN]:
    """The sources that a run's record names, found again. Raises UserError where they are not to be had."""
    from minegan_lite import zoo

    names = list(record["sources"])
    requests = record.get("source_requests") or [None] * len(names)
    files = {str(request): from_file(**request) for request in requests if request}
    found: list[Any] = []
    for name, request in zip(names, requests, strict=True):
        if request is not None:
            gan = files[str(request)]
            found.append(gan if gan.name == name else next(one for one in classes_of(gan) if one.name == name))
        elif name.partition(":")[0] not in zoo.names():
            raise UserError(f"{run} was mined from {name}, which is not of the zoo: give it, as in load(path, gan)")
        else:
            found.append(name)
    of_zoo = iter(zoo.load_all([name for name in found if isinstance(name, str)]))
    return [next(of_zoo) if isinstance(one, str) else one for one in found]
