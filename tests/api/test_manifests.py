"""PUT, GET, HEAD and DELETE of manifests (specification: "Pushing Manifests", "Pulling manifests", "Deleting ...")."""
import json
import os

import pytest
from registry import (CONFIG, DOCKER_IMAGE, DOCKER_LIST, IMAGE, INDEX, LAYER, descriptor, digest, dumps, image_doc,
                      index_doc, quote)

ALGS = ("sha256", "sha512")
EMPTY_CONFIG = descriptor(b"{}", CONFIG)


def check_put(c, a, repo, ref, doc, alg="sha256"):
    want = digest(doc, alg)
    assert a.status == 201 and a.get("Docker-Content-Digest") == want, a
    path = c.hub.path_of(a.get("Location"))
    assert path.startswith("/v2/%s/manifests/" % repo)
    assert c.get(path).body == doc


def check_get(c, repo, ref, doc, media_type, want):
    path = "/v2/%s/manifests/%s" % (repo, ref)
    g, h = c.get(path), c.head(path)
    assert g.status == 200 and g.body == doc, g
    for a in (g, h):
        assert a.status == 200 and a.get("Content-Type") == media_type, a
        assert a.get("Content-Length") == str(len(doc)) and a.get("Docker-Content-Digest") == want, a


@pytest.mark.parametrize("media_type", [IMAGE, INDEX, DOCKER_IMAGE, DOCKER_LIST])
@pytest.mark.parametrize("by", ["tag", "digest"])
def test_put_and_get(admin, repo, media_type, by):
    if media_type in (IMAGE, DOCKER_IMAGE):
        admin.push_blob(repo, b"{}")
        doc = dumps(image_doc(EMPTY_CONFIG, [], mediaType=media_type))
    else:
        doc = dumps(index_doc([], mediaType=media_type))
    ref = "v1.0_x-Y" if by == "tag" else digest(doc)
    check_put(admin, admin.put_manifest(repo, ref, doc), repo, ref, doc)
    check_get(admin, repo, digest(doc), doc, media_type, digest(doc))
    if by == "tag":
        check_get(admin, repo, ref, doc, media_type, digest(doc))


def test_bytes_are_kept_exactly(admin, repo):
    """Unknown fields, order, white space, escapes: what came is what goes out."""
    odd = [
        b'{\n\t"layers":[],"zz" : {"a":[1,2.50,-0,1e3,null,true]} ,"config":' + dumps(EMPTY_CONFIG) +
        b', "schemaVersion":2,"mediaType":"' + IMAGE.encode() + b'"\r\n}',
        b'{"schemaVersion":2,"mediaType":"' + IMAGE.encode() + b'","config":' + dumps(EMPTY_CONFIG) +
        b',"layers":[],"annotations":{"\\u00fc\\ud83d\\ude00":"\\/\\n","\xc3\xbc2":"\xf0\x9f\x98\x80"}}',
    ]
    for i, doc in enumerate(odd):
        a = admin.put_manifest(repo, "t%d" % i, doc, IMAGE)
        check_put(admin, a, repo, "t%d" % i, doc)
        check_get(admin, repo, digest(doc), doc, IMAGE, digest(doc))


def test_content_type_parameters_are_ignored(admin, repo):
    doc = dumps(index_doc([]))
    a = admin.put_manifest(repo, "t", doc, INDEX + "; charset=utf-8")
    assert a.status == 201, a
    assert admin.get("/v2/%s/manifests/t" % repo).get("Content-Type") == INDEX


def test_media_type_field_may_be_missing(admin, repo):
    doc = dumps({"schemaVersion": 2, "manifests": []})
    assert admin.put_manifest(repo, "t", doc, INDEX).status == 201
    check_get(admin, repo, "t", doc, INDEX, digest(doc))


@pytest.mark.parametrize("accept", [None, "*/*", IMAGE, INDEX, "application/json", "text/html;q=0.1",
                                    ", ".join([DOCKER_IMAGE, DOCKER_LIST, IMAGE, INDEX, "*/*"])])
