"""Brings public weights to this machine, checks them, and says how to load them.

    python data_scripts/get_weights.py --list                          # names, layouts, sizes, licences
    python data_scripts/get_weights.py biggan-128                      # refused: the line names the licence
    python data_scripts/get_weights.py biggan-128 --accept-licence     # fetched, with a progress bar

Cut or killed, the same command goes on where it was. No full hash of these files is known to us: the first one that
arrives is recorded beside the file, with its date and the licence, and from then on the file must have it. Where a
program cannot fetch a file (quotas, logins, lapsed links), the line says where to save it by hand; then run it again.
Files go into weights/public of the cache ($MINEGAN_CACHE, else the user's cache folder), or where --out says.
"""

import argparse
import sys
from pathlib import Path

from archives import unpack
from fetching import fetch
from public_weights import TABLE, Weights
from terminal import columns, status

from minegan_lite import data
from minegan_lite.errors import UserError


def get(row: Weights, folder: Path, accept: bool) -> str:
    """Brings the files of a row into folder/NAME and returns the lines that load them. Raises UserError as fetch."""
    place = folder / row.name
    for file in row.files:
        path = place / file.name
        record = fetch(file.url, path, licence=row.licence, page=row.origin, accept=accept, prefix=file.sha256)
        size, seen = record["bytes"] / 1e6, record["first_seen"]
        print(f"{path}: {size:.1f} MB, sha256 {record['sha256'][:12]}…, as first seen {seen}")
    parts = unpack(path, place, row.members) if row.members else [place / file.name for file in row.files]
    critic = f", critic={str(parts[1])!r}" if len(parts) > 1 else ""
    comment = "" if row.critic else "  # no critic in these weights"
    hint = f"# {row.hint}\n" if row.hint else ""
    return f"{hint}gan = minegan_lite.checkpoints.load({str(parts[0])!r}{critic}, name={row.name!r}){comment}"


def listing() -> str:
    """The table, one line a row."""
    lines = [("name", "layout", "what", "MB", "critic", "licence", "origin")]
    for row in TABLE.values():
        critic = "yes" if row.critic else "no"
        lines.append((row.name, row.layout, row.what, row.size, critic, row.licence, row.origin))
    return columns(lines)


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    keep = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=keep)
    parser.add_argument("names", nargs="*", metavar="NAME", help="weights to bring, as --list names them")
    parser.add_argument("--list", action="store_true", help="what there is, and where it is from")
    parser.add_argument("--accept-licence", action="store_true", help="accept the licence of the weights named")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the files (default: in the cache)")
    args = parser.parse_args(arguments)
    if args.list or not args.names:
        print(listing())
        return 0

    def bring() -> None:
        if unknown := [name for name in args.names if name not in TABLE]:
            raise UserError(f"unknown weights {unknown[0]!r}: --list names those that there are")
        for name in args.names:
            print(get(TABLE[name], args.out or data.cache_folder() / "weights" / "public", args.accept_licence))

    return status("get_weights.py", bring)


if __name__ == "__main__":
    sys.exit(main())
