"""Files of others that are fetched into the cache when asked for: one line where they cannot be had."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minegan_lite.errors import UserError


def cache_folder() -> Path:
    """$MINEGAN_CACHE, else the user's cache folder of the operating system."""
    import platformdirs

    return Path(os.environ.get("MINEGAN_CACHE") or platformdirs.user_cache_dir("minegan-lite"))


def offline() -> bool:
    """Whether $MINEGAN_OFFLINE forbids downloads: unset, empty, 0, false, no and off do not, all else does."""
    return os.environ.get("MINEGAN_OFFLINE", "").strip().lower() not in ("", "0", "false", "no", "off")


def fetched(file: str, fetch: Callable[[], Any]) -> Any:
    """What fetch gives; one line where the file is neither in the cache nor to be fetched, or has another hash."""
    path = cache_folder() / file
    if offline() and not path.exists():
        raise UserError(f"MINEGAN_OFFLINE forbids fetching {file}: put it into {path.parent}")
    try:
        return fetch()
    except Exception as error:  # no network, no disk, another hash, a damaged file: they have no common class
        why = " ".join(str(error).split())[:200]
        raise UserError(
            f"{file} cannot be had ({type(error).__name__}: {why}): go online, or put it into {path.parent}"
        ) from error
