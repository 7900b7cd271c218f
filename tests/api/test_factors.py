"""Second factors over /api/v1: apps, security keys, recovery codes; what a login is without them. T06, T12, T13, T14, T15, T50."""
import http.client
import json
import os
import threading
import time

import pytest
from api import Api
from authenticator import UP
from berth import Hub
from browser import Browser
from factors import PASSWORD, App, Authenticator, add_app, add_key, login, login_factor, login_key, ticket
from registry import basic



@pytest.fixture
def me(site, user):
    a = login(site, user, PASSWORD)
    a.name = user
    return a


def at_once(n, fn):
    """The results of n calls that start together."""
    out, gate = [], threading.Barrier(n)

    def one(k):
        gate.wait()
        out.append(fn(k))
    threads = [threading.Thread(target=one, args=(k,)) for k in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return out


# --- an app
def test_app_and_login_in_two_steps(site, user, me):
    assert me.all("/me/factors") == []
    app, codes = add_app(me, name="phone")
    assert len(set(codes)) == 10
    assert app.uri.startswith("otpauth://totp/") and app.secret in app.uri and user in app.uri
    assert [(f["kind"], f["name"]) for f in me.all("/me/factors")] == [("totp", "phone")]
    a = login_factor(site, user, PASSWORD, code=app.fresh())
    site.secrets.add(a.data["token"])
    assert Api(site, token=a.data["token"]).get("/me", status=200).data["name"] == user
    login_factor(site, user, PASSWORD, code=codes[0], status=200)
    assert me.get("/me/recovery-codes", status=200).data == {"left": 9}


def test_app_counts_only_when_confirmed(site, user, me):
    a = me.post("/me/factors/totp", {}, status=201)
    site.secrets.add(a.data["secret"])
    wrong = "%06d" % ((int(App(a.data["secret"]).code()) + 1) % 1000000)
    b = me.post("/me/factors/%d/confirm" % a.data["id"], {"code": wrong}, status=400)
    assert b.data["errors"][0]["field"] == "code"
    assert me.all("/me/factors") == []
    login(site, user, PASSWORD)


def test_wrong_password_with_a_factor_tells_nothing(site, user, me):
    """T05: with the wrong password it cannot be seen that there is a second factor."""
    site.add_user(user + "b", PASSWORD)
    add_app(me)
    answers = [Api(site).post("/login", {"username": n, "password": "wrong"}, status=401) for n in (user, user + "b", "nobody-of-that-name")]
    assert len({a.comparable((b'"instance":"[0-9a-f]{16}"', b"")) for a in answers}) == 1


def test_basic_password_is_refused_with_a_factor(site, user, me):
    """docker login and the token endpoint: the message says what to do; a personal token works on."""
    token = me.post("/tokens", {"name": "ci"}, status=201).data["token"]
    site.secrets.add(token)
    for password, status in ((PASSWORD, 200), (token, 200)):
        assert site.anonymous().get("/v2/", headers={"Authorization": basic(user, password)}).status == status
    add_app(me)
    for path in ("/v2/", "/token?service=x"):
        a = site.anonymous().get(path, headers={"Authorization": basic(user, PASSWORD)})
        assert a.status == 401 and b"personal access token" in a.body and b"/account" in a.body, a
        assert site.anonymous().get(path, headers={"Authorization": basic(user, token)}).status == 200
    a = site.anonymous().request("POST", "/token", headers={"Content-Type": "application/x-www-form-urlencoded"},
                                 body=("grant_type=password&service=x&username=%s&password=%s" % (user, PASSWORD)).encode())
    assert a.status == 401 and b"personal access token" in a.body, a
    assert site.anonymous().get("/api/v1/me", headers={"Authorization": basic(user, PASSWORD)}).status == 401
    a = Api(site).post("/login", {"username": user, "password": token}, status=200)


def test_removing_the_last_factor(site, user, me):
    app, codes = add_app(me)
    me.delete("/me/factors/%d" % app.id, status=204)
    assert me.get("/me/recovery-codes", status=200).data == {"left": 0}
    login(site, user, PASSWORD)
    me.post("/me/recovery-codes", status=409)
    me.delete("/me/factors/%d" % app.id, status=404)


def test_nobody_elses_factor(site, user, me):
    """T16: another user's id is as one that nobody has."""
    app, _ = add_app(me)
    site.add_user(user + "x", PASSWORD)
    other = login(site, user + "x", PASSWORD)
    for api_id in (app.id, 999999):
        other.delete("/me/factors/%d" % api_id, status=404)
        other.post("/me/factors/%d/confirm" % api_id, {"code": "000000"}, status=404)
    assert len(me.all("/me/factors")) == 1


def test_administrator_resets(site, user, me):
    add_app(me)
    admin = login(site, site.admin_name, site.admin_password)
    t = ticket(site, user, PASSWORD)
    admin.delete("/users/%s/factors" % user, status=204)
    Api(site).post("/login/factor", {"ticket": t, "code": "123456"}, status=401)
    login(site, user, PASSWORD)
    assert "factor.reset" in [r["action"] for r in admin.all("/audit", object=user)]
    me.delete("/users/%s/factors" % user, status=403)


def test_token_cannot_touch_factors(site, me):
    token = me.post("/tokens", {"name": "all", "bounds": [{"pattern": "*", "scope": "admin"}]}, status=201).data["token"]
    site.secrets.add(token)
    with_token = Api(site, token=token)
    for method, path, body in (("POST", "/me/factors/totp", {}), ("GET", "/me/factors", None), ("POST", "/me/recovery-codes", None),
                               ("POST", "/me/factors/webauthn/options", None), ("DELETE", "/me/factors/1", None),
                               ("GET", "/me/sessions", None), ("DELETE", "/me/sessions", None)):
        assert with_token.request(method, path, body).status == 403, path


def test_old_login_is_not_enough(db):
    """Step-up: a login of more than ten minutes ago lists factors and changes none."""
    with Hub(db) as h:
        h.add_user("ulla", PASSWORD)
        me = login(h, "ulla", PASSWORD)
        h.stop()
        h.extra["BERTH_TEST_AHEAD"] = "660"
        h.start()
        me = Api(h, token=me.client.token)
        me.get("/me/factors", status=200)
        assert me.post("/me/factors/totp", {}, status=403).data["code"] == "fresh_login_required"
        assert me.post("/me/recovery-codes", status=403).data["code"] == "fresh_login_required"
        assert me.post("/me/factors/webauthn/options", status=403).data["code"] == "fresh_login_required"
        assert me.delete("/me/factors/1", status=403).data["code"] == "fresh_login_required"
        login(h, "ulla", PASSWORD).post("/me/factors/totp", {}, status=201)


def test_the_old_password_is_no_proof_beside_a_factor(db):
    """A new password logs a browser in anew: with a factor that takes the factor, or a stolen cookie and the password open all."""
    with Hub(db) as h:
        h.add_user("ulla", PASSWORD)
        me, browser, change = login(h, "ulla", PASSWORD), Browser(h), {"old_password": PASSWORD, "password": PASSWORD + "2"}
        browser.login("ulla", PASSWORD)
        add_app(me)
        h.stop()
        h.extra["BERTH_TEST_AHEAD"] = "660"
        h.start()
        assert Api(h, token=me.client.token).put("/me/password", change, status=403).data["code"] == "fresh_login_required"
        browser.go("/account")
        assert "/account/proof" in browser.submit("/account/password", **change).forms
        assert ticket(h, "ulla", PASSWORD)  # it is the old one


def test_docker_hubs_second_step(site, user, me):
    """As docker's older clients log in: the ticket and the code, each once."""
    app, codes = add_app(me)

    def ask(path, doc, status):
        c = http.client.HTTPConnection(site.host, site.port, timeout=60)
        c.request("POST", "/v2/users/" + path, json.dumps(doc), {"Content-Type": "application/json"})
        a = c.getresponse()
        body = json.loads(a.read())
        c.close()
        assert a.status == status, body
        return body
    first = ask("login", {"username": user, "password": PASSWORD}, 401)["login_2fa_token"]
    site.secrets.add(first)
    ask("2fa-login", {"login_2fa_token": first, "code": "abc"}, 401)
    code = app.fresh()
    token = ask("2fa-login", {"login_2fa_token": first, "code": code}, 200)["token"]
    site.secrets.add(token)
    assert Api(site, token=token).get("/me", status=200).data["name"] == user
    ask("2fa-login", {"login_2fa_token": first, "code": codes[0]}, 401)


def test_a_rotated_token_takes_its_children_along(site, user, me):
    """What was made by the old text ends with the old text."""
    made = me.post("/tokens", {"name": "ci"}, status=201).data
    child = Api(site).post("/login", {"username": user, "password": made["token"]}, status=200).data["token"]
    site.secrets.update((made["token"], child))

    def rotate(hours):
        time.sleep(1.1)  # signed tokens count in seconds
        return me.post("/tokens/%d/rotate" % made["id"], {"overlap_hours": hours}, status=200).data["token"]
    site.secrets.add(rotate(24))
    assert Api(site, token=child).get("/me").status == 200
    text = rotate(0)
    site.secrets.add(text)
    assert Api(site, token=child).get("/me").status == 401
    grandchild = Api(site).post("/login", {"username": user, "password": text}, status=200).data["token"]
    assert Api(site, token=grandchild).get("/me").status == 200


def test_owners_do_not_see_where_else_members_tokens_reach(site, user, me):
    admin, org = login(site, site.admin_name, site.admin_password), user + "-org"
    admin.post("/orgs", {"name": org}, status=201)
    admin.put("/orgs/%s/members/%s" % (org, user), {"role": "member"}, status=200)
    bounds = [{"pattern": p, "scope": "read"} for p in (org + "/app", "elsewhere/secret")]
    site.secrets.add(me.post("/tokens", {"name": "ci", "bounds": bounds}, status=201).data["token"])
    assert [t["bounds"] for t in admin.all("/orgs/%s/member-tokens" % org)] == [bounds[:1]]
    assert sorted(b["pattern"] for b in me.all("/tokens")[0]["bounds"]) == sorted(b["pattern"] for b in bounds)


# --- T13, T14: once
def test_T13_a_code_counts_once(site, user, me):
    app, _ = add_app(me)
    code, tickets = app.fresh(), [ticket(site, user, PASSWORD) for _ in range(4)]
    got = at_once(16, lambda k: Api(site).post("/login/factor", {"ticket": tickets[k % 4], "code": code}).status)
    assert got.count(200) == 1 and set(got) <= {200, 401, 429}, got


def test_T13_older_steps_are_void(site, user, me):
    app, _ = add_app(me)
    before = app.code(-1)
    login_factor(site, user, PASSWORD, code=app.fresh())
    login_factor(site, user, PASSWORD, code=before, status=401)


def test_T14_a_recovery_code_counts_once(site, user, me):
    _, codes = add_app(me)
    tickets = [ticket(site, user, PASSWORD) for _ in range(4)]
    got = at_once(16, lambda k: Api(site).post("/login/factor", {"ticket": tickets[k % 4], "code": codes[0]}).status)
    assert got.count(200) == 1 and set(got) <= {200, 401, 429}, got


def test_T14_new_codes_void_the_old(site, user, me):
    _, old = add_app(me)
    new = me.post("/me/recovery-codes", status=200).data["recovery_codes"]
    site.secrets.update(new)
    assert not set(old) & set(new)
    login_factor(site, user, PASSWORD, code=old[1], status=401)
    login_factor(site, user, PASSWORD, code=new[1].upper().replace("-", " "))


def test_a_ticket_is_of_use_once(site, user, me):
    app, codes = add_app(me)
    t = ticket(site, user, PASSWORD)
    Api(site).post("/login/factor", {"ticket": t, "code": codes[0]}, status=200)
    Api(site).post("/login/factor", {"ticket": t, "code": codes[1]}, status=401)
    Api(site).post("/login/factor", {"ticket": "boc_" + "a" * 58, "code": codes[1]}, status=401)
    assert me.get("/me/recovery-codes").data == {"left": 9}


def test_a_ticket_is_bound_to_its_account(site, user, me):
    add_app(me)
    site.add_user(user + "x", PASSWORD)
    _, others = add_app(login(site, user + "x", PASSWORD))
    login_factor(site, user, PASSWORD, code=others[0], status=401)


def test_a_ticket_dies_with_the_password(site, user, me):
    _, codes = add_app(me)
    t = ticket(site, user, PASSWORD)
    admin = login(site, site.admin_name, site.admin_password)
    admin.put("/users/%s/password" % user, {"password": PASSWORD + "2"}, status=204)
    site.secrets.add(PASSWORD + "2")
    Api(site).post("/login/factor", {"ticket": t, "code": codes[0]}, status=401)


def test_T06_factor_guesses_are_few(site, user, me):
    app, codes = add_app(me)
    t, n = ticket(site, user, PASSWORD), 0
    got = [Api(site).post("/login/factor", {"ticket": t, "code": "%06d" % k}).status for k in range(10)]
    assert got.count(401) == 6 and got[-1] == 429, got
    Api(site).post("/login/factor", {"ticket": t, "code": codes[0]}, status=429)


def test_T06_guesses_from_everywhere(db):
    """A thousand addresses together get few guesses at an account; who logged in from his before does not notice."""
    with Hub(db, env={"BERTH_TRUSTED_PROXIES": "127.0.0.1", "BERTH_MAX_LOGINS_PER_ADDRESS": "20"}) as h:
        h.add_user("ulla", PASSWORD)

        def guess(address, password):
            return Api(h).post("/login", {"username": "ulla", "password": password}, headers={"X-Forwarded-For": address}).status
        assert guess("192.0.2.7", PASSWORD) == 200
        got = [guess("198.51.100.%d" % k, "wrong") for k in range(30)]
        assert got.count(401) <= 20 and set(got) == {401, 429}, got
        assert guess("203.0.113.9", PASSWORD) == 429
        assert guess("192.0.2.7", PASSWORD) == 200
        others = Api(h).post("/login", {"username": "nobody-here", "password": "x"}, headers={"X-Forwarded-For": "203.0.113.9"})
        assert others.status == 401


# --- T12: security keys
def test_key(site, user, me):
    key, second = Authenticator(), Authenticator(alg=-8)
    a = add_key(me, key, site.origin, status=201)
    assert len(a.data["recovery_codes"]) == 10
    site.secrets.update(a.data["recovery_codes"])
    assert add_key(me, second, site.origin, status=201).data["recovery_codes"] is None
    assert add_key(me, key, site.origin, status=409)
    for k in (key, second, key):
        site.secrets.add(login_key(site, user, PASSWORD, k, site.origin).data["token"])
    assert [f["last_used_at"] is not None for f in me.all("/me/factors")] == [True, True]


def test_T12_a_challenge_is_asked_once(site, user, me):
    key = Authenticator()
    add_key(me, key, site.origin, status=201)
    t = ticket(site, user, PASSWORD)
    options = json.loads(Api(site).post("/login/factor/options", {"ticket": t}, status=200).data["options"])
    wrong = key.get(options, site.origin, {"signature": lambda s: s[:-1] + bytes([s[-1] ^ 1])})
    right = key.get(options, site.origin)
    Api(site).post("/login/factor", {"ticket": t, "webauthn": wrong}, status=401)
    Api(site).post("/login/factor", {"ticket": t, "webauthn": right}, status=401)
    options = json.loads(Api(site).post("/login/factor/options", {"ticket": t}, status=200).data["options"])
    right = key.get(options, site.origin)
    got = at_once(8, lambda _: Api(site).post("/login/factor", {"ticket": t, "webauthn": right}).status)
    assert got.count(200) == 1, got


def test_T12_other_origins_keys_and_counters(site, user, me):
    key, strange = Authenticator(count=5), Authenticator()
    add_key(me, key, site.origin, status=201)
    login_key(site, user, PASSWORD, key, "http://evil.localhost", status=401)
    strange.handle = key.handle
    login_key(site, user, PASSWORD, strange, site.origin, status=401)
    login_key(site, user, PASSWORD, key, site.origin, {"flags": lambda f: f & ~UP}, status=401)
    login_key(site, user, PASSWORD, key, site.origin)
    login_key(site, user, PASSWORD, key, site.origin, {"count": lambda c: 3}, status=401)
    site.add_user(user + "x", PASSWORD)
    other = login(site, user + "x", PASSWORD)
    theirs = Authenticator()
    add_key(other, theirs, site.origin, status=201)
    login_key(site, user + "x", PASSWORD, key, site.origin, status=401)  # mine does not open theirs
    for bend in ({"client": lambda c: dict(c, origin="http://evil.localhost")}, {"rp_hash": lambda h: bytes(32)}):
        a = add_key(other, Authenticator(), site.origin, bend, status=400)
        assert a.data["errors"][0]["field"] == "credential"


def test_register_only_the_own_ceremony(site, user, me):
    site.add_user(user + "x", PASSWORD)
    other = login(site, user + "x", PASSWORD)
    a, key = me.post("/me/factors/webauthn/options", status=200), Authenticator()
    credential = key.create(json.loads(a.data["options"]), site.origin)
    other.post("/me/factors/webauthn", {"ticket": a.data["ticket"], "credential": credential}, status=409)
    assert other.all("/me/factors") == []


def test_key_needs_a_name(hub):
    me = Api(hub, "alice", hub.people["alice"].password)
    assert "public_url" in me.post("/me/factors/webauthn/options", status=409).data["detail"]


# --- T15, T50: nothing readable in the database
def test_T50_secrets_are_sealed(db):
    with Hub(db) as h:
        h.add_user("ulla", PASSWORD)
        me = login(h, "ulla", PASSWORD)
        app, codes = add_app(me)
        t = ticket(h, "ulla", PASSWORD)
        admin = login(h, h.admin_name, h.admin_password)
        assert admin.post("/keys/rotate", status=200).data == {"resealed": 1}
        login_factor(h, "ulla", PASSWORD, code=app.fresh())
        Api(h, token=me.client.token).post("/keys/rotate", status=403)
        path = os.path.join(h.data, "keys", "seal.keys")
        assert os.stat(path).st_mode & 0o777 == 0o600
        with open(path) as f:
            keys = f.read()
        assert keys.count("active") == 1 and "old" not in keys
        h.restart()
        login_factor(h, "ulla", PASSWORD, code=app.fresh())
        backup = os.path.join(h.own_dir, "backup.tar")
        h.command("backup", backup)
        with open(backup, "rb") as f:
            data = f.read()
        import base64
        raw = base64.b32decode(app.secret)
        for secret in [app.secret.encode(), raw, base64.b64encode(raw), raw.hex().encode(), t.encode(), PASSWORD.encode()] + [c.encode() for c in codes]:
            assert secret not in data and secret.replace(b"-", b"") not in data
        assert keys.split()[-1].encode() not in data and b"keys/seal.keys" not in data
