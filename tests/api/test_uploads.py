"""Blob uploads (specification: "Pushing blobs", "Pushing a blob in chunks", "Cancel a blob upload")."""
import hashlib
import os
import re
import time

import pytest
from rawhttp import build, chunks
from registry import digest, quote

ALGS = ("sha256", "sha512")


def rand(n):
    return os.urandom(n)


def check_stored(c, repo, data, want):
    a = c.head("/v2/%s/blobs/%s" % (repo, want))
    assert a.status == 200 and a.get("Content-Length") == str(len(data)), a
    assert a.get("Docker-Content-Digest") == want
    a = c.get("/v2/%s/blobs/%s" % (repo, want))
    assert a.status == 200 and a.body == data and a.get("Docker-Content-Digest") == want, a


def check_created(c, a, repo, want):
    assert a.status == 201 and a.get("Docker-Content-Digest") == want, a
    assert c.hub.path_of(a.get("Location")) == "/v2/%s/blobs/%s" % (repo, want)
    assert c.get(a.get("Location")).status == 200


def check_session(c, a, status, repo, end):
    assert a.status == status, a
    path = c.hub.path_of(a.get("Location"))
    m = re.fullmatch("/v2/%s/blobs/uploads/([0-9a-zA-Z_-]{16,})" % re.escape(repo), path)
    assert m and a.get("Docker-Upload-UUID") == m.group(1), a
    assert a.get("Range") == "0-%d" % end, a
    return path


def test_post_answers_a_session(admin, repo):
    a = admin.post("/v2/%s/blobs/uploads/" % repo)
    check_session(admin, a, 202, repo, 0)
    assert a.body == b""
    assert a.get("OCI-Chunk-Min-Length") is None  # chunks of any size are taken


def test_post_without_trailing_slash(admin, repo):
    check_session(admin, admin.post("/v2/%s/blobs/uploads" % repo), 202, repo, 0)


def test_sessions_are_unique(admin, repo):
    seen = {admin.start_upload(repo) for _ in range(50)}
    assert len(seen) == 50


@pytest.mark.parametrize("alg", ALGS)
@pytest.mark.parametrize("size", [0, 1, 512, 65536, 300001])
def test_post_then_put(admin, repo, alg, size):
    data = rand(size)
    a = admin.finish(admin.start_upload(repo), digest(data, alg), data)
    check_created(admin, a, repo, digest(data, alg))
    check_stored(admin, repo, data, digest(data, alg))


@pytest.mark.parametrize("alg", ALGS)
@pytest.mark.parametrize("size", [0, 1, 512, 300001])
def test_single_post(admin, repo, alg, size):
    data = rand(size)
    want = digest(data, alg)
    a = admin.post("/v2/%s/blobs/uploads/?digest=%s" % (repo, quote(want)), body=data,
                   headers=[("Content-Type", "application/octet-stream")])
    check_created(admin, a, repo, want)
    check_stored(admin, repo, data, want)


@pytest.mark.parametrize("alg", ALGS)
@pytest.mark.parametrize("size", [0, 300001])
def test_chunked_transfer_coding_is_taken(admin, repo, alg, size):
    """Go sends bodies of unknown length so: single POST, PUT and PATCH."""
    data = rand(size)
    want = digest(data, alg)
    a = admin.post("/v2/%s/blobs/uploads/?digest=%s" % (repo, want), body=data, chunked=True)
    check_created(admin, a, repo, want)
    a = admin.finish(admin.start_upload(repo + "-b"), want, data, chunked=True)
    check_created(admin, a, repo + "-b", want)
    a = admin.patch(admin.start_upload(repo + "-c"), body=data, chunked=True)
    assert a.status == 202, a
    a = admin.finish(a.get("Location"), want, b"", chunked=True)
    check_created(admin, a, repo + "-c", want)


@pytest.mark.parametrize("alg", ALGS)
def test_streamed_patch(admin, repo, alg):
    """What docker sends: one PATCH without Content-Range, then an empty PUT."""
    data = rand(200000)
    a = admin.patch(admin.start_upload(repo), body=data, chunked=True)
    location = check_session(admin, a, 202, repo, len(data) - 1)
    a = admin.finish(location, digest(data, alg))
    check_created(admin, a, repo, digest(data, alg))
    check_stored(admin, repo, data, digest(data, alg))


