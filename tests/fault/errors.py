"""The volume is full, the disk reports errors, descriptors run out, PostgreSQL dies, the server is asked to stop: under
writers with a ledger. Nothing acknowledged is lost, reads go on, and what heals by itself does.

  errors.py [--db sqlite|postgresql] [--only TEXT]
"""
import argparse
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from concurrent.futures import ThreadPoolExecutor

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))
sys.path.insert(0, HERE)

from berth import ROOT, Hub  # noqa: E402
from kills import FIRST_START, SQLITE_ONLY, steps_of_source  # noqa: E402
from ledger import Crew, Gone, Ledger, Target, Writer, read_back, with_digest  # noqa: E402
from power import ENV  # noqa: E402
from rawhttp import build  # noqa: E402
from registry import IMAGE, digest  # noqa: E402
from volumes import Disk, mount_image, own_mounts, sh  # noqa: E402

REPOS = ["ww/r0", "ww/r1", "ww/r2"]
WRITERS = 8
SMALL = {name: n for name, n in Writer.WEIGHTS.items() if name != "large"}


class Patient(Writer):
    """A 5xx is an unknown outcome, counted by status; a broken connection is opened again."""

    def __init__(self, *a, **kw):
        super().__init__(*a, **kw)
        self.statuses, self.cut = {}, []  # cut: when the requests were sent that broke off

    def refused(self, method, path, a):
        self.statuses[a.status] = self.statuses.get(a.status, 0) + 1
        time.sleep(0.005)

    def step(self):
        try:
            super().step()
        except Gone:
            if self.wire.sent_at is not None:
                self.cut.append(self.wire.sent_at)
            self.wire.sent_at = None
            time.sleep(0.01)


class Lab:
    """One hub, its ledger and its crew."""

    def __init__(self, db, env=None, data=None, wrapper=(), database=None):
        self.hub = Hub("sqlite" if database else db, env=dict(ENV, **(env or {})), data=data, start=False, wrapper=wrapper)
        self.hub.database = database or self.hub.database
        self.ledger, self.target = Ledger(), Target(self.hub.host, self.hub.port, self.hub)

    def start(self, **env):
        self.hub.extra = dict(ENV, **env)
        with open(self.hub.err_path, "w"):
            pass
        self.hub.launch()
        assert self.hub.ready.wait(60) and self.hub.url, self.hub.stderr()[-2000:]
        self.hub.service = self.hub.url.split("//")[1]
        self.target.authorize(REPOS)
        return self

    def crew(self, seed, writers=WRITERS, weights=None):
        self.workers = [Patient(i, self.target, self.ledger, seed, REPOS, weights) for i in range(writers)]
        return Crew(self.workers)

    def load(self, seconds, seed, until=None, weights=None):
        """Returns {status: refusals}."""
        crew = self.crew(seed, weights=weights)
        crew.run()
        end = time.monotonic() + seconds
        while time.monotonic() < end and not (until and until(self.statuses())):
            time.sleep(0.01)
        crew.halt()
        crew.wait()
        assert not crew.wrong, crew.wrong
        return self.statuses()

    def statuses(self):
        out = {}
        for w in self.workers:
            for k, v in list(w.statuses.items()):
                out[k] = out.get(k, 0) + v
        return out

    def push(self):
        """The status of one push of new bytes."""
        w = Patient(90, self.target, self.ledger, random.random(), REPOS)
        try:
            return 201 if w.push("ww/r0", w.rng.randbytes(3000), "put") else next(iter(w.statuses))
        finally:
            w.wire.close()

    def heals(self):
        """What was given back is seen within moments: a file system hands freed blocks out after its journal's next
        commit, and free space is asked for now and then. From then on a whole load meets no refusal. Without large blobs,
        so that looking does not fill the volume."""
        end, refused = time.monotonic() + 60, {None: 1}
        while refused:
            assert time.monotonic() < end, "did not heal: %s, %d bytes free, %s" % (refused, free(self.hub.data), self.ready())
            refused = self.load(0.5, "heals %f" % end, weights=SMALL) if self.push() == 201 else {507: 1}

    def ready(self):
        return self.hub.connect().request("GET", "/readyz").json()

    def verify(self, settle=False):
        report = read_back(self.target, self.ledger, list(self.ledger.keys), settle=settle)
        assert report, str(report)
        return report.read

    def fsck(self):
        done = self.hub.command("fsck", "--full", "--json", check=False)
        assert done.returncode == 0, (done.stdout[-1500:], done.stderr[-500:])

    def restart_and_verify(self):
        """After kill -9: what was unknown is settled, everything acknowledged is there."""
        if self.hub.proc is not None:
            self.hub.kill()
        self.start()
        self.verify(settle=True)
        self.fsck()

    def close(self):
        if self.hub.proc is not None:
            self.hub.kill()
        shutil.rmtree(self.hub.own_dir, ignore_errors=True)


