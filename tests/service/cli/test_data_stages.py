"""`tastestream data describe` and `data summarize` with a real model, killed in the middle and run again."""

import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from PIL import Image

from model_store.data.dataset import DESCRIPTIONS, Dataset, DatasetItem, item_line, read_dataset
from model_store.data.summaries import SUMMARIES, read_summaries
from model_store.engine.chat import JSON_TOKENS
from model_store.evaluate.answers import FILE, AnswerCache, version_key
from model_store.evaluate.server import GeneralModel, ModelServer
from model_store.progress import quiet
from model_store.prompts import PromptSet
from model_store.registry.registry import Registry
from model_store.views import ItemView
from service.cli.data_stages import general_manifest
from tests.model_store.engine.fake_vllm import running, text_answer
from tests.model_store.evaluate.worlds import like, write_world
from tests.service.cli.conftest import Run
from tests.vllm_servers import ServedModel

USERS, EVENTS, ITEMS = 60, 12, 24
_STEPS = USERS * EVENTS // 3
_IN_FLIGHT = 64


def dataset(folder: Path) -> Path:
    items = {f"i{n}": DatasetItem(f"i{n}", f"Lamp {n}") for n in range(ITEMS)}
    histories = {
        f"u{user}": tuple(like(f"i{(user * 5 + n * (1 + user % 7)) % ITEMS}", n) for n in range(EVENTS))
        for user in range(USERS)
    }
    write_world(Dataset(items, histories), folder)
    (folder / "images").mkdir()
    lines = []
    for n, item in enumerate(items.values()):
        Image.new("RGB", (48, 48), (10 * n, 255 - 10 * n, 90)).save(folder / f"images/{n}.png")
        fields = {"item_id": item.item_id, "title": item.title, "genres": ["drama"], "image": f"{n}.png"}
        lines.append(item_line(fields))
    (folder / "items.jsonl").write_text("".join(lines))
    return folder


def generated(url: str) -> int:
    """Chat requests that the server has finished or given up."""
    text = httpx.get(f"{url}/metrics", trust_env=False).text
    return int(sum(float(n) for n in re.findall(r"^vllm:request_success_total{.*} (\S+)$", text, re.MULTILINE)))


def answers(cache: Path) -> int:
    """How many are cached; opening the file must not fail while another process writes."""
    if not (cache / FILE).exists():
        return 0
    with AnswerCache(cache) as found:
        ((count,),) = found._table.execute("SELECT count(*) FROM answers").fetchall()
    return int(count)


@pytest.mark.vllm
@pytest.mark.timeout(1800)
def test_after_a_kill_the_same_command_asks_only_what_is_missing(
    tastestream: Run, summarizer_server: ServedModel, tmp_path: Path
) -> None:
    folder, cache = dataset(tmp_path / "data"), tmp_path / "answers"
    url, version = summarizer_server.url, summarizer_server.manifest.id
    options = ["--version", version, "--url", url, "--cache", str(cache)]
    ended = tastestream("data", "describe", str(folder), *options)
    assert ended.code in (0, 1), ended.err
    described = read_dataset(folder).items.values()
    assert sum(bool(item.summary) for item in described) >= ITEMS // 2
    before_s, before = answers(cache), generated(url)

    command = [sys.executable, "-m", "service.cli.main", "data", "summarize", str(folder), *options]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 600
    while answers(cache) < before_s + 40:
        assert killed.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    assert not (folder / SUMMARIES).exists(), "no half of a file"
    kept = answers(cache) - before_s

    ended = tastestream("data", "summarize", str(folder), *options)
    assert ended.code in (0, 1), ended.err
    assert len(read_summaries(folder / SUMMARIES)) == USERS
    asked = int(re.findall(r"([\d,]+) prompts asked", ended.out)[0].replace(",", ""))
    assert asked <= _STEPS - kept
    spent = generated(url) - before
    repeated = tastestream("data", "summarize", str(folder), *options)
    assert "0 prompts asked" in repeated.out
    assert generated(url) - before == spent
    assert (folder / DESCRIPTIONS).exists()


async def test_a_general_model_is_asked_by_its_name_in_json_within_the_limits(tmp_path: Path) -> None:
    limits = {"max_description_tokens": 33}
    general = GeneralModel("big/model", PromptSet.built_in())
    manifest = general_manifest("big/model", limits)
    async with running() as fake:
        fake.model = "big/model"
        fake.replies["/v1/chat/completions"] = lambda _: (200, text_answer('{"text": "A red lamp."}'))
        registry = Registry(tmp_path)
        async with ModelServer(
            manifest,
            registry,
            fake.url,
            tmp_path / "log",
            quiet,
            general=general,
            api_key="key",  # pragma: allowlist secret
        ) as server:
            engine = await server.engine()
            assert await engine.describe(ItemView("Lamp")) == "A red lamp."
        asked = fake.requests[-1]
    assert asked.body["model"] == "big/model"
    assert asked.body["max_tokens"] == 33 + JSON_TOKENS
    assert asked.body["response_format"]["type"] == "json_schema"
    assert asked.headers["authorization"] == "Bearer key"
    other = general_manifest("other/model", limits)
    assert version_key(manifest) != version_key(other), "their answers are not mixed up in the cache"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "name either a --version, or a --model"),
        (("--version", "a", "--model", "b"), "name either a --version, or a --model"),
        (("--model", "b"), "needs the --url"),
        (("--version", "demo-summarizer", "--output", "../x.jsonl"), "the name of a .jsonl file"),
        (("--version", "demo-summarizer", "--output", "items.jsonl"), "a .jsonl file of its own"),
        (("--version", "demo-summarizer", "--output", "descriptions.jsonl"), "a .jsonl file of its own"),
    ],
)
def test_options_that_contradict_each_other_are_refused(
    tastestream: Run, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    ended = tastestream("data", "summarize", str(tmp_path), *options)
    assert ended.code == 2
    assert message in " ".join(ended.err.replace("│", "").split())
