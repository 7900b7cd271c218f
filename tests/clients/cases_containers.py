"""podman, buildah and skopeo of Debian: one library, three front ends; OCI and Docker types, zstd, TLS switches."""
import json
import os
import shutil

from cases_docker import DENIED, password
from registry import DOCKER_IMAGE, IMAGE, INDEX, digest
from suite import case, contains, holds, layout_root, same, same_as_hub, same_layouts

PLAIN = "--tls-verify=false"
GONE = "manifest unknown|not found|name unknown"
ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
CONTAINERFILE = """FROM {base} AS work
RUN echo "of $(busybox sha256sum /etc/passwd | busybox cut -c1-64)" >/result
FROM {base} AS other
COPY --from=work /result /seen
RUN cat /seen /etc/passwd >/both
FROM scratch
COPY --from=other /both /both
COPY --from=work --chown=7:8 /result /out/result
LABEL org.example.kind=multi-stage
"""


def login(lane, tool, name="alice"):
    contains(lane.sh(tool, "login", PLAIN, "-u", name, "--password-stdin", lane.host, stdin=password(lane.hub, name)),
             "Login Succeeded")


def wrong_logins(lane, tool):
    lane.refused("invalid username/password|unauthorized|authentication", tool, "login", PLAIN, "-u", "alice",
                 "--password-stdin", lane.host, stdin="not this one")
    login(lane, tool)
    contains(lane.sh(tool, "logout", lane.host), "Removed login credentials")


def store(lane, name):
    """Options for a container storage of its own."""
    return ["--root", lane.path(name + "/root"), "--runroot", lane.path(name + "/run")]


def layer_types(body):
    return sorted({x["mediaType"] for x in json.loads(body)["layers"]})


def image_id(lane, tool, options, ref):
    return lane.sh(tool, *options, "inspect", "--type", "image", "--format",
                   "{{.Id}}" if tool == "podman" else "{{.FromImageID}}", ref)


def files_below(root):
    """{path: (mode, owner, group, content or link)} of a mounted image."""
    found = {}
    for base, folders, names in os.walk(root):
        for name in folders + names:
            path = os.path.join(base, name)
            info, content = os.lstat(path), None
            if os.path.islink(path):
                content = os.readlink(path)
            elif os.path.isfile(path):
                with open(path, "rb") as f:
                    content = digest(f.read())
            found[os.path.relpath(path, root)] = (info.st_mode, info.st_uid, info.st_gid, content)
    return found


def mounted(lane, tool, options, ref):
    """The files of an image, through the tool's own mount."""
    if tool == "podman":
        at = lane.sh("podman", *options, "image", "mount", ref)
        files = files_below(at)
        lane.sh("podman", *options, "image", "umount", ref)
        return files
    name = lane.sh("buildah", *options, "from", "--pull-never", ref)
    files = files_below(lane.sh("buildah", *options, "mount", name))
    lane.sh("buildah", *options, "rm", name)
    return files


def there_and_back(lane, tool, repo, tag, *push_options):
    """Pushes an image of the lane's storage, pulls it into an empty storage, compares; returns the manifest's bytes."""
    ref, note = lane.ref("%s:%s" % (repo, tag)), lane.path("tmp/digest")
    lane.sh(tool, "push", PLAIN, "--digestfile", note, *push_options, ref)
    told = lane.read("tmp/digest").decode()
    tree = lane.tree(repo, tag)
    same(list(tree)[0], told, "digest of the push")
    fresh = store(lane, "fresh")
    lane.sh(tool, *fresh, "pull", PLAIN, ref)
    # The id is the digest of the configuration; with zstd the layers differ, what they unpack to may not.
    config = json.loads(tree[told])["config"]["digest"][7:]
    same(lane.sh(tool, *fresh, "images", "--no-trunc", "-q").replace("sha256:", "").split(), [config], "id of what came back")
    here, back = mounted(lane, tool, [], ref), mounted(lane, tool, fresh, ref)
    holds(here, "no files")
    same({k for k in here if here[k] != back.get(k)} | set(back) - set(here), set(), "files that differ")
    lane.sh(tool, *fresh, "rmi", "-a", "-f")
    shutil.rmtree(lane.path("fresh"), ignore_errors=True)
    return tree[told]


