"""nginx, Caddy and HAProxy in front, configured as the recipes say."""
import base64
import gzip
import hashlib
import http.client
import json
import os
import subprocess

import pytest
from conftest import answers, blocks, free_port, replaced, run, text, wait_for

LAYER_BYTES = 20 << 20
CLIENT = "127.0.0.2"  # not the proxy's own address
FORGED = "203.0.113.9"


def write(path, content):
    with open(path, "w") as f:
        f.write(content)
    return path


class Nginx:
    page, language = "docs/recipes/nginx.md", "nginx"

    def start(self, folder, block, port, upstream, ca):
        write(folder + "/berth.conf", replaced(block, [
            ("127.0.0.1:5000", upstream), ("listen 443 ssl", "listen 127.0.0.1:%d ssl" % port), ("hub.example.org;", "localhost;"),
            ("/etc/ssl/hub.example.org.crt", ca.chain), ("/etc/ssl/hub.example.org.key", ca.key)]))
        temp = "".join("%s_temp_path %s/%s;" % (k, folder, k) for k in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        write(folder + "/nginx.conf", "pid %s/pid; error_log stderr; events {} http { access_log off; %s include %s/berth.conf; }" % (
            folder, temp, folder))
        return ["nginx", "-p", folder, "-c", folder + "/nginx.conf", "-g", "daemon off;"]


class Caddy:
    page, language = "docs/recipes/caddy.md", "caddyfile"

    def start(self, folder, block, port, upstream, ca):
        block = replaced(block, [("/etc/ssl/hub.example.org.crt", ca.chain), ("/etc/ssl/hub.example.org.key", ca.key),
                                 ("hub.example.org {", "localhost:%d {" % port), ("127.0.0.1:5000", upstream)])
        write(folder + "/Caddyfile", "{\n    admin off\n    auto_https disable_redirects\n}\n" + block)
        return ["caddy", "run", "--config", folder + "/Caddyfile", "--adapter", "caddyfile"]


class Haproxy:
    page, language = "docs/recipes/haproxy.md", "haproxy"

    def start(self, folder, block, port, upstream, ca):
        write(folder + "/haproxy.cfg", replaced(block, [
            ("maxconn 20000", "maxconn 200"), ("bind :443", "bind 127.0.0.1:%d" % port),
            ("/etc/haproxy/hub.example.org.pem", ca.both), ("127.0.0.1:5000", upstream)]))
        assert run("haproxy", "-c", "-f", folder + "/haproxy.cfg").strip() == "Configuration file is valid"
        return ["haproxy", "-db", "-f", folder + "/haproxy.cfg"]


class Front:
    """A hub as the recipe configures it, and the proxy before it."""

    def __init__(self, proxy, make_hub, authority, folder):
        self.port, self.authority, self.folder = free_port(), authority, folder
        self.url = "https://localhost:%d" % self.port
        (ini,), (block,) = blocks(proxy.page, "ini"), blocks(proxy.page, proxy.language)
        hub = self.hub = make_hub(start=False)
        os.makedirs(hub.data, 0o700)
        write(hub.data + "/berth.conf", replaced(ini, [("127.0.0.1:5000", "127.0.0.1:%d" % hub.port), ("https://hub.example.org", self.url)]))
        hub.start()
        assert hub.url == self.url
        argv = proxy.start(folder, block, self.port, "127.0.0.1:%d" % hub.port, authority)
        env = dict(os.environ, HOME=folder, XDG_DATA_HOME=folder, XDG_CONFIG_HOME=folder)
        self.log = open(folder + "/log", "wb")
        self.proc = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=env, start_new_session=True)
        wait_for(lambda: self.proc.poll() is not None or answers(self.port), "the proxy")
        assert self.proc.poll() is None, text(folder + "/log")
        wait_for(lambda: self.ask("GET", "/readyz")[0] == 200, "the way through the proxy")

    def connect(self):
        return http.client.HTTPSConnection("localhost", self.port, timeout=60, context=self.authority.trust, source_address=(CLIENT, 0))

    def login(self):
        return "Basic " + base64.b64encode(("%s:%s" % (self.hub.admin_name, self.hub.admin_password)).encode()).decode()

    def ask(self, method, path, headers=None, body=None):
        c = self.connect()
        try:
            c.request(method, path, body, dict(headers or {}))
            a = c.getresponse()
            return a.status, dict((k.lower(), v) for k, v in a.getheaders()), a.read()
        finally:
            c.close()

    def close(self):
        self.proc.terminate()
        try:
            self.proc.wait(20)  # Caddy waits for connections that a failed test left
        except subprocess.TimeoutExpired:
            self.proc.kill()
            self.proc.wait()
        self.log.close()


@pytest.fixture(scope="module", params=[Nginx, Caddy, Haproxy], ids=lambda p: p.__name__.lower())
def front(request, authority, tmp_path_factory):
    from berth import Hub
    hubs = []

    def make(**kw):
        hubs.append(Hub(env={"BERTH_MIN_FREE": "0"}, **kw))
        return hubs[-1]

    folder = str(tmp_path_factory.mktemp(request.param.__name__))
    os.chmod(folder, 0o755)
    f = Front(request.param(), make, authority, folder)
    yield f
    f.close()
    hubs[0].close()


