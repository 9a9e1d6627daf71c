"""Checks that every package of the locks has a licence that `licences.toml` allows. Needs only the standard library.

It reads the metadata of the packages that are installed; those of a lock that are not installed here are not checked.
"""

import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
LOCKS = ("base", "build", "cpu", "demo", "deploy")
"""Those of environments of their own, for checkov and pip-audit, are tools that are neither shipped nor linked."""
TORCH = ("torch", "2.13.0+cpu")
"""Beside the packages of the locks `cpu` and `demo`: it is not on PyPI."""
_WITH_TORCH = frozenset({"cpu", "demo"})
_PACKAGE = re.compile(r"^([a-z0-9][a-z0-9.-]*)==([^ ;\\]+)", re.MULTILINE)
_TOKEN = re.compile(r"[()]|AND\b|OR\b|[^()\s]+(?:\s+WITH\s+[^()\s]+)?")


def packages(lock: str) -> dict[str, str]:
    """The version of every package of a lock, by its name."""
    found = dict(_PACKAGE.findall((FOLDER / f"locks/{lock}.txt").read_text("utf-8")))
    return dict(sorted((found | dict([TORCH] if lock in _WITH_TORCH else [])).items()))


@dataclass(frozen=True)
class Policy:
    """`licences.toml`."""

    allowed: frozenset[str]
    names: Mapping[str, str]
    packages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path = FOLDER / "licences.toml") -> "Policy":
        table = tomllib.loads(file.read_text("utf-8"))
        return cls(frozenset(table["allowed"]), table["names"], table["packages"])

    def licence(self, name: str, described: PackageMetadata) -> str:
        """The licence of a package as an SPDX expression, or else what the package calls it; "" if it doesn't say."""
        if name in self.packages:
            return str(self.packages[name]["licence"])
        if expression := described.get("License-Expression"):
            return str(expression)
        ends = [one.split(" :: ")[-1] for one in described.get_all("Classifier") or () if one.startswith("License ::")]
        known = [self.names[end] for end in ends if end in self.names]
        text = (described.get("License") or "").partition("\n")[0].strip()
        return " AND ".join(known) or self.names.get(text, text)

    def objection(self, name: str, licence: str, lock: str) -> str | None:
        """Why a package with this licence must not be in a lock; None if it may."""
        if name in self.packages:
            only = self.packages[name].get("only", LOCKS)
            return None if lock in only else f"{name} ({licence}) may only be in {', '.join(only)}, and is in {lock}"
        if not licence:
            return f"{name} (in {lock}) says nothing of its licence: add it to deploy/licences.toml"
        try:
            accepted = allows(licence, lambda one: one in self.allowed)
        except ValueError:
            accepted = False
        return None if accepted else f"{name} (in {lock}) has the licence {licence!r}, which deploy/licences.toml lacks"


def allows(expression: str, allowed: Callable[[str], bool]) -> bool:
    """Whether an SPDX expression is satisfied by allowed licences: all of an AND, one of an OR.

    Raises:
        ValueError: it is no expression.
    """
    tokens = _TOKEN.findall(expression)[::-1]

    def alternatives() -> bool:
        accepted = conjunction()
        while tokens and tokens[-1] == "OR":
            tokens.pop()
            accepted = conjunction() or accepted
        return accepted

    def conjunction() -> bool:
        accepted = operand()
        while tokens and tokens[-1] == "AND":
            tokens.pop()
            accepted = operand() and accepted
        return accepted

    def operand() -> bool:
        word = tokens.pop() if tokens else ")"
        if word in (")", "AND", "OR"):
            raise ValueError(expression)
        if word != "(":
            return allowed(" ".join(word.split()))
        accepted = alternatives()
        if not tokens or tokens.pop() != ")":
            raise ValueError(expression)
        return accepted

    accepted = alternatives()
    if tokens:
        raise ValueError(expression)
    return accepted


def objections(policy: Policy, missing: list[str]) -> Iterator[str]:
    """What is wrong with the packages that are installed; the names of others are added to `missing`."""
    for lock in LOCKS:
        for name in packages(lock):
            try:
                described = metadata(name)
            except PackageNotFoundError:
                missing.append(name)
                continue
            if objection := policy.objection(name, policy.licence(name, described), lock):
                yield objection


def main() -> int:
    missing = list[str]()
    found = list(objections(Policy.read(), missing))
    sys.stdout.write("".join(f"{line}\n" for line in found))
    if missing:
        sys.stdout.write(f"not installed and so not checked: {', '.join(sorted(set(missing)))}\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
