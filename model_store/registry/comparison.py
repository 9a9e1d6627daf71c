"""Two versions side by side."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from model_store.registry.manifest import Manifest

_NOT_COMPARED = ("name", "version", "evaluation")


class Row(NamedTuple):
    """One value of both versions, and the second minus the first where both are quantities."""

    name: str
    first: str
    second: str
    difference: str


def compare(
    first: Manifest, second: Manifest, reports: tuple[Mapping[str, Any], Mapping[str, Any]] = ({}, {})
) -> tuple[list[Row], list[Row]]:
    """What differs in the manifests, and all results of the evaluations.

    Args:
        reports: further results of each, by name.
    """
    one, other = (dict(flatten(manifest.model_dump(exclude_none=True))) for manifest in (first, second))
    differing = [row for row in _rows(one, other) if row.first != row.second]
    results = [
        {**dict(flatten(manifest.evaluation)), **dict(flatten(report))}
        for manifest, report in zip((first, second), reports, strict=True)
    ]
    return [row for row in differing if row.name.partition(".")[0] not in _NOT_COMPARED], list(_rows(*results))


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The single values of nested tables, with dotted names; of lists, their length unless they are short."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flatten(value, f"{name}.")
        elif isinstance(value, list | tuple):
            yield name, ", ".join(map(str, value)) if len(value) <= _SHOWN else f"{len(value)} entries"
        else:
            yield name, value


_SHOWN = 6


def _rows(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[Row]:
    for name in dict.fromkeys([*first, *second]):
        one, other = first.get(name), second.get(name)
        is_token = name.startswith("labels.")
        yield Row(name, _text(one), _text(other), "" if is_token else _difference(one, other))


def _text(value: Any) -> str:
    return "" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)


def _difference(first: Any, second: Any) -> str:
    numbers = [one for one in (first, second) if isinstance(one, int | float) and not isinstance(one, bool)]
    return f"{numbers[1] - numbers[0]:+.4g}" if len(numbers) == 2 and numbers[0] != numbers[1] else ""
