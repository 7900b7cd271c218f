"""GET, HEAD and DELETE of blobs, ranges (specification: "Pulling blobs", "Deleting Blobs"; RFC 9110 section 14)."""
import os
import re
import threading

import pytest
from registry import digest

SIZE = 2048


@pytest.fixture(scope="module")
def blob(hub):
    c = hub.admin()
    data = os.urandom(SIZE)
    c.push_blob("lab/ranges", data)
    c.push_blob("lab/ranges", b"")
    return data, "/v2/lab/ranges/blobs/" + digest(data)


def test_get(admin, blob):
    data, path = blob
    a = admin.get(path)
    assert a.status == 200 and a.body == data
    assert a.get("Docker-Content-Digest") == digest(data)
    assert a.get("Content-Type") == "application/octet-stream"
    assert a.get("Accept-Ranges") == "bytes"


def test_head_has_the_headers_of_get(admin, blob):
    data, path = blob
    g, h = admin.get(path), admin.head(path)
    assert h.status == 200 and h.body == b""
    drop = ("Date", "X-Request-Id")
    assert [x for x in h.headers if x[0] not in drop] == [x for x in g.headers if x[0] not in drop]


def test_never_content_encoded(admin, blob):
    data, path = blob
    a = admin.get(path, headers=[("Accept-Encoding", "zstd, gzip, deflate, br")])
    assert a.body == data and a.get("Content-Length") == str(SIZE)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_unknown_blob(admin, repo, method):
    admin.push_blob(repo, b"x")
    a = admin.request(method, "/v2/%s/blobs/%s" % (repo, digest(os.urandom(9))))
    assert a.status == 404, a
    assert method == "HEAD" or a.code == "BLOB_UNKNOWN", a


def test_blob_of_an_unknown_repository(admin, repo):
    for method in ("GET", "HEAD", "DELETE"):
        a = admin.request(method, "/v2/%s/blobs/%s" % (repo, digest(b"")))
        assert a.status == 404, a
        assert method == "HEAD" or a.code == "NAME_UNKNOWN", a


def test_a_blob_belongs_to_the_repository_it_was_pushed_to(admin, repo):
    want = admin.push_blob(repo, b"only here")
    admin.push_blob(repo + "-b", b"something else")
    assert admin.get("/v2/%s-b/blobs/%s" % (repo, want)).status == 404
    assert admin.head("/v2/%s-b/blobs/%s" % (repo, want)).status == 404


@pytest.mark.parametrize("bad", ["sha256:abc", "sha256:" + "A" * 64, "md5:" + "0" * 32, "sha256:" + "0" * 65, "foo",
                                 "sha512:" + "0" * 64, "sha256:baddigeststring"])
def test_malformed_digest(admin, repo, bad):
    admin.push_blob(repo, b"x")
    for method in ("GET", "DELETE"):
        a = admin.request(method, "/v2/%s/blobs/%s" % (repo, bad))
        assert a.status == 400 and a.code == "DIGEST_INVALID", a


@pytest.mark.parametrize("value,first,last", [
    ("bytes=500-1499", 500, 1499), ("bytes=500-", 500, 2047), ("bytes=-500", 1548, 2047),
    ("bytes=2000-5000", 2000, 2047), ("bytes=0-0", 0, 0), ("bytes=0-", 0, 2047), ("bytes=2047-2047", 2047, 2047),
    ("bytes=-1", 2047, 2047), ("bytes=-2048", 0, 2047), ("bytes=-99999", 0, 2047), ("bytes= 5-6", 5, 6),
    ("bytes=0-99999999999999999999999", 0, 2047), ("BYTES=3-4", 3, 4), ("bytes=,7-8", 7, 8),
])
def test_one_range(admin, blob, value, first, last):
    data, path = blob
    a = admin.get(path, headers=[("Range", value)])
    assert a.status == 206, a
    assert a.body == data[first:last + 1]
    assert a.get("Content-Range") == "bytes %d-%d/%d" % (first, last, SIZE)
    assert a.get("Content-Type") == "application/octet-stream"
    assert a.get("Docker-Content-Digest") == digest(data)


@pytest.mark.parametrize("value", ["bytes=2048-", "bytes=5000-10000", "bytes=500-0", "bytes=-0", "bytes=9999-,8888-",
                                   "bytes=99999999999999999999-"])
def test_range_not_satisfiable(admin, blob, value):
    data, path = blob
    a = admin.get(path, headers=[("Range", value)])
    assert a.status == 416, a
    assert a.get("Content-Range") == "bytes */%d" % SIZE


@pytest.mark.parametrize("value", ["lines=0-5", "bytes", "0-5", "items=1"])
def test_range_of_another_unit_is_ignored(admin, blob, value):
    data, path = blob
    a = admin.get(path, headers=[("Range", value)])
    assert a.status == 200 and a.body == data, a


def test_range_is_ignored_by_head(admin, blob):
    data, path = blob
    a = admin.head(path, headers=[("Range", "bytes=0-5")])
    assert a.status == 200 and a.get("Content-Length") == str(SIZE)


def test_range_of_an_empty_blob(admin, blob):
    a = admin.get("/v2/lab/ranges/blobs/" + digest(b""), headers=[("Range", "bytes=0-5")])
    assert a.status in (200, 416), a
    assert admin.get("/v2/lab/ranges/blobs/" + digest(b"")).body == b""


