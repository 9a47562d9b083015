"""The report as a page: one file without anything from elsewhere, for light, dark and paper."""

import html
import json
import re
from pathlib import Path
from typing import Any

from tools.commission.figures import given, measured
from tools.commission.mend import entries
from tools.commission.outcome import Plot, Series
from tools.commission.place import FOLDER, REPORTS, SIMULATED
from tools.commission.plates import NOT_GIVEN
from tools.commission.plots import legend, svg
from tools.commission.settings import LIMITS

_STYLE = Path(__file__).with_name("report.css").read_text()
_KINDS = {"pass": "pass", "passed": "pass", "fail": "fail", "failed": "fail"}
_MARKS = {
    True: ('<span class="pass" title="within its bound">&#10003;</span>'),
    False: '<span class="fail" title="out of bounds">&#10007;</span>',
    None: "",
}


# what is agreed, in words; its keys are those of bench.Agreed
_AGREED = {
    "export_kw": ("export that the grid operator allows", "{} kW"),
    "ems": ("an EMS on Modbus reaches the board at", "{}"),
    "ems_can": ("the EMS's CAN bus was tried with the adapter", "{}"),
}
_BLANK = '<span class="blank"></span>'


def name_of(content: dict[str, Any]) -> str:
    """The name of its files: site, when it was written, how its hash begins."""
    site = re.sub(r"[^a-z0-9]+", "-", str(content["subject"].get("site")).lower()).strip("-") or "site"
    when = re.sub(r"[^0-9]", "", content["written"])
    marked = "SIMULATED-" if content.get("simulated") and not site.startswith("simulated") else ""
    return f"{marked}{site}-{when[:8]}-{when[8:]}Z-{content['sha256'][:8]}"


def page_of(content: dict[str, Any]) -> str:
    """The page for a report."""
    about = content["subject"]
    # neither ends the script, nor begins a comment in which its end would not be one
    data = json.dumps(content, sort_keys=True, ensure_ascii=True).replace("</", "<\\/").replace("<!--", "\\u003c!--")
    of = " (simulated)" if content.get("simulated") else ""
    title = f"Commissioning of {_text(about.get('site'))}"
    return "\n".join((
        "<!doctype html>", '<html lang="en">', "<head>", '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{'SIMULATED: ' if content.get('simulated') else ''}{title}</title>", f"<style>{_STYLE}</style>",
        "</head>", "<body>",
        f'<p class="notice">{_text(content["notice"])}</p>' if content.get("notice") else "",
        f"<h1>{title} {_badge(content['verdict'], of)}</h1>",
        '<p class="dim">Positive power is discharge; at the point of connection, import. A row that counts otherwise says so.</p>',
        _facts(content),
        _devices(content.get("devices", [])),
        _untested(content["steps"]),
        _overview(content["steps"]),
        *(_step(step) for step in content["steps"] if step["began"]),
        _settings(content.get("settings", [])),
        *_ending(content),
        f'<script type="application/json" id="report">{data}</script>', "</body>", "</html>", "",
    ))  # fmt: skip


def _facts(content: dict[str, Any]) -> str:
    """Who and what, a row each."""
    about = content["subject"]
    build = about.get("firmware_stamp")
    rows = [
        ("cabinet", "SIMULATED, on a computer" if content.get("simulated") else "real"), ("site", about.get("site")),
        ("began", content["began"]), ("written", content["written"]),
        ("commissioned by", content["by"] or ""), ("of the company", content.get("company", "")),
        ("controller, its chip's own number", about.get("chip")),
        ("firmware", "as the sources are, not a numbered build" if build == "sources" else build),
        ("SHA-256 over the firmware's files", about.get("firmware")), ("SHA-256 of site.json", about.get("site_sha256")),
    ]  # fmt: skip
    for key, value in sorted(content["agreed"].items()):
        label, words = _AGREED.get(key, (key, "{}"))
        rows.append((label, words.format(given(value) if isinstance(value, float | int) else value)))
    if "export_kw" not in content["agreed"]:
        rows.append((_AGREED["export_kw"][0], ""))
    cells = (f'<tr><th>{_text(name)}</th><td{_mono(value)}>{_text(value) if value else _BLANK}</td></tr>' for name, value in rows)
    return f'<table class="facts">{"".join(cells)}</table>'


def _devices(devices: list[dict[str, str]]) -> str:
    """Maker, model and serial number of each, or a line to fill in."""
    if not devices:
        return ""
    rows = "".join(
        f"<tr><td>{_text(one['name'])}</td><td>{_text(one['type'])}<br>{_text(one['where'])}</td>"
        f"<td>{_text(one['says'] or 'nothing')}</td>"
        f"<td>{_text(one['given']) if one['given'] else f'{NOT_GIVEN} {_BLANK}'}</td></tr>"
        for one in devices
    )
    heads = "".join(f"<th>{head}</th>" for head in ("device", "driver, address", "what it says of itself", "what its plate says"))
    heads = f"<tr>{heads}</tr>"
    return f'<table class="devices">{heads}{rows}</table>'


