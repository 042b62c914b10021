"""The image's recipe: its steps are run as far as a machine without a container engine can, and the rest is linted."""

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
#: Loads the compiled protocol, and says what is installed beside us and what a new environment has.
SERVES = """
import importlib.metadata, scaler.server
installed = {found.name: found.version for found in importlib.metadata.distributions()}
print(*(f"{name}=={installed[name]}" for name in installed.keys() - {"pip", "setuptools", "triggerfish"}))
"""


def instructions() -> list[tuple[str, str]]:
    """The instructions, each in one line, with their keywords."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]


def stages() -> list[list[tuple[str, str]]]:
    """The instructions of each stage, which its FROM begins."""
    found: list[list[tuple[str, str]]] = []
    for keyword, rest in instructions():
        if keyword == "FROM":
            found.append([])
        if found:
            found[-1].append((keyword, rest))
    return found


def of(keyword: str, stage: list[tuple[str, str]]) -> list[str]:
    """What an instruction says, each time it is in a stage."""
    return [rest for found, rest in stage if found == keyword]


def test_the_linter_is_content() -> None:
    """hadolint finds nothing to complain of."""
    linted = subprocess.run([HADOLINT, DOCKERFILE], capture_output=True, text=True, timeout=30, check=False)
    assert (linted.returncode, linted.stdout) == (0, "")


def test_the_image_is_small_pinned_and_not_roots() -> None:
    """Two stages of one pinned slim image, of the oldest Python that there may be; the last one copies what was built,
    and runs as a user with a number.
    """
    [(keyword, base)] = [(keyword, rest) for keyword, rest in instructions() if rest.startswith("PYTHON=")]
    oldest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    assert (keyword, base) == ("ARG", f"PYTHON=python:{oldest}-slim-bookworm")
    build, final = stages()
    assert of("FROM", build) == ["${PYTHON} AS build"]
    assert of("FROM", final) == ["${PYTHON}"]
    assert of("COPY", final) == ["--from=build /opt/triggerfish /opt/triggerfish"]
    assert not of("RUN", final)
    [user] = of("USER", final)
    assert all(int(number) > 0 for number in user.split(":"))
    assert of("ENTRYPOINT", final) == ['["triggerfish"]']


def test_only_what_is_copied_reaches_the_build() -> None:
    """.dockerignore admits what COPY takes and nothing else, so that no file with a secret is sent along."""
    admitted = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {path for rest in of("COPY", stages()[0]) for path in rest.split()[:-1]}
    assert admitted == copied
    assert all((ROOT / path).exists() for path in copied)


@pytest.mark.timeout(2 * INSTALL_SECONDS)
def test_the_builds_steps_make_a_triggerfish_that_runs(tmp_path: Path) -> None:
    """The steps of the build, with its files and variables, install pinned versions that run outside of the sources."""
    build, _ = stages()
    source, target = tmp_path / "src", tmp_path / "opt"
    source.mkdir()
    for rest in of("COPY", build):
        *paths, into = rest.split()
        for path in paths:
            _copy(ROOT / path, source / into / path if into == "./" else source / into)

    def here(text: str) -> str:
        return text.replace("/src", str(source)).replace("/opt/triggerfish", str(target))

    variables = dict(variable.split("=", 1) for rest in of("ENV", build) for variable in here(rest).split())
    quick = {"EXTRAS": "", "PIP_NO_COMPILE": "1", "PIP_NO_CACHE_DIR": "off"}
    path = f"{Path(sys.base_prefix, 'bin')}:{os.environ['PATH']}"
    for step in of("RUN", build):
        command = here(step).replace("python -m venv", f"{sys.executable} -m venv", 1)
        _run(["sh", "-ec", command], cwd=source, variables={**variables, **quick, "PATH": path})
    said = _run([target / "bin" / "triggerfish", "--help"], cwd=tmp_path, variables={})
    assert "scaler" in said
    installed = _run([target / "bin" / "python", "-c", SERVES], cwd=tmp_path, variables={}).split()
    pinned = (ROOT / "constraints.txt").read_text().lower().replace("_", "-").split()
    assert {line.lower().replace("_", "-") for line in installed} <= set(pinned)


def _copy(source: Path, target: Path) -> None:
    """As COPY does, without what .dockerignore leaves out."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "externalscaler_pb2*"))
    else:
        shutil.copy(source, target)


def _run(command: list[str | Path], cwd: Path, variables: dict[str, str]) -> str:
    """What a command says. It must succeed."""
    own = {name: value for name, value in os.environ.items() if name not in {"PIP_CONSTRAINT", "PIP_BUILD_CONSTRAINT"}}
    ran = subprocess.run(
        command,
        cwd=cwd,
        env={**own, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout
