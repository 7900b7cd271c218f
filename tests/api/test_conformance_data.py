"""The data sets of the OCI conformance tool, each through push, tag list, head, pull, referrers and delete.

Own data and own code; the names are the tool's, so that spec_map.tsv can tell which is which.
"""
import base64
import os

import pytest
from registry import CONFIG, EMPTY, IMAGE, INDEX, LAYER, descriptor, digest, dumps, image_doc, index_doc

EXAMPLE = "application/vnd.example.thing.v1"


class Set:
    """What one data set pushes, in order."""

    def __init__(self, alg="sha256"):
        self.alg, self.blobs, self.manifests, self.tags = alg, [], [], {}
        self.params = False  # tags go as parameters of a push by digest

    def blob(self, content, media_type=LAYER, pushed=True, **more):
        if pushed:
            self.blobs.append(content)
        return dict(descriptor(content, media_type, self.alg), **more)

    def add(self, doc, media_type, tag=None):
        self.manifests.append((doc, media_type))
        if tag:
            self.tags[tag] = digest(doc, self.alg)
        return descriptor(doc, media_type, self.alg)

    def image(self, tag=None, layers=2, config=None, kind=CONFIG, layer_kind=LAYER, **more):
        config = dumps({"os": "linux", "x": os.urandom(6).hex()}) if config is None else config
        doc = image_doc(self.blob(config, kind), [self.blob(os.urandom(64), layer_kind) for _ in range(layers)], **more)
        return self.add(dumps(doc), IMAGE, tag)

    def index(self, tag=None, children=2, **more):
        kids = [dict(self.image(), platform={"os": "linux", "architecture": a})
                for a in ("amd64", "arm64")[:children]]
        return self.add(dumps(index_doc(kids, **more)), INDEX, tag)

    def artifact(self, tag=None, **more):
        return self.image(tag, 1, b"{}", EMPTY, EXAMPLE, **more)


def image():
    s = Set()
    s.image("image")
    return s


def image_uncompressed():
    s = Set()
    s.image("image-uncompressed", layer_kind=LAYER)
    return s


def large_manifest():
    s = Set()
    s.image("large-manifest", annotations={"a-%d" % i: "A" * 10000 for i in range(390)})
    return s


def index():
    s = Set()
    s.index("index")
    return s


def nested_index():
    s = Set()
    kids = [s.index(), s.index()]
    s.add(dumps(index_doc(kids)), INDEX, "index-of-index")
    return s


def empty_index():
    s = Set()
    s.index("index", 0)
    return s


def artifact():
    s = Set()
    s.artifact("artifact", artifactType=EXAMPLE)
    return s


def artifact_index():
    s = Set()
    kids = [s.artifact(artifactType=EXAMPLE) for _ in range(2)]
    s.add(dumps(index_doc(kids, artifactType=EXAMPLE)), INDEX, "artifact-index")
    return s


def artifact_without_layers():
    s = Set()
    doc = image_doc(s.blob(b"{}", EMPTY), [s.blob(b"{}", EMPTY)], artifactType=EXAMPLE)
    s.add(dumps(doc), IMAGE, "artifact-without-layers")
    return s


def artifacts_with_subject():
    s = Set()
    subject = s.image("image")
    s.image(subject=subject)
    s.artifact("tagged-artifact1", artifactType=EXAMPLE, subject=subject, annotations={"hello": "one"})
    s.artifact("tagged-artifact2", artifactType=EXAMPLE + ".2", subject=subject, annotations={"hello": "two"})
    return s


def index_with_subject():
    s = Set()
    subject = s.index("index")
    kids = [s.artifact()]
    s.add(dumps(index_doc(kids, artifactType=EXAMPLE, subject=subject, annotations={"k": "v"})), INDEX, "tagged")
    return s


def missing_subject():
    s = Set()
    s.artifact("tagged-artifact", artifactType=EXAMPLE, annotations={"k": "v"},
               subject=descriptor(b"missing content", IMAGE))
    return s


