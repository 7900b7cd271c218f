"""The suite can go red: a byte that rots on disk is noticed by the clients, by fsck, and put right by the next push."""
import os

from cases_docker import password
from suite import Failed, case, contains, holds, layout_root, same, same_as_hub

PLAIN = ["--src-tls-verify=false", "--dest-tls-verify=false"]


def blob_file(hub, name):
    """The file that holds a blob, wherever the store puts it."""
    found = [os.path.join(base, f) for base, _, files in os.walk(hub.data) for f in files if name.split(":")[1] in f]
    same(len(found), 1, "files of " + name)
    return found[0]


def rot(path, at):
    """Flips one bit, behind the store's back."""
    os.chmod(path, 0o600)
    with open(path, "r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 0x10]))


@case("damage", "a blob with a flipped bit reaches no client whole")
def served(lane):
    hub = lane.world.new_hub()
    hub.add_user("alice")
    lane.hub, lane.host = hub, hub.service
    source = lane.world.images.path("debian")
    lane.sh("skopeo", "login", "--tls-verify=false", "-u", "alice", "--password-stdin", lane.host, stdin=password(hub, "alice"))
    lane.sh("skopeo", "copy", "-q", *PLAIN, "--preserve-digests", "oci:" + source, "docker://" + lane.ref("alice/debian:1"))
    same_as_hub(lane, source, layout_root(source), "alice/debian", "1")
    lane.layer = max(lane.tree("alice/debian", "1").items(), key=lambda x: len(x[1]))[0]
    rot(blob_file(hub, lane.layer), 1 << 20)
    lane.refused("digest|EOF|unexpected|mismatch|closed", "skopeo", "copy", "-q", *PLAIN, "docker://" + lane.ref("alice/debian:1"),
                 "oci:%s:latest" % lane.path("back"))
    lane.sh("crane", "auth", "login", lane.host, "-u", "alice", "--password-stdin", stdin=password(hub, "alice"))
    # crane unpacks while it reads: it may stumble over the byte itself before the blob is cut
    lane.refused("undersized|EOF|verif|digest|unexpected|404|unknown|invalid tar|gzip: invalid|flate: corrupt",
                 "crane", "validate", "--remote", lane.ref("alice/debian:1"))
    try:
        lane.tree("alice/debian", "1")
    except Exception:  # cut, or 404: the comparison of this suite notices as well
        return
    raise Failed("the comparison found nothing")


@case("damage", "fsck names it; the next push of the same image repairs it")
def repaired(lane):
    done = lane.hub.command("fsck", "--full", "--json", check=False)
    same(done.returncode, 1, "exit code of fsck")
    contains(done.stdout, lane.layer.split(":")[1])
    source = lane.world.images.path("debian")
    lane.sh("skopeo", "copy", "-q", *PLAIN, "--preserve-digests", "oci:" + source, "docker://" + lane.ref("alice/debian:1"))
    same_as_hub(lane, source, layout_root(source), "alice/debian", "1")
    done = lane.hub.command("fsck", "--full", check=False)
    holds(done.returncode == 0, done.stdout)
