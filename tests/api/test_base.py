"""/v2/ and what every answer has in common (specification: "API", "Determining Support")."""
import re

from registry import parse_challenge


def test_version_check_with_credentials_is_200(admin, alice):
    for c in (admin, alice):
        for path in ("/v2/", "/v2"):
            a = c.get(path)
            assert a.status == 200, a


def test_version_check_without_credentials_challenges(hub, anon):
    a = anon.get("/v2/")
    assert a.status == 401 and a.code == "UNAUTHORIZED", a
    assert a.get("Docker-Distribution-Api-Version") == "registry/2.0"
    c = parse_challenge(a.get("WWW-Authenticate"))
    assert c["realm"] == hub.url + "/token" and c["service"] == hub.service


def test_version_check_bearer(hub, alice):
    token = alice.fetch_token()
    assert hub.client(token=token).get("/v2/").status == 200


def test_head_of_version_check(admin, anon):
    assert admin.head("/v2/").status == 200
    a = anon.head("/v2/")
    assert a.status == 401 and parse_challenge(a.get("WWW-Authenticate"))


def test_request_ids_are_unique(admin):
    seen = [admin.get("/v2/").get("X-Request-Id") for _ in range(50)]
    assert len(set(seen)) == 50 and all(re.fullmatch("[0-9a-f]{16}", s) for s in seen)


def test_unknown_query_keys_are_ignored(admin, repo):
    d, doc = admin.push_image(repo, "t")
    for query in ("?ns=docker.io", "?a=b&c", "?ns=docker.io&ns=x", "?%66oo=1"):
        a = admin.get("/v2/%s/manifests/t%s" % (repo, query))
        assert a.status == 200 and a.body == doc
        assert admin.head("/v2/%s/manifests/t%s" % (repo, query)).status == 200
    a = admin.post("/v2/%s/blobs/uploads/?ns=docker.io" % repo)
    assert a.status == 202


def test_ns_does_not_change_what_is_served(admin, repo):
    """ns is used for nothing here, so OCI-Namespace claims nothing."""
    d, doc = admin.push_image(repo, "t")
    a, b = admin.get("/v2/%s/manifests/t" % repo), admin.get("/v2/%s/manifests/t?ns=ghcr.io" % repo)
    assert a.body == b.body and b.get("OCI-Namespace") is None


def test_every_category_of_the_specification_is_offered(admin, repo):
    """Pull, push, content discovery, content management."""
    d, doc = admin.push_image(repo, "t")
    assert admin.pull(repo, "t") == doc
    assert admin.get("/v2/%s/tags/list" % repo).json() == {"name": repo, "tags": ["t"]}
    assert admin.get("/v2/%s/referrers/%s" % (repo, d)).status == 200
    assert admin.delete("/v2/%s/manifests/t" % repo).status == 202
    assert admin.delete("/v2/%s/manifests/%s" % (repo, d)).status == 202
