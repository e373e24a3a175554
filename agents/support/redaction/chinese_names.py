"""Names of people in Chinese, by what is said before and after them; Latin ones as well where they stand in Chinese.

Knows the frequent surnames, and the words that begin like a name and are none. Knows no given names.
"""

import re
from collections.abc import Sequence
from typing import Final

from agents.support.redaction.names import FULL_NAME, NOT_SELF
from agents.support.redaction.patterns import HAN, MARKS, Finder, by

SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩邓冯曹彭曾肖萧田董袁潘于蒋蔡余"
    "杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪范金石廖贾夏韦傅方白邹孟熊秦邱江尹薛闫阎段雷侯龙史"
    "陶黎贺顾毛郝龚邵万钱严武戴莫孔向汤安常康乔翁柳詹关温牛樊葛邢路岳齐梅庄辛管祝左涂谷祁"
    "时舒耿牟卜凌霍鲁柯毕简司倪游俞华宁裴符成焦伍申盛冉蓝翟阚季柴章"
)
SURNAME = (
    f"(?:欧阳|司马|上官|诸葛|东方|皇甫|尉迟|公孙|慕容|司徒|夏侯|令狐|端木|南宫|[{SURNAMES}])"
)
CHINESE_TITLE = "(?:先生|女士|小姐|太太)"
# What a sentence goes on with; a given name ends before it.
NOT_GIVEN = (
    "想要是的了在有我你您他她它和与这那订买退换吗呢吧啊请把给到去说问收电手地住已没不就也都还又被让"
    "很最什么谁哪怎从对下错"
)
GIVEN = rf"(?:(?![{NOT_GIVEN}]|{CHINESE_TITLE})[{HAN}])"
NOT_HAN = rf"(?![{HAN}{MARKS['name']}])"  # nor what was one of these before another name was found there
NOT_CHINESE_NAME = (
    "(?!方便|谢谢|安排|时间|万一|快递|客服|外卖|朋友|家人|师傅|本人|同上|未知|匿名|空白|经理|店家|商家|卖家"
    "|买家|用户|会员)"
)
CHINESE_NAME = (
    rf"{NOT_CHINESE_NAME}{SURNAME}(?:{GIVEN}{{1,2}}|(?!{CHINESE_TITLE})[{HAN}]{{1,2}}{NOT_HAN})"
)
ANY_CHINESE_NAME = rf"{NOT_CHINESE_NAME}{GIVEN}{{2,4}}{NOT_HAN}"  # without a surname that is known
TOLD_CHINESE_NAME = re.compile(
    r"(?:我叫做?|我的?(?:名字|姓名)(?:叫做?|是)|名叫"
    r"|(?:姓名|名字|收件人|收货人|联系人|签收人)(?:姓名|名字)? ?[:,]? ?"
    rf"(?:(?:请|帮我|麻烦){{0,2}}[改换][成为]|是|为|叫|(?<=:)|(?={SURNAME}[{HAN}]{{1,2}}{NOT_HAN})))"
    rf"[ :]{{0,2}}(?P<hit>{CHINESE_NAME}|{ANY_CHINESE_NAME}|{FULL_NAME})"
)
# as people write whom a parcel is for: "王小明 13812345678 上海市……"
CHINESE_NAME_AT_PHONE = re.compile(
    rf"(?<![{HAN}{MARKS['name']}])(?P<hit>{CHINESE_NAME})(?=[ ,]{{0,2}}{MARKS['phone']})"
)
# "I am" says more often what one is than who: a customer, a member, of a place, in a hurry.
NOT_CHINESE_SELF = (
    "(?!高级|金[卡牌]|白金|黄金|黄牛|周[一二三四五六日末天]|马上|方便|安全|任何|何时|万分|严重|向来|常[客用]|成年"
    "|江苏|江西|温州)"
)
SELF_CHINESE_NAME = re.compile(
    rf"(?:我|这里|本人)是 ?(?P<hit>{NOT_CHINESE_SELF}{SURNAME}"
    rf"(?:(?![人生员卡户家民客友粉版店]|{CHINESE_TITLE})[{HAN}]){{1,2}}?(?=[的我想要]|{NOT_HAN})"
    rf"|{NOT_SELF}{FULL_NAME}(?! ?[会用客粉]))"
)
CHINESE_SURNAME = re.compile(rf"(?:我|本人|免贵)姓(?P<hit>{SURNAME})")
TITLED_CHINESE_NAME = re.compile(
    rf"(?:(?<=[是叫找给:])|(?<=联系))(?P<hit>{SURNAME}{GIVEN}{{1,2}})(?={CHINESE_TITLE})"
)
# "白色女士外套" and "对于女士" are of no Ms 白 and no Ms 于.
TITLED_CHINESE_SURNAME = re.compile(
    rf"(?<![色米纯深浅灰藏乳奶红黑蓝绿粉紫对关由属适任位])(?P<hit>{SURNAME})(?={CHINESE_TITLE}"
    r"(?![款士式鞋包表装手外衬裤裙运内羽毛大皮背帽钱短长上夏冬春秋香护专A-Za-z]))"
)

CHINESE_NAMES: Final[Sequence[Finder]] = tuple(map(by, (
    TOLD_CHINESE_NAME, CHINESE_NAME_AT_PHONE, SELF_CHINESE_NAME, CHINESE_SURNAME, TITLED_CHINESE_NAME,
    TITLED_CHINESE_SURNAME,
)))
