"""English words that by themselves say nothing that could be false of this shop, and words of rules.

A word that stands in none of these lists is taken for a statement that the facts must support.
"""

import re

from footfall.support.checking.words import listed

FUNCTION = listed("""
a about above across after again against ago ahead all almost along already also although always am among an and
another any anybody anyone anything anyway apart are around as aside at away back be because been before behind being
below beside besides between beyond both but by can cannot could did do does doing done down during each either else
ever every everybody everyone everything except far few for from further had has have having he hence her here hers
him his how however i if in indeed instead into is it its itself just last least less let like longer likewise little
lot lots many may maybe me meanwhile might mine more most much must my myself namely near neither never next no nobody
none nor not nothing now of off often on once one ones only onto or other others otherwise ought our ours ourselves
out over own per perhaps please quite rather really right same several shall she should since so some somebody someone
something somewhere soon still such than that the their theirs them themselves then there therefore thereby these they
thing things this those though through thus till to together too toward towards under unless until up upon us usually
various very via was we well were what whatever when whenever where whereas whether which while who whole whom whose
why will with within without would yes yet you your yours yourself am's don didn doesn isn wasn won wouldn couldn
shouldn hasn haven hadn aren weren ain ll ve re s t d m it's e g ie eg etc ok okay
""")

SERVICE = listed("""
able absolutely accept according accordingly account action actually add additional additionally advance advice advise
afraid afternoon agree ahead allow alright annoyed annoying answer answerable anticipate anymore anytime apologies
apologise apologize apology apparent apparently appear application apply appreciate approach aside ask assist
assistance assistant assure attach attention attentive automatic automatically aware bad bank bear become beforehand
begin beginning belief believe belong besides best better big bit bother brand brief briefly bring brought browse
budget business call calm calmly care careful carefully case catch caution certain certainly chance character chat
check cheer cheers choice choose chosen circle circles clarification clarify clear clearly closer colleague color
colour come comfortable comment communicate compare comparison compatible complain complaint complete completely
concern concerned confident confirm confirmation confuse confused confusion connect connection consider contact
contain content continue convenience convenient conversation copy correct correctly count course courtesy cover
criticism curious current currently customer date day deal dear decide decision definitely delighted depend describe
description deserve desire detail details differ different differently difficult difficulty digit direct direction
directly disappoint disappointed disappointing disappointment dissatisfied distress do double double-check doubt due
earlier early easily easy effort elsewhere email emergency empathise encounter end enjoy enough enquire enquiry ensure
enter entire entirely entry especially evening everyone exact exactly example excellent except exception excited
excuse exist expect expectation experience explain explanation explore exploring express extremely fact fair familiar
far favour favourite feedback feel feeling fellow field figure final finally find fine first fit fix folks follow
follow-up following followup force forth fortunately forward found frank frankly friend friendly front frustrate
frustrated frustrating frustration full fully furthermore future gap general generally gentle get getting gift-giving
give given glad gladly go going good goodbye goods got grateful great greatly greet greeting guess guessing guide hand
handle handover happen happy hard hassle have health hear heard hearing hello help helpful here hesitate hey hi hobby
hold honest honestly hope hopefully human hurt hurting idea identify imagine immediate important impression improve
incident include inconvenience inconvenient incorrect individual inform information initial inquire inquiry
inspiration instance instead interest interested interesting internal involve issue join keen keep kind kindly know
knowledge known language large late later latest lead learn leave led left let letter lie life light like likely limit
line lines link list listen little long look look-up lookup lovely luckily madam made main make manner many mark match
matter mean meaning meant meet member mention message mind minute misread miss mistake mistaken mistype mistyped
misunderstand misunderstanding misunderstood model moment money more moreover morning most move mr mrs ms name natural
naturally nature near nearly necessary need new news nice night normal normally note nothing notice number obvious
obviously occasion occur offer often ok old open openly opinion option order ordinary original originally other
outcome outside outstanding overall overview page pardon part particular particularly party pass passed past patience
patient pay people perfect perfectly person personal personally phrase pick picture piece pity place plain plan
pleasant please pleased pleasure point polite position possible possibly prefer preference prepare present pretty
previous previously problem proceed process product profile promise proper properly provide purchase purpose put query
question quick quickly quite raise re-check read reader readily reading ready real really reason receive recent
recently recheck recipient recognise recognize recommend recommendation record refer reference regard regarding
regards regret regrettable regrettably relate relation relevant rely remain remaining remark remember remind repeat
repeatedly reply report represent representative request require research resolve respect respond response responsible
rest result review right ring role round run sad sadly safe safety sake satisfied satisfy say search second see seem
select send sense sent sentence separate serious seriously serve service set settle several share shelf shelves shop
shopping short show side similar simple simply sincere sincerely single sir situation size slight slightly small
solution solve somehow sorry sort sound speak special specialist specific specify spell spelling spend staff stage
stand start state statement stay step stick stop store story straight stress stretch strong style subject success
successful such suggest suggestion suit suitable sum support suppose sure surely surprise surprising system take taken
talk task taste team tell term thank thankful thanks that thing think thought thrilled thumbs time title together told
too tool top topic touch treat treatment trouble true truly trust try turn type typed typo ugly unable unanswered
uncertain unclear under understand understandable understandably understanding understood unexpected unfortunate
unfortunately unhappy unknown unnecessary unpleasant unsure unused update updated upset urgency urgent use used useful
user usual valid value various verify version via view visit wait waiting want warm warmly was watch way week weekend
welcome well whatever whenever wish wonder wonderful word words work world worried worry worth write writing written
wrong wrote year yes yourself
""")

