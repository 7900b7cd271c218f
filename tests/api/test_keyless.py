"""Keyless CI: an organization trusts an issuer's tokens (docs/keyless.md). The issuer is real HTTPS; its tokens have the
shapes of GitHub Actions, GitLab and Kubernetes."""
import json
import re
import shutil
import tempfile
import threading
import time
import urllib.parse

import pytest

from api import Api
from berth import Hub
from issuer import Issuer, Key, b64, claims, hs256
from registry import Client, basic

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"


class World:
    def __init__(self, hub, issuer):
        self.hub, self.issuer = hub, issuer
        self.keys = {"rsa": Key("rsa-1"), "ec": Key("ec-1", "ES256"), "other": Key("rsa-1")}
        self.github = issuer.add("github", self.keys["rsa"], self.keys["ec"])
        self.evil = issuer.add("evil", self.keys["other"])
        hub.add_user("olga")
        hub.add_user("mallory")
        self.olga, self.mallory = (Api(hub, u, "pw-of-%s-4711" % u) for u in ("olga", "mallory"))
        self.anon = Client(hub)
        self.n = 0

    def org(self, api=None):
        self.n += 1
        name = "org-%d" % self.n
        (api or self.olga).post("/orgs", {"name": name}, status=201)
        return name

    def rule(self, org, api=None, status=201, **more):
        doc = {"name": "deploy", "issuer": self.github, "claims": [{"claim": "repository", "pattern": "acme/app"}],
               "bounds": [{"pattern": org + "/*", "scope": "write"}]}
        doc.update(more)
        return (api or self.olga).post("/orgs/%s/trust-rules" % org, doc, status=status).data

    def audience(self, org):
        return "%s/%s" % (self.hub.url, org)

    def claims(self, org, **more):
        doc = dict(repository="acme/app", sub="repo:acme/app:ref:refs/heads/main", ref="refs/heads/main", repository_owner="acme",
                   workflow="deploy", run_id="17")
        doc.update(more)
        return claims(doc.pop("iss", self.github), doc.pop("aud", self.audience(org)), **doc)

    def token(self, org, key="rsa", header=None, **more):
        return self.keys[key].token(self.claims(org, **more), **(header or {}))

    def exchange(self, token, status=200, rule=None, **form):
        fields = dict({"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": JWT}, **form)
        if rule is not None:
            fields["rule"] = rule
        if len(token) > 20:
            self.hub.secrets.add(token)
        a = self.anon.request("POST", "/api/v1/token", [("Content-Type", "application/x-www-form-urlencoded")],
                              urllib.parse.urlencode(fields).encode())
        assert a.status == status, a
        doc = a.json()
        if status == 200:
            self.hub.secrets.add(doc["access_token"])
            assert doc["token_type"] == "Bearer" and re.fullmatch("bkt_[a-z2-7]{58}", doc["access_token"]), doc
        return doc

    def login(self, token, user="oidc", scope=None):
        """As docker login: Basic at the token endpoint."""
        self.hub.secrets.add(token)
        path = "/token?service=%s" % self.hub.service + ("&scope=" + scope if scope else "")
        return self.anon.request("GET", path, [("Authorization", basic(user, token))])


@pytest.fixture(scope="module")
def world(db):
    folder = tempfile.mkdtemp(prefix="berth-issuer-")
    issuer = Issuer(folder)
    env = {"BERTH_MAX_LOGINS_PER_ADDRESS": "0", "BERTH_MIN_FREE": "0", "BERTH_EGRESS_CA": issuer.ca, "BERTH_EGRESS_ALLOW": "127.0.0.1",
           "BERTH_WORKERS": "4"}
    with Hub(db, env=env) as hub:
        w = World(hub, issuer)
        yield w
        for c in (w.olga, w.mallory, w.anon):
            c.close()
    issuer.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def org(world):
    return world.org()


def pushes(world, org, name="app", **auth):
    c = Client(world.hub, **auth)
    try:
        a = c.request("POST", "/v2/%s/%s/blobs/uploads/" % (org, name))
        return a.status
    finally:
        c.close()