def parts_of(a):
    m = re.fullmatch(r"multipart/byteranges; boundary=([0-9A-Za-z'()+_,./:=?-]{1,70})", a.get("Content-Type"))
    assert m, a
    mark = b"--" + m.group(1).encode()
    pieces = (b"\r\n" + a.body.lstrip(b"\r\n")).split(b"\r\n" + mark)
    assert pieces[0] == b"" and pieces[-1].startswith(b"--"), a
    out = []
    for piece in pieces[1:-1]:
        head, body = piece.split(b"\r\n\r\n", 1)
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        out.append((fields[b"Content-Range"].decode(), body))
    return out


@pytest.mark.parametrize("ranges", [
    [(0, 0), (10, 19)], [(0, 99), (100, 199)], [(i * 100, i * 100 + 49) for i in range(8)], [(5, 6), (2000, 2047)],
])
def test_up_to_8_ascending_ranges(admin, blob, ranges):
    data, path = blob
    value = "bytes=" + ", ".join("%d-%d" % r for r in ranges)
    a = admin.get(path, headers=[("Range", value)])
    assert a.status == 206 and a.get("Content-Range") is None, a
    assert parts_of(a) == [("bytes %d-%d/%d" % (f, l, SIZE), data[f:l + 1]) for f, l in ranges]


def test_several_ranges_with_suffix_and_clamp(admin, blob):
    data, path = blob
    a = admin.get(path, headers=[("Range", "bytes=0-9,100-5")])  # one of them malformed
    assert a.status in (200, 416), a
    a = admin.get(path, headers=[("Range", "bytes=0-9,-10")])
    assert a.status == 206 and [b for _, b in parts_of(a)] == [data[:10], data[-10:]], a
    a = admin.get(path, headers=[("Range", "bytes=0-9,9000-")])  # one is left: an ordinary single range
    assert a.status == 206 and a.body == data[:10] and a.get("Content-Range") == "bytes 0-9/%d" % SIZE, a


@pytest.mark.parametrize("value", ["bytes=10-19,0-9", "bytes=0-9,5-15", "bytes=0-9,0-9",
                                   "bytes=" + ",".join("%d-%d" % (i * 2, i * 2) for i in range(9))])
def test_ranges_that_are_not_ascending_disjoint_or_too_many_give_all(admin, blob, value):
    data, path = blob
    a = admin.get(path, headers=[("Range", value)])
    assert a.status == 200 and a.body == data, a


def test_if_range(admin, blob):
    data, path = blob
    etag = admin.get(path).get("ETag")
    a = admin.get(path, headers=[("Range", "bytes=0-5"), ("If-Range", etag)])
    assert a.status == 206 and a.body == data[:6]
    a = admin.get(path, headers=[("Range", "bytes=0-5"), ("If-Range", '"other"')])
    assert a.status == 200 and a.body == data


def test_if_none_match(admin, blob):
    data, path = blob
    a = admin.get(path, headers=[("If-None-Match", admin.get(path).get("ETag"))])
    assert a.status == 304 and a.body == b"", a
    assert admin.get(path, headers=[("If-None-Match", '"x"')]).body == data


def test_large_blob_byte_for_byte(admin, repo):
    data = os.urandom((5 << 20) + 17)
    admin.push_blob(repo, data)
    path = "/v2/%s/blobs/%s" % (repo, digest(data))
    assert admin.get(path).body == data
    a = admin.get(path, headers=[("Range", "bytes=1048576-")])
    assert a.status == 206 and a.body == data[1 << 20:]
    ranges = [(0, 99999), (1 << 20, (2 << 20) + 5), (len(data) - 70000, len(data) - 1)]
    a = admin.get(path, headers=[("Range", "bytes=" + ",".join("%d-%d" % r for r in ranges))])
    assert [b for _, b in parts_of(a)] == [data[f:l + 1] for f, l in ranges]


def test_delete(admin, repo):
    """202, visible at once; pushing it again brings it back."""
    data = os.urandom(100)
    path = "/v2/%s/blobs/%s" % (repo, admin.push_blob(repo, data))
    assert admin.get(path).status == 200
    a = admin.delete(path)
    assert a.status == 202, a
    assert admin.head(path).status == 404 and admin.get(path).status == 404
    a = admin.delete(path)
    assert a.status == 404 and a.code == "BLOB_UNKNOWN", a
    admin.push_blob(repo, data)
    assert admin.get(path).body == data


def test_delete_here_does_not_touch_other_repositories(admin, repo):
    data = os.urandom(100)
    want = admin.push_blob(repo, data)
    admin.push_blob(repo + "-b", data)
    assert admin.delete("/v2/%s/blobs/%s" % (repo, want)).status == 202
    assert admin.get("/v2/%s-b/blobs/%s" % (repo, want)).body == data
    assert admin.get("/v2/%s/blobs/%s" % (repo, want)).status == 404


def test_simultaneous_pushes_of_one_blob(hub, admin, repo):
    """Every racer gets 201 (registries.md: the loser must not see an error)."""
    data = os.urandom(50000)
    results = []

    def push(i):
        c = hub.admin()
        a = c.finish(c.start_upload("%s-%d" % (repo, i % 3)), digest(data), data)
        results.append(a.status)
        c.close()

    threads = [threading.Thread(target=push, args=(i,)) for i in range(12)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert results == [201] * 12
    for i in range(3):
        assert admin.get("/v2/%s-%d/blobs/%s" % (repo, i, digest(data))).body == data
