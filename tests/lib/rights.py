"""Who may do what: the independent model. It knows tests/model/rights.csv and nothing of the program.

Facts is the state of a hub as far as rights depend on it; Model decides on it. A verdict is one of
  allowed, forbidden (visible but refused), hidden (as if absent), credential (never by a token),
  unauthenticated (the credential is worth nothing), or None where the documents leave the answer open.
"""
import csv
import os
from dataclasses import dataclass, field

TABLES = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "model", "rights.csv")
LEVELS = ["none", "read", "write", "admin"]
SCOPES = ["none", "public-read", "read", "write", "delete", "admin"]
ORDER = ["hidden", "no", "yes"]  # of cells of the account table


# --- the tables
def load(path=TABLES):
    """{table: {first cell of a row: {column: cell}}}"""
    tables, head = {}, None
    with open(path, newline="") as f:
        for row in csv.reader(line for line in f if line.strip() and not line.startswith("#")):
            if row[0] == "table":
                table, head = tables.setdefault(row[1], {}), None
            elif head is None:
                head = row
            else:
                assert len(row) == len(head), row
                assert row[0] not in table, "twice: %s" % row[0]
                table[row[0]] = dict(zip(head[1:], row[1:]))
    return tables


# --- the facts
@dataclass(frozen=True)
class Credential:
    """kind: none, login (password or what a login gave), token. owner: the account that it acts for (None: nobody).
    bounds: ((pattern, scope), ...) of a token; days: its whole life, 0 for ever. What derives from a credential is the same as it."""
    kind: str
    owner: str = None
    bounds: tuple = ()
    dead: bool = False
    days: int = 90


ANONYMOUS = Credential("none")


@dataclass
class User:
    site_role: str = "none"
    state: str = "active"


@dataclass
class Org:
    default_access: str = "none"
    members: dict = field(default_factory=dict)  # user -> member, editor, owner
    former: set = field(default_factory=set)
    teams: dict = field(default_factory=dict)  # team -> set of users
    personal_tokens: bool = True
    token_max_days: int = 0


@dataclass
class Repository:
    visibility: str = "private"
    archived: bool = False
    teams: dict = field(default_factory=dict)  # team -> level
    collaborators: dict = field(default_factory=dict)  # user -> level


@dataclass
class Facts:
    users: dict = field(default_factory=dict)
    orgs: dict = field(default_factory=dict)
    repositories: dict = field(default_factory=dict)  # "namespace/name" -> Repository


def covers(pattern, name):
    """Patterns of a bound: * | NS/* | NS/prefix* | NS/name. A star stands for the rest, slashes included."""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern


def best_scope(bounds, test):
    return max([scope for pattern, scope in bounds if test(pattern)], key=SCOPES.index, default="none")


