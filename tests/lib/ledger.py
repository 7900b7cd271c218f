"""regcheck: a client that keeps a ledger of what it was told, and checks a registry against it.

Every key (a blob, manifest or tag of a repository, an upload session) is a register. Each request that may change
it is an operation with the times of its start and end and one of three outcomes: ok (answered 2xx), failed (answered
4xx, changed nothing) or unknown (no whole answer, or 5xx: it may have happened, now or at any time later). A value
read back is right when some operation with that value is not older than an acknowledged one: nothing
acknowledged is lost, and what was acknowledged as deleted stays deleted.
"""
import itertools
import random
import threading
import time

from rawhttp import Broken, Conn, build
from registry import CONFIG, IMAGE, LAYER, basic, descriptor, digest, dumps, image_doc, quote

INFINITY = float("inf")
ACCEPT = ("Accept", "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json")


class Gone(Exception):
    """The connection broke before the answer was whole."""


class Unexpected(Exception):
    """An answer that this request must not get while the server is sound."""


class Op:
    __slots__ = ("value", "t0", "t1", "ack")

    def __init__(self, value, t0, t1=INFINITY, ack=None):
        self.value, self.t0, self.t1, self.ack = value, t0, t1, ack


class Ledger:
    """mark: called with the number of each acknowledgement (a power-cut test puts it into its write log)."""

    def __init__(self, mark=None):
        self.keys, self.lock, self.mark = {}, threading.Lock(), mark
        self.numbers, self.acked, self.unknown, self.failed = itertools.count(1), 0, 0, 0
        self.dirty = set()      # touched since they were last read back
        self.referrers = {}     # (repo, subject) -> manifests that name it
        self.content = {}       # ("u", repo, location) -> what the session is meant to become

    def begin(self, changes):
        """changes: [(key, value)]; one request may change several keys."""
        now = time.monotonic()
        ops = []
        with self.lock:
            for key, value in changes:
                op = Op(value, now)
                self.keys.setdefault(key, []).append(op)
                self.dirty.add(key)
                ops.append((key, op))
        return ops

    def ok(self, ops):
        now = time.monotonic()
        number = next(self.numbers)
        if self.mark:
            self.mark(number)
        with self.lock:
            self.acked += 1
            for _, op in ops:
                op.t1, op.ack = now, number

    def fail(self, ops):
        with self.lock:
            self.failed += 1
            for key, op in ops:
                self.keys[key].remove(op)

    def leave(self, ops):
        """Unknown."""
        with self.lock:
            self.unknown += 1

    def allowed(self, key, upto=None):
        """The values the key may have after a crash. upto: says of an acknowledgement's number whether it was given
        before the crash (default: all were)."""
        known, maybe = [Op(None, -2.0, -1.0, 0)], []
        for op in self.keys.get(key, ()):
            (known if op.ack is not None and (upto is None or op.ack == 0 or upto(op.ack)) else maybe).append(op)
        newest = max(op.t0 for op in known)
        return {op.value for op in known if op.t1 >= newest} | {op.value for op in maybe}, bool(maybe)

    def acknowledged(self, key, upto):
        return any(op.ack is not None and (upto is None or upto(op.ack)) for op in self.keys[key])

    def fits(self, key, value, upto=None):
        values, maybe = self.allowed(key, upto)
        if value in values:
            return True
        if key[0] == "u" and maybe and value is not None:  # a part of a broken PATCH may have been kept
            sizes = [v for v in values if v is not None]
            return bool(sizes) and (min(sizes) if None not in values else 0) <= value <= max(sizes)
        return False

    def settle(self, key, value):
        """What was read back after the crash is what is there from now on."""
        with self.lock:
            self.keys[key] = [Op(value, -1.0, -1.0, 0)]
            self.dirty.discard(key)

    def forget(self, key):
        with self.lock:
            self.keys.pop(key, None)
            self.dirty.discard(key)

    def now(self, key):
        """The last acknowledged value, for choosing what to do next; no judgement."""
        ops = [op for op in self.keys.get(key, ()) if op.ack is not None]
        return ops[-1].value if ops else None


