"""The dashboard's layout: a row for all triggers, one for a selected trigger, and one for the scaler."""

import itertools

from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.builders import stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from charts.dashboard.panels import DATASOURCE, Stat, line_chart, stat_panel, threshold_colors, trigger_table
from charts.dashboard.queries import ALL, FUNCTION, ONE, deployment, hpa, known, quantiles, sample_age, trigger

__all__ = ["dashboard_json"]

BY_OBJECT = "{{namespace}}/{{scaledobject}}"
BY_TRIGGER = "{{scaledobject}} {{function}}"
RATE = "$__rate_interval"
Panel = stat.Panel | table.Panel | timeseries.Panel


def dashboard_json() -> str:
    """Return the dashboard as JSON. The output is deterministic."""
    board = (
        grafana.Dashboard("Triggerfish")
        .uid("triggerfish")
        .description("The backlog of Redis-triggered functions, and how many instances handle it.")
        .tags(["triggerfish", "keda", "redis"])
        .time("now-1h", "now")
        .refresh("30s")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
    )
    for variable in variables():
        board.with_variable(variable)
    rows = {"All triggers": all_triggers(), "One trigger: $function": one_trigger(), "Scaler": scaler()}
    ids = itertools.count(1)
    for title, row in rows.items():
        board.with_row(grafana.Row(title).id(next(ids)))
        for panel in row:
            board.with_panel(panel.id(next(ids)))
    return JSONEncoder(sort_keys=True, indent=2).encode(board.build()) + "\n"


def variables() -> list[grafana.DatasourceVariable | grafana.QueryVariable]:
    """Return the dashboard's variables: the data source, then namespace to trigger.

    The function is derived from the trigger.
    """
    series = "triggerfish_trigger_known"
    return [
        grafana.DatasourceVariable("datasource").label("Prometheus").type("prometheus"),
        _query_variable("namespace", f"label_values({series}, namespace)")
        .label("Namespace")
        .include_all(True)
        .all_value(".*"),
        _query_variable("scaledobject", f'label_values({series}{{namespace=~"$namespace"}}, scaledobject)')
        .label("ScaledObject")
        .include_all(True)
        .all_value(".*"),
        # The menu shows the function, because a trigger's name is a hash.
        _query_variable("trigger", f"query_result({series}{{{ALL}}})")
        .label("Trigger")
        .regex('/(?:function="(?<text>[^"]*)".*)?trigger="(?<value>[^"]+)"/'),
        _query_variable("function", f'label_values({series}{{trigger="$trigger"}}, function)').hide(
            model.VariableHide.HIDE_VARIABLE
        ),
    ]


def _query_variable(name: str, query: str) -> grafana.QueryVariable:
    return (
        grafana.QueryVariable(name)
        .datasource(DATASOURCE)
        .query({"query": query, "refId": f"variable-{name}"})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
    )


def all_triggers() -> list[Panel]:
    """Return the panels for all triggers."""
    return [
        *_summary_stats(),
        trigger_table(
            {
                "Known": known(ALL),
                "Backlog": trigger("backlog", ALL),
                "Per instance": trigger("messages_per_worker", ALL),
                "Target": trigger("target_instances", ALL),
                "Active": trigger("active", ALL),
                "Age": sample_age(ALL),
            }
        ),
        line_chart("Backlog", {BY_TRIGGER: trigger("backlog", ALL)}, "Entries that are not finished yet."),
        line_chart(
            "Instances: target and running",
            {
                f"{BY_OBJECT} target": trigger("target_instances", ALL, by="namespace, scaledobject"),
                f"{BY_OBJECT} running": hpa("status_current_replicas", ALL),
            },
            "The largest target of a ScaledObject's triggers, and the replicas that its HPA reports.",
            decimals=0,
        ),
    ]


def _summary_stats() -> list[Panel]:
    triggers = known(ALL)
    return [
        stat_panel(
            Stat(
                "Number of triggers", f"count({triggers})", "Triggers that KEDA polls or the scaler's settings declare."
            )
        ),
        stat_panel(
            Stat("Unknown", f"count({triggers}) - sum({triggers})", "Triggers whose backlog cannot be measured now."),
            threshold_colors(orange=1),
        ),
        stat_panel(
            Stat(
                "Total backlog", f"sum({trigger('backlog', ALL)})", "Entries of all triggers that are not finished yet."
            )
        ),
        stat_panel(
            Stat(
                "At maximum",
                f"sum(({hpa('status_current_replicas', ALL)}) >= bool ({hpa('spec_max_replicas', ALL)}))",
                "ScaledObjects that run their maximum number of instances.",
            ),
            threshold_colors(orange=1),
        ),
    ]


def one_trigger() -> list[Panel]:
    """Return the panels for the selected trigger."""
    return [*_backlog_charts(), *_throughput_charts(), *_failure_charts(), *_source_charts()]


