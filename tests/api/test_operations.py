"""Running it: health, metrics, read-only, reload, drain, restart, commands, logs, TLS."""
import json
import os
import re
import ssl
import stat
import subprocess

import pytest
from berth import Hub, parse_metrics
from rawhttp import build
from registry import INDEX, basic, digest, dumps, index_doc, parse_challenge

DOC = dumps(index_doc([]))


def write(path, text):
    with open(path, "w") as f:
        f.write(text)
    return path


# --- health and metrics
def test_healthz_and_readyz(anon):
    a = anon.get("/healthz")
    assert a.status == 200 and a.json() == {"status": "ok"}
    a = anon.get("/readyz")
    assert a.status == 200 and a.json() == {"status": "ok", "database": "ok", "writable": True}, a
    assert anon.head("/readyz").status == 200


def test_metrics(hub, admin, repo):
    before = hub.metrics()
    d, doc = admin.push_image(repo, "t")
    for _ in range(3):
        admin.pull(repo, "t")
    admin.get("/v2/%s/manifests/missing" % repo)
    a = hub.raw(build("GET", "/metrics"))
    assert a.get("Content-Type").startswith("text/plain; version=0.0.4"), a
    after = parse_metrics(a.body.decode())

    def moved(name):
        return after[name] - before[name]

    assert moved("berth_manifest_pushes_total") == 1 and moved("berth_manifest_pulls_total") == 3
    assert moved("berth_blobs_stored_total") == 2
    assert moved('berth_http_requests_total{class="4xx"}') >= 1 and moved('berth_http_requests_total{class="2xx"}') >= 8
    assert moved("berth_db_writes_total") >= 3 and moved("berth_storage_fsyncs_total") >= 2
    assert after["process_resident_memory_bytes"] > 0 and "process_open_fds" in after
    assert after["berth_http_request_duration_seconds_count"] > 0
    names = re.findall(r"^# TYPE (\S+) (counter|gauge|histogram)$", a.body.decode(), re.M)
    helps = re.findall(r"^# HELP (\S+) \S", a.body.decode(), re.M)
    assert len(names) > 30 and {n for n, _ in names if n.startswith("berth_")} - {"berth_build_info"} <= set(helps)


def test_metrics_are_for_this_machine_and_administrators(hub, admin, alice, anon):
    """Behind a proxy the loopback address says nothing."""
    for header in (("X-Forwarded-For", "192.0.2.1"), ("Forwarded", "for=192.0.2.1")):
        assert anon.get("/metrics", headers=[header]).status == 401
        assert alice.get("/metrics", headers=[header]).status == 403
        assert admin.get("/metrics", headers=[header]).status == 200


# --- read-only, reload
def every_write(c, repo, d):
    return [c.post("/v2/%s/blobs/uploads/" % repo), c.put_manifest(repo, "u", DOC),
            c.delete("/v2/%s/manifests/%s" % (repo, d)), c.delete("/v2/%s/manifests/t" % repo),
            c.delete("/v2/%s/blobs/%s" % (repo, d)), c.patch("/v2/%s/blobs/uploads/x" % repo, body=b"x"),
            c.put("/v2/%s/blobs/uploads/x?digest=%s" % (repo, d), body=b"x"), c.delete("/v2/%s/blobs/uploads/x" % repo)]


def test_read_only_by_reload(new_hub, tmp_path):
    conf = write(str(tmp_path / "berth.conf"), "# nothing yet\nread_only = false\n")
    h = new_hub(flags=["--config", conf])
    c = h.admin()
    d, doc = c.push_image("lab/x", "t")
    write(conf, "read_only = true\n")
    h.reload()
    h.wait_log(lambda r: r["msg"] == "read-only")
    for a in every_write(c, "lab/x", d):
        assert a.status == 503 and a.code == "UNAVAILABLE" and a.get("Retry-After"), a
    assert c.pull("lab/x", "t") == doc and c.get("/v2/_catalog").status == 200
    assert c.token_answer(["repository:lab/x:pull"]).status == 200
    assert h.anonymous().get("/readyz").json()["writable"] is False
    assert h.metrics()["berth_storage_read_only"] == 1
    write(conf, "read_only = false\n")
    h.reload()
    h.wait_log(lambda r: r["msg"] == "writable")
    assert c.put_manifest("lab/x", "u", DOC).status == 201