ORDERS = listed("""
active adjust adjusted amend amount approval approve arrival arrive article await awaiting box bought boxed buy call
called calling cancel canceled cancellation carried carrier carries carry change closed collect collected collection
come coming courier day decline delay deliver delivered delivering delivery despatch detail dispatch door edit
estimate estimated eta expect fulfil gone goods handed handover happen inactive item items journey lane left list
listed log mail modify moment movement number off open order ordered overdue own pack packed package packaging packing
paid parcel pass payable payment pending place placed plan planned post purchase purchased quantity reach ready
receive receipt record recorded refund refunded register registered reject rejected release request requested return
returned round route schedule scheduled sell send sending sent ship shipment shipped shipping sold status stock
stopped stay sum system takeover track tracked tracking transfer transit transport travel travelling traveling turned
unpaid update updated wait warehouse way withdraw within empty finish rule apply note date dated line lines sake
accordance earmarked on-hand available availability unavailable unit units price priced prices pricing category
catalogue range hand lateness
""")

KNOWN = FUNCTION | SERVICE | ORDERS

GIVING_AWAY = listed("""
bonus compensate compensation coupon credit discount free freebie gift goodwill gratis points present prize promo
rebate reduction reward sample upgrade voucher cashback cash
""")
"""What a shop may give: said to a customer, it must be a rule."""

STOP = FUNCTION - listed("""
before after until till without only always never every all any each less least most except same both once again nor
not no nothing none neither cannot nobody 
""") | listed("""
please kindly thank thanks sorry glad happy hello dear want wish like need know tell let case possible able help way
question apply get give go take make come put mean also just simply usually normally generally note happen have
""")

TOPICS = listed("""
abroad advertising all always any anytime appointment austria automatically belgium business cancel card cart cash
change charge charger charging chat chilled clearance cosmetics cost country courier court credit customs damaged
debit delete drop e-mail earphones edit email every except expense express faulty food forever france free fresh
friday frozen full germany gift giftcard guest half holiday immediately instalment instantly insult interest large
least lifetime liquid lost luxembourg match minimum missing monday most neighbour netherlands never notify online only
opened part personal personalised phone pick-up po power price refund replace replacement retailer return saturday
sealed small software spoilt standard star store stores sunday supplier swimwear transfer underwear unlimited unopened
vat wear weekend without worldwide wrong
""")
"""Words on which a rule turns: a sentence that has one which its rule has not says something else."""

