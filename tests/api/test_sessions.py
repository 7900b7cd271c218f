"""Sessions of browsers and the pages that make them. T05, T07, T08, T09, T10, T13, T14."""
import html
import json
import os
import re
import sqlite3
import subprocess
import threading
import urllib.parse

import pytest
from api import Api
from berth import Hub
from browser import Browser
from factors import PASSWORD, App, Authenticator, add_app, login



@pytest.fixture
def browser(site, user):
    b = Browser(site)
    b.login(user, PASSWORD)
    b.user = user
    return b


COOKIE = "berth"


def sql(hub, text):
    """Changes a stopped hub's database."""
    if hub.database:
        subprocess.run(["psql", "-qXd", hub.database, "-c", text], check=True)
        return
    with sqlite3.connect(os.path.join(hub.data, "berth.db")) as c:
        c.execute(text)


def test_login_and_logout(site, user):
    b = Browser(site)
    assert b.go("/account").forms.get("/login") is not None  # sent to the login
    p = b.login(user, PASSWORD)
    assert "Your account" in p.text and user in p.text
    b.submit("/logout")
    assert b.cookies == {} and "/login" in b.page.forms
    assert "/login" in b.go("/account").forms


def test_wrong_password(site, user):
    """T05: the same page for a wrong password and for nobody."""
    pages = []
    for name in (user, "nobody-of-that-name"):
        b = Browser(site)
        p = b.login(name, "wrong", status=403)
        assert "Incorrect authentication credentials" in p.text and b.cookies == {}
        pages.append(p.body.replace(name, "NAME"))
    assert pages[0] == pages[1]


def test_T07_sessions_are_new_and_end(site, user):
    """A session that was set before the login is not taken up; after logout, password change and end it opens nothing."""
    b = Browser(site)
    b.cookies[COOKIE] = "bst_" + "a" * 58
    b.login(user, PASSWORD)
    first = b.cookies[COOKIE]
    assert first != "bst_" + "a" * 58
    b.submit("/logout")
    stale = Browser(site)
    stale.cookies[COOKIE] = first
    assert "/login" in stale.go("/account").forms
    b.login(user, PASSWORD)
    other = Browser(site)
    other.login(user, PASSWORD)
    b.go("/account")
    site.secrets.add(PASSWORD + "2")
    before = b.cookies[COOKIE]
    b.submit("/account/password", old_password=PASSWORD, password=PASSWORD + "2")
    assert "Your account" in b.page.text and b.cookies[COOKIE] != before
    assert "/login" in other.go("/account").forms
    stale.cookies[COOKIE] = before
    assert "/login" in stale.go("/account").forms
    other.login(user, PASSWORD + "2")
    b.go("/account")
    b.submit("/account/sessions/end-all")
    assert "/login" in other.go("/account").forms and b.cookies == {}


def test_T07_a_session_is_of_use_in_pages_only(site, browser):
    """Nobody's form can reach the API with it: the cookie counts on pages alone."""
    cookie = "%s=%s" % (COOKIE, browser.cookies[COOKIE])
    for headers in ({"Cookie": cookie}, {"Authorization": "Bearer " + browser.cookies[COOKIE]}):
        for path in ("/api/v1/me", "/v2/"):
            assert site.anonymous().get(path, headers=headers).status == 401


def test_sessions_are_listed_and_ended(site, user, browser):
    other = Browser(site)
    other.agent = "The other <b>browser</b>"
    other.login(user, PASSWORD)
    me = login(site, user, PASSWORD)
    got = me.all("/me/sessions")
    assert len(got) == 2 and {s["client"] for s in got} == {"Test browser", "The other <b>browser</b>"}
    assert {s["address"] for s in got} == {"127.0.0.1"} and not any(s["current"] for s in got)
    p = browser.go("/account")
    assert "The other <b>browser</b>" in p.text and "The other &lt;b&gt;" in p.body
    theirs = next(s["id"] for s in got if s["client"] != "Test browser")
    browser.submit("/account/sessions/end", id=str(theirs))
    assert "/login" in other.go("/account").forms
    assert "Your account" in browser.go("/account").text
    site.add_user(user + "x", PASSWORD)
    login(site, user + "x", PASSWORD).delete("/me/sessions/%d" % got[0]["id"], status=404)
    me.delete("/me/sessions", status=204)
    assert "/login" in browser.go("/account").forms
    assert me.get("/me").status == 401  # the API's logins, too


def test_disabling_ends_sessions(site, user, browser):
    admin = login(site, site.admin_name, site.admin_password)
    admin.patch("/users/%s" % user, {"state": "disabled"}, status=200)
    assert "/login" in browser.go("/account").forms
    admin.patch("/users/%s" % user, {"state": "active"}, status=200)
    assert "/login" in browser.go("/account").forms