# --- F-06
def small_volume(mib, *mkfs):
    folder = tempfile.mkdtemp(prefix="berth-small-", dir="/dev/shm")
    os.mkdir(folder + "/v")
    with open(folder + "/image", "wb") as f:
        f.truncate(mib << 20)
    sh("mkfs.ext4", "-q", "-F", "-m", "0", *mkfs, folder + "/image")
    mount_image("noatime", folder + "/image", folder + "/v")
    return folder


def drop_volume(folder):
    for _ in range(200):
        if subprocess.run(["umount", folder + "/v"], stderr=subprocess.DEVNULL).returncode == 0:
            break
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)


def free(path):
    v = os.statvfs(path)
    return v.f_bavail * v.f_frsize


def fill(path, leave):
    with open(path + "/filler", "ab") as f:
        while free(path) > leave:
            f.write(bytes(min(1 << 20, max(4096, free(path) - leave))))
            f.flush()
            os.fsync(f.fileno())


def full_disk(db):
    """F-06: no space left at all, in the middle of the load; heals when there is some."""
    folder = small_volume(96)
    lab = Lab(db, data=folder + "/v/data")
    try:
        lab.start()
        lab.load(1, "before")
        for leave in (64 << 10, 0):
            fill(folder + "/v", leave)
            refused = lab.load(60, "full %d" % leave, until=lambda s: s.get(507, 0) >= 20)
            assert refused.get(507, 0) >= 20, "no refusal: %s" % refused
            assert set(refused) <= {507}, "other refusals: %s" % refused
            lab.verify()
            assert lab.ready()["writable"], lab.ready()
            os.unlink(folder + "/v/filler")
            lab.heals()
        lab.restart_and_verify()
    finally:
        lab.close()
        drop_volume(folder)


def low_water(db):
    """F-06: below min_free uploads are refused with 507, reads and deletes go on."""
    folder = small_volume(96)
    lab = Lab(db, data=folder + "/v/data")
    try:
        lab.start(BERTH_MIN_FREE="16M")
        lab.load(1, "before")
        w = Writer(91, lab.target, lab.ledger, "low", REPOS)
        got = w.manifest("ww/r1", "low")
        fill(folder + "/v", 8 << 20)
        time.sleep(0.5)  # the server asks for the free space every 200 ms
        assert lab.push() == 507
        a = w.wire.request("PUT", "/v2/ww/r1/manifests/low2", "ww/r1", headers=[("Content-Type", IMAGE)],
                           body=got[1])
        assert a.status in (201, 507), a  # a manifest needs no room in the store
        a = w.change([(("t", "ww/r1", "low"), None)], (202,), "DELETE", "/v2/ww/r1/manifests/low", "ww/r1")
        assert a is not None
        lab.verify()
        os.unlink(folder + "/v/filler")
        lab.heals()
        mark_in_a_body(lab, folder + "/v")
        lab.restart_and_verify()
    finally:
        lab.close()
        drop_volume(folder)


