"""The checker that replies are judged with when they are evaluated: it knows the whole truth around a case.

It shares nothing with the guard of the agents: what that does not see, this may.
"""

from footfall.support.checking.foreign import disclosures
from footfall.support.checking.statements import unfounded
from footfall.support.checking.truth import Finding, Item, Truth

__all__ = ["Finding", "Item", "Truth", "disclosures", "unfounded"]