def _settings(settings: list[dict[str, Any]]) -> str:
    """What is signed for: the site's limits, and what its file says; folded away the defaults of drivers and services."""
    if not settings:
        return ""
    said = [one for one in settings if not one["default"] or one["part"] == LIMITS]
    rest = [one for one in settings if one["default"] and one["part"] != LIMITS]
    title = f"{len(rest)} defaults of buses, devices and services"
    more = f"<details><summary>{title}</summary>{_rows_of(rest)}</details>" if rest else ""
    return (
        '<section class="settings" id="settings"><header><h2>What the site is set to</h2></header>'
        "<p>As site.json on the board had it in this session. <b>default</b>: it says nothing, and the firmware's own value holds. "
        f"Passwords and PINs are not shown.</p>{_rows_of(said)}{more}</section>"
    )


def _rows_of(settings: list[dict[str, Any]]) -> str:
    tables, part = [], None
    for one in settings:
        if one["part"] != part:
            part = one["part"]
            tables.append(f'<tr class="part"><th colspan="4">{_text(part)}</th></tr>')
        origin = "default" if one["default"] else "site.json"
        tables.append(
            f'<tr{" class=dim" if one["default"] else ""}><td><code>{_text(one["name"])}</code></td><td>{_text(one["value"])}</td>'
            f"<td>{_text(one['means'])}</td><td>{origin}</td></tr>"
        )
    heads = "".join(f"<th>{head}</th>" for head in ("setting", "value", "unit, meaning", "from"))
    return f"<table><tr>{heads}</tr>{''.join(tables)}</table>"


def _untested(steps: list[dict[str, Any]]) -> str:
    """What nobody can rely on, said before the rest."""
    missing = [step["title"] for step in steps if step["verdict"] == "not tested" and step["applies"]]
    return f'<p class="none"><b>Not tested: {_text("; ".join(missing))}.</b></p>' if missing else ""


def _ending(content: dict[str, Any]) -> tuple[str, ...]:
    """The hash, and the lines for those who sign by hand."""
    kept = (SIMULATED if content.get("simulated") else FOLDER) / REPORTS
    by = ", ".join(filter(None, (content["by"], content.get("company", ""))))
    signs = (("place, date", ""), ("commissioned by: name, company, signature", by),
             ("owner or operator: name, company, signature", ""))  # fmt: skip
    lines = "".join(f"<div><p>{_text(value) if value else '&nbsp;'}</p>{_text(label)}</div>" for label, value in signs)
    return (
        "<section><header><h2>Fingerprint, and who signs</h2></header>",
        "<p>SHA-256 over this report's data, as they are embedded here and in the file .json of the same name:</p>",
        f'<p class="mono"><b>{_text(content["sha256"])}</b></p>',
        '<p class="dim">It shows whether the data were changed later. It is nobody\'s signature: whoever changes the data can make '
        "a new hash, so it tells something once it stands on this sheet signed by hand, or in a register. Check it in the "
        f"project's folder: <code>make commission VERIFY={kept}/{_text(name_of(content))}.html</code> "
        "(or .json; the path is where you keep it).</p>",
        f'<div class="sign">{lines}</div>', "</section>",
    )  # fmt: skip


def _text(value: Any) -> str:
    return html.escape(str(value if value is not None else "-"))


def _badge(verdict: str, more: str = "") -> str:
    return f'<span class="badge {_KINDS.get(verdict, "none")}">{_text(verdict + more)}</span>'


def _overview(steps: list[dict[str, Any]]) -> str:
    rows = "".join(
        f'<tr><td>{_title(s)}</td><td>{_badge(s["verdict"])}</td>'
        f'<td class="n">{s["seconds"]:.0f} s</td><td>{_text(s["text"])}</td></tr>'
        for s in steps
    )
    return f"<table><tr><th>step</th><th>verdict</th><th>took</th><th></th></tr>{rows}</table>"


def _title(step: dict[str, Any]) -> str:
    """Its name, which leads to what was measured where anything was."""
    return f'<a href="#{_text(step["id"])}">{_text(step["title"])}</a>' if step["began"] else _text(step["title"])


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
            f'<td class="n{_hash(f["value"])}">{_text(measured(f["value"], f["unit"]))}</td>'
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


def _mono(value: Any) -> str:
    return ' class="mono"' if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{12,}", value) else ""


def _hash(value: Any) -> str:
    return " mono" if _mono(value) else ""
