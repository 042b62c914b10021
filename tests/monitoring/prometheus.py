"""A real Prometheus that scrapes what a test runs, and evaluates the chart's rules."""

import asyncio
import contextlib
import json
import subprocess
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from listeners.runtime.child_processes import die_with_parent
from tests.monitoring.files import RULES
from tests.support.programs import program
from tests.support.waiting import eventually
from triggerfish.testing.server import free_port

__all__ = ["Prometheus", "running_prometheus"]

Labels = Mapping[str, str]
#: Seconds between scrapes, and between evaluations of the rules.
INTERVAL = 1


class Prometheus:
    """A server's HTTP interface, and the file that names what it scrapes."""

    def __init__(self, http: aiohttp.ClientSession, port: int, targets: Path) -> None:
        self._http = http
        self._url = f"http://127.0.0.1:{port}"
        self._file = targets
        self._targets: dict[str, Labels] = {}

    async def ready(self) -> bool:
        """Whether it answers."""
        try:
            async with self._http.get(f"{self._url}/-/ready") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    def scrape(self, address: str, **labels: str) -> None:
        """Scrape this address from now on."""
        self._write({**self._targets, address: labels})

    def forget(self, address: str) -> None:
        """Scrape it no more."""
        self._write({known: labels for known, labels in self._targets.items() if known != address})

    def _write(self, targets: dict[str, Labels]) -> None:
        self._targets = targets
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps([{"targets": [known], "labels": labels} for known, labels in targets.items()]))
        fresh.replace(self._file)

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression gives now."""
        found: list[dict[str, Any]] = (await self.get("query", query=expression))["result"]
        return found

    async def query_range(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """The series that an expression gives over a time, in seconds since the epoch."""
        over = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        found: list[dict[str, Any]] = (await self.get("query_range", query=expression, **over))["result"]
        return found

    async def get(self, path: str, **parameters: str) -> Any:
        """What the interface answers. AssertionError with its words if it refuses."""
        async with self._http.get(f"{self._url}/api/v1/{path}", params=parameters) as response:
            answer = await response.json()
        assert answer["status"] == "success", f"{parameters}: {answer.get('error')}"
        return answer["data"]


@contextlib.asynccontextmanager
async def running_prometheus() -> AsyncIterator[Prometheus]:
    """A Prometheus for the block; it scrapes every second and keeps the labels of what it scrapes (honor_labels)."""
    with tempfile.TemporaryDirectory(prefix="triggerfish-prometheus-") as folder:
        targets, port = Path(folder, "targets.json"), free_port()
        targets.write_text("[]")
        Path(folder, "prometheus.yml").write_text(yaml.safe_dump(_configuration(targets)))
        process = _start(Path(folder), port)
        try:
            async with aiohttp.ClientSession() as http:
                prometheus = Prometheus(http, port, targets)
                await eventually(prometheus.ready)
                yield prometheus
        finally:
            process.terminate()
            await asyncio.to_thread(process.wait, 20)


def _configuration(targets: Path) -> dict[str, Any]:
    found = [{"files": [str(targets)], "refresh_interval": "1s"}]
    every = f"{INTERVAL}s"
    return {
        "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "triggerfish", "honor_labels": True, "file_sd_configs": found}],
    }


def _start(folder: Path, port: int) -> "subprocess.Popen[bytes]":
    with Path(folder, "log").open("wb") as log:
        return subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
            preexec_fn=die_with_parent(),  # noqa: PLW1509  (it makes one system call)
        )
