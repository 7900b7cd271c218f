"""Start, signals, readiness, one server to a data directory."""
import json
import lzma
import os
import re
import signal
import socket
import ssl
import stat
import subprocess
import tarfile
import time

import pytest
from berth import DEADLINE, ROOT, Hub, Postgres, binary, free_port
from conftest import berth, on


def test_the_first_password_is_random_and_said_once(make_hub):
    h = make_hub(password=None)
    said = [line for line in h.out_lines if "password" in line]
    m = re.fullmatch(r"administrator admin, password ([0-9a-f]{32,}) \(kept in (.*)\)", said[0])
    assert len(said) == 1 and m, said
    password, path = m.groups()
    assert path == h.data + "/keys/admin-password" and stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with open(path) as f:
        assert f.read().strip() == password
    assert password not in h.stderr()
    assert h.client("admin", password).get("/v2/").status == 200
    h.out_lines.clear()
    h.secrets.clear()  # the client's; it was meant to be printed
    h.restart()
    assert not [line for line in h.out_lines if "password" in line], h.out_lines
    assert h.client("admin", password).get("/v2/").status == 200
    h.secrets.clear()
    other = make_hub(password=None)
    assert password not in "".join(other.out_lines)


def test_the_first_administrator_is_named_and_only_made_once(make_hub):
    h = make_hub(admin="root-of-all", password="the-first-password")
    assert not [line for line in h.out_lines if "the-first-password" in line]
    assert h.client("root-of-all", "the-first-password").get("/v2/").status == 200
    h.admin_password = "another-password"
    h.restart()
    assert h.client("root-of-all", "the-first-password").get("/v2/").status == 200
    assert h.client("root-of-all", "another-password").get("/v2/").status == 401
    assert not os.path.exists(h.data + "/keys/admin-password")


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_in_order(make_hub, sig):
    h = make_hub()
    assert stat.S_IMODE(os.stat(h.data + "/berth.sock").st_mode) == 0o600
    h.proc.send_signal(sig)
    assert h.proc.wait(DEADLINE) == 0
    assert not os.path.exists(h.data + "/berth.sock")
    h.stop()


def test_one_server_to_a_data_directory(make_hub):
    h = make_hub()
    done = berth("serve", "--data", h.data, "--listen", "127.0.0.1:0")
    assert done.code == 1 and "another process uses the data directory " + h.data in done.err, done
    os.unlink(h.data + "/berth.sock")  # without its socket the server is not gone around
    for args in (["gc"], ["fsck"], ["user", "list"]):
        done = on(h, *args)
        assert done.code == 1 and "another process uses" in done.err, done
    assert h.anonymous().get("/healthz").status == 200


def test_an_address_in_use(make_hub, tmp_path):
    h = make_hub()
    done = berth("serve", "--data", str(tmp_path / "other"), "--listen", "127.0.0.1:%d" % h.port)
    assert done.code == 1 and "cannot listen on 127.0.0.1:%d" % h.port in done.err, done


def test_a_socket_left_by_a_crash(make_hub):
    h = make_hub()
    h.kill()
    assert os.path.exists(h.data + "/berth.sock")
    assert on(h, "user", "list").code == 0
    h.start()
    assert on(h, "status").code == 0


class Listener:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(address)
        self.sock.settimeout(DEADLINE)

    def next(self):
        return self.sock.recv(4096).decode()


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
def test_systemd_is_told(make_hub, tmp_path, abstract):
    name = "berth-test-%d" % os.getpid() if abstract else str(tmp_path / "n")
    listener = Listener("\0" + name if abstract else name)
    h = make_hub(env={"NOTIFY_SOCKET": "@" + name if abstract else name, "BERTH_MIN_FREE": "0"}, start=False)
    h.launch()
    assert listener.next() == "READY=1"
    assert h.ready.wait(DEADLINE) and h.anonymous_ok()
    h.reload()
    assert [listener.next(), listener.next()] == ["RELOADING=1", "READY=1"]
    h.stop()
    assert listener.next() == "STOPPING=1"


def anonymous_ok(h):
    """Readiness is true when it is said."""
    from urllib.parse import urlsplit
    h.service = urlsplit(h.url).netloc
    return h.anonymous().get("/readyz").status == 200


