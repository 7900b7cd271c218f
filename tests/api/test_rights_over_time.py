"""Rights follow each change at once: a random walk over grants, membership, roles, visibility, archives, tokens and
accounts, with probes after every step against the model; and the order of events that matters most, by itself."""
import itertools
import os
import random

import pytest
from berth import Hub
from registry import INDEX, digest
from rights import SCOPES, Repository
from rightsworld import KEEP, PROBES, Caller, Differences, World, api_path

ENV = {"BERTH_MAX_LOGINS_PER_ADDRESS": "0", "BERTH_MIN_FREE": "0"}
STEPS = int(os.environ.get("RIGHTS_STEPS", "100"))
USERS = ("ann", "ben", "cid", "dot", "eve")
TEAMS, LEVELS = ("t1", "t2"), ("read", "write", "admin", None)
# What can be probed without harm: reads, a push of what is there already, and settings set to what they are
HARMLESS = [p for p in PROBES if not p.after]


@pytest.fixture(scope="module")
def world(db):
    with Hub(db, env=ENV) as hub:
        w = World(hub)
        for name in ("boss",) + USERS:
            w.add_user(name)
        for org in ("alpha", "beta"):
            w.add_org(org, "boss")
            for team in TEAMS:
                w.add_team(org, team)
        for space, n in itertools.product(("alpha", "beta", "ann"), (1, 2)):
            w.add_repository("%s/r%d" % (space, n), Repository("public" if n == 2 else "private"))
        yield w
        w.close()


# --- probes
def push_again(world, caller, derived, name):
    return world.registry("PUT", name, "manifests/keep", caller, derived, KEEP, INDEX)


def same_settings(world, caller, derived, name):
    return world.api("PATCH", api_path(name), {"description": ""}, caller, derived)


def probe(world, rng, wrong, caller, name):
    """A read, a push and a change of settings; old Bearer tokens may say 401: they are minted anew, as clients do."""
    read = rng.choice(HARMLESS)
    for action, dialect, send in ((read.action, read.dialect, read.send), ("push", "registry", push_again),
                                  ("change-settings", "api", same_settings)):
        derived = rng.random() < 0.5
        verdict = world.model.decide(world.facts, caller.cred, name, action)
        if verdict == "unauthenticated" and (name not in caller.bearers if dialect == "registry" else caller.jwt is None):
            derived = False  # nothing derived from it while it lived
        a = send(world, caller, derived, name)
        if a.status == 401 and derived and dialect == "registry" and verdict != "unauthenticated":
            caller.bearers.pop(name, None)
            a = send(world, caller, derived, name)
        if not world.model.right_answer(verdict, dialect, caller.cred, a.status, action == "push"):
            wrong.note(caller, "derived" if derived else "", name, action, "want %s" % verdict, "got %d %s" % (a.status, a.body[:120]))


# --- steps: each returns what it did, None when it does not apply now
def membership(w, rng):
    org, user = rng.choice(("alpha", "beta")), rng.choice(USERS)
    role = rng.choice(("member", "editor", "owner", None))
    if role is None and user not in w.facts.orgs[org].members or w.facts.users[user].state != "active":
        return None
    w.set_member(org, user, role)
    return "%s in %s: %s" % (user, org, role)


def team(w, rng):
    org, name, user = rng.choice(("alpha", "beta")), rng.choice(TEAMS), rng.choice(USERS)
    facts = w.facts.orgs[org]
    if user not in facts.members or w.facts.users[user].state != "active":
        return None
    there = user not in facts.teams[name]
    w.set_team_member(org, name, user, there)
    return "%s in team %s/%s: %s" % (user, org, name, there)


def grant(w, rng):
    name, level = rng.choice(sorted(w.facts.repositories)), rng.choice(LEVELS)
    repo, org = w.facts.repositories[name], name.split("/")[0] in w.facts.orgs
    whom = rng.choice(TEAMS if org else USERS[1:])
    level = "write" if level == "admin" and not org else level
    if (level is None and whom not in (repo.teams if org else repo.collaborators)) or (not org and w.facts.users[whom].state != "active"):
        return None
    w.set_grant(name, whom, level)
    return "grant on %s to %s: %s" % (name, whom, level)


