"""How English says what a checker must understand: where sentences end, what is denied, what a turn of phrase claims."""

import re
from collections.abc import Sequence

from footfall.support.checking import english_words as words
from footfall.support.checking.marks import Marked
from footfall.support.checking.reading import Grammar, Pattern

CARRIER = r"(?:the |our |your )?(?:carrier|courier|delivery company|delivery service|shipping company)(?: ⓒ)?|ⓒ"
ORDER = r"(?:(?:your |the |this )?(?:order|parcel|package|shipment|delivery|purchase)(?: ⓞ| with the number ⓞ)?|ⓞ|it|they|everything)"
FILL = r"(?: (?:been|already|now|just|also|since|still|currently|then|safely|successfully|not|all|since|recently|therefore))*"
STATUS = r"(?P<status>placed|paid|packed|shipped|out for delivery|delivered|cancelled|returned|requested|approved|declined)"


def _all(*patterns: str) -> Pattern:
    return re.compile("|".join(patterns))


IDIOMS: Sequence[tuple[str, bool, Pattern]] = tuple((name, wanted, _all(*patterns)) for name, wanted, *patterns in (
    ("status", True, rf"\bstatus\b(?:[^.;,]|, which){{0,50}}?(?:\b(?:is|as|shows|reads|says|at|to|remains)(?: now| currently| still)?:?|:) \"?'?{STATUS}\b"),
    ("status:placed", True, r"\bonly been placed\b|\bonly placed\b|\bas placed\b|\bbeen placed, but\b|\bso far\b[^.;]{0,12}\bbeen placed\b"),
    ("closed", True, r"\b(?:not|no longer) open\b(?! (?:on|at|to))|\bdelivered,? cancelled,? (?:or|and) returned\b"),
    ("", True, r"\b(?:would|'d) have liked to [^.,;:]*|\bcannot be cancelled once more\b"),
    ("", True, r"\b(?:no need|not need|need not|not have|no reason|unnecessary) to (?:be )?(?:cancel|change)\w*"),
    ("coming", False, r"\b(?:need not|no need to|not have to|don't) wait\b|\bnothing more is coming\b|\bdelivery is off\b"
     r"|\bnot (?:be )?(?:expect|waiting for) (?:your |the )?(?:order|parcel)|\bdelivery (?:of order ⓞ )?will not take place"),
    ("delivered", False, r"\b(?:should|was to|were to|was supposed to|was due to|was meant to|ought to)\b[^.,;]{0,30}?\b(?:have|arrive|receive|reach|come|be)\b"
     r"(?: been| arrived| reached you| come| delivered| with you)+|\b(?:was|were) to (?:arrive|receive|reach|come|be)\b"),
    ("shipped", False,
     r"\b(?:shipping|shipment|dispatch|handover|hand-over|sending|shipping it)\b[^.;]{0,25}\b(?:to come|ahead|outstanding|pending|not (?:yet )?(?:taken place|happened|been|done|started))",
     r"\b(?:waiting|waits|awaiting|awaits)\b[^.;]{0,20}\b(?:carrier|courier|dispatch|shipping|shipment|be (?:shipped|sent|picked up|handed|collected))",
     r"\b(?:next|following) (?:step|stage|thing)\b[^.;]{0,20}\b(?:handover|hand-over|hand|shipping|ship|dispatch|shipment|carrier|courier)|\bstep that follows is shipping",
     r"(?<!\bwe )\b(?:has|have|needs?|is|are)(?: still| yet)* (?:yet )?to (?:be (?:sent|shipped|dispatched|handed|collected|picked)|leave|ship|go out)",
     r"\bready (?:for|to be|to)\b[^.;]{0,12}\b(?:carrier|courier|shipp\w+|ship|dispatch\w*|handed|handover|picked up|collected by)",
     r"\bno (?:parcel|shipment|dispatch|package|shipping)\b(?: (?:has|have|is|was|been|gone|out|sent|so|far|yet|left))*", r"\bwhich (?:has not happened yet|is still ahead)",
     rf"\b(?:{CARRIER}) (?:still )?(?:has|needs|is|have) (?:still )?to (?:receive|collect|pick|take|get)", r"\bunshipped\b|\bnot yet (?:with|on)\b",
     r"\bbefore it (?:is|gets|goes) (?:shipped|handed|sent)"),
    ("shipped", True, r"\b(?:no longer|not any ?more) (?:here )?with us\b|\b(?:has|have) (?:already )?left (?:us|our)\b|\bmoment has passed\b"
     r"|\bhandover to the carrier has taken place\b|\bafter (?:its|the) handover\b"),
    ("with_us", True, rf"\b(?:{ORDER}) (?:is|are|stays?|remains?){FILL}(?: here)? with us\b(?! (?:as|in|\())|\bstill (?:here )?(?:with us|in our (?:warehouse|hands))\b"
     rf"|\b(?:is|are){FILL} still with us\b|\bwe still have (?:it|the order|your order|order ⓞ)"),
    ("out_for_delivery", True,
     r"\bout for delivery\b", r"\bin delivery\b|\bdelivery round\b|\bnearly with you\b|\bcoming to you\b",
     r"\b(?:on|only|in) (?:its|the|their) (?:last|final) (?:stretch|leg|mile|step)\b|\bonly the final step\b",
     r"\b(?:is|are|it's) (?:now |currently |just |already )?being (?:delivered|brought)\b",
     rf"\b(?:{CARRIER}) (?:is|are) (?:now |currently |already |just )?(?:delivering|bringing|on (?:the|its|their) way to you)|ⓒ (?:is )?(?:bringing|brings)\b",
     r"\bdelivery (?:of (?:your )?order ⓞ )?is (?:now |currently )?under ?way\b", r"\bwill be (?:at|with) your (?:door|doorstep)\b", r"\bbrings it\b"),
    ("delivered", True,
     r"\bdelivery (?:of (?:your )?order ⓞ )?(?:took place|was (?:completed|made|done|successful)|has been (?:made|completed|done)|is (?:done|complete|completed)|as done)\b",
     r"\b(?:been|was|were) brought to you\b|\bdelivery on record\b|\bafter its delivery\b|\bafter the delivery (?:of|on|ⓓ)|\b(?:as|is) an? delivered order\b|\bgiven that you have it\b",
     r"\byou (?:already |should already |now )?(?:have|received|got|hold) (?:order ⓞ|your order|it in|the parcel|your parcel)|\byou should already have\b|\bshould already be with you\b",
     r"\b(?:it|order ⓞ|parcel) (?:has |is |already )*(?:reached you|with you already)\b|\bhas reached you\b|\bin your hands\b"),
    ("coming", True, rf"\b(?:is|are){FILL} (?:expected|planned|due|scheduled|estimated)\b|\bexpect (?:it|them|order|your|the|delivery|arrival|to arrive)\b|\blook out for it\b"
     r"|\b(?:will|should|'ll)(?: \w+)? (?:arrive|reach|receive(?! (?:an?|the|your)(?: \w+)? (?:answer|reply|response|e-?mail|copy|invoice|refund|replacement|confirmation))|be with you|have it|get it|get to you|come(?! from| back))\b|\b(?:planned|expected|estimated) (?:arrival|delivery|day|date)"
     r"|\b(?:it|order ⓞ|parcel) arrives\b"),
    ("cancelled", True, r"\bthis has already (?:happened|been done)\b|\b(?:as|is) an? cancelled order\b|\bamong the cancelled orders\b|\bcancellation (?:of (?:your )?order ⓞ |\w+ )?(?:is|was|has been|stands|as)(?: (?:already|now|\w+ly))* (?:recorded|made|on record|complete|completed|done|confirmed|registered)\b",
     r"\b(?:inactive|not active|no longer active)\b|\bstopped working on\b|\breason being a cancellation\b|\bits cancellation is complete\b"),
    ("returned", True, r"\b(?:as|is) an? returned order\b|\bamong the returned orders\b|\breturn\b(?: of (?:your )?order ⓞ)? (?:is|was|has been)(?: \w+ly| already)? (?:on record|recorded|completed?|in our|registered|received)",
     r"\bcompleted return\b|\brecorded the return\b|\bback with us\b"),
    ("late", False, r"\bon (?:time|schedule)\b|\bas planned\b|\bpunctual\w*|\bwithin the expected\b|\bon track\b"),
    ("", True, r"\bdelay in (?:answer|reply|repl|respond|our|getting|writ)\w*|\btoo late\b(?! to (?:cancel|change))|\blate (?:reply|answer|response)\b"),
    ("changeable", False, r"\b(?:has|have) to stay as (?:it|they) (?:is|are)\b|\bstays as it is\b|\bout of our hands\b"),
    ("paid", False, r"\bunpaid\b|\bpayment (?:is|was|has)[^.;,]{0,15}\b(?:outstanding|open|missing|pending|not)\b|\b(?:awaiting|waiting for) (?:your |the |a )?payment\b"
     r"|\bno payment\b|\bpayment failed\b"),
))