def _backlog_charts() -> list[Panel]:
    return [
        line_chart(
            "Backlog by part",
            {
                "waiting in the list": trigger("length", f'{ONE},kind="list"'),
                "in flight": trigger("in_flight", ONE),
                "not delivered (lag)": trigger("lag", ONE),
                "delivered (pending)": trigger("pending", ONE),
            },
            "Lists: waiting elements, and claimed elements that are not finished. Streams: lag, and pending entries.",
            stacked=True,
        ),
        line_chart(
            "Target and instances",
            {
                "target": trigger("target_instances", ONE),
                "desired by the HPA": hpa("status_desired_replicas", ONE),
                "ready": deployment("status_replicas_ready", ONE),
                "maximum": hpa("spec_max_replicas", ONE),
            },
            "The target of this trigger. A ScaledObject follows the largest target of its triggers.",
            decimals=0,
        ),
    ]


def _throughput_charts() -> list[Panel]:
    return [
        line_chart(
            "Throughput",
            {
                "received": f"sum(rate(triggerfish_entries_received_total{{{FUNCTION}}}[{RATE}]))",
                "succeeded": f'sum(rate(triggerfish_entries_settled_total{{{FUNCTION},outcome="succeeded"}}[{RATE}]))',
                "redelivered": f"sum(rate(triggerfish_entries_redelivered_total{{{FUNCTION}}}[{RATE}]))",
            },
            "Entries per second, over all instances.",
            unit="cps",
        ),
        line_chart(
            "Call duration",
            quantiles("triggerfish_handler_duration_seconds", FUNCTION),
            "The duration of the function's calls.",
            unit="s",
        ),
        line_chart(
            "Wait of stream entries",
            quantiles("triggerfish_entry_wait_seconds", FUNCTION),
            "The time from adding an entry to the stream (by its ID) to the start of its call.",
            unit="s",
        ),
        line_chart(
            "In progress",
            {
                "in progress": f"sum(triggerfish_entries_in_progress{{{FUNCTION}}})",
                "overdue calls": f"sum(triggerfish_calls_overdue{{{FUNCTION}}})",
            },
            "Entries claimed and not settled yet, and timed-out calls that are still running.",
        ),
    ]


def _failure_charts() -> list[Panel]:
    settled = f"triggerfish_entries_settled_total{{{FUNCTION}}}"
    failed = f'triggerfish_entries_settled_total{{{FUNCTION},outcome=~"retried|dead_lettered|dropped"}}'
    dead = f'triggerfish_entries_settled_total{{{FUNCTION},outcome="dead_lettered"}}'
    return [
        line_chart(
            "Failures",
            {
                "failed": f"sum(rate({failed}[{RATE}])) / sum(rate({settled}[{RATE}]))",
                "dead-lettered": f"sum(rate({dead}[{RATE}])) / sum(rate({settled}[{RATE}]))",
            },
            "The share of entries whose call failed.",
            unit="percentunit",
        ),
        line_chart(
            "Dead letters and dropped messages",
            {
                "dead letters": f"sum(increase({dead}[{RATE}]))",
                "dropped": f"sum(increase(triggerfish_messages_dropped_total{{{FUNCTION}}}[{RATE}]))",
                "kept": trigger("dead_letters", ONE),
            },
            "Dead-lettered entries, pub/sub messages dropped without a call, and the dead letters that are there.",
        ),
    ]


def _source_charts() -> list[Panel]:
    return [
        line_chart(
            "Pub/sub lease",
            {
                "{{pod}}": f"triggerfish_lease_held{{{FUNCTION}}}",
                "holders": f"sum(triggerfish_lease_held{{{FUNCTION}}})",
            },
            "The instance that is subscribed. There should always be exactly one.",
            decimals=0,
        ),
        line_chart(
            "Redis connectivity",
            {
                "can read": f"sum(triggerfish_source_up{{{FUNCTION}}})",
                "cannot read": f"count(triggerfish_source_up{{{FUNCTION}}}) - sum(triggerfish_source_up{{{FUNCTION}}})",
            },
            "Instances that can read the trigger, and those that cannot.",
            decimals=0,
            stacked=True,
        ),
    ]


def scaler() -> list[Panel]:
    """Return the panels for the scaler itself."""
    return [
        line_chart(
            "KEDA's calls",
            {"{{method}} {{code}}": f"sum by (method, code) (rate(triggerfish_grpc_requests_total[{RATE}]))"},
            "Calls per second, by method and status.",
            unit="reqps",
        ),
        line_chart(
            "Measurement duration",
            quantiles("triggerfish_sample_duration_seconds", ""),
            "The duration of a measurement round, which covers all concurrent requests about one Redis.",
            unit="s",
        ),
        line_chart(
            "Errors",
            {
                "measuring: {{reason}}": f"sum by (reason) (rate(triggerfish_sample_errors_total[{RATE}]))",
                "reloading: {{what}}": f"sum by (what) (rate(triggerfish_reload_errors_total[{RATE}]))",
            },
            "Failed measurement rounds, and changed files that could not be loaded.",
            unit="cps",
        ),
        line_chart(
            "Open streams",
            {"{{method}}": "sum by (method) (triggerfish_open_streams)"},
            "KEDA keeps one StreamIsActive for each trigger of type external-push.",
            decimals=0,
        ),
        line_chart(
            "Sample age",
            {BY_TRIGGER: sample_age(ALL)},
            "The age of each trigger's newest sample. It grows if KEDA no longer polls the trigger.",
            unit="s",
        ),
        line_chart(
            "Version",
            {"{{version}}": "count by (version) (triggerfish_build_info)"},
            "The number of scalers and hosts by version.",
            decimals=0,
        ),
    ]
