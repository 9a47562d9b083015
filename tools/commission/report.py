"""The report: the JSON with its hash, and the same as one HTML file with plots."""

import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tools.commission.outcome import FAIL, PASS, Outcome
from tools.commission.page import page_of
from tools.commission.steps import STEPS
from tools.commission.walk import State, utc

PASSED, FAILED, INCOMPLETE = "passed", "failed", "not complete"
_EMBEDDED = re.compile(r'<script type="application/json" id="report">(.*?)</script>', re.DOTALL)


def canonical(content: dict[str, Any]) -> bytes:
    """The bytes that are hashed: keys in order, no spaces, everything but the signature."""
    bare = {key: value for key, value in content.items() if key != "sha256"}
    return json.dumps(bare, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def sign(content: dict[str, Any]) -> str:
    """SHA-256 over that."""
    return hashlib.sha256(canonical(content)).hexdigest()


def verdict(state: State) -> str:
    """Of the whole walk."""
    found = [state.outcomes.get(step.id) for step in STEPS]
    if any(one is not None and one.verdict == FAIL for one in found):
        return FAILED
    return PASSED if all(one is not None and one.fine for one in found) else INCOMPLETE


def summary(state: State) -> str:
    """A line for people."""
    done = [state.outcomes[step.id] for step in STEPS if step.id in state.outcomes]
    counts = {kind: sum(one.verdict == kind for one in done) for kind in (PASS, FAIL)}
    idle = sum(not one.applies for one in done)
    rest = len(STEPS) - sum(counts.values()) - idle
    told = f"{counts[PASS]} passed, {counts[FAIL]} failed, {rest} not tested" + (f", {idle} do not apply" if idle else "")
    return f"commissioning: {verdict(state).upper()}: {told}"


def content_of(state: State, site: dict[str, Any], agreed: dict[str, Any], by: str) -> dict[str, Any]:
    """Everything, with its hash."""
    steps = []
    for step in STEPS:
        found = state.outcomes.get(step.id) or Outcome(step.id, step.title, text="not reached yet")
        steps.append(asdict(found))
    content = {
        "format": 1,
        "verdict": verdict(state),
        "began": state.began,
        "written": utc(),
        "subject": state.subject,
        "site": without_secrets(site),
        "agreed": agreed,
        "by": by,
        "steps": steps,
    }
    content["sha256"] = sign(content)
    return content


def without_secrets(site: dict[str, Any]) -> dict[str, Any]:
    """A site file's content that anybody may see: no Wi-Fi, and of the services no passwords."""
    shown = {key: value for key, value in site.items() if key != "wifi"}
    services = shown.get("services")
    if isinstance(services, dict):
        shown["services"] = {
            name: {**one, "password": "***"} if isinstance(one, dict) and one.get("password") else one
            for name, one in services.items()
        }
    return shown


def write(folder: Path, state: State, site: dict[str, Any], agreed: dict[str, Any], by: str = "") -> tuple[Path, Path]:
    """report.html and report.json in that folder."""
    folder.mkdir(parents=True, exist_ok=True)
    content = content_of(state, site, agreed, by)
    page, data = folder / "report.html", folder / "report.json"
    data.write_text(json.dumps(content, indent=1, sort_keys=True, ensure_ascii=True))
    page.write_text(page_of(content))
    return page, data


def verify(file: Path) -> tuple[str, bool]:
    """What can be said of a report's signature, and whether it holds."""
    try:
        text = file.read_text()
        if file.suffix == ".html":
            found = _EMBEDDED.search(text)
            if found is None:
                return f"{file}: holds no report", False
            text = found.group(1).replace("<\\/", "</")
        content = json.loads(text)
        wanted, is_so = content["sha256"], sign(content)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{file}: no report ({type(error).__name__}: {error})", False
    if wanted != is_so:
        return f"{file}: CHANGED since it was written: it says {wanted}, its content has {is_so}", False
    if file.suffix == ".html" and page_of(content) != file.read_text():
        told = "CHANGED, or written by another version of this program: the data are as signed, what the page shows is not"
        return f"{file}: {told} what this version makes of them (report.json holds by itself)", False
    return f"{file}: as it was written, {content['verdict']}, sha256 {is_so}", True
