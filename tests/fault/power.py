"""Power cuts: a server works on a volume that logs every write and sync; then the volume is rebuilt as it may be when
the power fails at some point of that log, a server is started on it, and everything that had been acknowledged by
then must be there.

  power.py --volume disk|files [--db sqlite|postgresql] [--images N] [--seed S] [--until-red] [--fs ext4|xfs|btrfs]

disk   the block level: a file system on a loop device on a logging disk (tests/tools/disklog). Of the writes after the
       last flush none, all or a random part are there, torn at 512 bytes. With PostgreSQL its directory is on
       the same volume. Needs root.
files  the file level: the weakest file system that POSIX allows (filemodel.py). It finds what ext4 forgives. With
       PostgreSQL the database is on another machine, which keeps everything, and the volume is cut at the end.

An acknowledgement is put into the same log when it arrives, so a cut behind it must show it.
"""
import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))
sys.path.insert(0, HERE)

from berth import ROOT, Hub, Postgres, free_port  # noqa: E402
from ledger import (Crew, Gone, Ledger, Report, Target, Unexpected, Writer, finish_sessions,  # noqa: E402
                    read_back)
from registry import digest  # noqa: E402
from volumes import Disk, Files, own_mounts, sh  # noqa: E402

START_BOUND = 60
WAL_FULL = 16000000  # bytes; near the 4000 frames after which the server checkpoints and starts from the beginning
ENV = {"BERTH_ACCESS_LOG": "false", "BERTH_LOG_LEVEL": "warn", "BERTH_MIN_FREE": "0", "BERTH_TOKEN_LIFE": "60m",
       "BERTH_GC_GRACE": "1s", "BERTH_SCRUB_RATE": "0", "BERTH_MAX_UPLOADS_PER_USER": "1000000"}
FEWER = {"large": 0}
REPOS = ["ww/r0", "ww/r1", "ww/r2"]


class Server:
    """A hub on a directory of the volume; with PostgreSQL its cluster too."""

    def __init__(self, db, work, external=None, password=None, nested="srv/data"):
        self.db, self.pg = db, os.path.join(work, "pg") if db == "postgresql" and external is None else None
        self.data = os.path.join(work, nested)
        self.hub = Hub("sqlite", data=self.data, start=False, password=password, env=ENV)
        self.hub.database = external

    def start(self):
        if self.pg:
            if os.path.isdir(self.pg + "/data"):
                for stale in ("/data/postmaster.pid", "/.s.PGSQL.5432.lock", "/.s.PGSQL.5432"):
                    if os.path.exists(self.pg + stale):
                        os.unlink(self.pg + stale)
            self.hub.database = sh(ROOT + "/tests/lib/pg", "start", self.pg)
        h = self.hub
        h.launch()
        assert h.ready.wait(START_BOUND) and h.url, "the server does not start: " + h.stderr()[-1500:]
        h.service = h.url.split("//")[1]
        return self

    def kill(self):
        if self.hub.proc is not None:
            self.hub.kill()
        if self.pg:
            try:
                with open(self.pg + "/data/postmaster.pid") as f:
                    pid = int(f.readline())
                stop_postgres(pid)
            except (OSError, ValueError):
                pass

    def close(self):
        self.kill()
        shutil.rmtree(self.hub.own_dir, ignore_errors=True)


def stop_postgres(pid):
    """Immediately: what a cut leaves is what is on the disk."""
    os.kill(pid, signal.SIGQUIT)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            with open("/proc/%d/stat" % pid) as f:
                if f.read().rsplit(")", 1)[1].split()[0] == "Z":
                    return
        except OSError:
            return
        time.sleep(0.005)


