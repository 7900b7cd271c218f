"""Fixtures of the API suite. One hub serves all tests that need no settings of their own."""
import os
import re
import sys

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from berth import Hub  # noqa: E402
from factors import PASSWORD  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--db", default=os.environ.get("BERTH_TEST_DB", "sqlite"), choices=["sqlite", "postgresql"],
                     help="database of the hubs under test")


@pytest.fixture(scope="session")
def db(request):
    return request.config.getoption("--db")


@pytest.fixture(scope="session")
def hub(db):
    # Failed logins are part of many tests here; their limit is tested on a hub of its own.
    h = Hub(db, env={"BERTH_MAX_LOGINS_PER_ADDRESS": "0", "BERTH_MIN_FREE": "0"})
    h.people = {name: h.add_user(name) for name in ("alice", "bob", "carol")}
    yield h
    h.close()


@pytest.fixture(autouse=True)
def alive(request):
    """A test that brings the shared hub down is the one that fails."""
    yield
    if "hub" in request.fixturenames:
        h = request.getfixturevalue("hub")
        assert h.proc.poll() is None, h.stderr()[-8000:]


@pytest.fixture
def new_hub(db):
    """Makes hubs with settings of the test's own; all are stopped and checked at its end."""
    made = []

    def make(**kw):
        env = {"BERTH_MAX_LOGINS_PER_ADDRESS": "0", "BERTH_MIN_FREE": "0"}
        env.update(kw.pop("env", {}))
        h = Hub(db, env=env, **kw)
        made.append(h)
        return h

    yield make
    errors = []
    for h in made:
        try:
            h.close()
        except AssertionError as e:
            errors.append(e)
    assert not errors, errors


@pytest.fixture
def admin(hub):
    c = hub.admin()
    yield c
    c.close()


@pytest.fixture
def alice(hub):
    return hub.people["alice"]


@pytest.fixture
def bob(hub):
    return hub.people["bob"]


@pytest.fixture
def anon(hub):
    return hub.anonymous()


_count = [0]


def fresh_name(request):
    _count[0] += 1
    test = re.sub("[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:60].strip("-")
    return "%s-%d" % (test, _count[0])


@pytest.fixture
def repo(request):
    """A private repository of alice's that does not exist yet."""
    return "alice/" + fresh_name(request)


@pytest.fixture
def public_repo(request):
    """What administrators push below library is public."""
    return "library/" + fresh_name(request)


@pytest.fixture(scope="module")
def site(db):
    """A hub under a name, for WebAuthn; nobody's failures are counted but where a test says so."""
    h = Hub(db, env={"BERTH_MAX_LOGINS_PER_ADDRESS": "0", "BERTH_MIN_FREE": "0"}, start=False)
    h.extra["BERTH_PUBLIC_URL"] = h.origin = "http://localhost:%d" % h.port
    h.start()
    h.count = 0
    yield h
    h.close()


@pytest.fixture
def user(site):
    site.count += 1
    name = "user%d" % site.count
    site.add_user(name, PASSWORD)
    return name
