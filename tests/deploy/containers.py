"""Images built with buildah, and their processes started as an engine starts them: no Docker is needed, but root is.

A started container has its image's user, environment and command, a process namespace of its own, a root that is
mounted read-only, and fresh `/tmp` and `/data`. Its network is that of this machine, so that it has to be told to
listen on the loopback address.
"""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.redis_servers import until

ROOT = Path(__file__).parents[2]
BASE_PACKAGES = "ca-certificates,python3,python3-venv"
BUILD_S = 1200.0
# The build uses pip as this machine does.
PIP_FILES = ("/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")
SITE_PACKAGES = "opt/tastestream/lib/python3.11/site-packages"
START = """
set -e
root=$1; user=$2; under=$3; shift 3
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
if [ -n "$under" ]; then
    site=$root/$SITE_PACKAGES
    mount -t overlay -o "ro,lowerdir=$site:$under" overlay "$site"
fi
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs -o mode=755,uid=${user%:*},gid=${user#*:} tmpfs "$root/data"
exec chroot --userspec="$user" "$root" /usr/bin/env --chdir=/data "$@"
""".replace("$SITE_PACKAGES", SITE_PACKAGES)


def _why_not() -> str:
    """Why no image is built here; empty if it is."""
    missing = [name for name in ("buildah", "debootstrap", "unshare") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        return f"images are built by root with buildah and debootstrap; missing: {', '.join(missing) or 'root'}"
    asked = os.environ.get("CI") or os.environ.get("TEST_IMAGES")
    return "" if asked else "set TEST_IMAGES=1 to build the image, which takes two to three minutes"


needs_buildah = pytest.mark.skipif(bool(_why_not()), reason=_why_not())


class Buildah:
    """buildah with a store of its own in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._command = ["buildah", "--root", str(folder / "root"), "--runroot", str(folder / "run")]
        self._environment = {**os.environ, "BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "vfs"}

    def __call__(self, *words: str | Path) -> str:
        """Run one command; its standard output."""
        command = [*self._command, *map(str, words)]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=BUILD_S)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def close(self) -> None:
        """Unmount and remove all containers, and what buildah itself mounted: mounted folders can't be removed."""
        self("umount", "--all")
        self("rm", "--all")
        for line in reversed(Path("/proc/self/mounts").read_text("utf-8").splitlines()):
            if (point := Path(line.split()[1])).is_relative_to(self._folder):
                subprocess.run(["umount", point], check=True)

    def base(self, folder: Path) -> str:
        """A Debian with Python, installed into `folder` and committed: what BASE stands for where no registry is."""
        sources = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
        mirrors = subprocess.run(sources, capture_output=True, text=True, check=True).stdout.split()
        command = ["debootstrap", "--variant=minbase", f"--include={BASE_PACKAGES}", "bookworm", folder, *mirrors[:1]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_S)
        assert done.returncode == 0, done.stdout[-2000:]
        container = self("from", "scratch")
        self("add", "--quiet", container, folder, "/")
        self("commit", "--quiet", "--rm", container, "base")
        return "localhost/base"

    def build(self, dockerfile: Path, base: str) -> str:
        """Build an image of this repository, with the given base."""
        volumes = [f"--volume={file}:{file}:ro" for file in PIP_FILES if Path(file).exists()]
        name = dockerfile.name.lower()
        options = ["--format=docker", "--quiet", f"--build-arg=BASE={base}", f"--file={dockerfile}", f"--tag={name}"]
        self("build", *options, *volumes, ROOT)
        return f"localhost/{name}"

    def unpack(self, image: str) -> "Image":
        """The image's files, mounted, and its configuration."""
        container = self("from", image)
        config = json.loads(self("inspect", "--type", "image", image))["Docker"]["config"]
        return Image(Path(self("mount", container)), config)


@dataclass(frozen=True)
class Image:
    """An image's files and configuration.

    Args:
        under: a folder of packages that a container sees beneath its own, as if they were installed.
    """

    root: Path
    config: Mapping[str, Any]
    under: Path | None = None

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> "Container":
        """Start a container with `arguments` after the image's entry point."""
        variables = [*self.config["Env"], *(f"{name}={value}" for name, value in environment.items())]
        command = ["env", "-i", *variables, *self.config["Entrypoint"], *arguments]
        inside = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", START, "sh"]
        given = [str(self.root), self.config["User"], str(self.under or "")]
        with log.open("wb") as output:
            process = subprocess.Popen([*inside, *given, *command], stdout=output, stderr=subprocess.STDOUT)
        return Container(self, process, dict(one.split("=", 1) for one in variables), log)


@dataclass(frozen=True)
class Container:
    image: Image
    process: subprocess.Popen[bytes]
    environment: Mapping[str, str]
    log: Path

    def _pid(self) -> int:
        """Of the container's first process, as this machine counts; `unshare` needs a moment to fork it."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        until(lambda: self.process.poll() is not None or bool(children.read_text()), "the container has no process")
        assert self.process.poll() is None, self.log.read_text()
        return int(children.read_text().split()[0])

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the container, as its user and with its environment."""
        inside = ["nsenter", f"--target={self._pid()}", "--mount", "--pid"]
        chroot = ["chroot", f"--userspec={self.image.config['User']}", str(self.image.root), "env", "-i"]
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        return subprocess.run([*inside, *chroot, *variables, *command], capture_output=True, text=True, timeout=300)

    def stop(self) -> int:
        """Send the image's stop signal, and return the exit status."""
        if self.process.poll() is None:
            os.kill(self._pid(), signal.Signals[self.image.config["StopSignal"]])
        try:
            return self.process.wait(300)
        finally:
            self.process.kill()


def answers(url: str, container: Container) -> None:
    """Wait until `url` is answered with success."""

    def answered() -> bool:
        assert container.process.poll() is None, container.log.read_text()
        try:
            return httpx.get(url, timeout=5, trust_env=False).is_success
        except httpx.TransportError:
            return False

    until(answered, f"{url} is not answered")
