"""The server as an HTTP server: early answers, 100-continue, keep-alive, pipelining, slow clients (house.md 3.1)."""
import os
import socket
import threading

import pytest
from rawhttp import build, chunks
from registry import digest

GIGABYTE = 1 << 30


@pytest.fixture
def auth(admin):
    return [("Authorization", admin.authorization(None))]


# --- a final answer while the body is on its way
def early(hub, head, status, code, some=b"x" * 65536):
    """Announces a gigabyte, sends a little, and must have the answer without sending more."""
    with hub.connect() as c:
        c.send_most(head + some)
        a = c.answer("PUT")
        assert a.status == status and a.code == code, a
        assert a.get("Connection") == "close"
        c.expect_close() if not some else None


def test_early_401(hub, repo):
    for method, path in (("PATCH", "/v2/%s/blobs/uploads/x" % repo), ("PUT", "/v2/%s/manifests/t" % repo),
                         ("POST", "/v2/%s/blobs/uploads/?digest=%s" % (repo, digest(b"")))):
        early(hub, build(method, path, [("Content-Length", str(GIGABYTE))], b""), 401, "UNAUTHORIZED")


def test_early_403(hub, bob, repo):
    head = build("POST", "/v2/%s/blobs/uploads/?digest=%s" % (repo, digest(b"")),
                 [("Authorization", bob.authorization(None)), ("Content-Length", str(GIGABYTE))], b"")
    early(hub, head, 403, "DENIED")


def test_early_404(hub, admin, repo, auth):
    head = build("PATCH", "/v2/%s/blobs/uploads/%s" % (repo, "0" * 32), auth + [("Content-Length", str(GIGABYTE))], b"")
    early(hub, head, 404, "BLOB_UPLOAD_UNKNOWN")


def test_early_413_of_a_manifest(hub, repo, auth):
    headers = auth + [("Content-Type", "application/vnd.oci.image.index.v1+json")]
    path = "/v2/%s/manifests/t" % repo
    early(hub, build("PUT", path, headers + [("Content-Length", str(GIGABYTE))], b""), 413, "MANIFEST_INVALID")
    # chunked: as soon as the limit is passed
    head = build("PUT", path, headers + [("Transfer-Encoding", "chunked")], None).replace(b"Content-Length: 0\r\n", b"")
    early(hub, head, 413, "MANIFEST_INVALID", b"%x\r\n" % GIGABYTE + b" " * (5 << 20))


def test_early_416(hub, admin, repo, auth):
    location = admin.start_upload(repo)
    head = build("PATCH", location, auth + [("Content-Range", "5-%d" % (GIGABYTE + 4)), ("Content-Length", str(GIGABYTE))], b"")
    early(hub, head, 416, "BLOB_UPLOAD_INVALID")
    assert admin.get(location).status == 204


def test_early_400_of_a_bad_digest(hub, repo, auth):
    head = build("POST", "/v2/%s/blobs/uploads/?digest=bad" % repo, auth + [("Content-Length", str(GIGABYTE))], b"")
    early(hub, head, 400, "DIGEST_INVALID")


def test_small_rest_of_a_refused_body_keeps_the_connection(hub, repo, auth):
    with hub.connect() as c:
        a = c.request("POST", "/v2/%s/blobs/uploads/?digest=bad" % repo, auth, b"y" * 1000)
        assert a.status == 400 and c.usable, a
        assert c.request("GET", "/v2/", auth).status == 200


# --- Expect: 100-continue
def test_100_continue_then_body(hub, repo, auth):
    data = os.urandom(100000)
    with hub.connect() as c:
        c.send(build("POST", "/v2/%s/blobs/uploads/?digest=%s" % (repo, digest(data)),
                     auth + [("Expect", "100-continue"), ("Content-Length", str(len(data)))], b""))
        interim = c.head()
        assert interim.status == 100 and not interim.headers
        c.send(data)
        assert c.answer("POST").status == 201


def test_100_continue_for_a_chunked_body(hub, admin, repo, auth):
    data = os.urandom(5000)
    location = admin.start_upload(repo)
    with hub.connect() as c:
        c.send(build("PATCH", location, auth + [("Expect", "100-Continue"), ("Transfer-Encoding", "chunked")], None)
               .replace(b"Content-Length: 0\r\n", b""))
        assert c.head().status == 100
        c.send(chunks(data, [100]))
        assert c.answer("PATCH").status == 202


@pytest.mark.parametrize("case", ["anonymous", "too-large", "bad-digest", "unknown-session"])
def test_100_continue_is_refused_with_the_final_answer(hub, repo, auth, case):
    """No 100 before rights and limits have passed, so the body is never sent."""
    path, headers, status = {
        "anonymous": ("/v2/%s/blobs/uploads/?digest=%s" % (repo, digest(b"")), [], 401),
        "too-large": ("/v2/%s/manifests/t" % repo, auth, 413),
        "bad-digest": ("/v2/%s/blobs/uploads/?digest=x" % repo, auth, 400),
        "unknown-session": ("/v2/%s/blobs/uploads/zzz" % repo, auth, 404),
    }[case]
    method = {"too-large": "PUT", "unknown-session": "PATCH"}.get(case, "POST")
    with hub.connect() as c:
        c.send(build(method, path, headers + [("Expect", "100-continue"), ("Content-Length", str(GIGABYTE))], b""))
        a = c.answer(method)
        assert a.status == status and a.interim == [], a
        assert not c.usable
        c.expect_close()


def test_100_continue_not_sent_when_the_body_is_already_here(hub, repo, auth):
    data = b"z" * 100
    with hub.connect() as c:
        c.send(build("POST", "/v2/%s/blobs/uploads/?digest=%s" % (repo, digest(data)),
                     auth + [("Expect", "100-continue")], data))
        a = c.answer("POST")
        assert a.status == 201 and a.interim in ([], [100]), a


# --- connections
def test_keep_alive(hub, auth):
    with hub.connect() as c:
        for _ in range(100):
            assert c.request("GET", "/v2/", auth).status == 200 and c.usable


def test_connection_close(hub, auth):
    with hub.connect() as c:
        a = c.request("GET", "/v2/", auth + [("Connection", "close")])
        assert a.status == 200 and a.get("Connection") == "close"
        c.expect_close()


def test_http_1_0(hub, auth):
    with hub.connect() as c:
        c.send(b"GET /v2/ HTTP/1.0\r\nAuthorization: " + auth[0][1].encode() + b"\r\n\r\n")
        assert c.answer().status == 200
        c.expect_close()


@pytest.mark.parametrize("host, good", [("a b", False), ("user@a", False), ("a/b", False), ("a#b", False), ("\xff", False), ("<a>", False),
                                        ("", True), ("a.b:80", True), ("[::1]:5000", True), ("xn--a_b~%41", True)])
def test_host_is_an_authority(hub, host, good):
    with hub.connect() as c:
        c.send(b"GET /healthz HTTP/1.1\r\nHost: " + host.encode("latin-1") + b"\r\n\r\n")
        a = c.answer()
        assert a.status == (200 if good else 400), a
        if not good:
            assert a.json()["errors"][0]["message"].startswith("malformed request: Host is a name or address")
            c.expect_close()


def test_pipelining(hub, admin, repo, auth):
    """Answers come in order, whatever is fast or slow, small or large."""
    d, doc = admin.push_image(repo, "t")
    big = os.urandom(300000)
    admin.push_blob(repo, big)
    todo = []
    for i in range(40):
        todo.append([("GET", "/v2/", 200, None), ("GET", "/v2/%s/manifests/t" % repo, 200, doc),
                     ("HEAD", "/v2/%s/manifests/t" % repo, 200, b""), ("GET", "/v2/%s/manifests/x%d" % (repo, i), 404, None),
                     ("GET", "/v2/%s/blobs/%s" % (repo, digest(big)), 200, big)][i % 5])
    with hub.connect() as c:
        writer = threading.Thread(target=c.send, args=(b"".join(build(m, p, auth) for m, p, _, _ in todo),))
        writer.start()
        for method, path, status, body in todo:
            a = c.answer(method)
            assert a.status == status and (body is None or a.body == body), (path, a)
        writer.join()


@pytest.mark.parametrize("size", [10, 600, 3000])
def test_pipelining_of_more_than_a_buffer(hub, admin, repo, size):
    """Served by workers, with bodies and without: what waits in the socket is not forgotten."""
    pad = [("Authorization", admin.authorization(None)), ("X-Pad", "p" * size)]
    some = [build("GET", "/v2/%s/tags/list" % repo, pad), build("GET", "/v2/", pad[1:]),
            build("PUT", "/v2/%s/manifests/bad!" % repo, pad, b"{}"), build("GET", "/token", pad[1:])]
    with hub.connect() as c:
        writer = threading.Thread(target=c.send, args=(b"".join(some) * 50,))
        writer.start()
        got = [c.answer().status for _ in range(200)]
        writer.join()
    assert got == [404, 401, 400, 200] * 50