def mark_in_a_body(lab, volume):
    """A body that reaches the mark gets its 507 there, and what was taken of it gives its room back at once."""
    w = Writer(94, lab.target, lab.ledger, "mark", REPOS)
    for method in ("PATCH", "PUT"):
        lab.heals()
        before = free(volume)
        location, data = w.start("ww/r2"), bytes(before - (4 << 20))
        path = location if method == "PATCH" else with_digest(location, digest(b"never checked"))
        assert w.wire.request(method, path, "ww/r2", body=data).status == 507
        end = time.monotonic() + 60
        while free(volume) < before - (1 << 20):
            assert time.monotonic() < end, "%d bytes are still taken after a %s" % (before - free(volume), method)
            time.sleep(0.05)
        a = w.wire.request("GET", location, "ww/r2")
        assert a.status == 204 and a.get("Range") == "0-0", a
        assert w.wire.request("DELETE", location, "ww/r2").status == 204
    w.wire.close()


def no_inodes(db):
    """F-06: the volume has space but no inode left."""
    folder = small_volume(96, "-N", "1200")
    lab = Lab(db, data=folder + "/v/data")
    try:
        lab.start()
        refused = lab.load(60, "inodes", until=lambda s: s.get(507, 0) >= 20)
        assert refused.get(507, 0) >= 20 and set(refused) <= {507}, refused
        lab.verify()
        lab.restart_and_verify()
    finally:
        lab.close()
        drop_volume(folder)


# --- F-07
def steps_of_serving(db):
    """Without db.checkpoint.done: behind it nothing is left that could fail."""
    return sorted(n for n in steps_of_source() if not FIRST_START.match(n) and "quarantine" not in n
                  and n != "db.checkpoint.done"
                  and not (db == "postgresql" and n.replace(".done", "") in SQLITE_ONLY))


def failing_step(db, name, errno, want):
    lab = Lab(db)
    try:
        lab.start(BERTH_GC_GRACE="0", BERTH_GC_INTERVAL="20ms")
        lab.load(0.2, "before")
        settle_collector(lab, name)
        lab.hub.kill()
        # With kill -9 before: the log of SQLite stays, so that the checkpoint comes soon.
        lab.start(BERTH_FAULT="fail:%s:%d:%d" % (name, 1 if "trash" in name else 3, errno), BERTH_GC_GRACE="0",
                  BERTH_GC_INTERVAL="20ms")
        refused = lab.load(60, "fault " + name,
                           until=lambda s: sum(s.values()) >= 10)
        want(lab, name, refused)
        lab.verify()
        lab.restart_and_verify()
    finally:
        lab.close()


def settle_collector(lab, name):
    """Something for the collector to move, due in the next life."""
    if "trash" not in name:
        return
    w = Writer(92, lab.target, lab.ledger, "trash", REPOS)
    for i in range(3):
        want = w.push("ww/r0", w.rng.randbytes(700), "put")
        w.change([(("b", "ww/r0", want), None)], (202,), "DELETE", "/v2/ww/r0/blobs/" + want, "ww/r0")
    w.wire.close()


def read_only_for_good(lab, name, refused):
    assert refused and not set(refused) - {500, 503}, "%s: refusals %s" % (name, refused)
    assert lab.push() == 503, "%s: a push after the failure" % name
    state = lab.ready()
    assert state["writable"] is False and state["status"] == "ok", "%s: %s" % (name, state)


def eio_at_each_step(db):
    """F-07: EIO at each step. What is not durable is not acknowledged; from then on read-only: writes 503, pulls go on.
    Several at once, for the collector's steps take seconds to come."""
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(failing_step, db, name, 5, read_only_for_good) for name in steps_of_serving(db)]:
            done.result()