PLAIN: Sequence[tuple[str, Pattern]] = tuple((name, _all(*patterns)) for name, *patterns in (
    ("shipped", r"\b(?:shipped|dispatched|despatched|posted)\b", rf"\bhanded(?: (?:it|them|over|the order|your order|order ⓞ|ⓞ|on))* to (?:{CARRIER})", r"\bhanded (?:it )?over\b",
     rf"\b(?:passed|given|gave|gone|went)(?: (?:it|them|on|over|the order|your order|order ⓞ))* to (?:{CARRIER})", r"\bleft (?:us|our)\b", r"\b(?:gone|went|goes) out\b(?! for)|\bgo out\b",
     r"\b(?:been|was|were|we|have|has|not|already|it's|is|are|also) sent\b(?! back)|\bsent (?:to you|it to you|out|off|on ⓓ|with|order|your|the (?:order|parcel))(?! back)|\bsent you (?:the|your) (?:order|parcel)",
     rf"\b(?:{CARRIER}) (?:has |have |had |did |does )*(?:already |not |n't |now |just )*(?:receive[ds]?|taken|collected|picked|took|take|collect|pick|got|get|gotten)\b",
     rf"\b(?:picked up|collected|taken over|received) by (?:{CARRIER})", r"\bshipment for order\b|\bdispatch (?:is|was) (?:done|on|made)\b|\bmade its way\b"),
    ("in_transit", r"\bon the road\b|\b(?:on|making|under) (?:its|their|the) way\b|\bin transit\b|\btravel(?:l?ing|s)\b", rf"\b(?:is|are|now|already|still|not|it's|currently|yet)(?: now| already| yet| currently| still)* with (?:{CARRIER})",
     r"\bcarrier's hands\b|\bhands of the carrier\b", rf"\b(?:{CARRIER})(?: (?:already|now|not|yet|currently|still|does|n't))* (?:has|have)\b(?! (?:already |not |n't |now |just )*(?:received?|taken|collected|picked|got|delivered|been|to)\b)"),
    ("delivered", r"\bdelivered\b(?! (?:order|orders)\b)|\barrived\b|\bcame (?:with ⓒ|by ⓒ|on ⓓ)|\bgot there\b|\bdropped off\b|\bhanded to you\b"),
    ("packed", r"\bpacked\b|\bpacking,? (?:is|was|has been)(?: now| already)? ?(?:complete\w*|done|finished)|\bin its (?:parcel|packaging|box)\b|\bstands ready\b|\bready (?:for|to be) (?:the carrier|shipp|dispatch)|\bboxed\b"),
    ("cancelled", r"\bcancell?ed\b(?! orders\b)|\bcalled off\b"),
    ("returned", r"\breturned\b(?! orders?\b)|\b(?:sent|went|came|come) back\b"),
    ("closed", r"\bclosed\b|\bfinished matter\b|\bcome to its end\b|\bfinal\b(?! step)"),
    ("late", r"(?<!too )(?<!or )\blate\b(?! to\b)|\bdelay(?:ed)?\b|\boverdue\b|\brunning behind\b|\bbehind (?:its|schedule)\b|(?:ⓓ|\bdate)[^.;]{0,25}\bhas passed\b|\bpast ⓓ|\blonger than (?:planned|expected)\b"),
    ("paid", r"\bpaid\b(?! (?:by|with|in)\b)", r"\bpayment(?: (?:is|was|has|have|for|of|been|order|ⓞ|your|now|already|the))* (?:received|complete\w*|done|reached|gone through|went through|noted|successful|come in|arrived)\b",
     r"\b(?:received|see|noted|got) (?:your |the |a )?payment\b|\bcompleted payment\b|\bpayment received\b|\bthank you for your payment\b",
     r"\bmoney (?:is here|for order ⓞ has come in|has (?:come in|arrived|reached))"),
))

