"""A hub full of people, and one request for each action of the model of rights.

World(hub) builds through HTTP what a Facts describes, and keeps both the same. A Caller shows one credential, in one of
its ways: itself (Basic at the registry, Bearer in the API) or what derives from it (the registry's Bearer token, the
API's JWT). A Probe does one action on one repository; Errand one on an account or the site. Each says what must have
changed when it was allowed, and World.state reads, as the administrator, what really is.
"""
import itertools
import json
import urllib.parse
from dataclasses import dataclass, field, replace

from api import document_of
from rawhttp import Closed, build
from registry import INDEX, basic, digest, dumps, index_doc, quote
from rights import ANONYMOUS, Credential, Facts, Model, Org, Repository, User

API = "/api/v1"
KEEP = dumps(index_doc([], annotations={"content": "keep"}))
VICTIM = dumps(index_doc([], annotations={"content": "victim"}))
BLOB, PUSHED = b"a blob that can be deleted", b"a blob that is pushed"
TAGS = ("keep", "victim")
PEOPLE = "owner editor member extra tread twrite tadmin gone self cread cwrite stranger off audrey".split()
SITE_ROLES = {"audrey": "auditor"}


def api_path(name, *rest):
    """The path of "namespace/name" in the API: a nested name is one segment."""
    space, repo = name.split("/", 1)
    return "/".join((API + "/repositories", quote(space), quote(repo)) + rest)


class Wire:
    """One keep-alive connection; answers come unjudged but for their framing."""

    def __init__(self, hub):
        self.hub, self.conn, self.count = hub, None, 0

    def ask(self, method, path, auth=None, doc=None, body=None, headers=()):
        items = list(headers)
        if doc is not None:
            body = dumps(doc)
            items.append(("Content-Type", "application/json"))
        if auth:
            items.append(("Authorization", auth))
        data = build(method, path, items, body, False, "%s:%d" % (self.hub.host, self.hub.port))
        self.count += 1
        for attempt in range(2):
            fresh = self.conn is None or not self.conn.usable
            if fresh:
                self.close()
                self.conn = self.hub.connect()
            try:
                self.conn.send_most(data)
                a = self.conn.answer(method, check=False)
            except Closed:
                self.close()
                if fresh:
                    raise
                continue
            assert a.get("X-Request-Id"), a
            assert a.status < 500, (method, path, a)
            return a
        raise AssertionError("closed twice")

    def close(self):
        if self.conn is not None:
            self.conn.close()
        self.conn = None


@dataclass
class Caller:
    """label: for people. user, secret: of Basic (password or token). direct: of the API's Authorization: Bearer."""
    label: str
    cred: Credential
    user: str = None
    secret: str = None
    direct: str = None  # None: only a login gives an API token
    id: str = None  # of a token
    jwt: str = None
    bearers: dict = field(default_factory=dict)

    def __repr__(self):
        return self.label


