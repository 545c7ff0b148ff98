"""Grafana's dashboards, from tables of what each panel asks (`night_panels`, `service_panels`).

    python -m deploy.grafana.dashboards

writes them into the chart, from where Compose takes them too. A test says whether they are up to
date, and asks a Prometheus that scrapes our metrics every question.
"""

import json
from pathlib import Path
from typing import Any

from deploy.grafana.night_panels import DELIVERY, NIGHT, QUALITY
from deploy.grafana.panel import Panel
from deploy.grafana.service_panels import CATALOG, INFRASTRUCTURE

DIRECTORY = Path(__file__).parents[1] / "helm" / "residua" / "files" / "dashboards"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}

DASHBOARDS = {
    "night": ("Residua: night", NIGHT),
    "delivery": ("Residua: delivery", DELIVERY),
    "quality": ("Residua: quality", QUALITY),
    "catalog-and-access": ("Residua: catalog and access", CATALOG),
    "infrastructure": ("Residua: infrastructure", INFRASTRUCTURE),
}


def _panel(panel: Panel, number: int, x: int, y: int) -> dict[str, Any]:
    instant = panel.kind in {"stat", "bargauge"}
    steps = [{"color": "green", "value": None}]
    if panel.steps:
        colours = ("orange", "red")
        steps += [{"color": c, "value": v} for c, v in zip(colours, panel.steps, strict=True)]
    made: dict[str, Any] = {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": 8},
    }
    if panel.kind == "alertlist":
        return {
            **made,
            "options": {"viewMode": "list", "stateFilter": {"firing": True, "pending": True}},
        }
    return {
        **made,
        "datasource": SOURCE,
        "fieldConfig": {
            "defaults": {"unit": panel.unit, "thresholds": {"mode": "absolute", "steps": steps}},
            "overrides": [],
        },
        "targets": [
            {
                "refId": chr(ord("A") + i),
                "datasource": SOURCE,
                "expr": " ".join(expression.split()),
                "legendFormat": legend,
                "format": "heatmap" if panel.kind == "heatmap" else "time_series",
                "instant": instant,
                "range": not instant,
            }
            for i, (expression, legend) in enumerate(panel.queries)
        ],
    }


def dashboard(name: str) -> dict[str, Any]:
    """Make one dashboard."""
    title, panels = DASHBOARDS[name]
    x = y = 0
    made = []
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > 24:
            x, y = 0, y + 8
        made.append(_panel(panel, number, x, y))
        x += panel.width
    links = [
        {
            "title": DASHBOARDS[other][0],
            "type": "link",
            "url": f"/d/residua-{other}",
            "keepTime": True,
        }
        for other in DASHBOARDS
        if other != name
    ]
    return {
        "uid": f"residua-{name}",
        "title": title,
        "tags": ["residua"],
        "editable": False,
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-12h", "to": "now"},
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "label": "Prometheus",
                    "type": "datasource",
                    "query": "prometheus",
                }
            ]
        },
        "links": links,
        "panels": made,
    }


def text(name: str) -> str:
    """Return a dashboard as its file has it."""
    return json.dumps(dashboard(name), indent=1) + "\n"


if __name__ == "__main__":
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for each in DASHBOARDS:
        (DIRECTORY / f"{each}.json").write_text(text(each), encoding="utf-8")
