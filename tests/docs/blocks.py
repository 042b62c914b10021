"""Reads the pages of the documentation and their code blocks."""

import re
from pathlib import Path

__all__ = ["DOCS", "PAGES", "README", "ROOT", "blocks", "named_files"]

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
#: All pages for users.
PAGES = [README, *sorted(DOCS.rglob("*.md"))]


def blocks(page: Path, *languages: str) -> list[str]:
    """Return the code blocks of these languages in a page, without indentation."""
    found = re.findall(rf"^( *)```(?:{'|'.join(languages)})\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def named_files(page: Path) -> dict[str, str]:
    """Return the Python files of a page by the name in their first line. A block without a name continues the last."""
    files: dict[str, str] = {}
    for block in blocks(page, "python"):
        first = re.match(r"# (\w+\.py)\n", block)
        if first:
            files[first[1]] = block
        elif files:
            files[next(reversed(files))] += "\n\n" + block
        else:
            files["block.py"] = block
    return files