class World:
    def __init__(self, hub, model=None):
        self.hub, self.wire, self.model, self.facts = hub, Wire(hub), model or Model(), Facts()
        self.numbers, self.token_ids = itertools.count(1), set()
        self.root = self.login(hub.admin_name, hub.admin_password)
        self.facts.users[hub.admin_name] = User("admin")
        self.anonymous = Caller("anonymous", ANONYMOUS)
        self.logins = {hub.admin_name: self.root}

    def close(self):
        self.wire.close()

    def fresh(self, stem):
        return "%s-%d" % (stem, next(self.numbers))

    # --- requests
    def api(self, method, path, doc=None, caller=None, derived=True):
        """As caller (default: the administrator). derived: by the API's JWT, else by the credential itself."""
        caller = caller or self.root
        path = path if path.startswith("/") else API + "/" + path
        a = self.wire.ask(method, path, self.api_auth(caller, derived), doc)
        if path.startswith(API) and self.wire.count % 10 == 0:  # all would take as long again
            document_of(self.hub).check_answer(method, path.partition("?")[0], a)
        return a

    def must(self, method, path, doc=None, caller=None):
        a = self.api(method, path, doc, caller)
        assert 200 <= a.status < 300, (method, path, doc, caller, a)
        return a.json() if a.body else None

    def api_auth(self, caller, derived):
        if caller.cred.kind == "none":
            return None
        if caller.jwt is None and (derived or caller.direct is None):
            caller.jwt = self.jwt(caller.user, caller.secret)
        return "Bearer " + (caller.jwt if derived or caller.direct is None else caller.direct)

    def jwt(self, user, secret):
        a = self.wire.ask("POST", API + "/login", doc={"username": user, "password": secret})
        assert a.status == 200, (user, a)
        token = a.json()["token"]
        self.hub.secrets.add(token)
        return token

    def registry(self, method, name, rest, caller=None, derived=False, body=None, media_type=None):
        caller = caller or self.root
        headers = [("Content-Type", media_type)] if media_type else []
        return self.wire.ask(method, "/v2/%s/%s" % (name, rest), self.registry_auth(caller, derived, name), body=body, headers=headers)

    def registry_auth(self, caller, derived, name):
        own = basic(caller.user, caller.secret) if caller.user else None
        if not derived:
            return own
        if name not in caller.bearers:
            query = urllib.parse.urlencode({"service": self.hub.service, "scope": "repository:%s:pull,push,delete" % name})
            a = self.wire.ask("GET", "/token?" + query, own)
            assert a.status == 200, (caller, a)
            caller.bearers[name] = a.json()["token"]
            self.hub.secrets.add(caller.bearers[name])
        return "Bearer " + caller.bearers[name]

    # --- building: each step changes the hub and the facts alike
    def login(self, name, password):
        self.hub.secrets.update((password, basic(name, password)[6:]))
        return Caller(name, Credential("login", name), name, password, None, None, self.jwt(name, password))

    def add_user(self, name, site_role="none"):
        password = "the-password-of-%s-17" % name
        self.must("POST", "users", {"name": name, "password": password, "site_role": site_role})
        self.facts.users[name] = User(site_role)
        self.logins[name] = self.login(name, password)

    def add_org(self, name, owner, default_access="none"):
        self.must("POST", "orgs", {"name": name}, self.logins[owner])
        if default_access != "none":
            self.must("PATCH", "orgs/" + name, {"default_access": default_access}, self.logins[owner])
        self.facts.orgs[name] = Org(default_access, {owner: "owner"})

    def set_member(self, org, user, role):
        """role None: no longer a member."""
        path, facts = "orgs/%s/members/%s" % (org, user), self.facts.orgs[org]
        if role is None:
            self.must("DELETE", path)
            del facts.members[user]
            facts.former.add(user)
            for people in facts.teams.values():
                people.discard(user)
        else:
            self.must("PUT", path, {"role": role})
            facts.members[user] = role
            facts.former.discard(user)

    def set_default_access(self, org, level):
        self.must("PATCH", "orgs/" + org, {"default_access": level})
        self.facts.orgs[org].default_access = level

    def add_team(self, org, team):
        self.must("POST", "orgs/%s/teams" % org, {"name": team})
        self.facts.orgs[org].teams[team] = set()

    def set_team_member(self, org, team, user, there=True):
        self.must("PUT" if there else "DELETE", "orgs/%s/teams/%s/members/%s" % (org, team, user))
        (set.add if there else set.discard)(self.facts.orgs[org].teams[team], user)

    def set_grant(self, name, whom, level):
        """To a team of the organization, or to a collaborator of a personal repository; level None: no longer."""
        org = name.split("/")[0] in self.facts.orgs
        path = api_path(name, "teams" if org else "collaborators", whom)
        self.must("PUT" if level else "DELETE", path, {"level": level} if level else None)
        grants = self.facts.repositories[name].teams if org else self.facts.repositories[name].collaborators
        grants.pop(whom, None)
        if level:
            grants[whom] = level

    def set_repository(self, name, **change):
        self.must("PATCH", api_path(name), change)
        for key, value in change.items():
            if key in ("visibility", "archived"):
                setattr(self.facts.repositories[name], key, value)

    def set_site_role(self, user, role):
        """Ends what derived from the login before."""
        self.must("PATCH", "users/" + user, {"site_role": role})
        self.facts.users[user].site_role = role
        self.logins[user].jwt = None

    def set_state(self, user, state):
        self.must("PATCH", "users/" + user, {"state": state})
        self.facts.users[user].state = state

    def add_repository(self, name, repo):
        """With content, grants and all; also after it was deleted."""
        self.must("POST", "repositories", {"name": name, "visibility": repo.visibility})
        self.facts.repositories[name] = Repository(repo.visibility)
        for what in ("tag", "victim-tag", "manifest", "blob"):
            self.give(name, what)
        for whom, level in list(repo.teams.items()) + list(repo.collaborators.items()):
            self.set_grant(name, whom, level)
        if repo.archived:
            self.set_repository(name, archived=True)

    def give(self, name, what):
        """A piece of content, as the administrator."""
        if what == "blob":
            a = self.registry("POST", name, "blobs/uploads/?digest=" + quote(digest(BLOB)), body=BLOB)
        else:
            ref, doc = {"tag": ("keep", KEEP), "victim-tag": ("victim", KEEP), "manifest": (digest(VICTIM), VICTIM)}[what]
            a = self.registry("PUT", name, "manifests/" + ref, body=doc, media_type=INDEX)
        assert a.status == 201, (name, what, a)

    def set_policy(self, org, **policy):
        self.must("PATCH", "orgs/" + org, policy)
        for key, value in policy.items():
            setattr(self.facts.orgs[org], key, value)

    def add_token(self, owner, bounds, org=None, days=90):
        """A personal token of owner, or, with org, one of the organization."""
        path, whose = ("orgs/%s/tokens" % org, org) if org else ("tokens", owner)
        doc = self.must("POST", path, {"name": self.fresh("token"), "bounds": [{"pattern": p, "scope": s} for p, s in bounds],
                                    "expires_in_days": days},
                        self.logins[owner])
        self.hub.secrets.update((doc["token"], basic(whose, doc["token"])[6:]))
        self.token_ids.add(str(doc["id"]))
        return Caller("%s[%s]" % (whose, " ".join("%s:%s" % b for b in bounds)), Credential("token", whose, tuple(bounds), days=days),
                      whose, doc["token"], doc["token"], str(doc["id"]))

    def revoke(self, caller, owner, org=None):
        self.must("DELETE", ("orgs/%s/tokens/%s" % (org, caller.id) if org else "tokens/%s" % caller.id), None, self.logins[owner])
        caller.cred = replace(caller.cred, dead=True)

    # --- what really is, read as the administrator
    def state(self, name):
        """All that a probe may change; None: the repository is absent."""
        a = self.api("GET", api_path(name))
        if a.status == 404:
            return None
        doc = a.json()
        org = name.split("/")[0] in self.facts.orgs
        grants = self.must("GET", api_path(name, "teams" if org else "collaborators"))["items"]
        head = lambda rest: self.registry("HEAD", name, rest).status == 200  # noqa: E731
        tags = self.registry("GET", name, "tags/list")
        return {
            "visibility": doc["visibility"], "archived": doc["archived"], "description": doc["description"],
            "tags": sorted(tags.json()["tags"] or ()) if tags.status == 200 else None,
            "manifest": head("manifests/" + digest(VICTIM)), "blob": head("blobs/" + digest(BLOB)),
            "pushed": head("blobs/" + digest(PUSHED)),
            "grants": {g.get("team") or g.get("user"): g["level"] for g in grants},
        }


def acme(world):
    """The cast of the matrix: every role of the model, on public, private, live and archived repositories."""
    for name in PEOPLE:
        world.add_user(name, SITE_ROLES.get(name, "none"))
    world.add_org("acme", "owner")
    world.add_org("readers", "owner", "read")
    world.add_org("writers", "owner", "write")
    world.add_org("globex", "stranger")
    for user in ("editor", "member", "tread", "twrite", "tadmin", "gone", "off"):
        world.set_member("acme", user, {"editor": "editor", "off": "owner"}.get(user, "member"))
    for org in ("readers", "writers"):
        world.set_member(org, "member", "member")
    for org in ("acme", "globex"):
        world.set_member(org, "extra", "member")
    for org in ("acme", "readers", "writers", "globex"):
        world.add_team(org, "probe")
    for team, user in (("readers", "tread"), ("writers", "twrite"), ("admins", "tadmin"), ("readers", "gone"), ("readers", "twrite")):
        if team not in world.facts.orgs["acme"].teams:
            world.add_team("acme", team)
        world.set_team_member("acme", team, user)
    for space in ("acme", "readers", "writers", "globex", "self", "audrey"):
        for visibility, archived in itertools.product(("public", "private"), (False, True)):
            repo = Repository(visibility, archived)
            if space == "acme":
                repo.teams = {"readers": "read", "writers": "write", "admins": "admin"}
            elif space == "self":
                repo.collaborators = {"cread": "read", "cwrite": "write"}
            world.add_repository("%s/%s%s" % (space, visibility, "-archived" if archived else ""), repo)
    world.add_repository("acme/deep/private", Repository("private", teams={"readers": "read", "writers": "write", "admins": "admin"}))
    world.set_member("acme", "gone", None)
    world.set_state("off", "disabled")
    return world


# --- one request an action on a repository
@dataclass
class Probe:
    """send(world, caller, derived, name) -> answer. after(state) -> the state when it was allowed, None: it only reads.
    restore(world, name, repo): brings the old state back; holds(answer): whether a success said the truth."""
    action: str
    dialect: str
    what: str
    send: object
    after: object = None
    restore: object = None
    holds: object = None


def on_registry(action, method, rest, **more):
    body, media_type = more.pop("body", None), more.pop("media_type", None)
    return Probe(action, "registry", "%s %s" % (method, rest),
                 lambda w, c, d, n: w.registry(method, n, rest, c, d, body, media_type), **more)


def on_api(action, method, doc=None, rest=None, **more):
    """rest(world, name) -> further segments."""
    return Probe(action, "api", "%s %s" % (method, doc or ""),
                 lambda w, c, d, n: w.api(method, api_path(n, *(rest(w, n) if rest else ())), doc(w, n) if callable(doc) else doc, c, d), **more)


def is_org(world, name):
    return name.split("/")[0] in world.facts.orgs


def grantee(world, name):
    """A team without members; a person of whom no role is probed on personal repositories."""
    return ("teams", "probe") if is_org(world, name) else ("collaborators", "gone")


def put(key, value):
    return lambda s: dict(s, **{key: value})


def again(key):
    return lambda w, n, repo: w.must("PATCH", api_path(n), {key: getattr(repo, key)})


def with_grant(s):
    return dict(s, grants=dict(s["grants"], PROBED="read"))


def undo(rest):
    def restore(world, name, repo):
        a = world.registry("DELETE", name, rest)
        assert a.status in (202, 204), a
    return restore


def rebuild(world, name, repo):
    world.add_repository(name, repo)


def opposite(world, name):
    return {"visibility": "private" if world.facts.repositories[name].visibility == "public" else "public"}


PROBES = [
    on_registry("pull", "GET", "manifests/keep", holds=lambda a: a.body == KEEP),
    on_registry("pull", "HEAD", "manifests/keep", holds=lambda a: a.get("Docker-Content-Digest") == digest(KEEP)),
    on_registry("pull", "GET", "manifests/" + digest(VICTIM), holds=lambda a: a.body == VICTIM),
    on_registry("pull", "GET", "blobs/" + digest(BLOB), holds=lambda a: a.body == BLOB),
    on_registry("list-tags", "GET", "tags/list", holds=lambda a: a.json()["tags"] == sorted(TAGS)),
    on_api("list-tags", "GET", rest=lambda w, n: ("tags",), holds=lambda a: [t["name"] for t in a.json()["items"]] == sorted(TAGS)),
    on_api("list-tags", "GET", rest=lambda w, n: ("tags", "keep"), holds=lambda a: a.json()["digest"] == digest(KEEP)),
    on_api("read-settings", "GET", holds=lambda a: a.json()["visibility"] in ("public", "private")),
    on_api("read-grants", "GET", rest=lambda w, n: grantee(w, n)[:1], holds=lambda a: "items" in a.json()),
    on_registry("push", "PUT", "manifests/new", body=KEEP, media_type=INDEX,
                after=lambda s: dict(s, tags=sorted(s["tags"] + ["new"])), restore=undo("manifests/new")),
    on_registry("push", "POST", "blobs/uploads/?digest=" + quote(digest(PUSHED)), body=PUSHED,
                after=put("pushed", True), restore=undo("blobs/" + digest(PUSHED))),
    on_registry("delete-content", "DELETE", "manifests/victim", after=put("tags", ["keep"]),
                restore=lambda w, n, r: w.give(n, "victim-tag")),
    on_registry("delete-content", "DELETE", "manifests/" + digest(VICTIM), after=put("manifest", False),
                restore=lambda w, n, r: w.give(n, "manifest")),
    on_registry("delete-content", "DELETE", "blobs/" + digest(BLOB), after=put("blob", False), restore=lambda w, n, r: w.give(n, "blob")),
    on_api("delete-content", "DELETE", rest=lambda w, n: ("tags", "victim"), after=put("tags", ["keep"]),
           restore=lambda w, n, r: w.give(n, "victim-tag")),
    on_api("change-settings", "PATCH", {"description": "changed"}, after=put("description", "changed"),
           restore=lambda w, n, r: w.must("PATCH", api_path(n), {"description": ""})),
    on_api("archive", "PATCH", {"archived": True}, after=put("archived", True), restore=again("archived")),
    on_api("unarchive", "PATCH", {"archived": False}, after=put("archived", False), restore=again("archived")),
    on_api("change-visibility", "PATCH", opposite,
           after=lambda s: dict(s, visibility="private" if s["visibility"] == "public" else "public"), restore=again("visibility")),
    on_api("change-grants", "PUT", {"level": "read"}, rest=grantee, after=with_grant,
           restore=lambda w, n, r: w.must("DELETE", api_path(n, *grantee(w, n)))),
    on_api("delete-repository", "DELETE", after=lambda s: None, restore=rebuild),
]


class Differences(list):
    """What the hub does and the model does not expect, each with the request that showed it."""

    def note(self, *what):
        self.append(" | ".join(str(w) for w in what))
        if len(self) >= 60:
            raise AssertionError(self.text())

    def text(self):
        return "%d differences\n%s" % (len(self), "\n".join(self[:60]))


def judge(world, caller, derived, name, probes, known, wrong):
    """Sends probes on one repository; known: its state by name, which is the same afterwards. Returns how many."""
    who, dirty = "%s%s" % (caller, " derived" if derived else ""), False  # dirty: something was sent since the last look
    for p in probes:
        verdict = world.model.decide(world.facts, caller.cred, name, p.action)
        a = p.send(world, caller, derived, name)
        if not world.model.right_answer(verdict, p.dialect, caller.cred, a.status, p.action == "push"):
            wrong.note(who, name, p.action, p.what, "want %s" % verdict, "got %d %s" % (a.status, a.body[:120]))
        if p.holds and 200 <= a.status < 300 and not p.holds(a):
            wrong.note(who, name, p.what, "a success that is none", a)
        if p.after and verdict == "allowed":
            look(world, name, p.after(known[name]), known, wrong, "%s | %s %s" % (who, p.action, p.what), p)
        dirty = dirty or p.after is not None
    if dirty:
        look(world, name, known[name], known, wrong, who + " | one of the refused changes, or bringing back the last one")
    return len(probes)


def look(world, name, expected, known, wrong, what, change=None):
    """The state must be as expected; then a change is taken back. What was wrong once is told once."""
    is_now = world.state(name)
    if expected is not None and "PROBED" in expected["grants"]:
        expected["grants"][grantee(world, name)[1]] = expected["grants"].pop("PROBED")
    if is_now != expected:
        wrong.note(what, name, "expected %s" % expected, "is %s" % is_now)
    if change and is_now != known[name]:
        change.restore(world, name, world.facts.repositories[name])
    if is_now != expected:
        known[name] = world.state(name)


# --- one request an action on an account or the site
@dataclass
class Errand:
    """send(world, caller, derived, about) -> answer; about: org, user or namespace, None: the site. happened(world, about):
    whether it had its effect; restore(world, about) takes that back. What send made up (names) is in world.sent, who sent
    it in world.acting (the administrator, if it was a token) and world.owner."""
    action: str
    what: str
    send: object
    happened: object = None
    restore: object = None
    dialect: str = "api"
    disposable: object = None  # makes what an allowed errand may destroy; its result is the about


def _call(method, path, doc=None):
    """path and doc: with %(about)s and %(new)s, a name never used before."""
    def send(world, caller, derived, about):
        world.sent = {"about": about, "new": world.fresh("new")}
        fill = lambda x: json.loads(json.dumps(x) % world.sent) if x is not None else None  # noqa: E731
        return world.api(method, path % world.sent, fill(doc), caller, derived)
    return send


def there(path):
    return lambda w, about: w.api("GET", path % w.sent).status == 200


