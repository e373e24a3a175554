"""When a person must take over, before anything is looked up or written. Pure; rules over the customer's words.

The words are for what must not be missed where a model of the text is unsure (`agents.reply` also hands over what the
encoder takes for one of these). So they are plain signs of danger and of a dispute, and no attempt to understand: a
false alarm costs a colleague a minute.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Final, Literal, get_args

Reason = Literal[
    "health", "threat", "legal", "anger", "large_refund", "third_turn", "human_agent", "complaint", "low_confidence",
    "no_facts",
]
REASONS: Final = get_args(Reason)

_ENGLISH: Mapping[Reason, str] = {
    "health": r"""
        electric(?:al)?\ shock | electrocut | (?:got|gave\ me)\ a\ shock | caught\ fire | on\ fire\b | \bflames?
        | went\ up\ in | \bsmok(?:e|ing)\b | explod | explosion | \bsparks?\b | burning | \bburn(?:ed|t)\b
        | \bscald | \bblister | swallow | swalow | choke | allerg | \brash\b | \bhives\b | swelled | swollen
        | injur | \bhurt\b | bleed | \bblood\b(?!\ will) | fractur | broke\ my | hospital | ambulance
        | emergency\ room | \ba&e\b | food\ poison | poison | toxic | vomit | can'?t\ breathe | faint | stitch
        | doctor | red\ spots
    """,
    "threat": r"""
        \bkill | \bmurder | \bbomb\b | \bgun\b | \bknife\b | \bshoot\b | burn\ down | smash
        | break\ (?:your|his|her|their)\ | beat\ (?:you|him|her) | break\ some(?:one|body) | punch | strangle
        | you\ will\ (?:regret|pay\ for\ this\ with) | watch\ (?:out|his\ back|your\ back) | i\ know\ where\ you
        | suicid | end(?:ing)?\ (?:my\ life|it\ all) | want\ to\ die | better\ off\ dead | (?:harm|hurt)\ myself
        | live\ any\ ?more | baseball\ bat | my\ wrists | gonna\ jump | no\ reason\ left
    """,
    "legal": r"""
        lawyer | laywer | at+orney | solicitor | barrister | \bsue\b | lawsuit | litigat
        | \bsuing\ (?:you|u|your|the\ (?:shop|store|company|seller))\b
        | \bcourts?\b | tribunal | magistrate | legal\ (?:action|steps|proceedings|department|insurance)
        | law\ firm | counsel\b | class\ action | ombudsman | watchdog | consumer\ (?:protection|rights|law)
        | trading\ standards | \bgdpr\b | data\ protection | privacy\ (?:rights|regulation|law) | regulator
        | to\ the\ police | pressing\ charges | arbitration | summons | \bfraud\b
    """,
    "anger": r"""
        (?:third|3rd|fourth|4th|fifth|5th|sixth)\ (?:time|e?-?mail|message|call)
        | (?:three|four|five|six|\d)\ times | how\ many\ times | still\ no\ (?:answer|reply|response|solution)
        | nobody\ (?:answers?|answered|replies|replied|reacts) | (?:no|not)\ one\ (?:answers|replies)
        | every\ day\ since | last\ (?:two|three|four|\d)\ (?:messages|mails|emails) | for\ the\ last\ time
        | once\ again\ i | ignored\ (?:me|my) | havent?\ ?'?\ ?answer?e?d
    """,
}
_CHINESE: Mapping[Reason, str] = {
    "health": r"""
        触电|漏电|电到|带电|电伤|起火|着火|烧起来|火苗|火花|冒烟|浓烟|爆炸|炸了|炸响|烫伤|烫到|烧伤|划伤|割伤
        |割破|夹伤|夹到手|砸伤|受伤|摔伤|摔骨折|骨折|流血|鲜血|过敏|過敏|红疹|荨麻疹|中毒|有毒|误食|誤吞|误吞
        |吞下|咽了|呼吸困难|头晕恶心|上吐下泻|拉肚子|住院|医院|急诊|救护车|缝了|水泡|鼻血|抽搐|伤了|伤到|电到了
        |電到|弄伤
    """,
    "threat": r"""
        打死|弄死|杀了|砸了|砸东西|烧了你们|炸了你们|同归于尽|找人(?:收拾|弄)你|走夜路|小心点|算账|揍你|打断
        |拿刀|有刀|汽油|自杀|自殺|想死|不想活|活不下去|死给你们看|跳下去|跳楼|割腕|遗书|天台|一了百了|喝农药
        |农药|安眠药|伤害自己|血债|别怪我|堵门|颜色看|給我小心|付出代价
    """,
    "legal": r"""
        律师|律師|起诉|法院|法庭|传票|诉讼|打官司|12315|消协|消费者协会|消保|消委会|工商|市场监管|市监局
        |市场监督|监管(?:局|部门|單位)|仲裁|法律(?:程序|途径|责任)|法务|司法|派出所|报警|报案|立案|退一赔三
        |假一赔三|十倍赔偿|三倍赔|欺诈|诈骗|维权|告你们|举报|消费者权益|个人信息保护法|民法典|黑猫
    """,
    "anger": r"""
        第[三四五六]次|[三四五六七八]遍|无数次|八百遍|多少次|多少遍|没人(?:理|回|管|答|接)|没有人(?:理|回|管)
        |不回(?:我|复)|又没下文|没下文|拖到现在|一直不(?:回|处理|解决)|上次(?:就|说).*(?:没|还)|每次都
    """,
}
PATTERNS: Final[Mapping[str, Mapping[Reason, re.Pattern[str]]]] = {
    "en": {reason: re.compile(pattern, re.VERBOSE | re.IGNORECASE) for reason, pattern in _ENGLISH.items()},
    "zh": {
        reason: re.compile("".join(pattern.split()), re.IGNORECASE) for reason, pattern in _CHINESE.items()
    },
}
BETWEEN_HAN = re.compile(r"(?<=[\u3400-\u9fff])[.·•*_~\-\s]{1,3}(?=[\u3400-\u9fff])")
WITH_DIGITS = re.compile(r"(?<!\w)(?=\w*[A-Za-z])[\w@$]+")
LETTERS = str.maketrans("013457@$", "oieastas")
AMOUNT = re.compile(
    r"(?:(?:EUR|USD|GBP|CNY|RMB|[€$£¥￥])\s?)(\d{1,7}(?:[.,]\d{3})*(?:[.,]\d{1,2})?)"
    r"|(\d{1,7}(?:[.,]\d{3})*(?:[.,]\d{1,2})?)\s?(?:EUR|euros?|USD|dollars?|GBP|pounds?|CNY|RMB|yuan|元|块|欧元|美元|[€$£¥￥])",
    re.IGNORECASE,
)


def danger(text: str) -> Reason | None:
    """The gravest reason that the customer's own words give, in whichever language, also where they are disguised."""
    readings = _readings(text)
    return next(
        (
            reason for reason in REASONS for patterns in PATTERNS.values()
            if reason in patterns and any(map(patterns[reason].search, readings))
        ),
        None,
    )  # fmt: skip


def amounts(text: str) -> list[float]:
    """The sums of money that are named."""
    return [_number(before or after) for before, after in AMOUNT.findall(text)]


def _readings(text: str) -> tuple[str, ...]:
    """The text as it is, and as people read what others write to get past filters."""
    folded = unicodedata.normalize("NFKC", text)
    return text, BETWEEN_HAN.sub("", folded), WITH_DIGITS.sub(lambda word: word[0].translate(LETTERS), folded)


def _number(text: str) -> float:
    digits = re.sub(r"[.,](?=\d{3}(?:\D|$))", "", text).replace(",", ".")
    return float(digits)
