"""kill -9, at random moments and at every named persistence step, under at least 8 writers.

  kills.py --db sqlite|postgresql --kills N [--seed S] [--report FILE]

Half of the kills come at random moments, half at steps (base/fault.h), every step in turn, before and after it. After
each kill the server starts again and everything touched since the last reading is read back, with a sample of
the rest; at the end everything is, and `berth fsck --full` must find nothing. With PostgreSQL the server of Berth is
killed, the database stays. The steps of the first start are killed without writers, on empty directories.
"""
import argparse
import contextlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))

from berth import ROOT, Hub  # noqa: E402
from ledger import Crew, Ledger, Target, Unexpected, Writer, check_lists, read_back  # noqa: E402
from registry import digest, quote  # noqa: E402

WRITERS = 20     # so that at least IN_FLIGHT have a request under way at each kill
IN_FLIGHT = 8
START_BOUND = 60  # seconds; the real figure is printed
STEP_WAIT = 20    # seconds until a step that does not come counts as missed
SQLITE_ONLY = {"db.checkpoint", "db.dirsync"}
FIRST_START = re.compile(r"store\.create\.|store\.key\.|db\.migrate|db\.dirsync")


def steps_of_source():
    """Every point of the source, so that a new one cannot be forgotten here."""
    names = set()
    for folder, _, files in os.walk(os.path.join(ROOT, "src")):
        for f in files:
            if f.endswith(".c"):
                with open(os.path.join(folder, f)) as text:
                    source = text.read()
                for n in re.findall(r'STEP\("([a-z.]+)"\)', source):
                    names |= {n, n + ".done"}
                names |= set(re.findall(r'(?:FAULT|step_fault)\("([a-z.]+)"\)', source))
    assert len(names) > 30, names
    return names


