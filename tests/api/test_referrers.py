"""Referrers (specification: "Listing Referrers", "Pushing Manifests with Subject")."""
import os
import urllib.parse

import pytest
from registry import CONFIG, EMPTY, IMAGE, INDEX, descriptor, digest, dumps, image_doc, index_doc
from test_tags import next_of


def referrers(c, repo, subject, query=""):
    a = c.get("/v2/%s/referrers/%s%s" % (repo, subject, query))
    assert a.status == 200 and a.get("Content-Type") == INDEX, a
    doc = a.json()
    assert doc["schemaVersion"] == 2 and doc["mediaType"] == INDEX and isinstance(doc["manifests"], list)
    return a, doc["manifests"]


def attach(c, repo, subject, ref=None, config_type=EMPTY, index=False, **more):
    """subject: descriptor. Returns (digest, answer, document)."""
    if index:
        doc = dumps(index_doc([], subject=subject, **more))
    else:
        c.push_blob(repo, b"{}")
        doc = dumps(image_doc(descriptor(b"{}", config_type), [], subject=subject, **more))
    a = c.put_manifest(repo, ref or digest(doc), doc)
    assert a.status == 201, a
    return digest(doc), a, doc


@pytest.fixture
def subject(admin, repo):
    d, doc = admin.push_image(repo, "image", os.urandom(4))
    return descriptor(doc, IMAGE)


@pytest.mark.parametrize("index", [False, True], ids=["image", "index"])
@pytest.mark.parametrize("ref", [None, "tagged"], ids=["digest", "tag"])
def test_oci_subject_header(admin, repo, subject, index, ref):
    _, a, _ = attach(admin, repo, subject, ref, index=index)
    assert a.get("OCI-Subject") == subject["digest"]


def test_no_oci_subject_without_subject(admin, repo):
    a = admin.put_manifest(repo, "t", index_doc([]))
    assert a.status == 201 and a.get("OCI-Subject") is None


def test_entries(admin, repo, subject):
    """size, type, annotations; artifactType from the manifest, else the config's type, else none (index)."""
    notes = {"org.example.b": "2", "org.example.a": "ü\n\"\\"}
    kinds = [
        (dict(artifactType="application/x.sbom", annotations=notes), "application/x.sbom"),
        (dict(config_type="application/x.config"), "application/x.config"),
        (dict(artifactType="", config_type="application/x.config2"), "application/x.config2"),
        (dict(index=True), None),
        (dict(index=True, artifactType="application/x.list", annotations=notes), "application/x.list"),
    ]
    want = []
    for more, kind in kinds:
        d, _, doc = attach(admin, repo, subject, **dict(more))
        entry = descriptor(doc, INDEX if more.get("index") else IMAGE)
        if kind:
            entry["artifactType"] = kind
        if more.get("annotations"):
            entry["annotations"] = notes
        want.append(entry)
    _, got = referrers(admin, repo, subject["digest"])
    assert sorted(got, key=lambda d: d["digest"]) == sorted(want, key=lambda d: d["digest"])


def test_filter(admin, repo, subject):
    for kind in ("application/x.a", "application/x.b", "application/x.a"):
        attach(admin, repo, subject, artifactType=kind, annotations={"n": os.urandom(4).hex()})
    a, got = referrers(admin, repo, subject["digest"], "?artifactType=application/x.a")
    assert a.get("OCI-Filters-Applied") == "artifactType"
    assert [g["artifactType"] for g in got] == ["application/x.a"] * 2
    a, got = referrers(admin, repo, subject["digest"], "?artifactType=application%2Fx.none")
    assert a.get("OCI-Filters-Applied") == "artifactType" and got == []
    a, got = referrers(admin, repo, subject["digest"])
    assert a.get("OCI-Filters-Applied") is None and len(got) == 3


@pytest.mark.parametrize("form", ["application/x.t+json", "application%2Fx.t%2Bjson"])
def test_filter_with_a_plus(admin, repo, subject, form):
    """Clients differ in whether they encode it."""
    d, _, _ = attach(admin, repo, subject, artifactType="application/x.t+json")
    _, got = referrers(admin, repo, subject["digest"], "?artifactType=" + form)
    assert [g["digest"] for g in got] == [d]


def test_filter_that_is_no_media_type(admin, repo, subject):
    for bad in ("%00", "%0d%0ax", "a" * 5000, "%zz"):
        a = admin.get("/v2/%s/referrers/%s?artifactType=%s" % (repo, subject["digest"], bad))
        assert a.status == 400, a


@pytest.mark.parametrize("alg", ["sha256", "sha512"])
def test_never_404(admin, repo, alg):
    """An unknown digest, in a repository or where none is: an empty index."""
    _, got = referrers(admin, repo, digest(b"?", alg))
    assert got == []
    admin.push_blob(repo, b"x")
    _, got = referrers(admin, repo, digest(b"?", alg))
    assert got == []


@pytest.mark.parametrize("bad", ["sha256:abc", "latest", "sha256:" + "A" * 64, "md5:" + "0" * 32, "sha256:" + "0" * 65,
                                 "sha512:" + "0" * 64])
def test_malformed_digest(admin, repo, bad):
    a = admin.get("/v2/%s/referrers/%s" % (repo, bad))
    assert a.status == 400 and a.code == "DIGEST_INVALID", a


