"""Tag lists (specification: "Listing Tags")."""
import random
import urllib.parse

import pytest
from registry import digest, dumps, index_doc

DOC = dumps(index_doc([]))


def put_tags(c, repo, tags):
    tags = list(tags)
    for i in range(0, len(tags), 20):
        query = "?" + "&".join("tag=" + t for t in tags[i:i + 20])
        a = c.put_manifest(repo, digest(DOC), DOC, query=query)
        assert a.status == 201, a


def listing(c, repo, query=""):
    a = c.get("/v2/%s/tags/list%s" % (repo, query))
    assert a.status == 200 and a.get("Content-Type") == "application/json", a
    doc = a.json()
    assert set(doc) == {"name", "tags"} and doc["name"] == repo and isinstance(doc["tags"], list), a
    return a, doc["tags"]


def next_of(a):
    """Target of the Link header, or None."""
    links = a.all("Link")
    if not links:
        return None
    assert len(links) == 1 and links[0].startswith("<") and links[0].endswith('>; rel="next"'), links
    return links[0][1:].split(">")[0]


TAGS = ["B", "Z", "_x", "a", "a-b", "a.b", "aa", "ab", "b", "latest", "v1", "v1.10", "v1.2", "v10", "v2", "0", "00"]


@pytest.fixture(scope="module")
def tagged(hub):
    c = hub.admin()
    put_tags(c, "lab/tagged", random.sample(TAGS, len(TAGS)))
    return c, "lab/tagged", sorted(TAGS)


def test_whole_list_in_byte_order(tagged):
    c, repo, want = tagged
    a, tags = listing(c, repo)
    assert tags == want and next_of(a) is None


def test_unknown_repository(admin, repo):
    a = admin.get("/v2/%s/tags/list" % repo)
    assert a.status == 404 and a.code == "NAME_UNKNOWN", a


def test_repository_without_tags(admin, repo):
    admin.push_blob(repo, b"x")
    a, tags = listing(admin, repo)
    assert tags == [] and next_of(a) is None


def test_n_zero(tagged):
    c, repo, want = tagged
    a, tags = listing(c, repo, "?n=0")
    assert tags == [] and not a.all("Link")
    a, tags = listing(c, repo, "?n=0&last=a")
    assert tags == [] and not a.all("Link")


@pytest.mark.parametrize("n", [1, 2, 5, 16, 17, 18, 1000])
def test_pages(tagged, n):
    """Each page is full or the last; following Link gives every tag once."""
    c, repo, want = tagged
    seen, target = [], "/v2/%s/tags/list?n=%d" % (repo, n)
    while target:
        a = c.get(target)
        tags = a.json()["tags"]
        seen += tags
        target = next_of(a)
        assert len(tags) == n or target is None
        assert len(tags) <= n
        assert target is None or c.hub.path_of(target).startswith("/v2/%s/tags/list?" % repo)
    assert seen == want


@pytest.mark.parametrize("last", ["a", "a-b", "v1", "latest", "zzz", "0", "not-a-tag-here", "_x"])
def test_last(tagged, last):
    """Non-inclusive, and the value need not exist. Without n the whole rest comes."""
    c, repo, want = tagged
    rest = [t for t in want if t > last]
    a, tags = listing(c, repo, "?last=" + last)
    assert tags == rest and next_of(a) is None
    a, tags = listing(c, repo, "?n=3&last=" + last)
    assert tags == rest[:3] and (next_of(a) is not None) == (len(rest) > 3)
    a, tags = listing(c, repo, "?last=%s&n=3" % last)
    assert tags == rest[:3]


@pytest.mark.parametrize("bad", ["-1", "abc", "1.5", "0x10", "", "%20", "1%00", "+1", "1e9"])
def test_n_that_is_no_number(tagged, bad):
    c, repo, want = tagged
    a = c.get("/v2/%s/tags/list?n=%s" % (repo, bad))
    assert a.status == 400 and a.code == "UNSUPPORTED", a
    assert "n" in a.message


@pytest.mark.parametrize("bad", ["a%2Fb", "-x", "%00", "a" * 129, "%zz", "%C3%BC"])
def test_last_that_is_no_tag(tagged, bad):
    c, repo, want = tagged
    a = c.get("/v2/%s/tags/list?last=%s" % (repo, bad))
    assert a.status == 400, a


def test_names_that_are_prefixes_of_each_other(admin, repo):
    """distribution#4898: names a, a-b, a/b, ab must not shadow each other."""
    for name in ("a", "a-b", "a/b", "ab", "a/b/c"):
        put_tags(admin, repo + "/" + name, ["only-" + name.replace("/", "-")])
    for name in ("a", "a-b", "a/b", "ab", "a/b/c"):
        _, tags = listing(admin, repo + "/" + name)
        assert tags == ["only-" + name.replace("/", "-")]


def test_many_tags_in_one_answer(admin, repo):
    """No silent page: without n everything comes (the conformance tool relies on it)."""
    want = sorted("t%05d" % i for i in range(1500))
    put_tags(admin, repo, want)
    a, tags = listing(admin, repo)
    assert tags == want and next_of(a) is None
    a, tags = listing(admin, repo, "?last=t00099")
    assert tags == want[100:]


def test_list_follows_pushes_and_deletes(admin, repo):
    put_tags(admin, repo, ["a", "b"])
    assert listing(admin, repo)[1] == ["a", "b"]
    put_tags(admin, repo, ["aa"])
    assert listing(admin, repo)[1] == ["a", "aa", "b"]
    assert admin.delete("/v2/%s/manifests/a" % repo).status == 202
    assert listing(admin, repo)[1] == ["aa", "b"]


def test_head_of_a_list(tagged):
    c, repo, want = tagged
    a = c.head("/v2/%s/tags/list" % repo)
    assert a.status == 200 and int(a.get("Content-Length")) == len(c.get("/v2/%s/tags/list" % repo).body)


def test_link_survives_odd_tags(admin, repo):
    put_tags(admin, repo, ["_", "a_b", "a.b", "a-b"])
    seen, target = [], "/v2/%s/tags/list?n=1" % repo
    while target:
        a = admin.get(target)
        seen += a.json()["tags"]
        target = next_of(a)
        if target:
            assert urllib.parse.parse_qs(urllib.parse.urlsplit(target).query)["last"] == [seen[-1]]
    assert seen == sorted(["_", "a_b", "a.b", "a-b"])
