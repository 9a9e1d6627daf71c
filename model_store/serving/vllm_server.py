"""`python -m model_store.serving.vllm_server FLAGS`: vLLM's server, whose engine processes never outlive it.

The flags are those of `vllm serve`, with the model as `--model`. If vLLM's server is killed, its
engine processes keep running and keep their memory; here the kernel kills them with their parent.
"""

import ctypes
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask Linux to kill this process when its parent ends; elsewhere do nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


# At import, since a spawned engine process imports its parent's main module as `__mp_main__`.
os.register_at_fork(after_in_child=die_with_parent)
if __name__ == "__mp_main__":
    die_with_parent()

if __name__ == "__main__":
    runpy.run_module("vllm.entrypoints.openai.api_server", run_name="__main__")
