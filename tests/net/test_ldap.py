"""LDAP logins against Debian's slapd: 10,000 users, groups in groups, a cycle."""
import os
import socket
import subprocess
import threading

import pytest
from conftest import Netcall, free_port, listening, wait_for

BASE = "dc=berth,dc=test"
SERVICE, SECRET = "cn=service," + BASE, "the-service-password-17"
USERS, DEEP, WIDE = 10000, 12, 700

CONF = """include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
pidfile {dir}/slapd.pid
sizelimit 100
disallow bind_anon
security simple_bind=128
TLSCACertificateFile {ca}
TLSCertificateFile {cert}
TLSCertificateKeyFile {key}
database mdb
suffix "{base}"
directory {dir}/db
maxsize 268435456
rootdn "cn=root,{base}"
index objectClass,uid,member,mail eq
limits dn.exact="{service}" size=100 size.prtotal=unlimited
access to attrs=userPassword by anonymous auth by * none
access to dn.exact="cn=secret,ou=groups,{base}" by * none
access to * by dn.exact="{service}" read by * none
overlay memberof
memberof-dangling ignore
"""


def person(uid, number, extra=""):
    return ("dn: uid={0},ou=people,{1}\nobjectClass: inetOrgPerson\nuid: {0}\ncn: Person {2}\nsn: {2}\nmail: {0}@berth.test\n"
            "userPassword: pw-{0}\n{3}\n").format(uid, BASE, number, extra)


def group(name, members):
    return "dn: cn=%s,ou=groups,%s\nobjectClass: groupOfNames\ncn: %s\n%s\n" % (
        name, BASE, name, "".join("member: %s\n" % m for m in members))


def user_dn(uid):
    return "uid=%s,ou=people,%s" % (uid, BASE)


def group_dn(name):
    return "cn=%s,ou=groups,%s" % (name, BASE)


def ldif():
    out = ["dn: %s\nobjectClass: dcObject\nobjectClass: organization\ndc: berth\no: Berth\n" % BASE,
           "dn: ou=people,%s\nobjectClass: organizationalUnit\nou: people\n" % BASE,
           "dn: ou=groups,%s\nobjectClass: organizationalUnit\nou: groups\n" % BASE,
           "dn: %s\nobjectClass: organizationalRole\nobjectClass: simpleSecurityObject\ncn: service\nuserPassword: %s\n"
           % (SERVICE, SECRET)]
    out += [person("user%05d" % i, i) for i in range(USERS)]
    out += [person("odd(*)user", 1), person("twice", 2).replace("\nuid: twice\n", "\nuid: twice\nuid: zweimal\n"), person("no-password", 3)
            .replace("userPassword: pw-no-password\n", "")]
    deep = ["deep%02d" % i for i in range(DEEP)]
    out += [group(deep[0], [user_dn("user00001")])]
    out += [group(deep[i], [group_dn(deep[i - 1])]) for i in range(1, DEEP)]
    # a -> b -> c -> a, the user is in a
    out += [group("cycle-a", [user_dn("user00002"), group_dn("cycle-c")]), group("cycle-b", [group_dn("cycle-a")]),
            group("cycle-c", [group_dn("cycle-b")]), group("self", [user_dn("user00002"), group_dn("self")])]
    out += [group("wide%03d" % i, [user_dn("user00003")]) for i in range(WIDE)]
    out += [group("everybody", [user_dn("user%05d" % i) for i in range(0, USERS, 10)])]
    out += [group("secret", [user_dn("user00001")])]
    # what the overlay would have written had the entries come over the wire
    member_of = {"user00004": ["m-one", "secret"], "user00005": []}
    out[4 + 4] = person("user00004", 4, "".join("memberOf: %s\n" % group_dn(g) for g in member_of["user00004"]))
    out += [group("m-one", [user_dn("user00004")]).rstrip("\n") + "\nmemberOf: %s\n" % group_dn("m-two"),
            group("m-two", [group_dn("m-one")]).rstrip("\n") + "\nmemberOf: %s\n" % group_dn("m-one")]
    return "\n".join(out)


