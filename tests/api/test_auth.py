"""Who may do what: challenges, the token endpoint as clients use it, rights (registries.md section 7)."""
import json
import re
import time
import urllib.parse

import pytest
from registry import basic, digest, dumps, index_doc, parse_challenge, quote

DOC = dumps(index_doc([]))


def post_token(hub, form, headers=()):
    return hub.anonymous().once("POST", "/token", [("Content-Type", "application/x-www-form-urlencoded")] + list(headers),
                                urllib.parse.urlencode(form).encode(), False, None)


def check_token(hub, a, life=300):
    assert a.status == 200 and a.get("Content-Type") == "application/json", a
    assert a.get("Cache-Control") == "no-store"
    doc = a.json()
    assert doc["token"] == doc["access_token"] and doc["expires_in"] == life
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", doc["issued_at"])
    assert "refresh_token" not in doc
    hub.secrets.add(doc["token"])
    return doc["token"]


# --- challenges
@pytest.mark.parametrize("method,path,scope", [
    ("GET", "manifests/latest", "pull"), ("HEAD", "manifests/latest", "pull"), ("GET", "tags/list", "pull"),
    ("GET", "blobs/" + digest(b""), "pull"), ("GET", "referrers/" + digest(b""), "pull"),
    ("POST", "blobs/uploads/", "pull,push"), ("PUT", "manifests/latest", "pull,push"),
    ("DELETE", "manifests/latest", "delete"), ("DELETE", "blobs/" + digest(b""), "delete"),
])
def test_challenge_names_the_scope(hub, anon, method, path, scope):
    for name in ("alice/secret", "bare", "library/bare", "a/b/c/d"):
        a = anon.request(method, "/v2/%s/%s" % (name, path), body=b"{}" if method == "PUT" else None)
        assert a.status == 401, a
        c = parse_challenge(a.get("WWW-Authenticate"))
        assert c["realm"] == hub.url + "/token" and c["service"] == hub.service
        assert c["scope"] == "repository:%s:%s" % (name, scope)  # the client's spelling
        assert method == "HEAD" or a.code == "UNAUTHORIZED"


@pytest.mark.parametrize("header", ids=lambda h: h[:20], argvalues=["Basic", "Bearer", "Basic ", "Bearer ", "Digest abc", "Basic !!!", "Basic YWJj", "Basic Og==",
                                    "Bearer x", "Bearer a.b.c", "bogus", "Basic YWxpY2U6d3Jvbmc=", "Bearer " + "a" * 9000,
                                    "Basic " + "QUFB" * 2500])
def test_bad_credentials_are_401_with_a_challenge(hub, header):
    """Also where anonymous callers are let in: wrong is not the same as none."""
    for path in ("/v2/", "/v2/library/x/manifests/y", "/v2/_catalog", "/v2/alice/x/tags/list"):
        a = hub.anonymous().get(path, headers=[("Authorization", header)])
        assert a.status == 401 and a.code == "UNAUTHORIZED", a
        c = parse_challenge(a.get("WWW-Authenticate"))
        assert c["realm"] == hub.url + "/token"
        if header.startswith("Bearer x") or header.startswith("Bearer a"):
            assert c["error"] == "invalid_token"


def test_two_authorization_headers(hub, alice):
    auth = basic("alice", alice.password)
    a = hub.anonymous().get("/v2/", headers=[("Authorization", auth), ("Authorization", auth)])
    assert a.status in (400, 401), a


def test_scheme_is_case_insensitive(hub, alice):
    auth = basic("alice", alice.password)
    token = alice.fetch_token()
    for header in (auth.replace("Basic", "basic"), auth.replace("Basic", "BASIC"), "bearer " + token, "BEARER " + token):
        assert hub.anonymous().get("/v2/", headers=[("Authorization", header)]).status == 200


