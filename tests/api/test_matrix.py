"""Role × credential × bounds × visibility × action: the hub and the model of tests/model/rights.csv agree, in the answer
and in what really changed. tests/lib/rightsworld.py has the people and the requests."""
import itertools

import pytest
from berth import Hub
from registry import INDEX
from rights import SCOPES, Credential, Repository, covers, load
from rightsworld import ERRANDS, KEEP, PROBES, Caller, Differences, World, acme, judge, run_errand

ENV = {"BERTH_MAX_LOGINS_PER_ADDRESS": "0", "BERTH_MIN_FREE": "0"}
SPACES = ("acme", "readers", "writers", "globex", "self", "audrey")
ABOUT = {"site": (None,), "org": ("acme", "globex"), "user": ("self", "owner", "audrey"), "namespace": ("acme", "globex", "self", "audrey")}
# owner of the tokens, the organization when they are its own, one pattern that matches here and one that does not
TOKEN_OWNERS = [("owner", None), ("twrite", None), ("member", None), ("self", None), ("admin", None), ("owner", "acme")]
PATTERNS = ("*", "acme/*", "acme/private", "acme/pub*", "self/*")
TOKEN_REPOS = ("acme/public", "acme/private", "acme/private-archived", "acme/deep/private", "writers/private", "self/private",
               "globex/private", "self/public")


@pytest.fixture(scope="module")
def world(db):
    """A hub with the cast; its log is judged at the end."""
    with Hub(db, env=ENV) as hub:
        w = acme(World(hub))
        w.known = {name: w.state(name) for name in w.facts.repositories}
        yield w
        w.close()


@pytest.fixture
def wrong():
    found = Differences()
    yield found
    assert found == [], found.text()


def test_the_world_is_what_the_facts_say(world):
    """Else all that follows would prove little."""
    for name, repo in world.facts.repositories.items():
        assert world.known[name] == {
            "visibility": repo.visibility, "archived": repo.archived, "description": "", "tags": ["keep", "victim"], "manifest": True,
            "blob": True, "pushed": False, "grants": dict(repo.teams, **repo.collaborators)}, name
    for name, org in world.facts.orgs.items():
        assert {m["user"]: m["role"] for m in world.must("GET", "orgs/%s/members?limit=100" % name)["items"]} == org.members
        for team, people in org.teams.items():
            got = world.must("GET", "orgs/%s/teams/%s/members?limit=100" % (name, team))["items"]
            assert {m["user"] for m in got} == people


def callers(world):
    return [world.anonymous] + [world.logins[n] for n in sorted(world.logins) if n != "off"]


def test_logins_on_repositories(world, wrong):
    """Everybody with a name and password, by what the registry and the API make of them, on each repository."""
    n = 0
    for caller, name, derived in itertools.product(callers(world), world.facts.repositories, (False, True)):
        probes = PROBES if not derived else [p for p in PROBES if p.dialect == "registry"]  # in the API a login is its JWT
        n += judge(world, caller, derived, name, probes, world.known, wrong)
    assert n > 5000


def token_callers(world):
    for owner, org in TOKEN_OWNERS:
        for pattern, scope in itertools.product(PATTERNS, SCOPES[1:]):
            if org and pattern == "self/*":
                continue  # an organization's token is about its own repositories
            yield world.add_token(owner, [(pattern, scope)], org)
    yield world.add_token("owner", [("acme/private", "write"), ("*", "public-read")])
    yield world.add_token("owner", [("acme/*", "read"), ("acme/pri*", "delete"), ("self/*", "admin")])
    for scope in SCOPES[1:SCOPES.index(world.model.scope_limit(world.facts, "audrey")) + 1]:
        yield world.add_token("audrey", [("*", scope)])


@pytest.fixture(scope="module")
def tokens(world):
    return list(token_callers(world))


