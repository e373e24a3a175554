"""Whether what is said of items is so: what is in stock and how much of it, what things cost, what is recommended."""

from collections.abc import Iterator, Sequence

from footfall.support.checking.marks import Marked, Value
from footfall.support.checking.orders import About, Problem, at_place, meant
from footfall.support.checking.reading import Grammar, inside, silent
from footfall.support.checking.truth import Item, Truth
from schemas.events import OrderData

CENT = 0.005


def titles(sentence: Marked) -> tuple[str, ...]:
    return tuple(title for _, value in sentence.of("title") for title in value.names)


def problems(grammar: Grammar, sentence: Marked, about: About, focus: Sequence[str], truth: Truth) -> Iterator[Problem]:
    """`focus`: the titles that were talked of last."""
    text = sentence.text
    named = titles(sentence)
    shown = [item for item in truth.items if item.title in (named or focus)]
    asserted = [0] if not inside(0, silent(grammar, text)) else []
    yield from _titles(grammar, sentence, about, truth)
    if not named and asserted and grammar.about("recommended", text) and grammar.about("those", text):
        odd = set(focus) - set(truth.recommended)
        yield from (Problem(0, "recommendation", f"{title} is not recommended", firm=True) for title in sorted(odd))
    if named and asserted and grammar.about("praise", text):
        yield Problem(0, "item", "nothing says this of an item", firm=True)
    stock = grammar.about("stock", text) and not about.refund and not any(sentence.of("order"))
    if stock and asserted and (named or (focus and not grammar.about("of the shop", text))):
        yield from _stock(grammar, text, shown)
    for at, value in sentence.of("number"):
        if not (stock and any(item.on_hand == value.numbers[0] for item in shown)) and not _counts(grammar, sentence, at, value, about, truth):
            yield Problem(at, "number", f"{value.text} is in no fact that this can be about")
    for at, value in sentence.of("money"):
        if not any(_near(value, amount, currency) for amount, currency in _sums(grammar, sentence, at, value, about, shown, truth)):
            yield Problem(at, "money", f"{value.text} is in no fact that this can be about")


def _titles(grammar: Grammar, sentence: Marked, about: About, truth: Truth) -> Iterator[Problem]:
    text = sentence.text
    orders = meant(grammar, sentence, about, truth)
    public = {item.title for item in truth.items} | set(truth.recommended)
    own = {line.item_name for order in truth.orders for line in order.lines}
    advice = grammar.about("recommended", text) and not inside(0, silent(grammar, text)[:0])
    for at, value in sentence.of("title"):
        lines = {line.item_name for order in at_place(orders, at) for line in order.lines}
        if not set(value.names) & (public | own):
            yield Problem(at, "item", f"{value.text} is of somebody else's order", firm=True)
        elif any(sentence.of("order")) and not grammar.about("stock", text) and not set(value.names) & lines:
            yield Problem(at, "item", f"{value.text} is not in this order", firm=True)
        elif advice and not set(value.names) & set(truth.recommended):
            yield Problem(at, "recommendation", f"{value.text} is not recommended", firm=True)


def _stock(grammar: Grammar, text: str, items: Sequence[Item]) -> Iterator[Problem]:
    gone = grammar.about("gone", text)
    known = [item for item in items if item.on_hand is not None]
    if not any((item.on_hand or 0) <= 0 if gone else (item.on_hand or 0) > 0 for item in known):
        so = ", ".join(f"{item.title}: {item.on_hand}" for item in items) or "no item is meant"
        yield Problem(0, "stock", f"the stock is another ({so})", firm=True)


def _counts(grammar: Grammar, sentence: Marked, at: int, value: Value, about: About, truth: Truth) -> bool:
    """How many orders, or how many of an item in an order."""
    many = value.numbers[0]
    if "order" in sentence.text[at + 1:at + 12] or "订单" in sentence.text[at + 1:at + 6]:
        return many == len(truth.orders)
    lines = [line for order in at_place(meant(grammar, sentence, about, truth), at) for line in order.lines]
    named = set(titles(sentence))
    quantities = [line.quantity for line in lines if not named or line.item_name in named]
    counted = any(word in sentence.text for word in ("item", "piece", "×", " x", "件", "contain"))
    return (counted or bool(named)) and many in {*quantities, sum(quantities), *([len(lines)] if not named else [])} and bool(lines)


def _sums(
    grammar: Grammar, sentence: Marked, at: int, value: Value, about: About, shown: Sequence[Item], truth: Truth
) -> Iterator[tuple[float, str]]:
    """The sums that this one may be."""
    text = sentence.text
    orders: Sequence[OrderData] = at_place(meant(grammar, sentence, about, truth), at)
    if about.refund:
        yield from ((order.refund.amount, order.currency or truth.currency) for order in orders if order.refund)
        if not about.named:
            yield from _written(value, truth)
        return
    if titles(sentence) or (grammar.about("price", text) and not any(sentence.of("order"))):
        named = set(titles(sentence)) or {item.title for item in shown}
        yield from ((item.price, truth.currency) for item in shown if item.price is not None)
        for order in orders:
            yield from ((line.price, order.currency or truth.currency) for line in order.lines if line.item_name in named and line.price is not None)
    elif grammar.about("total", text):
        yield from ((order.value, order.currency or truth.currency) for order in orders if order.value is not None)
    if about.handed and not about.named:
        yield from _written(value, truth)


def _written(value: Value, truth: Truth) -> Iterator[tuple[float, str]]:
    """A sum that the customer wrote."""
    written = "".join(truth.message.split())
    for one in value.numbers:
        if any(form in written for form in (f"{one:g}", f"{one:.2f}", f"{one:.2f}".replace(".", ","))):
            yield one, value.unit


def _near(value: Value, amount: float, currency: str) -> bool:
    return value.unit == currency and len(value.numbers) == 1 and abs(value.numbers[0] - amount) < CENT
