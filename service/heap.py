"""Settings of Python's garbage collector for a process that keeps what it has loaded."""

import gc


def freeze_heap() -> None:
    """Exclude everything that is loaded now from garbage collection, because it stays as long as the process.

    The modules, routes and schemas of a gateway are some hundred thousand objects. Each full collection would visit all
    of them, and under load there are several collections a second.
    """
    gc.collect()
    gc.freeze()