def test_accept_never_changes_the_bytes(admin, repo, accept):
    """Negotiation is undefined in the specification: what is stored is served."""
    d, doc = admin.push_image(repo, "t")
    headers = [("Accept", accept)] if accept else []
    a = admin.get("/v2/%s/manifests/t" % repo, headers=headers)
    assert a.status == 200 and a.body == doc and a.get("Content-Type") == IMAGE


def test_repeated_accept_headers(admin, repo):
    d, doc = admin.push_image(repo, "t")
    a = admin.get("/v2/%s/manifests/t" % repo, headers=[("Accept", t) for t in (IMAGE, INDEX, DOCKER_LIST, "*/*")])
    assert a.body == doc


def test_chunked_body(admin, repo):
    doc = dumps(index_doc([]))
    check_put(admin, admin.put_manifest(repo, "t", doc, chunked=True), repo, "t", doc)


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
@pytest.mark.parametrize("ref", ["missing", digest(b"missing"), digest(b"missing", "sha512")])
def test_unknown_manifest(admin, repo, method, ref):
    admin.push_image(repo, "there")
    a = admin.request(method, "/v2/%s/manifests/%s" % (repo, ref))
    assert a.status == 404, a
    assert method == "HEAD" or a.code == "MANIFEST_UNKNOWN", a


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_unknown_repository(admin, repo, method):
    for ref in ("latest", digest(b"")):
        a = admin.request(method, "/v2/%s/manifests/%s" % (repo, ref))
        assert a.status == 404, a
        assert method == "HEAD" or a.code == "NAME_UNKNOWN", a


@pytest.mark.parametrize("ref", ["sha256:baddigeststring", "sha256:" + "A" * 64, "sha256:" + "0" * 63, "md5:" + "0" * 32,
                                 "sha512:" + "0" * 64, "a:b"])
def test_malformed_digest_reference(admin, repo, ref):
    admin.push_image(repo, "t")
    a = admin.put_manifest(repo, ref, index_doc([]))
    assert a.status == 400 and a.code == "DIGEST_INVALID", a
    a = admin.get("/v2/%s/manifests/%s" % (repo, ref))
    assert a.status in (400, 404) and a.code == "DIGEST_INVALID", a


@pytest.mark.parametrize("tag", ["-x", ".x", "a" * 129, "a+b", "a@b", "%20", "a%2Fb", "%C3%BC", "a~", "a!b", "%00"])
def test_invalid_tag(admin, repo, tag):
    for a in (admin.put_manifest(repo, tag, index_doc([])), admin.delete("/v2/%s/manifests/%s" % (repo, tag)),
              admin.get("/v2/%s/manifests/%s" % (repo, tag))):
        assert a.status == 400 and a.code in ("TAG_INVALID", "DIGEST_INVALID", "UNSUPPORTED"), a


@pytest.mark.parametrize("tag", ["a", "_", "A" * 128, "0", "_-.x", "1.2.3-rc_4", "latest", "list", "sha256-" + "a" * 64,
                                 "uploads"])
def test_valid_tag(admin, repo, tag):
    doc = dumps(index_doc([]))
    check_put(admin, admin.put_manifest(repo, tag, doc), repo, tag, doc)
    check_get(admin, repo, tag, doc, INDEX, digest(doc))


@pytest.mark.parametrize("alg", ALGS)
def test_wrong_digest(admin, repo, alg):
    doc = dumps(index_doc([]))
    a = admin.put_manifest(repo, digest(doc + b" ", alg), doc)
    assert a.status == 400 and a.code == "DIGEST_INVALID", a
    assert admin.get("/v2/%s/manifests/%s" % (repo, digest(doc + b" ", alg))).status == 404


def test_sha512_by_digest(admin, repo):
    """A whole index with children, all named by sha512."""
    d1, doc1 = admin.push_image(repo, None, b"1", alg="sha512")
    d2, doc2 = admin.push_image(repo, None, b"2", alg="sha512")
    doc = dumps(index_doc([descriptor(doc1, IMAGE, "sha512"), descriptor(doc2, IMAGE, "sha512")]))
    want = digest(doc, "sha512")
    check_put(admin, admin.put_manifest(repo, want, doc), repo, want, doc, "sha512")
    check_get(admin, repo, want, doc, INDEX, want)
    check_get(admin, repo, d1, doc1, IMAGE, d1)
    assert admin.get("/v2/%s/manifests/%s" % (repo, digest(doc))).status == 404  # no aliases


