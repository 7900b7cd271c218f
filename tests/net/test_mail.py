"""Mail through a real SMTP server (aiosmtpd): TLS, AUTH, what arrives, and what can not be smuggled in."""
import email
import email.policy
import email.utils
import ssl
import time

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult
from conftest import Netcall, free_port

PASSWORD = "the-mail-password-17"


class Box:
    def __init__(self):
        self.got, self.logins, self.tls = [], [], []

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 5.1.1 no mailbox of that name here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.got.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
        self.tls.append(session.ssl is not None)
        return "250 taken"

    def login(self, server, session, envelope, mechanism, data):
        self.logins.append((mechanism, bytes(data.login), bytes(data.password)))
        return AuthResult(success=bytes(data.password) == PASSWORD.encode(), handled=False)


class Post(Controller):
    def factory(self):
        return SMTP(self.handler, **self.SMTP_kwargs)


class Ports:
    pass


@pytest.fixture(scope="module")
def post(authority, resolver):
    box = Ports()
    box.box, servers = Box(), []
    context = authority.context("mail.test")
    auth = {"authenticator": box.box.login, "auth_required": True}

    def start(**kw):
        port = free_port()
        c = Post(box.box, hostname="127.0.0.1", port=port, **kw)
        c.start()
        servers.append(c)
        return port

    box.starttls = start(tls_context=context, require_starttls=True, **auth)
    box.tls = start(ssl_context=context, auth_require_tls=False, **auth) # aiosmtpd counts only STARTTLS as TLS
    box.open = start()
    box.other = start(tls_context=authority.context("other.test"), require_starttls=True, **auth)
    yield box
    for c in servers:
        c.stop()


BASE = {"who": "operator", "user": "hub", "password": PASSWORD, "from": "hub@berth.test", "from_name": "Berth",
        "to": "ann@example.org", "subject": "Hello", "text": "A line.\n"}


def send(call, url, **over):
    args = dict(BASE, url=url)
    args.update(over)
    return call("mail", **args)


def last(post):
    return email.message_from_bytes(post.box.got[-1][2], policy=email.policy.default)


@pytest.mark.parametrize("how", ["starttls", "tls"])
def test_arrives(call, post, how):
    post.box.got.clear()
    post.box.logins.clear()
    url = "%s://mail.test:%d" % ("smtp" if how == "starttls" else "smtps", getattr(post, how))
    text = "Größe: 5 €\n.\n..dot\n" + "long " * 400 + "\nFrom here\n=20 \t\n"
    html = "<p>Größe &amp; <b>mehr</b></p>\n"
    subject = "Grüße aus dem Hafen: " + "日本語" * 30 + " 🚢"
    got = send(call, url, text=text, html=html, subject=subject, from_name="Hafen \"Köln\"")
    assert got["rc"] == "OK", got
    sender, to, raw = post.box.got[-1]
    assert (sender, to) == ("hub@berth.test", ["ann@example.org"])
    assert post.box.logins[-1][1:] == (b"hub", PASSWORD.encode())
    m = last(post)
    assert m["Subject"] == subject and m["To"] == "ann@example.org" and not m.defects
    assert m["From"].addresses[0].display_name == "Hafen \"Köln\"" and m["From"].addresses[0].addr_spec == "hub@berth.test"
    assert abs(email.utils.parsedate_to_datetime(m["Date"]).timestamp() - time.time()) < 300
    assert m["Message-ID"].endswith("@berth.test>") and m["Auto-Submitted"] == "auto-generated"
    parts = [p for p in m.walk() if not p.is_multipart()]
    assert [p.get_content_type() for p in parts] == ["text/plain", "text/html"]
    assert "multipart/alternative" in [p.get_content_type() for p in m.walk()]
    assert [p.get_content().replace("\r\n", "\n") for p in parts] == [text, html]
    assert all(len(line) <= 998 and all(b < 0x80 for b in line) for line in raw.split(b"\r\n"))
    for line in raw.split(b"\r\n\r\n")[0].split(b"\r\n"):
        assert len(line) <= 78 or line.startswith(b"Content-Type:"), line
    assert send(call, url)["rc"] == "OK"
    plain = [p for p in last(post).walk() if not p.is_multipart()]
    assert [p.get_content_type() for p in plain] == ["text/plain"] and last(post)["From"] == 'Berth <hub@berth.test>'
    ids = [email.message_from_bytes(g[2])["Message-ID"] for g in post.box.got]
    assert len(set(ids)) == len(ids)


