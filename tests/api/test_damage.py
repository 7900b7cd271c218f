"""Bytes that rot behind the server's back: no client gets them whole, and none is told that they are there, so that the next
push of the same object repairs it (a client asks by HEAD first and pushes nothing when it is there)."""
import os
import sqlite3
import subprocess
import time

import pytest
from berth import Broken, Closed
from registry import digest

LARGE = 3 << 20  # hashed while it streams; smaller ones before
HELD = 64 << 10
PATH = "/v2/lab/rot/blobs/%s"


def blob_path(hub, name):
    alg, text = name.split(":")
    return os.path.join(hub.data, "blobs", alg, text[:2], text)


def rot(path, at):
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 0x10]))


def cut_off(hub, path, headers):
    """How many bytes of the body came before the connection was cut."""
    with hub.connect() as c:
        c.send(("GET %s HTTP/1.1\r\nHost: x\r\n" % path).encode() + b"".join(("%s: %s\r\n" % h).encode() for h in headers) + b"\r\n")
        got = b""
        while True:
            piece = c.sock.recv(1 << 16)
            if not piece:
                break
            got += piece
    head, body = got.split(b"\r\n\r\n", 1)
    return int(head.split()[1]), len(body)


def test_a_small_blob_is_absent_until_it_is_pushed_again(new_hub):
    h = new_hub()
    c, data = h.admin(), os.urandom(5000)
    want = c.push_blob("lab/rot", data)
    rot(blob_path(h, want), 2500)
    assert c.head(PATH % want).status == 404  # nobody had pulled it yet
    assert c.get(PATH % want).status == 404
    c.push_blob("lab/rot", data)
    assert c.head(PATH % want).status == 200
    assert c.get(PATH % want).body == data


@pytest.mark.parametrize("ranges", [[], [("Range", "bytes=0-")], [("Range", "bytes=0-%d" % (LARGE - 1))]])
def test_a_large_blob_is_cut_before_its_end(new_hub, ranges):
    h = new_hub()
    c = h.admin()
    want = c.push_blob("lab/rot", os.urandom(LARGE))
    rot(blob_path(h, want), LARGE // 2)
    auth = ("Authorization", c.authorization(None))
    status, n = cut_off(h, PATH % want, ranges + [auth])
    assert status == (206 if ranges else 200) and n <= LARGE - HELD, (status, n)
    gone(c, want)


def gone(c, want):
    end = time.monotonic() + 60
    while c.head(PATH % want).status != 404:
        assert time.monotonic() < end, "it is still said to be there"
        time.sleep(0.05)


def test_head_of_a_large_blob_has_it_looked_at(new_hub):
    h = new_hub()
    c = h.admin()
    want = c.push_blob("lab/rot", os.urandom(LARGE))
    rot(blob_path(h, want), LARGE // 2)
    gone(c, want)


@pytest.mark.parametrize("size", [5000, LARGE])
def test_a_file_that_only_looks_new_is_served(new_hub, size):
    """Another change time, as after a restore: hashed once more, and good."""
    h = new_hub()
    c, data = h.admin(), os.urandom(size)
    want = c.push_blob("lab/rot", data)
    for header, first, last in (("bytes=0-", 0, size - 1), ("bytes=100-199", 100, 199), (None, 0, size - 1)):
        os.chmod(blob_path(h, want), 0o600)
        assert c.head(PATH % want).status == 200
        a = c.get(PATH % want, headers=[("Range", header)] if header else [])
        assert a.status == (206 if header else 200) and a.body == data[first:last + 1], a
        assert not header or a.get("Content-Range") == "bytes %d-%d/%d" % (first, last, size)


def change_manifest(h, name):
    """One byte of the stored row, while the server is down."""
    key = name.split(":")[1]
    if h.database:
        sql = "UPDATE manifests SET bytes = overlay(bytes PLACING '\\x78'::bytea FROM 5 FOR 1) WHERE encode(digest, 'hex') LIKE '%" + key + "'"
        done = subprocess.run(["psql", "-qAt", h.database, "-c", sql + " RETURNING id"], check=True, stdout=subprocess.PIPE)
        assert done.stdout.strip()
        return
    db = sqlite3.connect(os.path.join(h.data, "berth.db"))
    n = db.execute("UPDATE manifests SET bytes = CAST(substr(bytes, 1, 4) || 'x' || substr(bytes, 6) AS BLOB) "
                   "WHERE lower(hex(digest)) LIKE ?", ("%" + key,)).rowcount
    db.commit()
    db.close()
    assert n == 1


def test_a_manifest_is_absent_until_it_is_pushed_again(new_hub):
    h = new_hub()
    c = h.admin()
    want, doc = c.push_image("lab/rot", "t", b"m")
    h.stop()
    change_manifest(h, want)
    h.start()
    c.close()
    for ref in ("t", want):
        for ask in (c.head, c.get):
            a = ask("/v2/lab/rot/manifests/" + ref)
            assert a.status == 404, a
    assert c.put_manifest("lab/rot", "t", doc).status == 201
    assert c.pull("lab/rot", "t") == doc == c.pull("lab/rot", want)


def test_a_truncated_file(new_hub):
    h = new_hub()
    c = h.admin()
    for size in (5000, LARGE):
        want = c.push_blob("lab/rot", os.urandom(size))
        os.truncate(blob_path(h, want), size - 1)
        try:
            a = c.get(PATH % want)
            assert a.status == 404 or digest(a.body) != want, a
        except (Broken, Closed):
            c.close()
        gone(c, want)
