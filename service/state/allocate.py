"""How much work a claim takes from each bucket."""

from collections.abc import Sequence


def allocate(limit: int, waiting: Sequence[int], start: int) -> list[int]:
    """Divide `limit` among the buckets; `waiting` is how much work each had when it was last asked.

    Known work is shared evenly, beginning at bucket `start`. The rest is divided among all buckets, because new work
    may be in any of them. The shares add up to `limit`.
    """
    size = len(waiting)
    order = [(start + step) % size for step in range(size)]
    shares = [0] * size
    left = limit
    while left and (short := [bucket for bucket in order if shares[bucket] < waiting[bucket]]):
        portion = max(1, left // len(short))
        for bucket in short:
            taken = min(portion, waiting[bucket] - shares[bucket], left)
            shares[bucket] += taken
            left -= taken
    whole, rest = divmod(left, size)
    for step, bucket in enumerate(order):
        shares[bucket] += whole + (step < rest)
    return shares
