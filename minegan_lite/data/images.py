"""Pictures as tensors: files, PIL images and tensors, checked, and converted where that is asked for."""

import os
import stat
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import torch
from torch import Tensor
from torch.nn import functional as F

from minegan_lite.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

PREPARED, MANIFEST = "images.npy", "manifest.json"  # in a folder that data_scripts/prepare_images.py made
# The formats that Pillow decodes by itself. It looks at a file's content, not its name, and starts Ghostscript for EPS.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
PIXELS = 1 << 26  # the most in one picture, before and after resizing: 0.8 GB of colours as float32
GROUND = "white"  # the background of transparent pictures, as on a web page
ROUNDING = 1e-3  # how far values may exceed ±1: a step of float16 there, or of float32 after thousands of additions


class Unsigned(UserWarning):
    """Warns of images without a value below 0: they are probably in [0, 1], and the library's range is [−1, 1]."""


def to_signed(images: Tensor) -> Tensor:
    """uint8 images, 0…255 → float images in [−1, 1]."""
    return images.float().div_(127.5).sub_(1)


def checked_images(images: Tensor, what: str) -> Tensor:
    """Images of any shape as float32 in [−1, 1]; `what` begins each message, as in "the target's images".

    uint8 images, 0…255, are converted. Floats that exceed ±1 by no more than rounding are clamped. Floats without a
    value below 0 are returned unchanged, with an Unsigned warning. Raises UserError for other dtypes, an empty tensor,
    values that are not finite, and values that exceed ±1 by more.
    """
    signed = _in_range(images, what)
    if images.is_floating_point() and not (signed < 0).any():
        warn_unsigned(what)
    return signed


def warn_unsigned(what: str) -> None:
    """The Unsigned warning for these images."""
    warnings.warn(f"{what} hold no value below 0: if they lie in [0, 1], give 2 * images - 1", Unsigned, stacklevel=3)


def read_image(item: Any, index: int, image_shape: tuple[int, int, int], resize: bool) -> Tensor:
    """An item of a folder or list as float32 (C, H, W) in [−1, 1]; messages give the index of one without a path."""
    label = printable(item) if isinstance(item, (str, Path)) else f"image {index}"
    x = _in_range(item, label).cpu() if isinstance(item, Tensor) else _of_picture(item, label, image_shape[0], resize)
    if resize and x.dim() == 3 and x.shape[0] == image_shape[0]:
        x = _crop(x, *image_shape[1:], label)
    if tuple(x.shape) != image_shape:
        raise UserError(
            f"{label} has shape {tuple(x.shape)} (channels, height, width), the generator draws {image_shape}: "
            "convert it, or ask for resizing (resize=True)"
        )
    return x


def own_shape(item: Any) -> tuple[int, ...]:
    """(C, H, W) of an item as it is. Raises UserError for a picture that could not be taken as it is."""
    label = printable(item) if isinstance(item, (str, Path)) else "image 0"
    return tuple((item if isinstance(item, Tensor) else _of_picture(item, label, 3, convert=False)).shape)


