"""Looks for secrets in this repository: `python deploy/secret_scan.py [tree|history|baseline]`. Needs detect-secrets.

`tree` checks the files that git tracks. `history` checks every line that was ever added, for the keys that have a form
of their own: those that are recognized by randomness alone, such as hashes, would be too many. What is known to be no
secret is in `secrets.baseline`, wherever it stands; `baseline` writes that file, whose changes want a careful look.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path

from detect_secrets import SecretsCollection
from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
from detect_secrets.settings import transient_settings

ROOT = Path(__file__).parents[1]
BASELINE = Path(__file__).with_name("secrets.baseline")
OWN_KEY = re.compile(r"\btastestream_[A-Za-z0-9_-]{43}\b")
"""What `tastestream keys create` makes."""
# Hashes of packages, weights, and the words of a tokenizer.
_SKIPPED = re.compile(r"^deploy/locks/|\.safetensors$|/tokenizer\.json$|^deploy/secrets\.baseline$")
_NOT_BY_FORM = frozenset({"BasicAuthDetector", "KeywordDetector", "Base64HighEntropyString", "HexHighEntropyString"})
_KEPT = ("type", "hashed_secret", "line_number")
# Addresses are no secrets.
_UNUSED = frozenset({"IPPublicDetector"})


@dataclass(frozen=True)
class Finding:
    file: str
    line: int
    kind: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.kind}"


def in_tree(root: Path = ROOT) -> list[Finding]:
    """What looks like a secret in the files that git tracks in `root`, and is not in the baseline."""
    return _unknown(root, _tracked(root))


def in_history(root: Path = ROOT) -> list[Finding]:
    """What looks like a key in any line that a commit added; the number of the line has no meaning then."""
    with tempfile.TemporaryDirectory() as folder:
        for name, lines in _added(root).items():
            # Loose lines are no YAML any more, even if the file was.
            file = Path(folder) / f"{name}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(f"{line}\n" for line in sorted(lines)), "utf-8")
        files = [str(file.relative_to(folder)) for file in sorted(Path(folder).rglob("*")) if file.is_file()]
        found = _unknown(Path(folder), files, _NOT_BY_FORM)
    return [replace(finding, file=finding.file.removesuffix(".txt")) for finding in found]


def _unknown(root: Path, files: Sequence[str], left_out: AbstractSet[str] = frozenset()) -> list[Finding]:
    """What the detectors, but those that are left out, find in these files and the baseline doesn't have."""
    results = json.loads(BASELINE.read_text("utf-8"))["results"]
    known = {secret["hashed_secret"] for secrets in results.values() for secret in secrets}
    found = [
        Finding(file, secret.line_number, secret.type)
        for file, secret in _scan(root, files, left_out)
        if secret.secret_hash not in known
    ]
    return [*found, *_own_keys(root, files)]


def _scan(root: Path, files: Sequence[str], left_out: AbstractSet[str] = frozenset()) -> SecretsCollection:
    """Nothing is verified with the service that a key is for: nothing leaves this machine."""
    detectors = {detector.__name__ for detector in get_mapping_from_secret_type_to_class().values()}
    found = SecretsCollection(str(root))
    used = [{"name": name} for name in sorted(detectors - left_out - _UNUSED)]
    with transient_settings({"plugins_used": used}):
        for file in files:
            found.scan_file(file)
    return found


def _own_keys(root: Path, files: Sequence[str]) -> Iterator[Finding]:
    for file in files:
        for number, line in enumerate((root / file).read_text("utf-8", errors="replace").splitlines(), 1):
            if OWN_KEY.search(line):
                yield Finding(file, number, "Tastestream API key")


def _tracked(root: Path) -> list[str]:
    """Without links, whose files are tracked themselves."""
    names = [name for name in _git(root, "ls-files", "-z").split("\0") if name and not _SKIPPED.search(name)]
    return [name for name in names if (root / name).is_file() and not (root / name).is_symlink()]


def _added(root: Path) -> dict[str, set[str]]:
    """The lines that were ever added, by file."""
    lines: dict[str, set[str]] = defaultdict(set)
    name = ""
    for line in _git(root, "log", "-p", "-U0", "--no-color", "--no-renames", "--no-ext-diff", "HEAD").split("\n"):
        if line.startswith("+++ "):
            name = line.removeprefix("+++ b/") if line.startswith("+++ b/") else ""
        elif line.startswith("+") and name and not _SKIPPED.search(name):
            lines[name].add(line[1:])
    return lines


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, check=True)
    return done.stdout.decode("utf-8", "replace")


def write_baseline() -> list[Finding]:
    """Take all that is found now for no secret."""
    results = _scan(ROOT, _tracked(ROOT)).json()
    # Without `filename`, which has the path of this checkout.
    known = {file: [{key: secret[key] for key in _KEPT} for secret in found] for file, found in results.items()}
    BASELINE.write_text(json.dumps({"results": known}, indent=1) + "\n", "utf-8")
    return []


def main() -> int:
    modes: dict[str, Callable[[], list[Finding]]] = {"tree": in_tree, "history": in_history, "baseline": write_baseline}
    mode = modes.get(sys.argv[1] if len(sys.argv) == 2 else "tree")
    if mode is None:
        sys.exit(f"one of {', '.join(modes)}")
    found = mode()
    for finding in found:
        sys.stdout.write(f"{finding}: remove it and revoke it; if it is no secret, see CONTRIBUTING.md\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
