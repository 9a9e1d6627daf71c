"""What one model version is: `manifest.toml`, read, checked and written.

A version is the folder `<store>/<name>/<number>/` with a manifest, a `prompts/` folder and,
for most, `weights/`. Two versions may share weights: `weights` is a path relative to the
store's root. Once registered, a version never changes.
"""

import hashlib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model_store.errors import UserError
from model_store.pictures import PictureSize
from model_store.prompts import RECENTS
from model_store.signals import VersionSignals

MANIFEST = "manifest.toml"
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Role = Literal["summarizer", "ranker", "embedder"]


class ManifestError(UserError):
    """A manifest or its files are missing, malformed or changed; the message says which and how to mend it."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Labels(_Part):
    """The two label tokens of a ranker, pinned by id so that a retokenized model can't swap them."""

    yes: str = "yes"
    no: str = "no"
    yes_id: int
    no_id: int


class Blend(_Part):
    """p = sigmoid(bias + mllm*logit(p_mllm) + collaborative*log1p(c) + popular*log1p(n)).

    `c` is the summed cosine co-occurrence of a candidate with the recents (0..), `n` its
    interaction count (0..). Fitted on validation users by `tastestream train`.
    """

    bias: float = 0.0
    mllm: float = 1.0
    collaborative: float = 0.0
    popular: float = 0.0


class Probe(_Part):
    """One pair whose score is known, so that a server with another head or other weights is found out.

    `score` is p(yes) of an item that has this title alone, for a user with this summary and no recents; it was computed
    when the version was registered, with the version's own prompts.
    """

    summary: str
    title: str
    score: float = Field(ge=0, le=1)


class Serving(_Part):
    """How vLLM is started for this version."""

    max_model_len: int = Field(2048, gt=0)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    max_summary_tokens: int = Field(160, gt=0)
    max_description_tokens: int = Field(80, gt=0)
    presence_penalty: float = Field(0.0, ge=-2, le=2)
    """Taken, while a summary is written, from the logit of every token that it already has."""
    summary_opening: str = Field("", max_length=40)
    """How every summary begins, as the prompt demands or training taught; one that does not is refused."""
    architecture: str | None = None
    """The vLLM class that scores, e.g. `Qwen3VLForSequenceClassification`; rankers only."""
    gpu_memory_utilization: float = Field(0.45, gt=0, le=1)
    cpu_kv_cache_mib: int = Field(256, gt=0)
    """Without a GPU: memory for the keys and values of prompts in work and of shared prefixes."""
    max_queued: int = Field(1500, gt=0)
    """Prompts that a server takes on at the same time, each candidate counting as one; it answers further ones 503."""


class Training(_Part):
    """Where the weights came from: the command, the data and the split."""

    command: str = ""
    data: str = ""
    seed: int = 0
    steps: int = 0
    minutes: float = 0.0
    parameters: int = 0
    warning: str = ""
    """What is wrong with it, e.g. that it ended far below the steps that its recipe needs; "" if nothing is known."""
    held_out: str = ""
    """The rule that names the users no training step saw, e.g. `user_split() == "test"`."""


class Manifest(_Part):
    name: Name
    version: int = Field(gt=0)
    role: Role
    base: str = ""
    """Base model and revision, or "from scratch"."""
    weights: str = ""
    """Path relative to the store's root; "" means `weights` beside the manifest."""
    weights_sha256: str = ""
    prompts_sha256: str = ""
    prompt_recents: int = Field(RECENTS, gt=0)
    """How many of a user's last interactions the ranking prompt shows, in training and in the service."""
    cooccurrence: str = ""
    """Store-relative path of a co-occurrence file (JSON lines), "" if there is none."""
    labels: Labels | None = None
    probe: Probe | None = None
    picture: PictureSize = PictureSize()
    blend: Blend = Blend()
    signals: VersionSignals = VersionSignals()
    serving: Serving = Serving()
    training: Training = Training()
    evaluation: dict[str, Any] = Field(default_factory=dict)

    @property
    def id(self) -> str:
        """`name@version`, as every answer of the service names it."""
        return f"{self.name}@{self.version}"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read the manifest file at `path`.

        Raises:
            ManifestError: no such file, no TOML, an unknown key or a wrong value.
        """
        try:
            return cls.parse(path.read_text(), str(path))
        except FileNotFoundError:
            raise ManifestError(f"no manifest at {path}") from None

    @classmethod
    def parse(cls, text: str, where: str) -> Self:
        """Read a manifest's TOML; `where` names it in errors.

        Raises:
            ManifestError: no TOML, an unknown key or a wrong value.
        """
        try:
            return cls.model_validate(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise ManifestError(f"{where} is not TOML: {error}") from None
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise ManifestError(f"{where}: {key}: {first['msg']}") from None

    def dump(self) -> str:
        """The manifest as TOML."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))

    def write(self, path: Path) -> None:
        path.write_text(self.dump())


def hash_files(folder: Path, pattern: str = "*") -> str:
    """SHA-256 over the names and contents of a folder's files that match `pattern`, in name order."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.glob(pattern) if path.is_file()):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
