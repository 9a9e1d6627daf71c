"""Is it the right head? One pair whose score is known is asked before a server's scores are trusted."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from model_store.blend import logit
from model_store.engine.errors import EngineError, WrongScores
from model_store.registry.manifest import Probe
from model_store.views import ItemView, UserView

TOLERANCE = 0.25
"""How far the log-odds may be from those recorded: half precision and other kernels move them by less than 0.1."""
_TRUSTED_S = 60.0
"""A server may be replaced by another one behind the same address."""


class Prober:
    """Asks for the score of the version's probe, at most once a minute, and again after `doubt`.

    Args:
        probe: None for a version that has none; then every server is trusted.
        score: asks the server for p(yes) of one item for one user.
    """

    def __init__(self, probe: Probe | None, score: Callable[[UserView, ItemView], Awaitable[float | None]]) -> None:
        self._probe = probe
        self._score = score
        self._asking = asyncio.Lock()
        self._trusted_until = float("-inf")

    def doubt(self) -> None:
        """From now on the server may be another one."""
        self._trusted_until = float("-inf")

    async def check(self) -> None:
        """
        Raises:
            WrongScores: the server's score is not the one that was recorded.
            EngineError: it could not be asked.
        """
        if self._probe is None or time.monotonic() < self._trusted_until:
            return
        async with self._asking:
            if time.monotonic() < self._trusted_until:
                return
            found = await self._score(UserView(self._probe.summary), ItemView(self._probe.title))
            if found is None or abs(logit(found) - logit(self._probe.score)) > TOLERANCE:
                shown = "none" if found is None else f"{found:.4f}"
                raise WrongScores(
                    f"the server scores the probe {shown}, not {self._probe.score:.4f} as recorded when this was "
                    "registered: other weights, another scoring head or another chat template are being served"
                )
            self._trusted_until = time.monotonic() + _TRUSTED_S


def is_doubtful(error: EngineError) -> bool:
    """Whether, after `error`, another server may answer next."""
    return error.code in ("engine_unavailable", "engine_timeout")
