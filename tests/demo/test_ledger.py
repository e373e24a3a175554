"""The ledger counts as docs/contract.md says, whatever comes in whichever order."""

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from footfall.ledger import Latency, Ledger, StoredResult, percentiles

CLICKS, BUYS = "t.clicks", "t.buys"
BEGIN = {(CLICKS, 0): 5, (BUYS, 0): 0}


class Sent(Struct, frozen=True):
    topic: str
    offset: int
    user: str
    event_ms: int
    sent_ms: int
    free: bool = False


class Result(Struct, frozen=True):
    id: str
    body: bytes
    user: str
    version: int
    covers: tuple[tuple[str, int, int, int], ...]
    at_ms: int
    fallback: bool

    def reaches(self, record: Sent) -> bool:
        return self.user == record.user and any(
            topic == record.topic and first <= record.offset <= last for topic, _, first, last in self.covers
        )


class Dead(Struct, frozen=True):
    topic: str
    offset: int


Entry = Sent | Result | Dead


@dataclass
class SlowLedger:
    """The contract's sentences, word for word, over everything that happened. Quadratic."""

    log: list[Entry] = field(default_factory=list)

    def counts(self, stored: dict[str, StoredResult | None]) -> tuple[dict[str, object], dict[bool, Counter[int]]]:
        sent = [entry for entry in self.log if isinstance(entry, Sent)]
        results = [entry for entry in self.log if isinstance(entry, Result)]
        dead = {(entry.topic, entry.offset) for entry in self.log if isinstance(entry, Dead)
                if entry.offset >= BEGIN[entry.topic, 0]}
        lost = 0
        took: dict[bool, Counter[int]] = {False: Counter(), True: Counter()}  # by whether a fallback answered
        for record in sent:
            covering = [result for result in results if result.reaches(record)]
            if not record.free and not covering and (record.topic, record.offset) not in dead:
                lost += 1
            died = Dead(record.topic, record.offset)
            first_dead = self.log.index(died) if died in self.log else len(self.log)
            if covering and not record.free and self.log.index(covering[0]) < first_dead:
                took[covering[0].fallback][max(0, covering[0].at_ms - record.sent_ms)] += 1
        newest: dict[str, int] = {}
        for record in sent:
            if not record.free:
                newest[record.user] = max(newest.get(record.user, -1), record.event_ms)
        stale = sum(
            (at := stored.get(user)) is None or at.event_time_ms < event_ms for user, event_ms in newest.items()
        )
        bodies: dict[str, bytes] = {}
        duplicated = repeated = fell = 0
        versions: dict[str, int] = {}
        for result in results:
            if result.id not in bodies:
                bodies[result.id] = result.body
            elif bodies[result.id] == result.body:
                repeated += 1
            else:
                duplicated += 1
            fell += result.version < versions.get(result.user, -1)
            versions[result.user] = max(versions.get(result.user, -1), result.version)
        fell += sum(
            (at := stored.get(user)) is not None and at.history_version < version for user, version in versions.items()
        )
        return {
            "events_in": len(sent), "results_out": len(bodies), "lost": lost + stale, "duplicated": duplicated,
            "repeated": repeated, "older_over_newer": fell, "dead_letters": len(dead),
            "latency_ms": percentiles(took[False] + took[True]),
        }, took


@st.composite
def histories(draw: st.DrawFn) -> list[Entry]:
    """Records sent, results and dead letters in any interleaving, with everything that may go wrong."""
    sent = [
        Sent(topic, BEGIN[topic, 0] + n, draw(st.sampled_from("abc")), draw(st.integers(0, 50)),
             draw(st.integers(1, 99)), free=draw(st.sampled_from([False] * 5 + [True])))
        for topic in (CLICKS, BUYS) for n in range(draw(st.integers(0, 8)))
    ]
    results = []
    for n in range(draw(st.integers(0, 10))):
        topic = draw(st.sampled_from([CLICKS, BUYS]))
        first = draw(st.integers(0, 14))
        results.append(Result(
            draw(st.sampled_from(["r1", "r2", f"r{n + 3}"])), draw(st.sampled_from([b"x", b"y"])),
            draw(st.sampled_from("abc")), draw(st.integers(0, 6)),
            ((topic, 0, first, first + draw(st.integers(0, 3))),), draw(st.integers(50, 200)), draw(st.booleans()),
        ))
    dead = draw(st.lists(st.builds(Dead, st.sampled_from([CLICKS, BUYS]), st.integers(0, 14)), max_size=4))
    mixed: list[Entry] = draw(st.permutations([*results, *dead]))
    for record in sent:
        mixed.insert(draw(st.integers(0, len(mixed))), record)
    return mixed


def tell(ledger: Ledger, entry: Entry) -> None:
    if isinstance(entry, Sent):
        ledger.record_sent(
            entry.topic, 0, entry.offset, sent_ms=entry.sent_ms, user=entry.user, event_ms=entry.event_ms,
            result_free=entry.free,
        )
    elif isinstance(entry, Result):
        ledger.record_result(
            entry.id, entry.body, user=entry.user, history_version=entry.version, covers=entry.covers,
            fallback=entry.fallback, at_ms=entry.at_ms,
        )
    else:
        ledger.record_dead_letter(entry.topic, 0, entry.offset)


