"""What the project is made of: its licences, its bill of materials, and that it publishes no secret."""

import json
import subprocess
import sys
from email.message import Message
from importlib.util import find_spec
from pathlib import Path

import pytest

from deploy.licences import LOCKS, TORCH, Policy, allows, objections, packages
from deploy.sbom import document
from service.api_keys.records import new_key
from tests.deploy.containers import ROOT

needs_tools = pytest.mark.skipif(
    find_spec("detect_secrets") is None or find_spec("cyclonedx") is None, reason="needs `make deploy-tools`"
)
POLICY = Policy.read()


def described(**fields: str | list[str]) -> Message:
    """The metadata of a package."""
    message = Message()
    for name, values in fields.items():
        for value in [values] if isinstance(values, str) else values:
            message[name.replace("_", "-")] = value
    return message


def test_every_installed_package_has_a_licence_that_is_allowed() -> None:
    missing = list[str]()
    assert list(objections(POLICY, missing)) == []
    assert set(missing).isdisjoint(packages("base") | packages("cpu"))


@pytest.mark.parametrize(
    ("metadata", "licence"),
    [
        (described(License_Expression="MIT OR GPL-3.0-only", License="other"), "MIT OR GPL-3.0-only"),
        (described(Classifier=["License :: OSI Approved :: MIT License", "License :: DFSG approved"]), "MIT"),
        (described(License="BSD-3-Clause"), "BSD-3-Clause"),
        (described(License="Apache 2.0\nA long text"), "Apache-2.0"),
        (described(Name="nothing"), ""),
    ],
)
def test_a_licence_is_found_in_the_metadata_of_any_age(metadata: Message, licence: str) -> None:
    assert POLICY.licence("package", metadata) == licence  # type: ignore[arg-type]


@pytest.mark.parametrize("licence", ["MIT", "MIT OR GPL-3.0-only", "Apache-2.0 WITH LLVM-exception AND (MIT OR X)"])
def test_an_allowed_licence_is_accepted(licence: str) -> None:
    assert POLICY.objection("package", licence, "base") is None


@pytest.mark.parametrize(
    "licence", ["GPL-3.0-only", "MIT AND GPL-3.0-only", "Apache-2.0 WITH Some-exception", "MIT OR", "MIT MIT", "(MIT"]
)
def test_any_other_licence_is_reported_with_its_package_and_lock(licence: str) -> None:
    said = POLICY.objection("package", licence, "base")
    assert said is not None
    assert "package (in base)" in said
    assert licence in said


def test_a_package_without_a_licence_is_reported() -> None:
    assert "says nothing of its licence" in str(POLICY.objection("package", "", "base"))


def test_a_tool_under_the_gpl_may_not_become_a_dependency() -> None:
    assert POLICY.objection("yamllint", "GPL-3.0-or-later", "deploy") is None
    assert "may only be in deploy" in str(POLICY.objection("yamllint", "GPL-3.0-or-later", "base"))


def test_an_expression_is_satisfied_by_all_of_an_and_and_one_of_an_or() -> None:
    accepted = {"A", "B"}.__contains__
    assert allows("A AND (C OR B)", accepted)
    assert not allows("A AND C OR C", accepted)
    assert allows("C OR A AND B", accepted)


def test_every_exception_says_why_and_is_used() -> None:
    used = {name for lock in LOCKS for name in packages(lock)}
    for name, entry in POLICY.packages.items():
        assert entry["why"].endswith("."), name
        assert name in used, f"{name} is in no lock"


def test_torch_is_the_one_that_is_installed() -> None:
    for file in ("Makefile", "Dockerfile.demo"):
        assert f"torch=={TORCH[1]}" in (ROOT / file).read_text("utf-8")


@needs_tools
@pytest.mark.parametrize("lock", LOCKS)
def test_a_bill_of_materials_is_complete_valid_and_names_no_place(lock: str) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    made = [
        subprocess.run([sys.executable, "deploy/sbom.py", lock], cwd=ROOT, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    text = made[0].stdout
    assert made[1].stdout == text
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert problem is None, str(problem)[-500:]
    bill = json.loads(text)
    assert {one["name"]: one["version"] for one in bill["components"]} == packages(lock)
    assert "://" not in text.replace(bill["$schema"], "")
    assert str(ROOT) not in text


@needs_tools
def test_a_document_that_is_no_bill_is_invalid() -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    bill = document("build") | {"components": [{"name": "without a type"}]}
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill)) is not None


@needs_tools
def test_the_baseline_names_no_place() -> None:
    baseline = json.loads((ROOT / "deploy" / "secrets.baseline").read_text())
    kept = [secret for found in baseline["results"].values() for secret in found]
    assert kept
    assert all(set(secret) == {"type", "hashed_secret", "line_number"} for secret in kept)


def test_no_tracked_file_has_a_secret() -> None:
    from deploy.secret_scan import in_tree

    assert [str(finding) for finding in in_tree()] == []


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A git repository with one harmless commit."""
    _git(tmp_path, "init", "--quiet")
    _commit(tmp_path, "README.md", "Set AWS_ACCESS_KEY_ID.\n")
    return tmp_path


def _git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=Test", "-c", "user.email=test@example.com"]
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)


def _commit(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text)
    _git(folder, "add", name)
    _git(folder, "commit", "--quiet", "--message", name)


# Put together here, so that this file has none.
PLANTED = {
    "a generated API key": new_key(),
    "a cloud key": "AKIA" + 2 * "QYLPMN5H",
    "a private key": "-----BEGIN " + "RSA PRIVATE KEY-----",
    "a token of a code host": "ghp_" + 4 * "wWPw5k4aX",
}


@needs_tools
@pytest.mark.parametrize("secret", PLANTED.values(), ids=PLANTED.keys())
def test_a_planted_key_is_found_also_after_its_removal(repository: Path, secret: str) -> None:
    from deploy.secret_scan import in_history, in_tree

    assert (in_tree(repository), in_history(repository)) == ([], [])
    _commit(repository, "settings.yaml", f"key: {secret}\n")
    assert {finding.file for finding in in_tree(repository)} == {"settings.yaml"}
    _commit(repository, "settings.yaml", "key: from the environment\n")
    assert in_tree(repository) == []
    assert {finding.file for finding in in_history(repository)} == {"settings.yaml"}


@needs_tools
def test_a_password_is_found_by_its_name(repository: Path) -> None:
    from deploy.secret_scan import in_tree

    _commit(repository, "settings.py", 'redis_password = "' + 'hunter2-Xk29bq"\n')
    assert [finding.kind for finding in in_tree(repository)] == ["Secret Keyword"]
