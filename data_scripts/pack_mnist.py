"""Packs MNIST's four original files into minegan_lite/packs, as the package carries them: two xz files, lossless.

    MINEGAN_DATA=path/to/data python data_scripts/pack_mnist.py        # a minute or two
    python data_scripts/pack_mnist.py --check                          # are the packs those that packs/mnist.md names?

The folder of MINEGAN_DATA holds MNIST/raw/train-images-idx3-ubyte and the three others, as torchvision keeps them. They
are checked by their published MD5 before anything is written. MNIST is by Yann LeCun, Corinna Cortes and Christopher
J. C. Burges, under CC BY-SA 3.0, which asks whoever passes it on to name them and the licence, and to say what was
changed: packs/mnist.md does.
"""

import argparse
import hashlib
import lzma
import sys
from pathlib import Path

from terminal import status

from minegan_lite.data import mnist
from minegan_lite.errors import UserError
from minegan_lite.files import write_atomically

# Nothing in a picture repeats at multiples of 4 bytes (pb=0); four bits of each pixel foretell the next one (lc=4).
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 4, "lp": 0, "pb": 0}]
CARD = mnist.PACKS / "mnist.md"


def pack(split: str, raw: Path) -> bytes:
    """The xz file of a split: images, then labels, both with their headers. Raises UserError for another MD5."""
    contents = []
    for name, md5, _ in mnist.MNIST_FILES[split]:
        contents.append((raw / name).read_bytes())
        if hashlib.md5(contents[-1], usedforsecurity=False).hexdigest() != md5:
            raise UserError(f"{raw / name} is not MNIST's file: its MD5 is not {md5}")
    return lzma.compress(b"".join(contents), filters=FILTERS)


def check() -> None:
    """Raises UserError unless the packs are those of the card, and hold MNIST."""
    for split in mnist.MNIST_FILES:
        found = hashlib.sha256((mnist.PACKS / f"mnist-{split}.xz").read_bytes()).hexdigest()
        if found not in CARD.read_text("utf-8"):
            raise UserError(f"mnist-{split}.xz has the sha256 {found}, which {CARD.name} does not name")
        images, _ = mnist.load_mnist(split)
        print(f"mnist-{split}.xz: {len(images):,} images, sha256 {found}")


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0, or 2 behind one line for what a user can mend."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing")
    args = parser.parse_args(arguments)

    def work() -> None:
        if args.check:
            return check()
        raw = mnist.original_files()
        if raw is None:
            raise UserError("MINEGAN_DATA names no folder with MNIST/raw and MNIST's four files in it")
        for split in mnist.MNIST_FILES:
            path = mnist.PACKS / f"mnist-{split}.xz"
            content = pack(split, raw)
            write_atomically(path, content)
            print(f"{path.name}: {len(content):,} bytes, sha256 {hashlib.sha256(content).hexdigest()}", flush=True)

    return status("pack_mnist.py", work)


if __name__ == "__main__":
    sys.exit(main())
