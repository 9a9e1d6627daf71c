"""Lets torchvision be imported beside a torch that its compiled half was not built for.

The torchvision wheels on PyPI are built for CUDA builds of torch. Beside a CPU build their
library does not load, and `import torchvision` stops because it describes two operators that
nobody declared. No model here calls those operators, so that a declaration alone is enough.
Transformers imports torchvision: call `declare` before it. In vLLM's processes an entry point does.
"""

import importlib.util
from pathlib import Path

_OPERATORS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def declare() -> None:
    """Declare `torchvision::nms` and `torchvision::qnms`, unless torchvision is absent or brings them itself."""
    import torch

    found = importlib.util.find_spec("torchvision")
    if found is None or found.origin is None or _loads(Path(found.origin).parent):
        return
    for name, schema in _OPERATORS.items():
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", schema)


def _loads(package: Path) -> bool:
    import torch

    for library in package.glob("_C*.so"):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            return False
        return True
    return False
