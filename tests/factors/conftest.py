"""One process of tests/tools/factors for all tests: a JSON object a line in, one out."""
import base64, json, os, subprocess
import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BERTH = os.environ.get("BERTH_BIN", os.path.join(ROOT, "build-test", "berth"))


def b64(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


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
