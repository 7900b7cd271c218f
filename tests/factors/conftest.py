"""One process of tests/tools/factors for all tests: a JSON object a line in, one out."""
import json, os, subprocess, sys
import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BERTH = os.environ.get("BERTH_BIN", os.path.join(ROOT, "build-test", "berth"))


sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))
from authenticator import b64, unb64  # noqa: E402,F401 (for the tests)


class Crypt:
    """crypt("register", ...) -> dict; a refusal has "error" and "text". What lies behind in the stream would be
    the sanitizers' report, so the process must also end with 0."""

    def __init__(self):
        self.process = subprocess.Popen([os.path.join(os.path.dirname(BERTH), "tests/tools/factors")], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, bufsize=0)

    def __call__(self, what, **args):
        self.process.stdin.write(json.dumps(dict(args, do=what)).encode() + b"\n")
        line = b""
        while not line.endswith(b"\n"):
            more = self.process.stdout.read(1 << 16)
            assert more, "the tool died"
            line += more
        return json.loads(line)

    def end(self):
        self.process.stdin.close()
        return self.process.wait(timeout=60)


@pytest.fixture(scope="session")
def crypt():
    c = Crypt()
    yield c
    assert c.end() == 0
