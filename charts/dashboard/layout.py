"""The dashboard: all triggers, one trigger in depth, and the scaler itself."""

import itertools

from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.builders import stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from charts.dashboard.panels import DATASOURCE, Figure, chart, figure, of_triggers, shades
from charts.dashboard.queries import ALL, FUNCTION, ONE, deployment, hpa, known, quantiles, sample_age, trigger

__all__ = ["dashboard_json"]

BY_OBJECT = "{{namespace}}/{{scaledobject}}"
BY_TRIGGER = "{{scaledobject}} {{function}}"
RATE = "$__rate_interval"
Panel = stat.Panel | table.Panel | timeseries.Panel


def dashboard_json() -> str:
    """The whole dashboard, the same at each call."""
    board = (
        grafana.Dashboard("Triggerfish")
        .uid("triggerfish")
        .description("What waits for functions that Redis triggers, and how many instances follow.")
        .tags(["triggerfish", "keda", "redis"])
        .time("now-1h", "now")
        .refresh("30s")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
    )
    for variable in variables():
        board.with_variable(variable)
    rows = {"All triggers": all_triggers(), "One trigger: $function": one_trigger(), "Scaler": scaler()}
    numbers = itertools.count(1)
    for title, row in rows.items():
        board.with_row(grafana.Row(title).id(next(numbers)))
        for panel in row:
            board.with_panel(panel.id(next(numbers)))
    return JSONEncoder(sort_keys=True, indent=2).encode(board.build()) + "\n"


def variables() -> list[grafana.DatasourceVariable | grafana.QueryVariable]:
    """What a reader chooses: the Prometheus, and from namespace to trigger; the function follows from the trigger."""
    series = "triggerfish_trigger_known"
    return [
        grafana.DatasourceVariable("datasource").label("Prometheus").type("prometheus"),
        _choice("namespace", f"label_values({series}, namespace)").label("Namespace").include_all(True).all_value(".*"),
        _choice("scaledobject", f'label_values({series}{{namespace=~"$namespace"}}, scaledobject)')
        .label("ScaledObject")
        .include_all(True)
        .all_value(".*"),
        # Shown by its function, as the trigger's own name is a hash.
        _choice("trigger", f"query_result({series}{{{ALL}}})")
        .label("Trigger")
        .regex('/(?:function="(?<text>[^"]*)".*)?trigger="(?<value>[^"]+)"/'),
        _choice("function", f'label_values({series}{{trigger="$trigger"}}, function)').hide(
            model.VariableHide.HIDE_VARIABLE
        ),
    ]


def _choice(name: str, query: str) -> grafana.QueryVariable:
    return (
        grafana.QueryVariable(name)
        .datasource(DATASOURCE)
        .query({"query": query, "refId": f"variable-{name}"})
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
    )


def all_triggers() -> list[Panel]:
    """The overview."""
    return [
        *_figures(),
        of_triggers(
            {
                "Known": known(ALL),
                "Backlog": trigger("backlog", ALL),
                "Per instance": trigger("messages_per_worker", ALL),
                "Target": trigger("target_instances", ALL),
                "Active": trigger("active", ALL),
                "Age": sample_age(ALL),
            }
        ),
        chart("Backlog", {BY_TRIGGER: trigger("backlog", ALL)}, "Entries not finished yet."),
        chart(
            "Instances: wanted and running",
            {
                f"{BY_OBJECT} target": trigger("target_instances", ALL, by="namespace, scaledobject"),
                f"{BY_OBJECT} running": hpa("status_current_replicas", ALL),
            },
            "The largest target of a ScaledObject's triggers, and what its HPA sees running.",
            decimals=0,
        ),
    ]


def _figures() -> list[Panel]:
    triggers = known(ALL)
    return [
        figure(Figure("Number of triggers", f"count({triggers})", "What KEDA asks about, or the settings declare.")),
        figure(
            Figure("Not known", f"count({triggers}) - sum({triggers})", "Whose backlog cannot be measured now."),
            shades(orange=1),
        ),
        figure(Figure("Waiting", f"sum({trigger('backlog', ALL)})", "Entries not finished yet, of all triggers.")),
        figure(
            Figure(
                "At their maximum",
                f"sum(({hpa('status_current_replicas', ALL)}) >= bool ({hpa('spec_max_replicas', ALL)}))",
                "ScaledObjects that run as many instances as they may.",
            ),
            shades(orange=1),
        ),
    ]


def one_trigger() -> list[Panel]:
    """One trigger in depth."""
    return [*_what_waits(), *_what_is_done(), *_what_fails(), *_who_reads()]


