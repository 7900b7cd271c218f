"""/api/v1: what is in a repository, and the deletion of one: at once for everybody, in the background for its rows, whatever
happens meanwhile."""
import json
import os
import threading

import pytest
from api import Api
from berth import Hub
from registry import INDEX, digest, dumps, index_doc

ENV = {"BERTH_MAX_LOGINS_PER_ADDRESS": "0", "BERTH_MIN_FREE": "0"}
QUICK = dict(ENV, BERTH_GC_INTERVAL="10ms")


def login(hub, name, password):
    a = Api(hub)
    token = a.post("/login", {"username": name, "password": password}, status=200).data["token"]
    hub.secrets.add(token)
    return Api(hub, token=token)


def people(hub):
    hub.api = login(hub, hub.admin_name, hub.admin_password)
    for name in ("ada", "ben"):
        hub.secrets.add("password-of-" + name)
        hub.api.post("/users", {"name": name, "password": "password-of-" + name}, status=201)
    hub.ada, hub.ben = (login(hub, n, "password-of-" + n) for n in ("ada", "ben"))
    hub.push = hub.client("ada", "password-of-ada", mode="basic")
    return hub


@pytest.fixture(scope="module")
def h(db):
    with Hub(db, env=QUICK) as hub:
        yield people(hub)


def blobs(hub):
    """Names of the files in the store."""
    return {f for _, _, files in os.walk(os.path.join(hub.data, "blobs")) for f in files}


def has_blob(hub, want):
    return any(want.split(":")[1] in f for f in blobs(hub))


# --- tags
def test_tags(h):
    want, doc = h.push.push_image("ada/one", "v1", layers=3)
    index = dumps(index_doc([dict(mediaType="application/vnd.oci.image.manifest.v1+json", digest=want, size=len(doc),
                                  platform={"os": "linux", "architecture": "arm64", "variant": "v8"})]))
    assert h.push.put_manifest("ada/one", "multi", index, INDEX).status == 201
    size = sum(layer["size"] for layer in json.loads(doc)["layers"])
    assert [t["name"] for t in h.ada.all("/repositories/ada/one/tags", limit=1)] == ["multi", "v1"]
    multi, v1 = h.ada.all("/repositories/ada/one/tags")
    assert v1["digest"] == want and v1["size"] == size
    assert v1["images"] == [{"digest": want, "os": "linux", "architecture": "amd64", "variant": "", "size": size}]
    assert multi["digest"] == digest(index) and multi["media_type"] == INDEX
    assert multi["images"] == [{"digest": want, "os": "linux", "architecture": "arm64", "variant": "v8", "size": size}]
    assert h.ada.get("/repositories/ada/one/tags/v1", status=200).data == v1
    h.ada.head("/repositories/ada/one/tags/v1", status=200)
    h.ada.get("/repositories/ada/one/tags/none", status=404)
    for method in ("GET", "DELETE"):
        h.ben.request(method, "/repositories/ada/one/tags/v1", status=404)
        Api(h).request(method, "/repositories/ada/one/tags/v1", status=401)
    h.ada.patch("/repositories/ada/one", {"visibility": "public"}, status=200)
    h.ben.get("/repositories/ada/one/tags/v1", status=200)
    Api(h).get("/repositories/ada/one/tags", status=200)
    h.ben.delete("/repositories/ada/one/tags/v1", status=403)
    h.ada.delete("/repositories/ada/one/tags/v1", status=204)
    h.ada.delete("/repositories/ada/one/tags/v1", status=404)
    assert h.push.pull("ada/one", "v1") is None and h.push.pull("ada/one", want) == doc


