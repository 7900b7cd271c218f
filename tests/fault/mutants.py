"""Takes one sync at a time out of the source, builds, and cuts the power until the test turns red.

  mutants.py [--images N] [--only TEXT] [--out FILE]

Prints a table (docs/durability.md holds one): the sync, the volume whose images showed its absence, and how many images
that took. A sync that no image misses is a failure of this program: either the tests or the sync is too much.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))

STORE = "src/store/"
# (name, file, text, replacement, scenes of power.py to try)
FILES, UPKEEP, TLS, COPY, FAR, OLD, LIFE = "files", "files-upkeep", "files-tls", "files-copy", "files-far", "old", "life"
MUTANTS = [
    ("store.blob.sync", STORE + "staging.c", 'sync_data(g, STEP("store.blob.sync"), err)', "0", (OLD, FILES)),
    ("store.blob.dirsync", STORE + "staging.c", 'store_sync_dir(s, fan, name.group, STEP("store.blob.dirsync"), err)',
     "0", (OLD, FILES)),
    ("store.upload.sync", STORE + "staging.c", 'sync_data(g, STEP("store.upload.sync"), err)', "0", (OLD, FILES)),
    ("store.uploads.dirsync", STORE + "staging.c",
     'store_sync_dir(g->s, g->s->uploads, STORE_UPLOADS, STEP("store.uploads.dirsync"), err)', "0", (OLD, FILES)),
    ("store.trash.dirsync, store.quarantine.dirsync (new name)", STORE + "blob.c",
     "store_sync_dir(s, to, group, sync_step, err)", "((void)group, 0)", (UPKEEP,)),
    ("store.trash.dirsync, store.quarantine.dirsync (old name)", STORE + "blob.c",
     "store_sync_dir(s, fan, n.group, sync_step, err)", "0", (UPKEEP,)),
    ("store.key.sync", STORE + "keys.c", 'store_sync_file(s, fd, STEP("store.key.sync"), err)', "0", (LIFE, FILES)),
    ("store.key.dirsync", STORE + "keys.c", 'store_sync_plain(s, s->keys, STEP("store.key.dirsync"), err)', "0",
     (LIFE, FILES)),
    ("store.create.sync", STORE + "layout.c", 'store_sync_file(s, fd, STEP("store.create.sync"), err)', "0",
     (LIFE, FILES)),
    ("store.create.dirsync (of store.json)", STORE + "layout.c",
     '    return store_sync_plain(s, s->root, STEP("store.create.dirsync"), err);', "    return 0;", (FILES, FAR)),
    ("store.create.dirsync (of the directories)", STORE + "layout.c",
     'sync ? store_sync_plain(s, s->root, STEP("store.create.dirsync"), err) : 0', "0", (FILES,)),
    ("store.create.fansync (of blobs/ALG)", STORE + "layout.c",
     'rc < 0 || !sync ? rc : store_sync_plain(s, fd, STEP("store.create.fansync"), err)', "rc", (FILES,)),
    ("store.create.fansync (of blobs)", STORE + "layout.c",
     'sync_blobs && (rc = store_sync_plain(s, s->blobs, STEP("store.create.fansync"), err)) < 0', "false", (FILES,)),
    ("store.create.parentsync", STORE + "layout.c",
     'step_fault("store.create.parentsync") == 0 && fsync(parent) == 0', "parent >= 0", (FILES,)),
    ("of a self-signed certificate", "src/http/tls.c", "fflush(f) == 0 && fsync(fd) == 0", "fflush(f) == 0", (TLS,)),
    ("of a self-signed certificate's directory", "src/http/tls.c", "return fd >= 0 && fsync(fd) == 0;", "return fd >= 0;",
     (TLS,)),
    ("of a backup", "src/arc/arc.c", "fsync(w->fd) < 0 &&", "w->fd < 0 &&", (COPY,)),
    ("of a backup's directory", "src/cli/commands.c", "return fd >= 0 && fsync(fd) == 0;", "return fd >= 0;", (COPY,)),
    ("of a restore's mark", "src/app/backup.c", "return d >= 0 && fsync(d) == 0 ?", "return d >= 0 ?", (COPY,)),
    ("SQLite: synchronous=NORMAL", "src/db/db_sqlite.c", "synchronous=FULL; %s", "synchronous=NORMAL; %s", (OLD, FILES)),
    ("SQLite: synchronous=OFF", "src/db/db_sqlite.c", "synchronous=FULL; %s", "synchronous=OFF; %s", (OLD, FILES)),
]

# Other promises, each broken once: (name, file, text, replacement, the test that must fail)
ERRORS = ["errors.py", "--only"]
OTHERS = [
    ("an answer before its commit", "src/db/db_sqlite.c",
     ["    return run_fixed(conn_of(base), COMMIT, err);",
      "    return run_fixed(c, role == DB_WRITER ? BEGIN_WRITE : BEGIN_READ, err);"],
     ["    static int n;\n    return ++n > 200 && n % 7 ? 0 : run_fixed(conn_of(base), COMMIT, err);",
      "    if (sqlite3_get_autocommit(c->h) == 0)\n        return 0;\n"
      "    return run_fixed(c, role == DB_WRITER ? BEGIN_WRITE : BEGIN_READ, err);"], ["kills.py", "--kills", "10"]),
    ("a database whose journal is in memory", "src/db/db_sqlite.c",
     ['"PRAGMA journal_mode=WAL"', '(const char *)sqlite3_column_text(s, 0), "wal")'],
     ['"PRAGMA journal_mode=MEMORY"', '(const char *)sqlite3_column_text(s, 0), "memory")'], ["kills.py", "--kills", "60"]),
    ("a name before its bytes", STORE + "staging.c", "store_write_all(g->fd, p, n, g->size) < 0",
     "store_write_all(g->fd, p, n > 2000 ? n - 1 : n, g->size) < 0", ["kills.py", "--kills", "10"]),
    ("EIO that ends nothing", STORE + "store.c", "    atomic_store(&s->failed, true);", "    (void)s;",
     ERRORS + ["eio_at_each_step"]),
    ("EIO of a commit that ends nothing", "src/db/writer.c", "    if (sys != ENOSPC && sys != EDQUOT)\n        db_fail(db);",
     "    (void)sys;", ERRORS + ["eio_at_each_step"]),
    ("a full disk that ends everything", STORE + "store.c", "    if (errno == EIO)\n        store_break(s);",
     "    store_break(s);", ERRORS + ["full_disk"]),
    ("no rest without descriptors", "src/http/accept.c", "            rest(l, listener);", "            (void)rest;",
     ERRORS + ["descriptors"]),
    ("no drain", "src/http/server.c", "    while (atomic_load(&s->n_conns) > 0 && clock_mono() < until) {",
     "    while (until == 0) {", ERRORS + ["stop_under_load"]),
    ("a database that stays away", "src/db/writer.c", "db->writer.retry_at = clock_mono() + db->writer.backoff;",
     "db->writer.retry_at = INT64_MAX;", ["errors.py", "--db", "postgresql", "--only", "postgres_dies"]),
]


def sh(*args, **kw):
    return subprocess.run(args, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True,
                          **kw).stdout


def setting_up(tree, build):
    files = sh("git", "-C", ROOT, "ls-files", "src", "tests/tools", "tests/unit", "fuzz", "meson.build",
               "meson_options.txt", "tools").split("\n")
    for name in filter(None, files):
        if os.path.exists(os.path.join(ROOT, name)):
            os.makedirs(os.path.dirname(os.path.join(tree, name)) or tree, exist_ok=True)
            shutil.copy2(os.path.join(ROOT, name), os.path.join(tree, name))
    for name in os.listdir(ROOT):  # what else meson names
        if not name.startswith((".", "build")) and not os.path.exists(os.path.join(tree, name)):
            os.symlink(os.path.join(ROOT, name), os.path.join(tree, name))
    sh("meson", "setup", build, tree, "--buildtype=release", "-Dfaults=true", "-Dtests=false")
    sh("ninja", "-C", build, "berth", "tests/tools/disklog", "tests/tools/filelog")


def attempt(build, scene, images):
    """(red, images tried, what was found first)"""
    env = dict(os.environ, BERTH_BIN=os.path.join(build, "berth"))
    report = os.path.join(build, "report.json")
    done = subprocess.run([sys.executable, os.path.join(HERE, "power.py"), "--volume", "files" if "files" in scene else
                           "disk", "--db", "postgresql" if scene == FAR else "sqlite", "--scene", scene, "--images", str(images), "--until-red", "--report", report], env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True)
    if not os.path.exists(report):
        return None, 0, done.stdout[-800:]
    with open(report) as f:
        t = json.load(f)
    os.unlink(report)
    return t["bad"] > 0, t["images"], t["first"]


def broken(tree, build, path, text, other, test):
    """True when the test fails with this change of the source."""
    full = os.path.join(tree, path)
    with open(full) as f:
        changed = source = f.read()
    for a, b in zip(*((text, other) if isinstance(text, list) else ([text], [other]))):
        assert source.count(a) == 1, (path, a, source.count(a))
        changed = changed.replace(a, b)
    with open(full, "w") as f:
        f.write(changed)
    try:
        sh("ninja", "-C", build, "berth")
        env = dict(os.environ, BERTH_BIN=os.path.join(build, "berth"))
        done = subprocess.run([sys.executable, os.path.join(HERE, test[0])] + test[1:], env=env, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, universal_newlines=True)
        print("# " + "\n# ".join(done.stdout.strip().splitlines()[-int(os.environ.get("LINES_SHOWN", "6")):])[:6000])
        return done.returncode != 0
    finally:
        with open(full, "w") as f:
            f.write(source)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--images", type=int, default=300)
    p.add_argument("--only", default="", help="those whose name has this text")
    p.add_argument("--others", action="store_true", help="only what is no sync")
    p.add_argument("--out")
    a = p.parse_args()
    scratch = tempfile.mkdtemp(prefix="berth-mutants-")
    tree, build = scratch + "/tree", scratch + "/build"
    os.mkdir(tree)
    passed = failed = 0
    rows = ["| sync | images of | images until red | what was found |", "|---|---|---|---|"]
    try:
        setting_up(tree, build)
        for name, path, text, other, scenes in MUTANTS:
            if a.only not in name or a.others:
                continue
            full = os.path.join(tree, path)
            with open(full) as f:
                source = f.read()
            if source.count(text) != 1:
                print("not ok - %s: its text is in %s %d times" % (name, path, source.count(text)), flush=True)
                failed += 1
                continue
            with open(full, "w") as f:
                f.write(source.replace(text, other))
            sh("ninja", "-C", build, "berth")
            red = False
            for scene in scenes:
                this, tried, first = attempt(build, scene, a.images)
                label = scene if "files" in scene else "ext4, " + scene
                if this is None:
                    print("# %s on %s: the run itself failed: %s" % (name, label, first))
                rows.append("| %s | %s | %s | %s |" % (name, label, tried if this else "none of %d" % tried,
                                                       first.replace("|", "/") if this else "-"))
                print(rows[-1], flush=True)
                red = red or bool(this)
            passed, failed = passed + red, failed + (not red)
            print("%s - without %s" % ("ok" if red else "not ok", name), flush=True)
            with open(full, "w") as f:
                f.write(source)
        for name, path, text, other, test in OTHERS:
            if a.only not in name:
                continue
            red = broken(tree, build, path, text, other, test)
            passed, failed = passed + red, failed + (not red)
            print("%s - %s: %s" % ("ok" if red else "not ok", name, " ".join(test)), flush=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if a.out:
        with open(a.out, "w") as f:
            f.write("\n".join(rows) + "\n")
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
