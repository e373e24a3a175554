"""The language to answer a message in: English, Chinese, or another, which a person answers.

Pure, by script and then by frequent words: knows no grammar and none of the shop's names. A word that it does not know
says nothing, so that misspelt English and the names of products do not make a text foreign; nor does a text of two
words in an unknown language. What the channel says about the language decides where the text itself does not.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import Final, Literal, TypeAlias

from agents.support.redaction import PLACEHOLDER

Language: TypeAlias = Literal["en", "zh", "other"]

# Chinese has no blanks; this is about what a word has in messages.
HAN_PER_WORD: Final = 1.6
OTHER_PER_WORD: Final = 5.0  # of the scripts that do without blanks, as Thai; the others are counted by their blanks
CLEARLY_ENGLISH: Final = 3  # known words that overrule the channel: "refund status" is also what others type

ADDRESSES = re.compile(r"https?://[!-~]{1,2048}|(?<![!-~])[!-~]{1,256}@[!-~]{1,256}", re.IGNORECASE)
HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]+")
# What Chinese has in nearly each sentence, and Japanese has not: that can do without its own script in a few words.
CHINESE_ONLY = re.compile("[的了吗呢吧你您我们这那没么怎什给还请谢货买单订退发钱款换]")
KANA = re.compile("[\u3041-\u309f\u30a1-\u30fa\u30fd-\u30ff\uff66-\uff9d]")
OTHER_SCRIPTS = re.compile(
    "[\u0370-\u03ff\u1f00-\u1fff\u0400-\u052f\u0530-\u05ff\u0600-\u08ff\u0900-\u0fff\u1000-\u109f\u10a0-\u13ff"
    "\u1780-\u17ff\u3041-\u30fa\u30fc-\u30ff\u3131-\u318e\uac00-\ud7a3]+"
)
LATIN_WORD = re.compile("[A-Za-z0-9\u00c0-\u024f\u1e00-\u1eff'_-]+")


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


ENGLISH: Final = _set("""
    a about account actually add address after again agent all already also am an and another any anyone anything
    apply are arent arrive arrived arrives as ask at available away back bad be because been before being best better
    between bill black blue both bought box broken but buy by call came can cancel cancelled canceled cancellation
    cannot cant card case change charge charged cheap cheaper check checked checkout choose clothes code color colour
    come complain complaint confirm contact correct cost could couldnt coupon courier create credit customer damaged
    date day days defective delete deliver delivered delivery did didnt different discount do does doesnt doing done
    dont down each edit email enough even ever every exchange expect expected faulty feedback few find first fix for
    forgot form found free from get getting gift give go going gone good got great guys had has hasnt have havent
    having he hello help her here hey him his hours how hows hurry i id idea if ill im in information instead into
    invoice is isnt issue it item items its ive job just keep kind know last late later leave less let like lost made
    make man many may maybe me mean message missing mistake money month months more most much must my name need needs
    never new newsletter next nice no nobody not nothing now number of off on once one ones online only open opened or
    order ordered ordering orders other our out over own package paid parcel part password pay paying payment people
    per person phone place placed please pls plz policy possible post price problem product products promised purchase
    put question quick quickly reach really receipt receive received recommend red refund refunded refunds register
    replace replacement reply request return returned returning returns review right said same say see seem seems send
    sent service set she ship shipped shipping shop should show sign since size so some someone something soon sorry
    speak start status still stock stop store subscribe support sure switch take talk tell than thank thanks that
    thats the their them then there these they thing things think this those though through thx till time to today
    together told tomorrow too track tracking tried try trying two under understand until unsubscribe up update us use
    used using very waiting want wanted wants warranty was wasnt way we website week weeks well went were what whats
    when whens where wheres which while white who why will wish with within without wont work working works would
    wrong year yes yesterday yet you your yours
