"""Personal data leaves a message, and nothing else does. All data here is invented."""
# ruff: noqa: RUF001 - Chinese messages have full-width punctuation

import re
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.support import redaction
from agents.support.redaction import PLACEHOLDER, numbers, patterns, redact

# Cards, accounts and identity cards are made up; their check digits are right, as that is how they are known.
FOUND = [
    # e-mail
    ("write to anna.schmidt@example.com, thanks", "write to [email], thanks"),
    ("写信到anna@example.com谢谢", "写信到[email]谢谢"),
    ("ａｎｎａ＠ｅｘａｍｐｌｅ．ｃｏｍ 谢谢", "[email] 谢谢"),
    ("it is anna at example dot com", "it is [email]"),
    ("anna dot schmidt at example dot co dot uk please", "[email] please"),
    ("anna [at] example.com or bob (at) example (dot) org", "[email] or [email]"),
    ("anna @ example.com", "[email]"),
    ("anna@gmail", "[email]"),
    ("müller@beispiel.de.", "[email]."),
    # cards
    ("card 4111 1111 1111 1111 exp 04/29 cvv 123", "card [card] exp [card] cvv [card]"),
    ("my card 4111-1111-1111-1111, 04/29, 123 please", "my card [card], [card] please"),
    ("4111111111111111 123", "[card] [card]"),
    ("visa 4242424242424242exp 12/28", "visa [card]exp [card]"),
    ("amex 3782 822463 10005", "amex [card]"),
    ("４１１１ １１１１ １１１１ １１１１", "[card]"),
    ("卡号6222021234567890128，有效期12/28", "卡号[card]，有效期[card]"),
    ("安全码是123", "安全码是[card]"),
    ("order 4411 with 4111 1111 1111 1111", "order 4411 with [card]"),
    ("身份证号110101199003074514", "身份证号[card]"),
    # bank accounts
    ("refund to DE89 3704 0044 0532 0130 00 please", "refund to [iban] please"),
    ("de89370400440532013000", "[iban]"),
    ("GB82-WEST-1234-5698-7654-32 and more text", "[iban] and more text"),
    # phones
    ("call +49 170 1234567 about 2 items", "call [phone] about 2 items"),
    ("+49 170 1234567 2 items", "[phone] 2 items"),
    ("＋86 138 1234 5678", "[phone]"),
    ("0044 20 7946 0958 or 004917012345678", "[phone] or [phone]"),
    ("+1 (415) 555-0132", "[phone]"),
    ("(415) 555-0132 or 415-555-0132 or 415.555.0132", "[phone] or [phone] or [phone]"),
    ("020 7946 0958, 07700 900123, (020) 7946 0958", "[phone], [phone], [phone]"),
    ("030/1234567 oder 0170-1234567 oder (030) 1234567", "[phone] oder [phone] oder [phone]"),
    ("415-555-0132 ext 12", "[phone] ext [phone]"),
    ("13812345678，138-1234-5678，138 1234 5678", "[phone]，[phone]，[phone]"),
    ("１３８１２３４５６７８", "[phone]"),
    ("还是13812345678好", "还是[phone]好"),
    ("010-65529988转801", "[phone]转[phone]"),
    ("my phone number: 5551234", "my phone number: [phone]"),
    ("call me back on 5551234 or 5559876", "call me back on [phone] or [phone]"),
    ("tel 030 1234567, order 4411", "tel [phone], order 4411"),
    ("my number is 5551234", "my number is [phone]"),
    ("5551234 is my mobile", "[phone] is my mobile"),
    ("call me on 20.11.2026 at 5551234", "call me on 20.11.2026 at 5551234"),  # too far from the word to be sure
    ("电话12345678，微信:123456789，我的QQ是12345678", "电话[phone]，微信:[phone]，我的QQ是[phone]"),
    ("微信号 anna_2026", "微信号 [phone]"),
    ("12345678是我的手机", "[phone]是我的手机"),
    # addresses
    ("221B Baker Street, London NW1 6XE", "[address]"),
    ("send it to apt 4, 12 Oak Ave", "send it to [address]"),
    ("12 Oak Ave, Springfield, IL 62704, USA\nTel 020 7946 0958", "[address]\nTel [phone]"),
    ("12 Oak Ave\nSpringfield, IL 62704", "[address]"),
    ("I live at 221b baker street, london nw1 6xe", "I live at [address]"),
    ("deliver it to 12 oak avenue please", "deliver it to [address] please"),
    ("my address is 5 The Green, Oxford OX1 2JD", "my address is [address]"),
    ("5 Station Rd. Thanks", "[address] Thanks"),
    ("send to PO Box 1234, Springfield", "send to [address]"),
    ("Room 501, Building 3, No. 100 Century Avenue, Pudong, Shanghai", "[address]"),
    ("Hauptstraße 12, 10115 Berlin", "[address]"),
    ("in der Hauptstr. 5 bitte", "in der [address] bitte"),
    ("Berliner Straße 12a, D-10115 Berlin", "[address]"),
    ("Am Markt 5, 10115 Berlin", "[address]"),
    ("上海市浦东新区世纪大道100号3栋501室", "[address]"),
    ("请寄到上海市浦东新区世纪大道１００号3栋501室，谢谢", "请寄到[address]，谢谢"),
    ("把地址改成成都市武侯区人民南路4段12号，好吗", "把地址改成[address]，好吗"),
    ("北京市 朝阳区 建国路88号现代城A座1203室", "[address]"),
    ("我住在阳光小区3栋2单元501", "我住在[address]"),
    ("收货地址：浙江省杭州市西湖区文三路", "收货地址：[address]"),
    ("zip code 62704, postcode NW1 6XE, PLZ 10115", "zip code [address], postcode [address], PLZ [address]"),
    ("邮编：200120", "邮编：[address]"),
    # names
    ("my name is Anna Schmidt and I wait", "my name is [name] and I wait"),
    ("my name is anna schmidt.", "my name is [name]."),
    ("my name is anna please cancel", "my name is [name] please cancel"),
    ("MY NAME IS ANNA SCHMIDT", "MY NAME IS [name]"),
    ("My name’s Anna-Lena van der Berg, order 4411", "My name’s [name], order 4411"),
    ("the name on the order is O'Brien", "the name on the order is [name]"),
    ("I am Mr. Smith", "I am Mr. [name]"),
    ("Hi, I'm Anna Schmidt, order 4411", "Hi, I'm [name], order 4411"),
    ("This is Anna Schmidt speaking", "This is [name] speaking"),
    ("this is anna calling", "this is [name] calling"),
    ("Mrs Smith, Ms Smith and Dr. A. Smith", "Mrs [name], Ms [name] and Dr. [name]"),
    ("ask mr smith", "ask mr [name]"),
    ("Regards,\nAnna Schmidt", "Regards,\n[name]"),
    ("kind regards anna", "kind regards [name]"),
    ("Thanks,\nAnna", "Thanks,\n[name]"),
    ("Name: Anna Schmidt\nOrder: 4411", "Name: [name]\nOrder: 4411"),
    ("recipient: anna schmidt", "recipient: [name]"),
    ("我叫王小明，我要退款", "我叫[name]，我要退款"),
    ("我叫王明想退货", "我叫[name]想退货"),
    ("你好我叫Anna", "你好我叫[name]"),
    ("我是李女士", "我是[name]女士"),
    ("我是王小明，订单4411", "我是[name]，订单4411"),
    ("请联系欧阳先生", "请联系[name]先生"),
    ("收件人：王小明，电话13812345678", "收件人：[name]，电话[phone]"),
    ("姓名: 李四", "姓名: [name]"),
    ("收件人请改成李四", "收件人请改成[name]"),
    ("我姓王", "我姓[name]"),
    ("王小明 13812345678 上海市世纪大道100号", "[name] [phone] [address]"),
    ("联系人张伟，手机 13812345678", "联系人[name]，手机 [phone]"),
]

