"""Ways to score a request's candidates, and what a round of requests costs by each."""

import asyncio
import io
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import httpx
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from model_store.engine.chat import text_part
from model_store.engine.per_candidate import one_token_request
from model_store.errors import UserError
from model_store.registry.manifest import Labels
from tests.benchmarks.machine import cpu_s
from tests.benchmarks.processes import Web
from tests.benchmarks.ranking_models import Ranked
from tests.benchmarks.ranking_requests import Body, Call, drive, open_client, posting

GENERATED = 30
_PAGE_S = 10.0
Series = tuple[str, frozenset[tuple[str, str]]]


@dataclass(frozen=True)
class Round:
    """What some requests took.

    `own_ms` is the gateway's time per request without waiting for the model, `cpu_ms` its processor's; `hits` the share
    of prompt tokens that the model server found in its prefix cache.
    """

    rate: float
    latencies_ms: list[float]
    own_ms: float | None = None
    cpu_ms: float | None = None
    hits: float | None = None


class Service:
    """`/recommend` of the gateway."""

    def __init__(self, web: Web, model_url: str, candidates: int) -> None:
        self._web = web
        self._model_url = model_url
        self._candidates = candidates

    async def round(self, requests: Sequence[Body], in_flight: int) -> Round:
        """
        Raises:
            UserError: something else than the model's fresh scores was in an answer.
        """
        before, cached, cpu = counted_by(self._web.url), counted_by(self._model_url), cpu_s(self._web.pid)
        client = open_client(self._web.url)
        seconds, latencies = await drive(posting(client, "/recommend", requests), in_flight)
        await client.close()
        spent = 1000 * (cpu_s(self._web.pid) - cpu) / len(requests)
        counted = await self._counted_since(before, len(requests))
        self._require_scores(counted, len(requests))
        away = _sum(counted, "tastestream_engine_call_seconds_sum", engine="ranker") + _sum(
            counted, "tastestream_ranker_wait_seconds_sum"
        )
        taken = _sum(counted, "tastestream_http_request_seconds_sum", route="/recommend")
        return Round(
            len(requests) * self._candidates / seconds,
            [1000 * latency for latency in latencies],
            1000 * (taken - away) / len(requests),
            spent,
            hit_ratio(counted_by(self._model_url) - cached),
        )

    async def _counted_since(self, before: Counter[Series], requests: int) -> Counter[Series]:
        """What all requests counted; the gateway's page may be a second old."""
        deadline = time.monotonic() + _PAGE_S
        while True:
            counted = counted_by(self._web.url) - before
            if _sum(counted, "tastestream_http_request_seconds_count", route="/recommend") >= requests:
                return counted
            if time.monotonic() > deadline:
                raise UserError(f"{self._web.url}/metrics does not count the requests")
            await asyncio.sleep(0.1)

    def _require_scores(self, counted: Counter[Series], requests: int) -> None:
        served = _sum(counted, "tastestream_recommendations_total", served_by="mllm", degraded_reason="")
        fresh = _sum(counted, "tastestream_score_cache_total", result="miss")
        if served != requests or fresh != requests * self._candidates:
            raise UserError(f"{served:.0f} of {requests} answers had the model's scores, {fresh:.0f} scores were fresh")


class Raw:
    """`/score` of the model server, with the bodies that the gateway sends."""

    def __init__(self, model_url: str) -> None:
        self._url = model_url

    async def round(self, bodies: Sequence[Body], in_flight: int) -> Round:
        before = counted_by(self._url)
        client = open_client(self._url)
        seconds, latencies = await drive(posting(client, "/score", bodies), in_flight)
        await client.close()
        asked = sum(len(body["documents"]) for body in bodies)
        return Round(
            asked / seconds, [1000 * latency for latency in latencies], hits=hit_ratio(counted_by(self._url) - before)
        )


class Chat:
    """One chat completion of one token for each candidate, those of a request all at once."""

    def __init__(self, model_url: str, labels: Labels) -> None:
        self._url = model_url
        self._labels = labels

    async def round(self, bodies: Sequence[Body], in_flight: int) -> Round:
        before = counted_by(self._url)
        client = open_client(self._url)

        def request(body: Body) -> Call:
            calls = posting(client, "/v1/chat/completions", (self._chat(body, one) for one in body["documents"]))
            return lambda: drive(calls, len(calls))

        seconds, latencies = await drive(map(request, bodies), in_flight)
        await client.close()
        asked = sum(len(body["documents"]) for body in bodies)
        return Round(
            asked / seconds, [1000 * latency for latency in latencies], hits=hit_ratio(counted_by(self._url) - before)
        )

    def _chat(self, body: Body, document: Body) -> Body:
        content = [text_part(body["queries"]), *document["content"]]
        return {"model": body["model"], **one_token_request(content, self._labels)}


class Paper:
    """MLLM-MSR's released way: transformers, one candidate at a time, the picture first, 30 tokens generated."""

    def __init__(self, model: Ranked) -> None:
        from model_store.serving.torchvision_ops import declare

        declare()
        from model_store.msr.scratch.architecture import read_checkpoint

        self._model, self._processor = read_checkpoint(model.weights)

    def round(self, bodies: Sequence[Body]) -> Round:
        latencies = []
        for body in bodies:
            started = time.perf_counter()
            for document in body["documents"]:
                self._answer(body["queries"], document)
            latencies.append(time.perf_counter() - started)
        asked = sum(len(body["documents"]) for body in bodies)
        return Round(asked / sum(latencies), [1000 * latency for latency in latencies])

    def _answer(self, query: str, document: Body) -> None:
        import torch

        from model_store.msr.scratch.architecture import IMAGE, VISION_END, VISION_START

        picture, words = document["content"]
        content = f"{VISION_START}{IMAGE}{VISION_END}\n{query}\n{words['text']}"
        messages = [{"role": "user", "content": content}]
        prompt = self._processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        encoded = b64decode(picture["image_url"]["url"].partition(",")[2])
        with Image.open(io.BytesIO(encoded)) as image:
            inputs = self._processor(text=[prompt], images=[image], return_tensors="pt")
        with torch.no_grad():
            self._model.generate(**inputs, max_new_tokens=GENERATED, min_new_tokens=GENERATED, do_sample=False)


def counted_by(url: str) -> Counter[Series]:
    """The counters that a server shows, by name and labels."""
    text = httpx.get(f"{url}/metrics", trust_env=False, timeout=60).raise_for_status().text
    found: Counter[Series] = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name, frozenset(sample.labels.items())] += sample.value  # type: ignore[assignment]
    return found


def _sum(counted: Counter[Series], name: str, **labels: str) -> float:
    wanted = set(labels.items())
    return sum(value for (series, given), value in counted.items() if series == name and wanted <= given)


def hit_ratio(counted: Counter[Series]) -> float:
    asked = _sum(counted, "vllm:prefix_cache_queries_total")
    return _sum(counted, "vllm:prefix_cache_hits_total") / asked if asked else 0.0