@pytest.mark.parametrize("alg", ALGS)
def test_tag_parameters(admin, repo, alg):
    doc = dumps(index_doc([]))
    want, tags = digest(doc, alg), ["1.2.3", "1.2", "1", "latest"]
    a = admin.put_manifest(repo, want, doc, query="?" + "&".join("tag=" + t for t in tags))
    check_put(admin, a, repo, want, doc, alg)
    assert oci_tags(a) == tags
    for t in tags:
        check_get(admin, repo, t, doc, INDEX, want)


def oci_tags(a):
    """RFC 9110 5.3: several lines, or one with commas."""
    return [t.strip() for v in a.all("OCI-Tag") for t in v.split(",")]


@pytest.mark.parametrize("count", [10, 32, 100])
def test_many_tag_parameters(admin, repo, count):
    doc = dumps(index_doc([]))
    tags = ["tag-%d" % i for i in range(count)]
    a = admin.put_manifest(repo, digest(doc), doc, query="?" + "&".join("tag=" + t for t in tags))
    assert a.status == 201 and oci_tags(a) == tags, a
    assert len(a.headers) < 40  # proxies refuse an answer of more than 100 lines
    assert set(admin.get("/v2/%s/tags/list" % repo).json()["tags"]) == set(tags)


def test_too_many_tag_parameters(admin, repo):
    doc = dumps(index_doc([]))
    a = admin.put_manifest(repo, digest(doc), doc, query="?" + "&".join("tag=t%d" % i for i in range(2000)))
    assert a.status in (414, 431), a
    a = admin.put_manifest(repo, digest(doc), doc, query="?" + "&".join("tag=t%d" % i for i in range(200)))
    assert a.status in (201, 414), a
    assert a.status == 201 or admin.get("/v2/%s/manifests/t0" % repo).status == 404  # all or nothing


def test_tag_parameter_duplicates_and_mistakes(admin, repo):
    doc = dumps(index_doc([]))
    a = admin.put_manifest(repo, digest(doc), doc, query="?tag=a&tag=a&tag=b")
    assert a.status == 201 and sorted(oci_tags(a)) == ["a", "b"], a
    for bad in ("-x", "", "a%20b", "%zz", "a" * 129):
        a = admin.put_manifest(repo, digest(doc), doc, query="?tag=good&tag=" + bad)
        assert a.status == 400 and a.code == "TAG_INVALID", a
    assert admin.get("/v2/%s/manifests/good" % repo).status == 404


def test_tag_parameter_moves_a_tag(admin, repo):
    d1, doc1 = admin.push_image(repo, "t", b"1")
    doc2 = dumps(index_doc([]))
    assert admin.put_manifest(repo, digest(doc2), doc2, query="?tag=t").status == 201
    assert admin.pull(repo, "t") == doc2 and admin.pull(repo, d1) == doc1


def test_tag_moves(admin, repo):
    d1, doc1 = admin.push_image(repo, "t", b"1")
    d2, doc2 = admin.push_image(repo, "t", b"2")
    check_get(admin, repo, "t", doc2, IMAGE, d2)
    check_get(admin, repo, d1, doc1, IMAGE, d1)
    admin.put_manifest(repo, "t", doc1)
    check_get(admin, repo, "t", doc1, IMAGE, d1)


def test_sparse_manifests(admin, repo):
    """Layers and children that nobody pushed are accepted, with a warning; they stay unknown."""
    missing = descriptor(b"never pushed")
    admin.push_blob(repo, b"{}")
    doc = dumps(image_doc(EMPTY_CONFIG, [missing]))
    a = admin.put_manifest(repo, "t", doc)
    assert a.status == 201 and a.all("Warning"), a
    assert admin.get("/v2/%s/blobs/%s" % (repo, missing["digest"])).status == 404
    child = descriptor(b"nor this", IMAGE)
    index = dumps(index_doc([descriptor(doc, IMAGE), child]))
    assert admin.put_manifest(repo, "i", index).status == 201
    check_get(admin, repo, "i", index, INDEX, digest(index))
    assert admin.get("/v2/%s/manifests/%s" % (repo, child["digest"])).status == 404


