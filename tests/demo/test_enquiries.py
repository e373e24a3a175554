"""Simulated customers write about their own orders, in training wordings, and the same for the same seed."""

import re
from collections import Counter
from random import Random

from agents.support.handover import danger
from footfall.replay.enquiries import CHINESE_SHARE, FOR_A_PERSON_AT, FOREIGN_AT, ROUND, Enquiry, called
from model_core.dialogues import grammar
from tests.demo.shop import START_MS, USERS, enquiries

COUNT = 400


def made(seed: int = 1, count: int = COUNT) -> list[Enquiry]:
    writing = enquiries(seed)
    found = [writing.write(number, USERS[number % len(USERS)], START_MS) for number in range(count)]
    assert None not in found
    return [one for one in found if one is not None]


def named(one: Enquiry) -> list[str]:
    return [order.order_id for order in one.orders if order.order_id in one.text]


def test_a_message_is_about_an_order_or_an_item_of_who_writes() -> None:
    for one in made():
        own = [order for order in one.orders if order.user_id == one.user]
        assert own
        if one.number % ROUND != FOREIGN_AT:
            assert list(one.orders) == own
            titles = {called(line.item_name or "") for order in own for line in order.lines}
            assert len(named(one)) == 1 or any(title in one.text for title in titles)


def test_now_and_then_somebody_names_an_order_of_somebody_else_which_exists() -> None:
    for one in made():
        if one.number % ROUND == FOREIGN_AT:
            (order_id,) = named(one)
            (foreign,) = (order for order in one.orders if order.user_id != one.user)
            assert foreign.order_id == order_id


def test_now_and_then_somebody_writes_what_a_person_must_answer() -> None:
    for_a_person = [one for one in made() if one.number % ROUND == FOR_A_PERSON_AT]
    assert len(for_a_person) == COUNT // ROUND
    assert sum(danger(one.text) is not None for one in for_a_person) > 0.4 * len(for_a_person)
    others = [one for one in made() if one.number % ROUND != FOR_A_PERSON_AT]
    assert sum(danger(one.text) is not None for one in others) < 0.1 * len(others)


def test_most_write_english_and_the_others_chinese() -> None:
    languages = Counter(one.language for one in made())
    assert set(languages) == {"en", "zh"}
    assert abs(languages["zh"] / COUNT - CHINESE_SHARE) < 0.1
    chinese = [one.language == "zh" for one in made() if any("\u4e00" <= sign <= "\u9fff" for sign in one.text)]
    assert all(chinese)
    assert len(chinese) > 0.95 * languages["zh"]  # some write it in Latin letters


def test_no_held_out_wording_is_used() -> None:
    rng = Random(1)
    slots = {"order_id": lambda _: "SIM", "item": lambda _: "Item"}
    said = {re.sub(r"Item \d, 12 oz", "Item", re.sub(r"SIM-\d+", "SIM", one.text)) for one in made(count=3000)}

    def wordings(split: grammar.Split) -> set[str]:
        return {
            template.expand(rng, slots)
            for language in ("en", "zh") for loaded in (grammar.load(language),) for table in loaded.tables
            for template in loaded.templates(table, split) if template.slots <= set(slots)
            for _ in range(60)
        }  # fmt: skip

    trained = wordings("train")
    assert len(said & trained) > 0.5 * len(said)
    assert not said & (wordings("heldout") - trained)


def test_an_item_is_called_as_customers_call_it() -> None:
    assert called("Fluid Milk White Only, 1 qt (store brand)") == "Fluid Milk White Only, 1 qt"
    assert all("(" not in one.text for one in made() if "Item" in one.text)


def test_the_same_seed_gives_the_same_messages() -> None:
    assert made(1, 40) == made(1, 40)
    assert made(1, 40) != made(2, 40)
    assert [one.language for one in made(1, 40)] != [one.language for one in made(2, 40)]


def test_nobody_writes_who_has_bought_nothing_lately() -> None:
    assert enquiries().write(0, "stranger", START_MS) is None
