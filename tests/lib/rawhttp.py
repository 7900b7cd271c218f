"""HTTP/1.1 over a raw socket, read strictly: what a lenient client would forgive fails here.

Every answer is checked for what holds on all routes: framing, the headers the server always adds,
the shapes of JSON errors. So each test of anything is also a test of these.
"""
import json
import re
import socket
import ssl

TIMEOUT = 60  # a guard against hanging, never an assertion on time

# The codes of the specification's table, and TAG_INVALID, which its section on legacy errors names.
OCI_CODES = {
    "BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN", "MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID",
    "NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED", "DENIED", "UNSUPPORTED", "TOOMANYREQUESTS",
    "TAG_INVALID",
}
SERVER_CODES = OCI_CODES | {"UNKNOWN", "UNAVAILABLE"}  # 5xx: the specification leaves them open

_STATUS = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) ([\x20-\x7e]*)")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?)?")


class Broken(AssertionError):
    """The server's bytes are not an HTTP answer."""


class Closed(ConnectionError):
    """The connection ended before a whole answer."""


class Answer:
    def __init__(self, status, reason, headers, head):
        self.status, self.reason, self.headers, self.head = status, reason, headers, head
        self.body, self.interim = b"", []

    def get(self, name, default=None):
        for k, v in self.headers:
            if k.lower() == name.lower():
                return v
        return default

    def all(self, name):
        return [v for k, v in self.headers if k.lower() == name.lower()]

    def json(self):
        return json.loads(self.body)

    @property
    def code(self):
        """The first error code; None when the body holds none."""
        try:
            return self.json()["errors"][0]["code"]
        except (ValueError, KeyError, IndexError, TypeError):
            return None

    @property
    def message(self):
        return self.json()["errors"][0].get("message", "")

    def comparable(self, *masks):
        """Bytes without what differs between any two answers; masks: (regex, replacement) pairs."""
        head = [(k, v) for k, v in self.headers if k not in ("Date", "X-Request-Id", "Content-Length")]
        text = repr((self.status, self.reason, head)).encode() + b"\n" + self.body
        for pattern, to in masks:
            text = re.sub(pattern, to, text)
        return text

    def __repr__(self):
        return "<%d %s %r %r>" % (self.status, self.reason, self.headers, self.body[:300])


def check_error(a):
    """One of the three shapes of src/http/http.h: RFC 9457's, the Hub's, the specification's "Error Codes"; or OAuth's (RFC 6749 5.2)."""
    doc = json.loads(a.body)
    if a.get("Content-Type") == "application/problem+json":
        assert {"type", "title", "status", "detail", "code", "instance"} <= set(doc), a
        assert doc["status"] == a.status and doc["title"] == a.reason and doc["detail"], a
        assert doc["instance"] == a.get("X-Request-Id"), a
        assert re.fullmatch("[a-z_]+", doc["code"]), a
        return
    assert a.get("Content-Type") == "application/json", a
    if set(doc) == {"detail", "message", "errinfo"} or set(doc) == {"fields", "text"} or set(doc) == {"error", "error_description"}:
        return
    if set(doc) == {"error", "error_description"}:  # RFC 6749 5.2: the token exchange
        assert a.status == 400 and re.fullmatch("[a-z_]+", doc["error"]) and a.get("Cache-Control") == "no-store", a
        return
    assert set(doc) == {"errors"} and doc["errors"], a
    for e in doc["errors"]:
        assert set(e) <= {"code", "message", "detail"}, a
        assert e["code"] in (OCI_CODES if a.status < 500 else SERVER_CODES), a
        assert re.fullmatch("[A-Z_]+", e["code"]), a
        assert isinstance(e["message"], str) and e["message"], a


def check_answer(a, method):
    assert re.fullmatch(r"[0-9a-f]{16}", a.get("X-Request-Id", "")), a
    assert re.fullmatch(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT",
                        a.get("Date", "")), a
    assert a.get("X-Content-Type-Options") == "nosniff", a
    assert a.get("Docker-Distribution-Api-Version") == "registry/2.0", a
    for once in ("Date", "X-Request-Id", "Content-Length", "Content-Type", "Location", "Connection",
                 "Docker-Content-Digest", "Content-Range", "Retry-After", "OCI-Subject"):
        assert len(a.all(once)) <= 1, a
    assert a.get("Content-Encoding") is None, a
    if a.status >= 400 and method != "HEAD":
        check_error(a)
    if a.status == 401:
        assert a.get("WWW-Authenticate"), a
    if a.status in (429, 503):
        assert a.get("Retry-After", "").isdigit(), a
    if a.status == 405:
        assert a.get("Allow"), a
    warnings = a.all("Warning")
    assert all(re.fullmatch(r'299 - "[^"\\]*"', w) for w in warnings), a
    assert sum(len(w) for w in warnings) <= 4096, a