def test_a_complete_manifest_brings_no_warning(admin, repo):
    d, doc = admin.push_image(repo, "t", b"w")
    a = admin.put_manifest(repo, "t", doc)
    assert a.status == 201 and not a.all("Warning"), a


def test_large_manifest(admin, repo):
    """4 MiB are taken; this one is what the conformance tool sends."""
    admin.push_blob(repo, b"{}")
    doc = dumps(image_doc(EMPTY_CONFIG, [], annotations={"large-%d" % i: "A" * 10000 for i in range(390)}))
    check_put(admin, admin.put_manifest(repo, "big", doc), repo, "big", doc)
    check_get(admin, repo, digest(doc), doc, IMAGE, digest(doc))
    assert admin.put_manifest(repo, "big2", doc, chunked=True).status == 201


def test_data_field(admin, repo):
    import base64
    config = dict(EMPTY_CONFIG, data=base64.b64encode(b"{}").decode())
    admin.push_blob(repo, b"{}")
    doc = dumps(image_doc(config, []))
    check_put(admin, admin.put_manifest(repo, "t", doc), repo, "t", doc)


def test_urls_only_layers(admin, repo):
    admin.push_blob(repo, b"{}")
    layer = descriptor(b"elsewhere", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
                       urls=["https://store.example.com/x"])
    doc = dumps(image_doc(EMPTY_CONFIG, [layer]))
    check_put(admin, admin.put_manifest(repo, "t", doc), repo, "t", doc)


@pytest.mark.parametrize("kind", [IMAGE, INDEX])
def test_without_content_type_the_document_says_it(admin, repo, kind):
    """Clients SHOULD send it, so some do not."""
    admin.push_blob(repo, b"{}")
    doc = dumps(image_doc(EMPTY_CONFIG, []) if kind == IMAGE else index_doc([]))
    assert b'"mediaType":"%s"' % kind.encode() in doc.replace(b" ", b"")
    assert admin.put("/v2/%s/manifests/t" % repo, headers=[], body=doc).status == 201
    check_get(admin, repo, "t", doc, kind, digest(doc))
    a = admin.put("/v2/%s/manifests/t" % repo, headers=[], body=b'{"schemaVersion":2,"manifests":[]}')
    assert a.status == 400 and a.code == "MANIFEST_INVALID" and IMAGE in a.message, a


@pytest.mark.parametrize("media_type", ["", "text/plain", "application/json", "application/octet-stream",
                                        "application/vnd.docker.distribution.manifest.v1+prettyjws", "*/*"])
def test_content_type_that_is_no_manifest(admin, repo, media_type):
    doc = {k: v for k, v in index_doc([]).items() if k != "mediaType"}
    a = admin.put("/v2/%s/manifests/t" % repo, headers=[("Content-Type", media_type)], body=dumps(doc))
    assert a.status == 400 and a.code == "MANIFEST_INVALID", a
    assert IMAGE in a.message, a


def test_delete_by_digest_takes_its_tags(admin, repo):
    d, doc = admin.push_image(repo, "a")
    admin.put_manifest(repo, "b", doc)
    other, other_doc = admin.push_image(repo, "c", b"other")
    a = admin.delete("/v2/%s/manifests/%s" % (repo, d))
    assert a.status == 202, a
    for ref in (d, "a", "b"):
        assert admin.get("/v2/%s/manifests/%s" % (repo, ref)).status == 404
        assert admin.head("/v2/%s/manifests/%s" % (repo, ref)).status == 404
    assert admin.get("/v2/%s/tags/list" % repo).json()["tags"] == ["c"]
    assert admin.pull(repo, "c") == other_doc
    assert admin.delete("/v2/%s/manifests/%s" % (repo, d)).status == 404
    admin.put_manifest(repo, "a", doc)
    assert admin.pull(repo, "a") == doc


