"""The metrics as others read them: Prometheus' own client parses them strictly, and every name of the dashboard is one of them."""

import json
import re
from pathlib import Path

import pytest
from historyrig import NOON, Rig
from metricsrig import App
from prometheus_client.parser import text_string_to_metric_families

from firmware import metrics
from tools.build import slots
from tools.build.stage import ROOT

DASHBOARD = ROOT / "docs" / "grafana.json"
_BASE = ("seconds", "watts", "volts", "amperes", "celsius", "ratio", "hertz", "joules", "bytes")


@pytest.fixture(scope="module")
def text() -> str:
    rig = Rig("metrics", *NOON).set(pv=3000).run(60)
    app = App(history=rig.history, records=rig.records)
    app.pm.clock = rig.pm.clock
    app.stopped["thief"] = "stopped"
    return "".join(metrics.pieces(app))


def test_prometheus_own_parser_takes_every_line(text: str) -> None:
    families = list(text_string_to_metric_families(text))
    samples = [sample for family in families for sample in family.samples]
    assert len(samples) == sum(1 for line in text.splitlines() if not line.startswith("#")) > 100
    assert len({(sample.name, tuple(sorted(sample.labels.items()))) for sample in samples}) == len(samples), "each once"
    assert len({family.name for family in families}) == len(families), "the samples of a metric stand together"
    site = next(sample for sample in samples if sample.name == "bess_build_info").labels["site"]
    assert site == 'yard "7" \\ north', "whatever a person calls it"


def test_types_names_and_help_are_as_prometheus_wants_them(text: str) -> None:
    for family in text_string_to_metric_families(text):
        assert family.type in ("gauge", "counter"), family.name
        assert family.documentation[:1].isupper() or family.documentation[0] in "1", family.name
        for sample in family.samples:
            assert re.fullmatch(r"bess_[a-z0-9_]+", sample.name)
            assert sample.name.endswith("_total") == (family.type == "counter"), sample.name
            assert family.type != "counter" or sample.value >= 0
            assert not re.search(r"_(kw|w|kwh|wh|v|a|ms|us|percent|degc)(_|$)", sample.name), f"{sample.name} is in no base unit"
            stem = sample.name.removesuffix("_total")
            units = [unit for unit in _BASE if f"_{unit}" in stem]
            assert not units or stem.endswith(tuple(units)), f"{sample.name}: its unit stands last"


def _asked(dashboard: Path) -> set[str]:
    """Every metric that a query of the dashboard names."""
    content = json.loads(dashboard.read_text())
    queries = [target["expr"] for panel in content["panels"] for target in panel.get("targets", [])]
    assert len(queries) > 10
    queries += [variable["query"] for variable in content["templating"]["list"] if isinstance(variable.get("query"), str)]
    return {name for query in queries for name in re.findall(r"\bbess_\w+", query)}


def test_every_name_that_the_dashboard_uses_is_one_that_a_board_has(text: str) -> None:
    there = {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}
    points = slots.metrics_block(slots.read()).splitlines()  # of which some are not measured at this site
    there |= {f"bess_{line.split()[5]}" for line in points if len(line.split()) > 6}
    assert _asked(DASHBOARD) <= there, _asked(DASHBOARD) - there
