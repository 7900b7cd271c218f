"""crane, regctl and oras: the same work by three independent libraries, with what each does in its own way."""
import hashlib
import json
import os
import shutil
import tarfile

from cases_docker import DENIED, password
from registry import DOCKER_IMAGE, INDEX, digest
from suite import case, contains, holds, layout_root, same, same_as_hub, same_layouts

GONE = "manifest unknown|not found|name unknown|404"
EACH = ("busybox", "debian", "platforms", "nested")


# --- crane
@case("crane", "login: wrong password, right password, logout")
def crane_login(lane):
    source = lane.world.images.path("busybox")
    lane.sh("crane", "auth", "login", lane.host, "-u", "alice", "--password-stdin", stdin="not this one")  # asks nobody
    lane.refused("unauthorized|401", "crane", "push", source, lane.ref("alice/crane:1"))
    lane.sh("crane", "auth", "logout", lane.host)
    lane.refused(DENIED, "crane", "push", source, lane.ref("alice/crane:1"))
    lane.sh("crane", "auth", "login", lane.host, "-u", "alice", "--password-stdin", stdin=password(lane.hub, "alice"))
    lane.refused(DENIED, "crane", "push", source, lane.ref("bob/crane:1"))


@case("crane", "each layout: push, pull back, compare byte for byte, delete")
def crane_layouts(lane):
    for name in EACH:
        source, back, repo = lane.world.images.path(name), lane.path("back"), "alice/crane-" + name
        root = layout_root(source)
        told = lane.sh("crane", "push", source, lane.ref(repo + ":1"))
        contains(told, root + "$")
        same_as_hub(lane, source, root, repo, "1")
        same(lane.sh("crane", "digest", lane.ref(repo + ":1")), root, "digest")
        lane.sh("crane", "pull", "--format=oci", lane.ref(repo + ":1"), back)
        same_layouts(source, back, root)
        if name in ("busybox", "debian"):  # an attestation has layers that crane does not count
            lane.sh("crane", "validate", "--remote", lane.ref(repo + ":1"))
        if name not in ("busybox", "platforms"):
            lane.sh("crane", "delete", lane.ref(repo + ":1"))
            lane.sh("crane", "delete", lane.ref(repo + "@" + root))
            lane.refused(GONE, "crane", "digest", lane.ref(repo + "@" + root))
            lane.gone(repo, "1", root)
        shutil.rmtree(back)


@case("crane", "an image through tar, append, mutate, flatten, export")
def crane_images(lane):
    base = lane.ref("alice/crane-busybox:1")
    lane.sh("crane", "pull", base, lane.path("image.tar"))
    lane.sh("crane", "push", lane.path("image.tar"), lane.ref("alice/crane:tar"))
    same(lane.sh("crane", "config", lane.ref("alice/crane:tar")), lane.sh("crane", "config", base), "configuration")
    lane.sh("crane", "append", "-f", lane.world.images.busybox_tar, "-b", base, "-t", lane.ref("alice/crane:appended"))
    same(len(json.loads(lane.sh("crane", "manifest", lane.ref("alice/crane:appended")))["layers"]), 3, "layers")
    lane.sh("crane", "mutate", lane.ref("alice/crane:appended"), "-l", "a=b", "-t", lane.ref("alice/crane:mutated"))
    same(json.loads(lane.sh("crane", "config", lane.ref("alice/crane:mutated")))["config"]["Labels"], {"a": "b"}, "labels")
    lane.sh("crane", "flatten", lane.ref("alice/crane:mutated"), "-t", lane.ref("alice/crane:flat"))
    lane.sh("crane", "export", lane.ref("alice/crane:flat"), lane.path("flat.tar"))
    with tarfile.open(lane.path("flat.tar")) as t:
        files = {m.name.strip("/"): m for m in t.getmembers()}
        same(t.extractfile(files["etc/motd"]).read(), b"one more layer\n", "a file of the second layer")
        same(digest(t.extractfile(files["bin/busybox"]).read()), digest(lane.world.images.busybox_program), "busybox")
    for tag in ("tar", "appended", "mutated", "flat"):
        lane.sh("crane", "validate", "--remote", lane.ref("alice/crane:" + tag))


