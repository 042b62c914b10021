"""Packages with the same names as Triggerfish's own: the error names the file in one line."""

import compileall
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.programs.environment import environment

ROOT = Path(__file__).parents[2]
SECONDS = 60
PACKAGES = ("listeners", "scaler", "triggerfish")
IMPORT = "import triggerfish; print(triggerfish.__file__, triggerfish.Retry.__name__)"
APP = """
from triggerfish import App
from listeners.orders import handle

app = App()
app.list_trigger(keys="orders")(handle)
"""
HANDLER = "def handle(order: str) -> None: ...\n"


def run(folder: Path, *arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run this Python in a folder; `path`, if given, is the first entry of PYTHONPATH."""
    variables = environment() | ({"PYTHONPATH": str(path)} if path is not None else {})
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.mark.parametrize("name", ["listeners", "scaler"])
@pytest.mark.parametrize("kind", ["package", "module"])
def test_a_user_package_that_hides_ours(tmp_path: Path, name: str, kind: str) -> None:
    """`python -m triggerfish` reports in one line which file of the current folder hides a package."""
    hiding = tmp_path / name / "__init__.py" if kind == "package" else tmp_path / f"{name}.py"
    hiding.parent.mkdir(exist_ok=True)
    hiding.write_text("raise SystemExit('it was run')\n")
    done = run(tmp_path, "-m", "triggerfish", "--version")
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith(f"triggerfish: {hiding} hides Triggerfish's package {name!r}: rename it")


def test_the_installed_command_is_not_hidden(tmp_path: Path) -> None:
    """The command `triggerfish` does not import packages from the current folder."""
    (tmp_path / "listeners.py").write_text("raise SystemExit('it was run')\n")
    command = Path(sys.executable).with_name("triggerfish")
    done = subprocess.run(
        [command, "--version"], cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_importing_a_public_name(tmp_path: Path) -> None:
    """`from triggerfish import App` raises an ImportError that names the file that hides a package."""
    (tmp_path / "listeners.py").touch()
    done = run(tmp_path, "-c", "from triggerfish import App")
    assert done.returncode == 1
    expected = f"ImportError: {tmp_path / 'listeners.py'} hides Triggerfish's package 'listeners': rename it"
    assert done.stderr.splitlines()[-1].startswith(expected)


def install(site: Path) -> None:
    """Copy the packages into a folder."""
    for name in PACKAGES:
        shutil.copytree(ROOT / name, site / name, ignore=shutil.ignore_patterns("__pycache__"))


def test_a_distribution_that_replaced_ours(tmp_path: Path) -> None:
    """The error names a file that another distribution has replaced, and the fix."""
    install(tmp_path / "site")
    replaced = tmp_path / "site" / "scaler" / "__init__.py"
    replaced.write_text('"""A scaler for something else."""\n')
    done = run(tmp_path, "-P", "-m", "triggerfish", "--version", path=tmp_path / "site")
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert line.startswith(f"triggerfish: {replaced} belongs to another distribution")
    assert "uninstall" in line


def test_an_installation_of_bytecode(tmp_path: Path) -> None:
    """An installation without sources is intact."""
    site = tmp_path / "site"
    install(site)
    compileall.compile_dir(site, legacy=True, quiet=1)
    for source in site.rglob("*.py"):
        source.unlink()
    assert run(tmp_path, "-P", "-c", IMPORT, path=site).stdout.split() == [
        str(site / "triggerfish" / "__init__.pyc"),
        "Retry",
    ]
    done = run(tmp_path, "-P", "-m", "triggerfish", "--version", path=site)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_installation_behind_links(tmp_path: Path) -> None:
    """Packages that are found through different links to one folder are intact."""
    install(tmp_path / "real")
    (tmp_path / "link").symlink_to("real")
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'link')!r}); import triggerfish; del sys.path[0]; "
        f"sys.path_importer_cache.clear(); print(triggerfish.__file__, triggerfish.Retry.__module__)"
    )
    done = run(tmp_path, "-P", "-c", program, path=tmp_path / "real")
    assert done.stdout.split() == [str(tmp_path / "link" / "triggerfish" / "__init__.py"), "listeners.errors"]


def test_an_installation_in_a_zip_archive(tmp_path: Path) -> None:
    """Packages in an archive are intact, and one that was replaced is found."""
    install(tmp_path / "site")
    archive = Path(shutil.make_archive(str(tmp_path / "archive"), "zip", tmp_path / "site"))
    assert run(tmp_path, "-P", "-c", IMPORT, path=archive).stdout.split()[-1:] == ["Retry"]
    (tmp_path / "site" / "listeners" / "__init__.py").write_text("")
    shutil.make_archive(str(tmp_path / "archive"), "zip", tmp_path / "site")
    done = run(tmp_path, "-P", "-c", IMPORT, path=archive)
    assert "has replaced Triggerfish's package 'listeners'" in done.stderr.splitlines()[-1]


def test_a_scaler_of_the_app_beside_its_functions(tmp_path: Path) -> None:
    """A process that only runs functions never imports our `scaler`, so the app may have a module of this name."""
    (tmp_path / "scaler.py").write_text("NAME = 'own'\n")
    done = run(tmp_path, "-c", "import scaler; from triggerfish import App, Host; print(scaler.NAME, App, Host)")
    assert (done.returncode, done.stdout.split()[:1]) == (0, ["own"]), done.stderr


def test_an_app_package_that_ours_hides(tmp_path: Path) -> None:
    """If an app imports its own `listeners` but gets ours, the error names the folder to rename."""
    (tmp_path / "listeners").mkdir()
    (tmp_path / "listeners" / "orders.py").write_text(HANDLER)
    (tmp_path / "shop.py").write_text(APP)
    done = run(tmp_path, "-P", "-m", "triggerfish", "check", "shop.py")
    assert done.returncode == 2
    [line] = done.stderr.splitlines()
    assert f"{tmp_path / 'listeners'} has the same name as a package of Triggerfish" in line
    assert "Rename it" in line
