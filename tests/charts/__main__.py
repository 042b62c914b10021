"""`make charts`: render the chart with each file in ci/, validate all objects, check that bad values are refused, and
print the results.
"""

import sys
from collections import Counter

from rich.console import Console
from rich.table import Table

from tests.charts.bad_values import BAD_VALUES, BadValues
from tests.charts.rendering import CI_VALUES, Refused, chart_values, render, strict_lint
from tests.support.schemas import KUBERNETES, problems

console = Console(width=None if sys.stdout.isatty() else 150)


def main() -> int:
    """Print the tables and return the number of failures."""
    releases = Table(
        "values", "objects", "problems", title=f"Rendered and validated for Kubernetes {' and '.join(KUBERNETES)}"
    )
    failures = sum(_add_release(releases, name) for name in CI_VALUES)
    mistakes = Table("mistake", "error message", title="Refused")
    failures += sum(_add_mistake(mistakes, bad) for bad in BAD_VALUES)
    console.print(releases)
    console.print(mistakes)
    console.print(f"{len(CI_VALUES) + len(BAD_VALUES) - failures} passed, {failures} failed")
    return failures


def _add_release(table: Table, name: str) -> bool:
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
    table.add_row(name, objects, f"[red]{'; '.join(found)}[/red]" if found else "[green]none[/green]")
    return bool(found)


def _add_mistake(table: Table, bad: BadValues) -> bool:
    try:
        render(bad.values)
    except Refused as error:
        lines = [line.strip(" -") for line in str(error).splitlines() if "failed" not in line]
        parts = " ".join(lines).removeprefix("triggerfish: ").partition("checks.yaml:1:4): ")
        table.add_row(bad.mistake, parts[2] or parts[0])
        return not all(phrase in str(error) for phrase in bad.phrases)
    table.add_row(bad.mistake, "[red]accepted[/red]")
    return True


if __name__ == "__main__":
    sys.exit(main() > 0)
