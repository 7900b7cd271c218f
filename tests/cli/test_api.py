"""Commands that ask the API: on the machine with the server running and stopped, and on a hub far away over TLS."""
import fcntl
import http.server
import json
import os
import re
import shutil
import ssl
import stat
import subprocess
import threading

import pytest
from berth import REPORTS
from conftest import berth, binary, commands, on, typed
from factors import App

PASSWORD = "pw-of-alice-4711"


class Far:
    """A machine with a home of its own, from which hubs are asked."""

    def __init__(self, home, hub):
        self.env, self.hub, self.host = {"HOME": str(home)}, hub, "localhost:%d" % hub.port
        self.ca = hub.data + "/keys/self.crt"

    def __call__(self, *args, **kw):
        env = dict(self.env, **kw.pop("env", {}))
        return berth(*args, env=env, **kw)

    def ask(self, *args, **kw):
        return self(*args, "--host", self.host, **kw)

    def login(self, user, secret, *args):
        return self("login", self.host, "--user", user, "--ca", self.ca, *args, stdin=secret + "\n")

    def file(self):
        return self.env["HOME"] + "/.config/berth/hosts.json"

    def entry(self):
        with open(self.file()) as f:
            return json.load(f)[self.host]


@pytest.fixture
def far(make_hub, tmp_path):
    h = make_hub(env={"BERTH_TLS_SELF_SIGNED": "true"}, tls=ssl._create_unverified_context())
    h.add_user("alice", PASSWORD)
    return Far(tmp_path, h)


def done(answer, code=0):
    assert answer.code == code, answer
    return answer