def test_nothing_is_smuggled(call, post):
    url = "smtp://mail.test:%d" % post.starttls
    post.box.got.clear()
    crlf = ("a\r\nBcc: evil@example.org", "a\nBcc: evil@example.org", "a\r\n\r\nbody", "a\x1bb", "a\u0085b", "a\u2028b",
            "a\rb", "x" * 9000)
    for bad in crlf:
        assert send(call, url, subject=bad)["rc"] == "INVALID", bad
        assert send(call, url, from_name=bad)["rc"] == "INVALID", bad
    for bad in ("a@example.org\r\nBcc: e@example.org", "a@example.org, b@example.org", "<a@example.org>", "a b@example.org",
                "a@example.org>", "", "a", "@example.org", "a@", "a@b@c", "a..b@example.org", ".a@example.org", "a.@example.org",
                "a@-b.org", "a@b-.org", "a@b..org", "a@example.org.", "\"a b\"@example.org", "a@[127.0.0.1]", "a(c)@example.org",
                "ä@example.org", "a@exämple.org", "x" * 65 + "@example.org", "a@" + "b" * 64 + ".org",
                "a@" + ".".join(["b" * 60] * 5), "a\n@example.org", "a@example.org\n", "a@exa_mple.org"):
        got = send(call, url, to=bad)
        assert got["rc"] == "INVALID" and "recipient" in got["error"], (bad, got)
        assert call("address", address=bad)["rc"] == "INVALID"
        assert send(call, url, **{"from": bad})["rc"] == "INVALID"
    assert send(call, url, text="a\x01b")["rc"] == "INVALID" and send(call, url, html="a\rb")["rc"] == "INVALID"
    assert post.box.got == []
    for good in ("a@example.org", "a.b+c_d=e@sub.example.org", "o'neil@example.org", "root@localhost", "x" * 64 + "@a.org"):
        assert call("address", address=good)["rc"] == "OK", good
    assert send(call, url, subject="=?UTF-8?Q?not_what_it_says?=")["rc"] == "OK"
    assert last(post)["Subject"] == "=?UTF-8?Q?not_what_it_says?="


def test_errors_say_what_is_wrong(call, post, resolver):
    url = "smtp://mail.test:%d" % post.starttls
    got = send(call, url, password="wrong-mail-password")
    assert got["rc"] == "UNAUTHORIZED" and "refuses the user or the password" in got["error"] and "535" in got["error"], got
    assert "wrong-mail-password" not in str(got)
    got = send(call, url, to="nobody@example.org")
    assert got["rc"] == "DENIED" and "550 5.1.1 no mailbox of that name here" in got["error"], got
    got = send(call, "smtp://mail.test:%d" % free_port())
    assert got["rc"] == "UNAVAILABLE" and "connect" in got["error"].lower(), got
    got = send(call, "smtp://nowhere.test:25")
    assert got["rc"] == "UNAVAILABLE" and "resolve" in got["error"], got
    assert send(call, "https://mail.test/")["rc"] == "INVALID"
    assert send(call, "smtp://mail.test:%d/x" % post.starttls)["rc"] == "INVALID"
    assert send(call, url, who="tenant")["rc"] == "DENIED"


def test_tls_is_not_given_up(call, post, authority):
    """No STARTTLS offered, a wrong name or an unknown authority: nothing is sent, above all no password."""
    post.box.got.clear()
    post.box.logins.clear()
    got = send(call, "smtp://mail.test:%d" % post.open)
    assert got["rc"] in ("UNAVAILABLE", "DENIED") and ("STARTTLS" in got["error"] or "SSL" in got["error"]), got
    got = send(call, "smtp://mail.test:%d" % post.other)
    assert got["rc"] == "UNAVAILABLE" and "certificate" in got["error"], got
    n = Netcall()
    n("rules", allow="", ca="")
    for url in ("smtp://mail.test:%d" % post.starttls, "smtps://mail.test:%d" % post.tls):
        got = send(n, url)
        assert got["rc"] == "UNAVAILABLE" and "certificate" in got["error"], got
    n.close()
    got = send(call, "smtp://mail.test:%d" % post.open, plain=True)
    assert got["rc"] == "DENIED" and "without TLS" in got["error"], got
    assert post.box.got == [] and post.box.logins == []
    assert send(call, "smtp://mail.test:%d" % post.open, plain=True, user="", password="")["rc"] == "OK"
    assert post.box.tls == [] or post.box.tls[-1] is False
