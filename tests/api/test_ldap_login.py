"""People of a directory log in (Debian's slapd): docker's way and the API's, with accounts made when they come and teams by groups."""
import shutil
import subprocess
import tempfile
import threading
import time

import pytest

from api import Api
from berth import Hub, free_port
from issuer import certificate
from registry import Client, basic

BASE = "dc=berth,dc=test"
SERVICE, SECRET = "cn=service," + BASE, "the-service-password-17"
CONF = """include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {dir}/slapd.pid
disallow bind_anon
TLSCertificateFile {cert}
TLSCertificateKeyFile {cert}
database mdb
suffix "{base}"
directory {dir}/db
maxsize 16777216
rootdn "cn=root,{base}"
rootpw root-password-17
index objectClass,uid,member eq
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="{service}" read by * none
"""
PEOPLE = ("jane", "Jürgen", "root", "admin", "acme", "J.Doe@corp.test", "x")


def person(uid):
    return ("dn: uid={0},{1}\nobjectClass: inetOrgPerson\nuid: {0}\ncn: Person {0}\nsn: {0}\nmail: p@berth.test\n"
            "userPassword: ldap-pw-{0}\n").format(uid, BASE)


def group(name, *members):
    return "dn: cn=%s,%s\nobjectClass: groupOfNames\ncn: %s\n%s" % (name, BASE, name, "".join("member: uid=%s,%s\n" % (m, BASE) for m in members))


class Directory:
    def __init__(self, folder):
        self.ca, self.cert = certificate(folder, "127.0.0.1")
        self.port = free_port()
        subprocess.run(["mkdir", folder + "/db"], check=True)
        with open(folder + "/slapd.conf", "w") as f:
            f.write(CONF.format(dir=folder, cert=self.cert, base=BASE, service=SERVICE))
        ldif = ["dn: %s\nobjectClass: dcObject\nobjectClass: organization\ndc: berth\no: Berth\n" % BASE,
                "dn: %s\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: service\nuserPassword: %s\n" % (SERVICE, SECRET)]
        ldif += [person(p) for p in PEOPLE] + [group("devs", "jane", "x"), group("ops", "jane")]
        subprocess.run(["slapadd", "-q", "-f", folder + "/slapd.conf"], input="\n".join(ldif).encode(), check=True, stdout=subprocess.DEVNULL)
        self.folder, self.url = folder, "ldaps://127.0.0.1:%d" % self.port
        self.start()

    def start(self):
        self.log = open(self.folder + "/log", "w+")
        self.proc = subprocess.Popen(["slapd", "-d", "stats", "-f", self.folder + "/slapd.conf", "-h", self.url], stdout=subprocess.DEVNULL,
                                     stderr=self.log)
        Hub.until(lambda: "slapd starting" in self.said(), "slapd")

    def said(self):
        with open(self.log.name) as f:
            return f.read()

    def modify(self, text):
        subprocess.run(["ldapmodify", "-x", "-H", self.url, "-D", "cn=root," + BASE, "-w", "root-password-17"], input=text.encode(), check=True,
                       stdout=subprocess.DEVNULL, env={"LDAPTLS_CACERT": self.ca, "PATH": "/usr/bin"})

    def stop(self):
        self.proc.terminate()
        self.proc.wait(60)


@pytest.fixture(scope="module")
def world(db):
    folder = tempfile.mkdtemp(prefix="berth-ldap-")
    d = Directory(folder)
    env = {"BERTH_MAX_LOGINS_PER_ADDRESS": "0", "BERTH_MIN_FREE": "0", "BERTH_EGRESS_CA": d.ca, "BERTH_LDAP_URL": d.url, "BERTH_LDAP_BASE": BASE,
           "BERTH_LDAP_BIND_DN": SERVICE, "BERTH_LDAP_BIND_PASSWORD": SECRET, "BERTH_LDAP_GROUPS": "search", "BERTH_LDAP_GROUP_BASE": BASE}
    with Hub(db, env=env) as hub:
        hub.secrets.add(SECRET)
        hub.directory = d
        hub.api = Api(hub, "admin", hub.admin_password)
        hub.api.post("/orgs", {"name": "acme"}, status=201)
        yield hub
        hub.api.close()
    d.stop()
    shutil.rmtree(folder, ignore_errors=True)


