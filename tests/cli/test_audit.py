"""The audit log: its proof on the command line, forwarding to real ends, retention."""
import base64
import collections
import glob
import hashlib
import hmac
import http.server
import json
import os
import re
import shutil
import socket
import sqlite3
import threading

import pytest
from conftest import berth, on
from ends import Authority, Receiver

KEY = os.urandom(32)
NOBODY = 'no "such\\" ] [user\\'
SECRET = "whsec_" + base64.b64encode(KEY).decode()


def change(hub, n):
    """n changes, a row each; text that has to be escaped."""
    c, head = hub.admin(), [("Content-Type", "application/json")]
    assert c.request("POST", "/api/v1/repositories", head, b'{"name":"admin/app"}').status in (201, 409)
    for i in range(n):
        a = c.request("PATCH", "/api/v1/repositories/admin/app", head, json.dumps({"description": 'A "%d" \\ ] é' % i}).encode())
        assert a.status == 200, a


def rows(hub):
    """The whole log, in its order, of a hub that runs."""
    done = on(hub, "audit", "export")
    assert done.code == 0, done
    return sorted((json.loads(line) for line in done.out.splitlines()), key=lambda row: row["seq"])


# ---- the proof

def verify(hub, *args):
    done = on(hub, "audit", "verify", "--json", *args)
    return done, [i["fault"] for i in done.items()]


def test_verify_and_anchor(make_hub, db, tmp_path):
    h = make_hub(db)
    change(h, 3)
    h.restart()  # a stop seals what there is
    anchor = on(h, "audit", "anchor")
    assert anchor.code == 0 and re.fullmatch(r"berth-audit-1 .*\n", anchor.out), anchor
    kept = tmp_path / "anchor"
    kept.write_text(anchor.out)
    for args in ((), ("--anchor", str(kept))):
        done, faults = verify(h, *args)
        assert done.code == 0 and faults == [] and done.done()["seals"] >= 1 and done.done()["rows"] >= 3, done
    assert on(h, "audit", "rotate-key").code == 0
    assert [r["action"] for r in rows(h)][-1] == "audit.rotate"
    change(h, 1)
    h.stop()
    assert on(h, "audit", "rotate-key").code == 0
    done, faults = verify(h, "--anchor", str(kept))
    assert done.code == 0 and faults == [] and done.done()["unsealed"] == 1, done
    with open(h.data + "/keys/audit.keys") as f:
        assert [line.split()[0] for line in f] == ["public", "public", "seed"]
    kept.write_text("no line of ours\n")
    done = on(h, "audit", "verify", "--anchor", str(kept))
    assert done.code == 1 and "no line of" in done.err, done
    assert on(h, "audit", "verify", "--anchor", str(tmp_path / "none")).code == 2


def tamper(hub, sql):
    with sqlite3.connect(hub.data + "/berth.db") as c:
        assert c.execute(sql).rowcount == 1, sql
    c.close()


@pytest.mark.parametrize("sql,says", [
    ("UPDATE audit SET actor = 'nobody' WHERE seq = (SELECT MIN(seq) + 1 FROM audit)", "are not what was sealed"),
    ("DELETE FROM audit WHERE seq = (SELECT MIN(seq) + 1 FROM audit)", "are not what was sealed"),
    ("UPDATE audit_seal SET hash = zeroblob(32) WHERE id = (SELECT MIN(id) FROM audit_seal)", "its signature is wrong"),
    ("DELETE FROM audit_seal WHERE id = (SELECT MAX(id) FROM audit_seal)", "the log ends before the anchor"),
])
def test_a_tampered_database(make_hub, sql, says):
    h = make_hub()
    change(h, 3)
    h.stop()
    assert verify(h)[0].code == 0
    tamper(h, sql)
    done, faults = verify(h)
    assert done.code == 1 and any(says in f for f in faults) and done.done()["problems"] == len(faults), done
    told = on(h, "audit", "verify")
    assert told.code == 1 and all(f in told.out for f in faults), told
    h.start()  # the same through the server
    done, faults = verify(h)
    assert done.code == 1 and any(says in f for f in faults), done
    h.stop()


def test_a_database_set_back(make_hub, tmp_path):
    """Nothing in it is wrong; the anchor shows it, also when the one kept beside it is gone."""
    h = make_hub()
    change(h, 2)
    h.stop()
    shutil.copy(h.data + "/berth.db", tmp_path / "old")
    h.start()
    change(h, 2)
    h.stop()
    kept = tmp_path / "anchor"
    kept.write_text(on(h, "audit", "anchor").out)
    shutil.copy(tmp_path / "old", h.data + "/berth.db")
    done, faults = verify(h)
    assert done.code == 1 and "the log ends before the anchor" in faults[0], done
    h.start()
    change(h, 3)
    h.stop()
    done, faults = verify(h)
    assert done.code == 1 and "the log was set back and went on" in faults[0], done
    os.unlink(h.data + "/keys/audit.anchor")
    assert verify(h)[0].code == 0
    done, faults = verify(h, "--anchor", str(kept))
    assert done.code == 1 and "the log was set back and went on" in faults[0], done


