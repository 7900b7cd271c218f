"""Threats on the wire: limits, smuggling, injection, traversal, floods. Each test bears the id of its threat."""
import itertools
import os
import re
import select
import threading

import h11
import pytest
from rawhttp import Closed, build
from registry import INDEX, basic, digest, dumps, index_doc, quote

DOC = dumps(index_doc([]))
HOST = b"Host: registry.test\r\n"


# --- T26 numbers of lists
NUMBERS = ["0", "1", "1000", "100000", "2147483647", "2147483648", "4294967296", "9223372036854775807", "9223372036854775808",
           "18446744073709551616", "9" * 60, "00000000000000000001"]
NO_NUMBERS = ["-1", "-0", "+1", "1e9", "0x10", "abc", "", " ", "1 ", "1.0", "1,000", "NaN", "null", "9" * 100, "%00", "1%00", "\u0661"]


def test_T26_sizes_of_pages(hub, admin, repo):
    """Whatever n says: an answer of bounded size, no allocation by n."""
    for i in range(3):
        assert admin.put_manifest(repo, "t%d" % i, DOC).status == 201
    subject = dict(mediaType=INDEX, digest=digest(DOC), size=len(DOC))
    admin.put_manifest(repo, "r", index_doc([], subject=subject))
    paths = ["/v2/%s/tags/list" % repo, "/v2/_catalog", "/v2/%s/referrers/%s" % (repo, digest(DOC))]
    admin.get(paths[0])
    before = hub.process_stat()[1]
    for path in paths:
        for n in NUMBERS:
            a = admin.get("%s?n=%s" % (path, n))
            assert a.status == 200 and len(a.body) < 5 << 20, (path, n, a)
            assert admin.get("%s?last=a&n=%s" % (paths[0], n)).status == 200
        for n in NO_NUMBERS:
            a = admin.get("%s?n=%s" % (path, quote(n) if "%" not in n else n))
            assert a.status == 400, (path, n, a)
    assert hub.process_stat()[1] - before < 64 << 20
    assert len(admin.get(paths[0] + "?n=" + "9" * 60).json()["tags"]) == 4


# --- T27 huge manifests
def test_T27_a_gigabyte_is_refused_before_it_comes(hub, admin, repo):
    """Announced, or by chunks: 413 at the limit, memory flat."""
    auth = [("Authorization", admin.authorization(None)), ("Content-Type", INDEX)]
    before = hub.process_stat()[1]
    for _ in range(10):
        with hub.connect() as c:
            c.send(build("PUT", "/v2/%s/manifests/t" % repo, auth + [("Content-Length", str(1 << 30))], b""))
            assert c.answer("PUT").status == 413
        with hub.connect() as c:
            c.send(build("PUT", "/v2/%s/manifests/t" % repo, auth + [("Transfer-Encoding", "chunked")], None)
                   .replace(b"Content-Length: 0\r\n", b""))
            for _ in range(40):
                c.send_most(b"100000\r\n" + b" " * (1 << 20) + b"\r\n")
            assert c.answer("PUT").status == 413
    assert hub.process_stat()[1] - before < 256 << 20


def test_T27_content_length_that_lies(hub, admin, repo):
    """More announced than sent, and less: nothing is stored, nothing runs over."""
    auth = [("Authorization", admin.authorization(None)), ("Content-Type", INDEX)]
    with hub.connect() as c:
        c.send(build("PUT", "/v2/%s/manifests/t" % repo, auth + [("Content-Length", str(len(DOC) + 5))], DOC))
        c.end()
        with pytest.raises(Closed):
            c.answer("PUT")
    with hub.connect() as c:
        c.send(build("PUT", "/v2/%s/manifests/t" % repo, auth + [("Content-Length", str(len(DOC) - 5))], DOC))
        assert c.answer("PUT").status == 400
        assert c.answer().status == 400  # the rest is no request
        c.expect_close()
    assert admin.get("/v2/%s/manifests/t" % repo).status == 404