# --- the token endpoint
def test_token_by_get_with_basic(hub, alice, repo):
    token = check_token(hub, alice.token_answer(["repository:%s:pull,push" % repo]))
    c = hub.client(token=token)
    c.push_blob(repo, b"x")
    assert c.get("/v2/%s/blobs/%s" % (repo, digest(b"x"))).status == 200


def test_token_anonymous(hub, admin, public_repo):
    admin.push_blob(public_repo, b"pub")
    token = check_token(hub, hub.anonymous().token_answer(["repository:%s:pull" % public_repo]))
    c = hub.client(token=token)
    assert c.get("/v2/%s/blobs/%s" % (public_repo, digest(b"pub"))).body == b"pub"
    assert c.get("/v2/").status == 200


def test_token_by_post(hub, alice, repo):
    """As containerd and buildkit send it."""
    form = {"grant_type": "password", "service": hub.service, "client_id": "containerd-client",
            "scope": "repository:%s:pull,push repository:%s-2:pull" % (repo, repo), "access_type": "offline",
            "username": "alice", "password": alice.password}
    token = check_token(hub, post_token(hub, form))
    hub.client(token=token).push_blob(repo, b"x")


@pytest.mark.parametrize("change", [{"password": "wrong-password"}, {"username": "nobody"}, {"username": ""},
                                    {"grant_type": "refresh_token", "refresh_token": "x"}, {"grant_type": ""},
                                    {"grant_type": "client_credentials"}])
def test_post_refusals_let_clients_fall_back(hub, alice, change):
    """containerd falls back to GET on 400, 401, 404; 403 or 500 would end it."""
    form = {"grant_type": "password", "service": hub.service, "username": "alice", "password": alice.password}
    form.update(change)
    a = post_token(hub, form)
    assert a.status in (400, 401), a
    assert a.status != 401 or a.get("WWW-Authenticate").startswith("Basic ")


def test_post_of_another_type(hub):
    c = hub.anonymous()
    for kind in ("application/json", "multipart/form-data; boundary=x", "text/plain"):
        a = c.once("POST", "/token", [("Content-Type", kind)], b"{}", False, None)
        assert a.status == 400, a
    a = c.once("POST", "/token", [("Content-Type", "application/x-www-form-urlencoded")], b"x=" + b"a" * (1 << 20), False, None)
    assert a.status == 413, a


def test_get_with_wrong_password(hub, alice):
    a = hub.client("alice", "wrong-password-1").token_answer(["repository:alice/x:pull"])
    assert a.status == 401 and a.get("WWW-Authenticate").startswith("Basic "), a


def test_scopes_in_one_value_and_repeated(hub, alice, repo):
    """All are read, not only the first."""
    names = ["%s-%d" % (repo, i) for i in range(4)]
    scopes = ["repository:%s:pull,push" % n for n in names]
    for asked in ([" ".join(scopes)], scopes, [" ".join(scopes[:2])] + scopes[2:]):
        c = hub.client(token=check_token(hub, alice.token_answer(asked)))
        for n in names:
            c.push_blob(n, b"x")


def test_other_parameters_are_ignored(hub, alice):
    a = alice.token_answer(["repository:alice/x:pull"], account="alice", client_id="docker", offline_token="true",
                           unknown="1")
    check_token(hub, a)


def test_token_without_scope(hub, alice):
    """docker login: any valid account gets one; it opens /v2/ and nothing else."""
    token = check_token(hub, alice.token_answer([]))
    c = hub.client(token=token)
    assert c.get("/v2/").status == 200
    a = c.get("/v2/alice/x/tags/list")
    assert a.status == 401 and parse_challenge(a.get("WWW-Authenticate"))["error"] == "insufficient_scope", a


@pytest.mark.parametrize("scope", ["nonsense", "repository:x", "a:b:c:d", ":::", "repository::pull", "repository:A/B:pull",
                                   "repository:alice/x:", "repository:alice/x:fly", "registry:catalog:pull", "x" * 300])
