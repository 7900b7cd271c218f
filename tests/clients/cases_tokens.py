"""Tokens in the hands of clients: a personal one, an organization's, and keyless (the CI system's own token as password);
each inside its bounds, outside them, after its end, and read only. One hub for all."""
import functools
import json
import os
import shutil

from api import Api
from cases_docker import DENIED, password
from images import tar_of
from issuer import Key, claims
from registry import digest
from suite import case, layout_root, same

ORG, ELSEWHERE, TAG = "crew", "crew/elsewhere", "1.0.0"
ISSUER = "https://kubernetes.default.svc.cluster.local"  # cannot be reached: the rule has its keys
REFUSED = DENIED + "|forbidden|401|403|invalid username/password|incorrect"
ABSENT = REFUSED + "|not found|name unknown"  # what a login does not reach looks so


def place(lane):
    """A hub with an organization, and in it a private repository that its owner may push to, and no token here."""
    if hasattr(lane, "owner"):
        return
    # Refusals are what this is about: they must not slow the address that all clients share.
    hub = lane.world.new_hub(env={"BERTH_MAX_LOGINS_PER_ADDRESS": "0"})
    hub.add_user("alice")
    lane.hub, lane.host = hub, hub.service
    owner = Api(hub, "alice", password(hub, "alice"))
    owner.post("/orgs", {"name": ORG}, status=201)
    hub.client("alice", password(hub, "alice"), mode="bearer").push_image(ELSEWHERE, TAG)
    lane.owner, lane.key, lane.other_key = owner, Key("cluster", "ES256"), Key("cluster", "ES256")


# --- credentials: each kind is (lane, repository, scope) -> (name, secret, a secret that is none, what ends it)
def token(path, name):
    def issued(lane, repo, scope):
        doc = {"name": "%s-%s" % (repo.split("/")[1], scope), "bounds": [{"pattern": repo, "scope": scope}]}
        made = lane.owner.post(path, doc, status=201).data
        text = made["token"]
        return name, text, text[:-1] + ("a" if text[-1] != "a" else "b"), "%s/%s" % (path, made["id"])
    return issued


def keyless(lane, repo, scope):
    rule = "%s-%s" % (repo.split("/")[1], scope)
    subject, path = "system:serviceaccount:ci:" + rule, "/orgs/%s/trust-rules" % ORG
    made = lane.owner.post(path, {
        "name": rule, "issuer": ISSUER, "jwks": json.dumps({"keys": [lane.key.jwk()]}),
        "claims": [{"claim": "sub", "pattern": subject}], "bounds": [{"pattern": repo, "scope": scope}]}, status=201).data
    said = claims(ISSUER, made["audience"], sub=subject)
    said["exp"] += 3600  # however slow the machine is
    user = "oidc" if scope == "write" else "oidc/%s/%s" % (ORG, rule)
    return user, lane.key.token(said), lane.other_key.token(said), "%s/%s" % (path, made["id"])


KINDS = {"personal": token("/tokens", "alice"), "organization": token("/orgs/%s/tokens" % ORG, ORG), "keyless": keyless}


# --- clients: make() makes what is pushed, took() pulls it again; both tell what is in it
class Engine:
    """docker and podman: an image of one small layer that no other case has."""

    def __init__(self, lane, repo, *program, options=()):
        self.lane, self.repo, self.program, self.options = lane, repo, program, options

    def ref(self, repo, tag=TAG):
        return self.lane.ref("%s:%s" % (repo, tag))

    def call(self, *argv):
        return self.lane.sh(*self.program, *argv)

    def login(self, run, name, secret):
        run(*self.program, "login", *self.options, "-u", name, "--password-stdin", self.lane.host, stdin=secret)

    def push(self, run, repo, tag):
        self.call("tag", self.ref(self.repo), self.ref(repo, tag))
        run(*self.program, "push", *self.options, self.ref(repo, tag))

    def pull(self, run, repo):
        run(*self.program, "pull", *self.options, self.ref(repo))

    def inspect(self, what):
        return self.call("image", "inspect", "--format", what, self.ref(self.repo))

    def make(self):
        path = self.lane.write("tmp/layer.tar", tar_of({"etc/": None, "etc/text": self.repo.encode()}))
        self.call("import", path, self.ref(self.repo))
        return self.inspect("{{json .RootFS.Layers}}")

    def took(self):
        self.call("rmi", "-f", self.inspect("{{.Id}}"))
        self.pull(self.lane.sh, self.repo)
        return self.inspect("{{json .RootFS.Layers}}")


