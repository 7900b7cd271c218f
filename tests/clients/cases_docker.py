"""docker: the classic daemon of Debian, which pushes with POST, one streamed PATCH and PUT."""
import json
import os
import re
import tarfile
import time

from registry import DOCKER_IMAGE, DOCKER_LIST, digest
from suite import case, contains, holds, same

DENIED = "denied|unauthorized|authentication required|insufficient|may require"
MULTISTAGE = """FROM {base} AS work
ENV LEVEL=9
RUN echo built on "$(sha256sum /bin/busybox | cut -c1-64)" >/result && chmod 0640 /result
RUN ["busybox", "--install", "-s", "/bin"]
FROM {base} AS middle
COPY --from=work /result /from-work
RUN cat /from-work /etc/passwd >/tmp/both
FROM scratch
COPY --from=middle /bin/busybox /bin/sh
COPY --from=middle /bin/busybox /bin/cat
COPY --from=middle /tmp/both /both
COPY --from=work --chown=7:8 /result /out/result
LABEL org.example.kind=multi-stage
CMD ["/bin/cat", "/both"]
"""


def docker(lane, *argv, **kw):
    return lane.sh("docker", "--host", lane.world.dockerd.socket, *argv, **kw)


def refused(lane, pattern, *argv, **kw):
    return lane.refused(pattern, "docker", "--host", lane.world.dockerd.socket, *argv, **kw)


def login(lane, name, host=None):
    out = docker(lane, "login", "-u", name, "--password-stdin", host or lane.host, stdin=password(lane.hub, name))
    contains(out, "Login Succeeded")


def password(hub, name):
    return hub.admin_password if name == hub.admin_name else "pw-of-%s-4711" % name


def saved(lane, ref):
    """(image id, {layer: digest of its tar}) from `docker save`, which unpacks what the daemon stored."""
    path = lane.path("tmp/saved.tar")
    docker(lane, "save", "-o", path, ref)
    layers = []
    with tarfile.open(path) as t:
        row = json.load(t.extractfile("manifest.json"))[0]
        config = t.extractfile(row["Config"]).read()
        for name in row["Layers"]:
            member = t.getmember(name)
            while member.issym():  # the same layer twice
                member = t.getmember(os.path.normpath(os.path.join(os.path.dirname(member.name), member.linkname)))
            layers.append(digest(t.extractfile(member).read()))
    os.unlink(path)
    same(layers, json.loads(config)["rootfs"]["diff_ids"], "layers of " + ref)
    return digest(config), layers


def push(lane, ref):
    """Pushes; returns the digest that docker was told."""
    return contains(docker(lane, "push", ref), r"digest: (sha256:[0-9a-f]{64}) size: \d+").group(1)


def there_and_back(lane, repo, tag="latest", short=None):
    """Pushes what is tagged so, forgets it, pulls it back and compares; returns the manifest's digest."""
    ref = lane.ref("%s:%s" % (short or repo, tag))
    before = saved(lane, ref)
    told = push(lane, ref)
    tree = lane.tree(repo, tag)
    same(list(tree)[0], told, "digest of the push")
    same(json.loads(tree[told])["mediaType"], DOCKER_IMAGE, "media type")
    same(json.loads(tree[told])["config"]["digest"], before[0], "configuration")
    docker(lane, "rmi", "-f", before[0])
    contains(docker(lane, "pull", ref), "Digest: " + told)
    same(saved(lane, ref), before, "what came back")
    return told


@case("docker", "login: wrong password, right password, logout")
def logins(lane):
    docker(lane, "import", lane.world.images.busybox_tar, lane.ref("alice/login:1"))
    refused(lane, "unauthorized|incorrect", "login", "-u", "alice", "--password-stdin", lane.host, stdin="not this one")
    refused(lane, "unauthorized|incorrect", "login", "-u", "nobody-here", "--password-stdin", lane.host, stdin="x-y-z-1")
    refused(lane, DENIED, "push", lane.ref("alice/login:1"))
    login(lane, "alice")
    holds(lane.host in json.loads(lane.read(".docker/config.json"))["auths"], "no login was kept")
    push(lane, lane.ref("alice/login:1"))
    docker(lane, "logout", lane.host)
    refused(lane, DENIED, "push", lane.ref("alice/login:1"))
    refused(lane, DENIED, "pull", lane.ref("alice/login:1"))