# --- what works

def test_exchange_gives_what_the_rule_gives(world, org):
    rule = world.rule(org, bounds=[{"pattern": org + "/app", "scope": "write"}])
    assert rule["audience"] == world.audience(org) and rule["life_seconds"] == 900 and rule["jwks"] is None
    doc = world.exchange(world.token(org))
    assert doc["issued_token_type"].endswith(":access_token") and 890 <= doc["expires_in"] <= 900
    text = doc["access_token"]
    assert pushes(world, org, token=text) == 202                              # Bearer
    assert pushes(world, org, user="x" * 3, password=text, mode="basic") == 401  # whose token is it? not xxx's
    assert pushes(world, org, user=org, password=text, mode="basic") == 202
    assert pushes(world, org, user=org, password=text, mode="bearer") == 202  # as docker does
    assert pushes(world, org, "other", token=text) == 403                     # outside its bounds
    assert pushes(world, "olga", token=text) == 403
    api = Api(world.hub, token=text)
    assert api.get("/orgs/%s/trust-rules" % org).status == 403                # never by token
    assert api.get("/me", status=200).data["name"] == org
    api.close()


def test_docker_login(world, org):
    world.rule(org)
    token = world.token(org)
    a = world.login(token, scope="repository:%s/app:pull,push" % org)
    assert a.status == 200, a
    assert pushes(world, org, token=a.json()["token"]) == 202
    assert pushes(world, org, user="oidc", password=token, mode="basic") == 202  # at the gate, too
    c = Client(world.hub, "oidc", token, "bearer")
    c.push_image("%s/app" % org, "one")
    assert c.get("/v2/%s/app/manifests/one" % org).status == 200
    c.close()
    for user in ("oidc/" + org, "oidc/%s/deploy" % org):
        assert world.login(token, user).status == 200, user
    for user in ("oidc/%s/other" % org, "oidc/olga", "olga", "oidcx"):
        assert world.login(token, user).status == 401, user


def test_rules_add_up_and_patterns_match(world, org):
    world.rule(org, name="pull", bounds=[{"pattern": org + "/*", "scope": "read"}],
               claims=[{"claim": "sub", "pattern": "repo:acme/*:ref:refs/heads/*"}])
    world.rule(org, name="push", bounds=[{"pattern": org + "/*", "scope": "write"}], life_seconds=120,
               claims=[{"claim": "repository", "pattern": "acme/app"}, {"claim": "ref", "pattern": "refs/heads/main"}])
    main, branch = world.token(org), world.token(org, ref="refs/heads/x", sub="repo:acme/app:ref:refs/heads/x")
    assert pushes(world, org, token=world.exchange(main)["access_token"]) == 202
    assert world.exchange(main)["expires_in"] <= 120                          # the shortest life
    assert pushes(world, org, token=world.exchange(branch)["access_token"]) == 403
    assert pushes(world, org, token=world.exchange(main, rule=org + "/pull")["access_token"]) == 403


def test_gitlab_and_kubernetes(world, org):
    world.rule(org, name="gitlab", claims=[{"claim": "project_path", "pattern": "group/*"}, {"claim": "ref_protected", "pattern": "true"},
                                           {"claim": "project_id", "pattern": "42"}])
    world.exchange(world.token(org, "ec", repository=None, project_path="group/app", ref_protected="true", project_id=42,
                               sub="project_path:group/app:ref_type:branch:ref:main"))
    world.exchange(world.token(org, repository=None, project_path="group/app", ref_protected=True, project_id="42"))
    world.exchange(world.token(org, repository=None, project_path="group/app", ref_protected=False, project_id=42), 400)
    cluster = Key("k8s")
    jwks = json.dumps({"keys": [cluster.jwk()]})
    iss = "https://kubernetes.default.svc.cluster.local"
    world.rule(org, name="cluster", issuer=iss, jwks=jwks, claims=[{"claim": "sub", "pattern": "system:serviceaccount:ci:*"}])
    good = claims(iss, [world.audience(org), "other"], sub="system:serviceaccount:ci:builder",
                  **{"kubernetes.io": {"namespace": "ci", "serviceaccount": {"name": "builder"}}})
    world.exchange(cluster.token(good))
    world.exchange(Key("k8s").token(good), 400)
    world.exchange(cluster.token(dict(good, sub="system:serviceaccount:prod:ci:x")), 400)


