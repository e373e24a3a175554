"""Whether a reply is written as a reply: in its language, whole, without a prompt's words, without babble.

Knows nothing of facts.
"""

import re
from collections import Counter
from collections.abc import Iterator

from footfall.support.checking.marks import Marked
from footfall.support.checking.truth import Finding, Truth
from footfall.support.checking.words import listed

CHINESE = re.compile("[\u3400-\u9fff]")
FOREIGN = re.compile("[\u0370-\u03ff\u0400-\u04ff\u0530-\u08ff\u0900-\u0fff\u1100-\u11ff\u3040-\u30ff\uac00-\ud7af]")
LATIN_WORD = re.compile(r"[a-z]{2,}(?:'[a-z]+)?")
LATIN_IN_CHINESE = listed("""
pdf vat app id eur usd sms ok vip qq dhl ups logo wifi usb
""")
OTHER_LATIN = listed("""
der die das und ist nicht wir sie ihre ihr haben wurde für mit auf von zu ein eine bitte bestellung le la les des est
une votre vous nous pas pour avec sur et du commande merci el los las una por para con su pedido gracias está het een
van uw niet bestelling il che non per ordine grazie tyvärr och inte
""")
ENGLISH = listed("""
the a an and or of to in on is are was be been has have we you your our it that this not for with from by as at please
will can us if no thank yes i me do
""")
LEAKS = re.compile(
    r"system prompt|\bprompts?\b|my instructions|the instructions (?:say|above|i was)|i was (?:told|instructed|trained)|\bas an? (?:ai|artificial|language model|assistant)\b|language model|\bllm\b|chatgpt|\bopenai\b"
    r"|<\|?\w|\|>|\[/?inst\]|</?s>|###|```|(?:^|\n)\s*(?:assistant|user|system|facts|situation|slots|intent|template|passage|context|instruction|response|answer|customer|output)\s?:(?!\s*\d)|\bplaceholder\b|\bnull\b|\bundefined\b|\bnan\b|\bjson\b|order_id|tracking_id|placed_on|_on\b|on_hand"
    r"|系统提示|提示词|(?:我的|以上|上述|系统|根据)指令|作为(?:一个|一名)?(?:ai|人工智能|语言模型|大模型|智能助手)|语言模型|大模型|(?:^|\n)(?:用户|助手|系统|事实|情境|模板|意图|回复|客户|顾客)[:：]|占位符|模板"
)
HOLES = re.compile(r"[{}\[\]<>]|\b(?:n/a|tbd|xxx+)\b")
ODD = re.compile("[\ufffd\x00-\x08\x0b-\x1f]")
UNFINISHED = re.compile(
    r"(?:[,，、:：;；(（]|\b(?:the|a|an|of|to|and|or|but|was|were|is|are|has|have|been|on|with|by|in|for|your|our|will|can|not|please|that|which|if|because)|[的和在将会是为被把由于向与及])$"
)


def problems(text: str, marked: Marked, language: str, truth: Truth) -> list[Finding]:
    """What is wrong with how it is written."""
    shown = text.strip()[:120]
    return [Finding("form", shown, why) for why in dict.fromkeys(_why(text.strip(), marked, language, truth))]


def _why(text: str, marked: Marked, language: str, truth: Truth) -> Iterator[str]:
    if not text:
        yield "there is no text"
        return
    if FOREIGN.search(marked.text):
        yield "letters of another script"
    yield from _other_chinese(marked, truth) if language == "zh" else _other_english(marked)
    leak = LEAKS.search(marked.text)
    if leak:
        yield f"words of a prompt: {leak[0]}"
    if HOLES.search(marked.text):
        yield "a slot, a bracket or a placeholder"
    if ODD.search(text):
        yield "signs that are no text"
    if UNFINISHED.search(marked.text.strip()) and len(text) > 3 and not re.search(r"(?:question|know|问题|事|如下|回复如下)[:：]$", text):
        yield "it ends in the middle of a sentence"
    yield from _babble(marked)


def _other_chinese(marked: Marked, truth: Truth) -> Iterator[str]:
    letters = len(CHINESE.findall(marked.text))
    latin = [word for word in LATIN_WORD.findall(marked.text) if word not in LATIN_IN_CHINESE and not any(word in one.lower() for one in truth.policies)]
    if letters < 2 or sum(map(len, latin)) > letters:
        yield "not Chinese"
    elif latin:
        yield f"words of another language: {latin[0]}"


def _other_english(marked: Marked) -> Iterator[str]:
    if CHINESE.search(marked.text):
        yield "Chinese in an English reply"
    found = re.findall(r"[a-zà-ÿ']+", marked.text)
    if not found:
        yield "no words"
        return
    other, own = sum(word in OTHER_LATIN for word in found), sum(word in ENGLISH for word in found)
    if other > own or (other >= 3 and other * 2 > own):
        yield "another language"
    if len(found) > 8 and own * 12 < len(found):
        yield "no sentences"


def _babble(marked: Marked) -> Iterator[str]:
    text = marked.text
    if re.search(r"(.)\1{5,}", text) or re.search(r"\b([a-z]+)(?:\W+\1\b){2,}", text) or re.search(r"([\u3400-\u9fff]{1,6}?)\1{3,}", text):
        yield "the same again and again"
    said = Counter(re.sub(r"\W", "", part) for part in re.split(r"[.!?。！？\n]+", marked.written))
    if any(many > 1 and len(part) > 7 for part, many in said.items()):
        yield "a sentence is there twice"
    words = re.findall(r"\w+", text) if not CHINESE.search(text) else CHINESE.findall(text)
    length = 8 if CHINESE.search(text) else 4
    runs = Counter(tuple(words[at:at + length]) for at in range(len(words) - length + 1))
    if runs and max(runs.values()) > 3:
        yield "the same words again and again"
    if re.search(r"[bcdfghjklmnpqrstvwxz]{7,}|\w{30,}", re.sub("[\u3400-\u9fff]", " ", text)):
        yield "no words"
