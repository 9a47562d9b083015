"""The report as a page: one file without anything from elsewhere, for light, dark and paper."""

import html
import json
from pathlib import Path
from typing import Any

from tools.commission.mend import entries
from tools.commission.outcome import Plot, Series
from tools.commission.plots import legend, svg

_STYLE = Path(__file__).with_name("report.css").read_text()
_KINDS = {"pass": "pass", "passed": "pass", "fail": "fail", "failed": "fail"}
_MARKS = {
    True: ('<span class="pass" title="within its bound">&#10003;</span>'),
    False: '<span class="fail" title="out of bounds">&#10007;</span>',
    None: "",
}


def page_of(content: dict[str, Any]) -> str:
    """The page for a signed report."""
    about = content["subject"]
    data = json.dumps(content, sort_keys=True, ensure_ascii=True).replace("</", "<\\/")
    rows = (
        ("site", about.get("site")), ("chip", about.get("chip")),
        ("firmware", f"{about.get('firmware_stamp')}, {about.get('firmware')}"),
        ("site.json", about.get("site_sha256")), ("began", content["began"]), ("written", content["written"]),
        ("commissioned by", content["by"] or "-"),
        *((f"agreed: {key}", value) for key, value in sorted(content["agreed"].items())),
    )  # fmt: skip
    return "\n".join((
        "<!doctype html>", '<html lang="en">', "<head>", '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>Commissioning of {_text(about.get('site'))}</title>", f"<style>{_STYLE}</style>", "</head>", "<body>",
        f"<h1>Commissioning of {_text(about.get('site'))} {_badge(content['verdict'])}</h1>",
        '<p class="dim">Positive power is discharge; at the point of connection, import.</p>',
        "<table>", *(f'<tr><th>{_text(name)}</th><td class="mono">{_text(value)}</td></tr>' for name, value in rows), "</table>",
        _overview(content["steps"]),
        *(_step(step) for step in content["steps"]),
        "<section><header><h2>Signature</h2></header>",
        "<p>SHA-256 of this report's data (canonical JSON, embedded here and in report.json):</p>",
        f'<p class="mono"><b>{_text(content["sha256"])}</b></p>',
        '<p class="dim">Check it: <code>python -m tools.commission --verify report.json</code> (or report.html). The hash '
        "tells whether the data are those that were measured once it stands on a signed sheet, or in a register: whoever "
        "changes the data can make a new hash.</p>",
        '<div class="sign"><div>place, date</div><div>commissioned by</div><div>owner</div></div>', "</section>",
        f'<script type="application/json" id="report">{data}</script>', "</body>", "</html>", "",
    ))  # fmt: skip


def _text(value: Any) -> str:
    return html.escape(str(value if value is not None else "-"))


def _badge(verdict: str) -> str:
    return f'<span class="badge {_KINDS.get(verdict, "none")}">{_text(verdict)}</span>'


def _overview(steps: list[dict[str, Any]]) -> str:
    rows = "".join(
        f'<tr><td><a href="#{_text(s["id"])}">{_text(s["title"])}</a></td><td>{_badge(s["verdict"])}</td>'
        f'<td class="n">{s["seconds"]:.0f} s</td><td>{_text(s["text"])}</td></tr>'
        for s in steps
    )
    return f"<table><tr><th>step</th><th>verdict</th><th>took</th><th></th></tr>{rows}</table>"


def _step(step: dict[str, Any]) -> str:
    parts = [f'<section id="{_text(step["id"])}"><header><h2>{_text(step["title"])}</h2>{_badge(step["verdict"])}'
             f'<span class="dim">{_text(step["began"])}</span></header>']  # fmt: skip
    if step["text"]:
        parts.append(f"<p>{_text(step['text'])}</p>")
    if step["advice"]:
        parts.append(f"<p><b>What to do:</b> {_text(step['advice'])}</p>")
    if step["patch"]:
        parts.append(f"<pre>{_text(chr(10).join(entries(step['patch'])))}</pre>")
    if step["figures"]:
        rows = "".join(
            f'<tr><td class="mark">{_MARKS[f["ok"]]}</td><td>{_text(f["name"])}</td>'
            f'<td class="n{_long(f["value"])}">{_value(f["value"])} {_text(f["unit"])}</td>'
            f"<td>{_text(f['bound'])}</td></tr>"
            for f in step["figures"]
        )
        parts.append(f"<table><tr><th></th><th>figure</th><th>measured</th><th>bound</th></tr>{rows}</table>")
    parts.append('<div class="plots">')
    for kept in step["plots"]:
        plot = Plot(
            kept["title"],
            kept["x"],
            kept["y"],
            [Series(s["name"], [(x, y) for x, y in s["points"]], s["dots"]) for s in kept["series"]],
        )
        parts.append(f"<figure>{svg(plot)}<figcaption>{_text(plot.title)} &nbsp; {legend(plot)}</figcaption></figure>")
    parts.append("</div></section>")
    return "".join(parts)


def _value(value: Any) -> str:
    return (
        f"{value:.3g}"
        if isinstance(value, float) and abs(value) < 100
        else _text(f"{value:.1f}" if isinstance(value, float) else value)
    )


def _long(value: Any) -> str:
    return " mono" if isinstance(value, str) and len(value) > 24 else ""