def visibility(w, rng):
    name, now = rng.choice(sorted(w.facts.repositories)), rng.choice(("public", "private"))
    if w.facts.repositories[name].archived:
        return None
    w.set_repository(name, visibility=now)
    return "%s is %s" % (name, now)


def archive(w, rng):
    name = rng.choice(sorted(w.facts.repositories))
    now = not w.facts.repositories[name].archived
    w.set_repository(name, archived=now)
    return "%s archived: %s" % (name, now)


def default_access(w, rng):
    org, level = rng.choice(("alpha", "beta")), rng.choice(("none", "read", "write"))
    w.set_default_access(org, level)
    return "default of %s: %s" % (org, level)


def token(w, rng):
    user = rng.choice(USERS)
    if w.facts.users[user].state != "active" or len(w.tokens) > 12:
        return None
    scopes = SCOPES[1:SCOPES.index(w.model.scope_limit(w.facts, user)) + 1]
    patterns = rng.sample(("*", "alpha/*", "alpha/r1", "beta/r*", "ann/*"), rng.choice((1, 1, 2)))
    bounds = [(p, rng.choice(scopes)) for p in patterns]
    w.tokens.append((w.add_token(user, bounds), user))
    return "token %s" % w.tokens[-1][0]


def revocation(w, rng):
    alive = [t for t in w.tokens if not t[0].cred.dead and w.facts.users[t[1]].state == "active"]
    if not alive:
        return None
    caller, user = rng.choice(alive)
    w.revoke(caller, user)
    return "revoked %s" % caller


def site_role(w, rng):
    user, role = rng.choice(USERS), rng.choice(("none", "none", "auditor", "admin"))
    if w.facts.users[user].state != "active":
        return None
    w.set_site_role(user, role)
    return "%s is %s" % (user, role)


def state(w, rng):
    """Disabled, and soon active again; what derived from the login before stays dead, so it logs in anew."""
    off = [u for u in USERS if w.facts.users[u].state != "active"]
    user = off[0] if off else rng.choice(USERS)
    w.set_state(user, "active" if off else "disabled")
    if off:
        w.logins[user] = w.login(user, w.logins[user].secret)
        w.tokens = [(t, owner) for t, owner in w.tokens if owner != user]  # whether those come back is left open
    return "%s is %s" % (user, w.facts.users[user].state)


CHANGES = [membership] * 4 + [team] * 3 + [grant] * 4 + [visibility] * 2 + [archive, default_access, token, token, revocation, site_role, state]


def test_random_walk(world):
    seed = os.environ.get("RIGHTS_SEED") or str(random.SystemRandom().getrandbits(32))
    print("RIGHTS_SEED=%s" % seed)
    rng, wrong, history = random.Random(seed), Differences(), []
    world.tokens = []
    done = 0
    while done < STEPS and not wrong:
        what = rng.choice(CHANGES)(world, rng)
        if what is None:
            continue
        done += 1
        history.append(what)
        callers = [world.logins[u] for u in USERS] + [t for t, _ in world.tokens]
        for caller in rng.sample(callers, min(5, len(callers))) + [world.anonymous]:
            probe(world, rng, wrong, caller, rng.choice(sorted(world.facts.repositories)))
    assert not wrong, "seed %s, after %s\n%s" % (seed, "; ".join(history[-12:]), wrong.text())


# --- by itself: what must end at once
def pushes(world, caller, derived, name, body=KEEP):
    return world.registry("PUT", name, "manifests/" + digest(body), caller, derived, body, INDEX)


@pytest.fixture
def leaver(world):
    """A member with every kind of credential, all of which push: (how to end it) is the test's."""
    name = world.fresh("leaver")
    world.add_user(name)
    world.add_org(name + "-org", "boss")
    world.set_member(name + "-org", name, "editor")
    repo = name + "-org/r"
    world.add_repository(repo, Repository("private"))
    login, tok = world.logins[name], world.add_token(name, [("*", "admin")])
    ways = [(c, d) for c in (login, tok) for d in (False, True)]
    for c, d in ways:
        assert pushes(world, c, d, repo).status == 201
        assert world.api("GET", "repositories/%s/r" % (name + "-org"), None, c, d).status == 200
    return name, repo, ways


