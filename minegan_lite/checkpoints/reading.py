"""Reading a stranger's file: nothing in it is run, and it takes no more memory than a real checkpoint does."""

import math
import re
import stat
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from minegan_lite.data.impostors import refuse_impostor
from minegan_lite.errors import UserError
from minegan_lite.shown import shown

# The most that a file may hold, in bytes, unpacked. The largest published ones (a generator, its average, a critic and
# Adam's two moments of each, at 30 to 90 million numbers a network) have about 1.1 GB: there is room for four times it.
LIMIT = 4 << 30
NPZ_LIMIT = LIMIT // 4  # an .npz holds one network, without moments
HEAD = 1 << 20  # bytes of a refused file in which a hint's class name is looked for
NPY_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
# What training scripts keep beside the weights. None of these objects is made: each becomes an `Inert`.
DATA = (
    "argparse.Namespace",
    "types.SimpleNamespace",
    "numpy.dtype",
    "numpy.ndarray",
    *(f"{core}.{name}" for core in ("numpy.core", "numpy._core")
      for name in ("multiarray.scalar", "multiarray._reconstruct", "numeric._frombuffer")),
    *(f"{module}.{name}" for module in ("pathlib", "pathlib._local")
      for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")),
    *(f"datetime.{name}" for name in ("date", "datetime", "time", "timedelta", "timezone")),
    "torch.torch_version.TorchVersion",
)  # fmt: skip


class Inert:
    """Replaces an object in a pickle that no layout needs: accepts any arguments, keeps nothing and does nothing."""

    def __init__(self, *given):
        pass

    def __new__(cls, *given):
        return super().__new__(cls)

    def __setstate__(self, state):
        pass


def read(path: Path, allowed: Iterable[tuple[type, str]] = (), hints: Mapping[str, str] | None = None) -> Any:
    """The content of a .pth, .npz or .safetensors file, whose kind is recognised by its first bytes.

    allowed: pairs (class, "full.name") that a pickle may build, besides tensors, containers and the names in DATA.
    hints: {part of a class name: advice} for pickles that are refused. Raises UserError for a file that is missing,
    that cannot be read safely or that holds more than LIMIT, and for a directory, a pipe or a device.
    """
    name = shown(path, most=4096)
    try:
        status = path.stat()  # before it is opened: opening a pipe would wait for a writer, for ever
        head = b""
        if stat.S_ISREG(status.st_mode):
            with path.open("rb") as file:
                head = file.read(HEAD)
    except (OSError, ValueError) as error:  # ValueError: a name with a null character
        raise UserError(f"the checkpoint cannot be read ({type(error).__name__}): {name}") from error
    if not stat.S_ISREG(status.st_mode):
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
        raise UserError(f"the checkpoint cannot be read: {name} is {kind}, give a file")
    _refuse_larger(status.st_size, LIMIT, f"{name} has")
    refuse_impostor(path)
    try:
        if head[8:9] == b"{":
            import safetensors.torch

            return safetensors.torch.load_file(path)
        if head.startswith(b"PK") and not _is_torch(path, name):
            with np.load(path, allow_pickle=False) as arrays:
                return {key: arrays[key] for key in arrays.files}
        data = [(Inert, kept) for kept in DATA]
        with torch.serialization.safe_globals([*data, *allowed]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that an old pickle protocol is read, which either works or raises
            return torch.load(path, map_location="cpu", weights_only=True)
    except UserError:
        raise
    except Exception as error:  # readers of damaged files raise almost anything
        if type(error).__name__ != "UnpicklingError":
            raise UserError(f"{name} is damaged or no checkpoint ({type(error).__name__}): fetch it again") from error
        asked = re.search(r"GLOBAL (\S+)", str(error))
        asks = f"it asks for {shown(asked[1])}" if asked else "its pickle holds more than tensors, or is damaged"
        hint = next((hint for part, hint in (hints or {}).items() if part.encode() in head), None)
        advice = hint or "save its state dicts alone, with the code that wrote it"
        # without its cause, which advises to read the file unsafely
        raise UserError(f"{name} was not opened, and nothing in it was run: {asks}; {advice}") from None


def _is_torch(path: Path, name: str) -> bool:
    """True for torch's archive, False for numpy's. Raises UserError for any other, and if it is too large or damaged.

    torch and numpy would not find that themselves: their readers do not compare the checksums, or first allocate the
    size that a part claims to have.
    """
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        names = [part.filename for part in parts]
        if any(one.endswith("constants.pkl") for one in names):
            raise UserError(f"{name} is TorchScript, which is a program: save the network's state_dict() instead")
        is_torch = any(one.endswith("data.pkl") for one in names)
        if not is_torch and not all(one.endswith(".npy") for one in names):
            raise UserError(f"{name} is an archive of other files: unpack it and give the generator's file")
        limit = LIMIT if is_torch else NPZ_LIMIT
        _refuse_larger(sum(part.file_size for part in parts), limit, f"{name} unpacks to")
        if damaged := archive.testzip():
            raise UserError(f"{name} is damaged: the checksum of its part {shown(damaged)} is wrong: fetch it again")
        if not is_torch:
            for part in parts:
                with archive.open(part) as file:
                    shape, _, dtype = NPY_HEADERS[np.lib.format.read_magic(file)](file)
                if math.prod(shape) * dtype.itemsize > part.file_size:
                    raise UserError(f"{name} is damaged: its part {shown(part.filename)} is cut: fetch it again")
    return is_torch


def _refuse_larger(size: int, limit: int, what: str) -> None:
    if size > limit:
        raise UserError(f"{what} {size:,} bytes, and no checkpoint known here has {limit:,}: it was not opened")
