"""Builders for the dashboard's panels: single values, a table of triggers and line charts."""

from collections.abc import Mapping
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.models import common as shared
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

__all__ = ["DATASOURCE", "Stat", "line_chart", "stat_panel", "threshold_colors", "trigger_table"]

DATASOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH = 24
YES_OR_NO: list[model.ValueMap | model.RangeMap | model.RegexMap | model.SpecialValueMap] = [
    model.ValueMap(
        options={
            "0": model.ValueMappingResult(text="no", color="orange", index=1),
            "1": model.ValueMappingResult(text="yes", color="green", index=0),
        }
    )
]


@dataclass(frozen=True)
class Stat:
    """A single value: its title, query and description."""

    title: str
    query: str
    description: str


def threshold_colors(**min_values: float) -> grafana.ThresholdsConfig:
    """Return thresholds: green, then each given colour from its value upwards."""
    steps = [model.Threshold(color="green")]
    steps += [model.Threshold(color=color, value=value) for color, value in min_values.items()]
    return grafana.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def stat_panel(value: Stat, thresholds: grafana.ThresholdsConfig | None = None) -> stat.Panel:
    """Return a panel with a single value."""
    return (
        stat.Panel()
        .title(value.title)
        .description(value.description)
        .datasource(DATASOURCE)
        .with_target(_instant("A", value.query))
        .thresholds(thresholds or threshold_colors())
        .no_value("unknown")
        .height(4)
        .span(WIDTH // 4)
    )


def trigger_table(columns: Mapping[str, str]) -> table.Panel:
    """Return the table of all triggers.

    `columns` maps each title to its query. The results are joined by the triggers' labels.
    """
    panel = (
        table.Panel()
        .title("Triggers")
        .description("The backlog and target of each trigger. Unknown values are empty.")
        .datasource(DATASOURCE)
        .height(9)
        .span(WIDTH)
        .sort_by([common.TableSortByFieldState().display_name("Backlog").desc(True)])
    )
    letters = {title: chr(ord("A") + index) for index, title in enumerate(columns)}
    for title, query in columns.items():
        panel.with_target(_instant(letters[title], query).format(PromQueryFormat.TABLE))
    names = {f"Value #{letter}": title for title, letter in letters.items()}
    names |= {"namespace": "Namespace", "scaledobject": "ScaledObject", "function": "Function", "kind": "Kind"}
    order = ("namespace", "scaledobject", "function", "kind", *(f"Value #{letter}" for letter in letters.values()))
    panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    panel.with_transformation(
        model.DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": {"Time": True, "trigger": True},
                "indexByName": {name: index for index, name in enumerate(order)},
                "renameByName": names,
            },
        )
    )
    for title in ("Known", "Active"):
        if title in columns:
            panel.override_by_name(title, [model.DynamicConfigValue(id_val="mappings", value=YES_OR_NO)])
    return panel.override_by_name("Age", [model.DynamicConfigValue(id_val="unit", value="s")])


def line_chart(
    title: str,
    lines: Mapping[str, str],
    description: str,
    *,
    unit: str = "short",
    decimals: int | None = None,
    stacked: bool = False,
) -> timeseries.Panel:
    """Return a panel with lines over time. `lines` maps each legend to its query."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(DATASOURCE)
        .unit(unit)
        .min(0)
        .fill_opacity(25 if stacked else 5)
        .line_width(1)
        # A gap means unknown, so it is not bridged.
        .span_nulls(False)
        .show_points(shared.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(shared.LegendDisplayMode.LIST)
            .placement(shared.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .stacking(common.StackingConfig().mode(shared.StackingMode.NORMAL if stacked else shared.StackingMode.NONE))
        .height(8)
        .span(WIDTH // 2)
    )
    if decimals is not None:
        panel.decimals(decimals)
    for index, (legend, query) in enumerate(lines.items()):
        target = prometheus.Dataquery().ref_id(chr(ord("A") + index)).expr(query).legend_format(legend)
        panel.with_target(target.datasource(DATASOURCE).range())
    return panel


def _instant(letter: str, query: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().ref_id(letter).expr(query).datasource(DATASOURCE).instant()