""")
# English in letter, but written everywhere, so that they say nothing.
EVERYWHERE: Final = _set("email hello hey hi id no ok okay online password status stop support")

# Frequent words without their accents. Single letters are left out where English chat has them for words: u, y, w.
FOREIGN: Final = tuple(map(_set, (
    # Spanish
    """a al algo ayer ayuda buenas buenos cambiar cancelar como compra con cual cuando cuanto cuenta de del desde
    devolucion devolver dia dias dinero donde el ella en entrega envio es esta este esto estoy factura favor gracias
    ha han hasta hay he hola la las llegado llegar llego lo los mas me mi mis muy necesito no nos para pedido pero por
    porque puede puedo que quiero quisiera recibido reembolso se si sin sobre su tarda tengo tiene todavia todo un una
    ustedes ya yo""",
    # French
    """a ai aide ainsi annuler argent article as au aucun aussi avec besoin bonjour bonsoir ca ce cette colis combien
    commande commander comment compte dans de depuis des deux du elle en encore es est et etait etre eu facture fait
    il ils jamais je jour jours la le les leur livraison livre ma mais mal me merci mes moi mon ne non nos notre nous
    on ont ou paiement pas plait plus pour pourquoi pouvez puis qu quand que quel quelle qui rembourse remboursement
    recu retour retourner salut sans se ses si son sont suis sur svp taille toujours tout tres un une votre voudrais
    vous veux""",
    # German
    """aber als am an auch auf aus bei beim bekomme bestellen bestellt bestellung bezahlt bin bis bitte da danke dann
    das dass dem den der des die dies diese diesen dieses doch du ein eine einen einem einer er es etwas frage fur
    ganz geht geld gerne gibt guten habe haben hallo hat hatte heute hilfe ich ihr ihre im immer in ist ja jetzt kann
    kein keine kommt konnen lieferung mal man mehr mein meine meinem meinen meiner mich mir mit mochte muss nach nicht
    nichts noch nun nur ob oder paket pro rechnung ruckerstattung ruckgabe schon seit sehr sein sich sie sind so
    stornieren tag tage uber uhr um und uns unter vom von vor wann war warum was weil wenn wer werden wie will wir
    wird wo wurde zu zum zur zuruck zuruckgeben""",
    # Italian
    """a al alla anche ancora annullare arrivata arrivato avete buona buongiorno buonasera che chi ci ciao come con
    cosa cosi da dal dei del della di dopo dov dove e fattura fare gia giorni giorno gli grazie ha hai ho il in io la
    le lo ma mi mia mie miei mio molto ne nei nel nella non o ordinato ordine ora ordini pacco pagamento per perche
    piu posso prezzo prodotto puo quando quanto quello questa questo reso restituire ricevuto rimborso scusi se sei si
    sono soldi spedizione su sul tempo troppo tutto un una vi voglio vorrei""",
    # Portuguese
    """a agora ainda ajuda ao aos as boa bom cancelar chega chegar chegou com como compra conta da das de depois dia
    dias dinheiro do dos e ela ele em encomenda encomendei entrega envio esse esta estou eu fatura favor foi gostaria
    ha isso isto ja la mais mas me meu meus minha muito na nao nas no nos o obrigada obrigado oi ola onde os ou para
    pedido pelo pode por porque posso preciso produto qual quando quanto que quero receber recebi reembolso se sem ser
    seu sim so sua tem tenho trocar um uma voce voces""",
    # Dutch
    """aan al als alsjeblieft annuleren ben bedankt bent besteld bestellen bestelling betaald betaling bij dan dank
    dat de deze die dit doe doen door dus een en er factuur gaat geen geld goed goede goedemiddag goedemorgen graag
    haar had hallo heb hebben heeft het hij hoe hoelang hoeveel ik in is ja jij jullie kan kapot klant komt kunnen
    kunt maar maat mag me meer met mijn moet na naar niet niets nog nu of om omdat ontvangen ook op over pakket retour
    retourneren sinds te terug tot uit van veel verzending voor waar waarom wanneer want was wat we wel weer welke wie
    wij wil worden wordt zijn zo zonder""",
    # Polish
    """a albo ale anulowac bardzo bez bo by byc byl byla bylo chce chcialbym chcialabym co cos czas czekam czemu czesc
    czy dlaczego dla do dobry dostawa dostalem dostalam dzien dziekuje faktura gdzie ile ja jak jaki jest jestem juz
    kiedy kto ktory kupilem lub ma mam mi mnie moge moich moj moja moje mozna na nie nic od oraz paczka paczki po
    pieniadze pieniedzy pomoc pomocy pozdrawiam prosze przesylka sie sklep sa ta tak te tego ten to tylko wciaz we
    wiec witam za zamowienia zamowienie zamowilem zamowilam ze zwrocic zwrot zwrotu""",
    # Turkish
    """acaba adres ama ancak ayni bana bedava ben benim beni bir biz bu bugun bunu cok cunku daha de degil degistirmek
    dun etmek edin fatura gecen gelecek geldi gelmedi gibi gun hala hangi hayir hesabim icin iade iki ile ilgili ise
    istiyorum iyi kac kadar kargo kargom kargoya lutfen mi merhaba mu musteri nasil ne neden nerede neredesin olarak
    oldu olur onu para parami parasi paramin sana selam sikayet siparis siparisi siparisim siparisimi siparisin sonra
    su tamam tane tesekkur tesekkurler urun urunu var ve veya ya yardim yok zaman""",
)))
# One word of these is a message in that language; of the others one may be part of a name.
GREETINGS: Final = _set("""
    bedankt bonjour bonsoir buenas buenos buongiorno buonasera czesc danke dziekuje goedemorgen gracias grazie hallo
    hola merci merhaba obrigada obrigado ola prosze rembourse remboursement reembolso rimborso selam tesekkurler zwrot
