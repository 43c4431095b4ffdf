"""Ships the miners of recorded runs, so that a page draws its pictures from the run whose numbers it states.

    python data_scripts/ship_miners.py --out runs/faces          # where reference_faces.py kept them

Each is the miner's file as Mined.save wrote it; its card has the numbers of the ledger.
"""

import argparse
import sys
from pathlib import Path

from terminal import status
from train_attributes import wrapped

from minegan_lite import published, zoo
from minegan_lite.chapters import ledger
from minegan_lite.errors import UserError
from minegan_lite.files import read_saved

LARGEST = 300_000  # bytes
# {name in the zoo: the run, and what its target is}
MINERS = {
    "faces-women": ("faces/celeba-dcgan-64-celeba-women/seed0", "1,000 photographs of women from CelebA"),
    "faces-seniors": ("faces/celeba-dcgan-64-tight-utkface-seniors/seed0", "photographs of seniors from UTKFace"),
    "faces-digiface-women": ("faces/digiface-dcgan-64-utkface-women/seed0", "photographs of women from UTKFace"),
}


def card_of(name: str, run: str, target: str, size: int) -> str:
    """The model card."""
    result = ledger.read(run)
    numbers, settings, provenance = result["numbers"], result["settings"], result["provenance"]
    kid, shares = numbers["evaluation"]["kid"], numbers["shares"]
    source = settings["sources"][0]
    told = ", ".join(
        f"{one} {share['value']:.1%} (held-out pictures: {share['held_out']:.1%})" for one, share in shares.items()
    )
    return wrapped(f"""# {name}

**What it is.** The miner that takes `{source}` to {target}. It maps u from the source's prior to
latents z; the source is {published.TABLE[source].what}, fetched from its package and no part of this file. The run is
`{run}` of the ledger, averaged weights, {size / 1000:.0f} KB of fp16.

**Mined with** {settings["images"]:,} pictures, {settings["steps"]} steps, batch {settings["batch"]}, preset
{settings["preset"]}, loss {settings["loss"]}, learning rates {settings["miner_lr"]:g} (miner) and
{settings["critic_lr"]:g} (critic), {provenance["device"]}, {provenance["date"][:10]}. The pictures are for
non-commercial research only and may not be passed on; none is in this file.

    {provenance["command"]}

**Measured.** KID (Lite0) {kid["value"]:.3f} with n = m = {kid["n"]}, {kid["repeats"]} repeats; held-out pictures
against each other {kid["floor"]:.3f}. Shares by the book's judge, of {shares["woman"]["n"]} samples: {told}.

**Licence.** MIT, as all of minegan-lite. **Intended use.** Drawing what the run drew, in this book. The faces are
invented; what the source draws badly stays bad.
""")


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: {', '.join(MINERS)}")
    parser.add_argument("--out", type=Path, default=Path("runs/faces"), help="run folders (default %(default)s)")
    args = parser.parse_args(arguments)

    def ship() -> None:
        if unknown := [name for name in args.names if name not in MINERS]:
            raise UserError(f"no miner is called {unknown[0]!r}: there are {', '.join(MINERS)}")
        for name in args.names or MINERS:
            run, target = MINERS[name]
            _, what, seed = run.split("/")
            saved = args.out / "miners" / f"{what}-{seed}.safetensors"
            if not saved.is_file() or not ledger.find(run):
                raise UserError(f"{run} has not been mined into {args.out}: run reference_faces.py first")
            record, _ = read_saved(saved)
            if record["target_sha256"] != ledger.read(run)["settings"]["target_sha256"]:
                raise UserError(f"{saved} is of another run than {run} in the ledger: mine that again")
            size = saved.stat().st_size
            if size > LARGEST:
                raise UserError(f"{saved} has {size:,} bytes, and {LARGEST:,} may ship")
            print(zoo.pack_miner(name, saved, card=card_of(name, run, target, size)))

    return status("ship_miners.py", ship)


if __name__ == "__main__":
    sys.exit(main())
