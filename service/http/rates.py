"""The rate limit of API keys: a token bucket for each key name and scope, in the memory of one process.

A bucket in Redis would hold for all gateways together, but it would cost every request a round trip before it is even
admitted. So a rate is that of one process; callers behind a load balancer get the sum.
"""

from collections.abc import Callable

from service.api_keys.records import SCOPES, Caller, Scope
from service.errors import RateLimited
from service.settings.limits import LimitSettings

_MOST_BUCKETS = 10_000
"""More come only from names that are no longer in the keys file; full buckets are then forgotten."""


class RateLimits:
    """Admits `limits.requests_per_s` requests of a key name and scope, and `limits.rate_burst_s` times as many at once.

    It is the generic cell rate algorithm (ITU-T I.371), a token bucket that stores one number: the time at which the
    bucket is full again.

    Args:
        clock: the current time in seconds; it never goes back.
    """

    def __init__(self, limits: LimitSettings, clock: Callable[[], float]) -> None:
        rates: dict[Scope, float | None] = {scope: getattr(limits.requests_per_s, scope) for scope in SCOPES}
        self._refill_s = {scope: 1 / rate for scope, rate in rates.items() if rate is not None}
        self._burst_s = limits.rate_burst_s
        self._clock = clock
        self._full_at: dict[tuple[Caller, Scope], float] = {}

    def take(self, caller: Caller, scope: Scope) -> None:
        """Take a token from the bucket of a caller and scope.

        Raises:
            RateLimited: it is empty.
        """
        refill_s = self._refill_s.get(scope)
        if refill_s is None:
            return
        now = self._clock()
        full_at = max(now, self._full_at.get((caller, scope), now)) + refill_s
        # A bucket holds at least one token, however low the rate.
        wait_s = full_at - now - max(self._burst_s, refill_s)
        if wait_s > 1e-9:
            raise RateLimited(
                f"more than {1 / refill_s:g} requests per second of this API key for {scope!r}", retry_after_s=wait_s
            )
        if len(self._full_at) >= _MOST_BUCKETS:
            self._full_at = {bucket: at for bucket, at in self._full_at.items() if at > now}
        self._full_at[caller, scope] = full_at
