"""What an account stores and has, against its plan: never above it by a byte, whoever pushes at once and whatever is
cut off; afterwards its usage is the sum of what it holds, and nothing stays reserved."""
import json
import os
import random
import sqlite3
import subprocess
import threading

import pytest
from api import Api
from rawhttp import Broken, Closed
from registry import Client, descriptor, digest, dumps, image_doc, quote

KIB = 1 << 10


class World:
    def __init__(self, new_hub, **env):
        env = dict({"gc_delay": "0s", "gc_grace": "0s", "gc_interval": "1h"}, **env)
        self.hub = new_hub(env={"BERTH_" + k.upper(): v for k, v in env.items()})
        self.admin, self.api = self.hub.admin(), Api(self.hub, self.hub.admin_name, self.hub.admin_password)
        self.api.post("/plans", {"name": "small"}, status=201)
        for name in ("alice", "bob"):
            self.api.post("/users", {"name": name, "password": self.password(name)}, status=201)
            self.api.put("/accounts/%s/plan" % name, {"plan": "small"}, status=200)
        self.alice, self.bob = self.user("alice"), self.user("bob")

    def password(self, name):
        return "pw-of-%s-4711" % name

    def user(self, name):
        return Client(self.hub, name, self.password(name))

    def limit(self, **limits):
        self.api.patch("/plans/small", limits, status=200)

    def usage(self, account="alice"):
        return self.api.get("/usage/" + account, status=200).data

    def bytes(self, account="alice"):
        u = self.usage(account)["bytes"]
        return u["used"], u["reserved"]

    def settles(self, used):
        """A refused upload ends behind its answer."""
        self.hub.until(lambda: self.bytes() == (used, 0), "nothing reserved, and %d used" % used)

    def edit(self, sql):
        """In the database of the stopped hub."""
        if self.hub.database:
            subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", self.hub.database, "-c", sql], check=True)
        else:
            db = sqlite3.connect(os.path.join(self.hub.data, "berth.db"), isolation_level=None)
            db.execute(sql)
            db.close()

    def fsck(self, *more):
        """Stops the hub: everything against everything, quotas too."""
        if self.hub.proc is not None:
            self.hub.stop()
        done = self.hub.command("fsck", "--full", "--json", *more, check=False)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        found = [x["item"]["code"] for x in lines if "item" in x and x["item"]["level"] == "problem"]
        assert lines and lines[-1]["done"]["full"] and lines[-1]["done"]["problems"] == len(found), done
        return found


@pytest.fixture
def world(new_hub):
    return World(new_hub)


def blob(n, seed):
    return random.Random(seed).randbytes(n)


def refused(a):
    assert a.status == 403 and a.code == "DENIED" and "quota of bytes" in a.message, a
    return True


def upload(client, repo, data, pieces=1, how="patch"):
    """The last answer: of the piece that was refused, or of the end."""
    if how == "post":
        return client.post("/v2/%s/blobs/uploads/?digest=%s" % (repo, quote(digest(data))), body=data)
    a = client.post("/v2/%s/blobs/uploads/" % repo)
    if a.status != 202:
        return a
    at, size = a.get("Location"), len(data) // pieces + 1
    for i in range(0, len(data), size):
        a = client.patch(at, body=data[i:i + size], chunked=how == "chunked")
        if a.status != 202:
            return a
        at = a.get("Location")
    return client.finish(at, digest(data))


def test_each_blob_once_and_back(world):
    """A layer costs an account once, however many of its repositories link it; what is deleted gives its room back."""
    world.limit(bytes=1 << 20)
    data, config = blob(10 * KIB, 1), b"{}"
    for repo in ("alice/a", "alice/b", "alice/a"):
        for b in (data, config):
            assert upload(world.alice, repo, b).status == 201
    a = world.alice.post("/v2/alice/c/blobs/uploads/?mount=%s&from=alice/a" % digest(data))
    assert a.status == 201 and world.bytes() == (10 * KIB + 2, 0)
    doc = dumps(image_doc(descriptor(config), [descriptor(data)]))
    for repo in ("alice/a", "alice/b"):
        for _ in range(2):
            assert world.alice.put_manifest(repo, "t", doc).status == 201
    assert world.bytes() == (10 * KIB + 2 + len(doc), 0)
    for repo in ("alice/a", "alice/b"):
        assert world.alice.delete("/v2/%s/manifests/%s" % (repo, digest(doc))).status == 202
    assert world.bytes() == (10 * KIB + 2, 0)
    for repo in ("alice/a", "alice/b"):
        assert world.alice.delete("/v2/%s/blobs/%s" % (repo, digest(data))).status == 202
    assert world.bytes() == (10 * KIB + 2, 0)
    world.hub.command("gc", "--now")
    assert world.bytes() == (0, 0)
    assert world.fsck() == []


@pytest.mark.parametrize("how", ["post", "patch", "chunked"])
def test_to_the_byte(world, how):
    world.limit(bytes=100 * KIB)
    assert upload(world.alice, "alice/a", blob(60 * KIB, 1), how=how).status == 201
    assert refused(upload(world.alice, "alice/a", blob(40 * KIB + 1, 2), how=how))
    world.settles(60 * KIB)
    if how == "chunked":  # before it lies in staging, not at the end
        assert refused(world.alice.patch(world.alice.start_upload("alice/a"), body=blob(40 * KIB + 1, 2), chunked=True))
    world.settles(60 * KIB)
    assert upload(world.alice, "alice/a", blob(40 * KIB, 3), how=how).status == 201
    assert world.bytes() == (100 * KIB, 0)
    assert refused(upload(world.alice, "alice/new", b"x", how=how))
    a = world.alice.put_manifest("alice/a", "t", dumps(image_doc(descriptor(b"{}"), [])))
    assert refused(a), a
    assert "small" in world.usage()["bytes"]["why"], world.usage()
    assert upload(world.bob, "bob/a", blob(40 * KIB, 3), how=how).status == 201  # his own room
    a = world.bob.post("/v2/bob/b/blobs/uploads/?mount=%s&from=bob/a" % digest(blob(40 * KIB, 3)))
    assert a.status == 201 and world.bytes("bob") == (40 * KIB, 0)


def test_mounts_count(world):
    """From another account, and into a full one."""
    world.limit(bytes=50 * KIB)
    data, other = blob(30 * KIB, 1), blob(30 * KIB, 2)
    for d in (data, other):
        assert upload(world.admin, "library/base", d).status == 201
    a = world.alice.post("/v2/alice/a/blobs/uploads/?mount=%s&from=library/base" % digest(data))
    assert a.status == 201 and world.bytes() == (30 * KIB, 0)
    assert refused(world.alice.post("/v2/alice/a/blobs/uploads/?mount=%s&from=library/base" % digest(other)))
    assert world.bytes() == (30 * KIB, 0)


def test_a_cancelled_upload_gives_back(world):
    world.limit(bytes=100 * KIB)
    a = world.alice.patch(world.alice.start_upload("alice/a"), body=blob(90 * KIB, 1))
    used, reserved = world.bytes()
    assert used == 0 and 90 * KIB <= reserved <= 100 * KIB
    assert refused(upload(world.alice, "alice/b", blob(20 * KIB, 2)))
    assert world.alice.delete(a.get("Location")).status == 204
    assert world.bytes() == (0, 0)
    a = world.alice.finish(world.alice.start_upload("alice/a"), digest(b"other"), blob(90 * KIB, 1))
    assert a.status == 400 and a.code == "DIGEST_INVALID" and world.bytes() == (0, 0), a
    assert upload(world.alice, "alice/b", blob(100 * KIB, 2)).status == 201


def test_a_shrunk_plan(world):
    """What is stored stays; only less is possible."""
    data = blob(50 * KIB, 1)
    assert upload(world.alice, "alice/a", data).status == 201
    a = world.alice.patch(world.alice.start_upload("alice/a"), body=blob(10 * KIB, 2))
    world.limit(bytes=20 * KIB)
    assert refused(world.alice.finish(a.get("Location"), digest(blob(10 * KIB, 2))))
    assert world.alice.get("/v2/alice/a/blobs/" + digest(data)).status == 200
    assert world.alice.delete("/v2/alice/a/blobs/" + digest(data)).status == 202
    assert world.bytes() == (0, 0) and upload(world.alice, "alice/a", blob(20 * KIB, 3)).status == 201