def test_read_only_from_the_start(new_hub):
    h = new_hub()
    c = h.admin()
    d, doc = c.push_image("lab/x", "t")
    h.extra["BERTH_READ_ONLY"] = "true"
    h.restart()
    c.close()
    for a in every_write(c, "lab/x", d):
        assert a.status == 503, a
    assert c.pull("lab/x", "t") == doc


def test_reload_of_limits_and_of_a_wrong_file(new_hub, tmp_path):
    conf = write(str(tmp_path / "berth.conf"), "max_upload = 1K\n")
    h = new_hub(flags=["--config", conf])
    c = h.admin()
    assert c.post("/v2/lab/x/blobs/uploads/?digest=" + digest(b"a" * 2000), body=b"a" * 2000).status == 413
    write(conf, "max_upload = 1M\n")
    h.reload()
    h.wait_log(lambda r: r["msg"] == "reloaded")
    c.push_blob("lab/x", b"a" * 2000)
    write(conf, "max_upload = banana\n")
    h.reload()
    record = h.wait_log(lambda r: "not reloaded" in r["msg"])
    assert "max_upload" in record["error"] and conf + ":1" in record["error"], record
    c.push_blob("lab/x", b"b" * 2000)


@pytest.mark.parametrize("text,words", [
    ("max_uplod = 1K\n", ["max_uplod", ":1", "max_upload"]), ("\n# x\nlog_level = loud\n", ["log_level", ":3", "debug"]),
    ("nonsense\n", [":1"]), ("admin_password = secret-in-a-file\n", ["admin_password"]), ("gc_delay = -5s\n", ["gc_delay"]),
    ("max_manifest = 1K\n", ["max_manifest"]),
])
def test_mistakes_in_the_file_stop_the_start(new_hub, tmp_path, text, words):
    h = new_hub(start=False)
    conf = write(str(tmp_path / "bad.conf"), text)
    done = h.run("serve", "--data", h.data, "--config", conf, check=False)
    assert done.returncode == 2 and all(w in done.stderr for w in words), done
    assert "secret-in-a-file" not in done.stderr


def test_config_shows_values_origins_and_no_secrets(new_hub, tmp_path):
    h = new_hub(start=False)
    conf = write(str(tmp_path / "c.conf"), "gc_delay = 3h\n")
    done = h.run("config", "--data", h.data, "--config", conf, "--json", env={"BERTH_LOG_LEVEL": "warn"})
    rows = {r["key"]: r for r in json.loads(done.stdout)}
    assert rows["gc_delay"]["value"] == "3h" and rows["gc_delay"]["origin"].endswith("c.conf:1")
    assert rows["log_level"] == {"key": "log_level", "value": "warn", "origin": rows["log_level"]["origin"]}
    assert "environment" in rows["log_level"]["origin"] or "BERTH_LOG_LEVEL" in rows["log_level"]["origin"]
    assert rows["admin_password"]["value"] == "********" and h.admin_password not in done.stdout
    assert h.database is None or h.database not in done.stdout


def test_secrets_are_no_flags(new_hub):
    h = new_hub(start=False)
    for flag in ("--admin-password=abcdefgh1", "--database=postgresql://x"):
        done = h.run("serve", "--data", h.data, flag, check=False)
        assert done.returncode == 2 and "secret" in done.stderr, done


def test_secret_from_a_file(new_hub, tmp_path):
    path = write(str(tmp_path / "pw"), "password-from-a-file\n")
    h = new_hub(password=None, env={"BERTH_ADMIN_PASSWORD_FILE": path}, start=False)
    h.start()
    assert h.client("admin", "password-from-a-file").get("/v2/").status == 200


# --- start, stop, restart
def refused(h):
    try:
        h.connect().close()
    except ConnectionRefusedError:
        return True
    return False


