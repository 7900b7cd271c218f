"""Conditional requests to /api/v1 (RFC 9110 13): a change by somebody who did not see the last one is refused."""
import pytest
from api import Api

CASES = {
    "org": ("/orgs/{org}", {"full_name": "Once"}, {"full_name": "Twice"}),
    "team": ("/orgs/{org}/teams/devs", {"description": "once"}, {"description": "twice"}),
    "repository": ("/repositories/{org}/app", {"description": "once"}, {"description": "twice"}),
    "user": ("/users/{user}", {"full_name": "Once"}, {"full_name": "Twice"}),
}


@pytest.fixture(scope="module")
def site(hub):
    api = Api(hub, hub.admin_name, hub.admin_password)
    api.post("/orgs", {"name": "conditions"}, status=201)
    api.post("/orgs/conditions/teams", {"name": "devs"}, status=201)
    api.post("/repositories", {"name": "conditions/app"}, status=201)
    api.post("/users", {"name": "conditional", "password": "conditional-password"}, status=201)
    return api


@pytest.mark.parametrize("kind", sorted(CASES))
def test_if_match(site, kind):
    path, once, twice = CASES[kind]
    path = path.format(org="conditions", user="conditional")
    seen = site.get(path, status=200)
    etag = [("If-Match", seen.get("ETag"))]
    assert site.patch(path, once, status=200, headers=etag)
    assert site.patch(path, twice, status=412, headers=etag).data["code"] == "precondition"
    now = site.get(path, status=200)
    assert all(now.data[k] == v for k, v in once.items()), now.data  # the refused one changed nothing
    assert site.patch(path, twice, status=200, headers=[("If-Match", now.get("ETag"))])
    assert site.patch(path, once, status=200)  # nobody has to say what he saw
    assert site.get(path, status=304, headers=[("If-None-Match", site.get(path, status=200).get("ETag"))])


def test_no_pushes_to_personal_namespaces(site):
    """The switch of an organization binds its members in their own namespaces, and nobody else."""
    hub = site.hub
    site.post("/orgs", {"name": "strict"}, status=201)
    user = hub.add_user("bound")
    user.push_image("bound/app", "t")
    site.put("/orgs/strict/members/bound", {"role": "member"}, status=200)
    user.push_image("bound/app", "u")
    assert site.patch("/orgs/strict", {"no_personal_push": True}, status=200).data["no_personal_push"] is True
    refused = user.post("/v2/bound/app/blobs/uploads/?digest=sha256:" + "0" * 64, body=b"x")
    assert refused.status in (400, 403), refused  # told by the transaction, behind the digest
    a = user.put_manifest("bound/app", "v", b'{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}')
    assert a.status == 403 and "strict" in a.message, a
    assert user.pull("bound/app", "t")
    other = hub.add_user("unbound")
    other.push_image("unbound/app", "t")
    site.patch("/orgs/strict", {"no_personal_push": False}, status=200)
    user.push_image("bound/app", "v")