def storm(world, seed, limit, deletes):
    """One pusher's work until the hub is gone."""
    rnd, c = random.Random(seed), world.user("alice")
    for n in range(14):
        repo, data = "alice/r%d" % rnd.randrange(3), blob(rnd.randrange(1, 40 * KIB), rnd.randrange(40))
        how = rnd.choice(["post", "patch", "chunked", "chunked", "cancel", "mount", "delete", "cut"])
        try:
            if how == "cancel":
                a = c.patch(c.start_upload(repo), body=data, chunked=True)
                if a.status == 202:
                    assert c.delete(a.get("Location")).status == 204
            elif how == "mount":
                a = c.post("/v2/%s/blobs/uploads/?mount=%s&from=alice/r0" % (repo, quote(digest(data))))
            elif how == "delete":
                a = c.delete("/v2/%s/blobs/%s" % (repo, digest(data))) if deletes else None
            elif how == "cut":  # the connection ends in the middle of a body
                at = c.start_upload(repo)
                head = ("PATCH %s HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" %
                        (c.hub.path_of(at), c.authorization(None), 40 * KIB)).encode()
                with c.hub.connect() as conn:
                    conn.send_most(head + data)
                a = None
            else:
                a = upload(c, repo, data, rnd.randrange(1, 4), how)
            assert a is None or a.status in (201, 202, 403, 404), a
        except (Closed, Broken, OSError):
            return  # killed
        used, reserved = world.bytes() if n % 4 == 0 and world.hub.proc else (0, 0)
        assert used + reserved <= limit, (used, reserved)


def run_storm(world, seeds, limit, deletes=True):
    wrong = []

    def one(seed):
        try:
            storm(world, seed, limit, deletes)
        except (Closed, Broken, OSError):
            pass
        except Exception as e:  # noqa: BLE001 (shown below)
            wrong.append(repr(e))

    threads = [threading.Thread(target=one, args=(s,)) for s in seeds]
    for t in threads:
        t.start()
    return threads, wrong


def test_a_storm_never_passes_the_limit(world):
    """Chunks of unknown length, mounts, cancels, cut connections, collection, kill -9."""
    limit = 150 * KIB
    world.limit(bytes=limit)
    for kill in (True, False):
        threads, wrong = run_storm(world, range(8 * kill, 8 * kill + 8), limit)
        if kill:
            threads[0].join(0.4)
            world.hub.kill()
        for t in threads:
            t.join()
        assert not wrong, wrong
        if kill:
            world.hub.start()
            used, reserved = world.bytes()
            assert used + reserved <= limit
    world.hub.until(lambda: sum(world.bytes()) <= limit, "the cut ones end")
    world.hub.command("gc", "--now")
    assert world.fsck() == []  # sums are those of rows, rows those of links
    world.hub.extra["BERTH_UPLOAD_EXPIRY"] = "1s"
    world.hub.extra["BERTH_GC_INTERVAL"] = "1s"
    world.hub.start()
    world.hub.until(lambda: world.bytes()[1] == 0, "nothing stays reserved")
    for n in range(3):  # and with everything deleted nothing is used
        assert world.api.delete("/repositories/alice/r%d" % n).status in (204, 404)
    world.hub.until(lambda: world.bytes() == (0, 0), "all is given back")
    assert world.usage()["private_repos"]["used"] == 0 and world.fsck() == []


def test_fsck_finds_and_repairs(world):
    world.limit(bytes=1 << 20)
    assert upload(world.alice, "alice/a", blob(30 * KIB, 1)).status == 201
    world.hub.stop()
    for edit in ("UPDATE usage SET used = used + 1 WHERE kind = 1", "UPDATE account_blobs SET links = links + 1",
                 "DELETE FROM account_blobs", "UPDATE usage SET used = 7 WHERE kind = 2"):
        world.edit(edit)
        assert world.fsck() == ["usage"], edit
        assert world.fsck("--repair") == ["usage"] and world.fsck() == [], edit
    world.hub.start()
    assert world.bytes() == (30 * KIB, 0)


