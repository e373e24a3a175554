"""Messages and their replies are put together as the screen and the report show them."""

import msgspec

from footfall.demo.replies import Exchange, Replies
from footfall.replay.enquiries import Enquiry, Language
from schemas.results import Action, Handover, ModelVersion, ReplyData, ReplyOrigin, SupportReply, Trigger


class Clock:
    def __init__(self) -> None:
        self.now_ms = 1000

    def __call__(self) -> int:
        return self.now_ms


def enquiry(number: int, language: Language = "en") -> Enquiry:
    return Enquiry(number, f"u{number}", language, f"message {number}", ())


def record(
    conversation: str, origin: ReplyOrigin = "model", *, action: Action = "reply", language: str = "en"
) -> bytes:
    return msgspec.json.encode(SupportReply(
        specversion="1.0", id="r", source="footfall/reply", time="", datacontenttype="application/json", subject="u",
        data=ReplyData(
            reply_id="r", user_id="u", conversation_id=conversation, message_id="m", generated_at="",
            trigger=Trigger("s", "i"), covers=(), action=action, text=f"answer to {conversation}", language=language,
            intent="order_status", confidence=0.9, citations=(), model=ModelVersion("m", "1"), origin=origin,
            handover=Handover("legal", "s") if action == "handover" else None,
        ),
    ))


def test_a_reply_is_shown_beside_its_message_with_who_wrote_it_and_how_long_it_took() -> None:
    clock = Clock()
    replies = Replies(clock)
    replies.asked(enquiry(1), "c1")
    assert replies.latest == (Exchange("u1", "en", "message 1"),)
    assert (replies.messages, replies.outstanding) == (1, 1)
    replies.answered(record("c1", "template", language="zh"), 3500)
    assert replies.latest == (Exchange("u1", "zh", "message 1", "answer to c1", "template", 2500),)
    assert (replies.messages, replies.outstanding) == (1, 0)


def test_a_handover_is_called_so_whoever_worded_it() -> None:
    replies = Replies(Clock())
    replies.asked(enquiry(1), "c1")
    replies.answered(record("c1", "template", action="handover"), 2000)
    assert replies.latest[0].by == "handover"


def test_replies_to_others_and_replies_sent_again_change_nothing() -> None:
    replies = Replies(Clock())
    replies.asked(enquiry(1), "c1")
    replies.answered(record("other"), 2000)
    assert replies.outstanding == 1
    replies.answered(record("c1"), 2000)
    replies.answered(record("c1", "template"), 9000)
    assert replies.latest[0].latency_ms == 1000
    assert replies.report().model_share == 1.0


def test_of_those_that_wait_only_the_newest_is_shown_so_that_replies_are() -> None:
    replies = Replies(Clock())
    for number in range(6):
        replies.asked(enquiry(number), f"c{number}")
        if number < 3:
            replies.answered(record(f"c{number}"), 2000)
    assert [one.user for one in replies.latest] == ["u5", "u2", "u1"]


def test_what_is_answered_last_is_shown_first() -> None:
    replies = Replies(Clock())
    for number in range(5):
        replies.asked(enquiry(number), f"c{number}")
    for number in (3, 0, 4, 1):
        replies.answered(record(f"c{number}"), 2000)
    assert [one.user for one in replies.latest] == ["u2", "u1", "u4"]


def test_the_report_counts_kinds_languages_and_latencies() -> None:
    clock = Clock()
    replies = Replies(clock)
    for number in range(21):
        replies.asked(enquiry(number), f"c{number}")
    for number in range(20):
        action: Action = "handover" if number % 5 == 4 else "reply"
        origin: ReplyOrigin = "model" if number % 2 else "template"
        language = "zh" if number < 6 else "en"
        replies.answered(record(f"c{number}", origin, action=action, language=language), 1100 + 100 * number)
    report = replies.report("why")
    assert (report.messages, report.answered, report.handovers) == (21, 20, 4)
    assert report.model_share == 0.5
    assert report.languages == {"en": 14, "zh": 6}
    assert (report.latency_ms.p50, report.latency_ms.p95) == (1000, 1900)
    assert report.note == "why"
    assert "simulated" in report.label


def test_without_replies_there_is_no_share_and_no_latency() -> None:
    report = Replies(Clock()).report()
    assert report.model_share is None
    assert (report.messages, report.answered, report.latency_ms.p95) == (0, 0, 0)