def test_keys_are_remembered_and_renewed(world, org):
    first, second, third = Key("one"), Key("two"), Key("three")
    iss = world.issuer.add("turning", first)
    world.rule(org, issuer=iss)

    def sign(key):
        return key.token(world.claims(org, iss=iss))
    for _ in range(5):
        world.exchange(sign(first))
    assert world.issuer.count("turning") == 2                                 # configuration and keys
    world.issuer.add("turning", first, second)
    world.exchange(sign(second))                                              # unknown here: asked for again
    assert world.issuer.count("turning") == 4
    world.issuer.add("turning", third)
    for _ in range(5):
        world.exchange(sign(third), 400)                                      # not twice in a minute
    assert world.issuer.count("turning") == 4
    world.exchange(sign(first))


def test_it_ends(world, org):
    rule = world.rule(org)
    token = world.token(org)
    text = world.exchange(token)["access_token"]
    bearer = world.login(token, scope="repository:%s/app:push" % org).json()["token"]
    assert pushes(world, org, token=bearer) == 202
    path = "/orgs/%s/trust-rules/%d" % (org, rule["id"])
    world.olga.patch(path, {"claims": [{"claim": "repository", "pattern": "acme/other"}]}, status=200)
    assert pushes(world, org, token=text) == 401 and pushes(world, org, token=bearer) == 401
    assert world.login(token).status == 401
    world.olga.patch(path, {"claims": [{"claim": "repository", "pattern": "acme/app"}], "bounds": [{"pattern": org + "/*", "scope": "read"}]},
                     status=200)
    assert world.login(token).status == 200                                   # the same token, verified anew
    assert pushes(world, org, user="oidc", password=token, mode="basic") == 403
    text = world.exchange(token)["access_token"]
    world.olga.post("/tokens/revoke", {"token": text}, status=204)            # by its text
    assert pushes(world, org, token=text) == 401
    text = world.exchange(token)["access_token"]
    world.olga.delete(path, status=204)
    assert pushes(world, org, token=text) == 401
    world.exchange(token, 400)
    assert world.login(token).status == 401


def test_the_log_says_who(world, org):
    world.rule(org)
    world.exchange(world.token(org))
    admin = Api(world.hub, "admin", world.hub.admin_password)
    rows = admin.all("/audit", account=org)
    admin.close()
    login = next(r for r in rows if r["action"] == "org.keyless.login")
    assert login["actor"] == org and login["object"] == "deploy", login
    assert json.loads(login["data"]) == {"issuer": world.github, "subject": "repo:acme/app:ref:refs/heads/main"}, login
    actions = [r["action"] for r in rows]
    assert "org.trust_rule.create" in actions


# --- what does not

def altered(token, at):
    parts = token.split(".")
    parts[at] = parts[at][:-2] + ("A" if parts[at][-2] != "A" else "B") + parts[at][-1]
    return ".".join(parts)


