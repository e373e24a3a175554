"""Lists of words, written as a text."""


def listed(text: str) -> frozenset[str]:
    """The words of a text, in which blanks and ends of lines stand between them."""
    return frozenset(text.split())
