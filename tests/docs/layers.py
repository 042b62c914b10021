"""Draws the layers of the code from the import-linter contracts in pyproject.toml."""

import importlib
import tomllib
from html import escape
from pathlib import Path

__all__ = ["layers_svg"]

ROOT = Path(__file__).parents[2]
WIDTH, MARGIN, GAP = 860, 16, 8
ROW_HEIGHT, TITLE_HEIGHT = 46, 28
#: The three packages, from the top.
GROUPS = ("triggerfish", "scaler", "listeners")
STYLE = """
    text { font-family: system-ui, sans-serif; fill: #1f2937 }
    .title { font-size: 15px; font-weight: 600 }
    .name { font-size: 13px; font-weight: 600; text-anchor: middle }
    .sign { font-size: 9.5px; text-anchor: middle; fill: #4b5563 }
    .group { fill: #f0fdfa; stroke: #0f766e }
    .box { fill: #ffffff; stroke: #94a3b8 }
"""


def layers_svg() -> str:
    """Return the diagram: a frame per package, a row per layer; a row may import the rows below it."""
    shapes: list[str] = []
    y = MARGIN
    for group in GROUPS:
        rows = _layers(group)
        height = TITLE_HEIGHT + len(rows) * (ROW_HEIGHT + GAP) + GAP
        shapes.append(
            f'<rect class="group" x="{MARGIN}" y="{y}" width="{WIDTH - 2 * MARGIN}" height="{height}" rx="6"/>'
        )
        shapes.append(f'<text class="title" x="{2 * MARGIN}" y="{y + 20}">{group}</text>')
        for number, row in enumerate(rows):
            shapes += _row(row, y + TITLE_HEIGHT + number * (ROW_HEIGHT + GAP))
        y += height + MARGIN
    body = "\n  ".join(shapes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}">\n'
        f"  <title>Layers of Triggerfish: each row may import the rows below it</title>\n  <style>{STYLE}  </style>\n"
        f'  <rect width="{WIDTH}" height="{y}" fill="#ffffff"/>\n  {body}\n</svg>\n'
    )


def _layers(group: str) -> list[list[str]]:
    """Return the layers of a package from the top; those of triggerfish are its own modules."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    for contract in contracts:
        if contract["type"] == "layers" and all(layer.startswith(f"{group}.") for layer in contract["layers"]):
            return [[name.strip() for name in layer.split("|")] for layer in contract["layers"]]
    return [[f"{group}.cli", f"{group}.testing"], [f"{group}.unfinished"]]


def _row(names: list[str], y: int) -> list[str]:
    inner = WIDTH - 4 * MARGIN
    width = (inner - GAP * (len(names) - 1)) / len(names)
    shapes = []
    for number, name in enumerate(names):
        x = 2 * MARGIN + number * (width + GAP)
        middle = x + width / 2
        shapes.append(f'<rect class="box" x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW_HEIGHT}" rx="4"/>')
        shapes.append(f'<text class="name" x="{middle:.1f}" y="{y + 19}">{name.rpartition(".")[2]}</text>')
        sign = _fitting(_first_line(name), width)
        shapes.append(f'<text class="sign" x="{middle:.1f}" y="{y + 35}">{escape(sign)}</text>')
    return shapes


def _first_line(name: str) -> str:
    """What a package or module holds, by the first line of its docstring; after a colon, if there is one."""
    line = (importlib.import_module(name).__doc__ or "").partition("\n")[0]
    return line.rpartition(": ")[2].partition(". ")[0].rstrip(".").replace("`", "")


def _fitting(text: str, width: float) -> str:
    """Return as many words as fit into a box."""
    most = int(width / 5)
    return text if len(text) <= most else text[:most].rpartition(" ")[0].rstrip(",;") + "…"
