"""Two tenants (T16, T17): what A may do is recorded over every route that the hub serves, then asked for again as B, with
A's ids, with B's and A's mixed, and with ids that nobody has. B gets nothing, and cannot tell A's objects from absent ones.

Routes come from the hub's own document (/api/v1/openapi.json): one that has no recipe here fails the test. Those of the
registry and of the Hub dialect are in lists of their own.
"""
import itertools
import re

import pytest
from berth import Hub
from registry import INDEX, digest, quote
from rights import Repository
from rightsworld import API, BLOB, KEEP, VICTIM, World

ENV = {"BERTH_MAX_LOGINS_PER_ADDRESS": "0", "BERTH_MIN_FREE": "0"}
METHODS = ("get", "post", "put", "patch", "delete")

# --- recipes: bodies and queries of the API's routes, filled with a tenant's ids
BODIES = {
    ("POST", "/login"): {"username": "{user}", "password": "not the password"},
    ("POST", "/login/factor"): {"ticket": "boc_none", "code": "123456"},
    ("POST", "/login/factor/options"): {"ticket": "boc_none"},
    ("POST", "/me/factors/{id}/confirm"): {"code": "123456"},
    ("POST", "/me/factors/webauthn"): {"ticket": "boc_none", "credential": "{}"},
    ("POST", "/invitations/accept"): {"code": "boc_none"},
    ("POST", "/orgs/{org}/invitations"): {},
    ("POST", "/invitations"): {},
    ("POST", "/signup"): {"name": "{new}", "password": "a-new-password-4711", "code": "boc_none"},
    ("POST", "/password-reset"): {"user": "{user}"},
    ("POST", "/password-reset/complete"): {"code": "boc_none", "password": "a-new-password-4711"},
    ("POST", "/email-verification"): {"code": "boc_none"},
    ("POST", "/mail/test"): {"to": "x@site.example"},
    ("POST", "/users"): {"name": "{new}", "password": "a-new-password-4711"},
    ("PATCH", "/users/{user}"): {"full_name": "x"},
    ("PUT", "/users/{user}/password"): {"password": "a-new-password-4711"},
    ("PATCH", "/me"): {"full_name": "x"},
    ("PUT", "/me/password"): {"password": "a-new-password-4711", "old_password": "not the old one"},
    ("POST", "/orgs"): {"name": "{new}"},
    ("PATCH", "/orgs/{org}"): {"full_name": "x"},
    ("PUT", "/orgs/{org}/members/{user}"): {"role": "member"},
    ("POST", "/orgs/{org}/teams"): {"name": "{new}"},
    ("PATCH", "/orgs/{org}/teams/{team}"): {"description": "x"},
    ("POST", "/repositories"): {"name": "{namespace}/{new}"},
    ("PATCH", "/repositories/{namespace}/{repo}"): {"description": "x"},
    ("PUT", "/repositories/{namespace}/{repo}/teams/{team}"): {"level": "read"},
    ("PUT", "/repositories/{namespace}/{repo}/collaborators/{user}"): {"level": "read"},
    ("POST", "/tokens"): {"name": "{new}"},
    ("PATCH", "/tokens/{id}"): {"name": "renamed"},
    ("POST", "/tokens/revoke"): {"token": "not-a-token-of-anybody"},
    ("POST", "/orgs/{org}/tokens"): {"name": "{new}", "bounds": [{"pattern": "{org}/*", "scope": "read"}]},
    ("PATCH", "/orgs/{org}/tokens/{id}"): {"name": "renamed"},
    ("POST", "/orgs/{org}/teams/{team}/groups"): {"provider": "ldap", "group": "{new}"},
    ("POST", "/ldap/test"): {"username": "somebody"},
    ("POST", "/orgs/{org}/trust-rules"): {"name": "{new}", "issuer": "https://issuer.example",
                                          "claims": [{"claim": "sub", "pattern": "x"}], "bounds": [{"pattern": "*", "scope": "read"}]},
    ("PATCH", "/orgs/{org}/trust-rules/{id}"): {"name": "renamed"},
    ("POST", "/plans"): {"name": "{new}"},
    ("PATCH", "/plans/{plan}"): {"name": "renamed"},
    ("PUT", "/accounts/{account}/plan"): {"plan": "unlimited"},
}
QUERIES = {
    "/repositories": "?owner={namespace}&limit=100", "/audit": "?account={account}", "/audit/export": "?account={account}",
    "/access/explain": "?who={user}&repository={namespace}/{repo}&action=pull",
}
# {id} means another thing below another path
IDS = {"/orgs/{org}/teams/{team}/groups/{id}": "team_group", "/orgs/{org}/trust-rules/{id}": "trust_rule", "/orgs/{org}/tokens/{id}": "org_token", "/orgs/{org}/member-tokens/{id}": "member_token",
       "/tokens/{id}": "token", "/me/factors/{id}": "factor", "/me/sessions/{id}": "session",
       "/orgs/{org}/invitations/{id}": "invitation", "/invitations/{id}": "site_invitation"}
# What the owner of an organization may not do in his own either: administrators do. And what is the same for everybody.
NOT_A = re.compile(r"/invitations(/.*)?|/ldap/test|/signup|/password-reset(/complete)?|/email-verification|/mail/test|/users/\{user\}/reset-link|/me/.*|/login/.*|/keys/rotate|/users/\{user\}/factors|/users(/\{user\}(/password)?)?|/plans.*|/accounts/.*|/login|"
                   r"/tokens/revoke|/audit(/export)?|/access/explain|/usage")
EVERYBODYS = re.compile(r"/ldap/test|/invitations(/accept)?|/signup|/password-reset(/complete)?|/(email-verification|mail/test)|/me/email/verification|/openapi\.json|/login(/factor(/options)?)?|/me(/password|/factors(/totp|/webauthn(/options)?)?|/recovery-codes|"
                        r"/sessions)?|/keys/rotate|/tokens/revoke|/plans(/.*)?")
PERSONAL = "/repositories/{namespace}/{repo}/collaborators"
NAMES = ("user", "org", "team", "namespace", "repo", "account", "token", "org_token", "member_token", "tag", "factor", "session",
         "trust_rule", "team_group", "invitation", "site_invitation")


def uuid(number):
    """As the Hub dialect names a token."""
    return "62657274-6800-8000-8000-%012x" % int(number)


class Tenant:
    """One owner of an organization with a team, a private repository in it, one of his own, and tokens of each kind."""

    def __init__(self, world, letter):
        w, user, org = world, "user-of-%s" % letter, "organ-of-%s" % letter
        w.add_user(user)
        w.add_user("worker-of-%s" % letter)
        w.add_org(org, user)
        w.set_member(org, "worker-of-%s" % letter, "member")
        w.add_team(org, "team-of-%s" % letter)
        w.set_team_member(org, "team-of-%s" % letter, "worker-of-%s" % letter)
        self.org_repo, self.own_repo = "%s/secret-of-%s" % (org, letter), "%s/secret-of-%s" % (user, letter)
        w.add_repository(self.org_repo, Repository("private", teams={"team-of-%s" % letter: "write"}))
        w.add_repository(self.own_repo, Repository("private", collaborators={"worker-of-%s" % letter: "read"}))
        self.login = w.logins[user]
        self.tokens = [w.add_token(user, [("*", "admin")]), w.add_token(user, [(org + "/*", "admin")], org)]
        worker_token = w.add_token("worker-of-%s" % letter, [(org + "/*", "write")])
        self.ids = dict(user="worker-of-%s" % letter, org=org, team="team-of-%s" % letter, namespace=org, repo="secret-of-%s" % letter,
                        account=org, token=w.add_token(user, [("*", "read")]).id, member_token=worker_token.id,
                        org_token=w.add_token(user, [(org + "/*", "read")], org).id, plan="unlimited", tag="keep", session="4711",
                        factor="4712", site_invitation="4713",
                        invitation=str(world.must("POST", "orgs/%s/invitations" % org, {}, self.login)["id"]))
        group = world.must("POST", "orgs/%s/teams/team-of-%s/groups" % (org, letter), {"provider": "ldap", "group": "g"}, self.login)
        self.ids["team_group"] = str(group["id"])
        rule = filled(BODIES["POST", "/orgs/{org}/trust-rules"], {"new": "ci"})
        self.ids["trust_rule"] = str(w.must("POST", "orgs/%s/trust-rules" % org, rule, self.login)["id"])
        self.ids.update({k: uuid(self.ids[t]) for k, t in (("pat", "token"), ("oat", "org_token"))})
        self.own_ids = dict(self.ids, namespace=user, account=user)


@pytest.fixture(scope="module")
def world(db):
    with Hub(db, env=ENV) as hub:
        w = World(hub)
        for _ in range(10):  # ids of two digits, so that unused ones of the same length exist
            w.add_token(hub.admin_name, [("*", "read")])
        w.a, w.b = Tenant(w, "aa"), Tenant(w, "bb")
        yield w
        w.close()


def routes(world):
    """{(METHOD, template below /api/v1): operation} of all that the hub's document names."""
    if not hasattr(world, "routes"):
        paths = world.must("GET", "openapi.json")["paths"]
        world.routes = {(m.upper(), t[len(API):] if t.startswith(API + "/") else t): paths[t][m]
                        for t in sorted(paths) for m in METHODS if m in paths[t]}
    return world.routes


def key_of(template, parameter):
    if parameter != "id":
        return parameter
    return next(kind for start, kind in IDS.items() if template.startswith(start))


def parameters(template):
    """Keys of the ids that a request on this route names, in its path or query."""
    return [key_of(template, p) for p in re.findall(r"\{(\w+)\}", template + QUERIES.get(template, ""))]


def filled(doc, ids):
    if isinstance(doc, dict):
        return {k: filled(v, ids) for k, v in doc.items()}
    if isinstance(doc, list):
        return [filled(v, ids) for v in doc]
    return re.sub(r"\{(\w+)\}", lambda m: ids[m.group(1)], doc) if isinstance(doc, str) else doc


def request(world, method, template, ids):
    """(path, body) of a route's recipe with these ids."""
    def one(m):
        return quote(ids[key_of(template, m.group(1))])
    path = API + re.sub(r"\{(\w+)\}", one, template + (QUERIES.get(template, "") if method in ("GET", "HEAD") else ""))
    body = None
    if "requestBody" in routes(world).get((method, template), ()):
        body = filled(BODIES.get((method, template), {}), dict(ids, new=world.fresh("new")))
    return path, body


def ids_for(tenant, template):
    """Collaborators are about personal repositories, all else about the organization's."""
    return tenant.own_ids if template.startswith(PERSONAL) else tenant.ids


def recorded(world):
    """Every route with A's ids; HEAD wherever there is GET."""
    for method, template in routes(world):
        if (method, template) == ("DELETE", "/me/sessions"):  # the caller's own
            continue
        yield method, template
        if method == "GET":
            yield "HEAD", template


def test_every_route_has_a_recipe(world):
    got = routes(world)
    assert len(got) >= 50, got
    for (method, template), operation in got.items():
        assert all(k in NAMES + ("plan",) for k in parameters(template)), template
        assert (method, template) in BODIES or not operation.get("requestBody", {}).get("required"), (method, template)
    assert [r for r in BODIES if "requestBody" not in got.get(r, ())] == [], "recipes without a route that takes them"


def others(world):
    """Whoever is not A: with a login, with tokens of each kind, and nobody at all."""
    return [world.b.login] + world.b.tokens + [world.anonymous]


def mixes(world, template):
    """Ids with at least one of A's, the rest B's; all A's first."""
    a, b, keys = ids_for(world.a, template), ids_for(world.b, template), sorted(set(parameters(template)) - {"tag"})
    for pick in itertools.product((True, False), repeat=len(keys)):
        if any(pick):
            yield dict(b, **{k: a[k] for k, mine in zip(keys, pick) if mine}), {k for k, mine in zip(keys, pick) if mine}


def harmless(template, of_a):
    """B names A's user only as a person, in an organization or repository of his own: names of people are no secret."""
    return of_a == {"user"} and template != "/users/{user}" and not template.startswith("/users/{user}/")


def names_of(tenant):
    return [tenant.ids[k].encode() for k in ("org", "team", "repo")] + \
        [b'"id":%s,' % tenant.ids[k].encode() for k in ("token", "org_token", "member_token")]


def test_B_gets_nothing_of_A(world):
    """No 2xx on anything of A's, and no word of A in what B may ask."""
    wrong, n = [], 0
    for method, template in recorded(world):
        for caller in others(world):
            for ids, of_a in mixes(world, template) if parameters(template) else [(world.b.ids, set())]:
                path, body = request(world, method, template, ids)
                a = world.api(method, path, body, caller, derived=False)
                n += 1
                asked = of_a and not harmless(template, of_a) and not EVERYBODYS.fullmatch(template)
                if asked and 200 <= a.status < 300 and not empty_list(a, method, template):
                    wrong.append((str(caller), method, path, a.status, a.body[:200]))
                said = a.body.replace(path.encode(), b"")
                if not of_a and any(name in said for name in names_of(world.a)):
                    wrong.append((str(caller), method, path, "names A's", a.body[:300]))
    assert wrong == [] and n > 500, wrong[:20]
    assert world.api("GET", "me", None, world.b.login).status == 200, "B logged himself out"


def empty_list(a, method, template):
    """A list that is filtered by a name in its query has nothing for strangers, whether the name exists or not."""
    return template in QUERIES and (method == "HEAD" or (a.get("Content-Type") == "application/json" and a.json().get("items") == []))


def never(world, ids, keys):
    """Ids of the same form and length that nobody has."""
    def one(k, v):
        taken = world.token_ids if "token" in k else (world.a.ids[k], world.b.ids[k])
        if v.isdigit():
            return next(n for n in (str(10 ** len(v) - i) for i in range(1, 10 ** len(v))) if n not in taken)
        return v[:-2] + ("ee" if re.fullmatch("[0-9a-f-]+", v) else "zz")
    return dict(ids, **{k: one(k, ids[k]) for k in keys})


def masked(a, ids):
    """Without what names the objects: longest first."""
    masks = [(b"[0-9a-f]{16}(?=\")", b"REQUEST"), (b"new-[0-9]+", b"NEW")]
    masks += [(rb"(?<![\w.])%s(?![\w.])" % re.escape(v.encode()), b"NAME") for v in sorted(set(ids.values()), key=len, reverse=True)]
    return a.comparable(*masks), a.get("Content-Length")


def test_private_is_as_absent(world):
    """Byte-equal but for date, request id and the name that was asked for, on every route, HEAD too."""
    wrong, n = [], 0
    for method, template in recorded(world):
        keys = sorted(set(parameters(template)) - {"plan", "tag"})
        if not keys or EVERYBODYS.fullmatch(template):
            continue
        real = ids_for(world.a, template)
        for caller in others(world):
            for gone in [keys] + [[k] for k in keys if k in ("org", "namespace")]:
                absent = never(world, real, gone)
                one = masked(world.api(method, *request(world, method, template, real), caller, False), real)
                two = masked(world.api(method, *request(world, method, template, absent), caller, False), absent)
                n += 1
                if one != two:
                    wrong.append((str(caller), method, template, one, two))
    assert wrong == [] and n > 300, wrong[:10]
    assert world.api("GET", "me", None, world.b.login).status == 200, "B logged himself out"


# --- the registry
def registry_requests(name, other):
    """(method, path, body, type); other: a repository of the caller's own."""
    b, d, k = "/v2/%s/" % name, digest(BLOB), digest(KEEP)
    out = [(m, b + p, None, None) for m in ("GET", "HEAD", "DELETE") for p in (
        "tags/list", "tags/list?n=1", "manifests/keep", "manifests/" + k, "manifests/" + digest(VICTIM), "manifests/none", "blobs/" + d,
        "blobs/" + digest(b"none"), "referrers/" + k, "blobs/uploads/" + "0" * 32)]
    out += [("POST", b + "blobs/uploads/", None, None), ("POST", b + "blobs/uploads/?digest=" + quote(digest(b"x")), b"x", None),
            ("POST", b + "blobs/uploads/?mount=%s&from=%s" % (quote(d), other), None, None),
            ("PUT", b + "manifests/keep", KEEP, INDEX), ("PUT", b + "manifests/" + k, KEEP, INDEX),
            ("PATCH", b + "blobs/uploads/" + "0" * 32, b"x", None), ("PUT", b + "blobs/uploads/%s?digest=%s" % ("0" * 32, quote(d)), b"x", None)]
    return out


def test_registry_routes(world):
    """All of /v2/: A's repositories are to B as absent ones, by Basic and by Bearer."""
    wrong, n = [], 0
    for name in (world.a.org_repo, world.a.own_repo):
        absent = name[:-2] + "zz"
        for caller, derived in itertools.product(others(world), (False, True)):
            for (method, path, body, kind), (_, path2, _, _) in zip(registry_requests(name, world.b.org_repo), registry_requests(absent, world.b.org_repo)):
                headers = [("Content-Type", kind)] if kind else []
                answers = [world.wire.ask(method, p, world.registry_auth(caller, derived, r), body=body, headers=headers)
                           for p, r in ((path, name), (path2, absent))]
                n += 1
                if 200 <= answers[0].status < 300 and not (method != "DELETE" and "/referrers/" in path and answers[1].status == 200):
                    wrong.append((str(caller), derived, method, path, answers[0]))
                one, two = (a.comparable((re.escape(r.encode()), b"NAME")) for a, r in zip(answers, (name, absent)))
                if one != two:
                    wrong.append((str(caller), derived, method, path, one, two))
    assert wrong == [] and n > 400, wrong[:10]


def test_mount_from_the_other_tenant(world):
    """A digest that B cannot read is unknown to him, whether it exists or not."""
    own, secret = world.b.org_repo, b"a blob that only A has"
    a = world.registry("POST", world.a.org_repo, "blobs/uploads/?digest=" + quote(digest(secret)), world.a.login, body=secret)
    assert a.status == 201, a
    for source in (world.a.org_repo, world.a.org_repo[:-2] + "zz", None):
        a = world.registry("POST", own, "blobs/uploads/?mount=" + quote(digest(secret)) + ("&from=" + source if source else ""), world.b.login)
        assert a.status == 202, a
        assert world.registry("HEAD", own, "blobs/" + digest(secret), world.b.login).status == 404


def test_catalog(world):
    for caller, derived in itertools.product(others(world)[:-1], (False, True)):
        a = world.wire.ask("GET", "/v2/_catalog?n=1000", world.registry_auth(caller, derived, world.a.org_repo))
        assert not any(n in a.body for n in names_of(world.a)), a


