"""`python -m model_store.vllm_server FLAGS`: vLLM's server, made fit to be a child process.

The flags are those of `vllm serve`, with the model as `--model`. Two things are added, in the
server and in the engine processes that it starts: torchvision can be imported (see
`torchvision_ops`), and an engine process dies with its server, however that ended.
"""

import ctypes
import os
import runpy
import signal
import sys

from model_store.torchvision_ops import declare

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent ends; elsewhere do nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


# At import and not below: a spawned engine process imports its parent's main module, as `__mp_main__`.
declare()
os.register_at_fork(after_in_child=die_with_parent)
if __name__ == "__mp_main__":
    die_with_parent()

if __name__ == "__main__":
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__")
