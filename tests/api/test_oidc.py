"""Sign-on by an identity provider (T11). The provider is HTTPS of our own, so that each flow can be bent in one place; what a browser
would do is done by hand: it follows redirects and keeps cookies."""
import base64
import hashlib
import json
import shutil
import tempfile
import time
import urllib.parse

import pytest

from api import Api
from berth import Hub
from issuer import Issuer, Key, b64, claims, hs256
from registry import Client

CLIENT, SECRET = "berth", "the-client-secret-17"


class Provider:
    """Answers of the token endpoint are what `bend` makes of the right ones."""

    def __init__(self, folder):
        self.site, self.key, self.other = Issuer(folder), Key("k1"), Key("k1")
        self.iss = self.site.add("op", self.key)
        self.evil = self.site.add("evil", self.other)
        doc = self.site.routes["/op/.well-known/openid-configuration"]
        doc.update(authorization_endpoint=self.iss + "/auth?x=1", token_endpoint=self.iss + "/token",
                   authorization_response_iss_parameter_supported=True)
        self.codes, self.bend, self.calls = {}, None, 0
        self.site.post = self.token

    def authorize(self, url, **user):
        """What the provider does when the user agrees: a code for the redirect URI."""
        parts = urllib.parse.urlsplit(url)
        assert url.startswith(self.iss + "/auth?x=1&"), url
        q = dict(urllib.parse.parse_qsl(parts.query, strict_parsing=True))
        assert q["response_type"] == "code" and q["client_id"] == CLIENT and q["code_challenge_method"] == "S256", q
        assert "openid" in q["scope"].split() and len(q["state"]) == 43 and len(q["nonce"]) == 43, q
        code = "code-%d" % len(self.codes)
        self.codes[code] = (q, user)
        return {"code": code, "state": q["state"], "iss": self.iss}

    def token(self, handler):
        self.calls += 1
        form = dict(urllib.parse.parse_qsl(handler.rfile.read(int(handler.headers["Content-Length"])).decode()))
        want = "Basic " + base64.b64encode(("%s:%s" % (CLIENT, SECRET)).encode()).decode()
        q, user = self.codes.pop(form.get("code"), (None, None))
        sound = q and handler.headers["Authorization"] == want and form["redirect_uri"] == q["redirect_uri"] and \
            form["grant_type"] == "authorization_code" and b64(hashlib.sha256(form["code_verifier"].encode()).digest()) == q["code_challenge"]
        if not sound:
            handler.reply(400, b'{"error":"invalid_grant"}')
            return
        access = "access-token"
        doc = claims(self.iss, CLIENT, nonce=q["nonce"], at_hash=b64(hashlib.sha256(access.encode()).digest()[:16]), **user)
        answer = {"access_token": access, "token_type": "Bearer", "id_token": None}
        made = self.bend(doc, answer) if self.bend else None
        answer["id_token"] = made if made is not None else self.key.token(doc)
        handler.reply(200, json.dumps(answer).encode(), **{"Content-Type": "application/json"})


class Browser:
    def __init__(self, hub):
        self.hub, self.cookies, self.client = hub, {}, Client(hub)

    def get(self, path):
        headers = [("Cookie", "; ".join("%s=%s" % c for c in self.cookies.items()))] if self.cookies else []
        a = self.client.request("GET", path, headers)
        for line in a.all("Set-Cookie"):
            name, _, rest = line.partition("=")
            assert "HttpOnly" in rest and "SameSite=Lax" in rest and "Path=/" in rest, line
            self.cookies[name] = rest.split(";")[0]
            if self.cookies[name] == "":
                del self.cookies[name]
            else:
                self.hub.secrets.add(self.cookies[name])
        return a

    def begin(self):
        a = self.get("/login/oidc")
        assert a.status == 303 and a.get("Cache-Control") == "no-store", a
        return a.get("Location")

    def back(self, answer):
        return self.get("/login/oidc/callback?" + urllib.parse.urlencode(answer))


@pytest.fixture(scope="module")
def op():
    folder = tempfile.mkdtemp(prefix="berth-oidc-")
    p = Provider(folder)
    yield p
    p.site.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def hub(db, op):
    env = {"BERTH_MIN_FREE": "0", "BERTH_EGRESS_CA": op.site.ca, "BERTH_OIDC_ISSUER": op.iss, "BERTH_OIDC_CLIENT_ID": CLIENT,
           "BERTH_OIDC_CLIENT_SECRET": SECRET, "BERTH_MAX_LOGINS_PER_ADDRESS": "0"}
    with Hub(db, env=env) as h:
        h.secrets.update([SECRET, "access-token-"])
        h.api = Api(h, "admin", h.admin_password)
        yield h
        h.api.close()


