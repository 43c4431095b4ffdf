"""Large files of strangers: fetched through pooch, resumed where they were cut, their hash remembered ever after.

Beside FILE lies FILE.json, its record: where it came from, its sha256 when it was first seen, when, and the licence
that was accepted. A file that its origin publishes no hash for is trusted at first sight, and never again.
"""

import contextlib
import datetime
import hashlib
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from minegan_lite import data
from minegan_lite.errors import UserError
from minegan_lite.runs import write_atomically

TIMEOUT = (5, 30)  # seconds: to connect, between two chunks
CHUNK = 1 << 16  # bytes: what a cut can lose


class Resuming:
    """A downloader for pooch that goes on with `part`, where an earlier call was cut, if it is still the same file.

    The server must have named a version of the file (ETag, else Last-Modified) and offer ranges of it; where it does
    not, or the file has changed, the download begins again. prefix: the first digits of the sha256, where no more than
    these are published. Raises UserError for a web page in the file's place, or another prefix, and
    requests.RequestException for what the connection does.
    """

    def __init__(self, part: Path, prefix: str = ""):
        self.part, self.note, self.prefix = part, part.with_name(part.name + ".json"), prefix

    def __call__(self, url: str, output_file: str | Path, pooch: Any) -> None:
        import requests
        from tqdm.auto import tqdm

        there = self.part.stat().st_size if self.part.exists() and self.note.exists() else 0
        known = json.loads(self.note.read_text("utf-8")) if there else {}
        if not (there and there == known["total"]):  # else it was cut after the last byte
            headers = {"Accept-Encoding": "identity"}
            if there and known["version"]:
                headers |= {"Range": f"bytes={there}-", "If-Range": known["version"]}
            with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
                total = _total(response)
                same = response.status_code == 206 and (_start(response), total) == (there, known.get("total"))
                if "Range" in headers and response.status_code in (206, 416) and not same:
                    self.part.unlink()
                    return self(url, output_file, pooch)
                response.raise_for_status()
                if response.headers.get("Content-Type", "").startswith("text/html"):
                    raise UserError(f"a web page came instead of the file (a quota, a login, a lapsed link): {url}")
                if not same:
                    there = 0
                    version = response.headers.get("ETag", "")
                    version = response.headers.get("Last-Modified") if version[:2] in ("", "W/") else version
                    self.part.unlink(missing_ok=True)
                    write_atomically(self.note, json.dumps({"version": version, "total": total}).encode())
                bar = tqdm(total=total, initial=there, unit="B", unit_scale=True, desc=Path(self.part).stem)
                with open(self.part, "ab") as file, bar:
                    for chunk in response.iter_content(CHUNK):
                        file.write(chunk)
                        bar.update(len(chunk))
            if total is not None and self.part.stat().st_size != total:
                raise requests.ConnectionError(f"{self.part.stat().st_size} of {total} bytes came")
        if not sha256(self.part).startswith(self.prefix):
            self.part.unlink()
            self.note.unlink()
            raise UserError(f"the sha256 does not begin with {self.prefix}, as its origin says: {url}")
        self.part.replace(output_file)
        self.note.unlink()


def fetch(
    url: str | None, path: Path, *, licence: str, page: str, accept: bool, md5: str = "", prefix: str = ""
) -> dict[str, Any]:
    """Sees to it that `path` holds the file of this url, whole and as it was first seen, and returns its record.

    A file that is there already, brought by hand, is taken as the first seen one. url None: it can only be brought by
    hand, from `page`. accept: whether the user accepts the licence; asked for until there is a record. md5, prefix (of
    the sha256): as published, "" where they are not.
    Raises UserError, one line that says what to do, where the licence is not accepted, there is no network or no such
    file any more, a hash is wrong, or the folder cannot be written.
    """
    record_path = path.with_name(path.name + ".json")
    record = _read(record_path)
    if not record and not accept:
        raise UserError(f"{path.name} is under this licence: {licence}. Read {page}; to accept, add --accept-licence")
    if record and path.exists() and sha256(path) == record["sha256"]:
        return record
    if path.exists() and not record:
        _check_first(path, md5, prefix)
    else:
        by_hand = f"open {page} in a browser, save the file as {path}, and run this again"
        if url is None:
            raise UserError(f"{path.name} cannot be fetched by a program: {by_hand}")
        published = f"md5:{md5}" if md5 else None
        _download(url, path, f"sha256:{record['sha256']}" if record else published, prefix, by_hand)
    if not record:
        first = datetime.date.today().isoformat()
        record = {"url": url or page, "sha256": sha256(path), "bytes": path.stat().st_size, "first_seen": first}
        record["accepted_licence"] = licence
        write_atomically(record_path, (json.dumps(record, indent=1) + "\n").encode())
    return record


def sha256(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(url: str, path: Path, known: str | None, prefix: str, by_hand: str) -> None:
    import pooch
    import requests

    if data.offline():
        raise UserError(f"{path.name} is not here, and MINEGAN_OFFLINE forbids to fetch it: unset it, or {by_hand}")
    pooch.get_logger().setLevel("WARNING")  # its lines would bury ours
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pooch.retrieve(url, known, path.name, path.parent, downloader=Resuming(part, prefix))
    except requests.HTTPError as error:
        status = f"HTTP {error.response.status_code}"
        raise UserError(f"{path.name} is not at {url} any more, or not for everyone ({status}): {by_hand}") from None
    except requests.RequestException as error:
        kept = part.stat().st_size / 1e6 if part.exists() else 0
        raise UserError(
            f"the connection to {urlsplit(url).netloc} failed ({type(error).__name__}), {kept:.1f} MB are kept: "
            "run this again to go on"
        ) from None
    except UserError as error:
        raise UserError(f"{error}: {by_hand}") from None
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): choose another folder, or make room") from None
    except ValueError:  # pooch met another hash
        trust = f"if you trust the new one, delete {path.name}.json" if known.startswith("sha256") else by_hand
        raise UserError(f"what is at {url} now is not the file that has {known}: {trust}") from None


def _check_first(path: Path, md5: str, prefix: str) -> None:
    """A file brought by hand, before it is trusted."""
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() if md5 else ""
    if found != md5 or not sha256(path).startswith(prefix):
        raise UserError(f"{path} is not the published file (another hash): delete it, and run this again")


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text("utf-8")) if path.exists() else {}
    except ValueError:
        raise UserError(f"{path} is damaged: delete it, and run this again") from None


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