REFUND_IDIOMS: Sequence[tuple[str, bool, Pattern]] = tuple((name, wanted, _all(*patterns)) for name, wanted, *patterns in (
    ("refund_declined", True, r"\bno refund of ⓜ|\b(?:not able|unable) to approve\b|\bwent against\b|\bturned down\b|\b(?:will|can) not (?:get|receive|be paid|be refunded|refund|pay)\b|\bdecided\b[^.;]{0,20}\bnot to refund\b|\bdeclin\w+ to\b"),
    ("refund", False, r"\bno (?:\w+ )?refund\b(?! request)", r"\b(?:cannot|not|n't) (?:find|see|show|have|contain|list)(?: \w+){0,4}? refund\b|\bnot find a refund\b",
     r"\brefund(?: for (?:your )?order ⓞ)? (?:is not|isn't|has not been|does not|was not|doesn't|never)(?: \w+)? ?(?:recorded|registered|found|appear|on record|show\w*|entered|requested)", r"\bnone (?:recorded|on record)\b|\bhave none\b",
     r"\brefund part of our records is empty\b|\bnothing (?:has been )?(?:entered|recorded) as a refund\b|\bwithout a(?:ny)? refund\b|\bnot (?:a|any) refund\b"),
    ("refund_pending", True, r"\b(?:waiting|waits|awaiting|awaits)(?: for)? (?:an? |our |the )?(?:decision|approval)|\b(?:not|n't|yet to)(?: yet)?(?: been| be)? (?:approved|decided)\b|\bnot (?:yet )?(?:decided|made a decision)",
     r"\bdecision\b[^.;]{0,40}\b(?:still to come|outstanding|open|pending|not)\b|\b(?:is|still) (?:still )?open\b|\bopen refund request\b|\bnobody has decided\b|\bno decision\b|\bapproval is (?:still )?(?:outstanding|pending|open|missing)\b|\bwhat exists is the request\b|\bis (?:still )?pending\b|\b(?:being|still) (?:decided|reviewed|checked|processed|considered)\b|\b(?:under|in) review\b"),
    ("refund_coming", True, r"\b(?:will|'ll|shall|going to)(?: then| also| soon)?(?: be)? (?:paid?|refund\w*|get|receive(?! an? (?:answer|reply|response|e-?mail))|transfer\w*|credited|sent)\b|\b(?:is|are) paid(?: ⓜ)?(?: \w+){0,5} within\b|\b(?:is|are) paid ⓤ|\byou are paid\b|\bpay approved\b",
     r"\bpayment (?:of ⓜ )?(?:is made|follows|still to come|will follow|comes)\b|\bpayment (?:is )?still to come\b|\bwith the payment still to come\b|\bwhat remains is the payment\b|\bgoes out\b|\bpayable\b|\buntil it is paid\b|\bfor the payment of ⓜ|\bthat you receive a refund\b|\bpayment of ⓜ takes\b|\bwithin ⓤ ⓜ goes\b|\bon its way\b"),
    ("refund_paid", True, r"\bgone (?:out|back)\b|\bwent (?:out|back)\b|\bsent ⓜ|\bpayment of your refund is done\b|\bno longer with us\b|\bnothing is outstanding\b|\bpayment of ⓜ to you is on record\b|\bpaid (?:out|you|back)\b|\b(?:been|was|were|have|has)(?: already)? (?:sent|transferred|credited|wired)\b|\bpaid ⓜ|\bpaid the refund\b|\b(?:transferred|credited)\b"),
))

