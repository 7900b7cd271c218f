"""The procedures of docs/operations.md, run as they stand there, on a hub that has the trouble."""
import os
import re
import shutil
import subprocess

import pytest
from berth import Hub, newest_schema
from conftest import binary, text, wait_for

PAGE = "docs/operations.md"


class Operator:
    """Types the commands of a section. systemd is not here: its three words go to the hub directly."""

    def __init__(self, folder):
        self.dir, self.hub = str(folder), Hub(env={"BERTH_MIN_FREE": "0"}, start=False)
        os.makedirs(self.dir + "/bin")
        os.makedirs(self.dir + "/backup")
        os.symlink(binary(), self.dir + "/bin/berth")
        self.stdin = "a-new-password-1\n"

    def section(self, title):
        part = re.search(r"^## %s$(.*?)(?=^##? |\Z)" % re.escape(title), text(PAGE), re.M | re.S)
        assert part, title
        return part.group(1)

    def lines(self, title, block=0):
        found = re.findall(r"^```sh\n(.*?)^```$", self.section(title), re.M | re.S)
        return found[block].splitlines()

    def type(self, line):
        """Returns (exit code, output)."""
        m = re.fullmatch(r"systemctl (stop|start|restart|reload) berth", line.strip())
        if m:
            getattr(self.hub, m.group(1))()
            return 0, ""
        owner = "-o %d -g %d" % (os.geteuid(), os.getegid())
        line = line.replace("/var/lib/berth", self.hub.data).replace("/srv/backup", self.dir + "/backup")
        line = line.replace("ssh vault", "sh -c").replace("-o berth -g berth", owner)
        env = {k: v for k, v in os.environ.items() if not k.startswith("BERTH_")}
        env["PATH"] = self.dir + "/bin:" + env["PATH"]
        done = subprocess.run(["bash", "-c", line], input=self.stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              universal_newlines=True, env=env, cwd=self.dir, timeout=120)
        return done.returncode, done.stdout

    def follow(self, title, block=0):
        """Every line must succeed; the outputs."""
        said = []
        for line in self.lines(title, block):
            code, out = self.type(line)
            assert code == 0, "%s: %s" % (line, out)
            said.append(out)
        return said

    def settings(self, content):
        with open(self.hub.data + "/berth.conf", "w") as f:
            f.write(content)


@pytest.fixture
def duty(tmp_path):
    o = Operator(tmp_path)
    yield o
    o.hub.close()


def blob_file(h, d):
    alg, hexa = d.split(":")
    return "%s/blobs/%s/%s/%s" % (h.data, alg, hexa[:2], hexa)


def test_first_start(duty):
    h = duty.hub
    h.admin_password = None
    h.start()
    lines = duty.lines("First start")
    assert lines[0].startswith("cat ") and lines[-1].startswith("berth repo public alice/app")
    first = duty.type(lines[0])[1].strip()
    assert h.client("admin", first).get("/v2/").status == 200
    for line in lines[1:-1]:
        assert duty.type(line)[0] == 0, line
    h.secrets.discard(first)  # it was printed, once
    h.secrets = {s for s in h.secrets if first not in s}
    assert h.client("admin", "a-new-password-1").get("/v2/").status == 200 and h.client("admin", first).get("/v2/").status == 401
    h.secrets = {s for s in h.secrets if first not in s}
    d, doc = h.client("alice", "a-new-password-1").push_image("alice/app", "t")
    assert h.anonymous().get("/v2/alice/app/manifests/t").status == 401
    assert duty.type(lines[-1])[0] == 0
    assert h.anonymous().pull("alice/app", "t") == doc
    assert not os.path.exists(h.data + "/keys/admin-password")


def test_backup_and_restore(duty):
    h = duty.hub.start()
    c = h.add_user("zoe")
    d, doc = c.push_image("zoe/x", "t", b"x", layers=3)
    duty.follow("Backup and restore", 0)
    assert os.path.getsize(duty.dir + "/berth.tar") == os.path.getsize(duty.dir + "/backup/berth.tar") > 1000
    h.stop()
    shutil.rmtree(h.data)  # the disk is gone
    duty.follow("Backup and restore", 1)
    c.close()
    assert c.pull("zoe/x", "t") == doc


def test_upgrade(duty):
    duty.hub.start().admin().push_image("library/x", "t")
    lines = [line for line in duty.lines("Upgrade") if "git" not in line]
    assert len(lines) == 3
    said = [duty.type(line) for line in lines]
    assert all(code == 0 for code, _ in said) and "schema %d " % newest_schema() in said[2][1], said


