"""What a plan lets its accounts, and strangers' addresses, pull and push in a window."""
import json
import re
import threading

import pytest
from api import Api
from registry import Client, IMAGE, descriptor, digest, dumps, image_doc, index_doc

REFUSED = (b'{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit. You may increase the limit '
           b'by authenticating and upgrading: https://www.docker.com/increase-rate-limit"}]}')
PREVIEW = "/v2/ratelimitpreview/test/manifests/latest"
PUBLIC = "library/image"


def rates(a):
    return a.get("ratelimit-limit"), a.get("ratelimit-remaining"), a.get("docker-ratelimit-source")


class World:
    """A hub whose default plan is `small`: some pulls and pushes an hour."""

    def __init__(self, new_hub, **env):
        self.hub = new_hub(env={"BERTH_" + k.upper(): v for k, v in env.items()})
        self.admin, self.api = self.hub.admin(), Api(self.hub, self.hub.admin_name, self.hub.admin_password)
        self.api.put("/accounts/admin/plan", {"plan": "unlimited"}, status=200)
        self.api.post("/plans", {"name": "small"}, status=201)
        self.api.put("/plans/small/default", status=200)
        self.digest, self.doc = self.admin.push_image(PUBLIC, "t", b"image")

    def limit(self, **limits):
        self.api.patch("/plans/small", dict({"pull_window": 3600, "push_window": 3600}, **limits), status=200)

    def user(self, name):
        password = "pw-of-%s-4711" % name
        self.api.post("/users", {"name": name, "password": password}, status=201)
        return Client(self.hub, name, password)

    def pull(self, client, ref="t", method="GET", repo=PUBLIC, **kw):
        return client.request(method, "/v2/%s/manifests/%s" % (repo, ref), **kw)


@pytest.fixture
def world(new_hub):
    return World(new_hub)


def at_once(n, fn):
    """Results of fn(i) for n threads that start together."""
    out, gate = [None] * n, threading.Barrier(n)

    def run(i):
        gate.wait()
        out[i] = fn(i)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return out


def long_image(world):
    """An image manifest that is never cached: each pull goes through a worker."""
    config = b"{}"
    world.admin.push_blob(PUBLIC, config)
    doc = dumps(image_doc(descriptor(config), [], annotations={"pad": "x" * (300 << 10)}))
    assert world.admin.put_manifest(PUBLIC, "long", doc).status == 201
    return "long"


@pytest.mark.parametrize("path", ["fast", "worker"])
def test_exactly_the_limit_passes(world, path):
    """64 clients pull 3 times each at a limit of 100."""
    ref = "t" if path == "fast" else long_image(world)
    if path == "fast":  # each loop has it in its cache
        for _ in range(64):
            assert world.pull(world.hub.anonymous(), method="HEAD").status == 200
    world.limit(anonymous_pulls=100)

    def pulls(_):
        c = world.hub.anonymous()
        got = [world.pull(c, ref) for _ in range(3)]
        c.close()
        return got

    answers = sum(at_once(64, pulls), [])
    passed = [a for a in answers if a.status == 200]
    refused = [a for a in answers if a.status == 429]
    assert len(passed) == 100 and len(refused) == 92, (len(passed), len(refused))
    assert sorted(int(a.get("ratelimit-remaining").split(";")[0]) for a in passed) == list(range(100))
    assert {a.body for a in refused} == {REFUSED}


def test_headers_to_the_letter(world):
    c = world.hub.anonymous()
    assert rates(world.pull(c)) == (None, None, None)
    world.limit(anonymous_pulls=2)
    assert rates(world.pull(c)) == ("2;w=3600", "1;w=3600", "127.0.0.1")
    for _ in range(3):  # what costs nothing
        a = world.pull(c, method="HEAD")
        assert a.status == 200 and rates(a) == ("2;w=3600", "1;w=3600", "127.0.0.1"), a
        assert world.pull(c, headers=[("If-None-Match", '"%s"' % world.digest)]).status == 304
        assert world.pull(c, "absent").status == 404
    assert rates(world.pull(c, world.digest)) == ("2;w=3600", "0;w=3600", "127.0.0.1")
    a = world.pull(c)
    assert a.status == 429 and a.body == REFUSED and a.get("Content-Type") == "application/json", a
    assert rates(a) == ("2;w=3600", "0;w=3600", "127.0.0.1") and 1 <= int(a.get("Retry-After")) <= 3600
    a = world.pull(c, method="HEAD")
    assert a.status == 200 and rates(a)[1] == "0;w=3600", a
    assert c.get("/v2/%s/blobs/%s" % (PUBLIC, json.loads(world.doc)["config"]["digest"])).status == 200
    assert world.pull(world.admin).status == 200
    world.limit(anonymous_pulls=3)
    assert rates(world.pull(c))[1] == "0;w=3600"
    world.hub.restart()  # what was counted in memory becomes rows
    rows = world.api.all("/audit", action="repo.pull", object=PUBLIC + ":t")
    assert [r["count"] for r in rows if r["result"] == "refused"] == [1], rows