def layout(folder):
    """An image with one layer of 20 MB that nobody can compress."""
    os.makedirs(folder + "/blobs/sha256")

    def put(data, media_type):
        hexa = hashlib.sha256(data).hexdigest()
        with open(folder + "/blobs/sha256/" + hexa, "wb") as f:
            f.write(data)
        return dict(mediaType=media_type, digest="sha256:" + hexa, size=len(data))

    raw = os.urandom(LAYER_BYTES)
    layer = put(gzip.compress(raw, 0, mtime=0), "application/vnd.oci.image.layer.v1.tar+gzip")
    config = put(json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {
        "type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(raw).hexdigest()]}}).encode(), "application/vnd.oci.image.config.v1+json")
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = put(json.dumps(dict(schemaVersion=2, mediaType=kind, config=config, layers=[layer])).encode(), kind)
    write(folder + "/oci-layout", '{"imageLayoutVersion":"1.0.0"}')
    write(folder + "/index.json", json.dumps(dict(schemaVersion=2, manifests=[manifest])))
    return manifest["digest"], layer["digest"]


def test_push_and_pull(front, tmp_path):
    manifest, layer = layout(str(tmp_path / "in"))
    certs = tmp_path / "certs"
    certs.mkdir()
    (certs / "ca.crt").write_text(text(front.authority.ca))
    creds = "%s:%s" % (front.hub.admin_name, front.hub.admin_password)
    name = "docker://localhost:%d/library/app:v1" % front.port
    run("skopeo", "copy", "--dest-cert-dir", str(certs), "--dest-creds", creds, "oci:%s/in" % tmp_path, name)
    run("skopeo", "copy", "--src-cert-dir", str(certs), "--src-creds", creds, name, "oci:%s/out:v1" % tmp_path)
    assert json.loads((tmp_path / "out/index.json").read_text())["manifests"][0]["digest"] == manifest
    path = "blobs/" + layer.replace(":", "/")
    assert (tmp_path / "out" / path).read_bytes() == (tmp_path / "in" / path).read_bytes()
    assert front.hub.admin().head("/v2/library/app/blobs/" + layer).get("Content-Length") == str(os.path.getsize(str(tmp_path / "in" / path)))


def upload(front):
    status, headers, _ = front.ask("POST", "/v2/library/slow/blobs/uploads/", {"Authorization": front.login()})
    assert status == 202
    return headers["location"].replace(front.url, "")


def test_bodies_are_not_collected(front):
    """The hub has the first half of a body before the second was sent."""
    size = 8 << 20
    path, before = upload(front), front.hub.metrics()["berth_http_received_bytes_total"]
    c = front.connect()
    c.putrequest("PATCH", path)
    for k, v in (("Authorization", front.login()), ("Content-Length", str(size)), ("Content-Type", "application/octet-stream")):
        c.putheader(k, v)
    c.endheaders()
    c.send(b"x" * (size // 2))
    wait_for(lambda: front.hub.metrics()["berth_http_received_bytes_total"] - before >= size // 2 - (1 << 20), "the first half")
    c.send(b"y" * (size // 2))
    a = c.getresponse()
    assert a.status == 202 and a.getheader("Range") == "0-%d" % (size - 1)
    c.close()


def test_a_refusal_does_not_wait_for_the_body(front):
    """A client that sends a gigabyte without a right hears so long before its end."""
    path, sent = upload(front), 0
    c = front.connect()
    c.putrequest("PATCH", path)
    c.putheader("Content-Length", str(1 << 30))
    c.putheader("Content-Type", "application/octet-stream")
    c.endheaders()
    got, open_ = b"", True
    while b"UNAUTHORIZED" not in got:
        if open_ and sent < 256 << 20:
            try:
                c.send(b"x" * 65536)
                sent += 65536
            except OSError:
                open_ = False
        c.sock.settimeout(0.001 if open_ and sent < 256 << 20 else 60)
        try:
            data = c.sock.recv(65536)  # not select: TLS may have news of its own
        except TimeoutError:
            assert open_ and sent < 256 << 20, "no answer after %d bytes" % sent
            continue
        finally:
            c.sock.settimeout(60)
        assert data, "closed without an answer: %r" % got
        got += data
    assert got.startswith(b"HTTP/1.1 401 "), got
    c.close()


def test_the_log_knows_the_client(front):
    """Also when it claims to be another."""
    for n, headers in enumerate(({}, {"X-Forwarded-For": FORGED}, {"X-Forwarded-For": "127.0.0.1, " + FORGED})):
        status, answer, _ = front.ask("GET", "/v2/", headers)
        assert status == 401
        r = front.hub.wait_log(lambda r: r["msg"] == "request" and r["id"] == answer["x-request-id"])
        assert r["client"] == CLIENT, (n, r)
    assert all(r.get("client") != FORGED for r in front.hub.log())


def test_names_are_the_public_ones(front):
    status, headers, _ = front.ask("GET", "/v2/admin/none/tags/list")
    assert status == 401 and 'realm="%s/token",service="localhost:%d"' % (front.url, front.port) in headers["www-authenticate"]
    status, headers, _ = front.ask("POST", "/v2/library/slow/blobs/uploads/", {"Authorization": front.login()})
    assert headers["location"].startswith(("/v2/", front.url + "/v2/"))


def test_metrics_are_not_for_the_world(front):
    assert front.ask("GET", "/metrics")[0] == 401
    assert front.ask("GET", "/metrics", {"Authorization": front.login()})[0] == 200
