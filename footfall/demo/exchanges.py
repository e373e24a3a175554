"""Support messages with their replies, as a panel of the live screen. Pure; widths are in cells, of which 汉 is two."""

from collections.abc import Sequence

from msgspec import Struct
from rich.cells import cell_len, chop_cells, set_cell_size
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from footfall.demo.replies import Exchange

SMALL, LARGE, FULL = 6, 8, 11  # lines: two exchanges, two with room for longer replies, three of those
INDENT = "    "
STYLES = {"model": "green", "template": "cyan", "handover": "yellow"}


class SupportView(Struct, frozen=True):
    """`note`: what there is to say besides."""

    messages: int
    answered: int
    note: str
    exchanges: tuple[Exchange, ...]


def support_lines(view: SupportView | None, room: int) -> int:
    """How many of the lines that are left it may take; customers need the others."""
    if view is None or room < 2 * SMALL:
        return 0
    return FULL if room >= 40 else LARGE if room >= 24 else SMALL


def support_panel(view: SupportView, width: int, height: int) -> RenderableType:
    """The newest exchanges, as many as fit."""
    inside, reply_lines = max(8, width - 4), 1 if height < LARGE else 2
    lines: list[RenderableType] = []
    for one in view.exchanges:
        more = _exchange(one, inside, reply_lines)
        if len(lines) + len(more) > height - 2:
            break
        lines += more
    title = Text(f"Support, simulated messages: {view.answered} of {view.messages} answered")
    if view.note:
        title.append(f" ({view.note})", style="dim")
    title.truncate(max(1, width - 6), overflow="ellipsis")
    return Panel(
        Group(*lines) if lines else Text("Nobody has written yet.", style="dim"),
        title=title, title_align="left", border_style="magenta", height=height,
    )


def _exchange(one: Exchange, width: int, reply_lines: int) -> Sequence[RenderableType]:
    head = f"{one.language:<{len(INDENT)}}{one.user}: "
    (message,) = fitted(one.message, width - cell_len(head), 1)
    first = Text.assemble((head, "dim"), message)
    if not one.by:
        return first, Text(INDENT + fitted("waits for its reply", width - len(INDENT), 1)[0], style="dim")
    by = f"{one.by} {one.latency_ms / 1000:.1f} s: "
    rows = fitted(by + one.reply, width - len(INDENT), reply_lines)
    reply = [Text.assemble(INDENT, row) for row in rows]
    reply[0].stylize(STYLES.get(one.by, ""), len(INDENT), len(INDENT) + len(by))
    return first, *reply


def fitted(text: str, width: int, lines: int) -> list[str]:
    """The text in at most so many lines of so many cells, at least one; where it is longer, it ends in an ellipsis."""
    rest, rows = " ".join(text.split()), list[str]()
    width = max(2, width)
    while len(rows) < lines - 1 and cell_len(rest) > width:
        head = chop_cells(rest, width)[0]
        at = head.rfind(" ") if not rest[len(head)].isspace() else len(head)
        head = head[:at] if at > len(head) // 2 else head  # not where a word is long, or words have no spaces
        rows.append(head.rstrip())
        rest = rest[len(head) :].lstrip()
    if cell_len(rest) > width:
        rest = f"{set_cell_size(rest, width - 1).rstrip()}…"
    return [*rows, rest]