def test_an_index_is_free(world):
    doc = dumps(index_doc([dict(descriptor(world.doc, IMAGE))]))
    assert world.admin.put_manifest(PUBLIC, "multi", doc).status == 201
    world.limit(anonymous_pulls=1)
    c = world.hub.anonymous()
    for _ in range(3):
        a = world.pull(c, "multi")
        assert a.status == 200 and rates(a)[1] == "1;w=3600", a
    assert world.pull(c, world.digest).status == 200
    assert world.pull(c, "multi").status == 200 and world.pull(c, world.digest).status == 429


def test_account_and_address_count_apart(world):
    alice, bob, anon = world.user("alice"), world.user("bob"), world.hub.anonymous()
    world.limit(anonymous_pulls=1, pulls=2)
    bearer = Client(world.hub, alice.user, alice.password, mode="bearer")
    a = world.pull(alice)
    assert rates(a)[:2] == ("2;w=3600", "1;w=3600")
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", rates(a)[2]), a
    bearer.tokens[(PUBLIC, True)] = bearer.fetch_token("repository:%s:pull" % PUBLIC)
    assert rates(world.pull(bearer))[1] == "0;w=3600" and world.pull(bearer).status == world.pull(alice).status == 429
    assert world.pull(anon).status == 200 and world.pull(anon).status == 429
    assert world.pull(bob).status == 200
    # An account's own plan, at once for who is logged in already.
    world.api.put("/accounts/alice/plan", {"plan": "unlimited"}, status=200)
    for c in (alice, bearer):
        a = world.pull(c)
        assert a.status == 200 and rates(a) == (None, None, None), a
    world.api.put("/accounts/alice/plan", {"plan": None}, status=200)
    assert world.pull(alice).status == 429


def test_exempt_networks(new_hub):
    w = World(new_hub, pull_exempt="10.0.0.0/8,127.0.0.0/8")
    alice, anon = w.user("alice"), w.hub.anonymous()
    w.limit(anonymous_pulls=0, pulls=0)
    for c in (alice, anon):
        a = w.pull(c)
        assert a.status == 200 and rates(a) == (None, None, None), a
    w.hub.extra["BERTH_PULL_EXEMPT"] = "10.0.0.0/8"
    w.hub.restart()
    assert w.pull(anon).status == w.pull(alice).status == 429


def test_ipv6_by_its_network(new_hub):
    w = World(new_hub, trusted_proxies="127.0.0.1")
    w.limit(anonymous_pulls=2)
    c = w.hub.anonymous()

    def pull(address):
        return w.pull(c, headers=[("X-Forwarded-For", address)])

    assert rates(pull("2001:db8:1:2::1")) == ("2;w=3600", "1;w=3600", "2001:db8:1:2::")
    assert rates(pull("2001:db8:1:2:ffff::2")) == ("2;w=3600", "0;w=3600", "2001:db8:1:2::")
    assert pull("2001:db8:1:2::3").status == 429
    assert rates(pull("2001:db8:1:3::3"))[1:] == ("1;w=3600", "2001:db8:1:3::")
    assert rates(pull("192.0.2.1"))[1:] == ("1;w=3600", "192.0.2.1")
    assert rates(w.pull(c)) == (None, None, None)  # a proxy that does not say for whom


def test_a_restart_keeps_the_count(world):
    world.limit(anonymous_pulls=3)
    c = world.hub.anonymous()
    assert [world.pull(c).status for _ in range(2)] == [200, 200]
    world.hub.restart()
    assert rates(world.pull(c))[1] == "0;w=3600" and world.pull(c).status == 429


