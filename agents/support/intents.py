"""Which intent to act on, of what an encoder says of all. Pure.

First what kind of message it is: one for a person, one that is none of a shop's business, or one to answer. Many
intents of one kind may be likely at once, each a little: together they tell what to do when none of them is sure.
"""

from collections.abc import Mapping, Sequence

OUT_OF_SCOPE = "out_of_scope"
# what the encoder knows besides the intents of a shop is a reason to hand over, by its name
FOR_A_PERSON = frozenset({"health", "threat", "legal", "anger", "human_agent", "complaint"})


def chosen(intents: Sequence[tuple[str, float]]) -> tuple[str, float]:
    """The likeliest intent of the likeliest kind, with its probability. `intents`: each with its own, best first."""
    kinds: Mapping[str, list[tuple[str, float]]] = {"person": [], OUT_OF_SCOPE: [], "shop": []}
    for intent, probability in intents:
        kind = "person" if intent in FOR_A_PERSON else intent if intent == OUT_OF_SCOPE else "shop"
        kinds[kind].append((intent, probability))
    return max(kinds.values(), key=lambda kind: sum(probability for _, probability in kind))[0]