def login(hub, user, password=None, status=200):
    password = "ldap-pw-" + user if password is None else password
    if len(password) > 8:
        hub.secrets.add(password)
    api = Api(hub)
    a = api.post("/login", {"username": user, "password": password})
    api.close()
    assert a.status == status, (user, a)
    return a


def me(hub, user):
    api = Api(hub, token=login(hub, user).data["token"])
    doc = api.get("/me", status=200).data
    api.close()
    return doc


def test_an_account_is_made_when_somebody_comes(world):
    a = login(world, "jane")
    doc = me(world, "jane")
    assert (doc["name"], doc["full_name"], doc["email"], doc["site_role"]) == ("jane", "Person jane", "p@berth.test", "none"), doc
    assert me(world, "jane")["name"] == "jane"
    c = Client(world, "jane", "ldap-pw-jane", "bearer")  # docker
    c.push_image("jane/app", "1")
    assert c.get("/v2/jane/app/manifests/1").status == 200
    c.close()
    expires = time.mktime(time.strptime(a.data["expires_at"][:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
    assert expires - time.time() <= 301                   # a directory does not tell when somebody leaves
    Api(world, "jane", "ldap-pw-jane").put("/me/password", {"old_password": "ldap-pw-jane", "password": "one-of-here-4711"}, status=409)
    token = Api(world, "jane", "ldap-pw-jane").post("/tokens", {"name": "ci"}, status=201).data["token"]
    world.secrets.add(token)
    assert Client(world, "jane", token).get("/v2/").status == 200


def test_names(world):
    """By the rule that is written in ident/outsider.c; an account of here is nobody's of the directory."""
    assert me(world, "J.Doe@corp.test")["name"] == "j-doe"
    assert me(world, "Jürgen")["name"] == "j-rgen"
    assert me(world, "x")["name"] == "user-x"
    assert me(world, "acme")["name"] == "acme-2"         # an organization has that name
    assert me(world, "acme")["name"] == "acme-2"
    login(world, "acme", "ldap-pw-jane", status=401)


def test_a_password_here_comes_first(world):
    """The directory's admin is not ours: neither by his password, nor is he asked about."""
    world.add_user("root", "a-local-password-18")
    for user, right in (("admin", world.admin_password), ("root", "a-local-password-18")):
        login(world, user, "ldap-pw-" + user, status=401)
        login(world, user, right)
    said = world.directory.said()
    assert 'uid=admin' not in said and 'uid=root' not in said, said[-2000:]


def test_refusals_are_alike(world):
    """Unknown here and there, wrong here, wrong there, empty: the same bytes, and each asks the directory."""
    def one(user, password):
        c = Client(world)
        a = c.request("GET", "/v2/", [("Authorization", basic(user, password))])
        c.close()
        return a
    answers = [one(*x) for x in (("nobody", "wrong-password"), ("jane", "wrong-password"), ("admin", "wrong-password"), ("jane", "ldap-pw-x"),
                                 ("*", "ldap-pw-jane"), ("jane", "x\0y"), ("jane)(uid=*", "ldap-pw-jane"), ("no.body@corp", "wrong"))]
    assert {a.status for a in answers} == {401}
    assert len({a.comparable() for a in answers}) == 1, answers
    before = world.directory.said().count("ACCEPT")
    one("admin", "wrong-again-1"), one("nobody", "wrong-again-1")
    assert world.directory.said().count("ACCEPT") == before + 2
    before = world.directory.said().count("ACCEPT")
    one("jane", "")                                       # a bind without a password says yes to everybody
    assert one("jane", "").status == 401


def test_groups_are_teams(world):
    api = world.api
    for team in ("devs", "ops", "local"):
        api.post("/orgs/acme/teams", {"name": team}, status=201)
    path = "/orgs/acme/teams/%s/groups"
    devs = api.post(path % "devs", {"provider": "ldap", "group": "devs"}, status=201).data
    api.post(path % "devs", {"provider": "ldap", "group": "devs"}, status=409)
    api.post(path % "devs", {"provider": "saml", "group": "devs"}, status=400)
    ops = api.post(path % "ops", {"provider": "ldap", "group": "ops"}, status=201).data
    assert api.all(path % "devs") == [devs]

    def again(user, account):
        """A login that is five minutes old, or younger than a change of the account, is not remembered."""
        api.patch("/users/" + account, {"full_name": "Another"}, status=200)
        login(world, user)

    def members(team):
        return [m["user"] for m in api.all("/orgs/acme/teams/%s/members" % team)]
    assert members("devs") == []
    again("jane", "jane")
    assert members("devs") == members("ops") == ["jane"]
    assert {"user": "jane", "role": "member"}.items() <= api.get("/orgs/acme/members").data["items"][1].items()
    api.put("/orgs/acme/teams/local/members/jane", status=204)
    world.directory.modify("dn: cn=ops,%s\nchangetype: modify\nreplace: member\nmember: uid=x,%s\n" % (BASE, BASE))
    again("jane", "jane")
    assert (members("devs"), members("ops"), members("local")) == (["jane"], [], ["jane"])
    api.delete(path % "devs" + "/%d" % devs["id"], status=204)
    api.delete(path % "ops" + "/%d" % devs["id"], status=404)
    again("jane", "jane")
    assert members("devs") == [] and "jane" not in [m["user"] for m in api.all("/orgs/acme/members")]
    again("x", "user-x")
    assert members("ops") == ["user-x"]
    api.delete(path % "ops" + "/%d" % ops["id"], status=204)


def test_disabled_here(world):
    login(world, "J.Doe@corp.test")
    world.api.patch("/users/j-doe", {"state": "disabled"}, status=200)
    login(world, "J.Doe@corp.test", status=401)
    world.api.delete("/users/j-doe", status=204)
    login(world, "J.Doe@corp.test", status=401)           # the identity is not given another account


def test_two_come_at_once(world):
    world.directory.modify(person("twin").replace("objectClass", "changetype: add\nobjectClass", 1))
    world.secrets.add("ldap-pw-twin")
    seen = []

    def come():
        c = Client(world)
        seen.append(c.request("GET", "/v2/", [("Authorization", basic("twin", "ldap-pw-twin"))]).status)
        c.close()
    threads = [threading.Thread(target=come) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)
    assert seen == [200] * 4
    assert [u["name"] for u in world.api.all("/users") if u["name"].startswith("twin")] == ["twin"]


def test_the_test_says_what_is_wrong(world):
    a = world.api.post("/ldap/test", {"username": "jane", "password": "ldap-pw-jane"}, status=200).data
    assert a["ok"] and a["steps"] and a["groups"] == ["devs"] and a["error"] is None, a
    a = world.api.post("/ldap/test", {"username": "jane"}, status=200).data
    assert a["ok"], a
    a = world.api.post("/ldap/test", {"username": "nobody"}, status=200).data
    assert not a["ok"] and a["error"] and a["steps"], a
    assert SECRET not in str(a)
    jane = Api(world, "jane", "ldap-pw-jane")
    jane.post("/ldap/test", {"username": "jane"}, status=403)
    jane.close()


def test_without_the_directory(world):
    """Who has a password here gets in; the others hear that it is not their fault. What was verified still is, for five minutes."""
    world.directory.stop()
    login(world, "admin", world.admin_password)
    login(world, "jane", "wrong-or-right-17", status=503)
    login(world, "root", "wrong-or-right-17", status=503)
    assert world.wait_log(lambda r: r["msg"] == "the directory cannot log anybody in")
    assert not world.api.post("/ldap/test", {"username": "jane"}, status=200).data["ok"]
    world.directory.start()
    login(world, "jane")