@case("crane", "an index of its own, with an image added")
def crane_index(lane):
    lane.sh("crane", "index", "append", lane.ref("alice/crane-platforms:1"), "-m", lane.ref("alice/crane-busybox:1"),
            "-t", lane.ref("alice/crane-platforms:more"))
    children = [m["digest"] for m in json.loads(lane.sh("crane", "manifest", lane.ref("alice/crane-platforms:more")))["manifests"]]
    same(sorted(children), sorted(lane.world.images.platform_children + [lane.world.images.busybox]), "children")
    lane.tree("alice/crane-platforms", "more")
    want = lane.world.images.platform_children[3]
    same(lane.sh("crane", "digest", "--platform", "linux/s390x", lane.ref("alice/crane-platforms:more")), want, "platform")


@case("crane", "tags, catalog, blobs, copies between repositories")
def crane_lists(lane):
    lane.sh("crane", "tag", lane.ref("alice/crane:tar"), "second")
    same(lane.sh("crane", "ls", lane.ref("alice/crane")).split(), ["appended", "flat", "mutated", "second", "tar"], "tags")
    catalog = lane.sh("crane", "catalog", lane.host).split()
    holds("alice/crane" in catalog and "alice/crane-busybox" in catalog, "catalog: %r" % catalog)
    same([r for r in catalog if r.startswith("bob/")], [], "what alice may not see")
    lane.sh("crane", "copy", lane.ref("alice/crane-platforms:1"), lane.ref("alice/crane-copy:1"))
    same(lane.tree("alice/crane-copy", "1"), lane.tree("alice/crane-platforms", "1"), "the copy")
    layer = json.loads(lane.sh("crane", "manifest", lane.ref("alice/crane-busybox:1")))["layers"][0]["digest"]
    lane.sh("sh", "-c", 'crane blob "$1" >"$2"', "-", lane.ref("alice/crane-busybox@" + layer), lane.path("blob"))
    same(digest(lane.read("blob")), layer, "the blob")


@case("crane", "deletion, tag by tag")
def crane_delete(lane):
    for tag in ("appended", "flat", "mutated", "second"):
        lane.sh("crane", "delete", lane.ref("alice/crane:" + tag))
    same(lane.sh("crane", "ls", lane.ref("alice/crane")).split(), ["tar"], "tags")
    name = lane.sh("crane", "digest", lane.ref("alice/crane:tar"))
    lane.sh("crane", "delete", lane.ref("alice/crane@" + name))
    lane.gone("alice/crane", "tar", name)
    lane.world.kept.append((lane, "alice/crane-copy", "1"))


# --- regctl
@case("regctl", "login: wrong password, right password, logout")
def regctl_login(lane):
    lane.sh("regctl", "registry", "set", "--tls", "disabled", lane.host)
    lane.refused("unauthorized", "regctl", "registry", "login", "-u", "alice", "--pass-stdin", lane.host, stdin="not this one")
    lane.sh("regctl", "registry", "logout", lane.host)
    source = "ocidir://%s:latest" % lane.world.images.path("busybox")
    lane.refused(DENIED, "regctl", "image", "copy", source, lane.ref("alice/regctl:1"))
    lane.sh("regctl", "registry", "login", "-u", "alice", "--pass-stdin", lane.host, stdin=password(lane.hub, "alice"))
    lane.sh("regctl", "registry", "whoami", lane.host)
    lane.refused(DENIED, "regctl", "image", "copy", source, lane.ref("bob/regctl:1"))


@case("regctl", "each layout: push, pull back, compare byte for byte, delete")
def regctl_layouts(lane):
    # Chunks: the layers go up in pieces, with Content-Range.
    lane.sh("regctl", "registry", "set", "--blob-chunk", "300000", "--blob-max", "400000", lane.host)
    for name in EACH:
        source, back, repo = lane.world.images.path(name), lane.path("back"), "alice/regctl-" + name
        root = layout_root(source)
        if name == "debian":
            lane.sh("regctl", "registry", "set", "--blob-chunk", "8000000", "--blob-max", "9000000", lane.host)
        lane.sh("regctl", "image", "copy", "ocidir://%s:latest" % source, lane.ref(repo + ":1"))
        same_as_hub(lane, source, root, repo, "1")
        same(lane.sh("regctl", "image", "digest", lane.ref(repo + ":1")), root, "digest")
        lane.sh("regctl", "image", "copy", lane.ref(repo + ":1"), "ocidir://%s:latest" % back)
        same_layouts(source, back, root)
        lane.sh("regctl", "tag", "rm", lane.ref(repo + ":1"))
        same(lane.status("GET", "%s/manifests/1" % repo), 404, "the tag")
        same(lane.sh("regctl", "manifest", "head", "--format", "{{.GetDescriptor.Digest}}", lane.ref(repo + "@" + root)), root,
             "the untagged manifest")
        lane.sh("regctl", "manifest", "delete", lane.ref(repo + "@" + root))
        lane.refused(GONE, "regctl", "manifest", "head", lane.ref(repo + "@" + root))
        shutil.rmtree(back)