def test_term_lets_requests_finish(new_hub):
    """SIGTERM: no new connections, running requests end well, exit 0."""
    h = new_hub()
    c = h.admin()
    data = os.urandom(200000)
    with h.connect() as raw:
        raw.send(build("POST", "/v2/lab/x/blobs/uploads/?digest=" + digest(data),
                       [("Authorization", c.authorization(None)), ("Expect", "100-continue"),
                        ("Content-Length", str(len(data)))], b""))
        assert raw.head().status == 100
        raw.send(data[:100000])
        h.proc.terminate()
        h.wait_log(lambda r: r["msg"] == "stopping")
        h.until(lambda: refused(h), "the listener's end")
        raw.send(data[100000:])
        a = raw.answer("POST")
        assert a.status == 201 and not raw.usable, a
    h.stop()
    h.start()
    c.close()
    assert c.get("/v2/lab/x/blobs/" + digest(data)).body == data


def test_everything_outlives_restart_and_kill(new_hub):
    h = new_hub()
    c = h.admin()
    d, doc = c.push_image("lab/x", "t", b"r", alg="sha512")
    c.put_manifest("lab/x", d, doc, query="?tag=t2")
    subject = dict(mediaType=INDEX, digest=digest(DOC), size=len(DOC))
    c.put_manifest("lab/x", "r", dumps(index_doc([], subject=subject)))
    token = c.fetch_token("repository:lab/x:pull")

    def state():
        paths = ["/v2/_catalog", "/v2/lab/x/tags/list", "/v2/lab/x/manifests/t", "/v2/lab/x/manifests/t2",
                 "/v2/lab/x/referrers/" + digest(DOC), "/v2/lab/x/manifests/" + d]
        got = [c.get(p) for p in paths]
        return [(a.status, a.get("Docker-Content-Digest"), a.body) for a in got]

    before = state()
    assert all(s == 200 for s, _, _ in before)
    for stop in (h.stop, h.kill):
        stop()
        h.start()
        c.close()
        assert state() == before
    assert h.client(token=token).get("/v2/lab/x/manifests/t").status == 200  # keys are kept, too


def test_one_server_to_a_data_directory(new_hub):
    h = new_hub()
    other = Hub(h.db, data=h.data, start=False)
    other.database = h.database
    other.launch()
    assert other.proc.wait(60) == 1
    with open(other.err_path) as f:
        text = f.read()
    assert h.data in text or "another" in text or "lock" in text, text
    other.proc = None
    assert h.anonymous().get("/healthz").status == 200


def test_public_url(new_hub):
    h = new_hub(env={"BERTH_PUBLIC_URL": "https://hub.example.org"})
    assert h.url == "https://hub.example.org"
    a = h.raw(build("GET", "/v2/lab/x/tags/list"))
    c = parse_challenge(a.get("WWW-Authenticate"))
    assert c["realm"] == "https://hub.example.org/token" and c["service"] == "hub.example.org"


# --- commands, with the server running and without
def test_user_commands(new_hub):
    h = new_hub()
    for running in (True, False):
        if not running:
            h.stop()
        name = "on" if running else "off"
        h.secrets.update(["first-password", "other-password"])
        h.command("user", "add", name, stdin="first-password\n")
        out = h.command("user", "list").stdout
        assert re.search(r"^%s\b" % name, out, re.M) and re.search(r"^admin\b", out, re.M), out
        done = h.command("user", "add", name, stdin="first-password\n", check=False)
        assert done.returncode == 1 and "exists" in done.stderr, done
        h.command("user", "passwd", name, stdin="other-password\n")
        for args, text in ((("user", "add", "x/y"), "pw-of-x-y-1"), (("user", "add", "library"), "pw-library"),
                           (("user", "add", "Bad"), "pw-of-bad-1"), (("user", "add", "shorty"), "short"),
                           (("user", "remove", "nobody"), ""), (("user", "remove", "admin"), ""),
                           (("user", "passwd", "nobody"), "pw-nobody-1")):
            done = h.command(*args, stdin=text + "\n", check=False)
            assert done.returncode in (1, 3) and done.stderr, (args, done)
    h.start()
    for name in ("on", "off"):
        assert h.client(name, "other-password").get("/v2/").status == 200
        assert h.client(name, "first-password").get("/v2/").status == 401


def test_administrators_are_made_by_a_flag(new_hub):
    h = new_hub()
    c = h.add_user("boss", admin=True)
    c.push_blob("anywhere/x", b"x")
    assert h.add_user("joe").post("/v2/anywhere/x/blobs/uploads/").status == 403


