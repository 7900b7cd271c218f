"""The same by a part of the clients on a hub whose database is PostgreSQL."""
from cases_docker import docker, login, password, push, saved
from suite import case, contains, layout_root, same, same_as_hub, same_layouts


@case("postgresql", "docker, skopeo, crane, oras and helm: push, pull back, compare, delete")
def subset(lane):
    hub = lane.world.new_hub("postgresql")
    hub.add_user("alice")
    lane.hub, lane.host = hub, hub.service
    secret, images = password(hub, "alice"), lane.world.images
    login(lane, "alice")
    docker(lane, "import", images.busybox_tar, lane.ref("alice/docker:1"))
    before = saved(lane, lane.ref("alice/docker:1"))
    told = push(lane, lane.ref("alice/docker:1"))
    docker(lane, "rmi", "-f", before[0])
    contains(docker(lane, "pull", lane.ref("alice/docker:1")), "Digest: " + told)
    same(saved(lane, lane.ref("alice/docker:1")), before, "what came back")
    lane.sh("skopeo", "login", "--tls-verify=false", "-u", "alice", "--password-stdin", lane.host, stdin=secret)
    for name in ("busybox", "platforms"):
        source, remote = images.path(name), "docker://" + lane.ref("alice/skopeo-%s:1" % name)
        lane.sh("skopeo", "copy", "-q", "--all", "--preserve-digests", "--dest-tls-verify=false", "oci:" + source, remote)
        same_as_hub(lane, source, layout_root(source), "alice/skopeo-" + name, "1")
        lane.sh("skopeo", "copy", "-q", "--all", "--preserve-digests", "--src-tls-verify=false", remote, "oci:%s:latest" % lane.path(name))
        same_layouts(source, lane.path(name), layout_root(source))


@case("postgresql", "mount, referrers, a chart, deletion, fsck --full")
def more(lane):
    secret, images = password(lane.hub, "alice"), lane.world.images
    lane.sh("crane", "auth", "login", lane.host, "-u", "alice", "--password-stdin", stdin=secret)
    lane.sh("crane", "copy", lane.ref("alice/skopeo-platforms:1"), lane.ref("alice/crane:1"))
    same(lane.tree("alice/crane", "1"), lane.tree("alice/skopeo-platforms", "1"), "the copy")
    lane.sh("oras", "login", "--plain-http", "-u", "alice", "--password-stdin", lane.host, stdin=secret)
    lane.write("note.txt", "note")
    lane.sh("oras", "attach", "--no-tty", "--plain-http", "--artifact-type", "application/vnd.test", lane.ref("alice/crane:1"), "note.txt")
    contains(lane.sh("oras", "discover", "--plain-http", "--format", "json", lane.ref("alice/crane:1")), "application/vnd.test")
    lane.sh("helm", "create", "thing")
    lane.sh("helm", "package", "thing")
    lane.sh("helm", "push", "--plain-http", "thing-0.1.0.tgz", "oci://" + lane.ref("alice/charts"))
    lane.sh("helm", "pull", "--plain-http", "oci://" + lane.ref("alice/charts/thing"), "-d", lane.path("tmp"))
    same(lane.read("tmp/thing-0.1.0.tgz"), lane.read("thing-0.1.0.tgz"), "the chart")
    lane.sh("crane", "delete", lane.ref("alice/skopeo-platforms@" + images.platforms))
    lane.gone("alice/skopeo-platforms", "1")
    lane.sh("skopeo", "delete", "--tls-verify=false", "docker://" + lane.ref("alice/docker:1"))
    lane.gone("alice/docker", "1")
    lane.hub.command("gc", "--now")
    same_as_hub(lane, images.path("platforms"), images.platforms, "alice/crane", "1")
    done = lane.hub.command("fsck", "--full", check=False)
    same((done.returncode, done.stderr), (0, ""), "fsck: " + done.stdout)
