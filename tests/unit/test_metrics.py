"""Metrics that do not raise and are bounded; a sign of life, and the port that shows both."""

import socket
import time
import urllib.error
import urllib.request

import pytest

from residua import probe
from residua.metrics import METRICS, Metrics
from residua.metrics.health import Health, serve_health
from residua.settings import ServiceSettings


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_metrics_count_and_never_raise():
    metrics = Metrics()
    metrics.outcome("created", instrument="LSSTCam", band="r", replay=True)
    metrics.outcome("failed", "CorruptFileError", responsible="producer")
    metrics.retry("TransientError")
    metrics.rows_changed(-1)
    metrics.templates("many")  # type: ignore[arg-type]
    metrics.handled(taken=time.monotonic() - 12.0, timestamp_ms=0)
    labels = {"error": "", "responsible": "", "instrument": "LSSTCam", "band": "r", "run": ""}
    assert value(metrics, "residua_outcomes_total", outcome="created", mode="replay", **labels) == 1
    assert value(metrics, "residua_processing_seconds_bucket", le="10.0") == 0
    assert value(metrics, "residua_processing_seconds_bucket", le="15.0") == 1
    assert value(metrics, "residua_processing_seconds_bucket", le="300.0") == 1


def test_a_service_exports_what_it_measures_and_nothing_else():
    metrics = Metrics()
    metrics.batch([0, 1, 2], 0.5)
    exported = {family.name for family in metrics.registry.collect()}
    expected = {"residua_latency_seconds", "residua_batch_records", "residua_batch_seconds"}
    assert exported == expected


def test_what_is_rare_begins_at_nothing():
    """Prometheus sees no increase from no series to one."""
    metrics = Metrics()
    metrics.expect(["visit-arrivals"])
    names = {"topic": "visit-arrivals"}
    assert value(metrics, "residua_lost_to_retention_total", **names) == 0
    for error in ("MalformedEventError", "UnreadableRecordError", "UnsupportedVersionError"):
        assert value(metrics, "residua_dead_letters_total", error=error, **names) == 0


def test_labels_from_outside_are_bounded():
    metrics = Metrics()
    for number in range(500):
        metrics.outcome("created", instrument=f"camera {number}", band=f"band {number}")
    [family] = metrics.registry.collect()
    samples = [s for s in family.samples if s.name.endswith("_total")]
    assert len(samples) == 51
    assert sum(s.value for s in samples) == 500


def test_the_oldest_unread_is_nothing_when_nothing_waits():
    metrics = Metrics()
    metrics.backlog("visit-arrivals", 0, 0)
    assert value(metrics, "residua_oldest_unread_seconds", topic="visit-arrivals") == 0
    metrics.backlog("visit-arrivals", 3, round((time.time() - 100.0) * 1000))
    assert value(metrics, "residua_lag", topic="visit-arrivals") == 3
    age = value(metrics, "residua_oldest_unread_seconds", topic="visit-arrivals")
    assert age == pytest.approx(100.0, abs=5.0)


def test_every_metric_is_described_once_and_can_be_made():
    metrics = Metrics()
    for name, description in METRICS.items():
        assert description.text.endswith(".")
        metrics._metric(name)
    assert len({family.name for family in metrics.registry.collect()}) == len(METRICS)


def test_a_port_in_use_does_not_stop_the_service():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        Metrics().serve(ServiceSettings(metrics_port=port), "worker")


def test_a_sign_of_life_is_a_file_and_its_absence_no_error(tmp_path):
    Health(tmp_path / "no" / "such").beat()
    Health(tmp_path / "alive").beat()
    assert (tmp_path / "alive").exists()


def test_probes_tell_starting_alive_and_dead(capsys):
    now = [0.0]
    metrics = Metrics(Health(silence=60.0, clock=lambda: now[0]))
    server = serve_health(metrics.health, metrics.registry, "127.0.0.1", 0)
    assert server is not None
    base = f"http://127.0.0.1:{server.server_port}"
    try:
        assert probe.main([f"{base}/live"]) == 0
        assert probe.main([f"{base}/ready"]) == 1
        assert "starting" in capsys.readouterr().err
        metrics.health.become_ready()
        assert probe.main([f"{base}/ready"]) == 0
        now[0] = 61.0
        assert probe.main([f"{base}/live"]) == 1
        assert probe.main([f"{base}/ready"]) == 1
        assert "no sign of life for 61 s, limit 60 s" in capsys.readouterr().err
        metrics.beat()
        assert probe.main([f"{base}/live"]) == 0
        with urllib.request.urlopen(f"{base}/metrics", timeout=5.0) as answer:
            assert b"residua_last_sign_of_life_seconds" in answer.read()
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"{base}/other", timeout=5.0)
    finally:
        server.shutdown()
        server.server_close()
    assert probe.main([f"{base}/live"]) == 1
    assert probe.main(["live"]) == 2
