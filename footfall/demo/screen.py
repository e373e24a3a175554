"""The live screen: a `View` goes in, something that `rich` can show comes out. Pure; knows no Kafka and no clock."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct
from rich.console import Group, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from footfall.demo.exchanges import SupportView, support_lines, support_panel
from footfall.demo.report import METHOD_NAMES
from footfall.ledger import Latency
from footfall.replay.scoring import METHODS, HitRates

BARS = "▁▂▃▄▅▆▇█"
COLUMN = 60  # a card needs so many columns
SMALL_CARD, CARD, FULL_CARD = 6, 12, 15  # lines of a card: three, seven or ten items
LABEL = 13  # columns of the names of figures
FIXED_LINES = 12  # of the screen without the customers


class Recommended(Struct, frozen=True):
    title: str
    reason: str


class Card(Struct, frozen=True):
    """One customer: product names only."""

    user: str
    looked_at: tuple[str, ...]
    bought: tuple[str, ...]
    recommended: tuple[Recommended, ...]


class View(Struct, frozen=True, kw_only=True):
    """Everything that is on the screen. Rates are of the last seconds; None where nothing is known yet."""

    dataset: str
    provenance: str
    phase: str  # empty while events stream
    simulated_at: datetime | None
    speed: float
    elapsed_s: float
    sent: int
    wanted: int | None
    events_per_s: float
    results_per_s: float
    latency: Latency
    latency_history: tuple[float, ...]  # p99 in ms, one per second, newest last
    mean_batch_size: float | None
    busy_share: float | None
    lag: int
    fallback_share: float
    dead_letters: int
    rates: HitRates
    cards: tuple[Card, ...]
    support: SupportView | None  # None: no messages are sent


def render(view: View, width: int, height: int) -> RenderableType:
    """Lay the view out for a terminal of this size; nothing is wider or higher than it."""
    room = max(0, height - FIXED_LINES)
    lines = support_lines(view.support, room)
    support = [Layout(support_panel(view.support, width, lines), size=lines)] if view.support and lines else []
    layout = Layout()
    layout.split_column(
        Layout(_header(view, width), size=2),
        Layout(_figures(view, width), size=8),
        *support,
        Layout(_customers(view.cards, width, room - lines), size=room - lines),
        Layout(_footer(view), size=2),
    )
    return layout


def plain_line(view: View) -> str:
    """The same in one line, for logs and pipes."""
    at = view.simulated_at.strftime("%d %b %Y %H:%M") if view.simulated_at else "-"
    wanted = f"/{view.wanted:,}" if view.wanted else ""
    rates = ", ".join(
        f"{name} {view.rates.rate[method]:.3f}"
        for method, name in (("model", "model"), ("popularity", "popular"), ("personal_frequency", "personal"))
        if method in view.rates.rate
    )
    support = view.support
    return (
        f"{view.elapsed_s:6.1f} s  {at}  {view.sent:,}{wanted} events, {view.events_per_s:.0f}/s in, "
        f"{view.results_per_s:.0f}/s out, p50 {view.latency.p50:.0f} p99 {view.latency.p99:.0f} ms, lag {view.lag}, "
        f"fallback {view.fallback_share:.2%}, dead letters {view.dead_letters}"
        + (f"; hit rate @10 of {view.rates.cases}: {rates}" if rates else "")
        + (f"; simulated support messages answered {support.answered}/{support.messages}" if support else "")
        + (f" ({support.note})" if support and support.note else "")
    )


def sparkline(values: Sequence[float], width: int) -> str:
    """The newest `width` values as bars between zero and the highest of them."""
    shown = values[-width:] if width > 0 else ()
    top = max(shown, default=0.0)
    return "".join(BARS[min(7, int(value / top * 7.999))] if top > 0 else BARS[0] for value in shown)


def _header(view: View, width: int) -> RenderableType:
    at = view.simulated_at.strftime("%a %d %b %Y %H:%M") if view.simulated_at else ""
    at = ", ".join(filter(None, (at, view.phase)))
    minutes, seconds = divmod(int(view.elapsed_s), 60)
    line = Table.grid(expand=True)
    line.add_column(no_wrap=True, overflow="ellipsis")
    line.add_column(justify="center", no_wrap=True, overflow="ellipsis")
    line.add_column(justify="right", no_wrap=True)
    speed = f"{view.speed:,.0f}x  " if view.speed else ""
    line.add_row(
        Text.assemble(("Footfall", "bold cyan"), f"  {view.dataset}"), Text(at, style="bold"),
        f"{speed} {minutes}:{seconds:02d}",
    )
    count = f"{view.sent:,} / {view.wanted:,} events" if view.wanted else f"{view.sent:,} events, Ctrl-C ends"
    bar = Table.grid(expand=True, padding=(0, 1, 0, 0))
    bar.add_column(ratio=1)
    bar.add_column(no_wrap=True, justify="right")
    done = view.sent if view.wanted else 0
    bar.add_row(ProgressBar(total=view.wanted or 1, completed=done, width=max(10, width - len(count) - 3)), count)
    return Group(line, bar)


def _figures(view: View, width: int) -> RenderableType:
    both = Table.grid(expand=True)
    both.add_column(ratio=1)
    both.add_column(ratio=1)
    half = width // 2
    stream, rates = _stream(view, half - 4), _hit_rates(view.rates)
    both.add_row(
        Panel(stream, title="Stream", title_align="left", border_style="cyan", height=8),
        Panel(rates, title="Hit rate @10", title_align="left", border_style="cyan", height=8),
    )
    return both


def _stream(view: View, width: int) -> RenderableType:
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(style="dim", no_wrap=True, min_width=LABEL)
    table.add_column(no_wrap=True, overflow="ellipsis")
    batch = "-" if view.mean_batch_size is None else f"{view.mean_batch_size:.1f}"
    busy = "-" if view.busy_share is None else f"{view.busy_share:.0%}"
    latency = Text(f"p50 {view.latency.p50:.0f}  p99 {view.latency.p99:.0f} ms ")
    latency.append(sparkline(view.latency_history, width - LABEL - 1 - len(latency)), style="cyan")
    table.add_row("events in", f"{view.events_per_s:,.0f}/s")
    table.add_row("results out", f"{view.results_per_s:,.0f}/s")
    table.add_row("event → Redis", latency)
    table.add_row("worker", f"batch {batch}, busy {busy}")
    table.add_row("lag", f"{view.lag:,} unacknowledged")
    table.add_row("fallback", Text.assemble(
        f"{view.fallback_share:.2%}   ", ("dead letters ", "dim"),
        (f"{view.dead_letters}", "bold red" if view.dead_letters else "green"),
    ))
    return table


def _hit_rates(rates: HitRates) -> RenderableType:
    if not rates.cases:
        return Text("No basket was scored yet.", style="dim")
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="dim")
    best = max(rates.rate.values())
    for method in METHODS:
        bold = "bold" if rates.rate[method] == best else ""
        table.add_row(
            METHOD_NAMES[method], Text(f"{rates.rate[method]:.3f}", style=bold), f"± {rates.se[method]:.3f}"
        )
    difference = rates.model_minus["personal_frequency"]
    notes = (
        f"model - often  {difference.mean:+.3f} ± {difference.se:.3f}",
        f"{rates.cases:,} baskets, each scored before", "anything of it was sent",
    )
    return Group(table, *(Text(note, style="dim", no_wrap=True, overflow="ellipsis") for note in notes))


def _customers(cards: Sequence[Card], width: int, height: int) -> RenderableType:
    columns = max(1, min(len(cards), width // COLUMN))
    rows = max(1, min(-(-len(cards) // columns), height // (SMALL_CARD if height < 2 * CARD else CARD)))
    if not cards or height < 4:
        return Text("Customers appear here once they shop.", style="dim") if height else Text()
    each = min(height // rows, FULL_CARD)
    panels = [_card(card, width // columns - 4, each) for card in cards[: columns * rows]]
    grid = Table.grid(expand=True)
    for _ in range(columns):
        grid.add_column(ratio=1)
    for row in range(rows):
        grid.add_row(*panels[row * columns : (row + 1) * columns])
    return grid


def _card(card: Card, width: int, height: int) -> RenderableType:
    lines: list[RenderableType] = []
    inside = height - 2
    roomy = inside >= 8
    for label, titles in (("looked at", card.looked_at), ("bought", card.bought)):
        if titles and (roomy or label == "bought" or not card.bought):
            lines.append(_listing(label, titles, width))
    if roomy and lines:
        lines.append(Rule("now recommended", style="dim", align="left"))
    table = Table.grid(expand=True, padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True, style="dim", width=2)
    table.add_column(ratio=3, no_wrap=True, overflow="ellipsis")
    table.add_column(ratio=2, no_wrap=True, overflow="ellipsis", style="dim")
    for rank, item in enumerate(card.recommended[: max(0, inside - len(lines))], start=1):
        table.add_row(f"{rank}", item.title, item.reason)
    lines.append(table if card.recommended else Text("no recommendation yet", style="dim"))
    title = Text(f"Customer {card.user}" + ("" if roomy else ", now recommended"), no_wrap=True, overflow="ellipsis")
    return Panel(Group(*lines), title=title, title_align="left", border_style="blue", height=height)


def _listing(label: str, titles: Sequence[str], width: int) -> Text:
    """As many names as fit in one line, and how many more there are."""
    text = f"{label} "
    for count, title in enumerate(titles):
        more = f" +{len(titles) - count} more"
        room = width - len(text) - (len(more) if count + 1 < len(titles) else 0)
        piece = f" · {title}" if count else (title if len(title) <= room else f"{title[: max(0, room - 1)]}…")
        if count and len(piece) > room:
            text += more
            break
        text += piece
    return Text(text, no_wrap=True, overflow="ellipsis", style="")


def _footer(view: View) -> RenderableType:
    return Group(
        Text("Purchases are replayed; clicks, stock, orders and messages are simulated.", style="dim",
             no_wrap=True, overflow="ellipsis"),
        Text(view.provenance, style="dim", no_wrap=True, overflow="ellipsis"),
    )