class Target:
    """The registry under test. berth: with tokens that outlive its restarts; else no credentials.

    can: what the registry's API offers beyond the common part."""

    def __init__(self, host, port, hub=None, can=("tag-delete", "sha512", "referrers", "single-post")):
        self.host, self.port, self.hub, self.can = host, port, hub, set(can)
        self.tokens, self.lock = {}, threading.Lock()

    def connect(self):
        return Conn(self.host, self.port)

    def authorize(self, repos):
        """One token for up to 16 repositories."""
        repos = list(repos)
        for at in range(0, len(repos), 16):
            part = repos[at:at + 16]
            c = self.connect()
            query = "&".join("scope=" + quote("repository:%s:pull,push,delete" % r) for r in part)
            a = c.request("GET", "/token?service=%s&%s" % (quote(self.hub.service), query),
                          [("Authorization", basic(self.hub.admin_name, self.hub.admin_password))])
            c.close()
            if a.status != 200:
                raise Unexpected("token: %r" % a)
            token = a.json()["token"]
            self.hub.secrets.add(token)
            with self.lock:
                for r in part:
                    self.tokens[r] = token

    def headers(self, repo):
        if self.hub is None:
            return []
        if repo not in self.tokens:
            self.authorize([repo])
        return [("Authorization", "Bearer " + self.tokens[repo])]


class Wire:
    """One connection of one thread; a broken one is Gone, once."""

    def __init__(self, target):
        self.target, self.conn = target, None
        self.sent_at = None  # of the request under way

    def close(self):
        if self.conn is not None:
            self.conn.close()
        self.conn = None

    def request(self, method, path, repo, headers=(), body=None, chunked=False):
        if path.startswith("http"):
            path = "/" + path.split("/", 3)[3]
        try:
            if self.conn is None or not self.conn.usable:
                self.close()
                self.conn = self.target.connect()
            items = self.target.headers(repo) + list(headers)
            data = build(method, path, items, body, chunked, "%s:%d" % (self.target.host, self.target.port))
            self.sent_at = time.monotonic()
            self.conn.send_most(data)
            a = self.conn.answer(method, check=False)
        except (OSError, Broken) as e:
            self.close()
            raise Gone(str(e)) from None
        self.sent_at = None
        return a

    def many(self, requests):
        """Pipelined GETs: [(path, repo)] -> answers, as many as came."""
        out = []
        try:
            if self.conn is None or not self.conn.usable:
                self.close()
                self.conn = self.target.connect()
            host = "%s:%d" % (self.target.host, self.target.port)
            self.conn.send_most(b"".join(build("GET", path, self.target.headers(repo) + [ACCEPT], None, False, host)
                                         for path, repo in requests))
            for _ in requests:
                out.append(self.conn.answer("GET", check=False))
        except (OSError, Broken):
            self.close()
        return out


# --- reading back
def path_of(key):
    kind, repo, name = key
    if kind == "u":
        return name
    return "/v2/%s/%s/%s" % (repo, "blobs" if kind == "b" else "manifests", name)


def value_of(key, a):
    """(value, None), or (None, what is wrong with the answer)."""
    kind, _, name = key
    if a.status == 404:
        return None, None
    if kind == "u":
        if a.status != 204:
            return None, "status %d" % a.status
        return int(a.get("Range", "0-0").split("-")[1]) + 1, None
    if a.status != 200:
        return None, "status %d %r" % (a.status, a.body[:200])
    if kind == "t":
        have = a.get("Docker-Content-Digest", "")
        if digest(a.body, have.split(":")[0] or "sha256") != have:
            return None, "the bytes do not match %s" % have
        return have, None
    if digest(a.body, name.split(":")[0]) != name:
        return None, "the bytes do not match the digest"
    return "there", None


class Report:
    """What a check found: lists of text."""

    def __init__(self):
        self.lost, self.corrupt, self.read, self.lock = [], [], 0, threading.Lock()

    def __bool__(self):
        return not self.lost and not self.corrupt

    def __str__(self):
        return "\n".join(["LOST " + x for x in self.lost[:20]] + ["CORRUPT " + x for x in self.corrupt[:20]])

    def add(self, other):
        self.lost += other.lost
        self.corrupt += other.corrupt
        self.read += other.read


