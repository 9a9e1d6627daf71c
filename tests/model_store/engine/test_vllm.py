"""What `Engine` expects of vLLM, tested with vLLM."""

import asyncio
import copy
import io
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import httpx
import pytest
from PIL import Image

from model_store.engine.chat import read_text, text_request
from model_store.engine.client import VllmClient
from model_store.engine.engine import Engine
from model_store.engine.errors import BadAnswer, EngineError, EngineRejected, PromptTooLong
from model_store.pictures import PictureSize
from model_store.prompts.clean import clean
from model_store.registry.manifest import Serving
from model_store.views import InteractionView, ItemView, UserView
from tests.model_store.engine.examples import Recorder
from tests.vllm_servers import ServedModel

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(1800)]

# Thai letters and rare signs: close to one token for each byte, far more than the engine reckons with.
DENSE_USER = UserView("ก☂ฃ☃ " * 240)
ITEM = ItemView("Red Harbour", ("drama", "mystery"), ("sea",))
BLOCK = (InteractionView("like", ITEM),) * 3


@pytest.fixture
async def ranker(ranker_server: ServedModel) -> AsyncIterator[Engine]:
    engine = ranker_server.engine()
    yield engine
    await engine.close()


@pytest.fixture
async def summarizer(summarizer_server: ServedModel) -> AsyncIterator[Engine]:
    engine = summarizer_server.engine()
    yield engine
    await engine.close()


def client_of(served: ServedModel) -> VllmClient:
    return VllmClient(served.url, connect_timeout_s=60, max_concurrent_calls=8)


async def metric(url: str, name: str) -> float:
    async with httpx.AsyncClient(trust_env=False) as client:
        text = (await client.get(f"{url}/metrics")).text
    return sum(float(value) for value in re.findall(rf"^vllm:{name}{{.*}} (\S+)$", text, re.MULTILINE))


async def test_both_servers_are_healthy(ranker: Engine, summarizer: Engine) -> None:
    await ranker.check()
    await summarizer.check()


async def test_a_prompt_that_vllm_finds_too_long_is_known_as_such(ranker_server: ServedModel) -> None:
    client = client_of(ranker_server)
    with pytest.raises(PromptTooLong):
        await client.post("/score", {"queries": ranker_server.prompts.rank_user(DENSE_USER) * 5, "documents": ["x"]})
    await client.close()


async def test_a_dense_summary_is_trimmed_until_it_fits(ranker: Engine) -> None:
    assert len(await ranker.score(DENSE_USER, [ITEM, ITEM])) == 2


async def test_the_prefix_of_a_user_is_computed_once(ranker_server: ServedModel, ranker: Engine) -> None:
    recents = tuple(InteractionView("like", ItemView(f"Tower {n} of the long river", ("history",))) for n in range(6))
    user = UserView(f"A new user of {time.time_ns()} who enjoys towers, rivers, harbours and lamps at night.", recents)
    hits, asked = "prefix_cache_hits_total", "prefix_cache_queries_total"
    before = await metric(ranker_server.url, hits), await metric(ranker_server.url, asked)
    await ranker.score(user, [ItemView(f"Lamp {n}", ("comedy",)) for n in range(40)])
    shared = await metric(ranker_server.url, hits) - before[0]
    assert shared / (await metric(ranker_server.url, asked) - before[1]) > 0.4


