"""Why somebody may or may not: /api/v1/access, against what really happens; and docs/permissions.md, printed from it."""
import itertools
import os
import subprocess

import pytest
from berth import ROOT, Hub
from rights import Repository
from rightsworld import World

ENV = {"BERTH_MAX_LOGINS_PER_ADDRESS": "0", "BERTH_MIN_FREE": "0"}
# The model's action for each right on a repository that can be asked about
ACTIONS = {"pull": "pull", "read": "read-settings", "push": "push", "delete": "delete-content", "settings": "unarchive",
           "remove": "delete-repository", "grants.read": "read-grants", "grants": "change-grants"}
PEOPLE = ("boss", "editor", "member", "reader", "leader", "stranger", "audrey", "mine", "friend")


@pytest.fixture(scope="module")
def world(db):
    with Hub(db, env=ENV) as hub:
        w = World(hub)
        for name in PEOPLE:
            w.add_user(name, "auditor" if name == "audrey" else "none")
        w.add_org("acme", "boss")
        w.add_org("globex", "stranger")
        for name in ("editor", "member", "reader", "leader"):
            w.set_member("acme", name, "editor" if name == "editor" else "member")
        for team, name in (("readers", "reader"), ("leaders", "leader")):
            w.add_team("acme", team)
            w.set_team_member("acme", team, name)
        for visibility, archived in itertools.product(("public", "private"), (False, True)):
            tail = visibility + ("-archived" if archived else "")
            w.add_repository("acme/" + tail, Repository(visibility, archived, teams={"readers": "read", "leaders": "admin"}))
            w.add_repository("mine/" + tail, Repository(visibility, archived, collaborators={"friend": "write"}))
        yield w
        w.close()


def explain(world, who, name, action, caller=None):
    return world.api("GET", "access/explain?who=%s&repository=%s&action=%s" % (who, name, action), None, caller)


def test_it_says_what_the_model_says(world):
    """For the administrator about everybody, and the same for everybody about himself."""
    wrong = []
    callers = [(n, world.logins[n]) for n in PEOPLE] + [("", world.anonymous)]
    for (who, caller), name, action in itertools.product(callers, list(world.facts.repositories) + ["acme/absent"], ACTIONS):
        verdict = world.model.decide(world.facts, caller.cred, name, ACTIONS[action])
        own = explain(world, who, name, action, caller)
        told = explain(world, who, name, action) if name != "acme/absent" else own
        if action == "push" and name == "acme/absent":
            verdict = "allowed" if who in ("boss", "editor") else "hidden"
        if own.status != 200 or own.json() != told.json():
            wrong.append((who, name, action, own, told))
        doc = own.json()
        if doc["allowed"] != (verdict == "allowed") or (doc["answer"] == "hidden") != (verdict == "hidden") or \
                (doc["answer"] == "yes") != doc["allowed"] or (doc["why"] is None) != (doc["level"] in ("none", "anybody")):
            wrong.append((who, name, action, verdict, doc))
    assert wrong == [], wrong[:10]


def test_the_deciding_row(world):
    def said(who, name, action):
        doc = explain(world, who, name, action).json()
        return doc["answer"], doc["why"], doc["level"], doc["needs"]["level"], doc["needs"]["scope"]
    assert said("boss", "acme/private", "push") == ("yes", "owner of the organization", "owner", "write", "write")
    assert said("editor", "acme/private", "remove") == ("yes", "editor of the organization", "admin", "admin", "admin")
    assert said("reader", "acme/private", "push") == ("no", "team grant", "read", "write", "write")
    assert said("friend", "mine/private", "push") == ("yes", "collaborator", "write", "write", "write")
    assert said("boss", "acme/private-archived", "push") == ("archived", "owner of the organization", "owner", "write", "write")
    assert said("audrey", "acme/private", "delete") == ("auditor", "auditor", "read", "admin", "delete")
    assert said("stranger", "acme/public", "push") == ("no", "public repository", "read", "write", "write")
    assert said("stranger", "acme/private", "pull") == ("hidden", None, "none", "read", "read")
    assert said("globex", "acme/public", "pull")[:2] == ("yes", "public repository")
    assert said("acme", "acme/private", "grants")[:3] == ("yes", "the organization's token", "owner")


def test_who_may_ask(world):
    """Administrators and auditors about all, owners of the namespace about their repositories, everybody about himself."""
    may = {"boss": ("acme",), "mine": ("mine",), "audrey": ("acme", "mine"), "admin": ("acme", "mine")}
    for caller, (space, about) in itertools.product(PEOPLE + ("admin",), (("acme", "member"), ("mine", "friend"))):
        if caller == about:
            continue
        for repo in ("private", "public"):
            a = explain(world, about, "%s/%s" % (space, repo), "push", world.logins[caller])
            seen = repo == "public" or world.model.decide(world.facts, world.logins[caller].cred, space + "/private", "pull") == "allowed"
            assert a.status == (200 if space in may.get(caller, ()) else 403 if seen else 404), (caller, space, repo, a)
    assert explain(world, "member", "acme/private", "push", world.add_token("boss", [("acme/*", "admin")], "acme")).status == 200
    assert explain(world, "member", "acme/public", "pull", world.anonymous).status == 401
    assert explain(world, "", "acme/private", "pull", world.logins["stranger"]).json()["answer"] == "hidden"


def test_a_token_tells_what_it_may_itself(world):
    """About its owner: cut by its bounds. About others: as far as it reaches with admin."""
    low, high = world.add_token("boss", [("*", "public-read")]), world.add_token("boss", [("acme/*", "admin")])
    assert explain(world, "boss", "acme/private", "pull", low).json()["answer"] == "hidden"
    assert explain(world, "boss", "acme/public", "pull", low).json()["allowed"]
    assert explain(world, "boss", "acme/public", "push", low).json()["answer"] == "token"
    assert explain(world, "member", "acme/private", "pull", high).status == 200
    for scope in ("read", "write", "delete"):
        assert explain(world, "member", "acme/private", "pull", world.add_token("boss", [("acme/*", scope)])).status == 403, scope
    assert explain(world, "member", "acme/private", "pull", low).status == 404
    assert explain(world, "member", "acme/public", "pull", low).status == 403


def test_what_is_wrong(world):
    for who, name, action, status in (("boss", "acme/private", "fly", 400), ("boss", "acme//x", "pull", 400), ("Boss", "acme/private", "pull", 400),
                                      ("nobody-at-all", "acme/private", "pull", 404), ("boss", "acme/absent", "pull", 404)):
        assert explain(world, who, name, action).status == status, (who, name, action)
    world.set_state("friend", "disabled")
    assert explain(world, "friend", "mine/private", "pull").status == 404
    world.set_state("friend", "active")


def test_permissions_md_is_as_the_tables_are(world):
    a = world.api("GET", "access/rights", None, world.anonymous)
    made = subprocess.run([ROOT + "/tools/make-permissions"], input=a.body, stdout=subprocess.PIPE, check=True).stdout
    with open(os.path.join(ROOT, "docs/permissions.md"), "rb") as f:
        assert f.read() == made, "curl -s HUB/api/v1/access/rights | tools/make-permissions >docs/permissions.md"