class Scene:
    """What happened: the ledger, the positions of the acknowledgements, and facts from the first start."""

    def __init__(self, db, volume, external=None):
        self.db, self.volume, self.external = db, volume, external
        self.ledger = Ledger(self.mark)
        self.known = 0         # acknowledgements before the log began
        self.logging = False
        self.ready = None      # the number of "ready on"
        self.facts, self.password, self.tokens = None, None, {}
        self.victims, self.collected = {}, set()
        self.files = {}        # name below the data directory -> (from which acknowledgement on, bytes)
        self.restored = None   # the number of a restore's end
        self.env = ENV

    def mark(self, number):
        if self.logging:
            self.volume.mark(number)
        else:
            self.known = max(self.known, number)

    def begin_log(self):
        work = self.volume.start()
        self.logging = True
        return work

    # --- what the server did
    def first_start(self, work):
        s = Server(self.db, work, self.external)
        s.start()
        self.ready = next(self.ledger.numbers)
        with open(s.data + "/store.json") as f:
            self.facts = f.read()
        with open(s.data + "/keys/admin-password") as f:
            self.password = s.hub.admin_password = f.read()
        self.mark(self.ready)
        t = Target(s.hub.host, s.hub.port, s.hub)
        t.authorize(REPOS + ["ww/gc", "ww/log"])
        self.tokens = t.tokens
        return s, t

    def again(self, work):
        s = Server(self.db, work, self.external, self.password)
        s.start()
        t = Target(s.hub.host, s.hub.port, s.hub)
        t.tokens = self.tokens
        self.rehost(t)
        return s, t

    @staticmethod
    def rehost(target):
        """Tokens name the service they are for, which is the address: the port must stay."""
        target.authorize(list(target.tokens))

    def load(self, target, writers, seconds, seed, ops=None):
        crew = Crew([Writer(i, target, self.ledger, "%s/%d" % (seed, writers), REPOS,
                            dict(Writer.WEIGHTS, **FEWER)) for i in range(writers)])
        begin = self.ledger.acked
        crew.run()
        end = time.monotonic() + seconds
        while time.monotonic() < end and (ops is None or self.ledger.acked - begin < ops):
            time.sleep(0.005)
        crew.halt()
        crew.wait()
        assert not crew.wrong, crew.wrong

    def load_images(self, target, seed):
        w = Writer(60, target, self.ledger, seed, ["ww/r0"])
        for i in range(10):
            w.manifest("ww/r0", "t%d" % i)
        w.wire.close()

    def fill_log(self, target):
        """SQLite's log is filled beyond one checkpoint, so that it is overwritten in place from then on: then a sync
        of it no longer happens to make everything else durable too."""
        w = Writer(50, target, self.ledger, "fill", ["ww/log"])
        got = w.manifest("ww/log")
        crew = []
        for i in range(8):
            x = Writer(51 + i, target, self.ledger, "fill", ["ww/log"])
            x.WEIGHTS = {"fill": 1}
            x.ops, x.weights = ("fill",), (1,)
            x.fill = lambda x=x, i=i: x.put_manifest("ww/log", "fill%d" % i, got[1])
            crew.append(x)
        crew = Crew(crew)
        crew.run()
        wal = os.path.join(target.hub.data, "berth.db-wal")
        end = time.monotonic() + 120
        while time.monotonic() < end and self.db == "sqlite" and os.path.getsize(wal) < WAL_FULL:
            time.sleep(0.01)
        crew.halt()
        crew.wait()
        assert not crew.wrong, crew.wrong

    def upkeep(self, server, target):
        """Deleted blobs are collected and a damaged one is moved aside, so that their moves are in the log."""
        w = Writer(70, target, self.ledger, "upkeep", ["ww/gc"])
        gone = [w.rng.randbytes(500 + i) for i in range(8)]
        for data in gone:
            w.push("ww/gc", data, "put")
        rotten = [w.rng.randbytes(900 + i) for i in range(5)]
        silent = Writer(71, target, Ledger(), "rot", ["ww/gc"])
        for data in rotten:
            silent.push("ww/gc", data, "put")
            self.victims[digest(data)] = None
        for data in gone:
            want = digest(data)
            w.change([(("b", "ww/gc", want), None)], (202,), "DELETE", "/v2/ww/gc/blobs/" + want, "ww/gc")
            self.collected.add(want)
        for data in rotten:
            want = digest(data)
            with open("%s/blobs/sha256/%s/%s" % (server.data, want[7:9], want[7:]), "r+b") as f:
                f.write(bytes([data[0] ^ 1]))
        for data in rotten:
            self.quarantine(silent, digest(data))
        for _ in range(2):
            time.sleep(1.1)
            server.hub.command("gc", "--now")
        w.wire.close()
        silent.wire.close()

    def quarantine(self, w, want):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                if w.wire.request("GET", "/v2/ww/gc/blobs/" + want, "ww/gc").status == 404:
                    break
            except Gone:
                pass
        self.victims[want] = next(self.ledger.numbers)
        self.mark(self.victims[want])

    def end_log(self, server):
        server.kill()
        self.logging = False
        self.volume.stop()
        self.position = {}
        self.marks, self.flushes = [], []
        for i, (kind, number) in enumerate(self.volume.kinds()):
            if kind == "M":
                self.position[number] = i
                self.marks.append(i)
            elif kind == "F":
                self.flushes.append(i)
        server.close()

    # --- where to cut
    def cuts(self, n, rng, last_only=False):
        """[(record, seed)]; half of them right behind an acknowledgement, with nothing that was not flushed."""
        total = len(self.volume.records)
        if last_only:
            return [(total, 0), (total, 1)][:n] + [(total, rng.randrange(2, 1 << 31)) for _ in range(n - 2)]
        out = []
        if not self.marks or not self.flushes:
            raise AssertionError("nothing in the log")
        birth = [i + 1 for i, (kind, _) in enumerate(self.volume.kinds()) if kind == "R"
                 and self.ready is not None and i < self.position.get(self.ready, 0)]
        for _ in range(n):
            r = rng.random()
            if birth and r < 0.1:  # a name of the first start: there are few, and each claims something
                cut, seed = rng.choice(birth), rng.randrange(2, 1 << 31)
            elif r < 0.5:
                cut, seed = rng.choice(self.marks) + 1, rng.choice([0, 0, 0, rng.randrange(2, 1 << 31)])
            elif r < 0.75:
                cut, seed = rng.choice(self.flushes) + rng.randrange(2), rng.choice([0, 1, rng.randrange(2, 1 << 31)])
            else:
                cut, seed = rng.randrange(total + 1), rng.randrange(2, 1 << 31)
            out.append((cut, seed))
        return sorted(out)

    # --- one image
    def check(self, cut, seed, number):
        """Text of what is wrong; '' when nothing is."""
        def upto(ack):
            return ack <= self.known or self.position.get(ack, cut) < cut
        wrong = ""
        ready = self.ready is not None and upto(self.ready)
        server = None
        try:
            work = self.volume.image(cut, seed, number)
            server = Server(self.db, work, self.external, self.password)
            if ready and self.victims and not self.external:
                wrong = self.check_upkeep(server.data, cut, upto)
            if ready and self.facts and self.restored is None:
                if not os.path.exists(server.data + "/store.json"):
                    wrong += "LOST the store: no store.json\n"
                else:
                    with open(server.data + "/store.json") as f:
                        if f.read() != self.facts:
                            wrong += "LOST the store's id\n"
            wrong += self.check_files(server.data, upto)
            wrong += self.check_layout(server.data)
            server.hub.extra = self.env
            if self.restored is None:
                wrong += self.check_server(server, ready, upto)
            else:
                wrong += self.check_restored(server, upto)
        except (AssertionError, Unexpected, Gone, subprocess.CalledProcessError, sqlite3.Error, OSError) as e:
            wrong += "FAILED %s: %s" % (type(e).__name__, str(e)[-1500:])
        finally:
            if server is not None:
                server.close()
            self.volume.drop(number)
        return wrong

    def check_files(self, data, upto):
        for name, (number, want) in self.files.items():
            path = os.path.normpath(os.path.join(data, name))
            have = None
            if os.path.exists(path):
                with open(path, "rb") as f:
                    have = f.read()
            if upto(number) and have != want:
                return "LOST %s: %s\n" % (name, "not there" if have is None else "other bytes")
        return ""

    def check_restored(self, server, upto):
        """From its end on all is there and serves; before, the directory is refused or empty, never a part."""
        done = upto(self.restored)
        pending = os.path.exists(server.data + "/restore-incomplete")
        empty = not os.path.exists(server.data + "/store.json") and not os.path.exists(server.data + "/berth.db")
        if not done and (pending or empty):
            return ""
        return self.check_server(server, True, lambda number: True)

    @staticmethod
    def check_layout(data):
        """store.json comes last and says that everything else is there."""
        if not os.path.exists(data + "/store.json") or os.path.exists(data + "/restore-incomplete"):
            return ""
        names = ["blobs", "uploads", "trash", "quarantine", "keys"]
        names += ["blobs/%s/%02x" % (alg, i) for alg in ("sha256", "sha512") for i in range(256)]
        missing = [n for n in names if not os.path.isdir(os.path.join(data, n))]
        return "LOST directories beside store.json: %s\n" % missing[:3] if missing else ""

    def check_server(self, server, ready, upto):
        hub = server.hub
        hub.port = free_port()
        if self.tokens and self.service:
            hub.flags = ["--public-url", self.service]
        server.start()
        if not ready or self.service is None:
            return ""
        report = Report()
        target = Target(hub.host, hub.port, hub)
        hub.service = self.service.split("//")[1]
        target.tokens = dict(self.tokens)  # from before the cut: the key must be the same
        keys = [k for k in self.ledger.keys if k[1] in target.tokens and (k[0] != "u" or self.ledger.acknowledged(k, upto))]
        report.add(read_back(target, self.ledger, keys, upto, settle=False, threads=1, depth=32))
        if self.external:  # the next image meets the same database: only look
            report.lost += self.check_sessions(server.data, upto)
        else:
            report.add(finish_sessions(target, self.ledger, upto))
        fresh = Target(hub.host, hub.port, hub)
        fresh.authorize(["ww/r0"])  # with the password from before the cut
        text = "" if report else str(report) + "\n"
        return text + self.fsck(hub)

    def check_sessions(self, data, upto):
        lost = []
        for key in [k for k in self.ledger.keys if k[0] == "u" and self.ledger.acknowledged(k, upto)]:
            sizes = self.ledger.allowed(key, upto)[0]
            if None in sizes:
                continue
            path, want = data + "/uploads/" + key[2].rsplit("/", 1)[1], self.ledger.content[key][:min(sizes)]
            have = b""
            if os.path.exists(path):
                with open(path, "rb") as f:
                    have = f.read(len(want))
            if have != want:
                lost.append("%s: %d of %d acknowledged bytes" % (key, len(have), len(want)))
        return lost

    def fsck(self, hub):
        done = hub.command("fsck", "--full", "--json", check=False)
        problems = []
        for line in done.stdout.splitlines():
            item = json.loads(line).get("item")
            if item and item.get("level") == "problem" and item.get("digest") not in self.victims:
                problems.append(line)
        if problems or '"done"' not in done.stdout:
            return "CORRUPT fsck: %s %s\n" % (done.stderr[-300:], "\n".join(problems[:5]))
        return ""

    def check_upkeep(self, data, cut, upto):
        """The order of the collector's and the quarantine's moves, seen in the files themselves."""
        wrong = ""
        copy = tempfile.mkdtemp(dir=self.volume.scratch)
        for name in ("berth.db", "berth.db-wal"):
            if os.path.exists(os.path.join(data, name)):
                shutil.copy(os.path.join(data, name), copy)
        db = sqlite3.connect(copy + "/berth.db")
        rows = {"sha256:" + d[1:].hex(): s for d, s in db.execute("SELECT digest, state FROM blobs") if d[0] == 1}
        trash = {"sha256:" + d[1:].hex() for d, in db.execute("SELECT digest FROM trash") if d[0] == 1}
        db.close()
        shutil.rmtree(copy)

        def there(want, *folders):
            paths = {"blobs": "blobs/sha256/%s/%s" % (want[7:9], want[7:]), "trash": "trash/sha256-" + want[7:],
                     "quarantine": "quarantine/sha256-" + want[7:]}
            return any(os.path.exists(os.path.join(data, paths[f])) for f in folders)
        unlinked = getattr(self.volume.model, "unlinked", None) if isinstance(self.volume, Files) else None
        for want in self.collected:
            deleted = self.ledger.fits(("b", "ww/gc", want), None, upto) and not self.ledger.fits(
                ("b", "ww/gc", want), "there", upto)
            if want in trash and unlinked is not None and not there(want, "blobs", "trash") and not any(
                    p.endswith("/trash/sha256-" + want[7:]) for p in unlinked):
                wrong += "LOST %s: a row in trash, and no file anywhere\n" % want
            if deleted and want not in rows and want not in trash and there(want, "blobs"):
                wrong += "BACK %s: its rows are gone, its file stands in blobs\n" % want
        for want, number in self.victims.items():
            if number is None or not upto(number):
                continue
            if rows.get(want) == 1 and there(want, "blobs"):
                wrong += "BACK %s: quarantined, and its file stands in blobs\n" % want
            if rows.get(want) == 1 and not there(want, "quarantine"):
                wrong += "LOST %s: quarantined, and its file is nowhere\n" % want
        return wrong


