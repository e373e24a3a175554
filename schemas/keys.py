"""Redis keys. The literal braces keep one user's or one item's keys in one cluster slot."""

UNAVAILABLE_ITEMS = "items:unavailable"  # set of item ids with no stock anywhere, or withdrawn
POPULAR_ITEMS = "items:popular"  # list, best first: the fallback of the last model that was ready


def user(user: str) -> str:
    """The prefix of everything about one user."""
    return f"user:{{{user}}}"


def recommendations(user: str) -> str:
    return f"user:{{{user}}}:recommendations"


def history(user: str) -> str:
    return f"user:{{{user}}}:history"


def orders_of(user: str) -> str:
    """A sorted set of the user's order ids, by when they were placed (ms)."""
    return f"user:{{{user}}}:orders"


def reply(user: str, conversation_id: str) -> str:
    return f"user:{{{user}}}:reply:{conversation_id}"


def conversation(user: str, conversation_id: str) -> str:
    """A hash: which events of it were seen, and how far it was answered."""
    return f"user:{{{user}}}:conversation:{conversation_id}"


def owed(topic: str, partition: int) -> str:
    """A hash of the users whom the owner of a partition owes the model's answer."""
    return f"owed:{topic}:{partition}"


def item(item_id: str) -> str:
    return f"item:{{{item_id}}}"


def order(order_id: str) -> str:
    """A hash: the order's JSON, and the time of its record (ms)."""
    return f"order:{{{order_id}}}"


def stock(item_id: str) -> str:
    return f"stock:{{{item_id}}}"
