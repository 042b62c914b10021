"""When the files of connections are read again, and how much one may contain."""

from pathlib import Path

from listeners.connections.connections_dir import read_folder
from listeners.errors import ConfigurationError
from scaler.access.connection_files import ConnectionFiles
from tests.support.running_scaler import scaler_settings


def test_when_files_are_read_again(tmp_path: Path) -> None:
    """A file that does not parse is not read again until it changes; one that names a missing file is."""
    (tmp_path / "cache").write_text("connection_string: [")
    files = ConnectionFiles(scaler_settings(connections_dir=tmp_path), lambda: None)
    assert not files.changed()
    (tmp_path / "cache").write_text("connection_string: cache:1\npassword_file: /missing")
    assert files.changed()
    files.use(files.read())
    assert files.changed()
    (tmp_path / "cache").write_text("cache:1")
    files.use(files.read())
    assert not files.changed()


def test_a_file_with_very_many_values(tmp_path: Path) -> None:
    """Reading it would delay the scaler, so it is unusable."""
    for name, number in (("many", 1_000), ("too-many", 5_000)):
        (tmp_path / name).write_text(f"connection_string: cache:1\nnamespaces: [{'a, ' * number}]")
    found = read_folder(tmp_path)
    assert not isinstance(found["many"], ConfigurationError)
    assert isinstance(found["too-many"], ConfigurationError)