def story(do, show):
    """Every command of the API once, each with an effect that another one shows."""
    do("user", "add", "carol", "--full-name", "Carol", "--email", "carol@example.org", stdin="password-of-carol\n")
    assert show("user", "show", "carol")["email"] == "carol@example.org"
    do("user", "set", "carol", "--role", "auditor", "--full-name", "C. \u00fc")
    assert show("user", "show", "carol")["site_role"] == "auditor" and show("user", "show", "carol")["full_name"] == "C. \u00fc"
    do("user", "passwd", "carol", stdin="another-of-carol\n")
    do("user", "remove", "carol")
    assert [u["state"] for u in show("user", "list") if u["name"] == "carol"] == ["removed"]
    do("user", "add", "dora", stdin="password-of-dora\n")

    do("org", "add", "acme", "--owner", "alice", "--default-access", "read")
    do("org", "set", "acme", "--token-max-days", "30", "--no-public", "false", "--full-name", "Acme")
    org = show("org", "show", "acme")
    assert (org["token_max_days"], org["no_public"], org["full_name"], org["default_access"]) == (30, False, "Acme", "read"), org
    assert "acme" in [o["name"] for o in show("org", "list")]
    do("member", "set", "acme", "dora", "member")
    assert {m["user"]: m["role"] for m in show("member", "list", "acme")} == {"alice": "owner", "dora": "member"}
    assert show("member", "tokens", "acme") == []
    do("team", "add", "acme", "dev", "--description", "who writes")
    do("team", "set", "acme", "dev", "--name", "makers")
    assert show("team", "show", "acme", "makers")["description"] == "who writes"
    assert [t["name"] for t in show("team", "list", "acme")] == ["makers"]
    do("team", "member-add", "acme", "makers", "dora")
    assert [m["user"] for m in show("team", "members", "acme", "makers")] == ["dora"]

    do("repo", "add", "acme/deep/app", "--visibility", "public", "--description", "an app")
    assert show("repo", "show", "acme/deep/app")["visibility"] == "public"
    do("repo", "private", "acme/deep/app")
    do("repo", "set", "acme/deep/app", "--description", "the app")
    do("repo", "archive", "acme/deep/app")
    repo = show("repo", "show", "acme/deep/app")
    assert (repo["visibility"], repo["archived"], repo["description"]) == ("private", True, "the app"), repo
    do("repo", "unarchive", "acme/deep/app")
    do("repo", "public", "acme/deep/app")
    assert [r["name"] for r in show("repo", "list", "--owner", "acme")] == ["acme/deep/app"]
    do("repo", "grant", "acme/deep/app", "makers", "write")
    assert show("repo", "grants", "acme/deep/app") == [{"team": "makers", "level": "write"}]
    assert [r["repository"] for r in show("team", "repos", "acme", "makers")] == ["acme/deep/app"]
    do("repo", "revoke", "acme/deep/app", "makers")
    assert show("repo", "grants", "acme/deep/app") == []
    do("repo", "add", "alice/own")
    do("repo", "share", "alice/own", "dora", "read")
    assert show("repo", "shares", "alice/own") == [{"user": "dora", "level": "read"}]
    do("repo", "unshare", "alice/own", "dora")
    assert show("repo", "shares", "alice/own") == []

    do("plan", "add", "small", "--private-repos", "3", "--bytes", "1000000", "--pulls", "100", "--pull-window", "3600")
    do("plan", "set", "small", "--private-repos", "4")
    plan = show("plan", "show", "small")
    assert (plan["private_repos"], plan["bytes"], plan["pulls"], plan["seats"]) == (4, 1000000, 100, -1), plan
    flags = re.findall(r"^  --([a-z-]+) N ", berth("plan", "add", "--help").out, re.M)
    assert {f.replace("-", "_") for f in flags} == set(plan) - {"name", "default"}
    do("plan", "give", "acme", "small")
    usage = show("usage", "show", "acme")
    assert usage["plan"] == "small" and usage["private_repos"]["limit"] == 4, usage
    assert "private_repos.limit    4" in do("usage", "show", "acme").out.splitlines()
    table = do("usage", "export").out.splitlines()
    assert table[0].startswith("account,plan,") and [row for row in table if row.startswith("acme,small,")], table
    do("plan", "add", "large")
    do("plan", "default", "large")
    assert show("plan", "show", "large")["default"]
    do("plan", "give", "acme", "large")
    do("plan", "remove", "small")
    assert "small" not in [p["name"] for p in show("plan", "list")]
    do("trust", "add", "acme", "github", "--issuer", "https://token.actions.githubusercontent.com", "--bound", "acme/deep/*:write",
       "--claim", "sub:repo:acme/app:ref:refs/heads/main", "--claim", "actor:*", "--life-seconds", "600")
    rule, = show("trust", "list", "acme")
    assert rule["claims"][0] == {"claim": "sub", "pattern": "repo:acme/app:ref:refs/heads/main"} and len(rule["claims"]) == 2, rule
    do("trust", "set", "acme", str(rule["id"]), "--life-seconds", "300")
    assert show("trust", "show", "acme", str(rule["id"]))["life_seconds"] == 300
    do("trust", "remove", "acme", str(rule["id"]))
    assert show("trust", "list", "acme") == []
    why = show("access", "explain", "dora", "acme/deep/app", "push")
    assert (why["allowed"], why["level"]) == (False, "read"), why
    assert show("access", "explain", "", "acme/deep/app", "pull")["allowed"]

    text = do("token", "add", "ci", "--org", "acme", "--bound", "acme/*:write", "--bound", "acme/deep/app:delete",
              "--expires-in-days", "7").out.strip()
    assert re.fullmatch("bot_[a-z2-7]{58}", text), text
    row, = show("token", "list", "--org", "acme")
    assert [(b["pattern"], b["scope"]) for b in row["bounds"]] == [("acme/*", "write"), ("acme/deep/app", "delete")], row
    number = str(row["id"])
    do("token", "set", number, "--org", "acme", "--state", "disabled")
    assert show("token", "show", number, "--org", "acme")["state"] == "disabled"
    do("token", "set", number, "--org", "acme", "--state", "active")
    second = do("token", "rotate", number, "--org", "acme", "--overlap-hours", "0").out.strip()
    assert second != text and second.startswith("bot_")
    do("token", "revoke", "--stdin", stdin=second + "\n")
    assert show("token", "list", "--org", "acme") == []
    do("token", "add", "ci", "--org", "acme", "--expires-in-days", "1")
    do("token", "revoke", str(show("token", "list", "--org", "acme")[0]["id"]), "--org", "acme")
    assert show("token", "list", "--org", "acme") == []

    do("repo", "remove", "alice/own")
    assert "alice/own" not in [r["name"] for r in show("repo", "list")]
    assert [t["name"] for t in show("tag", "list", "alice/app")] == ["t"]
    assert show("tag", "show", "alice/app", "t")["digest"].startswith("sha256:")
    do("tag", "remove", "alice/app", "t")
    assert show("tag", "list", "alice/app") == []

    do("team", "member-remove", "acme", "makers", "dora")
    do("team", "remove", "acme", "makers")
    do("member", "remove", "acme", "dora")
    assert [m["user"] for m in show("member", "list", "acme")] == ["alice"]
    do("org", "add", "brief")
    do("org", "remove", "brief")
    assert "brief" not in [o["name"] for o in show("org", "list")]
    actions = [r["action"] for r in show("audit", "list", "--account", "acme")]
    assert {"org.member.set", "repo.create"} <= set(actions), actions
    assert {r["action"] for r in show("audit", "list", "--org", "acme", "--action", "repo.create")} == {"repo.create"}
    lines = do("audit", "export", "--account", "acme", "--format", "csv").out.splitlines()
    assert lines[0].startswith("seq,at,") and len(lines) == len(actions) + 1 and lines[0] not in lines[1:], lines
    assert [json.loads(line)["action"] for line in do("audit", "export", "--account", "acme").out.splitlines()] == actions
    assert show("whoami")["site_role"] == "admin"


