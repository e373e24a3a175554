"""The language of a message."""
# ruff: noqa: RUF001 - texts in other scripts have letters that look like Latin ones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.support.language import Language, detect

ENGLISH = [
    # short, misspelt, or hardly words at all
    "refund status", "cancel order 4411", "ok", "hi", "pls", "no", "help", "were is my oder", "i wnt refnd", "u r late",
    "im not sure wat time dat comes", "can't log in", "don't want it", "WHERE is my order", "ＷＨＥＲＥ is my order",
    "", "44112233", "A-4411, B-12", "👍", "anna@example.com", "https://shop.example/de/das-ist-es",
    # words that are others' as well
    "Die bag is broken", "was it sent?", "man in the van was rude", "I will die waiting",
    # names, brands, signs
    "iPhone 15", "La Mer cream", "Café Müller", "where is my Hermès café set", "do you ship to Côte d’Ivoire",
    "I bought an Eau de la Vie, where is it", "an order for Maria de la Cruz", "a 10 kΩ resistor",
    # mixed, mostly English
    "Where is my 快递", "My 淘宝 order has not arrived yet", "where is my 上海浦东新区世纪大道 parcel",
    "Привет, where is my order please", "Hola, where is my order please", "por favor cancel my order",
    "my name is [name]",
]

CHINESE = [
    "我的订单什么时候到", "退款", "我要退貨", "你好", "订单44112233还没收到", "６６６ 好的",
    "我买的iPhone 15 Pro Max什么时候到", "Nintendo Switch OLED Mario Kart Bundle 有货吗", "我的order什么时候到",
    "order 4411 取消", "hi 你好", "ok好的", "我的退款呢 thanks", "[name] [email] 退款", "anna@example.com 退款",
    "鲜の每日还有货吗", "请看https://shop.example/where/is/my/order/of/the/day谢谢",
]

OTHERS = [
    "¿Dónde está mi pedido?", "donde esta mi pedido", "no me ha llegado el pedido", "hola",
    "Quiero devolver este producto y que me devuelvan el dinero",
    "Où est ma commande ?", "ou est ma commande", "je n'ai pas reçu mon colis", "J’ai besoin d’aide",
    "remboursement svp",
    "Wo ist meine Bestellung?", "Was ist das", "Kann ich das zurückgeben?", "danke",
    "dove è il mio ordine", "Vorrei sapere quando arriva",
    "Onde está o meu pedido?", "Quero um reembolso",
    "Waar is mijn bestelling", "Kan ik dit retourneren?",
    "gdzie jest moje zamówienie", "Chcę zwrócić towar",
    "Siparişim nerede", "siparisim nerede", "İade etmek istiyorum",
    "Đơn hàng của tôi ở đâu",  # no words of it are known; its accents are enough
    "Wo ist meine Bestellung? Order 4411",
    "Где мой заказ?", "أين طلبي", "注文はどこですか", "返品したい", "주문 어디에 있나요", "คำสั่งซื้อของฉันอยู่ที่ไหน",
    "मेरा ऑर्डर कहाँ है", "πού είναι η παραγγελία μου", "איפה ההזמנה שלי",
    "iPhone 15 где мой заказ",
]


@pytest.mark.parametrize("text", ENGLISH)
def test_english_is_what_nothing_speaks_against(text: str) -> None:
    assert detect(text) == "en"


@pytest.mark.parametrize("text", CHINESE)
def test_chinese_stays_chinese_with_latin_names_in_it(text: str) -> None:
    assert detect(text) == "zh"


@pytest.mark.parametrize("text", OTHERS)
def test_a_clearly_foreign_text_is_neither(text: str) -> None:
    assert detect(text) == "other"


@pytest.mark.parametrize(("text", "hint", "language"), [
    # believed: the text says little
    ("44112233", "zh-Hans", "zh"), ("ok", "zh_CN", "zh"), ("", "zh", "zh"), ("refund status", "zh-CN", "zh"),
    ("ok", "de", "other"), ("Rückerstattung", "de-DE", "other"), ("di mana pesanan saya", "id", "other"),
    ("返品希望", "ja", "other"), ("ok", "en-GB", "en"), ("hola", "en", "en"), ("", "English", "en"),
    # not believed: the text says otherwise
    ("where is my order", "zh", "en"), ("where is my order", "de", "en"),
    ("你好吗", "en", "zh"), ("退款", "en-GB", "zh"), ("我的退款呢", "ja", "zh"),
    ("Wo ist meine Bestellung?", "en-GB", "other"), ("Где мой заказ?", "zh", "other"),
    # says nothing
    ("refund status", "", "en"), ("refund status", "und", "en"), ("refund status", "?", "en"), ("ok", "default", "en"),
])
def test_the_channels_language_decides_where_the_text_does_not(text: str, hint: str, language: Language) -> None:
    assert detect(text, hint) == language


unhurried = settings(deadline=None)  # other work shares the machine
english = st.lists(st.sampled_from(["where", "is", "my", "order", "please", "want", "refund"]), min_size=4, max_size=12)
chinese = st.lists(st.sampled_from(["我的订单", "什么时候", "退款", "收到", "请问", "谢谢"]), min_size=2, max_size=8)
german = st.lists(st.sampled_from(["wo", "ist", "meine", "Bestellung", "ich", "nicht", "und"]), min_size=3, max_size=12)
HINTS = st.sampled_from([None, "en", "zh-Hans", "de", "ja", "", "x"])


@unhurried
@given(english, HINTS)
def test_english_sentences_are_english_whatever_the_channel_says(words: list[str], hint: str | None) -> None:
    assert detect(" ".join(words), hint) == "en"


@unhurried
@given(chinese, st.sampled_from(["", " iPhone 15 ", " Switch OLED ", "Nike", " 4411 "]))
def test_chinese_sentences_are_chinese_with_one_product_in_them(words: list[str], product: str) -> None:
    assert detect(product.join(words)) == "zh"


@unhurried
@given(german, HINTS)
def test_foreign_sentences_are_foreign_whatever_the_channel_says(words: list[str], hint: str | None) -> None:
    assert detect(" ".join(dict.fromkeys(words)) + " wo ist", hint) == "other"


@unhurried
@given(st.text(max_size=200), st.none() | st.text(max_size=8))
def test_any_text_and_any_hint_have_an_answer(text: str, hint: str | None) -> None:
    assert detect(text, hint) in {"en", "zh", "other"}