def listed(path, key, value=None):
    return lambda w, about: any(item[key] == (value or w.sent["new"]) for item in w.must("GET", path % w.sent + "?limit=100")["items"])


def remove(path):
    return lambda w, about: w.must("DELETE", path % w.sent)


def push_new(world, caller, derived, about):
    world.sent = {"about": about, "new": world.fresh("new")}
    name = "%(about)s/%(new)s" % world.sent
    return world.registry("PUT", name, "manifests/t", caller, derived, KEEP, INDEX)


def made_token(path):
    """Removes the token of the last answer's name, as its owner."""
    def restore(world, about):
        token = next(t for t in world.must("GET", path % world.sent + "?limit=100", None, world.acting)["items"] if t["name"] == world.sent["new"])
        world.must("DELETE", "%s/%s" % (path % world.sent, token["id"]), None, world.acting)
    return restore


def own_token_made(world, about):
    owner = world.facts.users.get(world.owner)
    return owner is not None and owner.state == "active" and \
        any(t["name"] == world.sent["new"] for t in world.must("GET", "tokens?limit=100", None, world.logins[world.owner])["items"])


def leave(world, caller, derived, about):
    return world.api("DELETE", "orgs/%s/members/%s" % (about, caller.cred.owner or "nobody"), None, caller, derived)


def has_left(world, about):
    real = {m["user"] for m in world.must("GET", "orgs/%s/members?limit=100" % about)["items"]}
    return world.owner not in real and (about not in world.facts.orgs or world.owner in world.facts.orgs[about].members)


def org_to_leave(world):
    """One that the acting person is a member of, and somebody else's."""
    name = world.fresh("leaving")
    world.must("POST", "orgs", {"name": name})
    world.must("PUT", "orgs/%s/members/%s" % (name, world.owner), {"role": "member"})
    return name


def throwaway_user(world):
    name = world.fresh("throwaway")
    world.must("POST", "users", {"name": name, "password": "a-throwaway-password-17"})
    return name


def throwaway_org(world):
    name = world.fresh("throwaway")
    world.must("POST", "orgs", {"name": name}, world.acting)
    return name