def answers(run):
    """(do, show) of story by one way to ask."""
    def do(*args, **kw):
        return done(run(*args, **kw))

    def show(*args):
        answer = done(run(*args, "--json"))
        return answer.items() if args[1:] and args[1] in LISTS else answer.done()
    return do, show


LISTS = ("list", "tokens", "members", "repos", "grants", "shares")


@pytest.mark.parametrize("db,running", [("sqlite", True), ("sqlite", False), ("postgresql", True)])
def test_on_the_machine(db, make_hub, running):
    h = make_hub(db)
    h.add_user("alice", PASSWORD).push_image("alice/app", "t")
    if not running:
        h.stop()
    story(*answers(lambda *args, **kw: on(h, *args, **kw)))


def test_far_away(far):
    """As an administrator, who shows the password each time: no token may administer users and tokens."""
    far.hub.client("alice", PASSWORD).push_image("alice/app", "t")
    done(far.login("admin", far.hub.admin_password))

    def run(*args, stdin="", **kw):
        return far.ask(*args, "--login", stdin=stdin + far.hub.admin_password + "\n", **kw)
    story(*answers(run))
    own = far.ask("token", "add", "mine", "--login", stdin=far.hub.admin_password + "\n").out.strip()
    rows = far.ask("token", "list", "--login", "--json", stdin=far.hub.admin_password + "\n").items()
    assert own.startswith("bpt_") and [t["name"] for t in rows if t["id"] != rows[0]["id"]] == ["mine"]


def test_second_factors(far):
    """A login takes two lines then: the password, and a code."""
    done(far.login("alice", PASSWORD))

    def run(*args, code=None, **kw):
        return far.ask(*args, "--login", stdin=PASSWORD + "\n" + (code + "\n" if code else ""), **kw)
    do, show = answers(run)
    made = done(run("factor", "add", "--name", "phone", "--json")).done()
    app = App(made["secret"])
    codes = done(run("factor", "confirm", str(made["id"]), app.fresh(), "--json")).done()["recovery_codes"]
    assert len(codes) == 10
    done(far.ask("whoami"))  # the token lives on
    assert done(run("factor", "list"), 4).err and done(run("factor", "list", code="000000"), 4).err
    row, = done(run("factor", "list", "--json", code=app.fresh())).items()
    assert (row["kind"], row["name"]) == ("totp", "phone"), row
    assert done(run("session", "list", "--json", code=codes.pop())).items() == []
    done(run("session", "end", "1", code=codes.pop()), 3)
    fresh = done(run("factor", "codes", code=codes.pop())).out.strip().split(",")
    assert len(fresh) == 10 and done(run("factor", "list", code=codes.pop()), 4).err
    done(far("login", far.host, "--ca", far.ca, "--user", "alice", stdin="%s\n%s\n" % (PASSWORD, fresh.pop())))
    done(run("factor", "remove", str(row["id"]), code=fresh.pop()))
    made = done(run("factor", "add", "--json")).done()
    done(run("factor", "confirm", str(made["id"]), App(made["secret"]).fresh()))
    assert done(run("factor", "list"), 4).err
    done(on(far.hub, "user", "reset-factors", "alice"))
    assert done(run("factor", "list", "--json")).items() == []
    assert done(on(far.hub, "keys", "rotate", "--json")).done()["resealed"] >= 0