REFUND_PLAIN: Sequence[tuple[str, Pattern]] = tuple((name, _all(*patterns)) for name, *patterns in (
    ("refund_paid", r"\bpaid\b(?! by\b)|\brefunded\b"),
    ("refund_approved", r"\bapproved\b|\bapproval\b|\bgranted\b|\baccepted\b|\bdecision (?:about|on|for)[^.;]{0,60} is made\b"),
    ("refund_declined", r"\b(?:declined|rejected|refused|denied)\b"),
    ("refund", r"\brequest(?:ed)?\b|\basked for\b|\b(?:is|see|found) a refund\b"),
))

POSSIBLE_WORD = (
    r"\bcan(?! see| tell| confirm| say| find)\b|\b(?:could|may|might|cannot|able|possible|impossible|allow\w*|lets?|too late|time to|time for|still time|open to|option|works?|in the way|no way|way to|"
    r"rules? out|leaves? nothing|ends|chance|no longer (?:cancel|change)|not too late|stop)\b|\bcan't\b"
)
IMPOSSIBLE_WORD = (
    r"\bneither\b.*?\bnor\b|\b(?:not|no|cannot|never|nothing|neither|unable|impossible|too late|in the way|rules? out|ends)\b|n't\b"
)

CUES: Sequence[tuple[str, Pattern]] = tuple((name, _all(*patterns)) for name, *patterns in (
    ("placed", r"\bplaced\b|\bordered\b|\border date\b|\bdate of (?:the|your|this) order\b|\bpurchase[d]?\b|\border (?:ⓞ,? )?(?:of|from)\b|(?<!for )(?<!of )\border ⓞ,? dated\b|\border ⓞ on record, dated\b|\bday you ordered\b|\border dates\b|\byou made\b|\bbought\b"
     r"|\bcome in\b|\bwe (?:have )?received\b|\bin our system\b|\border was made\b|\bregistered\b"),
    ("paid", r"\bpaid\b[^.;,]{0,25}\bon (?=ⓓ)|\bpayment (?:was|came|arrived|reached us|received) (?:in )?on\b"),
    ("packed", r"\bpacked (?:it )?on\b"),
    ("cancelled", r"\bcancell?ed (?:it )?on\b"),
    ("returned", r"\breturned (?:it )?on\b|\bsent back on\b"),
    ("shipped", r"\bshipp(?:ed|ing)\b|\bsent\b|\bhanded\b|\bhandover\b|\bleft us\b|\bdispatch(?:ed)?\b|\bpassed\b(?! the)|\bgone out\b|\bwith the carrier\b|\bcarrier ⓒ has\b|\bcarrier since\b|\bhas had it since\b|\bway since\b|ⓒ since\b|\bpicked up\b|\bcollected\b|\bon its way since\b|\bhaving left\b"),
    ("expected", r"\bexpect(?:ed|ing)?\b|\bplanned\b|\bdue\b|\bshould\b|\barrives?\b|\barrival\b|\bwill (?:be|reach|arrive|get|come|receive)\b|\blook out\b|\bset for\b|\bwas to\b|\bwere to\b|\bhas passed\b|\blate\b|\bestimated\b|\bscheduled\b|\bis being\b|\bby (?=ⓓ)"
     r"|\bbehind its date\b|\bpast\b"),
    ("delivered", r"\bdelivered\b|\barrived\b|\breached you\b|\bbrought\b|\byou (?:\w+ )?received\b|\bgot it\b|\byou have it\b|\byou already have\b"),
    ("delivery", r"\bdelivery\b|\bday of arrival\b|\bdeliver\b|\bit comes\b"),
    ("refund", r"\bapprov\w+|\bdeclin\w+|\brefund\w*|\brequest\w*|\bupdate\w*|\bentry\b|\brecorded\b|\bnoted\b|\bdecision\b|\bdecided\b|\bpaid\b|\bpayment\b|\bturned down\b|\bas of\b|\bsent\b|\bwent out\b|\bchanged\b"),
))