def test_delete_of_a_tag_leaves_digest_and_siblings(admin, repo):
    d, doc = admin.push_image(repo, "a")
    admin.put_manifest(repo, "b", doc)
    a = admin.delete("/v2/%s/manifests/a" % repo)
    assert a.status == 202, a
    assert admin.get("/v2/%s/manifests/a" % repo).status == 404
    assert admin.pull(repo, "b") == doc and admin.pull(repo, d) == doc
    assert admin.delete("/v2/%s/manifests/a" % repo).status == 404


def test_tag_delete_by_dummy_manifest(admin, repo):
    """regclient's fallback on other servers: retag to a dummy, delete the dummy's digest; siblings stay."""
    d, doc = admin.push_image(repo, "keep")
    admin.put_manifest(repo, "gone", doc)
    dummy = dumps(index_doc([], annotations={"dummy": os.urandom(8).hex()}))
    admin.put_manifest(repo, "gone", dummy)
    assert admin.delete("/v2/%s/manifests/%s" % (repo, digest(dummy))).status == 202
    assert admin.get("/v2/%s/manifests/gone" % repo).status == 404 and admin.pull(repo, "keep") == doc


def test_delete_of_an_index_leaves_its_children(admin, repo):
    d, doc = admin.push_image(repo, None)
    index = dumps(index_doc([descriptor(doc, IMAGE)]))
    admin.put_manifest(repo, "i", index)
    assert admin.delete("/v2/%s/manifests/%s" % (repo, digest(index))).status == 202
    assert admin.pull(repo, d) == doc


def test_manifests_belong_to_their_repository(admin, repo):
    d, doc = admin.push_image(repo, "t")
    admin.push_image(repo + "-b", "u", b"b")
    assert admin.get("/v2/%s-b/manifests/%s" % (repo, d)).status == 404
    assert admin.get("/v2/%s-b/manifests/t" % repo).status == 404


def test_if_none_match(admin, repo):
    d, doc = admin.push_image(repo, "t")
    a = admin.get("/v2/%s/manifests/t" % repo)
    b = admin.get("/v2/%s/manifests/t" % repo, headers=[("If-None-Match", a.get("ETag"))])
    assert b.status == 304 and b.get("Docker-Content-Digest") == d, b
    admin.push_image(repo, "t", b"2")
    assert admin.get("/v2/%s/manifests/t" % repo, headers=[("If-None-Match", a.get("ETag"))]).status == 200


def test_unknown_json_fields_and_types_of_artifacts(admin, repo):
    """Helm, WASM, signatures, CNAB, AI models: no list of allowed types."""
    for i, kind in enumerate(["application/vnd.cncf.helm.config.v1+json", "application/vnd.wasm.config.v0+json",
                              "application/vnd.dev.cosign.simplesigning.v1+json", "application/x-anything"]):
        admin.push_blob(repo, b"{}")
        doc = dumps(image_doc(descriptor(b"{}", kind), [], artifactType=kind, **{"x-custom": {"y": [i]}}))
        check_put(admin, admin.put_manifest(repo, "t%d" % i, doc), repo, "t%d" % i, doc)
        assert json.loads(admin.pull(repo, "t%d" % i))["x-custom"] == {"y": [i]}


def test_push_again_is_created_again(admin, repo):
    d, doc = admin.push_image(repo, "t")
    for _ in range(3):
        check_put(admin, admin.put_manifest(repo, "t", doc), repo, "t", doc)
    assert admin.get("/v2/%s/tags/list" % repo).json()["tags"] == ["t"]


def test_duplicate_descriptors(admin, repo):
    """The same layer or child twice (Quay PROJQUAY-10068)."""
    admin.push_blob(repo, b"{}")
    admin.push_blob(repo, b"layer")
    layer = descriptor(b"layer", LAYER)
    doc = dumps(image_doc(EMPTY_CONFIG, [layer, layer, layer]))
    check_put(admin, admin.put_manifest(repo, "t", doc), repo, "t", doc)
    index = dumps(index_doc([descriptor(doc, IMAGE), descriptor(doc, IMAGE)]))
    check_put(admin, admin.put_manifest(repo, "i", index), repo, "i", index)


def test_reference_percent_encoded(admin, repo):
    d, doc = admin.push_image(repo, "t.1")
    assert admin.pull(repo, quote(d)) == doc
    assert admin.pull(repo, "t%2e1") == doc
