"""`triggerfish probe`: shows what a running scaler answers to KEDA."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from listeners.errors import ConfigurationError
from listeners.runtime.extras import require_extra
from listeners.text import escape
from triggerfish.cli.options import JsonOption, MetadataOption, NamespaceOption
from triggerfish.cli.output import print_json, print_line, stdout

if TYPE_CHECKING:
    from scaler.keda.autoscalers import Autoscalers
    from scaler.keda.call_report import CallReport
    from scaler.keda.probe import ClientTls
    from scaler.triggers.scaled_objects import RequestedTrigger, SkippedTrigger

__all__ = ["probe"]

DEFAULT_NAMESPACE = "default"

AddressArgument = Annotated[
    str, typer.Argument(metavar="ADDRESS", help="The scaler's gRPC address: host:6000.", show_default=False)
]
FileOption = Annotated[
    Path | None,
    typer.Option("--file", "-f", metavar="FILE", help="ScaledObjects and ScaledJobs (YAML) whose triggers to probe."),
]
CaFileOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="CA of the scaler's certificate (PEM); turns TLS on.")
]
CertificateFileOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Client certificate for mutual TLS (PEM).")
]
KeyFileOption = Annotated[Path | None, typer.Option(metavar="FILE", help="The client certificate's key (PEM).")]

ServiceAccountOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Also check the HPA that KEDA made of each ScaledObject in --file, with the token and ca.crt in this "
        "folder. For pods.",
    ),
]


def probe(
    address: AddressArgument,
    metadata: MetadataOption = None,
    file: FileOption = None,
    namespace: NamespaceOption = None,
    ca_file: CaFileOption = None,
    certificate_file: CertificateFileOption = None,
    key_file: KeyFileOption = None,
    service_account: ServiceAccountOption = None,
    json: JsonOption = False,
) -> None:
    """Call a running scaler as KEDA does, and show what KEDA would see.

    In KEDA's order: GetMetricSpec, GetMetrics, IsActive, StreamIsActive (for a second; it reports only active
    triggers), StreamMetricSpec (KEDA 2.21), and the gRPC health check. Each call takes at most 5 s. Read-only.

    Examples:

    - `triggerfish probe localhost:6000 -m type=RedisListTrigger -m keys=orders`

    - `triggerfish probe localhost:6000 --file scaledobject.yaml`

    With --file, --metadata adds to each trigger's metadata. Use it for the values of `xFromEnv`, which KEDA resolves.

    TLS is on with --ca-file or --certificate-file, or if the metadata has `enableTLS=true`. The certificate must be for
    the scalerAddress in the metadata, or for ADDRESS if there is none.

    With --service-account, a missing HPA is awaited for a minute.

    Exits with status 1 if a call fails.
    """
    require_extra("scaler", "triggerfish probe")
    from scaler.keda.autoscalers import Autoscalers
    from scaler.keda.probe import client_tls

    if not re.fullmatch(r"[^/\s]+:\d{1,5}", address):
        fix = "Give host:port of the scaler's gRPC port, such as localhost:6000."
        raise ConfigurationError("ADDRESS", address, fix)
    requested, skipped = _triggers(address, metadata or [], file, namespace or DEFAULT_NAMESPACE)
    if not json:
        for one in skipped:
            print_line(f"skipped {one.line}")
    if not requested:
        raise ConfigurationError(
            "--file", str(file), f"It has no external trigger for {address}. Check scalerAddress and type."
        )
    if service_account is not None and file is None:
        raise ConfigurationError("--service-account", str(service_account), "Give the ScaledObjects with --file.")
    scaler = _Scaler(
        address,
        client_tls(ca_file, certificate_file, key_file),
        Autoscalers(service_account) if service_account is not None else None,
    )
    work = _print_json(scaler, requested, skipped) if json else _print_tables(scaler, requested)
    if asyncio.run(work):
        raise typer.Exit(1)


def _triggers(
    address: str, metadata: list[str], file: Path | None, namespace: str
) -> "tuple[list[RequestedTrigger], list[SkippedTrigger]]":
    """Return the triggers to probe, and those in the file that are not for this scaler."""
    from scaler.triggers.scaled_objects import (
        RequestedTrigger,
        SkippedTrigger,
        metadata_from,
        triggers_in,
    )

    given = metadata_from(metadata)
    if file is None:
        if not given:
            fix = "Give --metadata KEY=VALUE or --file FILE."
            raise ConfigurationError("--metadata", None, fix)
        return [RequestedTrigger(namespace, "triggerfish-probe", given)], []
    found = list(triggers_in(file, address, given, namespace))
    requested = [one for one in found if isinstance(one, RequestedTrigger)]
    return requested, [one for one in found if isinstance(one, SkippedTrigger)]


@dataclass(frozen=True)
class _Scaler:
    """The scaler to probe, and the HPAs to check, if any."""

    address: str
    tls: "ClientTls | None"
    autoscalers: "Autoscalers | None"


async def _probe_each(
    scaler: _Scaler, requested: "list[RequestedTrigger]"
) -> "AsyncIterator[tuple[RequestedTrigger, list[CallReport]]]":
    """Probe the triggers one by one. Stop if the scaler cannot be reached."""
    from scaler.keda.probe import probe as probe_trigger

    for one in requested:
        reports = await probe_trigger(scaler.address, one, scaler.tls, scaler.autoscalers)
        yield one, reports
        if len(reports) == 1:
            return


async def _print_tables(scaler: _Scaler, requested: "list[RequestedTrigger]") -> int:
    """Probe the triggers and print a table for each. Return how many calls failed."""
    failed = 0
    async for one, reports in _probe_each(scaler, requested):
        stdout().print()
        print_line(f"{one.namespace}/{one.name}: {_summary(one.metadata)}")
        stdout().print(_table(reports))
        failed += sum(report.failed for report in reports)
        if len(reports) == 1:
            print_line(
                f"{scaler.address} cannot be reached, so the other calls were skipped. Is it the gRPC port (6000), and "
                "does TLS match? Only --ca-file, --certificate-file or the metadata enableTLS=true turn it on."
            )
    stdout().print()
    print_line(f"{failed} call{'s' if failed > 1 else ''} failed" if failed else "KEDA can use every answer")
    return failed


async def _print_json(scaler: _Scaler, requested: "list[RequestedTrigger]", skipped: "list[SkippedTrigger]") -> int:
    """Probe the triggers and print all reports. Return how many calls failed."""
    failed = 0
    triggers: list[dict[str, Any]] = []
    async for one, reports in _probe_each(scaler, requested):
        failed += sum(report.failed for report in reports)
        calls = [{**asdict(report), "failed": report.failed} for report in reports]
        summary = {"namespace": one.namespace, "name": one.name, "trigger": _summary(one.metadata)}
        triggers.append({**summary, "calls": calls})
    print_json({"triggers": triggers, "skipped": [one.line for one in skipped], "failed": failed})
    return failed


def _table(reports: "list[CallReport]") -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("call", "took", "status", "KEDA sees"):
        table.add_column(column, justify="right" if column == "took" else "left", no_wrap=column != "KEDA sees")
    shown: set[str] = set()
    for report in reports:
        seen = "as above" if report.failed and report.seen in shown else report.seen
        shown.add(report.seen)
        took = f"{report.seconds * 1000:.0f} ms" if report.seconds is not None else "-"
        status = Text(report.status, "red" if report.failed else "green")
        table.add_row(report.call, took, status, Text(escape(seen)))
    return table


def _summary(metadata: dict[str, str]) -> str:
    """Describe what a trigger reads, without values that may be secret."""
    folded = {key.lower(): value for key, value in metadata.items()}
    read = folded.get("keys") or folded.get("channel") or folded.get("queue") or ""
    kind = folded.get("type", "")
    kind = kind if kind.lower().endswith(("trigger", "queue", "sortedset")) and kind.isalpha() else "no known type"
    return " ".join(word for word in (kind, read, folded.get("function", "")) if word)
