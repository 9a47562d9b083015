"""The live view: the reason in words, power, battery, limits, the last minutes, events and the board's health."""

from collections import deque
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.layout import Layout
from rich.measure import Measurement
from rich.panel import Panel
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from tools.build.slots import read
from tools.sim.session import Session

GIVE, TAKE, GRID, LOAD, SUN = "green", "cyan", "magenta", "yellow", "bright_yellow"
BAD, DIM = "bold red", "grey62"
MODE_STYLES = {
    "STANDBY": "black on grey62",
    "IDLE": "black on white",
    "CHARGE": "black on cyan",
    "DISCHARGE": "black on green",
    "EMERGENCY": "white on red",
    "MAINTENANCE": "black on yellow",
}
KIND_STYLES = {"event": "bold", "console": TAKE, "site": LOAD, "error": BAD, "board": DIM}
KIND_MARKS = {"event": "●", "console": "»", "site": "◆", "error": "✖", "board": "·"}
EIGHTHS = " ▁▂▃▄▅▆▇█"
HISTORY = 600
BODY = 10  # lines of the two panels in the middle
# points of the monitor's line that have a place of their own, or whose truth has one; the others are listed
_PLACED = frozenset(
    "mode p cmd req by soc lim_dis lim_chg why_dis why_chg grid_p load_p pv_p v i hz temp flow faults commands".split()
)