# --- the decision
class Model:
    def __init__(self, tables=None):
        self.t = tables or load()

    def takes(self, org, cred):
        """Whether the organization takes this credential of a member; one of its own it always does."""
        if cred.kind != "token":
            return True
        broken = {"personal-tokens-off": not org.personal_tokens,
                  "lives-too-long": org.token_max_days > 0 and not 0 < cred.days <= org.token_max_days}
        return all(self.t["policies"][policy]["membership"] == "yes" for policy, is_so in broken.items() if is_so)

    def roles(self, facts, cred, name):
        """Rows of the table "roles" that apply to whom a credential speaks for, on the repository."""
        who = cred.owner
        if who is None:
            return {"anonymous"}
        space, repo = name.split("/")[0], facts.repositories[name]
        if who in facts.orgs:  # by its token
            return {"organization"} if who == space else {"user"}
        out, user = {"user"}, facts.users[who]
        out |= {"none": set(), "auditor": {"auditor"}, "admin": {"site-admin"}}[user.site_role]
        if who == space:
            out.add("namespace-owner")
        if space in facts.orgs and self.takes(facts.orgs[space], cred):
            out |= self.org_roles(facts.orgs[space], who, repo)
        elif space in facts.users and who in repo.collaborators:
            out.add("collaborator-" + repo.collaborators[who])
        return out

    @staticmethod
    def org_roles(org, who, repo):
        if who not in org.members:
            return {"former-member"} if who in org.former else set()
        role = org.members[who]
        out = {"member-" + org.default_access if role == "member" else "org-" + role}
        return out | {"team-" + level for team, level in repo.teams.items() if who in org.teams.get(team, ())}

    def level(self, facts, cred, name):
        repo, roles = facts.repositories[name], self.roles(facts, cred, name)
        got = max((self.t["roles"][r][repo.visibility] for r in roles), key=LEVELS.index)
        caps = [self.t["ceilings"][r]["level"] for r in roles if r in self.t["ceilings"]]
        return min([got] + caps, key=LEVELS.index)

    def lends(self, cred, name, action, visibility):
        if cred.kind != "token":
            return True
        cell = self.t["scopes"][action][best_scope(cred.bounds, lambda p: covers(p, name))]
        return cell == "yes" or (cell == "public" and visibility == "public")

    def worthless(self, facts, cred):
        user = facts.users.get(cred.owner)
        return cred.dead or (cred.kind != "none" and user is not None and user.state != "active")

    def decide(self, facts, cred, name, action):
        """A verdict on an action on the repository "namespace/name"; one that is absent is hidden from all."""
        if self.worthless(facts, cred):
            return "unauthenticated"
        repo = facts.repositories.get(name)
        if repo is None:
            return "hidden"
        level = self.level(facts, cred, name)

        def enough(action):
            need = self.t["actions"][action]["archived" if repo.archived else "live"]
            return need != "never" and LEVELS.index(level) >= LEVELS.index(need) and \
                self.lends(cred, name, action, repo.visibility)
        if not enough("pull"):
            return "hidden"
        return "allowed" if enough(action) else "forbidden"

    # --- accounts and the site
    def columns(self, facts, cred, about):
        """Columns of the table "account" that apply; about: the org, user or namespace, None for the site."""
        who = cred.owner
        if who is None:
            return {"anonymous"}
        own = who == about
        if who in facts.orgs:
            return {"organization"} if own or about is None else {"user"}
        role = facts.users[who].site_role
        if role == "auditor":
            return {"auditor-self" if own else "auditor"}
        out = {"user"} | ({"self"} if own else set()) | ({"site-admin"} if role == "admin" else set())
        org = facts.orgs.get(about)
        return out | ({org.members[who]} if org and who in org.members and self.takes(org, cred) else set())

    def cell(self, facts, cred, about, action):
        cells = {self.t["account"][action][c] for c in self.columns(facts, cred, about)}
        if "yes" in cells:
            return "yes"
        return None if "?" in cells else "login" if "login" in cells else max(cells, key=ORDER.index)

    def bound_suffices(self, facts, cred, about, need, name=None):
        """None where the documents are silent."""
        if cred.kind != "token" or need == "any":
            return True
        if need == "?":
            return None
        what, scope = need.split(" ") if " " in need else ("name", need)
        test = {"all": lambda p: p == "*", "account": lambda p: p in ("*", "%s/*" % about),
                "name": lambda p: covers(p, name)}[what]
        return SCOPES.index(best_scope(cred.bounds, test)) >= SCOPES.index(scope)

    def decide_account(self, facts, cred, action, about=None, name=None):
        """about: the org, user or namespace concerned (None: the site); name: of the repository to be made."""
        if self.worthless(facts, cred):
            return "unauthenticated"
        row = self.t["account"][action]
        cell = self.cell(facts, cred, about, action)
        if cell == "login":
            return "unauthenticated"
        if cred.kind == "token" and row["token"] == "never":
            return "credential"
        if cell is None:
            return None
        if cell == "hidden" or (row["on"] == "org" and self.org_hidden(facts, cred, about)):
            return "hidden"
        enough = self.bound_suffices(facts, cred, about, row["token"], name)
        return None if enough is None else "allowed" if cell == "yes" and enough else "forbidden"

    def org_hidden(self, facts, cred, org):
        row = self.t["account"]["read-org"]
        return org not in facts.orgs or self.cell(facts, cred, org, "read-org") != "yes" or \
            not self.bound_suffices(facts, cred, org, row["token"])

    def scope_limit(self, facts, who):
        """The highest scope that a personal token of this user may have."""
        return self.t["token-limit"][facts.users[who].site_role]["scope"]

    # --- HTTP
    def right_answer(self, verdict, dialect, cred, status, push=False):
        """Whether the status says the verdict; dialect: registry or api; push: a write of content."""
        row = self.t["answers"]["hidden-push" if push and verdict == "hidden" else verdict]
        want = row[dialect + ("-anonymous" if cred.kind == "none" else "")]
        return any(str(status) == w or (w == "2xx" and 200 <= status < 300) for w in want.split("|"))