def eio_of_the_disk(db):
    """F-07: the disk itself fails, below the file system, in the middle of the load, and heals after a restart."""
    disk = Disk("ext4", 96)
    disk.prepare()
    disk.prepared()
    disk.start()
    lab = Lab(db, data=disk.work + "/data")
    try:
        lab.start()
        lab.load(0.5, "before")
        os.pwrite(disk.mark_fd, b"fail", 0)
        refused = lab.load(60, "failing", until=lambda s: sum(s.values()) >= 20)
        assert refused and set(refused) <= {500, 503}, refused
        # A 503 may also come of a wait that was too long, before the failing sync has returned.
        lab.hub.until(lambda: lab.push() == 503 and lab.ready()["writable"] is False, "read-only after a failing disk")
        lab.hub.kill()
        subprocess.run(["umount", disk.work], check=False)
        os.pwrite(disk.mark_fd, b"heal", 0)
        sh("losetup", "-d", disk.loop)
        mount_image("noatime", disk.live, disk.work)
        lab.restart_and_verify()
    finally:
        lab.close()
        subprocess.run(["umount", disk.work], check=False, stderr=subprocess.DEVNULL)
        os.close(disk.mark_fd)
        disk.end_daemon()
        disk.remove()


def failing_first_start(db):
    """F-07: EIO in a first start: it says so and ends; the next start works."""
    names = sorted(n for n in steps_of_source() if FIRST_START.match(n)
                   and not (db == "postgresql" and n.replace(".done", "") in SQLITE_ONLY))
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(one_first_start, db, name) for name in names]:
            done.result()


def one_first_start(db, name):
    lab = Lab(db)
    try:
        lab.hub.extra = dict(ENV, BERTH_FAULT="fail:%s:1:5" % name)
        lab.hub.launch()
        assert lab.hub.ready.wait(60)
        if lab.hub.url is None:
            rc = lab.hub.proc.wait(60)
            assert rc == 1 and "berth: " in lab.hub.stderr(), (name, rc, lab.hub.stderr()[-500:])
        else:
            assert name in ("db.dirsync.done", "db.migrate.done"), "%s: started all the same" % name
            lab.hub.kill()
        lab.start()
        assert lab.push() == 201
        lab.restart_and_verify()
    finally:
        lab.close()


# --- F-11
def descriptors(db):
    """F-11: descriptors run out: no spin, nothing lost; when they come back it serves as before. First with the limit of
    connections that follows from the descriptors, then with one that promises too much."""
    starved(db)
    starved(db, BERTH_MAX_CONNECTIONS="1000")


def starved(db, **env):
    lab = Lab(db, wrapper=("prlimit", "--nofile=96:96"))
    held = []
    try:
        lab.start(**env)
        lab.load(0.3, "before")
        for _ in range(200):
            s = socket.socket()
            s.settimeout(5)
            try:
                s.connect((lab.hub.host, lab.hub.port))
            except OSError:
                pass
            held.append(s)
        time.sleep(0.5)
        cpu = lab.hub.process_stat()[0]
        time.sleep(2)
        used = (lab.hub.process_stat()[0] - cpu) / 2
        print("  descriptors: %.1f %% of one processor while %d connections are open" % (100 * used, len(held)))
        assert used < 0.1, "it spins: %.0f %%" % (100 * used)  # in vain accepting costs all of it, resting none
        crew = lab.crew("starved")
        crew.run()
        time.sleep(1)
        crew.halt()
        for s in held:
            s.close()
        held.clear()
        crew.wait()
        assert not crew.wrong, crew.wrong
        assert set(lab.statuses()) <= {503}, lab.statuses()
        lab.heals()
        lab.verify(settle=True)
        lab.restart_and_verify()
    finally:
        for s in held:
            s.close()
        lab.close()


