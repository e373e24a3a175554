"""Plain signs of danger and of a dispute are seen, and everyday complaints are not taken for them."""

import pytest

from agents.support.handover import amounts, danger


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("The kettle gave me an electric shock", "health"),
        ("My son swallowed the battery of the toy", "health"),
        ("smoke came out of the charger", "health"),
        ("I know where you work, watch out", "threat"),
        ("i want to die, nobody helps", "threat"),
        ("My lawyer will contact you", "legal"),
        ("I will file a GDPR complaint", "legal"),
        ("This is the third time I write, still no answer", "anger"),
        ("吹风机漏电，手都麻了", "health"),
        ("孩子误食了零件怎么办", "health"),
        ("我不想活了", "threat"),
        ("再不处理我就打12315", "legal"),
        ("我已经问了三遍了，没人理", "anger"),
    ],
)
def test_what_a_person_must_read_is_seen(text: str, reason: str) -> None:
    assert danger(text) == reason


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("my l4wy3r takes over", "legal"), ("I will br34k s0m30n3s nose", "threat"), ("我已经找律.师了", "legal"),
        ("电 器 漏 电 了", "health"), ("the rice cooker 漏电 and my wife got hurt", "health"),
        ("我要去 court", "legal"),
    ],
)
def test_it_is_seen_too_where_it_is_disguised_or_in_another_language(text: str, reason: str) -> None:
    assert danger(text) == reason


def test_of_several_reasons_the_gravest_counts() -> None:
    assert danger("My lawyer says the shock could have killed me, I got an electric shock") == "health"
    assert danger("第三次了，我要起诉，充电的时候冒烟") == "health"


@pytest.mark.parametrize(
    "text",
    [
        "Where is my order 4411?", "The damn parcel is late again", "my phone does not charge", "I am not happy at all",
        "Can I return the shirt, it is too small?", "please cancel it", "the courier was rude to me",
        "I am waiting for my refund",
        "我的iphone12为什么充不了电？", "快递太慢了", "要发票", "退款进度", "收到的货破损了", "客服态度不好",
    ],
)
def test_everyday_messages_are_no_alarm(text: str) -> None:
    assert danger(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I want my 349.00 EUR back", [349.0]), ("refund €1,299.50 now", [1299.5]),
        ("a rebate of 350 dollars", [350.0]), ("1.299,50 EUR", [1299.5]),
        ("退我299元", [299.0]), ("¥1299", [1299.0]), ("order 4411 from 2026-11-20", []),
    ],
)
def test_sums_of_money_are_read_and_other_numbers_are_not(text: str, expected: list[float]) -> None:
    assert amounts(text) == expected
