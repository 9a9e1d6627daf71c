"""How pending events are cut into recurrent steps."""


def blocks(pending: int, size: int, largest: int, steps: int) -> list[int]:
    """The lengths of the blocks that fold `pending` events, in order.

    A few events make blocks of about `size` (MLLM-MSR's best is 3): never more blocks than full
    ones, so that a remainder joins them instead of costing a call of its own. Many events make
    longer blocks, so that `steps` calls are enough, up to `largest` events each.
    """
    if pending <= 0:
        return []
    count = max(min(max(1, pending // size), steps), -(-pending // largest))
    whole, rest = divmod(pending, count)
    return [whole + (step < rest) for step in range(count)]
