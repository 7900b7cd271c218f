"""Takes one sync at a time out of the source, builds, and cuts the power until the test turns red.

  mutants.py [--images N] [--only TEXT] [--out FILE]

Prints a table (docs/durability.md holds one): the sync, the volume whose images showed its absence, and how many images
that took. A sync that no image misses is a failure of this program: either the tests or the sync is too much.
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))

STORE = "src/store/"
# (name, file, text, replacement, volumes to try: (volume, database))
FILES, FAR, DISK = ("files", "sqlite"), ("files", "postgresql"), ("disk", "sqlite")
MUTANTS = [
    ("store.blob.sync", STORE + "staging.c", 'sync_data(g, STEP("store.blob.sync"), err)', "0", (DISK, FILES)),
    ("store.blob.dirsync", STORE + "staging.c", 'store_sync_dir(s, fan, name.group, STEP("store.blob.dirsync"), err)',
     "0", (DISK, FILES)),
    ("store.upload.sync", STORE + "staging.c", 'sync_data(g, STEP("store.upload.sync"), err)', "0", (DISK, FILES)),
    ("store.uploads.dirsync", STORE + "staging.c",
     'store_sync_dir(g->s, g->s->uploads, STORE_UPLOADS, STEP("store.uploads.dirsync"), err)', "0", (DISK, FILES)),
    ("store.trash.dirsync, store.quarantine.dirsync (new name)", STORE + "blob.c",
     "store_sync_dir(s, to, group, sync_step, err)", "((void)group, 0)", (FILES,)),
    ("store.trash.dirsync, store.quarantine.dirsync (old name)", STORE + "blob.c",
     "store_sync_dir(s, fan, n.group, sync_step, err)", "0", (FILES,)),
    ("store.key.sync", STORE + "keys.c", 'store_sync_file(s, fd, STEP("store.key.sync"), err)', "0", (DISK, FILES)),
    ("store.key.dirsync", STORE + "keys.c", 'store_sync_plain(s, s->keys, STEP("store.key.dirsync"), err)', "0",
     (DISK, FILES)),
    ("store.create.sync", STORE + "layout.c", 'store_sync_file(s, fd, STEP("store.create.sync"), err)', "0",
     (DISK, FILES)),
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
    ("db.dirsync", "src/db/db.c", "return sync_dir(db->dir, err);", "(void)sync_dir; return 0;", (FILES, DISK)),
    ("SQLite: synchronous=NORMAL", "src/db/db_sqlite.c", "synchronous=FULL", "synchronous=NORMAL", (DISK, FILES)),
    ("SQLite: synchronous=OFF", "src/db/db_sqlite.c", "synchronous=FULL", "synchronous=OFF", (DISK, FILES)),
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
    sh("meson", "setup", build, tree, "--buildtype=release")
    sh("ninja", "-C", build, "berth", "tests/tools/disklog", "tests/tools/filelog")


def attempt(build, volume, db, images):
    """(red, images tried, what was found first)"""
    env = dict(os.environ, BERTH_BIN=os.path.join(build, "berth"))
    report = os.path.join(build, "report.json")
    done = subprocess.run([sys.executable, os.path.join(HERE, "power.py"), "--volume", volume, "--db", db, "--images",
                           str(images), "--until-red", "--report", report], env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, universal_newlines=True)
    if not os.path.exists(report):
        return None, 0, done.stdout[-800:]
    import json
    with open(report) as f:
        t = json.load(f)
    os.unlink(report)
    return t["bad"] > 0, t["images"], t["first"]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--images", type=int, default=200)
    p.add_argument("--only", default="")
    p.add_argument("--out")
    a = p.parse_args()
    scratch = tempfile.mkdtemp(prefix="berth-mutants-")
    tree, build = scratch + "/tree", scratch + "/build"
    os.mkdir(tree)
    passed = failed = 0
    rows = ["| sync | images of | images until red | what was found |", "|---|---|---|---|"]
    try:
        setting_up(tree, build)
        for name, path, text, other, volumes in MUTANTS:
            if a.only not in name:
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
            for volume, db in volumes:
                this, tried, first = attempt(build, volume, db, a.images)
                label = {"files": "files", "disk": "ext4"}[volume] + (", " + db if db != "sqlite" else "")
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
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if a.out:
        with open(a.out, "w") as f:
            f.write("\n".join(rows) + "\n")
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