class Directory:
    def __init__(self, folder, authority):
        os.makedirs(folder + "/db")
        cert, key = authority.issue("ldap.test")
        self.plain, self.tls = free_port(), free_port()
        with open(folder + "/slapd.conf", "w") as f:
            f.write(CONF.format(dir=folder, ca=authority.ca, cert=cert, key=key, base=BASE, service=SERVICE))
        with open(folder + "/all.ldif", "w") as f:
            f.write(ldif())
        done = subprocess.run(["slapadd", "-q", "-f", folder + "/slapd.conf", "-l", folder + "/all.ldif"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
        assert done.returncode == 0, done.stdout[-2000:]
        self.log = open(folder + "/log", "w+")
        urls = "ldap://127.0.0.1:%d/ ldaps://127.0.0.1:%d/" % (self.plain, self.tls)
        self.proc = subprocess.Popen(["slapd", "-d", "stats", "-f", folder + "/slapd.conf", "-h", urls],
                                     stdout=subprocess.DEVNULL, stderr=self.log)
        wait_for("slapd", lambda: listening(self.plain) and listening(self.tls))

    def said(self):
        self.log.flush()
        with open(self.log.name) as f:
            return f.read()

    def close(self):
        self.proc.terminate()
        self.proc.wait(60)


@pytest.fixture(scope="module")
def directory(folder, authority, resolver):
    d = Directory(folder + "/ldap", authority)
    d.starttls, d.ldaps = "ldap://ldap.test:%d" % d.plain, "ldaps://ldap.test:%d" % d.tls
    yield d
    d.close()


SEARCH, MEMBEROF = 2, 1
CONFIG = {"who": "operator", "bind_dn": SERVICE, "bind_password": SECRET, "user_base": "ou=people," + BASE,
          "user_filter": "(&(objectClass=inetOrgPerson)(uid={user}))", "group_base": "ou=groups," + BASE,
          "group_filter": "(&(objectClass=groupOfNames)(member={dn}))", "groups": SEARCH}


def login(call, servers, user, password=None, **over):
    args = dict(CONFIG, servers=[servers] if isinstance(servers, str) else servers, user=user,
                password="pw-" + user if password is None else password)
    args.update(over)
    return call("ldap", **args)


@pytest.mark.parametrize("how", ["starttls", "ldaps"])
def test_login(call, directory, how):
    server = getattr(directory, how)
    got = login(call, server, "user09990")
    assert got["rc"] == "OK", got
    assert (got["dn"], got["uid"], got["mail"], got["name"]) == (user_dn("user09990"), "user09990", "user09990@berth.test",
                                                                "Person 9990")
    assert got["groups"] == ["everybody"]
    for user, password in (("user09990", "wrong"), ("user09990", "pw-user09991"), ("nobody", "pw-nobody"),
                           ("user09990", "pw-user09990 "), ("no-password", "x"), ("*", "pw-user00000"), ("", "x")):
        got = login(call, server, user, password)
        assert (got["rc"], got["error"]) == ("UNAUTHORIZED", "unknown user or wrong password"), (user, got)


def test_empty_password(call, directory):
    """A server takes a bind with a name and no password for an anonymous one, and says yes."""
    before = directory.said().count("conn=")
    for password in ("", "\x00", "\x00pw-user00001", "pw-user00001\x00"):
        got = login(call, directory.starttls, "user00001", password)
        assert got["rc"] == "UNAUTHORIZED", got
    assert directory.said().count("conn=") == before # no call was made at all


def test_filter_is_escaped(call, directory):
    for user in ("*", "user0000*", "user00001)(uid=*", "*)(objectClass=*", "user00001)(|(uid=*", "x)(|(uid=user00001", "(",
                 ")", "\\2a", "user00001\x00", "user00001\x00)", "&", "|(uid=*)", "user00001*", "\\", "uid=user00001",
                 "user00001)(cn=*))((uid=*"):
        got = login(call, directory.starttls, user, "pw-user00001")
        assert got["rc"] == "UNAUTHORIZED", (user, got)
    got = login(call, directory.starttls, "odd(*)user")
    assert (got["rc"], got["uid"]) == ("OK", "odd(*)user"), got


def test_exactly_one_entry(call, directory):
    got = login(call, directory.starttls, "user00001", user_filter="(|(uid={user})(uid=user00002))")
    assert got["rc"] == "UNAUTHORIZED", got
    got = login(call, directory.starttls, "user00001", "pw-user00001", user_filter="(objectClass=inetOrgPerson)")
    assert got["rc"] == "USAGE" and "{user}" in got["error"], got
    assert login(call, directory.starttls, "twice")["rc"] == "USAGE" # two values of uid
    got = login(call, directory.starttls, "user00001", user_filter="(uid={user}")
    assert got["rc"] == "USAGE" and "filter" in got["error"].lower(), got


def test_nested_groups(call, directory):
    deep = ["deep%02d" % i for i in range(DEEP)]
    assert login(call, directory.starttls, "user00001", depth=0)["groups"] == deep[:1]
    assert sorted(login(call, directory.starttls, "user00001", depth=3)["groups"]) == deep[:4]
    assert sorted(login(call, directory.starttls, "user00001", depth=32)["groups"]) == deep
    for depth in (5, 32):
        got = login(call, directory.starttls, "user00002", depth=depth)
        assert sorted(got["groups"]) == ["cycle-a", "cycle-b", "cycle-c", "self"], got
    assert login(call, directory.starttls, "user00001", groups=0)["groups"] == []
    assert login(call, directory.starttls, "user00001", depth=33)["rc"] == "USAGE"


def test_many_groups_come_in_pages(call, directory):
    got = login(call, directory.starttls, "user00003")
    assert sorted(got["groups"]) == ["wide%03d" % i for i in range(WIDE)], got["rc"]
    assert login(call, directory.starttls, "user00003", max_groups=WIDE)["rc"] == "OK"
    got = login(call, directory.starttls, "user00003", max_groups=WIDE - 1)
    assert got["rc"] == "USAGE" and "groups" in got["error"], got


def test_memberof(call, directory):
    """Groups that the service may not read are left out; m-one and m-two are a cycle."""
    got = login(call, directory.starttls, "user00004", groups=MEMBEROF)
    assert sorted(got.get("groups", got)) == ["m-one", "m-two"], got
    assert login(call, directory.starttls, "user00004", groups=MEMBEROF, depth=0)["groups"] == ["m-one"]
    assert login(call, directory.starttls, "user00005", groups=MEMBEROF)["groups"] == []


def silent():
    """A server that takes connections and says nothing."""
    s = socket.create_server(("127.0.0.1", 0))
    held = []

    def run():
        while True:
            try:
                held.append(s.accept()[0])
            except OSError:
                return
    threading.Thread(target=run, daemon=True).start()
    return s


def test_next_server(call, directory):
    dead, mute = "ldap://ldap.test:%d" % free_port(), silent()
    quiet = "ldap://ldap.test:%d" % mute.getsockname()[1]
    servers = [dead, "ldap://nowhere.test", quiet, quiet.replace("ldap:", "ldaps:"), directory.starttls]
    got = login(call, servers, "user00001", timeout=1500, test=True)
    assert got["rc"] == "OK" and got["told"].count("failed:") == 4, got
    got = login(call, [dead, quiet], "user00001", timeout=500)
    assert got["rc"] in ("UNAVAILABLE", "TIMEOUT"), got
    # a wrong password is an answer: no other server is asked
    got = login(call, [directory.starttls, dead], "user00001", "wrong", test=True)
    assert got["rc"] == "UNAUTHORIZED" and "nowhere" not in got["told"] and str(dead) not in got["told"], got
    mute.close()


def test_tls_is_checked(call, directory, authority):
    """The service's password goes to nobody who is not the directory."""
    n = Netcall({"LDAPTLS_REQCERT": "never", "LDAPTLS_CACERT": authority.ca}) # libldap's variables change nothing
    n("rules", allow="", ca="")
    for server in (directory.starttls, directory.ldaps):
        got = login(n, server, "user00001")
        assert got["rc"] == "UNAVAILABLE" and "TLS" in got["error"], got
    n("rules", allow="", ca=authority.ca)
    for server in (directory.starttls, directory.ldaps):
        got = login(n, server.replace("ldap.test", "127.0.0.1"), "user00001") # the certificate is of ldap.test
        assert got["rc"] == "UNAVAILABLE" and "TLS" in got["error"], got
        assert login(n, server, "user00001")["rc"] == "OK"
    n.close()
    got = login(call, directory.starttls, "user00001", plain=True) # slapd demands TLS for a bind: it was none
    assert got["rc"] == "USAGE" and "onfidentiality" in got["error"], got
    assert login(call, "ldap://ldap.test", "user00001", who="tenant")["rc"] == "DENIED"
    assert login(call, "https://ldap.test", "user00001")["rc"] == "INVALID"


def test_steps_for_people(call, directory):
    got = login(call, directory.ldaps, "user00001", "", test=True)
    assert got["rc"] == "OK" and "password" not in got["told"], got
    got = login(call, directory.ldaps, "user00001", test=True)
    lines = got["told"].splitlines()
    assert lines[0] == "ok: connected to " + directory.ldaps and lines[1].startswith("ok: TLS"), lines
    assert lines[2] == "ok: bound as " + SERVICE and user_dn("user00001") in lines[3], lines
    assert lines[4] == "ok: the password is right" and lines[-1] == "ok: %d groups" % 9, lines
    for over, word in (({"password": "wrong"}, "refuses the password"), ({"user": "nobody"}, "finds no entry"),
                       ({"bind_password": "wrong"}, "bind as the service"), ({"user_base": "ou=nowhere," + BASE}, "search the user"),
                       ({"group_base": "ou=nowhere," + BASE}, "search the groups"), ({"bind_dn": ""}, "both a DN and a password"),
                       ({"bind_dn": "", "bind_password": ""}, "bind as the service")):
        args = dict({"user": "user00001", "password": "pw-user00001"}, **over)
        got = login(call, directory.ldaps, args.pop("user"), args.pop("password"), test=True, **args)
        assert got["rc"] in ("USAGE", "UNAUTHORIZED") and word in got["told"].splitlines()[-1], (over, got)
        assert SECRET not in str(got) and "pw-user" not in str(got)


def test_referrals_are_not_followed(call, directory, canaries):
    """A referral could send the service's password to anybody."""
    canaries.count()
    s = socket.create_server(("127.0.0.1", 0))

    def answer():
        while True:
            try:
                conn, _ = s.accept()
            except OSError:
                return
            try:
                while True:
                    data = conn.recv(4096)
                    if not data:
                        break
                    number, op = data[4], data[5] # short messages: SEQUENCE, INTEGER of one byte, operation
                    if op == 0x60:
                        conn.sendall(bytes([0x30, 12, 2, 1, number, 0x61, 7, 10, 1, 0, 4, 0, 4, 0]))
                    else:
                        number = data[data.index(b"\x02\x01") + 2]
                        url = b"ldap://127.0.0.1:6379/dc=berth,dc=test"
                        ref = bytes([0xa3, len(url) + 2, 4, len(url)]) + url
                        body = bytes([10, 1, 10, 4, 0, 4, 0]) + ref
                        op = bytes([0x65, len(body)]) + body
                        conn.sendall(bytes([0x30, len(op) + 3, 2, 1, number]) + op)
            except (OSError, IndexError, ValueError):
                pass
            conn.close()
    threading.Thread(target=answer, daemon=True).start()
    got = login(call, "ldap://127.0.0.1:%d" % s.getsockname()[1], "user00001", plain=True, timeout=3000)
    s.close()
    assert got["rc"] == "USAGE" and "eferral" in got["error"], got
    assert canaries.count() == []
