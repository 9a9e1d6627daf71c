"""The chart, rendered as Helm renders it, and questions about the objects that come out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "tastestream"
RELEASE, NAMESPACE = "shop", "recs"
NAME = f"{RELEASE}-tastestream"
Object = dict[str, Any]

helm = pytest.importorskip("helm_python", reason="`make deploy-tools` installs helm-python-sdk")


@dataclass(frozen=True)
class Rendered:
    """The objects of one installation."""

    objects: tuple[Object, ...]

    def kind(self, kind: str) -> list[Object]:
        return [one for one in self.objects if one["kind"] == kind]

    def get(self, kind: str, name: str = "") -> Object:
        """The object of this kind named `shop-tastestream[-name]`."""
        full = f"{NAME}-{name}" if name else NAME
        (found,) = (one for one in self.kind(kind) if one["metadata"]["name"] == full)
        return found

    def pods(self) -> Iterator[tuple[str, Object]]:
        """Name of the owner and template of every pod."""
        for one in self.objects:
            name = one["metadata"]["name"]
            if one["kind"] in ("Deployment", "StatefulSet"):
                yield name, one["spec"]["template"]
            elif one["kind"] == "CronJob":
                yield name, one["spec"]["jobTemplate"]["spec"]["template"]
            elif one["kind"] == "Pod":
                yield name, one

    def environment(self, kind: str, name: str) -> dict[str, str]:
        """The environment of a pod's first container, with the settings; a value from a Secret is `secret:NAME`."""
        container = self.get(kind, name)["spec"]["template"]["spec"]["containers"][0]
        given = {
            one["name"]: one.get("value") or f"secret:{one['valueFrom']['secretKeyRef']['name']}"
            for one in container["env"]
        }
        return {**(self.get("ConfigMap", "settings")["data"] or {}), **given}


def values(*names: str, **changes: Any) -> Object:
    """The values of files in the chart's `ci` folder, one over the other, and then `changes`: `a__b=1` sets `a.b`."""
    merged: Object = {}
    for name in names:
        _merge(merged, yaml.safe_load((CHART / "ci" / f"{name}-values.yaml").read_text("utf-8")))
    for name, value in changes.items():
        top, *rest = name.split("__") if not name.startswith("settings") else name.split("__", 1)
        for part in reversed([top, *rest]):
            value = {part: value}
        _merge(merged, value)
    return merged


def _merge(into: Object, more: Mapping[str, Any]) -> None:
    for key, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def render(given: Object) -> Rendered:
    """
    Raises:
        HelmError: the schema or a template refuses the values.
    """
    with helm.Chart.load(CHART) as chart:
        chart.validate_schema(given)
        manifests = chart.render(given, name=RELEASE, namespace=NAMESPACE)
    texts = (text for path, text in manifests.items() if not path.endswith("NOTES.txt"))
    return Rendered(tuple(one for text in texts for one in yaml.safe_load_all(text) if one))


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector matches."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(labels.get(one["key"]) in one["values"] for one in selector.get("matchExpressions", ()))


def accepts(policies: Sequence[Object], to: Mapping[str, str], caller: Mapping[str, str], port: int) -> bool:
    """Whether pods with the labels `to` accept connections to `port` from pods with the labels `caller`."""
    return _allows(policies, "Ingress", "from", to, caller, port)


def may_open(policies: Sequence[Object], caller: Mapping[str, str], to: Mapping[str, str], port: int) -> bool:
    """Whether pods with the labels `caller` may open connections to `port` of pods with the labels `to`."""
    return _allows(policies, "Egress", "to", caller, to, port)


def _allows(
    policies: Sequence[Object], way: str, side: str, pod: Mapping[str, str], peer: Mapping[str, str], port: int
) -> bool:
    """As Kubernetes decides: a pod that no policy selects is open; otherwise one rule of any policy must match."""
    bound = [
        one["spec"]
        for one in policies
        if way in one["spec"]["policyTypes"] and selects(one["spec"]["podSelector"], pod)
    ]
    rules = [rule for spec in bound for rule in spec.get(way.lower()) or ()]
    return not bound or any(
        (not rule.get("ports") or port in [one["port"] for one in rule["ports"]])
        and (side not in rule or any(_is_peer(one, peer) for one in rule[side]))
        for rule in rules
    )


def _is_peer(rule: Mapping[str, Any], peer: Mapping[str, str]) -> bool:
    return "namespaceSelector" not in rule and "podSelector" in rule and selects(rule["podSelector"], peer)
