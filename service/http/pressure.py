"""Sheds requests while the gateway has more to do than its processor can, the least important ones first."""

import asyncio
from collections import deque
from collections.abc import Mapping

from service.metrics import Metrics

_INTERVAL_S = 0.1
_SAMPLES = 3
"""The loop is as late as it was in the best of so many intervals: one long step of one request is no overload."""
_RISE, _FALL = 0.2, 0.1
"""Most change of the pressure in one interval."""
_MOST_INTERVALS = 2.0
"""That count for one look, however long the loop was busy before it."""
_TURNS = 20
"""Of the event loop, about as many as a recommendation takes: one turn is short even when hundreds share it."""
ORDER: Mapping[str, int] = {"items": 0, "reads": 0, "recommend": 1}
"""The classes of requests that are shed, in their order. Events and deletions of users are not, since what they say
would be missed. Nor is `/readyz`: a gateway that is not ready leaves its load to the others."""
_STEPS = max(ORDER.values()) + 1


class Pressure:
    """How much is shed, controlled by how late the event loop is.

    The lag is the time of as many turns of the loop as a recommendation takes. While it is more than `most_lag_s`, the
    pressure rises, otherwise it falls. Between 0 and 1 it is the share of the first classes that is shed; these are
    shed completely when it is between 1 and 2, and a share of the next.

    Attributes:
        level: the pressure.
        lag_s: the lag, as it was in the best of the last looks.
    """

    def __init__(self, most_lag_s: float, metrics: Metrics) -> None:
        self._most_lag_s = most_lag_s
        self._lag = metrics.loop_lag
        self._shed = {name: metrics.shed.labels(name) for name in ORDER}
        self._lags: deque[float] = deque(maxlen=_SAMPLES)
        self._owed = dict.fromkeys(ORDER, 0.0)
        self._watching: asyncio.Task[None] | None = None
        self.level = 0.0
        self.lag_s = 0.0

    def start(self) -> None:
        """Watch the running event loop until `close`."""
        self._watching = asyncio.create_task(self._watch())

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()

    def update(self, lag_s: float, intervals: float = 1.0) -> None:
        """Take in how late the loop is now; so many intervals after the last time."""
        self._lags.append(lag_s)
        lag_s = min(self._lags) if len(self._lags) == _SAMPLES else 0.0
        excess = (lag_s - self._most_lag_s) / self._most_lag_s
        change = max(-_FALL, min(_RISE, _RISE * excess)) * min(intervals, _MOST_INTERVALS)
        self.level = max(0.0, min(float(_STEPS), self.level + change))
        self._lag.set(lag_s)
        self.lag_s = lag_s

    def sheds(self, name: str) -> bool:
        """Whether the next request of this class is to be refused; it is counted."""
        if self.level == 0 or (step := ORDER.get(name)) is None:
            return False
        # Evenly, without chance: of a share of 0.3 every third or fourth.
        self._owed[name] += max(0.0, min(1.0, self.level - step))
        if self._owed[name] < 1:
            return False
        self._owed[name] -= 1
        self._shed[name].inc()
        return True

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_INTERVAL_S)
            began = loop.time()
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            lag_s = loop.time() - began
            self.update(lag_s, 1 + lag_s / _INTERVAL_S)
