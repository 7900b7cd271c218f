"""The model of rights by itself: its tables are whole, consistent, and no cell of them is idle."""
import copy
import itertools

import pytest
from rights import (ANONYMOUS, LEVELS, ORDER, SCOPES, Credential, Facts, Model, Org, Repository, User, best_scope, covers,
                    load)

RANK = {"hidden": 0, "forbidden": 1, "allowed": 2}
NONE_TO_ADMIN = SCOPES[1:]


# --- one small world with every role in it
def world():
    f = Facts()
    people = "owner editor member tread twrite tadmin gone self cread cwrite stranger"
    f.users = {name: User() for name in people.split()}
    f.users.update(root=User("admin"), audrey=User("auditor"), off=User(state="disabled"))
    f.orgs["acme"] = Org("none", dict(owner="owner", editor="editor", member="member", tread="member", twrite="member",
                                      tadmin="member", off="owner"), {"gone"},
                         {"r": {"tread"}, "w": {"twrite"}, "a": {"tadmin"}})
    f.orgs["readers"] = Org("read", {"member": "member"})
    f.orgs["writers"] = Org("write", {"member": "member"})
    f.orgs["globex"] = Org("none", {"stranger": "owner"})
    for space, visibility, archived in itertools.product(("acme", "readers", "writers", "self", "audrey"), ("public", "private"), (False, True)):
        repo = Repository(visibility, archived)
        if space == "acme":
            repo.teams = {"r": "read", "w": "write", "a": "admin"}
        if space == "self":
            repo.collaborators = {"cread": "read", "cwrite": "write"}
        f.repositories["%s/%s%s" % (space, visibility, "-archived" if archived else "")] = repo
    return f


WORLD, MODEL = world(), Model()
LOGINS = [ANONYMOUS] + [Credential("login", name) for name in sorted(WORLD.users)]
PATTERNS = ("*", "acme/*", "acme/private", "acme/pri*", "self/*", "globex/*")


def tokens(owners, patterns=PATTERNS):
    return [Credential("token", o, ((p, s),)) for o in owners for p in patterns for s in NONE_TO_ADMIN]


TOKENS = tokens(("owner", "twrite", "self", "root", "acme", "member"))


def repository_answers(model, creds=None, actions=None):
    return {(c, n, a): model.decide(WORLD, c, n, a) for c in creds or LOGINS + tokens(("owner", "self"), ("*", "acme/p*"))
            for n in WORLD.repositories for a in actions or model.t["actions"]}


def account_answers(model, creds, actions):
    return {(c, a, o): model.decide_account(WORLD, c, a, o, "%s/new" % o if o else None) for c in creds for a in actions
            for o in abouts(model, a)}


def abouts(model, action):
    """What an action may be about: its own kind of object, and one that does not exist."""
    return {"site": (None,), "org": ("acme", "globex", "absent"), "user": ("self", "owner", "audrey", "root"),
            "namespace": ("acme", "self", "audrey", "globex")}[model.t["account"][action]["on"]]


# --- the tables are whole
def test_tables_have_all_rows_and_known_cells():
    t = load()
    assert set(t) == {"roles", "ceilings", "policies", "actions", "scopes", "account", "token-limit", "answers"}
    assert all(row[v] in LEVELS for row in t["roles"].values() for v in ("public", "private"))
    assert all(row[s] in LEVELS + ["never"] for row in t["actions"].values() for s in ("live", "archived"))
    assert set(t["scopes"]) == set(t["actions"]) and all(list(row) == SCOPES for row in t["scopes"].values())
    assert all(cell in ("yes", "no", "public") for row in t["scopes"].values() for cell in row.values())
    for row in t["account"].values():
        assert row["on"] in ("site", "org", "user", "namespace")
        assert row["token"] in ("never", "any", "?", "all admin", "account read", "account admin", "write")
        assert all(row[c] in ORDER + ["login", "?"] for c in row if c not in ("on", "token", "why"))


def test_every_role_occurs_in_the_world():
    met = set().union(*(MODEL.roles(WORLD, c, n) for c in LOGINS + TOKENS for n in WORLD.repositories))
    assert met == set(MODEL.t["roles"])


# --- no cell is idle
def changed(table, row, column, value):
    m = Model(copy.deepcopy(MODEL.t))
    m.t[table][row][column] = value
    return m


