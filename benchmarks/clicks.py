"""A backlog of clicks: made from a seed, put on a topic, and the history that its users had before. Knows no agent.

Events have the contract's shape, 460 bytes on average: logged-in users on a known device, event times that advance.
"""

import itertools
import random
from collections.abc import Iterator
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
ITEMS = 20_000
STEP = timedelta(milliseconds=20)
HISTORY_EVENTS = 20  # of each user, before the backlog
HISTORY_PURCHASES = 6  # of those
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
        item = self._random.randrange(ITEMS)
        return orjson.dumps({
            "specversion": "1.0",
            "id": f"{self._run}-{number:018d}",
            "source": "storefront/web",
            "type": f"retail.{self._random.choices(KINDS, WEIGHTS)[0]}.v1",
            "time": f"{time.isoformat(timespec='milliseconds')[:-6]}Z",
            "datacontenttype": "application/json",
            "data": {
                "user_id": user, "visitor_id": device_of(user), "session_id": f"s-{user}", "consent": True,
                "items": [{
                    "item_id": str(1_000_000 + item), "item_name": f"Yoghurt with fruit no. {item}, 4 x 125 g",
                    "item_category": "dairy/yoghurt", "price": 2.99, "quantity": 1,
                }],
                "recommendation_id": None, "impressions": [],
            },
        })

    def history(self) -> Iterator[UserChanges]:
        """What is known of each user before the backlog: some views and purchases, and the device."""
        start_ms = int(self._start.timestamp() * 1000)
        for user in self.users:
            changes = tuple(self._change(index, start_ms) for index in range(HISTORY_EVENTS))
            ids = self._random.randbytes(8 * HISTORY_EVENTS)
            yield UserChanges(user, changes, ids, linking=f"{VISITOR_PREFIX}{device_of(user)}")

    def _change(self, index: int, before_ms: int) -> Change:
        item, bought = str(1_000_000 + self._random.randrange(ITEMS)), index < HISTORY_PURCHASES
        member = f"{'purchase' if bought else 'view'}:{item}:{self._random.randbytes(8).hex()}"
        time_ms = before_ms - (HISTORY_EVENTS - index) * HOUR_MS
        return Change(time_ms, (member,), (item,) if bought else (), (), (), ())


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
