"""Dashboard and alert rules use metrics that exist; rules fire when they must, and only then."""
import json
import re

import pytest
import yaml
from conftest import ROOT, run, text
from test_docs import anchors

FROM_PROMETHEUS = {"up"}
WORDS = {"sum", "by", "rate", "increase", "histogram_quantile", "max", "min", "predict_linear", "changes", "and", "le", "instance",
         "class", "result", "job", "e", "label_values", "berth", "version"}


def names(expr):
    """Metric names in an expression: words that are neither functions nor labels nor inside quotes."""
    plain = re.sub(r'"[^"]*"', "", expr)
    plain = re.sub(r"\[[^\]]*\]|\$__\w+|\$\w+", "", plain)
    plain = re.sub(r"\{[^}]*\}|\b(?:by|without) *\([^)]*\)", "", plain)
    return set(re.findall(r"[a-z_][a-z_0-9]*", plain)) - WORDS


def live(hub):
    c = hub.admin()
    c.push_image("library/x", "t")
    c.pull("library/x", "t")
    found = hub.connect().request("GET", "/metrics").body.decode()
    return set(re.findall(r"^([a-z_]+)", found, re.M)) | FROM_PROMETHEUS, found


def labels_exist(expr, found):
    for name, label, value in re.findall(r'([a-z_]+)\{[^}]*\b(class|result)="([^"]+)"', expr):
        assert re.search(r'^%s\{%s="%s"\} ' % (name, label, value), found, re.M), (name, label, value)


def rules():
    doc = yaml.safe_load(text("dist/alerts.yml"))
    assert set(doc) == {"groups"}
    return [r for g in doc["groups"] for r in g["rules"]]


def test_rules_are_whole(hub):
    known, found = live(hub)
    seen = set()
    for r in rules():
        assert set(r) <= {"alert", "expr", "for", "labels", "annotations"} and r["alert"].startswith("Berth"), r
        assert r["alert"] not in seen and not seen.add(r["alert"])
        assert r["labels"]["severity"] in ("critical", "warning", "info") and len(r["annotations"]["summary"]) > 20, r
        path, _, anchor = r["annotations"]["runbook"].partition("#")
        assert path == "docs/operations.md" and anchor in anchors(path), r
        assert names(r["expr"]) and names(r["expr"]) <= known, (r["alert"], names(r["expr"]) - known)
        labels_exist(r["expr"], found)
    assert len(seen) >= 15


def test_prometheus_takes_the_rules():
    assert "%d rules found" % len(rules()) in run("promtool", "check", "rules", ROOT + "/dist/alerts.yml")


HOUR = 60
# alert: (series that make it fire, minute at which it does)
FIRES = {
    "BerthDown": (['up{job="berth"} 1x5 0x20'], 15),
    "BerthRestarts": (['process_start_time_seconds{job="berth"} 1x2 2 3 4 5 6 6x20'], 10),
    "BerthErrors": (['berth_http_requests_total{class="5xx"} 0+60x60', 'berth_http_requests_total{class="2xx"} 0+600x60'], 30),
    "BerthSlow": (['berth_http_request_duration_seconds_bucket{le="1"} 0+1x90', 'berth_http_request_duration_seconds_bucket{le="5"} 0+60x90',
                   'berth_http_request_duration_seconds_bucket{le="+Inf"} 0+60x90'], 60),
    "BerthSlowTail": (['berth_http_request_duration_seconds_bucket{le="1"} 0+90x90', 'berth_http_request_duration_seconds_bucket{le="15"} 0+95x90',
                       'berth_http_request_duration_seconds_bucket{le="60"} 0+100x90',
                       'berth_http_request_duration_seconds_bucket{le="+Inf"} 0+100x90'], 80),
    "BerthLimitReached": (["berth_http_refused_total 0+120x60"], 30),
    "BerthLoginFailures": (['berth_auth_total{result="failed"} 0+120x60'], 30),
    "BerthDatabaseRetries": (["berth_db_retries_total 0+600x60"], 40),
    "BerthReadOnly": (["berth_storage_read_only 1x20"], 10),
    "BerthDiskLow": (["berth_storage_free_bytes 1000000000x20"], 10),
    "BerthDiskFills": (["berth_storage_free_bytes 100000000000-100000000x700"], 8 * HOUR),
    "BerthStorageErrors": (["berth_storage_errors_total 0x10 1x5"], 12),
    "BerthCorruptBlob": (["berth_scrub_corrupt_total 0x10 1x5"], 12),
    "BerthAuditNotForwarded": (['berth_audit_forward_failures_total{end="syslog"} 0+1x60'], 40),
    "BerthScrubLate": (["berth_scrub_overdue_seconds 90000x90"], 80),
    "BerthGcStalled": (["berth_gc_overdue_rows 5x500", "berth_gc_reviews_total 7x500"], 8 * HOUR),
    "BerthGcBehind": (["berth_gc_overdue_rows 200000x500", "berth_gc_reviews_total 0+9x500"], 7 * HOUR),
    "BerthUploadsPileUp": (["berth_uploads_open 6000x90"], 80),
}
QUIET = ['up{job="berth"} 1x500', 'process_start_time_seconds{job="berth"} 1x500', 'berth_http_requests_total{class="5xx"} 0+1x500',
         'berth_http_requests_total{class="2xx"} 0+600x500', 'berth_http_request_duration_seconds_bucket{le="1"} 0+999x500',
         'berth_http_request_duration_seconds_bucket{le="15"} 0+1000x500', 'berth_http_request_duration_seconds_bucket{le="+Inf"} 0+1000x500',
         "berth_http_refused_total 0+6x500", 'berth_auth_total{result="failed"} 0+6x500', "berth_db_retries_total 0+6x500",
         "berth_storage_read_only 0x500", "berth_storage_free_bytes 100000000000-1000000x500", "berth_storage_errors_total 0x500",
         "berth_scrub_corrupt_total 3x500", "berth_scrub_overdue_seconds 3600x500", "berth_gc_overdue_rows 5x500",
         "berth_gc_reviews_total 0+1x500", "berth_uploads_open 100x500",
         'berth_audit_forward_failures_total{end="syslog"} 3x500']