def masked(row, column, old, new):
    """A cell of "roles" below what everybody has anyway, or above the ceiling of its role, decides nothing."""
    floor = MODEL.t["roles"]["user"][column] if row not in ("anonymous", "user", "organization") else "none"
    top = MODEL.t["ceilings"].get(row, {"level": "admin"})["level"]
    clip = lambda v: min(max(v, floor, key=LEVELS.index), top, key=LEVELS.index)  # noqa: E731
    return clip(old) == clip(new)


def flips(table, columns, values):
    for row, cells in MODEL.t[table].items():
        for column in columns:
            for new in values:
                if new != cells[column]:
                    yield row, column, cells[column], new


def test_each_flip_of_a_role_shows():
    before, idle, n = repository_answers(MODEL, LOGINS + tokens(("acme",), ("*",))), [], 0
    for row, column, old, new in flips("roles", ("public", "private"), LEVELS):
        after = repository_answers(changed("roles", row, column, new), LOGINS + tokens(("acme",), ("*",)))
        n += 1
        if (after == before) != masked(row, column, old, new):
            idle.append((row, column, old, new))
    assert n > 60 and idle == []


def test_each_flip_of_a_ceiling_shows():
    before = repository_answers(MODEL, LOGINS)
    assert all(repository_answers(changed("ceilings", *flip), LOGINS) != before
               for flip in (("auditor", "level", "none"), ("auditor", "level", "write"), ("auditor", "level", "admin")))


def strict(**policy):
    """The world with an organization that does not take every token."""
    f = copy.deepcopy(WORLD)
    for key, value in policy.items():
        setattr(f.orgs["acme"], key, value)
    return f


def test_each_flip_of_a_policy_shows():
    year, week = (Credential("token", "owner", (("*", "admin"),), days=d) for d in (365, 7))
    for policy, facts in (("personal-tokens-off", strict(personal_tokens=False)), ("lives-too-long", strict(token_max_days=30))):
        assert MODEL.decide(facts, year, "acme/private", "pull") == "hidden"
        assert MODEL.decide(facts, year, "acme/public", "pull") == "allowed"
        assert MODEL.decide_account(facts, year, "read-org", "acme") == "hidden"
        assert MODEL.decide(facts, Credential("login", "owner"), "acme/private", "push") == "allowed"
        assert MODEL.decide(facts, Credential("token", "acme", (("*", "admin"),), days=365), "acme/private", "push") == "allowed"
        assert changed("policies", policy, "membership", "yes").decide(facts, year, "acme/private", "pull") == "allowed"
    assert MODEL.decide(strict(token_max_days=30), week, "acme/private", "push") == "allowed"
    assert MODEL.decide(strict(token_max_days=30), Credential("token", "owner", (("*", "admin"),), days=0), "acme/private", "push") == "hidden"


def test_each_flip_of_an_action_shows():
    idle = []
    for row, column, old, new in flips("actions", ("live", "archived"), LEVELS + ["never"]):
        if {old, new} == {"none", "read"}:  # who may not read is told nothing anyway
            continue
        if repository_answers(changed("actions", row, column, new), LOGINS) == repository_answers(MODEL, LOGINS):
            idle.append((row, column, old, new))
    assert idle == []


def test_each_flip_of_a_scope_shows():
    creds, idle = tokens(("owner", "self"), ("*", "globex/*")), []
    before = repository_answers(MODEL, creds)
    for row, column, old, new in flips("scopes", SCOPES, ("yes", "no", "public")):
        pull = MODEL.t["scopes"]["pull"][column]
        if pull == "no" or (pull == "public" and {old, new} == {"public", "yes"}):
            if row != "pull":  # what cannot be pulled is hidden, so no action on it is told apart
                continue
        if repository_answers(changed("scopes", row, column, new), creds) == before:
            idle.append((row, column, old, new))
    assert idle == []


def test_each_flip_of_an_account_action_shows():
    creds, idle, n = LOGINS + TOKENS, [], 0
    roles = [c for c in MODEL.t["account"]["read-me"] if c not in ("on", "token", "why")]
    for row, column, old, new in flips("account", roles, ORDER):
        if "?" in (old, new) or old == "login" or idle_account(row, column, old, new):
            continue
        n += 1
        if account_answers(changed("account", row, column, new), creds, [row]) == account_answers(MODEL, creds, [row]):
            idle.append((row, column, old, new))
    assert n > 250 and idle == []