class Conn:
    """One connection. send() raw bytes, answer() reads exactly one response."""

    def __init__(self, host, port, tls=None, timeout=TIMEOUT, rcvbuf=None):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if rcvbuf:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        sock.settimeout(timeout)
        sock.connect((host, port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            sock = tls.wrap_socket(sock, server_hostname=host)
        self.sock, self.host, self.port, self.buf = sock, host, port, b""
        self.usable = True

    def close(self):
        self.usable = False
        try:
            self.sock.close()
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def send(self, data):
        self.sock.sendall(data)

    def send_most(self, data):
        """As send, but a server that answered and closed early is no error here."""
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            pass

    def end(self):
        self.sock.shutdown(socket.SHUT_WR)

    def _more(self):
        try:
            got = self.sock.recv(1 << 18)
        except (ConnectionResetError, ssl.SSLError):
            got = b""
        if not got:
            raise Closed("connection closed with %r pending" % self.buf[:200])
        self.buf += got

    def _take(self, n):
        parts = [self.buf[:n]]
        have = len(parts[0])
        self.buf = self.buf[n:]
        while have < n:
            self._more()
            part, self.buf = self.buf[:n - have], self.buf[n - have:]
            parts.append(part)
            have += len(part)
        return b"".join(parts)

    def head(self):
        """Status line and headers of the next answer, 1xx included."""
        while b"\r\n\r\n" not in self.buf:
            if len(self.buf) > 1 << 20:
                raise Broken("head without end")
            self._more()
        raw, self.buf = self.buf.split(b"\r\n\r\n", 1)
        lines = raw.split(b"\r\n")
        m = _STATUS.fullmatch(lines[0])
        if not m:
            raise Broken("status line %r" % lines[0])
        headers = []
        for line in lines[1:]:
            f = _FIELD.fullmatch(line)
            if not f:
                raise Broken("header line %r" % line)
            headers.append((f.group(1).decode(), (f.group(2) or b"").decode()))
        return Answer(int(m.group(1)), m.group(2).decode(), headers, raw)

    def answer(self, method="GET", check=True):
        interim = []
        a = self.head()
        while a.status < 200:
            interim.append(a.status)
            a = self.head()
        a.interim = interim
        lengths = a.all("Content-Length")
        if a.status in (204, 304):
            assert not lengths and not a.all("Transfer-Encoding"), a
        else:
            assert len(lengths) == 1 and lengths[0].isdigit() and not a.all("Transfer-Encoding"), a
            if method != "HEAD":
                a.body = self._take(int(lengths[0]))
        if a.get("Connection", "").lower() == "close":
            self.usable = False
        if check:
            check_answer(a, method)
        return a

    def expect_close(self):
        """The server ends the connection and says nothing more."""
        while True:
            try:
                got = self.sock.recv(65536)
            except (ConnectionResetError, ssl.SSLError):
                return
            assert not self.buf and not got, "bytes after the last answer: %r" % (self.buf + got)[:300]
            return

    def request(self, method, target, headers=(), body=None, chunked=False):
        self.send_most(build(method, target, headers, body, chunked, "%s:%d" % (self.host, self.port)))
        return self.answer(method)


def chunks(body, sizes=None):
    """The chunked coding of body; sizes: length of each piece, the last repeats."""
    out, at, i = [], 0, 0
    sizes = sizes or [65536]
    while at < len(body):
        n = sizes[min(i, len(sizes) - 1)]
        piece = body[at:at + n]
        out.append(b"%x\r\n%s\r\n" % (len(piece), piece))
        at, i = at + n, i + 1
    return b"".join(out) + b"0\r\n\r\n"


def build(method, target, headers=(), body=None, chunked=False, host="registry.test"):
    items = list(headers.items()) if isinstance(headers, dict) else list(headers)
    names = {k.lower() for k, _ in items}
    lines = ["%s %s HTTP/1.1" % (method, target)]
    if "host" not in names:
        lines.append("Host: " + host)
    lines += ["%s: %s" % kv for kv in items]
    data = b""
    if chunked:
        lines.append("Transfer-Encoding: chunked")
        data = chunks(body or b"")
    elif body is not None:
        data = body
        if "content-length" not in names:
            lines.append("Content-Length: %d" % len(body))
    elif method in ("POST", "PUT", "PATCH") and "content-length" not in names:
        lines.append("Content-Length: 0")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + data
