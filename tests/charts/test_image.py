"""The Dockerfile: linted, and its build steps run without a container engine."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"
HADOLINT = Path(sys.executable).with_name("hadolint")
INSTALL_SECONDS = 300
#: Imports the scaler with its compiled protocol, and prints the installed packages that a new environment lacks.
PRINT_INSTALLED = """
import importlib.metadata, scaler.server
installed = {found.name: found.version for found in importlib.metadata.distributions()}
print(*(f"{name}=={installed[name]}" for name in installed.keys() - {"pip", "setuptools", "triggerfish"}))
"""


def instructions() -> list[tuple[str, str]]:
    """Return the keyword and the arguments of each instruction, with line continuations joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def stages() -> list[list[tuple[str, str]]]:
    """Return the instructions of each stage, which starts with FROM."""
    found: list[list[tuple[str, str]]] = []
    for keyword, rest in instructions():
        if keyword == "FROM":
            found.append([])
        if found:
            found[-1].append((keyword, rest))
    return found


def arguments(keyword: str, stage: list[tuple[str, str]]) -> list[str]:
    """Return the arguments of each instruction with this keyword in a stage."""
    return [rest for found, rest in stage if found == keyword]


def test_hadolint_finds_nothing() -> None:
    """Hadolint reports no problems."""
    linted = subprocess.run([HADOLINT, DOCKERFILE], capture_output=True, text=True, timeout=30, check=False)
    assert (linted.returncode, linted.stdout) == (0, "")


def test_the_image_is_small_pinned_and_unprivileged() -> None:
    """Both stages use one pinned slim image with the oldest supported Python. The final stage copies the result of the
    build and runs as a numeric user other than root.
    """
    [(keyword, base)] = [(keyword, rest) for keyword, rest in instructions() if rest.startswith("PYTHON=")]
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    assert (keyword, base) == ("ARG", f"PYTHON=python:{oldest}-slim-bookworm")
    build, final = stages()
    assert arguments("FROM", build) == ["${PYTHON} AS build"]
    assert arguments("FROM", final) == ["${PYTHON}"]
    assert arguments("COPY", final) == ["--from=build /opt/triggerfish /opt/triggerfish"]
    assert not arguments("RUN", final)
    [user] = arguments("USER", final)
    assert all(int(number) > 0 for number in user.split(":"))
    assert arguments("ENTRYPOINT", final) == ['["triggerfish"]']


def test_the_build_context_contains_only_copied_files() -> None:
    """.dockerignore admits exactly what COPY needs, so no file with a secret enters the build context."""
    admitted = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {path for rest in arguments("COPY", stages()[0]) for path in rest.split()[:-1]}
    assert admitted == copied
    assert all((ROOT / path).exists() for path in copied)


@pytest.mark.timeout(2 * INSTALL_SECONDS)
def test_the_build_steps_install_a_working_triggerfish(tmp_path: Path) -> None:
    """The build steps, with their files and variables, install pinned versions that run outside the source tree."""
    build, _ = stages()
    source, target = tmp_path / "src", tmp_path / "opt"
    source.mkdir()
    for rest in arguments("COPY", build):
        *paths, into = rest.split()
        for path in paths:
            _copy(ROOT / path, source / into / path if into == "./" else source / into)

    def localized(text: str) -> str:
        return text.replace("/src", str(source)).replace("/opt/triggerfish", str(target))

    variables = dict(variable.split("=", 1) for rest in arguments("ENV", build) for variable in localized(rest).split())
    quick = {"EXTRAS": "", "PIP_NO_COMPILE": "1", "PIP_NO_CACHE_DIR": "off"}
    path = f"{Path(sys.base_prefix, 'bin')}:{os.environ['PATH']}"
    for step in arguments("RUN", build):
        command = localized(step).replace("python -m venv", f"{sys.executable} -m venv", 1)
        _run(["sh", "-ec", command], cwd=source, variables={**variables, **quick, "PATH": path})
    help_text = _run([target / "bin" / "triggerfish", "--help"], cwd=tmp_path, variables={})
    assert "scaler" in help_text
    installed = _run([target / "bin" / "python", "-c", PRINT_INSTALLED], cwd=tmp_path, variables={}).split()
    pinned = (ROOT / "constraints.txt").read_text().lower().replace("_", "-").split()
    assert {line.lower().replace("_", "-") for line in installed} <= set(pinned)


def _copy(source: Path, target: Path) -> None:
    """Copy like the instruction COPY, without files that .dockerignore excludes."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "externalscaler_pb2*"))
    else:
        shutil.copy(source, target)


def _run(command: list[str | Path], cwd: Path, variables: dict[str, str]) -> str:
    """Return the standard output of a command, which must succeed."""
    excluded = {"PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT"}
    inherited = {name: value for name, value in os.environ.items() if name not in excluded}
    process = subprocess.run(
        command,
        cwd=cwd,
        env={**inherited, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout
