"""The room hub: Docker Hub's HTTP API, to the field name, by clients as others write them.

SHAPES is the independent account of what Hub's answers have (names and JSON types), written from its documentation and its
clients; every answer here is held to it.
"""
import csv
import io
import json
import re
import subprocess
import sys

import factors
import pytest
from berth import Hub
from registry import INDEX, basic, digest, dumps, index_doc, quote
from rightsworld import Wire

ENV = {"BERTH_MAX_LOGINS_PER_ADDRESS": "0", "BERTH_MIN_FREE": "0"}
PASSWORD = "a-password-of-some-length"
S, I, B, L, T, NT, NS = str, int, bool, list, "time", "time or null", "string or null"
IMAGE = dict(architecture=S, features=S, variant=NS, digest=S, os=S, os_features=S, os_version=NS, size=I, status=S, last_pulled=NT, last_pushed=NT)
PROFILE = dict(id=I, uuid=S, full_name=S, location=S, company=S, profile_url=S, date_joined=T, gravatar_url=S, gravatar_email=S, type=S)
LISTED = dict(name=S, namespace=S, repository_type=NS, status=I, status_description=S, description=S, is_private=B, star_count=I, pull_count=I,
              last_updated=T, last_modified=T, date_registered=T, affiliation=S, media_types=L, content_types=L, categories=L, storage_size=I)
OAT = dict(id=S, label=S, description=S, created_by=S, is_active=B, created_at=T, expires_at=NT, last_used_at=NT, resources=L)
SHAPES = {
    "user": dict(PROFILE, username=S), "self": dict(PROFILE, username=S, email=S), "my org": dict(PROFILE, orgname=S, role=S),
    "org": dict(PROFILE, orgname=S, badge=S, is_active=B, user_role=S, user_groups=L, org_groups_count=I, plan_name=S, parent_name=S),
    "member": dict(id=I, username=S, full_name=S, company=S, location=S, email=S, role=S, groups=L, is_guest=B, date_joined=T,
                   last_logged_in_at=NT, last_seen_at=NT, last_desktop_version=S),
    "group": dict(id=I, uuid=S, name=S, description=S, member_count=I),
    "grant": dict(group_name=S, permission=S, group_id=I),
    "pat": dict(uuid=S, client_id=S, creator_ip=S, creator_ua=S, created_at=T, last_used=NT, generated_by=S, is_active=B, token=S, token_label=S,
                scopes=L, expires_at=NT),
    "oat": OAT, "oat made": dict(OAT, token=S),
    "repository in a list": LISTED,
    "repository": dict(LISTED, user=S, is_automated=B, collaborator_count=I, hub_user=S, has_starred=B, full_description=S, permissions=dict,
                       immutable_tags_settings=dict, source=NS, can_edit=B, is_migrated=B),
    "tag": dict(id=I, name=S, images=L, creator=I, last_updated=T, last_updater=I, last_updater_username=S, repository=I, full_size=I, v2=B,
                tag_status=S, status=S, tag_last_pulled=NT, tag_last_pushed=T, media_type=S, content_type=S, digest=S, image_id=NS),
    "image": IMAGE, "image with layers": dict(IMAGE, layers=L),
    "page": {"count": I, "next": NS, "previous": NS, "results": L},
    "page of tokens": {"count": I, "next": NS, "previous": NS, "results": L, "active_count": I},
    "page of organizations' tokens": {"total": I, "next": NS, "previous": NS, "results": L},
    "error": dict(detail=S, message=S, errinfo=dict), "wrong": dict(fields=dict, text=S),
}


def is_a(value, kind):
    if kind in (NT, NS) and value is None:
        return True
    if kind in (T, NT):
        return isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", value) is not None
    return isinstance(value, str) if kind == NS else type(value) is kind


def shaped(doc, name):
    shape = SHAPES[name]
    assert set(doc) == set(shape), (name, set(doc) ^ set(shape))
    assert all(is_a(doc[k], kind) for k, kind in shape.items()), (name, {k: v for k, v in doc.items() if not is_a(v, shape[k])})
    return doc


class Api:
    """What one credential sees. Each call is made with and without a slash at the end in turn."""
    turn = 0

    def __init__(self, hub, auth=None):
        self.wire, self.hub, self.auth = Wire(hub), hub, auth

    def __call__(self, method, path, doc=None, status=200, shape=None):
        Api.turn += 1
        head, mark, query = path.partition("?")
        a = self.wire.ask(method, "/v2/" + head + ("/" if Api.turn % 2 else "") + mark + query, self.auth, doc)
        assert a.status == status, (method, path, doc, a)
        if method == "HEAD" or not a.body:
            return a
        if status >= 400:
            shape = "wrong" if status == 400 and b'"fields"' in a.body else "error"
        doc = a.json()
        return shaped(doc, shape) if shape else doc

    def page(self, path, item, page="page", **kw):
        doc = self("GET", path, shape=page, **kw)
        for one in doc["results"]:
            shaped(one, item)
        return doc

    def names(self, path, key="name"):
        return [r[key] for r in self("GET", path)["results"]]


class World:
    def __init__(self, hub):
        self.hub, self.wire = hub, Wire(hub)
        self.admin = self.login(hub.admin_name, hub.admin_password)
        for name in ("olga", "mike", "tina", "dora"):
            self.v1("POST", "users", {"name": name, "password": PASSWORD, "email": name + "@example.org"})
        hub.secrets.add(PASSWORD)
        self.olga, self.mike, self.dora = (self.login(n) for n in ("olga", "mike", "dora"))
        self.anonymous = Api(hub)
        self.v1("POST", "orgs", {"name": "acme", "owner": "olga"})
        self.v1("PUT", "orgs/acme/members/mike", {"role": "member"})
        self.v1("PUT", "orgs/acme/members/tina", {"role": "member"})
        for name in ("open", "closed"):
            self.v1("POST", "repositories", {"name": "acme/" + name, "visibility": "public" if name == "open" else "private"})

    def v1(self, method, path, doc=None):
        a = self.wire.ask(method, "/api/v1/" + path, self.admin.auth, doc)
        assert 200 <= a.status < 300, (path, a)
        return a.json() if a.body else None

    def login(self, name, password=PASSWORD, scheme="Bearer"):
        a = Wire(self.hub).ask("POST", "/v2/users/login", doc={"username": name, "password": password})
        assert a.status == 200 and set(a.json()) == {"token"}, a
        self.hub.secrets.add(a.json()["token"])
        return Api(self.hub, scheme + " " + a.json()["token"])

    def push(self, name, *tags, **kw):
        c = self.hub.client("olga", PASSWORD, mode="basic")
        for tag in tags:
            c.push_image(name, tag, **kw)
        return c


@pytest.fixture(scope="module")
def w(db):
    with Hub(db, env=ENV) as hub:
        yield World(hub)


# --- login
def test_login(w):
    ask = w.anonymous
    assert set(ask("POST", "users/login", {"username": "olga", "password": PASSWORD, "extra": 1})) == {"token"}
    doc = ask("POST", "users/login?refresh_token=true", {"username": "olga", "password": PASSWORD})
    assert set(doc) == {"token", "refresh_token"}
    claims = json.loads(urlsafe(doc["token"].split(".")[1]))
    assert claims["https://hub.docker.com"]["username"] == "olga"
    for name, password in (("olga", "wrong"), ("nobody", PASSWORD), ("acme", PASSWORD)):
        a = ask("POST", "users/login", {"username": name, "password": password}, 401)
        assert a["detail"] == "Incorrect authentication credentials"
    ask("POST", "users/2fa-login", {"login_2fa_token": "x", "code": "123456"}, 401)
    assert set(ask("POST", "users/login", {}, 400)["fields"]) == {"username", "password"}
    doc = ask("POST", "auth/token", {"identifier": "olga", "secret": PASSWORD})
    assert set(doc) == {"access_token"}
    claims = json.loads(urlsafe(doc["access_token"].split(".")[1]))
    assert claims["exp"] - claims["iat"] == 600
    ask("POST", "auth/token", {"identifier": "olga", "secret": "wrong"}, 401)
    for scheme in ("Bearer", "JWT"):
        assert Api(w.hub, scheme + " " + doc["access_token"])("GET", "user", shape="self")["username"] == "olga"
    Api(w.hub, "Token " + doc["access_token"])("GET", "user", status=401)


def test_login_with_a_second_factor(w):
    w.v1("POST", "users", {"name": "fay", "password": PASSWORD})
    app, _ = factors.add_app(factors.login(w.hub, "fay", PASSWORD))
    a = w.anonymous.wire.ask("POST", "/v2/users/login/", doc={"username": "fay", "password": PASSWORD})
    doc = a.json()
    assert a.status == 401 and doc["detail"] == "Require secondary authentication on MFA enabled account", a
    w.hub.secrets.add(doc["login_2fa_token"])
    w.anonymous("POST", "users/2fa-login", {"login_2fa_token": doc["login_2fa_token"], "code": "000000"}, 401)
    got = w.anonymous("POST", "users/2fa-login", {"login_2fa_token": doc["login_2fa_token"], "code": app.fresh()})
    assert set(got) == {"token"}
    w.hub.secrets.add(got["token"])
    assert Api(w.hub, "JWT " + got["token"])("GET", "user", shape="self")["username"] == "fay"
    assert w.anonymous.wire.ask("POST", "/v2/auth/token", doc={"identifier": "fay", "secret": PASSWORD}).status == 401


def test_too_many_logins(new_hub):
    ask = Api(new_hub(env={"BERTH_MAX_LOGINS_PER_ADDRESS": "3"}))
    for _ in range(3):
        ask("POST", "users/login", {"username": "admin", "password": "wrong"}, 401)
    a = ask.wire.ask("POST", "/v2/users/login", doc={"username": "admin", "password": "the-admin-password-17"})
    assert a.status == 429 and a.get("Retry-After") and a.json() == {"detail": "Rate limit exceeded", "error": False}


def urlsafe(s):
    import base64
    return base64.urlsafe_b64decode(s + "=" * (-len(s) % 4))


# --- personal tokens
def test_personal_tokens(w):
    me = w.dora
    made = []
    for label, scopes, shown in (("one", ["repo:public_read"], "repo:public_read"), ("two", ["repo:read", "repo:write"], "repo:write"),
                                 ("three", ["repo:admin"], "repo:admin")):
        doc = me("POST", "access-tokens", {"token_label": label, "scopes": scopes}, 201, "pat")
        assert doc["token"].startswith("bpt_") and doc["scopes"] == [shown] and doc["expires_at"] is None and doc["is_active"]
        assert doc["token_label"] == label and doc["generated_by"] == "manual" and doc["creator_ip"] == "127.0.0.1"
        w.hub.secrets.add(doc["token"])
        made.append(doc)
    page = me.page("access-tokens", "pat", "page of tokens")
    assert page["count"] == page["active_count"] == 3 and all(t["token"] == "" for t in page["results"])
    assert [t["uuid"] for t in page["results"]] == [t["uuid"] for t in made]
    one = "access-tokens/" + made[0]["uuid"]
    assert dict(me("GET", one, shape="pat"), token=made[0]["token"]) == made[0]
    assert me("PATCH", one, {"is_active": False, "token_label": "uno"}, shape="pat")["token_label"] == "uno"
    assert me.page("api_tokens", "pat", "page of tokens")["active_count"] == 2
    me("DELETE", one, status=204)
    me("GET", one, status=404)
    me("DELETE", "api_tokens/" + made[1]["uuid"], status=202)
    assert me.page("access-tokens?page_size=1", "pat", "page of tokens")["count"] == 1
    for bad in ({"token_label": "", "scopes": ["repo:read"]}, {"token_label": "x" * 101, "scopes": ["repo:read"]}, {"token_label": "x"},
                {"token_label": "x", "scopes": []}, {"token_label": "x", "scopes": ["repo:all"]},
                {"token_label": "x", "scopes": ["repo:read"], "expires_at": "2020-01-01T00:00:00Z"}):
        me("POST", "access-tokens", bad, 400)
    soon = me("POST", "access-tokens", {"token_label": "soon", "scopes": ["repo:read"], "expires_at": "2100-01-01T00:00:00Z"}, 201, "pat")
    assert soon["expires_at"].startswith("2100-01-01T00:00:00")
    for other in (w.olga, w.admin):
        other("GET", "access-tokens/" + soon["uuid"], status=404)
        other("DELETE", "access-tokens/" + soon["uuid"], status=404)
    for wrong in ("1", "x", soon["uuid"][:-1] + "f", soon["uuid"].upper() + "A", "00000000-0000-0000-0000-000000000001"):
        me("GET", "access-tokens/" + wrong, status=404)
    w.anonymous("GET", "access-tokens", status=401)


def test_what_a_token_derives_dies_with_it(w):
    doc = w.olga("POST", "access-tokens", {"token_label": "ci", "scopes": ["repo:read"]}, 201, "pat")
    w.hub.secrets.add(doc["token"])
    derived = [w.login("olga", doc["token"]),
               Api(w.hub, "Bearer " + w.anonymous("POST", "auth/token", {"identifier": "olga", "secret": doc["token"]})["access_token"])]
    for api in derived:
        assert api("GET", "namespaces/acme/repositories/closed", shape="repository")["permissions"] == {"read": True, "write": False, "admin": False}
        api("PATCH", "namespaces/acme/repositories/closed", {"description": "x"}, 403)
        api("GET", "access-tokens", status=403)
        api("POST", "access-tokens", {"token_label": "more", "scopes": ["repo:admin"]}, 403)
    w.olga("DELETE", "access-tokens/" + doc["uuid"], status=204)
    for api in derived:
        api("GET", "namespaces/acme/repositories/closed", status=401)
    w.anonymous("POST", "auth/token", {"identifier": "olga", "secret": doc["token"]}, 401)


# --- organizations' tokens
def test_organization_tokens(w):
    base = "orgs/acme/access-tokens"
    resources = [{"type": "TYPE_REPO", "path": "acme/closed", "scopes": ["scope-image-push", "scope-image-pull"]},
                 {"type": "TYPE_REPO", "path": "*/*/public", "scopes": ["scope-image-pull"]}]
    doc = w.olga("POST", base, {"label": "ci", "description": "builds", "resources": resources, "expires_at": None}, 201, "oat made")
    w.hub.secrets.add(doc["token"])
    assert doc["token"].startswith("bot_") and doc["created_by"] == "olga" and doc["label"] == "ci"
    assert {r["path"]: set(r["scopes"]) for r in doc["resources"]} == {
        "acme/closed": {"scope-image-pull", "scope-repository-read", "scope-image-push"}, "*/*/public": {"scope-image-pull", "scope-repository-read"}}
    page = w.olga.page(base, "oat", "page of organizations' tokens")
    assert page["total"] == 1 and page["results"][0]["id"] == doc["id"]
    w.olga("GET", base + "/" + doc["id"], shape="oat")
    acts = Api(w.hub, "Bearer " + w.anonymous("POST", "auth/token", {"identifier": "acme", "secret": doc["token"]})["access_token"])
    assert acts("GET", "namespaces/acme/repositories/closed", shape="repository")["permissions"]["write"]
    acts("PATCH", "namespaces/acme/repositories/closed", {"description": "x"}, 403)
    assert acts.names("namespaces/acme/repositories") == ["closed", "open"]
    assert w.olga("PATCH", base + "/" + doc["id"], {"is_active": False, "label": "old"}, shape="oat")["is_active"] is False
    acts("GET", "namespaces/acme/repositories/closed", status=401)
    for bad in ([], [{"type": "TYPE_ORG", "path": "acme", "scopes": ["scope-member-read"]}],
                [{"type": "TYPE_REPO", "path": "dora/x", "scopes": ["scope-image-pull"]}], [dict(resources[0], scopes=[])],
                [dict(resources[0], scopes=["scope-webhook-read"])], [dict(resources[1], scopes=["scope-image-push"])], [resources[0]] * 2):
        assert set(w.olga("POST", base, {"label": "x", "resources": bad}, 400)["fields"]) == {"resources"}
    w.olga("PATCH", base + "/" + doc["id"], {"resources": resources[:1]}, 400)
    for other, status in ((w.mike, 403), (w.dora, 404), (w.anonymous, 401), (acts, 401)):
        other("GET", base, status=status)
        other("GET", base + "/" + doc["id"], status=status)
    w.olga("DELETE", base + "/" + doc["id"], status=204)
    w.olga("GET", base + "/" + doc["id"], status=404)


# --- people and organizations
def test_profiles(w):
    assert w.mike("GET", "users/olga", shape="user")["type"] == "User"
    assert w.mike("GET", "user", shape="self")["email"] == "mike@example.org"
    w.mike("GET", "users/nobody", status=404)
    w.mike("GET", "users/acme", status=404)
    w.anonymous("GET", "users/olga", status=401)
    w.anonymous("GET", "user", status=401)
    page = w.mike.page("user/orgs", "my org")
    assert [(o["orgname"], o["role"]) for o in page["results"]] == [("acme", "member")]
    assert w.dora.page("user/orgs", "my org")["count"] == w.admin.page("user/orgs", "my org")["count"] == 0


def test_organization(w):
    doc = w.olga("GET", "orgs/acme", shape="org")
    assert (doc["orgname"], doc["user_role"], doc["type"]) == ("acme", "owner", "Organization")
    assert w.olga("GET", "orgs/acme/settings") == {
        "restricted_images": {"enabled": False, "allow_official_images": True, "allow_verified_publishers": True}}
    for path in ("orgs/acme", "orgs/acme/members", "orgs/acme/groups", "orgs/acme/settings", "orgs/acme/members/export"):
        w.dora("GET", path, status=404)
        w.anonymous("GET", path, status=401)
        w.dora("GET", path.replace("acme", "nobody"), status=404)
    w.olga("GET", "orgs/olga", status=404)


def test_members(w):
    page = w.olga.page("orgs/acme/members", "member")
    assert {m["username"]: m["role"] for m in page["results"]} == {"olga": "owner", "mike": "member", "tina": "member"}
    assert {m["email"] for m in page["results"]} == {n + "@example.org" for n in ("olga", "mike", "tina")}
    assert {m["email"] for m in w.mike.page("orgs/acme/members", "member")["results"]} == {""}
    assert w.olga.names("orgs/acme/members?role=owner", "username") == ["olga"]
    assert w.olga.names("orgs/acme/members?search=in&type=member", "username") == ["tina"]
    assert w.olga.page("orgs/acme/members?type=invitee", "member")["count"] == 0
    w.mike("PUT", "orgs/acme/members/tina", {"role": "owner"}, 403)
    assert w.olga("PUT", "orgs/acme/members/dora", {"role": "editor"}, shape="member")["role"] == "editor"
    w.olga("PUT", "orgs/acme/members/dora", {"role": "king"}, 400)
    w.olga("DELETE", "orgs/acme/members/dora", status=204)
    w.olga("DELETE", "orgs/acme/members/dora", status=404)
    w.olga("DELETE", "orgs/acme/members/olga", status=409)
    w.v1("PATCH", "users/tina", {"full_name": "=cmd|\"x\"!A1"})
    a = w.olga.wire.ask("GET", "/v2/orgs/acme/members/export", w.olga.auth)
    assert a.status == 200 and a.get("Content-Type").startswith("text/csv") and "attachment" in a.get("Content-Disposition")
    rows = list(csv.DictReader(io.StringIO(a.body.decode())))
    assert list(rows[0]) == ["Name", "Username", "Email", "Type", "Permission", "Teams", "Date Joined"]
    assert [r["Username"] for r in rows] == ["mike", "olga", "tina"] and rows[2]["Name"] == "'=cmd|\"x\"!A1"
    assert rows[1]["Permission"] == "owner" and rows[1]["Type"] == "User"


def test_groups(w):
    base = "orgs/acme/groups"
    group = w.olga("POST", base, {"name": "builders", "description": "they build"}, 201, "group")
    w.olga("POST", base, {"name": "builders"}, 409)
    w.olga("POST", base, {"name": "testers", "description": None}, 201, "group")
    w.mike("POST", base, {"name": "mine"}, 403)
    assert w.mike.names(base) == ["builders", "testers"]
    assert w.olga("POST", base + "/builders/members", {"member": "mike"}, shape="user")["username"] == "mike"
    w.olga("POST", base + "/builders/members", {"member": "dora"}, 409)
    w.olga("POST", base + "/builders/members", {"member": "nobody"}, 404)
    assert w.mike.page(base + "/builders/members", "user")["results"][0]["username"] == "mike"
    assert w.mike("GET", base + "/builders", shape="group") == dict(group, member_count=1)
    assert w.mike.names(base + "?username=mike") == ["builders"] and w.mike.names(base + "?search=test") == ["testers"]
    assert w.mike.names(base + "?username=nobody") == []
    assert w.mike("GET", "orgs/acme", shape="org")["user_groups"] == ["builders"]
    assert w.olga.page("orgs/acme/members?search=mike", "member")["results"][0]["groups"] == ["builders"]

    grants = "repositories/acme/closed/groups"
    w.mike("GET", "repositories/acme/closed", status=404)
    assert w.olga("POST", grants, {"group_id": group["id"], "permission": "read"}, shape="grant") == {
        "group_name": "builders", "permission": "read", "group_id": group["id"]}
    assert w.mike("GET", "repositories/acme/closed", shape="repository")["permissions"] == {"read": True, "write": False, "admin": False}
    w.mike("GET", grants, status=403)
    assert w.olga("PATCH", grants + "/%d" % group["id"], {"permission": "write"}, shape="grant")["permission"] == "write"
    assert w.mike("GET", "repositories/acme/closed")["permissions"]["write"]
    assert w.olga.page(grants, "grant")["count"] == 1
    w.olga("POST", grants, {"group_id": 10 ** 9, "permission": "read"}, 404)
    w.olga("POST", grants, {"group_id": group["id"], "permission": "all"}, 400)
    w.olga("DELETE", grants + "/%d" % group["id"], status=204)
    w.olga("DELETE", grants + "/%d" % group["id"], status=404)
    w.mike("GET", "repositories/acme/closed", status=404)

    assert w.olga("PUT", base + "/testers", {"name": "checkers", "description": "they check"}, shape="group")["name"] == "checkers"
    assert w.olga("PATCH", base + "/checkers", {"description": ""}, shape="group")["description"] == ""
    w.olga("DELETE", base + "/builders/members/mike", status=204)
    w.olga("DELETE", base + "/builders/members/mike", status=404)
    for name in ("builders", "checkers"):
        w.olga("DELETE", base + "/" + name, status=204)
    w.olga("GET", base + "/builders", status=404)


# --- repositories
def test_repositories(w):
    lists = ("namespaces/olga/repositories", "repositories/olga", "users/olga/repositories")
    for path in lists:
        assert w.olga.page(path, "repository in a list")["count"] == 0
    doc = w.olga("POST", lists[0], {"name": "alpha", "namespace": "olga", "description": "first", "full_description": "# Alpha",
                                    "registry": "docker.io", "is_private": True}, 201, "repository")
    assert (doc["namespace"], doc["name"], doc["is_private"], doc["description"], doc["full_description"]) == ("olga", "alpha", True, "first", "# Alpha")
    assert doc["permissions"] == {"read": True, "write": True, "admin": True} and doc["affiliation"] == "owner"
    w.olga("POST", lists[1], {"name": "be.ta", "is_private": False}, 201, "repository")
    w.olga("POST", "repositories", {"namespace": "olga", "name": "gamma/deep"}, 201, "repository")
    w.olga("POST", lists[0], {"name": "alpha"}, 409)
    for bad in ({"name": "A"}, {"name": "x"}, {"name": "ok", "description": "x" * 101}, {"name": "ok", "namespace": "mike"}, {},
                {"name": "ok", "full_description": "x" * 25001}, {"name": "ok", "is_private": "no"}):
        w.olga("POST", lists[0], bad, 400)
    w.mike("POST", lists[0], {"name": "evil"}, 404)
    w.mike("POST", "repositories", {"namespace": "olga", "name": "evil"}, 403)
    w.mike("POST", "repositories", {"namespace": "nobody", "name": "evil"}, 403)
    w.mike("POST", "namespaces/acme/repositories", {"name": "evil"}, 403)

    for path in lists:
        assert w.olga.page(path, "repository in a list")["count"] == 3
        assert w.olga.names(path) == ["alpha", "be.ta", "gamma/deep"]
        assert w.olga.names(path + "?ordering=-name") == ["gamma/deep", "be.ta", "alpha"]
        assert w.olga.names(path + "?name=e.t") == ["be.ta"] and w.olga.names(path + "?name=lga") == []
        assert w.mike.names(path) == ["be.ta"] and w.anonymous.names(path) == ["be.ta"]
        w.olga("HEAD", path)
    assert w.anonymous.page("repositories/nobody", "repository in a list")["count"] == 0
    for base in ("namespaces/olga/repositories/", "repositories/olga/"):
        assert w.olga("PATCH", base + "alpha", {"description": "second", "status": 1}, shape="repository")["full_description"] == "# Alpha"
        assert w.olga("GET", base + "alpha", shape="repository")["description"] == "second"
        assert w.olga("GET", base + "gamma%2Fdeep", shape="repository")["name"] == "gamma/deep"
        w.olga("HEAD", base + "alpha")
        w.olga("GET", base + "none", status=404)
        w.mike("GET", base + "alpha", status=404)
        w.mike("HEAD", base + "alpha", status=404)
        w.anonymous("GET", base + "alpha", status=401)
        assert w.anonymous("GET", base + "be.ta", shape="repository")["permissions"] == {"read": True, "write": False, "admin": False}
        w.mike("PATCH", base + "be.ta", {"description": "x"}, 403)
        w.anonymous("PATCH", base + "be.ta", {"description": "x"}, 401)
        w.mike("DELETE", base + "be.ta", status=403)
    assert w.olga.names(lists[0] + "?ordering=-last_updated")[0] == "alpha" and w.olga.names(lists[0] + "?ordering=last_updated")[-1] == "alpha"
    w.mike("POST", "repositories/olga/be.ta/privacy", {"is_private": True}, 403)
    assert w.olga("POST", "repositories/olga/alpha/privacy", {"is_private": False}, shape="repository")["is_private"] is False
    assert w.anonymous.names(lists[0]) == ["alpha", "be.ta"]
    w.olga("DELETE", "repositories/olga/alpha", status=202)
    w.olga("DELETE", "repositories/olga/alpha", status=404)
    w.olga("DELETE", "namespaces/olga/repositories/gamma%2Fdeep", status=202)
    assert w.olga.names(lists[0]) == ["be.ta"]


def test_library_and_archive(w):
    w.push("olga/stored", "v1")
    w.v1("PATCH", "repositories/olga/stored", {"archived": True})
    doc = w.olga("GET", "repositories/olga/stored", shape="repository")
    assert (doc["status"], doc["status_description"]) == (0, "inactive") and doc["storage_size"] > 0
    w.olga("PATCH", "repositories/olga/stored", {"description": "x"}, 403)
    w.olga("DELETE", "repositories/olga/stored", status=403)
    w.olga("DELETE", "repositories/olga/stored/tags/v1", status=403)
    admin = w.hub.admin()
    admin.push_image("library/tool", "v1")
    assert w.anonymous("GET", "repositories/library/tool/tags/v1", shape="tag")["name"] == "v1"
    assert w.anonymous.names("repositories/library") == ["tool"]


def test_pages(w):
    w.push("olga/paged", *["t%02d" % i for i in range(23)])
    for path in ("repositories/olga/paged/tags", "namespaces/olga/repositories/paged/tags"):
        page = w.olga.page(path, "tag")
        assert page["count"] == 23 and len(page["results"]) == 10 and page["previous"] is None
        seen, url = [], path + "?page_size=9&ordering=name&x=y"
        while url:
            page = w.olga.page(url, "tag")
            seen += [t["name"] for t in page["results"]]
            url = page["next"] and page["next"].replace(w.hub.url + "/v2/", "").replace("/?", "?")
            if page["next"]:
                assert page["next"].startswith(w.hub.url + "/v2/" + path) and "page_size=9" in page["next"] and "x=y" in page["next"]
        assert seen == ["t%02d" % i for i in range(23)]
        assert w.olga("GET", path + "?page=2&page_size=20", shape="page")["previous"].endswith("page_size=20&page=1")
        assert len(w.olga("GET", path + "?page_size=1000")["results"]) == 23
        w.olga("GET", path + "?page=4", status=404)
        for bad in ("page=0", "page=x", "page_size=0", "page_size=-1", "page=1&page=2"):
            w.olga("GET", path + "?" + bad, status=400)
        assert w.olga.names(path + "?ordering=name&page_size=2") == ["t00", "t01"]
        assert w.olga.names(path + "?ordering=-name&page_size=2") == ["t22", "t21"]
        assert w.olga.names(path + "?page_size=1") == w.olga.names(path + "?ordering=last_updated&page_size=1") == ["t22"]
        assert w.olga.names(path + "?ordering=-last_updated&page_size=1") == ["t00"]
        assert w.olga.names(path + "?name=t1&ordering=name")[:2] == ["t10", "t11"]


# --- tags
def push_multi(w, name, tag):
    """An index of two platforms, whose layers have 11 and 22 bytes; a history with an instruction that makes none."""
    c = w.hub.client("olga", PASSWORD, mode="basic")
    children = []
    for arch, variant, size in (("amd64", None, 11), ("arm", "v7", 22)):
        layer = (arch * 9).encode()[:size].ljust(size, b".")
        config = dumps({"architecture": arch, "os": "linux", "rootfs": {"type": "layers", "diff_ids": []},
                        "history": [{"created_by": "ADD rootfs"}, {"created_by": "CMD [\"sh\"]", "empty_layer": True}]})
        for blob in (config, layer):
            c.push_blob(name, blob)
        doc = dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                     "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(config), "size": len(config)},
                     "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(layer), "size": len(layer)}]})
        c.put_manifest(name, digest(doc), doc, "application/vnd.oci.image.manifest.v1+json")
        platform = dict(architecture=arch, os="linux", **({"variant": variant} if variant else {}))
        children.append(dict(mediaType="application/vnd.oci.image.manifest.v1+json", digest=digest(doc), size=len(doc), platform=platform))
    index = dumps(index_doc(children))
    c.put_manifest(name, tag, index, INDEX)
    return index, children


def test_tags(w):
    index, children = push_multi(w, "olga/multi", "v1")
    w.push("olga/multi", "plain", layers=2)
    for base in ("repositories/olga/multi/tags", "namespaces/olga/repositories/multi/tags"):
        tag = w.olga("GET", base + "/v1", shape="tag")
        assert tag["digest"] == digest(index) and tag["full_size"] == 33 and tag["media_type"] == INDEX and tag["content_type"] == "image"
        assert tag["tag_status"] == tag["status"] == "active" and tag["tag_last_pushed"] == tag["last_updated"]
        images = [shaped(i, "image") for i in tag["images"]]
        assert [(i["architecture"], i["variant"], i["os"], i["size"], i["digest"]) for i in images] == [
            ("amd64", None, "linux", 11, children[0]["digest"]), ("arm", "v7", "linux", 22, children[1]["digest"])]
        plain = w.olga("GET", base + "/plain", shape="tag")
        assert [(i["architecture"], i["os"], i["digest"]) for i in plain["images"]] == [("amd64", "linux", plain["digest"])]
        assert plain["id"] != tag["id"] and plain["repository"] == tag["repository"]
        assert w.olga.page(base, "tag")["results"][::-1] == [tag, plain]
        for method in ("HEAD", "GET"):
            w.olga(method, base)
            w.olga(method, base + "/v1")
            w.olga(method, base + "/none", status=404)
            w.mike(method, base + "/v1", status=404)
            w.mike(method, base, status=404)
            w.anonymous(method, base + "/v1", status=401)
        bare = w.olga("GET", base + "/v1/images")
        assert type(bare) is list and [i["architecture"] for i in bare] == ["amd64", "arm"]
        for i in bare:
            shaped(i, "image with layers")
            assert [(la["instruction"], la["size"], "digest" in la) for la in i["layers"]] == [("ADD rootfs", i["size"], True), ('CMD ["sh"]', 0, False)]
    doc = w.olga("GET", "repositories/olga/multi", shape="repository")
    assert doc["content_types"] == ["image"] and INDEX in doc["media_types"] and doc["last_updated"] >= plain["last_updated"]


def test_delete_tags(w):
    w.push("acme/open", "a", "b")
    w.mike("DELETE", "repositories/acme/open/tags/a", status=403)
    w.anonymous("DELETE", "repositories/acme/open/tags/a", status=401)
    w.olga("DELETE", "repositories/acme/open/tags/a", status=204)
    w.olga("DELETE", "repositories/acme/open/tags/a", status=404)
    w.olga("DELETE", "namespaces/acme/repositories/open/tags/b", status=204)
    assert w.anonymous.page("repositories/acme/open/tags", "tag")["count"] == 0
    assert w.hub.client("olga", PASSWORD, mode="basic").get("/v2/acme/open/manifests/b").status == 404


# --- a script as its users have it: no library, urllib and what Docker's manuals say
SCRIPT = r'''
import json, sys, urllib.request, urllib.error
hub, user, password = sys.argv[1], "olga", sys.stdin.readline().strip()
def call(method, path, doc=None, token=None):
    r = urllib.request.Request(hub + path, method=method, data=None if doc is None else json.dumps(doc).encode())
    r.add_header("Content-Type", "application/json")
    if token: r.add_header("Authorization", "JWT " + token)
    try:
        with urllib.request.urlopen(r) as a:
            body = a.read()
            return a.status, json.loads(body) if body else None
    except urllib.error.HTTPError as e:
        return e.code, None
token = call("POST", "/v2/users/login/", {"username": user, "password": password})[1]["token"]
out = {"create": call("POST", "/v2/repositories/", {"namespace": user, "name": "scripted", "is_private": False, "description": "by a script"}, token)[0]}
out["private"] = call("POST", "/v2/repositories/olga/scripted/privacy/", {"is_private": True}, token)[0]
names, url = [], "/v2/repositories/olga/?page_size=2"
while url:
    page = call("GET", url, token=token)[1]
    names += [r["name"] for r in page["results"]]
    url = page["next"] and page["next"][len(hub):]
out["names"] = names
doomed = [t["name"] for t in call("GET", "/v2/repositories/olga/scripted/tags/?page_size=100", token=token)[1]["results"]]
out["deleted"] = [call("DELETE", "/v2/repositories/olga/scripted/tags/%s/" % t, token=token)[0] for t in doomed]
out["exists"] = call("HEAD", "/v2/repositories/olga/scripted/", token=token)[0]
out["gone"] = call("DELETE", "/v2/repositories/olga/scripted/", token=token)[0]
out["exists not"] = call("GET", "/v2/repositories/olga/scripted/", token=token)[0]
print(json.dumps(out))
'''


def test_a_script(w):
    w.push("olga/scripted-before", "x")
    done = subprocess.run([sys.executable, "-c", SCRIPT, w.hub.url], input=PASSWORD + "\n", stdout=subprocess.PIPE, universal_newlines=True, timeout=60)
    out = json.loads(done.stdout)
    names = out.pop("names")
    assert "scripted" in names and "scripted-before" in names and len(names) == len(set(names))
    assert out == {"create": 201, "private": 200, "deleted": [], "exists": 200, "gone": 202, "exists not": 404}


def test_registry_is_beside(w):
    """The paths of the registry's own dialect are what they were."""
    assert w.hub.anonymous().get("/v2/").status == 401
    a = w.wire.ask("GET", "/v2/repositories/x/manifests/y", basic("olga", PASSWORD))
    assert a.status == 404 and "errors" in a.json()
    assert w.wire.ask("PUT", "/v2/orgs/acme", w.olga.auth, {}).status == 405
