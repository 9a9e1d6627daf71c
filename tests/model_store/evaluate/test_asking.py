import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import stamina

from model_store.data.dataset import Dataset
from model_store.evaluate.answers import AnswerCache
from model_store.evaluate.asking import ATTEMPTS, AskingFailed, Ranker, Summarizer
from model_store.evaluate.condition import Condition, Folding
from model_store.evaluate.server import ModelServer
from model_store.evaluate.views import DatasetViews
from model_store.progress import quiet
from model_store.views import UserView
from tests.model_store.engine.fake_vllm import FakeVllm, Reply, Request, refusal, text_answer
from tests.model_store.evaluate.asked import asked, make_store, prompt, subject
from tests.model_store.evaluate.worlds import catalogue, like

EVENTS = tuple(like(f"i{n}") for n in range(10))
VIEWS = DatasetViews(Dataset(catalogue(40), {}))


@contextlib.asynccontextmanager
async def models(
    fake: FakeVllm, folder: Path, cache: AnswerCache | None = None
) -> AsyncIterator[tuple[Summarizer, Ranker]]:
    found, cache = subject(make_store(folder / "store"), fake), cache or AnswerCache(None)
    log = folder / "log"
    async with (
        ModelServer(found.summarizer, found.registry, fake.url, log, quiet) as writer,
        ModelServer(found.ranker, found.registry, fake.url, log, quiet) as scorer,
    ):
        yield Summarizer(writer, cache, quiet), Ranker(scorer, cache, quiet)


class TestFolding:
    @pytest.mark.parametrize(("block", "calls"), [(1, 10), (3, 3), (4, 2), (10, 1), (None, 1)])
    async def test_every_event_is_folded_once_in_blocks_of_the_size(
        self, fake: FakeVllm, tmp_path: Path, block: int | None, calls: int
    ) -> None:
        async with models(fake, tmp_path) as (summarizer, _):
            texts = await summarizer.fold([VIEWS.events(EVENTS)], Folding(block))
        assert texts == ["seen 10"]
        assert len(asked(fake, "/v1/chat/completions")) == calls

    async def test_each_step_sees_the_summary_before_it(self, fake: FakeVllm, tmp_path: Path) -> None:
        async with models(fake, tmp_path) as (summarizer, _):
            await summarizer.fold([VIEWS.events(EVENTS[:6])], Folding(3))
        first, second = map(prompt, asked(fake, "/v1/chat/completions"))
        assert "seen" not in first
        assert "seen 3" in second

    async def test_events_without_an_item_are_not_shown(self, fake: FakeVllm, tmp_path: Path) -> None:
        async with models(fake, tmp_path) as (summarizer, _):
            texts = await summarizer.fold([VIEWS.events([like("gone"), like("i1"), like("gone")])], Folding(3))
            assert texts == ["seen 1"]
            assert await summarizer.fold([VIEWS.events([like("gone")] * 3)], Folding(3)) == [""]

    async def test_a_block_without_an_answer_leaves_the_summary(self, fake: FakeVllm, tmp_path: Path) -> None:
        async with models(fake, tmp_path) as (summarizer, _):
            note = fake.replies["/v1/chat/completions"]

            def sometimes(request: Request) -> Reply:
                return (200, text_answer("")) if "Item 4" in prompt(request.body) else note(request)  # type: ignore[return-value]

            fake.replies["/v1/chat/completions"] = sometimes
            assert await summarizer.fold([VIEWS.events(EVENTS[:9])], Folding(3)) == ["seen 6"]
            assert summarizer.unanswered == 1
        assert len(asked(fake, "/v1/chat/completions")) == 2 + ATTEMPTS

    async def test_nothing_is_asked_twice(self, fake: FakeVllm, tmp_path: Path) -> None:
        with AnswerCache(tmp_path / "answers") as cache:
            async with models(fake, tmp_path, cache) as (summarizer, _):
                await summarizer.fold([VIEWS.events(EVENTS)], Folding(3))
        before = len(fake.requests)
        with AnswerCache(tmp_path / "answers") as cache:
            found = subject(make_store(tmp_path / "again"), fake)
            async with ModelServer(found.summarizer, found.registry, fake.url, tmp_path / "log", quiet) as server:
                again = Summarizer(server, cache, quiet)
                assert await again.fold([VIEWS.events(EVENTS)], Folding(3)) == ["seen 10"]
        assert len(fake.requests) == before


