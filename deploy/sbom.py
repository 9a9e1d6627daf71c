"""Writes what a lock holds as a CycloneDX 1.6 document to standard output: `python deploy/sbom.py base`.

The same lock gives the same document. Licences are those of the packages that are installed where it runs. Needs only
the standard library, so that an image can describe itself while it is built.
"""

import json
import sys
import tomllib
import uuid
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

# As a script it runs beside `deploy`, not in it.
sys.path.insert(0, str(Path(__file__).parents[1]))
from deploy.licences import LOCKS, Policy, packages

_PROJECT = Path(__file__).parents[1] / "pyproject.toml"
_NAMESPACE = uuid.UUID("8a1ac4a3-5a3b-4b0e-a0a5-9d6b3d5f4f10")


def document(lock: str) -> dict[str, Any]:
    """The bill of materials of what is installed from a lock."""
    project = tomllib.loads(_PROJECT.read_text("utf-8"))["project"]
    product = {
        "type": "application",
        "bom-ref": project["name"],
        "name": project["name"],
        "version": project["version"],
        "description": project["description"],
        "licenses": [{"license": {"id": project["license"]}}],
    }
    policy = Policy.read()
    components = [_component(policy, name, version) for name, version in packages(lock).items()]
    content = json.dumps([product, components], sort_keys=True)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, content)}",
        "version": 1,
        "metadata": {"component": product},
        "components": components,
        "dependencies": [{"ref": product["bom-ref"], "dependsOn": [one["bom-ref"] for one in components]}],
    }


def _component(policy: Policy, name: str, version: str) -> dict[str, Any]:
    purl = f"pkg:pypi/{name}@{quote(version, safe='')}"
    component = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    try:
        licence = policy.licence(name, metadata(name))
    except PackageNotFoundError:
        licence = ""
    return component | ({"licenses": [{"expression": licence}]} if licence else {})


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1] not in LOCKS:
        sys.exit(f"name one lock: {', '.join(LOCKS)}")
    sys.stdout.write(json.dumps(document(sys.argv[1]), indent=1) + "\n")


if __name__ == "__main__":
    main()