def test_several_streamed_patches_append(admin, repo):
    parts = [rand(n) for n in (1000, 1, 70000)]
    location, done = admin.start_upload(repo), 0
    for part in parts:
        done += len(part)
        location = check_session(admin, admin.patch(location, body=part), 202, repo, done - 1)
    data = b"".join(parts)
    check_created(admin, admin.finish(location, digest(data)), repo, digest(data))
    check_stored(admin, repo, data, digest(data))


def send_chunks(c, location, repo, parts):
    at = 0
    for part in parts:
        a = c.patch(location, body=part, headers=[("Content-Range", "%d-%d" % (at, at + len(part) - 1)),
                                                  ("Content-Type", "application/octet-stream")])
        at += len(part)
        location = check_session(c, a, 202, repo, at - 1)
    return location, at


@pytest.mark.parametrize("alg", ALGS)
@pytest.mark.parametrize("count", [1, 3])
def test_chunks_then_empty_put(admin, repo, alg, count):
    parts = [rand(1024 - i) for i in range(count)]
    data = b"".join(parts)
    location, _ = send_chunks(admin, admin.start_upload(repo), repo, parts)
    check_created(admin, admin.finish(location, digest(data, alg)), repo, digest(data, alg))
    check_stored(admin, repo, data, digest(data, alg))


@pytest.mark.parametrize("alg", ALGS)
def test_last_chunk_in_the_put(admin, repo, alg):
    parts = [rand(1024), rand(1024), rand(7)]
    data = b"".join(parts)
    location, at = send_chunks(admin, admin.start_upload(repo), repo, parts[:2])
    a = admin.finish(location, digest(data, alg), parts[2],
                     headers=[("Content-Range", "%d-%d" % (at, at + 6)), ("Content-Type", "application/octet-stream")])
    check_created(admin, a, repo, digest(data, alg))
    check_stored(admin, repo, data, digest(data, alg))


@pytest.mark.parametrize("form", ["%d-%d", "bytes %d-%d/*", "bytes=%d-%d", "%d-%d/99999"])
def test_content_range_forms_that_clients_send(admin, repo, form):
    location = admin.start_upload(repo)
    a = admin.patch(location, body=b"x" * 10, headers=[("Content-Range", form % (0, 9))])
    check_session(admin, a, 202, repo, 9)


@pytest.mark.parametrize("first", ["1-512", "512-1023", "2000-2511"])
def test_first_chunk_must_begin_with_0(admin, repo, first):
    location = admin.start_upload(repo)
    a = admin.patch(location, body=b"x" * 512, headers=[("Content-Range", first)])
    assert a.status == 416 and a.code == "BLOB_UPLOAD_INVALID", a
    check_session(admin, admin.get(location), 204, repo, 0)


@pytest.mark.parametrize("wrong", ["0-511", "511-1022", "513-1024", "1024-1535"])
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_out_of_order_is_416_and_the_session_lives_on(admin, repo, wrong, method):
    """Also a rewind to 0; then GET tells where to go on, and the upload ends well."""
    one, two = rand(512), rand(512)
    location, _ = send_chunks(admin, admin.start_upload(repo), repo, [one])
    target = location + ("?digest=" + digest(one + two) if method == "PUT" else "")
    a = admin.request(method, target, body=two, headers=[("Content-Range", wrong)])
    assert a.status == 416 and a.code == "BLOB_UPLOAD_INVALID", a
    assert a.get("Location") and a.get("Range", "").startswith("0-"), a  # where to go on
    location = check_session(admin, admin.get(location), 204, repo, 511)
    a = admin.finish(location, digest(one + two), two, headers=[("Content-Range", "512-1023")])
    check_created(admin, a, repo, digest(one + two))


@pytest.mark.parametrize("bad", ["abc", "-5", "5-", "9-0", "0-9-9", "0x0-0x9", "0-99999999999999999999", "--", " 0 - 9"])
def test_malformed_content_range(admin, repo, bad):
    location = admin.start_upload(repo)
    a = admin.patch(location, body=b"x" * 10, headers=[("Content-Range", bad)])
    assert a.status in (400, 416) and a.code in ("BLOB_UPLOAD_INVALID", "SIZE_INVALID"), a
    check_session(admin, admin.get(location), 204, repo, 0)