def test_a_tag_of_what_is_no_image(h):
    """Nothing can be known of it, and nothing breaks."""
    odd = dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json", "artifactType": "application/x-odd",
                 "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(b"[[["), "size": 3}, "layers": []})
    h.push.push_blob("ada/odd", b"[[[")
    assert h.push.put_manifest("ada/odd", "t", odd).status == 201
    empty = dumps(index_doc([]))
    assert h.push.put_manifest("ada/odd", "empty", empty, INDEX).status == 201
    none, t = h.ada.all("/repositories/ada/odd/tags")
    assert t["artifact_type"] == "application/x-odd" and t["images"][0]["os"] == "" and t["size"] == 0 and none["images"] == []
    assert Hubs(h).tag("ada/odd", "t")["content_type"] == "unrecognized"


class Hubs:
    def __init__(self, hub):
        self.client = hub.client("ada", "password-of-ada", mode="basic")

    def tag(self, name, tag):
        return self.client.get("/v2/repositories/%s/tags/%s/" % (name, tag)).json()


# --- deletion
def drained(hub, *gone):
    """These blobs go: nothing links them any more."""
    def collected():
        hub.command("gc", "--now", check=False)  # the server may be dying
        return not any(has_blob(hub, d) for d in gone)
    hub.until(collected, "the blobs to be collected")


def test_delete(h):
    want, doc = h.push.push_image("ada/doomed", "v1", seed=b"only here", layers=2)
    h.push.push_image("ada/doomed", "v2", seed=b"shared")
    _, kept = h.push.push_image("ada/keeps", "v2", seed=b"shared")
    h.ada.put("/repositories/ada/doomed/collaborators/ben", {"level": "read"}, status=200)
    upload = h.push.start_upload("ada/doomed")
    assert h.push.patch(upload, body=b"some bytes").status == 202
    h.ben.get("/repositories/ada/doomed", status=200)
    h.ben.delete("/repositories/ada/doomed", status=403)
    h.ada.delete("/repositories/ada/doomed", status=204)
    for api in (h.ada, h.ben, h.api):
        api.get("/repositories/ada/doomed", status=404)
        api.get("/repositories/ada/doomed/tags", status=404)
        api.delete("/repositories/ada/doomed", status=404)
        assert not any("doomed" in r["name"] or "!" in r["name"] for r in api.all("/repositories"))
    assert h.push.pull("ada/doomed", "v1") is None and h.push.pull("ada/doomed", want) is None
    assert "ada/doomed" not in h.push.get("/v2/_catalog").json()["repositories"]
    assert not any("!" in n for n in h.admin().get("/v2/_catalog").json()["repositories"])
    layers = [layer["digest"] for layer in json.loads(doc)["layers"]]
    drained(h, *layers)
    h.command("gc", "--now")  # and nothing stands in the way of the last row
    assert all(has_blob(h, layer["digest"]) for layer in json.loads(kept)["layers"])
    assert h.push.pull("ada/keeps", "v2") == kept
    assert h.push.patch(upload, body=b"more").status == 404
    h.command("fsck", "--full")
    # The name is free, and what comes under it has nothing of the old one.
    again, doc = h.push.push_image("ada/doomed", "v9", seed=b"another")
    assert [t["name"] for t in h.ada.all("/repositories/ada/doomed/tags")] == ["v9"] and h.push.pull("ada/doomed", "v9") == doc
    h.ben.get("/repositories/ada/doomed", status=404)
    h.ada.delete("/repositories/ada/doomed", status=204)


def test_an_organization_goes_after_its_repositories(h):
    h.ada.post("/orgs", {"name": "short-lived"}, status=201)
    h.push.push_image("short-lived/x", "v1", seed=b"short-lived")
    used = h.ada.get("/usage/short-lived", status=200).data["bytes"]["used"]
    h.ada.delete("/orgs/short-lived", status=409)
    h.ada.delete("/repositories/short-lived/x", status=204)
    h.command("gc", "--now")
    assert used > 0 and h.ada.get("/usage/short-lived", status=200).data["bytes"]["used"] == 0
    h.ada.delete("/orgs/short-lived", status=204)


def test_archived_stays(h):
    h.push.push_image("ada/frozen", "v1")
    h.ada.patch("/repositories/ada/frozen", {"archived": True}, status=200)
    h.ada.delete("/repositories/ada/frozen", status=403)
    h.ada.delete("/repositories/ada/frozen/tags/v1", status=403)
    h.ada.patch("/repositories/ada/frozen", {"archived": False}, status=200)
    h.ada.delete("/repositories/ada/frozen", status=204)


def test_tokens_need_their_scope(h):
    h.push.push_image("ada/scoped", "v1")
    for scope, tag, repo in (("write", 403, 403), ("delete", 204, 403), ("admin", 404, 204)):
        text = h.ada.post("/tokens", {"name": scope, "bounds": [{"pattern": "ada/scoped", "scope": scope}]}, status=201).data["token"]
        h.secrets.add(text)
        api = Api(h, token=text)
        api.delete("/repositories/ada/scoped/tags/v1", status=tag)
        api.delete("/repositories/ada/scoped", status=repo)


def test_pushes_beside_deletions(h):
    """Whatever was acknowledged after the last deletion is there, whole; nothing from before the first one is."""
    stop, said, lock = threading.Event(), [], threading.Lock()

    def pusher(who):
        c, n, after = h.client("ada", "password-of-ada", mode="basic"), 0, 0
        while not stop.is_set() or after < 2:
            n += 1
            tag, seed = "t%d-%d" % (who, n), b"%d %d" % (who, n)
            config, layer = dumps({"os": "linux", "architecture": "amd64", "seed": seed.hex()}), b"layer of " + seed
            ok = True
            for blob in (config, layer):
                a = c.post("/v2/ada/race/blobs/uploads/?digest=" + digest(blob).replace(":", "%3A"), body=blob)
                assert a.status in (201, 202, 404), a
                ok = ok and a.status == 201
            doc = dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                         "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(config), "size": len(config)},
                         "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(layer), "size": len(layer)}]})
            with lock:
                before = len(deletions)
            a = c.put_manifest("ada/race", tag, doc)
            assert a.status in (201, 404), a
            with lock:
                said.append((tag, a.status, before, len(begun), doc))
            after += before == 8 and a.status == 201
        c.close()

    begun, deletions = [], []  # an item when one begins, and when a successful one ends
    threads = [threading.Thread(target=pusher, args=(i,)) for i in range(3)]
    for t in threads:
        t.start()
    api, done = login(h, "ada", "password-of-ada"), 0
    while done < 8:
        with lock:
            begun.append(True)
        a = api.delete("/repositories/ada/race")
        assert a.status in (204, 404), a
        if a.status == 204:
            done += 1
            with lock:
                deletions.append(True)
    stop.set()
    for t in threads:
        t.join(60)
        assert not t.is_alive()
    pushed = [s for s in said if s[1] == 201 and s[2] == 8]
    assert len(pushed) >= 6 and len(said) > len(pushed)
    there = {t["name"] for t in h.ada.all("/repositories/ada/race/tags")}
    assert {s[0] for s in pushed} <= there
    assert not {s[0] for s in said if s[3] < len(begun) and s[0] in there}, "from before the last deletion"
    h.command("gc", "--now")
    for tag, _, _, _, doc in pushed:
        assert h.push.pull("ada/race", tag) == doc
    h.command("fsck", "--full")


def test_goes_on_after_a_kill(db):
    """Killed behind the answer, then at commit after commit of the work in the background: each time what is there is
    sound, and at last nothing of the repository is left."""
    slow = dict(ENV, BERTH_GC_INTERVAL="1h")
    h = Hub(db, env=slow)
    try:
        people(h)
        child, doc = h.push.push_image("ada/big", "image", layers=2)
        layers = [layer["digest"] for layer in json.loads(doc)["layers"]]
        for i in range(60):
            many = dumps(index_doc([], annotations={"n": str(i)}))
            tags = "".join("%stag=t%d-%d" % ("&" if j else "?", i, j) for j in range(5))
            assert h.push.put_manifest("ada/big", digest(many), many, INDEX, query=tags).status == 201
        _, kept = h.push.push_image("ada/kept", "v1", seed=b"kept")
        h.ada.delete("/repositories/ada/big", status=204)
        assert [r["name"] for r in h.api.all("/repositories")] == ["ada/kept"]
        assert h.admin().get("/v2/_catalog").json()["repositories"] == ["ada/kept"]
        h.kill()
        deaths, slow = 0, dict(slow, BERTH_GC_GRACE="0")  # no push to protect; and a file that a kill left waits for nothing
        for n in range(1, 60, 2):
            h.extra = dict(slow, BERTH_GC_INTERVAL="10ms", BERTH_FAULT="kill:db.commit%s:%d" % (".done" if n % 4 == 1 else "", n))
            h.launch()
            try:
                h.ready.wait(60)
                h.until(lambda: h.proc.poll() is not None or h.command("gc", "--now", check=False).returncode == 0, "the end")
            finally:
                died = h.proc.poll() is not None
                h.kill()
            h.extra = slow
            h.command("fsck", "--full")
            deaths += died
            if not died:
                break
        assert deaths >= 2
        h.extra = dict(slow, BERTH_GC_INTERVAL="10ms")
        h.start()
        drained(h, *layers)
        h.command("gc", "--now")
        assert login(h, "ada", "password-of-ada").get("/repositories/ada/big").status == 404
        assert h.client("ada", "password-of-ada").pull("ada/kept", "v1") == kept
    finally:
        h.close()