def logged(lane):
    """The log up to now: the lines of what was asked before are written when a later one is."""
    mark = "/v2/alice/mark-%d/tags/list" % time.monotonic_ns()
    lane.status("GET", mark[4:])
    lane.hub.wait_log(lambda r: r.get("path") == mark)
    return lane.hub.log()


@case("docker", "pushes that are denied leave nothing")
def denied(lane):
    login(lane, "alice")
    for repo in ("bob/theirs", "library/official", "nowhere/at-all"):
        docker(lane, "tag", lane.ref("alice/login:1"), lane.ref(repo))
        refused(lane, DENIED, "push", lane.ref(repo))
        same(lane.tags(repo), None, "tags of " + repo)
        tries = [r for r in logged(lane) if r.get("method") == "POST" and r.get("path", "").startswith("/v2/%s/" % repo)]
        holds(0 < len(tries) < 4, "%d tries: docker takes the answer for one that may change" % len(tries))
    docker(lane, "logout", lane.host)


@case("docker", "a Debian root: push, pull back, compare, run")
def debian(lane):
    login(lane, "alice")
    docker(lane, "import", "-c", 'CMD ["/bin/cat", "/etc/debian_version"]', lane.world.images.debian_tar,
           lane.ref("alice/debian:bookworm"))
    there_and_back(lane, "alice/debian", "bookworm")
    contains(run(lane, lane.ref("alice/debian:bookworm")), r"^12\.")
    lane.world.kept.append((lane, "alice/debian", "bookworm"))


@case("docker", "containerd's own client: pull, push under another name")
def containerd(lane):
    ctr = ["ctr", "--address", lane.world.dockerd.containerd]
    ref, copy, who = lane.ref("alice/debian:bookworm"), lane.ref("alice/by-ctr:1"), ["--plain-http", "--user", "alice:" + password(lane.hub, "alice")]
    told = list(lane.tree("alice/debian", "bookworm"))[0]
    lane.refused(DENIED, *ctr, "content", "fetch", "--plain-http", "--user", "alice:wrong-password", ref)
    lane.sh(*ctr, "content", "fetch", *who, ref)
    contains(lane.sh(*ctr, "images", "ls"), r"(?m)^%s +\S+ +%s " % (re.escape(ref), told))
    lane.sh(*ctr, "images", "push", *who, copy, ref)
    same(list(lane.tree("alice/by-ctr", "1"))[0], told, "digest of what containerd pushed")
    lane.sh(*ctr, "images", "rm", ref)


def run(lane, ref, *command):
    return docker(lane, "run", "--rm", "--network", "none", "--log-driver", "none", "-a", "stdout", "-a", "stderr", ref, *command)


@case("docker", "a short name is library/name, in any spelling")
def short_name(lane):
    login(lane, lane.hub.admin_name)
    docker(lane, "import", "-c", 'CMD ["/bin/sh"]', lane.world.images.busybox_tar, lane.ref("busybox:1"))
    told = there_and_back(lane, "library/busybox", "1", short="busybox")
    contains(docker(lane, "pull", lane.ref("library/busybox:1")), "Digest: " + told)
    contains(docker(lane, "pull", lane.ref("busybox@" + told)), "Digest: " + told)
    docker(lane, "tag", lane.ref("busybox:1"), lane.ref("library/busybox:2"))
    same(push(lane, lane.ref("library/busybox:2")), told, "digest of the long name")
    same(lane.tags("busybox"), ["1", "2"], "tags of the short name")
    docker(lane, "logout", lane.host)


@case("docker", "anybody pulls what is public, nothing else")
def anonymous(lane):
    docker(lane, "rmi", "-f", lane.ref("busybox:1"), lane.ref("library/busybox:1"), lane.ref("library/busybox:2"))
    docker(lane, "pull", lane.ref("busybox:1"))
    for repo in ("alice/debian:bookworm", "alice/never-was:1"):
        refused(lane, DENIED, "pull", lane.ref(repo))
    docker(lane, "tag", lane.ref("busybox:1"), lane.ref("busybox:3"))
    refused(lane, DENIED, "push", lane.ref("busybox:3"))
    same(lane.tags("library/busybox"), ["1", "2"], "tags")


@case("docker", "a multi-stage build, classic builder")
def classic_build(lane):
    build(lane, "alice/multistage", "classic", "0")


