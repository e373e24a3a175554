"""Every statement of a reply that the truth does not support. Joins what the other modules know."""

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from footfall.support.checking import form, items, orders, quotes, rules
from footfall.support.checking.grammars import ACTIONS, GRAMMARS
from footfall.support.checking.marks import Marked, read
from footfall.support.checking.orders import About, Problem
from footfall.support.checking.reading import Claim, Grammar, claims, clauses, inside, sentences, silent
from footfall.support.checking.truth import Finding, Truth, stands
from schemas.events import OrderData


def unfounded(text: str, language: str, truth: Truth) -> list[Finding]:
    """What the reply says that is not so, or that nothing says. Raises `ValueError` for a language without a grammar."""
    if language not in GRAMMARS:
        raise ValueError(f"no grammar for {language!r}: replies are in one of {', '.join(GRAMMARS)}")
    grammar = GRAMMARS[language]
    marked = read(text, truth)
    found = form.problems(text, marked, language, truth)
    told = [list(_read_for(grammar, marked, order, truth)) for order in _meant(marked, truth)]
    return [*found, *min(told, key=len)]


def _meant(text: Marked, truth: Truth) -> Sequence[OrderData | None]:
    """The orders that a reply may be about before it names one: the first that it names, else each that is possible."""
    own = {order.order_id.lower(): order for order in truth.orders}
    named = [own[value.text.lower()] for _, value in text.of("order") if value.text.lower() in own]
    asked = [order for order in truth.orders if order.order_id.lower() in truth.message.lower()]
    return named[:1] or asked or truth.orders or [None]


def _read_for(grammar: Grammar, text: Marked, order: OrderData | None, truth: Truth) -> Iterator[Finding]:
    known = rules.rules_of(grammar, truth)
    about = About(order, refund=False, named=any(True for _ in text.of("order")), lost=grammar.about("not found", text.text), handed=grammar.about("colleague", text.text))
    focus: tuple[str, ...] =  items.titles(text)[:1] or items.titles(read(truth.message, truth))
    for sentence in sentences(grammar, text):
        refund = grammar.about("refund", sentence.text) or (
            about.refund and grammar.about("of refund", sentence.text)
            and (not any(sentence.of("order")) or (any(sentence.of("money")) and grammar.about("receive", sentence.text)))
        )
        about = replace(about, refund=refund)
        if not rules.quoted(known, sentence):
            for problem in _unexcused(grammar, known, sentence, about, focus, truth):
                yield Finding(problem.kind, sentence.written, problem.why)
        focus = items.titles(sentence) or focus
        last = orders.meant(grammar, sentence, about, truth)
        about = replace(about, order=next(iter(last[max(last)]), None))


def _unexcused(
    grammar: Grammar, known: rules.Rules, sentence: Marked, about: About, focus: Sequence[str], truth: Truth
) -> Iterator[Problem]:
    """The problems of a sentence that no rule of the shop makes right."""
    said = claims(grammar, sentence.text, refund=about.refund)
    found = [
        *orders.problems(grammar, sentence, about, truth),
        *items.problems(grammar, sentence, about, focus, truth),
        *_others(sentence, known),
        *_promises(grammar, sentence, claimed=bool(said)),
        *_unknown_words(grammar, sentence, said, focus, truth),
        *_rights(grammar, sentence, said, about),
        *_reasons(grammar, sentence, said),
        *_twisted(grammar, known, sentence),
    ]
    if not found:
        return
    whole = _supported(grammar, known, sentence)
    parts = clauses(grammar, sentence.text)
    for problem in found:
        start, end = next((part for part in parts if part[0] <= problem.at < part[1]), (0, len(sentence.text)))
        clause = sentence.part(start, end)
        told = about.named and any(start <= claim.start < end for claim in said) and not grammar.about("generic", clause.text)
        told = told or (about.named and grammar.about("event", clause.text) and not inside(problem.at, silent(grammar, sentence.text)))
        if problem.firm or (told and problem.kind == "unsupported") or _of_the_order(grammar, sentence, clause, problem, about, truth):
            yield problem
        elif problem.kind in CLAIMED:
            if not _supported(grammar, known, sentence, strict=problem.kind != "refund"):
                yield problem
        elif not whole and not _supported(grammar, known, clause):
            yield problem


CLAIMED = frozenset({"status", "refund", "order"})


def _of_the_order(grammar: Grammar, sentence: Marked, clause: Marked, problem: Problem, about: About, truth: Truth) -> bool:
    """Whether the clause tells how this order stands: no rule can say that."""
    if problem.kind in CLAIMED:
        conditional = grammar.silent.search(sentence.text) and not grammar.question.search(sentence.text)
        rule = grammar.about("generic", clause.text) and not grammar.about("same for it", sentence.text)
        rule = rule or bool(conditional and "ⓞ" not in sentence.text and not grammar.about("yet", clause.text))
        return (about.named and not rule) or grammar.about("specific", clause.text)
    if problem.kind == "money" and about.named and (about.refund or "ⓞ" in sentence.text):
        return True
    if problem.kind == "time" and about.named:
        late = about.order is not None and stands(about.order, truth.today).get("late", False)
        if (about.refund and grammar.about("payout", clause.text)) or (late and grammar.about("grace", sentence.text)):
            return True
    return grammar.about("state", grammar.silent.sub(" ", clause.text))


