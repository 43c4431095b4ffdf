"""Text from a stranger's file, such as the name of a tensor, made fit for a terminal and for one line of a message."""

MOST = 200  # characters: every name in the published files is shorter than 80


def shown(text: object, most: int = MOST) -> str:
    """str(text) on one line, harmless in a terminal, cut after `most` characters with "…".

    Characters that cannot be printed (control characters, line ends, marks that turn the direction of writing, halves
    of surrogate pairs) are escaped as Python escapes them.
    """
    text = str(text)
    cut = text if len(text) <= most else f"{text[:most]}…"
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in cut)