def test_preview(world):
    """The check of Docker's documentation."""
    alice = world.user("alice")
    c = world.hub.anonymous()
    assert c.head(PREVIEW).status == 401
    token = c.fetch_token("repository:ratelimitpreview/test:pull")
    anon = Client(world.hub, token=token)
    a = anon.head(PREVIEW)
    assert a.status == 200 and rates(a) == (None, None, None)
    world.limit(anonymous_pulls=2, pulls=5)
    for _ in range(2):
        a = anon.head(PREVIEW)
        assert a.status == 200 and rates(a) == ("2;w=3600", "2;w=3600", "127.0.0.1"), a
    a = anon.get(PREVIEW)
    assert rates(a)[1] == "1;w=3600"
    assert a.status == 200 and a.get("Docker-Content-Digest") == digest(a.body) and a.get("Content-Type") == IMAGE, a
    assert a.json()["mediaType"] == IMAGE
    assert rates(alice.head(PREVIEW))[:2] == ("5;w=3600", "5;w=3600")
    token = alice.fetch_token("repository:ratelimitpreview/test:pull")
    assert rates(Client(world.hub, token=token).head(PREVIEW))[:2] == ("5;w=3600", "5;w=3600")
    assert alice.put_manifest("ratelimitpreview/test", "latest", world.doc).status in (400, 404, 405)


def test_pushes(world):
    """What makes a tag or a digest counts, and of many at once no more pass."""
    alice = world.user("alice")
    alice.push_image("alice/a", "t", b"a")
    _, doc = alice.push_image("alice/a", "u", b"b")
    world.limit(pushes=2)
    assert [alice.put_manifest("alice/a", t, doc).status for t in ("u", "u", "t", "t")] == [201] * 4  # nothing new
    assert alice.put_manifest("alice/a", "v", doc).status == 201
    docs = [dumps(dict(json.loads(doc), annotations={"n": str(i)})) for i in range(8)]
    status = [a.status for a in at_once(8, lambda i: Client(world.hub, alice.user, alice.password).put_manifest(
        "alice/a", "n%d" % i, docs[i]))]
    assert sorted(status) == [201] + [429] * 7, status
    a = alice.put_manifest("alice/new", "t", doc)
    assert a.status == 429 and a.code == "TOOMANYREQUESTS" and int(a.get("Retry-After")) >= 1, a
    assert alice.put_manifest("alice/a", "u", doc).status == 201
    u = world.api.get("/usage/alice", status=200).data["pushes"]
    assert (u["used"], u["remaining"], u["limit"]) == (2, 0, 2) and u["why"] and u["resets_at"], u


def test_plans_over_the_api(world):
    alice = world.user("alice")
    mine, other = Api(world.hub, alice.user, alice.password), Api(world.hub)
    names = [p["name"] for p in mine.all("/plans", limit=2)]
    assert names == ["business", "free", "pro", "small", "team", "unlimited"]
    assert mine.get("/plans/free", status=200).data["pulls"] == 200
    other.get("/plans", status=401)
    for call in (lambda: mine.post("/plans", {"name": "x"}, status=403), lambda: mine.patch("/plans/small", {"pulls": 9}, status=403),
                 lambda: mine.put("/plans/free/default", status=403), lambda: mine.delete("/plans/small", status=403),
                 lambda: mine.put("/accounts/alice/plan", {"plan": "unlimited"}, status=403),
                 lambda: mine.get("/usage?format=csv", status=403), lambda: mine.get("/usage/admin", status=404)):
        call()
    world.api.post("/plans", {"name": "small"}, status=409)
    world.api.post("/plans", {"name": "No"}, status=400)
    world.api.patch("/plans/small", {"pulls": -2}, status=400)
    world.api.patch("/plans/unlimited", {"pulls": 2}, status=403)
    world.api.delete("/plans/small", status=403)
    world.api.post("/plans", {"name": "own", "bytes": 5}, status=201)
    world.api.put("/accounts/alice/plan", {"plan": "own"}, status=200)
    world.api.delete("/plans/own", status=403)
    world.api.put("/accounts/alice/plan", {"plan": "absent"}, status=400)
    world.api.put("/accounts/absent/plan", {"plan": "own"}, status=404)
    assert mine.get("/usage/alice", status=200).data["plan"] == "own"
    world.api.put("/accounts/alice/plan", {"plan": None}, status=200)
    world.api.delete("/plans/own", status=204)
    world.limit(pulls=1)
    world.pull(alice)
    u = mine.get("/usage/alice", status=200).data
    assert u["plan"] == "small" and u["pulls"]["used"] == 1 and u["pulls"]["why"] and u["pulls"]["warning"], u
    a = world.api.get("/usage?format=csv", status=200)
    lines = a.body.decode().split("\r\n")
    rows = [dict(zip(lines[0].split(","), line.split(","))) for line in lines[1:-1]]
    assert [r["account"] for r in rows] == ["admin", "alice", "library"]
    assert rows[1]["plan"] == "small" and rows[1]["pulls_used"] == rows[1]["pulls_limit"] == "1"
    assert [r["object"] for r in world.api.all("/audit", action="account.plan")][-1] == "admin"
