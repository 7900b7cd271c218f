"""A browser without a window: cookies, forms as the pages have them, and what a real one sends with them."""
import html.parser
import http.client
import re
import urllib.parse


class Page(html.parser.HTMLParser):
    """status, headers, text, and forms: {action: {name: value}}."""

    def __init__(self, response, body):
        super().__init__()
        self.status, self.headers, self.body = response.status, response.headers, body.decode()
        self.forms, self.words, self.at = {}, [], None
        if self.headers.get_content_type() == "text/html":
            self.feed(self.body)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag == "form":
            assert attrs["method"] == "post"
            self.at = self.forms.setdefault(attrs["action"], {})
        if tag == "input" and "name" in attrs:
            self.at.setdefault(attrs["name"], attrs.get("value") or "")
        for name in attrs:  # nothing inline, so that the policy can forbid it
            assert not name.startswith("on") and name != "style", (tag, attrs)
        assert tag != "script" or "src" in attrs

    def handle_endtag(self, tag):
        if tag == "form":
            self.at = None

    def handle_data(self, data):
        self.words.append(data)

    def __repr__(self):
        return "<%d %s %r>" % (self.status, dict(self.headers), self.text[:600])


class Browser:
    def __init__(self, hub):
        self.hub, self.cookies, self.page = hub, {}, None
        self.agent, self.address = "Test browser", None

    def ask(self, method, path, body=None, headers=()):
        c = http.client.HTTPConnection(self.hub.host, self.hub.port, timeout=60)
        head = {"User-Agent": self.agent, "Cookie": "; ".join("%s=%s" % x for x in self.cookies.items())}
        if self.address:
            head["X-Forwarded-For"] = self.address
        if body is not None:
            head.update({"Content-Type": "application/x-www-form-urlencoded", "Origin": self.hub.url, "Sec-Fetch-Site": "same-origin"})
        head.update(headers)
        c.request(method, path, body, {k: v for k, v in head.items() if v})
        r = c.getresponse()
        page = Page(r, r.read())
        c.close()
        for cookie in r.headers.get_all("Set-Cookie") or []:
            name, value = re.match(r"([^=]+)=([^;]*)", cookie).groups()
            assert "HttpOnly" in cookie and "SameSite=Lax" in cookie and "Path=/" in cookie, cookie
            self.cookies[name] = value
            if value:
                self.hub.secrets.add(value)
            else:
                del self.cookies[name]
        return page

    def go(self, path, status=200):
        """GET, following redirects within the hub."""
        self.page = self.ask("GET", path)
        return self.follow(status)

    def follow(self, status):
        while self.page.status == 303:
            path = self.page.headers["Location"]
            assert path.startswith("/") and not path.startswith("//"), path
            self.page = self.ask("GET", path)
        assert status is None or self.page.status == status, self.page
        return self.page

    def submit(self, action, status=200, **fields):
        """Sends a form of the page that is shown."""
        data = dict(self.page.forms[action], **fields)
        self.page = self.ask("POST", action, urllib.parse.urlencode(data))
        return self.follow(status)

    def login(self, user, password, status=200):
        self.go("/login")
        return self.submit("/login", status, username=user, password=password)