def test_content_range_and_length_must_agree(admin, repo):
    location = admin.start_upload(repo)
    a = admin.patch(location, body=b"x" * 10, headers=[("Content-Range", "0-19")])
    assert a.status == 400 and a.code == "SIZE_INVALID", a
    a = admin.patch(location, body=b"x" * 10, chunked=True, headers=[("Content-Range", "0-19")])
    assert a.status == 400 and a.code == "SIZE_INVALID", a
    check_session(admin, admin.get(location), 204, repo, 0)


def test_status_of_a_session(admin, repo):
    location = admin.start_upload(repo)
    check_session(admin, admin.get(location), 204, repo, 0)
    location, at = send_chunks(admin, location, repo, [rand(100)])
    check_session(admin, admin.get(location), 204, repo, 99)
    check_session(admin, admin.head(location), 204, repo, 99)


def test_empty_patch_changes_nothing(admin, repo):
    location = admin.start_upload(repo)
    check_session(admin, admin.patch(location, body=b""), 202, repo, 0)
    location, _ = send_chunks(admin, location, repo, [b"x" * 10])
    location = check_session(admin, admin.patch(location, body=b""), 202, repo, 9)
    check_created(admin, admin.finish(location, digest(b"x" * 10)), repo, digest(b"x" * 10))


def test_cancel(admin, repo):
    """DELETE ends the session; nothing of it can be used any more."""
    for parts in ([], [rand(100)]):
        location = admin.start_upload(repo)
        if parts:
            location, _ = send_chunks(admin, location, repo, parts)
        a = admin.delete(location)
        assert a.status == 204 and a.body == b"", a
        want = digest(b"".join(parts))
        for method, target in (("GET", location), ("PATCH", location), ("DELETE", location),
                               ("PUT", location + "?digest=" + want)):
            a = admin.request(method, target, body=None if method in ("GET", "DELETE") else b"x")
            assert a.status == 404 and a.code == "BLOB_UPLOAD_UNKNOWN", a
        assert admin.head("/v2/%s/blobs/%s" % (repo, want)).status == 404


@pytest.mark.parametrize("ident", ["0" * 32, "x", "..", "%2e%2e", "0" * 200, "-", "00000000-0000-0000-0000-000000000000"])
def test_unknown_session(admin, repo, ident):
    admin.push_blob(repo, b"makes the repository")
    for method in ("GET", "HEAD", "PATCH", "PUT", "DELETE"):
        target = "/v2/%s/blobs/uploads/%s" % (repo, ident)
        target += "?digest=" + digest(b"x") if method == "PUT" else ""
        a = admin.request(method, target, body=b"x" if method in ("PATCH", "PUT") else None)
        assert a.status == 404, a
        assert method == "HEAD" or a.code == "BLOB_UPLOAD_UNKNOWN", a


def test_finished_session_is_gone(admin, repo):
    location = admin.start_upload(repo)
    assert admin.finish(location, digest(b"abc"), b"abc").status == 201
    a = admin.get(location)
    assert a.status == 404 and a.code == "BLOB_UPLOAD_UNKNOWN", a


def bad_digest_push(c, repo, how, data, want):
    if how == "post":
        return c.post("/v2/%s/blobs/uploads/?digest=%s" % (repo, want), body=data)
    location = c.start_upload(repo)
    if how == "put":
        return c.finish(location, want, data)
    if how == "stream":
        return c.finish(c.patch(location, body=data, chunked=True).get("Location"), want)
    half = len(data) // 2
    location, at = send_chunks(c, location, repo, [data[:half]] + ([data[half:]] if how == "chunks" else []))
    if how == "chunks":
        return c.finish(location, want)
    return c.finish(location, want, data[half:], headers=[("Content-Range", "%d-%d" % (at, len(data) - 1))])


@pytest.mark.parametrize("alg", ALGS)
@pytest.mark.parametrize("how", ["post", "put", "chunks", "last-in-put", "stream"])
def test_wrong_digest(admin, repo, alg, how):
    data = rand(3067)
    want = digest(data, alg)
    a = bad_digest_push(admin, repo, how, data + b"oh no", want)
    assert a.status == 400 and a.code == "DIGEST_INVALID", a
    assert admin.get("/v2/%s/blobs/%s" % (repo, want)).status == 404
    other = digest(data + b"oh no", alg)
    assert admin.get("/v2/%s/blobs/%s" % (repo, other)).status == 404  # nor under its true name


