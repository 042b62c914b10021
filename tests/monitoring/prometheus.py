"""A real Prometheus that scrapes a test's processes and evaluates the chart's rules."""

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
from tests.support.programs.installed import program
from tests.support.waiting import eventually
from triggerfish.testing.server import free_port

__all__ = ["Prometheus", "running_prometheus"]

Labels = Mapping[str, str]
#: Seconds between scrapes, and between evaluations of the rules.
INTERVAL = 1


class Prometheus:
    """A client for a Prometheus server's HTTP API and its file of scrape targets."""

    def __init__(self, http: aiohttp.ClientSession, port: int, targets: Path) -> None:
        self._http = http
        self._url = f"http://127.0.0.1:{port}"
        self._file = targets
        self._targets: dict[str, Labels] = {}

    async def ready(self) -> bool:
        """Return whether the server is ready."""
        try:
            async with self._http.get(f"{self._url}/-/ready") as response:
                return response.status == 200
        except aiohttp.ClientError:
            return False

    def scrape(self, address: str, **labels: str) -> None:
        """Start scraping this address."""
        self._write({**self._targets, address: labels})

    def stop_scraping(self, address: str) -> None:
        """Stop scraping this address."""
        self._write({target: labels for target, labels in self._targets.items() if target != address})

    def _write(self, targets: dict[str, Labels]) -> None:
        self._targets = targets
        new_file = self._file.with_suffix(".new")
        new_file.write_text(json.dumps([{"targets": [target], "labels": labels} for target, labels in targets.items()]))
        new_file.replace(self._file)

    async def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the result of an instant query."""
        result: list[dict[str, Any]] = (await self.get("query", query=expression))["result"]
        return result

    async def query_range(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """Return the result of a range query. `start` and `end` are seconds since the epoch."""
        times = {"start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step:g}"}
        result: list[dict[str, Any]] = (await self.get("query_range", query=expression, **times))["result"]
        return result

    async def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an API response. Raises AssertionError with Prometheus' error message on failure."""
        async with self._http.get(f"{self._url}/api/v1/{path}", params=parameters) as response:
            body = await response.json()
        assert body["status"] == "success", f"{parameters}: {body.get('error')}"
        return body["data"]


@contextlib.asynccontextmanager
async def running_prometheus() -> AsyncIterator[Prometheus]:
    """Run a Prometheus during the block. It scrapes every second and keeps the labels of its targets (honor_labels)."""
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
    discovery = [{"files": [str(targets)], "refresh_interval": "1s"}]
    interval = f"{INTERVAL}s"
    return {
        "global": {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "triggerfish", "honor_labels": True, "file_sd_configs": discovery}],
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
