"""Sphinx extension: docstrings in the house's plain prose, `name: what it is`, become definition lists.

A docstring here is sentences. Some paragraphs describe arguments, one after the other:

    sizes: one number more than there are layers; the supplement's
        MNIST miner is (|z|, |z|, |z|).
    activation: between the layers. init: a name from INITS.
    Raises ValueError for fewer than two sizes.

Indented lines after a paragraph that ends in `::` are shown as they stand.
"""

import inspect
import re
from pathlib import Path

import sphinx.util.inspect


def to_rst(lines: list[str], known: set[str]) -> list[str]:
    """A docstring's lines as reStructuredText; `known` are the names of the arguments or fields it may describe."""
    text = "\n".join(lines).strip("\n")
    paragraphs = re.split(r"\n\s*\n", text) if text.strip() else []
    found, announced = [], False
    for paragraph in paragraphs:
        own = paragraph.split("\n")
        if announced and all(line.startswith(" ") for line in own):
            found += [*own, ""]  # a literal block, as it stands
        else:
            found += _paragraph(paragraph, known)
        announced = paragraph.endswith("::")
    return found


def known_names(thing: object) -> set[str]:
    """The arguments of a function, a method or a class."""
    try:
        return set(inspect.signature(thing).parameters)
    except (TypeError, ValueError):  # a module, a property, an exception
        return set()


def _paragraph(paragraph: str, known: set[str]) -> list[str]:
    lines = paragraph.split("\n")
    hanging = any(line.startswith(" ") for line in lines)
    if not hanging and not _head(lines[0], known):
        return [_inline(" ".join(lines)), ""]
    found = []
    for item in _items(lines):
        for part in _split(item, known):
            if head := _head(part, known if not hanging else known | {""}):
                term, definition = head
                found += [_term(term, known), f"   {_inline(definition)}", ""]
            else:
                found += [_inline(part), ""]
    return found


def _items(lines: list[str]) -> list[str]:
    """Logical lines: one that starts at the margin opens a new item where the last one ended a sentence."""
    items = []
    for line in lines:
        fresh = not items or (
            not line.startswith(" ") and items[-1][-1] in ".:)"
        )
        if fresh:
            items.append(line.strip())
        else:
            items[-1] += f" {line.strip()}"
    return items


def _split(item: str, known: set[str]) -> list[str]:
    """An item that goes on to further arguments, `… torch device. progress: whether …`, cut before each of them."""
    if not known:
        return [item]
    name = rf"(?:{'|'.join(map(re.escape, known))})\b(?: \([^()]*\))?"
    return re.split(rf"(?<=\.) (?=(?:{name}, )*{name}: )", item)


def _head(item: str, known: set[str]) -> tuple[str, str] | None:
    """`name, name (of what): definition` in two, where the first name is known; with "" among the known, any name."""
    match = re.match(r"([\w`\"][^.:;]{0,70}): (.+)", item, re.S)
    if not match:
        return None
    first = re.match(r"\w*", match[1].strip("`"))[0]
    return match.groups() if first in known or "" in known else None


def _term(term: str, known: set[str]) -> str:
    """The term of a definition, with the names in it as code."""
    code = re.sub(
        r"(?<![`\w])\w+(?![`\w])",
        lambda word: f"`{word[0]}`" if word[0] in known else word[0],
        term,
    )
    return _inline(code)


def _inline(text: str) -> str:
    """Plain text with `code` as reStructuredText: nothing else in it is markup."""
    pieces = re.split(r"`([^`]+)`", " ".join(text.split()))
    for i in range(0, len(pieces), 2):
        pieces[i] = re.sub(r"([\\*|`]|(?<=\w)_(?!\w))", r"\\\1", pieces[i])
    for i in range(1, len(pieces), 2):
        # letters on either side would join the literal
        before = (
            "\\ " if re.search(r"[^\s(\[{\"'<–—/:-]$", pieces[i - 1]) else ""
        )
        after = (
            "\\ "
            if re.match(r"[^\s)\]}\"'>–—/:.,;!?-]", pieces[i + 1])
            else ""
        )
        pieces[i] = f"{before}``{pieces[i]}``{after}"
    return "".join(pieces)


def process(app, what, name, thing, options, lines) -> None:
    lines[:] = to_rst(lines, known_names(thing))


def signature(app, what, name, thing, options, given, result):
    """Two signatures that autodoc gets wrong: `(*args, **kwargs)` from a base, where a class has an `__init__` of its
    own, or none; and `<factory>` for a dataclass's default that is made anew, which no parser takes."""
    if given and what == "class" and given.startswith("(*args"):
        own = sphinx.util.inspect.signature(thing.__init__, bound_method=True)
        given = sphinx.util.inspect.stringify_signature(
            own, show_return_annotation=False, unqualified_typehints=True
        )
        if given.startswith("(*args"):
            given = ""
    return given and given.replace("<factory>", "..."), result


def style(app) -> None:
    app.config.html_static_path.append(
        str(Path(__file__).with_suffix(".css"))
    )


def setup(app):
    app.connect("builder-inited", style)
    app.add_css_file("house_docstrings.css")
    app.connect("autodoc-process-docstring", process)
    app.connect("autodoc-process-signature", signature)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