TOPICS = {name: _all(*patterns) for name, *patterns in (
    ("possible", POSSIBLE_WORD), ("impossible", IMPOSSIBLE_WORD),
    ("refund", r"\brefund\w*|\bmoney (?:\w+ )?back\b|\b(?:asked|wanted|requested|paid|get|pay|gone|receive)\b[^.;,]{0,20} back\b|\bapprov\w+|\bdeclined\b|\bwent out to you\b|\breimburse\w*|\brequest(?:ed)?\b[^.;]{0,40}(?:ⓜ|\bdecision\b)|ⓜ[^.;]{0,30}\brequested\b|\bmoney\b[^.;]{0,60}\brequested\b|\bdecided? about\b|\b(?:pay|paid) you\b|\bare paid\b|\bget ⓜ|\brequest is with us\b"),
    ("of refund", r"\b(?:none|it|this|payment|amount|entry|decision|request|paid|requested|ⓜ|approval|update)\b|ⓜ|ⓓ"),
    ("stock", r"\bstock\b|\bavailab\w+|\bsold[ -]out\b|\bon hand\b|\bhave (?:the item |any )?ⓘ|\bshelves\b|\bran out\b|\brun out\b|\b(?:left|units|pieces|remaining)\b|\bquantity\b|\bwe do have\b|\bbe had\b|\bbe bought\b|\bis there\b|\bthat you can have it\b|\bnothing more of\b|\bwithout it\b|\boffer you\b|\bwe (?:\w+ )?have ⓝ|ⓝ of (?:them|it)\b|\bback[- ]?order"),
    ("gone", r"\bout of stock\b|\bsold[ -]out\b|\b(?:not|n't|no longer) (?:\w+ )?(?:available|in stock|in our stock)\b|\bunavailable\b|\bno (?:more )?stock\b|\bno longer (?:sell|have)\b|\bstock (?:of ⓘ )?is (?:\w+ )?empty\b|\b(?:run|ran) out\b|\bused up\b|\bshelves are empty\b|\bnothing more of\b|\bwithout it\b"
     r"|\b(?:not|n't) (?:currently )?have (?:the item |any )?ⓘ|\bcannot offer\b|\b(?:no|none)(?: \w+)? (?:left|remaining|units)\b|\bhave no ⓘ|\b(?:not|n't) have any\b|\bdisappoint you\b"),
    ("price", r"\bprice[ds]?\b|\bcosts?\b|\bsold at\b|\bsold for\b|\bsells? for\b|\bwe sell\b|\bbuy\b|\byou pay\b|\bwe ask\b|\bcomes to\b|\bspend on\b|\bneed to get\b|\bfor (?=ⓜ)|\bwith (?=ⓜ)"),
    ("total", r"\btotal\b|\border value\b|\bamount\b|\bsum\b|\bvalue of\b|\byou (?:have )?paid\b|\border\b"),
    ("recommended", r"\brecommend\w*|\bsuggest\w*|\bsuits?\b|\bmight like\b|\bmay like\b|\bwould like ⓘ|\bideas?\b|\bpicked\b|\bchosen\b|\binterest you\b|\bworth a look\b|\bto your taste\b|\binspiration\b|\bhow about\b|\bhave a look at\b|\bwhat about\b|\bperfect for you\b|\bideal for you\b"),
    ("not found", r"\b(?:cannot|can't|could not|couldn't|do not|don't|did not|didn't|unable to|not able to|not|never)(?: \w+){0,3}? (?:find|found|see|locate|match|recogni[sz]e|identify)\b",
     r"\b(?:no|none|nothing|not|n't|without)\b[^.;]{0,45}\b(?:account|order|orders|purchase|result|success|fits|records|under|number)\b|\baccount\b[^.;]{0,30}\b(?:no|not|nothing|none|without|empty)\b|\b(?:not|n't|never) (?:exist|appear|match|contain|show|belong|find)"),
    ("check it", r"\b(?:check|checked|checking|verify|verified|correct|mistyped|mistake|wrong|right|compare|typo|confirm|another look|look at the number|read the order number|typing error)\b"),
    ("no orders", r"\b(?:no|any|an|without) (?:\w+ )?(?:orders?|purchase)\b(?! numbers?\b| date)[^.;]{0,12}\baccount\b|\baccount\b[^.;]{0,22}\b(?:no|any|an|without) (?:\w+ )?orders?\b(?! number)|\baccount\b[^.;]{0,12}(?<!and )\b(?:none|nothing(?! else)|empty)\b|\borders? in your account is empty\b"
     r"|\bno purchase is linked\b|\bfound among the orders\b|\byou (?:have|placed) no (?:\w+ )?orders?\b|\baccount\b[^.;]{0,12}\bhas no\b|\bno order appears\b"),
    ("generic", r"\b(?:orders|an order|every order|any order|each order|all orders)\b"),
    ("several orders", r"\bseveral orders\b|\bmore than (?:a single|one|1) order\b|\bmultiple orders\b|\bthese orders\b|\b(?:both|two|2) (?:of your )?orders\b"),
    ("colleague", r"\b(?:colleagues?|person|team|staff|human|somebody|someone|agent|specialist|representative|employee|member|advisor|manager|supervisor)\b"),
    ("echo", r"\byou (?:asked|wrote|mention\w*|said|told|named|gave|sent|are asking|want|would like|request\w*)\b|\byour (?:message|request|question|wish|concern)\b|\brequest\w*\b|\basked\b"),
    ("grace", r"\b(?:contact|turn to|ask|report|customer service|let customer|get in touch|wait|give the carrier)\b"),
    ("payout", r"\b(?:pay|paid|payment|refund\w*|approv\w*|payable|goes out|back|receive|get|transfer\w*)\b"),
    ("specific", r"\b(?:your|this|the|that) (?:order|parcel|package|shipment|delivery)\b(?! (?:confirmation|number|cost|address|value|status|date|note|option|time))|ⓞ|ⓣ|ⓒ|ⓓ"),
    ("universal", r"\b(?:always|never|every|everything|anything|any|all|only|whatever|anywhere|guarantee\w*|no)\b"),
    ("giving", r"\b(?:you (?:will |'ll |can |now |also |even |may )*(?:get|receive|be given|are given|earn|save|qualify|are entitled)|(?:we|i|we'll|i'll)\b[^.;]{0,25}\b(?:give|send|add|added|offer|grant|granted|credit|credited|waive|include|included|attach|apply|applied|sent|gave|throw)|here is|enjoy|as an? (?:apology|compensation|thank|gesture)|to make up)\b"),
    ("asks secret", r"\b(?:send|give|tell|provide|share|confirm|reply with|need|submit|forward|let us have|let us know|what is)\b[^.?!]{0,50}\b(?:password|passcode|pin\b|card (?:number|details|data)|credit card|cvv|cvc|bank details|bank account|iban|account number|passport|social security|security code|login details|one-time|date of birth)"),
    ("vague time", r"\b(?:shortly|soon|immediately|right away|straight ?away|as (?:quickly|soon|fast) as (?:possible|we can)|asap|without delay|promptly|instantly|in no time|in a moment|momentarily|any (?:minute|moment|day) now|quickly|at the latest|overnight)\b"),
    ("state", r"\b(?:(?:your|this|that|the) (?:order|parcel|package|shipment)|order ⓞ|ⓞ)(?: ⓞ)?,? (?:is|was|has|had|will|are|were|contains|includes|comes)\b|^(?:it|they) (?:was|were|has|had)\b|ⓣ|ⓒ|ⓧ"),
    ("cannot find", r"\b(?:not|n't|cannot|unable to|no|none)\b[^.;]{0,30}\b(?:find|found|see|locate|exist|appear|match)\b[^.;]{0,40}\b(?:order|account|it|number)\b|\bno (?:such )?order\b|\b(?:order|it|number) ⓞ[^.;]{0,20}\b(?:not|n't) (?:exist|appear|found|match)"
     r"|\baccount\b[^.;,]{0,40}\b(?:no(?! longer)|not|nothing|none|n't)\b|\b(?:no(?! longer)|nothing|none|not|n't)\b[^.;,]{0,40}\baccount\b(?! again)|\bwithout success\b|\bno result\b|\bmistyped\b|\bnone with the number\b|\bwrong with the (?:order )?number\b"),
    ("both", r"\b(?:both(?: of)?(?: your)?|all(?: of)? your)(?: two| 2)? (?:orders|parcels)\b|\byour (?:two |2 )?orders (?:are|were|have)\b"),
    ("receive", r"\b(?:receive|get|paid|amount|sum|pay)\b"),
    ("event", r"\b(?:was|were|had)\b"), ("reason", r"\b(?:because(?: of)?|due to(?! (?:arrive|be|reach|come|get))|the reason (?:is|was|for (?:this|it) (?:is|was)))\b"),
    ("praise", r"\b(?:best|bestsell\w*|best-sell\w*|popular|cheap\w*|newest|favou?rites?|a few|last ones?|top|finest|quality|almost gone|selling fast)\b"),
    ("same for it", r"\bthis (?:is the case|applies|is so|is true)\b[^.;]*ⓞ"),
    ("yet", r"\b(?:yet|so far|still|for now)\b"), ("those", r"\b(?:they|them|these|those|it)\b"), ("offered", r"\brecommend\w*|\bsuggest\w*|\bwould ⓘ|\bhow about\b|\bwould you like\b|\bdo you want\b|\btaste\b|ⓘ|\bdid you know\b"),
    ("of the shop", r"\b(?:product page|stores?|sold-out items|items in the cart)\b"),
    ("right", r"\b(?:can|cannot|can't|may|must|could|able to|have to|need to|allowed to|possible to|required to|free to|entitled to)\b(?: \w+){0,4}? (?:return(?:ed)?|exchanged?|refunded|refund (?:it|you|the|your|all)|collect(?:ed)?|pay|paid|keep|send (?:it|them|the items?|something) back|pick (?:it )?up)\b|\byou can(?:not)?(?: also)? order\b"
     r"|\breturn(?:s|ing)?\b(?! of)[^.;,]{0,25}\b(?:is|are|cannot|can|must|not|costs?|takes?)\b|\bwe (?:do not |don't |cannot |can |only |also |always |never )*(?:refund|deliver|ship|accept|sell|pay|return|exchange|charge|transfer|send|replace|collect|cancel)\b(?! ⓘ| the item)"
     r"|\b(?:refunds|deliver(?:y|ies)|payments?|orders|an order|items|returns|exchanges) (?:is|are|takes?|costs?|can|cannot|must|may|has|have|will)\b(?! ⓓ)|\byou (?:will )?(?:get|receive) (?:a|an|your|the full|the) (?:refund|money|replacement|full)"),
    ("exception", r"\b(?:except|excluded|apart|unless|but not|from ⓜ)\b"),
    ("free", r"\b(?:free|no (?:extra )?(?:charge|cost)s?|nothing)\b"),
    ("wishes", r"\b(?:stop using|hear from you|hope|wish|see you|get well|look forward|looking forward|as soon as (?:an?|the|you|it|we have)|emergency)\b"),
    ("emergency", r"\bemergenc\w+"),
)}

