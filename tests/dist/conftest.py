"""Fixtures of the suite of what is shipped beside the program."""
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from berth import DEADLINE, ROOT, Hub, binary, free_port  # noqa: E402

BUILD = os.path.dirname(binary())


def text(path):
    with open(os.path.join(ROOT, path)) as f:
        return f.read()


def run(*argv, code=0, **kw):
    """A program that must end with the code; returns its output, both streams in one."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=kw.pop("stdin", subprocess.DEVNULL),
                          universal_newlines=True, timeout=300, **kw)
    assert done.returncode == code, "%s: exit %d\n%s" % (argv, done.returncode, done.stdout)
    return done.stdout


def blocks(path, language):
    """Fenced blocks of one language in a document."""
    return re.findall(r"^```%s\n(.*?)^```$" % language, text(path), re.M | re.S)


def replaced(source, pairs):
    """Every replacement must find its place."""
    for old, new in pairs:
        assert old in source, "%r is not in\n%s" % (old, source)
        source = source.replace(old, new)
    return source


def wait_for(test, what="it"):
    end = time.monotonic() + DEADLINE
    while not test():
        assert time.monotonic() < end, what + " did not come true"
        time.sleep(0.05)


def config_keys():
    """{name: (type, default, allowed, reload)} of src/base/config_keys.h."""
    rows = re.findall(r'X\([A-Z_]+, "([a-z_]+)", ([A-Z]+), "([^"]*)", \d+, \d+, "([^"]*)", ([01]), "[^"]*"\)', text("src/base/config_keys.h"))
    assert len(rows) >= 40
    return {name: (kind, default, allowed, reload == "1") for name, kind, default, allowed, reload in rows}


@pytest.fixture
def make_hub():
    hubs = []

    def make(**kw):
        kw.setdefault("env", {}).setdefault("BERTH_MIN_FREE", "0")
        hubs.append(Hub(**kw))
        return hubs[-1]

    yield make
    for h in hubs:
        h.close()


@pytest.fixture(scope="session")
def hub():
    h = Hub(env={"BERTH_MIN_FREE": "0"})
    yield h
    h.close()


@pytest.fixture(scope="session")
def exec_dir():
    """A directory from which programs may run; memory file systems often forbid it."""
    path = tempfile.mkdtemp(prefix="berth-dist-", dir="/var/tmp")
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def dest(exec_dir):
    """`make install`, as a packager does it."""
    path = exec_dir + "/dest"
    run("make", "-C", ROOT, "install", "BUILD=" + BUILD, "PREFIX=/usr", "DESTDIR=" + path)
    return path


class Authority:
    """What docs/recipes/private-ca.md makes, for localhost."""

    def __init__(self, folder):
        self.dir = folder
        names = [("CN=hub.example.org", "CN=localhost"), ("DNS:hub.example.org", "DNS:localhost,IP:127.0.0.1")]
        first, second = blocks("docs/recipes/private-ca.md", "sh")
        run("sh", "-e", "-c", first, cwd=folder)
        run("sh", "-e", "-c", replaced(second, names), cwd=folder)
        self.ca, self.chain, self.key = folder + "/ca.crt", folder + "/hub.pem", folder + "/hub.key"
        with open(self.chain) as a, open(self.key) as b, open(folder + "/both.pem", "w") as f:
            f.write(a.read() + b.read())
        self.both = folder + "/both.pem"
        self.trust = ssl.create_default_context(cafile=self.ca)


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(str(tmp_path_factory.mktemp("ca")))


def answers(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


__all__ = ["free_port", "Hub"]
