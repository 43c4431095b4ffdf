"""How the scripts that bring things talk: tables in columns, and one line for whatever stopped them."""

import sys
from collections.abc import Callable, Sequence

from minegan_lite.errors import UserError


def columns(lines: Sequence[Sequence[str]]) -> str:
    """Rows of cells, one line each, aligned."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def status(script: str, work: Callable[[], None]) -> int:
    """Does the work; the exit status: 0, 2 behind one line for what a user can mend, 130 for an interruption."""
    try:
        work()
    except UserError as error:
        print(f"{script}: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"{script}: {error}: when that is mended, the same command goes on", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{script}: stopped; the same command goes on", file=sys.stderr)
        return 130
    return 0