ERRANDS = [
    Errand("read-me", "GET me", _call("GET", "me")),
    Errand("list-users", "GET users", _call("GET", "users")),
    Errand("create-user", "POST users", _call("POST", "users", {"name": "%(new)s", "password": "a-new-password-4711"}), there("users/%(new)s"),
           remove("users/%(new)s")),
    Errand("read-user", "GET users/U", _call("GET", "users/%(about)s")),
    Errand("change-user", "PATCH users/U", _call("PATCH", "users/%(about)s", {"full_name": "%(new)s"}),
           lambda w, about: w.must("GET", "users/" + about)["full_name"] == w.sent["new"]),
    Errand("remove-user", "DELETE users/U", _call("DELETE", "users/%(about)s"),
           lambda w, about: w.api("GET", "users/" + about).status == 404 or w.must("GET", "users/" + about)["state"] == "removed",
           disposable=throwaway_user),
    Errand("create-org", "POST orgs", _call("POST", "orgs", {"name": "%(new)s"}), there("orgs/%(new)s"), remove("orgs/%(new)s")),
    Errand("read-org", "GET orgs/O", _call("GET", "orgs/%(about)s")),
    Errand("change-org", "PATCH orgs/O", _call("PATCH", "orgs/%(about)s", {"full_name": "%(new)s"}),
           lambda w, about: w.must("GET", "orgs/" + about)["full_name"] == w.sent["new"]),
    Errand("delete-org", "DELETE orgs/O", _call("DELETE", "orgs/%(about)s"), lambda w, about: w.api("GET", "orgs/" + about).status == 404,
           disposable=throwaway_org),
    Errand("read-members", "GET orgs/O/members", _call("GET", "orgs/%(about)s/members")),
    Errand("change-members", "PUT orgs/O/members/U", _call("PUT", "orgs/%(about)s/members/cread", {"role": "member"}),
           listed("orgs/%(about)s/members", "user", "cread"), remove("orgs/%(about)s/members/cread")),
    Errand("remove-member", "DELETE orgs/O/members/U", _call("DELETE", "orgs/%(about)s/members/extra"),
           lambda w, about: not listed("orgs/%(about)s/members", "user", "extra")(w, about),
           lambda w, about: w.must("PUT", "orgs/%s/members/extra" % about, {"role": "member"})),
    Errand("leave-org", "DELETE orgs/O/members/SELF", leave, has_left, disposable=org_to_leave),
    Errand("read-teams", "GET orgs/O/teams", _call("GET", "orgs/%(about)s/teams")),
    Errand("read-teams", "GET orgs/O/teams/T", _call("GET", "orgs/%(about)s/teams/probe")),
    Errand("read-teams", "GET orgs/O/teams/T/members", _call("GET", "orgs/%(about)s/teams/probe/members")),
    Errand("change-teams", "POST orgs/O/teams", _call("POST", "orgs/%(about)s/teams", {"name": "%(new)s"}),
           listed("orgs/%(about)s/teams", "name"), remove("orgs/%(about)s/teams/%(new)s")),
    Errand("change-teams", "PATCH orgs/O/teams/T", _call("PATCH", "orgs/%(about)s/teams/probe", {"description": "%(new)s"}),
           lambda w, about: w.must("GET", "orgs/%s/teams/probe" % about)["description"] == w.sent["new"]),
    Errand("create-repository", "POST repositories", _call("POST", "repositories", {"name": "%(about)s/%(new)s"}),
           there("repositories/%(about)s/%(new)s"), remove("repositories/%(about)s/%(new)s")),
    Errand("create-by-push", "PUT /v2/NS/new/manifests/t", push_new, there("repositories/%(about)s/%(new)s"),
           remove("repositories/%(about)s/%(new)s"), "registry"),
    Errand("read-tokens", "GET tokens", _call("GET", "tokens")),
    Errand("create-token", "POST tokens", _call("POST", "tokens", {"name": "%(new)s", "bounds": [{"pattern": "*", "scope": "read"}]}),
           own_token_made, made_token("tokens")),
    Errand("read-org-tokens", "GET orgs/O/tokens", _call("GET", "orgs/%(about)s/tokens")),
    Errand("change-org-tokens", "POST orgs/O/tokens",
           _call("POST", "orgs/%(about)s/tokens", {"name": "%(new)s", "bounds": [{"pattern": "%(about)s/*", "scope": "read"}]}),
           listed("orgs/%(about)s/tokens", "name"), made_token("orgs/%(about)s/tokens")),
    Errand("read-member-tokens", "GET orgs/O/member-tokens", _call("GET", "orgs/%(about)s/member-tokens")),
    Errand("read-site-audit", "GET audit", _call("GET", "audit")),
    Errand("read-org-audit", "GET orgs/O/audit", _call("GET", "orgs/%(about)s/audit")),
    Errand("read-org-usage", "GET usage/O", _call("GET", "usage/%(about)s")),
    Errand("read-plans", "GET plans", _call("GET", "plans")),
    Errand("change-plans", "POST plans", _call("POST", "plans", {"name": "%(new)s"}), there("plans/%(new)s"), remove("plans/%(new)s")),
]


def run_errand(world, e, caller, derived, about, wrong):
    """Returns 1 when it was sent, 0 when the model has no opinion or nothing to sacrifice."""
    verdict = world.model.decide_account(world.facts, caller.cred, e.action, about, "%s/new" % about if about else None)
    if verdict is None or (e.action, caller.cred.owner) == ("remove-member", "extra"):  # that is to leave
        return 0
    world.owner = caller.cred.owner
    if verdict == "allowed" and e.disposable:
        world.acting = world.logins.get(caller.cred.owner, world.root)
        about = e.disposable(world)
        if not world.model.bound_suffices(world.facts, caller.cred, about, world.model.t["account"][e.action]["token"]):
            return 0
    world.acting = caller if caller.cred.kind == "login" else world.root
    who = "%s%s" % (caller, " derived" if derived else "")
    a = e.send(world, caller, derived, about)
    if not world.model.right_answer(verdict, e.dialect, caller.cred, a.status, e.action == "create-by-push"):
        wrong.note(who, about, e.action, e.what, "want %s" % verdict, "got %d %s" % (a.status, a.body[:120]))
    done = 200 <= a.status < 300
    if e.happened and e.happened(world, about) != (verdict == "allowed"):
        wrong.note(who, about, e.action, e.what, "want %s" % verdict, "the effect is the other way round")
    if done and e.restore:
        e.restore(world, about)
    return 1