def test_pipelined_uploads(hub, admin, repo, auth):
    """Bodies and requests in one stream, chunked and not."""
    parts, out = [os.urandom(n) for n in (1, 70000, 0, 333)], b""
    for i, data in enumerate(parts):
        path = "/v2/%s/blobs/uploads/?digest=%s" % (repo, digest(data))
        out += build("POST", path, auth, data, chunked=bool(i % 2))
    with hub.connect() as c:
        c.send(out + build("GET", "/v2/", auth))
        for data in parts:
            assert c.answer("POST").status == 201
        assert c.answer().status == 200
    for data in parts:
        assert admin.get("/v2/%s/blobs/%s" % (repo, digest(data))).body == data


def test_a_request_in_single_bytes(hub, admin, repo, auth):
    data = b"split anywhere"
    stream = build("POST", "/v2/%s/blobs/uploads/?digest=%s" % (repo, digest(data)), auth, data, chunked=True)
    with hub.connect() as c:
        for i in range(len(stream)):
            c.send(stream[i:i + 1])
        assert c.answer("POST").status == 201
        for piece in (7, 13):
            for i in range(0, len(stream), piece):
                c.send(stream[i:i + piece])
            assert c.answer("POST").status == 201


def test_half_close_after_the_request(hub, auth):
    """A client that shuts its sending side down still gets its answer."""
    with hub.connect() as c:
        c.send(build("GET", "/v2/", auth))
        c.end()
        assert c.answer().status == 200
        c.expect_close()


def test_chunked_trailers_and_extensions(hub, admin, repo, auth):
    data = b"0123456789"
    head = build("POST", "/v2/%s/blobs/uploads/?digest=%s" % (repo, digest(data)),
                 auth + [("Transfer-Encoding", "chunked")], None).replace(b"Content-Length: 0\r\n", b"")
    with hub.connect() as c:
        c.send(head + b"A;x=y\r\n" + data + b"\r\n0\r\nX-Trailer: 1\r\n\r\n" + build("GET", "/v2/", auth))
        a = c.answer("POST")
        assert a.status in (201, 400), a
        if a.status == 201:
            assert c.answer().status == 200


@pytest.mark.parametrize("body", [b"zz\r\n", b"5\r\nabc", b"5\r\nabcdeXX\r\n0\r\n\r\n", b"-1\r\n", b"1 \r\nx\r\n0\r\n\r\n", b"0x1\r\nx\r\n",
                                  b"fffffffffffffffff\r\nx", b"\r\n", b"5\nabcde\r\n0\r\n\r\n", b"1\r\nx\r\n0\r\nbad trailer\r\n\r\n"])
def test_bad_chunked_bodies(hub, admin, repo, auth, body):
    head = build("POST", "/v2/%s/blobs/uploads/?digest=%s" % (repo, digest(b"x")),
                 auth + [("Transfer-Encoding", "chunked")], None).replace(b"Content-Length: 0\r\n", b"")
    with hub.connect() as c:
        c.send_most(head + body)
        c.end()
        try:
            a = c.answer("POST")
        except ConnectionError:
            return  # cut short: there is nobody to answer
        assert a.status == 400 and not c.usable, a
        c.expect_close()


def test_a_slow_reader_gets_all(hub, admin, repo, auth):
    """Small windows, large blob: nothing is lost, and others are served meanwhile."""
    data = os.urandom(3 << 20)
    admin.push_blob(repo, data)
    c = hub.connect(rcvbuf=4096)
    c.send(build("GET", "/v2/%s/blobs/%s" % (repo, digest(data)), auth))
    got = b""
    while len(got) < 200000:
        got += c.sock.recv(1000)
        if len(got) % 50 == 0:
            assert admin.get("/v2/").status == 200
    c.buf = got
    assert c.answer().body == data
    c.close()


def test_a_client_that_leaves_in_the_middle(hub, admin, repo, auth):
    data = os.urandom(3 << 20)
    admin.push_blob(repo, data)
    for _ in range(20):
        c = hub.connect(rcvbuf=4096)
        c.send(build("GET", "/v2/%s/blobs/%s" % (repo, digest(data)), auth))
        c.sock.recv(1000)
        c.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        c.close()  # RST
    assert admin.get("/v2/%s/blobs/%s" % (repo, digest(data))).body == data


def test_many_clients_at_once(hub, admin, repo):
    d, doc = admin.push_image(repo, "t")
    wrong = []

    def work():
        c = hub.admin()
        for _ in range(40):
            a = c.get("/v2/%s/manifests/t" % repo)
            if a.status != 200 or a.body != doc:
                wrong.append(a)
        c.close()

    threads = [threading.Thread(target=work) for _ in range(16)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert not wrong