# --- podman
@case("podman", "login: wrong password, right password, logout")
def podman_login(lane):
    wrong_logins(lane, "podman")
    lane.sh("podman", "import", lane.world.images.busybox_tar, lane.ref("alice/podman:plain"))
    lane.refused(DENIED, "podman", "push", PLAIN, lane.ref("alice/podman:plain"))
    login(lane, "podman")
    lane.refused(DENIED, "podman", "push", PLAIN, lane.ref("alice/podman:plain"), lane.ref("bob/podman:plain"))


@case("podman", "busybox: push, pull back, compare")
def podman_busybox(lane):
    body = there_and_back(lane, "podman", "alice/podman", "plain", "--format", "oci")
    same(json.loads(body).get("mediaType", IMAGE), IMAGE, "type")
    body = there_and_back(lane, "podman", "alice/podman", "plain", "--format", "v2s2")
    same(json.loads(body)["mediaType"], DOCKER_IMAGE, "type")


@case("podman", "a Debian root with zstd layers")
def podman_zstd(lane):
    lane.sh("podman", "import", lane.world.images.debian_tar, lane.ref("alice/podman:zstd"))
    body = there_and_back(lane, "podman", "alice/podman", "zstd", "--format", "oci", "--compression-format", "zstd")
    same(layer_types(body), [ZSTD], "types of the layers")
    lane.world.kept.append((lane, "alice/podman", "zstd"))


@case("podman", "a multi-stage build")
def podman_build(lane):
    lane.write("build/Containerfile", CONTAINERFILE.format(base=lane.ref("alice/podman:plain")))
    ref = lane.ref("alice/podman:build")
    lane.sh("podman", "build", PLAIN, "--isolation", "chroot", "--network", "host", "-t", ref, lane.path("build"))
    body = there_and_back(lane, "podman", "alice/podman", "build")
    same(layer_types(body), [GZIP], "types of the layers")


@case("podman", "a manifest list of what the hub holds")
def podman_manifest(lane):
    manifest_list(lane, "podman", "alice/podman-list")


@case("podman", "search lists the catalog")
def podman_search(lane):
    login(lane, "podman")
    holds(lane.ref("alice/podman") in lane.sh("podman", "search", PLAIN, lane.host + "/").split(), "alice/podman is not found")
    tags = lane.sh("podman", "search", PLAIN, "--list-tags", lane.ref("alice/podman")).split()
    holds({"plain", "zstd", "build"} <= set(tags), "tags: %r" % tags)


def manifest_list(lane, tool, repo):
    lane.sh("skopeo", "login", PLAIN, "-u", "alice", "--password-stdin", lane.host, stdin=password(lane.hub, "alice"))
    lane.sh("skopeo", "copy", "--all", "--dest-tls-verify=false", "oci:" + lane.world.images.path("platforms"),
            "docker://" + lane.ref(repo + ":source"))
    lane.sh(tool, "manifest", "create", "both")
    for child in lane.world.images.platform_children[:2]:
        lane.sh(tool, "manifest", "add", PLAIN, "both", "docker://" + lane.ref(repo + "@" + child))
    lane.sh(tool, "manifest", "push", PLAIN, "--all", "--format", "oci", "both", "docker://" + lane.ref(repo + ":both"))
    name, body, media_type = lane.manifest(repo, "both")
    same(media_type, INDEX, "type")
    same([m["digest"] for m in json.loads(body)["manifests"]], lane.world.images.platform_children[:2], "children")
    same(sorted(m["platform"]["architecture"] for m in json.loads(body)["manifests"]), ["amd64", "arm64"], "platforms")
    lane.sh(tool, "manifest", "rm", "both")
    fresh = store(lane, "fresh")
    pull = [tool, *fresh, "pull", "-q", PLAIN, "--arch", "arm64", "--variant", "v8"] if tool == "podman" else \
        [tool, *fresh, "pull", "-q", PLAIN, "--platform", "linux/arm64/v8"]
    lane.sh(*pull, lane.ref(repo + ":both"))
    files = mounted(lane, tool, fresh, lane.ref(repo + ":both"))
    same(files["etc/arch"][3], digest(b"arm64v8\n"), "the platform that was pulled")
    lane.sh(tool, *fresh, "rmi", "-a", "-f")
    shutil.rmtree(lane.path("fresh"), ignore_errors=True)


