"""The ledger: each recorded run is one JSON with its provenance; tables and prose read their numbers here.

A result's name is its place in the folder of results, without the ending .json, and nothing else::

    EXPERIMENT/RUN/seedN   a run of one seed beside others: table4/off-unconditional-9/seed0, baselines/bsa-25/seed2
    EXPERIMENT/RUN         a run that stands alone: chapters/off_manifold_digits, tuning/bsa, benchmarks/mining_step

A file holds {"numbers", "settings", "provenance"}; the provenance is what it takes to run it again: command, commit
(and whether the tree was dirty), seeds, device, device_name, seconds (wall time), n (samples measured), date (UTC) and
versions of python, torch and minegan_lite. No path of the machine is kept: paths shrink to their last part. Files from
before these folders also hold the flat name that they had then; reading puts the name of the place there instead.

Results are written to $MINEGAN_RESULTS, else to book/results of the checkout, and read from $MINEGAN_RESULTS, then
book/results, else the copy that an installed package carries.
"""

import json
import math
import os
import re
import statistics
import subprocess
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from minegan_lite.chapters.provenance import device_name, outputs_only, portable, portable_command, versions
from minegan_lite.errors import UserError
from minegan_lite.files import write_atomically

_PACKAGE = Path(__file__).resolve().parents[1]
_PART = r"[A-Za-z0-9][A-Za-z0-9._-]*"  # no part begins with a point: a name cannot leave the folder
_NAME = re.compile(rf"{_PART}(/{_PART})*")
_NUMBER = (int, float)
_FIELDS = {"numbers": dict, "settings": dict, "provenance": dict}
_PROVENANCE = {
    "command": str,
    "commit": (str, type(None)),
    "dirty": (bool, type(None)),
    "seeds": list,
    "device": str,
    "device_name": str,
    "seconds": _NUMBER,
    "n": int,
    "date": str,
    "versions": dict,
}
_VERSIONS = {"python": str, "torch": str, "minegan_lite": str}


def record(
    name: str,
    numbers: dict[str, Any],
    *,
    settings: dict[str, Any],
    seeds: int | Iterable[int],
    device: str | torch.device,
    seconds: float,
    n: int,
    command: str | Sequence[str],
) -> Path:
    """Writes a result, atomically, over one of the same name; returns its file.

    name: EXPERIMENT/RUN/seedN, or EXPERIMENT/RUN; it is the file's path, too.
    numbers, settings: what JSON can hold. seeds: one or several. seconds: wall time. n: samples measured.
    command: what was typed, as one string or as sys.argv.
    Raises UserError, and writes nothing, for a name that is no such path, NaN or objects that JSON cannot hold, a
    field of the wrong kind, a folder that cannot be written, and where there is no commit to name (outside a git
    checkout) unless $MINEGAN_RESULTS says that the results are the reader's own.
    """
    commit, dirty = _commit()
    folder = _own_folder() or (None if commit is None else _checkout_results())
    if folder is None:
        raise UserError("there is no git commit to record: set $MINEGAN_RESULTS to a folder for your own results")
    result = {
        "numbers": portable(numbers),
        "settings": portable(settings),
        "provenance": {
            "command": portable_command(command),
            "commit": commit,
            "dirty": dirty,
            "seeds": [seeds] if isinstance(seeds, int) else list(seeds),
            "device": str(device),
            "device_name": device_name(str(device)),
            "seconds": seconds,
            "n": n,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions(),
        },
    }
    _validate(result, name, commit_needed=False)
    result["provenance"]["seconds"] = round(seconds, 1)
    try:
        text = json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UserError(f"result {name!r} cannot be recorded as JSON: {error}") from None
    path = folder / f"{name}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, (text + "\n").encode())
    except OSError as error:
        raise UserError(f"cannot write the result to {path}: {error.strerror}") from None
    return path


def find(name: str) -> Path | None:
    """The file of the result of that name, the reader's own before a shipped one; None where there is none."""
    _check_name(name)
    return next((path for folder in _folders() if (path := folder / f"{name}.json").is_file()), None)


def read(name: str) -> dict[str, Any]:
    """The result of that name: {"name", "numbers", "settings", "provenance"}.

    Raises UserError when there is none, or one that is damaged or lacks a field.
    """
    if (path := find(name)) is None:
        raise UserError(
            f"the ledger has no result named {name!r}: run what records it, or see ledger.read_all() for names"
        )
    return _read(path, name)


def read_all() -> dict[str, dict[str, Any]]:
    """Every result by name, sorted. Raises UserError as `read` does."""
    files: dict[str, Path] = {}
    for folder in reversed(_folders()):
        files |= {path.relative_to(folder).with_suffix("").as_posix(): path for path in folder.rglob("*.json")}
    return {name: _read(files[name], name) for name in sorted(files)}


def series(name: str) -> list[dict[str, Any]]:
    """The results name/seed0, name/seed1, … that are there, by seed; none while all of them are pending.

    No other file is read. Raises UserError as `read` does for a damaged one, and for one whose provenance names
    another seed than its file.
    """
    _check_name(name)
    found = {}
    for folder in reversed(_folders()):
        for path in (folder / name).glob("seed*.json"):
            if (digits := path.stem.removeprefix("seed")).isdecimal():
                found[int(digits)] = path
    results = {seed: _read(found[seed], f"{name}/{found[seed].stem}") for seed in sorted(found)}
    for seed, result in results.items():
        if result["provenance"]["seeds"] != [seed]:
            raise UserError(f"result {result['name']!r} says that its seeds are {result['provenance']['seeds']}")
    return list(results.values())


