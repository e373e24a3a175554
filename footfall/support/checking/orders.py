"""Whether what is said of the customer's orders is so: how they stand, on which day what happened, sums, parcels."""

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from footfall.support.checking.marks import Marked, Value
from footfall.support.checking.reading import Claim, Grammar, claims, nearest_cue
from footfall.support.checking.truth import Truth, days, stands
from schemas.events import OrderData

NOW = frozenset({"today", "今天"})
DAY_ROLES = ("placed", "shipped", "expected", "delivered", "delivery", "paid", "packed", "cancelled", "returned")
REFUND_ROLES = ("refund",)
GRACE_WORKING_DAYS = 2.0  # that a late parcel is given; planning and templates hold to it
PAYOUT_WORKING_DAYS = 5.0  # from an approved refund to its payment


class Problem(Struct, frozen=True):
    """What is wrong with a sentence, and at which place. `firm`: no rule of the shop can make it right."""

    at: int
    kind: str
    why: str
    firm: bool = False


class About(Struct, frozen=True):
    """What a sentence is about: the order that was talked of last, and whether of its refund."""

    order: OrderData | None
    refund: bool
    named: bool  # whether the reply names an order at all
    lost: bool = False  # whether the reply says that something cannot be found
    handed: bool = False  # whether it says that a person takes over


def meant(grammar: Grammar, sentence: Marked, about: About, truth: Truth) -> Mapping[int, Sequence[OrderData]]:
    """The orders that each place of the sentence is about, by the place from which on it is."""
    own = {order.order_id.lower(): order for order in truth.orders}
    places = [(at, own[value.text.lower()]) for at, value in sentence.of("order") if value.text.lower() in own]
    if not places and grammar.about("both", sentence.text):
        return {0: truth.orders}
    if not places:
        return {0: [about.order] if about.order else []}
    between = sentence.text[places[0][0]:places[-1][0] + 1]
    if len(places) > 1 and not set(between) - set("ⓞ ,、和与及andor与以及：:number"):
        return {0: [order for _, order in places]}
    first, *others = places
    return {0: [first[1]]} | {at: [order] for at, order in others}


def at_place(orders: Mapping[int, Sequence[OrderData]], at: int) -> Sequence[OrderData]:
    return orders[max(start for start in orders if start <= at)]


def problems(grammar: Grammar, sentence: Marked, about: About, truth: Truth) -> Iterator[Problem]:
    """What is not so, of all that is said of orders."""
    orders = meant(grammar, sentence, about, truth)
    said = claims(grammar, sentence.text, refund=about.refund)
    for claim in said:
        yield from _claimed(claim, at_place(orders, claim.start), about, truth)
    yield from _ids(grammar, sentence, about, truth, claimed=bool(said))
    yield from _counted(grammar, sentence, about, truth)
    for at, value in sentence.of("date", "tracking", "carrier", "span"):
        if not (value.text.lower() in NOW and (grammar.question.search(sentence.text) or any(claim.name == "out_for_delivery" for claim in said))):
            yield from _valued(grammar, sentence, at, value, at_place(orders, at), about, truth)


def _claimed(claim: Claim, orders: Sequence[OrderData], about: About, truth: Truth) -> Iterator[Problem]:
    if claim.promised:
        yield Problem(claim.start, "promise", f"nothing says that this will be so: {claim.name}")
        return
    if claim.name == "refund" and claim.wanted and not about.named:
        return  # of what the customer asks for, not of what is recorded
    if not orders:
        yield Problem(claim.start, "order", f"there is no order of which one could say: {claim.name}")
    for order in orders:
        known = stands(order, truth.today)
        if known.get(claim.name) is not claim.wanted:
            so = "is not known" if claim.name not in known else "is so" if known[claim.name] else "is not so"
            refund = order.refund.status if order.refund else "none"
            yield Problem(
                claim.start, "refund" if claim.name.startswith("refund") else "status",
                f"{claim.name} {so}: order {order.order_id} is {order.status}, refund: {refund}",
            )


def _ids(grammar: Grammar, sentence: Marked, about: About, truth: Truth, *, claimed: bool) -> Iterator[Problem]:
    own = {order.order_id.lower() for order in truth.orders}
    text = sentence.text
    missing = grammar.about("not found", text)
    searched = missing or grammar.about("check it", text)
    for at, value in sentence.of("order", "code"):
        if value.text.lower() in own:
            if not about.refund and not claimed and grammar.about("cannot find", text):
                yield Problem(at, "order", f"the customer has an order {value.text}", firm=True)
        elif value.text.lower() not in truth.message.lower():
            yield Problem(at, "id", f"{value.text} is in no fact", firm=True)
        elif claimed or not (searched or about.lost):
            yield Problem(at, "id", f"the customer has no order {value.text}", firm=True)


def _counted(grammar: Grammar, sentence: Marked, about: About, truth: Truth) -> Iterator[Problem]:
    """How many orders there are."""
    text = sentence.text
    if grammar.about("several orders", text) and len(truth.orders) < 2:
        yield Problem(0, "order", f"the customer has {len(truth.orders)} orders", firm=True)
    if truth.orders and not about.named and not any(sentence.of("order", "code")) and not about.refund and grammar.about("no orders", text):
        yield Problem(0, "order", f"the customer has {len(truth.orders)} orders", firm=True)


def _valued(
    grammar: Grammar, sentence: Marked, at: int, value: Value, orders: Sequence[OrderData], about: About, truth: Truth
) -> Iterator[Problem]:
    if value.kind == "span":
        if not _house_span(grammar, sentence.text, value, orders, about, truth):
            yield Problem(at, "time", f"{value.text} is in no fact that this can be about")
        return
    if value.kind == "date" and value.text.lower() in truth.message.lower() and grammar.about("echo", sentence.text):
        return
    if not any(_right(grammar, sentence, at, value, order, about) for order in orders):
        weekday = all(day.weekday is not None for day in value.days)
        yield Problem(at, value.kind, f"{value.text} is not this of {' or '.join(order.order_id for order in orders) or 'any order'}", firm=value.kind == "date" and not (weekday and not about.named))


def _right(grammar: Grammar, sentence: Marked, at: int, value: Value, order: OrderData, about: About) -> bool:
    shipment = order.shipment
    if value.kind == "tracking":
        return shipment is not None and shipment.tracking_id == value.text
    if value.kind == "carrier":
        return shipment is not None and (shipment.carrier or "").lower() == value.text.lower()
    known = days(order)
    role = nearest_cue(grammar, sentence.text, at, REFUND_ROLES if about.refund else DAY_ROLES)
    if about.refund and not role:
        role = "refund"
    if role == "delivery":
        role = "delivered" if order.status in {"delivered", "returned"} else "expected"
    fitting = [known[role]] if role in known else [] if role else list(known.values())
    return any(day.fits(one) for day in value.days for one in fitting)


def _house_span(grammar: Grammar, text: str, value: Value, orders: Sequence[OrderData], about: About, truth: Truth) -> bool:
    """The two spans that the system itself holds to."""
    if value.unit != "working day" or len(value.numbers) != 1:
        return False
    if value.numbers[0] == GRACE_WORKING_DAYS and (grammar.about("grace", text) or grammar.question.search(text)):
        return any(stands(order, truth.today).get("late", False) for order in orders)
    payout = value.numbers[0] == PAYOUT_WORKING_DAYS and about.refund and grammar.about("payout", text)
    return payout and any(stands(order, truth.today)["refund_coming"] for order in orders)
