"""Fixtures of the command line's suite."""
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from berth import REPORTS, Hub, binary, commands, newest_schema  # noqa: E402,F401


class Done:
    """What a finished program said."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err
        for word in REPORTS:
            assert word not in err, err

    def __repr__(self):
        return "exit %s\n-- out\n%s\n-- err\n%s" % (self.code, self.out, self.err)

    def lines(self):
        """Output of --json: objects of one key each."""
        docs = [json.loads(line) for line in self.out.splitlines()]
        assert all(len(d) == 1 and set(d) <= {"progress", "item", "done"} for d in docs), self
        return docs

    def items(self):
        return [d["item"] for d in self.lines() if "item" in d]

    def done(self):
        docs = self.lines()
        assert [i for i, d in enumerate(docs) if "done" in d] == [len(docs) - 1], self
        return docs[-1]["done"]


def berth(*args, env=None, stdin="", cwd="/", fd=None):
    """Runs the program in an environment without any setting of Berth."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("BERTH_") and k != "CREDENTIALS_DIRECTORY"}
    clean.update(env or {})
    done = subprocess.run([binary()] + list(args), input=stdin, stdout=subprocess.PIPE if fd is None else fd,
                          stderr=subprocess.PIPE, universal_newlines=True, env=clean, timeout=120, cwd=cwd)
    return Done(done.returncode, done.stdout or "", done.stderr)


def typed(argv, lines):
    """Runs argv on a terminal and types the lines at the prompts; returns (exit code, all that was seen)."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(argv[0], argv)
    seen, waiting = b"", list(lines)
    while True:
        if not select.select([fd], [], [], 60)[0]:
            os.kill(pid, signal.SIGKILL)
        try:
            data = os.read(fd, 4096)
        except OSError:
            break
        if not data:
            break
        seen += data
        if waiting and re.search(rb"(User|Password[a-z ]*|Again): $", seen):
            os.write(fd, waiting.pop(0).encode() + b"\n")
            seen += b"|"
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen.decode()


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def db(request):
    return request.param


@pytest.fixture
def make_hub():
    hubs = []

    def make(db="sqlite", **kw):
        kw.setdefault("env", {}).setdefault("BERTH_MIN_FREE", "0")
        hubs.append(Hub(db, **kw))
        return hubs[-1]

    yield make
    for h in hubs:
        h.close()


def on(hub, *args, **kw):
    """A command on the hub's data directory, with the hub's database."""
    env = {"BERTH_DATABASE": hub.database} if hub.database else {}
    env.update(kw.pop("env", {}))
    return berth(*args, "--data", hub.data, env=env, **kw)