# --- scenes
def scene_life(db, volume, seed, external=None):
    """The first start and all that follows, in one log."""
    s = Scene(db, volume, external)
    work = s.begin_log()
    server, target = s.first_start(work)
    s.service = server.hub.url
    s.load(target, 6, 3, seed, 120)
    s.load(target, 1, 2, seed, 50)
    s.end_log(server)
    return s


def scene_upkeep(db, volume, seed):
    """A collector run that does not wait takes every blob without a manifest, so it has a scene of its own."""
    s = Scene(db, volume)
    server, target = s.first_start(s.begin_log())
    s.service = server.hub.url
    s.load_images(target, seed)
    s.upkeep(server, target)
    s.end_log(server)
    return s


def scene_tls(db, volume, seed):
    """A server that makes its own certificate at its second start (at the first, other syncs would cover it)."""
    s = Scene(db, volume)
    work = s.begin_log()
    server, _ = s.first_start(work)
    server.kill()
    server.hub.extra = s.env = dict(ENV, BERTH_TLS_SELF_SIGNED="true")
    server.start()
    made = next(s.ledger.numbers)
    for name in ("keys/self.crt", "keys/self.key"):
        with open(os.path.join(server.data, name), "rb") as f:
            s.files[name] = (made, f.read())
    s.mark(made)
    s.end_log(server)
    s.service = None
    return s


