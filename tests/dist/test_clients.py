"""Recipes of clients: a private CA, containerd's hosts.toml, the pull secret of Kubernetes."""
import base64
import json
import os
import subprocess
import time

import pytest
from berth import DEADLINE
from conftest import blocks, replaced, run, text


@pytest.fixture(scope="module")
def secure(authority):
    """A hub with the certificate of the recipe, configured as it says."""
    from berth import Hub
    h = Hub(env={"BERTH_MIN_FREE": "0"}, tls=authority.trust, start=False)
    (ini,) = blocks("docs/recipes/private-ca.md", "ini")
    os.makedirs(h.data, 0o700)
    with open(h.data + "/berth.conf", "w") as f:
        f.write(replaced(ini, [("https://hub.example.org", "https://localhost:%d" % h.port), ("/etc/berth/hub.pem", authority.chain),
                               ("/etc/berth/hub.key", authority.key)]))
    h.start()
    for user in ("alice", "cluster"):
        h.add_user(user)
    c = h.client("cluster", "pw-of-cluster-4711")
    c.push_image("cluster/app", "v1", b"app", layers=2)
    h.client("alice", "pw-of-alice-4711").push_image("alice/app", "v1", b"app", layers=2)
    yield h
    h.close()


def test_the_private_ca(secure, authority, tmp_path):
    out = run("openssl", "x509", "-in", authority.chain, "-noout", "-text")
    assert "CA:FALSE" in out and "TLS Web Server Authentication" in out and "DNS:localhost" in out
    run("openssl", "verify", "-CAfile", authority.ca, authority.dir + "/hub.crt")
    name = "docker://localhost:%d/cluster/app:v1" % secure.port
    certs = tmp_path / "certs"
    certs.mkdir()
    creds = ["--creds", "cluster:pw-of-cluster-4711"]
    assert "certificate" in run("skopeo", "inspect", *creds, name, code=1)
    (certs / "ca.crt").write_text(text(authority.ca))
    assert json.loads(run("skopeo", "inspect", "--cert-dir", str(certs), *creds, name))["RepoTags"] == ["v1"]


def test_the_pull_secret(secure, authority, tmp_path):
    page = "docs/recipes/kubernetes.md"
    (doc,) = blocks(page, "json")
    secret = [b for b in blocks(page, "yaml") if "dockerconfigjson" in b][0]
    encoded = [line.split(": ")[1] for line in secret.splitlines() if line.startswith("  .dockerconfigjson")][0]
    assert base64.b64decode(encoded).decode() == doc.strip()
    entry = json.loads(doc)["auths"]["hub.example.org"]
    assert base64.b64decode(entry["auth"]).decode() == "cluster:PASSWORD" and entry["username"] == "cluster"
    auth = base64.b64encode(b"cluster:pw-of-cluster-4711").decode()
    (tmp_path / "auth.json").write_text(replaced(doc, [("hub.example.org", "localhost:%d" % secure.port), ("PASSWORD", "pw-of-cluster-4711"),
                                                       (entry["auth"], auth)]))
    certs = tmp_path / "certs"
    certs.mkdir()
    (certs / "ca.crt").write_text(text(authority.ca))
    pull = ["skopeo", "inspect", "--cert-dir", str(certs), "--authfile"]
    run(*pull, str(tmp_path / "auth.json"), "docker://localhost:%d/cluster/app:v1" % secure.port)
    (tmp_path / "none.json").write_text("{}")
    run(*pull, str(tmp_path / "none.json"), "docker://localhost:%d/cluster/app:v1" % secure.port, code=1)
    run(*pull, str(tmp_path / "auth.json"), "docker://localhost:%d/alice/app:v1" % secure.port, code=1)


@pytest.fixture(scope="module")
def containerd(exec_dir):
    """A containerd of our own; it fetches content and runs nothing."""
    folder = exec_dir + "/containerd"
    os.makedirs(folder)
    config, log = folder + "/config.toml", open(folder + "/log", "wb")
    with open(config, "w") as f:
        f.write('version = 2\nroot = "%s/root"\nstate = "%s/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
                '[grpc]\n  address = "%s/sock"\n' % (folder, folder, folder))
    p = subprocess.Popen(["containerd", "--config", config], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    ctr = ["ctr", "--address", folder + "/sock"]
    end = time.monotonic() + DEADLINE
    while subprocess.run(ctr + ["version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode != 0:
        assert p.poll() is None and time.monotonic() < end, text(folder + "/log")
        time.sleep(0.1)
    yield ctr
    p.terminate()
    p.wait(60)
    log.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_containerd(secure, authority, containerd, tmp_path):
    """hosts.toml and the command of the recipe; the layers are fetched, not unpacked (they are no archives)."""
    host, (_, hosts) = "localhost:%d" % secure.port, blocks("docs/recipes/containerd.md", "toml")
    folder = tmp_path / "certs.d" / host
    folder.mkdir(parents=True)
    (folder / "hosts.toml").write_text(replaced(hosts, [("/etc/containerd/certs.d/hub.example.org/ca.crt", authority.ca),
                                                        ("hub.example.org", host)]))
    command = blocks("docs/recipes/containerd.md", "sh")[0].splitlines()[0]
    words = replaced(command, [("/etc/containerd/certs.d", str(tmp_path / "certs.d")), ("alice:PASSWORD", "alice:pw-of-alice-4711"),
                               ("hub.example.org", host)]).split()
    assert words[:3] == ["ctr", "images", "pull"]
    fetch = containerd + ["content", "fetch"] + words[3:]
    run(*fetch)
    manifest = secure.client("alice", "pw-of-alice-4711").get("/v2/alice/app/manifests/v1").json()
    there = run(*containerd, "content", "ls", "--quiet")
    assert all(d["digest"] in there for d in manifest["layers"] + [manifest["config"]]), there
    wrong = [w.replace("pw-of-alice", "wrong") for w in fetch]
    assert "401" in run(*wrong[:-1], host + "/alice/app@sha256:" + "0" * 64, code=1)
    (folder / "hosts.toml").write_text(hosts.replace("hub.example.org", host).replace("  ca = ", "  # ca = "))
    assert "certificate" in run(*fetch[:-1], host + "/alice/app:v2", code=1)


def test_containerd_configuration(tmp_path):
    """The first block is one that containerd reads."""
    first, _ = blocks("docs/recipes/containerd.md", "toml")
    (tmp_path / "config.toml").write_text(first)
    out = run("containerd", "--config", str(tmp_path / "config.toml"), "config", "dump")
    assert 'config_path = "/etc/containerd/certs.d"' in out