def idle_account(row, column, old, new):
    """Cells that cannot decide: below what the column "user" gives anyway; roles that an object of this kind does not
    have; an organization's token where no token passes; hidden where the organization itself is hidden."""
    cells, on = MODEL.t["account"][row], MODEL.t["account"][row]["on"]
    if column in {"site": ("self", "member", "editor", "owner", "auditor-self"), "user": ("member", "editor", "owner"),
                  "org": ("self", "auditor-self"), "namespace": ()}[on]:
        return True
    if column == "organization" and (cells["token"] in ("never", "?") or on == "user" or (on == "site" and "?" in cells.values())):
        return True
    if column not in ("user", "auditor", "auditor-self", "organization") and cells["user"] not in ("hidden", "?"):
        top = lambda v: max(v, cells["user"], key=ORDER.index)  # noqa: E731
        return top(old) == top(new)
    if row == "read-org":
        return {old, new} == {"no", "hidden"}  # whether an organization is seen is this row itself
    if on == "org" and column == "user":
        return {old, new} == {"no", "hidden"} or row in SEEN_WITH_THE_ORG
    return False


SEEN_WITH_THE_ORG = ("read-members", "read-teams")  # by whoever sees the organization: its row decides


def test_each_flip_of_a_token_need_shows():
    idle = []
    for row, column, old, new in flips("account", ("token",), ("never", "any", "all admin", "account read", "account admin", "write")):
        cells = MODEL.t["account"][row]
        if (cells["on"] == "site" and new.startswith("account")) or (cells["on"] != "namespace" and new == "write"):
            continue  # there is nothing that it could name
        if row in SEEN_WITH_THE_ORG and new == "any":
            continue
        if account_answers(changed("account", row, column, new), TOKENS, [row]) == account_answers(MODEL, TOKENS, [row]):
            idle.append((row, old, new))
    assert idle == []


# --- the tables agree with themselves
def test_higher_levels_never_lose():
    for a in MODEL.t["actions"]:
        for role, below in (("org-owner", "member-write"), ("member-write", "member-read"), ("member-read", "member-none"),
                            ("team-admin", "team-write"), ("team-write", "team-read"), ("collaborator-write", "collaborator-read"),
                            ("org-owner", "org-editor"), ("org-editor", "team-admin"), ("user", "anonymous"), ("site-admin", "org-owner"),
                            ("member-none", "former-member"), ("auditor", "user")):
            for v in ("public", "private"):
                high, low = MODEL.t["roles"][role][v], MODEL.t["roles"][below][v]
                assert LEVELS.index(high) >= LEVELS.index(low), (role, below, v)
    for row in MODEL.t["account"].values():
        ladder = [row[c] for c in ("member", "editor", "owner", "site-admin") if row[c] != "?"]
        assert ladder == sorted(ladder, key=ORDER.index), row


def test_private_never_gives_more_than_public():
    for cells in MODEL.t["roles"].values():
        assert LEVELS.index(cells["private"]) <= LEVELS.index(cells["public"])


def test_archived_never_gives_more_than_live():
    answers = repository_answers(MODEL, LOGINS + TOKENS)
    for (c, name, a), verdict in answers.items():
        if name.endswith("-archived") and verdict != "unauthenticated":
            assert RANK[verdict] <= RANK[answers[c, name[:-len("-archived")], a]], (c, name, a)


def test_a_higher_scope_never_loses():
    for owner, pattern in itertools.product(("owner", "twrite", "self", "root", "acme"), PATTERNS):
        for name, action in itertools.product(WORLD.repositories, MODEL.t["actions"]):
            got = [RANK[MODEL.decide(WORLD, Credential("token", owner, ((pattern, s),)), name, action)] for s in NONE_TO_ADMIN]
            assert got == sorted(got), (owner, pattern, name, action, got)


def test_a_wider_pattern_never_loses():
    for owner, scope in itertools.product(("owner", "self", "root"), NONE_TO_ADMIN):
        for name, action in itertools.product(WORLD.repositories, MODEL.t["actions"]):
            got = [RANK[MODEL.decide(WORLD, Credential("token", owner, ((p, scope),)), name, action)]
                   for p in ("acme/private", "acme/pri*", "acme/*", "*")]
            assert got == sorted(got), (owner, scope, name, action, got)


def test_another_bound_never_takes_away():
    two = Credential("token", "owner", (("*", "public-read"), ("acme/private", "write")))
    for name, action in itertools.product(WORLD.repositories, MODEL.t["actions"]):
        for bound in two.bounds:
            one = MODEL.decide(WORLD, Credential("token", "owner", (bound,)), name, action)
            assert RANK[MODEL.decide(WORLD, two, name, action)] >= RANK[one]
    assert MODEL.decide(WORLD, two, "acme/private", "push") == "allowed"