_AGENT = r"(?:we|i|we've|i've|we'll|i'll|our team|our colleagues?|a colleague|the colleague|they|somebody|someone|a person|the team|customer service|our staff|a member of (?:our )?(?:staff|team)|he|she)"
_DID = (
    "contacted|informed|notified|called|phoned|arranged|organi[sz]ed|reserved|extended|escalated|credited|issued|initiated|started|opened|created|upgraded|replaced|resent|re-sent|reordered|updated|"
    "changed|corrected|removed|added|applied|blocked|deleted|transferred|processed|investigated|launched|booked|scheduled|rescheduled|redirected|rerouted|expedited|prioriti[sz]ed|speeded|sped|fixed|"
    "solved|resolved|adjusted|modified|amended|submitted|filed|triggered|set up|set aside|instructed|asked (?:the|our|ⓒ)|told (?:the|our|ⓒ)|spoken|talked|emailed|mailed|ordered|waived|deducted|discounted|cleared|withdrawn|reactivated|restored|unlocked|reset|closed"
)
_DO = (
    "call|phone|ring|send|ship|cancel|change|replace|update|inform|notify|let you know|keep you|solve|resolve|fix|arrange|organi[sz]e|compensate|credit|give you (?!an? (?:answer|reply|response))|offer|extend|deliver|visit|email|"
    "e-mail|investigate|check with|contact the|ask the|speed|expedite|prioriti[sz]e|reserve|hold|process|waive|apply|add|remove|make sure|ensure|guarantee|promise|transfer|book|schedule|reship|resend|issue|escalate|follow up|"
    "remind|repair|collect|pick up|exchange|reorder|restock|match|personally visit|come back to you with"
)
ACTIONS: Sequence[tuple[str, Pattern]] = tuple((why, _all(pattern)) for why, pattern in (
    ("says that something was done; the system does nothing but answer and pass on messages",
     rf"\b{_AGENT}(?: (?:have|has|had|are|is|'ve|just|now|already|also|have already|have now|therefore|immediately|then|today))* (?:{_DID})\b"),
    ("says that something was done; the system does nothing but answer and pass on messages",
     r"\b(?:has|have) been (?:contacted|informed|notified|escalated|reserved|credited|issued|initiated|opened|created|upgraded|resent|updated|changed|corrected|added|applied|arranged|prioriti[sz]ed|expedited|rescheduled|set aside|set up|resolved|solved|fixed|processed|submitted|filed)\b"
     r"|\bis being (?:arranged|organi[sz]ed|processed|investigated|resent|expedited|prioriti[sz]ed)\b"),
    ("promises something that no fact or rule holds",
     rf"\b{_AGENT}(?:'ll| will| shall| am going to| are going to| is going to| can| could)(?: (?:also|then|now|gladly|happily|of course|personally|try to|be (?:able|happy|glad) to|certainly|surely|immediately|automatically|even|directly|simply|gladly))* (?:{_DO})"),
    ("offers something that the system cannot do",
     r"\b(?:would you like|do you want|shall|should|may|want|if you (?:like|wish|want),?) (?:us|we|i|me)(?: to| can| could)? (?:cancel|refund|change|resend|replace|call|send|arrange|book|reserve|update|order|reorder|add|apply|ship|extend|upgrade|contact|check with)\b"),
)) + (
    ("promises what a person will do", re.compile(r"\b(?:colleagues?|they|we|team|person|staff|i)\b[^.;]{0,60}\b(?:will|going to)\b[^.;]{0,50}\band (?:also |then )?(?:pay|refund|cancel|change|send|replace|compensate|call|solve|fix|approve|arrange)\b")),
    ("promises an answer of a certain kind", re.compile(r"\b(?:call(?:s|ed|ing)? you(?: back)?|call ?back|phone you|ring you|visit you)\b")),
)