def series(lines):
    out = []
    for line in lines:
        name, values = line.split(" ", 1)
        name = name.replace("}", ',instance="h"}') if "}" in name else name + '{instance="h"}'
        out.append(dict(series=name, values=values))
    return out


def promtool_test(tmp_path, cases):
    doc = dict(rule_files=[ROOT + "/dist/alerts.yml"], evaluation_interval="1m", tests=cases)
    (tmp_path / "t.yml").write_text(yaml.safe_dump(doc))
    run("promtool", "test", "rules", str(tmp_path / "t.yml"))


def test_every_rule_fires(tmp_path):
    """By the alert's own expression, and the summary can be written."""
    assert set(FIRES) == {r["alert"] for r in rules()}
    cases = []
    for r in rules():
        lines, minute = FIRES[r["alert"]]
        # ALERTS holds what fires; summaries and their templates are rendered on the way.
        expr = 'count(ALERTS{alertname="%s",alertstate="firing"})' % r["alert"]
        cases.append(dict(interval="1m", input_series=series(lines),
                          promql_expr_test=[dict(expr=expr, eval_time="%dm" % minute, exp_samples=[dict(labels="{}", value=1)]),
                                            dict(expr=expr, eval_time="0m", exp_samples=[])]))
    promtool_test(tmp_path, cases)


def test_a_sound_hub_is_quiet(tmp_path):
    promtool_test(tmp_path, [dict(interval="1m", input_series=series(QUIET), promql_expr_test=[
        dict(expr='ALERTS{alertstate="firing"}', eval_time="%dm" % m, exp_samples=[]) for m in (5, 60, 480)])])


def test_the_dashboard(hub):
    known, found = live(hub)
    doc = json.loads(text("dist/grafana-dashboard.json"))
    panels = [p for p in doc["panels"] if p["type"] != "row"]
    variables = {v["name"] for v in doc["templating"]["list"]}
    assert doc["title"] == "Berth" and doc["uid"] and variables == {"datasource", "instance"} and len(panels) >= 20
    assert len({p["id"] for p in doc["panels"]}) == len(doc["panels"])
    used, places = set(), set()
    for p in panels:
        g = p["gridPos"]
        assert g["x"] + g["w"] <= 24 and p["title"] and p["targets"], p
        cells = {(x, y) for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])}
        assert not cells & places, p["title"]
        places |= cells
        for t in p["targets"]:
            assert set(re.findall(r"\$(?!__)\{?(\w+)", t["expr"])) <= variables, t
            assert names(t["expr"]) and names(t["expr"]) <= known, (p["title"], names(t["expr"]) - known)
            labels_exist(t["expr"], found)
            used |= names(t["expr"])
    declared = {re.sub("_(bucket|sum|count)$", "", n) for n in re.findall(r"^(berth_[a-z_]+)", found, re.M)}
    assert declared - {re.sub("_bucket$", "", n) for n in used} == set(), "metrics that no panel shows"


@pytest.mark.parametrize("expr,want", [
    ('sum by (class) (rate(a_total{x="b_total"}[5m]))', {"a_total"}), ("a_b > 2 * 1024 and increase(c_d[6h]) == 0", {"a_b", "c_d"}),
    ("predict_linear(e_f[6h], 86400) < 0", {"e_f"})])
def test_names_are_found(expr, want):
    assert names(expr) == want
