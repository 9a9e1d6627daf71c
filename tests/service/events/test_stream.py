"""Guarantees of NDJSON streams to `POST /events`."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import orjson
import pytest

from service.errors import StateUnavailable
from service.events import stream
from service.http import connection
from service.http.times import now_ms
from service.settings.limits import LimitSettings
from service.settings.state import StateSettings
from service.state.events import Events
from service.state.records import Accepted, Event
from tests.service.conftest import Gateway, OpenGateway
from tests.service.serving import serving, until

NDJSON = {"content-type": "application/x-ndjson"}
ONE = {"user_id": "u", "item_id": "i1", "timestamp": 1_700_000_000}
TWO = {**ONE, "item_id": "i2"}


def line(number: int, **changes: Any) -> bytes:
    event = {"user_id": f"u{number % 50}", "item_id": f"i{number}", "timestamp": 1_700_000_000 + number}
    return orjson.dumps({**event, **changes}) + b"\n"


async def send(
    gateway: Gateway, content: bytes | AsyncIterator[bytes], path: str = "/events", **headers: str
) -> httpx.Response:
    return await gateway.client.post(path, content=content, headers=NDJSON | headers)


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def recents(gateway: Gateway, user: str = "u") -> list[str]:
    answer = (await gateway.ask("GET", f"/users/{user}")).json()
    return [event["item_id"] for event in answer["recents"]]


class TestLines:
    async def test_lines_are_accepted_and_a_bad_line_is_rejected_alone(self, gateway: Gateway) -> None:
        content = orjson.dumps(ONE) + b"\r\n\n{nonsense\n \t\r\n" + orjson.dumps(TWO)
        answer = await send(gateway, content)
        assert answer.status_code == 202
        body = answer.json()
        assert (body["accepted"], body["duplicates"], body["rejected_total"]) == (2, 0, 1)
        assert [(one["index"], one["code"]) for one in body["rejected"]] == [(1, "malformed_body")]
        assert await recents(gateway) == ["i1", "i2"]

    async def test_lines_may_be_cut_anywhere_on_their_way(self, gateway: Gateway) -> None:
        content = b"".join(line(number, item_id=f"ü{number}") for number in range(5))
        bits = pieces(*(content[start : start + 7] for start in range(0, len(content), 7)))
        assert (await send(gateway, bits)).json()["accepted"] == 5

    async def test_more_lines_than_a_batch_holds_are_accepted_in_groups(
        self, open_gateway: OpenGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        groups: list[int] = []
        accept = Events.accept

        async def counting(self: Events, events: Sequence[Event], received_at_ms: int, *more: Any) -> list[Accepted]:
            groups.append(len(events))
            return await accept(self, events, received_at_ms, *more)

        monkeypatch.setattr(Events, "accept", counting)
        async with open_gateway(limits=LimitSettings(batch_events=3)) as gateway:
            answer = await send(gateway, b"".join(line(number) for number in range(8)))
        assert answer.json() == {
            "accepted": 8,
            "duplicates": 0,
            "rejected": [],
            "rejected_total": 0,
            "retryable_total": 0,
        }
        assert groups == [3, 3, 2]

    async def test_a_byte_order_mark_is_left_out(self, gateway: Gateway) -> None:
        answer = await send(gateway, pieces(b"\xef", b"\xbb\xbf" + line(1) + line(2)))
        assert answer.json()["accepted"] == 2

    @pytest.mark.parametrize("content", [b"", b"\n\r\n \n", b"\xef\xbb\xbf"])
    async def test_a_stream_of_no_lines_is_accepted(self, gateway: Gateway, content: bytes) -> None:
        answer = await send(gateway, content)
        assert answer.status_code == 202
        assert answer.json() == {
            "accepted": 0,
            "duplicates": 0,
            "rejected": [],
            "rejected_total": 0,
            "retryable_total": 0,
        }

    async def test_a_line_that_ends_too_early_is_rejected_alone(self, gateway: Gateway) -> None:
        body = (await send(gateway, line(0) + line(1)[:-5])).json()
        assert body["accepted"] == 1
        assert [(one["index"], one["code"]) for one in body["rejected"]] == [(1, "malformed_body")]

    @pytest.mark.parametrize("size", [10, 50_000])
    async def test_a_line_too_long_is_rejected_alone(self, open_gateway: OpenGateway, size: int) -> None:
        content = line(0) + line(1, context={"a": "x" * 2000}) + line(2)
        async with open_gateway(limits=LimitSettings(line_bytes=200)) as gateway:
            bits = pieces(*(content[start : start + size] for start in range(0, len(content), size)))
            body = (await send(gateway, bits)).json()
        assert body["accepted"] == 2
        (rejection,) = body["rejected"]
        assert (rejection["index"], rejection["code"]) == (1, "line_too_long")

    async def test_nothing_acceptable_is_a_422_that_lists_why(self, gateway: Gateway) -> None:
        answer = await send(gateway, b'{"user_id":"u"}\n5\n')
        problem = answer.json()
        assert (answer.status_code, problem["code"], problem["field"]) == (422, "invalid_request", "item_id")
        assert (problem["accepted"], problem["rejected_total"]) == (0, 2)

    async def test_the_answer_lists_only_the_first_rejected_lines(self, open_gateway: OpenGateway) -> None:
        async with open_gateway(limits=LimitSettings(stream_rejections=3, batch_events=2)) as gateway:
            body = (await send(gateway, line(0) + b"5\n" * 10)).json()
        assert [one["index"] for one in body["rejected"]] == [1, 2, 3]
        assert body["rejected_total"] == 10

    async def test_results_are_refused_before_anything_is_read(self, gateway: Gateway) -> None:
        answer = await send(gateway, line(0), "/events?results=true")
        assert (answer.status_code, answer.json()["field"]) == (422, "results")
        assert await recents(gateway, "u0") == []


class TestOneUsersFullBacklog:
    """A bot on a shared stream stops no other user."""

    async def test_its_lines_are_rejected_and_all_others_accepted(self, open_gateway: OpenGateway) -> None:
        bot = [line(number, user_id="bot") for number in range(30)]
        others = [line(number) for number in range(30)]
        content = b"".join(one for pair in zip(bot, others, strict=True) for one in pair)
        async with open_gateway(state=StateSettings(max_pending=10), limits=LimitSettings(batch_events=7)) as gateway:
            answer = await send(gateway, content)
        body = answer.json()
        assert (answer.status_code, body["accepted"]) == (202, 40)
        assert {(one["code"], one["retryable"]) for one in body["rejected"]} == {("backlog_full", True)}
        assert [one["index"] for one in body["rejected"]] == list(range(20, 60, 2))
        assert (body["rejected_total"], body["retryable_total"]) == (20, 20)

    async def test_a_header_says_that_some_can_be_sent_again(self, open_gateway: OpenGateway) -> None:
        lines = b"".join(line(number, user_id="bot") for number in range(3))
        async with open_gateway(state=StateSettings(max_pending=2)) as gateway:
            answer = await send(gateway, lines + line(0))
            assert (answer.status_code, answer.json()["accepted"]) == (202, 3)
            assert int(answer.headers["retry-after"]) > 0
            for_good = await send(gateway, line(0) + b"5\n")
            assert (for_good.status_code, for_good.json()["retryable_total"]) == (202, 0)
            assert "retry-after" not in for_good.headers

    async def test_a_stream_of_which_nothing_was_taken_is_a_429(self, open_gateway: OpenGateway) -> None:
        async with open_gateway(state=StateSettings(max_pending=1)) as gateway:
            await send(gateway, line(0, user_id="bot"))
            answer = await send(gateway, b"5\n" + line(1, user_id="bot"))
            problem = answer.json()
        assert (answer.status_code, problem["code"]) == (429, "backlog_full")
        assert (problem["rejected_total"], problem["retryable_total"]) == (2, 1)
        assert int(answer.headers["retry-after"]) > 0

    async def test_sent_again_after_the_backlog_was_folded_all_is_accepted(self, open_gateway: OpenGateway) -> None:
        content = b"".join(line(number, user_id="bot") for number in range(4)) + line(5)
        async with open_gateway(state=StateSettings(max_pending=2)) as gateway:
            assert (await send(gateway, content)).json()["accepted"] == 3
            await gateway.ask("DELETE", "/users/bot")
            body = (await send(gateway, content)).json()
        assert (body["accepted"], body["duplicates"], body["retryable_total"]) == (2, 1, 2)


async def test_equal_lines_without_id_and_time_are_separate_events(open_gateway: OpenGateway) -> None:
    """As in an array, even if they are accepted in several groups."""
    play = orjson.dumps({"user_id": "u", "item_id": "i", "type": "play"}) + b"\n"
    async with open_gateway(limits=LimitSettings(batch_events=3)) as gateway:
        body = (await send(gateway, play * 8)).json()
    assert (body["accepted"], body["duplicates"]) == (8, 0)


class TestNonsense:
    """A stream whose lines are nearly all invalid is ended with an error that says where."""

    async def test_a_stream_of_wrong_lines_ends_after_the_first_thousand_or_so(self, gateway: Gateway) -> None:
        answer = await send(gateway, b"1\n" * 100_000)
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (422, "invalid_request")
        assert problem["rejected_total"] == problem["resume_at"] <= 3000
        assert len(problem["rejected"]) == 1000

    async def test_some_invalid_lines_among_valid_ones_do_not_end_the_stream(self, open_gateway: OpenGateway) -> None:
        async with open_gateway(limits=LimitSettings(stream_rejections=5, batch_events=10)) as gateway:
            body = (await send(gateway, (line(1) + b"x\n" * 9) * 20)).json()
        assert (body["accepted"], body["duplicates"], body["rejected_total"]) == (1, 19, 180)

    async def test_it_can_be_continued_from_there(self, open_gateway: OpenGateway) -> None:
        lines = [b"1\n"] * 10 + [line(0)]
        async with open_gateway(limits=LimitSettings(stream_rejections=5, batch_events=2)) as gateway:
            stopped = (await send(gateway, b"".join(lines))).json()["resume_at"]
            assert (await send(gateway, b"".join(lines[stopped:]))).json()["accepted"] == 1


class TestStops:
    """A stream that stops in the middle says what was accepted, and where to continue."""

    async def test_the_store_fails(self, open_gateway: OpenGateway, monkeypatch: pytest.MonkeyPatch) -> None:
        accept = Events.accept
        calls = 0

        async def failing(self: Events, events: Sequence[Event], received_at_ms: int, *more: Any) -> list[Accepted]:
            nonlocal calls
            calls += 1
            if calls == 3:
                raise StateUnavailable("down", retry_after_s=1)
            return await accept(self, events, received_at_ms, *more)

        monkeypatch.setattr(Events, "accept", failing)
        lines = [line(number) for number in range(8)]
        lines[1] = b"5\n"
        async with open_gateway(limits=LimitSettings(batch_events=2)) as gateway:
            answer = await send(gateway, b"".join(lines))
            problem = answer.json()
            assert (answer.status_code, problem["code"], problem["resume_at"]) == (503, "state_unavailable", 4)
            assert (problem["accepted"], problem["rejected_total"]) == (3, 1)
            assert int(answer.headers["retry-after"]) > 0
            again = await send(gateway, b"".join(lines[problem["resume_at"] :]))
            assert again.json()["accepted"] == 4

    async def test_a_users_backlog_is_full_and_the_caller_is_strict(self, open_gateway: OpenGateway) -> None:
        lines = [line(number, user_id="u") for number in range(5)]
        content = line(0) + b"5\n" + b"".join(lines) + b"5\n" + line(1)
        async with open_gateway(state=StateSettings(max_pending=3)) as gateway:
            answer = await send(gateway, content, prefer="handling=strict")
            problem = answer.json()
            assert (answer.status_code, problem["code"], problem["resume_at"]) == (429, "backlog_full", 5)
            # The last line was accepted although it comes later: sent again, it is a duplicate.
            assert (problem["accepted"], problem["rejected_total"]) == (5, 1)
            assert "retry-after" in answer.headers

    async def test_too_many_events_of_all_users_wait(self, open_gateway: OpenGateway) -> None:
        async with open_gateway(state=StateSettings(max_backlog=3, buckets=1)) as gateway:
            answer = await send(gateway, b"".join(line(number) for number in range(5)))
            problem = answer.json()
        assert (answer.status_code, problem["code"], problem["resume_at"]) == (429, "overloaded", 3)
        assert (problem["accepted"], problem["rejected"]) == (3, [])

    async def test_the_rest_of_the_body_is_discarded(self, open_gateway: OpenGateway) -> None:
        lines = [line(number, user_id="u") for number in range(20)]
        async with open_gateway(state=StateSettings(max_backlog=10, buckets=1)) as gateway:
            answer = await send(gateway, pieces(*lines, line(0), line(1)))
            assert (answer.status_code, answer.json()["resume_at"]) == (429, 10)
            assert await recents(gateway, "u0") == []

    async def test_a_client_that_reads_the_answer_at_the_end_gets_it(
        self, open_gateway: OpenGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection, "_LINGER_S", 60.0)
        lines = [line(number, user_id="u") for number in range(20_000)]
        async with (
            open_gateway(state=StateSettings(max_backlog=10, buckets=1)) as gateway,
            gateway.on_a_socket() as url,
            httpx.AsyncClient(base_url=url) as client,
        ):
            answer = await client.post("/events", content=pieces(*lines), headers=NDJSON)
            assert (answer.status_code, answer.json()["resume_at"]) == (429, 10)
            assert answer.headers["connection"] == "close"
            whole = await client.post("/events", content=line(0), headers=NDJSON)
            assert "connection" not in whole.headers

    async def test_a_client_that_never_ends_is_disconnected(
        self, open_gateway: OpenGateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection, "_LINGER_S", 0.1)
        async with (
            open_gateway(state=StateSettings(max_backlog=10, buckets=1)) as gateway,
            gateway.on_a_socket() as url,
        ):
            host, _, port = url.removeprefix("http://").partition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"POST /events HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000000\r\n")
            writer.write(b"Content-Type: application/x-ndjson\r\n\r\n")
            writer.write(b"".join(line(number, user_id="u") for number in range(20)))
            async with asyncio.timeout(60):
                assert b" 429 " in await reader.readline()
                assert b'"resume_at":10' in await reader.read()
            writer.close()

    async def test_nothing_more_comes(self, open_gateway: OpenGateway) -> None:
        async def stalled() -> AsyncIterator[bytes]:
            yield line(0) + b'{"user'
            await asyncio.Event().wait()

        async with open_gateway(limits=LimitSettings(stream_idle_s=0.5)) as gateway:
            answer = await send(gateway, stalled())
            problem = answer.json()
            assert (answer.status_code, problem["code"]) == (408, "body_timeout")
            assert (problem["accepted"], problem["resume_at"]) == (1, 1)

    async def test_the_caller_hangs_up(self, gateway: Gateway) -> None:
        async with serving(gateway.app, lifespan="off") as url:
            host, _, port = url.removeprefix("http://").partition(":")
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"POST /events HTTP/1.1\r\nHost: t\r\n")
            writer.write(b"Content-Type: application/x-ndjson\r\nContent-Length: 10000\r\n\r\n")
            writer.write(line(0, user_id="u") + line(1, user_id="u")[:-4])
            await until(lambda: gateway.count("tastestream_events_total", tenant="default", result="accepted") == 1)
            writer.close()
            await until(lambda: gateway.count("tastestream_errors_total", code="client_closed_request") == 1)
            assert await recents(gateway) == ["i0"]


class TestBounds:
    async def test_neither_size_nor_time_of_the_whole_is_limited(self, open_gateway: OpenGateway) -> None:
        async def slow() -> AsyncIterator[bytes]:
            for number in range(20):
                yield line(number)
                await asyncio.sleep(0.01)

        async with open_gateway(limits=LimitSettings(body_bytes=100, body_timeout_s=0.05)) as gateway:
            assert (await send(gateway, slow())).json()["accepted"] == 20

    async def test_lines_are_accepted_while_the_stream_is_open(self, gateway: Gateway) -> None:
        async def live() -> AsyncIterator[bytes]:
            yield line(0, user_id="u")
            await until(lambda: gateway.count("tastestream_events_total", tenant="default", result="accepted") == 1)
            assert await recents(gateway) == ["i0"]
            yield line(1, user_id="u")

        assert (await send(gateway, live())).json()["accepted"] == 2

    async def test_nothing_is_read_while_a_group_is_being_written(
        self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        writing = False
        accept = Events.accept

        async def held(self: Events, events: Sequence[Event], received_at_ms: int, *more: Any) -> list[Accepted]:
            nonlocal writing
            writing = True
            outcomes = await accept(self, events, received_at_ms, *more)
            writing = False
            return outcomes

        async def watching() -> AsyncIterator[bytes]:
            for number in range(20):
                assert not writing
                yield line(number)

        monkeypatch.setattr(Events, "accept", held)
        assert (await send(gateway, watching())).json()["accepted"] == 20

    async def test_what_was_sent_before_a_deletion_is_refused(
        self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(stream, "_MAX_BUFFERED_MS", 60_000)

        async def deleting() -> AsyncIterator[bytes]:
            yield line(0)
            await gateway.ask("DELETE", "/users/u")
            yield line(1, user_id="u")

        body = (await send(gateway, deleting())).json()
        assert [(one["index"], one["code"]) for one in body["rejected"]] == [(1, "user_deleted")]
        assert await recents(gateway) == []

    async def test_what_comes_after_a_deletion_and_a_pause_is_accepted(
        self, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(stream, "_MAX_BUFFERED_MS", 100)

        async def pausing() -> AsyncIterator[bytes]:
            yield line(0)
            await gateway.ask("DELETE", "/users/u")
            deleted = now_ms()
            await until(lambda: now_ms() > deleted + 400)
            yield line(1, user_id="u")

        assert (await send(gateway, pausing())).json()["accepted"] == 2
        assert await recents(gateway) == ["i1"]
