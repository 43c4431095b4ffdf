"""The two errors that the library raises on purpose. Each message is one line that says what to do."""

import operator

LARGEST = 2**63  # what a seed or a count stays below


class UserError(ValueError):
    """The input is wrong; nothing was written. The CLI prints the message and exits with 2."""


class Diverged(RuntimeError):
    """Losses or weights became infinite or NaN, or the critic exploded; the last good checkpoint is kept."""


def whole(value: int, least: int, what: str) -> int:
    """A whole number, NumPy's too, as an int. Raises UserError for anything else, below `least`, and from 2⁶³ on."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or number < least:
        raise UserError(f"{what} must be a whole number of at least {least}, got {value!r}")
    if number >= LARGEST:
        raise UserError(f"{what} must be a whole number below 2**63, got {value!r}")
    return number
