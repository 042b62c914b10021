"""JSON files as Azure Functions reads them: with a byte order mark, and with comments."""

import json
import re
from pathlib import Path
from typing import Any

from listeners.errors import AppLoadError
from listeners.runtime.files import read_file
from listeners.text import syntax_problem

__all__ = ["read_object"]

_STRING_OR_COMMENT = re.compile(r'("(?:\\.|[^"\\])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)


def read_object(file: Path, place: str) -> dict[str, Any]:
    """Return the object in a file. Raises ConfigurationError that names the place and shows nothing of the content."""
    content = read_file(file, place)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise AppLoadError(place, None, "It is not UTF-8 text. Save it as UTF-8.") from None
    try:
        found = json.loads(_without_comments(text), object_pairs_hook=_distinct)
    except (ValueError, RecursionError) as error:
        raise AppLoadError(place, None, f"It is not JSON: {syntax_problem(error)}. Correct it.") from None
    if not isinstance(found, dict):
        raise AppLoadError(place, None, "It is not a JSON object. Begin it with { and end it with }.")
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        fix = r"It has half of a pair of surrogates, such as \ud83d alone. Write the whole character."
        raise AppLoadError(place, None, fix) from None
    return found


def _without_comments(text: str) -> str:
    """Return the text with spaces for comments, so that lines and columns stay."""
    return _STRING_OR_COMMENT.sub(lambda match: match[1] or re.sub(r"[^\n]", " ", match[0]), text)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object. Raises ValueError for a key that occurs twice, of which one value would be dropped."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is given twice")
    return found