def over_seeds(results: Iterable[dict[str, Any]], *keys: str) -> dict[str, Any]:
    """mean, sd (n − 1; None for one), min and max of numbers[keys[0]][keys[1]]… over results of one seed each.

    keys: of dicts; of a list the place, as in "3". "seeds" says which, in the order given. Raises UserError for no
    results, a result of several seeds, a seed that comes twice, and a number that is not there.
    """
    seeds, values = [], []
    for result in results:
        value: Any = result["numbers"]
        for key in keys:
            value = _at(value, key)
        if not isinstance(value, _NUMBER):
            raise UserError(f"result {result['name']!r} has no number {'.'.join(keys)}")
        values.append(value)
        seeds += result["provenance"]["seeds"]
    if not values or len(set(seeds)) != len(values) or len(seeds) != len(values):
        raise UserError(f"a summary over seeds takes results of one seed each, all different, got seeds {seeds}")
    return {
        "mean": statistics.fmean(values),
        "sd": statistics.stdev(values) if len(values) > 1 else None,
        "min": min(values),
        "max": max(values),
        "seeds": seeds,
    }


def _at(value: Any, key: str) -> Any:
    """What a dict has under a key, or a list at a place; None where there is nothing."""
    if isinstance(value, list):
        return value[int(key)] if key.isdecimal() and int(key) < len(value) else None
    return value.get(key) if isinstance(value, dict) else None


def interval(values: Sequence[float], share: float = 0.95) -> tuple[float, float, float]:
    """The mean of one value a seed, and the ends of its interval by Student's t; without end for a single value.

    For differences between two methods, seed by seed, it says whether one is better: whether it holds 0. Raises
    UserError for no values.
    """
    from scipy.stats import t

    if not values:
        raise UserError("an interval needs at least one value")
    mean = statistics.fmean(values)
    if len(values) == 1:
        return mean, -math.inf, math.inf
    half = float(t.ppf((1 + share) / 2, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def _checkout_results() -> Path | None:
    """book/results when this module runs from a checkout (or an unpacked archive of one)."""
    root = _PACKAGE.parent
    return root / "book" / "results" if (root / "pyproject.toml").is_file() else None


def _own_folder() -> Path | None:
    return Path(folder) if (folder := os.environ.get("MINEGAN_RESULTS")) else None


def _folders() -> list[Path]:
    return [folder for folder in (_own_folder(), _checkout_results() or _PACKAGE / "results") if folder is not None]


def _commit() -> tuple[str | None, bool | None]:
    """HEAD of this checkout, and whether what runs differs from it; (None, None) where there is none.

    What running writes makes nothing dirty: the results, also those in a reader's own folder, and the outputs of the
    book's notebooks, whose cells count.
    """
    root = _PACKAGE.parent
    if not (root / ".git").exists():  # git would find a repository around an environment, which is not ours
        return None, None

    def git(*arguments: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True).stdout

    written = [folder.resolve() for folder in (_checkout_results(), _own_folder()) if folder is not None]
    own = [f":(exclude,top,literal){f.relative_to(root).as_posix()}" for f in written if root in f.parents]
    try:
        commit = git("rev-parse", "HEAD").strip()
        entries = git("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", ".", *own).split(
            "\0"
        )
        return commit, any(entry and not outputs_only(root, entry, git) for entry in entries)
    except (OSError, ValueError, subprocess.CalledProcessError):
        return None, None


def _check_name(name: str) -> None:
    if not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise UserError(f"{name!r} cannot name a result: use letters, digits, '.', '_' and '-', and '/' for folders")


def _read(path: Path, name: str) -> dict[str, Any]:
    try:
        result = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"result file {name}.json cannot be read: {error}") from None
    own = _own_folder()
    _validate(result, name, commit_needed=own is None or own not in path.parents)
    return {"name": name} | {field: result[field] for field in _FIELDS}


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def _validate(result: Any, name: str, *, commit_needed: bool) -> None:
    _check_name(name)
    _check_fields(result, _FIELDS, name, "")
    provenance = result["provenance"]
    _check_fields(provenance, _PROVENANCE, name, "provenance.")
    _check_fields(provenance["versions"], _VERSIONS, name, "provenance.versions.")
    if not provenance["seeds"] or not all(type(seed) is int for seed in provenance["seeds"]):
        raise UserError(f"result {name!r}: provenance.seeds must list whole numbers, got {provenance['seeds']}")
    if commit_needed and None in (provenance["commit"], provenance["dirty"]):
        raise UserError(f"result {name!r}: a shipped result must name its commit and say whether the tree was dirty")


def _check_fields(value: Any, fields: dict[str, Any], name: str, prefix: str) -> None:
    if not isinstance(value, dict):
        raise UserError(f"result {name!r} is not a JSON object")
    for field, kind in fields.items():
        if field not in value:
            raise UserError(f"result {name!r}: {prefix}{field} is missing")
        if not isinstance(value[field], kind):
            raise UserError(f"result {name!r}: {prefix}{field} cannot be {value[field]!r}")