# --- buildah
@case("buildah", "login: wrong password, right password, logout")
def buildah_login(lane):
    wrong_logins(lane, "buildah")
    login(lane, "buildah")


@case("buildah", "a Debian root, from scratch: push, pull back, compare")
def buildah_debian(lane):
    name = lane.sh("buildah", "from", "scratch")
    lane.sh("buildah", "add", "-q", name, lane.world.images.debian_tar)
    lane.sh("buildah", "config", "--cmd", "/bin/bash", "--author", "t€st", name)
    lane.sh("buildah", "commit", "-q", "--rm", name, lane.ref("alice/buildah:debian"))
    there_and_back(lane, "buildah", "alice/buildah", "debian")


@case("buildah", "a multi-stage build on an image of the hub")
def buildah_build(lane):
    name = lane.sh("buildah", "from", "scratch")
    lane.sh("buildah", "add", "-q", name, lane.world.images.busybox_tar)
    lane.sh("buildah", "commit", "-q", "--rm", name, lane.ref("alice/buildah:base"))
    lane.sh("buildah", "push", "-q", PLAIN, lane.ref("alice/buildah:base"))
    lane.sh("buildah", "rmi", lane.ref("alice/buildah:base"))
    lane.write("build/Containerfile", CONTAINERFILE.format(base=lane.ref("alice/buildah:base")))
    lane.sh("buildah", "build", PLAIN, "--isolation", "chroot", "-t", lane.ref("alice/buildah:build"), lane.path("build"))
    body = there_and_back(lane, "buildah", "alice/buildah", "build", "--compression-format", "zstd", "--format", "oci")
    same(layer_types(body), [ZSTD], "types of the layers")


@case("buildah", "a manifest list of what the hub holds")
def buildah_manifest(lane):
    manifest_list(lane, "buildah", "alice/buildah-list")
    lane.world.kept.append((lane, "alice/buildah-list", "both"))


@case("buildah", "what is deleted is gone for buildah too")
def buildah_deleted(lane):
    for tag in ("debian", "build", "base"):
        lane.sh("skopeo", "delete", PLAIN, "docker://" + lane.ref("alice/buildah:" + tag))
        lane.refused(GONE, "buildah", *store(lane, "fresh"), "pull", PLAIN, lane.ref("alice/buildah:" + tag))
    lane.gone("alice/buildah", "debian", "build", "base")


# --- skopeo
def copy(lane, source, target, *options):
    return lane.sh("skopeo", "copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false", *options, source, target)


@case("skopeo", "login: wrong password, right password, logout")
def skopeo_login(lane):
    wrong_logins(lane, "skopeo")
    lane.refused(DENIED, "skopeo", "copy", "--dest-tls-verify=false", "oci:" + lane.world.images.path("busybox"),
                 "docker://" + lane.ref("alice/skopeo:1"))
    lane.refused("invalid username/password|unauthorized|authentication", "skopeo", "inspect", PLAIN, "--creds",
                 "alice:not-this-one", "docker://" + lane.ref("alice/skopeo:1"))
    login(lane, "skopeo")