def test_what_is_sent_and_asked_elsewhere(make_hub):
    h = make_hub()
    h.add_user("alice", PASSWORD)
    do, show = answers(lambda *args, **kw: on(h, *args, **kw))
    do("org", "add", "acme")
    for org in ([], ["--org", "acme"]):
        assert do("invitation", "add", *org).out.startswith("http")
        row, = show("invitation", "list", *org)
        do("invitation", "remove", str(row["id"]), *org)
        assert show("invitation", "list", *org) == []
    assert do("user", "reset-link", "alice").out.startswith("http")
    for args, stdin in ((["mail", "test", "x@example.org"], ""), (["ldap", "test", "x"], ""), (["ldap", "test", "x", "--bind"], "secret-of-x\n")):
        answer = on(h, *args, stdin=stdin)  # nothing of it is set up
        assert answer.code == 1 and answer.err.startswith("berth: ") and "secret-of-x" not in answer.err + answer.out, answer


def test_the_story_has_every_command():
    with open(__file__) as f:
        told = set(re.findall(r'(?:do|show|run|on)\((?:far\.hub, )?"([a-z]+)"(?:, "([a-z-]+)")?', f.read()))
    api = [n for n, _ in commands() if re.search("^  --host HOST", berth(*n.split(), "--help").out, re.M)]
    assert len(api) > 40 and set(api) - {" ".join(t).strip() for t in told} == {"member token-revoke", "mail test", "ldap test"}


def test_members_tokens(make_hub, tmp_path):
    h = make_hub()
    h.add_user("alice", PASSWORD)
    done(on(h, "org", "add", "acme", "--owner", "alice"))
    far = Far(tmp_path, h)
    done(far("login", far.host, "--user", "alice", stdin=PASSWORD + "\n"))  # localhost without TLS
    row, = on(h, "member", "tokens", "acme", "--json").items()
    assert row["user"] == "alice" and far.ask("whoami").code == 0 and far.entry()["url"] == "http://" + far.host
    done(on(h, "member", "token-revoke", "acme", str(row["id"])))
    assert done(far.ask("whoami"), 4).err.startswith("berth: ")


def test_without_tls_only_localhost_is_spoken_to(make_hub, tmp_path):
    h = make_hub()
    h.add_user("alice", PASSWORD)
    far = Far(tmp_path, h)
    name = "hub.localhost:%d" % h.port  # leads here, but is no name of this machine
    done(far("login", name, "--user", "alice", stdin=PASSWORD + "\n"), 1)
    assert not os.path.exists(far.file()) and not [r for r in h.log() if r.get("path") == "/api/v1/login"]
    done(far("login", name, "--user", "alice", "--insecure", stdin=PASSWORD + "\n"))
    assert far("whoami", "--host", name).code == 0
    for text in ("http://" + name, "HTTPS://" + name.upper() + "/x"):
        assert far("whoami", "--host", text).code == 0


