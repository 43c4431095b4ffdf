"""The only downloader: files of others, by address or from torchvision, into the cache; one line where they fail."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minegan_lite.errors import UserError
from minegan_lite.shown import shown

TIMEOUT = (3, 10)  # seconds: to connect, between two chunks


def cache_folder() -> Path:
    """$MINEGAN_CACHE, else the user's cache folder of the operating system."""
    import platformdirs

    return Path(os.environ.get("MINEGAN_CACHE") or platformdirs.user_cache_dir("minegan-lite"))


def offline() -> bool:
    """Whether $MINEGAN_OFFLINE forbids downloads: unset, empty, 0, false, no and off do not, all else does."""
    return os.environ.get("MINEGAN_OFFLINE", "").strip().lower() not in ("", "0", "false", "no", "off")


def sha256(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetched(url: str, digest: str, folder: Path, what: str, *, progress: bool = False) -> Path:
    """The file at an address, in the folder under its own name there: from the network once, and whole or not at all.

    digest: its sha256; a file in the folder that has another is fetched again. what: how the message names it.
    Raises UserError where the file cannot be had or is another one, and where MINEGAN_OFFLINE forbids to fetch it.
    """
    import pooch

    path = folder / url.rpartition("/")[2]

    def fetch() -> Path:
        pooch.get_logger().setLevel("WARNING")
        downloader = pooch.HTTPDownloader(progressbar=progress, timeout=TIMEOUT)
        folder.mkdir(parents=True, exist_ok=True)
        return Path(pooch.retrieve(url, f"sha256:{digest}", path.name, folder, downloader=downloader))

    return _had(fetch, what, f"put {url} into {folder}", here=path.is_file() and sha256(path) == digest)


def torchvision_weights(weights: Any) -> dict[str, Any]:
    """The state dict of one of torchvision's weights, which fetches them once and checks their own (short) hash.

    Raises UserError as `fetched` does.
    """
    folder, file = cache_folder(), Path(weights.url).name

    def fetch() -> dict[str, Any]:
        return weights.get_state_dict(model_dir=str(folder), check_hash=True, progress=False, weights_only=True)

    return _had(fetch, file, f"put {weights.url} into {folder}", here=(folder / file).exists())


def _had(fetch: Callable[[], Any], what: str, by_hand: str, *, here: bool) -> Any:
    """What fetch gives. Raises UserError, one line, where it fails, and where it is offline and the file not here."""
    if offline() and not here:
        raise UserError(f"MINEGAN_OFFLINE forbids fetching {what}: unset it, or {by_hand}")
    try:
        return fetch()
    except Exception as error:  # no network, no disk, another hash, a damaged file: they have no common class
        why = shown(" ".join(str(error).split()))
        raise UserError(f"{what} cannot be fetched ({type(error).__name__}: {why}): go online, or {by_hand}") from error
