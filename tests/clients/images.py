"""What is pushed: a Debian root, busybox, an index of several platforms; as OCI layouts and as plain archives.

The layouts are written here, without a client's help, so that each client's bytes have something to be compared with.
"""
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile

from registry import CONFIG, IMAGE, INDEX, descriptor, digest, dumps, image_doc, index_doc
from suite import blob_path, say

TAR = "application/vnd.oci.image.layer.v1.tar"
GZIP = TAR + "+gzip"
EPOCH = 1700000000


def tar_of(files):
    """files: {name: bytes, or (bytes, mode), or a str: symlink}"""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as t:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.mtime, info.mode = EPOCH, 0o644
            if content is None:
                info.type, info.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
            else:
                if isinstance(content, tuple):
                    content, info.mode = content
                info.size = len(content)
            t.addfile(info, io.BytesIO(content) if info.isreg() else None)
    return out.getvalue()


def packed(data):
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0, compresslevel=6) as z:
        z.write(data)
    return out.getvalue()


class Layout:
    """An OCI layout under construction."""

    def __init__(self, path):
        self.path, self.rows = path, []
        os.makedirs(path + "/blobs/sha256")
        with open(path + "/oci-layout", "w") as f:
            f.write('{"imageLayoutVersion":"1.0.0"}')

    def add(self, data, media_type, **more):
        d = descriptor(data, media_type, **more)
        with open(blob_path(self.path, d["digest"]), "wb") as f:
            f.write(data)
        return d

    def image(self, layers, arch="amd64", variant=None, layer_type=GZIP):
        """layers: [(bytes as stored, bytes unpacked or their digest)]; returns the manifest's descriptor."""
        diff = [d if isinstance(d, str) else digest(d) for _, d in layers]
        platform = {"architecture": arch, "os": "linux"}
        if variant:
            platform["variant"] = variant
        doc = dict(platform, created="2023-11-14T22:13:20Z", config={"Cmd": ["/bin/sh"]},
                   rootfs={"type": "layers", "diff_ids": diff},
                   history=[{"created": "2023-11-14T22:13:20Z", "created_by": "layer %d" % i} for i in range(len(diff))])
        body = image_doc(self.add(dumps(doc), CONFIG), [self.add(data, layer_type) for data, _ in layers])
        return dict(self.add(dumps(body), IMAGE), platform=platform)

    def index(self, manifests, **more):
        return self.add(dumps(index_doc(manifests, **more)), INDEX)

    def finish(self, root, tag="latest"):
        row = {k: root[k] for k in ("mediaType", "digest", "size")}
        row["annotations"] = {"org.opencontainers.image.ref.name": tag}
        with open(self.path + "/index.json", "w") as f:
            json.dump({"schemaVersion": 2, "manifests": [row]}, f)
        return root["digest"]


