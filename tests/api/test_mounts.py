"""Mounts (specification: "Mounting a blob from another repository"). Who may mount what: test_threats.py, T18."""
import os

import pytest
from registry import digest, quote


def mount(c, repo, want, source=None):
    query = "?mount=" + quote(want) + ("&from=" + quote(source) if source is not None else "")
    return c.post("/v2/%s/blobs/uploads/%s" % (repo, query))


@pytest.mark.parametrize("alg", ["sha256", "sha512"])
@pytest.mark.parametrize("source", [True, False], ids=["from", "automatic"])
def test_mount(alice, repo, alg, source):
    data = os.urandom(512)
    want = alice.push_blob(repo + "-a", data, alg)
    a = mount(alice, repo + "-b", want, repo + "-a" if source else None)
    assert a.status == 201 and a.get("Docker-Content-Digest") == want, a
    assert alice.hub.path_of(a.get("Location")) == "/v2/%s-b/blobs/%s" % (repo, want)
    assert alice.get(a.get("Location")).body == data
    assert alice.delete("/v2/%s-a/blobs/%s" % (repo, want)).status == 202
    assert alice.get("/v2/%s-b/blobs/%s" % (repo, want)).body == data


@pytest.mark.parametrize("alg", ["sha256", "sha512"])
def test_mount_of_an_unknown_blob_starts_a_session(alice, repo, alg):
    data = os.urandom(512)
    alice.push_blob(repo + "-a", b"another")
    for source in (repo + "-a", repo + "-missing", None, "", "Not A Name", "../../x"):
        a = mount(alice, repo + "-b", digest(data, alg), source)
        assert a.status == 202 and "/uploads/" in a.get("Location"), a
    a = alice.finish(a.get("Location"), digest(data, alg), data)
    assert a.status == 201, a


def test_mount_looks_in_from_only(alice, repo):
    """The blob exists, but not where the client said."""
    want = alice.push_blob(repo + "-a", os.urandom(100))
    alice.push_blob(repo + "-c", b"other")
    assert mount(alice, repo + "-b", want, repo + "-c").status == 202


def test_mount_onto_itself(alice, repo):
    data = os.urandom(100)
    want = alice.push_blob(repo, data)
    assert mount(alice, repo, want, repo).status == 201
    assert alice.get("/v2/%s/blobs/%s" % (repo, want)).body == data


def test_mount_with_a_bearer_token_for_the_target_only(hub, alice, repo):
    """Clients reuse the target's push token (registries.md section 2): the account decides about the source."""
    want = alice.push_blob(repo + "-a", os.urandom(100))
    token = alice.fetch_token("repository:%s-b:pull,push" % repo)
    a = mount(hub.client(token=token), repo + "-b", want, repo + "-a")
    assert a.status == 201, a


def test_mount_from_a_bare_name(hub, admin, repo):
    name = "bare-" + repo.split("/")[1]
    want = admin.push_blob(name, os.urandom(100))
    assert mount(admin, repo, want, name).status == 201
    assert mount(admin, repo + "-2", want, "library/" + name).status == 201


def test_mounted_blob_can_be_mounted_on(alice, repo):
    data = os.urandom(300)
    want = alice.push_blob(repo + "-0", data)
    for i in range(3):
        assert mount(alice, "%s-%d" % (repo, i + 1), want, "%s-%d" % (repo, i)).status == 201
        assert alice.delete("/v2/%s-%d/blobs/%s" % (repo, i, want)).status == 202
    assert alice.get("/v2/%s-3/blobs/%s" % (repo, want)).body == data