def scene_copy(db, volume, seed):
    """A backup of a server elsewhere, and its restore into a new directory."""
    s = Scene(db, volume)
    other = tempfile.mkdtemp(prefix="berth-power-source-")
    server, target = s.first_start(other)
    s.service = server.hub.url
    s.load_images(target, seed)
    work = s.begin_log()
    os.mkdir(work + "/out")
    sync_directory(work)
    server.hub.command("backup", work + "/out/berth.tar")
    done = next(s.ledger.numbers)
    with open(work + "/out/berth.tar", "rb") as f:
        s.files["../../out/berth.tar"] = (done, f.read())
    s.mark(done)
    server.hub.run("restore", work + "/out/berth.tar", "--data", work + "/srv/data")
    s.restored = next(s.ledger.numbers)
    s.mark(s.restored)
    s.end_log(server)
    shutil.rmtree(other)
    return s


def sync_directory(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)


def scene_old(db, volume, seed):
    """A server that has been running for a while: SQLite's log is overwritten in place."""
    s = Scene(db, volume)
    work = volume.prepare()
    server, target = s.first_start(work)
    s.service = server.hub.url
    s.fill_log(target)
    port = server.hub.port
    server.close()
    volume.prepared()
    work = s.begin_log()
    server = Server(db, work, None, s.password)
    server.hub.port = port
    server.start()
    target = Target(server.hub.host, port, server.hub)
    target.tokens = s.tokens
    s.load(target, 8, 3, seed, 200)
    s.load(target, 1, 3, seed, 100)
    s.end_log(server)
    return s