def sign_on(hub, op, **user):
    b = Browser(hub)
    answer = op.authorize(b.begin(), **user)
    return b, b.back(answer)


def people(hub):
    return {u["name"]: u for u in hub.api.all("/users")}


def test_sign_on(hub, op):
    b, a = sign_on(hub, op, sub="1001", preferred_username="Jane.Doe", name="Jane Doe", email="jane@corp.test")
    assert a.status == 303 and a.get("Location") == "/account" and "berth" in b.cookies and "berth-oidc" not in b.cookies, a
    jane = people(hub)["jane-doe"]
    assert (jane["full_name"], jane["email"], jane["site_role"]) == ("Jane Doe", "jane@corp.test", "none")
    sign_on(hub, op, sub="1001", preferred_username="renamed-at-the-provider")
    assert "renamed-at-the-provider" not in people(hub)


def test_nobody_is_taken_over(hub, op):
    """Neither by name nor by e-mail: sub alone is who it is."""
    sign_on(hub, op, sub="1002", preferred_username="admin", email="jane@corp.test")
    assert people(hub)["admin-2"]["site_role"] == "none" and people(hub)["admin"]["site_role"] == "admin"


def test_groups(hub, op):
    api = hub.api
    api.post("/orgs", {"name": "acme"}, status=201)
    api.post("/orgs/acme/teams", {"name": "devs"}, status=201)
    api.post("/orgs/acme/teams/devs/groups", {"provider": "oidc:sso", "group": "/developers"}, status=201)

    def members():
        return [m["user"] for m in api.all("/orgs/acme/teams/devs/members")]
    sign_on(hub, op, sub="g", preferred_username="grace", groups=["/developers", "x"])
    assert members() == ["grace"]
    sign_on(hub, op, sub="g", preferred_username="grace")                    # the provider says nothing of groups
    assert members() == ["grace"]
    sign_on(hub, op, sub="g", preferred_username="grace", groups=[])
    assert members() == []


def flows(op):
    """name -> bend of the token endpoint's answer; each is refused."""
    now = int(time.time())

    def change(**more):
        return lambda doc, answer: doc.update(more) or op.key.token({k: v for k, v in doc.items() if v is not None})

    def header(**more):
        return lambda doc, answer: op.key.token(doc, **more)
    return {
        "nonce of another login": change(nonce="x" * 43), "no nonce": change(nonce=None), "issuer another": change(iss=op.evil),
        "issuer with a slash": change(iss=op.iss + "/"), "audience another": change(aud="other"),
        "audience list without azp": change(aud=[CLIENT, "other"]), "azp another": change(azp="other"), "expired": change(exp=now - 100),
        "no expiry": change(exp=None), "no iat": change(iat=None), "old": change(iat=now - 2000, nbf=None), "not yet": change(nbf=now + 500),
        "no sub": change(sub=None), "sub empty": change(sub=""), "sub too long": change(sub="s" * 300), "at_hash another": change(at_hash="A" * 22),
        "at_hash no text": change(at_hash=1), "kid unknown": header(kid="k2"), "alg another": header(alg="RS512"), "jwk in the header":
        lambda doc, answer: op.other.token(doc, jwk=op.other.jwk()), "key of the evil provider": lambda doc, answer: op.other.token(doc),
        "alg none": lambda doc, answer: b64(b'{"alg":"none"}') + "." + b64(json.dumps(doc).encode()) + ".",
        "HS256 with the public key": lambda doc, answer: hs256(op.key.pem(), doc, "k1"),
        "HS256 with the client's secret": lambda doc, answer: hs256(SECRET.encode(), doc, "k1"),
        "no ID token": lambda doc, answer: 17, "another access token": lambda doc, answer: answer.update(access_token="other") or None,
    }


def test_bent_id_tokens(hub, op):
    before = set(people(hub))
    for name, bend in flows(op).items():
        op.bend = bend
        try:
            b, a = sign_on(hub, op, sub="5000", preferred_username="mallory")
        finally:
            op.bend = None
        assert a.status == 403 and "berth" not in b.cookies, (name, a)
    assert set(people(hub)) == before


