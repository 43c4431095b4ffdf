"""Pictures as tensors: files, PIL images and tensors, checked, and converted where that is asked for."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from minegan_lite.errors import UserError

PREPARED, MANIFEST = "images.npy", "manifest.json"  # in a folder that data_scripts/prepare_images.py made


def to_signed(images: Tensor) -> Tensor:
    """uint8 images, 0…255 → float images in [−1, 1]."""
    return images.float().div_(127.5).sub_(1)


def read_image(item: Any, index: int, image_shape: tuple[int, int, int], resize: bool) -> Tensor:
    """One item of a folder or list as float32 (C, H, W) in [−1, 1]; `index` names what has no name of its own."""
    label = str(item) if isinstance(item, (str, Path)) else f"image {index}"
    x = _of_tensor(item, label) if isinstance(item, Tensor) else _of_picture(item, label, image_shape[0], resize)
    if resize and x.dim() == 3 and x.shape[0] == image_shape[0]:
        x = _crop(x, *image_shape[1:])
    if tuple(x.shape) != image_shape:
        raise UserError(
            f"{label} has shape {tuple(x.shape)} (channels, height, width), the generator draws {image_shape}: "
            "convert it, or ask for resizing (resize=True)"
        )
    return x


def is_prepared(folder: Path) -> bool:
    """Whether a folder holds pictures that were prepared, or are being prepared, by data_scripts/prepare_images.py."""
    return (folder / PREPARED).exists() or (folder / f"{PREPARED}.part").exists()


def read_prepared(folder: Path) -> Tensor:
    """The pictures of a prepared folder, uint8 (N, C, H, W), not in memory but mapped from the file.

    Raises UserError where the preparation is not finished, or the array is not one of pictures.
    """
    import numpy as np

    if not (folder / PREPARED).exists():
        raise UserError(f"{folder} is not prepared to the end: run the same data_scripts/prepare_images.py again")
    try:
        pictures = np.load(folder / PREPARED, mmap_mode="c", allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise UserError(f"{folder / PREPARED} is damaged ({type(error).__name__}): prepare it again") from error
    if pictures.ndim != 4 or pictures.dtype != np.uint8:
        raise UserError(f"{folder / PREPARED} holds no pictures: uint8 (N, C, H, W) is needed, not {pictures.dtype}")
    return torch.from_numpy(pictures)


def _of_tensor(x: Tensor, label: str) -> Tensor:
    if x.dtype == torch.uint8:
        return to_signed(x)
    if not x.is_floating_point() or not (x.abs() <= 1).all():  # NaN fails the comparison as well
        raise UserError(f"{label} must be uint8, or finite floats in [−1, 1]; it is {x.dtype} with other values")
    return x.detach().cpu().float()


def _of_picture(item: Any, label: str, channels: int, convert: bool) -> Tensor:
    import numpy as np
    from PIL import Image, ImageOps

    if not isinstance(item, (str, Path, Image.Image)):
        raise UserError(f"{label} is neither a path nor a PIL image nor a tensor but {short(item)}")
    try:
        with Image.open(item) if isinstance(item, (str, Path)) else item.copy() as opened:
            picture = ImageOps.exif_transpose(opened)  # decodes every pixel; a camera's turned pictures stand upright
    except Exception as error:  # decoders meet broken files with many kinds of exception
        raise UserError(f"{label} is no readable image ({type(error).__name__}): repair or remove it") from error
    if picture.mode[0] in "IF":
        raise UserError(f"{label} has more than 8 bits a channel (mode {picture.mode}): convert it to 8 first")
    if convert:
        picture = picture.convert("L" if channels == 1 else "RGB")
    if picture.mode not in ("L", "RGB"):
        raise UserError(f"{label} has mode {picture.mode}, not grey or RGB: convert it, or ask for it (resize=True)")
    x = torch.from_numpy(np.array(picture))  # (H, W) or (H, W, 3)
    return to_signed(x.unsqueeze(0) if x.dim() == 2 else x.permute(2, 0, 1))


def _crop(x: Tensor, height: int, width: int) -> Tensor:
    """(C, h, w) → (C, height, width): enlarged or shrunk until it just covers that, and cropped at the centre."""
    scale = max(height / x.shape[1], width / x.shape[2])
    size = max(height, round(x.shape[1] * scale)), max(width, round(x.shape[2] * scale))
    x = F.interpolate(x.unsqueeze(0), size=size, mode="bilinear", antialias=True, align_corners=False).squeeze(0)
    x = x.clamp(-1, 1)  # the filter's weights sum to one only up to rounding
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return x[:, top : top + height, left : left + width]


def short(value: Any) -> str:
    """What a value is, in a few words on one line."""
    return repr(value) if isinstance(value, (str, int, float, Path)) else f"a {type(value).__name__}"
