"""Makes torchvision importable with a torch for which its compiled library was not built.

The torchvision wheels on PyPI are built for CUDA builds of torch. With a CPU build their library
does not load, and `import torchvision` fails because it describes two undeclared operators. No
model here calls those operators: declaring them is enough. Transformers imports torchvision, so
`declare` must be called first. In vLLM's processes an entry point does that.
"""

import importlib.util
from pathlib import Path

_OPERATORS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def declare() -> None:
    """Declare `torchvision::nms` and `torchvision::qnms`, unless torchvision is absent or its library loads."""
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