def test_lists_follow_next(make_hub):
    h = make_hub()
    h.stop()
    for i in range(3):
        assert on(h, "org", "add", "acme%d" % i).code == 0
    import sqlite3
    c = sqlite3.connect(h.data + "/berth.db")
    columns = [r[1] for r in c.execute("PRAGMA table_info(accounts)") if r[1] not in ("id", "name")]
    for i in range(230):
        c.execute("INSERT INTO accounts (name, %s) SELECT 'many%03d', %s FROM accounts WHERE name = 'acme0'"
                  % (", ".join(columns), i, ", ".join(columns)))
    c.commit()
    c.close()
    want = sorted(["acme%d" % i for i in range(3)] + ["many%03d" % i for i in range(230)])
    for running in (False, True):
        if running:
            h.start()
        assert [o["name"] for o in on(h, "org", "list", "--json").items() if o["name"] != "library"] == want
        assert len(on(h, "org", "list").out.splitlines()) >= 234


def test_exit_codes(far):
    """0 done, 1 failed, 2 wrong usage, 3 not found, 4 not logged in or not allowed."""
    h = far.hub
    for code, args, said in ((3, ["repo", "show", "no/where"], "no such"), (3, ["user", "show", ".."], "no such"),
                             (1, ["org", "add", "Bad Name"], "name"), (1, ["user", "remove", "admin"], "administrator"),
                             (2, ["user", "set", "alice"], "nothing to change"), (2, ["user", "set", "alice", "--role", "x"], "none|admin|auditor"),
                             (2, ["token", "add", "x", "--expires-in-days", "soon"], "takes a number"),
                             (2, ["token", "add", "x", "--bound", "*"], "PATTERN:SCOPE"), (2, ["token", "revoke"], "either ID or --stdin"),
                             (2, ["token", "revoke", "1", "--stdin"], "either"), (2, ["repo", "set", "a/b", "--full-description", "/none"], "/none"),
                             (1, ["audit", "export", "--from", "x"], "RFC 3339"),
                             (2, ["user", "list", "--login"], "--host"), (4, ["token", "add", "x"], "")):
        answer = done(on(h, *args), code)
        assert answer.err.startswith("berth: ") and said in answer.err and answer.out == "", answer
    both = done(on(h, "org", "add", "Bad", "--token-max-days", "-1"), 1).err.splitlines()
    assert len(both) == 3 and {line.split(":")[0] for line in both[1:]} == {"  name", "  token_max_days"}, both

    assert "berth login" in done(far.ask("whoami"), 4).err
    assert done(far.login("alice", "wrong-password"), 4).err == "berth: Incorrect authentication credentials\n" and not os.path.exists(far.file())
    assert "certificate" in done(far("login", far.host, "--user", "alice", stdin=PASSWORD + "\n"), 1).err
    done(far("login", far.host, "--insecure", "--user", "alice", stdin=PASSWORD + "\n"), 1)
    assert "--user" in done(far("login", far.host, "--ca", far.ca, stdin=PASSWORD + "\n"), 2).err
    done(far("login", far.host, "--ca", "/nonexistent", stdin=PASSWORD + "\n"), 2)
    done(far("login", "user@host", stdin=PASSWORD + "\n"), 2)
    done(far.login("alice", PASSWORD))
    assert done(far.ask("user", "list"), 4).err and done(far.ask("repo", "show", "no/where"), 3).err
    assert "account" in done(far.ask("user", "show", ".."), 3).err  # a name, not a way up
    assert "password" in done(far.ask("token", "list"), 4).err  # no token may
    assert done(far.ask("token", "list", "--login", stdin="wrong\n"), 4).err == "berth: Incorrect authentication credentials\n"
    h.stop()
    assert "Could" in done(far.ask("whoami"), 1).err