def test_bent_answers(hub, op):
    """What comes back to the browser: state, iss, code, cookie."""
    def one(change, cookie=True):
        b = Browser(hub)
        answer = op.authorize(b.begin(), sub="5001", preferred_username="mallory")
        change(answer)
        if not cookie:
            b.cookies.clear()
        calls = op.calls
        a = b.back({k: v for k, v in answer.items() if v is not None})
        assert "berth" not in b.cookies, a
        assert a.status == 403, a
        return op.calls - calls
    for change in (lambda q: q.update(state="x" * 43), lambda q: q.update(state=None), lambda q: q.update(state=q["state"][:-1]),
                   lambda q: q.update(iss=op.evil), lambda q: q.update(iss=None), lambda q: q.update(iss=op.iss + "/"),
                   lambda q: q.update(code=None), lambda q: q.update(error="access_denied"), lambda q: q.update(code="")):
        assert one(change) == 0                                              # the code goes nowhere
    assert one(lambda q: q, cookie=False) == 0
    assert one(lambda q: q.update(code="made-up")) == 1
    b, victim = Browser(hub), Browser(hub)                                    # Mallory's answer in the victim's browser
    victim.begin()
    assert victim.back(op.authorize(b.begin(), sub="5002")).status == 403 and "berth" not in victim.cookies
    b = Browser(hub)                                                          # the code of one login in another one: PKCE and nonce
    first = op.authorize(b.begin(), sub="5003")
    second = op.authorize(b.begin(), sub="5003")
    assert b.back(dict(second, code=first["code"])).status == 403
    b = Browser(hub)                                                          # twice the same parameter; a cookie that was altered; twice the same answer
    answer = op.authorize(b.begin(), sub="5004")
    assert b.get("/login/oidc/callback?%s&state=%s" % (urllib.parse.urlencode(answer), answer["state"])).status == 403
    answer, c = op.authorize(b.begin(), sub="5004"), b.cookies["berth-oidc"]
    b.cookies["berth-oidc"] = c[:40] + ("A" if c[40] != "A" else "B") + c[41:]
    assert b.back(answer).status == 403
    answer, cookies = op.authorize(b.begin(), sub="5004"), dict(b.cookies)
    assert b.back(answer).status == 303
    b.cookies = cookies
    assert b.back(answer).status == 403


def test_back_channel_logout(hub, op):
    b, a = sign_on(hub, op, sub="2001", preferred_username="lou")
    event = {"http://schemas.openid.net/event/backchannel-logout": {}}

    def logout(token):
        return hub.anonymous().request("POST", "/login/oidc/logout", [("Content-Type", "application/x-www-form-urlencoded")],
                                       urllib.parse.urlencode({"logout_token": token}).encode()).status
    password = "lou-has-one-here-too-17"                                      # what was given before ends, too
    hub.secrets.add(password)
    hub.api.put("/users/lou/password", {"password": password}, status=204)
    lou = Api(hub, token=Api(hub).post("/login", {"username": "lou", "password": password}, status=200).data["token"])
    for token in (op.key.token(claims(op.iss, CLIENT, sub="2001")), op.key.token(claims(op.iss, "other", sub="2001", events=event)),
                  op.key.token(claims(op.iss, CLIENT, sub="2001", events=event, nonce="x")), op.other.token(claims(op.iss, CLIENT, sub="2001", events=event)),
                  op.key.token(claims(op.iss, CLIENT, sub="2001", events={"x": {}})), "x"):
        assert logout(token) == 400
    lou.get("/me", status=200)
    assert logout(op.key.token(claims(op.iss, CLIENT, sub="2001", events=event))) == 200
    lou.get("/me", status=401)
    assert logout(op.key.token(claims(op.iss, CLIENT, sub="nobody", events=event))) == 200


def test_disabled(hub, op):
    sign_on(hub, op, sub="3001", preferred_username="dora")
    hub.api.patch("/users/dora", {"state": "disabled"}, status=200)
    b, a = sign_on(hub, op, sub="3001", preferred_username="dora")
    assert a.status == 403 and "berth" not in b.cookies, a


def test_none_is_configured(db):
    with Hub(db, env={"BERTH_MIN_FREE": "0"}) as h:
        assert Client(h).request("GET", "/login/oidc").status == 404