class Images:
    def __init__(self, work, debian):
        self.dir, self.debian_tar = os.path.join(work, "images"), debian
        os.makedirs(self.dir)
        with open(shutil.which("busybox", path="/bin:/usr/bin:/sbin:/usr/sbin"), "rb") as f:
            self.busybox_program = f.read()
        self.busybox_files = {"bin/": None, "bin/busybox": (self.busybox_program, 0o755), "bin/sh": "busybox",
                              "bin/cat": "busybox", "bin/ls": "busybox", "bin/sha256sum": "busybox", "etc/": None,
                              "etc/passwd": b"root:x:0:0:root:/:/bin/sh\n", "tmp/": None}
        self.busybox_tar = self.write("busybox.tar", tar_of(self.busybox_files))
        self.busybox_layer = packed(tar_of(self.busybox_files))
        self.make_busybox()
        self.make_debian()
        self.make_platforms()
        self.make_nested()
        self.make_plain()

    def write(self, name, data):
        path = os.path.join(self.dir, name)
        with open(path, "wb") as f:
            f.write(data)
        return path

    def path(self, name):
        return os.path.join(self.dir, name)

    def make_busybox(self):
        out = Layout(self.path("busybox"))
        notes = tar_of({"etc/motd": b"one more layer\n"})
        self.busybox = out.finish(out.image([(self.busybox_layer, tar_of(self.busybox_files)), (packed(notes), notes)]))

    def make_debian(self):
        """One layer: the archive of debootstrap as it is in the cache."""
        out = Layout(self.path("debian"))
        with open(self.debian_tar, "rb") as f:
            data = f.read()
        inner = hashlib.sha256()
        with gzip.open(self.debian_tar) as f:
            for block in iter(lambda: f.read(1 << 20), b""):
                inner.update(block)
        self.debian = out.finish(out.image([(data, "sha256:" + inner.hexdigest())]))

    def make_platforms(self):
        """Four platforms that share one layer; also an attestation child as buildx writes it."""
        out = Layout(self.path("platforms"))
        children = []
        for arch, variant in (("amd64", None), ("arm64", "v8"), ("arm", "v7"), ("s390x", None)):
            own = tar_of({"etc/arch": ("%s%s\n" % (arch, variant or "")).encode()})
            children.append(out.image([(self.busybox_layer, tar_of(self.busybox_files)), (packed(own), own)], arch, variant))
        statement = dumps({"_type": "https://in-toto.io/Statement/v0.1", "predicateType": "https://slsa.dev/provenance/v0.2"})
        config = dumps({"architecture": "unknown", "os": "unknown", "rootfs": {"type": "layers", "diff_ids": [digest(statement)]}})
        doc = dumps(image_doc(out.add(config, CONFIG), [out.add(statement, "application/vnd.in-toto+json")]))
        children.append(dict(out.add(doc, IMAGE), platform={"architecture": "unknown", "os": "unknown"}, annotations={
            "vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": children[0]["digest"]}))
        self.platforms = out.finish(out.index(children))
        self.platform_children = [c["digest"] for c in children]

    def make_nested(self):
        """An index of indexes, with foreign annotations that must survive."""
        out = Layout(self.path("nested"))
        inner = []
        for i in range(2):
            own = tar_of({"etc/number": b"%d\n" % i})
            inner.append(out.index([out.image([(packed(own), own)])], annotations={"test.inner": str(i), "test.text": "ä€😀"}))
        self.nested = out.finish(out.index(inner))

    def make_plain(self):
        """Layers as bare tar, of files that no other image has."""
        out = Layout(self.path("plain"))
        layers = [tar_of({"text%d" % i: b"%d a line of text\n" % i * 100000}) for i in range(2)]
        self.plain = out.finish(out.image([(data, data) for data in layers], layer_type=TAR))


def debian_root(cache):
    """The archive of a minimal Debian root, made by debootstrap once and kept in the cache."""
    path = os.path.join(cache, "debian-bookworm-minbase.tar.gz")
    if os.path.exists(path):
        return path
    say("making a Debian root with debootstrap (once, then cached)")
    root = os.path.join(cache, "debootstrap.%d" % os.getpid())
    mirror = os.environ.get("DEBIAN_MIRROR") or machine_mirror()
    try:
        for _ in range(3):  # a mirror may be away for a moment
            done = subprocess.run(["debootstrap", "--variant=minbase", "bookworm", root, mirror], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, universal_newlines=True)
            if done.returncode == 0:
                break
            shutil.rmtree(root, ignore_errors=True)
        else:
            raise SystemExit("clients: debootstrap failed\n" + done.stdout[-3000:])
        part = path + ".part"
        subprocess.run(["tar", "-C", root, "--numeric-owner", "--sort=name", "--exclude=./var/cache/apt/archives/*.deb",
                        "--exclude=./dev/*", "--exclude=./proc/*", "--exclude=./sys/*", "-I", "gzip -6 -n", "-cf", part,
                        "."], check=True)
        os.rename(part, path)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return path


def machine_mirror():
    """The mirror that this machine installs from."""
    said = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages"],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, universal_newlines=True).stdout
    for line in said.splitlines():
        uri, _, codename = line.partition(" ")
        if codename.strip() == "bookworm" and uri.rstrip("/").endswith("/debian"):
            return uri
    return "http://deb.debian.org/debian"