class TestScoring:
    USER = UserView("seen 9", VIEWS.events(EVENTS))
    CANDIDATES = ("i20", "i21", "i22")

    async def scores(self, ranker: Ranker, condition: Condition) -> list[list[float | None]]:
        return await ranker.score([self.USER], [self.CANDIDATES], VIEWS, condition, "")

    async def test_scores_are_those_of_the_server_in_the_order_of_the_candidates(
        self, fake: FakeVllm, tmp_path: Path
    ) -> None:
        async with models(fake, tmp_path) as (_, ranker):
            assert await self.scores(ranker, Condition()) == [[0.1, 0.9, 0.1]]
            assert await self.scores(ranker, Condition()) == [[0.1, 0.9, 0.1]]
        assert len(asked(fake, "/score")) == 1

    async def test_only_candidates_that_are_not_cached_are_asked(self, fake: FakeVllm, tmp_path: Path) -> None:
        async with models(fake, tmp_path) as (_, ranker):
            await self.scores(ranker, Condition())
            await ranker.score([self.USER], [["i21", "i30"]], VIEWS, Condition(), "")
        assert [len(body["documents"]) for body in asked(fake, "/score")] == [3, 1]

    @pytest.mark.parametrize(
        ("condition", "shown"),
        [
            (Condition(), [4, 5, 6, 7, 8, 9]),
            (Condition(recents="none"), []),
            (Condition(recents="all"), list(range(10))),
        ],
    )
    async def test_the_condition_decides_which_recents_are_shown(
        self, fake: FakeVllm, tmp_path: Path, condition: Condition, shown: list[int]
    ) -> None:
        async with models(fake, tmp_path) as (_, ranker):
            await self.scores(ranker, condition)
        (body,) = asked(fake, "/score")
        assert [n for n in range(10) if f"Item {n}" in body["queries"]] == shown

    async def test_a_rejected_candidate_has_no_score_and_is_counted(self, fake: FakeVllm, tmp_path: Path) -> None:
        async with models(fake, tmp_path) as (_, ranker):
            score = fake.replies["/score"]

            def picky(request: Request) -> Reply:
                if any("Item 21" in text for text in request.body["documents"]):
                    return 400, refusal("bad item")
                return score(request)  # type: ignore[return-value]

            fake.replies["/score"] = picky
            assert await self.scores(ranker, Condition()) == [[0.1, None, 0.1]]
            assert ranker.unscored == 1

    @pytest.mark.parametrize("status", [401, 404])
    async def test_a_server_that_rejects_whoever_asks_is_no_answer_to_cache(
        self, fake: FakeVllm, tmp_path: Path, status: int
    ) -> None:
        async with models(fake, tmp_path) as (_, ranker):
            score = fake.replies["/score"]
            fake.replies["/score"] = lambda _: (status, refusal("no"))
            with pytest.raises(AskingFailed, match="can't be asked"):
                await self.scores(ranker, Condition())
            fake.replies["/score"] = score
            assert await self.scores(ranker, Condition()) == [[0.1, 0.9, 0.1]]

    async def test_a_server_that_is_gone_is_named_and_what_it_answered_is_kept(
        self, fake: FakeVllm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("model_store.evaluate.asking._SERVER_BACK_S", 0.01)
        async with models(fake, tmp_path) as (_, ranker):
            await self.scores(ranker, Condition())
            fake.replies["/score"] = lambda _: (500, refusal("broken"))
            with stamina.set_testing(True, attempts=1), pytest.raises(AskingFailed, match="run the command again"):
                await ranker.score([self.USER], [["i30"]], VIEWS, Condition(), "")
            assert await self.scores(ranker, Condition()) == [[0.1, 0.9, 0.1]]