def test_full_disk(duty):
    h = duty.hub
    duty.hub.extra["BERTH_MIN_FREE"] = "1000T"
    h.start()
    c = h.admin()
    a = c.post("/v2/library/x/blobs/uploads/")
    assert a.status == 507 and "min_free" in a.message
    h.extra["BERTH_MIN_FREE"] = "0"
    h.extra["BERTH_GC"] = "false"
    h.restart()
    c.close()
    lost = c.push_blob("library/x", b"nothing names it")
    said = duty.follow("Full disk")
    assert lost in said[0] and "wait" in said[0], said
    assert "berth gc --now" in duty.section("Full disk")
    assert duty.type("berth gc --now --data /var/lib/berth")[0] == 0
    assert c.head("/v2/library/x/blobs/" + lost).status == 200  # pushed within gc_grace
    duty.settings("gc_grace = 0\n")
    duty.type("systemctl reload berth")
    h.wait_log(lambda r: r["msg"] == "reloaded")
    assert duty.type("berth gc --now --data /var/lib/berth")[0] == 0
    assert c.head("/v2/library/x/blobs/" + lost).status == 404
    assert not [f for _, _, fs in os.walk(h.data + "/trash") for f in fs]


def test_read_only(duty):
    h = duty.hub.start()
    c = h.admin()
    d, doc = c.push_image("library/x", "t")
    duty.settings("read_only = true\n")
    duty.type("systemctl reload berth")
    h.wait_log(lambda r: r["msg"] == "read-only")
    code, out = duty.type("berth status --data /var/lib/berth")
    assert code == 0 and "witched on by the administrator" in out and "Switched on by the administrator" in duty.section("Read-only")
    assert c.put_manifest("library/x", "u", doc).status == 503 and c.pull("library/x", "t") == doc
    duty.settings("")
    assert "problems 0" in duty.follow("Read-only")[1]
    c.close()
    assert c.put_manifest("library/x", "u", doc).status == 201


def test_corrupt_blob(duty):
    h = duty.hub.start()
    c = h.admin()
    c.push_image("library/x", "t", b"seed")
    d = c.get("/v2/library/x/manifests/t").json()["layers"][0]["digest"]
    data = c.get("/v2/library/x/blobs/" + d).body
    path = blob_file(h, d)
    os.chmod(path, 0o600)
    with open(path, "r+b") as f:
        f.write(b"?")
    (line,) = duty.lines("Corrupt blob")
    code, out = duty.type(line)
    assert code == 1 and d in out, out
    wait_for(lambda: c.get("/v2/library/x/blobs/" + d).status == 404, "the quarantine")
    assert os.listdir(h.data + "/quarantine")
    h.wait_log(lambda r: r["level"] == "error" and r.get("digest") == d)
    grep = duty.lines("Errors 5xx")[0].split(" | ")[1]
    found = subprocess.run(["bash", "-c", grep], input=h.stderr(), stdout=subprocess.PIPE, universal_newlines=True).stdout
    assert d in found
    c.push_image("library/x", "t", b"seed")
    assert c.get("/v2/library/x/blobs/" + d).body == data
    assert duty.type(line)[0] == 0


def test_lost_password(duty):
    h = duty.hub.start()
    token = h.admin().fetch_token("repository:library/x:pull,push")
    assert h.client(token=token).post("/v2/library/x/blobs/uploads/").status == 202
    duty.follow("Lost password")
    h.secrets.add("a-new-password-1")
    assert h.client("admin", "a-new-password-1").get("/v2/").status == 200
    assert h.client("admin", h.admin_password).get("/v2/").status == 401
    assert h.client(token=token).post("/v2/library/x/blobs/uploads/").status == 401
    assert duty.type("berth user add second --admin --data /var/lib/berth")[0] == 0


def test_a_leaked_token_key(duty):
    h = duty.hub.start()
    token = h.admin().fetch_token("repository:library/x:pull,push")
    assert "keys/token.seed" in duty.section("A leaked token key")
    h.stop()
    os.unlink(h.data + "/keys/token.seed")
    h.start()
    assert h.client(token=token).post("/v2/library/x/blobs/uploads/").status == 401
    assert h.admin().post("/v2/library/x/blobs/uploads/").status == 202


def test_changing_settings(duty):
    h = duty.hub.start()
    duty.settings("max_upload = 1K\nworkers = 9\n")
    duty.type("systemctl reload berth")
    h.wait_log(lambda r: r["msg"] == "this key needs a restart" and r["key"] == "workers")
    duty.settings("max_uplaod = 1K\n")
    duty.type("systemctl reload berth")
    r = h.wait_log(lambda r: "not reloaded" in r["msg"])
    assert "berth.conf:1" in r["error"] and "max_upload" in r["error"], r
