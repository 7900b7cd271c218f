"""The same ledger against Debian's docker-registry, and against Berth with the same workload, for the columns of
docs/durability.md: kill -9 at random moments, and power cuts of the disk.

  peer.py [--kills N] [--images N] [--report FILE]

Without sessions that are resumed, tag deletion and sha512, which docker-registry does not have in this form. The control
line is the workload without any crash: what differs there is no matter of durability.
"""
import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "lib"))
sys.path.insert(0, HERE)

from berth import Hub, free_port  # noqa: E402
from ledger import Crew, Gone, Ledger, Target, Unexpected, Wire, Writer, read_back  # noqa: E402
from power import ENV  # noqa: E402
from volumes import Disk, own_mounts, sh  # noqa: E402

WEIGHTS = {"blob": 30, "image": 25, "retag": 8, "delete_manifest": 3, "delete_blob": 8, "again": 4, "mount": 6, "large": 1}
REPOS = ["ww/r%d" % i for i in range(6)]
CONFIG = """version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: %s}
  delete: {enabled: true}
http: {addr: 127.0.0.1:%d, secret: the-same-after-each-restart}
"""


class DockerRegistry:
    name = "docker-registry"

    def __init__(self, data):
        self.data, self.port, self.proc = data, free_port(), None
        self.config = tempfile.mkdtemp(prefix="berth-peer-")
        with open(self.config + "/config.yml", "w") as f:
            f.write(CONFIG % (data, self.port))
        self.target = Target("127.0.0.1", self.port, None, can=())

    def start(self):
        self.proc = subprocess.Popen(["docker-registry", "serve", self.config + "/config.yml"], stdin=subprocess.DEVNULL,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while True:
            try:
                if Wire(self.target).request("GET", "/v2/", "").status == 200:
                    return
            except Gone:
                assert time.monotonic() < end and self.proc.poll() is None, "docker-registry does not start"
                time.sleep(0.005)

    def kill(self):
        self.proc.kill()
        self.proc.wait()

    def close(self):
        shutil.rmtree(self.config, ignore_errors=True)


class Berth:
    name = "Berth"

    def __init__(self, data, password="the-admin-password-17"):
        self.hub = Hub("sqlite", data=data + "/berth", start=False, env=ENV, password=password)
        self.target = Target(self.hub.host, self.hub.port, self.hub, can=("single-post",))

    def start(self):
        with open(self.hub.err_path, "w"):
            pass
        self.hub.launch()
        assert self.hub.ready.wait(60) and self.hub.url, self.hub.stderr()[-1000:]
        self.hub.service = self.hub.url.split("//")[1]
        if not self.target.tokens:
            self.target.authorize(REPOS)

    def kill(self):
        self.hub.kill()

    def close(self):
        shutil.rmtree(self.hub.own_dir, ignore_errors=True)


class Patient(Writer):
    """docker-registry answers 500 where two requests meet; that is an unknown outcome here, and counted."""
    refusals = 0

    def refused(self, method, path, a):
        Patient.refusals += 1

    def step(self):
        try:
            super().step()
        except Unexpected:
            Patient.refusals += 1


def crew_of(server, ledger, n, seed):
    return Crew([Patient(i, server.target, ledger, seed, REPOS, WEIGHTS) for i in range(n)])


def control(kind, seed):
    """The workload, then nobody writes, no crash: differences."""
    folder = tempfile.mkdtemp(prefix="berth-peer-data-")
    server, ledger = kind(folder), Ledger()
    server.start()
    crew = crew_of(server, ledger, 16, seed)
    crew.run()
    time.sleep(3)
    crew.halt()
    crew.wait()
    report = read_back(server.target, ledger, list(ledger.keys), settle=False)
    server.kill()
    server.close()
    shutil.rmtree(folder)
    return {"acknowledged": ledger.acked, "differences": len(report.lost) + len(report.corrupt)}


def kills(kind, n, seed):
    """Lost and corrupt objects after each of n kills at random moments."""
    folder, rng = tempfile.mkdtemp(prefix="berth-peer-data-"), random.Random(seed)
    server, ledger = kind(folder), Ledger()
    crew = crew_of(server, ledger, 16, seed)
    lost, corrupt, restarts, bad, examples = 0, 0, [], 0, []
    for _ in range(n):
        server.start()
        crew.run()
        time.sleep(rng.uniform(0.1, 0.6))
        server.kill()
        crew.wait()
        begin = time.monotonic()
        server.start()
        restarts.append(time.monotonic() - begin)
        dirty = [k for k in ledger.dirty]
        report = read_back(server.target, ledger, dirty)
        for key in dirty:  # what is gone is counted once
            if key in ledger.dirty:
                ledger.forget(key)
        lost, corrupt, bad = lost + len(report.lost), corrupt + len(report.corrupt), bad + (not report)
        examples += (report.lost + report.corrupt)[:1]
        server.kill()
    server.close()
    shutil.rmtree(folder)
    restarts.sort()
    return {"kills": n, "acknowledged": ledger.acked, "unknown": ledger.unknown, "kills_with_loss": bad, "lost": lost,
            "corrupt": corrupt, "restart_ms": round(1000 * restarts[len(restarts) // 2]), "examples": examples[:3]}


def power(kind, images, seed):
    disk = Disk("ext4", 192)
    ledger, position, logging = Ledger(), {}, []

    def mark(number):
        if logging:
            disk.mark(number)
    ledger.mark = mark
    work = disk.prepare()
    server = kind(work)
    server.start()
    crew = crew_of(server, ledger, 1, seed + "before")
    crew.run()
    time.sleep(0.5)
    crew.halt()
    crew.wait()
    server.kill()
    known = ledger.acked
    disk.prepared()
    disk.start()
    logging.append(1)
    server.start()
    for writers, seconds in ((8, 1.5), (1, 1.5)):
        crew = crew_of(server, ledger, writers, "%s%d" % (seed, writers))
        crew.run()
        end = time.monotonic() + seconds * 3
        begin = ledger.acked
        while time.monotonic() < end and ledger.acked - begin < 150:
            time.sleep(0.005)
        crew.halt()
        crew.wait()
    server.kill()
    logging.clear()
    disk.stop()
    marks = []
    for i, (what, number) in enumerate(disk.kinds()):
        if what == "M":
            position[number] = i
            marks.append(i)
    rng = random.Random(seed)
    lost = corrupt = bad = 0
    examples = []
    for i in range(images):
        cut = rng.choice(marks) + 1 if i % 2 else rng.randrange(len(disk.records))
        disk.image(cut, 0 if i % 2 else rng.randrange(2, 1 << 31), 0)

        def upto(ack):
            return ack <= known or position.get(ack, cut) < cut
        try:
            server.start()
            report = read_back(server.target, ledger, list(ledger.keys), upto, settle=False, depth=32)
            n_lost, n_corrupt, first = len(report.lost), len(report.corrupt), (report.lost + report.corrupt)[:1]
        except AssertionError as e:
            n_lost, n_corrupt, first = len(ledger.keys), 0, [str(e)]
        server.kill()
        disk.drop(0)
        lost, corrupt, bad = lost + n_lost, corrupt + n_corrupt, bad + (n_lost + n_corrupt > 0)
        examples += first
    server.close()
    disk.remove()
    return {"images": images, "images_with_loss": bad, "lost": lost, "corrupt": corrupt, "examples": examples[:3]}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--kills", type=int, default=300)
    p.add_argument("--images", type=int, default=100)
    p.add_argument("--report")
    a = p.parse_args()
    if shutil.which("docker-registry") is None:
        raise SystemExit("docker-registry is not installed (Debian: docker-registry)")
    own_mounts()
    seed = "peer"
    out = {}
    for kind in (Berth, DockerRegistry):
        r = out[kind.name] = {}
        Patient.refusals = 0
        r["control"] = control(kind, seed)
        print(kind.name, "without a crash:", json.dumps(r["control"]), "refused", Patient.refusals, flush=True)
        r["kills"] = kills(kind, a.kills, seed)
        print(kind.name, "kill -9:", json.dumps(r["kills"]), flush=True)
        r["power"] = power(kind, a.images, seed)
        print(kind.name, "power cut:", json.dumps(r["power"]), flush=True)
    out["version"] = sh("dpkg-query", "-W", "-f", "${Version}", "docker-registry")
    if a.report:
        with open(a.report, "w") as f:
            json.dump(out, f)
    ours = out["Berth"]
    bad = ours["control"]["differences"] + ours["kills"]["lost"] + ours["kills"]["corrupt"] + ours["power"]["images_with_loss"]
    print("%d passed, %d failed" % (not bad, bool(bad)))


if __name__ == "__main__":
    main()
