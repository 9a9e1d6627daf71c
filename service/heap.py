"""Garbage collection of long-running processes."""

import gc


def freeze_heap() -> None:
    """Exclude all objects that exist now from garbage collection, because they live as long as the process.

    The modules, routes and schemas of a gateway are a few hundred thousand objects. Each full collection would visit
    all of them, and under load there are several collections per second.
    """
    gc.collect()
    gc.freeze()