LEFT_ALONE = [
    # dates, times, amounts
    "2026-11-20, 20.11.2026, 11/20/2026 at 14:30, or 2026年11月20日",
    "the slot 20.11.2026-25.11.2026, 14:30-15:30",
    "I paid 149.90 EUR, €1.299,00, ¥199, 199元 and 1 299,00 €",
    "best before 04/29",
    "2-3 days, 24/7, 10-12 working days",
    # orders and items
    "order 4411, A-4411, #13812345678, order 4155550132 and 302-1234567-1234567",
    "order no. 4111111111111111",
    "44112233",
    "0012345678",
    "订单号13812345678，快递单号773012345678901，订单号码44112233",
    "order id 550e8400-e29b-41d4-a716-446655440000 and tracking 1Z999AA10123456784",
    "https://shop.example/p/13812345678",
    "IMEI 490154203237518",
    "4111 1111 1111 1112 fails its check digit",
    "DE89370400440532013001 fails its check digits",
    "iPhone 12, EM-5 and iphone12, size 42 and 43, 4 x 12 x 30 cm",
    "my phone 123456 is broken",
    "the phone 16 pro 256",
    "card ending in 4242",
    "手机壳 iphone12 还有吗",
    "微信支付失败",
    # no mail, no street
    "look at this and at that",
    "2 @ 5 EUR each, ask @footfall",
    "order 4411 is on its way",
    "2 items on the way, 3 in the second place",
    "I ordered 2 black street lamps and 2 Nike Court shoes",
    "my address is wrong",
    "Earring 5 for spring 2026",
    "order 4411, 12345 pieces",
    "送到上海市要几天",
    "我知道1号到货",
    "这条路1号门",
    "退货3号",
    # no name
    "I am angry",
    "I am Angry",
    "I'm German",
    "I am waiting for My parcel",
    "this is ridiculous",
    "This is Black Friday",
    "my name is not shown",
    "my name is misspelled on the invoice",
    "my name is engraved on the wrong side",
    "product name: iPhone",
    "with regards to my order",
    "thanks, great service",
    "Thanks, Team",
    "Dr. Martens boots and Dr Pepper",
    "我是老客户",
    "我是会员",
    "我是金卡会员",
    "我是Plus会员",
    "我是周三下的单",
    "姓名是错的",
    "联系人方便的话请改一下",
    "我叫客服处理",
    "白色女士外套和高级女士手表",
    "这对于女士来说太大",
]