class TwoWayBar:
    """A bar that grows right from its middle for positive values, left for negative ones."""

    def __init__(self, value: float | None, full: float, colour: str, marks: tuple[float, ...] = ()) -> None:
        self.value = value
        self.full = full
        self.colour = colour
        self.marks = marks

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(9, options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        half = max(4, (options.max_width - 1) // 2)
        cells = ["·"] * (2 * half + 1)
        styles = ["grey35"] * len(cells)
        if self.value is not None:
            length = min(half, round(abs(self.value) / self.full * half))
            if length == 0 and abs(self.value) > 0.005 * self.full:
                length = 1
            span = range(half + 1, half + 1 + length) if self.value > 0 else range(half - length, half)
            for k in span:
                cells[k], styles[k] = "█", self.colour
        cells[half], styles[half] = "│", "grey70"
        for mark in self.marks:
            k = half + round(max(-1.0, min(1.0, mark / self.full)) * half)
            if k != half:
                cells[k], styles[k] = "┃", "bright_red"
        for cell, style in zip(cells, styles, strict=True):
            yield Segment(cell, Style.parse(style))


class Chart:
    """The battery's power over time: discharge above the line, charge below, the newest at the right."""

    def __init__(self, values: "deque[float]", full: float, terminal: bool = True) -> None:
        """`terminal`: False draws without reverse video, which pictures render with gaps."""
        self.values = values
        self.full = full
        self.terminal = terminal

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(10, options.max_width - 6)
        height = max(2, options.height or 4)
        up = (height + 1) // 2
        down = height - up
        shown = list(self.values)[-width:]
        shown = [0.0] * (width - len(shown)) + shown
        for row in range(height):
            label = ""
            if row == 0:
                label = f"+{self.full:.0f}"
            elif row == height - 1:
                label = f"-{self.full:.0f}"
            elif row == up - 1:
                label = "kW"
            yield Segment(f"{label:>5} ", Style.parse(DIM))
            for value in shown:
                yield self._cell(value, row, up, down)
            yield Segment.line()

    def _cell(self, value: float, row: int, up: int, down: int) -> Segment:
        if row < up:
            eighths = round(max(0.0, value) / self.full * up * 8) - (up - 1 - row) * 8
            eighths = max(0, min(8, eighths))
            if eighths == 0 and row == up - 1:
                return Segment("▁", Style.parse("grey35"))
            return Segment(EIGHTHS[eighths], Style.parse(GIVE))
        eighths = round(max(0.0, -value) / self.full * down * 8) - (row - up) * 8
        eighths = max(0, min(8, eighths))
        if eighths in (0, 8):
            return Segment(EIGHTHS[eighths], Style.parse(TAKE))
        if not self.terminal:
            return Segment("▀" if 2 <= eighths < 6 else "█" if eighths >= 6 else "▔", Style.parse(TAKE))
        # A block that hangs from the top is a lower block in reverse.
        return Segment(EIGHTHS[8 - eighths], Style.parse(TAKE + " reverse"))


class View:
    """Draws a session.  `frame(width, height)` is one picture of now; `sample()` adds a point to the chart."""

    def __init__(self, session: Session, title: str, terminal: bool = True) -> None:
        self.session = session
        self.terminal = terminal
        self.title = title
        self.history: deque[float] = deque(maxlen=HISTORY)
        table = read()
        self._others = [(p.short, table.shown_unit(p)) for p in table.points if p.short and p.short not in _PLACED]

    def sample(self) -> None:
        """Remember the battery's power for the chart."""
        self.history.append(self.session.site.plant.pcs.power_w / 1000)

    def frame(self, width: int, height: int) -> Layout:
        """One picture, fitted to the terminal (80x24 and larger)."""
        state, truth = self.session.state, self.session.site.truth()
        wide = width >= 110
        body = BODY
        why = 1 if height >= 26 else 0  # in less it takes the blank line of the power panel
        spare = max(0, height - 2 - why - body)
        chart = max(4, min(12, spare * 2 // 5))
        root = Layout()
        above = [Layout(self._header(state, truth, width), size=1, name="header")]
        if why:
            above.append(Layout(self._why(state), size=1, name="why"))
        root.split_column(
            *above,
            Layout(name="body", size=body),
            Layout(self._chart(), size=chart, name="chart"),
            Layout(name="below"),
            Layout(self._footer(), size=1, name="footer"),
        )
        power = self._power(state, truth, Text() if why else self._why(state))
        storage = self._each(state, truth) if "of" in truth else self._battery(state, truth)
        root["body"].split_row(Layout(power, ratio=5), Layout(storage, ratio=4))
        log_lines = height - 2 - why - body - chart - 2
        root["below"].split_row(
            Layout(self._log(log_lines), ratio=12 if wide else 5),
            Layout(self._board(state, log_lines), ratio=8 if wide else 4),
        )
        return root

    # ---- parts ------------------------------------------------------------------------------------------
    def _header(self, state: dict[str, Any], truth: dict[str, Any], width: int) -> Table:
        mode = str(state.get("mode", "starting"))
        line = Table.grid(expand=True)
        line.add_column(justify="left")
        line.add_column(justify="right")
        badge = "bold " + MODE_STYLES.get(mode, "white on grey30")
        left = Text.assemble((f" {mode} ", badge), "  ", (self.title, "bold"))
        left.truncate(max(20, width - 26), overflow="ellipsis")
        right = Text.assemble(
            ("SoC ", DIM), (f"{truth['soc']:.1f} %", "bold"), ("   up ", DIM), _clock(float(state.get("t") or 0)), " "
        )
        line.add_row(left, right)
        return line

    def _why(self, state: dict[str, Any]) -> Text:
        """The board's own sentence about what the power is and what makes it so."""
        reason = str(state.get("reason") or "")
        bad = state.get("mode") == "EMERGENCY" or "fault " in reason
        return Text(reason, BAD if bad else "", no_wrap=True, overflow="ellipsis")

    def _power(self, state: dict[str, Any], truth: dict[str, Any], between: Text) -> Panel:
        full = self.session.site.plant.pcs.rated_w / 1000
        table = Table.grid(expand=True, padding=(0, 1, 0, 0))
        table.add_column(width=8)
        table.add_column(ratio=1, no_wrap=True)
        table.add_column(width=9, justify="right")
        table.add_column(width=9)
        marks = tuple(v for v in (state.get("lim_dis"), _minus(state.get("lim_chg"))) if v is not None)
        battery = truth["pcs_kw"]
        grid = state.get("grid_p")  # as the firmware's meter says it; the others as they truly are
        rows = (
            ("battery", battery, GIVE if battery > 0 else TAKE, _way(battery, "discharge", "charge"), marks),
            ("grid", grid, GRID, _way(grid, "import", "export"), ()),
            ("load", truth["served_kw"], LOAD, "", ()),
            ("solar", truth["pv_kw"], SUN, "", ()),
        )
        for name, value, colour, way, limits in rows:
            table.add_row(name, TwoWayBar(value, full, colour, limits), _kw(value), Text(way, DIM))
        asked = Table.grid(padding=(0, 1, 0, 0))
        asked.add_row(Text("asked", DIM), _kw(state.get("req")), Text("by", DIM), str(state.get("by") or "-"))
        command = Text.assemble(("command ", DIM), _kw(state.get("cmd")).plain.strip())
        asked.add_row(Text("limit", DIM), _kw(state.get("lim_dis")), Text("▲", GIVE), _reason(state.get("why_dis")))
        asked.add_row(Text("", DIM), _kw(_minus(state.get("lim_chg"))), Text("▼", TAKE), _reason(state.get("why_chg")))
        return _panel(Group(table, between, asked), "power", command)

    def _battery(self, state: dict[str, Any], truth: dict[str, Any]) -> Panel:
        power = self.session.site.power
        table = Table.grid(expand=True, padding=(0, 1, 0, 0))
        table.add_column(width=7, style=DIM)
        table.add_column(ratio=1, no_wrap=True)
        soc = state.get("soc")
        told = "not heard" if soc is None else f"{soc:.2f} %"
        table.add_row("charge", Text.assemble((told, "bold"), (f"  {truth['stored_kwh']:.1f} kWh", DIM)))
        table.add_row("", SocBar(truth["soc"], float(power["min_soc"]), float(power["max_soc"])))
        high, low = self.session.site.plant.pack.cell_voltages()
        table.add_row("pack", f"{truth['voltage']:.1f} V  {truth['current']:+.1f} A")
        table.add_row("cells", f"{low:.3f}-{high:.3f} V  {truth['temperature']:.0f} °C")
        closed = truth["contactor"]
        table.add_row("contact", Text("closed" if closed else "open", GIVE if closed else DIM))
        watchdog = Text("  watchdog tripped", BAD) if truth["pcs_watchdog"] and closed else Text()
        table.add_row("PCS", Text.assemble(truth["pcs_state"], watchdog))
        grid = f"{truth['grid_hz']:.2f} Hz  {truth['grid_v']:.0f} V"
        table.add_row("grid", Text(grid) if truth["grid"] else Text("lost", BAD))
        energy = f"▼ {float(state.get('e_in') or 0) / 1000:.2f}  ▲ {float(state.get('e_out') or 0) / 1000:.2f} kWh"
        table.add_row("energy", energy)
        return _panel(table, "battery")

    def _each(self, state: dict[str, Any], truth: dict[str, Any]) -> Panel:
        """Every battery and every inverter of a site with several, a row each; below, what there is room for."""
        table = Table.grid(expand=True, padding=(0, 1, 0, 0))
        table.add_column(width=7, style=DIM, no_wrap=True)
        table.add_column(ratio=1, no_wrap=True)
        plant, each = self.session.site.plant, truth["of"]
        for battery in plant.batteries:
            one = each[battery.name]
            told = Text(f"{one['soc']:.1f} %  {one['voltage']:.0f} V {one['current']:+.0f} A", "" if battery.joined else DIM)
            table.add_row(battery.name, told)
        for inverter in plant.inverters:
            one = each[inverter.name]
            dead = (one["pcs_watchdog"] and truth["contactor"]) or one["pcs_state"] == "FAULT"
            told = Text.assemble((f"{one['pcs_kw']:+.1f} kW  ", "bold"), (one["pcs_state"], BAD if dead else ""))
            table.add_row(inverter.name, told)
        rows = len(plant.batteries) + len(plant.inverters)
        soc = state.get("soc")
        told_soc = Text("not heard" if soc is None else f"{soc:.2f} %  {truth['stored_kwh']:.1f} kWh", "bold")
        grid = Text(f"{truth['grid_hz']:.2f} Hz  {truth['grid_v']:.0f} V") if truth["grid"] else Text("lost", BAD)
        closed = truth["contactor"]
        below = (("charge", told_soc), ("grid", grid), ("contact", Text("closed" if closed else "open", GIVE if closed else DIM)))
        for name, text in below[: max(0, BODY - 2 - rows)]:
            table.add_row(name, text)
        return _panel(table, "batteries, inverters")

    def _chart(self) -> Panel:
        return _panel(Chart(self.history, self.session.site.plant.pcs.rated_w / 1000, self.terminal), "battery power")

    def _log(self, lines: int) -> Panel:
        text = Text(no_wrap=True, overflow="ellipsis")
        for at, kind, what in list(self.session.log)[-max(1, lines) :]:
            text.append(f"{at:6.1f} ", DIM)
            text.append(f"{KIND_MARKS.get(kind, ' ')} ", KIND_STYLES.get(kind, ""))
            text.append(what + "\n", KIND_STYLES.get(kind, ""))
        return _panel(text, "events")

    def _board(self, state: dict[str, Any], lines: int) -> Panel:
        rows: list[tuple[str, Text | str]] = [
            ("faults", _faults(state.get("faults") or [], self.session.site.active)),
            ("cycle", f"{_n(state.get('period_p50'))} ms p50  {_n(state.get('period_p99'))} p99"),
            ("compute", f"{_n(state.get('compute_p50'))} µs p50  {_n(state.get('compute_p99'))} p99"),
            ("heap", _heap(state)),
            ("cycles", f"{state.get('cycles', 0)}  commands {state.get('commands', 0)}"),
            ("beyond", _violation(float(state.get("violation_w") or 0), self.session.site.auditor.worst_violation_w)),
            ("resets", Text(str(len(self.session.board.resets)), BAD if self.session.board.resets else "")),
        ]
        rows += [(key, f"{state[key]} {unit}" if state.get(key) is not None else "-") for key, unit in self._others]
        table = Table.grid(expand=True, padding=(0, 1, 0, 0))
        table.add_column(width=7, style=DIM)
        table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        for name, value in rows[: max(1, lines)]:
            table.add_row(name, value)
        return _panel(table, "board")

    def _footer(self) -> Text:
        board = self.session.board
        heap = f", heap {board.heap}" if board.heap else ""
        scenario = self.session.scenario
        now = f"{self.session.elapsed():.0f} s"
        if not self.session.repeat:
            now = f"{now[:-2]} of {scenario.seconds:.0f} s"
        faults = self.session.state.get("faults") or []
        if faults:
            return Text.assemble((" Ctrl-C", "bold"), (" ends  ", DIM), (f"faults: {', '.join(faults)}", BAD))
        return Text.assemble(
            (" Ctrl-C", "bold"), (" ends", DIM), (f"  {scenario.name}  {now}  {board.interpreter}{heap}", DIM)
        )


class SocBar:
    """State of charge from empty to full, with the edges of the allowed window."""

    def __init__(self, soc: float, low: float, high: float) -> None:
        self.soc = soc
        self.low = low
        self.high = high

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(9, options.max_width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = options.max_width
        filled = round(max(0.0, min(100.0, self.soc)) / 100 * width)
        inside = self.low <= self.soc <= self.high
        edges = {min(width - 1, round(edge / 100 * width)) for edge in (self.low, self.high)}
        for k in range(width):
            if k in edges:
                yield Segment("┃", Style.parse("bright_red"))
            elif k < filled:
                yield Segment("█", Style.parse(GIVE if inside else LOAD))
            else:
                yield Segment("·", Style.parse("grey35"))


def _panel(content: Any, title: str, subtitle: Text | None = None) -> Panel:
    return Panel(content, title=f"[bold]{title}[/]", title_align="left", subtitle=subtitle, subtitle_align="right",
                 border_style="grey42", padding=(0, 1))


def _kw(value: float | None) -> Text:
    return Text("-", DIM) if value is None else Text(f"{value:+.1f} kW", "bold")


def _minus(value: float | None) -> float | None:
    return None if value is None else 0.0 - value  # never "-0"


def _way(value: float | None, positive: str, negative: str) -> str:
    if value is None:
        return "not heard"
    return positive if value > 0.05 else negative if value < -0.05 else ""


def _reason(name: Any) -> Text:
    return Text(str(name or "-").replace("_", " ").lower())


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"


def _n(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}"


def _faults(told: list[str], injected: list[str]) -> Text:
    text = Text(", ".join(told), BAD) if told else Text("none", GIVE)
    if injected:
        text.append(f"  (injected: {', '.join(injected)})", LOAD)
    return text


def _heap(state: dict[str, Any]) -> str:
    used, free = state.get("heap_used"), state.get("heap_free")
    return "-" if used is None or free is None else f"{used / 1024:.0f} KB used  {free / 1024:.0f} free"


def _violation(own: float, audited: float) -> Text:
    worst = max(own, audited)
    return Text(f"{worst:.0f} W over a limit", BAD if worst > 0 else GIVE)
