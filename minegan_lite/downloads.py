"""Files of others that are fetched into the cache when asked for: one line where they cannot be had."""

from collections.abc import Callable
from typing import Any

from minegan_lite import data
from minegan_lite.errors import UserError


def fetched(file: str, fetch: Callable[[], Any]) -> Any:
    """What fetch gives; one line where the file is neither in the cache nor to be fetched, or has another hash."""
    path = data.cache_folder() / file
    if data.offline() and not path.exists():
        raise UserError(f"MINEGAN_OFFLINE forbids fetching {file}: put it into {path.parent}")
    try:
        return fetch()
    except Exception as error:  # no network, no disk, another hash, a damaged file: they have no common class
        why = " ".join(str(error).split())[:200]
        raise UserError(
            f"{file} cannot be had ({type(error).__name__}: {why}): go online, or put it into {path.parent}"
        ) from error