def data_field():
    s = Set()
    raw = dumps({"os": "linux"})
    config = s.blob(raw, CONFIG, data=base64.b64encode(raw).decode())
    layer = os.urandom(32)
    s.add(dumps(image_doc(config, [s.blob(layer, data=base64.b64encode(layer).decode())])), IMAGE, "data-field")
    return s


def nondistributable_layers():
    s = Set()
    away = [s.blob(os.urandom(32), "application/vnd.oci.image.layer.nondistributable.v1.tar" + z, False,
                   urls=["https://store.example.com/blobs/x"]) for z in ("+gzip", "")]
    s.add(dumps(image_doc(s.blob(b"{}", CONFIG), away + [s.blob(os.urandom(32))])), IMAGE, "non-distributable-image")
    return s


def custom_fields():
    s = Set()
    kids = [s.image(**{"org." + os.urandom(4).hex(): os.urandom(4).hex()}) for _ in range(2)]
    s.add(dumps(index_doc(kids, **{"org.x": {"deep": [1, {"y": None}]}})), INDEX, "custom-fields")
    return s


def no_layers():
    s = Set()
    s.image("no-layers", 0)
    return s


def sparse_manifests():
    s = Set()
    s.add(dumps(image_doc(s.blob(b"{}", CONFIG), [s.blob(os.urandom(32), pushed=False), s.blob(os.urandom(32))])),
          IMAGE, "sparse-image")
    s.add(dumps(index_doc([s.image(), descriptor(os.urandom(32), IMAGE)])), INDEX, "sparse-index")
    return s


def sha512():
    s = Set("sha512")
    s.index()
    return s


def tag_param():
    s = Set()
    s.index("tag-param-sha256")
    s.params = True
    for i, (doc, _) in enumerate(s.manifests):
        s.tags["tag-param-sha256-%d" % i] = digest(doc)
    return s


def tag_param_sha512():
    s = Set("sha512")
    s.index("tag-param-sha512")
    s.params = True
    for i, (doc, _) in enumerate(s.manifests):
        s.tags["tag-param-sha512-%d" % i] = digest(doc, "sha512")
    return s


SETS = [image, image_uncompressed, large_manifest, index, nested_index, empty_index, artifact, artifact_index,
        artifact_without_layers, artifacts_with_subject, index_with_subject, missing_subject, data_field,
        nondistributable_layers, custom_fields, no_layers, sparse_manifests, sha512, tag_param, tag_param_sha512]


def push(c, repo, s):
    for data in s.blobs:
        c.push_blob(repo, data, s.alg)
    for doc, kind in s.manifests:
        want = digest(doc, s.alg)
        tags = [t for t, d in s.tags.items() if d == want]
        if s.params:
            a = c.put_manifest(repo, want, doc, query="?" + "&".join("tag=" + t for t in tags))
            assert a.status == 201 and sorted(t.strip() for v in a.all("OCI-Tag") for t in v.split(",")) == sorted(tags), a
        for ref in [want] + ([] if s.params else tags):
            a = c.put_manifest(repo, ref, doc)
            assert a.status == 201 and a.get("Docker-Content-Digest") == want, a
            subject = subject_of(doc)
            assert a.get("OCI-Subject") == (subject["digest"] if subject else None), a
            assert c.get(a.get("Location")).body == doc


def subject_of(doc):
    import json
    return json.loads(doc).get("subject")