def test_a_token_never_exceeds_its_owner():
    for c in TOKENS:
        login = Credential("login", c.owner)
        for name, action in itertools.product(WORLD.repositories, MODEL.t["actions"]):
            assert RANK[MODEL.decide(WORLD, c, name, action)] <= RANK[MODEL.decide(WORLD, login, name, action)]
        for action in MODEL.t["account"]:
            for about in abouts(MODEL, action):
                mine = MODEL.decide_account(WORLD, c, action, about, "%s/new" % about)
                assert mine != "allowed" or MODEL.decide_account(WORLD, login, action, about, "%s/new" % about) in ("allowed", None)


def test_an_auditor_changes_nothing_but_his_own_account():
    audrey, reads = Credential("login", "audrey"), ("pull", "list-tags", "read-settings")
    for name, action in itertools.product(WORLD.repositories, MODEL.t["actions"]):
        assert MODEL.decide(WORLD, audrey, name, action) == ("allowed" if action in reads else "forbidden")
    for action in MODEL.t["account"]:
        for about in abouts(MODEL, action):
            if MODEL.decide_account(WORLD, audrey, action, about, "%s/new" % about) == "allowed":
                assert action.startswith("read-") or action == "list-users" or action == "create-token" or about == "audrey"
    assert MODEL.scope_limit(WORLD, "audrey") == "read"


def test_who_has_no_state_has_no_rights():
    for c in (Credential("login", "off"), Credential("token", "off", (("*", "admin"),)), Credential("token", "owner", (("*", "admin"),), True)):
        assert {MODEL.decide(WORLD, c, n, "pull") for n in WORLD.repositories} == {"unauthenticated"}
        assert {MODEL.decide_account(WORLD, c, a, "acme") for a in MODEL.t["account"]} == {"unauthenticated"}


def test_never_by_any_token():
    """What the documents forbid to tokens, spelled out once more."""
    never = ("create-user change-user remove-user change-password create-org delete-org read-tokens create-token read-org-tokens "
             "change-org-tokens read-member-tokens change-member-tokens").split()
    for c, action in itertools.product(TOKENS, never):
        assert {MODEL.decide_account(WORLD, c, action, o) for o in abouts(MODEL, action)} == {"credential"}
    assert sorted(never) == sorted(a for a, row in MODEL.t["account"].items() if row["token"] == "never")


@pytest.mark.parametrize("who, name, action, verdict", [
    ("gone", "acme/private", "pull", "hidden"), ("gone", "acme/public", "push", "forbidden"), ("member", "acme/private", "pull", "hidden"),
    ("twrite", "acme/private", "push", "allowed"), ("twrite", "acme/private", "delete-content", "forbidden"),
    ("twrite", "acme/private-archived", "push", "forbidden"), ("tadmin", "acme/private", "delete-repository", "allowed"),
    ("owner", "acme/private-archived", "delete-repository", "forbidden"), ("owner", "acme/private-archived", "unarchive", "allowed"),
    ("cwrite", "self/private", "push", "allowed"), ("cwrite", "self/private", "change-grants", "forbidden"),
    ("root", "self/private", "change-grants", "allowed"), ("stranger", "self/private", "push", "hidden"),
    ("audrey", "audrey/private", "push", "forbidden"), ("owner", "acme/absent", "pull", "hidden")])
def test_examples(who, name, action, verdict):
    assert MODEL.decide(WORLD, Credential("login", who), name, action) == verdict


@pytest.mark.parametrize("pattern, name, want", [
    ("*", "a/b", True), ("a/*", "a/b", True), ("a/*", "a/b/c", True), ("a/*", "ab/c", False), ("a/b", "a/b", True), ("a/b", "a/bc", False),
    ("a/b*", "a/bc", True), ("a/b*", "a/b/c", True), ("a/b*", "a/c", False)])
def test_patterns(pattern, name, want):
    assert covers(pattern, name) is want
    assert best_scope([(pattern, "read")], lambda p: covers(p, name)) == ("read" if want else "none")


def test_answers_over_http():
    login, anon = Credential("login", "x"), ANONYMOUS
    assert MODEL.right_answer("hidden", "api", login, 404) and not MODEL.right_answer("hidden", "api", login, 403)
    assert MODEL.right_answer("hidden", "registry", anon, 401) and not MODEL.right_answer("hidden", "registry", anon, 404)
    assert MODEL.right_answer("hidden", "registry", login, 403, push=True)
    assert MODEL.right_answer("allowed", "api", login, 204) and not MODEL.right_answer("allowed", "api", login, 304)
