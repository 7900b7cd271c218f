"""The machine of the suite: namespaces, the hubs, dockerd, and what must hold when all lanes are through."""
import os
import shutil
import subprocess
import time

from berth import Hub, parse_metrics
from suite import Lane, contains, counted, holds, same, say

PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
NAME, ADDRESS = "hub.test", "198.51.100.7"  # RFC 6761 and RFC 5737; docker trusts any certificate on 127.0.0.0/8
START_LIMIT = 60
VERSIONS = [("docker", "--version"), ("dockerd", "--version"), ("podman", "--version"), ("buildah", "--version"),
            ("skopeo", "--version"), ("crane", "version"), ("regctl", "version", "--format", "{{.VCSTag}}"),
            ("oras", "version"), ("helm", "version", "--short")]


def sh(*argv, **kw):
    return subprocess.run(argv, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True, **kw)


def private_machine(work):
    """A loopback with a second address and a name for it, an empty /etc/docker and, where needed, control groups."""
    sh("ip", "link", "set", "lo", "up")
    sh("ip", "address", "add", ADDRESS + "/32", "dev", "lo")
    hosts = os.path.join(work, "hosts")
    with open(hosts, "w") as f:
        f.write("127.0.0.1 localhost\n%s %s\n" % (ADDRESS, NAME))
    sh("mount", "--bind", hosts, "/etc/hosts")
    for folder in ("/etc/docker", "/etc/containers/certs.d", "/var/lib/containers"):
        os.makedirs(folder, exist_ok=True)
        sh("mount", "-t", "tmpfs", "none", folder)
    if not any(" cgroup" in line for line in open("/proc/self/mounts")):
        subprocess.run(["mount", "-t", "cgroup2", "none", "/sys/fs/cgroup"])


def overlay_works(work):
    """Not where the work directory is on an overlay itself."""
    base = os.path.join(work, "overlay")
    for part in ("lower", "upper", "work", "merged"):
        os.makedirs(os.path.join(base, part))
    options = "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work" % (base, base, base)
    good = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, base + "/merged"],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    if good:
        sh("umount", base + "/merged")
    return good