def picture(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(out, "PNG")
    return out.getvalue()


async def test_pictures_of_any_shape_are_scored(ranker_server: ServedModel) -> None:
    engine = ranker_server.engine(picture=PictureSize(224, 224, "contain"))
    shapes = [(970, 4), (4, 970), (1, 1), (6, 4), (300, 200)]
    scores = await engine.score(UserView(), [ItemView("Lamp", image=picture(*shape)) for shape in shapes])
    await engine.close()
    assert None not in scores


async def test_a_picture_that_vllm_refuses_costs_one_candidate_its_picture(
    ranker_server: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model_store.pictures.fit_picture", lambda encoded, _: encoded)
    engine = ranker_server.engine()
    good, bad = ItemView("Lamp", image=picture(64, 64)), ItemView("Tower", image=picture(224, 1))
    scores = await engine.score(UserView(), [good, bad, ITEM])
    expected = [await engine.score(UserView(), [item]) for item in (good, bad.without_picture(), ITEM)]
    await engine.close()
    assert scores == [pytest.approx(score, abs=1e-5) for (score,) in expected]


async def test_a_url_is_never_fetched(summarizer_server: ServedModel) -> None:
    content = [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/x.png"}}, {"type": "text", "text": "x"}]
    body = {"model": summarizer_server.manifest.id, "messages": [{"role": "user", "content": content}]}
    async with httpx.AsyncClient(base_url=summarizer_server.url, trust_env=False, timeout=300) as client:
        answer = await client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 400
    assert "domain" in answer.text


async def test_hanging_up_frees_the_model(summarizer_server: ServedModel) -> None:
    url = summarizer_server.url
    body = {
        "model": summarizer_server.manifest.id,
        "messages": [{"role": "user", "content": "tell"}],
        "max_tokens": 1900,
        "ignore_eos": True,
    }
    client = client_of(summarizer_server)
    asking = [asyncio.create_task(client.post("/v1/chat/completions", body)) for _ in range(8)]
    await until(url, lambda running: running > 0)
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    finished = await metric(url, "generation_tokens_total")
    await until(url, lambda running: running == 0)
    assert await metric(url, "generation_tokens_total") - finished < 8 * 1900 / 2
    await client.close()


async def until(url: str, condition: Callable[[float], bool]) -> None:
    deadline = time.monotonic() + 300
    while not condition(await metric(url, "num_requests_running")):
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.02)


async def test_an_answer_without_end_is_too_long(summarizer_server: ServedModel) -> None:
    engine = summarizer_server.engine(serving=Serving(max_summary_tokens=1))
    with pytest.raises(BadAnswer) as caught:
        await engine.summarize("", BLOCK)
    assert caught.value.reason in {"too_long", "empty"}
    await engine.close()


async def test_a_model_that_is_not_served_is_refused(summarizer_server: ServedModel) -> None:
    engine = Engine(summarizer_server.url, "unknown", summarizer_server.prompts)
    with pytest.raises(EngineRejected, match="unknown"):
        await engine.summarize("", BLOCK)
    with pytest.raises(EngineError):
        await engine.check()
    await engine.close()


async def test_unknown_labels_are_read_from_the_tokenizer(summarizer_server: ServedModel) -> None:
    known = summarizer_server.engine(mode="chat")
    asked = summarizer_server.engine(mode="chat", labels=None)
    assert await asked.score(UserView(), [ITEM]) == await known.score(UserView(), [ITEM])
    await known.close()
    await asked.close()


async def test_tokens_cached_ones_and_label_mass_are_reported(
    summarizer_server: ServedModel, ranker_server: ServedModel
) -> None:
    chat, pooling = summarizer_server.engine(mode="chat"), ranker_server.engine()
    generated, scored = Recorder(), Recorder()
    chat.observe(generated)
    pooling.observe(scored)
    user = UserView(f"A user of {time.time_ns()} who enjoys towers, rivers, harbours and lamps at night.")
    items = [ItemView(f"Lamp {n}", ("comedy",)) for n in range(4)]
    for item in items:
        await chat.score(user, [item])
    await pooling.score(user, items)
    await chat.close()
    await pooling.close()
    assert [usage.completion for usage in generated.usages] == [1] * 4
    assert all(usage.cached < usage.prompt for usage in generated.usages)
    assert all(usage.cached > 0 for usage in generated.usages[1:]), "the user is the same"
    assert all(0 < mass < 1 for mass in generated.masses), "of all tokens, not of the two allowed ones"
    assert len(generated.masses) == 4
    *_, usage = scored.usages  # of a version with a probe, the probe's comes first
    assert usage.prompt > 4 * len(user.summary) / 4
    assert usage.completion == usage.cached == 0


async def test_retries_whose_prompts_do_not_fit_into_one_step_leave_the_server_alive(summarizer: Engine) -> None:
    block = BLOCK * 4
    asked = (summarizer.summarize(f"{n} likes {'calm harbours, ' * 20}", block, attempt=1) for n in range(64))
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(answer, str | BadAnswer) for answer in answers)
    await summarizer.check()


async def test_a_schema_is_honoured_even_by_a_model_that_knows_no_json(summarizer_server: ServedModel) -> None:
    client, prompts = client_of(summarizer_server), summarizer_server.prompts

    async def ask(number: int) -> Any:
        text = prompts.summarize("", (InteractionView("like", ItemView(f"Lamp {number}", ("drama",))),))
        request = copy.deepcopy(text_request(text, 200, attempt=1, in_json=True))
        # This model would never end its string.
        request["response_format"]["json_schema"]["schema"]["properties"]["text"]["maxLength"] = 40
        return await client.post("/v1/chat/completions", request)

    answers = await asyncio.gather(*map(ask, range(24)))
    await client.close()
    for answer in answers:
        text = json.loads(answer["choices"][0]["message"]["content"])["text"]
        with suppress(BadAnswer):
            assert read_text(answer, 1000, in_json=True) == clean(text, 1000)


async def test_an_answer_in_json_that_is_cut_off_is_too_long(summarizer_server: ServedModel) -> None:
    engine = summarizer_server.engine(
        serving=Serving(json_answers=True, max_summary_tokens=1, max_description_tokens=1)
    )
    with pytest.raises(BadAnswer) as caught:
        await engine.summarize("", BLOCK * 3)
    assert caught.value.reason == "too_long"
    await engine.close()
