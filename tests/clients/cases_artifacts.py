"""helm charts and cosign signatures: artifacts as their own tools make and verify them."""
import json
import os

from cases_docker import DENIED, password
from registry import digest
from suite import case, contains, holds, same

PLAIN = "--plain-http"
OFFLINE = ["--tlog-upload=false"]
UNLOGGED = ["--insecure-ignore-tlog=true"]


# --- helm
@case("helm", "login: wrong password, right password, logout")
def helm_login(lane):
    lane.sh("helm", "create", "thing")
    lane.sh("helm", "package", "thing", "--version", "1.2.3+build.7")
    lane.refused("unauthorized|401|denied", "helm", "registry", "login", PLAIN, "-u", "alice", "--password-stdin", lane.host, stdin="not this one")
    lane.refused(DENIED + "|401", "helm", "push", PLAIN, "thing-1.2.3+build.7.tgz", "oci://" + lane.ref("alice/charts"))
    lane.sh("helm", "registry", "login", PLAIN, "-u", "alice", "--password-stdin", lane.host, stdin=password(lane.hub, "alice"))
    lane.refused(DENIED + "|403", "helm", "push", PLAIN, "thing-1.2.3+build.7.tgz", "oci://" + lane.ref("bob/charts"))


@case("helm", "a chart: push, pull back by version and digest, render, compare")
def helm_chart(lane):
    where, archive = "oci://" + lane.ref("alice/charts"), lane.read("thing-1.2.3+build.7.tgz")
    _, _, said = lane.attempt("helm", "push", PLAIN, "thing-1.2.3+build.7.tgz", where)
    told = contains(said, r"Digest: (sha256:[0-9a-f]{64})").group(1)
    name, body, _ = lane.manifest("alice/charts/thing", "1.2.3_build.7")
    same(name, told, "digest")
    same(json.loads(body)["config"]["mediaType"], "application/vnd.cncf.helm.config.v1+json", "type")
    same(digest(archive) in lane.tree("alice/charts/thing", name), True, "the chart is a blob")
    for i, how in enumerate((["--version", "1.2.3+build.7"], [], None)):
        os.makedirs(lane.path("pulled%d" % i))
        ref = where + "/thing" + ("@" + told if how is None else "")
        lane.sh("helm", "pull", PLAIN, ref, *(how or []), "-d", lane.path("pulled%d" % i))
        files = os.listdir(lane.path("pulled%d" % i))
        same(len(files), 1, "files pulled")
        same(lane.read("pulled%d/%s" % (i, files[0])), archive, "the chart")
    contains(lane.sh("helm", "show", "chart", PLAIN, where + "/thing", "--version", "1.2.3+build.7"), "name: thing")
    contains(lane.sh("helm", "template", "x", PLAIN, where + "/thing", "--version", "1.2.3+build.7"), "kind: Deployment")


@case("helm", "the newest of several versions, and a chart that depends on it")
def helm_versions(lane):
    where = "oci://" + lane.ref("alice/charts")
    for version in ("1.3.0", "1.10.0", "2.0.0-rc.1"):
        lane.sh("helm", "package", "thing", "--version", version)
        lane.sh("helm", "push", PLAIN, "thing-%s.tgz" % version, where)
    contains(lane.sh("helm", "show", "chart", PLAIN, where + "/thing"), r"version: 1\.10\.0")
    contains(lane.sh("helm", "show", "chart", PLAIN, where + "/thing", "--version", "~1.3"), r"version: 1\.3\.0")
    lane.sh("helm", "create", "user")
    with open(lane.path("user/Chart.yaml"), "a") as f:
        f.write('\ndependencies:\n- name: thing\n  version: ">=1.2.0"\n  repository: "%s"\n' % where)
    lane.sh("helm", "dependency", "update", PLAIN, "user")
    same(os.listdir(lane.path("user/charts")), ["thing-1.10.0.tgz"], "dependencies")
    lane.world.kept.append((lane, "alice/charts/thing", "1.10.0"))


@case("helm", "what is deleted is gone for helm too")
def helm_deleted(lane):
    name = lane.manifest("alice/charts/thing", "1.3.0")[0]
    same(lane.status("DELETE", "alice/charts/thing/manifests/" + name), 202, "deletion")
    lane.refused("not found|unable to locate", "helm", "pull", PLAIN, "oci://" + lane.ref("alice/charts/thing"), "--version", "1.3.0")
    lane.sh("helm", "registry", "logout", lane.host)
    lane.refused(DENIED + "|401", "helm", "pull", PLAIN, "oci://" + lane.ref("alice/charts/thing"), "--version", "1.10.0")


