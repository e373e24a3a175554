"""The model fails, the worker dies, the agent stops: every event is still answered, once."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.contract.storefront import ERRORS, Storefront, click, purchase, unique
from tests.contract.system import System

pytestmark = pytest.mark.asyncio(loop_scope="session")

BUDGET_S = 2.0  # then an event is answered without the model
SLACK_S = 1.5  # of this machine


@pytest_asyncio.fixture(loop_scope="session")
async def worker_back(system: System, shop: Storefront) -> AsyncIterator[None]:
    """However a test leaves the worker, it answers afterwards."""
    yield
    if not system.worker.is_running:
        system.worker.start()

    async def by_model() -> bool:
        answer = await shop.answer(click(unique("u"), "a"))
        return bool(answer.data["origin"] == "model")

    await shop.until(by_model, "answers of the model")


async def test_a_request_that_makes_the_model_fail_is_a_dead_letter_and_gets_a_fallback(
    shop: Storefront, user: str
) -> None:
    others = [unique("u") for _ in range(20)]
    events = [click(name, "a") for name in (*others[:10], user, *others[10:])]
    events[10]["data"]["items"][0]["item_id"] = "stub-raise"  # see model_core.stub

    sent = await shop.send_all(events)
    await shop.results_for(sent)

    letter = await shop.dead_letter_of(sent[10])
    assert b"RuntimeError" in (letter.headers[ERRORS + "message"] or b"")  # what the model raised, without its text
    assert letter.value == sent[10].value
    assert letter.key == user.encode()
    fallback = shop.covered[sent[10].at].data
    assert fallback["origin"] == "fallback"
    assert len(fallback["items"]) == 20
    assert await shop.stored(user) == fallback
    assert [shop.results[name][-1].data["origin"] for name in others] == ["model"] * 20
    assert not {record.at for index, record in enumerate(sent) if index != 10} & shop.dead_letters.keys()


async def test_the_same_event_again_while_the_model_works_on_it_is_not_asked_again(
    system: System, shop: Storefront, user: str, worker_back: None
) -> None:
    event = click(user, "a")
    system.worker.signal(signal.SIGSTOP)
    try:
        first = await shop.send(event)
        await shop.until(lambda: shop.history(user), "the event in the history", within_s=1)
        again = await shop.send(event)
        # the same key, so the same partition: once this one is a dead letter, the one before it was read
        await shop.dead_letter_of(await shop.put("clickstream", user.encode(), b"bad"))
    finally:
        system.worker.signal(signal.SIGCONT)

    await shop.result_for(first)
    await shop.until(lambda: len(shop.results[user]) == 2 or again.at in shop.covered, "an answer to both")

    assert len({result.event["id"] for result in shop.results[user]}) == 1


async def test_while_the_worker_is_dead_events_are_answered_and_the_model_makes_up_for_it(
    system: System, shop: Storefront, worker_back: None
) -> None:
    users = [unique("u") for _ in range(12)]
    known = unique("u")
    before = await shop.answer(click(known, "a"))
    seen = [str((int(before.item_ids[0]) + step) % 1000) for step in range(0, 400, 2)]

    system.worker.kill()
    sent = await shop.send_all([
        *(purchase(name, "b") for name in users[:6]),
        *(click(name, *seen) for name in users[6:]),
        click(known, "c"),
    ])
    await shop.results_for(sent, within_s=BUDGET_S + SLACK_S)
    at_once = await shop.send(click(known, "d"))
    await shop.result_for(at_once, within_s=SLACK_S)  # nobody waits for a worker that is known to be away

    for record in (*sent, at_once):
        fallback = shop.covered[record.at].data
        assert fallback["origin"] == "fallback"
        assert len(fallback["items"]) == 20
    for name in (*users, known):
        assert (await shop.stored(name) or {})["origin"] == "fallback"

    system.worker.start()

    def all_by_model() -> bool:
        return all(shop.results[name][-1].data["origin"] == "model" for name in (*users, known))

    await shop.until(all_by_model, "the model's answer for everyone who got a fallback")
    for name in (*users, known):
        newest = shop.results[name][-1].data
        assert await shop.stored(name) == newest
        assert newest["history_version"] == (3 if name == known else 1)
    for name in users[6:]:
        assert not set(shop.results[name][-1].item_ids) & set(seen), "what the user looks at is not recommended"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
async def test_an_agent_that_stops_in_mid_stream_loses_and_doubles_nothing(
    system: System, shop: Storefront, how: signal.Signals
) -> None:
    users = [unique("u") for _ in range(20)]
    sent = []
    for number in range(600):
        make = purchase if number % 5 == 0 else click
        sent.append(asyncio.ensure_future(shop.send(make(users[number % 20], str(number)))))
        if number % 20 == 19:
            await asyncio.gather(*sent[-20:])
        if number == 299:
            await shop.until(lambda: any(name in shop.results for name in users), "the first results")
            system.recommend.signal(how)
    code = await asyncio.to_thread(system.recommend.wait)
    system.recommend.start()
    assert code == (0 if how is signal.SIGTERM else -signal.SIGKILL)
    records = await asyncio.gather(*sent)

    await shop.results_for(records, within_s=30)

    assert not {record.at for record in records} & shop.dead_letters.keys()
    for name in users:
        stored = await shop.stored(name)
        assert stored is not None
        assert stored["history_version"] == 30
        assert stored == shop.results[name][-1].data
    await shop.until(lambda: shop.all_committed("recommend", records), "offsets committed to the end")