# --- F-08
def postgres_dies(db):
    """F-08: PostgreSQL is stopped at once, and a back end killed, under load; it comes back, and so does the server."""
    folder = tempfile.mkdtemp(prefix="berth-pgdies-")
    os.chmod(folder, 0o711)
    url = sh(ROOT + "/tests/lib/pg", "start", folder + "/pg")
    lab = Lab(db, database=url)
    try:
        lab.start()
        for turn in range(4):
            with open(folder + "/pg/data/postmaster.pid") as f:
                pid = int(f.readline())
            crew = lab.crew("turn %d" % turn)
            crew.run()
            time.sleep(0.4)
            if turn % 2:
                children = [int(x) for x in sh("pgrep", "-P", str(pid)).split()]
                for c in children[-2:]:  # any back end: PostgreSQL then restarts all of them
                    try:
                        os.kill(c, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
            else:
                os.kill(pid, signal.SIGQUIT)
                time.sleep(0.7)
                assert lab.hub.proc.poll() is None, "the server died with it"
                sh(ROOT + "/tests/lib/pg", "start", folder + "/pg")
            end = time.monotonic() + 60
            while time.monotonic() < end and not serves_again(lab):
                time.sleep(0.05)
            crew.halt()
            crew.wait()
            assert not crew.wrong, crew.wrong
            seen = lab.statuses()
            assert set(seen) <= {500, 503}, seen
            assert lab.push() == 201, "did not come back"
            assert turn % 2 or seen, "nobody noticed that the database was away"
            lab.verify(settle=True)
        lab.restart_and_verify()
    finally:
        lab.close()
        sh(ROOT + "/tests/lib/pg", "stop", folder + "/pg")
        shutil.rmtree(folder, ignore_errors=True)


def serves_again(lab):
    try:
        return lab.push() == 201
    except (Gone, StopIteration):
        return False


# --- SIGTERM
def slow_push(lab, turn):
    """A push whose body is half sent: (connection, ledger entry, the other half)."""
    w = Writer(93, lab.target, lab.ledger, "slow/%d" % turn, REPOS)
    data, location = w.rng.randbytes(60000), w.start("ww/r0")
    w.wire.close()
    path, want = with_digest(location, digest(data)), digest(data)
    key = lab.ledger.begin([(("b", "ww/r0", want), "there")])
    c = lab.target.connect()
    whole = build("PUT", path, lab.target.headers("ww/r0"), data)
    c.send(whole[:-30000])
    time.sleep(0.05)
    return c, key, whole[-30000:]


def stop_under_load(db):
    """SIGTERM under load: the requests under way are answered, the exit code is 0, nothing is lost."""
    lab = Lab(db)
    try:
        for turn in range(4):
            lab.start()
            crew = lab.crew("stop %d" % turn)
            crew.run()
            time.sleep(0.25)
            slow, key, rest = slow_push(lab, turn)
            asked = time.monotonic()
            lab.hub.proc.send_signal(signal.SIGTERM)
            time.sleep(0.2)
            slow.send(rest)
            status = slow.answer("PUT").status
            assert status == 201, "a push that was under way got %d" % status
            lab.ledger.ok(key)
            slow.close()
            rc = lab.hub.proc.wait(60)
            crew.halt()
            crew.wait()
            lab.hub.reader.join(10)
            lab.hub.proc = None
            assert rc == 0, "exit code %d: %s" % (rc, lab.hub.stderr()[-1500:])
            assert not crew.wrong, crew.wrong
            assert set(lab.statuses()) <= {503}, lab.statuses()
            cut = [t for w in lab.workers for t in w.cut if t < asked]
            assert not cut, "%d requests that were under way were not answered" % len(cut)
            lab.start()
            lab.verify(settle=True)
            lab.hub.kill()
        lab.start()
        lab.fsck()
    finally:
        lab.close()


TESTS = {"sqlite": [full_disk, low_water, no_inodes, eio_at_each_step, eio_of_the_disk, failing_first_start, descriptors,
                    stop_under_load],
         "postgresql": [full_disk, eio_at_each_step, failing_first_start, postgres_dies, stop_under_load]}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--db", default="sqlite", choices=sorted(TESTS))
    p.add_argument("--only", default="")
    a = p.parse_args()
    own_mounts()
    tempfile.tempdir = "/dev/shm"  # errors are injected or come from volumes made here: the real disk adds nothing
    passed = failed = 0
    for test in TESTS[a.db]:
        if a.only not in test.__name__:
            continue
        begin = time.monotonic()
        try:
            test(a.db)
            passed, word, why = passed + 1, "ok", ""
        except Exception as e:
            text = "".join(traceback.format_exception(type(e), e, e.__traceback__))
            failed, word, why = failed + 1, "not ok", "\n" + text[-3000:]
        print("%s - errors %s: %s (%.0f s)%s" % (word, a.db, test.__name__, time.monotonic() - begin, why), flush=True)
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
