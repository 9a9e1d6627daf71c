"""Which tests run in one process, and in which order they begin, when several processes share them (`pytest -n`)."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).parents[1]
SHARED = {
    "_server: ServedModel": "vllm",
    "buildah: Buildah": "vllm",
    "embedder_server: str": "embedder",
    'loop_scope="package"': "fleet",
}
"""What takes long to start, as tests name it, and what to call it. All files with such a name run in one process.

Images are built where the vLLM servers run, which the calls of the README need.
"""
LONG = (
    "vllm",
    "tests/test_end_to_end.py",
    "fleet",
    "tests/faults/test_chaos.py",
    "tests/model_store/msr/finetune/test_vllm.py",
    "tests/faults/test_failover.py",
    "tests/benchmarks/test_load.py",
    "tests/model_store/msr/parts/test_served.py",
    "embedder",
    "tests/deploy/test_rules.py",
    "tests/model_store/evaluate/test_sequential.py",
    "tests/service/state/test_machine.py",
    "tests/service/test_fuzz.py",
    "tests/service/recommend/test_collecting.py",
    "tests/model_store/msr/parts/test_train.py",
)
"""What takes longest, first: one of these, begun when the rest is nearly done, would keep a single process busy."""


class TogetherAndLongFirst(LoadScopeScheduling):  # type: ignore[misc]
    """Gives each process whole files, in the order of the collection; those that share a fixture are as one."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return scope_of(nodeid.partition("::")[0])


def long_first(items: list[pytest.Item]) -> None:
    """Put the long files first, and of the others those with the most tests."""
    scopes = [scope_of(item.nodeid.partition("::")[0]) for item in items]
    tests: dict[str, int] = {}
    for scope in scopes:
        tests[scope] = tests.get(scope, 0) + 1
    order = {scope: (LONG.index(scope) if scope in LONG else len(LONG), -tests[scope]) for scope in tests}
    items[:] = [item for _, item in sorted(zip(scopes, items, strict=True), key=lambda pair: order[pair[0]])]


@cache
def scope_of(file: str) -> str:
    """The fixture that the file shares with others, or else the file itself."""
    text = (ROOT / file).read_text("utf-8")
    return next((name for mark, name in SHARED.items() if mark in text), file)
