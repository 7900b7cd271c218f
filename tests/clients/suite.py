"""The runner of the client suite: cases in lanes, commands, and what a case may ask of the hub itself.

A lane is one person's machine: a home directory of its own, logins of its own, cases one after the other. Lanes run
beside each other. Whatever a client says is also asked of the hub by tests/lib's own client.
"""
import collections
import contextlib
import filecmp
import json
import os
import re
import subprocess
import sys
import threading
import time
import traceback

from registry import Client, digest

CASES = collections.OrderedDict()  # lane -> [(title, function)]
COMMAND_LIMIT = 300  # seconds until a command counts as hanging
INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFEST_TYPES = INDEXES + ("application/vnd.oci.image.manifest.v1+json",
                            "application/vnd.docker.distribution.manifest.v2+json")
_print = threading.Lock()


def say(text):
    with _print:
        print(text, flush=True)


def case(lane, title):
    def register(function):
        CASES.setdefault(lane, []).append((title, function))
        return function
    return register


class Result:
    def __init__(self):
        self.passed, self.failed, self.lock = 0, 0, threading.Lock()

    def add(self, good):
        with self.lock:
            if good:
                self.passed += 1
            else:
                self.failed += 1


class Failed(AssertionError):
    pass


class Lane:
    """What a case gets: commands in a home of its own, the hub, the images."""

    def __init__(self, name, world, hub):
        self.name, self.world, self.hub = name, world, hub
        self.home = os.path.join(world.work, "home-" + name)
        self.host = hub.service
        self.env = dict(world.env, HOME=self.home, XDG_CONFIG_HOME=self.home + "/.config", TMPDIR=self.home + "/tmp",
                        XDG_RUNTIME_DIR=self.home + "/run", XDG_CACHE_HOME=self.home + "/.cache",
                        XDG_DATA_HOME=self.home + "/.local", DOCKER_CONFIG=self.home + "/.docker",
                        REGISTRY_AUTH_FILE=self.home + "/auth.json",
                        CONTAINERS_STORAGE_CONF=self.home + "/storage.conf")
        for folder in ("tmp", "run", ".docker", ".config/containers"):
            os.makedirs(os.path.join(self.home, folder), exist_ok=True)
        self.write("storage.conf", '[storage]\ndriver = "%s"\ngraphroot = "%s/graph"\nrunroot = "%s/run/graph"\n'
                   % (world.storage_driver, self.home, self.home))
        self.write(".config/containers/policy.json", '{"default": [{"type": "insecureAcceptAnything"}]}')
        self.write(".config/containers/registries.conf", 'unqualified-search-registries = []\nshort-name-mode = "enforcing"\n')

    # --- files
    def path(self, name):
        return os.path.join(self.home, name)

    def write(self, name, text):
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(text if isinstance(text, bytes) else text.encode())
        return path

    def read(self, name):
        with open(self.path(name), "rb") as f:
            return f.read()

    def ref(self, repo):
        return "%s/%s" % (self.host, repo)

    # --- commands
    def attempt(self, *argv, stdin=None, env=None, cwd=None):
        """(exit code, standard output, both outputs)"""
        try:
            done = subprocess.run(argv, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  env=dict(self.env, **(env or {})), cwd=cwd or self.home, timeout=COMMAND_LIMIT,
                                  universal_newlines=True, errors="replace", **({} if stdin is not None else
                                                                                {"stdin": subprocess.DEVNULL}))
        except subprocess.TimeoutExpired:
            raise Failed("hangs: " + " ".join(argv))
        return done.returncode, done.stdout, done.stdout + done.stderr

    def sh(self, *argv, **kw):
        """Runs a command that must succeed; returns its standard output, without the last newline."""
        code, out, both = self.attempt(*argv, **kw)
        if code != 0:
            raise Failed("exit code %d: %s\n%s" % (code, " ".join(argv), both[-3000:]))
        return out.rstrip("\n")

    def refused(self, pattern, *argv, **kw):
        """Runs a command that must fail, and say why."""
        code, _, both = self.attempt(*argv, **kw)
        if code == 0:
            raise Failed("succeeded, but had to fail: " + " ".join(argv))
        if not re.search(pattern, both, re.I):
            raise Failed("failed without saying /%s/: %s\n%s" % (pattern, " ".join(argv), both[-3000:]))
        return both

    # --- the hub's own word
    def admin(self):
        return self.hub.admin("bearer")

    def manifest(self, repo, ref, client=None):
        """(digest, bytes, media type) as the hub serves it; the digest is recomputed."""
        a = (client or self.admin()).get("/v2/%s/manifests/%s" % (repo, ref),
                                         headers=[("Accept", t) for t in MANIFEST_TYPES] + [("Accept", "*/*")])
        if a.status != 200:
            raise Failed("GET manifest %s:%s: %s" % (repo, ref, a.status))
        want = digest(a.body)
        same(a.get("Docker-Content-Digest"), want, "digest of %s:%s" % (repo, ref))
        return want, a.body, a.get("Content-Type")

    def tree(self, repo, ref):
        """{digest: bytes} of everything that a manifest reaches, each re-hashed; the first is its own."""
        client, found = self.admin(), collections.OrderedDict()

        def walk(reference):
            name, body, media_type = self.manifest(repo, reference, client)
            found[name] = body
            doc = json.loads(body)
            if media_type in INDEXES:
                for child in doc["manifests"]:
                    walk(child["digest"])
                return
            for d in [doc["config"]] + doc["layers"]:
                if d["digest"] in found:
                    continue
                a = client.get("/v2/%s/blobs/%s" % (repo, d["digest"]))
                same(a.status, 200, "GET blob %s" % d["digest"])
                same((digest(a.body), len(a.body)), (d["digest"], d["size"]), "blob of %s" % repo)
                found[d["digest"]] = a.body
        walk(ref)
        return found

    def status(self, method, path, user=None):
        client = user or self.admin()
        return client.request(method, "/v2/" + path, headers=[("Accept", "*/*")]).status

    def gone(self, repo, *refs):
        for ref in refs:
            same(self.status("GET", "%s/manifests/%s" % (repo, ref)), 404, "GET of deleted %s:%s" % (repo, ref))

    def tags(self, repo):
        a = self.admin().get("/v2/%s/tags/list" % repo)
        return a.json()["tags"] if a.status == 200 else None

    def anonymous(self):
        return Client(self.hub, mode="bearer")