class Skopeo:
    def __init__(self, lane, repo):
        self.lane, self.repo, self.layout = lane, repo, lane.world.images.path("busybox")

    def login(self, run, name, secret):
        run("skopeo", "login", "--tls-verify=false", "-u", name, "--password-stdin", self.lane.host, stdin=secret)

    def copy(self, run, source, target):
        run("skopeo", "copy", "-q", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false", source, target)

    def push(self, run, repo, tag):
        self.copy(run, "oci:" + self.layout, "docker://" + self.lane.ref("%s:%s" % (repo, tag)))

    def pull(self, run, repo):
        self.copy(run, "docker://" + self.lane.ref("%s:%s" % (repo, TAG)), "oci:" + self.lane.path("back"))

    def make(self):
        return layout_root(self.layout)

    def took(self):
        shutil.rmtree(self.lane.path("back"), ignore_errors=True)
        self.pull(self.lane.sh, self.repo)
        return layout_root(self.lane.path("back"))


class Helm:
    """A chart's name and version are the repository's and the tag's."""

    def __init__(self, lane, repo):
        self.lane, self.repo = lane, repo

    def package(self, repo, tag):
        name = repo.split("/")[1]
        archive = "%s-%s.tgz" % (name, tag)
        if os.path.exists(self.lane.path(archive)):  # packed again it would be of another second
            return archive
        self.lane.write(name + "/Chart.yaml", "apiVersion: v2\nname: %s\nversion: %s\n" % (name, tag))
        self.lane.sh("helm", "package", name)
        return archive

    def login(self, run, name, secret):
        run("helm", "registry", "login", "--plain-http", "-u", name, "--password-stdin", self.lane.host, stdin=secret)

    def push(self, run, repo, tag):
        run("helm", "push", "--plain-http", self.package(repo, tag), "oci://" + self.lane.ref(ORG))

    def pull(self, run, repo):
        run("helm", "pull", "--plain-http", "oci://" + self.lane.ref(repo), "--version", TAG, "-d", "tmp")

    def make(self):
        self.made = self.package(self.repo, TAG)
        return digest(self.lane.read(self.made))

    def took(self):
        self.pull(self.lane.sh, self.repo)
        return digest(self.lane.read("tmp/" + self.made))


def tool(lane, name, repo):
    if name == "docker":
        return Engine(lane, repo, "docker", "--host", lane.world.dockerd.socket)
    if name == "podman":
        return Engine(lane, repo, "podman", options=["--tls-verify=false"])
    return {"skopeo": Skopeo, "helm": Helm}[name](lane, repo)


# --- the cases
def bounded(kind, name, lane):
    place(lane)
    repo = "%s/%s-%s" % (ORG, name, kind)
    client = tool(lane, name, repo)
    refused, absent = (functools.partial(lane.refused, pattern) for pattern in (REFUSED, ABSENT))
    (user, writer, wrong, end), (read_user, reader, _, _) = (KINDS[kind](lane, repo, scope) for scope in ("write", "read"))
    lane.hub.secrets.update((writer, reader))

    made = client.make()
    client.login(refused, user, wrong)
    client.login(lane.sh, user, writer)
    client.push(refused, ELSEWHERE, "2.0.0")
    client.pull(absent, ELSEWHERE)
    client.push(lane.sh, repo, TAG)
    same(client.took(), made, "what came back")
    lane.owner.delete(end, status=204)
    client.push(refused, repo, "2.0.0")
    client.pull(refused, repo)
    client.login(refused, user, writer)

    client.login(lane.sh, read_user, reader)  # its neighbour stays
    same(client.took(), made, "what came back to the reader")
    client.push(refused, repo, "3.0.0")
    same((lane.tags(repo), lane.tags(ELSEWHERE)), ([TAG], [TAG]), "tags")


for each_kind in KINDS:
    for each_tool in ("docker", "podman", "skopeo", "helm"):
        case("tokens", "%s, %s: in its bounds, outside, revoked, read only" % (each_tool, each_kind))(
            functools.partial(bounded, each_kind, each_tool))