# --- the Hub dialect
HUB = [(m, p) for m, paths in {
    "GET": ("namespaces/{namespace}/repositories", "namespaces/{namespace}/repositories/{repo}", "namespaces/{namespace}/repositories/{repo}/tags",
            "namespaces/{namespace}/repositories/{repo}/tags/keep", "namespaces/{namespace}/repositories/{repo}/tags/keep/images", "repositories/{namespace}", "repositories/{namespace}/{repo}",
            "repositories/{namespace}/{repo}/tags", "repositories/{namespace}/{repo}/tags/keep", "repositories/{namespace}/{repo}/tags/keep/images",
            "repositories/{namespace}/{repo}/groups", "access-tokens/{pat}", "api_tokens/{pat}", "orgs/{org}", "orgs/{org}/members",
            "orgs/{org}/members/export", "orgs/{org}/settings", "orgs/{org}/groups", "orgs/{org}/groups/{team}", "orgs/{org}/groups/{team}/members",
            "orgs/{org}/invites", "orgs/{org}/access-tokens", "orgs/{org}/access-tokens/{oat}", "auditlogs/{org}", "auditlogs/{org}/actions",
            "users/{user}", "users/{user}/repositories", "search/repositories?query={repo}"),
    "PATCH": ("repositories/{namespace}/{repo}/groups/1", "namespaces/{namespace}/repositories/{repo}", "repositories/{namespace}/{repo}", "access-tokens/{pat}", "orgs/{org}/groups/{team}",
              "orgs/{org}/access-tokens/{oat}", "namespaces/{namespace}/repositories/{repo}/immutabletags"),
    "POST": ("namespaces/{namespace}/repositories", "repositories/{namespace}", "repositories/{namespace}/{repo}/privacy", "repositories/{namespace}/{repo}/groups",
             "orgs/{org}/groups", "orgs/{org}/groups/{team}/members", "orgs/{org}/access-tokens"),
    "PUT": ("orgs/{org}/members/{user}", "orgs/{org}/settings", "orgs/{org}/groups/{team}"),
    "DELETE": ("repositories/{namespace}/{repo}/tags/keep", "namespaces/{namespace}/repositories/{repo}/tags/keep",
               "repositories/{namespace}/{repo}/groups/1", "namespaces/{namespace}/repositories/{repo}", "access-tokens/{pat}", "api_tokens/{pat}", "orgs/{org}/members/{user}",
               "orgs/{org}/groups/{team}/members/{user}", "orgs/{org}/groups/{team}", "orgs/{org}/access-tokens/{oat}",
               "repositories/{namespace}/{repo}"),
}.items() for p in paths]
HUB_BODIES = {"PATCH": {"description": "x"}, "POST": {"name": "zz", "is_private": True, "group_id": 1, "permission": "read", "member": "zz"}, "PUT": {"role": "member"}}
HUB_PUBLIC = ("users/{user}", "auditlogs/{org}/actions")  # a profile; names of actions: the same for everybody


def test_hub_routes(world):
    """The Hub-compatible API, both slash forms: nothing of A's, and the same answer as for absent ones."""
    wrong, n = [], 0
    for (method, template), slash, caller in itertools.product(HUB, ("", "/"), others(world)):
        keys = sorted(set(re.findall(r"\{(\w+)\}", template)))
        absent = never(world, world.a.ids, keys)
        pair = []
        for ids in (world.a.ids, absent):
            path = "/v2/" + re.sub(r"\{(\w+)\}", lambda m: ids[m.group(1)], template)
            path = path if "?" in path else path + slash
            methods = (method, "HEAD") if method == "GET" else (method,)
            pair.append([world.api(m, path, HUB_BODIES.get(m), caller, derived=True if caller.cred.kind == "login" else False) for m in methods])
        for a, b in zip(*pair):
            n += 1
            ok = 200 <= a.status < 300 and template not in HUB_PUBLIC and a.body and b'"count":0' not in a.body.replace(b" ", b"")
            if ok or (template not in HUB_PUBLIC and masked(a, world.a.ids) != masked(b, absent)):
                wrong.append((str(caller), method, template + slash, a, b))
    assert wrong == [] and n > 400, wrong[:10]


# --- last, for it takes A's things away
def test_A_himself_gets_it_all(world):
    """The same requests as A succeed: so that they were refused to B proves something. Deepest first, deletions last."""
    wrong, order = [], sorted(routes(world), key=lambda r: (r[0] == "DELETE", -r[1].count("/") if r[0] == "DELETE" else 0))
    for method, template in order:
        if NOT_A.fullmatch(template):
            continue
        if (method, template) == ("DELETE", "/orgs/{org}"):
            for r in world.must("GET", "repositories?owner=" + world.a.ids["org"])["items"]:
                assert world.api("DELETE", API + "/repositories/" + r["name"], None, world.a.login).status == 204
        a = world.api(method, *request(world, method, template, ids_for(world.a, template)), world.a.login)
        if not 200 <= a.status < 300:
            wrong.append((method, template, a))
        if template.endswith("/rotate") and "id" in (a.json() or {}):
            world.a.ids[key_of(template, "id")] = world.a.own_ids[key_of(template, "id")] = str(a.json()["id"])
    assert wrong == [], wrong[:20]