@case("docker", "a multi-stage build, BuildKit")
def buildkit(lane):
    build(lane, "alice/multistage", "buildkit", "1")


def build(lane, repo, tag, kit):
    login(lane, "alice")
    lane.write("build/Dockerfile", MULTISTAGE.format(base=lane.ref("busybox:1")))
    ref = lane.ref("%s:%s" % (repo, tag))
    docker(lane, "build", "--no-cache", "--network", "none", "-t", ref, lane.path("build"), env={"DOCKER_BUILDKIT": kit})
    said = run(lane, ref)
    contains(said, "(?s)^built on %s\nroot:x:0:0" % digest(lane.world.images.busybox_program)[7:])
    told = there_and_back(lane, repo, tag)
    same(run(lane, ref), said, "what the image says")
    info = json.loads(docker(lane, "image", "inspect", ref))[0]
    same(info["Config"]["Labels"], {"org.example.kind": "multi-stage"}, "labels")
    same(info["RepoDigests"], [lane.ref(repo) + "@" + told], "digests")


@case("docker", "an image of twelve layers, and a mount of them into another repository")
def layers(lane):
    lane.write("layers/Dockerfile", "FROM %s\n%s" % (lane.ref("busybox:1"), "".join(
        "RUN dd if=/dev/urandom of=/file%d bs=64k count=%d 2>/dev/null\n" % (i, 1 + 3 * i) for i in range(11))
        .replace("dd ", "busybox dd ")))
    docker(lane, "build", "--network", "none", "-t", lane.ref("alice/layers:1"), lane.path("layers"), env={"DOCKER_BUILDKIT": "0"})
    told = there_and_back(lane, "alice/layers", "1")
    docker(lane, "tag", lane.ref("alice/layers:1"), lane.ref("alice/mounted:1"))
    said = docker(lane, "push", lane.ref("alice/mounted:1"))
    same(len([x for x in said.splitlines() if "Mounted from alice/layers" in x]), 12, "mounted layers")
    same(lane.tree("alice/mounted", "1"), lane.tree("alice/layers", "1"), "the mounted image")
    contains(said, "digest: " + told)
    lane.world.kept.append((lane, "alice/mounted", "1"))


@case("docker", "a manifest list")
def manifest_list(lane):
    env = {"DOCKER_CLI_EXPERIMENTAL": "enabled"}
    for arch in ("amd64", "arm64"):
        docker(lane, "import", "-c", "LABEL arch=" + arch, lane.world.images.busybox_tar, lane.ref("alice/list:" + arch))
        push(lane, lane.ref("alice/list:" + arch))
    docker(lane, "manifest", "create", "--insecure", lane.ref("alice/list:all"),
           *[lane.ref("alice/list:" + a) for a in ("amd64", "arm64")], env=env)
    docker(lane, "manifest", "annotate", lane.ref("alice/list:all"), lane.ref("alice/list:arm64"), "--arch", "arm64", env=env)
    told = docker(lane, "manifest", "push", "--insecure", "--purge", lane.ref("alice/list:all"), env=env).split()[-1]
    name, body, media_type = lane.manifest("alice/list", "all")
    same((name, media_type), (told, DOCKER_LIST), "the list")
    same([m["platform"]["architecture"] for m in json.loads(body)["manifests"]], ["amd64", "arm64"], "platforms")
    lane.tree("alice/list", "all")
    docker(lane, "rmi", "-f", lane.ref("alice/list:amd64"), lane.ref("alice/list:arm64"))
    docker(lane, "pull", "--platform", "linux/arm64", lane.ref("alice/list:all"))
    same(docker(lane, "image", "inspect", "-f", "{{.Config.Labels.arch}}", lane.ref("alice/list:all")), "arm64", "the platform")


@case("docker", "what is deleted is gone for docker too")
def deleted(lane):
    told = lane.manifest("alice/layers", "1")[0]
    same(lane.status("DELETE", "alice/layers/manifests/" + told), 202, "deletion")
    docker(lane, "rmi", "-f", lane.ref("alice/layers:1"))
    refused(lane, "not found|manifest unknown", "pull", lane.ref("alice/layers:1"))
    lane.gone("alice/layers", "1", told)  # by digest docker would ask its own store only
    same(docker(lane, "pull", "-q", lane.ref("alice/mounted:1")), lane.ref("alice/mounted:1"), "the mounted image is untouched")