def test_T27_many_large_ones_at_once(new_hub):
    h = new_hub()
    doc = DOC[:-1] + b" " * ((4 << 20) - len(DOC)) + b"}"
    results = []

    def work(i):
        c = h.admin()
        results.append(c.put_manifest("lab/x%d" % i, "t", doc, INDEX).status)
        c.close()

    h.admin().get("/v2/")
    before = h.process_stat()[1]
    threads = [threading.Thread(target=work, args=(i,)) for i in range(24)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert results == [201] * 24
    assert h.process_stat()[1] - before < 768 << 20  # sanitizers keep freed memory for a while


def test_T27_large_bodies_share_one_budget(new_hub):
    """64 MiB of bodies that never end: the next one is told to come later, small requests go on, and room comes back."""
    h = new_hub(env={"BERTH_MAX_BUFFERED": "64M", "BERTH_BODY_MIN_RATE": "0"})
    admin = h.admin()
    head = [("Authorization", admin.authorization(None)), ("Content-Type", INDEX), ("Content-Length", str(4 << 20))]
    held = [h.connect() for _ in range(16)]
    for c in held:
        c.send(build("PUT", "/v2/lab/held/manifests/t", head, b" " * ((4 << 20) - 1)))
    h.until(lambda: admin.put_manifest("lab/x", "t", DOC[:-1] + b" " * 1000 + b"}", INDEX).status == 503, "the budget is used up")
    a = admin.put_manifest("lab/x", "t", DOC[:-1] + b" " * 1000 + b"}", INDEX)
    assert a.status == 503 and a.code == "UNAVAILABLE" and "max_buffered" in a.message, a
    assert admin.get("/v2/lab/x/tags/list").status in (200, 404) and admin.push_blob("lab/x", b"streams are no whole bodies")
    for c in held:
        c.close()
    h.until(lambda: admin.put_manifest("lab/x", "t", DOC, INDEX).status == 201, "room")


def test_T27_forms_of_strangers_leave_room(new_hub):
    """Token forms that never end use up a quarter of the budget, not what users push with."""
    h = new_hub(env={"BERTH_MAX_BUFFERED": "64M", "BERTH_BODY_MIN_RATE": "0"})
    head = [("Content-Type", "application/x-www-form-urlencoded"), ("Content-Length", str(64 << 10))]
    held = [h.connect() for _ in range(300)]
    for c in held:
        c.send(build("POST", "/token", head, b"a" * ((64 << 10) - 1)))

    def refused():
        ready = select.select([c.sock for c in held], [], [], 0)[0]
        return [c for c in held if c.sock in ready]

    h.until(lambda: len(refused()) >= 300 - 256, "the forms' part, 256 of them, is used up")
    assert h.admin().put_manifest("lab/x", "t", DOC, INDEX).status == 201
    assert len(refused()) < 100 and all(c.answer("POST").status == 503 for c in refused())
    for c in held:
        c.close()


# --- T29 slow and idle clients
def test_T29_slow_heads_are_ended_and_others_are_served(new_hub):
    """300 connections that never finish their head get 408; meanwhile everybody else is answered."""
    h = new_hub(env={"BERTH_HEADER_TIMEOUT": "1s"})
    c = h.admin()
    d, doc = c.push_image("lab/x", "t")
    slow = []
    for i in range(300):
        s = h.connect()
        s.send(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-%d: " % i)
        slow.append(s)
    for _ in range(200):
        assert c.pull("lab/x", "t") == doc
    for s in slow:
        a = s.answer()
        assert a.status == 408, a
        s.expect_close()
        s.close()
    assert h.metrics()["berth_http_timeouts_total"] >= 300


def test_T29_trickled_heads_do_not_buy_time(new_hub):
    """A byte now and then does not move the deadline."""
    h = new_hub(env={"BERTH_HEADER_TIMEOUT": "1s"})
    with h.connect() as c:
        c.send(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: ")
        try:
            for _ in range(1200):
                if select.select([c.sock], [], [], 0.05)[0]:
                    assert c.answer().status == 408
                    return
                c.send(b"a")
        except OSError:
            return  # closed on us while we trickled
        raise AssertionError("the head was waited for a minute")


def test_T29_slow_bodies_and_slow_readers_hold_no_worker(new_hub):
    """More of them than workers; both kinds end by the least rate, the others are served at once."""
    h = new_hub(env={"BERTH_WORKERS": "4"})
    c = h.admin()
    d, doc = c.push_image("lab/x", "t")
    big = os.urandom(32 << 20)
    c.push_blob("lab/x", big)
    h.extra.update(BERTH_BODY_GRACE="3s", BERTH_BODY_MIN_RATE="8M")  # from now on: that push may take its time
    h.restart()
    c.close()
    auth = [("Authorization", c.authorization(None))]
    held = []
    for i in range(20):
        s = h.connect()
        s.send(build("PATCH", c.start_upload("lab/x"), auth + [("Content-Length", "10000000")], b"x" * 10))
        held.append(s)
        s = h.connect(rcvbuf=4096)
        s.send(build("GET", "/v2/lab/x/blobs/" + digest(big), auth))
        held.append(s)
    for _ in range(50):
        assert c.pull("lab/x", "t") == doc
        assert c.get("/v2/lab/x/tags/list").status == 200
    c.push_blob("lab/x", b"meanwhile")
    h.until(lambda: h.metrics()["berth_http_timeouts_total"] >= 40, "40 timeouts")
    for s in held[::2]:
        assert s.answer("PATCH").status == 408
    for s in held[1::2]:
        with pytest.raises(Closed):
            s.answer()
    for s in held:
        s.close()


def test_T29_idle_connections_cost_others_nothing(hub, admin, repo):
    d, doc = admin.push_image(repo, "t")
    idle = [hub.connect() for _ in range(500)]
    for c in idle[::7]:
        assert c.request("GET", "/healthz").status == 200
    for _ in range(100):
        assert admin.pull(repo, "t") == doc
    for c in idle:
        c.close()


# --- T30 request smuggling
def smuggling_vectors():
    """(name, bytes of a request and what hides behind it)."""
    inner = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"
    head = b"POST /token HTTP/1.1\r\n" + HOST
    body = b"0\r\n\r\n"
    te_values = [b"chunked", b" chunked", b"chunked ", b"\tchunked", b"Chunked", b"chunked, chunked", b"identity, chunked", b"chunked, identity",
                 b"gzip, chunked", b"xchunked", b"chunked\x0b", b"\x0bchunked", b"chunked;q=1", b'"chunked"', b"chunke\xc4\xb1", b"", b"identity",
                 b"chunked\x00", b"cow", b",chunked", b"chunked,"]
    te_names = [b"Transfer-Encoding: ", b"Transfer-Encoding:", b"transfer-encoding: ", b"Transfer-Encoding : ", b"Transfer_Encoding: ",
                b" Transfer-Encoding: ", b"Transfer-Encoding\t: ", b"X: y\r\n Transfer-Encoding: ", b"X: y\nTransfer-Encoding: ", b"Transfer-Encoding\x00: ",
                b"X: y\rTransfer-Encoding: "]
    for name, value in itertools.product(te_names, te_values[:6]):
        yield "te %r" % (name + value), head + name + value + b"\r\n" + b"Content-Length: %d\r\n\r\n" % len(body + inner) + body + inner
    for value in te_values:
        yield "te-only %r" % value, head + b"Transfer-Encoding: " + value + b"\r\n\r\n" + body + inner
        yield "te-twice %r" % value, head + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: " + value + b"\r\n\r\n" + body + inner
        yield "te-cl %r" % value, head + b"Transfer-Encoding: " + value + b"\r\nContent-Length: 4\r\n\r\n" + body + inner
        yield "cl-te %r" % value, head + b"Content-Length: 4\r\nTransfer-Encoding: " + value + b"\r\n\r\n" + body + inner
    n = len(inner)
    for value in (b"%d, %d" % (n, n), b"%d,%d" % (n, n), b"+%d" % n, b"-%d" % n, b"0x%x" % n, b"%d " % n, b" %d" % n, b"0%d" % n, b"%d.0" % n, b"%d\x00" % n, b"",
                  b"%d;" % n, b"%de0" % n, b"1_0", b"\xb9", b"%d\x0b" % n, b"\x0b%d" % n, b"9" * 30, b"%d" % (2 ** 64), b"%d" % (2 ** 63), b"abc"):
        yield "cl %r" % value, head + b"Content-Length: " + value + b"\r\n\r\n" + inner
        yield "cl-0-first %r" % value, head + b"Content-Length: 0\r\nContent-Length: " + value + b"\r\n\r\n" + inner
        yield "cl-0-last %r" % value, head + b"Content-Length: " + value + b"\r\nContent-Length: 0\r\n\r\n" + inner
    for sizes in (b"0;\n\r\n\r\n", b"0\n\r\n", b"0\r\n\n", b"00000000000000000\r\n\r\n", b"0x0\r\n\r\n", b"0 \r\n\r\n", b" 0\r\n\r\n", b"+0\r\n\r\n", b"-0\r\n\r\n",
                  b"0;a=\"\r\n\r\n\"\r\n\r\n", b"0\r\nX: y\r\n Z: a\r\n\r\n", b"0\r\nContent-Length: 5\r\n\r\n", b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
                  b"0;\r\n\r\n", b"0\r\r\n\r\n", b"\r\n0\r\n\r\n", b"1\r\nA0\r\n\r\n", b"1\r\nA\n0\r\n\r\n", b"1\r\nAB\r\n0\r\n\r\n", b"fffffffffffffffff0\r\n", b"G\r\n\r\n",
                  b"0\x00\r\n\r\n", b"0\t\r\n\r\n", b"0;ext\x00\r\n\r\n", b"0;" + b"e" * 300 + b"\r\n\r\n", b"10000000000000000\r\n\r\n", b"0\r\nbad trailer\r\n\r\n"):
        yield "chunk %r" % sizes, head + b"Transfer-Encoding: chunked\r\n\r\n" + sizes + inner
    for line in (b"GET / HTTP/1.1\r\n" + HOST + b"X: a\r\n\tb\r\n\r\n", b"GET / HTTP/1.1\r\n" + HOST + b"X\r\n\r\n", b"GET / HTTP/1.1\r\n" + HOST + b": x\r\n\r\n",
                 b"GET / HTTP/1.1\n" + HOST + b"\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n",
                 b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nabc", b"GET / HTTP/1.2\r\n" + HOST + b"\r\n", b"GET / http/1.1\r\n" + HOST + b"\r\n",
                 b"GET / HTTP/1.1\r\n" + HOST + b"Connection: Content-Length\r\nContent-Length: 3\r\n\r\nabc", b"GET /\r\n", b"\r\n\r\nGET / HTTP/1.1\r\n" + HOST + b"\r\n",
                 b"GET / HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc", b"GET /? HTTP/1.1\r\n" + HOST + b"X: \xff\r\n\r\n",
                 b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"GET / HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n",
                 b"HEAD / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc", b"GET / HTTP/1.1\r\n" + HOST + b"Upgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
                 b"GET / HTTP/1.1\r\n" + HOST + b"X: y\r\r\n\r\n", b"GET / HTTP/1.1\r\n" + HOST + b"\rX: y\r\n\r\n", b"GET / HTTP/1.1\r\n" + HOST + b"X:\ty\x0b\r\n\r\n"):
        yield "head %r" % line, line + inner


def by_h11(data):
    """How many complete requests h11 sees, and whether it then refuses; it is used as a strict reader."""
    conn, n = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20), 0
    conn.receive_data(data)
    conn.receive_data(b"")
    while True:
        try:
            event = conn.next_event()
        except h11.RemoteProtocolError:
            return n, True
        if event is h11.NEED_DATA or event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
            if conn.our_state is h11.SEND_RESPONSE and conn.their_state is h11.DONE or event is h11.PAUSED:
                pass
            else:
                return n, False
        if isinstance(event, h11.EndOfMessage):
            n += 1
        if event is h11.PAUSED or isinstance(event, h11.EndOfMessage):
            try:
                if conn.our_state is h11.SEND_RESPONSE:
                    conn.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                    conn.send(h11.EndOfMessage())
                conn.start_next_cycle()
            except h11.LocalProtocolError:
                return n, False  # the connection ends here


def by_hub(hub, data):
    """Statuses of all answers until the connection ends, and the paths the server says it was asked for."""
    with hub.connect() as c:
        c.send_most(data)
        try:
            c.end()
        except OSError:
            pass
        got = []
        while True:
            try:
                got.append(c.answer("HEAD" if data.startswith(b"HEAD") and not got else "GET", check=False).status)
            except (Closed, ConnectionError):
                return got


def test_T30_smuggling_vectors(new_hub):
    """Some 250 vectors: never more requests are seen than a strict reader sees; after an error nothing more."""
    h = new_hub()
    vectors = list(smuggling_vectors())
    assert len(vectors) > 240
    wrong = []
    for name, data in vectors:
        n, refused = by_h11(data)
        got = by_hub(h, data)
        # an answer of the parser's own ends the connection: it must be the last
        smuggled = got.count(404)  # /smuggled is no path here; the outer requests never answer 404
        if len(got) > n + 1 or (refused and smuggled > max(n - 1, 0)) or smuggled > 1:
            wrong.append((name, "h11", n, refused, "hub", got))
        if smuggled and n < 2:
            wrong.append((name, "executed what h11 does not see", n, refused, got))
    assert wrong == []


def test_T30_errors_of_framing_end_the_connection(hub):
    """400 and close for each classic: CL with TE, two CLs, bare LF, folding, space before the colon, NUL."""
    tail = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"
    for lines in (b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", b"Content-Length: 3\r\nContent-Length: 3\r\n", b"X: y\n", b"X: a\r\n b\r\n", b"X : y\r\n",
                  b"X: a\x00b\r\n", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"Content-Length: 1, 1\r\n"):
        with hub.connect() as c:
            c.send(b"POST /token HTTP/1.1\r\n" + HOST + lines + b"\r\n" + tail)
            a = c.answer("POST")
            assert a.status == 400 and not c.usable, (lines, a)
            c.expect_close()


# --- T31 header injection
INJECTIONS = ["%0d%0aX-Injected:%20yes", "%0aX-Injected:%20yes", "%0dX-Injected:%20yes", "%0D%0A%0D%0A<html>", "%E5%98%8A%E5%98%8DX-Injected:yes",
              "%c4%8d%c4%8aX-Injected:yes", "%u000aX-Injected:yes", "%00", "%0b", "%7f", "\\r\\nX-Injected:yes", "%250d%250aX-Injected:yes", "%85", "%e2%80%a8"]


def test_T31_nothing_reflected_breaks_a_header(hub, admin, repo):
    """Every field that comes back in a header x every form of a line break."""
    admin.put_manifest(repo, "t", DOC)
    auth = admin.authorization(None)
    subject = dict(mediaType=INDEX, digest=digest(DOC), size=len(DOC))
    admin.put_manifest(repo, "r", index_doc([], subject=subject))
    for x in INJECTIONS:
        targets = [("GET", "/v2/alice/%s/tags/list" % x), ("GET", "/v2/%s/tags/list?n=1&last=%s" % (repo, x)), ("GET", "/v2/%s/manifests/%s" % (repo, x)),
                   ("POST", "/v2/%s%s/blobs/uploads/" % (repo, x)), ("GET", "/v2/%s/blobs/%s" % (repo, x)), ("GET", "/v2/%s/blobs/uploads/%s" % (repo, x)),
                   ("GET", "/v2/%s/referrers/%s?n=1&artifactType=%s" % (repo, digest(DOC), x)), ("GET", "/v2/_catalog?n=1&last=" + x),
                   ("PUT", "/v2/%s/manifests/%s?tag=%s" % (repo, digest(DOC), x)), ("POST", "/v2/%s/blobs/uploads/?digest=%s" % (repo, x)),
                   ("POST", "/v2/%s/blobs/uploads/?mount=%s&from=%s" % (repo, digest(b"?"), x)), ("GET", "/token?scope=repository:%s:pull&service=%s" % (x, x)),
                   ("GET", "/" + x), ("GET", "/v2/?" + x)]
        for method, target in targets:
            for headers in ([("Authorization", auth), ("Content-Type", INDEX)], [], [("Authorization", basic("u" + x, "p" + x))],
                            [("User-Agent", x), ("X-Request-Id", x), ("Origin", x), ("Referer", x)]):
                a = hub.raw(build(method, target, headers, DOC if method == "PUT" else None), method)
                assert a.get("X-Injected") is None and b"\nX-Injected" not in a.head and b"<html>" not in a.head, (target, a)
                assert all(0x20 <= ord(ch) < 0x7f for k, v in a.headers for ch in v), a


# --- T32 path traversal
def traversal_paths():
    ups = ["..", "%2e%2e", ".%2e", "%2E.", "%252e%252e", "..%00", "..;", "%c0%ae%c0%ae", "%uff0e%uff0e", "...", ".", "%2e", "..%5c", "..\\"]
    slashes = ["/", "%2f", "%2F", "%5c", "//", "%252f", "%c0%af", "/./"]
    goals = ["etc/passwd", "keys/token.seed", "berth.db", "proc/self/environ", "berth.sock"]
    places = ["/%s", "/v2/%s", "/v2/alice/%s/tags/list", "/v2/alice/x/manifests/%s", "/v2/alice/x/blobs/%s", "/v2/alice/x/blobs/sha256:%s",
              "/v2/alice/x/blobs/uploads/%s", "/v2/alice/x/referrers/%s", "/v2/%s/manifests/latest", "/v2/alice/x/blobs/uploads/?mount=%s&from=%s"]
    for up, slash, goal, place in itertools.product(ups, slashes, goals, places):
        path = slash.join([up] * 4 + goal.split("/"))
        yield place.replace("%s", path)


def test_T32_path_traversal(new_hub):
    """5,000 paths, under strace: no answer brings a file, and no file outside the data directory is opened."""
    trace = os.path.join("/tmp", "berth-trace-%d" % os.getpid())
    h = new_hub(wrapper=["strace", "-f", "-D", "-qq", "-s", "300", "-e", "trace=open,openat,openat2,stat,readlink", "-o", trace],
                env={"ASAN_OPTIONS": "detect_leaks=0"})
    c = h.admin()
    c.push_image("alice/x", "latest")
    with open(h.data + "/keys/token.seed", "rb") as f:
        seed = f.read()
    begin = os.path.getsize(trace)
    assert begin > 1000  # strace is at work
    paths = list(traversal_paths())
    assert len(paths) >= 5000
    auth = [("Authorization", c.authorization(None))]
    for i in range(0, len(paths), 200):
        part = paths[i:i + 200]
        with h.connect() as conn:
            reqs = [build("POST" if "mount" in p else "GET", p, auth) for p in part]
            sender = threading.Thread(target=conn.send_most, args=(b"".join(reqs),))
            sender.start()
            for p in part:
                a = conn.answer()
                assert a.status in (400, 404, 202, 414), (p, a)
                assert (a.status == 202) == ("mount" in p and a.get("Location") is not None), (p, a)
                assert b"root:" not in a.body and seed not in a.body and b"SQLite format" not in a.body
            sender.join()
    with open(trace, errors="replace") as f:
        f.seek(begin)
        opened = set(re.findall(r'(?:open|stat|readlink)\w*\((?:AT_FDCWD, |\d+, )?"([^"]*)"', f.read()))
    os.unlink(trace)
    assert not [p for p in opened if ".." in p or "passwd" in p or "%" in p or "environ" in p], opened


# --- T33 abuse of ranges
def test_T33_ranges_never_multiply_the_work(hub, admin, repo):
    """Overlapping, many, tiny: at most the blob once, or 416, or the head is too large."""
    data = os.urandom(1 << 20)
    path = "/v2/%s/blobs/%s" % (repo, admin.push_blob(repo, data))
    before = hub.metrics()["berth_http_sent_bytes_total"]
    values = ["0-,0-,0-", ",".join(["0-1048575"] * 1000), ",".join("%d-%d" % (i, i) for i in range(2000)), ",".join(["0-0"] * 3000),
              ",".join("-%d" % i for i in range(1, 2000)), ",".join("%d-" % i for i in range(2000)), "," * 10000, ",".join(["0-"] * 8), "0-0," * 8,
              ",".join("%d-" % i for i in range(8))]
    count = 0
    for v in values:
        a = admin.get(path, headers=[("Range", "bytes=" + v)])
        assert a.status in (200, 206, 416, 431), a
        assert len(a.body) <= len(data) + 4096
        count += 1
    many = ",".join("%d-%d" % (i, i + 5) for i in range(10000))
    with hub.connect() as c:
        assert c.request("GET", path, [("Authorization", admin.authorization(None)), ("Range", "bytes=" + many)]).status == 431
    assert hub.metrics()["berth_http_sent_bytes_total"] - before < (count + 2) * (len(data) + 8192)


# --- T47 forged client addresses
def flood(h, values, header="X-Forwarded-For"):
    with h.connect() as c:
        return [c.request("GET", "/v2/", [(header, v)]).status for v in values]


def test_T47_forwarded_addresses_of_strangers_are_not_believed(new_hub):
    """10,000 spoofed values from one peer land in one bucket, and the log shows the peer."""
    h = new_hub(env={"BERTH_MAX_REQUESTS_PER_ADDRESS": "20"})
    spoofed = ["10.%d.%d.%d" % (i % 7, i // 256 % 256, i % 256) for i in range(10000)]
    got = flood(h, spoofed)
    assert set(got) == {401, 429} and got.count(401) < 5000, got.count(401)
    for header in ("Forwarded", "X-Real-IP", "X-Client-IP", "True-Client-IP", "CF-Connecting-IP"):
        assert 429 in flood(h, spoofed[:300], header)
    h.stop()
    assert {r["client"] for r in h.log() if r["msg"] == "request"} == {"127.0.0.1"}


def test_T47_listed_proxies_are_believed_from_the_right(new_hub):
    h = new_hub(env={"BERTH_TRUSTED_PROXIES": "127.0.0.1,192.0.2.0/24", "BERTH_MAX_REQUESTS_PER_ADDRESS": "2"})
    assert flood(h, ["198.51.100.%d" % i for i in range(100)]) == [401] * 100  # a bucket each
    cases = {"203.0.113.7": "203.0.113.7", "evil, 203.0.113.8": "203.0.113.8", "1.1.1.1, 203.0.113.9": "203.0.113.9",
             "203.0.113.10, 192.0.2.5": "203.0.113.10", "2001:db8::1": "2001:db8::1", "nonsense": "127.0.0.1", "": "127.0.0.1",
             "1.1.1.1, nonsense": "127.0.0.1", "203.0.113.11:5555": "203.0.113.11",
             "[2001:db8::2]:443": "2001:db8::2", "[2001:db8::3]": "2001:db8::3", "203.0.113.12:": "127.0.0.1", "a:b": "127.0.0.1"}
    for i, value in enumerate(cases):
        with h.connect() as c:
            c.request("GET", "/case/%d" % i, [("X-Forwarded-For", value)])
    assert 429 in flood(h, ["8.8.8.%d, 203.0.113.50" % (i % 200) for i in range(60)])  # one client behind forged ones
    h.stop()
    seen = {r["path"]: r["client"] for r in h.log() if r["msg"] == "request" and r["path"].startswith("/case/")}
    for i, (value, want) in enumerate(cases.items()):
        assert seen["/case/%d" % i] == want, (value, seen["/case/%d" % i])


def test_T47_several_lines_are_one_list(new_hub):
    """HAProxy adds a line of its own behind those of the client, who may send as many as it likes."""
    h = new_hub(env={"BERTH_TRUSTED_PROXIES": "127.0.0.1,192.0.2.0/24"})
    cases = [(["6.6.6.6", "203.0.113.1"], "203.0.113.1"), (["203.0.113.2", "192.0.2.7"], "203.0.113.2"),
             (["6.6.6.6", "203.0.113.3", "192.0.2.7, 192.0.2.8", "192.0.2.9"], "203.0.113.3"),
             (["6.6.6.6", "nonsense"], "127.0.0.1"), (["6.6.6.6", "nonsense", "192.0.2.9"], "192.0.2.9")]
    with h.connect() as c:
        for i, (lines, _) in enumerate(cases):
            c.request("GET", "/case/%d" % i, [("X-Forwarded-For", v) for v in lines])
    h.stop()
    seen = {r["path"]: r["client"] for r in h.log() if r["msg"] == "request"}
    assert [seen["/case/%d" % i] for i in range(len(cases))] == [want for _, want in cases]


def test_T47_a_proxy_that_names_nobody_is_not_everybody(new_hub):
    """Its clients do not share one bucket, which a single one of them could empty; said once in the log."""
    h = new_hub(env={"BERTH_TRUSTED_PROXIES": "127.0.0.1", "BERTH_MAX_REQUESTS_PER_ADDRESS": "2", "BERTH_MAX_LOGINS_PER_ADDRESS": "2"})
    wrong = ("Authorization", basic("admin", "wrong-password"))
    with h.connect() as c:
        guesses = [("Authorization", basic("user-%d" % i, "wrong-password")) for i in range(30)]
        assert {c.request("GET", "/v2/", [g]).status for g in guesses} == {401}
        assert c.request("GET", "/metrics").status == 401  # the proxy is this machine, its clients are not
        assert 429 in [c.request("GET", "/v2/", [wrong, ("X-Forwarded-For", "203.0.113.5")]).status for _ in range(12)]
        assert c.request("GET", "/v2/", [("X-Forwarded-For", "203.0.113.6")]).status == 401
    h.stop()
    assert len([r for r in h.log() if "X-Forwarded-For" in r["msg"]]) == 1


def test_T47_failed_logins_are_counted_by_peer(new_hub):
    h = new_hub(env={"BERTH_MAX_LOGINS_PER_ADDRESS": "10"})
    auth = ("Authorization", basic("admin", "wrong-password"))
    with h.connect() as c:
        got = [c.request("GET", "/v2/", [auth, ("X-Forwarded-For", "10.0.0.%d" % i)]).status for i in range(60)]
    assert got.count(401) <= 12 and got[-1] == 429, got


# --- T53 log injection
NASTY = ['quote"quote', "back\\slash", "tab\there", "\x1b[31mred", "\u2028line", "\xff\xfe", "a" * 10000, '{"level":"error"}', "%0a%0d", "</script>", "caf\u00e9",
         "\x7f", "$(id)", "\x9b31m", "\x85next", "\u202egnp", "new%0aline"]


def nasty_requests(h):
    c = h.admin()
    for text in NASTY:
        raw = text.encode("utf-8").decode("latin-1")
        for headers, path in (([("User-Agent", raw)], "/v2/"), ([], "/v2/" + quote(text)[:8000]), ([("Authorization", "Basic " + raw)], "/v2/"),
                              ([("Authorization", basic(text[:100], "p"))], "/v2/"), ([("X-Forwarded-For", raw)], "/v2/"), ([("Referer", raw)], "/v2/x/" + quote(text)[:3000])):
            try:
                h.raw(build("GET", path, headers))
            except Closed:
                pass
    c.get("/v2/a/b/manifests/" + quote("\n{\"forged\":1}"))


def test_T53_every_log_line_is_one_json_object(new_hub):
    """Whatever clients send; Hub.stop parses each line."""
    h = new_hub(env={"BERTH_LOG_LEVEL": "debug"})
    nasty_requests(h)
    h.stop()
    text = h.stderr()
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e]", text) and all(len(line) < 20000 for line in text.splitlines())
    assert not [r for r in h.log() if "forged" in r or r["msg"] == "forged"]
    assert len([r for r in h.log() if r["msg"] == "request"]) > 60


def test_T53_logs_for_people_are_one_line_each(new_hub):
    h = new_hub(env={"BERTH_LOG_FORMAT": "human"})
    nasty_requests(h)
    h.stop()
    for line in h.stderr().splitlines():
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} (DEBUG|INFO |WARN |ERROR) ", line), line
        assert all(0x20 <= ord(ch) < 0x7f or ord(ch) > 0x9f for ch in line), line


def test_T53_commands_do_not_pass_escapes_to_the_terminal(new_hub):
    h = new_hub()
    for name in ("x\x1b[31m", "a\nb", "\x07"):
        done = h.command("user", "add", name, stdin="password-x-1\n", check=False)
        assert done.returncode != 0 and "\x1b" not in done.stderr + done.stdout and "\x07" not in done.stderr
    done = h.command("repo", "public", "a/\x1b[2J", check=False)
    assert done.returncode != 0 and "\x1b" not in done.stderr + done.stdout