SAME = tuple((re.compile(pattern), word) for pattern, word in (
    (r"\b(?:at any time|anytime|any time|whenever you (?:like|want))\b", " anytime "),
    (r"\b(?:only|no more than|at most|a maximum of|exactly|just) (?=[ⓝⓤⓜ])", " "),
    (r"\b(?:free of charge|at no (?:extra |additional )?(?:cost|charge)|for free|costs? (?:you )?nothing|without (?:any )?(?:extra |additional )?(?:cost|charge)s?|no (?:extra |additional )?(?:charge|cost|fee)s?|free)\b", " free "),
    (r"\b(?:send|sends|sending|sent|give|giving|gave|bring|bringing|ship|shipping|post|mail|hand|handing)(?: (?:it|them|the (?:item|items|goods|product|products)|items?|goods|something|things|everything|your items?))? back\b", " return "),
    (r"\b(?:send|sent|sending)(?: it| them)? in\b", " return "),
    (r"\b(?:money back|reimburse\w*|get your money)\b", " refund "),
    (r"\b(?:called|calling|call)(?: it| the order| order ⓞ)? off\b|\bwithdraw\w*\b|\bcanceled\b|\bcanceling\b", " cancel "),
    (r"\b(?:swap|swapped|swapping|exchanged?|exchanging)\b", " exchange "),
    (r"\b(?:adjust\w*|modif\w+|alter\w*|amend\w*|edit\w*)\b", " change "),
    (r"\b(?:courier company|delivery company|shipping company|courier|handed over)\b", " carrier "),
    (r"\b(?:apart from|aside from|with the exception of|save for|leaving aside|other than|excluding|unless|except for|excepted|excluded items aside|exception)\b", " except "),
    (r"\b(?:can not|can't|unable to|not able to|not possible|impossible|not allowed|not permitted|forbidden|prohibited|not eligible|ineligible)\b", " cannot "),
    (r"\b(?:get in touch with|reach out to|turn to|speak to|talk to|write to|approach|ask|notify|inform|let|tell)(?= (?:our )?customer (?:service|support))", " contact "),
    (r"\bcustomer (?:support|care|services?)\b|\bour support(?: team)?\b", " customer service "),
    (r"\b(?:bought|buy|buying|purchased|purchase)\b", " purchase "),
    (r"\b(?:goods|products?|articles?|things?)\b", " item "),
    (r"\b(?:parcels?|packages?|shipments?)\b", " parcel "),
    (r"\b(?:receiv\w+|receipt of|get(?:ting)? it|reached you|arriv\w+|delivered)\b", " deliver "),
    (r"\bcollect(?:ed|ing|s|ion)?\b|\bpick(?:ed|ing)?[ -]?(?:it |them |your order |online orders |orders )?up\b|\bclick and collect\b", " pick-up "),
    (r"\bgift cards?\b", " giftcard "), (r"\b(?:sign|log)(?:ging|ged)?[- ]?(?:in|on)\b", " log-in "),
    (r"\b(?:voucher|promo|discount) codes?\b|\bvouchers?\b", " coupon "),
    (r"\b(?:original|same) (?:means of payment|payment method|way you paid)\b|\bthe way you paid\b|\bhow you paid\b", " original means of payment "),
    (r"\b(?:e-mails?|emails?)\b", " e-mail "), (r"\b(?:pictures?|images?)\b", " photo "),
    (r"\b(?:guarantee)\b", " warranty "), (r"\b(?:defect|defective|broken|fault|faults|faulty)\b", " faulty "),
    (r"\b(?:till|up until)\b", " until "), (r"\b(?:sold[- ]out)\b", " sold-out "),
    (r"\b(?:shops?|branch|branches|stores?)\b", " store "), (r"\b(?:abroad|other countries|internationally)\b", " other countries "),
    (r"\b(?:newest)\b", " latest "), (r"\bturn(?:ed)?(?: it| the device)? (on|off)\b", r" switch \1 "),
    (r"\b(?:whole|entire|complete)\b(?= order)", " whole "), (r"\bexpire[sd]?\b|\bvalidity\b", " valid "),
    (r"\bfrom the date of\b|\bafter the\b(?= deliver)|\bafter\b(?= deliver| you deliver)|\bof\b(?= deliver)|\bonce\b", " "),
    (r"\bmailed\b", " send "), (r"\breplac(?:e|ed|ing)\b", " replacement "), (r"\brepair(?:ed|s|ing)\b", " repair "),
))
"""Turns of phrase that mean the same in a rule."""

SUBJECTS = listed("""
account battery confirmation coupon invoice label newsletter password photo register repair review socket warranty address complaint
exchange report reserved parcel
""")
"""Words that say what a rule is about: its passage must have them."""

OPPOSITES = tuple(tuple(pair.split("/")) for pair in (
    "open/closed before/after until/after with/without more/less free/cost free/charged include/exclude include/except valid/invalid accept/refuse same/different "
    "buyer/recipient first/last least/most earlier/later rise/fall lower/raise opened/unopened on/off"
).split())

DENIES = listed("""
not no never none nothing cannot without neither nobody n't
""")

IRREGULAR = {
    "paid": "pay", "sent": "send", "kept": "keep", "bought": "buy", "held": "hold", "took": "take", "taken": "take", "gave": "give",
    "given": "give", "chosen": "choose", "chose": "choose", "found": "find", "lost": "lost", "written": "write", "wrote": "write",
    "left": "leave", "went": "go", "gone": "go", "told": "tell", "got": "get", "broken": "break", "opened": "opened",
    "opening": "opening", "used": "use", "using": "use", "damaged": "damaged", "missing": "missing", "charging": "charging",
    "charged": "charged", "stated": "state", "during": "during", "costs": "cost", "has": "have", "does": "do", "is": "be", "are": "be",
    "address": "address", "address's": "address", "business": "business", "press": "press", "less": "less", "express": "express",
    "applies": "apply", "applied": "apply", "countries": "country", "copies": "copy", "batteries": "battery", "deliveries": "delivery",
    "cancelled": "cancel", "cancelling": "cancel", "cancellation": "cancel", "cancellations": "cancel", "goes": "go", "said": "say", "met": "meet", "replies": "reply", "reply": "reply", "worse": "bad", "customs": "customs", "goods": "item",
}


def stem(word: str) -> str:
    """The word without its commonest endings; two forms of a word mostly meet."""
    if word in IRREGULAR:
        return IRREGULAR[word]
    word = word.removesuffix("'s").removesuffix("s'")
    for ending, instead in (("ies", "y"), ("ied", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("es", ""), ("s", ""), ("ly", "")):
        if word.endswith(ending) and not word.endswith(("ss", "us", "eed")) and len(word) - len(ending) >= (4 if ending == "ly" else 3):
            word = word[: -len(ending)] + instead
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "ls":
        word = word[:-1]
    return word.removesuffix("e") if len(word) > 3 else word


_STEMS = frozenset(stem(word) for word in SERVICE | ORDERS)


def known(word: str) -> bool:
    """Whether the word says nothing by itself."""
    return word in KNOWN or stem(word) in _STEMS or word.removesuffix("'s") in KNOWN
