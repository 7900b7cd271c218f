"""Limits, each a named setting, each on a hub of its own."""
import os
import select
import time

import pytest
from rawhttp import Closed, build, chunks
from registry import IMAGE, INDEX, basic, descriptor, digest, dumps, image_doc, index_doc

MIB = 1 << 20


def of_size(n):
    """An index of exactly n bytes."""
    doc = dumps(index_doc([], annotations={"pad": ""}))
    return doc.replace(b'"pad":""', b'"pad":"' + b"x" * (n - len(doc)) + b'"')


def test_manifest_limit_is_4_mib(admin, repo):
    """Taken up to the limit, 413 above it, by either framing."""
    doc = of_size(4 * MIB)
    assert len(doc) == 4 * MIB
    a = admin.put_manifest(repo, "t", doc, INDEX)
    assert a.status == 201 and admin.pull(repo, "t") == doc, a
    for chunked in (False, True):
        a = admin.put_manifest(repo, "u", of_size(4 * MIB + 1), INDEX, chunked=chunked)
        assert a.status == 413 and a.code == "MANIFEST_INVALID", a
        assert str(4 * MIB) in a.message
    assert admin.get("/v2/%s/manifests/u" % repo).status == 404


def test_manifest_limit_can_be_raised(new_hub):
    h = new_hub(env={"BERTH_MAX_MANIFEST": "8M"})
    c = h.admin()
    doc = of_size(7 * MIB)
    assert c.put_manifest("lab/x", "t", doc, INDEX).status == 201
    assert c.pull("lab/x", "t") == doc
    assert c.put_manifest("lab/x", "t", of_size(8 * MIB + 1), INDEX).status == 413