def test_T07_idle_and_absolute_end_and_step_up(db):
    with Hub(db) as h:
        h.add_user("ulla", PASSWORD)
        b = Browser(h)
        b.login("ulla", PASSWORD)

        def later(hours):
            if h.proc is not None:
                h.stop()
            h.extra["BERTH_TEST_AHEAD"] = str(int(hours * 3600))
            h.start()
        later(11)
        assert "Your account" in b.go("/account").text
        first = b.cookies[COOKIE]
        p = b.submit("/account/factors/totp")  # sensitive: the password again
        assert "/account/proof" in p.forms, p
        b.submit("/account/proof", 403, password="wrong")
        b.submit("/account/proof", password=PASSWORD)
        assert b.cookies[COOKIE] != first and "Your account" in b.page.text
        b.submit("/account/factors/totp")
        assert "/account/factors/confirm" in b.page.forms
        stale = Browser(h)
        stale.cookies[COOKIE] = first  # the text from before the step-up is void
        assert "/login" in stale.go("/account").forms
        later(24)
        assert "/login" in b.go("/account").forms
        b.login("ulla", PASSWORD)
        for hours in (11.5, 23, 34.5):  # used in time, it goes on
            later(24 + hours)
            assert "Your account" in b.go("/account").text
        h.stop()  # by the database's word it was used all the time
        sql(h, "UPDATE sessions SET used_at = used_at + %d" % (7 * 86400 * 1000000))
        later(24 + 7 * 24 - 1)
        assert "Your account" in b.go("/account").text
        later(24 + 7 * 24 + 1)
        assert "/login" in b.go("/account").forms


# --- T08
POSTS = ["/logout", "/account/proof", "/account/profile", "/account/password", "/account/factors/totp", "/account/factors/confirm",
         "/account/factors/key", "/account/factors/remove", "/account/recovery-codes", "/account/sessions/end", "/account/sessions/end-all",
         "/account/tokens", "/account/tokens/revoke"]


def test_T08_forms_of_other_sites(site, browser):
    csrf = browser.go("/account").forms["/account/profile"]["csrf"]
    assert re.fullmatch("[0-9a-f]{32}", csrf)
    body = {"csrf": csrf, "full_name": "changed", "email": "", "name": "evil", "pattern": "*", "scope": "admin", "days": "9", "id": "1"}
    evil = [{"Origin": "http://evil.example", "Sec-Fetch-Site": None}, {"Origin": "null", "Sec-Fetch-Site": None},
            {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}]
    for path in POSTS:
        for headers in evil:
            p = browser.ask("POST", path, urllib.parse.urlencode(body), headers)
            assert p.status == 403 and "another site" in p.text, (path, headers, p)
        for wrong in ("", "0" * 32, csrf[:-1], csrf + "0"):
            p = browser.ask("POST", path, urllib.parse.urlencode(dict(body, csrf=wrong)))
            assert p.status == 403 and "older login" in p.text, (path, wrong, p)
        for kind in ("text/plain", "application/json", "multipart/form-data; boundary=x"):
            p = browser.ask("POST", path, urllib.parse.urlencode(body), {"Content-Type": kind})
            assert p.status == 403, (path, kind, p)
    p = browser.go("/account")
    assert "evil" not in p.text and p.forms["/account/profile"]["full_name"] != "changed"
    other = Browser(site)
    site.add_user(browser.user + "x", PASSWORD)
    other.login(browser.user + "x", PASSWORD)
    p = other.ask("POST", "/account/profile", urllib.parse.urlencode(body))  # another's token
    assert p.status == 403


