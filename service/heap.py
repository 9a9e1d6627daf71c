"""What a process has loaded before it begins to work."""

import gc


def freeze_heap() -> None:
    """Never look for garbage again in what is there now; it stays as long as the process.

    A gateway's modules, routes and schemas are some hundred thousand objects. Each full collection would go through
    all of them, and under load there are several a second.
    """
    gc.collect()
    gc.freeze()