@pytest.mark.parametrize("alg", ["sha256", "sha512"])
def test_missing_subject(admin, repo, alg):
    """Referrer first, subject later or never."""
    late = dumps(index_doc([], annotations={"late": "yes"}))
    subject = descriptor(late, INDEX, alg)
    d, a, _ = attach(admin, repo, subject)
    assert a.get("OCI-Subject") == subject["digest"]
    _, got = referrers(admin, repo, subject["digest"])
    assert [g["digest"] for g in got] == [d]
    assert admin.get("/v2/%s/manifests/%s" % (repo, subject["digest"])).status == 404
    assert admin.put_manifest(repo, subject["digest"], late).status == 201
    _, got = referrers(admin, repo, subject["digest"])
    assert [g["digest"] for g in got] == [d]


def test_referrers_by_the_algorithm_of_the_subject(admin, repo, subject):
    """A referrer of sha512:… is none of the same bytes' sha256:…"""
    d, doc = admin.push_image(repo, None, b"both")
    assert admin.put_manifest(repo, digest(doc, "sha512"), doc).status == 201
    attach(admin, repo, descriptor(doc, IMAGE, "sha512"))
    assert referrers(admin, repo, d)[1] == []
    assert len(referrers(admin, repo, digest(doc, "sha512"))[1]) == 1


def test_delete_of_a_referrer(admin, repo, subject):
    d1, _, _ = attach(admin, repo, subject, annotations={"n": "1"})
    d2, _, _ = attach(admin, repo, subject, annotations={"n": "2"})
    assert admin.delete("/v2/%s/manifests/%s" % (repo, d1)).status == 202
    assert [g["digest"] for g in referrers(admin, repo, subject["digest"])[1]] == [d2]


def test_delete_of_the_subject_leaves_the_list(admin, repo, subject):
    d, _, _ = attach(admin, repo, subject)
    assert admin.delete("/v2/%s/manifests/%s" % (repo, subject["digest"])).status == 202
    assert [g["digest"] for g in referrers(admin, repo, subject["digest"])[1]] == [d]


def test_untagging_a_referrer_keeps_it(admin, repo, subject):
    d, _, _ = attach(admin, repo, subject, ref="sig")
    assert admin.delete("/v2/%s/manifests/sig" % repo).status == 202
    assert [g["digest"] for g in referrers(admin, repo, subject["digest"])[1]] == [d]


def test_referrers_of_another_repository_do_not_show(admin, repo, subject):
    attach(admin, repo + "-b", subject)
    assert referrers(admin, repo, subject["digest"])[1] == []
    assert len(referrers(admin, repo + "-b", subject["digest"])[1]) == 1


def test_pages_by_link(admin, repo, subject):
    want = set()
    for i in range(7):
        want.add(attach(admin, repo, subject, artifactType="application/x.p", annotations={"i": str(i)})[0])
    for query in ("?n=2", "?n=2&artifactType=application/x.p", "?artifactType=application/x.p&n=3"):
        seen, target, pages = [], "/v2/%s/referrers/%s%s" % (repo, subject["digest"], query), 0
        while target:
            a = admin.get(target)
            assert a.status == 200, a
            got = [g["digest"] for g in a.json()["manifests"]]
            assert 0 < len(got) <= 3
            if "artifactType" in query:
                assert a.get("OCI-Filters-Applied") == "artifactType"
            seen += got
            target = next_of(a)
            pages += 1
        assert sorted(seen) == sorted(want) and pages > 1


def test_tag_schema_is_left_to_clients(admin, repo, subject):
    """The fallback tag sha256-… is an ordinary tag: what a client puts there stays, and is never made by the server."""
    tag = subject["digest"].replace(":", "-")
    attach(admin, repo, subject)
    assert admin.get("/v2/%s/manifests/%s" % (repo, tag)).status == 404
    doc = dumps(index_doc([], annotations={"by": "client"}))
    assert admin.put_manifest(repo, tag, doc).status == 201
    assert admin.pull(repo, tag) == doc


def test_a_referrer_of_a_referrer(admin, repo, subject):
    d1, _, doc1 = attach(admin, repo, subject)
    d2, _, _ = attach(admin, repo, descriptor(doc1, IMAGE))
    assert [g["digest"] for g in referrers(admin, repo, subject["digest"])[1]] == [d1]
    assert [g["digest"] for g in referrers(admin, repo, d1)[1]] == [d2]


def test_link_keeps_the_filter_encoded(admin, repo, subject):
    for i in range(3):
        attach(admin, repo, subject, artifactType="application/x+y&z", annotations={"i": str(i)})
    a = admin.get("/v2/%s/referrers/%s?n=1&artifactType=application%%2Fx%%2By%%26z" % (repo, subject["digest"]))
    link = next_of(a)
    assert urllib.parse.parse_qs(urllib.parse.urlsplit(link).query)["artifactType"] == ["application/x+y&z"]
    assert len(admin.get(link).json()["manifests"]) == 1


def test_config_type_is_used_for_plain_images(admin, repo, subject):
    attach(admin, repo, subject, config_type=CONFIG)
    assert referrers(admin, repo, subject["digest"])[1][0]["artifactType"] == CONFIG
