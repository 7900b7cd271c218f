"""Volumes that log what is written to them, and give back what may be on them when the power fails: a disk under a file
system (tests/tools/disklog), and files on the weakest file system (tests/tools/filelog, filemodel.py)."""
import collections
import ctypes
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

import filemodel  # noqa: E402
from berth import binary  # noqa: E402


def sh(*args, **kw):
    return subprocess.run(args, check=True, stdout=subprocess.PIPE, universal_newlines=True, **kw).stdout.strip()


def tool(name):
    path = os.path.join(os.path.dirname(binary()), "tests/tools", name)
    path = os.environ.get("BERTH_" + name.upper(), path)
    if not os.access(path, os.X_OK):
        raise SystemExit("%s is not built (needs libfuse3-dev)" % path)
    return path


def wait_mount(path):
    end = time.monotonic() + 60
    while not os.path.ismount(path):
        assert time.monotonic() < end, "no mount on " + path
        time.sleep(0.005)


def mount_image(options, path, where):
    """A free loop device may be taken by somebody else between the look and the use: then again."""
    for attempt in range(100):
        done = subprocess.run(["mount", "-o", "loop," + options, path, where], stderr=subprocess.PIPE,
                              universal_newlines=True)
        if done.returncode == 0:
            return
        time.sleep(0.05)
    raise OSError("mount %s: %s" % (path, done.stderr))


class Volume:
    """Common: the scratch directory in memory, the daemon, the marks."""

    def __init__(self):
        self.scratch = tempfile.mkdtemp(prefix="berth-power-", dir="/dev/shm")
        self.front, self.log = self.scratch + "/front", self.scratch + "/log"
        os.mkdir(self.front)
        self.daemon = None

    def serve(self, *args):
        self.daemon = subprocess.Popen(args, start_new_session=True)
        wait_mount(self.front)

    def open_mark(self, path):
        self.mark_fd = os.open(path, os.O_WRONLY)

    def mark(self, number):
        os.pwrite(self.mark_fd, b"%d" % number, 0)

    def end_daemon(self):
        sh("fusermount3", "-u", self.front)
        try:
            self.daemon.wait(10)
        except subprocess.TimeoutExpired:  # somebody holds a copy of the mount; the log is complete all the same
            self.daemon.kill()
            self.daemon.wait()

    def remove(self):
        shutil.rmtree(self.scratch, ignore_errors=True)


class Disk(Volume):
    """mkfs and preparation happen without a log; then `work` is mounted from the logging disk."""
    MKFS = {"ext4": ("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"),
            "xfs": ("mkfs.xfs", "-q", "-f", "-K"), "btrfs": ("mkfs.btrfs", "-q", "-f", "-K")}
    OPTIONS = {"ext4": "noauto_da_alloc,commit=300,nodiscard", "xfs": "nouuid,nodiscard",
               "btrfs": "commit=300,nodiscard"}

    def __init__(self, fs="ext4", mib=192, extra=""):
        super().__init__()
        self.fs, self.base, self.live = fs, self.scratch + "/base", self.scratch + "/live"
        self.options = self.OPTIONS[fs] + extra
        mib = {"xfs": max(mib, 320), "btrfs": max(mib, 256)}.get(fs, mib)
        with open(self.live, "wb") as f:
            f.truncate(mib << 20)
        sh(*self.MKFS[fs], self.live)
        self.work = self.scratch + "/work"
        os.mkdir(self.work)
        os.chmod(self.scratch, 0o711)  # PostgreSQL runs as another user

    def prepare(self):
        """Mounts without a log; prepared() unmounts."""
        mount_image(self.options, self.live, self.work)
        os.chmod(self.work, 0o711)
        return self.work

    def prepared(self):
        sh("umount", self.work)

    def start(self):
        sh("cp", "--sparse=always", self.live, self.base)
        self.serve(tool("disklog"), "serve", self.live, self.log, self.front)
        self.loop = sh("losetup", "-f", "--show", self.front + "/disk")
        sh("mount", "-o", self.options, self.loop, self.work)
        self.open_mark(self.front + "/mark")
        return self.work

    def stop(self):
        os.close(self.mark_fd)
        sh("umount", self.work)
        sh("losetup", "-d", self.loop)
        end = time.monotonic() + 60
        while self.loop + ":" in sh("losetup", "-a") and time.monotonic() < end:
            time.sleep(0.01)
        self.end_daemon()
        record = collections.namedtuple("record", "type at")
        self.records = []
        with open(self.log, "rb") as f:
            data = f.read()
        at = 0
        while at + 16 <= len(data):
            kind, n = data[at:at + 1].decode(), int.from_bytes(data[at + 4:at + 8], "little")
            self.records.append(record(kind, int.from_bytes(data[at + 8:at + 16], "little")))
            at += 16 + n

    def kinds(self):
        return [(r.type, r.at) for r in self.records]

    def image(self, cut, seed, number):
        """In a mount namespace of the worker's own, so that every image has the same path."""
        path = "%s/image%d" % (self.scratch, number)
        sh(tool("disklog"), "cut", self.base, self.log, str(cut), str(seed), path)
        try:
            mount_image(self.options, path, self.work)
        except OSError as e:
            # Its own recovery gave up (xfs: a directory block torn within): nothing of the store was read, so this says
            # nothing about it. Counted, and the same cut is tried with what was not flushed gone as a whole.
            with open(self.scratch + "/unrecovered", "a") as f:
                f.write("%d %d %s\n" % (cut, seed, str(e).replace("\n", " ")))
            sh(tool("disklog"), "cut", self.base, self.log, str(cut), "0", path)
            mount_image(self.options, path, self.work)
        return self.work

    def unrecovered(self):
        """How many images the file system itself could not recover."""
        try:
            with open(self.scratch + "/unrecovered") as f:
                return len(f.readlines())
        except FileNotFoundError:
            return 0

    def drop(self, number):
        for _ in range(100):
            if subprocess.run(["umount", self.work], stderr=subprocess.DEVNULL).returncode == 0:
                break
            time.sleep(0.02)
        os.unlink("%s/image%d" % (self.scratch, number))


class Files(Volume):
    def __init__(self):
        super().__init__()
        self.backing = self.scratch + "/backing"
        os.mkdir(self.backing)
        self.work = self.front
        self.model, self.done, self.at = None, 0, 0

    def prepare(self):
        return None

    def prepared(self):
        pass

    def start(self):
        with open(self.backing + "/.mark", "w"):
            pass
        self.serve(tool("filelog"), self.backing, self.log, self.front)
        self.open_mark(self.front + "/.mark")
        return self.front

    def stop(self):
        os.close(self.mark_fd)
        self.end_daemon()
        self.records = filemodel.read(self.log)

    def kinds(self):
        return [({"S": "F", "Y": "F"}.get(r[0], r[0]), r[1]) for r in self.records]

    def image(self, cut, seed, number):
        if self.model is None or self.at > cut:
            self.model, self.at = filemodel.Model(), 0
        for r in self.records[self.at:cut]:
            self.model.step(*r)
        self.at = cut
        path = "%s/image%d" % (self.scratch, number)
        rng = random.Random(seed)
        self.model.draw(path, rng, {0: 0, 1: 1}.get(seed, rng.choice([0, 0.3, 0.5, 0.8, 0.95])))
        return path

    def drop(self, number):
        shutil.rmtree("%s/image%d" % (self.scratch, number))


def own_mounts():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x00020000) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    sh("mount", "--make-rprivate", "/")