def same(got, want, what):
    if got != want:
        raise Failed("%s: is %r, must be %r" % (what, got, want))


def holds(condition, what):
    if not condition:
        raise Failed(what)


def contains(text, pattern):
    m = re.search(pattern, text)
    if not m:
        raise Failed("no /%s/ in\n%s" % (pattern, text[-3000:]))
    return m


# --- OCI layouts on disk
def blob_path(layout, name):
    return os.path.join(layout, "blobs", *name.split(":"))


def layout_closure(layout, name):
    """Every digest that a manifest of a layout reaches; each file is re-hashed."""
    found = []

    def walk(d, is_manifest):
        with open(blob_path(layout, d), "rb") as f:
            body = f.read()
        same(digest(body), d, "file of " + layout)
        found.append(d)
        if not is_manifest:
            return
        doc = json.loads(body)
        for child in doc.get("manifests", []):
            walk(child["digest"], True)
        for part in ([doc["config"]] if "config" in doc else []) + doc.get("layers", []):
            walk(part["digest"], False)
    walk(name, True)
    return found


def layout_root(layout, tag=None):
    """The digest of a layout's only manifest, or of the one with a tag."""
    with open(os.path.join(layout, "index.json")) as f:
        rows = json.load(f)["manifests"]
    if tag is not None:
        rows = [r for r in rows if r.get("annotations", {}).get("org.opencontainers.image.ref.name") == tag]
    same(len(rows), 1, "manifests of the layout " + layout)
    return rows[0]["digest"]


def same_layouts(pushed, pulled, name):
    """Everything below a manifest is on both sides, byte for byte."""
    want = layout_closure(pushed, name)
    same(layout_closure(pulled, name), want, "what came back")
    for d in want:
        holds(filecmp.cmp(blob_path(pushed, d), blob_path(pulled, d), shallow=False), "%s differs" % d)


def same_as_hub(lane, layout, name, repo, ref):
    """The hub serves exactly the layout's bytes."""
    tree = lane.tree(repo, ref)
    same(list(tree)[0], name, "digest on the hub")
    same(sorted(tree), sorted(set(layout_closure(layout, name))), "what the hub holds of " + repo)


# --- running
def run_lane(lane, result, only):
    for title, function in CASES[lane.name]:
        if only and not re.search(only, lane.name + ": " + title):
            continue
        began = time.monotonic()
        try:
            function(lane)
            result.add(True)
            say("ok    %-11s %s (%.1f s)" % (lane.name, title, time.monotonic() - began))
        except Exception as e:  # a case must not end the lane
            result.add(False)
            text = str(e) if isinstance(e, Failed) else traceback.format_exc()
            say("FAIL  %-11s %s (%.1f s)\n      %s" % (lane.name, title, time.monotonic() - began,
                                                     text.replace("\n", "\n      ")))


def run_lanes(groups, result, only=None):
    """groups: lists of lanes; the lanes of one group run one after the other, the groups at once."""
    def work(lanes):
        for lane in lanes:
            run_lane(lane, result, only)
    threads = [threading.Thread(target=work, args=(g,), daemon=True) for g in groups]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


@contextlib.contextmanager
def counted(result, title):
    """A step outside the lanes that counts as a test."""
    try:
        yield
        result.add(True)
        say("ok    %-11s %s" % ("suite", title))
    except Exception:
        result.add(False)
        say("FAIL  %-11s %s\n%s" % ("suite", title, traceback.format_exc()))
    sys.stdout.flush()
