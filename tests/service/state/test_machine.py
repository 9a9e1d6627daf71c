"""Random histories of the store against a simple model: I2, I3, I4, I5, I7."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

from service.settings import Settings
from service.settings.state import StateSettings
from service.state.event_log import FIRST, Logged
from service.state.rebuild import Rebuilt
from service.state.records import SummaryClaim
from service.state.redis.scripts import SPARE_RECENTS
from service.state.store import Store
from tests.redis_servers import RedisCluster, RedisServer, admin_of, all_keys
from tests.service.state.conftest import Clock, event
from tests.stores import dead_letters

T = TypeVar("T")
USERS = ("a", "b", "c")
BLOCK, MAX_WAIT_MS, LEASE_MS, MAX_PENDING, RECENTS = 3, 5000, 60_000, 8, 4


@dataclass
class User:
    """The expected state of one user."""

    pending: list[tuple[int, str]] = field(default_factory=list)
    """Time of acceptance and event id."""
    folded: list[str] = field(default_factory=list)
    dead: list[list[str]] = field(default_factory=list)
    again: set[str] = field(default_factory=set)
    """Events that were folded before the summary was last voided."""
    version: int = 0
    voided: bool = False
    known: set[str] = field(default_factory=set)
    recents: list[str] = field(default_factory=list)
    versions: list[list[str]] = field(default_factory=list)
    """The event ids folded by each."""
    logged: list[str] = field(default_factory=list)
    attempts: int = 0
    token: int = 0
    held_till: int = 0
    deleted_at: int = -1
    left: set[str] = field(default_factory=set)
    """Events that were folded or dead-lettered, so have left the pending ones at least once."""
    scored: bool = False

    def kinds(self) -> set[str]:
        """The kinds of keys that the user must have, and no others."""
        reasons = {
            "p": self.pending,
            "summarize_lease": self.attempts or self.held_till,
            "u": self.version,
            "d": self.known,
            "y": self.dead,
            "x": self.deleted_at >= 0,
            "r": self.left,
            "i": len(self.left) > RECENTS + SPARE_RECENTS,
            "s": self.scored,
        }
        return {kind for kind, reason in reasons.items() if reason}

    def due_at(self) -> int | None:
        if not self.pending:
            return None
        if self.held_till:
            return self.held_till
        return 0 if len(self.pending) >= BLOCK else self.pending[0][0] + MAX_WAIT_MS


class StoreMachine(RuleBasedStateMachine):
    server: RedisServer | RedisCluster
    claims: Bundle[SummaryClaim] = Bundle("claims")

    def __init__(self) -> None:
        super().__init__()
        self.server.flush()
        self.loop = asyncio.new_event_loop()
        self.clock = Clock()
        self.users = {user: User() for user in USERS}
        self.serial = 0
        self.last_token = 0
        state = StateSettings(
            block_size=BLOCK,
            max_wait_s=MAX_WAIT_MS / 1000,
            lease_s=LEASE_MS / 1000,
            max_pending=MAX_PENDING,
            claim_blocks=2,
            catch_up_block=3,
            recents=RECENTS,
            clock_skew_s=0,
            buckets=2,
            redis_timeout_s=20,
        )
        self.store = Store(Settings(redis_url=self.server.url, state=state), self.clock)
        self.admin = admin_of(self.server.url, decode_responses=True)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    async def log(self, user: str | None = None) -> list[Logged]:
        buckets = self.store.log.buckets if user is None else [self.store.log.bucket(user)]
        return [one for bucket in buckets async for one in self.store.log.read(bucket)]

    def teardown(self) -> None:
        self.admin.close()
        self.do(self.store.close())
        self.loop.close()

    @rule(user=st.sampled_from(USERS), count=st.integers(1, 5), again=st.booleans(), late_ms=st.integers(0, 3000))
    def accept(self, user: str, count: int, again: bool, late_ms: int) -> None:
        """New events, perhaps with one sent before, perhaps delayed."""
        model, received = self.users[user], self.clock() - late_ms
        names = [str(self.serial + number) for number in range(count)]
        self.serial += count
        if again and model.known:
            names.insert(0, min(model.known))
        results = self.do(self.store.events.accept([event(user, name) for name in names], received))
        for name, result in zip(names, results, strict=True):
            if received <= model.deleted_at:
                assert result == "deleted"
            elif name in model.known:
                assert result == "duplicate"
            elif len(model.pending) >= MAX_PENDING:
                assert result == "backlog_full"
            else:
                assert result == "accepted"
                model.known.add(name)
                model.logged.append(name)
                model.pending.append((self.clock(), name))
                model.recents = [*model.recents, name][-RECENTS:]

    @rule(target=claims, limit=st.integers(1, 3))
    def claim(self, limit: int) -> Any:
        now = self.clock()
        due = {name for name, model in self.users.items() if (at := model.due_at()) is not None and at <= now}
        claims = self.do(self.store.summaries.claim(limit))
        assert len(claims) == min(limit, len(due))
        for claim in claims:
            model = self.users[claim.key]
            assert claim.key in due
            assert claim.token > self.last_token
            self.last_token = model.token = claim.token
            model.held_till = now + LEASE_MS
            due.discard(claim.key)
            assert [e.event_id for e in claim.pending] == [f"{claim.key}-{name}" for _, name in model.pending[:6]]
            assert {name for _, name in model.pending[:6]} & model.again == {
                e.event_id.partition("-")[2] for e in claim.pending if e.refolded
            }
            assert claim.attempts == model.attempts
            assert (claim.summary.version if claim.summary else 0) == model.version
        return claims[0] if len(claims) == 1 else tuple(claims)

    def held(self, claim: SummaryClaim) -> User | None:
        model = self.users[claim.key]
        return model if model.token == claim.token and model.held_till > self.clock() else None

    @rule(found=consumes(claims), folded=st.integers(1, 6))
    def commit(self, found: Any, folded: int) -> None:
        for claim in [found] if isinstance(found, SummaryClaim) else found:
            count = min(folded, len(claim.pending))
            model = self.held(claim)
            text = (claim.base.text if claim.base else "") + "".join(f"{e.event_id};" for e in claim.pending[:count])
            assert self.do(self.store.summaries.commit(claim, text, "m", "p", count)) == (model is not None)
            if model:
                if model.voided:
                    model.voided, model.folded, model.versions = False, [], []
                model.version += 1
                model.versions.append([name for _, name in model.pending[:count]])
                model.folded += model.versions[-1]
                model.left |= set(model.versions[-1])
                del model.pending[:count]
                model.attempts, model.token, model.held_till = 0, 0, 0
                assert self.do(self.store.summaries.commit(claim, text, "m", "p", count)), "the same commit again"

    @rule(found=claims)
    def extend(self, found: Any) -> None:
        claims = [found] if isinstance(found, SummaryClaim) else list(found)
        results = self.do(self.store.summaries.extend(claims))
        for claim, result in zip(claims, results, strict=True):
            model = self.held(claim)
            assert result == (model is not None)
            if model:
                model.held_till = self.clock() + LEASE_MS

    @rule(found=claims, delay_s=st.sampled_from([0, 1, 30]), failed=st.booleans())
    def give_back(self, found: Any, delay_s: int, failed: bool) -> None:
        for claim in [found] if isinstance(found, SummaryClaim) else found:
            model = self.held(claim)
            give_back = self.store.summaries.fail if failed else self.store.summaries.release
            assert self.do(give_back(claim, delay_s)) == (model is not None)
            if model:
                model.attempts += failed
                model.token, model.held_till = 0, self.clock() + delay_s * 1000 if delay_s else 0

    @rule(found=claims, count=st.integers(1, 6))
    def dead_letter(self, found: Any, count: int) -> None:
        for claim in [found] if isinstance(found, SummaryClaim) else found:
            failed = min(count, len(claim.pending))
            model = self.held(claim)
            assert self.do(self.store.summaries.dead_letter(claim, "bad", failed)) == (
                "dead_lettered" if model else "lost"
            )
            if model:
                model.dead.append([name for _, name in model.pending[:failed]])
                model.left |= set(model.dead[-1])
                del model.pending[:failed]
                model.attempts, model.token, model.held_till = 0, 0, 0

    @rule(drop=st.booleans())
    def retry_or_drop(self, drop: bool) -> None:
        for letter in self.do(dead_letters(self.store))[:1]:
            model = self.users[letter.key]
            events = model.dead[0]
            assert [e.event_id for e in letter.events] == [f"{letter.key}-{name}" for name in events]
            if drop:
                assert self.do(self.store.dead_letters.drop(letter.id))
                model.dead.pop(0)
            elif len(model.pending) + len(events) > MAX_PENDING:
                assert self.do(self.store.dead_letters.retry(letter.id)) == "backlog_full"
            else:
                assert self.do(self.store.dead_letters.retry(letter.id)) == "retried"
                model.pending += [(self.clock(), name) for name in model.dead.pop(0)]

    @rule(user=st.sampled_from(USERS), partial=st.booleans(), read=st.booleans())
    def rebuild(self, user: str, partial: bool, read: bool) -> None:
        """The caller has read the whole log, or none of it."""
        model = self.users[user]
        entries = self.do(self.log(user)) if read else []
        last = entries[-1].id if entries else FIRST
        ids = [one.id for one in entries if one.event.user_id == user]
        (result,) = self.do(self.store.rebuilds.rebuild({user: ids}, last, partial=partial))
        waiting = {name for _, name in model.pending} | {name for letter in model.dead for name in letter}
        again = [name for name in model.logged if name not in waiting]
        over = max(0, len(model.logged) - MAX_PENDING)
        if not model.logged or not (model.version or waiting):
            assert result == Rebuilt("nothing")
        elif (over and not partial) or over > len(again):
            assert result == Rebuilt("too_many")
        elif len(model.folded) > len(again) and not partial and not model.voided:
            assert result == Rebuilt("incomplete")
        else:
            left_out = set(again[:over])
            names = [name for name in model.logged if name not in left_out]
            assert result == Rebuilt("rebuilt", len(names), len(model.dead))
            model.again |= set(again)
            model.pending = [(self.clock(), name) for name in names]
            model.voided = model.voided or bool(model.version)
            model.dead, model.attempts, model.token, model.held_till = [], 0, 0, 0

    @rule(user=st.sampled_from(USERS))
    def delete(self, user: str) -> None:
        model = self.users[user]
        existed = bool(model.known or model.scored)
        assert bool(self.do(self.store.users.delete(user))) == existed
        self.users[user] = User(deleted_at=self.clock())

    @rule(user=st.sampled_from(USERS), late_ms=st.integers(0, 3000))
    def score(self, user: str, late_ms: int) -> None:
        """Scores computed from an earlier read of the user."""
        model, read_at = self.users[user], self.clock() - late_ms
        written = self.do(self.store.scores.write(user, "key", {"item": (1, 0.5)}, read_at))
        there = bool(model.pending or model.recents or model.version)
        assert written == (there and read_at > model.deleted_at)
        model.scored = model.scored or written

    @rule()
    def scripts_are_forgotten(self) -> None:
        """As after a restart or a failover."""
        self.admin.script_flush()

    @rule(seconds=st.sampled_from([0.001, 1, 5, 29, 60, 61]))
    def time_passes(self, seconds: float) -> None:
        self.clock.pass_s(seconds)

    @invariant()
    def store_is_as_the_model_says(self) -> None:
        letters: dict[str, list[list[str]]] = {}
        for letter in self.do(dead_letters(self.store)):
            letters.setdefault(letter.key, []).append([e.event_id.partition("-")[2] for e in letter.events])
        for name, model in self.users.items():
            read = self.do(self.store.users.read(name))
            assert read.pending == len(model.pending)
            assert [e.item_id for e in read.recents] == [f"item-{number}" for number in model.recents]
            assert (read.summary.version if read.summary else 0) == model.version
            if read.summary:
                history = [[one.partition("-")[2] for one in version.event_ids] for version in read.summary.history]
                assert history == model.versions[:-4:-1]
                assert read.summary.events == len(model.folded)
                assert read.summary.voided == model.voided
            text = read.summary.text if read.summary else ""
            named = [part.partition("-")[2] for part in text.split(";") if part]
            assert [number for number in named if number in model.folded] == model.folded
            assert len(named) == len(set(named)), "folded twice"
            assert letters.get(name, []) == model.dead
        logged: dict[str, list[str]] = {name: [] for name in USERS}
        for one in self.do(self.log()):
            logged[one.event.user_id].append(one.event.event_id.partition("-")[2])
        assert logged == {name: model.logged for name, model in self.users.items()}
        assert self.do(self.store.users.backlog()) == sum(len(model.pending) for model in self.users.values())
        due = sum(1 for model in self.users.values() if (at := model.due_at()) is not None and at <= self.clock())
        assert self.do(self.store.summaries.due())[0] == due

    @invariant()
    def no_key_is_without_owner_and_no_count_drifts(self) -> None:
        buckets = {name: f"{{b{self.store.log.bucket(name)}}}" for name in USERS}
        owned = {f"ts:{buckets[name]}:{kind}:{name}" for name, model in self.users.items() for kind in model.kinds()}
        keys = set(all_keys(self.admin))
        queues = {key for key in keys if key.count(":") == 2}
        assert keys - queues == owned
        for key in queues:
            _, bucket, kind = key.split(":")
            models = [model for name, model in self.users.items() if buckets[name] == bucket]
            if kind == "backlog":
                assert int(self.admin.get(key)) == sum(len(model.pending) for model in models)
            elif kind == "summarize_due":
                assert self.admin.zcard(key) == sum(bool(model.pending) for model in models)
            elif kind == "dead":
                assert self.admin.xlen(key) == sum(len(model.dead) for model in models)
            else:
                assert kind in {"log", "fence"}


@pytest.mark.parametrize(("fixture", "examples"), [("redis_server", 60), ("redis_cluster", 12)], ids=["one", "cluster"])
def test_random_histories(request: pytest.FixtureRequest, fixture: str, examples: int) -> None:
    class Machine(StoreMachine):
        server = request.getfixturevalue(fixture)

    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
