"""The page: a day's figures, its picture and its events, in one HTML file that needs nothing else; light and dark."""

from collections.abc import Callable
from datetime import date, datetime, timedelta, tzinfo
from html import escape

from tools.logs import draw
from tools.logs.days import Happened, Row

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2024;--dim:#60646c;--paper:#fcfcfd;--card:#fff;--rule:#e4e6ea;--zero:#9aa0a8;
--bat:#0b7d62;--grid:#7a4fd0;--load:#c2570c;--pv:#b58900;--limit:#8b9097;--soc:#0b7d62;
--trouble:#d64545;--battery:#e0a526;--outside:#4c86d8;--rating:#c3c8ce;--onrating:#1c2024;--error:#c92a2a;--warning:#b36b00}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8eb;--dim:#9ba1a8;--paper:#111315;--card:#181b1e;--rule:#2b2f34;--zero:#60666d;
--bat:#3fc39c;--grid:#b195f0;--load:#f0964f;--pv:#e6c04a;--limit:#848b93;--soc:#3fc39c;
--trouble:#b93838;--battery:#a87716;--outside:#3566ab;--rating:#3a4047;--onrating:#e6e8eb;--error:#ff7b72;--warning:#e3a948}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:15px/1.45 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:24px 16px 48px}h1{font-size:22px;margin:0 0 4px}h2{font-size:18px;margin:32px 0 8px}
p{margin:4px 0;color:var(--dim)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(140px,1fr));gap:8px;margin:16px 0}
.tile{background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:8px 12px}
.tile b{display:block;font-size:20px}
.tile span{color:var(--dim);font-size:13px}
figure{margin:0;background:var(--card);border:1px solid var(--rule);border-radius:8px;padding:12px}
.scroll{overflow-x:auto}svg{display:block;width:100%;min-width:640px;height:auto}
.legend{display:flex;flex-wrap:wrap;gap:4px 16px;margin-top:8px;font-size:13px;color:var(--dim)}
.legend i{display:inline-block;width:18px;height:0;border-top:3px solid;margin-right:6px;vertical-align:middle}
.legend i.box{height:11px;border:0;border-radius:2px}.legend i.dash{border-top:2px dashed}
polyline{fill:none;stroke-width:1.4;stroke-linejoin:round}.bat{stroke:var(--bat);stroke-width:2.4}.grid{stroke:var(--grid)}
.load{stroke:var(--load)}.pv{stroke:var(--pv)}.soc{stroke:var(--soc);stroke-width:2}
.limit{stroke:var(--limit);stroke-dasharray:4 3}
.band{fill:var(--bat);opacity:.16}.rule{stroke:var(--rule);stroke-width:1}.zero{stroke:var(--zero)}
.tick{fill:var(--dim);font-size:11px}.label{fill:#fff;font-size:11px;pointer-events:none}
.why.trouble{fill:var(--trouble)}.why.battery{fill:var(--battery)}.why.outside{fill:var(--outside)}
.why.rating{fill:var(--rating)}
.why.rating~.label{fill:var(--onrating)}.hit{fill:transparent}.hit:hover{fill:var(--ink);opacity:.08}
.mark line{stroke-width:1;stroke-dasharray:1 3}.mark.error line{stroke:var(--error)}.mark.error path{fill:var(--error)}
.mark.warning line{stroke:var(--warning)}.mark.warning path{fill:var(--warning)}
table{width:100%;border-collapse:collapse;font-size:14px}
td{padding:3px 8px 3px 0;border-top:1px solid var(--rule);vertical-align:top}
td:first-child{white-space:nowrap;width:6em;font-variant-numeric:tabular-nums;color:var(--dim)}td:nth-child(2){width:5em}
tr.error td:nth-child(2){color:var(--error);font-weight:600}tr.warning td:nth-child(2){color:var(--warning);font-weight:600}
.levels label{margin-right:14px}
.day:has(.show-info:not(:checked)) tr.info,.day:has(.show-debug:not(:checked)) tr.debug,
.day:has(.show-warning:not(:checked)) tr.warning{display:none}
"""


def _tiles(day: list[Row]) -> str:
    """The day in figures."""
    into = sum(row.charged for row in day)
    out = sum(row.discharged for row in day)
    tiles = [("charged", f"{into:.1f} kWh"), ("discharged", f"{out:.1f} kWh")]
    most = [row.most for row in day if row.most is not None]
    least = [row.least for row in day if row.least is not None]
    if most and least:
        discharge, charge = max(0.0, *most), max(0.0, *(-value for value in least))
        tiles += [("most, discharge", f"{discharge:.1f} kW"), ("most, charge", f"{charge:.1f} kW")]
    known = [row.soc for row in day if row.soc is not None]
    if known:
        tiles.append(("state of charge", f"{known[0]:.0f} to {known[-1]:.0f} %"))
    hours = sum(row.seconds for row in day) / 3600
    tiles.append(("recorded", f"{hours:.1f} h"))
    inside = "".join(f'<div class="tile"><span>{name}</span><b>{value}</b></div>' for name, value in tiles)
    return f'<div class="tiles">{inside}</div>'


def _legend() -> str:
    lines = "".join(f'<span><i style="border-color:var(--{name})"></i>{text}</span>' for name, text, _ in reversed(draw.LINES))
    lines += '<span><i class="dash" style="border-color:var(--limit)"></i>least limit</span>'
    boxes = "".join(f'<span><i class="box" style="background:var(--{name})"></i>{text}</span>' for name, text, _ in draw.GROUPS)
    return f'<div class="legend">{lines}</div><div class="legend"><span>limited by</span>{boxes}</div>'


def _events(happened: list[Happened], local: Callable[[datetime], datetime]) -> str:
    if not happened:
        return "<p>No events.</p>"
    boxes = "".join(
        f'<label><input type="checkbox" class="show-{level}"{"" if level == "debug" else " checked"}> {level}</label>'
        for level in ("warning", "info", "debug")
    )
    rows = "".join(
        f'<tr class="{one.level}"><td>{f"{local(one.at):%H:%M:%S}" if one.at else f"{one.since_boot_s} s after a boot"}</td>'
        f"<td>{one.level}</td><td>{escape(one.text)}</td></tr>"
        for one in happened
    )
    return f'<div class="levels">{boxes}</div><table>{rows}</table>'


def _section(which: date, power: list[Row], happened: list[Happened], zone: tzinfo | None) -> str:
    def local(moment: datetime) -> datetime:
        return moment.astimezone(zone)

    day = [row for row in power if local(row.end - timedelta(seconds=1)).date() == which]
    mine = [one for one in happened if one.at and local(one.at).date() == which]
    inside = f'<section class="day"><h2>{which:%A, %Y-%m-%d}</h2>'
    if day:
        picture = draw.day_svg(draw.midnight_of(day, mine, local), day, mine, local)
        inside += f'{_tiles(day)}<figure><div class="scroll">{picture}</div>{_legend()}</figure>'
    else:
        inside += '<p>No powers were kept on this day: the site file needs "history": {"type": "history"} among its services.</p>'
    return f"{inside}<h2>Events</h2>{_events(mine, local)}</section>"


def page(name: str, which: list[date], power: list[Row], happened: list[Happened], zone: tzinfo | None = None) -> str:
    """HTML of these days, the newest first; zone: None is this computer's."""
    undated = [one for one in happened if one.at is None]
    body = "".join(_section(day, power, happened, zone) for day in sorted(which, reverse=True))
    if undated:
        body += f'<section class="day"><h2>While the clock was not set</h2>{_events(undated, lambda moment: moment)}</section>'
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(name)}: logs</title><style>{_STYLE}</style><main><h1>{escape(name)}</h1>"
        f"<p>Five-minute means; the band is the least and the most in between.  Point at the picture for a moment's figures.</p>"
        f"{body}</main></html>\n"
    )