def test_logins_are_kept_well(far):
    h = far.hub
    os.umask(0)
    try:
        done(far.login("alice", PASSWORD, "--scope", "read"))
    finally:
        os.umask(0o022)
    assert stat.S_IMODE(os.stat(far.file()).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(far.file())).st_mode) == 0o700
    first = far.entry()
    assert set(first) == {"url", "user", "token", "ca"} and first["user"] == "alice" and PASSWORD not in open(far.file()).read()
    me = far.ask("whoami", "--json").done()
    assert me["name"] == "alice" and me["token_id"]
    assert "token" in done(far.ask("repo", "add", "alice/x"), 4).err  # its scope is read
    row, = far.ask("token", "list", "--login", "--json", stdin=PASSWORD + "\n").items()
    assert row["bounds"] == [{"pattern": "*", "scope": "read"}] and os.uname().nodename in row["name"]

    done(far.login("alice", PASSWORD))  # the token of before is of no use any more
    assert far.entry()["token"] != first["token"]
    assert h.client("alice", first["token"]).get("/v2/").status == 401
    done(far.ask("repo", "add", "alice/x"))

    env = {"BERTH_HOST": far.host}
    assert far("repo", "list", "--json", env=env).items()[0]["name"] == "alice/x"
    assert far("whoami", "--data", h.data, "--json", env=env).done()["kind"] == "local"
    assert berth("config", env=env).code == 0

    token = far.entry()["token"]
    with open(far.file(), "r+") as f:
        kept = json.load(f)
    done(far("logout", far.host))
    assert json.load(open(far.file())) == {} and h.client("alice", token).get("/v2/").status == 401
    assert "not logged in" in done(far("logout", far.host), 3).err
    with open(far.file(), "w") as f:
        json.dump(kept, f)
    done(far.ask("whoami"), 4)
    done(far("logout", far.host))  # revoked already: nothing left to do


def test_a_token_is_a_login(far):
    done(far.login("alice", PASSWORD))
    token = done(far.ask("token", "add", "x", "--login", "--bound", "alice/*:write", stdin=PASSWORD + "\n")).out.strip()
    done(far("logout", far.host))
    done(far("login", far.host, "--ca", far.ca, stdin=token + "\n"))
    assert far.entry()["user"] == "alice" and far.entry()["token"] == token
    done(far.ask("repo", "show", "alice/none"), 3)
    done(far("login", far.host, "--ca", far.ca, stdin=token[:-1] + ("a" if token[-1] != "a" else "b") + "\n"), 2)  # a typo is no token


def test_a_leaked_token_is_revoked_by_whoever_found_it(far, tmp_path):
    done(far.login("alice", PASSWORD))
    leaked = far.entry()["token"]
    (tmp_path / "b").mkdir()
    finder = Far(tmp_path / "b", far.hub)
    done(finder.ask("token", "revoke", "--stdin", "--ca", far.ca, stdin=leaked + "\n"))
    assert far.hub.client("alice", leaked).get("/v2/").status == 401
    answer = done(finder.ask("token", "revoke", "--stdin", "--ca", far.ca, stdin=leaked + "\n"))  # as it should be
    assert leaked not in answer.err + answer.out
    answer = done(finder.ask("token", "revoke", "--stdin", "--ca", far.ca, stdin="no token\n"), 1)


def test_the_password_is_asked_for_on_a_terminal(far, monkeypatch):
    done(far.login("alice", PASSWORD))
    monkeypatch.setenv("HOME", far.env["HOME"])
    code, seen = typed([binary(), "token", "list", "--host", far.host], [PASSWORD])
    assert code == 0 and "Password of alice: " in seen and "berth on" in seen and PASSWORD not in seen, seen
    code, seen = typed([binary(), "login", far.host, "--ca", far.ca], ["alice", PASSWORD])
    assert code == 0 and "logged in to %s as alice" % far.host in seen and PASSWORD not in seen, seen


@pytest.mark.parametrize("running", [True, False], ids=["server", "no server"])
def test_the_audit_log_is_proved(make_hub, tmp_path, running):
    import sqlite3
    h = make_hub()
    h.add_user("alice", PASSWORD)
    h.stop()  # which seals
    if running:
        h.start()
    anchor = tmp_path / "anchor"
    anchor.write_text(done(on(h, "audit", "anchor")).out)
    for args in ([], ["--anchor", str(anchor)]):
        assert done(on(h, "audit", "verify", *args, "--json")).done()["problems"] == 0
    if running:
        return
    c = sqlite3.connect(h.data + "/berth.db")
    c.execute("UPDATE audit SET object = 'somebody else'")
    c.commit()
    c.close()
    answer = done(on(h, "audit", "verify", "--json"), 1)
    assert answer.done()["problems"] >= 1 and answer.items()[0]["fault"], answer
    assert done(on(h, "audit", "verify", "--anchor", "/none"), 2).err
    anchor.write_text("\n")  # of an anchor that failed: this is not "no anchor"
    assert done(on(h, "audit", "verify", "--anchor", str(anchor)), 2).err