def check_content(c, repo, s):
    assert c.get("/v2/%s/tags/list" % repo).json() == {"name": repo, "tags": sorted(s.tags)}
    for data in s.blobs:
        a = c.get("/v2/%s/blobs/%s" % (repo, digest(data, s.alg)))
        assert a.status == 200 and a.body == data
        assert c.head("/v2/%s/blobs/%s" % (repo, digest(data, s.alg))).get("Content-Length") == str(len(data))
    for doc, kind in s.manifests:
        want = digest(doc, s.alg)
        for ref in [want] + [t for t, d in s.tags.items() if d == want]:
            g, h = c.get("/v2/%s/manifests/%s" % (repo, ref)), c.head("/v2/%s/manifests/%s" % (repo, ref))
            assert g.body == doc
            for a in (g, h):
                assert (a.status, a.get("Content-Type"), a.get("Docker-Content-Digest"), a.get("Content-Length")) == \
                    (200, kind, want, str(len(doc))), a


def expected_referrers(s, subject, only=None):
    import json
    out = []
    for doc, kind in s.manifests:
        m = json.loads(doc)
        if m.get("subject", {}).get("digest") != subject:
            continue
        d = descriptor(doc, kind, s.alg)
        at = m.get("artifactType") or m.get("config", {}).get("mediaType")
        if at:
            d["artifactType"] = at
        if m.get("annotations"):
            d["annotations"] = m["annotations"]
        if only is None or at == only:
            out.append(d)
    return sorted(out, key=lambda d: d["digest"])


def check_referrers(c, repo, s):
    subjects = {subject_of(doc)["digest"] for doc, _ in s.manifests if subject_of(doc)}
    for subject in subjects | {digest(doc, s.alg) for doc, _ in s.manifests}:
        for only in (None, EXAMPLE, CONFIG, "application/x-none"):
            a = c.get("/v2/%s/referrers/%s%s" % (repo, subject, "?artifactType=" + only if only else ""))
            assert a.status == 200 and a.get("Content-Type") == INDEX, a
            assert a.get("OCI-Filters-Applied") == ("artifactType" if only else None), a
            body = a.json()
            assert body["schemaVersion"] == 2 and body["mediaType"] == INDEX
            assert sorted(body["manifests"], key=lambda d: d["digest"]) == expected_referrers(s, subject, only), a


def delete_all(c, repo, s):
    for t in s.tags:
        assert c.delete("/v2/%s/manifests/%s" % (repo, t)).status == 202
        assert c.get("/v2/%s/manifests/%s" % (repo, t)).status == 404
    for doc, _ in reversed(s.manifests):
        path = "/v2/%s/manifests/%s" % (repo, digest(doc, s.alg))
        assert c.delete(path).status == 202
        assert c.get(path).status == 404 and c.head(path).status == 404
    for data in set(s.blobs):
        path = "/v2/%s/blobs/%s" % (repo, digest(data, s.alg))
        assert c.delete(path).status == 202
        assert c.head(path).status == 404
    assert c.get("/v2/%s/tags/list" % repo).json()["tags"] == []


@pytest.mark.parametrize("make", SETS, ids=lambda f: f.__name__)
def test_data_set(admin, repo, make):
    s = make()
    push(admin, repo, s)
    check_content(admin, repo, s)
    check_referrers(admin, repo, s)
    delete_all(admin, repo, s)
    check_referrers(admin, repo, Set(s.alg))


def test_bad_digest_image(admin, repo):
    s = Set()
    s.image()
    doc = s.manifests[0][0]
    a = admin.put_manifest(repo, digest(doc), doc + b"  ")
    assert a.status == 400 and a.code == "DIGEST_INVALID", a
    assert admin.get("/v2/%s/manifests/%s" % (repo, digest(doc))).status in (400, 404)


def test_empty_repository(admin, repo):
    """Before anything was pushed: tags 200 or 404, referrers of an unknown digest an empty index."""
    assert admin.get("/v2/%s/tags/list" % repo).status in (200, 404)
    for alg in ("sha256", "sha512"):
        a = admin.get("/v2/%s/referrers/%s" % (repo, digest(b"", alg)))
        assert a.status == 200 and a.json() == {"schemaVersion": 2, "mediaType": INDEX, "manifests": []}, a
