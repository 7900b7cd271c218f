"""Every command: help, wrong usage, exit codes, output for machines."""
import json
import os
import re
import subprocess

import pytest
from conftest import berth, binary, commands, newest_schema, on, typed
from registry import digest


@pytest.mark.parametrize("name,operands", commands())
def test_help(name, operands):
    done = berth(*name.split(), "--help")
    assert done.code == 0 and done.err == "", done
    assert done.out.startswith("Usage: berth %s%s [OPTIONS]\n" % (name, " " + operands if operands else "")), done
    for option in ("--data", "--config", "--json", "--help"):
        assert re.search("^  %s " % option, done.out, re.M), done
    assert berth("help", *name.split()).out == done.out and berth(*name.split(), "-h").out == done.out


def test_help_lists_every_command_and_key():
    for args in (["help"], ["--help"], ["-h"]):
        assert berth(*args).code == 0
    keys = [d["key"] for d in json.loads(berth("config", "--json").out)]
    text = berth("serve", "--help").out
    assert len(keys) >= 40 and all(re.search(r"^  (--|  )%s " % k, text, re.M) for k in keys)


WRONG = [
    ([], "Usage: berth COMMAND"),
    (["nonsense"], 'unknown command "nonsense"'),
    (["--json"], "unknown command"),
    (["user"], "berth user add USER"),
    (["user", "nonsense"], "berth user add USER"),
    (["user", "add"], "usage: berth user add USER"),
    (["user", "add", "a", "b"], 'unexpected argument "b"'),
    (["gc", "extra"], 'gc: unexpected argument "extra"'),
    (["gc", "--full"], "gc: unknown option --full; `berth gc --help`"),
    (["gc", "-x"], "gc: unknown option -x"),
    (["gc", "--listen", "127.0.0.1:1"], "gc: unknown option --listen"),
    (["gc", "--dry-run=yes"], "gc: unknown option --dry-run=yes"),
    (["backup"], "usage: berth backup FILE"),
    (["restore"], "usage: berth restore FILE"),
    (["completion", "tcsh"], "one of bash, zsh, fish"),
    (["serve", "--listen"], "--listen needs a value"),
    (["serve", "--config"], "--config needs a value"),
    (["status", "--data"], "--data needs a value"),
    (["gc", "--config", "/nonexistent/berth.conf"], "/nonexistent/berth.conf"),
]


@pytest.mark.parametrize("args,said", WRONG, ids=[" ".join(a) or "none" for a, _ in WRONG])
def test_wrong_usage_is_2(args, said):
    done = berth(*args)
    assert done.code == 2 and said in (done.err if args else done.out), done


def test_version():
    done = berth("version")
    assert done.code == 0 and re.fullmatch(r"berth \d+\.\d+\.\d+\n", done.out), done
    assert berth("--version").out == done.out
    assert json.loads(berth("version", "--json").out) == {"version": done.out.split()[1]}


def test_no_data_directory(tmp_path):
    """Only serve and restore make one."""
    missing = str(tmp_path / "missing")
    for args in (["gc"], ["fsck"], ["user", "list"], ["backup", str(tmp_path / "x.tar")], ["repo", "public", "a/b"]):
        done = berth(*args, "--data", missing)
        assert done.code == 1 and "is not a data directory" in done.err and done.out == "", done
        assert not os.path.exists(missing)


def test_status_needs_a_server(make_hub):
    h = make_hub()
    done = on(h, "status", "--json")
    body = done.done()
    assert done.code == 0 and body["url"] == h.url and body["database"] == "sqlite" and body["read_only"] == "", done
    text = on(h, "status")
    assert text.code == 0 and "url " + h.url in text.out and "schema %d " % newest_schema() in text.out, text
    h.stop()
    done = on(h, "status")
    assert done.code == 1 and "no server runs" in done.err and done.out == "", done


@pytest.mark.parametrize("running", [True, False], ids=["server", "no server"])
def test_machine_output(db, make_hub, tmp_path, running):
    """--json: objects one a line, the last one "done"; errors are text on standard error and an exit code."""
    h = make_hub(db)
    h.admin().push_image("library/x", "t")
    if not running:
        h.stop()
    for args, stdin in ((["gc"], ""), (["gc", "--dry-run"], ""), (["gc", "--now"], ""), (["fsck"], ""), (["fsck", "--full"], ""),
                        (["user", "add", "alice"], "password-1\n"), (["user", "passwd", "alice"], "password-2\n"),
                        (["user", "add", "boss", "--admin"], "password-3\n"), (["user", "remove", "boss"], ""),
                        (["repo", "public", "library/x"], ""), (["repo", "private", "library/x"], ""),
                        (["backup", str(tmp_path / "b.tar")], "")):
        done = on(h, *args, "--json", stdin=stdin)
        assert done.code == 0 and isinstance(done.done(), dict) and done.err == "", (args, done)
    users = {u["name"]: u for u in on(h, "user", "list", "--json").items()}
    assert {n: (u["site_role"], u["state"]) for n, u in users.items()} == {
        "admin": ("admin", "active"), "alice": ("none", "active"), "boss": ("admin", "removed")}
    for args, stdin, code in ((["user", "add", "alice"], "password-1\n", 1), (["user", "passwd", "nobody"], "password-1\n", 3),
                              (["user", "remove", "nobody"], "", 3), (["user", "add", "Bad/Name"], "password-1\n", 1),
                              (["user", "add", "carl"], "short\n", 1), (["user", "add", "carl"], "", 1),
                              (["repo", "public", "no/where"], "", 3), (["backup", "/dev/null/b.tar"], "", 1),
                              (["backup", "-"], "", 1), (["backup", "/dev/full"], "", 1)):
        done = on(h, *args, "--json", stdin=stdin)
        assert done.code == code and done.err.startswith("berth: ") and '"done"' not in done.out, (args, done)