# --- images, in two processes
def worker(scene, jobs, number, out, until_red):
    try:
        own_mounts()
        for cut, seed in jobs:
            wrong = scene.check(cut, seed, number)
            out.put((cut, seed, wrong))
            if wrong and until_red:
                break
    except BaseException as e:
        out.put((-1, 0, "FAILED in the test: %r" % e))
    out.put(None)


def run_images(scene, cuts, until_red=False, parallel=2):
    """(images tried, [(cut, seed, what is wrong)])"""
    out = multiprocessing.Queue()
    parts = [cuts[i::parallel] for i in range(parallel)]
    procs = [multiprocessing.Process(target=worker, args=(scene, part, i, out, until_red))
             for i, part in enumerate(parts) if part]
    for p in procs:
        p.start()
    tried, wrong, open_ends = 0, [], len(procs)
    while open_ends:
        got = out.get(timeout=300)
        if got is None:
            open_ends -= 1
            continue
        tried += 1
        if got[2]:
            wrong.append(got)
            if len(wrong) <= 3:
                print("FINDING at record %d of %d, seed %d:\n%s" % (
                    got[0], len(scene.volume.records), got[1], got[2][:1500]), flush=True)
            if until_red:
                break
    for p in procs:
        if until_red and wrong:
            p.terminate()
        p.join()
    return tried, wrong


