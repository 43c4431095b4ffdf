"""Large files of strangers: fetched with resuming, their hash remembered once they were seen to open.

Beside FILE lies FILE.json, its record: where it came from, its sha256 when it was first seen, when, and the licence
that was accepted. A file that its origin publishes no hash for is trusted at first sight, and never again.
"""

import contextlib
import datetime
import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from minegan_lite.data.download import offline, sha256
from minegan_lite.data.images import check_regular
from minegan_lite.data.impostors import refuse_impostor
from minegan_lite.errors import UserError
from minegan_lite.files import parts_left, write_atomically
from minegan_lite.locks import locked

TIMEOUT = (5, 30)  # seconds: to connect, between two chunks
CHUNK = 1 << 16  # bytes: what a cut can lose


class WrongHash(ValueError):
    """What came is not the file that was asked for."""


def download(url: str, part: Path) -> None:
    """Fetches into `part`, going on where an earlier call was cut, if it is still the same file.

    The server must have named a version of the file (ETag, else Last-Modified) and offer ranges of it; where it does
    not, or the file has changed, the download begins again. Beside it lies its note, PART.json, until `_forget`.
    Raises UserError for a web page in the file's place, and requests.RequestException for what the connection does.
    """
    import requests
    from tqdm.auto import tqdm

    note = _beside(part)
    known = _noted(note)
    there = part.stat().st_size if known and part.is_file() else 0
    if there and there == known["total"]:
        return  # it was cut after the last byte
    headers = {"Accept-Encoding": "identity"}
    if there and known["version"]:
        headers |= {"Range": f"bytes={there}-", "If-Range": known["version"]}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        total = _total(response)
        same = response.status_code == 206 and (_start(response), total) == (there, known.get("total"))
        if "Range" in headers and response.status_code in (206, 416) and not same:
            part.unlink()
            return download(url, part)
        response.raise_for_status()
        if response.headers.get("Content-Type", "").startswith("text/html"):
            raise UserError(f"a web page came instead of the file (a quota, a login, a lapsed link): {url}")
        if not same:
            there = 0
            version = response.headers.get("ETag", "")
            version = response.headers.get("Last-Modified") if version[:2] in ("", "W/") else version
            part.unlink(missing_ok=True)
            write_atomically(note, json.dumps({"version": version, "total": total}).encode())
        bar = tqdm(total=total, initial=there, unit="B", unit_scale=True, desc=part.stem)
        with open(part, "ab") as file, bar:
            for chunk in response.iter_content(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and part.stat().st_size != total:
        raise requests.ConnectionError(f"{part.stat().st_size} of {total} bytes came")


def fetch(
    url: str | None,
    path: Path,
    *,
    licence: str,
    page: str,
    accept: bool,
    md5: str = "",
    prefix: str = "",
    opens: Callable[[Path], None] = refuse_impostor,
) -> dict[str, Any]:
    """Sees to it that `path` holds the file of this url, whole and as it was first seen, and returns its record.

    A file that is there already, brought by hand, is taken as the first seen one. url None: it can only be brought by
    hand, from `page`. accept: whether the user accepts the licence; asked for until there is a record. md5, prefix (of
    the sha256): as published, "" where they are not. opens: opens the file, or raises UserError; nothing is recorded of
    one that does not open, and what was fetched is removed again, so that the next call asks for it anew.
    Raises UserError, one line that says what to do, where the licence is not accepted, there is no network or no such
    file any more, a hash is wrong, the file does not open, another process is fetching into the folder, or the folder
    cannot be written.
    """
    record = _record(path)
    if not record and not accept:
        raise UserError(f"{path.name} is under this licence: {licence}. Read {page}; to accept, add --accept-licence")
    part = path.with_name(path.name + ".part")
    if record and _is(path, record) and not (_beside(part).exists() or parts_left(path.parent)):
        return record
    with locked(path.parent):
        for left in parts_left(path.parent):  # by a killed process
            left.unlink(missing_ok=True)
        record = _record(path)  # another process may have written it meanwhile
        if not record and path.exists():
            _check_first(path, md5, prefix, opens)
        elif not (record and _is(path, record)):
            by_hand = f"open {page} in a browser, save the file as {path}, and run this again"
            if url is None:
                raise UserError(f"{path.name} cannot be fetched by a program: {by_hand}")
            published = (f"md5:{md5}" if md5 else "") or (f"sha256:{prefix}" if prefix else "")
            _download(url, path, part, f"sha256:{record['sha256']}" if record else published, opens, by_hand)
        if not record:
            first = datetime.date.today().isoformat()
            record = {"url": url or page, "sha256": sha256(path), "bytes": path.stat().st_size, "first_seen": first}
            record["accepted_licence"] = licence
            write_atomically(_beside(path), (json.dumps(record, indent=1) + "\n").encode())
        _forget(part)
    return record


def _download(url: str, path: Path, part: Path, known: str, opens: Callable[[Path], None], by_hand: str) -> None:
    """known: "sha256:" or "md5:" and the hash, or its first digits; "" where there is none."""
    import requests

    if offline():
        raise UserError(f"{path.name} is not here, and MINEGAN_OFFLINE forbids to fetch it: unset it, or {by_hand}")
    try:
        download(url, part)
        _check_hash(part, known)
        try:
            opens(part)
        except UserError:
            _forget(part)
            raise
        part.replace(path)
    except requests.HTTPError as error:
        status = f"HTTP {error.response.status_code}"
        raise UserError(f"{path.name} is not at {url} any more, or not for everyone ({status}): {by_hand}") from None
    except requests.RequestException as error:
        raise UserError(
            f"the connection to {urlsplit(url).netloc} failed ({type(error).__name__}), {_kept(part)}: "
            "run this again to go on"
        ) from None
    except UserError as error:
        raise UserError(f"{error}: nothing was taken; {by_hand}") from None
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}), {_kept(part)}: make room and run this again, or choose "
            "another folder"
        ) from None
    except WrongHash:
        _forget(part)
        trust = f"if you trust the new one, delete {path.name}.json" if _beside(path).exists() else by_hand
        raise UserError(f"what is at {url} now is not the file that has {known}: {trust}") from None


