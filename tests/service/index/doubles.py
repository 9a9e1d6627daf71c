"""A double of the vector sets of Redis 8, which the Redis of the tests does not have."""

from typing import Any

import numpy as np


class VectorSets:
    """Answers as Redis documents it: VADD, VREM, VCARD, VEMB and VSIM, of unit vectors. `sent` are all commands."""

    def __init__(self, *, resp3: bool) -> None:
        self._resp3 = resp3
        self._sets: dict[str, dict[str, np.ndarray[Any, Any]]] = {}
        self._waiting: list[tuple[Any, ...]] = []
        self.sent: list[tuple[Any, ...]] = []

    def pipeline(self, transaction: bool) -> "VectorSets":
        assert not transaction
        return self

    def execute_command(self, *words: Any) -> None:
        self._waiting.append(words)

    def execute(self) -> list[Any]:
        commands, self._waiting = self._waiting, []
        self.sent += commands
        return [
            getattr(self, f"_{name.lower()}")(self._sets.setdefault(key, {}), *rest) for name, key, *rest in commands
        ]

    def _vadd(self, known: dict[str, Any], kind: str, blob: bytes, item: str, quantization: str) -> int:
        assert (kind, quantization) == ("FP32", "NOQUANT")
        new = item not in known
        known[item] = np.frombuffer(blob, dtype="<f4")
        return int(new)

    def _vrem(self, known: dict[str, Any], item: str) -> int:
        return int(known.pop(item, None) is not None)

    def _vcard(self, known: dict[str, Any]) -> int:
        return len(known)

    def _vemb(self, known: dict[str, Any], item: str) -> list[bytes] | None:
        return [str(float(number)).encode() for number in known[item]] if item in known else None

    def _vsim(self, known: dict[str, Any], kind: str, blob: bytes, *options: Any) -> Any:
        assert (kind, options[:2], options[3]) == ("FP32", ("WITHSCORES", "COUNT"), "EF")
        query = np.frombuffer(blob, dtype="<f4")
        query = query / np.linalg.norm(query)
        scored = sorted(((item, (1 + float(query @ row)) / 2) for item, row in known.items()), key=lambda one: -one[1])
        best = scored[: options[2]]
        if self._resp3:
            return {item.encode(): score for item, score in best}
        return [word for item, score in best for word in (item.encode(), str(score).encode())]