# --- cosign
def prepare(lane, repo, tag="1"):
    lane.sh("crane", "push", lane.world.images.path("platforms"), lane.ref("%s:%s" % (repo, tag)), "--index")
    return lane.ref("%s@%s" % (repo, lane.world.images.platforms))


@case("cosign", "login and keys; what is not signed does not verify")
def cosign_login(lane):
    lane.env["COSIGN_PASSWORD"] = "key-password-4711"
    lane.sh("cosign", "login", lane.host, "-u", "alice", "--password-stdin", stdin=password(lane.hub, "alice"))
    for name in ("right", "wrong"):
        lane.sh("cosign", "generate-key-pair", "--output-key-prefix", name)
    ref = prepare(lane, "alice/cosign")
    lane.refused("no signatures found", "cosign", "verify", "--key", "right.pub", *UNLOGGED, ref)


@case("cosign", "sign and verify, signatures under a tag")
def cosign_tag(lane):
    ref = lane.ref("alice/cosign@" + lane.world.images.platforms)
    lane.sh("cosign", "sign", "-y", "--key", "right.key", *OFFLINE, "-r", "-a", "by=test", ref)
    verified = json.loads(lane.sh("cosign", "verify", "--key", "right.pub", *UNLOGGED, "-a", "by=test", ref))
    same(verified[0]["critical"]["image"]["docker-manifest-digest"], lane.world.images.platforms, "what is signed")
    lane.refused("no matching signatures|invalid signature", "cosign", "verify", "--key", "wrong.pub", *UNLOGGED, ref)
    holds("sha256-%s.sig" % lane.world.images.platforms[7:] in lane.tags("alice/cosign"), "the tag of the signature")
    child = lane.ref("alice/cosign@" + lane.world.images.platform_children[1])
    lane.sh("cosign", "verify", "--key", "right.pub", *UNLOGGED, child)


@case("cosign", "sign and verify, signatures as referrers")
def cosign_referrers(lane):
    ref, env = prepare(lane, "alice/cosign-oci"), {"COSIGN_EXPERIMENTAL": "1"}
    lane.sh("cosign", "sign", "-y", "--key", "right.key", *OFFLINE, "--registry-referrers-mode=oci-1-1", ref, env=env)
    lane.sh("cosign", "verify", "--key", "right.pub", *UNLOGGED, "--experimental-oci11", ref, env=env)
    lane.refused("signature", "cosign", "verify", "--key", "wrong.pub", *UNLOGGED, "--experimental-oci11", ref, env=env)
    same(lane.tags("alice/cosign-oci"), ["1"], "no tag was needed")
    a = lane.admin().get("/v2/alice/cosign-oci/referrers/" + lane.world.images.platforms)
    same(len(a.json()["manifests"]), 1, "referrers")
    lane.world.kept.append((lane, "alice/cosign-oci", a.json()["manifests"][0]["digest"]))


@case("cosign", "an attestation, a tree, a copy with everything, clean")
def cosign_more(lane):
    ref = lane.ref("alice/cosign@" + lane.world.images.platforms)
    lane.write("predicate.json", '{"a": "b"}')
    lane.sh("cosign", "attest", "-y", "--key", "right.key", *OFFLINE, "--type", "custom", "--predicate", "predicate.json", ref)
    lane.sh("cosign", "verify-attestation", "--key", "right.pub", *UNLOGGED, "--type", "custom", ref)
    contains(lane.sh("cosign", "tree", ref), "(?s)Attestations.*Signatures|Signatures.*Attestations")
    lane.sh("cosign", "copy", lane.ref("alice/cosign:1"), lane.ref("alice/cosign-copy:1"))
    copied = lane.ref("alice/cosign-copy@" + lane.world.images.platforms)
    lane.sh("cosign", "verify", "--key", "right.pub", *UNLOGGED, copied)
    lane.sh("cosign", "verify-attestation", "--key", "right.pub", *UNLOGGED, "--type", "custom", copied)
    lane.sh("cosign", "clean", "-f", "--type", "all", ref)
    lane.refused("no signatures found", "cosign", "verify", "--key", "right.pub", *UNLOGGED, ref)
    lane.world.kept.append((lane, "alice/cosign-copy", "sha256-%s.sig" % lane.world.images.platforms[7:]))
