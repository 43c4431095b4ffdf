"""Drawn targets: faces of adults that the FFHQ generator of a package draws, at seeds that were chosen once.

`packs/ffhq-drawn.json` lists the seeds by kind; data_scripts/face_targets.py chose them by what the judge of faces
(metrics/attributes.py) said, and by eye: whoever could be under age was struck out. The pictures are not in the
package, since their generator is not for commercial use: they are drawn here, once, and kept in the cache.
"""

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minegan_lite.data import download
from minegan_lite.data.mnist import PACKS as FOLDER
from minegan_lite.errors import UserError
from minegan_lite.nn import frozen, seeded
from minegan_lite.progress import bar

PREFIX = "ffhq-drawn"
GENERATOR = "ffhq-mobilestylegan-64"
KINDS = ("women", "men", "seniors")
SHA256 = "4040ee230df583a8d271cd2a5e55cf49d5ccea75d3ef53351f428de490a048ad"  # of the list
AT_A_TIME = 10


def is_drawn(source: Any) -> bool:
    """Whether a source's word means faces to be drawn, of one of KINDS or not."""
    return isinstance(source, str) and source.partition(":")[0] == PREFIX


def licence() -> str:
    """The terms of the pictures, and of what is mined towards them."""
    from minegan_lite.published import NON_COMMERCIAL

    return NON_COMMERCIAL


def load_drawn(kind: str, generator: Any = None) -> Tensor:
    """The faces of a kind, "women", "men" or "seniors", uint8 (N, 3, 64, 64), in the order of the list.

    generator: draws them, from z (n, 512) with `truncation`; None for that of the package, which is fetched once, as
    published.load does. What a generator drew is kept in the cache and drawn no more: some 0.1 seconds of CPU a face.
    Not for commercial use: see `licence`. Raises UserError for another kind, for a damaged list, and where the
    generator cannot be had.
    """
    if kind not in KINDS:
        raise UserError(f"no drawn faces {kind!r}: there are {', '.join(f'{PREFIX}:{one}' for one in KINDS)}")
    import safetensors.torch

    from minegan_lite.files import weights_fingerprint, write_atomically  # which imports this package

    listed = read_list()
    if generator is None:
        from minegan_lite import published

        generator = published.load(GENERATOR, with_critic=False).generator
    seeds, truncation = listed[kind]["seeds"], listed["truncation"]
    key = f"{weights_fingerprint(generator)} {truncation} {seeds}"
    path = download.cache_folder() / "drawn" / f"{kind}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.safetensors"
    if (kept := _kept(path, len(seeds))) is not None:
        return kept
    images = draw(generator, seeds, truncation)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, safetensors.torch.save({"images": images}))
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): make room, or set MINEGAN_CACHE") from None
    return images


def draw(generator: Any, seeds: list[int], truncation: float) -> Tensor:
    """The pictures of seeds, uint8 (n, 3, R, R): one latent a seed, so that a face does not depend on the others."""
    parts = []
    with frozen(generator), torch.no_grad(), bar(total=len(seeds), desc="drawing faces", unit="face") as progress:
        for i in range(0, len(seeds), AT_A_TIME):
            part = seeds[i : i + AT_A_TIME]
            z = torch.cat([torch.randn(1, generator.latent_dim, generator=seeded(seed)) for seed in part])
            images = generator(z, truncation=truncation)
            parts.append(images.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8))
            progress.update(len(part))
    return torch.cat(parts)


@functools.cache
def read_list() -> dict[str, Any]:
    """The list of seeds: "truncation", and for each kind its "seeds" with the probabilities they were chosen by.

    Raises UserError where it is missing or is not the shipped one.
    """
    path = FOLDER / f"{PREFIX}.json"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): reinstall minegan-lite") from None
    if (found := hashlib.sha256(content).hexdigest()) != SHA256:
        raise UserError(f"{path} is damaged (sha256 {found[:12]}…, not {SHA256[:12]}…): reinstall minegan-lite")
    return json.loads(content)


def _kept(path: Path, n: int) -> Tensor | None:
    """The pictures in the cache; None where there are none, or no such ones: they are drawn again."""
    import safetensors
    import safetensors.torch

    try:
        images = safetensors.torch.load(path.read_bytes())["images"]
    except (OSError, KeyError, safetensors.SafetensorError):
        return None
    return images if images.dtype == torch.uint8 and images.ndim == 4 and len(images) == n else None