def test_scopes_not_understood_grant_nothing(hub, alice, scope):
    a = alice.token_answer([scope])
    assert a.status == 200, a
    token = check_token(hub, a)
    assert hub.client(token=token).get("/v2/alice/x/tags/list").status == 401


def test_too_many_scopes(hub, alice):
    """Less is granted, never an error: for each of many, and for names that fill a token."""
    for names in (["alice/x%d" % i for i in range(200)], ["alice/" + "y" * 240 + "/%d" % i for i in range(32)]):
        a = alice.token_answer(["repository:%s:pull,push" % n for n in names])
        assert a.status == 200, a
        c = hub.client(token=check_token(hub, a))
        assert c.post("/v2/%s/blobs/uploads/" % names[0]).status == 202
        assert c.post("/v2/%s/blobs/uploads/" % names[-1]).status == 401  # the client asks again


def test_post_with_several_scope_fields(hub, alice, repo):
    form = [("grant_type", "password"), ("service", hub.service), ("username", "alice"), ("password", alice.password),
            ("scope", "repository:%s:pull,push" % repo), ("scope", "repository:%s-2:pull,push" % repo)]
    c = hub.client(token=check_token(hub, post_token(hub, form)))
    for name in (repo, repo + "-2"):
        assert c.post("/v2/%s/blobs/uploads/" % name).status == 202


def test_less_is_granted_without_an_error(hub, alice, bob, repo):
    alice.push_blob(repo, b"x")
    token = check_token(hub, bob.token_answer(["repository:%s:pull,push,delete" % repo, "repository:bob/own:push"]))
    c = hub.client(token=token)
    assert c.get("/v2/%s/tags/list" % repo).status == 404
    c.push_blob("bob/own", b"y")


def test_pull_token_does_not_push(hub, alice, repo):
    alice.push_blob(repo, b"x")
    c = hub.client(token=alice.fetch_token("repository:%s:pull" % repo))
    assert c.get("/v2/%s/blobs/%s" % (repo, digest(b"x"))).status == 200
    for a in (c.post("/v2/%s/blobs/uploads/" % repo), c.put_manifest(repo, "t", DOC),
              c.delete("/v2/%s/blobs/%s" % (repo, digest(b"x")))):
        assert a.status == 401, a
        assert parse_challenge(a.get("WWW-Authenticate"))["error"] == "insufficient_scope"
    assert alice.get("/v2/%s/blobs/%s" % (repo, digest(b"x"))).status == 200


def test_star_grants_all_actions_the_user_has(hub, alice, repo):
    c = hub.client(token=alice.fetch_token("repository:%s:*" % repo))
    c.push_blob(repo, b"x")
    assert c.delete("/v2/%s/blobs/%s" % (repo, digest(b"x"))).status == 202


def test_scope_class_and_bare_names(hub, admin, public_repo):
    bare = public_repo.split("/")[1]
    admin.push_blob(public_repo, b"x")
    for scope in ("repository(plugin):%s:pull" % public_repo, "repository:%s:pull" % bare):
        c = hub.client(token=admin.fetch_token(scope))
        assert c.get("/v2/%s/blobs/%s" % (public_repo, digest(b"x"))).status == 200
        assert c.get("/v2/%s/blobs/%s" % (bare, digest(b"x"))).status == 200


def test_bearer_client_does_all(hub, repo, alice):
    """A client as docker is: no credentials first, then token by challenge."""
    c = hub.client("alice", alice.password, mode="bearer")
    d, doc = c.push_image(repo, "t")
    assert c.pull(repo, "t") == doc
    assert c.get("/v2/%s/tags/list" % repo).json()["tags"] == ["t"]
    assert c.delete("/v2/%s/manifests/t" % repo).status == 202


def test_token_expires(new_hub):
    h = new_hub(env={"BERTH_TOKEN_LIFE": "60s"})
    token = check_token(h, h.admin().token_answer(["repository:a1/b:pull"]), 60)
    part = token.split(".")[1]
    import base64
    claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    assert claims["exp"] - claims["iat"] == 60 and abs(claims["iat"] - time.time()) < 3600
    assert claims["aud"] == h.service and len(token) < 8192


