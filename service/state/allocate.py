"""How many a claim takes from each bucket."""

from collections.abc import Sequence


def allocate(limit: int, waiting: Sequence[int], start: int) -> list[int]:
    """Share `limit` among buckets, of which `waiting` were last seen with that much work.

    Known work is shared evenly, beginning at bucket `start`; what is left over goes to all buckets
    alike, because new work may have come anywhere. The shares add up to `limit`.
    """
    size = len(waiting)
    order = [(start + step) % size for step in range(size)]
    shares = [0] * size
    left = limit
    while left and (hungry := [bucket for bucket in order if shares[bucket] < waiting[bucket]]):
        portion = max(1, left // len(hungry))
        for bucket in hungry:
            taken = min(portion, waiting[bucket] - shares[bucket], left)
            shares[bucket] += taken
            left -= taken
    whole, rest = divmod(left, size)
    for step, bucket in enumerate(order):
        shares[bucket] += whole + (step < rest)
    return shares