def test_private_repositories_collaborators_and_seats(world):
    """However they come and go: by the API, by a push, by a user's or repository's end."""
    api, alice = world.api, Api(world.hub, "alice", world.password("alice"))
    api.post("/users", {"name": "carol", "password": world.password("carol")}, status=201)
    world.limit(private_repos=2, collaborators=2, seats=2)

    def used(account="alice"):
        u = world.usage(account)
        return u["private_repos"]["used"], u["collaborators"]["used"], u["seats"]["used"]

    alice.post("/repositories", {"name": "alice/a"}, status=201)
    alice.post("/repositories", {"name": "alice/open", "visibility": "public"}, status=201)
    world.alice.push_blob("alice/b", b"x")
    assert used() == (2, 0, 0)
    assert upload(world.alice, "alice/c", b"x").status == 403
    a = alice.post("/repositories", {"name": "alice/c"}, status=403)
    assert "private_repos" in a.data["detail"], a
    alice.patch("/repositories/alice/open", {"visibility": "private"}, status=403)
    alice.patch("/repositories/alice/a", {"visibility": "public"}, status=200)
    alice.patch("/repositories/alice/open", {"visibility": "private"}, status=200)
    assert used() == (2, 0, 0)
    for user, level, status in (("bob", "read", 200), ("bob", "write", 200), ("carol", "read", 200), ("admin", "read", 403)):
        alice.put("/repositories/alice/b/collaborators/" + user, {"level": level}, status=status)
    alice.put("/repositories/alice/a/collaborators/bob", {"level": "read"}, status=200)  # public: free
    assert used() == (2, 2, 0)
    alice.delete("/repositories/alice/b/collaborators/carol", status=204)
    alice.put("/repositories/alice/open/collaborators/carol", {"level": "read"}, status=200)
    assert used() == (2, 2, 0)
    api.delete("/users/carol", status=204)
    assert used() == (2, 1, 0)
    alice.delete("/repositories/alice/b", status=204)
    assert used() == (1, 0, 0)
    alice.post("/orgs", {"name": "acme"}, status=201)
    api.put("/accounts/acme/plan", {"plan": "small"}, status=200)
    alice.put("/orgs/acme/members/bob", {"role": "member"}, status=200)
    alice.put("/orgs/acme/members/bob", {"role": "editor"}, status=200)
    a = alice.put("/orgs/acme/members/admin", {"role": "member"}, status=403)
    assert "seats" in a.data["detail"], a
    assert used("acme") == (0, 0, 2)
    alice.delete("/orgs/acme/members/bob", status=204)
    alice.put("/orgs/acme/members/admin", {"role": "member"}, status=200)
    assert used("acme") == (0, 0, 2) and world.fsck() == []


def test_the_newest_private_repositories_lock(world):
    """When the plan shrinks; until others go, or it grows."""
    alice = Api(world.hub, "alice", world.password("alice"))
    for name in "abc":
        world.alice.push_image("alice/" + name, "t", name.encode())
    bearer = Client(world.hub, "alice", world.password("alice"), mode="bearer")

    def state():
        got = [{c.get("/v2/alice/%s/manifests/t" % name).status for c in (world.alice, bearer, world.admin)} for name in "abc"]
        pushes = [upload(world.alice, "alice/" + name, os.urandom(9)).status for name in "abc"]
        assert all(len(s) == 1 for s in got) and [p == 201 for p in pushes] == [s == {200} for s in got], (got, pushes)
        return [s == {200} for s in got]

    assert state() == [True, True, True]
    world.limit(private_repos=1)
    assert state() == [True, False, False]
    a = world.alice.get("/v2/alice/c/manifests/t")
    assert a.status == 403 and a.code == "DENIED" and "locked" in a.message, a
    assert world.bob.get("/v2/alice/c/manifests/t").status == 404
    alice.patch("/repositories/alice/a", {"visibility": "public"}, status=200)
    assert state() == [True, True, False]
    a = world.alice.post("/v2/alice/b/blobs/uploads/?mount=%s&from=alice/c" % digest(b"layer 0 of c"))
    assert a.status == 202, a  # not out of a locked one
    alice.delete("/repositories/alice/b", status=204)
    assert world.alice.get("/v2/alice/c/manifests/t").status == 200
    world.limit(private_repos=0)
    assert world.alice.get("/v2/alice/c/manifests/t").status == 403
    world.api.put("/accounts/alice/plan", {"plan": "unlimited"}, status=200)
    assert world.alice.get("/v2/alice/c/manifests/t").status == 200
    world.api.put("/accounts/alice/plan", {"plan": "small"}, status=200)
    assert world.alice.get("/v2/alice/c/manifests/t").status == 403
    alice.delete("/repositories/alice/c", status=204)
