"""GET /v2/_catalog: what the caller may read, once, in byte order."""
import pytest
from registry import parse_challenge
from test_tags import next_of


def catalog(c, query=""):
    a = c.get("/v2/_catalog" + query)
    assert a.status == 200 and a.get("Content-Type") == "application/json", a
    assert set(a.json()) == {"repositories"}
    return a, a.json()["repositories"]


@pytest.fixture
def nobody(hub):
    """Without a name, but with the token that the challenge leads to."""
    return hub.client(mode="bearer")


def all_pages(c, n):
    seen, target = [], "/v2/_catalog?n=%d" % n
    while target:
        a = c.get(target)
        assert a.status == 200, a
        got = a.json()["repositories"]
        target = next_of(a)
        assert len(got) == n or (target is None and len(got) <= n)
        seen += got
    return seen


@pytest.fixture(scope="module")
def filled(hub):
    alice, bob, admin = hub.people["alice"], hub.people["bob"], hub.admin()
    for name in ("alice/cat", "alice/cat-a", "alice/cat/a", "alice/cata"):
        alice.push_blob(name, b"x")
    bob.push_blob("bob/cat", b"x")
    admin.push_blob("catpublic", b"x")
    admin.push_blob("library/catpublic2", b"x")
    admin.push_blob("catteam/private", b"x")
    return admin


def mine(names):
    return [n for n in names if "cat" in n.split("/", 1)[1] or n.startswith("catteam")]


ALICE = ["alice/cat", "alice/cat-a", "alice/cat/a", "alice/cata"]
PUBLIC = ["library/catpublic", "library/catpublic2"]


def test_each_sees_what_it_may_read(hub, filled, alice, bob, nobody):
    for c, want in ((nobody, PUBLIC), (alice, ALICE + PUBLIC), (bob, ["bob/cat"] + PUBLIC),
                    (filled, ALICE + ["bob/cat", "catteam/private"] + PUBLIC)):
        a, got = catalog(c)
        assert got == sorted(set(got)) and next_of(a) is None
        assert [n for n in mine(got) if n in ALICE + PUBLIC + ["bob/cat", "catteam/private"]] == sorted(want)
        foreign = [n for n in got if not n.startswith("library/")]
        if c is nobody:
            assert foreign == []
        elif c is not filled:
            assert all(n.startswith(c.user + "/") for n in foreign)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 1000])
def test_pages(hub, filled, alice, nobody, n):
    for c in (filled, alice, nobody):
        whole = catalog(c)[1]
        if n > 1 or len(whole) < 100:
            assert all_pages(c, n) == whole


def test_bare_names_are_listed_once(filled):
    got = catalog(filled)[1]
    assert got.count("library/catpublic") == 1 and "catpublic" not in got


def test_last(filled, alice):
    whole = catalog(alice)[1]
    for last in ("alice/cat", "alice/cat/a", "a", "alice/zzz", "library/catpublic", "zz/z"):
        assert catalog(alice, "?last=" + last.replace("/", "%2F"))[1] == [n for n in whole if n > last]
        assert catalog(alice, "?n=2&last=" + last)[1] == [n for n in whole if n > last][:2]


def test_n_zero(filled):
    a, got = catalog(filled, "?n=0")
    assert got == [] and next_of(a) is None


@pytest.mark.parametrize("query", ["?n=-1", "?n=x", "?n=", "?last=-", "?last=%00", "?last=A", "?n=1&last=%zz"])
def test_bad_parameters(filled, query):
    a = filled.get("/v2/_catalog" + query)
    assert a.status == 400, a


def test_by_token(hub, filled, alice):
    want = catalog(alice)[1]
    token = alice.fetch_token("registry:catalog:*")
    assert catalog(hub.client(token=token))[1] == want
    none = alice.fetch_token("repository:alice/cat:pull")
    a = hub.client(token=none).get("/v2/_catalog")
    assert a.status == 401 and 'scope="registry:catalog:*"' in a.get("WWW-Authenticate"), a


def test_a_repository_appears_with_its_first_content(alice, repo):
    assert repo not in catalog(alice)[1]
    location = alice.start_upload(repo)
    alice.delete(location)
    alice.push_blob(repo, b"x")
    assert repo in catalog(alice)[1]


def test_without_a_token_is_challenged(anon):
    """oras and regctl send their credentials only then: an empty list would be all they see."""
    a = anon.get("/v2/_catalog")
    assert a.status == 401 and parse_challenge(a.get("WWW-Authenticate"))["scope"] == "registry:catalog:*", a