def make_scene(kind, db, seed, fs):
    if kind == "old":
        return scene_old(db, Disk(fs, 320 if db == "postgresql" else 192), seed)
    if kind == "life":
        return scene_life(db, Disk(fs, 320 if db == "postgresql" else 96), seed)
    if kind == "files":
        return scene_life(db, Files(), seed)
    if kind == "files-tls":
        return scene_tls(db, Files(), seed)
    if kind == "files-copy":
        return scene_copy(db, Files(), seed)
    if kind == "files-upkeep":
        return scene_upkeep(db, Files(), seed)
    if kind == "files-far":
        return scene_life(db, Files(), seed, external=Postgres.get().fresh())
    raise ValueError(kind)


def plan(volume, db, images):
    """[(kind, images)]"""
    if volume == "disk" and db == "postgresql":
        return [("old", images)]  # the cluster itself is made without syncs, so its birth is not cut
    if volume == "disk":
        return [("old", images * 3 // 4), ("life", images - images * 3 // 4)]
    if db == "postgresql":
        return [("files-far", images)]
    parts = {"files-upkeep": images // 5, "files-tls": images // 10, "files-copy": images // 5}
    return [("files", images - sum(parts.values()))] + list(parts.items())


def run(volume, db, images, seed, fs="ext4", until_red=False, only=None):
    """Returns figures; until_red: random order, ends with the first finding; only: this scene."""
    total = {"volume": volume, "db": db, "fs": fs if volume == "disk" else "model", "images": 0, "bad": 0,
             "unrecovered": 0, "acknowledged": 0, "records": 0, "flushes": 0, "first": "", "seed": seed}
    begin = time.monotonic()
    for kind, n in [(only, images)] if only else plan(volume, db, images):
        scene = make_scene(kind, db, "%s/%s" % (seed, kind), fs)
        try:
            cuts = scene.cuts(n, random.Random(seed), kind == "files-far")
            if until_red:
                random.Random(seed).shuffle(cuts)
            tried, wrong = run_images(scene, cuts, until_red, 1 if scene.external else 2)
            total["images"] += tried
            total["bad"] += len(wrong)
            total["unrecovered"] += scene.volume.unrecovered() if volume == "disk" else 0
            total["acknowledged"] += scene.ledger.acked
            total["records"] += len(scene.volume.records)
            total["flushes"] += len(scene.flushes)
            if wrong:
                total["first"] = wrong[0][2].strip().splitlines()[0][:200]
        finally:
            scene.volume.remove()
        if until_red and total["bad"]:
            break
    total["seconds"] = round(time.monotonic() - begin)
    return total


def say(t):
    print("power cut, %s (%s), %s: %d images from %d records with %d flushes, %d acknowledgements; %d s"
          % (t["volume"], t["fs"], t["db"], t["images"], t["records"], t["flushes"], t["acknowledged"], t["seconds"]))
    if t["unrecovered"]:
        print("  %d more could not be mounted: the file system's own recovery gave up" % t["unrecovered"])
    print("%s - power %s %s: images with a loss or damage: %d" % (
        "ok" if not t["bad"] else "not ok", t["volume"], t["db"], t["bad"]))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--volume", default="disk", choices=["disk", "files"])
    p.add_argument("--db", default="sqlite", choices=["sqlite", "postgresql"])
    p.add_argument("--images", type=int, default=100)
    p.add_argument("--seed")
    p.add_argument("--fs", default="ext4", choices=["ext4", "xfs", "btrfs"])
    p.add_argument("--until-red", action="store_true")
    p.add_argument("--scene", help="only this one: old, life, files, files-upkeep, files-tls, files-copy, files-far")
    p.add_argument("--report")
    a = p.parse_args()
    seed = a.seed or str(random.randrange(1 << 32))
    print("seed %s" % seed)
    own_mounts()  # a mount that a container elsewhere has copied would never end
    t = run(a.volume, a.db, a.images, seed, a.fs, a.until_red, a.scene)
    say(t)
    if a.report:
        with open(a.report, "w") as f:
            json.dump(t, f)
    print("%d passed, %d failed" % (not t["bad"], bool(t["bad"])))
    sys.exit(1 if t["bad"] else 0)


if __name__ == "__main__":
    main()
