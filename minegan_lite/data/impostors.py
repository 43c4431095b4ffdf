"""Files that were downloaded under the name of weights and are something else: a web page, a Git LFS pointer, empty."""

from pathlib import Path

from minegan_lite.errors import UserError
from minegan_lite.shown import shown

HEAD = 1024  # bytes, enough to recognise an impostor
# no file of weights starts like this: five such bytes would be the length of a safetensors header of gigabytes
PAGES = (b"<!doctype", b"<html", b"<head", b"<body", b"<?xml", b"<!--")
POINTERS = (b"version https://git-lfs.github.com/spec/", b"version https://hawser.github.com/spec/")
WEB_PAGE, POINTER, EMPTY = "a web page", "a Git LFS pointer", "empty"
ADVICE = {
    WEB_PAGE: "not the file: the site answered with a login, a quota or an error; download it in a browser",
    POINTER: "not the file: fetch the real one, with `git lfs pull` or from the download link of its page",
    EMPTY: "fetch it again",
}


def kind_of(head: bytes) -> str | None:
    """What a file that starts with these bytes is, if it is an impostor: a key of ADVICE; else None."""
    if not head:
        return EMPTY
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(PAGES):
        return WEB_PAGE
    return POINTER if text.startswith(POINTERS) else None


def refuse_impostor(path: str | Path) -> None:
    """Raises UserError for a file that is a web page, a Git LFS pointer or empty, and says how to get the real one.

    Call it before a downloaded file is trusted in any way. Reads the first bytes alone; raises OSError as open does.
    """
    with Path(path).open("rb") as file:
        kind = kind_of(file.read(HEAD))
    if kind:
        raise UserError(f"{shown(path, most=4096)} is {kind}: {ADVICE[kind]}")
