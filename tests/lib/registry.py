"""A small registry client over rawhttp: the wire as docker, containerd and crane use it, no more."""
import base64
import hashlib
import json
import re
import threading
import urllib.parse

from rawhttp import Closed, Conn, build

IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_IMAGE = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
EMPTY = "application/vnd.oci.empty.v1+json"


def digest(data, alg="sha256"):
    return alg + ":" + hashlib.new(alg, data).hexdigest()


def descriptor(data, media_type=LAYER, alg="sha256", **more):
    return dict(mediaType=media_type, digest=digest(data, alg), size=len(data), **more)


def dumps(doc):
    return json.dumps(doc, separators=(",", ":")).encode()


def image_doc(config, layers, **more):
    """config and layers: descriptors."""
    return dict(schemaVersion=2, mediaType=more.pop("mediaType", IMAGE), config=config, layers=layers, **more)


def index_doc(manifests, **more):
    return dict(schemaVersion=2, mediaType=more.pop("mediaType", INDEX), manifests=manifests, **more)


def parse_challenge(value):
    """Bearer k="v",k="v": all quoted, nothing else."""
    assert value and value.startswith("Bearer "), value
    fields, rest = {}, value[7:]
    while rest:
        m = re.match(r'([a-z_]+)="([^"\\]*)"(,|$)', rest)
        assert m, value
        assert m.group(1) not in fields, value
        fields[m.group(1)] = m.group(2)
        rest = rest[m.end():]
    assert {"realm", "service"} <= set(fields), value
    return fields


def basic(user, password):
    return "Basic " + base64.b64encode(("%s:%s" % (user, password)).encode()).decode()


def quote(s):
    return urllib.parse.quote(s, safe="")


class Client:
    """mode: 'basic', 'bearer' (token on challenge, as clients do), 'none', or 'token' with a fixed one."""

    def __init__(self, hub, user=None, password=None, mode=None, token=None):
        self.hub, self.user, self.password, self.token = hub, user, password, token
        self.mode = mode or ("token" if token else "basic" if user else "none")
        self.tokens, self.local = {}, threading.local()
        if password:
            hub.secrets.add(password)
            hub.secrets.add(basic(user, password)[6:])

    # --- requests
    def conn(self):
        c = getattr(self.local, "conn", None)
        if c is None or not c.usable:
            if c is not None:
                c.close()
            c = self.local.conn = self.hub.connect()
        return c

    def close(self):
        c = getattr(self.local, "conn", None)
        if c is not None:
            c.close()
        self.local.conn = None

    def authorization(self, key):
        if self.mode == "basic":
            return basic(self.user, self.password)
        token = self.token if self.mode == "token" else self.tokens.get(key)
        return "Bearer " + token if token else None

    def once(self, method, path, headers, body, chunked, auth):
        items = list(headers.items()) if isinstance(headers, dict) else list(headers)
        if auth:
            items.append(("Authorization", auth))
        data = build(method, path, items, body, chunked, "%s:%d" % (self.hub.host, self.hub.port))
        for fresh in (False, True):
            if fresh:
                self.close()
            c = self.conn()
            first = not getattr(c, "used", False)
            c.used = True
            try:
                c.send_most(data)
                return c.answer(method)
            except Closed:
                if first or fresh:  # not an idle connection that was closed meanwhile
                    raise
        return None

    def request(self, method, path, headers=(), body=None, chunked=False):
        path = self.hub.path_of(path)
        m = re.match(r"/v2/(.+?)/(blobs|manifests|tags|referrers)/", path)
        key = (m.group(1) if m else "", method in ("GET", "HEAD"))
        a = self.once(method, path, headers, body, chunked, self.authorization(key))
        if a.status == 401 and self.mode == "bearer":
            self.tokens[key] = self.fetch_token(parse_challenge(a.get("WWW-Authenticate")).get("scope"))
            a = self.once(method, path, headers, body, chunked, self.authorization(key))
        return a

    def get(self, path, **kw):
        return self.request("GET", path, **kw)

    def head(self, path, **kw):
        return self.request("HEAD", path, **kw)

    def post(self, path, **kw):
        return self.request("POST", path, **kw)

    def put(self, path, **kw):
        return self.request("PUT", path, **kw)

    def patch(self, path, **kw):
        return self.request("PATCH", path, **kw)

    def delete(self, path, **kw):
        return self.request("DELETE", path, **kw)

    # --- tokens
    def token_answer(self, scopes=(), **more):
        query = [("service", self.hub.service)] + [("scope", s) for s in scopes] + list(more.items())
        auth = basic(self.user, self.password) if self.user else None
        return self.once("GET", "/token?" + urllib.parse.urlencode(query), (), None, False, auth)

    def fetch_token(self, *scopes):
        a = self.token_answer([s for s in scopes if s])
        assert a.status == 200, a
        token = a.json()["token"]
        self.hub.secrets.add(token)
        return token

    # --- content
    def start_upload(self, repo, query=""):
        a = self.post("/v2/%s/blobs/uploads/%s" % (repo, query))
        assert a.status == 202, a
        return a.get("Location")

    def finish(self, location, want, body=b"", **kw):
        sep = "&" if "?" in location else "?"
        return self.put(location + sep + "digest=" + quote(want), body=body, **kw)

    def push_blob(self, repo, data, alg="sha256"):
        want = digest(data, alg)
        a = self.finish(self.start_upload(repo), want, data)
        assert a.status == 201 and a.get("Docker-Content-Digest") == want, a
        return want

    def put_manifest(self, repo, ref, doc, media_type=None, query="", **kw):
        body = doc if isinstance(doc, bytes) else dumps(doc)
        if media_type is None:
            media_type = json.loads(body).get("mediaType", IMAGE)
        return self.put("/v2/%s/manifests/%s%s" % (repo, ref, query), headers=[("Content-Type", media_type)],
                        body=body, **kw)

    def push_image(self, repo, ref=None, seed=b"", layers=1, alg="sha256", **more):
        """Pushes config, layers and manifest; returns (digest, manifest bytes). ref None: by digest."""
        config = dumps({"architecture": "amd64", "os": "linux", "seed": seed.hex()})
        blobs = [b"layer %d of " % i + seed for i in range(layers)]
        for b in [config] + blobs:
            self.push_blob(repo, b, alg)
        doc = dumps(image_doc(descriptor(config, CONFIG, alg), [descriptor(b, LAYER, alg) for b in blobs], **more))
        want = digest(doc, alg)
        a = self.put_manifest(repo, ref or want, doc)
        assert a.status == 201, a
        return want, doc

    def pull(self, repo, ref):
        a = self.get("/v2/%s/manifests/%s" % (repo, ref))
        return a.body if a.status == 200 else None
