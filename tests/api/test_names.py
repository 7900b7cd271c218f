"""Repository names: the grammar, the short form, reserved first parts (specification: "Pulling manifests")."""
import pytest
from registry import dumps, index_doc, quote

DOC = dumps(index_doc([]))

GOOD = ["a/b", "a0/b1", "a/b/c/d/e/f/g", "a.b/c_d", "a__b/c--d", "a---b/c", "00/0", "a/b.c-d_e__f", "a/" + "b" * 200,
        "/".join(["ab"] * 80), "a/blobs", "a/manifests/tags", "a/tags/list", "a/uploads", "a/v2", "a/blobs/uploads"]
BAD = ["A/b", "a/B", "-a/b", "a-/b", "a/b-", ".a/b", "a./b", "a..b/c", "a/_b", "a/b_", "a___b/c", "a/b._c", "a/%20b", "a/b%00",
       "a/b+c", "a/b@c", "a/b:c", "%C3%BC/b", "a/~b", "a/b%", "a/%zz", "a/" + "b" * 254, "a/b%0a", "a/b%0d%0ac", "a/b,c", "a/b;c",
       "a/b=c", "a/b%5Cc", "a/b%3F", "a/(b)", "a/b'", "a/$b", "a/*"]
PATHS = ["a//b", "/a/b", "a/b/", "a/./b", "a/../b", "..", "../../etc", "a/%2e%2e/b", "a/.../b"]


def all_routes(name):
    return [("GET", "/v2/%s/tags/list" % name), ("GET", "/v2/%s/manifests/t" % name),
            ("POST", "/v2/%s/blobs/uploads/" % name), ("PUT", "/v2/%s/manifests/t" % name)]


@pytest.mark.parametrize("name", GOOD)
def test_good_names(admin, name):
    name = name.replace("a", "good", 1) if not name.startswith("0") else name
    assert admin.put_manifest(name, "t", DOC).status == 201
    assert admin.pull(name, "t") == DOC
    a = admin.get("/v2/%s/tags/list" % name)
    assert a.status == 200 and a.json() == {"name": name, "tags": ["t"]}
    assert name in admin.get("/v2/_catalog").json()["repositories"]


@pytest.mark.parametrize("name", BAD)
def test_bad_names(admin, anon, name):
    for method, path in all_routes(name):
        a = admin.request(method, path, body=DOC if method == "PUT" else None)
        assert a.status == 400 and a.code in ("NAME_INVALID", "UNSUPPORTED"), a
        assert anon.request(method, path, body=DOC if method == "PUT" else None).status in (400, 401)


@pytest.mark.parametrize("name", PATHS)
def test_names_that_are_tricks_with_paths(admin, name):
    for method, path in all_routes(name):
        a = admin.request(method, path, body=DOC if method == "PUT" else None)
        assert a.status in (400, 404), a


def test_a_name_of_255_bytes(admin):
    name = "nn/" + "x" * 252
    assert admin.put_manifest(name, "t", DOC).status == 201
    a = admin.put_manifest(name + "y", "t", DOC)
    assert a.status == 400 and a.code == "NAME_INVALID" and "255" in a.message, a


@pytest.mark.parametrize("first", ["users", "orgs", "api", "login", "search", "auth", "repositories", "namespaces", "v2", "token",
                                   "access-tokens", "api_tokens", "auditlogs", "invites", "scim", "user"])
def test_reserved_first_parts(admin, first):
    for name in (first + "/x", first, "library/" + first):
        a = admin.post("/v2/%s/blobs/uploads/" % name)
        if a.status in (404, 405):  # another dialect's path, whatever stands behind it
            assert name.startswith(first) and a.code == "UNSUPPORTED", a
            continue
        assert a.status == 400 and a.code == "NAME_INVALID" and "reserved" in a.message, a
    assert admin.post("/v2/fine/%s/blobs/uploads/" % first).status == 202
    # nor by the other ways a name comes in
    a = admin.post("/v2/fine/x/blobs/uploads/?mount=sha256:%s&from=%s/x" % ("0" * 64, first))
    assert a.status == 202, a


def test_bare_names_are_library_names(admin, anon):
    """One repository; Location and the list keep the client's spelling."""
    d, doc = admin.push_image("hello-bare", "t")
    assert admin.pull("library/hello-bare", "t") == doc and anon.pull("hello-bare", "t") == doc
    assert admin.get("/v2/hello-bare/tags/list").json()["name"] == "hello-bare"
    assert admin.get("/v2/library/hello-bare/tags/list").json()["name"] == "library/hello-bare"
    for name in ("hello-bare", "library/hello-bare"):
        a = admin.post("/v2/%s/blobs/uploads/" % name)
        assert admin.hub.path_of(a.get("Location")).startswith("/v2/%s/blobs/uploads/" % name)
        a = admin.put_manifest(name, "t", doc)
        assert admin.hub.path_of(a.get("Location")).startswith("/v2/%s/manifests/" % name)
    session = admin.post("/v2/hello-bare/blobs/uploads/").get("Location")
    other = admin.hub.path_of(session).replace("/v2/hello-bare/", "/v2/library/hello-bare/")
    assert admin.get(other).status == 204  # the session, too, is the repository's


@pytest.mark.parametrize("name", ["a/b", "x/tags", "x/blobs/uploads", "x/manifests/y", "x/tags/list"])
def test_words_of_the_api_inside_names(admin, name):
    name = "words/" + name
    d, doc = admin.push_image(name, "list")
    assert admin.pull(name, "list") == doc and admin.pull(name, d) == doc
    assert admin.get("/v2/%s/tags/list" % name).json() == {"name": name, "tags": ["list"]}


def test_percent_encoded_slash_is_no_way_around(admin, bob, alice, repo):
    """A name decoded once is judged once."""
    alice.push_image(repo, "t")
    for path in ("/v2/%s/manifests/t" % quote(repo), "/v2/bob%2f..%2f" + quote(repo) + "/manifests/t",
                 "/v2/bob/..%2f" + quote(repo) + "/manifests/t", "/v2/bob/%252e%252e/x/manifests/t"):
        assert bob.get(path).status in (400, 404)
