"""`make charts`: renders the chart in every shape, validates all objects, has bad values refused, and shows it."""

import sys
from collections import Counter

from rich.console import Console
from rich.table import Table

from tests.charts.bad_values import BAD_VALUES, BadValues
from tests.charts.rendering import CI_VALUES, Refused, chart_values, render, strict_lint
from tests.support.schemas import KUBERNETES, problems

console = Console(width=None if sys.stdout.isatty() else 150)


def main() -> int:
    """Print the tables; how many shapes or mistakes are not as they should be."""
    shapes = Table("values", "objects", "found", title=f"Rendered, and valid for Kubernetes {' and '.join(KUBERNETES)}")
    wrong = sum(_add_shape(shapes, name) for name in CI_VALUES)
    mistakes = Table("mistake", "what its user reads", title="Refused")
    wrong += sum(_add_mistake(mistakes, bad) for bad in BAD_VALUES)
    console.print(shapes)
    console.print(mistakes)
    console.print(f"{len(CI_VALUES) + len(BAD_VALUES) - wrong} as they should be, {wrong} not")
    return wrong


def _add_shape(table: Table, name: str) -> bool:
    values = chart_values(name)
    try:
        rendered = render(values)
    except Refused as error:
        table.add_row(name, "", f"[red]refused: {error}[/red]")
        return True
    found = [f"{m['kind']} {m['metadata']['name']}: {line}" for m in rendered.manifests for line in problems(m)]
    found += strict_lint(values)
    kinds = Counter(manifest["kind"] for manifest in rendered.manifests)
    objects = ", ".join(f"{count} {kind}" if count > 1 else kind for kind, count in kinds.items())
    table.add_row(name, objects, f"[red]{'; '.join(found)}[/red]" if found else "[green]nothing[/green]")
    return bool(found)


def _add_mistake(table: Table, bad: BadValues) -> bool:
    try:
        render(bad.values)
    except Refused as error:
        lines = [line.strip(" -") for line in str(error).splitlines() if "failed" not in line]
        said = " ".join(lines).removeprefix("triggerfish: ").partition("checks.yaml:1:4): ")
        table.add_row(bad.mistake, said[2] or said[0])
        return not all(word in str(error) for word in bad.words)
    table.add_row(bad.mistake, "[red]it is accepted[/red]")
    return True


if __name__ == "__main__":
    sys.exit(main() > 0)
