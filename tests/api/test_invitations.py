"""Invitations, accounts people make themselves, mail, forgotten passwords. T05, T16; a real SMTP server (aiosmtpd)."""
import email
import email.policy
import re
import threading

import pytest
from aiosmtpd.controller import Controller
from api import Api
from berth import Hub, free_port
from browser import Browser
from factors import add_app, login, login_factor

PASSWORD = "a-good-password-4711"


class Box:
    """What the mail server was given: [(to, subject, text)]."""

    def __init__(self):
        self.got, self.more = [], threading.Condition()
        self.post = Controller(self, hostname="127.0.0.1", port=free_port())
        self.post.start()

    async def handle_DATA(self, server, session, envelope):
        m = email.message_from_bytes(envelope.content, policy=email.policy.default)
        with self.more:
            self.got.append((envelope.rcpt_tos[0], m["Subject"], m.get_body(("plain",)).get_content()))
            self.more.notify_all()
        return "250 taken"

    def wait(self, to, subject):
        with self.more:
            ok = self.more.wait_for(lambda: any(g[0] == to and subject in g[1] for g in self.got), 60)
            assert ok, (to, subject, self.got)
            found = next(g for g in self.got if g[0] == to and subject in g[1])
            self.got.remove(found)
            return found[2]


def link_of(hub, text, what):
    code = re.search(re.escape(hub.origin) + "(/%s/(boc_[a-z2-7]{58}))" % what, text)
    assert code, text
    hub.secrets.add(code.group(2))
    return code.group(1), code.group(2)


@pytest.fixture(scope="module")
def box():
    b = Box()
    yield b
    b.post.stop()


def named(h, **env):
    h.extra.update(env, BERTH_PUBLIC_URL="http://localhost:%d" % h.port)
    h.origin = h.extra["BERTH_PUBLIC_URL"]
    h.start()
    h.boss = login(h, h.admin_name, h.admin_password)
    return h


@pytest.fixture(scope="module")
def site(db, box):
    """With mail, open to everybody."""
    h = named(Hub(db, env={"BERTH_MAX_LOGINS_PER_ADDRESS": "0"}, start=False), BERTH_SMTP_URL="smtp://127.0.0.1:%d" % box.post.port,
              BERTH_SMTP_PLAIN="true", BERTH_MAIL_FROM="hub@hub.example", BERTH_SIGNUP="open")
    h.secrets.add(PASSWORD)
    yield h
    h.close()


@pytest.fixture(scope="module")
def quiet(db):
    """Without mail, by invitation."""
    h = named(Hub(db, env={"BERTH_MAX_LOGINS_PER_ADDRESS": "0"}, start=False))
    h.secrets.add(PASSWORD)
    yield h
    h.close()


def test_sign_up_by_invitation_to_the_hub(quiet):
    anybody = Api(quiet)
    assert "invitation" in anybody.post("/signup", {"name": "stranger", "password": PASSWORD}, status=403).data["detail"]
    a = quiet.boss.post("/invitations", {"email": "jane@site.example"}, status=201).data
    path, code = link_of(quiet, a["link"], "invite")
    assert [i["email"] for i in quiet.boss.all("/invitations")] == ["jane@site.example"]
    b = Browser(quiet)
    b.go(path)
    assert b.go(path).status == 200  # looking changes nothing
    p = b.submit("/signup", 400, name="admin", password=PASSWORD)
    assert p.forms["/signup"]["code"] == code
    b.submit("/signup", name="jane", password=PASSWORD, email="jane@site.example")
    assert "Your account" in b.page.text and "jane" in b.page.text
    assert login(quiet, "jane", PASSWORD).get("/me").data["email_verified"] is False  # the link came by hand
    anybody.post("/signup", {"name": "jane2", "password": PASSWORD, "code": code}, status=404)
    assert quiet.boss.all("/invitations") == []


def test_an_invitation_taken_back(quiet):
    a = quiet.boss.post("/invitations", {}, status=201).data
    _, code = link_of(quiet, a["link"], "invite")
    quiet.boss.delete("/invitations/%d" % a["id"], status=204)
    quiet.boss.delete("/invitations/%d" % a["id"], status=404)
    Api(quiet).post("/signup", {"name": "toolate", "password": PASSWORD, "code": code}, status=404)


