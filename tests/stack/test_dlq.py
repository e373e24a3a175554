"""Dead letters listed and shown, on Tansu and on Apache Kafka, and what the command line says when it cannot."""

from collections.abc import AsyncIterator

import msgspec
import pytest

from agents.dead_letters import HEADER
from agents.decoding import RecordError
from footfall import dlq, topics
from footfall.dlq_reader import DlqError, source_topic
from footfall.stack import Stack
from schemas.settings import Settings
from schemas.topics import CLICKSTREAM, PURCHASES, RETRIES
from tests.stack.dead_letters import SECRET, Records, at, run, source_of, writing


@pytest.fixture
async def records(any_topics: Settings) -> AsyncIterator[Records]:
    async with writing(any_topics) as records:
        yield records


async def test_nothing_there_is_said_and_changes_nothing(any_topics: Settings) -> None:
    listed = await run(any_topics, "list", "clickstream")
    shown = await run(any_topics, "show", "clickstream", "0", "0")
    beyond = await run(any_topics, "show", "clickstream", "99", "0")
    sent = await run(any_topics, "retry", "clickstream")

    name = CLICKSTREAM.full_name(any_topics.prefix)
    assert (listed.exit_code, listed.stdout) == (0, f"no dead letters on {name}.dlq\n")
    assert shown.exit_code == 2
    assert shown.stderr.startswith(f"footfall: there is no dead letter {name}.dlq/0/0")
    assert beyond.stderr.startswith(f"footfall: there is no dead letter {name}.dlq/99/0")
    assert (sent.exit_code, sent.stdout) == (0, f"0 records sent again to {name}\n")
    (state,) = await topics.listing(any_topics, [RETRIES])
    assert state.condition == "missing"


async def test_list_says_why_and_where_newest_last_and_never_the_value(records: Records) -> None:
    letters = [
        await records.dead(),
        await records.dead(error=ValueError("first line\n\x1b[2J" + "x" * 100)),
        await records.dead(),
    ]

    listed = await run(records.settings, "list", CLICKSTREAM.full_name(records.settings.prefix))
    newest = await run(records.settings, "list", "clickstream", "--limit", "1")

    assert listed.exit_code == 0
    heading, *lines, empty, summary = listed.stdout.splitlines()
    assert heading.split() == ["LETTER", "SOURCE", "TIME", "RETRIED", "EXCEPTION", "MESSAGE"]
    assert [line.split()[0] for line in lines] == [letter.place.within for letter in letters]
    assert [line.split()[1] for line in lines] == [source_of(letter).within for letter in letters]
    assert lines[0].split()[3:] == ["no", "RecordError", "it", "is", "bad"]
    assert lines[1].split("ValueError")[1].strip() == r"first line\n\x1b[2J" + "x" * 65  # 80 of the message
    assert empty == ""
    assert summary.endswith(": 2 RecordError, 1 ValueError; 0 retried")
    assert "secret" not in listed.stdout
    assert [line.split()[0] for line in newest.stdout.splitlines()[1:2]] == [letters[-1].place.within]
    assert "3 dead letters" in newest.stdout
    assert "The newest 1 are shown" in newest.stdout


async def test_show_has_all_headers_and_the_value_only_when_asked(records: Records) -> None:
    try:
        raise RecordError("it is bad")  # noqa: TRY301  to have a stack
    except RecordError as raised:
        error = raised
    letter = await records.dead(error=error, headers=[("traceparent", b"00-1"), ("nothing", None)])
    empty = await records.dead(None)
    place = [str(number) for number in at(letter)]

    shown = (await run(records.settings, "show", "clickstream", *place)).stdout
    with_value = (await run(records.settings, "show", "clickstream", *place, "--value")).stdout

    for line in (
        f"dead letter    {letter.place}", f"source record  {letter.source}", "retried        no",
        "key            17 (2 bytes)", "  traceparent: 00-1", "  nothing: null", f"  {HEADER}exception: RecordError",
        f"  {HEADER}message: it is bad", f"    {RecordError.__module__}.RecordError: it is bad",
        f"value          {len(SECRET)} bytes (it may hold personal data: shown with --value)",
    ):
        assert line in shown.splitlines()
    assert "secret" not in shown
    assert with_value.splitlines()[-1] == SECRET.decode()
    assert "value          0 bytes (the source" in await dlq.showing(
        records.settings, CLICKSTREAM, *at(empty), with_value=True
    )


async def test_a_topic_that_is_no_source_is_told_which_there_are() -> None:
    with pytest.raises(DlqError, match="no source topic 'clicks'; choose from clickstream, purchases, support-"):
        source_topic("clicks", "retail")
    with pytest.raises(DlqError, match=r"or in full as x\.clickstream\.v1"):
        source_topic("retail.clickstream.v1", "x")
    assert source_topic("retail.purchases.v1", "retail") == source_topic("purchases", "retail") == PURCHASES


async def test_topics_that_were_not_created_are_an_error_that_says_so(any_stack: Stack, prefix: str) -> None:
    settings = msgspec.structs.replace(any_stack.settings, prefix=prefix)

    failed = await run(settings, "list", "clickstream")

    assert failed.exit_code == 2
    assert f"there is no topic {prefix}.clickstream.v1" in failed.stderr
    assert "footfall topics create" in failed.stderr


async def test_half_of_a_place_and_a_missing_broker_are_errors_in_one_line() -> None:
    half = await run(Settings(bootstrap_servers="127.0.0.1:1"), "retry", "clickstream", "--offset", "1")
    nobody = await run(Settings(), "retry", "clickstream")

    assert (half.exit_code, nobody.exit_code) == (2, 2)
    assert half.stderr == "footfall: --partition and --offset go together: they name one dead letter\n"
    assert "KAFKA_BOOTSTRAP_SERVERS" in nobody.stderr
