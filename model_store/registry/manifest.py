"""The manifest of a model version, `manifest.toml`: parsed, validated and serialized.

A version is the folder `<store>/<name>/<number>/` with a manifest, a `prompts/` folder and,
for most, `weights/`. Two versions may share weights: `weights` is a path relative to the
store's root. A model that gets its pictures as soft tokens also has `encoder/`, which makes
them; it goes with the weights. Once registered, a version never changes.
"""

import hashlib
import tomllib
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import Field, ValidationError

from model_store.errors import UserError, first_fault
from model_store.pictures import PictureSize
from model_store.prompts import RECENTS
from model_store.signals import StrictModel, VersionSignals

MANIFEST = "manifest.toml"
NAME = r"[a-z0-9][a-z0-9._-]{0,63}"
Name = Annotated[str, Field(pattern=f"^{NAME}$")]
Role = Literal["summarizer", "ranker", "embedder"]


class ManifestError(UserError):
    """A manifest or its files are missing, malformed or changed; the message says which, and how to fix it."""


class Labels(StrictModel):
    """The two label tokens of a ranker, with their ids: another tokenizer can't swap them."""

    yes: str = "yes"
    no: str = "no"
    yes_id: int
    no_id: int


class Blend(StrictModel):
    """p = sigmoid(bias + mllm*logit(p_mllm) + collaborative*log1p(c) + item_weights*w + item_vectors*v + P*log1p(n)).

    `c` is the summed cosine co-occurrence of a candidate with the recents (0..), `w` the sum of the recents' item
    weights for it, `v` the score of the item vectors (both of either sign), and `n` its interaction count (0..). P is
    max(0, popular - popular_discount*m), with `m` the mean of log1p(n) over the candidates of the request: the more
    popular the candidates that a caller chose, the less popularity tells them apart. Fitted on validation users by
    `tastestream train`.
    """

    bias: float = 0.0
    mllm: float = 1.0
    collaborative: float = 0.0
    popular: float = 0.0
    popular_discount: float = Field(0.0, ge=0)
    item_weights: float = Field(0.0, ge=0)
    item_vectors: float = Field(0.0, ge=0)


class Probe(StrictModel):
    """One pair with a known score, which reveals a server with another head or other weights.

    `score` is p(yes) of an item that has only this title, for a user with this summary and no recents, computed with
    the version's prompts when it was registered.
    """

    summary: str
    title: str
    score: float = Field(ge=0, le=1)


class Serving(StrictModel):
    """How vLLM is started for this version."""

    max_model_len: int = Field(2048, gt=0)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    max_summary_tokens: int = Field(160, gt=0)
    max_description_tokens: int = Field(80, gt=0)
    presence_penalty: float = Field(0.0, ge=-2, le=2)
    """Subtracted, while a summary is written, from the logit of every token that it already contains."""
    summary_opening: str = Field("", max_length=40)
    """How every summary begins, by its prompt or by training; others are rejected."""
    json_answers: bool = False
    """Whether summaries and descriptions are asked for as JSON objects, in structured output. For instruct models that
    were not trained to answer with the text alone."""
    architecture: str | None = None
    """The vLLM class that scores, e.g. `Qwen3VLForSequenceClassification`; rankers only."""
    gpu_memory_utilization: float = Field(0.45, gt=0, le=1)
    cpu_kv_cache_mib: int = Field(256, gt=0)
    """Without a GPU: memory for the keys and values of running prompts and of shared prefixes."""
    max_queued: int = Field(1500, gt=0)
    """Prompts that a server accepts at the same time, counting each candidate; it answers further ones with 503."""


class PictureTokens(StrictModel):
    """The soft tokens that stand for a picture in the prompts of a text LLM: `count` embeddings of `width` numbers.

    With a `feature`, the picture encoder also makes one vector of the whole picture, of the same width, which no prompt
    shows: that of the late fusion of an embedder.
    """

    count: int = Field(gt=0, le=256)
    width: int = Field(gt=0)
    feature: bool = False


