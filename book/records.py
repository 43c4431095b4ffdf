"""What the ledger's files must hold: `python book/records.py` writes SHA256SUMS beside them, after new runs.

A record that is changed by hand no longer has the sum that is listed; tests/test_records.py compares. The file
is what `sha256sum` writes: `cd book/results && sha256sum --check SHA256SUMS`.
"""

import hashlib
from pathlib import Path

FOLDER = Path(__file__).with_name("results")
LIST = "SHA256SUMS"


def sums(folder: Path = FOLDER) -> dict[str, str]:
    """The sum of each record, by its path in the folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in sorted(folder.rglob("*.json"))
    }


def listed(folder: Path = FOLDER) -> dict[str, str]:
    """The sums that are written down, by path."""
    lines = (folder / LIST).read_text(encoding="utf-8").splitlines()
    return {path: sum_ for sum_, path in (line.split("  ") for line in lines)}


def write(known: dict[str, str], folder: Path = FOLDER) -> None:
    """Writes the list."""
    lines = [f"{known[path]}  {path}\n" for path in sorted(known)]
    (folder / LIST).write_text("".join(lines), encoding="utf-8")


def update(record: Path, folder: Path = FOLDER) -> None:
    """Lists one record anew; what stands of the others stays."""
    path = record.relative_to(folder).as_posix()
    write(listed(folder) | {path: sums(folder)[path]}, folder)


if __name__ == "__main__":
    write(sums())
