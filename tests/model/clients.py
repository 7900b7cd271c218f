"""The clients of a run, a process each. They push, pull, move and delete tags, delete manifests, mount; snipers wait
for the moment at which the collector is about to take something, and claim it then. Each writes down what it asked
and was told (history.py says what for)."""
import heapq
import pickle
import random
import threading
import time
import traceback

from rawhttp import Conn, build
from registry import LAYER, basic, descriptor, digest, dumps, image_doc, quote
from world import REPOS, TAGS

LIFE = 0.7  # seconds for which a window of images is in fashion
WINDOW = 5


class Unexpected(Exception):
    pass


class Client:
    def __init__(self, number, target, world, seed, until):
        self.number, self.target, self.world, self.until = number, target, world, until
        self.rng = random.Random("%s/client/%s" % (seed, number))
        self.index, self.grace, self.started = 0, 2.0, time.monotonic()
        self.conn, self.records, self.counts = None, [], {}

    def main(self, path):
        try:
            while time.monotonic() < self.until:
                self.turn()
        except Exception:
            self.note("wrong", "client %s: %s" % (self.number, traceback.format_exc(limit=4)))
        with open(path, "wb") as f:
            pickle.dump((self.records, self.counts), f)

    def note(self, *record):
        self.records.append(record)

    def tally(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    # --- requests
    def ask(self, want, method, path, headers=(), body=None):
        """(inv, resp, answer); a status that is not in want is a fault."""
        host, port, user, password = self.target
        if self.conn is None or not self.conn.usable:
            self.conn = Conn(host, port)
        headers = list(headers) + [("Authorization", basic(user, password))]
        data = build(method, path, headers, body, False, "%s:%d" % (host, port))
        inv = time.monotonic_ns()
        self.conn.send(data)
        a = self.conn.answer(method)
        resp = time.monotonic_ns()
        if a.status not in want:
            raise Unexpected("%s %s: %r" % (method, path, a))
        self.tally("%s %d" % (method, a.status))
        return inv, resp, a

    def path_of(self, location):
        return location if location.startswith("/") else "/" + location.split("/", 3)[3]

    # --- blobs
    def seen(self, repo, d, inv, resp):
        self.note("seen", repo, d, inv, resp)

    def upload(self, repo, d, data, location=None):
        if location is None and self.rng.random() < 0.4:
            path = "/v2/%s/blobs/uploads/?digest=%s" % (repo, quote(d))
            inv, resp, a = self.ask((201,), "POST", path, body=data)
        else:
            if location is None:
                _, _, a = self.ask((202,), "POST", "/v2/%s/blobs/uploads/" % repo)
                location = a.get("Location")
            location = self.path_of(location)
            path = location + ("&" if "?" in location else "?") + "digest=" + quote(d)
            inv, resp, a = self.ask((201,), "PUT", path, body=data)
        self.seen(repo, d, inv, resp)

    def head(self, repo, d):
        inv, resp, a = self.ask((200, 404), "HEAD", "/v2/%s/blobs/%s" % (repo, d))
        if a.status == 200:
            self.seen(repo, d, inv, resp)
        else:
            self.note("miss", repo, d, inv, resp, "HEAD of the blob is 404")
        return a.status == 200

    def fetch(self, repo, d, data):
        inv, resp, a = self.ask((200, 404), "GET", "/v2/%s/blobs/%s" % (repo, d))
        if a.status == 404:
            self.note("miss", repo, d, inv, resp, "GET of the blob is 404")
            return False
        self.seen(repo, d, inv, resp)
        if a.body != data:
            self.note("wrong", "blob %s of %s has other bytes" % (d, repo))
        return True

    def mount(self, repo, d, source):
        """True, or the session that came instead."""
        path = "/v2/%s/blobs/uploads/?mount=%s&from=%s" % (repo, quote(d), quote(source))
        inv, resp, a = self.ask((201, 202), "POST", path)
        if a.status == 201:
            self.seen(repo, d, inv, resp)
            return True
        return a.get("Location")

    def ensure(self, repo, d):
        """As a client pushes a blob: asks, mounts or uploads."""
        data, r = self.world.blobs[d], self.rng.random()
        if r < 0.6 and self.head(repo, d):
            return
        location = None
        if r > 0.45:
            location = self.mount(repo, d, self.rng.choice([x for x in REPOS if x != repo]))
            if location is True:
                return
        self.upload(repo, d, data, location)

    # --- manifests
    def put(self, repo, m, tag=None):
        path = "/v2/%s/manifests/%s" % (repo, tag or m.digest)
        inv, resp, a = self.ask((201,), "PUT", path, [("Content-Type", m.media_type)], m.body)
        self.note("exist", repo, m.digest, "write", True, None, inv, resp)
        self.seen(repo, m.digest, inv, resp)
        if tag:
            self.note("tag", repo, tag, "write", m.digest, None, inv, resp)
        if a.get("Warning"):
            self.tally("manifest named missing blobs")
        return inv, resp

    def claim(self, repo, tag, value, tag_inv, closure, manifests, start, resp):
        self.note("claim", repo, tag, value, tag_inv, tuple(closure), tuple(manifests), start, resp)

    def push(self, repo, m, tag):
        """Everything a manifest needs, then the manifest. (inv of the manifest, closure, manifests)"""
        start = time.monotonic_ns()
        closure, manifests = [m.digest], [m.digest]
        for child in m.children:
            closure.append(child)
            manifests.append(child)
            if self.rng.random() < 0.4 and self.get(repo, child, "HEAD"):
                continue  # is there: its blobs are its own business
            child = self.world.manifests[child]
            for d in child.blobs:
                self.ensure(repo, d)
            self.put(repo, child)
            closure += child.blobs
        for d in m.blobs:
            self.ensure(repo, d)
        inv, resp = self.put(repo, m, tag)
        closure += m.blobs
        self.claim(repo, tag, m.digest, inv, closure, manifests, start, resp)
        return start, inv, closure, manifests

    def attach(self, repo, m, tag):
        """With its subject under a tag: that keeps the artifact, too."""
        start, tag_inv, closure, manifests = self.push(repo, m.subject, tag)
        for d in m.blobs:
            self.ensure(repo, d)
        _, resp = self.put(repo, m)
        self.claim(repo, tag, m.subject.digest, tag_inv, closure + [m.digest] + list(m.blobs), manifests + [m.digest],
                   start, resp)

    def pull_whole(self, repo, m):
        """What the manifest needs, by digest."""
        for child in m.children:
            if self.get(repo, child):
                self.pull_whole(repo, self.world.manifests[child])
        for blob in m.blobs:
            self.fetch(repo, blob, self.world.blobs[blob])

    def get(self, repo, d, method="GET"):
        inv, resp, a = self.ask((200, 404), method, "/v2/%s/manifests/%s" % (repo, d))
        there = a.status == 200
        self.note("exist", repo, d, "read", None, True if there else None, inv, resp)
        if there:
            self.seen(repo, d, inv, resp)
            if method == "GET" and digest(a.body) != d:
                self.note("wrong", "manifest %s of %s has other bytes" % (d, repo))
        else:
            self.note("miss", repo, d, inv, resp, "%s of the manifest is 404" % method)
        return there

    def read_tag(self, repo, tag, method="GET"):
        """The digest; None when there is no such tag."""
        inv, resp, a = self.ask((200, 404), method, "/v2/%s/manifests/%s" % (repo, tag))
        d = a.get("Docker-Content-Digest") if a.status == 200 else None
        self.note("tag", repo, tag, "read", None, d, inv, resp)
        if d and method == "GET" and digest(a.body) != d:
            self.note("wrong", "tag %s of %s: bytes and digest differ" % (tag, repo))
        if d:
            self.note("exist", repo, d, "read", None, True, inv, resp)
        return d

    def delete_manifest(self, repo, d):
        inv, resp, a = self.ask((202, 404), "DELETE", "/v2/%s/manifests/%s" % (repo, d))
        self.note("delete", repo, d, a.status == 202, inv, resp)
        self.note("exist", repo, d, "unset", None, a.status == 202, inv, resp)


class Pusher(Client):
    """What a crowd of users does."""
    WEIGHTS = {"push_image": 24, "push_index": 6, "push_artifact": 5, "retag": 8, "look": 30, "pull": 14,
               "list_tags": 6, "delete_tag": 10, "delete_some_manifest": 5}

    def turn(self):
        names, odds = zip(*self.WEIGHTS.items())
        getattr(self, self.rng.choices(names, odds)[0])()

    def where(self):
        return self.rng.choice(REPOS), self.rng.choice(TAGS)

    def fashion(self, what):
        """Mostly what is in fashion now: the rest has time to become garbage, and then comes back."""
        if self.rng.random() < 0.15:
            return self.rng.choice(what)
        at = int((time.monotonic() - self.started) / LIFE)
        return what[(at + self.rng.randrange(WINDOW)) % len(what)]

    def push_image(self):
        repo, tag = self.where()
        self.push(repo, self.fashion(self.world.images), tag if self.rng.random() < 0.9 else None)

    def push_index(self):
        repo, tag = self.where()
        self.push(repo, self.fashion(self.world.indexes), tag)

    def push_artifact(self):
        repo, tag = self.where()
        self.attach(repo, self.fashion(self.world.artifacts), tag)

    def retag(self, repo=None, to=None):
        repo, tag = repo or self.rng.choice(REPOS), self.rng.choice(TAGS)
        d = self.read_tag(repo, tag)
        if d:
            self.put(repo, self.world.manifests[d], to or self.rng.choice(TAGS))

    def look(self):
        repo, tag = self.where()
        for _ in range(self.rng.randint(1, 4)):
            self.read_tag(repo, tag, self.rng.choice(("GET", "HEAD")))

    def pull(self):
        repo, tag = self.where()
        d = self.read_tag(repo, tag)
        if d:
            self.pull_whole(repo, self.world.manifests[d])
            if self.rng.random() < 0.3:
                self.get(repo, d)

    def list_tags(self, repo=None):
        repo = repo or self.rng.choice(REPOS)
        inv, resp, a = self.ask((200, 404), "GET", "/v2/%s/tags/list" % repo)
        have = set(a.json()["tags"] or ()) if a.status == 200 else set()
        for tag in TAGS:
            self.note("tag", repo, tag, "present", None, tag in have, inv, resp)

    def delete_tag(self, repo=None, tag=None):
        repo, tag = repo or self.rng.choice(REPOS), tag or self.rng.choice(TAGS)
        inv, resp, a = self.ask((202, 404), "DELETE", "/v2/%s/manifests/%s" % (repo, tag))
        self.note("tag", repo, tag, "unset", None, a.status == 202, inv, resp)

    def delete_some_manifest(self):
        repo, tag = self.where()
        d = self.read_tag(repo, tag, "HEAD") if self.rng.random() < 0.7 else None
        self.delete_manifest(repo, d or self.fashion(self.world.images).digest)


class Watcher(Pusher):
    """Reads one tag in turn from the caches of the event loops, each over a connection of its own, and past them: a
    list comes from the database. New, then old, is what must not be."""
    CONNECTIONS = 4

    def turn(self):
        if self.index == 0:  # one of them moves what they all watch
            repo, tag = "model/a", "t0"
            self.rng.choice((self.delete_tag, self.retag))(repo, tag)
            return
        if not hasattr(self, "conns"):
            self.conns = [None] * self.CONNECTIONS
        for look in range(20):
            at = look % self.CONNECTIONS
            self.conn = self.conns[at]
            if self.rng.random() < 0.4:
                self.list_tags("model/a")
            else:
                self.read_tag("model/a", "t0", "HEAD")
            self.conns[at] = self.conn


class Burster(Client):
    """Sends many requests without waiting for answers, some that an event loop answers and some for a worker, in
    pieces that end anywhere. Every one must be answered, in order."""
    REQUESTS = 150

    def turn(self):
        host, port, user, password = self.target
        auth = [("Authorization", basic(user, password))]
        wanted, data = [], b""
        for _ in range(self.REQUESTS):
            r = self.rng.random()
            if r < 0.9:
                method, path, want = "HEAD", "/v2/%s/manifests/t0" % REPOS[0], (200, 404)
            elif r < 0.95:
                method, path, want = "GET", "/v2/%s/tags/list?n=2" % REPOS[0], (200, 404)
            else:
                method, path, want = "GET", "/v2/", (200,)
            wanted.append((method, want))
            data += build(method, path, auth, None, False, "%s:%d" % (host, port))
        if self.conn is None or not self.conn.usable:
            self.conn = Conn(host, port)
        sender = threading.Thread(target=self.send_pieces, args=(data,))
        sender.start()
        for method, want in wanted:
            a = self.conn.answer(method)
            if a.status not in want:
                raise Unexpected("%s in a burst: %r" % (method, a))
            self.tally("%s %d" % (method, a.status))
        sender.join()

    def send_pieces(self, data):
        at = 0
        while at < len(data):
            n = self.rng.choice((700, 5000, 20000, 60000))
            self.conn.send(data[at:at + n])
            at += n


class Lone:
    """One blob of a sniper and the manifest that names it alone."""

    def __init__(self, rng, number):
        self.data = b"%d/" % number + rng.randbytes(200)
        self.blob = digest(self.data)
        doc = image_doc(descriptor(self.data, LAYER), [descriptor(self.data, LAYER)])
        self.body, self.media_type = dumps(doc), doc["mediaType"]
        self.digest = digest(self.body)


class Planner(Client):
    """Has many things going at a time, each with its next action at its time."""

    def __init__(self, *args):
        super().__init__(*args)
        self.jobs, self.made, self.planned = [], 0, 0

    def turn(self):
        if self.made < self.JOBS or len(self.jobs) < self.JOBS:
            self.made += 1
            self.begin(self.made)
        due, _, action, args = heapq.heappop(self.jobs)
        while time.monotonic() < min(due, self.until):
            time.sleep(min(max(due - time.monotonic(), 0), 0.02))
        if time.monotonic() < self.until:
            action(*args)

    def later(self, wait, action, *args):
        self.planned += 1  # no two are equal
        heapq.heappush(self.jobs, (time.monotonic() + wait, self.planned, action, args))


class Keeper(Planner):
    """Tags that stay for a while, so that what they keep alive outlives every delay of the collector: children of
    indexes, artifacts of a tagged subject. Then they go, and what they named comes again."""
    JOBS = 20

    def begin(self, number):
        m = self.world.kept[self.index][number % 20]
        self.hold(self.rng.choice(REPOS), m, "keep%d-%d" % (self.index, number % 20))

    def hold(self, repo, m, tag):
        if m.subject:
            self.attach(repo, m, tag)
        else:
            self.push(repo, m, tag)
        # One look, late: whoever looks earlier puts the collector off.
        self.later(self.grace * self.rng.uniform(1.2, 2.4), self.visit, repo, m, tag)
        self.later(self.grace * self.rng.uniform(2.5, 3.2), self.leave, repo, m, tag)

    def visit(self, repo, m, tag):
        d = self.read_tag(repo, tag)
        if m.subject:
            if d:
                self.pull_whole(repo, m.subject)
            self.list_referrers(repo, m)
        if self.get(repo, m.digest):
            self.pull_whole(repo, m)

    def list_referrers(self, repo, m):
        inv, resp, a = self.ask((200,), "GET", "/v2/%s/referrers/%s" % (repo, m.subject.digest))
        if m.digest not in [x["digest"] for x in a.json()["manifests"]]:
            self.note("miss", repo, m.digest, inv, resp, "not among the referrers")

    def leave(self, repo, m, tag):
        if self.rng.random() < 0.7:
            inv, resp, a = self.ask((202, 404), "DELETE", "/v2/%s/manifests/%s" % (repo, tag))
            self.note("tag", repo, tag, "unset", None, a.status == 202, inv, resp)
        else:
            self.delete_manifest(repo, m.digest)
        self.later(self.rng.uniform(0, self.grace * 1.5), self.hold, repo, m, tag)


class Sniper(Planner):
    """Blobs that nobody names, each asked for again when its time has come: by HEAD, mount or upload, and then kept by
    a manifest within the grace. Later the manifest goes, and the blob is pushed once more when its file is due."""
    JOBS = 100

    def begin(self, number):
        lone, repo = Lone(self.rng, number), self.rng.choice(REPOS)
        self.upload(repo, lone.blob, lone.data)
        self.later(self.grace + self.rng.uniform(-0.08, 0.12), self.claim_at_link, lone, repo)

    def keep(self, lone, repo, start):
        """A manifest for it, now or a little later, but within the grace of what was seen at start."""
        if self.rng.random() < 0.7:
            time.sleep(self.rng.uniform(0, self.grace / 20))
        inv, resp = self.put(repo, lone)
        self.claim(repo, None, lone.digest, inv, [lone.digest, lone.blob], [lone.digest], start, resp)
        for wait in (0, self.grace * 0.9, self.grace * 2):
            self.later(wait, self.fetch, repo, lone.blob, lone.data)
        self.later(self.grace * 2.2, self.let_go, lone, repo)

    def claim_at_link(self, lone, repo):
        """The link is about to be dropped."""
        start, way = time.monotonic_ns(), self.rng.choice(("head", "head", "head", "get", "mount", "upload"))
        there = True
        if way == "head":
            there = self.head(repo, lone.blob)
        elif way == "get":
            there = self.fetch(repo, lone.blob, lone.data)
        elif way == "mount":
            source, repo = repo, self.rng.choice([x for x in REPOS if x != repo])
            got = self.mount(repo, lone.blob, source)
            there = got is True
            if not there:
                self.ask((204,), "DELETE", self.path_of(got))
        else:
            self.upload(repo, lone.blob, lone.data)
        self.tally("sniped %s %s" % (way, "before" if there else "after"))
        if there:
            self.keep(lone, repo, start)
        else:
            self.later_file(lone, repo)

    def let_go(self, lone, repo):
        self.delete_manifest(repo, lone.digest)
        self.later_file(lone, repo)

    def later_file(self, lone, repo):
        """Links go at once or after a grace, files 5 s behind them, out of the trash after another grace."""
        wait = self.rng.choice((5, 5 + self.grace, 5 + 2 * self.grace)) + self.rng.uniform(-0.1, 0.4)
        self.later(wait, self.claim_at_file, lone, repo)

    def claim_at_file(self, lone, repo):
        start = time.monotonic_ns()
        self.upload(repo, lone.blob, lone.data)
        self.tally("sniped file")
        self.fetch(repo, lone.blob, lone.data)
        if self.rng.random() < 0.5:
            self.keep(lone, repo, start)