ENDS = {
    "removed": lambda w, name, repo: w.set_member(name + "-org", name, None),
    "demoted": lambda w, name, repo: w.set_member(name + "-org", name, "member"),
    "disabled": lambda w, name, repo: w.set_state(name, "disabled"),
    "archived": lambda w, name, repo: w.set_repository(repo, archived=True),
    "auditor": lambda w, name, repo: w.must("PATCH", "users/" + name, {"site_role": "auditor"}),
}


@pytest.mark.parametrize("how", sorted(ENDS))
def test_a_push_fails_at_once(world, leaver, how):
    """With whatever was issued before: password, registry token, personal token, and what came of that."""
    name, repo, ways = leaver
    ENDS[how](world, name, repo)
    doc = KEEP.replace(b"keep", b"late")
    for caller, derived in ways:
        a = pushes(world, caller, derived, repo, doc)
        assert a.status in (401, 403), (how, caller, derived, a)
        a = world.api("PATCH", "repositories/%s/r" % (name + "-org"), {"description": "late"}, caller, derived)
        assert a.status in (401, 403, 404), (how, caller, derived, a)
    assert world.registry("HEAD", repo, "manifests/" + digest(doc)).status == 404
    assert world.must("GET", "repositories/%s/r" % (name + "-org"))["description"] == ""


def test_a_revoked_token_takes_its_children_along(world, leaver):
    name, repo, ways = leaver
    tok = ways[2][0]
    world.revoke(tok, name)
    for derived in (False, True):
        assert pushes(world, tok, derived, repo).status == 401
        assert world.registry("GET", repo, "tags/list", tok, derived).status == 401
        assert world.api("GET", "me", None, tok, derived).status == 401
    assert pushes(world, ways[0][0], False, repo).status == 201


def test_revocation_by_the_text_alone(world):
    """POST /tokens/revoke: whoever holds the text ends it, with no login; nobody learns whether it was one."""
    tok = world.add_token("boss", [("*", "read")])
    assert world.api("GET", "me", None, tok, False).status == 200
    a = world.api("POST", "tokens/revoke", {"token": tok.secret}, world.anonymous)
    b = world.api("POST", "tokens/revoke", {"token": tok.secret[:-4] + "AAAA"}, world.anonymous)
    assert 200 <= a.status < 300, a
    assert b.status in (a.status, 400), b
    assert world.api("GET", "me", None, tok, False).status == 401


def test_an_upload_that_began_before_does_not_end_after(world, leaver):
    """T22: the decision stands in the transaction that writes."""
    name, repo, ways = leaver
    caller, data = ways[0][0], b"bytes that come too late"
    a = world.registry("POST", repo, "blobs/uploads/", caller)
    assert a.status == 202, a
    where = world.hub.path_of(a.get("Location"))
    world.set_member(name + "-org", name, None)
    sep = "&" if "?" in where else "?"
    a = world.wire.ask("PUT", where + sep + "digest=" + digest(data), world.registry_auth(caller, False, repo), body=data)
    assert a.status in (401, 403, 404), a
    assert world.registry("HEAD", repo, "blobs/" + digest(data)).status == 404


def test_a_pull_ends_with_the_visibility(world):
    """Public, then private: strangers and anonymous see an absent one at once, also by what was minted before."""
    world.add_repository("beta/flips", Repository("public"))
    stranger = Caller("anonymous", world.anonymous.cred)
    for caller, derived in ((stranger, False), (stranger, True), (world.logins["boss"], True)):
        world.registry("GET", "beta/flips", "tags/list", caller, derived)
    world.set_repository("beta/flips", visibility="private")
    for derived in (False, True):
        assert world.registry("GET", "beta/flips", "tags/list", stranger, derived).status == 401
    assert world.registry("GET", "beta/flips", "tags/list", world.logins["boss"], False).status == 200
