"""Builds the tables of a run."""

from collections.abc import Sequence

from benchmarks.scaler.results import Activation, Answering, ManyKeys, Memory, RedisCost, Results
from benchmarks.tables import UNKNOWN, Table

__all__ = ["about_lines", "tables"]

MEGABYTE = 1e6
#: With fewer ScaledObjects, their memory is lost in the memory of the process.
MIN_OBJECTS_FOR_BYTES = 1_000


def about_lines(results: Results) -> list[str]:
    """Return lines with the date, the machine, the versions and the missing measurements."""
    about = results.about
    versions = ", ".join(f"{name} {version}" for name, version in about.versions.items())
    machine = f"{about.machine}; load average before the start {about.load_before:g}"
    return [about.date, machine, versions, *(f"missing: {what}" for what in results.unfinished)]


def tables(results: Results) -> list[Table]:
    """Return all tables."""
    return [
        _answering(results.answering),
        _redis(results.redis),
        _activation(results.activation),
        _watching(results.activation),
        _many_keys(results.many_keys),
        _memory(results.memory),
    ]


def _answering(found: Sequence[Answering]) -> Table:
    return Table(
        "Answering KEDA",
        "A poll is GetMetricSpec, GetMetrics and IsActive, over 4 HTTP/2 connections. Client and scaler are Python "
        "processes on one machine. Latencies include the client's work and, with many concurrent polls, queueing.",
        ("ScaledObjects", "concurrent polls", "calls/s", "GetMetrics p50 ms", "p99 ms", "IsActive p50 ms", "p99 ms",
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
        "Cost of one evaluation for Redis",
        "An evaluation is one poll of one ScaledObject. KEDA stands for the commands that KEDA's redis scalers send (a "
        "script for a list; INFO and XINFO GROUPS for a stream). Commands include those inside scripts and "
        "transactions, MULTI and EXEC. Bytes are input and output. KEDA's scalers do not count entries that are in "
        "flight in a list or pending in a stream.",
        ("ScaledObjects", "concurrent polls", "commands", "KEDA", "ratio", "bytes", "KEDA", "ratio", "CPU µs",
         "KEDA", "ratio"),
        [
            (
                f"{one.ours.scaled_objects:,}{'' if one.reads == 'all' else f' ({one.reads})'}",
                f"{one.ours.in_flight:,}",
                *_compared(one.ours.redis.commands, one.keda.commands, "{:.1f}"),
                *_compared(one.ours.redis.bytes, one.keda.bytes, "{:,.0f}"),
                *_compared(one.ours.redis.cpu_microseconds, one.keda.cpu_microseconds, "{:.0f}"),
            )
            for one in found
        ],
    )  # fmt: skip


def _activation(found: Sequence[Activation]) -> Table:
    return Table(
        "Activation",
        "Latency from LPUSH or XADD, at random times, to `true` on an open StreamIsActive, while the other triggers "
        "are idle. By tracking: Redis reports changes. By polling: the scaler's user may not use client tracking. "
        "Opening: time until every ScaledObject has its stream. Bare: a client that only waits for the reports of "
        "client tracking, in the same run.",
        ("ScaledObjects", "by", "samples", "p50 ms", "p99 ms", "bare p50 ms", "bare p99 ms", "missed", "opening s"),
        [
            (
                f"{one.scaled_objects:,}", _how(one), f"{one.samples:,}", *_both_ms(one.quantiles), *_both_ms(one.bare),
                f"{one.missed:,}", f"{one.opening_seconds:.1f}",
            )
            for one in found
        ],
    )  # fmt: skip


def _watching(found: Sequence[Activation]) -> Table:
    return Table(
        "Cost of watching idle triggers",
        "What the scaler and Redis spend with an open stream for every ScaledObject and no entries, and how the scaler "
        "answers polls of the same ScaledObjects, 4 of them concurrently.",
        ("ScaledObjects", "by", "Redis commands/s", "scaler CPU %", "GetMetrics p50 ms", "p99 ms"),
        [
            (
                f"{one.scaled_objects:,}", _how(one), f"{one.idle_redis_commands_per_second:,.0f}",
                f"{one.idle_scaler_cpu_percent:.1f}", *_both_ms(one.polls_meanwhile),
            )
            for one in found
        ],
    )  # fmt: skip


def _how(one: Activation) -> str:
    return "tracking" if one.by_tracking else "polling"


def _many_keys(found: Sequence[ManyKeys]) -> Table:
    return Table(
        "Many keys on one connection",
        "A process that watches keys by client tracking as the scaler does, without gRPC. Arming: time until all are "
        "watched. Latency from RPUSH to the report.",
        ("keys", "arming s", "p50 ms", "p99 ms", "samples", "process MB", "Redis MB"),
        [
            (
                f"{one.keys:,}", f"{one.arming_seconds:.2f}", *_both_ms(one.quantiles), f"{one.samples:,}",
                f"{one.process_bytes / MEGABYTE:.1f}", f"{one.redis_bytes / MEGABYTE:.1f}",
            )
            for one in found
        ],
    )  # fmt: skip


def _memory(found: Sequence[Memory]) -> Table:
    return Table(
        "Memory of the scaler",
        "RSS of the process before and after every ScaledObject was polled, or opened its StreamIsActive.",
        ("ScaledObjects", "workload", "before MB", "after MB", "bytes each"),
        [
            (
                f"{one.scaled_objects:,}", "open streams" if one.streaming else "polls",
                f"{one.at_rest / MEGABYTE:.1f}", f"{one.then / MEGABYTE:.1f}",
                f"{one.each:,.0f}" if one.scaled_objects >= MIN_OBJECTS_FOR_BYTES else UNKNOWN,
            )
            for one in found
        ],
    )  # fmt: skip


def _failures(one: Answering) -> str:
    return ", ".join(f"{times:,} {status}" for status, times in one.failures.items()) or "0"


def _compared(ours: float | None, others: float | None, shown: str) -> tuple[str, str, str]:
    """Return both figures and their ratio."""
    if ours is None or others is None:
        return UNKNOWN, UNKNOWN, UNKNOWN
    return shown.format(ours), shown.format(others), f"{ours / others:.2f}" if others else UNKNOWN


def _both_ms(found: tuple[float, float] | None) -> tuple[str, str]:
    return (_ms(found[0]), _ms(found[1])) if found is not None else (UNKNOWN, UNKNOWN)


def _ms(value: float) -> str:
    """Format with three significant digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