Hub.anonymous_ok = anonymous_ok


def wait_for(test):
    end = time.monotonic() + DEADLINE
    while not test():
        assert time.monotonic() < end, "did not come true"
        time.sleep(0.02)


def test_reload(make_hub, tmp_path):
    """Keys that may change do, others are named; a wrong file changes nothing."""
    conf = str(tmp_path / "berth.conf")

    def settings(text):
        with open(conf, "w") as f:
            f.write(text)
        h.reload()

    with open(conf, "w") as f:
        f.write("")
    h = make_hub(flags=["--config", conf])
    settings("read_only = true\nworkers = 3\nlog_level = debug\n")
    h.wait_log(lambda r: r["msg"] == "this key needs a restart" and r["key"] == "workers")
    wait_for(lambda: on(h, "status", "--json").done()["read_only"] != "")
    assert h.admin().post("/v2/library/x/blobs/uploads/").status == 503
    settings("read_only = perhaps\n")
    r = h.wait_log(lambda r: "not reloaded" in r["msg"])
    assert conf + ":1" in r["error"] and "true or false" in r["error"], r
    assert on(h, "status", "--json").done()["read_only"] != ""
    settings("")
    wait_for(lambda: on(h, "status", "--json").done()["read_only"] == "")
    assert h.admin().post("/v2/library/x/blobs/uploads/").status == 202


def test_read_only_binds_commands(make_hub):
    h = make_hub()
    h.admin().push_image("library/x", "t")
    h.stop()
    h.flags = ["--read-only", "true"]
    h.start()
    env = {"BERTH_READ_ONLY": "true"}
    for running in (True, False):
        if not running:
            h.stop()
        for args in (["gc", "--now"], ["fsck", "--repair"], ["user", "add", "zoe"], ["user", "passwd", "admin"],
                     ["user", "remove", "zoe"], ["repo", "public", "library/x"]):
            done = on(h, *args, env=env, stdin="a-long-password\n")
            assert done.code == 1 and "read-only: switched on by the administrator" in done.err, done
        for args in (["gc", "--dry-run"], ["fsck", "--full"], ["user", "list"]):
            assert on(h, *args, env=env).code == 0, args


def test_what_reloads_and_what_does_not(make_hub, tmp_path):
    """The URL is in realms and tokens, so neither it nor the scheme changes under way; said in the log."""
    conf = str(tmp_path / "berth.conf")
    with open(conf, "w") as f:
        f.write("")
    h = make_hub(flags=["--config", conf])
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=x",
                    "-keyout", str(tmp_path / "k"), "-out", str(tmp_path / "c")], check=True, stderr=subprocess.DEVNULL)
    with open(conf, "w") as f:
        f.write("public_url = https://other.example\ntls_cert = %s/c\ntls_key = %s/k\n" % (tmp_path, tmp_path))
    h.reload()
    for key in ("public_url", "tls_cert"):
        h.wait_log(lambda r: r["msg"] == "this key needs a restart" and r["key"] == key)
    with h.connect() as c:
        assert "http://%s/token" % h.service in c.request("GET", "/v2/").get("WWW-Authenticate")


def san(path):
    out = subprocess.run(["openssl", "x509", "-noout", "-ext", "subjectAltName,basicConstraints,extendedKeyUsage", "-in", path],
                         check=True, stdout=subprocess.PIPE, universal_newlines=True).stdout
    return out, set(re.findall(r"(?:DNS|IP Address):([^,\s]+)", out))


def test_self_signed_names(make_hub):
    """Every name that clients are told is in the certificate; a new name makes a new one, with the same key."""
    env = {"BERTH_TLS_SELF_SIGNED": "true", "BERTH_PUBLIC_URL": "https://hub.example:5443"}
    h = make_hub(env=dict(env))
    cert = h.data + "/keys/self.crt"
    text, names = san(cert)
    assert {"hub.example", "localhost", "127.0.0.1", "0:0:0:0:0:0:0:1", socket.gethostname()} <= names, names
    assert "CA:FALSE" in text and "TLS Web Server Authentication" in text, text

    def ask(name):
        with socket.create_connection((h.host, h.port)) as s:
            with ssl.create_default_context(cafile=cert).wrap_socket(s, server_hostname=name) as t:
                return t.getpeercert()["serialNumber"]

    first = ask("hub.example")
    assert first == ask("localhost") == ask("127.0.0.1")
    h.restart()
    assert ask("hub.example") == first
    with open(h.data + "/keys/self.key") as f:
        key = f.read()
    time.sleep(1.1)  # the serial number is the second it was made in
    h.extra["BERTH_PUBLIC_URL"] = "https://[2001:db8::7]:5443"
    h.restart()
    assert ask("2001:db8::7") != first and "hub.example" not in san(cert)[1]
    with open(h.data + "/keys/self.key") as f:
        assert f.read() == key


