"""Backup beside writers, restore on an empty host, archives that are none."""
import io
import os
import re
import subprocess
import tarfile
import threading

import pytest
from berth import Postgres
from conftest import berth, binary, on
from registry import digest


def restored(make_hub, archive, db, **kw):
    h = make_hub(db, start=False, **kw)
    done = on(h, "restore", archive, "--json")
    assert done.code == 0, done
    return h, done.done()


def whole_blobs(c, c2):
    """Every blob that a tag names is there, byte for byte, unless it was collected between upload and manifest:
    then the original misses it as well."""
    whole = 0
    for repo in c2.get("/v2/_catalog").json()["repositories"]:
        for tag in c2.get("/v2/%s/tags/list" % repo).json()["tags"] or []:
            doc = c2.get("/v2/%s/manifests/%s" % (repo, tag)).json()
            for d in [doc["config"]] + doc["layers"]:
                path = "/v2/%s/blobs/%s" % (repo, d["digest"])
                a = c2.get(path)
                if a.status == 404 and repo == "zoe/during":
                    assert c.get(path).status == 404, (path, tag)
                    continue
                assert a.status == 200 and digest(a.body) == d["digest"], (path, tag, a)
                whole += 1
    return whole


@pytest.mark.parametrize("source,target", [("sqlite", "sqlite"), ("postgresql", "postgresql"), ("sqlite", "postgresql"),
                                           ("postgresql", "sqlite")])
def test_backup_under_load(make_hub, tmp_path, source, target):
    """What was acknowledged before the backup began is in it, and all that is in it is whole."""
    conf = str(tmp_path / "berth.conf")
    with open(conf, "w") as f:
        f.write("gc_grace = 0\ngc_interval = 10ms\n")
    h = make_hub(source, flags=["--config", conf])
    c = h.add_user("zoe")
    for i in range(10):
        c.push_image("zoe/before", "t%d" % i, b"before %d" % i, layers=2)
    on(h, "repo", "public", "zoe/before")
    upload = c.start_upload("zoe/before")
    with open(conf, "a") as f:  # from here on a blob may go before its manifest comes
        f.write("gc_delay = 0\n")
    h.reload()
    h.wait_log(lambda r: r["msg"] == "reloaded")
    stop, pushed, broken = threading.Event(), [0, 0], []

    def writer(n):
        own = h.client("zoe", c.password)
        try:
            while not stop.is_set():
                tag = "w%d-%d" % (n, pushed[n])
                own.push_image("zoe/during", tag, tag.encode())
                if pushed[n] % 3 == 0:  # garbage, collected at once
                    assert own.delete("/v2/zoe/during/manifests/" + tag).status == 202
                pushed[n] += 1
        except Exception as e:  # noqa: BLE001 (told by the test)
            broken.append(e)

    threads = [threading.Thread(target=writer, args=(n,)) for n in range(2)]
    for t in threads:
        t.start()
    archive = str(tmp_path / "backup.tar")
    done = on(h, "backup", archive, "--json")
    stop.set()
    for t in threads:
        t.join()
    assert not broken, broken
    assert done.code == 0 and done.done()["problems"] == 0 and sum(pushed) > 0, done
    assert os.stat(archive).st_mode & 0o777 == 0o600
    assert c.get(upload).status == 204  # the session goes on
    token = c.fetch_token("repository:zoe/before:pull")
    other, counts = restored(make_hub, archive, target, env={"BERTH_MIN_FREE": "0"})
    assert counts["blobs"] == done.done()["blobs"] >= 30, (counts, done)
    other.start()
    c2 = other.client("zoe", c.password)
    assert whole_blobs(c, c2) >= 30
    assert sorted(c2.get("/v2/zoe/before/tags/list").json()["tags"]) == sorted("t%d" % i for i in range(10))
    for i in range(10):
        assert c2.pull("zoe/before", "t%d" % i) == c.pull("zoe/before", "t%d" % i)
    assert other.anonymous().get("/v2/zoe/before/manifests/t0").status == 200
    assert other.client("admin", other.admin_password).get("/v2/").status == 200
    assert c2.get(upload).status == 404  # sessions stay behind
    if other.service == h.service:
        assert other.client(token=token).get("/v2/zoe/before/manifests/t0").status == 200
    c2.push_image("zoe/after", "t", b"after")
    assert on(other, "fsck", "--full").code == 0


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """A good archive, made without a server."""
    from berth import Hub
    h = Hub(env={"BERTH_MIN_FREE": "0"})
    h.add_user("zoe").push_image("zoe/x", "t", b"backup", layers=3)
    h.stop()
    path = str(tmp_path_factory.mktemp("archive") / "good.tar")
    assert on(h, "backup", path).code == 0
    h.close()
    return path


