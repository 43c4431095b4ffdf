"""How the scripts that bring things talk: tables in columns, and one line for whatever stopped them."""

from collections.abc import Sequence

from minegan_lite.terminal import status as status


def columns(lines: Sequence[Sequence[str]]) -> str:
    """Rows of cells, one line each, aligned."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