@case("regctl", "an index of its own, ranges of a blob, files of an image")
def regctl_index(lane):
    for name in ("busybox", "platforms"):
        lane.sh("regctl", "image", "copy", "ocidir://%s:latest" % lane.world.images.path(name), lane.ref("alice/regctl:" + name))
    lane.sh("regctl", "index", "create", lane.ref("alice/regctl:index"), "--ref", lane.ref("alice/regctl:platforms"),
            "--platform", "linux/arm/v7", "--platform", "linux/amd64", "--annotation", "a=b")
    name, body, media_type = lane.manifest("alice/regctl", "index")
    same((media_type, json.loads(body)["annotations"]), (INDEX, {"a": "b"}), "the index")
    children = lane.world.images.platform_children
    same({m["digest"] for m in json.loads(body)["manifests"]}, {children[0], children[2]}, "children")
    lane.sh("regctl", "index", "add", lane.ref("alice/regctl:index"), "--ref", lane.ref("alice/regctl:platforms"),
            "--platform", "linux/s390x")
    same(len(json.loads(lane.manifest("alice/regctl", "index")[1])["manifests"]), 3, "children")
    same(lane.sh("regctl", "image", "get-file", "--platform", "linux/s390x", lane.ref("alice/regctl:index"), "/etc/arch"),
         "s390x", "a file of the image")
    lane.sh("regctl", "image", "check-base", "--base", lane.ref("alice/regctl:busybox"), lane.ref("alice/regctl:busybox"))


@case("regctl", "an image through mod, export and import; sha512")
def regctl_images(lane):
    ref = lane.ref("alice/regctl:busybox")
    lane.sh("regctl", "image", "export", ref, lane.path("image.tar"))
    lane.sh("regctl", "image", "import", lane.ref("alice/regctl:imported"), lane.path("image.tar"))
    same(lane.manifest("alice/regctl", "imported")[0], lane.world.images.busybox, "digest of the import")
    lane.sh("regctl", "image", "mod", ref, "--to-docker", "--create", lane.ref("alice/regctl:docker"))
    same(lane.manifest("alice/regctl", "docker")[2], DOCKER_IMAGE, "type")
    lane.sh("regctl", "image", "mod", ref, "--layer-compress", "zstd", "--create", lane.ref("alice/regctl:zstd"))
    contains(lane.manifest("alice/regctl", "zstd")[1].decode(), r"tar\+zstd")
    lane.tree("alice/regctl", "zstd")
    lane.sh("regctl", "image", "mod", ref, "--digest-algo", "sha512", "--create", lane.ref("alice/regctl:sha512"))
    told = contains(lane.sh("regctl", "image", "digest", lane.ref("alice/regctl:sha512")), "^sha512:[0-9a-f]{128}$").group(0)
    body = lane.admin().get("/v2/alice/regctl/manifests/" + told, headers=[("Accept", "*/*")]).body
    same("sha512:" + hashlib.sha512(body).hexdigest(), told, "digest of the manifest")
    for d in [json.loads(body)["config"]] + json.loads(body)["layers"]:
        got = lane.admin().get("/v2/alice/regctl/blobs/" + d["digest"]).body
        same(("sha512:" + hashlib.sha512(got).hexdigest(), len(got)), (d["digest"], d["size"]), "a blob by sha512")
    lane.sh("regctl", "image", "copy", lane.ref("alice/regctl:sha512"), "ocidir://%s:latest" % lane.path("sha512"))
    same(layout_root(lane.path("sha512")), told, "what came back")


