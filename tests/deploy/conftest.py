"""Images are built on one base, with one store, per test process."""

from collections.abc import Iterator

import pytest

from tests.deploy.containers import Buildah


@pytest.fixture(scope="session")
def buildah(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    buildah = Buildah(tmp_path_factory.mktemp("buildah"))
    try:
        yield buildah
    finally:
        buildah.close()


@pytest.fixture(scope="session")
def base(buildah: Buildah, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Debian with Python."""
    return buildah.base(tmp_path_factory.mktemp("debian") / "base")