def test_repository_visibility_by_command(new_hub):
    h = new_hub()
    c = h.add_user("zoe")
    d, doc = c.push_image("zoe/x", "t")
    anon = h.anonymous()
    assert anon.get("/v2/zoe/x/manifests/t").status == 401
    h.command("repo", "public", "zoe/x")
    assert anon.pull("zoe/x", "t") == doc and "zoe/x" in h.client(mode="bearer").get("/v2/_catalog").json()["repositories"]
    h.command("repo", "private", "zoe/x")
    assert anon.get("/v2/zoe/x/manifests/t").status == 401
    assert h.command("repo", "public", "zoe/missing", check=False).returncode == 3


def test_control_socket_is_private(new_hub):
    h = new_hub()
    mode = stat.S_IMODE(os.stat(os.path.join(h.data, "berth.sock")).st_mode)
    assert mode == 0o600, oct(mode)
    for root, dirs, files in os.walk(h.data):
        for f in files:
            assert not stat.S_IMODE(os.stat(os.path.join(root, f)).st_mode) & 0o077, f


def test_backup_and_restore(new_hub, tmp_path):
    """Online, into an empty data directory: the same answers."""
    h = new_hub()
    c = h.add_user("zoe")
    d, doc = c.push_image("zoe/x", "t", b"backup", layers=3)
    path = str(tmp_path / "backup.tar")
    h.command("backup", path)
    c.push_image("zoe/x", "later", b"later")
    other = new_hub(start=False)
    other.command("restore", path)
    other.start()
    c2 = other.client("zoe", c.password)
    assert c2.pull("zoe/x", "t") == doc and c2.get("/v2/zoe/x/tags/list").json()["tags"] == ["t"]
    for layer in json.loads(doc)["layers"]:
        assert digest(c2.get("/v2/zoe/x/blobs/" + layer["digest"]).body) == layer["digest"]
    other.command("fsck", "--full")


def test_fsck_and_gc_explain(new_hub):
    h = new_hub()
    c = h.admin()
    c.push_image("lab/x", "t")
    for args in (("fsck",), ("fsck", "--full", "--json"), ("gc", "--dry-run"), ("gc", "--dry-run", "--json"), ("status",)):
        done = h.command(*args)
        if "--json" in args:
            assert all(isinstance(json.loads(line), dict) for line in done.stdout.splitlines() if line.strip())
    h.stop()
    h.command("fsck", "--full")
    h.start()


# --- logs
def test_access_log(new_hub):
    h = new_hub()
    c = h.admin()
    a = c.get("/v2/lab/x/tags/list?n=5", headers=[("User-Agent", "docker/24.0")])
    r = h.wait_log(lambda r: r["msg"] == "request" and r["id"] == a.get("X-Request-Id"))
    assert (r["method"], r["path"], r["status"], r["user"], r["client"], r["agent"]) == \
        ("GET", "/v2/lab/x/tags/list", 404, "admin", "127.0.0.1", "docker/24.0"), r
    assert r["us"] >= 0 and r["bytes"] > 0 and r["level"] == "info"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", r["time"])


def test_access_log_off_and_levels(new_hub):
    h = new_hub(env={"BERTH_ACCESS_LOG": "false"})
    h.admin().get("/v2/")
    h.restart()
    assert not [r for r in h.log() if r["msg"] == "request"]
    h.extra["BERTH_LOG_LEVEL"] = "warn"
    h.stop()
    n = len(h.log())
    h.start()
    h.stop()
    assert len(h.log()) == n