MALFORMED_DIGESTS = [
    "", "sha256", "sha256:", "sha256:abc", "sha256:" + "0" * 63, "sha256:" + "0" * 65, "sha256:" + "A" * 64,
    "sha256:" + "g" * 64, "SHA256:" + "0" * 64, "sha512:" + "0" * 64, "sha1:" + "0" * 40, "md5:" + "0" * 32,
    "sha384:" + "0" * 96, "blake3:" + "0" * 64, "sha256:baddigeststring", ":" + "0" * 64, "0" * 64,
    "sha256:" + "0" * 64 + " ", "sha256%3A" + "0" * 63, "sha256:" + "0" * 64 + "%00", "%ff", "%zz",
]


@pytest.mark.parametrize("bad", MALFORMED_DIGESTS)
def test_malformed_or_unsupported_digest(admin, repo, bad):
    bad = bad.replace(" ", "%20")
    a = admin.post("/v2/%s/blobs/uploads/?digest=%s" % (repo, bad), body=b"abc")
    assert a.status == 400 and a.code == "DIGEST_INVALID", a
    location = admin.start_upload(repo)
    a = admin.put(location + "?digest=" + bad, body=b"abc")
    assert a.status == 400 and a.code == "DIGEST_INVALID", a
    assert "sha" in a.message or "encoded" in a.message, a  # what is allowed
    a = admin.post("/v2/%s/blobs/uploads/?mount=%s" % (repo, bad))
    assert a.status == 400 and a.code == "DIGEST_INVALID", a


def test_closing_put_needs_a_digest(admin, repo):
    location = admin.start_upload(repo)
    a = admin.put(location, body=b"abc")
    assert a.status == 400 and a.code == "DIGEST_INVALID", a


def test_digest_may_be_percent_encoded(admin, repo):
    data = rand(64)
    want = digest(data)
    a = admin.put(admin.start_upload(repo) + "?digest=" + want.replace(":", "%3A"), body=data)
    check_created(admin, a, repo, want)
    assert admin.get("/v2/%s/blobs/%s" % (repo, want.replace(":", "%3a"))).body == data


@pytest.mark.parametrize("announced", ALGS)
@pytest.mark.parametrize("used", ALGS)
def test_digest_algorithm_parameter(admin, repo, announced, used):
    """An announcement helps the server; the closing digest decides."""
    data = rand(5000)
    location = admin.start_upload(repo, "?digest-algorithm=" + announced)
    location, _ = send_chunks(admin, location, repo, [data[:2000], data[2000:]])
    check_created(admin, admin.finish(location, digest(data, used)), repo, digest(data, used))
    check_stored(admin, repo, data, digest(data, used))


@pytest.mark.parametrize("bad", ["sha1", "md5", "", "SHA256", "sha256:", "blake3", "%zz"])
def test_digest_algorithm_unsupported(admin, repo, bad):
    a = admin.post("/v2/%s/blobs/uploads/?digest-algorithm=%s" % (repo, bad))
    assert a.status == 400 and a.code == "DIGEST_INVALID", a
    assert "sha256" in a.message and "sha512" in a.message


@pytest.mark.parametrize("alg", ALGS)
def test_digest_algorithm_with_single_post(admin, repo, alg):
    data = rand(100)
    a = admin.post("/v2/%s/blobs/uploads/?digest-algorithm=%s&digest=%s" % (repo, alg, digest(data, alg)), body=data)
    check_created(admin, a, repo, digest(data, alg))


def test_same_blob_under_both_algorithms(admin, repo):
    """Algorithms are never taken for each other: each name exists once it was pushed."""
    data = rand(1000)
    admin.push_blob(repo, data, "sha256")
    assert admin.head("/v2/%s/blobs/%s" % (repo, digest(data, "sha512"))).status == 404
    admin.push_blob(repo, data, "sha512")
    for alg in ALGS:
        check_stored(admin, repo, data, digest(data, alg))
    assert admin.delete("/v2/%s/blobs/%s" % (repo, digest(data, "sha256"))).status == 202
    check_stored(admin, repo, data, digest(data, "sha512"))


def test_push_again_is_created_again(admin, repo):
    data = rand(100)
    for _ in range(3):
        a = admin.finish(admin.start_upload(repo), digest(data), data)
        check_created(admin, a, repo, digest(data))