def check_one(ledger, key, a, report, upto, settle):
    value, wrong = value_of(key, a)
    if wrong:
        report.corrupt.append("%s: %s" % (key, wrong))
        return
    if not ledger.fits(key, value, upto):
        report.lost.append("%s: is %s, may be %s" % (key, value, sorted(map(str, ledger.allowed(key, upto)[0]))))
    elif settle:
        ledger.settle(key, value)


def read_part(target, ledger, keys, report, upto, settle, depth):
    wire = Wire(target)
    part = Report()
    for at in range(0, len(keys), depth):
        some = keys[at:at + depth]
        answers = wire.many([(path_of(k), k[1]) for k in some])
        for key, a in zip(some, answers):
            check_one(ledger, key, a, part, upto, settle)
        for key in some[len(answers):]:
            try:
                check_one(ledger, key, wire.request("GET", path_of(key), key[1], [ACCEPT]), part, upto, settle)
            except Gone as e:
                part.corrupt.append("%s: no answer: %s" % (key, e))
        part.read += len(some)
    wire.close()
    with report.lock:
        report.add(part)


def read_back(target, ledger, keys, upto=None, settle=True, threads=2, depth=16):
    """Reads the keys and compares. settle: the ledger takes over what is there (after a crash)."""
    keys, report = list(keys), Report()
    if target.hub is not None:
        target.authorize({k[1] for k in keys} - set(target.tokens))
    threads = max(1, min(threads, len(keys) // 50))
    parts = [threading.Thread(target=read_part, args=(target, ledger, keys[i::threads], report, upto, settle, depth))
             for i in range(threads)]
    for t in parts:
        t.start()
    for t in parts:
        t.join()
    return report


def finish_sessions(target, ledger, upto=None, most=8):
    """Sessions with acknowledged bytes are completed: 201 says that every byte was still there."""
    report, wire = Report(), Wire(target)
    for key in [k for k in ledger.keys if k[0] == "u"][-most:]:
        if not ledger.acknowledged(key, upto) or None in ledger.allowed(key, upto)[0]:
            continue  # nothing promised, or a commit may have taken it
        a = wire.request("GET", key[2], key[1])
        value, wrong = value_of(key, a)
        if wrong or value is None:
            continue  # read_back judges it
        data = ledger.content[key]
        a = wire.request("PUT", with_digest(key[2], digest(data)), key[1], body=data[value:])
        if a.status != 201:
            report.lost.append("%s: cannot be finished at %s: %r" % (key, value, a))
    wire.close()
    return report


def check_lists(target, ledger):
    """After all keys were settled: tag lists and referrers say what the objects themselves say."""
    report, wire = Report(), Wire(target)
    tags = {}
    for (kind, repo, name), ops in ledger.keys.items():
        if kind == "t":
            tags.setdefault(repo, set()).update([name] if ops and ops[-1].value else [])
    for repo, want in sorted(tags.items()):
        a = wire.request("GET", "/v2/%s/tags/list?n=1000" % repo, repo)
        have = set(a.json()["tags"] or ()) if a.status == 200 else set()
        if have != want:
            report.lost.append("tags of %s differ by %s" % (repo, sorted(have ^ want)[:5]))
    for (repo, subject), manifests in sorted(ledger.referrers.items()):
        want = {m for m in manifests if ledger.now(("m", repo, m))}
        a = wire.request("GET", "/v2/%s/referrers/%s" % (repo, subject), repo)
        have = {m["digest"] for m in a.json()["manifests"]} if a.status == 200 else None
        if have != want:
            report.lost.append("referrers of %s@%s: %s, want %s" % (repo, subject, have, want))
    wire.close()
    return report


# --- writing
def with_digest(location, want):
    return location + ("&" if "?" in location else "?") + "digest=" + quote(want)


class Writer:
    """One client that pushes at random, one request at a time."""

    WEIGHTS = {"blob": 30, "image": 20, "retag": 8, "untag": 4, "delete_manifest": 3, "delete_blob": 8, "again": 4,
               "mount": 6, "partial": 7, "resume": 7, "cancel": 1, "referrer": 4, "large": 1}

    def __init__(self, number, target, ledger, seed, repos, weights=None):
        self.number, self.target, self.ledger, self.repos = number, target, ledger, repos
        self.rng = random.Random("%s/%d" % (seed, number))
        self.wire = Wire(target)
        self.ops, self.weights = zip(*(weights or self.WEIGHTS).items())
        self.loose, self.deleted, self.sessions, self.images = [], [], [], []
        self.count = 0

    def step(self):
        """One operation of one or more requests. Gone: the server went away in the middle."""
        getattr(self, self.rng.choices(self.ops, self.weights)[0])()

    # --- requests with their entry in the ledger
    def change(self, changes, want, method, path, repo, applied=(200, 201, 202, 204), **kw):
        """None when it was refused; Unexpected when the status is not in want. applied: the statuses that say that
        the change was made."""
        ops = self.ledger.begin(changes)
        try:
            a = self.wire.request(method, path, repo, **kw)
        except Gone:
            self.ledger.leave(ops)
            raise
        if 200 <= a.status < 300:
            if a.status not in want:
                self.ledger.leave(ops)
                raise Unexpected("%s %s: %r" % (method, path, a))
            if a.status in applied:
                self.ledger.ok(ops)
            else:
                self.ledger.fail(ops)
            return a
        if a.status >= 500:
            self.ledger.leave(ops)
            self.refused(method, path, a)
            return None
        self.ledger.fail(ops)
        if a.status not in want:
            raise Unexpected("%s %s: %r" % (method, path, a))
        return None

    def refused(self, method, path, a):
        raise Unexpected("%s %s: %r" % (method, path, a))

    def plain(self, want, method, path, repo, **kw):
        a = self.wire.request(method, path, repo, **kw)
        if a.status >= 500:
            self.refused(method, path, a)
            return None
        if a.status not in want:
            raise Unexpected("%s %s: %r" % (method, path, a))
        return a

    # --- content
    def repo(self):
        return self.rng.choice(self.repos)

    def fresh(self):
        r = self.rng.random()
        n = self.rng.randint(40, 4000) if r < 0.75 else self.rng.randint(4096, 65536)
        return self.rng.randbytes(n)

    def pooled(self):
        """Content that several writers push, delete and push again at the same time."""
        k = self.rng.randrange(24)
        return random.Random("pool/%d" % k).randbytes(600 + 700 * k)

    def start(self, repo, query=""):
        a = self.plain((202,), "POST", "/v2/%s/blobs/uploads/%s" % (repo, query), repo)
        return a and a.get("Location")

    def push(self, repo, data, form=None, alg="sha256"):
        """True when the blob is acknowledged."""
        want = digest(data, alg)
        key = [(("b", repo, want), "there")]
        form = form or self.rng.choice(["put", "put", "single", "stream", "chunks", "sha512"])
        if form == "sha512" and "sha512" in self.target.can:
            alg, form = "sha512", "put" if self.rng.random() < 0.5 else "chunks"
            want = digest(data, alg)
            key = [(("b", repo, want), "there")]
        if form == "single" and "single-post" in self.target.can:
            a = self.change(key, (201,), "POST", "/v2/%s/blobs/uploads/?digest=%s" % (repo, quote(want)), repo, body=data)
            return want if a else None
        location = self.start(repo, "?digest-algorithm=sha512" if alg == "sha512" else "")
        rest = data
        if location and form == "stream":
            a = self.plain((202,), "PATCH", location, repo, body=data, chunked=True,
                           headers=[("Content-Type", "application/octet-stream")])
            location, rest = a and a.get("Location"), b""
        elif location and form == "chunks":
            cut = self.rng.randint(1, len(data) - 1)
            location, rest = self.patch(repo, location, 0, data[:cut]), data[cut:]
        if not location:
            return None
        a = self.change(key, (201,), "PUT", with_digest(location, want), repo, body=rest)
        return want if a else None

    def patch(self, repo, location, at, piece):
        a = self.plain((202,), "PATCH", location, repo, body=piece,
                       headers=[("Content-Range", "%d-%d" % (at, at + len(piece) - 1)),
                                ("Content-Type", "application/octet-stream")])
        return a and a.get("Location")

    # --- operations
    def blob(self):
        repo, data = self.repo(), self.pooled() if self.rng.random() < 0.4 else self.fresh()
        want = self.push(repo, data)
        if want:
            self.loose.append((repo, want, data))
            del self.loose[:-40]

    def large(self):
        self.push(self.repo(), self.rng.randbytes(self.rng.randint(256 << 10, 1 << 20)))

    def manifest(self, repo, tag=None, subject=None):
        """Config and layers are pushed first; returns (digest, bytes) when all was acknowledged."""
        self.count += 1
        config = dumps({"architecture": "amd64", "os": "linux", "n": "%d/%d/%x" % (
            self.number, self.count, self.rng.getrandbits(64))})
        layers = [self.fresh() for _ in range(self.rng.randint(1, 2))]
        for data in [config] + layers:
            if not self.push(repo, data, self.rng.choice(["put", "single", "stream"])):
                return None
        more = {"subject": subject} if subject else {}
        doc = dumps(image_doc(descriptor(config, CONFIG), [descriptor(x, LAYER) for x in layers], **more))
        want = digest(doc)
        if subject:
            self.ledger.referrers.setdefault((repo, subject["digest"]), set()).add(want)
        return self.put_manifest(repo, tag, doc) and (want, doc)

    def put_manifest(self, repo, tag, doc):
        want = digest(doc)
        changes = [(("m", repo, want), "there")] + ([(("t", repo, tag), want)] if tag else [])
        return self.change(changes, (201,), "PUT", "/v2/%s/manifests/%s" % (repo, tag or want), repo, body=doc,
                           headers=[("Content-Type", IMAGE)])

    def image(self):
        """Half of them under tags that all writers share: those manifests are never deleted."""
        repo, r = self.repo(), self.rng.random()
        if r < 0.5:
            self.manifest(repo, "shared%d" % self.rng.randrange(4))
            return
        tag = "w%d-%d" % (self.number, self.rng.randrange(8)) if r < 0.85 else None
        got = self.manifest(repo, tag)
        if got:
            self.images.append((repo, got[0], got[1], {tag} if tag else set()))
            if tag:  # it no longer points at an older one
                for other in self.images[:-1]:
                    if other[0] == repo:
                        other[3].discard(tag)
            del self.images[:-30]

    def retag(self):
        if not self.images:
            return
        repo, want, doc, tags = self.rng.choice(self.images)
        tag = "w%d-%d" % (self.number, self.rng.randrange(8))
        if self.put_manifest(repo, tag, doc):
            for other in self.images:
                if other[0] == repo:
                    other[3].discard(tag)
            tags.add(tag)

    def untag(self):
        with_tags = [x for x in self.images if x[3]]
        if "tag-delete" not in self.target.can or not with_tags:
            return
        repo, _, _, tags = self.rng.choice(with_tags)
        tag = self.rng.choice(sorted(tags))
        tags.discard(tag)
        self.change([(("t", repo, tag), None)], (202, 404), "DELETE", "/v2/%s/manifests/%s" % (repo, tag), repo)

    def delete_manifest(self):
        """With every tag of this writer: its tags are all that may point at it."""
        if not self.images:
            return
        repo, want, _, _ = self.images.pop(self.rng.randrange(len(self.images)))
        keys = [(("m", repo, want), None)]
        keys += [(key, None) for key in [("t", repo, "w%d-%d" % (self.number, i)) for i in range(8)]
                 if want in self.ledger.allowed(key)[0]]
        if len(keys) > 1 and any(self.ledger.now(k) != want for k, _ in keys[1:]):
            return  # an unknown outcome: the next reading back tells what the tag is
        self.change(keys, (202, 404), "DELETE", "/v2/%s/manifests/%s" % (repo, want), repo)

    def delete_blob(self):
        if not self.loose:
            return
        repo, want, data = self.loose.pop(self.rng.randrange(len(self.loose)))
        self.change([(("b", repo, want), None)], (202, 404), "DELETE", "/v2/%s/blobs/%s" % (repo, want), repo)
        self.deleted.append((repo, data))
        del self.deleted[:-20]

    def again(self):
        if self.deleted:
            repo, data = self.deleted.pop(self.rng.randrange(len(self.deleted)))
            self.push(repo, data)

    def mount(self):
        if not self.loose:
            return
        source, want, _ = self.rng.choice(self.loose)
        repo = self.repo()
        if repo == source:
            return
        path = "/v2/%s/blobs/uploads/?mount=%s&from=%s" % (repo, quote(want), quote(source))
        a = self.change([(("b", repo, want), "there")], (201, 202), "POST", path, repo, applied=(201,))
        if a and a.status == 202:  # it is not there any more: a session, which is given back
            self.plain((204,), "DELETE", a.get("Location"), repo)

    def partial(self):
        """Leaves a session behind, with bytes that were acknowledged."""
        repo, data = self.repo(), self.rng.randbytes(self.rng.randint(2000, 40000))
        location = self.start(repo)
        if not location:
            return
        key = ("u", repo, location)
        self.ledger.content[key] = data
        self.extend(key, 0, self.rng.randint(1000, len(data) - 500))
        self.sessions.append(key)

    def extend(self, key, at, to):
        data = self.ledger.content[key]
        a = self.change([(key, to)], (202,), "PATCH", key[2], key[1], body=data[at:to],
                        headers=[("Content-Range", "%d-%d" % (at, to - 1)),
                                 ("Content-Type", "application/octet-stream")])
        return a is not None

    def resume(self):
        """Goes on where the server says, as a client does after a broken connection."""
        if not self.sessions:
            return
        key = self.sessions.pop(self.rng.randrange(len(self.sessions)))
        if self.ledger.now(key) is None:
            return
        data = self.ledger.content[key]
        a = self.plain((204, 404), "GET", key[2], key[1])
        if a is None or a.status == 404:
            if a is not None and None not in self.ledger.allowed(key)[0]:
                raise Unexpected("LOST: %s: %r" % (key, a))
            return
        at = value_of(key, a)[0]
        if at + 600 < len(data) and self.rng.random() < 0.4:
            self.extend(key, at, self.rng.randint(at + 500, len(data)))
            self.sessions.append(key)
            return
        want = digest(data)
        self.change([(("b", key[1], want), "there"), (key, None)], (201,), "PUT", with_digest(key[2], want), key[1],
                    body=data[at:])

    def cancel(self):
        if self.sessions:
            key = self.sessions.pop()
            self.change([(key, None)], (204, 404), "DELETE", key[2], key[1])

    def referrer(self):
        if "referrers" not in self.target.can or not self.images:
            return
        repo, want, doc, _ = self.rng.choice(self.images)
        self.manifest(repo, subject={"mediaType": IMAGE, "digest": want, "size": len(doc)})


class Crew:
    """Writers in threads of their own; run() lets them work until the server is gone or halt()."""

    def __init__(self, writers):
        self.writers, self.wrong = writers, []
        self.go, self.idle = threading.Event(), threading.Semaphore(0)
        self.ending = self.halted = False
        self.turn = threading.Condition()
        self.life = 0
        self.broken = []  # when the request was sent that never got its answer
        for w in writers:
            threading.Thread(target=self.main, args=(w,), daemon=True).start()

    def main(self, w):
        seen = 0
        while True:
            with self.turn:
                while self.life == seen:
                    self.turn.wait()
                seen = self.life
            try:
                while not self.halted:
                    w.step()
            except Gone:
                if w.wire.sent_at is not None:
                    self.broken.append(w.wire.sent_at)
            except Exception as e:  # everything else is a finding
                self.wrong.append("%s: %s" % (type(e).__name__, e))
            w.wire.close()
            w.wire.sent_at = None
            self.idle.release()

    def run(self):
        with self.turn:
            self.life += 1
            self.halted, self.broken = False, []
            self.turn.notify_all()

    def in_flight(self):
        return sum(1 for w in self.writers if w.wire.sent_at is not None)

    def halt(self):
        self.halted = True

    def wait(self, timeout=120):
        """All writers have stopped (because the server is gone, or of halt)."""
        for _ in self.writers:
            assert self.idle.acquire(timeout=timeout), "a writer hangs"