def test_tokens_on_repositories(world, tokens, wrong):
    """Each token by itself and by what derives from it; the two ways take turns, so that each scope is seen in both.
    Where no bound matches, its scope cannot matter: the highest stands for all."""
    n = 0
    for i, (caller, name) in enumerate(itertools.product(tokens, TOKEN_REPOS)):
        bounds = caller.cred.bounds
        if not any(covers(p, name) for p, _ in bounds) and all(s != "admin" for _, s in bounds):
            continue
        n += judge(world, caller, (i + i // len(TOKEN_REPOS)) % 2 == 1, name, PROBES, world.known, wrong)
    assert n > 10000


def test_logins_on_accounts(world, wrong):
    n = 0
    for caller, e in itertools.product(callers(world), ERRANDS):
        for about in ABOUT[world.model.t["account"][e.action]["on"]]:
            n += run_errand(world, e, caller, True, about, wrong)
    assert n > 700


def test_tokens_on_accounts(world, tokens, wrong):
    n = 0
    for i, (caller, e) in enumerate(itertools.product(tokens, ERRANDS)):
        about = ABOUT[world.model.t["account"][e.action]["on"]]
        n += run_errand(world, e, caller, i % 2 == 1, about[i // len(ERRANDS) % len(about)], wrong)
    assert n > 2000


def test_every_row_of_the_model_is_asked_for():
    tables = load()
    assert {p.action for p in PROBES} == set(tables["actions"])
    elsewhere = {"change-password", "change-member-tokens"}  # test_own_password and test_member_tokens
    assert {e.action for e in ERRANDS} == set(tables["account"]) - elsewhere


def test_lists_show_what_may_be_read(world, tokens, wrong):
    """GET /repositories: what the model lets a caller read, no more and no less."""
    for caller in callers(world) + tokens:
        for derived, owner in ((True, "acme"), (True, "self"), (False, None)):
            query = "repositories?limit=100" + ("&owner=" + owner if owner else "")
            a = world.api("GET", query, None, caller, derived)
            want = {n for n in world.facts.repositories if (owner is None or n.startswith(owner + "/")) and
                    world.model.decide(world.facts, caller.cred, n, "read-settings") == "allowed"}
            if a.status in (403, 404) and caller.cred.kind == "token":
                if want and world.model.decide_account(world.facts, caller.cred, "read-org", "acme") == "allowed":
                    wrong.note(caller, owner, "refused", a)
                continue
            got = {r["name"] for r in a.json()["items"]} if a.status == 200 else a
            if got != want:
                wrong.note(caller, owner, "want %s" % sorted(want), "got %s" % (sorted(got) if isinstance(got, set) else got))
    for caller in callers(world)[1:]:
        got = {o["name"] for o in world.must("GET", "orgs?limit=100", None, caller)["items"]} & set(world.facts.orgs)
        want = {o for o in world.facts.orgs if world.model.decide_account(world.facts, caller.cred, "read-org", o) == "allowed"}
        if got != want:
            wrong.note(caller, "orgs", "want %s" % sorted(want), "got %s" % sorted(got))


def test_policies_of_an_organization(world, wrong):
    """Personal tokens that it does not take see of it what strangers do; logins and its own tokens go on."""
    bounds = [("*", "admin")]
    world.add_org("strict", "owner", "read")
    world.add_team("strict", "probe")
    world.set_member("strict", "editor", "editor")
    world.set_member("strict", "member", "member")
    for visibility in ("public", "private"):
        world.add_repository("strict/" + visibility, Repository(visibility))
        world.known["strict/" + visibility] = world.state("strict/" + visibility)
    few = [p for p in PROBES if p.action in ("pull", "read-settings", "push", "change-settings")]
    who = [world.add_token(user, bounds, None, days) for user in ("owner", "editor", "member") for days in (0, 30, 61)]
    who += [world.add_token("owner", bounds, "strict", 90), world.logins["owner"], world.logins["member"]]
    for policy in ({}, {"token_max_days": 60}, {"personal_tokens": False}, {"token_max_days": 0}, {"personal_tokens": True}):
        if policy:
            world.set_policy("strict", **policy)
        for i, (caller, name) in enumerate(itertools.product(who, ("strict/public", "strict/private"))):
            judge(world, caller, i % 4 < 2 and caller.cred.kind == "token", name, few, world.known, wrong)
        for caller, e in itertools.product(who, ERRANDS):
            if e.action in ("read-org", "read-members", "change-org", "change-members", "create-repository"):
                run_errand(world, e, caller, True, "strict", wrong)
        for caller in who:
            got = {o["name"] for o in world.must("GET", "orgs?limit=100", None, caller)["items"]} & {"strict"}
            want = {"strict"} if world.model.decide_account(world.facts, caller.cred, "read-org", "strict") == "allowed" else set()
            if got != want:
                wrong.note(caller, policy, "list of orgs", "want %s" % want, "got %s" % got)
    for name in ("strict/public", "strict/private"):
        del world.facts.repositories[name]


def test_disabled_accounts_have_no_rights(world, wrong):
    """By password and by the token that was made before."""
    off = world.logins["off"]
    for name in world.facts.repositories:
        if name in ("acme/public", "acme/private"):  # each costs the hash of a password
            judge(world, off, False, name, [p for p in PROBES if p.dialect == "registry"], world.known, wrong)
        judge(world, off, True, name, [p for p in PROBES if p.dialect == "api"], world.known, wrong)
    for e in ERRANDS:
        for about in ABOUT[world.model.t["account"][e.action]["on"]]:
            run_errand(world, e, off, e.dialect == "api", about, wrong)


def test_an_auditors_token_only_reads(world):
    """No token of his may have more than the model's limit."""
    limit = world.model.scope_limit(world.facts, "audrey")
    for scope in SCOPES[1:]:
        a = world.api("POST", "tokens", {"name": world.fresh("limit"), "bounds": [{"pattern": "*", "scope": scope}]}, world.logins["audrey"])
        assert (a.status in (200, 201)) == (SCOPES.index(scope) <= SCOPES.index(limit)), (scope, a)


def test_a_token_without_bounds_reads(world):
    """The default is read on all that its owner may."""
    doc = world.must("POST", "tokens", {"name": world.fresh("plain")}, world.logins["owner"])
    assert doc["bounds"] == [{"pattern": "*", "scope": "read"}], doc
    world.hub.secrets.add(doc["token"])
    tok = Caller("plain", Credential("token", "owner", (("*", "read"),)), "owner", doc["token"], doc["token"])
    assert world.registry("GET", "acme/private", "manifests/keep", tok).status == 200
    assert world.registry("PUT", "acme/private", "manifests/keep", tok, body=KEEP, media_type=INDEX).status == 403


def test_a_push_into_nowhere(world):
    """A namespace that nobody has: administrators make an organization of it, others are refused."""
    space = world.fresh("nowhere")
    for caller in callers(world):
        if caller is not world.root:
            a = world.registry("PUT", space + "/r", "manifests/t", caller, body=KEEP, media_type=INDEX)
            assert a.status == (401 if caller is world.anonymous else 403), (caller, a)
    assert world.api("GET", "orgs/" + space).status == 404
    assert world.registry("PUT", space + "/r", "manifests/t", body=KEEP, media_type=INDEX).status == 201
    assert {m["user"]: m["role"] for m in world.must("GET", "orgs/%s/members" % space)["items"]} == {world.hub.admin_name: "owner"}
    assert world.must("GET", "repositories/%s/r" % space)["visibility"] == "private"


def test_own_password(world, wrong):
    """Changed by oneself with the old one, by administrators without, by nobody else and by no token."""
    for caller, about in itertools.product(callers(world) + [world.add_token("cwrite", [("*", "admin")])], ("cwrite", "audrey")):
        verdict = world.model.decide_account(world.facts, caller.cred, "change-password", about)
        new = "another-password-of-%s-17" % about
        if verdict == "allowed":
            continue
        if caller.cred.owner == about:  # one's own: with the old one, elsewhere
            a = world.api("PUT", "me/password", {"password": new, "old_password": world.logins[about].secret}, caller)
        else:
            a = world.api("PUT", "users/%s/password" % about, {"password": new}, caller)
        if not world.model.right_answer(verdict, "api", caller.cred, a.status):
            wrong.note(caller, about, "want %s" % verdict, "got", a)
        assert world.wire.ask("POST", "/api/v1/login", doc={"username": about, "password": new}).status == 401
    old = world.logins["cwrite"]
    for doc, good in (({"password": "a-third-password-4711", "old_password": "not the old one"}, False),
                      ({"password": "a-third-password-4711"}, False),
                      ({"password": "a-third-password-4711", "old_password": old.secret}, True)):
        a = world.api("PUT", "me/password", doc, old)
        assert (200 <= a.status < 300) == good, a
    assert world.wire.ask("POST", "/api/v1/login", doc={"username": "cwrite", "password": old.secret}).status == 401
    world.logins["cwrite"] = world.login("cwrite", "a-third-password-4711")


def test_member_tokens(world, wrong):
    """Owners see and revoke the tokens of members that reach their repositories; nobody else does."""
    victim = world.add_token("twrite", [("acme/*", "write")])
    path = "orgs/acme/member-tokens"
    for caller in callers(world) + [world.add_token("owner", [("*", "admin")])]:
        verdict = world.model.decide_account(world.facts, caller.cred, "change-member-tokens", "acme")
        token = world.add_token("twrite", [("acme/*", "write")]) if verdict == "allowed" else victim
        a = world.api("DELETE", "%s/%s" % (path, token.id), None, caller)
        if not world.model.right_answer(verdict, "api", caller.cred, a.status):
            wrong.note(caller, "want %s" % verdict, "got", a)
        alive = world.registry("GET", "acme/private", "tags/list", token).status
        if alive != (401 if verdict == "allowed" else 200):
            wrong.note(caller, "the token answers %d" % alive)
        if verdict == "allowed":
            assert victim.id in {str(t["id"]) for t in world.must("GET", path + "?limit=100", None, caller)["items"]}