# ---- forwarding

@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(str(tmp_path_factory.mktemp("authority")))


class Hook(http.server.ThreadingHTTPServer):
    """A receiver of webhooks that checks each signature; `answers` are the next statuses (0: hangs up), then 200."""
    daemon_threads = True

    def __init__(self, authority):
        super().__init__(("127.0.0.1", 0), Post)
        self.socket = authority.context("127.0.0.1").wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.answers, self.seen, self.taken, self.limit = collections.deque(), [], [], None
        threading.Thread(target=self.serve_forever, daemon=True).start()
        self.url = "https://127.0.0.1:%d/audit?key=in-the-path" % self.server_address[1]

    def handle_error(self, request, client_address):
        pass

    def rows(self):
        return [row for doc in list(self.taken) if doc["type"] == "audit.rows" for row in doc["data"]]

    def anchors(self):
        return [doc["data"] for doc in list(self.taken) if doc["type"] == "audit.anchor"]


class Post(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_POST(self):
        body, s = self.rfile.read(int(self.headers["Content-Length"])), self.server
        signed = ".".join([self.headers["webhook-id"], self.headers["webhook-timestamp"]]).encode() + b"." + body
        mac = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
        good = self.headers["webhook-signature"] == "v1," + mac and self.headers["Content-Type"] == "application/json"
        status = s.answers.popleft() if s.answers else 200
        if s.limit is not None and len(s.taken) >= s.limit:
            status = 503
        s.seen.append((self.headers["webhook-id"], status, good))
        if status == 0:
            self.connection.close()
            return
        if status == 200:
            s.taken.append(json.loads(body))
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()


def numbers(found):
    return [r["seq"] for r in found]


def first_seen(found):
    return list(dict.fromkeys(found))


def hook_env(authority, hook):
    return {"BERTH_AUDIT_WEBHOOK": hook.url, "BERTH_AUDIT_WEBHOOK_SECRET": SECRET, "BERTH_EGRESS_CA": authority.ca}


def test_webhook_gets_all_rows_whatever_happens(make_hub, db, authority):
    hook = Hook(authority)
    hook.answers.extend([500, 0])
    hook.limit = 1
    h = make_hub(db, start=False, env=hook_env(authority, hook))
    h.secrets.update([SECRET, KEY.hex(), "in-the-path"])
    h.start()
    change(h, 3)
    h.until(lambda: hook.seen, "a refusal")
    change(h, 120)  # before the next attempt, which is the same delivery all the same
    h.until(lambda: len(hook.seen) >= 4, "a refusal after the first batch")
    h.wait_log(lambda r: r["msg"] == "the audit log is not forwarded" and r["end"] == "webhook")
    assert h.metrics()['berth_audit_forward_failures_total{end="webhook"}'] >= 2
    h.kill()
    h.check_log()
    hook.limit = None
    h.start()
    change(h, 5)
    want = rows(h)
    assert len(want) > 120
    h.until(lambda: set(numbers(hook.rows())) >= set(numbers(want)), "every row")
    assert first_seen(numbers(hook.rows())) == numbers(rows(h))[:len(first_seen(numbers(hook.rows())))]
    sent = {r["seq"]: r for r in hook.rows()}
    assert all(sent[r["seq"]] == r for r in want)
    assert all(good for _, _, good in hook.seen), "signatures"
    assert [status for _, status, _ in hook.seen[:3]] == [500, 0, 200] and len({i for i, _, _ in hook.seen[:3]}) == 1, \
        "a retry is the same delivery"
    assert h.metrics()['berth_audit_forwarded_seq{end="webhook"}'] >= want[-1]["seq"]
    h.restart()
    h.until(lambda: hook.anchors() and hook.anchors()[-1] == on(h, "audit", "anchor").out.strip(), "the checkpoint")
    before = len(hook.taken)
    h.restart()
    change(h, 1)
    last = numbers(rows(h))[-1]
    h.until(lambda: last in numbers(hook.rows()), "the last row")
    again = [r["seq"] for doc in hook.taken[before:] if doc["type"] == "audit.rows" for r in doc["data"]]
    assert min(again) > want[-1]["seq"], "an orderly restart sends nothing again"
    h.stop()


PARAM = re.compile(r' ([a-z]+)="((?:[^"\\\]]|\\.)*)"')


def parse(line):
    """pri|host|app|msgid|structured data|text -> (dict of the data, msgid, text)"""
    m = re.fullmatch(r"(\d+)\|([^|]*)\|berth\|([^|]*)\|(-|\[berth@32473((?: [a-z]+=\"(?:[^\"\\\]]|\\.)*\")*)\]) ?\|(.*)", line)
    assert m, line
    data = {k: re.sub(r'\\(["\\\]])', r"\1", v) for k, v in PARAM.findall(m.group(5) or "")}
    return dict(data, pri=m.group(1), host=m.group(2)), m.group(3), m.group(6)


def seqs(receiver):
    return [int(d["seq"]) for d, _, _ in map(parse, receiver.lines()) if "seq" in d]


def test_syslog_gets_all_rows_whatever_happens(make_hub, authority, tmp_path):
    r = Receiver(str(tmp_path / "rsyslog"), authority, "127.0.0.1", "%pri%|%hostname%|%app-name%|%msgid%|%structured-data%|%msg%")
    h = make_hub(env={"BERTH_AUDIT_SYSLOG": "syslogs://127.0.0.1:%d" % r.tls, "BERTH_EGRESS_CA": authority.ca})
    assert h.client(NOBODY, "not-the-password").get("/v2/").status == 401
    change(h, 40)
    h.until(lambda: set(seqs(r)) >= set(numbers(rows(h))), "every row")
    r.stop()
    change(h, 5)
    h.wait_log(lambda x: x["msg"] == "the audit log is not forwarded" and x["end"] == "syslog")
    r.start()
    h.until(lambda: set(seqs(r)) >= set(numbers(rows(h))), "every row after the server was away")
    h.kill()
    h.start()
    change(h, 1)
    h.restart()  # the failed login is counted, and written at the latest now
    h.until(lambda: set(seqs(r)) >= set(numbers(rows(h))), "every row after a kill")
    by_seq = {int(d["seq"]): (d, msgid, text) for d, msgid, text in map(parse, r.lines()) if "seq" in d}
    for row in rows(h):
        d, msgid, text = by_seq[row["seq"]]
        assert msgid == row["action"] and d["host"] == "127.0.0.1" and d["count"] == str(row["count"]), (d, row)
        assert d["pri"] == str(13 * 8 + (6 if row["result"] == "done" else 5))
        for key in ("action", "object", "actor", "address", "client", "data", "result"):
            assert d.get(key, "") == row[key], (key, d, row)
        assert d.get("token", "0") == str(row["credential_id"]) and d.get("account", "0") == str(row["account_id"])
        assert text.strip() == "%s %s %s: %s" % (row["actor"] or "-", row["action"], row["object"], row["result"])
    assert [row["result"] for row in rows(h) if row["action"] == "login" and row["actor"] == NOBODY] != ["done"]
    assert NOBODY in [row["actor"] for row in rows(h)], "what has to be escaped"
    anchor = on(h, "audit", "anchor").out.strip()
    h.until(lambda: any(m == "audit.anchor" and t.strip() == anchor for _, m, t in map(parse, r.lines())), "the checkpoint")
    kept = tmp_path / "anchor"
    kept.write_text(anchor)
    assert on(h, "audit", "verify", "--anchor", str(kept)).code == 0
    h.stop()
    r.stop()


def frames(conn, found):
    """Octet-counted records of a connection, until it ends."""
    pending = b""
    while True:
        head, space, rest = pending.partition(b" ")
        if space and len(rest) >= int(head):
            found.append(int(re.search(rb' seq="([0-9]+)"', rest[:int(head)] + b' seq="0"').group(1)))
            pending = rest[int(head):]
            continue
        more = conn.recv(65536)
        if not more:
            return
        pending += more


def test_what_a_broken_syslog_connection_took_along_is_sent_again(make_hub):
    """TCP took the records, nobody read them: there is no acknowledgement that would tell."""
    s = socket.create_server(("127.0.0.1", 0))
    h = make_hub(env={"BERTH_AUDIT_SYSLOG": "syslog://127.0.0.1:%d" % s.getsockname()[1]})
    change(h, 10)
    lost = s.accept()[0]
    want = numbers(rows(h))
    h.until(lambda: h.metrics()['berth_audit_forwarded_seq{end="syslog"}'] >= want[-1], "every row, into the void")
    lost.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    lost.close()
    change(h, 1)
    found, conn = [], s.accept()[0]
    threading.Thread(target=frames, args=(conn, found), daemon=True).start()
    h.until(lambda: set(found) >= set(numbers(rows(h))), "every row")
    h.stop()
    s.close()


def test_a_log_set_back_is_forwarded_from_its_start(make_hub, authority, tmp_path):
    hook = Hook(authority)
    h = make_hub(env=hook_env(authority, hook))
    change(h, 2)
    h.stop()
    shutil.copy(h.data + "/berth.db", tmp_path / "old")
    h.start()
    change(h, 20)
    h.until(lambda: numbers(hook.rows())[-1:] == numbers(rows(h))[-1:], "every row")
    h.stop()
    shutil.copy(tmp_path / "old", h.data + "/berth.db")
    had = len(hook.rows())
    h.start()
    h.wait_log(lambda x: x["msg"].startswith("the audit log was set back"))
    h.until(lambda: len(hook.rows()) >= had + len(rows(h)), "the rows again")
    assert hook.rows()[had]["seq"] == 1
    h.stop()


def test_forwarding_is_reloaded_and_holds_nothing_up(make_hub, authority, tmp_path):
    """An end that never answers; then the right one, by a reload."""
    mute = socket.create_server(("127.0.0.1", 0))
    hook = Hook(authority)
    secret = tmp_path / "secret"
    secret.write_text(SECRET + "\n")
    conf = tmp_path / "conf"
    conf.write_text("audit_webhook = https://127.0.0.1:%d/\n" % mute.getsockname()[1])
    h = make_hub(flags=["--config", str(conf)], env={"BERTH_AUDIT_WEBHOOK_SECRET_FILE": str(secret), "BERTH_EGRESS_CA": authority.ca})
    change(h, 50)
    conf.write_text("audit_webhook = http://127.0.0.1:1/\n")
    h.reload()
    h.wait_log(lambda r: r["msg"].startswith("not reloaded") and "audit_webhook" in r["error"])
    mute.close()
    conf.write_text("audit_webhook = %s\n" % hook.url)
    h.reload()
    h.until(lambda: set(numbers(hook.rows())) >= set(numbers(rows(h))), "every row")
    h.stop()


@pytest.mark.parametrize("env", [
    {"BERTH_AUDIT_SYSLOG": "tls://127.0.0.1:6514"},
    {"BERTH_AUDIT_SYSLOG": "https://127.0.0.1/"},
    {"BERTH_AUDIT_WEBHOOK": "http://127.0.0.1/", "BERTH_AUDIT_WEBHOOK_SECRET": SECRET},
    {"BERTH_AUDIT_WEBHOOK": "https://127.0.0.1/"},
    {"BERTH_AUDIT_WEBHOOK": "https://127.0.0.1/", "BERTH_AUDIT_WEBHOOK_SECRET": "whsec_c2hvcnQ="},
    {"BERTH_AUDIT_WEBHOOK_SECRET": KEY.hex()},
])
def test_wrong_settings_end_the_start(env, tmp_path):
    done = berth("serve", "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0", env=env)
    assert done.code == 2 and "audit_" in done.err and KEY.hex() not in done.err, done
    assert not os.path.exists(tmp_path / "data")


# ---- retention

def test_old_rows_go_but_none_that_an_end_waits_for(make_hub, authority, tmp_path):
    clock = tmp_path / "clock"
    clock.write_text("+0")
    hook = Hook(authority)
    hook.limit = 0
    h = make_hub(wrapper=["env", "LD_PRELOAD=" + glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")[0], "NO_FAKE_STAT=1",
                          "FAKETIME_TIMESTAMP_FILE=%s" % clock, "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1"],
                 env=dict(hook_env(authority, hook), BERTH_AUDIT_KEEP="10d"))
    change(h, 20)
    h.restart()  # seals
    change(h, 1)
    old = numbers(rows(h))
    clock.write_text("+9d")
    change(h, 1)
    h.restart()
    clock.write_text("+11d")  # a webhook may be refused, but not signed for another day: the test's receiver does not mind
    h.until(lambda: hook.seen, "an attempt")
    h.restart()
    clock.write_text("+12d")  # more than an hour after the start
    change(h, 1)
    h.until(lambda: h.metrics()['berth_audit_forward_failures_total{end="webhook"}'] >= 2, "failures")
    assert set(numbers(rows(h))) >= set(old), "rows that the webhook never got are gone"
    hook.limit = None
    h.until(lambda: set(numbers(hook.rows())) >= set(numbers(rows(h))), "every row")
    clock.write_text("+14d")  # a day later
    h.until(lambda: "audit.expire" in [r["action"] for r in rows(h)], "retention")
    left = rows(h)
    gone = set(old) - set(numbers(left))
    told = [json.loads(r["data"])["rows"] for r in left if r["action"] == "audit.expire"]
    assert len(gone) >= 20 and sum(told) == len(gone), (gone, told)
    done, faults = verify(h)
    assert done.code == 0 and done.done()["expired"] == len(gone), done
    h.stop()