def test_no_secret_is_logged(new_hub):
    """Canaries wherever a client can put one; Hub.stop greps for them."""
    h = new_hub(env={"BERTH_LOG_LEVEL": "debug"})
    c = h.add_user("zoe", "canary-password-0001")
    token = c.fetch_token("repository:zoe/x:pull,push")
    h.client(token=token).push_blob("zoe/x", b"x")
    wrong = ["canary-wrong-password", "canary-bearer-token", "canary-query-token", "canary-form-password", "canary-cookie",
             "canary-refresh"]
    h.secrets.update(wrong + [basic("zoe", wrong[0])[6:]])
    anon = h.anonymous()
    anon.get("/v2/", headers=[("Authorization", basic("zoe", wrong[0]))])
    anon.get("/v2/", headers=[("Authorization", "Bearer " + wrong[1])])
    anon.get("/v2/?access_token=" + wrong[2] + "&token=" + wrong[2])
    anon.get("/token?password=" + wrong[2])
    anon.get("/v2/", headers=[("Cookie", "session=" + wrong[4])])
    form = "grant_type=password&username=zoe&password=%s&refresh_token=%s" % (wrong[3], wrong[5])
    anon.once("POST", "/token", [("Content-Type", "application/x-www-form-urlencoded")], form.encode(), False, None)
    anon.get("/v2/\r\nx"[:4] + "Bearer%20x", headers=[("Authorization", "Canary " + wrong[1])])
    for s in wrong:
        for a in (anon.get("/v2/zoe/x/tags/list", headers=[("Authorization", "Bearer " + s)]),):
            assert s.encode() not in a.body and s not in repr(a.headers)
    h.stop()


# --- TLS
def make_cert(folder, name):
    cert, key = str(folder / (name + ".pem")), str(folder / (name + ".key"))
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                    "-subj", "/CN=" + name, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
                   check=True, stderr=subprocess.DEVNULL)
    return cert, key


def trusting(cert=None):
    context = ssl.create_default_context(cafile=cert)
    if cert is None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def test_tls_with_own_certificate_and_reload(new_hub, tmp_path):
    cert, key = make_cert(tmp_path, "one")
    h = new_hub(env={"BERTH_TLS_CERT": cert, "BERTH_TLS_KEY": key}, tls=trusting(cert))
    assert h.url.startswith("https://")
    c = h.admin()
    data = os.urandom(3 << 20)
    c.push_blob("lab/x", data)
    assert c.get("/v2/lab/x/blobs/" + digest(data)).body == data
    assert c.get("/v2/lab/x/blobs/" + digest(data), headers=[("Range", "bytes=5-9")]).body == data[5:10]
    old = c.conn()
    cert2, key2 = make_cert(tmp_path, "two")
    os.replace(cert2, cert)
    os.replace(key2, key)
    h.reload()
    h.wait_log(lambda r: r["msg"] == "reloaded")
    h.tls = trusting(cert)
    assert old.usable and c.get("/v2/").status == 200  # connections go on with the old one
    with h.connect() as fresh:
        assert b"two" in fresh.sock.getpeercert(True)
        assert fresh.request("GET", "/healthz").status == 200
    write(cert, "broken")
    h.reload()
    h.wait_log(lambda r: "certificates not reloaded" in r["msg"])
    with h.connect() as fresh:
        assert fresh.request("GET", "/healthz").status == 200


def test_tls_self_signed(new_hub):
    h = new_hub(env={"BERTH_TLS_SELF_SIGNED": "true"}, tls=trusting())
    c = h.admin()
    d, doc = c.push_image("lab/x", "t")
    assert c.pull("lab/x", "t") == doc
    with h.connect() as conn:
        first = conn.sock.getpeercert(True)
        assert conn.sock.version() in ("TLSv1.2", "TLSv1.3")
    h.restart()
    with h.connect() as conn:
        assert conn.sock.getpeercert(True) == first


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
def test_old_tls_is_refused(new_hub, version):
    h = new_hub(env={"BERTH_TLS_SELF_SIGNED": "true"}, tls=trusting())
    context = trusting()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = getattr(ssl.TLSVersion, version)
    h.tls = context
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        h.connect()
    h.tls = trusting()
    assert h.connect().request("GET", "/healthz").status == 200


def test_certificate_that_is_none(new_hub, tmp_path):
    h = new_hub(start=False)
    cert, key = make_cert(tmp_path, "one")
    other, other_key = make_cert(tmp_path, "two")
    for env in ({"BERTH_TLS_CERT": cert, "BERTH_TLS_KEY": other_key}, {"BERTH_TLS_CERT": cert},
                {"BERTH_TLS_CERT": "/nonexistent", "BERTH_TLS_KEY": key}):
        done = h.run("serve", "--data", h.data, "--listen", "127.0.0.1:%d" % h.port, env=env, check=False)
        assert done.returncode in (1, 2) and "tls" in done.stderr, done
