"""Prepares a data set for few_shot: its pictures decoded, cropped and resized once, into one array of bytes.

    python data_scripts/prepare_images.py --list
    python data_scripts/prepare_images.py celeba --source img_align_celeba.zip
    python data_scripts/prepare_images.py ffhq-women --source images1024x1024 --labels ffhq_aging_labels.csv
    python data_scripts/prepare_images.py imagenet-cock --source ILSVRC2012_img_train.tar --size 128 --jobs 8
    python data_scripts/prepare_images.py places365-arch --accept-licence             # fetched: 24 GB, all categories
    python data_scripts/prepare_images.py lsun-tower --accept-licence --limit 10000   # fetched; needs pip install lmdb

--source is a folder, a .zip, an uncompressed .tar, or an LMDB's folder. Without it, what can be fetched is fetched
into data_sets of the cache ($MINEGAN_CACHE), resumed where it was cut; for the rest, one line says where to get it.

The result, --out, holds images.npy and manifest.json (source, selection, crop, licence, sha256, what was skipped).
Killed, the same command goes on; finished, it only checks. Then:

    target = minegan_lite.few_shot("OUT", n=100, seed=0, image_shape=(3, 128, 128))

All that is not drawn is held out, as floats in memory: --limit keeps that small, with 10,000 pictures of 128 pixels
taking 2 GB.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import torch
from archives import RATIO, check_archive, unpack
from data_sets import LABELS, TABLE, DataSet, select_people
from fetching import fetch
from image_cache import finished, prepare
from image_sources import need_lmdb, open_source
from terminal import columns, status

from minegan_lite.data import download
from minegan_lite.data.images import printable
from minegan_lite.data.impostors import refuse_impostor
from minegan_lite.errors import UserError


def run(row: DataSet, args: argparse.Namespace) -> tuple[Path, dict[str, Any]]:
    """Prepares a data set as the command line asks, and returns the folder and its manifest. Raises UserError."""
    if min(args.size, args.jobs, 1 if args.limit is None else args.limit) < 1:
        raise UserError("--size, --jobs and --limit must be at least 1")
    out = args.out or download.cache_folder() / "images" / f"{row.name}-{args.size}"
    request = {"data_set": row.name, "size": args.size, "limit": args.limit, "seed": args.seed, "crop": row.crop}
    if manifest := finished(out, request):
        return out, manifest
    if row.people and args.labels is None:
        raise UserError(f"{row.name} is selected by labels of age and gender: give --labels, such as {LABELS}")
    source = args.source or _fetched(row, args.accept_licence)
    names, read = open_source(source, row.folders)
    rule = f"in a folder called {' or '.join(row.folders)}" if row.folders else "all"
    if row.people:
        names, rule = select_people(names, row.people, args.labels)
    if args.limit is not None and args.limit < len(names):
        rng = torch.Generator().manual_seed(args.seed)
        drawn = torch.randperm(len(names), generator=rng)[: args.limit].sort().values
        rule, names = f"{rule}; {args.limit} of {len(names)} drawn", [names[i] for i in drawn.tolist()]
    facts = {**request, "what": row.what, "rule": rule, "source": source.name, "licence": row.licence, "page": row.page}
    return out, prepare(names, read, out, request=request, box=row.box, jobs=args.jobs, facts=facts)


def _fetched(row: DataSet, accept: bool) -> Path:
    """The archive of a data set in the cache, unpacked where it holds an LMDB."""
    if row.url is None:
        raise UserError(f"{row.name} cannot be fetched by a program: get it from {row.page}, and give it as --source")
    if row.name.startswith("lsun-"):
        need_lmdb()
    path = download.cache_folder() / "data_sets" / row.archive

    def opens(candidate: Path) -> None:
        refuse_impostor(candidate)
        check_archive(candidate, row.archive)

    fetch(row.url, path, licence=row.licence, page=row.page, accept=accept, md5=row.md5, opens=opens)
    if not row.name.startswith("lsun-"):
        return path
    return unpack(path, path.with_suffix(""), ["data.mdb"], RATIO * path.stat().st_size)[0].parent


def listing() -> str:
    """The table, one line a data set."""
    lines = [("name", "what", "fetched", "licence", "page")]
    lines += [(row.name, row.what, "yes" if row.url else "no", row.licence, row.page) for row in TABLE.values()]
    return columns(lines)


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    keep = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=keep)
    parser.add_argument("data_set", nargs="?", metavar="NAME", help="a data set, as --list names them")
    parser.add_argument("--list", action="store_true", help="the data sets, their licences and origins")
    parser.add_argument("--source", type=Path, metavar="PATH", help="folder, .zip, .tar or LMDB with the pictures")
    parser.add_argument("--labels", type=Path, metavar="CSV", help="age and gender, for the selections from FFHQ")
    parser.add_argument("--size", type=int, default=128, metavar="PIXELS", help="side of a picture (default: 128)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the result (default: images/NAME-SIZE in the cache)")
    parser.add_argument("--limit", type=int, metavar="N", help="at most N pictures, drawn by --seed (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default: 0)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (default: cores)")
    parser.add_argument("--accept-licence", action="store_true", help="accept the licence of what is to be fetched")
    args = parser.parse_args(arguments)
    if args.list or args.data_set is None:
        print(listing())
        return 0

    def work() -> None:
        if args.data_set not in TABLE:
            raise UserError(f"unknown data set {args.data_set!r}: --list names those that there are")
        out, manifest = run(TABLE[args.data_set], args)
        count, shape, skipped = manifest["count"], tuple(manifest["shape"][1:]), len(manifest["skipped"])
        print(f"{printable(out)}: {count} pictures, {skipped} skipped, sha256 {manifest['sha256'][:12]}…")
        if skipped:
            print(f"# manifest.json names the {skipped}; once they are mended, delete the folder and prepare it again")
        print(f"target = minegan_lite.few_shot({str(out)!r}, n={max(2, min(100, count // 2))}, image_shape={shape})")

    return status("prepare_images.py", work)


if __name__ == "__main__":
    sys.exit(main())