def _what_waits() -> list[Panel]:
    return [
        chart(
            "Backlog by part",
            {
                "waiting in the list": trigger("length", f'{ONE},kind="list"'),
                "in flight": trigger("in_flight", ONE),
                "not delivered (lag)": trigger("lag", ONE),
                "delivered (pending)": trigger("pending", ONE),
            },
            "Lists: elements, and those taken and not finished. Streams: lag, and entries that were not acknowledged.",
            stacked=True,
        ),
        chart(
            "Target and instances",
            {
                "target": trigger("target_instances", ONE),
                "wanted by the HPA": hpa("status_desired_replicas", ONE),
                "ready": deployment("status_replicas_ready", ONE),
                "maximum": hpa("spec_max_replicas", ONE),
            },
            "What this trigger wants; the ScaledObject runs what the largest of its triggers wants.",
            decimals=0,
        ),
    ]


def _what_is_done() -> list[Panel]:
    return [
        chart(
            "Throughput",
            {
                "received": f"sum(rate(triggerfish_entries_received_total{{{FUNCTION}}}[{RATE}]))",
                "succeeded": f'sum(rate(triggerfish_entries_settled_total{{{FUNCTION},outcome="succeeded"}}[{RATE}]))',
                "delivered again": f"sum(rate(triggerfish_entries_redelivered_total{{{FUNCTION}}}[{RATE}]))",
            },
            "Entries per second, of all instances.",
            unit="cps",
        ),
        chart(
            "Duration of calls",
            quantiles("triggerfish_handler_duration_seconds", FUNCTION),
            "How long the function takes.",
            unit="s",
        ),
        chart(
            "Wait of stream entries",
            quantiles("triggerfish_entry_wait_seconds", FUNCTION),
            "From an entry's ID to its call.",
            unit="s",
        ),
        chart(
            "In progress",
            {
                "in progress": f"sum(triggerfish_entries_in_progress{{{FUNCTION}}})",
                "overdue calls": f"sum(triggerfish_calls_overdue{{{FUNCTION}}})",
            },
            "Entries taken and not settled yet; calls that took longer than their limit and still run.",
        ),
    ]


def _what_fails() -> list[Panel]:
    settled = f"triggerfish_entries_settled_total{{{FUNCTION}}}"
    failed = f'triggerfish_entries_settled_total{{{FUNCTION},outcome=~"retried|dead_lettered|dropped"}}'
    dead = f'triggerfish_entries_settled_total{{{FUNCTION},outcome="dead_lettered"}}'
    return [
        chart(
            "Failures",
            {
                "failed": f"sum(rate({failed}[{RATE}])) / sum(rate({settled}[{RATE}]))",
                "of which dead letters": f"sum(rate({dead}[{RATE}])) / sum(rate({settled}[{RATE}]))",
            },
            "The share of entries whose call failed.",
            unit="percentunit",
        ),
        chart(
            "Dead letters and dropped messages",
            {
                "dead letters": f"sum(increase({dead}[{RATE}]))",
                "dropped": f"sum(increase(triggerfish_messages_dropped_total{{{FUNCTION}}}[{RATE}]))",
            },
            "Entries given up on, and pub/sub messages that no call was made for.",
        ),
    ]


def _who_reads() -> list[Panel]:
    return [
        chart(
            "Lease of pub/sub",
            {
                "{{pod}}": f"triggerfish_lease_held{{{FUNCTION}}}",
                "holders": f"sum(triggerfish_lease_held{{{FUNCTION}}})",
            },
            "Which instance is subscribed. There should always be one.",
            decimals=0,
        ),
        chart(
            "Redis, as the instances see it",
            {
                "can read": f"sum(triggerfish_source_up{{{FUNCTION}}})",
                "cannot": f"count(triggerfish_source_up{{{FUNCTION}}}) - sum(triggerfish_source_up{{{FUNCTION}}})",
            },
            "Instances that can read the trigger, and those that cannot.",
            decimals=0,
            stacked=True,
        ),
    ]


def scaler() -> list[Panel]:
    """The scaler itself."""
    return [
        chart(
            "KEDA's calls",
            {"{{method}} {{code}}": f"sum by (method, code) (rate(triggerfish_grpc_requests_total[{RATE}]))"},
            "By method and status.",
            unit="reqps",
        ),
        chart(
            "Measuring",
            quantiles("triggerfish_sample_duration_seconds", ""),
            "How long a round takes; one measures all that is asked about one Redis at one time.",
            unit="s",
        ),
        chart(
            "Errors",
            {
                "measuring: {{reason}}": f"sum by (reason) (rate(triggerfish_sample_errors_total[{RATE}]))",
                "reloading: {{what}}": f"sum by (what) (rate(triggerfish_reload_errors_total[{RATE}]))",
            },
            "Rounds of measuring that failed, and changed files that cannot be used.",
            unit="cps",
        ),
        chart(
            "Open streams",
            {"{{method}}": "sum by (method) (triggerfish_open_streams)"},
            "KEDA keeps one StreamIsActive for each trigger of type external-push.",
            decimals=0,
        ),
        chart(
            "Age of samples",
            {BY_TRIGGER: sample_age(ALL)},
            "How old the youngest sample is. It grows where nobody asks any more.",
            unit="s",
        ),
        chart(
            "Version",
            {"{{version}}": "count by (version) (triggerfish_build_info)"},
            "Scalers and hosts by the version that they run.",
            decimals=0,
        ),
    ]