def test_post_with_a_body_but_no_digest(admin, repo):
    """A small body is ignored, as by servers without single POST; an endless one is refused."""
    a = admin.post("/v2/%s/blobs/uploads/" % repo, body=b"x" * 100)
    assert a.status == 202, a
    a = admin.post("/v2/%s/blobs/uploads/" % repo, body=b"x" * (1 << 20))
    assert a.status == 413 and a.code == "SIZE_INVALID", a


def test_location_keeps_its_place_below_the_repository(admin, repo):
    """Clients (and the conformance tool's credential cache) read the repository out of it."""
    a = admin.post("/v2/%s/blobs/uploads/" % repo)
    assert admin.hub.path_of(a.get("Location")).startswith("/v2/%s/blobs/uploads/" % repo)
    assert "digest=" not in a.get("Location")


def test_upload_cut_in_the_middle_keeps_what_came(admin, repo):
    """The connection breaks during a PATCH: GET tells how much is kept, and the rest completes the blob."""
    data = rand(400000)
    location, _ = send_chunks(admin, admin.start_upload(repo), repo, [data[:1000]])
    auth = admin.authorization(None)
    with admin.hub.connect() as c:
        c.send(build("PATCH", location, [("Authorization", auth), ("Content-Length", "399000")], data[1000:200000]))
        c.end()
    for _ in range(1000):  # until the server has noticed and the session is free: 416 sends clients to GET again
        a = admin.get(location)
        assert a.status == 204, a
        kept = int(a.get("Range").split("-")[1]) + 1
        assert 1000 <= kept <= 200000
        a = admin.finish(location, digest(data), data[kept:],
                         headers=[("Content-Range", "%d-%d" % (kept, len(data) - 1))])
        if a.status != 416:
            break
        time.sleep(0.01)
    check_created(admin, a, repo, digest(data))
    check_stored(admin, repo, data, digest(data))


def test_content_length_larger_than_the_body(admin, repo):
    """A body that ends early commits nothing."""
    data = b"y" * 1000
    for target in (admin.start_upload(repo) + "?digest=" + digest(data),
                   "/v2/%s/blobs/uploads/?digest=%s" % (repo, digest(data))):
        method = "POST" if target.endswith(digest(data)) and "uploads/?" in target else "PUT"
        with admin.hub.connect() as c:
            c.send(build(method, target, [("Authorization", admin.authorization(None)),
                                          ("Content-Length", "1001")], data))
            c.end()
            c.expect_close()
    assert admin.head("/v2/%s/blobs/%s" % (repo, digest(data))).status == 404


def test_uploads_resume_after_a_restart(new_hub):
    """Acknowledged bytes outlive the server, gently stopped or killed; the hash goes on from there."""
    h = new_hub()
    parts = [rand(70000), rand(123), rand(100001), rand(50)]
    data = b"".join(parts)
    c = h.admin()
    for alg in ALGS:
        location = c.start_upload("lab/resume", "?digest-algorithm=" + alg)
        at = 0
        for i, part in enumerate(parts[:3]):
            a = c.patch(location, body=part, headers=[("Content-Range", "%d-%d" % (at, at + len(part) - 1))])
            at += len(part)
            assert a.status == 202, a
            h.kill() if i == 1 else h.stop()
            h.start()
            c.close()
            a = c.get(location)
            assert a.status == 204 and a.get("Range") == "0-%d" % (at - 1), a
        a = c.finish(location, digest(data, alg), parts[3])
        assert a.status == 201, a
        got = c.get("/v2/lab/resume/blobs/" + digest(data, alg))
        assert hashlib.sha256(got.body).digest() == hashlib.sha256(data).digest()


def test_chunk_sizes_of_the_coding_do_not_matter(admin, repo):
    data = rand(30000)
    for sizes in ([1], [7, 4096], [29999, 1]):
        location = admin.start_upload(repo)
        with admin.hub.connect() as c:
            c.send(build("PUT", location + "?digest=" + digest(data),
                         [("Authorization", admin.authorization(None)), ("Transfer-Encoding", "chunked")], None)
                   .replace(b"Content-Length: 0\r\n", b"") + chunks(data, sizes))
            assert c.answer("PUT").status == 201