_DENIAL = re.compile(r"\bneither\b.*?\bnor\b|\b(?:not(?! only)|no(?! later| longer than)|cannot|never|nothing|neither|nor|nobody|none|without|hardly)\b|n't\b")
_SAFE = re.compile(r"\bnothing is missing\b|\bmissing (?:some|the|any) (?:information|details)\b|\bwhat you need is (?:\w+ ){0,2}missing\b|(?<=ⓘ )costs\b(?! nothing)|\bcosts? (?=ⓜ)|\bwhat (?:it|something|an? item|they|ⓘ) costs?\b")
_WORD = re.compile(r"[a-zäöüßéèêçñ]+(?:'[a-z]+)?(?:-[a-z]+)*")
_CLAUSE = re.compile(
    r"[,;:()—–“”\"]|\s-\s|\b(?:but|because|so that|so|while|whereas|although|though|which|who|then)\b"
    r"|\band (?=(?:it|we|you|they|the|your|is|was|has|have|can|cannot|will|should|must|order|a|an|our|if|please|this|that|do|did|not|also|there|i|he|she|everything|nothing|its|returns?|repairs?|express|standard|arrives?|takes?|costs?|goes|comes|applies|lasts?|covers?|includes?|on)\b)"
    r"|\bor (?=(?:we|you|it|customer|contact|have|ask|through)\b)"
)
_SILENT = re.compile(
    r"\bif (?:it|this|the refund|your refund|your request|the request) (?:is|gets|has been|was) approved,[^.;]*|(?:\b(?:if|unless|until|till|when|whenever|as soon as|as long as|so long as|before|in case|provided|whether|were it|suppose)\b"
    r"|\bonce\b(?! more| again)|(?:^|[,;:] |and )(?:should (?=you|it|that|there|your|the|this|questions|something|anything|nothing)|without |after (?=you|they|the return|your return|we)))"
    r"[^,;:.!?]*"
)


