"""Keys change without a restart: the keys file is read again every second."""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from model_store.errors import UserError
from service import audit
from service.api_keys.file import parse_keys, read_content
from service.http.auth import KeyRing
from service.logs import get_logger
from service.metrics import Metrics

READ_EVERY_S = 1.0
log = get_logger(__name__)


class KeyReload:
    """Keeps `ring` equal to the keys in `file`.

    While the file can't be read or has a wrong line, its last good keys stay in force.
    The contents are compared, not the times of the file: those can be too coarse, and orchestrators replace mounted
    secrets through links.

    Raises:
        UserError: the file has no keys, a line is wrong, or a key's tenant does not exist.
        OSError: the file can't be read.
    """

    def __init__(self, file: Path, tenants: Collection[str], metrics: Metrics) -> None:
        self._file = file
        self._tenants = tenants
        self._stale = metrics.api_keys_stale
        self._failure = ""
        self._content = read_content(file)
        self.ring = KeyRing(parse_keys(self._content, file, tenants))
        self._warn_of_plain_keys()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def reload(self) -> None:
        """Read the file, and put its keys in force if it changed."""
        try:
            content = await asyncio.to_thread(read_content, self._file)
            if content != self._content:
                before = self._live_ids()
                self.ring.replace(parse_keys(content, self._file, self._tenants))
                self._content = content
                after = self._live_ids()
                audit.record("keys.reload", audit.OK, added=sorted(after - before), removed=sorted(before - after))
                self._warn_of_plain_keys()
        except (OSError, UserError) as error:
            self._fail(str(error))
            return
        self._failure = ""
        self._stale.set(0)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(READ_EVERY_S)
            await self.reload()

    def _live_ids(self) -> set[str]:
        return {key.id for key in self.ring if key.revoked_s is None}

    def _fail(self, why: str) -> None:
        self._stale.set(1)
        if why != self._failure:
            self._failure = why
            log.error("api_keys_not_reloaded", error=why)

    def _warn_of_plain_keys(self) -> None:
        if plain := [key.name for key in self.ring if key.plain]:
            log.warning("api_keys_in_plain_text", lines=plain)
