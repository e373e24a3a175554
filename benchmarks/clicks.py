"""Clicks made from a seed, a backlog of them on a topic, and what their users did before. Knows no agent.

Events have the contract's shape, 460 bytes on average: logged-in users on a known device, event times that advance.
"""

import itertools
import math
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.partitioner import DefaultPartitioner

from agents.state.changes import Change
from agents.state.connection import connect
from agents.state.store import UserChanges, UserStore
from footfall.topics import client_options
from schemas.events import VISITOR_PREFIX
from schemas.settings import Settings
from schemas.topics import CLICKSTREAM

KINDS = ("view_item", "select_item", "add_to_cart", "remove_from_cart", "view_item_list", "add_to_wishlist")
WEIGHTS = (55, 15, 12, 3, 10, 5)
ITEM_IDS = tuple(str(1_000_000 + number) for number in range(20_000))  # no model knows most of them
STEP = timedelta(milliseconds=20)
HISTORY_EVENTS = 20  # of each user, before the backlog
PURCHASE_SHARE = 0.3  # of those
MEAN_LENGTH, SIGMA = 35.0, 1.0  # of log-normal history lengths, before they are cut
HOUR_MS = 3_600_000


class Clicks:
    """`events` clicks of `users` users, whose ids start with `run`, so that every run has users of its own.

    `shuffled`: users come in random order, as in traffic. Otherwise in turn, so that one user's events are as far
    apart as they can be.
    """

    def __init__(self, run: str, events: int, users: int, *, shuffled: bool = True, seed: int = 1) -> None:
        self.users = [f"{run}-{number}" for number in range(users)]
        self._run = run
        self._events = events
        self._shuffled = shuffled
        self._random = random.Random(seed)
        self._start = datetime.now(UTC) - events * STEP

    def records(self) -> Iterator[tuple[str, bytes]]:
        """(key, value), in the order of event time."""
        choice = self._random.choice
        for number in range(self._events):
            user = choice(self.users) if self._shuffled else self.users[number % len(self.users)]
            yield user, self._value(number, user)

    def _value(self, number: int, user: str) -> bytes:
        time = self._start + number * STEP
        return click(f"{self._run}-{number:018d}", user, self._random.choice(ITEM_IDS), time, self._random)

    def history(self) -> Iterator[UserChanges]:
        """What is known of each user before the backlog: some views and purchases, and the device."""
        before_ms = int(self._start.timestamp() * 1000)
        for user in self.users:
            yield past(user, HISTORY_EVENTS, ITEM_IDS, before_ms, self._random)


def click(event_id: str, user: str, item_id: str, time: datetime, chance: random.Random) -> bytes:
    """A click of some kind, as the storefront sends it. `time` in UTC, of which the milliseconds count."""
    return orjson.dumps({
        "specversion": "1.0",
        "id": event_id,
        "source": "storefront/web",
        "type": f"retail.{chance.choices(KINDS, WEIGHTS)[0]}.v1",
        "time": f"{time.isoformat(timespec='milliseconds')[:-6]}Z",
        "datacontenttype": "application/json",
        "data": {
            "user_id": user, "visitor_id": device_of(user), "session_id": f"s-{user}", "consent": True,
            "items": [{
                "item_id": item_id, "item_name": f"Yoghurt with fruit no. {item_id}, 4 x 125 g",
                "item_category": "dairy/yoghurt", "price": 2.99, "quantity": 1,
            }],
            "recommendation_id": None, "impressions": [],
        },
    })


def past(user: str, events: int, item_ids: Sequence[str], before_ms: int, chance: random.Random) -> UserChanges:
    """What a user did before: so many purchases and views, an hour apart, on the device that the clicks come from."""
    bought_until = round(PURCHASE_SHARE * events)
    changes = []
    for index in range(events):
        item, bought = chance.choice(item_ids), index < bought_until
        member = f"{'purchase' if bought else 'view'}:{item}:{chance.randbytes(8).hex()}"
        time_ms = before_ms - (events - index) * HOUR_MS
        changes.append(Change(time_ms, (member,), (item,) if bought else (), (), (), ()))
    return UserChanges(user, changes, chance.randbytes(8 * events), linking=f"{VISITOR_PREFIX}{device_of(user)}")


def history_lengths(count: int, longest: int, chance: random.Random) -> list[int]:
    """Log-normal lengths of histories, from 1 to what the model reads."""
    mu = math.log(MEAN_LENGTH) - SIGMA**2 / 2
    return [max(1, min(longest, round(chance.lognormvariate(mu, SIGMA)))) for _ in range(count)]


async def fill(settings: Settings, clicks: Clicks) -> None:
    """Put the backlog on the clickstream topic, keyed by user, in batches of a producer's default size."""
    topic = CLICKSTREAM.full_name(settings.prefix)
    partitions = list(range(CLICKSTREAM.partitions))
    place = DefaultPartitioner()
    partition_of = {user: place(user.encode(), partitions, partitions) for user in clicks.users}
    async with AIOKafkaProducer(**client_options(settings)) as producer:
        batches = {partition: producer.create_batch() for partition in partitions}
        for user, value in clicks.records():
            partition = partition_of[user]
            if batches[partition].append(key=user.encode(), value=value, timestamp=None) is None:
                await producer.send_batch(batches[partition], topic, partition=partition)
                batches[partition] = producer.create_batch()
                batches[partition].append(key=user.encode(), value=value, timestamp=None)
        for partition, batch in batches.items():
            await producer.send_batch(batch, topic, partition=partition)
        await producer.flush()


async def remember(settings: Settings, histories: Iterator[UserChanges]) -> None:
    """Put histories into Redis."""
    redis = connect(settings.redis_url)
    try:
        store = UserStore(redis, settings)
        while part := list(itertools.islice(histories, 50)):
            await store.apply(part)
    finally:
        await redis.aclose()


def device_of(user: str) -> str:
    """The `visitor_id` of a user's events."""
    return f"d-{user}"