# --- rights
def outcome(c, name):
    """What c may do with repository `name`: set of actions by trying them."""
    got = set()
    if c.get("/v2/%s/tags/list" % name).status == 200:
        got.add("pull")
    a = c.post("/v2/%s/blobs/uploads/" % name)
    if a.status == 202:
        got.add("push")
        assert c.delete(a.get("Location")).status == 204
    if c.delete("/v2/%s/manifests/%s" % (name, digest(b"none"))).code == "MANIFEST_UNKNOWN":
        got.add("delete")
    return got


def test_rights_by_namespace(hub, admin, alice, bob, anon, repo, public_repo):
    everything = {"pull", "push", "delete"}
    alice.push_blob(repo, b"x")
    admin.push_blob(public_repo, b"x")
    team = "team-" + repo.split("/")[1] + "/app"
    admin.push_blob(team, b"x")
    want = {
        (admin, repo): everything, (alice, repo): everything, (bob, repo): set(), (anon, repo): set(),
        (admin, public_repo): everything, (alice, public_repo): {"pull"}, (anon, public_repo): {"pull"},
        (admin, team): everything, (alice, team): set(), (anon, team): set(),
    }
    for (c, name), actions in want.items():
        assert outcome(c, name) == actions, (c.user, name)


def test_answers_follow_the_table(hub, admin, alice, bob, anon, repo, public_repo):
    """ident.h, "Answers": each refusal by who asks."""
    alice.push_blob(repo, b"x")
    admin.push_blob(public_repo, b"x")
    for name in (repo, repo + "-absent", "nowhere/x"):
        a = bob.get("/v2/%s/tags/list" % name)
        assert a.status == 404 and a.code == "NAME_UNKNOWN", a
        a = bob.delete("/v2/%s/manifests/t" % name)
        assert a.status == 404 and a.code == "NAME_UNKNOWN", a
        for a in (bob.post("/v2/%s/blobs/uploads/" % name), bob.put_manifest(name, "t", DOC)):
            assert a.status == 403 and a.code == "DENIED", a
        assert anon.get("/v2/%s/tags/list" % name).status == 401
    for a in (bob.post("/v2/%s/blobs/uploads/" % public_repo), bob.delete("/v2/%s/manifests/t" % public_repo)):
        assert a.status == 403 and a.code == "DENIED", a
    assert anon.post("/v2/%s/blobs/uploads/" % public_repo).status == 401


def test_first_push_makes_the_repository_and_an_administrator_the_namespace(hub, admin, alice, repo):
    name = "new-" + repo.split("/")[1][-40:].strip("-") + "/x/y"  # a namespace has at most 64 characters
    assert alice.post("/v2/%s/blobs/uploads/" % name).status == 403
    assert admin.get("/v2/%s/tags/list" % name).status == 404
    admin.push_blob(name, b"x")
    assert admin.get("/v2/%s/tags/list" % name).status == 200
    assert alice.get("/v2/%s/tags/list" % name).status == 404


def test_password_change_and_removal_end_access_at_once(hub):
    c = hub.add_user("dave")
    token = c.fetch_token("repository:dave/x:pull,push")
    t = hub.client(token=token)
    t.push_blob("dave/x", b"x")
    c.push_blob("dave/x", b"y")
    hub.secrets.add("another-password-9")
    hub.command("user", "passwd", "dave", stdin="another-password-9\n")
    assert c.get("/v2/").status == 401
    assert t.get("/v2/dave/x/tags/list").status == 401
    c2 = hub.client("dave", "another-password-9")
    t2 = hub.client(token=c2.fetch_token("repository:dave/x:pull"))
    assert c2.get("/v2/").status == 200 and t2.get("/v2/dave/x/tags/list").status == 200
    hub.command("user", "remove", "dave")
    assert c2.get("/v2/").status == 401 and t2.get("/v2/dave/x/tags/list").status == 401