def test_read_only(make_hub):
    h = make_hub()
    h.stop()
    env = {"BERTH_READ_ONLY": "true"}
    answer = done(on(h, "org", "add", "acme", env=env), 1)
    assert "read-only: switched on by the administrator" in answer.err
    done(on(h, "org", "list", env=env))


class Hostile(http.server.BaseHTTPRequestHandler):
    body, status = b"", 200

    def do_GET(self):
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    do_POST = do_PATCH = do_DELETE = do_GET

    def log_message(self, *args):
        pass


@pytest.fixture
def hostile(tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    host = "localhost:%d" % server.server_port
    os.makedirs(str(tmp_path) + "/.config/berth")
    with open(str(tmp_path) + "/.config/berth/hosts.json", "w") as f:
        json.dump({host: {"url": "http://" + host, "user": "a", "token": "t"}}, f)

    def ask(status, body, *args):
        Hostile.status, Hostile.body = status, body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        return berth(*args, "--host", host, env={"HOME": str(tmp_path)})

    yield ask
    server.shutdown()
    thread.join()
    server.server_close()


EVIL = "x\x1b[31m\x07\r\n\x9b31m\x7f\u009b"


def harmless(answer):
    text = answer.out + answer.err
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f]", text), repr(text)


def test_a_hostile_server_writes_nothing_to_the_terminal(hostile):
    item = {"name": EVIL, "full_name": EVIL, EVIL: EVIL, "site_role": [{"a": EVIL}], "state": None}
    for status, body, code, args in (
            (200, item, 0, ["user", "show", "x"]), (200, {"items": [item], "next": None}, 0, ["user", "list"]),
            (201, {"token": EVIL}, 0, ["token", "add", "x"]), (404, {"detail": EVIL}, 3, ["user", "list"]),
            (400, {"detail": EVIL, "errors": [{"field": EVIL, "message": EVIL}] * 2}, 1, ["user", "list"]),
            (403, {"detail": EVIL, "code": "credential"}, 4, ["user", "list"]), (502, b"<html>\x1b[31m", 1, ["user", "list"]),
            (200, b"<html>\x1b[31m", 1, ["user", "list"]), (200, b"", 0, ["user", "list"]), (302, b"", 1, ["user", "list"]),
            (200, b"[" * 1000, 1, ["user", "list"]), (200, [EVIL], 0, ["user", "show", "x"]), (200, {"items": "x", "next": 4}, 0, ["user", "list"]),
            (200, {"items": [EVIL, 1, None, []]}, 0, ["user", "list"]), (400, {"detail": 7, "errors": {"a": 1}}, 1, ["user", "list"])):
        for machine in ([], ["--json"]):
            answer = done(hostile(status, body, *args, *machine), code)
            harmless(answer)
            if machine and code == 0:
                assert all(isinstance(json.loads(line), dict) for line in answer.out.splitlines()), answer


def test_hosts_json_that_is_none(tmp_path):
    os.makedirs(str(tmp_path) + "/.config/berth")
    for text in ("", "{", "[]", '{"h": 1}', '{"h": {"user": 1, "token": []}}', '{"h": {"url": "ftp://x"}}'):
        with open(str(tmp_path) + "/.config/berth/hosts.json", "w") as f:
            f.write(text)
        for args in (["whoami", "--host", "h"], ["logout", "h"]):
            answer = berth(*args, env={"HOME": str(tmp_path)})
            assert answer.code in (1, 3, 4) or args[0] == "logout", answer
            with open(str(tmp_path) + "/.config/berth/hosts.json", "w") as f:
                f.write(text)


