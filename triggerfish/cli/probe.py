"""`triggerfish probe`: what KEDA would see of a running scaler."""

import asyncio
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from listeners.errors import ConfigurationError
from listeners.text import printable
from scaler.triggers.scaled_objects import RequestedTrigger, SkippedTrigger, metadata_from, triggers_in
from triggerfish.cli.options import MetadataOption
from triggerfish.cli.tables import console_for_tables

if TYPE_CHECKING:  # grpc is not needed to run functions
    from scaler.keda.probe import CallReport, ClientTls


__all__ = ["HELP", "probe"]

console = console_for_tables()


HELP = "\n\n".join(
    (
        "Ask a running scaler as KEDA does, and show what KEDA would see. Changes nothing.",
        "In KEDA's order: GetMetricSpec (the metric's name and target size), GetMetrics (its value), IsActive; then "
        "StreamIsActive for a second (it says something only while the trigger is active), StreamMetricSpec (KEDA "
        "2.21), and the gRPC health check. Each takes 5 s at most.",
        "  triggerfish probe localhost:6000 -m type=RedisListTrigger -m keys=orders",
        "  kubectl get scaledobject shop -o yaml > so.yaml",
        "  triggerfish probe localhost:6000 --file so.yaml",
        "With --file, --metadata adds to each trigger's metadata: KEDA resolves xFromEnv, and here you do.",
        "TLS is used with --ca-file or --cert-file, or if the metadata has enableTLS=true. The certificate must be for "
        "the scalerAddress in the metadata; where there is none, for ADDRESS.",
        "Ends with code 1 if a call fails.",
    )
)


FileOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="ScaledObjects in YAML: their external triggers that point at us are asked for."),
]


NamespaceOption = Annotated[
    str, typer.Option("--namespace", "-n", metavar="NAME", help="The namespace to ask for, if the file names none.")
]


CaOption = Annotated[
    Path | None, typer.Option(metavar="FILE", help="PEM: who must have signed the scaler's certificate.")
]


CertOption = Annotated[Path | None, typer.Option(metavar="FILE", help="PEM: our certificate, for mutual TLS.")]


KeyOption = Annotated[Path | None, typer.Option(metavar="FILE", help="PEM: the key of our certificate.")]


def probe(
    address: Annotated[str, typer.Argument(metavar="ADDRESS", help="The scaler's gRPC address: host:6000.")],
    metadata: MetadataOption = None,
    file: FileOption = None,
    namespace: NamespaceOption = "default",
    ca_file: CaOption = None,
    cert_file: CertOption = None,
    key_file: KeyOption = None,
) -> None:
    """Ask a running scaler as KEDA does, and show what KEDA would see; see HELP."""
    from scaler.keda.probe import client_tls  # noqa: PLC0415

    given = metadata_from(metadata or [])
    _check_address(address)
    if file is not None:
        found = list(triggers_in(file, address, given, namespace))
    elif given:
        found = [RequestedTrigger(namespace, "triggerfish-probe", given)]
    else:
        raise ConfigurationError("--metadata", None, "Say what to ask for: --metadata KEY=VALUE, or --file FILE.")
    asked = [one for one in found if isinstance(one, RequestedTrigger)]
    for one in found:
        if isinstance(one, SkippedTrigger):
            _say(f"passed over {one.line}")
    if not asked:
        raise ConfigurationError("--file", str(file), f"No external trigger in it points at {address}.")
    failed = asyncio.run(_probe_all(address, asked, client_tls(ca_file, cert_file, key_file)))
    if failed:
        raise typer.Exit(1)


async def _probe_all(address: str, asked: list[RequestedTrigger], tls: "ClientTls | None") -> int:
    """Probe one trigger after the other and print a table for each; how many calls failed."""
    from scaler.keda.probe import probe as probe_one  # noqa: PLC0415

    failed = 0
    for one in asked:
        answers = await probe_one(address, one, tls)
        console.print()
        _say(f"{one.namespace}/{one.name}: {_what(one.metadata)}")
        console.print(_table(answers))
        failed += sum(answer.failed for answer in answers)
        if len(answers) == 1:
            _say(
                f"{address} cannot be asked: the rest is left out. Is it the gRPC port (6000), and does TLS match? "
                "Only --ca-file, --cert-file or the metadata enableTLS=true turn it on."
            )
            break
    console.print()
    _say(f"{failed} call{'s' if failed > 1 else ''} failed" if failed else "KEDA can use all of it")
    return failed


def _table(answers: "list[CallReport]") -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("call", "took", "status", "KEDA sees"):
        table.add_column(column, justify="right" if column == "took" else "left", no_wrap=column != "KEDA sees")
    said: set[str] = set()
    for answer in answers:
        seen = "as above" if answer.failed and answer.seen in said else answer.seen
        said.add(answer.seen)
        took = f"{answer.seconds * 1000:.0f} ms" if answer.seconds is not None else "-"
        table.add_row(
            answer.call, took, Text(answer.status, "red" if answer.failed else "green"), Text(printable(seen, 500))
        )
    return table


def _what(metadata: dict[str, str]) -> str:
    """What a trigger reads, without the values that may be secret."""
    folded = {key.lower(): value for key, value in metadata.items()}
    read = folded.get("keys") or folded.get("channel") or ""
    return " ".join(word for word in (folded.get("type", "no type"), read, folded.get("function", "")) if word)


def _check_address(address: str) -> None:
    if not re.fullmatch(r"[^/\s]+:\d{1,5}", address):
        raise ConfigurationError(
            "ADDRESS", address, "Give host:port of the scaler's gRPC port, such as localhost:6000."
        )


def _say(line: str) -> None:
    console.print(printable(line, 500), markup=False, highlight=False, soft_wrap=True)
