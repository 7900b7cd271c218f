"""The OCI image of Berth: layout, the same bytes every time, pushed to a hub, and its root runs."""
import gzip
import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
import urllib.request

import pytest
from conftest import BUILD, ROOT, binary, free_port, run, wait_for

TOOL = ROOT + "/tools/make-image"
ENTER = ["chroot"] if os.geteuid() == 0 else ["unshare", "-r", "chroot"]


EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}


@pytest.fixture(scope="module")
def image():
    """By `make image`, as a person makes it."""
    out = run("make", "-C", ROOT, "--no-print-directory", "image", "BUILD=" + BUILD, env=dict(os.environ, **EPOCH)).splitlines()[-1]
    path, digest = out.split()
    assert path == BUILD + "/berth-image.tar"
    assert run("skopeo", "inspect", "--format", "{{.Digest}}", "oci-archive:" + path).strip() == digest
    return path


@pytest.fixture(scope="module")
def files(image):
    with tarfile.open(image) as t:
        return {m.name: t.extractfile(m).read() for m in t.getmembers() if m.isfile()}


def blob(files, descriptor):
    data = files["blobs/" + descriptor["digest"].replace(":", "/")]
    assert len(data) == descriptor["size"] and "sha256:" + hashlib.sha256(data).hexdigest() == descriptor["digest"]
    return data


def parts(files):
    index = json.loads(files["index.json"])
    manifest = json.loads(blob(files, index["manifests"][0]))
    return index, manifest, json.loads(blob(files, manifest["config"]))


def test_the_layout(files):
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    index, manifest, config = parts(files)
    assert index["schemaVersion"] == manifest["schemaVersion"] == 2 and len(index["manifests"]) == 1 and len(manifest["layers"]) == 1
    assert index["mediaType"] == "application/vnd.oci.image.index.v1+json"
    assert manifest["mediaType"] == index["manifests"][0]["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    layer = gzip.decompress(blob(files, manifest["layers"][0]))
    assert config["rootfs"] == {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest()]}
    assert len([f for f in files if f.startswith("blobs/")]) == 3
    docker = json.loads(files["manifest.json"])[0]
    assert all(f in files for f in [docker["Config"]] + docker["Layers"])


def test_the_configuration(files):
    config = parts(files)[2]
    c, version = config["config"], run(binary(), "version").split()[1]
    assert c["User"] == "65532:65532" and c["Volumes"] == {"/data": {}} and c["ExposedPorts"] == {"5000/tcp": {}}
    assert c["Entrypoint"] + c["Cmd"] == ["/usr/bin/berth", "serve"]
    assert {"BERTH_DATA=/data", "BERTH_LISTEN=0.0.0.0:5000"} <= set(c["Env"])
    assert c["Labels"]["org.opencontainers.image.version"] == version and config["created"] == "2023-11-14T22:13:20Z"


def test_the_root(files):
    """Little, nothing set-uid, times fixed, /data for its user alone."""
    manifest = parts(files)[1]
    with tarfile.open(fileobj=io.BytesIO(blob(files, manifest["layers"][0]))) as t:
        members = {m.name: m for m in t.getmembers()}
    assert {m.mtime for m in members.values()} == {1700000000} and list(members) == sorted(members)
    assert all(not m.mode & 0o6000 for m in members.values())
    data = members["data"]
    assert (data.uid, data.gid, data.mode) == (65532, 65532, 0o700)
    assert all(m.uid == m.gid == 0 for n, m in members.items() if n != "data")
    programs = [n for n in members if n.startswith(("bin/", "usr/bin/", "sbin/", "usr/sbin/"))]
    assert programs == ["usr/bin/berth"]


def test_the_same_bytes_again(image, exec_dir):
    """From a copy with other times, in another place."""
    copy = exec_dir + "/elsewhere"
    shutil.copy(binary(), copy)
    os.utime(copy, (1, 1))
    run(TOOL, "--binary", copy, "--output", exec_dir + "/again.tar", env=dict(os.environ, **EPOCH), cwd="/")
    with open(image, "rb") as a, open(exec_dir + "/again.tar", "rb") as b:
        assert a.read() == b.read()


def test_a_hub_takes_it(image, files, hub, tmp_path):
    """Pushed with skopeo, pulled back: the same digest and bytes."""
    index, manifest, _ = parts(files)
    creds = "%s:%s" % (hub.admin_name, hub.admin_password)
    name = "docker://127.0.0.1:%d/library/berth:latest" % hub.port
    run("skopeo", "copy", "--dest-tls-verify=false", "--dest-creds", creds, "oci-archive:" + image, name)
    run("skopeo", "copy", "--src-tls-verify=false", "--src-creds", creds, name, "oci:%s/back:latest" % tmp_path)
    back = json.loads((tmp_path / "back/index.json").read_text())
    assert back["manifests"][0]["digest"] == index["manifests"][0]["digest"]
    for d in [manifest["config"]] + manifest["layers"]:
        assert (tmp_path / "back/blobs" / d["digest"].replace(":", "/")).read_bytes() == blob(files, d)


@pytest.fixture(scope="module")
def root(files, exec_dir):
    path, manifest = exec_dir + "/root", parts(files)[1]
    with tarfile.open(fileobj=io.BytesIO(blob(files, manifest["layers"][0]))) as t:
        t.extractall(path)
    return path


def test_the_root_runs(root):
    assert run(*ENTER, root, "/usr/bin/berth", "version") == run(binary(), "version")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_image_serves(root, files):
    """As its configuration says, but for the port: user 65532 in the root that the layer makes."""
    c, port = parts(files)[2]["config"], free_port()
    env = dict(v.split("=", 1) for v in c["Env"])
    env.update(BERTH_LISTEN="127.0.0.1:%d" % port, BERTH_MIN_FREE="0")
    shutil.chown(root + "/data", 65532, 65532)
    argv = [shutil.which("chroot"), "--userspec=" + c["User"], root] + c["Entrypoint"] + c["Cmd"]
    with subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True) as p:
        said = [p.stdout.readline(), p.stdout.readline()]
        assert said[0].startswith("administrator admin, password ") and said[1] == "ready on http://127.0.0.1:%d\n" % port, said
        with urllib.request.urlopen("http://127.0.0.1:%d/readyz" % port) as a:
            assert json.load(a)["writable"] is True
        out = subprocess.run([argv[0], "--userspec=" + c["User"], root] + c["Entrypoint"] + ["user", "list"], env=env,
                             stdout=subprocess.PIPE, universal_newlines=True)
        assert out.returncode == 0 and "admin" in out.stdout
        p.terminate()
        p.stdout.read()
        assert p.wait(60) == 0, p.stderr.read()
    wait_for(lambda: socket.socket().connect_ex(("127.0.0.1", port)) != 0, "the end of the server")