@pytest.mark.parametrize("listen,host", [("127.0.0.1:%d", "127.0.0.1:%d"), ("0.0.0.0:%d", "127.0.0.1:%d"), ("[::1]:%d", "[::1]:%d"),
                                         ("[::]:%d,127.0.0.2:%d", "[::1]:%d")])
def test_make_run_says_what_to_paste(tmp_path, listen, host):
    port = free_port()
    env = dict(os.environ, BERTH_ADMIN_USER="zoe", BERTH_DATA=str(tmp_path / "data"), BERTH_LISTEN=listen.replace("%d", str(port)))
    env.pop("BERTH_BIN", None)
    p = subprocess.Popen(["bash", "-c", 'exec "$0" serve > >(tools/run-hints)', binary()], cwd=ROOT, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, env=env, universal_newlines=True)
    said = []
    while not said or "docker pull" not in said[-1]:
        said.append(p.stdout.readline())
        assert said[-1], said
    p.send_signal(signal.SIGTERM)
    assert p.wait(DEADLINE) == 0
    p.stdout.close()
    assert said[0].startswith("administrator zoe, password"), said
    commands = [line.strip() for line in said if line.startswith("  ")]
    name = host % port
    assert commands == ["docker login %s -u zoe" % name,
                        "tar c README.md | docker import - %s/zoe/hello && docker push %s/zoe/hello" % (name, name),
                        "docker pull %s/zoe/hello" % name]


def test_no_hints_when_the_start_fails(tmp_path):
    env = dict(os.environ, BERTH_DATA=str(tmp_path / "data"), BERTH_LISTEN="192.0.2.1:5000")
    env.pop("BERTH_BIN", None)
    p = subprocess.run(["bash", "-c", '"$0" serve > >(tools/run-hints); exit $?', binary()], cwd=ROOT, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, env=env, universal_newlines=True)
    assert p.returncode == 1 and "docker" not in p.stdout and "192.0.2.1:5000" in p.stderr, p


def test_a_newer_store_is_refused(make_hub):
    h = make_hub()
    h.stop()
    with open(h.data + "/store.json") as f:
        text = f.read()
    with open(h.data + "/store.json", "w") as f:
        f.write(text.replace('"format":1', '"format":99'))
    for args in (["serve", "--listen", "127.0.0.1:0"], ["gc"], ["fsck"], ["user", "list"]):
        done = on(h, *args)
        assert done.code == 1 and "store format 99" in done.err and "newer" in done.err, done


def sql(h, statement):
    import sqlite3
    import subprocess
    if h.database:
        subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", statement, h.database], check=True)
        return
    c = sqlite3.connect(h.data + "/berth.db")
    c.execute(statement)
    c.commit()
    c.close()


def test_a_newer_schema_is_refused(db, make_hub):
    h = make_hub(db)
    h.admin().push_image("library/x", "t")
    h.stop()
    sql(h, "INSERT INTO schema_version (version, applied_at) VALUES (99, 0)")
    for args in (["serve", "--listen", "127.0.0.1:0"], ["gc"], ["user", "list"]):
        done = on(h, *args)
        assert done.code == 1 and "schema version 99" in done.err and "newer" in done.err, done
        assert h.database is None or h.database not in done.err
    sql(h, "DELETE FROM schema_version WHERE version = 99")
    h.start()
    assert h.admin().pull("library/x", "t")


COLLECT_AT_ONCE = {"BERTH_GC_GRACE": "0", "BERTH_GC_DELAY": "0", "BERTH_GC_INTERVAL": "10ms", "BERTH_MIN_FREE": "0"}


