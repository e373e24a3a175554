"""The grammar of wordings against a slow reading of it, the errors of its files, and the files that ship."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_core.dialogues.grammar import SPECIAL, SPLITS, Choice, Nodes, Slot, WordingError, load, parse

LANGUAGES = ("en", "zh")
NAMES = ("order_id", "item", "item2")


def fixed(values: dict[str, str]) -> dict[str, Callable[[Random], str]]:
    """For each slot always the same value."""

    def always(value: str) -> Callable[[Random], str]:
        return lambda _: value

    return {name: always(value) for name, value in values.items()}


SLOTS = {"item": lambda rng: f"<item:{rng.randrange(3)}>"}

literals = st.text(
    st.characters(exclude_characters="".join(SPECIAL), exclude_categories=["Cs"]), min_size=1, max_size=6
)
slots = st.builds(Slot, st.sampled_from(NAMES))


def sequences(choices: st.SearchStrategy[Choice], least: int) -> st.SearchStrategy[Nodes]:
    """No two literals stand side by side: they would be one."""
    nodes = st.lists(st.one_of(literals, slots, choices), min_size=least, max_size=3).map(tuple)
    return nodes.filter(
        lambda found: not any(isinstance(a, str) and isinstance(b, str) for a, b in itertools.pairwise(found))
    )


def choices(inner: st.SearchStrategy[Nodes]) -> st.SearchStrategy[Choice]:
    return st.builds(Choice, st.lists(inner, min_size=1, max_size=3).map(tuple), st.booleans())


flat = sequences(st.nothing(), 0)
templates = sequences(choices(sequences(choices(flat), 0)), 1)


def written(nodes: Nodes) -> str:
    parts = []
    for node in nodes:
        if isinstance(node, Choice):
            inner = "|".join(map(written, node.alternatives))
            parts.append(f"[{inner}]" if node.optional else f"({inner})")
        else:
            parts.append(f"{{{node.name}}}" if isinstance(node, Slot) else node)
    return "".join(parts)


def all_expansions(nodes: Nodes) -> Iterator[tuple[str | Slot, ...]]:
    """Everything that a template may become, slowly."""
    if not nodes:
        yield ()
        return
    first, rest = nodes[0], nodes[1:]
    heads: list[tuple[str | Slot, ...]] = []
    if isinstance(first, Choice):
        heads = [each for alternative in first.alternatives for each in all_expansions(alternative)]
        heads += [()] if first.optional else []
    else:
        heads = [(first,)]
    for head, tail in itertools.product(heads, list(all_expansions(rest))):
        yield (*head, *tail)


@given(templates)
def test_what_is_written_is_read(nodes: Nodes) -> None:
    found = parse(written(nodes))
    assert found.nodes == nodes
    assert {f"{{{name}}}" for name in found.slots} == {
        f"{{{name}}}" for name in NAMES if f"{{{name}}}" in written(nodes)
    }


@given(templates, st.integers(0, 2**32))
def test_a_message_is_one_of_all_that_a_template_may_become(nodes: Nodes, seed: int) -> None:
    template = parse(written(nodes))
    values = {name: f"<{name}>" for name in NAMES}
    message = template.expand(Random(seed), fixed(values))
    possible = {
        "".join(values[part.name] if isinstance(part, Slot) else part for part in parts)
        for parts in itertools.islice(all_expansions(nodes), 20_000)
    }
    assert message in possible or len(possible) >= 10_000


@given(st.text("ab ()[]|{}_", max_size=12), st.integers(0, 9))
def test_any_text_is_a_template_or_an_error_and_no_bracket_gets_into_a_message(source: str, seed: int) -> None:
    try:
        template = parse(source)
    except WordingError as error:
        assert repr(source) in str(error)  # noqa: PT017 - it need not be one
        return
    for opening, closing in ("()", "[]", "{}"):
        assert source.count(opening) == source.count(closing)
    message = template.expand(Random(seed), {name: lambda _: "" for name in template.slots})
    remaining = iter(source)
    assert not SPECIAL & set(message)
    assert all(letter in remaining for letter in message)  # in the order of the template


def test_all_choices_come_up_and_options_half_of_the_times() -> None:
    rng = Random(1)
    template = parse("(a|b|(c|))[x|y]")
    messages = [template.expand(rng, {}) for _ in range(4000)]
    assert set(messages) == {a + b for a in ("a", "b", "c", "") for b in ("", "x", "y")}
    share = sum(message.endswith(("x", "y")) for message in messages) / len(messages)
    assert share == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "empty"),
        ("(a|b", r"column 1: '\(' is never closed"),
        ("a (b [c)", r"column 8: '\)' without"),
        ("a]", r"column 2: '\]' without"),
        ("a|b", r"column 2: '\|' without"),
        ("[a", r"column 1: '\[' is never closed"),
        ("for {order id}", "column 5: a slot is a name"),
        ("for {order_id", "column 5: a slot is a name"),
        ("for {}", "column 5: a slot is a name"),
        ("for }", "column 5: '}' without"),
    ],
)
def test_mistakes_are_told_with_their_place(source: str, message: str) -> None:
    with pytest.raises(WordingError, match=f"{message}.*in ") as caught:
        parse(source, "en.toml [stock] train 3")
    assert str(caught.value).startswith("en.toml [stock] train 3, column")


def test_a_slot_has_one_value_in_a_message_and_two_slots_have_two() -> None:
    template = parse("{item} or {item2}, rather {item}")
    values = {name: lambda rng: rng.choice("abcde") for name in ("item", "item2")}
    rng = Random(3)
    for _ in range(200):
        first, second, again = template.expand(rng, values).replace(", rather", " or").split(" or ")
        assert first == again != second
    assert template.expand(rng, {name: lambda _: "a" for name in values}) == "a or a, rather a"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "en.toml").write_text(
        '[stock]\ntrain = ["is {item} (in stock|there)", "got {item}"]\nheldout = ["any {item} left"]\n'
        '[handover.legal]\ntrain = ["my lawyer"]\nheldout = ["see you in court"]\n',
        "utf-8",
    )
    return tmp_path


def test_messages_tell_their_template_and_come_again_from_the_same_seed(folder: Path) -> None:
    wordings = load("en", folder)
    assert list(wordings.tables) == ["stock", "handover.legal"]
    assert wordings.intents == ("stock",)
    one, other = ([wordings.sample("stock", "train", Random(7), SLOTS) for _ in range(3)] for _ in range(2))
    assert one == other
    rng = Random(1)
    for _ in range(50):
        found = wordings.sample("stock", "train", rng, SLOTS)
        assert found.text.startswith(("is <item:", "got <item:")[found.template_index])
    assert wordings.sample("handover.legal", "heldout", rng, {}).text == "see you in court"


def test_what_is_asked_for_in_vain_is_named(folder: Path) -> None:
    wordings = load("en", folder)
    with pytest.raises(WordingError, match=r"en\.toml \[stock\] train [01]: no value was given for \{item\}"):
        wordings.sample("stock", "train", Random(1), {})
    with pytest.raises(WordingError, match=r"en\.toml has no table \[price\]"):
        wordings.sample("price", "train", Random(1), SLOTS)
    with pytest.raises(WordingError, match="no wordings for 'fr'"):
        load("fr", folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[stock", r"en\.toml is not TOML"),
        ("", "holds no table"),
        ('train = ["a"]', "train stands outside of a table"),
        ('[stock]\ntrain = ["a"]', r"\[stock\] has train, and not just train and heldout"),
        ("[stock]", r"\[stock\] has nothing"),
        ('[stock]\ntrain = ["a"]\nheldout = []', r"\[stock\] heldout is not a list of templates"),
        ('[stock]\ntrain = ["a", 1]\nheldout = ["b"]', r"\[stock\] train is not a list"),
        ('[a.b]\ntrain = ["a", "b (c"]\nheldout = ["b"]', r"en\.toml \[a\.b\] train 1, column 3: '\(' is never closed"),
    ],
)
def test_a_file_with_a_mistake_is_refused_with_its_place(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "en.toml").write_text(content, "utf-8")
    with pytest.raises(WordingError, match=message):
        load("en", tmp_path)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_wordings_that_ship_make_clean_messages(language: str) -> None:
    wordings = load(language)
    rng = Random(11)
    for table, splits in wordings.tables.items():
        sources = [template.source for split in SPLITS for template in splits[split]]
        assert len(set(sources)) == len(sources), f"a template of {table} is there twice"
        for template in itertools.chain.from_iterable(splits.values()):
            values = fixed({name: name for name in template.slots})
            for _ in range(3):
                message = template.expand(rng, values)
                assert message == message.strip() != "", template.where
                assert "  " not in message, template.where


def test_the_languages_that_ship_have_the_same_tables_and_slots() -> None:
    english, chinese = map(load, LANGUAGES)
    assert set(english.tables) == set(chinese.tables)
    assert english.intents == chinese.intents
    used = [
        {name for splits in wordings.tables.values() for each in splits.values() for one in each for name in one.slots}
        for wordings in (english, chinese)
    ]
    assert used[0] == used[1]
