"""Threats to identity and rights. Each test bears the id of its threat in the threat model (T01...)."""
import base64
import glob
import hashlib
import hmac
import itertools
import json
import os
import re
import stat
import subprocess
import urllib.parse

import pytest
from berth import ROOT, Hub
from rawhttp import build
from registry import basic, digest, dumps, index_doc, parse_challenge

DOC = dumps(index_doc([]))


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def statuses(hub, requests):
    """Sends all on few connections, pipelined; returns the answers."""
    out = []
    for i in range(0, len(requests), 100):
        with hub.connect() as c:
            part = requests[i:i + 100]
            c.send(b"".join(part))
            out += [c.answer() for _ in part]
    return out


# --- T01 token forgery
def attackers_key(folder):
    path = str(folder / "attacker.pem")
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", path], check=True)
    public = subprocess.run(["openssl", "pkey", "-in", path, "-pubout", "-outform", "DER"], check=True,
                            stdout=subprocess.PIPE).stdout[-32:]
    return path, public


def signed(folder, key, head, claims):
    text = b64(dumps(head) if isinstance(head, dict) else head) + "." + b64(dumps(claims) if isinstance(claims, dict) else claims)
    message = folder / "message"
    message.write_bytes(text.encode())
    sig = subprocess.run(["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", str(message)], check=True,
                         stdout=subprocess.PIPE).stdout
    assert len(sig) == 64
    return text + "." + b64(sig)


def forged_heads(head, public):
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64(public), "kid": head["kid"]}
    for alg in ("none", "None", "NONE", "", "HS256", "HS512", "RS256", "ES256", "PS256", "eddsa", "EDDSA", "Ed25519", None, 5, ["EdDSA"]):
        yield dict(head, alg=alg)
    for more in ({"jwk": jwk}, {"jku": "http://127.0.0.1:1/k"}, {"x5c": ["MIIB"]}, {"x5u": "http://127.0.0.1:1/c"}, {"crit": ["x"]},
                 {"crit": []}, {"b64": False}, {"kid": "other"}, {"kid": ""}, {"kid": "../../keys/token.seed"},
                 {"kid": "' OR 1=1 --"}, {"kid": None}, {"typ": "at+jwt"}, {"cty": "JWT"}, {"zip": "DEF"}, {"x5t": "a"}):
        yield dict(head, **more)
    yield {"alg": "EdDSA"}
    yield {}
    raw = dumps(head)
    yield raw[:-1] + b',"alg":"none"}'
    yield b'{"alg":"none",' + raw[1:]
    yield b"[" + raw + b"]"
    yield b" " + raw


def forged_tokens(token, folder):
    head, claims, sig = token.split(".")
    h, c = json.loads(unb64(head)), json.loads(unb64(claims))
    key, public = attackers_key(folder)
    admin = dict(c, sub="admin", access=[{"type": "repository", "name": "alice/secret", "actions": ["pull", "push", "delete"]}])
    out = []
    for new_head in forged_heads(h, public):
        text = b64(dumps(new_head) if isinstance(new_head, dict) else new_head)
        for body in (claims, b64(dumps(admin))):
            unsigned = text + "." + body
            out += [unsigned + ".", unsigned, unsigned + "." + sig, unsigned + "." + b64(bytes(64))]
            for secret in (b"", b"secret", h["kid"].encode(), public):
                for f in (hashlib.sha256, hashlib.sha512):
                    out.append(unsigned + "." + b64(hmac.new(secret, unsigned.encode(), f).digest()))
        out.append(signed(folder, key, new_head, admin))
    for change in ({"sub": "admin"}, {"exp": c["exp"] + 9999}, {"aud": "x"}, {"epoch": 99}, {"access": admin["access"]}):
        out.append(head + "." + b64(dumps(dict(c, **change))) + "." + sig)
    out += [token + ".", token + ".x", "." + token, token + "=", token[:-1], token + "A", head + "=." + claims + "." + sig,
            token.replace(".", ".."), token.upper(), token + "\x41" * 60, head + "." + claims + "." + sig.replace("-", "+"),
            "Bearer " + token, " ".join(token.split(".")), token * 2, token * 30]
    if "-" not in sig and "_" not in sig:  # the standard alphabet differs only where these occur
        out.remove(head + "." + claims + "." + sig.replace("-", "+"))
    elif "-" not in sig:
        out[out.index(head + "." + claims + "." + sig.replace("-", "+"))] = head + "." + claims + "." + sig.replace("_", "/")
    return out