@case("regctl", "referrers, and copies with them")
def regctl_referrers(lane):
    ref = lane.ref("alice/regctl:busybox")
    for kind in ("sbom", "note"):
        lane.sh("regctl", "artifact", "put", "--artifact-type", "application/vnd.test." + kind, "--subject", ref,
                "--file-media-type", "text/plain", "-f", lane.write(kind + ".txt", kind * 100))
    listed = json.loads(lane.sh("regctl", "artifact", "list", "--format", "{{json .}}", ref))
    text = json.dumps(listed)
    holds("vnd.test.sbom" in text and "vnd.test.note" in text, text)
    one = json.loads(lane.sh("regctl", "artifact", "list", "--filter-artifact-type", "application/vnd.test.note",
                             "--format", "{{json .}}", ref))
    same(len(one["descriptors"]), 1, "filtered referrers")
    same(lane.sh("regctl", "artifact", "get", "--subject", ref, "--filter-artifact-type", "application/vnd.test.sbom"),
         "sbom" * 100, "the artifact")
    lane.sh("regctl", "image", "copy", "--referrers", ref, lane.ref("alice/regctl-kept:1"))
    same(json.loads(lane.sh("regctl", "artifact", "list", "--format", "{{json .}}", lane.ref("alice/regctl-kept:1")))["descriptors"],
         listed["descriptors"], "referrers of the copy")
    lane.world.kept.append((lane, "alice/regctl-kept", "1"))
    lane.world.kept.extend((lane, "alice/regctl-kept", d["digest"]) for d in listed["descriptors"])


@case("regctl", "lists and deletion")
def regctl_lists(lane):
    same(lane.sh("regctl", "tag", "ls", lane.ref("alice/regctl")).split(),
         ["busybox", "docker", "imported", "index", "platforms", "sha512", "zstd"], "tags")
    holds("alice/regctl" in lane.sh("regctl", "repo", "ls", lane.host).split(), "the catalog")
    for tag in ("docker", "imported", "index", "platforms", "sha512", "zstd"):
        lane.sh("regctl", "tag", "rm", lane.ref("alice/regctl:" + tag))
    # A tag of the same manifest must outlive its sibling.
    same(lane.sh("regctl", "tag", "ls", lane.ref("alice/regctl")).split(), ["busybox"], "tags")
    same(lane.manifest("alice/regctl", "busybox")[0], lane.world.images.busybox, "what is left")
    layer = json.loads(lane.manifest("alice/regctl", "busybox")[1])["layers"][1]["digest"]
    lane.sh("regctl", "manifest", "delete", "--ignore-missing", lane.ref("alice/regctl@" + lane.world.images.busybox))
    lane.sh("regctl", "blob", "delete", lane.ref("alice/regctl"), layer)
    same(lane.status("HEAD", "alice/regctl/blobs/" + layer), 404, "the blob")


# --- oras
def oras(lane, *argv, **kw):
    return lane.sh("oras", *argv, **kw)


@case("oras", "login: wrong password, right password, logout")
def oras_login(lane):
    lane.refused("unauthorized|401", "oras", "login", "--plain-http", "-u", "alice", "--password-stdin", lane.host, stdin="not this one")
    lane.write("file.txt", "text")
    lane.refused(DENIED + "|401", "oras", "push", "--plain-http", lane.ref("alice/oras:1"), "file.txt")
    contains(oras(lane, "login", "--plain-http", "-u", "alice", "--password-stdin", lane.host, stdin=password(lane.hub, "alice")),
             "Login Succeeded")
    lane.refused(DENIED + "|403", "oras", "push", "--plain-http", lane.ref("bob/oras:1"), "file.txt")


@case("oras", "each layout: push, pull back, compare byte for byte, delete")
def oras_layouts(lane):
    for name in EACH:
        source, back, repo = lane.world.images.path(name), lane.path("back"), "alice/oras-" + name
        root = layout_root(source)
        oras(lane, "cp", "--no-tty", "--from-oci-layout", "--to-plain-http", source + ":latest", lane.ref(repo + ":1"))
        same_as_hub(lane, source, root, repo, "1")
        same(oras(lane, "resolve", "--plain-http", lane.ref(repo + ":1")), root, "digest")
        oras(lane, "cp", "--no-tty", "--from-plain-http", "--to-oci-layout", lane.ref(repo + ":1"), back + ":latest")
        same_layouts(source, back, root)
        oras(lane, "manifest", "delete", "--plain-http", "-f", lane.ref(repo + ":1"))
        lane.refused(GONE, "oras", "resolve", "--plain-http", lane.ref(repo + ":1"))
        lane.gone(repo, "1", root)
        shutil.rmtree(back)