class Embedding(StrictModel):
    """How a version with the role `embedder` makes a vector of an item.

    `notellm2` reads the hidden states at every `read_token` of the prompt, of which the version's head makes the
    vector. `direct` takes the answer of a general embedding model, cut to `dimensions` numbers, and needs no head.
    """

    kind: Literal["notellm2", "direct"] = "notellm2"
    dimensions: int = Field(64, gt=0, le=4096)
    read_token: str = ""
    read_token_id: int = Field(0, ge=0)
    instruction: str = Field("", max_length=400)
    """The system message of a `direct` model."""


class Training(StrictModel):
    """Where the weights came from: the command, the data and the split."""

    command: str = ""
    data: str = ""
    seed: int = 0
    steps: int = 0
    minutes: float = 0.0
    parameters: int = 0
    warning: str = ""
    """A known problem, e.g. far fewer steps than the recipe needs, or ""."""
    held_out: str = ""
    """The rule for the users who were not used in training, e.g. `user_split(user_id) == "test"`."""


class Manifest(StrictModel):
    name: Name
    version: int = Field(gt=0)
    role: Role
    created: datetime | None = None
    """When it was registered; unknown for versions that are older than this field."""
    base: str = ""
    """Base model and revision, or "from scratch"."""
    weights: str = ""
    """Path relative to the store's root; "" means `weights` next to the manifest."""
    weights_sha256: str = ""
    encoder_sha256: str = ""
    """Of the folder `encoder` beside the weights; "" for a model that has none."""
    prompts_sha256: str = ""
    prompt_recents: int = Field(RECENTS, gt=0)
    """How many of a user's last interactions the ranking prompt shows, in training and in the service."""
    cooccurrence: str = ""
    """Path of a co-occurrence file (JSON lines) relative to the store's root, or ""."""
    item_weights: str = ""
    """Path of a file of item weights (safetensors) relative to the store's root, or ""."""
    item_weights_sha256: str = ""
    item_vectors: str = ""
    """Path of a file of item vectors (safetensors) relative to the store's root, or ""."""
    item_vectors_sha256: str = ""
    labels: Labels | None = None
    probe: Probe | None = None
    picture: PictureSize = PictureSize()
    picture_tokens: PictureTokens | None = None
    """None for models that see pictures themselves."""
    embedding: Embedding | None = None
    """Of embedders."""
    head: str = ""
    """Path of an embedder's head (npz) relative to the store's root, or ""."""
    head_sha256: str = ""
    blend: Blend = Blend()
    signals: VersionSignals = VersionSignals()
    serving: Serving = Serving()
    training: Training = Training()
    evaluation: dict[str, Any] = Field(default_factory=dict)

    @property
    def encoder_id(self) -> str:
        """What makes its soft tokens: versions with the same encoder have the same tokens; "" without one."""
        return self.encoder_sha256[:16]

    @property
    def role_with_article(self) -> str:
        """Its role in a sentence: `a ranker`."""
        return f"{'an' if self.role == 'embedder' else 'a'} {self.role}"

    @property
    def id(self) -> str:
        """`name@version`, as every answer of the service names it."""
        return f"{self.name}@{self.version}"

    @classmethod
    def parse(cls, content: str | bytes, where: str) -> Self:
        """Parse a manifest's TOML; `where` names it in errors.

        Raises:
            ManifestError: no TOML, an unknown key or a wrong value.
        """
        try:
            return cls.model_validate(tomllib.loads(content if isinstance(content, str) else content.decode()))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ManifestError(f"{where} is not TOML: {error}") from None
        except ValidationError as error:
            raise ManifestError(f"{where}: {first_fault(error)}") from None

    def dump(self) -> str:
        """The manifest as TOML."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))


def hash_files(folder: Path) -> str:
    """SHA-256 over the names and contents of a folder's files, in name order."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        with path.open("rb") as file:
            digest.update(path.name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