def test_max_upload(new_hub):
    h = new_hub(env={"BERTH_MAX_UPLOAD": "1M"})
    c = h.admin()
    c.push_blob("lab/x", b"a" * MIB)
    big = os.urandom(MIB + 1)
    for chunked in (False, True):
        a = c.post("/v2/lab/x/blobs/uploads/?digest=" + digest(big), body=big, chunked=chunked)
        assert a.status == 413 and a.code == "SIZE_INVALID", a
        a = c.finish(c.start_upload("lab/x"), digest(big), big, chunked=chunked)
        assert a.status == 413, a
        location = c.start_upload("lab/x")
        assert c.patch(location, body=big[:MIB // 2]).status == 202
        a = c.patch(location, body=big[MIB // 2:], chunked=chunked)
        assert a.status == 413, a
    assert c.head("/v2/lab/x/blobs/" + digest(big)).status == 404
    assert c.get("/v2/").status == 200


def test_max_uploads_per_user(new_hub):
    h = new_hub(env={"BERTH_MAX_UPLOADS_PER_USER": "3"})
    c, other = h.admin(), h.add_user("zoe")
    sessions = [c.start_upload("lab/x") for _ in range(2)]
    location = c.patch(c.start_upload("lab/x"), body=b"abc").get("Location")
    a = c.post("/v2/lab/x/blobs/uploads/")
    assert a.status == 429 and a.code == "TOOMANYREQUESTS", a
    assert other.post("/v2/zoe/x/blobs/uploads/").status == 202
    assert c.delete(sessions[0]).status == 204
    sessions[0] = c.start_upload("lab/x")
    assert c.finish(location, digest(b"abc")).status == 201
    c.start_upload("lab/x")
    assert c.post("/v2/lab/x/blobs/uploads/").status == 429


def test_max_uploads_counts_what_outlived_a_restart(new_hub):
    h = new_hub(env={"BERTH_MAX_UPLOADS_PER_USER": "2"})
    c = h.admin()
    for _ in range(2):
        assert c.patch(c.start_upload("lab/x"), body=b"abc").status == 202
    h.restart()
    c.close()
    assert c.post("/v2/lab/x/blobs/uploads/").status == 429


def test_uploads_expire(new_hub):
    """With bytes and without: gone after upload_expiry, and what they held is free again."""
    h = new_hub(env={"BERTH_UPLOAD_EXPIRY": "3s", "BERTH_MAX_UPLOADS_PER_USER": "2"})
    c = h.admin()
    empty = c.start_upload("lab/x")
    full = c.patch(c.start_upload("lab/x"), body=b"abc" * 1000).get("Location")
    # Asking for a session would keep it alive: the gauge tells.
    h.until(lambda: h.metrics()["berth_uploads_open"] == 0, "no open upload")
    for location in (empty, full):
        a = c.get(location)
        assert a.status == 404 and a.code == "BLOB_UPLOAD_UNKNOWN", a
    assert h.metrics()["berth_uploads_expired_total"] >= 1
    c.start_upload("lab/x"), c.start_upload("lab/x")
    left = [f for _, _, files in os.walk(os.path.join(h.data, "uploads")) for f in files]
    assert left == []


def test_low_space(new_hub):
    """Below the mark uploads get 507; reads and deletes go on; it heals by itself."""
    h = new_hub()
    c = h.admin()
    d, doc = c.push_image("lab/x", "t", b"1")
    location = c.patch(c.start_upload("lab/x"), body=b"abc").get("Location")
    h.extra["BERTH_MIN_FREE"] = "1000000T"
    h.restart()
    c.close()
    refused = [c.post("/v2/lab/x/blobs/uploads/"), c.patch(location, body=b"def"), c.finish(location, digest(b"abc")),
               c.post("/v2/lab/x/blobs/uploads/?digest=" + digest(b"x"), body=b"x"), c.put_manifest("lab/x", "u", doc)]
    for a in refused:
        assert a.status == 507 and a.json()["errors"], a
        assert "min_free" in a.message
    assert c.pull("lab/x", "t") == doc and c.get("/v2/lab/x/tags/list").status == 200
    assert c.get(location).status == 204
    # an early answer: a gigabyte is not waited for
    with h.connect() as raw:
        raw.send_most(build("POST", "/v2/lab/x/blobs/uploads/?digest=" + digest(b"x"),
                            [("Authorization", c.authorization(None)), ("Content-Length", str(1 << 30))], b"x" * 1000))
        assert raw.answer("POST").status == 507
    assert c.delete("/v2/lab/x/manifests/" + d).status == 202
    assert c.delete(location).status == 204
    h.extra["BERTH_MIN_FREE"] = "0"
    h.restart()
    c.close()
    assert c.put_manifest("lab/x", "u", doc).status == 201


def test_max_header(new_hub):
    h = new_hub(env={"BERTH_MAX_HEADER": "4096"})
    for size, status in ((3000, 401), (5000, 431)):
        a = h.raw(build("GET", "/v2/", [("X-Long", "a" * size)]))
        assert a.status == status, a
    a = h.raw(build("GET", "/v2/" + "a" * 5000))
    assert a.status in (414, 431), a


def read_refusal(conn):
    """The answer to a connection too many: 503 by hand, before any request."""
    return conn.answer(check=False)


def test_max_connections_per_address(new_hub):
    h = new_hub(env={"BERTH_MAX_CONNECTIONS_PER_ADDRESS": "5"})
    held = [h.connect() for _ in range(5)]
    for c in held:
        assert c.request("GET", "/healthz").status == 200
    with h.connect() as one:
        a = read_refusal(one)
        assert a.status == 503 and a.code == "UNAVAILABLE" and a.get("Retry-After"), a
        one.expect_close()
    held.pop().close()
    for _ in range(500):
        with h.connect() as one:
            one.send_most(build("GET", "/healthz"))
            try:
                if read_refusal(one).status == 200:
                    break
            except Closed:
                pass
        time.sleep(0.02)
    else:
        raise AssertionError("the place was not given back")
    for c in held:
        assert c.request("GET", "/healthz").status == 200
        c.close()


def test_max_connections(new_hub):
    h = new_hub(env={"BERTH_MAX_CONNECTIONS": "4"})
    held = [h.connect() for _ in range(4)]
    for c in held:
        assert c.request("GET", "/healthz").status == 200
    with h.connect() as one:
        assert read_refusal(one).status == 503
    for c in held:
        c.close()


def test_max_requests_per_address(new_hub):
    h = new_hub(env={"BERTH_MAX_REQUESTS_PER_ADDRESS": "4"})
    with h.connect() as c:
        got = [c.request("GET", "/v2/").status for _ in range(60)]
        assert got[:20] == [401] * 20 and 429 in got[20:]
        refused = [a for a in (c.request("GET", "/v2/") for _ in range(100)) if a.status == 429]
        assert refused and all(a.code == "TOOMANYREQUESTS" and int(a.get("Retry-After")) > 0 for a in refused)


def test_max_logins_per_address(new_hub):
    """Failures are counted, not successes; other credentials that are known go on working."""
    h = new_hub(env={"BERTH_MAX_LOGINS_PER_ADDRESS": "5"})
    good = h.admin()
    assert good.get("/v2/").status == 200
    got = [h.client("user-%d" % i, "wrong-password").get("/v2/").status for i in range(20)]  # an account has a bucket of its own
    assert got[:5] == [401] * 5 and got[-1] == 429, got
    a = h.client("nobody", "wrong-password").get("/v2/")
    assert a.status == 429 and a.code == "TOOMANYREQUESTS", a
    good.close()
    assert good.get("/v2/").status == 200
    a = h.client("admin", "wrong").token_answer()
    assert a.status == 429, a


def test_logins_in_line_hold_no_worker(new_hub):
    """Passwords are hashed one after the other; whoever waits for that leaves the workers to the others."""
    h = new_hub(env={"BERTH_WORKERS": "1", "BERTH_LOGIN_CONCURRENCY": "1", "BERTH_MAX_LOGINS_PER_ADDRESS": "0"})
    admin = h.admin()
    assert admin.get("/v2/").status == 200

    def stand_in_line(line, word):
        for i, c in enumerate(line):
            c.send(build("GET", "/v2/", [("Authorization", basic("admin", "%s-%d" % (word, i)))]))

    line = [h.connect() for _ in range(60)]
    stand_in_line(line, "wrong")
    admin.push_image("library/x", "t", layers=1)
    waiting = [c for c in line if not select.select([c.sock], [], [], 0)[0]]
    assert waiting  # a worker that hashes would have come to the push last
    assert [c.answer().status for c in line] == [401] * 60
    line += [h.connect() for _ in range(240)]  # many more than are hashed while the rest is sent
    stand_in_line(line, "again")
    got = [c.answer().status for c in line]
    assert set(got) == {401, 429} and got.count(401) >= 64, got  # 64 may wait
    for c in line:
        c.close()


def test_header_timeout(new_hub):
    h = new_hub(env={"BERTH_HEADER_TIMEOUT": "500ms"})
    with h.connect() as c:
        c.send(b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: ")
        a = c.answer()
        assert a.status == 408, a
        c.expect_close()


def test_idle_timeout(new_hub):
    h = new_hub(env={"BERTH_IDLE_TIMEOUT": "300ms"})
    with h.connect() as c:
        assert c.request("GET", "/healthz").status == 200
        c.expect_close()


def test_body_that_is_too_slow(new_hub):
    h = new_hub(env={"BERTH_BODY_GRACE": "500ms", "BERTH_BODY_MIN_RATE": "1M"})
    c = h.admin()
    location = c.start_upload("lab/x")
    with h.connect() as raw:
        raw.send(build("PATCH", location, [("Authorization", c.authorization(None)), ("Content-Length", "1000000")], b"x"))
        a = raw.answer("PATCH")
        assert a.status == 408 and not raw.usable, a
    for _ in range(600):  # the session is given back, and what came may be kept
        a = c.patch(location, body=b"")
        if a.status != 416:
            break
        time.sleep(0.05)
    assert a.status == 202, a


def test_too_large_an_index_of_children(admin, repo):
    """At most 10,000 entries; the reason is said."""
    child = descriptor(b"x", IMAGE)
    a = admin.put_manifest(repo, "t", index_doc([child] * 10001))
    assert a.status == 400 and "10000" in a.message, a
    layers = [descriptor(b"%d" % i) for i in range(10001)]
    a = admin.put_manifest(repo, "t", image_doc(descriptor(b"{}"), layers))
    assert a.status in (400, 413), a


@pytest.mark.parametrize("name", ["MAX_MANIFEST", "UPLOAD_EXPIRY", "LOG_LEVEL", "LISTEN", "READ_ONLY"])
def test_wrong_settings_stop_the_start(db, new_hub, name):
    h = new_hub(start=False)
    done = h.run("serve", "--data", h.data, env={"BERTH_" + name: "nonsense"}, check=False)
    assert done.returncode == 2, done
    assert name.lower() in done.stderr and "environment" in done.stderr and "allowed" in done.stderr, done.stderr


def test_chunk_framing_without_body_is_refused(hub, repo, admin):
    """Endless one-byte chunks are work without bytes: bounded."""
    location = admin.start_upload(repo)
    with hub.connect() as c:
        c.send(build("PATCH", location, [("Authorization", admin.authorization(None)), ("Transfer-Encoding", "chunked")], None)
               .replace(b"Content-Length: 0\r\n", b""))
        ext = b"1;" + b"e" * 8000 + b"\r\nx\r\n"
        try:
            for _ in range(2000):
                c.send(ext)
        except (BrokenPipeError, ConnectionResetError):
            pass
        c.send_most(chunks(b""))
        try:
            a = c.answer("PATCH")
            assert a.status == 400, a
        except Closed:
            pass
