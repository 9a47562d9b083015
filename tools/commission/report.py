"""The report: the JSON with its hash, and the same as one HTML file with plots."""

import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from tools.commission import place, settings
from tools.commission.outcome import FAIL, PASS, Outcome
from tools.commission.page import name_of, page_of
from tools.commission.steps import STEPS
from tools.commission.walk import State, utc

SIMULATED = "SIMULATED CABINET: no real battery, inverter or meter was tried, and this report signs nothing off."
PASSED, FAILED, INCOMPLETE = "passed", "failed", "not complete"
_EMBEDDED = re.compile(r'<script type="application/json" id="report">(.*?)</script>', re.DOTALL)


def canonical(content: dict[str, Any]) -> bytes:
    """The bytes that are hashed: keys in order, no spaces, everything but the hash itself."""
    bare = {key: value for key, value in content.items() if key != "sha256"}
    return json.dumps(bare, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def fingerprint(content: dict[str, Any]) -> str:
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
    of = " (SIMULATED CABINET)" if state.subject.get("simulated") else ""
    return f"commissioning: {verdict(state).upper()}{of}: {told}"


class Facts(NamedTuple):
    """What a report says beside what was measured: told by people, by the devices, and by how the session was."""

    agreed: dict[str, Any] = {}
    by: str = ""
    company: str = ""
    devices: list[dict[str, str]] = []  # plates.read()


def content_of(state: State, site: dict[str, Any], facts: Facts) -> dict[str, Any]:
    """Everything, with its hash."""
    steps = []
    for step in STEPS:
        found = state.outcomes.get(step.id) or Outcome(step.id, step.title, text="not reached yet")
        steps.append(asdict(found))
    simulated = bool(state.subject.get("simulated"))
    content = {
        "format": 2,
        "simulated": simulated,
        "notice": SIMULATED if simulated else "",
        "verdict": verdict(state),
        "began": state.began,
        "written": utc(),
        "subject": state.subject,
        "devices": facts.devices,
        "site": without_secrets(site),
        "settings": settings.of(site),
        "agreed": facts.agreed,
        "by": facts.by,
        "company": facts.company,
        "steps": steps,
    }
    content = rounded(content)
    content["sha256"] = fingerprint(content)
    return content


def rounded(value: Any) -> Any:
    """The same without the noise of floats: a ten-thousandth is finer than anything that is measured here."""
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(one) for one in value]
    return round(value, 4) + 0.0 if isinstance(value, float) else value


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


class Written(NamedTuple):
    """Where a report is: for good, its copy as the newest, and what had to be moved for that."""

    kept: list[Path]
    copies: list[Path]
    moved: list[Path]


def write(folder: Path, content: dict[str, Any]) -> Written:
    """The page and the data, under a name of their own that nothing overwrites, and as report.html and report.json."""
    data = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=True)
    kept = place.keep(folder, name_of(content), {".html": page_of(content), ".json": data})
    return Written(kept, *place.newest(folder, kept))


def verify(file: Path) -> tuple[str, bool]:
    """Whether a report is as it was written, by its hash, in words and as such."""
    try:
        text = file.read_text()
        if file.suffix == ".html":
            found = _EMBEDDED.search(text)
            if found is None:
                return f"{file}: holds no report", False
            text = found.group(1).replace("<\\/", "</")
        content = json.loads(text)
        wanted, is_so = content["sha256"], fingerprint(content)
    except FileNotFoundError:
        made = sorted((file.parent / "simulated").glob(f"*{file.suffix}"))
        return f"{file}: there is none" + (f"; of a simulated cabinet there is {made[0]}" if made else ""), False
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{file}: no report ({type(error).__name__}: {error})", False
    if wanted != is_so:
        return f"{file}: CHANGED since it was written: it says {wanted}, its content has {is_so}", False
    if file.suffix == ".html" and page_of(content) != file.read_text():
        told = "its data are as they were written, but the page does not show what this version of the program makes of them"
        return f"{file}: {told}: it was CHANGED, or another version wrote it.  The .json of the same name holds by itself", False
    of = "  It is of a SIMULATED CABINET." if content.get("simulated") else ""
    return f"{file}: as it was written, {content['verdict']}, SHA-256 {is_so}.{of}", True
