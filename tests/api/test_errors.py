"""Errors: unknown paths, methods, malformed requests. Every answer is OCI JSON (rawhttp checks its shape)."""
import pytest
from rawhttp import build
from registry import basic, digest, dumps, index_doc

HOST = b"Host: registry.test\r\n"


def raw(hub, data, method="GET"):
    return hub.raw(data, method)


@pytest.mark.parametrize("path", ["/v1/", "/v2/x", "/v2/a/b/unknown/thing", "/v2/a/b/blobs", "/favicon.ico", "/v2//", "/v3/",
                                  "/v2/a/b/tags", "/v2/a/b/tags/other", "/v2/a/manifests/", "/v2/a/blobs/", "/v2/_catalog/x",
                                  "/v2/a/b/manifests/t/", "/v2/a/b/referrers/", "/healthz/x", "/" + "a/" * 300], ids=lambda p: p[:30])
def test_unknown_path(admin, path):
    a = admin.get(path)
    assert a.status == 404 and a.code, a


@pytest.mark.parametrize("method,path", [
    ("POST", "/v2/"), ("PUT", "/v2/a/b/tags/list"), ("POST", "/v2/a/b/manifests/t"), ("PATCH", "/v2/a/b/manifests/t"),
    ("DELETE", "/v2/a/b/tags/list"), ("PUT", "/v2/a/b/blobs/" + digest(b"")), ("GET", "/v2/a/b/blobs/uploads/"),
    ("DELETE", "/v2/_catalog"), ("PUT", "/token"), ("POST", "/v2/a/b/referrers/" + digest(b"")),
])
def test_method_not_offered(admin, method, path):
    a = admin.request(method, path)
    assert a.status == 405 and a.code == "UNSUPPORTED", a
    assert method not in a.get("Allow").split(", ") and "GET" in a.get("Allow") or "POST" in a.get("Allow")


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PROPFIND", "LINK", "MKCOL", "PURGE"])
def test_other_methods(hub, method):
    a = raw(hub, build(method, "/v2/"), method)
    assert a.status in (405, 400, 501), a


@pytest.mark.parametrize("data,status", [
    (b"GET /v2/ HTTP/1.1\r\n\r\n", 400),                                   # no Host
    (b"GET /v2/ HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    (b"GET /v2/ HTTP/2.0\r\n" + HOST + b"\r\n", None),
    (b"GET /v2/ HTTP/1.1 \r\n" + HOST + b"\r\n", 400),
    (b"GET  /v2/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"GET\t/v2/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"GET /v2/\r\n\r\n", 400),                                                # HTTP/0.9
    (b"get /v2/ HTTP/1.1\r\n" + HOST + b"\r\n", None),
    (b"G@T /v2/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"GET v2/ HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"GET /v2/\x01 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"GET /v2/\xff HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"GET /v2/#x HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    (b"GET /v2/ HTTP/1.1\r\n" + HOST + b"X : y\r\n\r\n", 400),
    (b"GET /v2/ HTTP/1.1\r\n" + HOST + b": y\r\n\r\n", 400),
    (b"GET /v2/ HTTP/1.1\r\n" + HOST + b"X\r\n\r\n", 400),
    (b"GET /v2/ HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n", 400),        # folded
    (b"GET /v2/ HTTP/1.1\r\n" + HOST + b"X: a\x00b\r\n\r\n", 400),
    (b"GET /v2/ HTTP/1.1\r\n" + HOST + b"X: a\x7fb\r\n\r\n", 400),
    (b"GET /v2/ HTTP/1.1\r\n" + HOST + b"X: a\rb\r\n\r\n", 400),
    (b"GET /v2/ HTTP/1.1\n" + HOST + b"\r\n", 400),                        # bare LF
    (b"GET /v2/ HTTP/1.1\r\nHost: x\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),                # TLS on a plain port
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", None),
    (b"CONNECT x:80 HTTP/1.1\r\n" + HOST + b"\r\n", None),
    (b"GET /v2/ HTTP/1.1\r\n" + HOST + b"Content-Length: x\r\n\r\n", 400),
    (b"GET /v2/ HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n", 400),
    (b"GET /v2/ HTTP/1.1\r\n" + HOST + b"Content-Length: +1\r\n\r\n", 400),
    (b"GET /v2/ HTTP/1.1\r\n" + HOST + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
    (b"GET /v2/ HTTP/1.1\r\n" + HOST + b"Content-Length: 1, 1\r\n\r\n", 400),
    (b"POST /token HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip\r\n\r\n", None),
    (b"POST /token HTTP/1.1\r\n" + HOST + b"Expect: 200-maybe\r\nContent-Length: 1\r\n\r\n", 417),
])
def test_malformed_request(hub, data, status):
    """Answered with an OCI error, and the connection is closed."""
    with hub.connect() as c:
        c.send(data)
        c.end()
        a = c.answer()
        assert a.status == status or (status is None and a.status in (400, 405, 501, 505)), a
        assert a.get("Connection") == "close" or a.status in (405, 417)
        if a.get("Connection") == "close":
            c.expect_close()


def test_long_request_line_and_head(hub):
    a = raw(hub, b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n" + HOST + b"\r\n")
    assert a.status == 414, a
    a = raw(hub, b"GET /v2/ HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 100000 + b"\r\n\r\n")
    assert a.status == 431, a
    a = raw(hub, b"GET /v2/ HTTP/1.1\r\n" + HOST + b"X: y\r\n" * 500 + b"\r\n")
    assert a.status == 431, a


def test_messages_say_what_is_allowed(admin, repo):
    """What a person needs: the reason and the allowed values."""
    cases = [
        (admin.put("/v2/%s/manifests/t" % repo, body=b"{}", headers=[("Content-Type", "text/plain")]), "vnd.oci.image"),
        (admin.get("/v2/Bad/x/tags/list"), "a-z"),
        (admin.get("/v2/%s/manifests/-x" % repo), "128"),
        (admin.get("/v2/%s/blobs/sha1:00" % repo), "sha256"),
        (admin.get("/v2/%s/tags/list?n=x" % repo), "number"),
        (admin.post("/v2/%s/blobs/uploads/?digest-algorithm=crc" % repo), "sha512"),
    ]
    for a, word in cases:
        assert a.status == 400 and word in a.message, a


def test_errors_do_not_echo_controls(admin):
    for path in ("/v2/a%0ab/tags/list", "/v2/%1b[31m/tags/list", "/v2/a/b/manifests/%00", "/v2/a/b/tags/list?last=%0d%0a"):
        a = admin.get(path)
        assert a.status == 400, a
        assert not any(ord(ch) < 0x20 for ch in a.message)


def test_error_of_head_has_no_body(admin, repo):
    with admin.hub.connect() as c:
        for _ in range(3):  # the connection stays in step
            c.send(build("HEAD", "/v2/%s/manifests/missing" % repo, [("Authorization", admin.authorization(None))]))
            assert c.answer("HEAD").status == 404


def test_absolute_form_of_the_target(hub, admin):
    a = raw(hub, b"GET http://whoever/v2/ HTTP/1.1\r\n" + HOST + b"Authorization: " +
            basic(admin.user, admin.password).encode() + b"\r\n\r\n")
    assert a.status == 200, a


def test_json_is_refused_with_a_reason(admin, repo):
    for body in (b"", b"{", b"[]", b"null", b'"x"', b"{}", b"\xef\xbb\xbf{}", b"{} {}", b"\xff\xfe{\x00}\x00", b"not json"):
        a = admin.put_manifest(repo, "t", body, "application/vnd.oci.image.index.v1+json")
        assert a.status == 400 and a.code == "MANIFEST_INVALID", a


def test_an_error_leaves_the_connection_usable(admin, repo):
    with admin.hub.connect() as c:
        auth = [("Authorization", admin.authorization(None))]
        for method, path, status in (("GET", "/v2/%s/manifests/x" % repo, 404), ("GET", "/nope", 404), ("GET", "/v2/", 200),
                                     ("GET", "/v2/A/tags/list", 400), ("GET", "/v2/", 200)):
            a = c.request(method, path, auth)
            assert a.status == status and c.usable, a
        doc = dumps(index_doc([]))
        a = c.request("PUT", "/v2/%s/manifests/bad!tag" % repo, auth + [("Content-Type", "text/x")], doc)
        assert a.status == 400 and c.usable, a
        assert c.request("GET", "/v2/", auth).status == 200