class Kills:
    def __init__(self, db, seed, report):
        self.db, self.seed, self.out = db, seed, report
        self.rng = random.Random(seed)
        self.names = {n for n in steps_of_source()
                      if db == "sqlite" or n.replace(".done", "") not in SQLITE_ONLY}
        self.first = {n for n in self.names if FIRST_START.match(n)}
        self.hits = dict.fromkeys(self.names, 0)
        self.random_kills = self.start_kills = self.missed = self.thin = 0
        self.restarts, self.flights, self.trouble = [], [], []
        self.victims, self.read = [], 0
        self.ledger = Ledger()
        self.repos = ["ww/r%d" % i for i in range(6)]
        self.new_repos = 0

    # --- the server
    def env(self, fault=None, log=None):
        env = {"BERTH_ACCESS_LOG": "false", "BERTH_LOG_LEVEL": "warn", "BERTH_GC_GRACE": "1s", "BERTH_TOKEN_LIFE": "60m",
               "BERTH_GC_INTERVAL": "50ms", "BERTH_MAX_UPLOADS_PER_USER": "1000000", "BERTH_MIN_FREE": "0"}
        if fault:
            env["BERTH_FAULT"] = fault
        if log:
            env["BERTH_FAULT_LOG"] = log
        return env

    def launch(self, hub, fault=None, log=None):
        hub.extra = self.env(fault, log)
        with open(hub.err_path, "w"):
            pass  # a killed server leaves half a line
        hub.out_lines.clear()
        hub.launch()

    def start(self, hub, fault=None, log=None):
        begin = time.monotonic()
        self.launch(hub, fault, log)
        assert hub.ready.wait(START_BOUND) and hub.url, "no restart: " + hub.stderr()[-3000:]
        self.restarts.append(time.monotonic() - begin)

    def start_or_die(self, hub, plan):
        """The start writes as well (what the audit log counted): the step may come before the first request."""
        self.launch(hub, plan)
        end = time.monotonic() + START_BOUND
        while not hub.ready.wait(0.01) and not self.dead(hub) and time.monotonic() < end:
            pass
        if hub.ready.wait(0.05) and hub.url:
            return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            hub.proc.wait(START_BOUND)  # its output ended before it did
        assert plan and self.dead(hub), "no restart: %s, %s, %s, %s" % (plan, hub.proc.poll(), hub.out_lines, hub.stderr()[-3000:])
        hub.kill()
        self.start_kills += 1
        return False

    def dead(self, hub):
        return hub.proc.poll() is not None

    def note(self, text):
        self.trouble.append(text)
        print("FINDING " + text, flush=True)

    def check(self, report):
        self.read += report.read
        if not report:
            self.note(str(report))

    # --- kills of the first start
    def first_start(self, name, number):
        """number 2 of a key: the password that is made when none is given."""
        hub = Hub(self.db, start=False, password=None if number == 2 else "the-admin-password-17")
        try:
            self.launch(hub, "kill:%s:%d" % (name, number))
            assert hub.ready.wait(START_BOUND)  # its standard output ended, or it is ready and the step comes later
            end = time.monotonic() + 3
            while hub.proc.poll() is None and time.monotonic() < end:
                time.sleep(0.002)
            if hub.proc.poll() is None:
                self.missed += 1
                return
            hub.reader.join()
            self.hits[name] += 1
            self.launch(hub)
            assert hub.ready.wait(START_BOUND) and hub.url, "no start after %s: %s" % (name, hub.stderr()[-2000:])
            hub.service = hub.url.split("//")[1]
            if number == 2:
                with open(os.path.join(hub.data, "keys/admin-password")) as f:
                    hub.admin_password = f.read().strip()
            ledger, target = Ledger(), Target(hub.host, hub.port, hub)
            w = Writer(0, target, ledger, "first", ["ww/first"])
            w.blob(), w.manifest("ww/first", "t")
            hub.kill()
            self.start(hub)
            self.check(read_back(target, ledger, list(ledger.keys)))
            self.fsck(hub)
        finally:
            if hub.proc is not None:
                hub.kill()
            shutil.rmtree(hub.own_dir, ignore_errors=True)

    def fsck(self, hub):
        done = hub.command("fsck", "--full", "--json", check=False)
        lines = [json.loads(x) for x in done.stdout.splitlines()]
        problems = lines[-1].get("done", {}).get("problems") if lines else None
        if problems != 0 or done.returncode != 0:
            self.note("fsck: exit %d, %s\n%s" % (done.returncode, done.stderr[-500:], done.stdout[-3000:]))
        return problems

    # --- rotten files, for the steps of the quarantine
    def victim(self, hub):
        """A blob that is acknowledged, then damaged while the server is down."""
        data = random.Random("victim/%d" % len(self.victims)).randbytes(3000)
        want = digest(data)
        path = os.path.join(hub.data, "blobs/sha256", want[7:9], want[7:])
        if not os.path.exists(path):
            return
        with open(path, "r+b") as f:
            f.seek(1500)
            f.write(bytes([data[1500] ^ 1]))

    def repair(self, target):
        w = Writer(99, target, Ledger(), "repair", ["ww/victims"])
        for n in range(len(self.victims) + 1):
            w.push("ww/victims", random.Random("victim/%d" % n).randbytes(3000), "put")
        w.wire.close()

    def pull_victim(self, target):
        """Pulling it shows the damage: the server cuts the stream and moves the file aside."""
        want = digest(random.Random("victim/%d" % len(self.victims)).randbytes(3000))
        w = Writer(98, target, Ledger(), "pull", ["ww/victims"])
        try:
            a = w.wire.request("GET", "/v2/ww/victims/blobs/" + quote(want), "ww/victims")
            if a.status == 200 and digest(a.body) != want:
                self.note("a damaged blob was served whole")
        except Exception:  # cut, or killed: both are right
            pass
        w.wire.close()

    # --- one life under load
    def life(self, hub, target, crew, fault):
        """fault: a step's name, "random" or "start". Returns True when the kill counts."""
        quarantine = fault.startswith("store.quarantine")
        if fault in ("random", "start"):
            plan = None
        else:
            base = fault.replace(".done", "")
            often = base in ("db.commit", "store.upload.create", "store.upload.write", "store.blob.sync",
                             "store.blob.rename", "store.blob.dirsync")
            plan = "kill:%s:%d" % (fault, self.rng.randint(1, 40) if often else self.rng.randint(1, 3) if
                                   base.startswith(("store.upload", "store.uploads")) else 1)
        if quarantine:
            self.victim(hub)
        if fault == "start":
            self.launch(hub)
            time.sleep(self.rng.uniform(0, 0.03))
            hub.kill()
            self.start_kills += 1
        if not self.start_or_die(hub, plan):
            return False
        crew.run()
        if quarantine:
            time.sleep(0.05)
            self.pull_victim(target)
        end = time.monotonic() + (STEP_WAIT if plan else self.rng.uniform(0.02, 0.2))
        while not self.dead(hub) and (time.monotonic() < end or not plan and crew.in_flight() < IN_FLIGHT):
            time.sleep(0.001)
            if plan is None and time.monotonic() > end + 5:
                break
        t_dead = time.monotonic()
        step = self.dead(hub)
        hub.kill()
        crew.wait()
        flight = sum(1 for t in crew.broken if t < t_dead)
        for wrong in crew.wrong:
            self.note(wrong)
        crew.wrong.clear()
        if plan and not step:
            self.missed += 1
            return False
        if flight < IN_FLIGHT:
            self.thin += 1
        else:
            self.flights.append(flight)
            if plan:
                self.hits[fault] += 1
            else:
                self.random_kills += 1
        self.verify_after(hub, target)
        return flight >= IN_FLIGHT

    def verify_after(self, hub, target):
        """The reading back happens in a life of its own start, without a plan to kill."""
        self.start(hub)
        keys = set(self.ledger.dirty)
        rest = list(self.ledger.keys)
        keys |= set(self.rng.sample(rest, min(20, len(rest))))
        self.check(read_back(target, self.ledger, keys))

    def set_up(self):
        hub = Hub(self.db, start=False)
        self.start(hub)
        hub.service = hub.url.split("//")[1]
        target = Target(hub.host, hub.port, hub)
        target.authorize(self.repos + ["ww/victims"])
        self.repair(target)
        return hub, target

    def grow(self, target):
        """A new repository now and then, so that its making is killed as well."""
        self.new_repos += 1
        if self.new_repos % 16 == 1:
            target.authorize("ww/n%d" % (self.new_repos + i) for i in range(16))
        self.repos[self.rng.randrange(3)] = "ww/n%d" % self.new_repos

    def run(self, kills):
        begin = time.monotonic()
        for name in sorted(self.first) if kills >= 20 else ():
            for number in (1, 2) if name.startswith("store.key") else (1,):
                self.first_start(name, number)
        hub, target = self.set_up()
        crew = Crew([Writer(i, target, self.ledger, self.seed, self.repos) for i in range(WRITERS)])
        names = sorted(self.names - self.first)
        tries, tokens_at = dict.fromkeys(names, 0), time.monotonic()
        done = lives = 0
        try:
            while self.wanted(names, done, lives, kills) and len(self.trouble) < 10 and self.missed < 20 + kills / 10:
                lives += 1
                if time.monotonic() - tokens_at > 2400:
                    target.authorize(list(target.tokens))
                    tokens_at = time.monotonic()
                fault = "random"
                if done % 2 or done >= kills:
                    fault = min(names, key=lambda n: (self.hits[n], tries[n]))
                    tries[fault] += 1
                elif self.rng.random() < 0.1:
                    fault = "start"
                if done % 5 == 0:
                    self.grow(target)
                done += self.life_again(hub, target, crew, fault)
                if fault.startswith("store.quarantine"):
                    self.repair(target)
            self.finish(hub, target)
        except Unexpected as e:
            self.note("Unexpected: %s" % e)
        finally:
            if hub.proc is not None:
                hub.kill()
            shutil.rmtree(hub.own_dir, ignore_errors=True)
        return self.summary(kills, time.monotonic() - begin)

    def wanted(self, names, done, lives, kills):
        """As many kills as asked; then those steps, if any, that only came while too few writers were in flight."""
        return done < kills or kills >= 2 * len(self.names) and lives < 3 * kills and any(not self.hits[n] for n in names)

    def life_again(self, hub, target, crew, fault):
        """The life before was left running for the reading back: it ends by kill -9 as well."""
        if hub.proc is not None:  # a step that did not come left none
            hub.kill()
        return self.life(hub, target, crew, fault)

    def finish(self, hub, target):
        self.repair(target)
        self.check(read_back(target, self.ledger, list(self.ledger.keys)))
        if not self.trouble:
            self.check(check_lists(target, self.ledger))
        self.fsck(hub)
        try:
            hub.stop()
        except AssertionError as e:
            self.note("stop: %s" % e)
        self.start(hub)
        self.check(read_back(target, self.ledger, list(self.ledger.keys)[::7]))

    def summary(self, kills, seconds):
        lost = sum(t.count("LOST") for t in self.trouble)
        corrupt = sum(t.count("CORRUPT") for t in self.trouble)
        zero = sorted(n for n, h in self.hits.items() if h == 0)
        self.restarts.sort()
        counted = self.random_kills + sum(h for n, h in self.hits.items() if n not in self.first)
        result = {"db": self.db, "kills": counted, "random": self.random_kills, "at_start": self.start_kills,
                  "first_start": sum(self.hits[n] for n in self.first), "hits": self.hits, "missed": self.missed,
                  "thin": self.thin, "writers_least": min(self.flights or [0]),
                  "acknowledged": self.ledger.acked, "unknown": self.ledger.unknown, "refused": self.ledger.failed,
                  "objects": len(self.ledger.keys), "read": self.read, "lost": lost, "corrupt": corrupt,
                  "other": len([t for t in self.trouble if "LOST" not in t and "CORRUPT" not in t]),
                  "restart_median_ms": round(1000 * self.restarts[len(self.restarts) // 2]),
                  "restart_worst_ms": round(1000 * self.restarts[-1]), "seconds": round(seconds)}
        print("%s: %d kills -9 under load (%d at random moments, %d at steps), %d during a start, %d in a first start; %d s"
              % (self.db, counted, self.random_kills, counted - self.random_kills, self.start_kills,
                 result["first_start"], seconds))
        print("  writers in flight at each: at least %d; %d kills with fewer are not counted, %d steps did not come"
              % (result["writers_least"], self.thin, self.missed))
        print("  acknowledged %d, unknown %d, refused %d, read back %d"
              % (self.ledger.acked, self.ledger.unknown, self.ledger.failed, self.read))
        print("  restart: median %d ms, worst %d ms" % (result["restart_median_ms"], result["restart_worst_ms"]))
        print("  hits: " + ", ".join("%s %d" % x for x in sorted(self.hits.items())))
        print("  lost %d, corrupt %d, other findings %d" % (lost, corrupt, result["other"]))
        checks = [("acknowledged objects lost: 0", lost == 0), ("corrupt objects: 0", corrupt == 0),
                  ("no other finding", result["other"] == 0), ("%d kills under load" % kills, counted >= kills),
                  ("every step was hit", not zero or kills < 2 * len(self.names)),
                  ("at least 8 writers in flight", result["writers_least"] >= IN_FLIGHT)]
        for text, good in checks:
            print("%s - kills %s: %s%s" % ("ok" if good else "not ok", self.db, text,
                                           "" if good or "step" not in text else " (never: %s)" % ", ".join(zero)))
        if self.out:
            with open(self.out, "w") as f:
                json.dump(result, f)
        return all(good for _, good in checks), checks


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--db", default="sqlite", choices=["sqlite", "postgresql"])
    p.add_argument("--kills", type=int, default=150)
    p.add_argument("--seed", default=None)
    p.add_argument("--report")
    a = p.parse_args()
    seed = a.seed or str(random.randrange(1 << 32))
    print("seed %s" % seed)
    good, checks = Kills(a.db, seed, a.report).run(a.kills)
    bad = sum(1 for _, g in checks if not g)
    print("%d passed, %d failed" % (len(checks) - bad, bad))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