def _residue(text: str) -> Sequence[tuple[int, str]]:
    found = []
    text = _SAFE.sub(lambda match: "·" * len(match[0]), text)
    for match in _WORD.finditer(text):
        parts = [match[0], *re.split("[-']", match[0])] if re.search("[-']", match[0]) else [match[0]]
        if not words.known(parts[0]) and not (len(parts) > 1 and all(words.known(part) for part in parts[1:] if part)):
            found.append((match.start(), match[0]))
    return found


def _tokens(part: Marked) -> tuple[Sequence[str], int]:
    text = part.text.replace("n't", " not ")
    for pattern, word in words.SAME:
        text = pattern.sub(word, text)
    found = [one for one in re.findall(r"[a-zäöüß]+(?:-[a-z]+)*", text) if len(one) > 1 and one not in words.STOP]
    return [words.stem(one) for one in found if one not in words.DENIES], sum(1 for _ in _DENIAL.finditer(text))


GRAMMAR = Grammar(
    language="en",
    sentence_end=re.compile(r"(?<!\be\.g)(?<!\bi\.e)(?<!\bno)[.!?…]+[\"”')]*(?=\s|$)|\n+"),
    clause_end=_CLAUSE,
    question=re.compile(r"\?[\"')]*$"),
    silent=_SILENT,
    denial=_DENIAL,
    possible=re.compile(
        r"\b(?:can|could|may|might|cannot|would|must|should not|need(?:s|ed)?(?: not)? to|have to|has to|had to|able to|like to|want(?:ed|s)? to|wish(?:es)? to|excluded from|if)(?: \w+){0,3} ?$"
        r"|\bto (?:be |have |get )*$|\bcan't (?:\w+ ){0,2}$"
    ),
    future=re.compile(r"(?:\b(?:will|shall|going to|about to|to be)|'ll)(?: \w+){0,4} ?$|\bexpected to be $"),
    idioms=IDIOMS, plain=PLAIN, refund_idioms=REFUND_IDIOMS, refund_plain=REFUND_PLAIN,
    acts={
        "changeable": re.compile(r"\b(?:chang\w*|adjust\w*|modif\w+|edit(?:ed|ing)?|amend\w*|alter(?:ed|ing)?)\b"),
        "cancellable": re.compile(r"\b(?:cancel\w*|call(?:ed|ing)?(?: it| order ⓞ| the order)? off|withdraw\w*|stop order)\b"),
    },
    verb=re.compile(r"\b(?:is|are|was|were|be|can|cannot|will|has|have|do|does|did|must|may|should|it|we|you|they|please|if|takes?|costs?|needs?|starts?)\b"),
    cues=CUES, topics=TOPICS, residue=_residue, tokens=_tokens, hinges=frozenset(words.stem(word) for word in words.TOPICS | words.SUBJECTS),
    hard=frozenset(words.stem(word) for word in words.TOPICS), opposites=tuple((words.stem(one), words.stem(other)) for one, other in words.OPPOSITES),
)