def test_tables_for_people(make_hub):
    h = make_hub()
    out = on(h, "user", "list").out.splitlines()
    assert out[0].split() == ["name", "site_role", "state", "created_at", "last_login_at"] and out[1].split()[:3] == ["admin", "admin", "active"], out


def test_output_that_cannot_be_written(make_hub):
    """A full disk behind a redirection is a failure, not silence."""
    h = make_hub()
    with open("/dev/full", "w") as full:
        assert on(h, "user", "list", "--json", fd=full).code == 1
        assert berth("config", fd=full).code == 1
        assert berth("version", fd=full).code == 1
        assert berth("completion", "bash", fd=full).code == 1


def test_password_on_a_terminal(make_hub):
    h = make_hub()
    argv = [binary(), "user", "add", "zoe", "--data", h.data]
    code, seen = typed(argv, ["typed-password-1", "other-password-1"])
    assert code == 1 and "the passwords differ" in seen and "typed" not in seen, seen
    code, seen = typed(argv, ["typed-password-1", "typed-password-1"])
    assert code == 0 and "typed" not in seen and "Password: " in seen and "Again: " in seen, seen
    assert h.client("zoe", "typed-password-1").get("/v2/").status == 200


@pytest.mark.parametrize("running", [True, False], ids=["server", "no server"])
def test_gc(db, make_hub, running):
    h = make_hub(db, env={"BERTH_GC": "false", "BERTH_MIN_FREE": "0", "BERTH_GC_GRACE": "0"})
    c = h.admin()
    c.push_image("library/kept", "t")
    lost = c.push_blob("library/lost", b"nothing names it")
    if not running:
        h.stop()
    env = {"BERTH_GC_GRACE": "0"}
    items = on(h, "gc", "--dry-run", "--json", env=env).items()
    assert [(i["action"], i["digest"]) for i in items if i.get("digest") == lost and i["action"] == "wait"], items
    assert all(i["why"] for i in items), items
    done = on(h, "gc", "--dry-run", "--now", "--json", env=env)
    assert lost in [i["digest"] for i in done.items() if i["action"] == "remove"], done
    assert done.done()["remove"] >= 1 and on(h, "gc", "--json", env=env).done() != {}, done
    text = on(h, "gc", "--dry-run", "--now", env=env).out
    head, *rows = text.splitlines()
    row = [r for r in rows if lost in r][0]
    assert row.startswith("remove ") and row[head.index("digest"):].startswith(lost + " "), text
    assert row[head.index("why"):].strip() and row[head.index("repository"):].startswith("library/lost "), text
    if not running:
        h.start()
        c.close()
    assert c.head("/v2/library/lost/blobs/" + lost).status == 200
    if not running:
        h.stop()
    assert on(h, "gc", "--now", env=env).code == 0
    if not running:
        h.start()
        c.close()
    assert c.head("/v2/library/lost/blobs/" + lost).status == 404 and c.pull("library/kept", "t")


def blob_file(h, d):
    alg, hexa = d.split(":")
    for base, _, names in os.walk(os.path.join(h.data, "blobs", alg)):
        if hexa in names:
            return os.path.join(base, hexa)
    raise AssertionError("no file for " + d)


@pytest.mark.parametrize("running", [True, False], ids=["server", "no server"])
def test_fsck(db, make_hub, running):
    h = make_hub(db)
    c = h.admin()
    data = b"a layer that rots"
    d = c.push_blob("library/x", data)
    if not running:
        h.stop()
    path = blob_file(h, d)
    os.chmod(path, 0o600)
    with open(path, "r+b") as f:
        f.write(b"A")
    assert on(h, "fsck").code in (0, 1)
    done = on(h, "fsck", "--full", "--json")
    assert done.code == 1 and done.done()["problems"] >= 1 and d in [i.get("digest") for i in done.items()], done
    text = on(h, "fsck", "--full", "--repair").out
    assert re.search(r"^problem +\S+ +%s +" % d, text, re.M), text
    if not running:
        h.start()
        c.close()
    assert c.get("/v2/library/x/blobs/" + d).status == 404
    c.push_blob("library/x", data)
    assert c.get("/v2/library/x/blobs/" + d).body == data and digest(data) == d
    assert on(h, "fsck", "--full").code == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_root_leaves_files_to_the_owner(make_hub):
    """A data directory of the service's user stays usable after root ran a command on it."""
    h = make_hub()
    h.admin().push_image("library/x", "t")
    h.stop()
    os.chmod(h.own_dir, 0o755)
    subprocess.run(["chown", "-R", "65534:65534", h.data], check=True)
    for args, stdin in ((["user", "add", "alice"], "password-1\n"), (["gc", "--now"], ""), (["fsck", "--full"], ""),
                        (["backup", os.path.join(h.own_dir, "b.tar")], "")):
        assert on(h, *args, stdin=stdin).code == 0, args
    empty = os.path.join(h.own_dir, "restored")
    os.mkdir(empty)
    os.chown(empty, 65534, 65534)
    assert berth("restore", os.path.join(h.own_dir, "b.tar"), "--data", empty).code == 0
    for root in (h.data, empty):
        for base, dirs, names in os.walk(root):
            for name in dirs + names:
                assert os.lstat(os.path.join(base, name)).st_uid == 65534, os.path.join(base, name)