@settings(max_examples=400)
@given(
    histories(),
    st.dictionaries(st.sampled_from("abc"), st.builds(StoredResult, st.integers(0, 6), st.integers(0, 50))),
)
def test_counts_are_those_of_the_contract_in_any_interleaving(
    history: list[Entry], stored: dict[str, StoredResult | None]
) -> None:
    ledger = Ledger(BEGIN)
    for entry in history:
        tell(ledger, entry)
    for user in list(ledger.users):
        ledger.record_stored(user, stored.get(user))
    counts = ledger.counts()
    expected, took = SlowLedger(history).counts(stored)
    assert {name: getattr(counts, name) for name in expected} == expected
    assert ledger.waiting == counts.lost_offsets
    assert (ledger.by_model.latency_counts, ledger.by_fallback.latency_counts) == (took[False], took[True])


def test_a_result_counts_for_its_origin_where_it_is_the_first_to_answer_something() -> None:
    ledger = Ledger({})
    for offset in range(3):
        ledger.record_sent(CLICKS, 0, offset, sent_ms=10 * offset, user="u", event_ms=1)
    for number, (fallback, covers) in enumerate([
        (True, [(CLICKS, 0, 0, 1)]),
        (False, [(CLICKS, 0, 0, 1)]),  # the model, where it was owed
        (False, [(CLICKS, 0, 0, 2)]),
        (False, []),
    ]):
        ledger.record_result(
            f"r{number}", b"", user="u", history_version=number, covers=covers, fallback=fallback, at_ms=100
        )
    assert (ledger.by_model.results, ledger.by_fallback.results) == (1, 1)
    assert (ledger.by_model.events, ledger.by_fallback.events) == (1, 2)
    assert ledger.by_fallback.latency_counts == {100: 1, 90: 1}
    assert (ledger.results, ledger.answered) == (4, 3)


def test_offsets_from_before_the_run_are_not_counted() -> None:
    ledger = Ledger(BEGIN)
    ledger.record_sent(CLICKS, 0, 5, sent_ms=1, user="u", event_ms=1)
    ledger.record_result("r", b"", user="u", history_version=1, covers=[(CLICKS, 0, 0, 5)], fallback=False, at_ms=9)
    ledger.record_dead_letter(CLICKS, 0, 4)
    assert ledger.dead_letters == 0
    assert not ledger.is_answered(CLICKS, 0, 4)
    assert ledger.is_answered(CLICKS, 0, 5)


def test_acknowledged_is_what_the_group_committed_of_this_run() -> None:
    ledger = Ledger(BEGIN)
    for offset in range(5, 9):
        ledger.record_sent(CLICKS, 0, offset, sent_ms=1, user="u", event_ms=1)
    ledger.record_committed({(CLICKS, 0): -1})
    assert ledger.acked == 0
    ledger.record_committed({(CLICKS, 0): 7})
    assert ledger.acked == 2
    ledger.record_committed({(CLICKS, 0): 9})
    assert ledger.counts().events_acked == 4


def test_a_visitor_who_logged_in_is_answered_for_by_the_user() -> None:
    ledger = Ledger({})
    ledger.record_sent(CLICKS, 0, 0, sent_ms=1, user="v:1", event_ms=10)
    ledger.record_sent(CLICKS, 0, 1, sent_ms=1, user="u", event_ms=20, visitor="v:1")
    assert set(ledger.users) == {"v:1", "u"}
    ledger.record_stored("v:1", None)
    assert ledger.counts().stale_users == 0
    ledger.record_stored("u", StoredResult(2, 15))
    assert ledger.counts().stale_users == 1


@pytest.mark.parametrize("early", [False, True], ids=["sent first", "read first"])
def test_covers_that_reach_to_another_users_record_answer_nothing(early: bool) -> None:  # noqa: FBT001
    ledger = Ledger({})

    def read() -> None:
        ledger.record_result("r", b"", user="u", history_version=1, covers=[(CLICKS, 0, 0, 1)], fallback=False, at_ms=9)

    if early:
        read()
    for offset, user in enumerate("uw"):
        ledger.record_sent(CLICKS, 0, offset, sent_ms=1, user=user, event_ms=1)
    if not early:
        read()
    assert [ledger.is_answered(CLICKS, 0, offset) for offset in range(2)] == [True, False]
    assert (ledger.counts().lost_offsets, ledger.answered_in(CLICKS, 0)) == (1, 1)
    ledger.record_result("s", b"", user="w", history_version=1, covers=[(CLICKS, 0, 1, 1)], fallback=False, at_ms=9)
    assert (ledger.counts().lost_offsets, ledger.answered_in(CLICKS, 0)) == (0, 2)