def test_T08_login_of_another_site(site, user):
    b = Browser(site)
    p = b.ask("POST", "/login", urllib.parse.urlencode({"username": user, "password": PASSWORD}), {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"})
    assert p.status == 403 and b.cookies == {}


# --- T09, T10
EVIL = ["<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "'><svg/onload=alert(1)>", "</textarea><b>", "javascript:alert(1)",
        "{{7*7}}", "%s%n", "\u202e<i>", "&lt;b&gt;", "a\x0bb"]


def test_T09_nothing_of_a_user_is_markup(site, user, browser):
    for text in EVIL:
        browser.go("/account")
        browser.submit("/account/profile", None, full_name=text, email="")
        p = browser.submit("/account/tokens", None, name=text, pattern=text, scope="read", days="1") if "/account/tokens" in browser.page.forms else browser.page
        b = Browser(site)
        b.agent = re.sub("[^ -~]", "", text)
        q = b.login(text, text, None)
        for page in (p, q, browser.go("/account")):
            assert not re.search(r"<(script>|img|svg|i>|textarea)", page.body), (text, page.body)


def test_T10_headers(site, browser):
    browser.go("/account")
    nobody = Browser(site)
    for b, path in [(nobody, "/login"), (nobody, "/account"), (browser, "/account"), (browser, "/account/proof"), (browser, "/account/factors/key")]:
        p = b.ask("GET", path)
        csp = p.headers["Content-Security-Policy"]
        assert csp.startswith("default-src 'none'; style-src 'self';") and "frame-ancestors 'none'" in csp and "unsafe" not in csp, path
        assert ("script-src 'self'" in csp) == (path == "/account/factors/key")
        assert p.headers["Cache-Control"] == "no-store" and p.headers["X-Content-Type-Options"] == "nosniff"
        assert p.headers["Referrer-Policy"] == "no-referrer" and p.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    for path in ("/assets/berth.css", "/assets/webauthn.js"):
        assert nobody.ask("GET", path).status == 200


def test_secure_cookie_behind_https(db):
    with Hub(db, env={"BERTH_TRUSTED_PROXIES": "127.0.0.1"}, start=False) as h:
        h.extra["BERTH_PUBLIC_URL"] = "https://hub.example"
        h.start()
        h.add_user("ulla", PASSWORD)
        b = Browser(h)
        p = b.ask("POST", "/login", urllib.parse.urlencode({"username": "ulla", "password": PASSWORD}),
                  {"Origin": "https://hub.example", "Sec-Fetch-Site": "same-origin", "X-Forwarded-Proto": "https"})
        assert p.status == 303 and list(b.cookies) == ["__Host-berth"]
        assert "; Secure" in p.headers["Set-Cookie"] and "max-age" in p.headers["Strict-Transport-Security"]


def test_cookie_twice_is_none(site, browser):
    both = "%s=%s; %s=%s" % (COOKIE, browser.cookies[COOKIE], COOKIE, browser.cookies[COOKIE])
    p = browser.ask("GET", "/account", headers={"Cookie": both})
    assert p.status == 303 and p.headers["Location"] == "/login"


# --- factors in pages
def test_factor_in_pages(site, user, browser):
    browser.go("/account")
    p = browser.submit("/account/factors/totp")
    secret = re.search(r"<code>([A-Z2-7]{32})</code>", p.body).group(1)
    site.secrets.add(secret)
    app = App(secret)
    wrong = "%06d" % ((int(app.code()) + 1) % 1000000)
    browser.submit("/account/factors/confirm", 400, code=wrong)
    p = browser.submit("/account/factors/confirm", code=app.fresh())
    codes = re.findall(r"<code>([a-z2-7-]{19})</code>", p.body)
    assert len(codes) == 10
    site.secrets.update(codes)
    b = Browser(site)
    p = b.login(user, PASSWORD)
    assert b.cookies == {} and "/login/factor" in p.forms
    b.submit("/login/factor", 403, code="000000")
    assert b.cookies == {}
    b.submit("/login/factor", code=app.fresh())
    assert "Your account" in b.page.text
    c = Browser(site)
    c.login(user, PASSWORD)
    c.submit("/login/factor", code=codes[3])
    assert "Your account" in c.page.text
    c.submit("/account/factors/remove", id=c.page.forms["/account/factors/remove"]["id"])
    assert "authenticator app)" not in c.page.text
    Browser(site).login(user, PASSWORD)


def test_T13_one_code_over_pages_and_api(site, user):
    app, _ = add_app(login(site, user, PASSWORD))
    code, got, gate = app.fresh(), [], threading.Barrier(6)
    tickets = [Api(site).post("/login", {"username": user, "password": PASSWORD}, status=401).data["ticket"] for _ in range(6)]

    def one(k):
        gate.wait()
        if k % 2:
            got.append(Api(site).post("/login/factor", {"ticket": tickets[k], "code": code}).status == 200)
        else:
            p = Browser(site).ask("POST", "/login/factor", urllib.parse.urlencode({"ticket": tickets[k], "code": code}))
            got.append(p.status == 303)
    threads = [threading.Thread(target=one, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert got.count(True) == 1 and len(got) == 6, got


def test_security_key_in_pages(site, user, browser):
    key = Authenticator()
    p = browser.go("/account/factors/key")
    options = json.loads(html.unescape(re.search(r'data-options="([^"]*)"', p.body).group(1)))
    p = browser.submit("/account/factors/key", webauthn=key.create(options, site.origin), name="<my key>")
    assert "Recovery codes" in p.text
    b = Browser(site)
    p = b.login(user, PASSWORD)
    options = json.loads(html.unescape(re.search(r'data-options="([^"]*)"', p.body).group(1)))
    b.submit("/login/factor", webauthn=key.get(options, site.origin), code="")
    assert "<my key>" in b.page.text and "&lt;my key&gt;" in b.page.body


def test_tokens_in_pages(site, user, browser):
    browser.go("/account")
    p = browser.submit("/account/tokens", name="ci", pattern="*", scope="write", days="30")
    token = re.search(r"bpt_[a-z2-7]{58}", p.body).group(0)
    site.secrets.add(token)
    assert Api(site, token=token).get("/me", status=200).data["name"] == user
    p = browser.go("/account")
    assert token not in p.body and "ci" in p.text
    browser.submit("/account/tokens/revoke", id=p.forms["/account/tokens/revoke"]["id"])
    assert Api(site, token=token).get("/me").status == 401
    p = browser.submit("/account/tokens", 400, name="", pattern="*", scope="write", days="30")
    assert "name" in p.text
