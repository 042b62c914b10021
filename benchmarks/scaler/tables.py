"""The results as tables: for the terminal and for the documentation."""

from collections.abc import Sequence

from benchmarks.scaler.results import Activation, Answering, Memory, RedisCost, Results
from benchmarks.tables import UNKNOWN, Table

__all__ = ["about_lines", "tables"]

MEGABYTE = 1e6
LEAST_OBJECTS_FOR_BYTES = 1_000


def about_lines(results: Results) -> list[str]:
    """Where and when, and what is missing."""
    about = results.about
    versions = ", ".join(f"{name} {version}" for name, version in about.versions.items())
    machine = f"{about.machine}; load average before the start {about.load_before:g}"
    return [about.date, machine, versions, *(f"missing: {what}" for what in results.unfinished)]


def tables(results: Results) -> list[Table]:
    """All of them."""
    return [
        _answering(results.answering),
        _redis(results.redis),
        _activation(results.activation),
        _watching(results.activation),
        _memory(results.memory),
    ]


def _answering(found: Sequence[Answering]) -> Table:
    return Table(
        "Answering KEDA",
        "A poll is GetMetricSpec, GetMetrics and IsActive, over 4 HTTP/2 connections. Client and scaler are Python "
        "processes on one machine: a latency has the client's work in it, and with many polls at a time their queue.",
        ("ScaledObjects", "polls at a time", "calls/s", "GetMetrics p50 ms", "p99 ms", "IsActive p50 ms", "p99 ms",
         "scaler CPU ms per poll", "polls", "failed"),
        [
            (
                f"{one.scaled_objects:,}", f"{one.in_flight:,}", f"{one.calls_per_second:,.0f}",
                *_both_ms(one.quantiles.get("GetMetrics")), *_both_ms(one.quantiles.get("IsActive")),
                f"{one.scaler_cpu_per_poll:.2f}", f"{one.polls:,}", _failures(one),
            )
            for one in found
        ],
    )  # fmt: skip


def _redis(found: Sequence[RedisCost]) -> Table:
    return Table(
        "What one evaluation costs Redis",
        "An evaluation is one poll of one ScaledObject: through the scaler, and by the commands that KEDA's own redis "
        "scalers send (a script for a list; INFO and XINFO GROUPS for a stream). Commands inside of scripts and of "
        "transactions count, MULTI and EXEC too; bytes are those in and out. KEDA's scalers do not count what is in "
        "flight in a list or pending in a stream.",
        ("ScaledObjects", "polls at a time", "commands", "KEDA's", "ratio", "bytes", "KEDA's", "ratio", "CPU µs",
         "KEDA's", "ratio"),
        [
            (
                f"{one.ours.scaled_objects:,}{'' if one.reads == 'all' else f' ({one.reads})'}",
                f"{one.ours.in_flight:,}",
                *_beside(one.ours.redis.commands, one.keda.commands, "{:.1f}"),
                *_beside(one.ours.redis.bytes, one.keda.bytes, "{:,.0f}"),
                *_beside(one.ours.redis.cpu_microseconds, one.keda.cpu_microseconds, "{:.0f}"),
            )
            for one in found
        ],
    )  # fmt: skip


def _activation(found: Sequence[Activation]) -> Table:
    return Table(
        "Activation",
        "From LPUSH or XADD to `true` on an open StreamIsActive, at random times, while the other triggers are idle. "
        "Opening: until every ScaledObject has its stream. Notifications: `notify-keyspace-events Klt`.",
        ("ScaledObjects", "notifications", "samples", "p50 ms", "p99 ms", "missed", "opening s"),
        [
            (
                f"{one.scaled_objects:,}", _on_or_off(one), f"{one.samples:,}", *_both_ms(one.quantiles),
                f"{one.missed:,}", f"{one.opening_seconds:.1f}",
            )
            for one in found
        ],
    )  # fmt: skip


def _watching(found: Sequence[Activation]) -> Table:
    return Table(
        "Watching while nothing happens",
        "With a stream open for every ScaledObject and no entry anywhere: what the scaler and Redis spend, and how the "
        "scaler answers polls of the same ScaledObjects, 4 at a time.",
        ("ScaledObjects", "notifications", "Redis commands/s", "scaler CPU %", "GetMetrics p50 ms", "p99 ms"),
        [
            (
                f"{one.scaled_objects:,}", _on_or_off(one), f"{one.idle_redis_commands_per_second:,.0f}",
                f"{one.idle_scaler_cpu_percent:.0f}", *_both_ms(one.polls_meanwhile),
            )
            for one in found
        ],
    )  # fmt: skip


def _memory(found: Sequence[Memory]) -> Table:
    return Table(
        "Memory of the scaler",
        "RSS of the process, before and after every ScaledObject was polled, or has opened its StreamIsActive.",
        ("ScaledObjects", "that have", "at rest MB", "then MB", "bytes each"),
        [
            (
                f"{one.scaled_objects:,}", "an open stream" if one.streaming else "been polled",
                f"{one.at_rest / MEGABYTE:.1f}", f"{one.then / MEGABYTE:.1f}",
                # What a few need drowns in what a process needs anyway.
                f"{one.each:,.0f}" if one.scaled_objects >= LEAST_OBJECTS_FOR_BYTES else UNKNOWN,
            )
            for one in found
        ],
    )  # fmt: skip


def _failures(one: Answering) -> str:
    return ", ".join(f"{times:,} {status}" for status, times in one.failures.items()) or "0"


def _beside(ours: float | None, others: float | None, shown: str) -> tuple[str, str, str]:
    """Both, and ours divided by the other's."""
    if ours is None or others is None:
        return UNKNOWN, UNKNOWN, UNKNOWN
    return shown.format(ours), shown.format(others), f"{ours / others:.2f}" if others else UNKNOWN


def _on_or_off(one: Activation) -> str:
    return "on" if one.notifications else "off"


def _both_ms(found: tuple[float, float] | None) -> tuple[str, str]:
    return (_ms(found[0]), _ms(found[1])) if found is not None else (UNKNOWN, UNKNOWN)


def _ms(value: float) -> str:
    """Three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