def test_one_invitation_one_account(quiet):
    _, code = link_of(quiet, quiet.boss.post("/invitations", {}, status=201).data["link"], "invite")
    got, gate = [], threading.Barrier(4)

    def one(k):
        gate.wait()
        got.append(Api(quiet).post("/signup", {"name": "many%d" % k, "password": PASSWORD, "code": code}).status)
    threads = [threading.Thread(target=one, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(got) == [201, 404, 404, 404], got


def test_invitation_to_an_organization(quiet):
    for name in ("owner1", "guest1", "other1"):
        quiet.add_user(name, PASSWORD)
    owner, guest, other = (login(quiet, n, PASSWORD) for n in ("owner1", "guest1", "other1"))
    owner.post("/orgs", {"name": "invorg"}, status=201)
    a = owner.post("/orgs/invorg/invitations", {"user": "guest1", "role": "editor"}, status=201).data
    path, code = link_of(quiet, a["link"], "invite")
    guest.get("/orgs/invorg/invitations", status=404)  # T16
    guest.post("/orgs/invorg/invitations", {"user": "other1"}, status=404)
    guest.delete("/orgs/invorg/invitations/%d" % a["id"], status=404)
    other.post("/invitations/accept", {"code": code}, status=404)  # not his
    Api(quiet).post("/signup", {"name": "sneaky", "password": PASSWORD, "code": code}, status=404)
    b = Browser(quiet)
    b.login("guest1", PASSWORD)
    b.go(path)
    b.submit(path)
    assert owner.all("/orgs/invorg/members")[0] == dict(owner.all("/orgs/invorg/members")[0], user="guest1", role="editor")
    guest.post("/invitations/accept", {"code": code}, status=404)
    assert owner.post("/orgs/invorg/invitations", {"user": "guest1"}, status=409)
    a = owner.post("/orgs/invorg/invitations", {}, status=201).data
    _, code = link_of(quiet, a["link"], "invite")
    quiet.boss.delete("/orgs/invorg/members/owner1")
    quiet.boss.put("/orgs/invorg/members/guest1", {"role": "owner"}, status=200)
    quiet.boss.delete("/orgs/invorg/members/owner1", status=204)
    other.post("/invitations/accept", {"code": code}, status=404)  # who invited may invite no longer


def test_reset_link_of_an_administrator(quiet):
    quiet.add_user("forgetful", PASSWORD)
    me = login(quiet, "forgetful", PASSWORD)
    app, codes = add_app(me)
    path, code = link_of(quiet, quiet.boss.post("/users/forgetful/reset-link", status=200).data["link"], "reset")
    me.post("/users/forgetful/reset-link", status=403)
    new = PASSWORD + "-new"
    quiet.secrets.add(new)
    b = Browser(quiet)
    b.go(path)
    b.submit(path, 400, password="short")
    b.submit(path, password=new)
    assert "/login" in b.page.forms
    assert me.get("/me").status == 401
    login_factor(quiet, "forgetful", new, code=codes[0])  # the second factor stays
    Api(quiet).post("/password-reset/complete", {"code": code, "password": PASSWORD}, status=404)
    assert "mail" in Api(quiet).post("/password-reset", {"user": "forgetful"}, status=409).data["detail"]


def test_mail_end_to_end(site, box):
    """Sign up, prove the address, be told of a login from elsewhere, forget the password."""
    b = Browser(site)
    b.go("/signup")
    b.submit("/signup", name="mia", password=PASSWORD, email="mia@site.example")
    assert "not proved" in b.page.text
    assert site.boss.post("/password-reset", {"user": "mia"}, status=204)
    b.submit("/account/email/verify")
    path, code = link_of(site, box.wait("mia@site.example", "Is this your address?"), "verify")
    assert not [g for g in box.got if "password" in g[1]]  # nothing to an address that was not proved
    anybody = Browser(site)
    anybody.go(path)
    anybody.submit(path)
    assert login(site, "mia", PASSWORD).get("/me").data["email_verified"] is True
    Api(site).post("/email-verification", {"code": code}, status=404)
    for user in ("mia", "nobody-of-that-name", "nobody@site.example"):  # T05
        a = Api(site).post("/password-reset", {"user": user}, status=204)
        assert a.body == b""
    path, code = link_of(site, box.wait("mia@site.example", "A new password"), "reset")
    Api(site).post("/password-reset", {"user": "mia@site.example"}, status=204)  # one mail in five minutes
    new = PASSWORD + "-mia"
    site.secrets.add(new)
    Api(site).post("/password-reset/complete", {"code": code, "password": new}, status=204)
    box.wait("mia@site.example", "Your password was changed")
    me = login(site, "mia", new)
    add_app(me)
    box.wait("mia@site.example", "second factor was added")
    assert not [g for g in box.got if g[1] == "A new password"], box.got
    me.patch("/me", {"email": "elsewhere@site.example"}, status=200)
    assert me.get("/me").data["email_verified"] is False


def test_invitation_by_mail_proves_the_address(site, box):
    a = site.boss.post("/invitations", {"email": "ida@site.example"}, status=201).data
    assert a["link"] is None
    _, code = link_of(site, box.wait("ida@site.example", "Invitation"), "invite")
    Api(site).post("/signup", {"name": "ida", "password": PASSWORD, "code": code}, status=201)
    assert login(site, "ida", PASSWORD).get("/me").data == dict(login(site, "ida", PASSWORD).get("/me").data, email="ida@site.example", email_verified=True)


def test_mail_test_says_what_is_wrong(site, quiet, box):
    site.boss.post("/mail/test", {"to": "boss@site.example"}, status=204)
    box.wait("boss@site.example", "A test")
    assert "smtp_url" in quiet.boss.post("/mail/test", {"to": "x@site.example"}, status=409).data["detail"]
    assert site.command("mail", "test", "cli@site.example").returncode == 0
    box.wait("cli@site.example", "A test")


def test_new_address_is_told(db, box):
    with Hub(db, env={"BERTH_TRUSTED_PROXIES": "127.0.0.1"}, start=False) as h:
        named(h, BERTH_SMTP_URL="smtp://127.0.0.1:%d" % box.post.port, BERTH_SMTP_PLAIN="true", BERTH_MAIL_FROM="hub@hub.example")
        h.boss.post("/invitations", {"email": "eve@site.example"}, status=201)
        _, code = link_of(h, box.wait("eve@site.example", "Invitation"), "invite")
        Api(h).post("/signup", {"name": "eve", "password": PASSWORD, "code": code}, status=201)
        h.secrets.add(PASSWORD)
        for address in ("192.0.2.1", "192.0.2.1", "192.0.2.99"):
            Api(h).post("/login", {"username": "eve", "password": PASSWORD}, headers={"X-Forwarded-For": address}, status=200)
        assert "192.0.2.99" in box.wait("eve@site.example", "New login")
        assert box.got == []


def test_organization_that_needs_a_second_factor(quiet):
    for name in ("chief", "worker"):
        quiet.add_user(name, PASSWORD)
    chief, worker = login(quiet, "chief", PASSWORD), login(quiet, "worker", PASSWORD)
    chief.post("/orgs", {"name": "mfaorg", "default_access": "read"}, status=201)
    chief.put("/orgs/mfaorg/members/worker", {"role": "member"}, status=200)
    chief.post("/repositories", {"name": "mfaorg/app"}, status=201)
    worker.get("/repositories/mfaorg/app", status=200)
    assert chief.patch("/orgs/mfaorg", {"need_mfa": True}, status=400).data["errors"][0]["field"] == "need_mfa"
    add_app(chief)
    assert chief.patch("/orgs/mfaorg", {"need_mfa": True}, status=200).data["need_mfa"] is True
    worker.get("/repositories/mfaorg/app", status=404)
    worker.get("/orgs/mfaorg", status=404)
    assert "mfaorg/app" not in [r["name"] for r in worker.all("/repositories")]
    chief.get("/repositories/mfaorg/app", status=200)
    add_app(worker)
    worker.get("/repositories/mfaorg/app", status=200)
    assert "mfaorg/app" in [r["name"] for r in worker.all("/repositories")]
