"""How pending events are split into recurrent steps."""


def blocks(pending: int, size: int, largest: int, steps: int) -> list[int]:
    """The lengths of the blocks that fold `pending` events, in order.

    A few events give blocks of about `size` (MLLM-MSR's best is 3). A remainder is spread over the full blocks instead
    of costing another call. Many events give longer blocks of up to `largest` events, so that `steps` calls are enough.
    """
    if pending <= 0:
        return []
    count = max(min(max(1, pending // size), steps), -(-pending // largest))
    whole, rest = divmod(pending, count)
    return [whole + (step < rest) for step in range(count)]