def test_negative_flows(world, org):
    """Each differs in one thing from one that is taken."""
    rule = world.rule(org, claims=[{"claim": "repository", "pattern": "acme/app"}, {"claim": "ref", "pattern": "refs/heads/*"}])
    world.exchange(world.token(org))
    now, rsa, c = int(time.time()), world.keys["rsa"], world.claims
    head = b64(json.dumps({"alg": "none", "typ": "JWT"}).encode())
    none = head + "." + b64(json.dumps(c(org)).encode()) + "."
    t = world.token
    flows = {
        "alg none": none,
        "alg none with a signature": none + b64(b"x" * 256),
        "alg None": b64(b'{"alg":"None","kid":"rsa-1"}') + none[len(head):],
        "HS256 with the public key": hs256(rsa.pem(), c(org), "rsa-1"),
        "HS256 with the key's JSON": hs256(json.dumps(rsa.jwk()).encode(), c(org), "rsa-1"),
        "alg of another key": t(org, header={"alg": "ES256"}),
        "alg RS512 for an RS256 signature": t(org, header={"alg": "RS512"}),
        "key in the header": t(org, "other", header={"jwk": world.keys["other"].jwk()}),
        "key's address in the header": t(org, "other", header={"jku": world.evil + "/keys"}),
        "critical extension": t(org, header={"crit": ["exp"]}),
        "key of another issuer, same kid": t(org, "other"),
        "another issuer's token": t(org, "other", iss=world.evil),
        "issuer with a slash more": t(org, iss=world.github + "/"),
        "issuer in upper case": t(org, iss=world.github.upper()),
        "no issuer": t(org, iss=None),
        "issuers in a list": t(org, iss=[world.github]),
        "another audience": t(org, aud="https://hub.example"),
        "audience with a slash more": t(org, aud=world.audience(org) + "/"),
        "audience cut short": t(org, aud=world.audience(org)[:-1]),
        "no audience": t(org, aud=None),
        "audience inside an object": t(org, aud={"a": world.audience(org)}),
        "expired": t(org, exp=now - 120),
        "never expires": t(org, exp=None),
        "expiry as text": t(org, exp=str(now + 300)),
        "not yet valid": t(org, nbf=now + 300),
        "issued in the future": t(org, iat=now + 300),
        "kid unknown": t(org, header={"kid": "rsa-2"}),
        "kid as a path": t(org, header={"kid": "../../rsa-1"}),
        "no kid, two keys of other kinds but wrong alg": t(org, header={"kid": None, "alg": "PS256"}),
        "no subject": t(org, sub=None),
        "claim longer": t(org, repository="acme/app2"),
        "claim shorter": t(org, repository="acme/ap"),
        "claim in upper case": t(org, repository="ACME/app"),
        "claim of another owner": t(org, repository="evil/acme/app"),
        "claim is a list": t(org, repository=["acme/app"]),
        "claim is missing": t(org, repository=None),
        "star does not cross a slash": t(org, ref="refs/heads/a/b"),
        "star does not cross a colon": t(org, ref="refs/heads/a:b"),
        "claim before the pattern": t(org, ref="xrefs/heads/main"),
        "signature altered": altered(t(org), 2),
        "claims altered": altered(t(org), 1),
        "header altered": altered(t(org), 0),
        "signature cut off": t(org).rsplit(".", 1)[0] + ".",
        "two parts": t(org).rsplit(".", 1)[0],
        "four parts": t(org) + ".e30",
        "key twice in the claims": None,
        "huge": t(org, junk="x" * 20000),
        "a personal token": world.olga.post("/tokens", {"name": "t"}, status=201).data["token"],
        "nothing": "",
    }
    head, body = b64(b'{"alg":"RS256","kid":"rsa-1"}'), json.dumps(c(org, aud="x"))
    body = b64((body[:-1] + ', "aud": "%s"}' % world.audience(org)).encode())
    flows["key twice in the claims"] = "%s.%s.%s" % (head, body, b64(rsa.sign((head + "." + body).encode())))
    assert len(flows) >= 45
    for name, token in flows.items():
        doc = world.exchange(token or "x", 400)
        assert doc["error"] == "invalid_grant", (name, doc)
        if token.startswith("ey") and len(token) < 8000:
            assert world.login(token).status == 401, name
    assert world.issuer.count("evil") == 0
    world.olga.delete("/orgs/%s/trust-rules/%d" % (org, rule["id"]), status=204)


def test_form(world, org):
    world.rule(org)
    token = world.token(org)
    assert world.exchange(token, 400, grant_type="password")["error"] == "unsupported_grant_type"
    assert world.exchange(token, 400, subject_token_type="urn:ietf:params:oauth:token-type:saml2")["error"] == "invalid_request"
    a = world.anon.request("POST", "/api/v1/token", [("Content-Type", "application/json")], b"{}")
    assert a.status == 400 and a.json()["error"] == "invalid_request"