@pytest.mark.parametrize(("text", "expected"), FOUND)
def test_personal_data_is_replaced_where_it_stands(text: str, expected: str) -> None:
    redacted = redact(text)
    assert redacted.text == expected
    assert redacted.kinds == tuple(sorted(set(PLACEHOLDER.findall(expected))))


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert redact(text) == redaction.Redacted(text, ())


@pytest.mark.parametrize("text", [text for text, _ in FOUND])
def test_what_is_redacted_stays_as_it_is(text: str) -> None:
    once = redact(text).text
    assert redact(once) == redaction.Redacted(once, ())


def test_a_kept_id_survives_where_it_looks_like_a_phone_or_a_card() -> None:
    text = "13812345678, 4111111111111111 and 4111 1111 1111 1111"
    assert redact(text).text == "[phone], [card] and [card]"
    assert redact(text, {"13812345678", "4111111111111111"}).text == "13812345678, 4111111111111111 and [card]"
    assert redact("tel 44112233", ("44112233",)).text == "tel 44112233"
    assert redact("１３８１２３４５６７８", ("13812345678",)).text == "１３８１２３４５６７８"
    assert redact("4411 2233 4455 6674", ("4411", "2233", "4455", "6674")).text == "4411 2233 4455 6674"


def test_of_a_number_that_holds_a_kept_id_the_rest_is_replaced() -> None:
    assert redact("call +49 170 4411678", ("4411678",)).text == "call [phone] 4411678"


def test_an_id_is_kept_only_as_a_word_of_its_own() -> None:
    assert redact("call +49 170 44116780", ("4411678",)).text == "call [phone]"
    assert redact("Hauptstr. 12", ("12",)).text == "[address]"


def test_placeholders_that_were_there_are_neither_counted_nor_read() -> None:
    assert redact("[phone] and [name] at [address]") == redaction.Redacted("[phone] and [name] at [address]", ())
    assert redact("[email], anna@example.com").kinds == ("email",)


def test_our_own_marks_in_a_text_are_characters_like_others() -> None:
    text = "".join(patterns.MARKS.values()) + patterns.NOT_PERSONAL + " 04/29 ext 12"
    assert redact(text).text == text


# Times cannot be told reliably on a shared machine; what keeps them linear can.
RUNS = {  # of one class, with nothing after them that has it too
    numbers.CARD_RUN, numbers.DIGITS, redaction.WORDS, redaction.NOT_KEPT,
}


def test_no_pattern_repeats_without_a_bound_but_runs_of_one_class() -> None:
    modules = [module for name, module in sys.modules.items() if name.startswith(redaction.__name__)]
    every = {value for module in modules for value in vars(module).values() if isinstance(value, re.Pattern)} - RUNS
    assert len(every) > 30
    for pattern in every:
        shape = re.sub(r"\\.|\[(?:\\.|[^\]\\])*\]", "", pattern.pattern)
        assert not re.search(r"[*+]|\{[0-9]*,\}", shape), pattern.pattern


@pytest.mark.parametrize("part", [
    "a", "1", "1 ", "1-", "a@", "a.", "a dot ", "+1", "4111 ", "DE89 ", "030 1", "001 1 ", "tel ", "phone is at my ",
    "A. ", "Aa ", "Aa-", "1 Aa ", "apt 1, ", "1 aa bb cc street ", "address: 1 Aa ", "my name is ", "I am Aa ", "Mr ",
    "regards aa ", "市", "路1号", "小区1栋", "地址:市", "王", "我叫王", "[card] ", "[phone]-1", " ", "\n", "(",
])
def test_the_longest_message_of_whatever_repeated_is_read_to_its_end(part: str) -> None:
    once = redact((part * 8192)[:8192]).text
    assert redact(once).text == once