def _check_first(path: Path, md5: str, prefix: str, opens: Callable[[Path], None]) -> None:
    """A file brought by hand, before it is trusted."""
    check_regular(path)
    try:
        _check_hash(path, f"md5:{md5}")
        _check_hash(path, f"sha256:{prefix}")
    except WrongHash:
        raise UserError(f"{path} is not the published file (another hash): delete it, and run this again") from None
    try:
        opens(path)
    except UserError as error:
        raise UserError(f"{error}: it was not taken; delete {path}, and run this again") from None


def _check_hash(path: Path, known: str) -> None:
    """Raises WrongHash where a file's hash, "md5:" or "sha256:" and digits, does not begin with these."""
    kind, _, digits = known.partition(":")
    if digits:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()
        if not found.startswith(digits):
            raise WrongHash


def _is(path: Path, record: dict[str, Any]) -> bool:
    """Whether a file is there and is the one of its record."""
    if path.exists():
        check_regular(path)
    return path.exists() and sha256(path) == record["sha256"]


def _record(path: Path) -> dict[str, Any]:
    """The record beside a file, {} where there is none."""
    beside = _beside(path)
    found = _read(beside) if beside.exists() else {}
    kinds = {"sha256": str, "bytes": int, "first_seen": str, "accepted_licence": str}
    whole = isinstance(found, dict) and all(type(found.get(key)) is kind for key, kind in kinds.items())
    if beside.exists() and not (whole and re.fullmatch("[0-9a-f]{64}", found["sha256"])):
        raise UserError(f"{beside} is damaged: delete it, and run this again")
    return found


def _noted(note: Path) -> dict[str, Any]:
    """What the note of a download says, {} where there is none or it is damaged."""
    found = _read(note) if note.is_file() else {}
    kinds = {"version": str | None, "total": int | None}
    whole = isinstance(found, dict) and all(isinstance(found.get(key, ...), kind) for key, kind in kinds.items())
    return found if whole else {}


def _read(path: Path) -> Any:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        return json.loads(path.read_text("utf-8"))
    return None


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def _forget(part: Path) -> None:
    """Removes what was fetched, and its note."""
    part.unlink(missing_ok=True)
    _beside(part).unlink(missing_ok=True)


def _kept(part: Path) -> str:
    return f"{part.stat().st_size / 1e6 if part.exists() else 0:.1f} MB are kept"


def _total(response: Any) -> int | None:
    """The bytes of the whole file, as far as the server tells."""
    ranged = response.headers.get("Content-Range", "").rpartition("/")[2]
    with contextlib.suppress(ValueError):
        return int(ranged or response.headers.get("Content-Length", ""))
    return None


def _start(response: Any) -> int | None:
    """The first byte of a range that a server sends."""
    first = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    return int(first) if first.isdigit() else None
