"""The precision in which this machine's processors multiply fast.

bfloat16 halves the memory of a product, and doubles the speed of a processor that has units for it. Without them every
product is emulated: 4 times (serving) to 23 times (training) slower than float32.
"""

import platform
import re
from functools import cache
from pathlib import Path
from typing import Literal

_CPUINFO = Path("/proc/cpuinfo")
_UNITS = frozenset(("avx512_bf16", "amx_bf16", "bf16"))
"""Their names in Linux: x86 with AVX-512 or AMX, and ARM."""
_FLAGS = re.compile(r"^(?:flags|Features)\s*:(.*)$", re.MULTILINE)

Dtype = Literal["auto", "float32", "bfloat16", "float16"]


@cache
def multiplies_bfloat16() -> bool:
    """Whether the processors have units for products in bfloat16; False if unknown."""
    return has_bfloat16_units(_CPUINFO.read_text()) if platform.system() == "Linux" and _CPUINFO.exists() else False


def has_bfloat16_units(cpuinfo: str) -> bool:
    """The same, read from the text of `/proc/cpuinfo`."""
    found = _FLAGS.search(cpuinfo)
    return found is not None and not _UNITS.isdisjoint(found[1].split())


def cpu_dtype(wanted: Dtype) -> Dtype:
    """The dtype to serve in without a GPU: `auto` becomes float32 where bfloat16 is emulated."""
    return "float32" if wanted == "auto" and not multiplies_bfloat16() else wanted