WORDS = [
    "please", "the", "a", "parcel", "was", "late", "thanks", "hello", "lamp", "blue", "refund", "and", "shoes", "it",
    "broken", "want", "back", "today", "请", "谢谢", "我要", "退款", "还没", "收到", "鞋子", "什么时候", ",", ".", "!",
    "，", "。",
]
sentences = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)
unhurried = settings(deadline=None)  # other work shares the machine
# what is written, and what of it must be gone
PERSONAL = [
    ("anna.schmidt@example.com", "schmidt"), ("anna at example dot com", "anna"), ("4111 1111 1111 1111", "1111"),
    ("5555-5555-5555-4444", "5555"), ("cvv 737", "737"), ("DE89 3704 0044 0532 0130 00", "0532"),
    ("+49 170 1234567", "1234567"), ("(415) 555-0132", "0132"), ("020 7946 0958", "7946"), ("030/1234567", "1234567"),
    ("13812345678", "138"), ("138-1234-5678", "5678"), ("0755-12345678", "0755"), ("call me at 5551234", "5551234"),
    ("电话 12345678", "12345678"), ("221B Baker Street, London NW1 6XE", "Baker"), ("12 Oak Ave", "Oak"),
    ("Hauptstraße 12, 10115 Berlin", "Berlin"), ("Hauptstr. 5b", "Haupt"), ("上海市世纪大道100号3栋501室", "世纪"),
    ("my name is Anna Schmidt", "Schmidt"), ("Mr Schmidt", "Schmidt"), ("This is Anna Schmidt speaking", "Anna"),
    ("我叫王小明", "小明"), ("收件人：王小明", "小明"), ("我是李女士", "李"),
]


@unhurried
@given(sentences, st.sampled_from(PERSONAL), sentences)
def test_whatever_stands_around_it_personal_data_is_gone(before: str, planted: tuple[str, str], after: str) -> None:
    data, secret = planted
    redacted = redact(f"{before} {data} {after}")
    assert secret not in redacted.text
    assert redacted.kinds
    assert redacted.text.startswith(before)
    assert redacted.text.endswith(after)


@unhurried
@given(sentences)
def test_a_text_without_digits_at_signs_and_cues_is_returned_as_it_is(text: str) -> None:
    assert redact(text) == redaction.Redacted(text, ())


CUES = [
    "my name is", "I am", "Mr", "Regards,\n", "tel", "phone", "or", "ext", "address is", "zip", "exp 04/29", "cvv",
    "at", "order", "#", "-", "我叫", "我是", "电话", "地址是", "收件人：", "转", "20.11.2026", "149.90 EUR", "1", "44",
    "10115", "\n", "[phone]", "[card]",
]
fragments = st.lists(
    st.sampled_from([*WORDS, *CUES, *(data for data, _ in PERSONAL)]) | st.text("0123456789 -+A", max_size=6),
    max_size=14,
).map(" ".join)


@unhurried
@given(fragments)
def test_to_redact_again_changes_nothing(text: str) -> None:
    once = redact(text).text
    assert redact(once) == redaction.Redacted(once, ())


def is_nobodys(digits: str) -> bool:
    mobile = re.fullmatch(r"(?:86)?1[3-9][0-9]{9}", digits)
    abroad = re.fullmatch(r"00[1-9][0-9]{9,13}", digits)
    card = len(digits) >= 13 and numbers._luhn_is_valid(digits)
    return not (mobile or abroad or card)


@unhurried
@given(sentences, st.from_regex("[0-9]{4,15}", fullmatch=True).filter(is_nobodys), st.sampled_from(["blue", "鞋子"]))
def test_digits_that_are_no_card_and_no_phone_survive(before: str, digits: str, after: str) -> None:
    text = f"{before} {digits} {after}"
    assert redact(text).text == text


@unhurried
@given(
    sentences, st.sampled_from(["", "tel ", "phone ", "call me ", "电话"]),
    st.from_regex(r"[A-Z]?[0-9]{4,19}", fullmatch=True), sentences,
)
def test_a_kept_id_survives_whatever_it_looks_like(before: str, cue: str, item: str, after: str) -> None:
    text = f"{before} {cue}{item} {after}"
    assert redact(text, (item,)).text == text