def test_users_are_listed(hub):
    out = hub.command("user", "list", "--json").stdout
    names = re.findall(r'"name": ?"([a-z-]+)"', out)
    assert {"admin", "alice", "bob"} <= set(names), out


def test_password_with_odd_characters(hub):
    """A colon, spaces, non-ASCII: the first colon of Basic parts user and password."""
    password = "a:b c:ü%4E\"\\ 12"
    hub.add_user("erin", password)  # clients send UTF-8
    import base64
    raw = "Basic " + base64.b64encode(("erin:" + password).encode("utf-8")).decode()
    assert hub.anonymous().get("/v2/", headers=[("Authorization", raw)]).status == 200
    form = {"grant_type": "password", "username": "erin", "password": password}
    check_token(hub, post_token(hub, form))


def test_repository_names_in_scopes_are_canonical(hub, alice):
    """library/x and x are one; nothing else is."""
    token = alice.fetch_token("repository:alice/x:pull,push")
    c = hub.client(token=token)
    for name in ("alice/x/y", "alice/xx", "alice/x-y", "x"):
        assert c.post("/v2/%s/blobs/uploads/" % name).status in (401, 403)
    assert c.post("/v2/%s/blobs/uploads/" % "alice/x").status == 202


def test_quoted_paths_reach_the_same_rights(hub, alice, bob, repo):
    d, doc = alice.push_image(repo, "t")
    for path in ("/v2/%s/manifests/t" % quote(repo), "/v2/%s/manifests/t" % repo.replace("a", "%61")):
        a, b = alice.get(path), bob.get(path)
        assert b.status in (400, 404), b
        assert a.status in (200, 400, 404) and (a.status != 200 or a.body == doc)


# The texts that distribution's client (docker, skopeo, podman) takes for its own: an answer with one of them and
# without detail becomes a bare code there, which docker does not know as final: it repeats a denied push for 50 seconds.
DISTRIBUTION_TEXTS = {"UNAUTHORIZED": "authentication required", "DENIED": "requested access to the resource is denied",
                      "NAME_UNKNOWN": "repository name not known to registry", "TOOMANYREQUESTS": "too many requests",
                      "UNSUPPORTED": "The operation is unsupported.", "MANIFEST_UNKNOWN": "manifest unknown"}


def test_refusals_are_final_for_docker(hub, alice, anon):
    upload = "/v2/bob/x/blobs/uploads/"
    for c, want in ((anon, "UNAUTHORIZED"), (hub.client(mode="bearer"), "UNAUTHORIZED"), (alice, "DENIED")):
        a = c.post(upload)
        assert a.code == want and a.message != DISTRIBUTION_TEXTS[want], a
    a = alice.get("/v2/bob/x/tags/list")
    assert a.code == "NAME_UNKNOWN" and a.message != DISTRIBUTION_TEXTS[a.code], a
    alice.push_blob("alice/final", b"x")
    a = alice.get("/v2/alice/final/manifests/missing")
    assert a.code == "MANIFEST_UNKNOWN" and a.message != DISTRIBUTION_TEXTS[a.code], a


def test_an_anonymous_token_is_told_what_it_lacks(hub, alice, repo):
    """RFC 6750 3.1, alike for what is private and what is not there; containerd stops on it."""
    alice.push_image(repo, "t")
    nobody, seen = hub.client(mode="bearer"), []
    for name in (repo, repo + "-never"):
        for a in (nobody.get("/v2/%s/manifests/t" % name), nobody.post("/v2/%s/blobs/uploads/" % name)):
            assert a.status == 401, a
            seen.append((parse_challenge(a.get("WWW-Authenticate"))["error"], a.body))
    assert {e for e, _ in seen} == {"insufficient_scope"} and seen[:2] == seen[2:]