@case("oras", "an artifact of files: push, pull back, compare")
def oras_artifact(lane):
    lane.write("art/one.txt", "one\n")
    lane.write("art/two.bin", os.urandom(3 << 20))
    lane.write("art/sub/three.txt", "three\n")
    lane.write("art/empty", "")
    oras(lane, "push", "--no-tty", "--plain-http", "--artifact-type", "application/vnd.test.thing", "--annotation", "a=ä",
         lane.ref("alice/oras:1,second"), "one.txt:text/plain", "two.bin", "sub:application/vnd.test.dir+gzip", "empty", cwd=lane.path("art"))
    os.makedirs(lane.path("art-back"))
    oras(lane, "pull", "--no-tty", "--plain-http", lane.ref("alice/oras:second"), cwd=lane.path("art-back"))
    for name in ("one.txt", "two.bin", "sub/three.txt", "empty"):
        same(digest(lane.read("art-back/" + name)), digest(lane.read("art/" + name)), name)
    doc = json.loads(oras(lane, "manifest", "fetch", "--plain-http", lane.ref("alice/oras:1")))
    same((doc["artifactType"], doc["annotations"]["a"]), ("application/vnd.test.thing", "ä"), "the manifest")


@case("oras", "referrers: attach, discover, filter, copy with them")
def oras_referrers(lane):
    subject = lane.ref("alice/oras:1")
    lane.write("sbom.json", "{}")
    lane.write("sign.txt", "signed\n")
    for kind, name in (("sbom", "sbom.json"), ("signature", "sign.txt")):
        oras(lane, "attach", "--no-tty", "--plain-http", "--artifact-type", "application/vnd.test." + kind, subject, name)
    top = discovered(lane, subject)
    same(sorted(r["artifactType"] for r in top), ["application/vnd.test.sbom", "application/vnd.test.signature"], "referrers")
    sbom = [r for r in top if r["artifactType"].endswith("sbom")][0]
    oras(lane, "attach", "--no-tty", "--plain-http", "--artifact-type", "application/vnd.test.signature",
         lane.ref("alice/oras@" + sbom["digest"]), "sign.txt", "--annotation", "of=sbom")
    same(len(discovered(lane, lane.ref("alice/oras@" + sbom["digest"]))), 1, "referrers of the referrer")
    only = discovered(lane, subject, "--artifact-type", "application/vnd.test.signature")
    same(len(only), 1, "filtered referrers")
    oras(lane, "cp", "--no-tty", "-r", "--from-plain-http", "--to-plain-http", subject, lane.ref("alice/oras-kept:1"))
    same(discovered(lane, lane.ref("alice/oras-kept:1"), fields=("digest", "size")), discovered(lane, subject, fields=("digest", "size")),
         "referrers of the copy")
    lane.world.kept.append((lane, "alice/oras-kept", "1"))
    lane.world.kept.extend((lane, "alice/oras-kept", r["digest"]) for r in top)
    oras(lane, "manifest", "delete", "--plain-http", "-f", lane.ref("alice/oras@" + sbom["digest"]))
    same([r["artifactType"] for r in discovered(lane, subject)], ["application/vnd.test.signature"], "after the deletion")


def discovered(lane, ref, *more, fields=("digest", "artifactType")):
    out = json.loads(oras(lane, "discover", "--plain-http", "--format", "json", "--depth", "1", *more, ref))
    rows = out.get("referrers", out.get("manifests")) or []
    return sorted(({k: r[k] for k in fields} for r in rows), key=lambda r: r["digest"])


@case("oras", "blobs, manifests, tags, lists")
def oras_parts(lane):
    data = os.urandom(100000)
    name = digest(data)
    oras(lane, "blob", "push", "--no-tty", "--plain-http", lane.ref("alice/oras@" + name), lane.write("blob", data))
    oras(lane, "blob", "fetch", "--no-tty", "--plain-http", "--output", lane.path("blob-back"), lane.ref("alice/oras@" + name))
    same(lane.read("blob-back"), data, "the blob")
    oras(lane, "blob", "delete", "--plain-http", "-f", lane.ref("alice/oras@" + name))
    same(lane.status("HEAD", "alice/oras/blobs/" + name), 404, "the deleted blob")
    oras(lane, "tag", "--plain-http", lane.ref("alice/oras:1"), "t1", "t2", "t3")
    same(oras(lane, "repo", "tags", "--plain-http", lane.ref("alice/oras")).split(), ["1", "second", "t1", "t2", "t3"], "tags")
    repos = oras(lane, "repo", "ls", "--plain-http", lane.host).split()
    holds("alice/oras" in repos and "alice/oras-kept" in repos, "catalog: %r" % repos)
    oras(lane, "manifest", "delete", "--plain-http", "-f", lane.ref("alice/oras:1"))
    lane.gone("alice/oras", "t1", "second")
