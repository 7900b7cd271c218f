"""A hub under test: starts `berth serve` on a data directory of its own, and watches what it says.

BERTH_BIN names the program (default: the first of build-test, build-faults, build). When a hub stops, its log must
be JSON lines only, free of sanitizer reports and of every secret that the test used.
"""
import atexit
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse

from rawhttp import Answer, Broken, Closed, Conn, build, chunks  # noqa: F401 (for the tests)
from registry import Client

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
REPORTS = ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:", "BUG:", "stack smashing")
SAME = re.compile(r'"(time":"[0-9TZ:.-]+|id":"[0-9a-f]{16})",|"us":[0-9]+,?')  # what tells alike records of a log apart
DEADLINE = 60  # seconds until a start or stop counts as hanging


def binary():
    given = os.environ.get("BERTH_BIN")
    for path in [given] if given else ["build-test/berth", "build-faults/berth", "build/berth"]:
        full = os.path.join(ROOT, path)
        if os.access(full, os.X_OK):
            return full
    raise SystemExit("no berth program: build it, or name it in BERTH_BIN")


def free_port():
    """Below the ports that connections leave from, so that it is still free when a hub starts again on it."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as f:
        beyond = int(f.read().split()[0])
    while True:
        with socket.socket() as s:
            port = random.randrange(10000, max(beyond, 20000))
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def newest_schema():
    """Number of the newest schema that the sources have."""
    return max(int(name[:4]) for name in os.listdir(ROOT + "/src/db/schema"))


def commands():
    """[(name, operands)] of every command, as `berth help` lists them."""
    out = subprocess.run([binary(), "help"], check=True, stdout=subprocess.PIPE, universal_newlines=True).stdout
    listed = re.findall(r"^  ([a-z-]+(?: [a-z-]+)?) {2,}((?:\[?[A-Z]+\]?)(?: [A-Z]+)*)? {2,}\S", out, re.M)
    assert len(listed) >= 55, listed
    return listed


class Postgres:
    """One private server for the whole run; a database for each hub."""
    _one, _lock = None, threading.Lock()

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="berth-pg-")
        self.call("start")
        self.count = 0
        atexit.register(self.stop)

    @classmethod
    def get(cls):
        with cls._lock:
            if cls._one is None:
                cls._one = cls()
            return cls._one

    def fresh(self):
        with self._lock:
            self.count += 1
            env = dict(os.environ, DATABASE="hub%d" % self.count)
        return self.call("fresh", env)

    def call(self, action, env=None):
        done = subprocess.run([ROOT + "/tests/lib/pg", action, self.dir], check=True, stdout=subprocess.PIPE,
                              universal_newlines=True, env=env)
        return done.stdout.strip()

    def stop(self):
        self.call("stop")
        shutil.rmtree(self.dir, ignore_errors=True)


class Hub:
    def __init__(self, db="sqlite", env=None, flags=(), admin="admin", password="the-admin-password-17", data=None,
                 start=True, tls=None, wrapper=()):
        self.db, self.extra, self.flags, self.wrapper = db, dict(env or {}), list(flags), list(wrapper)
        self.admin_name, self.admin_password, self.tls = admin, password, tls
        self.own_dir = tempfile.mkdtemp(prefix="berth-hub-")
        self.data = data or os.path.join(self.own_dir, "data")
        self.database = Postgres.get().fresh() if db == "postgresql" else None
        self.host, self.port = "127.0.0.1", free_port()
        self.secrets, self.out_lines, self.proc, self.url, self.service = set(), [], None, None, None
        self.err_path = os.path.join(self.own_dir, "stderr")
        if password:
            self.secrets.add(password)
        if start:
            self.start()

    # --- life
    def environment(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith("BERTH_")}
        env["ASAN_OPTIONS"] = "detect_leaks=1:abort_on_error=0:" + env.get("ASAN_OPTIONS", "")
        env["UBSAN_OPTIONS"] = "print_stacktrace=1:halt_on_error=1"
        if self.database:
            env["BERTH_DATABASE"] = self.database
        if self.admin_name:
            env["BERTH_ADMIN_USER"] = self.admin_name
        if self.admin_password:
            env["BERTH_ADMIN_PASSWORD"] = self.admin_password
        env.update(self.extra)
        return env

    def launch(self):
        """Starts the program and returns at once."""
        argv = self.wrapper + [binary(), "serve", "--data", self.data,
                               "--listen", "%s:%d" % (self.host, self.port)] + self.flags
        self.ready, self.url = threading.Event(), None
        with open(self.err_path, "ab") as err:
            self.proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=err,
                                         env=self.environment(), start_new_session=True)
        self.reader = threading.Thread(target=self._read, args=(self.proc.stdout,), daemon=True)
        self.reader.start()

    def _read(self, stream):
        for raw in stream:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            self.out_lines.append(line)
            if line.startswith("ready on "):
                self.url = line[len("ready on "):].strip()
                self.ready.set()
        stream.close()
        self.ready.set()

    def start(self):
        self.launch()
        assert self.ready.wait(DEADLINE), "not ready in time"
        assert self.url, "the server ended: " + self.stderr()[-4000:]
        self.service = urllib.parse.urlsplit(self.url).netloc
        return self

    def pid(self):
        return self.proc.pid

    def reload(self):
        self.proc.send_signal(signal.SIGHUP)

    def stop(self, code=0):
        """SIGTERM; the exit code and the log must be right."""
        if self.proc is None:
            return
        if self.proc.poll() is None:
            self.proc.send_signal(signal.SIGTERM)
        rc = self.proc.wait(DEADLINE)
        self.reader.join(DEADLINE)
        self.proc = None
        assert rc == code, "exit code %d\n%s" % (rc, self.stderr()[-6000:])
        self.check_log()

    def kill(self):
        self.proc.kill()
        self.proc.wait()
        self.reader.join(DEADLINE)
        self.proc = None

    def restart(self):
        self.stop()
        return self.start()

    def close(self):
        """stop, and remove what is on disk."""
        try:
            self.stop()
        finally:
            if self.proc is not None and self.proc.poll() is None:
                self.kill()
            shutil.rmtree(self.own_dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.close()
            return
        if self.proc is not None:
            self.kill()
        shutil.rmtree(self.own_dir, ignore_errors=True)

    # --- what it says
    def stderr(self):
        with open(self.err_path, errors="replace") as f:
            return f.read()

    def log(self):
        """Log records, as dicts, in order."""
        return [json.loads(line) for line in self.stderr().splitlines() if line.startswith("{")]

    def check_log(self):
        err, out = self.stderr(), "\n".join(self.out_lines)
        for word in REPORTS:
            assert word not in err, err[-8000:]
        for line in err.splitlines() if self.extra.get("BERTH_LOG_FORMAT") != "human" else []:
            try:
                assert isinstance(json.loads(line), dict)
            except ValueError:
                raise AssertionError("not a JSON log line: %r" % line)
        told = set(SAME.sub("", line) for line in err.splitlines() + out.splitlines())
        once = "\n".join(told)
        for secret in self.secrets:
            assert secret not in once, "a secret is in the log"
        if self.database:
            assert self.database not in err + out, "the database URL is in the log"

    def wait_log(self, test):
        """The first record for which test is true; waits for the log's writer."""
        found = []

        def look():
            found[:] = [record for record in self.log() if test(record)]
            return found

        self.until(look, "log record")
        return found[0]

    @staticmethod
    def until(test, what):
        """Waits for test() to be true; the deadline is a guard, no assertion on time."""
        end = time.monotonic() + DEADLINE
        while not test():
            assert time.monotonic() < end, "waited in vain: " + what
            time.sleep(0.02)

    def metrics(self):
        c = self.connect()
        a = c.request("GET", "/metrics")
        if a.status == 401:  # loopback is a listed proxy
            a = c.request("GET", "/metrics", [("Authorization", self.admin().authorization(None))])
        assert a.status == 200, a
        return parse_metrics(a.body.decode())

    def process_stat(self):
        """(user+system CPU seconds, resident bytes) of the server."""
        with open("/proc/%d/stat" % self.pid()) as f:
            fields = f.read().rsplit(")", 1)[1].split()
        ticks = int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK"), int(fields[21]) * os.sysconf("SC_PAGE_SIZE")

    # --- talking to it
    def connect(self, **kw):
        return Conn(self.host, self.port, tls=self.tls, **kw)

    def raw(self, data, method="GET"):
        """One request on a connection of its own."""
        with self.connect() as c:
            c.send_most(data)
            return c.answer(method)

    def client(self, user=None, password=None, **kw):
        return Client(self, user, password, **kw)

    def admin(self, mode="basic"):
        return Client(self, self.admin_name, self.admin_password, mode)

    def anonymous(self):
        return Client(self)

    def path_of(self, location):
        """The path of a Location, which may be absolute, but then must be on this hub's public URL."""
        if location.startswith("/"):
            return location
        assert location.startswith(self.url + "/"), "Location leads elsewhere: " + location
        return location[len(self.url):]

    # --- commands
    def run(self, *args, stdin=None, env=None, check=True):
        full = self.environment()
        full.update(env or {})
        done = subprocess.run([binary()] + list(args), input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              universal_newlines=True, env=full, timeout=DEADLINE * 2)
        for word in REPORTS:
            assert word not in done.stderr, done.stderr
        if check:
            assert done.returncode == 0, (args, done.returncode, done.stdout, done.stderr)
        return done

    def command(self, *args, **kw):
        return self.run(*args, "--data", self.data, **kw)

    def add_user(self, name, password=None, admin=False):
        """Through the running server; returns a client with Basic credentials."""
        password = password or "pw-of-%s-4711" % name
        self.secrets.add(password)
        self.command("user", "add", name, *(["--admin"] if admin else []), stdin=password + "\n")
        return Client(self, name, password)


def parse_metrics(text):
    """Prometheus text -> {name{labels}: value}; refuses lines that are none."""
    out = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            assert not line or re.match(r"# (HELP|TYPE) [a-z_:]+ ", line), line
            continue
        m = re.fullmatch(r'([a-z_:][a-zA-Z0-9_:]*(?:\{[^}]*\})?) ([-+0-9.eE]+|NaN|\+Inf)', line)
        assert m, line
        out[m.group(1)] = float(m.group(2))
    return out