def test_T01_forged_tokens(hub, alice, tmp_path):
    """None of some 700 forgeries opens anything, the genuine one does."""
    alice.push_blob("alice/secret", b"x")
    token = alice.fetch_token("repository:alice/secret:pull")
    path = "/v2/alice/secret/tags/list"
    assert hub.client(token=token).get(path).status == 200
    forged = forged_tokens(token, tmp_path)
    assert len(forged) > 300 and token not in forged
    answers = statuses(hub, [build("GET", path, [("Authorization", "Bearer " + t)]) for t in forged])
    assert [t for t, a in zip(forged, answers) if a.status != 401] == []
    assert hub.client(token=token).get(path).status == 200


def test_T01_bit_flips(hub, alice):
    """10,000 tokens that differ from a genuine one in a bit: accepted means equal."""
    import random
    rng = random.Random(1)
    alice.push_blob("alice/secret", b"x")
    token = alice.fetch_token("repository:alice/secret:pull")
    flipped = set()
    while len(flipped) < 10000:
        raw = bytearray(token, "ascii")
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(7)
        if all(0x21 <= b < 0x7f for b in raw) and raw.decode() != token:
            flipped.add(raw.decode())
    flipped = sorted(flipped)
    # every value of the last character: its unused bits must not be ignored
    flipped += [token[:-1] + ch for ch in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" if ch != token[-1]]
    answers = statuses(hub, [build("GET", "/v2/alice/secret/tags/list", [("Authorization", "Bearer " + t)]) for t in flipped])
    assert [t for t, a in zip(flipped, answers) if a.status != 401] == []


def test_T01_no_two_installations_share_a_key(new_hub, hub, alice):
    """A token of one hub is nothing at another, although names, users and passwords agree."""
    other = new_hub()
    c = other.add_user("alice", alice.password)
    c.push_blob("alice/secret", b"x")
    seeds = [open(h.data + "/keys/token.seed", "rb").read() for h in (hub, other)]
    assert seeds[0] != seeds[1] and all(len(s) == 32 for s in seeds)
    foreign = alice.fetch_token("repository:alice/secret:pull")
    assert other.client(token=foreign).get("/v2/alice/secret/tags/list").status == 401
    assert other.client(token=c.fetch_token("repository:alice/secret:pull")).get("/v2/alice/secret/tags/list").status == 200


# --- T02 scope escalation
def model_rights(who, repo):
    """The rule in three lines, written apart from the server's."""
    owner, visible = repo.split("/")[0], repo.startswith("library/") and not repo.endswith("-absent")
    if who == "admin" or (who is not None and who == owner):
        return {"pull", "push", "delete"}
    return {"pull"} if visible else set()


ROUTES = [  # method, path below the repository, action, (status, code) when allowed: existing, absent
    ("GET", "tags/list", "pull", (200, None), (404, "NAME_UNKNOWN")),
    ("GET", "manifests/none", "pull", (404, "MANIFEST_UNKNOWN"), (404, "NAME_UNKNOWN")),
    ("GET", "blobs/" + digest(b"none"), "pull", (404, "BLOB_UNKNOWN"), (404, "NAME_UNKNOWN")),
    ("GET", "referrers/" + digest(b"none"), "pull", (200, None), (200, None)),
    ("PUT", "manifests/none", "push", (400, "MANIFEST_INVALID"), (400, "MANIFEST_INVALID")),
    ("PATCH", "blobs/uploads/" + "0" * 32, "push", (404, "BLOB_UPLOAD_UNKNOWN"), (404, "BLOB_UPLOAD_UNKNOWN")),
    ("POST", "blobs/uploads/?digest=bad", "push", (400, "DIGEST_INVALID"), (400, "DIGEST_INVALID")),
    ("GET", "blobs/uploads/" + "0" * 32, "push", (404, "BLOB_UPLOAD_UNKNOWN"), (404, "BLOB_UPLOAD_UNKNOWN")),
    ("DELETE", "manifests/none", "delete", (404, "MANIFEST_UNKNOWN"), (404, "NAME_UNKNOWN")),
    ("DELETE", "blobs/" + digest(b"none"), "delete", (404, "BLOB_UNKNOWN"), (404, "NAME_UNKNOWN")),
]


def model_answer(who, bearer, scope, repo, action, allowed):
    have = model_rights(who, repo)
    if action in have and (not bearer or action in scope):
        return allowed
    if who is None or action in have:
        return 401, "UNAUTHORIZED"
    if action == "push" or "pull" in have:
        return 403, "DENIED"
    return 404, "NAME_UNKNOWN"


@pytest.fixture(scope="module")
def matrix(hub):
    """Repositories of every kind, and callers by every kind of credential."""
    hub.people["alice"].push_blob("alice/t02", b"x")
    hub.people["bob"].push_blob("bob/t02", b"x")
    hub.admin().push_blob("t02team/t02", b"x")
    hub.admin().push_blob("library/t02", b"x")
    return ["alice/t02", "bob/t02", "t02team/t02", "library/t02", "alice/t02-absent", "bob/t02-absent", "t02none/t02-absent",
            "library/t02-absent"]


ASKED = [(), ("pull",), ("push",), ("pull", "push"), ("delete",), ("pull", "push", "delete"), ("*",)]


@pytest.mark.parametrize("who", [None, "alice", "bob", "admin"])
def test_T02_matrix_of_rights(hub, matrix, who):
    """Callers × credentials × scopes × repositories × routes: the server and the model agree."""
    person = hub.admin() if who == "admin" else hub.people.get(who)
    wrong = []
    for repo in matrix:
        callers = [(False, (), person or hub.anonymous())]
        for asked in ASKED:
            asker = person or hub.anonymous()
            token = asker.fetch_token("repository:%s:%s" % (repo, ",".join(asked))) if asked else asker.fetch_token()
            callers.append((True, ("pull", "push", "delete") if asked == ("*",) else asked, hub.client(token=token)))
        for (bearer, scope, c), (method, path, action, there, absent) in itertools.product(callers, ROUTES):
            a = c.request(method, "/v2/%s/%s" % (repo, path), body=b"{}" if method in ("PUT", "PATCH") else None,
                          headers=[("Content-Type", "application/vnd.oci.image.index.v1+json")] if method == "PUT" else ())
            want = model_answer(who, bearer, scope, repo, action, absent if repo.endswith("-absent") else there)
            if (a.status, a.code) != want:
                wrong.append((repo, bearer, scope, method, path, (a.status, a.code), want))
        for _, _, c in callers:
            c.close()
    assert wrong == []


def claims_of(token):
    return json.loads(unb64(token.split(".")[1]))


def test_T02_grants_are_never_more_than_asked_or_allowed(hub, matrix, alice):
    for repo, asked in itertools.product(matrix, ASKED):
        token = alice.fetch_token("repository:%s:%s" % (repo, ",".join(asked)))
        got = {(x["type"], x["name"], act) for x in claims_of(token)["access"] for act in x["actions"]}
        want = ("pull", "push", "delete") if asked == ("*",) else asked
        assert got == {("repository", repo, act) for act in set(want) & model_rights("alice", repo)}, (repo, asked)


@pytest.mark.parametrize("scope", [
    "repository:ALICE/t02:pull", "repository:alice/T02:pull", "repository:%s:pull" % "alice/t02/", "repository:/alice/t02:pull",
    "repository:alice//t02:pull", "repository:alice/./t02:pull", "repository:bob/../alice/t02:pull", "repository:*:pull",
    "repository:alice/*:pull", "repository:localhost:5000/alice/t02:pull", "repository:alice%2Ft02:pull",
    "repository:alice/t02\x00:pull", "repository:alice/t02\u212a:pull", "Repository:alice/t02:pull", "repository: alice/t02:pull",
    "repository:alice/t02:PULL", "repository:alice/t02:pull;push", "registry:alice/t02:pull", "repository:alice/t02:pull%2Cpush",
    "user:alice:admin", "repository:alice/t02", "repository", "alice/t02:pull",
])
def test_T02_scopes_in_disguise_grant_nothing(hub, matrix, bob, alice, scope):
    for person in (alice, bob):
        a = person.token_answer([scope])
        if a.status == 200:
            assert claims_of(a.json()["token"])["access"] == [], scope
        else:
            assert a.status == 400, a


def test_T02_wildcard_names_do_not_open_the_catalog_or_all(hub, matrix, bob):
    token = bob.fetch_token("registry:catalog:*")
    c = hub.client(token=token)
    assert c.get("/v2/alice/t02/tags/list").status == 404
    assert c.get("/v2/bob/t02/tags/list").status == 401
    assert "alice/t02" not in c.get("/v2/_catalog").json()["repositories"]


# --- T03 a credential of one kind in the place of another
def test_T03_kinds_and_surfaces(hub, alice):
    """Only the diagonal passes."""
    alice.push_blob("alice/t03", b"x")
    token = alice.fetch_token("repository:alice/t03:pull")
    session = alice.start_upload("alice/t03").rsplit("/", 1)[1]
    path = "/v2/alice/t03/tags/list"
    wrong = [
        "Bearer " + alice.password, "Bearer " + basic("alice", alice.password)[6:], "Bearer " + session, "Basic " + token,
        basic("alice", token), basic("<token>", token), basic("oauth2accesstoken", token), basic("alice", session),
        basic("alice", ""), basic("", alice.password), basic("alice\x00admin", alice.password), "Token " + token, token,
        "Bearer " + token + ", " + basic("alice", alice.password),
    ]
    for value in wrong:
        assert hub.raw(build("GET", path, [("Authorization", value)])).status == 401, value[:20]
    for query in ("?token=", "?access_token=", "?authorization=Bearer%20", "?jwt="):
        assert hub.raw(build("GET", path + query + token)).status == 401
    for header in ("Cookie", "X-Authorization", "Proxy-Authorization", "X-Auth-Token", "X-Forwarded-User", "X-Remote-User", "REMOTE_USER"):
        assert hub.raw(build("GET", path, [(header, "Bearer " + token)])).status == 401
        assert hub.raw(build("GET", path, [(header, "admin")])).status == 401
    # a token does not mint tokens
    a = hub.raw(build("GET", "/token?scope=repository:alice/t03:push", [("Authorization", "Bearer " + token)]))
    assert a.status == 401, a
    a = hub.client().once("POST", "/token", [("Content-Type", "application/x-www-form-urlencoded")],
                          urllib.parse.urlencode({"grant_type": "refresh_token", "refresh_token": token}).encode(), False, None)
    assert a.status in (400, 401), a
    assert hub.client(token=token).get(path).status == 200 and alice.get(path).status == 200


def test_T03_tokens_are_bound_to_their_audience(new_hub):
    """The same keys under another public name: tokens of the old one are void."""
    h = new_hub()
    c = h.add_user("zoe")
    c.push_blob("zoe/x", b"x")
    token = c.fetch_token("repository:zoe/x:pull")
    assert h.client(token=token).get("/v2/zoe/x/tags/list").status == 200
    h.extra["BERTH_PUBLIC_URL"] = "http://elsewhere.example:%d" % h.port
    h.restart()
    assert h.client(token=token).get("/v2/zoe/x/tags/list").status == 401


# --- T05 user enumeration
def test_T05_known_and_unknown_users_answer_alike(hub, alice):
    hub.command("user", "add", "t05gone", stdin="password-of-gone\n")
    hub.command("user", "remove", "t05gone")
    names = ["alice", "admin", "nobody", "t05gone", "NoName!", "a" * 200, "alice\x01"]
    for make in (
        lambda n: build("GET", "/v2/", [("Authorization", basic(n, "wrong-password"))]),
        lambda n: build("GET", "/v2/alice/x/tags/list", [("Authorization", basic(n, "wrong-password"))]),
        lambda n: build("GET", "/token?service=x&scope=repository:alice/x:pull", [("Authorization", basic(n, "wrong-password"))]),
        lambda n: build("POST", "/token", [("Content-Type", "application/x-www-form-urlencoded")], urllib.parse.urlencode(
            {"grant_type": "password", "username": n, "password": "wrong-password"}).encode()),
    ):
        seen = {hub.raw(make(n), "POST").comparable() for n in names}
        assert len(seen) == 1, seen


def test_T05_unknown_users_cost_what_known_ones_cost(hub, alice):
    """No timing: the work itself is compared. Both compute one password hash, which dwarfs all else."""
    def cost(name, n=12):
        before = hub.process_stat()[0]
        for i in range(n):
            assert hub.client(name, "wrong-password-%d" % i).get("/v2/").status == 401
        return hub.process_stat()[0] - before

    cost("alice", 2)
    known, unknown, silly = cost("alice"), cost("nobody-here"), cost("NoName!")
    for other in (unknown, silly):
        assert 0.5 < other / known < 2, (known, unknown, silly)


# --- T17 existence of private repositories
def pair_of(repo):
    """A private repository that exists, and a name of equal length that does not."""
    return repo + "-there", repo + "-never"


def probes(name, d):
    b = "/v2/%s/" % name
    return [(m, b + p, None) for p in ("tags/list", "tags/list?n=1", "manifests/t", "manifests/" + d, "blobs/" + d, "referrers/" + d,
                                       "manifests/none", "manifests/-bad", "blobs/bad", "blobs/uploads/" + "0" * 32, "blobs/uploads/x",
                                       "unknown", "manifests", "") for m in ("GET", "HEAD", "DELETE")] + [
        ("POST", b + "blobs/uploads/", None), ("POST", b + "blobs/uploads/?digest=" + d, b"x"),
        ("POST", b + "blobs/uploads/?mount=" + d, None), ("PUT", b + "manifests/t", b"{}"), ("PUT", b + "manifests/" + d, DOC),
        ("PATCH", b + "blobs/uploads/" + "0" * 32, b"x"), ("PUT", b + "blobs/uploads/x?digest=" + d, b"x"), ("PATCH", b + "manifests/t", b"x"),
        ("OPTIONS", b + "tags/list", None)]


def compare_all(callers, there, never, d):
    differences = []
    for c in callers:
        for (m, p1, body), (_, p2, _) in zip(probes(there, d), probes(never, d)):
            one, two = c.request(m, p1, body=body), c.request(m, p2, body=body)
            if one.comparable((there.encode(), b"NAME")) != two.comparable((never.encode(), b"NAME")) or \
                    one.get("Content-Length") != two.get("Content-Length"):
                differences.append((m, p1, one, two))
    return differences


def test_T17_private_and_absent_are_byte_equal(hub, alice, bob, anon, repo):
    there, never = pair_of(repo)
    d, _ = alice.push_image(there, "t")
    scopes = " ".join("repository:%s:pull,push,delete" % n for n in (there, never))
    callers = [anon, bob, hub.client(token=bob.fetch_token(scopes)), hub.client(token=anon.fetch_token(scopes)),
               hub.client("bob", "wrong-password")]
    assert compare_all(callers, there, never, d) == []
    # also of a namespace that nobody has
    assert compare_all([bob, anon], there, "z" + never[1:], d) == []
    for c in (bob, anon):
        a = c.token_answer(["repository:%s:pull,push" % there])
        b = c.token_answer(["repository:%s:pull,push" % never])
        assert claims_of(a.json()["token"])["access"] == claims_of(b.json()["token"])["access"] == []
        assert len(a.body) == len(b.body)
        c = c if c is bob else hub.client(mode="bearer")
        assert there not in c.get("/v2/_catalog").json()["repositories"]
        page = c.get("/v2/_catalog?n=1000&last=%s" % there[:-1]).json()["repositories"]
        assert not [n for n in page if n.startswith(repo)]


def test_T17_deleted_and_private_again(hub, alice, bob, admin, repo):
    """What was readable and is no longer leaves no trace: caches included."""
    there, never = pair_of(repo)
    d, doc = alice.push_image(there, "t")
    hub.command("repo", "public", there)
    assert bob.pull(there, "t") == doc and hub.anonymous().pull(there, d) == doc
    hub.command("repo", "private", there)
    assert compare_all([bob, hub.anonymous()], there, never, d) == []


def test_T17_absence_is_remembered_and_forgotten(hub, alice, repo):
    """What every event thread knows not to exist, exists for all of them once it was pushed."""
    conns = [hub.connect() for _ in range(16)]
    ask = build("GET", "/v2/%s/tags/list" % repo, [("Authorization", alice.authorization(None))])

    def statuses():
        for c in conns:
            c.send(ask)
        return {c.answer().status for c in conns}

    for _ in range(5):
        assert statuses() == {404}
    alice.push_image(repo, "t")
    assert statuses() == {200}
    for c in conns:
        c.close()


# --- T49 default password
COMMON = ["", "admin", "password", "123456", "12345678", "berth", "Berth", "changeme", "letmein", "admin123", "Admin123", "Harbor12345",
          "root", "toor", "qwerty", "secret", "default", "registry", "docker", "P@ssw0rd", "welcome", "adminadmin", "password123",
          "administrator", "test", "guest", "0" * 32, "f" * 32]


def first_start(h):
    h.start()
    lines = [line for line in h.out_lines if "password" in line]
    assert len(lines) == 1, h.out_lines
    m = re.search(r"administrator (\S+), password ([0-9a-f]{32})\b", lines[0])
    assert m, lines
    path = os.path.join(h.data, "keys", "admin-password")
    with open(path) as f:
        assert f.read().strip() == m.group(2)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    return m.group(1), m.group(2)


def test_T49_first_password_is_random_and_shown_once(new_hub):
    hubs = [new_hub(password=None, start=False) for _ in range(2)]
    found = [first_start(h) for h in hubs]
    assert found[0][1] != found[1][1]
    for h, (user, password) in zip(hubs, found):
        assert h.client(user, password).get("/v2/").status == 200
        h.secrets.clear()  # it is on standard output, once, on purpose
        h.restart()
        assert len([line for line in h.out_lines if "password" in line]) == 1
        assert password not in h.stderr()
        with open(os.path.join(h.data, "keys", "admin-password")) as f:
            assert f.read().strip() == password
        assert h.client(user, password).get("/v2/").status == 200
        h.secrets.clear()


def test_T49_no_common_password_opens_anything(new_hub):
    h = new_hub(password=None, start=False)
    user, password = first_start(h)
    for name in (user, "root", "administrator", "berth", "library"):
        for guess in (COMMON if name == user else COMMON[:4]) + [name]:
            assert h.raw(build("GET", "/v2/", [("Authorization", basic(name, guess))])).status == 401, (name, guess)
    c = h.anonymous()
    for name in ("library/x", "x", "admin/x", "any/thing"):
        assert c.post("/v2/%s/blobs/uploads/" % name).status == 401
        assert c.put_manifest(name, "t", DOC).status == 401
    assert c.get("/v2/_catalog").status == 401
    assert h.client(mode="bearer").get("/v2/_catalog").json() == {"repositories": []}


def test_T49_a_thousand_guesses(new_hub):
    """Few are looked at, none opens; the administrator at his own address notices nothing."""
    h = new_hub(env={"BERTH_TRUSTED_PROXIES": "127.0.0.1", "BERTH_MAX_LOGINS_PER_ADDRESS": "10"})
    guesses = [word + tail for word in COMMON for tail in [""] + [str(n) for n in range(40)]][:1000]
    assert len(guesses) == 1000
    with h.connect() as c:
        ask = [("Authorization", basic("admin", h.admin_password))]
        assert c.request("GET", "/v2/", ask + [("X-Forwarded-For", "203.0.113.10")]).status == 200
        got = [c.request("GET", "/v2/", [("Authorization", basic("admin", g)), ("X-Forwarded-For", "203.0.113.9")]).status for g in guesses]
        assert set(got) == {401, 429} and got.count(401) <= 50, got.count(401)
        assert c.request("GET", "/v2/", ask + [("X-Forwarded-For", "203.0.113.10")]).status == 200


def test_T49_given_password_is_not_printed_or_kept(new_hub):
    h = new_hub(password="given-password-1234")
    assert not os.path.exists(os.path.join(h.data, "keys", "admin-password"))
    assert "given-password-1234" not in "\n".join(h.out_lines)
    h.extra["BERTH_ADMIN_PASSWORD"] = "a-later-password-99"  # only the first start sets it
    h.restart()
    assert h.client("admin", "given-password-1234").get("/v2/").status == 200
    assert h.client("admin", "a-later-password-99").get("/v2/").status == 401


def test_T49_short_first_password_is_refused(db):
    h = Hub(db, password="short", start=False)
    done = h.run("serve", "--data", h.data, "--listen", "127.0.0.1:%d" % h.port, check=False)
    assert done.returncode != 0 and "password" in done.stderr and "short" not in done.stderr.replace("password", ""), done
    h.close()


# --- T58 side surfaces
def route_rows():
    """(methods, pattern, right) of each row in the sources' route tables."""
    rows = []
    for path in glob.glob(ROOT + "/src/*/*.c"):
        with open(path) as f:
            text = f.read()
        names = dict(re.findall(r'^#define (\w+) ("[^"]*")$', text, re.M))
        for block in re.findall(r"const struct http_route \w+_routes\[\] = \{(.*?)\n\};", text, re.S):
            for row in re.sub(r"/\*.*?\*/", "", block, flags=re.S).split(".methods")[1:]:
                words = re.findall(r'\w+|"[^"]*"', re.search(r"\.pattern = ([^,]*),", row).group(1))
                pattern = "".join(w if w[0] == '"' else names[w] for w in words).replace('"', "")
                assert pattern.startswith("/"), row
                methods = re.findall(r"HTTP_(\w+)", re.match(r" = ([^,]*),", row).group(1))
                right = re.search(r"\.right = RIGHT_(\w+)", row)
                rows.append((methods, pattern, right.group(1) if right else None))
    return rows


ANONYMOUS = {"PUBLIC": (200, 400, 404), "CATALOG": (401,), "METRICS": (401,), "CHALLENGE": (401,), "PULL": (401,), "PUSH": (401,),
             "DELETE": (401,), "ADMIN": (401,)}
STRANGER = {"PUBLIC": (200, 400, 401, 404), "CATALOG": (200,), "METRICS": (403,), "CHALLENGE": (200,), "PULL": (404,), "PUSH": (403,),
            "DELETE": (404,), "ADMIN": (403,)}


def test_T58_every_route_has_a_policy_and_keeps_it(hub, alice, bob, anon):
    """From the route tables themselves, so that a new route cannot be forgotten."""
    rows = route_rows()
    assert len(rows) >= 20 and all(right for _, _, right in rows), rows
    alice.push_blob("alice/t58", b"x")
    parts = {"{name}": "alice/t58", "{digest}": digest(b"x"), "{reference}": "t", "{id}": "0" * 32}
    for methods, pattern, right in rows:
        path = re.sub(r"\{\w+\}", lambda m: parts[m.group(0)], pattern)
        for method in methods:
            headers = [("X-Forwarded-For", "192.0.2.9")]  # /metrics trusts the loopback itself only
            for c, table in ((anon, ANONYMOUS), (bob, STRANGER)):
                a = c.request(method, path, headers=headers)
                assert a.status in table[right], (right, c.user, a)


def test_T58_no_method_or_path_trick_skips_the_gate(hub, alice):
    alice.push_image("alice/t58", "t")
    path = "/v2/alice/t58/manifests/t"
    tricks = [("GET", "/v2//alice/t58/manifests/t"), ("GET", "//v2/alice/t58/manifests/t"), ("GET", "/V2/alice/t58/manifests/t"),
              ("GET", "/v2/./alice/t58/manifests/t"), ("GET", "/v2/library/../alice/t58/manifests/t"), ("GET", "/healthz/../v2/alice/t58/manifests/t"),
              ("GET", "/v2/alice/t58/manifests/t;x"), ("GET", "/v2/alice/t58/manifests/t/."), ("GET", "/%762/alice/t58/manifests/t"),
              ("GET", "/v2/alice%2Ft58/manifests/t"), ("GET", "/v2/alice/t58/manifests/t%00"), ("GET", "/v2/alice/t58/manifests/t?"),
              ("GET", "/v2/alice/t58/manifests/t%3f"), ("GET", "/token/../v2/alice/t58/manifests/t"), ("HEAD", path), ("GET", "/metrics/../v2/alice/t58/tags/list")]
    headers = [[], [("X-Original-URL", path)], [("X-Rewrite-URL", path)], [("X-HTTP-Method-Override", "GET")], [("X-Forwarded-For", "127.0.0.1")]]
    for (method, target), more in itertools.product(tricks, headers):
        a = hub.raw(build(method, target, more), method)
        assert a.status in (400, 401, 404), (target, more, a)


# --- T59 Host header poisoning
def test_T59_addresses_come_from_the_configuration(hub, admin, repo):
    """Realm, service, Location and Link are the same whatever Host or forwarding headers say."""
    for i in range(2):
        admin.put_manifest(repo, "t%d" % i, DOC)
    auth = ("Authorization", admin.authorization(None))
    evil = ["evil.example", "evil.example:443", "127.0.0.1:1@evil.example", "[::1]", "evil.example#", "localhost", "EVIL", "a" * 255, "%65vil"]
    forms = [[("Host", h)] for h in evil] + [[("X-Forwarded-Host", h)] for h in evil[:3]] + [
        [("X-Forwarded-Proto", "https")], [("Forwarded", "host=evil.example;proto=https")], [("X-Host", "evil.example")],
        [("X-Forwarded-Server", "evil.example")], [("X-Original-Host", "evil.example")], [("X-Forwarded-Port", "1")],
        [("X-Forwarded-Prefix", "/evil")], [("Origin", "http://evil.example")], [("Referer", "http://evil.example/")]]
    assert len(forms) >= 20
    for form in forms:
        a = hub.raw(build("GET", "/v2/alice/x/tags/list", form))
        if a.status == 400 and form[0][0] == "Host":
            continue
        c = parse_challenge(a.get("WWW-Authenticate"))
        assert c["realm"] == hub.url + "/token" and c["service"] == hub.service, (form, a)
        a = hub.raw(build("POST", "/v2/%s/blobs/uploads/" % repo, form + [auth]), "POST")
        assert hub.path_of(a.get("Location")).startswith("/v2/%s/" % repo), a
        a = hub.raw(build("GET", "/v2/%s/tags/list?n=1" % repo, form + [auth]))
        assert a.get("Link").startswith("</v2/%s/" % repo), a
        assert b"evil" not in a.head and b"evil" not in a.body


def test_T59_absolute_form_does_not_move_the_realm(hub):
    a = hub.raw(b"GET http://evil.example/v2/ HTTP/1.1\r\nHost: evil.example\r\n\r\n")
    assert parse_challenge(a.get("WWW-Authenticate"))["realm"] == hub.url + "/token" and b"evil" not in a.head
