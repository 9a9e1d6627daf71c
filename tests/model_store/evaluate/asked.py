"""A store with a ranker and a summarizer, and one server in place of both of theirs."""

import re
from pathlib import Path
from typing import Any

from model_store.evaluate.subject import Subject
from model_store.prompts import BUILT_IN
from model_store.registry.manifest import Manifest
from model_store.registry.registry import Registry
from tests.model_store.engine.fake_vllm import FakeVllm, Reply, Request, text_answer


def make_store(folder: Path, name: str = "tiny") -> Registry:
    registry = Registry(folder)
    weights = folder.parent / "checkpoint"
    weights.mkdir(exist_ok=True)
    (weights / "config.json").write_text("{}")
    for role in ("ranker", "summarizer"):
        serving = {"architecture": "Qwen3VLForSequenceClassification"} if role == "ranker" else {}
        fields = {"name": f"{name}-{role}", "version": 1, "role": role, "serving": serving}
        registry.add(Manifest.model_validate(fields), BUILT_IN / "compact", weights)
    return registry


def subject(registry: Registry, fake: FakeVllm, name: str = "tiny") -> Subject:
    """Both versions, served by `fake`."""
    fake.replies |= {"/v1/models": _models(name), "/v1/chat/completions": _note, "/score": _score}
    return Subject.of(f"{name}-ranker", None, registry, ranker_url=fake.url, summarizer_url=fake.url)


def asked(fake: FakeVllm, path: str) -> list[Any]:
    return [request.body for request in fake.requests if request.path == path]


def prompt(body: Any) -> str:
    """The text of a chat request."""
    content = body["messages"][0]["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def _models(name: str) -> Any:
    return lambda _: (200, {"data": [{"id": f"{name}-{role}@1"} for role in ("ranker", "summarizer")]})


def _note(request: Request) -> Reply:
    """A summary that says how many events it has seen."""
    text = prompt(request.body)
    seen = re.search(r"seen (\d+)", text)
    events = len(re.findall(r"^(?:like|view|dislike): ", text, re.MULTILINE))
    return 200, text_answer(f"seen {int(seen[1]) + events if seen else events}")


def _score(request: Request) -> Reply:
    """Even items are liked by whoever liked even items last."""
    liked = re.findall(r"Item (\d+)", request.body["queries"])
    parity = int(liked[-1]) % 2 if liked else 0
    rows = []
    for index, document in enumerate(request.body["documents"]):
        text = document if isinstance(document, str) else "".join(p.get("text", "") for p in document["content"])
        number = re.search(r"Item (\d+)", text)
        assert number is not None
        rows.append({"index": index, "score": 0.9 if int(number[1]) % 2 == parity else 0.1})
    return 200, {"data": rows}