def _supported(grammar: Grammar, known: rules.Rules, part: Marked, *, strict: bool = False) -> bool:
    giving = strict or grammar.about("giving", part.text) or grammar.about("free", part.text)
    topics = {word for word in grammar.tokens(part)[0] if word in grammar.hinges}
    return rules.supported(grammar, known, part, giving=giving, topics=topics)


def _reasons(grammar: Grammar, sentence: Marked, said: Sequence[Claim]) -> Iterator[Problem]:
    """Why something is so with an order: only another thing that is so can be the reason."""
    text = sentence.text
    if not said:
        return
    for match in grammar.topics["reason"].finditer(text):
        end = next((at for at in range(match.end(), len(text)) if text[at] in ",，.。;；"), len(text))
        if not any(match.start() <= claim.start < end for claim in said):
            yield Problem(match.start(), "reason", f"no fact is a reason: {text[match.start():end]}", firm=True)


def _twisted(grammar: Grammar, known: rules.Rules, sentence: Marked) -> Iterator[Problem]:
    """A rule with something turned round in it, unless that part is said by another rule."""
    twist = None if any(sentence.of("order")) else quotes.twisted(grammar, known.quotes, sentence)
    if twist is None:
        return
    parts = [sentence.part(*part) for part in clauses(grammar, sentence.text)]
    odd = [part for part in parts if twist.words & set(grammar.tokens(part)[0])]
    if not (odd and len(parts) > 1 and all(_supported(grammar, known, part, strict=True) for part in odd)):
        yield Problem(0, "policy", f"the rule is: {twist.rule}", firm=True)


def _others(sentence: Marked, known: rules.Rules) -> Iterator[Problem]:
    """Values that no order and no item has."""
    for at, value in sentence.of("percent", "clock", "contact"):
        firm = value.kind == "contact" and value.text.lower() not in known.text.lower()
        yield Problem(at, value.kind, f"{value.text} is in no fact", firm=firm)


def _promises(grammar: Grammar, sentence: Marked, *, claimed: bool) -> Iterator[Problem]:
    text = sentence.text
    quiet = silent(grammar, text)
    for why, pattern in ACTIONS[grammar.language]:
        for match in pattern.finditer(text):
            clause = next(sentence.text[start:end] for start, end in clauses(grammar, text) if start <= match.start() < end)
            if grammar.topics["impossible"].search(clause):
                continue
            if "offers" in why or not inside(match.start(), quiet):
                yield Problem(match.start(), "promise", why)
    for match in grammar.topics["vague time"].finditer(text):
        if not grammar.about("wishes", text) and not inside(match.start(), quiet):
            yield Problem(match.start(), "promise", f"nothing says when: {match[0]}")
    if grammar.about("asks secret", text):
        yield Problem(0, "promise", "asks for what support must never ask for", firm=True)
    if grammar.about("colleague", text):
        timed = sentence.of("span", "clock") if claimed else sentence.of("span", "clock", "date")
        yield from (Problem(at, "promise", f"nobody promises {value.text}", firm=True) for at, value in timed if not inside(at, quiet))


def _rights(grammar: Grammar, sentence: Marked, said: Sequence[Claim], about: About) -> Iterator[Problem]:
    """What customers may do or get, in words that are harmless by themselves: it must be a rule."""
    text = sentence.text
    quiet = silent(grammar, text)
    acts = [
        match for pattern in grammar.acts.values() for match in pattern.finditer(text)
        for start, end in clauses(grammar, text)
        if start <= match.start() < end and grammar.about("possible", text[start:end])
        and (grammar.about("generic", text[start:end]) or not about.named)
    ]
    for match in [*grammar.topics["right"].finditer(text), *acts]:
        claimed = any(claim.start < match.end() and match.start() < claim.end for claim in said)
        if not claimed and not inside(match.start(), quiet):
            yield Problem(match.start(), "policy", f"no rule says this: {match[0]}")


def _unknown_words(
    grammar: Grammar, sentence: Marked, said: Sequence[Claim], focus: Sequence[str], truth: Truth
) -> Iterator[Problem]:
    quiet = silent(grammar, sentence.text)
    asked = grammar.question.search(sentence.text)
    named = " ".join((*items.titles(sentence), *focus)).lower()
    echoed = truth.message.lower() if grammar.about("echo", sentence.text) else ""
    for at, word in grammar.residue(sentence.text):
        if any(claim.start <= at < claim.end for claim in said):
            continue
        heard = not inside(at, quiet) or (asked and grammar.about("offered", sentence.text))
        if heard and word not in named and word not in echoed:
            yield Problem(at, "unsupported", f"nothing supports: {word}")