@case("skopeo", "each layout: push, pull back, compare byte for byte, delete")
def skopeo_layouts(lane):
    for name in ("busybox", "debian", "platforms"):
        source, back = lane.world.images.path(name), lane.path("back-" + name)
        root, remote = layout_root(source), "docker://" + lane.ref("alice/skopeo-%s:1" % name)
        copy(lane, "oci:" + source, remote, "--all", "--preserve-digests")
        same_as_hub(lane, source, root, "alice/skopeo-" + name, "1")
        copy(lane, remote, "oci:%s:latest" % back, "--all", "--preserve-digests")
        same_layouts(source, back, root)
        same(lane.sh("skopeo", "inspect", PLAIN, "--format", "{{.Digest}}", remote), root, "digest by inspect")
        same(json.loads(lane.sh("skopeo", "list-tags", PLAIN, "docker://" + lane.ref("alice/skopeo-" + name)))["Tags"], ["1"], "tags")
        if name == "busybox":  # used below
            continue
        lane.sh("skopeo", "delete", PLAIN, remote)
        lane.refused(GONE, "skopeo", "inspect", PLAIN, remote)
        lane.gone("alice/skopeo-" + name, "1", root)
        shutil.rmtree(back)


@case("skopeo", "zstd layers, and Docker's types, made on the way")
def skopeo_convert(lane):
    remote = "docker://" + lane.ref("alice/skopeo-busybox:")
    # Layers that are no archives yet, and whose gzip form this machine has never seen: those it would take again.
    copy(lane, "oci:" + lane.world.images.path("plain"), remote + "zstd", "--dest-compress-format", "zstd")
    same(layer_types(lane.manifest("alice/skopeo-busybox", "zstd")[1]), [ZSTD], "types of the layers")
    copy(lane, remote + "zstd", "oci:%s:latest" % lane.path("back-zstd"), "--preserve-digests")
    same_as_hub(lane, lane.path("back-zstd"), layout_root(lane.path("back-zstd")), "alice/skopeo-busybox", "zstd")
    copy(lane, remote + "1", remote + "docker", "--format", "v2s2")
    same(lane.manifest("alice/skopeo-busybox", "docker")[2], DOCKER_IMAGE, "type")
    copy(lane, remote + "docker", "dir:" + lane.path("back-docker"))
    with open(lane.path("back-docker/manifest.json"), "rb") as f:
        same(digest(f.read()), lane.manifest("alice/skopeo-busybox", "docker")[0], "Docker's manifest")


@case("skopeo", "copies inside the hub, sync, anonymous inspection")
def skopeo_inside(lane):
    copy(lane, "docker://" + lane.ref("alice/skopeo-busybox:1"), "docker://" + lane.ref("alice/skopeo-copy/deep/er:1"))
    same(lane.tree("alice/skopeo-copy/deep/er", "1"), lane.tree("alice/skopeo-busybox", "1"), "the copy")
    lane.sh("skopeo", "sync", "--src-tls-verify=false", "--src", "docker", "--dest", "dir",
            lane.ref("alice/skopeo-busybox"), lane.path("synced"))
    same(sorted(os.listdir(lane.path("synced"))), ["skopeo-busybox:" + t for t in ("1", "docker", "zstd")], "what was synced")
    lane.refused(DENIED, "skopeo", "inspect", PLAIN, "--no-creds", "docker://" + lane.ref("alice/skopeo-busybox:1"))
    lane.refused(DENIED, "skopeo", "copy", "--dest-tls-verify=false", "oci:" + lane.world.images.path("busybox"),
                 "docker://" + lane.ref("bob/skopeo:1"))


@case("skopeo", "deletion by tag takes the manifest")
def skopeo_delete(lane):
    for repo, tags in (("alice/skopeo-busybox", ("docker", "zstd", "1")), ("alice/skopeo-copy/deep/er", ("1",))):
        for tag in tags:
            lane.sh("skopeo", "delete", PLAIN, "docker://" + lane.ref("%s:%s" % (repo, tag)))
        lane.gone(repo, *tags)
        same(lane.tags(repo) or [], [], "tags of " + repo)