""")

ENGLISH_TAGS: Final = frozenset({"en", "eng", "english"})
CHINESE_TAGS: Final = frozenset({"zh", "zho", "chi", "cmn", "yue", "chinese", "中文"})
NO_LANGUAGE_TAGS: Final = frozenset({"und", "mul", "mis", "zxx", "any"})
TAG = re.compile("[a-z]{2,3}")
LETTERS_OF_THEIR_OWN: Final = str.maketrans(  # no accent that could be taken off
    {"ł": "l", "\u0131": "i", "ß": "ss", "ø": "o", "æ": "ae", "đ": "d", "œ": "oe"}
)


def detect(text: str, hint: str | None = None) -> Language:
    """The language of most of the words.

    `hint`: the channel's language tag, believed where the text is not against it.
    """
    told = _told(hint)
    plain = ADDRESSES.sub(" ", PLACEHOLDER.sub(" ", unicodedata.normalize("NFKC", text))).replace("\u2019", "'")
    words = _words(plain)
    han = HAN.findall(plain)
    chinese = sum(map(len, han)) / HAN_PER_WORD
    only_chinese = any(map(CHINESE_ONLY.search, han))
    other = _other_words(plain)
    if _is_japanese(plain, han):
        chinese, other = 0.0, other + chinese
    english = sum(map(_is_english, words))
    if english >= CLEARLY_ENGLISH and not only_chinese:
        chinese = min(chinese, len(han))  # a name or a term, which is one word however long it is
    if other > max(chinese, english) and other > len(words) / 3:
        return "other"
    if chinese > english:
        return "other" if told == "other" and not only_chinese else "zh"
    return _latin(words, told)


def _told(hint: str | None) -> Language | None:
    tag = re.split("[-_ ]", (hint or "").strip().lower())[0]
    if tag in ENGLISH_TAGS:
        return "en"
    if tag in CHINESE_TAGS:
        return "zh"
    return "other" if TAG.fullmatch(tag) and tag not in NO_LANGUAGE_TAGS else None


def _words(text: str) -> list[str]:
    """The words in Latin letters; ids and sizes are none."""
    return [
        part.strip("'_")
        for token in LATIN_WORD.findall(text) if not any(sign.isdigit() for sign in token)
        for part in token.split("-") if part.strip("'_")
    ]


def _is_japanese(text: str, han: Iterable[str]) -> bool:
    """One sign may be of a brand, as in "鲜の每日"."""
    kana = len(KANA.findall(text))
    return kana > 1 and 8 * kana >= sum(map(len, han))


def _other_words(text: str) -> float:
    runs = OTHER_SCRIPTS.findall(text)
    return max(sum(len(run) > 1 for run in runs), sum(map(len, runs)) / OTHER_PER_WORD if len(runs) == 1 else 0.0)


def _is_english(word: str) -> bool:
    word = word.lower()
    return word.replace("'", "") in ENGLISH or word.removesuffix("'s") in ENGLISH


def _latin(words: list[str], told: Language | None) -> Language:
    if _is_foreign(words):
        return "other"
    if told is None:
        greeted = words and len(words) <= 2 and not any(map(_is_english, words)) and any(
            _bare(word) in GREETINGS for word in words
        )
        return "other" if greeted else "en"
    telling = sum(_is_english(word) and word.lower() not in EVERYWHERE for word in words)
    return "en" if telling >= CLEARLY_ENGLISH else told


def _is_foreign(words: list[str]) -> bool:
    """Whether the words are clearly of another language.

    That is: more of its frequent words than of English, and two that English has not, of which one may be any word with
    accents; or many words with accents, in a language that is not among ours. With a capital letter such a word counts
    for nothing: it may be a brand.
    """
    english = sum(map(_is_english, words))
    accented = sum(not word.isascii() and word == word.lower() for word in words)
    if accented >= 2 and 3 * accented >= len(words) and 3 * english < len(words):
        return True
    parts = [(_bare(part), _is_english(word)) for word in words for part in word.split("'")]
    for known in FOREIGN:
        shared = [is_english for part, is_english in parts if part in known]
        its_own = len(shared) - sum(shared)
        if its_own >= 2 and len(shared) + min(accented, 1) > english:
            return True
        if its_own and accented and not english:
            return True
    return False


def _bare(word: str) -> str:
    """Without accents, as many type it."""
    letters = unicodedata.normalize("NFD", word.lower().translate(LETTERS_OF_THEIR_OWN))
    return "".join(letter for letter in letters if not unicodedata.combining(letter))