def refused_database(h, database, said):
    env = dict(COLLECT_AT_ONCE, BERTH_DATABASE=database)
    for args in (["serve", "--listen", "127.0.0.1:0"], ["gc", "--now"], ["fsck", "--repair"], ["backup", "-"]):
        done = berth(*args, "--data", h.data, env=env)
        assert done.code == 1 and said in done.err and h.data in done.err and "BERTH_DATABASE" in done.err, done
        assert not database or database not in done.err


def test_a_wrong_database_costs_nothing(db, make_hub):
    """Forgotten or of another store: refused, for to it every blob would be a file of an interrupted push."""
    h = make_hub(db, env=dict(COLLECT_AT_ONCE))
    h.admin().push_image("library/x", "t", layers=3)
    whole = h.admin().pull("library/x", "t")
    other = make_hub("postgresql", env=dict(COLLECT_AT_ONCE))
    other.admin().push_image("library/y", "t")
    h.stop()
    other.stop()
    refused_database(h, other.database, "belongs to another store")
    refused_database(h, Postgres.get().fresh(), "the database is empty")
    if db == "postgresql":
        refused_database(h, "", "cannot open the database")
        assert not os.path.exists(h.data + "/berth.db"), "a database was made"
    else:
        os.rename(h.data + "/berth.db", h.data + "/away.db")
        refused_database(h, "", "cannot open the database")
        open(h.data + "/berth.db", "w").close()
        refused_database(h, "", "the database is empty")
        os.rename(h.data + "/away.db", h.data + "/berth.db")
    h.start()
    assert h.admin().pull("library/x", "t") == whole
    assert on(h, "fsck", "--full").code == 0
    other.start()
    assert other.admin().pull("library/y", "t")


# Made by the program of schema 2, commit 02d8ca7: users admin, ann and gone (removed); library/x, admin/own and, public,
# team/deep/app, each with two tags.
OLD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "schema2")


def all_is_there(h):
    admin = h.admin()
    for name in ("library/x", "admin/own", "team/deep/app"):
        assert admin.pull(name, "a") and admin.pull(name, "b")
    assert h.anonymous().pull("team/deep/app", "a") and h.anonymous().pull("library/x", "a")
    ann = h.client("ann", "ann-password-1")
    ann.push_image("ann/mine", "t")
    assert ann.request("GET", "/v2/admin/own/manifests/a").status == 404
    assert h.client("gone", "gone-password-1").request("GET", "/v2/").status == 401
    orgs = json.loads(admin.get("/api/v1/orgs").body)["items"]
    assert {"team", "library"} <= {o["name"] for o in orgs}
    again = json.dumps({"name": "gone", "password": "another-one-9"}).encode()
    assert admin.post("/api/v1/users", body=again, headers=[("Content-Type", "application/json")]).status == 409
    assert on(h, "fsck", "--full").code == 0


@pytest.mark.parametrize("version", [1, 2])
def test_a_store_of_an_older_schema_comes_up(make_hub, tmp_path, version):
    data = str(tmp_path) + "/old"
    os.makedirs(data)
    with tarfile.open(OLD + "/store.tar.xz") as tar:
        tar.extractall(data)
    h = make_hub("sqlite", data=data, start=False)
    if version == 1:
        sql(h, "DROP TABLE store")
        sql(h, "DELETE FROM schema_version WHERE version = 2")
    h.start()
    all_is_there(h)


def test_a_backup_of_an_older_schema_comes_up(db, make_hub, tmp_path):
    h = make_hub(db, start=False)
    with lzma.open(OLD + "/backup.tar.xz") as packed, open(str(tmp_path) + "/old.tar", "wb") as plain:
        plain.write(packed.read())
    done = on(h, "restore", str(tmp_path) + "/old.tar")
    assert done.code == 0, done
    h.start()
    all_is_there(h)


def test_a_data_directory_with_a_long_name(make_hub, tmp_path):
    """Longer than the address of a socket may be."""
    data = str(tmp_path) + "/" + "n" * 120 + "/" + "m" * 120
    h = make_hub(data=data)
    assert on(h, "status", "--json").done()["url"] == h.url
    assert os.path.exists(data + "/berth.sock")