def open_picture(source: Path | BinaryIO, label: str) -> "Image.Image":
    """Opens a picture, undecoded. Raises UserError unless it is a regular file of FORMATS within PIXELS pixels."""
    from PIL import Image

    if isinstance(source, Path):
        check_regular(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own bound on pixels is larger, and damaged metadata do no harm
            picture = Image.open(source, formats=FORMATS)
    except Exception as error:
        raise UserError(f"{label} is no readable image ({type(error).__name__}): repair or remove it") from error
    if picture.width * picture.height > PIXELS:
        picture.close()
        raise UserError(f"{label} has {picture.width}×{picture.height} pixels, {PIXELS} are read at most: shrink it")
    return picture


def check_regular(path: Path) -> None:
    """Raises UserError for a path that is missing or unreadable, or no regular file: opening a pipe could hang."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        why = getattr(error, "strerror", None) or error
        raise UserError(f"{printable(path)} cannot be read ({why}): repair or remove it") from None
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"
        raise UserError(f"{printable(path)} is {what}, not a file: remove it, or choose another")


def is_prepared(folder: Path) -> bool:
    """Whether a folder holds pictures that were prepared, or are being prepared, by data_scripts/prepare_images.py."""
    return (folder / PREPARED).exists() or (folder / f"{PREPARED}.part").exists()


def read_prepared(folder: Path) -> Tensor:
    """The pictures of a prepared folder, uint8 (N, C, H, W), mapped from the file instead of read into memory.

    Raises UserError if the preparation was not finished, or the file holds something else than pictures.
    """
    import numpy as np

    path = folder / PREPARED
    if not path.exists():
        raise UserError(f"{folder} is not prepared to the end: run the same data_scripts/prepare_images.py again")
    check_regular(path)
    try:
        with np.errstate(over="raise"):  # of the sizes in a header
            pictures = np.lib.format.open_memmap(path, mode="c")  # np.load would open zips and pickles too
    except Exception as error:  # numpy meets broken headers with many kinds of exception
        raise UserError(f"{path} is damaged ({type(error).__name__}): prepare it again") from error
    if pictures.ndim != 4 or pictures.dtype != np.uint8 or not pictures.flags.c_contiguous:
        raise UserError(f"{path} holds no pictures: uint8 (N, C, H, W) in C order is needed, not {pictures.dtype}")
    return torch.from_numpy(pictures)


def _in_range(x: Tensor, what: str) -> Tensor:
    """`checked_images` without its warning."""
    if x.dtype == torch.uint8 and x.numel():
        return to_signed(x)
    if not x.is_floating_point() or not x.numel():
        raise UserError(f"{what} must be uint8, or floats in [−1, 1], got {tuple(x.shape)} of {x.dtype}")
    signed = x.detach().float()
    if not signed.isfinite().all():
        raise UserError(f"{what} must be finite, there are NaN or infinite values: remove or mend those images")
    low, high = (limit.item() for limit in signed.aminmax())
    beyond, allowed = max(-low, high) - 1, 2**-7 if x.dtype == torch.bfloat16 else ROUNDING
    if beyond > allowed:
        raise UserError(
            f"{what} must lie in [−1, 1], got values from {low:.7g} to {high:.7g}: uint8 is converted, floats of 0…255 "
            "are wanted as images / 127.5 - 1"
        )
    return signed.clamp(-1, 1) if beyond > 0 else signed


def _of_picture(item: Any, label: str, channels: int, convert: bool) -> Tensor:
    import numpy as np
    from PIL import Image, ImageFile, ImageOps

    if not isinstance(item, (str, Path, Image.Image)):
        raise UserError(f"{label} is neither a path nor a PIL image nor a tensor but {short(item)}")
    if isinstance(item, ImageFile.ImageFile) and item.format not in (*FORMATS, "MPO"):  # MPO: a JPEG of several
        raise UserError(f"{label} is {item.format}, which is not decoded here: give picture.convert('RGB') instead")
    try:
        with open_picture(Path(item), label) if isinstance(item, (str, Path)) else item.copy() as opened:
            picture = ImageOps.exif_transpose(opened)  # decodes every pixel; a camera's turned pictures stand upright
        if convert and picture.mode[0] not in "IF":
            picture = _on_ground(picture).convert("L" if channels == 1 else "RGB")
    except UserError:
        raise
    except Exception as error:  # decoders meet broken files with many kinds of exception
        raise UserError(f"{label} is no readable image ({type(error).__name__}): repair or remove it") from error
    if picture.mode[0] in "IF":
        raise UserError(f"{label} has more than 8 bits a channel (mode {picture.mode}): convert it to 8 first")
    if picture.mode not in ("L", "RGB") or picture.has_transparency_data:
        kind = "transparent pixels" if picture.mode in ("L", "RGB") else f"mode {picture.mode}, not grey or RGB"
        raise UserError(f"{label} has {kind}: convert it, or ask for it (resize=True, which lays it on {GROUND})")
    x = torch.from_numpy(np.array(picture))  # (H, W) or (H, W, 3)
    return to_signed(x.unsqueeze(0) if x.dim() == 2 else x.permute(2, 0, 1))


def _on_ground(picture: "Image.Image") -> "Image.Image":
    """A transparent picture as it looks on GROUND, since its transparent pixels hold colours that nobody was to see."""
    from PIL import Image

    if not picture.has_transparency_data:
        return picture
    return Image.alpha_composite(Image.new("RGBA", picture.size, GROUND), picture.convert("RGBA"))


def _crop(x: Tensor, height: int, width: int, label: str) -> Tensor:
    """(C, h, w) → (C, height, width): resized until it just covers the wanted size, then cropped at the centre."""
    scale = max(height / x.shape[1], width / x.shape[2])
    size = max(height, round(x.shape[1] * scale)), max(width, round(x.shape[2] * scale))
    if size[0] * size[1] > PIXELS:
        raise UserError(f"{label} is too narrow, {x.shape[2]}×{x.shape[1]} pixels, to be resized: crop it first")
    x = F.interpolate(x.unsqueeze(0), size=size, mode="bilinear", antialias=True, align_corners=False).squeeze(0)
    x = x.clamp(-1, 1)  # the filter's weights sum to one only up to rounding
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return x[:, top : top + height, left : left + width]


def printable(path: str | Path) -> str:
    """A path for a message of one line: quoted and escaped if it has characters that cannot be printed."""
    return str(path) if str(path).isprintable() else repr(str(path))


def short(value: Any) -> str:
    """What a value is, in a few words on one line."""
    return repr(value) if isinstance(value, (str, int, float, Path)) else f"a {type(value).__name__}"
