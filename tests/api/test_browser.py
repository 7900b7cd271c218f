"""The pages in a real browser: a security key registered and used (T12), forms of another site (T08), markup of users (T09)."""
import http.server
import threading

import pytest
from berth import Hub
from chromium import Chromium
from factors import login

PASSWORD = "a-good-password-4711"
EVIL = "\"><script>document.title='pwned'</script><img src=x onerror=\"document.title='pwned'\">"


@pytest.fixture(scope="module")
def site(db):
    h = Hub(db, env={"BERTH_MAX_LOGINS_PER_ADDRESS": "0"}, start=False)
    h.extra["BERTH_PUBLIC_URL"] = h.origin = "http://localhost:%d" % h.port
    h.start()
    h.add_user("ulla", PASSWORD)
    yield h
    h.close()


@pytest.fixture(scope="module")
def chromium():
    c = Chromium()
    yield c
    c.close()


class Evil(http.server.BaseHTTPRequestHandler):
    """Another site, whose pages send forms to the hub."""

    def do_GET(self):
        body = ("<body><iframe name=f></iframe><form id=x method=post target=f action='%s/account/profile'><input name=full_name value=pwned>"
                "<input name=email value=''></form><form id=y method=post action='%s/logout'></form>"
                "<iframe id=framed src='%s/account'></iframe></body>" % ((self.server.hub,) * 3)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def test_pages_in_chromium(site, chromium):
    c = chromium
    me = login(site, "ulla", PASSWORD)
    me.patch("/me", {"full_name": EVIL}, status=200)
    me.post("/tokens", {"name": EVIL}, status=201)
    c.key()
    c.go(site.origin + "/login")
    c.submit("/login", username="ulla", password=PASSWORD)
    c.until("location.pathname == '/account' && document.readyState == 'complete'")
    assert EVIL in c.js("document.body.innerText") and EVIL == c.js("document.querySelector('[name=full_name]').value")
    assert c.js("document.title") == "Your account · Berth" and c.js("document.images.length") == 0

    c.go(site.origin + "/account/factors/key")
    c.submit("/account/factors/key", name="virtual key")
    c.until("document.querySelectorAll('.codes li').length == 10")
    assert [f["name"] for f in me.all("/me/factors")] == ["virtual key"]

    c.go(site.origin + "/account")
    c.submit("/logout")
    c.until("location.pathname == '/login' && document.readyState == 'complete'")
    c.submit("/login", username="ulla", password=PASSWORD)
    c.until("document.getElementById('webauthn') && document.readyState == 'complete'")
    c.submit("/login/factor")
    c.until("location.pathname == '/account' && document.readyState == 'complete'")
    assert "virtual key" in c.js("document.body.innerText")
    assert c.complaints() == []

    evil = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Evil)
    evil.hub = site.origin
    threading.Thread(target=evil.serve_forever, daemon=True).start()
    c.go("http://127.0.0.1:%d/" % evil.server_port)
    c.js("document.getElementById('x').submit()")
    c.until("window.frames.length == 2")
    c.js("document.getElementById('y').submit()")
    c.until("location.pathname == '/logout'")
    assert "another site" in c.js("document.body.innerText")
    c.go(site.origin + "/account")  # still logged in, for a top-level request bears the cookie
    assert "virtual key" in c.js("document.body.innerText")
    assert me.get("/me").data["full_name"] == EVIL
    evil.shutdown()