def test_poison_is_answered_by_a_dead_letter_only() -> None:
    ledger = Ledger({})
    for offset, user in enumerate(("u", "", "u")):
        ledger.record_sent(CLICKS, 0, offset, sent_ms=1, user=user, event_ms=1)
    ledger.record_result("r", b"", user="u", history_version=1, covers=[(CLICKS, 0, 0, 2)], fallback=False, at_ms=9)
    assert ledger.counts().lost_offsets == 1
    ledger.record_dead_letter(CLICKS, 0, 1)
    assert ledger.counts().lost_offsets == 0


def run_of_results(*records: tuple[str, bytes, int]) -> Ledger:
    """Three events of one user, and result records (id, body, version) that each cover the first `version` of them."""
    ledger = Ledger({})
    for offset in range(3):
        ledger.record_sent(CLICKS, 0, offset, sent_ms=1, user="u", event_ms=offset)
    for name, body, version in records:
        ledger.record_result(
            name, body, user="u", history_version=version, covers=[(CLICKS, 0, version - 1, version - 1)],
            fallback=False, at_ms=9,
        )
    ledger.record_stored("u", StoredResult(3, 2))
    return ledger


ALL = (("a", b"1", 1), ("b", b"2", 2), ("c", b"3", 3))


@pytest.mark.parametrize(("records", "wrong"), [
    (ALL, {}),
    (ALL[1:], {"lost": 1}),
    ((*ALL[:1], *ALL[2:]), {"lost": 1}),
    (ALL[:2], {"lost": 1}),
    ((), {"lost": 3}),
    ((*ALL, ALL[2]), {"repeated": 1}),
    ((*ALL, ("c", b"other", 3)), {"duplicated": 1}),
    ((ALL[1], ALL[0], ALL[2]), {"older_over_newer": 1}),
    ((*ALL, ALL[0]), {"repeated": 1, "older_over_newer": 1}),
], ids=["all is well", "first dropped", "middle dropped", "last dropped", "all dropped", "repeated", "another body",
        "reordered", "an old one again"])
def test_a_result_record_that_is_dropped_doubled_or_out_of_order_is_reported(
    records: tuple[tuple[str, bytes, int], ...], wrong: dict[str, int]
) -> None:
    counts = run_of_results(*records).counts()
    found = {name: getattr(counts, name) for name in ("lost", "duplicated", "repeated", "older_over_newer")}
    assert {name: count for name, count in found.items() if count} == wrong


@pytest.mark.parametrize(("stored", "wrong"), [
    (None, {"lost": 1}), (StoredResult(3, 1), {"lost": 1}), (StoredResult(2, 2), {"older_over_newer": 1}),
], ids=["nothing stored", "an older event", "an older version"])
def test_what_redis_lacks_at_the_end_is_reported(stored: StoredResult | None, wrong: dict[str, int]) -> None:
    ledger = run_of_results(*ALL)
    ledger.record_stored("u", stored)
    counts = ledger.counts()
    found = {name: getattr(counts, name) for name in ("lost", "duplicated", "older_over_newer")}
    assert {name: count for name, count in found.items() if count} == wrong


def test_percentiles_are_nearest_rank() -> None:
    assert percentiles({}) == Latency(0, 0, 0)
    assert percentiles(dict.fromkeys(range(1, 101), 1)) == Latency(50, 90, 99)
    assert percentiles({7: 1}) == Latency(7, 7, 7)


@pytest.mark.parametrize(("fallbacks", "share"), [(0, 0.0), (1, 0.25)])
def test_the_fallback_share_is_of_distinct_results(fallbacks: int, share: float) -> None:
    ledger = Ledger({})
    for n in range(4):
        for _ in range(2):
            ledger.record_result(
                f"r{n}", b"", user="u", history_version=n, covers=(), fallback=n < fallbacks, at_ms=1
            )
    assert ledger.counts().fallback_share == share


def test_a_second_answer_to_what_has_one_counts_as_duplicated() -> None:
    def counted(*, once: bool, second: str, user: str = "u", offset: int = 5) -> int:
        ledger = Ledger(BEGIN, once=once)
        ledger.record_sent(CLICKS, 0, 5, sent_ms=1, user="u", event_ms=1)
        for name, whose, at in (("a", "u", 5), (second, user, offset)):
            ledger.record_result(
                name, b"the same", user=whose, history_version=0, covers=iter([(CLICKS, 0, at, at)]), fallback=False,
                at_ms=2,
            )
        return ledger.counts().duplicated

    assert counted(once=True, second="b") == 1
    assert counted(once=False, second="b") == 0
    assert counted(once=True, second="a") == 0  # sent again
    assert counted(once=True, second="b", user="v", offset=6) == 0


def test_a_second_answer_counts_although_its_sender_has_not_heard_of_the_first_yet() -> None:
    ledger = Ledger(BEGIN, once=True)
    for name in ("a", "b"):
        ledger.record_result(
            name, b"", user="u", history_version=0, covers=[(CLICKS, 0, 5, 5)], fallback=False, at_ms=2
        )
    ledger.record_sent(CLICKS, 0, 5, sent_ms=1, user="u", event_ms=1)
    assert ledger.counts().duplicated == 1
    assert ledger.counts().lost == 0
