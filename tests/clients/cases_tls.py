"""TLS with a private authority, certificates that change while the hub runs, and nginx in front."""
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time

from berth import free_port
from registry import digest
from cases_docker import docker, login, password, there_and_back
from suite import case, holds, layout_root, same, same_as_hub, same_layouts
from world import ADDRESS, NAME

UNKNOWN = "certificate|x509|unknown authority"
LIMIT = 60


class Authority:
    """A private certificate authority; `issue` replaces the server's certificate, as an administrator would."""

    def __init__(self, lane, name):
        self.lane, self.folder = lane, lane.path("authority-" + name)
        os.makedirs(self.folder)
        self.cert, self.key, self.serial = self.folder + "/ca.crt", self.folder + "/ca.key", 1
        lane.sh("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
                "-subj", "/CN=authority " + name, "-keyout", self.key, "-out", self.cert)

    def issue(self, target):
        """Writes target.crt and target.key; returns the serial number."""
        self.serial += 1
        request = self.folder + "/request"
        self.lane.sh("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                     "-subj", "/CN=" + NAME, "-keyout", target + ".key.new", "-out", request)
        self.lane.write("extensions", "subjectAltName=DNS:%s,IP:%s\n" % (NAME, ADDRESS))
        self.lane.sh("openssl", "x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self.key, "-days", "20",
                     "-set_serial", str(self.serial), "-extfile", self.lane.path("extensions"), "-out", target + ".crt.new")
        for part in (".key", ".crt"):
            os.rename(target + part + ".new", target + part)
        return self.serial


def trust(lane, authority):
    """Makes the clients of this lane trust this authority for the lane's host, each in its own way."""
    for folder in ("/etc/docker/certs.d", "/etc/containers/certs.d"):
        at = os.path.join(folder, lane.host)
        os.makedirs(at, exist_ok=True)
        shutil.copyfile(authority.cert, at + "/ca.crt")
    lane.env["SSL_CERT_FILE"] = authority.cert  # crane, cosign
    lane.ca = authority.cert


def distrust(lane):
    for folder in ("/etc/docker/certs.d", "/etc/containers/certs.d"):
        shutil.rmtree(os.path.join(folder, lane.host), ignore_errors=True)
    lane.env.pop("SSL_CERT_FILE", None)


def serve_tls(lane):
    """A hub of its own that speaks TLS on an address that no client trusts blindly."""
    if getattr(lane, "first", None):
        return
    lane.first, lane.second = Authority(lane, "one"), Authority(lane, "two")
    lane.target = lane.path("server")
    lane.serial = lane.first.issue(lane.target)
    hub = lane.world.new_hub(start=False, env={"BERTH_TLS_CERT": lane.target + ".crt", "BERTH_TLS_KEY": lane.target + ".key"},
                             tls=ssl.create_default_context(cafile=lane.first.cert))
    hub.host = ADDRESS
    hub.extra["BERTH_PUBLIC_URL"] = "https://%s:%d" % (NAME, hub.port)
    hub.start()
    hub.add_user("alice")
    lane.hub, lane.host = hub, "%s:%d" % (NAME, hub.port)


def everyone(lane, tag):
    """One push and pull by every client over the lane's front door, each verified."""
    source, root = lane.world.images.path("busybox"), lane.world.images.busybox
    secret = password(lane.hub, "alice")
    docker(lane, "import", lane.world.images.busybox_tar, lane.ref("alice/docker:" + tag))
    login(lane, "alice")
    there_and_back(lane, "alice/docker", tag)
    for tool in ("podman", "buildah", "skopeo"):
        lane.sh(tool, "login", "-u", "alice", "--password-stdin", lane.host, stdin=secret)
    lane.sh("podman", "pull", "-q", "oci:" + source)
    lane.sh("podman", "push", "-q", lane.sh("podman", "images", "-q").split()[0], lane.ref("alice/podman:" + tag))
    lane.sh("podman", "rmi", "-a", "-f")
    lane.sh("podman", "pull", "-q", lane.ref("alice/podman:" + tag))
    lane.tree("alice/podman", tag)
    lane.sh("buildah", "pull", "-q", lane.ref("alice/podman:" + tag))
    lane.sh("buildah", "push", "-q", lane.ref("alice/podman:" + tag), "docker://" + lane.ref("alice/buildah:" + tag))
    lane.tree("alice/buildah", tag)
    lane.sh("podman", "rmi", "-a", "-f")
    lane.sh("skopeo", "copy", "-q", "--preserve-digests", "oci:" + source, "docker://" + lane.ref("alice/skopeo:" + tag))
    copies(lane, tag, source, root, secret)


def copies(lane, tag, source, root, secret):
    """crane, regctl, oras, helm and, where it is there, cosign, with skopeo's image."""
    lane.sh("crane", "auth", "login", lane.host, "-u", "alice", "--password-stdin", stdin=secret)
    lane.sh("crane", "copy", lane.ref("alice/skopeo:" + tag), lane.ref("alice/crane:" + tag))
    lane.sh("regctl", "registry", "set", "--tls", "enabled", "--cacert", open(lane.ca).read(), lane.host)
    lane.sh("regctl", "registry", "login", "-u", "alice", "--pass-stdin", lane.host, stdin=secret)
    lane.sh("regctl", "image", "copy", lane.ref("alice/crane:" + tag), lane.ref("alice/regctl:" + tag))
    ca = ["--ca-file", lane.ca]
    lane.sh("oras", "login", *ca, "-u", "alice", "--password-stdin", lane.host, stdin=secret)
    lane.sh("oras", "cp", "--no-tty", "--from-ca-file", lane.ca, "--to-ca-file", lane.ca, lane.ref("alice/regctl:" + tag),
            lane.ref("alice/oras:" + tag))
    lane.sh("oras", "cp", "--no-tty", "--from-ca-file", lane.ca, "--to-oci-layout", lane.ref("alice/oras:" + tag),
            lane.path("back-%s:latest" % tag))
    same_as_hub(lane, source, root, "alice/oras", tag)
    same_layouts(source, lane.path("back-" + tag), root)
    lane.sh("helm", "create", "thing")
    lane.sh("helm", "package", "thing", "--version", "1.0.0")
    lane.sh("helm", "registry", "login", *ca, "-u", "alice", "--password-stdin", lane.host, stdin=secret)
    lane.sh("helm", "push", *ca, "thing-1.0.0.tgz", "oci://" + lane.ref("alice/charts"))
    os.makedirs(lane.path("charts-" + tag))
    lane.sh("helm", "pull", *ca, "oci://" + lane.ref("alice/charts/thing"), "-d", lane.path("charts-" + tag))
    same(lane.read("charts-%s/thing-1.0.0.tgz" % tag), lane.read("thing-1.0.0.tgz"), "the chart")
    if not lane.world.cosign:
        return
    lane.env["COSIGN_PASSWORD"] = "key-password-4711"
    lane.sh("cosign", "generate-key-pair", "--output-key-prefix", "key-" + tag)
    ref = lane.ref("alice/crane@" + root)
    lane.sh("cosign", "sign", "-y", "--key", "key-%s.key" % tag, "--tlog-upload=false", ref)
    lane.sh("cosign", "verify", "--key", "key-%s.pub" % tag, "--insecure-ignore-tlog=true", ref)


# --- the hub's own TLS
@case("tls", "who does not know the authority gets nothing")
def tls_unknown(lane):
    serve_tls(lane)
    source = "oci:" + lane.world.images.path("busybox")
    secret = password(lane.hub, "alice")
    for tool in ("podman", "buildah", "skopeo"):
        lane.refused(UNKNOWN, tool, "login", "-u", "alice", "--password-stdin", lane.host, stdin=secret)
    lane.refused(UNKNOWN, "skopeo", "copy", source, "docker://" + lane.ref("alice/skopeo:1"))
    lane.refused(UNKNOWN, "docker", "--host", lane.world.dockerd.socket, "login", "-u", "alice", "--password-stdin", lane.host, stdin=secret)
    lane.refused(UNKNOWN, "crane", "catalog", lane.host)
    lane.refused(UNKNOWN, "oras", "repo", "ls", lane.host)


@case("tls", "every client pushes and pulls with a private authority")
def tls_everyone(lane):
    trust(lane, lane.first)
    everyone(lane, "tls")


def served_serial(host, port, cafile):
    with socket.create_connection((host, port), LIMIT) as raw:
        with ssl.create_default_context(cafile=cafile).wrap_socket(raw, server_hostname=NAME) as s:
            return int(s.getpeercert()["serialNumber"], 16)


def until_served(lane, serial, cafile):
    end = time.monotonic() + LIMIT
    while True:
        try:
            if served_serial(ADDRESS, lane.hub.port, cafile) == serial:
                return
        except ssl.SSLError:
            pass
        holds(time.monotonic() < end, "the new certificate is not served")
        time.sleep(0.05)


@case("tls", "SIGHUP takes a new certificate; a push in flight goes on")
def tls_reload(lane):
    same(served_serial(ADDRESS, lane.hub.port, lane.first.cert), lane.serial, "serial number")
    client, data = lane.admin(), os.urandom(1 << 20)
    location = client.start_upload("alice/reload")
    serial = lane.first.issue(lane.target)
    lane.hub.reload()
    until_served(lane, serial, lane.first.cert)
    same(client.finish(location, digest(data), data).status, 201, "the upload on the old connection")
    lane.sh("skopeo", "inspect", "docker://" + lane.ref("alice/skopeo:tls"))


@case("tls", "SIGHUP takes a certificate of another authority")
def tls_other_authority(lane):
    serial = lane.second.issue(lane.target)
    lane.hub.reload()
    until_served(lane, serial, lane.second.cert)
    lane.refused(UNKNOWN, "skopeo", "inspect", "docker://" + lane.ref("alice/skopeo:tls"))
    lane.refused(UNKNOWN, "docker", "--host", lane.world.dockerd.socket, "pull", lane.ref("alice/docker:tls"))
    trust(lane, lane.second)
    lane.sh("skopeo", "inspect", "docker://" + lane.ref("alice/skopeo:tls"))
    docker(lane, "pull", lane.ref("alice/docker:tls"))
    lane.sh("podman", "pull", "-q", lane.ref("alice/podman:tls"))
    lane.hub.tls = ssl.create_default_context(cafile=lane.second.cert)


@case("tls", "a key that does not fit is refused at SIGHUP, and the old certificate stays")
def tls_wrong_key(lane):
    before = served_serial(ADDRESS, lane.hub.port, lane.second.cert)
    shutil.copyfile(lane.second.key, lane.target + ".key")
    seen = len(lane.hub.log())
    lane.hub.reload()
    lane.hub.wait_log(lambda r: r.get("level") in ("error", "warn") and r in lane.hub.log()[seen:])
    same(served_serial(ADDRESS, lane.hub.port, lane.second.cert), before, "serial number")
    lane.sh("skopeo", "inspect", "docker://" + lane.ref("alice/skopeo:tls"))
    same(lane.hub.command("fsck", "--full", check=False).returncode, 0, "fsck")
    distrust(lane)


# --- nginx in front
NGINX = """
daemon off; pid {dir}/nginx.pid; error_log {dir}/error.log; worker_processes 1; user root;
events {{ worker_connections 256; }}
http {{
    access_log {dir}/access.log;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
    server {{
        listen {address}:{port} ssl;
        server_name {name};
        ssl_certificate {cert}.crt;
        ssl_certificate_key {cert}.key;
        client_max_body_size 0;
        location / {{
            proxy_pass http://{hub};
            proxy_http_version 1.1;
            proxy_request_buffering off;
            proxy_buffering off;
            proxy_read_timeout 900s;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
}}
"""


def serve_nginx(lane):
    port, lane.folder = free_port(), lane.path("nginx")
    os.makedirs(lane.folder)
    authority = Authority(lane, "front")
    authority.issue(lane.folder + "/front")
    hub = lane.world.new_hub(env={"BERTH_PUBLIC_URL": "https://%s:%d" % (NAME, port), "BERTH_TRUSTED_PROXIES": "127.0.0.1/32"})
    hub.add_user("alice")
    lane.hub, lane.host = hub, "%s:%d" % (NAME, port)
    config = lane.write("nginx/nginx.conf", NGINX.format(dir=lane.folder, address=ADDRESS, port=port, name=NAME,
                                                         cert=lane.folder + "/front", hub="127.0.0.1:%d" % hub.port))
    lane.proxy = subprocess.Popen(["nginx", "-c", config, "-e", lane.folder + "/error.log"], stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    trust(lane, authority)
    end = time.monotonic() + LIMIT
    while True:
        try:
            socket.create_connection((ADDRESS, port), 1).close()
            return
        except OSError:
            holds(lane.proxy.poll() is None and time.monotonic() < end, "nginx does not start")
            time.sleep(0.05)


@case("nginx", "every client pushes and pulls through nginx")
def nginx_everyone(lane):
    serve_nginx(lane)
    everyone(lane, "proxy")


@case("nginx", "a Debian root streams through nginx; the log names the client, not the proxy")
def nginx_debian(lane):
    try:
        source, remote = lane.world.images.path("debian"), "docker://" + lane.ref("alice/debian:1")
        lane.sh("skopeo", "copy", "-q", "--preserve-digests", "oci:" + source, remote)
        lane.sh("skopeo", "copy", "-q", "--preserve-digests", remote, "oci:%s:latest" % lane.path("back-debian"))
        same_layouts(source, lane.path("back-debian"), layout_root(source))
        said = [r for r in lane.hub.log() if "alice/debian/blobs" in str(r.get("path", r.get("target", "")))]
        holds(said, "no line of the push in the log")
        holds(all(ADDRESS in str(list(r.values())) for r in said), "the client's address is not in %r" % said[0])
        with open(lane.folder + "/error.log") as f:
            same([x for x in f if "[error]" in x or "buffered to a temporary file" in x], [], "nginx's errors")
        same(lane.hub.command("fsck", "--full", check=False).returncode, 0, "fsck")
    finally:
        lane.proxy.send_signal(signal.SIGTERM)
        lane.proxy.wait(LIMIT)
        distrust(lane)