def test_by_pipe(archive, make_hub, tmp_path):
    h = make_hub(start=False)
    with open(archive, "rb") as f:
        done = subprocess.run([binary(), "restore", "-", "--data", h.data], stdin=f, stderr=subprocess.PIPE)
    assert done.returncode == 0, done
    copy = str(tmp_path / "copy.tar")
    with open(copy, "wb") as f:
        done = subprocess.run([binary(), "backup", "-", "--data", h.data], stdout=f, stderr=subprocess.PIPE)
    assert done.returncode == 0, done
    with tarfile.open(archive) as a, tarfile.open(copy) as b:
        assert a.getnames() == b.getnames()
    h.start()
    assert h.client("zoe", "pw-of-zoe-4711").pull("zoe/x", "t")


def entries(path):
    with tarfile.open(path) as t:
        return [(m, t.extractfile(m).read()) for m in t.getmembers()]


def pack(path, rows):
    with tarfile.open(path, "w") as t:
        for m, data in rows:
            m.size = len(data)
            t.addfile(m, io.BytesIO(data))
    return path


def member(name):
    return tarfile.TarInfo(name)


def damage(kind, archive, path):
    rows = entries(archive)
    with open(archive, "rb") as f:
        raw = f.read()
    at = [i for i, (m, _) in enumerate(rows) if m.name.startswith("blobs/")][0]
    last = len(rows) - 1
    assert rows[last][0].name == "database.jsonl" and rows[0][0].name == "berth-backup.json"
    if kind == "cut":
        with open(path, "wb") as f:
            f.write(raw[:len(raw) * 2 // 3])
        return path
    if kind == "empty" or kind == "no tar":
        with open(path, "wb") as f:
            f.write(b"" if kind == "empty" else b"not a tar at all " * 1000)
        return path
    if kind == "a flipped bit":
        rows[at] = (rows[at][0], bytes([rows[at][1][0] ^ 1]) + rows[at][1][1:])
    elif kind == "no database":
        rows = rows[:last]
    elif kind == "no beginning":
        rows = rows[1:]
    elif kind == "a foreign entry":
        rows.insert(1, (member("../../etc/passwd"), b"x"))
    elif kind == "a foreign key":
        rows.insert(1, (member("keys/other"), b"x"))
    elif kind == "newer format":
        rows[0] = (rows[0][0], rows[0][1].replace(b'"format":1', b'"format":99'))
    elif kind == "newer schema":
        rows[last] = (rows[last][0], re.sub(rb'"schema":\d+', b'"schema":99', rows[last][1], count=1))
    elif kind == "rows missing":
        lines = rows[last][1].splitlines(True)
        rows[last] = (rows[last][0], b"".join(lines[:-2] + lines[-1:]))
    elif kind == "something behind":
        rows.append((member("blobs/sha256/" + "0" * 64), b"x"))
    elif kind == "a link":
        m = member("blobs/sha256/" + "0" * 64)
        m.type, m.linkname = tarfile.SYMTYPE, "/etc/passwd"
        rows.insert(1, (m, b""))
    return pack(path, rows)


BROKEN = ["cut", "empty", "no tar", "a flipped bit", "no database", "no beginning", "a foreign entry", "a foreign key", "newer format",
          "newer schema", "rows missing", "something behind", "a link"]


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_archive_is_refused(archive, tmp_path, kind):
    """With a reason; the directory is no server's until a whole archive was restored into a fresh one."""
    bad, data = damage(kind, archive, str(tmp_path / "bad.tar")), str(tmp_path / "data")
    with open(bad, "rb") as a, open(archive, "rb") as b:
        assert a.read() != b.read(), "the archive was not damaged"
    done = berth("restore", bad, "--data", data)
    assert done.code == 1 and done.err.startswith("berth: ") and len(done.err) > 20, done
    for args in (["serve", "--listen", "127.0.0.1:0"], ["user", "list"], ["restore", archive]):
        done = berth(*args, "--data", data)
        assert done.code == 1 and "a restore that was not finished" in done.err, done
    assert not os.path.exists(str(tmp_path / "etc"))
    assert berth("restore", archive, "--data", str(tmp_path / "fresh")).code == 0


def test_nothing_is_overwritten(archive, make_hub, tmp_path):
    h = make_hub()
    h.admin().push_image("library/x", "t")
    path = str(tmp_path / "there.tar")
    with open(path, "w") as f:
        f.write("keep me")
    done = on(h, "backup", path)
    assert done.code == 1 and "is not overwritten" in done.err, done
    with open(path) as f:
        assert f.read() == "keep me"
    done = on(h, "restore", archive)
    assert done.code == 1 and "another process" in done.err, done
    h.stop()
    done = on(h, "restore", archive)
    assert done.code == 1 and "holds data already" in done.err, done
    h.start()
    assert h.admin().pull("library/x", "t")


def test_a_database_with_data_is_not_overwritten(archive, make_hub):
    h = make_hub("postgresql")
    h.admin().push_image("library/x", "t")
    other = make_hub("sqlite", start=False)
    done = berth("restore", archive, "--data", other.data, env={"BERTH_DATABASE": h.database})
    assert done.code == 1 and h.database not in done.err, done
    assert h.admin().pull("library/x", "t")


def test_T53_names_of_an_archive_do_not_drive_the_terminal(tmp_path):
    path = str(tmp_path / "evil.tar")
    with tarfile.open(path, "w") as t:
        for name, data in (("berth-backup.json", b'{"format":1,"schema":1}'), ("\x1b[2J\x07evil\x7f", b"x")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            t.addfile(info, io.BytesIO(data))
    done = berth("restore", path, "--data", str(tmp_path / "data"))
    assert done.code == 1 and "name is not allowed" in done.err and not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", done.err), repr(done.err)


def test_a_backup_that_could_not_begin_leaves_no_file(tmp_path):
    done = berth("backup", str(tmp_path / "b.tar"), "--data", str(tmp_path / "none"))
    assert done.code == 1 and not os.path.exists(str(tmp_path / "b.tar")), done


def test_a_blob_that_is_missing_is_said(make_hub, tmp_path):
    from test_usage import blob_file
    h = make_hub()
    d, _ = h.admin().push_image("library/x", "t", b"seed")
    lost = h.admin().get("/v2/library/x/manifests/t").json()["layers"][0]["digest"]
    os.unlink(blob_file(h, lost))
    done = on(h, "backup", str(tmp_path / "b.tar"), "--json")
    assert done.code == 1 and [i["digest"] for i in done.items()] == [lost] and done.done()["problems"] == 1, done
    other, _ = restored(make_hub, str(tmp_path / "b.tar"), "sqlite")
    other.start()
    assert other.admin().get("/v2/library/x/manifests/t").status == 200
    assert other.admin().get("/v2/library/x/blobs/" + lost).status == 404