def test_rules_are_sound_and_owners_alone_make_them(world, org):
    def fields(**more):
        return {e["field"] for e in world.rule(org, status=400, **more)["errors"]}
    other = world.org(world.mallory)
    assert fields(bounds=[{"pattern": other + "/*", "scope": "read"}]) == {"bounds"}
    assert fields(claims=[{"claim": "repository", "pattern": "*"}]) == {"claims"}
    assert fields(claims=[]) == {"claims"}
    assert any(f.startswith("claims") for f in fields(claims=[{"claim": "iss", "pattern": "x"}]))
    assert fields(issuer="http://issuer.example") == {"issuer"}
    assert fields(issuer="https://10.1.2.3") == {"issuer"}
    assert fields(issuer="https://[::1]:8443") == {"issuer"}
    assert fields(issuer="https://169.254.169.254/latest") == {"issuer"}
    assert fields(issuer="https://user@issuer.example") == {"issuer"}
    assert fields(jwks="{}") == {"jwks"}
    assert fields(jwks='{"keys":[]}') == {"jwks"}
    assert fields(life_seconds=901) == {"life_seconds"}
    path = "/orgs/%s/trust-rules" % org
    rule = world.rule(org)
    world.rule(org, status=409)
    assert [r["name"] for r in world.olga.all(path)] == ["deploy"]
    assert world.olga.get("%s/%d" % (path, rule["id"]), status=200).data == rule
    for call in (lambda **k: world.mallory.get(path, **k), lambda **k: world.mallory.delete("%s/%d" % (path, rule["id"]), **k)):
        call(status=404)
    world.olga.get("/orgs/%s/trust-rules/%d" % (world.org(), rule["id"]), status=404)


def test_two_organizations_that_trust_the_same(world, org):
    """Mallory cannot take a login over, nor stand in the way of who names the organization."""
    other = world.org(world.mallory)
    world.rule(org)
    world.rule(other, world.mallory, audience=world.audience(org))
    token = world.token(org)
    assert "several" in world.exchange(token, 400)["error_description"]
    text = world.exchange(token, rule=org)["access_token"]
    assert pushes(world, org, token=text) == 202 and pushes(world, other, token=text) == 403
    assert world.login(token, "oidc/" + org).status == 200
    world.olga.post("/tokens/revoke", {"token": text}, status=204)
    forged = Key("forged")   # a rule with keys of one's own says nothing about other organizations
    world.rule(other, world.mallory, name="static", audience=world.audience(org), jwks=json.dumps({"keys": [forged.jwk()]}))
    text = world.exchange(forged.token(world.claims(org)))["access_token"]
    assert pushes(world, org, token=text) in (401, 403) and pushes(world, other, token=text) == 202
    world.exchange(forged.token(world.claims(org)), 400, rule=org)


def bad_issuers(world):
    key, issuer = world.keys["rsa"], world.issuer
    made = {}
    made["redirect"] = issuer.add("redirect", key)
    issuer.routes["/redirect/.well-known/openid-configuration"] = lambda h: h.reply(302, Location=world.github + "/.well-known/openid-configuration")
    made["keys-redirect"] = issuer.add("keys-redirect", key)
    issuer.routes["/keys-redirect/keys"] = lambda h: h.reply(307, Location=world.github + "/keys")
    made["another"] = issuer.add("another", key, issuer=world.github)
    made["slash"] = issuer.add("slash", key, issuer=issuer.url + "/slash/")
    made["huge"] = issuer.add("huge", key)
    issuer.routes["/huge/keys"] = {"keys": [key.jwk()], "junk": "x" * 300000}
    made["many"] = issuer.add("many", *[key] * 70)
    made["private-key"] = issuer.add("private-key", key)
    issuer.routes["/private-key/keys"] = {"keys": [dict(key.jwk(), d="AQAB")]}
    made["plain"] = issuer.add("plain", key, jwks_uri="http://127.0.0.1:8080/keys")
    made["metadata"] = issuer.add("metadata", key, jwks_uri="https://169.254.169.254/keys")
    made["file"] = issuer.add("file", key, jwks_uri="file:///etc/passwd")
    made["none"] = issuer.add("none", key, jwks_uri=None)
    made["html"] = issuer.add("html", key)
    issuer.routes["/html/.well-known/openid-configuration"] = lambda h: h.reply(200, b"<html>")
    made["absent"] = issuer.url + "/absent"
    return made