# --- docker's credential helper
@pytest.fixture
def helper(far, tmp_path):
    path = tmp_path / "bin"
    path.mkdir()
    os.symlink(binary(), str(path / "docker-credential-berth"))

    def run(action, stdin=""):
        p = subprocess.run([str(path / "docker-credential-berth"), action], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           universal_newlines=True, env=dict(far.env, PATH=os.environ["PATH"]), timeout=60)
        assert not [w for w in REPORTS if w in p.stderr], p.stderr
        return p.returncode, p.stdout
    run.path = str(path)
    return run


def test_the_credential_helper(far, helper):
    done(far.login("alice", PASSWORD))
    token = far.entry()["token"]
    for name in (far.host, "https://" + far.host, "https://%s/v1/" % far.host, far.host.upper()):
        code, out = helper("get", name + "\n")
        assert code == 0 and json.loads(out) == {"ServerURL": name, "Username": "alice", "Secret": token}
    assert helper("get", "other.example") == (1, "credentials not found in native keychain\n")
    assert helper("store", json.dumps({"ServerURL": "https://other.example", "Username": "u", "Secret": "s"})) == (0, "")
    assert json.loads(helper("list")[1]) == {far.host: "alice", "other.example": "u"}
    assert json.loads(helper("get", "other.example")[1])["Secret"] == "s"
    assert helper("erase", "other.example\n") == (0, "") and helper("get", "other.example")[0] == 1
    helper("store", json.dumps({"ServerURL": far.host, "Username": "alice", "Secret": PASSWORD}))
    assert far.entry()["ca"] == far.ca and far.ask("whoami", "--json").done()["token_id"] is None
    for bad in ("", "{", "{}", '{"ServerURL":"","Username":"u","Secret":"s"}', '{"ServerURL":"h","Username":1,"Secret":"s"}'):
        assert helper("store", bad)[0] == 1
    assert helper("nonsense")[0] == 2 and helper("get", "x" * 100000)[0] == 1
    assert berth("docker-credential", "list", env=far.env).out == helper("list")[1]


def test_helpers_wait_for_one_another(far, helper):
    """Docker runs several at once: what one stores, another must not overwrite with what it read before."""
    assert helper("store", json.dumps({"ServerURL": "a.example", "Username": "u", "Secret": "s"}))[0] == 0
    folder = os.open(os.path.dirname(far.file()), os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    p = subprocess.Popen([helper.path + "/docker-credential-berth", "store"], stdin=subprocess.PIPE, env=dict(os.environ, **far.env))
    p.stdin.write(b'{"ServerURL": "b.example", "Username": "u", "Secret": "s"}')
    p.stdin.close()

    def waits():
        assert p.poll() is None, "it did not wait"
        with open("/proc/locks") as f:
            return re.search(r"-> FLOCK .* %d " % p.pid, f.read())
    far.hub.until(waits, "the helper at the lock")
    with open(far.file(), "w") as f:
        json.dump({"c.example": {"user": "u", "token": "s"}}, f)
    os.close(folder)
    assert p.wait(60) == 0 and sorted(json.loads(helper("list")[1])) == ["b.example", "c.example"]


@pytest.mark.parametrize("program", ["docker", "skopeo"])
def test_real_clients_use_the_helper(far, helper, tmp_path, program):
    """A private repository can be read with the login that berth made, and no longer when it ended."""
    far.hub.client("alice", PASSWORD).push_image("alice/app", "t")
    done(far.login("alice", PASSWORD))
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text(json.dumps({"credHelpers": {far.host: "berth"}}))
    env = dict(far.env, PATH=helper.path + ":" + os.environ["PATH"], DOCKER_CONFIG=str(tmp_path / ".docker"), XDG_RUNTIME_DIR=str(tmp_path))
    image = far.host + "/alice/app:t"
    argv = {"docker": ["docker", "manifest", "inspect", "--insecure", image],
            "skopeo": ["skopeo", "inspect", "--raw", "--tls-verify=false", "docker://" + image]}[program]
    assert shutil.which(program), program

    def run():
        return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, env=env, timeout=120)
    p = run()
    assert p.returncode == 0 and '"schemaVersion": 2' in re.sub(r'":2', '": 2', p.stdout), p.stdout
    done(far("logout", far.host))
    assert run().returncode != 0