class Dockerd:
    """dockerd of Debian with everything it writes in one directory."""

    def __init__(self, work, env):
        self.dir = os.path.join(work, "dockerd")
        self.containerd = self.dir + "/exec/containerd/containerd.sock"
        os.makedirs(self.dir)
        self.socket = "unix://%s/sock" % self.dir
        self.log = open(self.dir + "/log", "wb")
        self.proc = subprocess.Popen(
            ["dockerd", "--data-root", self.dir + "/data", "--exec-root", self.dir + "/exec", "--pidfile", self.dir + "/pid",
             "--host", self.socket, "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false",
             "--exec-opt", "native.cgroupdriver=cgroupfs"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=dict(env, HOME=self.dir), start_new_session=True)

    def ready(self, env):
        end = time.monotonic() + START_LIMIT
        while time.monotonic() < end and self.proc.poll() is None:
            if subprocess.run(["docker", "--host", self.socket, "version"], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, env=dict(env, HOME=self.dir)).returncode == 0:
                return
            time.sleep(0.1)
        with open(self.dir + "/log", errors="replace") as f:
            raise AssertionError("dockerd does not start\n" + f.read()[-4000:])

    def close(self):
        self.proc.terminate()
        try:
            self.proc.wait(START_LIMIT)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
        self.log.close()


class World:
    def __init__(self, work, cache, cosign):
        self.work, self.cache, self.cosign = work, cache, cosign
        self.env = {"PATH": os.path.join(cache, "bin") + ":" + PATH, "LANG": "C.UTF-8"}
        self.storage_driver = "overlay" if overlay_works(work) else "vfs"
        self.hubs, self.dockerd, self.images, self.lanes = [], None, None, {}
        self.kept = []  # (lane, repository, reference): must be whole at the end

    def versions(self):
        said = []
        for argv in VERSIONS + [("cosign", "version")] * self.cosign:
            done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True,
                                  env=dict(self.env, HOME=self.work))
            holds(done.returncode == 0, "%s does not run: %s" % (argv[0], done.stdout))
            said.append("%s %s" % (argv[0], contains(done.stdout, r"v?(\d+\.\d+(\.\d+)?)").group(1)))
        say("      " + ", ".join(said))

    def start(self, images):
        self.images = images
        self.dockerd = Dockerd(self.work, self.env)
        self.hub = self.new_hub()
        for name in ("alice", "bob"):
            self.hub.add_user(name)
        self.dockerd.ready(self.env)

    def new_hub(self, db="sqlite", **kw):
        hub = Hub(db, **kw)
        self.hubs.append(hub)
        return hub

    def lane(self, name, hub=None):
        lane = self.lanes[name] = Lane(name, self, hub or self.hub)
        return lane

    def groups(self):
        """What runs one after the other, and what beside it; the first group is the longest."""
        return [[self.lane(n) for n in ("docker", "buildah", "damage")],
                [self.lane(n) for n in ("podman", "skopeo", "tls", "nginx")],
                [self.lane(n) for n in ("crane", "regctl", "oras", "helm") + ("cosign",) * self.cosign + ("postgresql", "tokens")]]

    def finish(self, result):
        """Collect what was deleted, hash what is left, look at what the clients kept, read the counters."""
        with counted(result, "berth fsck --full finds no problem"):
            self.check_whole("before the collection")
        with counted(result, "what clients deleted is collected, what they kept is not"):
            self.collect()
        with counted(result, "berth fsck --full finds no problem after the collection"):
            self.check_whole("after the collection")
        with counted(result, "no answer was a 5xx"):
            for hub in self.hubs:
                if hub.proc is not None:
                    self.counters(hub)
        with counted(result, "the hub stops in order; its log is JSON without a secret"):
            for hub in self.hubs:
                hub.stop()

    def check_whole(self, when):
        done = self.hub.command("fsck", "--full", check=False)
        say("      %s: %s" % (when, done.stdout.strip().replace("\n", "\n      ")))
        same(done.returncode, 0, "exit code of fsck")

    def collect(self):
        def size():  # trash that waits for its unlinking counts as well
            return sum(os.path.getsize(os.path.join(b, f)) for b, _, fs in os.walk(self.hub.data + "/blobs") for f in fs)
        before = size()
        # Nothing is in flight any more: what a client has just asked for by HEAD may go too.
        self.hub.stop()
        self.hub.extra["BERTH_GC_GRACE"] = "0"
        self.hub.start()
        say("      " + self.hub.command("gc", "--now").stdout.strip().splitlines()[-1])
        after = size()
        say("      blobs: %.1f MB before, %.1f MB after the collection" % (before / 1e6, after / 1e6))
        holds(after < before, "nothing was collected")
        holds(self.kept, "nothing was kept")
        for lane, repo, ref in self.kept:
            holds(lane.tree(repo, ref), "%s:%s" % (repo, ref))

    def counters(self, hub):
        m = parse_metrics(hub.admin().get("/metrics").body.decode())
        classes = {k: int(v) for k, v in m.items() if k.startswith("berth_http_requests_total")}
        statuses = {}
        for record in hub.log():
            if isinstance(record.get("status"), int):
                statuses[record["status"]] = statuses.get(record["status"], 0) + 1
        say("      %s: %s" % (hub.db, ", ".join("%s: %d" % row for row in sorted(statuses.items()))))
        say("             (400: clients that try TLS on the plain port first)")
        same(sum(v for k, v in classes.items() if '"5xx"' in k), 0, "5xx answers")
        holds(sum(v for k, v in classes.items() if '"2xx"' in k) > 0, "no 2xx was counted")
        same([s for s in statuses if s >= 500], [], "5xx in the access log")

    def close(self):
        if self.dockerd is not None:
            self.dockerd.close()
        for hub in self.hubs:
            if hub.proc is not None:
                hub.kill()
            shutil.rmtree(hub.own_dir, ignore_errors=True)
        subprocess.run(["sh", "-c", "grep -o ' %s/[^ ]*' /proc/self/mounts | sort -r | xargs -r umount -l" % self.work])