def test_bad_issuers(world, org):
    """Whatever else they answer, nothing is taken; and a failure is remembered."""
    for name, iss in bad_issuers(world).items():
        world.rule(org, name=name, issuer=iss)
        token = world.keys["rsa"].token(world.claims(org, iss=iss))
        for _ in range(3):
            a = world.anon.request("POST", "/api/v1/token", [("Content-Type", "application/x-www-form-urlencoded")], urllib.parse.urlencode(
                {"grant_type": EXCHANGE, "subject_token": token, "subject_token_type": JWT}).encode())
            assert a.status == 503, (name, a)
            assert b"127.0.0.1" not in a.body and b"169.254" not in a.body, (name, a)
        assert world.issuer.count(name) <= 2, name


def test_a_private_issuer_is_the_operators_to_allow(db, world):
    """Without egress_allow a tenant's rule leads nowhere near the hub's own network, by address or by name."""
    with Hub(db, env={"BERTH_EGRESS_CA": world.issuer.ca, "BERTH_MIN_FREE": "0"}) as hub:
        api = Api(hub, "admin", hub.admin_password)
        api.post("/orgs", {"name": "acme"}, status=201)
        doc = {"name": "ci", "issuer": world.github, "claims": [{"claim": "sub", "pattern": "x"}], "bounds": [{"pattern": "*", "scope": "read"}]}
        assert [e["field"] for e in api.post("/orgs/acme/trust-rules", doc, status=400).data["errors"]] == ["issuer"]
        named = world.github.replace("127.0.0.1", "localhost")
        api.post("/orgs/acme/trust-rules", dict(doc, issuer=named), status=201)
        before, c = len(world.issuer.hits), Client(hub)
        token = world.keys["rsa"].token(claims(named, hub.url + "/acme", sub="x"))
        a = c.request("GET", "/token", [("Authorization", basic("oidc", token))])
        assert a.status == 503 and len(world.issuer.hits) == before, a
        assert hub.wait_log(lambda r: r["msg"] == "an issuer's keys cannot be had" and "egress_allow" in r["error"])
        api.close()
        c.close()


def test_a_slow_issuer_slows_nobody_else(world, org):
    """More logins wait than there are workers; a pull that needs a worker is answered meanwhile."""
    iss = world.issuer.add("slow")
    go = threading.Event()

    def wait(handler):
        go.wait(30)
        handler.reply(404)
    world.issuer.routes["/slow/.well-known/openid-configuration"] = wait
    world.rule(org, issuer=iss)
    world.rule(org, name="good")
    token = world.keys["rsa"].token(world.claims(org, iss=iss))
    seen = []

    def ask():
        c = Client(world.hub)
        seen.append(c.request("GET", "/token", [("Authorization", basic("oidc", token))]).status)
        c.close()
    threads = [threading.Thread(target=ask) for _ in range(12)]
    for t in threads:
        t.start()
    world.hub.until(lambda: world.issuer.count("slow") == 1, "the slow issuer is asked")
    assert world.login(world.token(org)).status == 200
    world.olga.get("/orgs/" + org, status=200)
    assert not go.is_set() and world.issuer.count("slow") == 1
    go.set()
    for t in threads:
        t.join(60)
    assert len(seen) == 12 and set(seen) <= {503, 429}, seen


def test_name_is_reserved(world):
    world.olga.post("/orgs", {"name": "oidc"}, status=400)
