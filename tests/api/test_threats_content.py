"""Threats to content: mounts, uploads, manifests, tags, referrers. Each test bears the id of its threat."""
import base64
import glob
import itertools
import json
import os
import random
import threading

import pytest
from rawhttp import Closed, build
from registry import (CONFIG, DOCKER_IMAGE, DOCKER_LIST, IMAGE, INDEX, LAYER, descriptor, digest, dumps, image_doc, index_doc,
                      quote)
from test_tags import next_of

DOC = dumps(index_doc([]))
EMPTY_CONFIG = descriptor(b"{}", CONFIG)


# --- T18 content by its digest alone
def test_T18_mount_needs_a_readable_source(hub, admin, alice, bob, repo, public_repo):
    """4 callers x sources x with and without from: what the caller may not read behaves as unknown (202)."""
    secret, public = os.urandom(200), os.urandom(200)
    private_repo = repo + "-private"
    alice.push_blob(private_repo, secret)
    admin.push_blob(public_repo, public)
    bearer = hub.client(token=bob.fetch_token("repository:bob/t18:pull,push"))
    cases = [  # caller, target, blob, from, status
        (bob, "bob/t18", secret, private_repo, 202), (bob, "bob/t18", secret, None, 202), (bob, "bob/t18", secret, public_repo, 202),
        (bob, "bob/t18", secret, "bob/t18", 202), (bearer, "bob/t18", secret, private_repo, 202), (bearer, "bob/t18", secret, None, 202),
        (bob, "bob/t18", public, public_repo, 201), (bob, "bob/t18-2", public, None, 201), (bearer, "bob/t18", public, None, 201),
        (alice, repo + "-a", secret, private_repo, 201), (alice, repo + "-b", secret, None, 201),
        (admin, "t18team/a", secret, private_repo, 201), (admin, "t18team/b", secret, None, 201),
    ]
    for c, target, blob, source, status in cases:
        query = "?mount=" + quote(digest(blob)) + ("&from=" + quote(source) if source else "")
        a = c.post("/v2/%s/blobs/uploads/%s" % (target, query))
        assert a.status == status, (c.user, target, source, a)
        got = c.get("/v2/%s/blobs/%s" % (target, digest(blob)))
        if c is bearer and "-2" in target:
            continue
        assert got.status == (200 if status == 201 else 404), (target, source, got)
    anon = hub.anonymous()
    assert anon.post("/v2/%s/blobs/uploads/?mount=%s" % (public_repo, digest(public))).status == 401


def test_T18_unreadable_and_unknown_mounts_are_alike(alice, bob, repo):
    secret, unknown = alice.push_blob(repo, os.urandom(50)), digest(os.urandom(50))
    answers = [bob.post("/v2/bob/t18/blobs/uploads/?mount=%s&from=%s" % (d, repo)) for d in (secret, unknown)]
    session = [a.get("Docker-Upload-UUID").encode() for a in answers]
    assert answers[0].comparable((session[0], b"ID")) == answers[1].comparable((session[1], b"ID"))


def test_T18_a_manifest_that_names_a_foreign_blob_gives_nothing(alice, bob, repo):
    """Neither by config, layer, child nor subject; by HEAD, GET, nor a later mount."""
    d, doc = alice.push_image(repo, "t", b"secret-one")
    parts = json.loads(doc)
    layer, config = parts["layers"][0], parts["config"]
    target = "bob/t18-manifest"
    bob.push_blob(target, b"{}")
    mine = dumps(image_doc(config, [layer], subject=descriptor(doc, IMAGE)))
    assert bob.put_manifest(target, "stolen", mine).status == 201
    assert bob.put_manifest(target, "index", index_doc([descriptor(doc, IMAGE)])).status == 201
    for blob in (layer["digest"], config["digest"]):
        for method in ("GET", "HEAD"):
            assert bob.request(method, "/v2/%s/blobs/%s" % (target, blob)).status == 404
        assert bob.post("/v2/bob/t18-other/blobs/uploads/?mount=%s&from=%s" % (blob, target)).status == 202
        assert bob.post("/v2/bob/t18-other/blobs/uploads/?mount=%s" % blob).status == 202
    assert bob.get("/v2/%s/manifests/%s" % (target, d)).status == 404
    assert bob.get("/v2/%s/blobs/%s" % (target, d)).status == 404
    # referrers of a foreign subject are the repository's own only
    assert len(bob.get("/v2/%s/referrers/%s" % (target, d)).json()["manifests"]) == 1
    assert alice.get("/v2/%s/referrers/%s" % (repo, d)).json()["manifests"] == []


def test_T18_deleted_here_touched_there_stays_gone(alice, admin, repo):
    """CVE-2026-35172: no cache gives a deleted blob or manifest back."""
    d, doc = alice.push_image(repo, "t", b"cached")
    layer = json.loads(doc)["layers"][0]["digest"]
    other = repo + "-other"
    alice.push_image(other, "t", b"cached")
    for _ in range(3):
        assert alice.get("/v2/%s/blobs/%s" % (repo, layer)).status == 200 and alice.pull(repo, d)
    assert alice.delete("/v2/%s/blobs/%s" % (repo, layer)).status == 202
    assert alice.delete("/v2/%s/manifests/%s" % (repo, d)).status == 202
    for _ in range(3):
        assert alice.get("/v2/%s/blobs/%s" % (other, layer)).status == 200 and alice.pull(other, d) == doc
        assert alice.get("/v2/%s/blobs/%s" % (repo, layer)).status == 404
        assert alice.get("/v2/%s/manifests/%s" % (repo, d)).status == 404


# --- T19 does it exist somewhere? An upload must not tell
def test_T19_uploads_of_existing_and_new_content_are_alike(hub, alice, bob, repo):
    """Same answers, all bytes wanted."""
    old, new = os.urandom(100000), os.urandom(100000)
    alice.push_blob(repo, old)

    def flow(data):
        seen = []
        a = bob.post("/v2/bob/t19/blobs/uploads/")
        session = a.get("Docker-Upload-UUID").encode()
        masks = ((session, b"ID"), (digest(data).encode(), b"DIGEST"))
        for a in (a, bob.head("/v2/bob/t19/blobs/" + digest(data)), bob.patch(a.get("Location"), body=data[:5000]),
                  bob.get(a.get("Location")), bob.finish(a.get("Location"), digest(data), data[5000:])):
            seen.append(a.comparable(*masks))
        assert a.status == 201
        return seen

    assert flow(old) == flow(new)


@pytest.mark.parametrize("known", [True, False])
def test_T19_no_early_201(hub, alice, bob, repo, known):
    """A body that ends early is no upload, even if the server knows the bytes."""
    data = os.urandom(100000)
    if known:
        alice.push_blob(repo, data)
    auth = ("Authorization", bob.authorization(None))
    for target in ("/v2/bob/t19/blobs/uploads/?digest=" + digest(data),):
        with hub.connect() as c:
            c.send(build("POST", target, [auth, ("Content-Length", str(len(data)))], data[:-1]))
            c.end()
            with pytest.raises(Closed):
                c.answer("POST")
    assert bob.head("/v2/bob/t19/blobs/" + digest(data)).status == 404
    a = bob.finish(bob.start_upload("bob/t19"), digest(data), b"")
    assert a.status == 400 and a.code == "DIGEST_INVALID", a
    a = bob.finish(bob.start_upload("bob/t19"), digest(data), data[:-1] + bytes([data[-1] ^ 1]))
    assert a.status == 400, a


# --- T20 upload sessions
@pytest.mark.parametrize("begun", [False, True], ids=["empty", "begun"])
def test_T20_sessions_belong_to_user_and_repository(hub, admin, alice, bob, repo, begun):
    """Other user or other repository: as unknown. The administrator is another user, too. Empty sessions live in
    memory, those with bytes in the database."""
    location = alice.start_upload(repo)
    if begun:
        location = alice.patch(location, body=b"abc").get("Location")
    ident = location.rsplit("/", 1)[1]
    missing = "0" * len(ident)
    alice.push_blob(repo + "-b", b"x")
    bob.push_blob("bob/t20", b"x")
    tries = [(alice, repo + "-b"), (bob, "bob/t20"), (admin, repo), (admin, "bob/t20")]
    for c, name in tries:
        for method in ("GET", "HEAD", "PATCH", "PUT", "DELETE"):
            path = "/v2/%s/blobs/uploads/" % name
            query = "?digest=" + digest(b"abc") if method == "PUT" else ""
            body = b"abc" if method in ("PATCH", "PUT") else None
            a = c.request(method, path + ident + query, body=body)
            b = c.request(method, path + missing + query, body=body)
            assert a.status == 404 and a.comparable() == b.comparable(), (c.user, name, method, a)
    assert bob.get(location).status == 403 or bob.get(location).status == 404
    assert alice.get(location).get("Range") == ("0-2" if begun else "0-0")
    assert alice.finish(location, digest(b"abc"), b"" if begun else b"abc").status == 201


def test_T20_one_writer_at_a_time(hub, alice, repo):
    """32 parallel PATCHes at one offset: one wins, the others get 416, and no byte is mixed."""
    location = alice.start_upload(repo)
    auth = ("Authorization", alice.authorization(None))
    bodies = [bytes([65 + i]) * 50000 for i in range(32)]
    results, gate = [None] * 32, threading.Barrier(32)

    def work(i):
        with hub.connect() as c:
            data = build("PATCH", location, [auth, ("Content-Range", "0-49999")], bodies[i])
            gate.wait()
            c.send_most(data)
            results[i] = c.answer("PATCH").status

    threads = [threading.Thread(target=work, args=(i,)) for i in range(32)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert sorted(results) == [202] + [416] * 31, results
    winner = results.index(202)
    assert alice.get(location).get("Range") == "0-49999"
    assert alice.finish(location, digest(bodies[winner])).status == 201


def test_T20_session_ids_are_random(alice, repo):
    ids = [alice.start_upload(repo).rsplit("/", 1)[1] for _ in range(64)]
    assert all(len(i) == 32 for i in ids)
    bits = [sum(int(i, 16) >> b & 1 for i in ids) for b in range(128)]
    assert all(8 <= n <= 56 for n in bits), bits  # a constant or counting bit would show


# --- T21 ambiguous documents
def ambiguous():
    """(name, document, content type): each could be read as two different things."""
    good_image, good_index = image_doc(EMPTY_CONFIG, [descriptor(b"l")]), index_doc([descriptor(b"m", IMAGE)])
    both = dict(good_image, manifests=good_index["manifests"])
    for kind in (IMAGE, INDEX, DOCKER_IMAGE, DOCKER_LIST):
        yield "both-lists", dumps(dict(both, mediaType=kind)), kind
        yield "both-lists-no-type", dumps({k: v for k, v in both.items() if k != "mediaType"}), kind
    kinds = {IMAGE: good_image, INDEX: good_index, DOCKER_IMAGE: dict(good_image, mediaType=DOCKER_IMAGE),
             DOCKER_LIST: dict(good_index, mediaType=DOCKER_LIST)}
    for kind, doc in kinds.items():
        for other in set(kinds) - {kind}:
            yield "type-mismatch", dumps(dict(doc, mediaType=other)), kind
            yield "type-mismatch-2", dumps(doc), other
        for version in (1, 3, "2", 2.0, None, [2], True):
            yield "schema-version", dumps(dict(doc, schemaVersion=version)), kind
        yield "no-version", dumps({k: v for k, v in doc.items() if k != "schemaVersion"}), kind
        raw = dumps(doc)
        for extra in (b"x", b"{}", b"\x00", b",", raw, b"//c", b"/**/"):
            yield "trailing", raw + extra, kind
        for extra in (b"\xef\xbb\xbf", b"\x00", b"/**/", b","):
            yield "leading", extra + raw, kind
        for key in doc:
            again = b",%s:%s}" % (dumps(key), dumps(doc[key]))
            yield "duplicate-" + key, raw[:-1] + again, kind
            upper = key[0].upper() + key[1:]
            yield "folded-" + key, raw[:-1] + b",%s:%s}" % (dumps(upper), dumps(doc[key])), kind
            yield "escaped-duplicate-" + key, raw[:-1] + b',"\\u%04x%s":%s}' % (ord(key[0]), key[1:].encode(), dumps(doc[key])), kind
        yield "fsLayers", dumps(dict(doc, fsLayers=[])), kind
        yield "utf-16", raw.decode().encode("utf-16"), kind
        yield "bad-utf-8", raw.replace(b"sha256", b"sha\xff256", 1), kind
        yield "surrogate", raw[:-1] + b',"x":"\\ud800"}', kind
        yield "nan", raw[:-1] + b',"x":NaN}', kind
        yield "single-quotes", raw.replace(b'"', b"'"), kind
        yield "trailing-comma", raw[:-1] + b",}", kind
    yield from ambiguous_descriptors()


def ambiguous_descriptors():
    good = descriptor(b"l")
    for field, values in {
        "digest": ["sha256:" + "A" * 64, "SHA256:" + "0" * 64, "sha256:" + "0" * 63, "sha512:" + "0" * 64, "sha256:" + "0" * 64 + " ", "", None, 5,
                   ["sha256:" + "0" * 64], "sha256:" + "0" * 64 + "\n", "md5:" + "0" * 32],
        "size": [-1, 1.5, "1", None, 2 ** 53, 2 ** 63, 2 ** 64, 1e3, True, [1]],
        "mediaType": ["", None, 5, "a b", "a\n", "x" * 5000],
        "data": [5, "!!!!", base64.b64encode(b"other").decode(), base64.b64encode(b"l").decode() + "="],
        "urls": ["http://x", [5], {}], "annotations": [[], "x", {"a": 5}], "platform": ["x", 5],
    }.items():
        for value in values:
            bad = dict(good, **{field: value})
            for place in ("layers", "config", "manifests", "subject"):
                if place == "manifests":
                    yield "descriptor-%s-%s" % (place, field), dumps(index_doc([bad])), INDEX
                else:
                    yield "descriptor-%s-%s" % (place, field), dumps(image_doc(bad if place == "config" else EMPTY_CONFIG,
                                                                              [bad] if place == "layers" else [],
                                                                              **({"subject": bad} if place == "subject" else {}))), IMAGE
    for name in ("digest", "size", "mediaType"):
        folded = {k: v for k, v in good.items()}
        folded[name.capitalize()] = "x"
        yield "descriptor-folded", dumps(image_doc(EMPTY_CONFIG, [folded])), IMAGE
        missing = {k: v for k, v in good.items() if k != name}
        yield "descriptor-missing", dumps(image_doc(EMPTY_CONFIG, [missing])), IMAGE
    for lists in ("x", 5, {}, [5], [None], ["x"], True):
        yield "layers-shape", dumps(dict(image_doc(EMPTY_CONFIG, []), layers=lists)), IMAGE
        yield "manifests-shape", dumps(dict(index_doc([]), manifests=lists)), INDEX
        yield "config-shape", dumps(dict(image_doc(EMPTY_CONFIG, []), config=lists)), IMAGE


def test_T21_ambiguous_documents_are_refused(admin, repo):
    """More than 300 of them: 400 and nothing is stored."""
    cases = list(ambiguous())
    assert len(cases) > 300
    passed = []
    for name, doc, kind in cases:
        a = admin.put_manifest(repo, "t", doc, kind)
        if a.status != 400 or a.code not in ("MANIFEST_INVALID", "DIGEST_INVALID"):
            passed.append((name, doc[:200], kind, a.status))
    assert passed == []
    assert admin.get("/v2/%s/manifests/t" % repo).status == 404


def test_T21_what_is_accepted_is_read_alike(admin, repo):
    """The type recorded at the push is served; Python reads from the bytes what the server read."""
    rng = random.Random(2)
    for i in range(30):
        layers = [descriptor(os.urandom(8), rng.choice([LAYER, "application/x"])) for _ in range(rng.randrange(4))]
        doc = image_doc(EMPTY_CONFIG, layers, annotations={"n": str(i), "Config": "x", "\u017fubject": "y"}, **{"x-config": 1, "unknown": {"config": 2}})
        raw = dumps(doc)
        a = admin.put_manifest(repo, "t%d" % i, raw, IMAGE)
        assert a.status == 201, a
        got = admin.get("/v2/%s/manifests/t%d" % (repo, i))
        assert got.get("Content-Type") == json.loads(got.body)["mediaType"] == IMAGE and got.body == raw


def test_T21_two_content_types(admin, repo):
    a = admin.put("/v2/%s/manifests/t" % repo, headers=[("Content-Type", INDEX), ("Content-Type", IMAGE)], body=DOC)
    assert a.status == 400, a


# --- T22 rights that end in the middle of a push
@pytest.mark.parametrize("how", ["remove", "passwd"])
@pytest.mark.parametrize("what", ["single", "patch", "put", "manifest"])
def test_T22_no_write_after_the_right_ended(hub, how, what):
    """The decision is made again in the transaction that commits."""
    name = "t22%s%s" % (how[0], what[0] + what[-1])
    c = hub.add_user(name)
    repo = name + "/x"
    c.push_blob(repo, b"{}")
    data = os.urandom(50000) if what != "manifest" else dumps(image_doc(EMPTY_CONFIG, []))
    method, target, headers = {
        "single": ("POST", "/v2/%s/blobs/uploads/?digest=%s" % (repo, digest(data)), []),
        "patch": ("PATCH", c.start_upload(repo), []),
        "put": ("PUT", c.start_upload(repo) + "?digest=" + digest(data), []),
        "manifest": ("PUT", "/v2/%s/manifests/t" % repo, [("Content-Type", IMAGE)]),
    }[what]
    with hub.connect() as conn:
        conn.send(build(method, target, headers + [("Authorization", c.authorization(None)), ("Expect", "100-continue"),
                                                   ("Content-Length", str(len(data)))], b""))
        assert conn.head().status == 100  # the gate has let it in
        conn.send(data[:len(data) // 2])
        hub.secrets.add("changed-password-1")
        hub.command("user", how, name, stdin="changed-password-1\n")
        conn.send(data[len(data) // 2:])
        a = conn.answer(method)
    assert a.status in (401, 403, 404), a
    admin = hub.admin()
    assert admin.head("/v2/%s/blobs/%s" % (repo, digest(data))).status == 404
    assert admin.get("/v2/%s/manifests/t" % repo).status == 404


def test_T22_cached_rights_end_with_visibility(hub, alice, bob, repo):
    """Each change is seen by the very next request, on every connection."""
    d, doc = alice.push_image(repo, "t")
    people = [hub.client("bob", bob.password) for _ in range(6)]
    for i in range(5):
        hub.command("repo", "public", repo)
        assert all(p.pull(repo, "t") == doc for p in people)
        hub.command("repo", "private", repo)
        assert all(p.get("/v2/%s/manifests/t" % repo).status == 404 for p in people)
    for p in people:
        p.close()


# --- T23 tags change by push right only
def test_T23_no_way_to_move_a_tag_without_the_right(hub, admin, alice, bob, anon, repo):
    """Random walks over every writing path, by callers who may only pull: the tag keeps its digest."""
    d, doc = alice.push_image(repo, "stable", b"original")
    alice.put_manifest(repo, digest(DOC), DOC)  # present, untagged: a way to point the tag elsewhere
    hub.command("repo", "public", repo)
    pull = alice.fetch_token("repository:%s:pull" % repo)
    callers = [bob, anon, hub.client(token=pull), hub.client(token=bob.fetch_token("repository:%s:*" % repo)),
               hub.client(token=anon.fetch_token("repository:%s:push" % repo))]
    rng = random.Random(3)
    ops = [
        lambda c: c.put_manifest(repo, "stable", DOC), lambda c: c.put_manifest(repo, digest(DOC), DOC, query="?tag=stable"),
        lambda c: c.delete("/v2/%s/manifests/stable" % repo), lambda c: c.delete("/v2/%s/manifests/%s" % (repo, d)),
        lambda c: c.put_manifest(repo, d, doc, query="?tag=other&tag=stable"), lambda c: c.put_manifest(quote(repo), "stable", DOC),
        lambda c: c.post("/v2/%s/blobs/uploads/?mount=%s&from=%s" % (repo, digest(b"{}"), repo)),
        lambda c: c.patch("/v2/%s/manifests/stable" % repo, body=DOC), lambda c: c.post("/v2/%s/manifests/stable" % repo, body=DOC),
        lambda c: c.delete("/v2/%s/blobs/%s" % (repo, json.loads(doc)["config"]["digest"])),
    ]
    for _ in range(400):
        a = rng.choice(ops)(rng.choice(callers))
        assert a.status in (400, 401, 403, 404, 405), a
    for c in (alice, bob, anon):
        a = c.get("/v2/%s/manifests/stable" % repo)
        assert a.body == doc and a.get("Docker-Content-Digest") == d
    assert alice.get("/v2/%s/tags/list" % repo).json()["tags"] == ["stable"]


# --- T24 floods of referrers
def test_T24_many_and_large_referrers_come_in_pages(new_hub):
    """Pages of at most 4 MiB and 1,000 entries; all come once; memory stays flat."""
    h = new_hub()
    c = h.admin()
    subject = descriptor(DOC, INDEX)
    want = []
    for i in range(1100):
        note = {"i": str(i), "pad": "x" * (150000 if i < 60 else 10)}
        doc = dumps(index_doc([], subject=subject, artifactType="application/x.flood", annotations=note))
        assert c.put_manifest("lab/flood", digest(doc), doc).status == 201
        want.append(digest(doc))
    base = h.process_stat()[1]
    for query in ("", "?artifactType=application/x.flood"):
        seen, target, pages = [], "/v2/lab/flood/referrers/" + subject["digest"] + query, 0
        while target:
            a = c.get(target)
            assert a.status == 200 and len(a.body) <= (4 << 20) + (1 << 16), len(a.body)
            got = a.json()["manifests"]
            assert len(got) <= 1000
            seen += [g["digest"] for g in got]
            target, pages = next_of(a), pages + 1
        assert sorted(seen) == sorted(want) and pages >= 3
    assert h.process_stat()[1] - base < 256 << 20


def test_T24_attaching_needs_push_and_does_not_change_the_subject(alice, bob, repo):
    d, doc = alice.push_image(repo, "t")
    bob_doc = dumps(index_doc([], subject=descriptor(doc, IMAGE), artifactType="application/x.fake-signature"))
    assert bob.put_manifest(repo, digest(bob_doc), bob_doc).status == 403
    assert bob.put_manifest("bob/t24", digest(bob_doc), bob_doc).status == 201
    assert alice.get("/v2/%s/referrers/%s" % (repo, d)).json()["manifests"] == []
    assert alice.put_manifest(repo, digest(bob_doc), bob_doc).status == 201
    a = alice.get("/v2/%s/manifests/t" % repo)
    assert a.body == doc and a.get("Docker-Content-Digest") == d


# --- T25 what was signed is what is served
def blob_files(h):
    return [f for f in glob.glob(h.data + "/**/*", recursive=True) if os.path.isfile(f) and os.path.getsize(f) in (5000, 300000)]


@pytest.mark.parametrize("size", [5000, 300000])
def test_T25_changed_bytes_are_never_served_as_the_digest(new_hub, size):
    """A blob changed on the disk, same length: no answer carries it whole; pushing it again repairs it."""
    h = new_hub()
    c = h.admin()
    data = os.urandom(size)
    want = c.push_blob("lab/x", data)
    assert c.get("/v2/lab/x/blobs/" + want).body == data
    path, = blob_files(h)
    with open(path, "rb+") as f:
        f.seek(100)
        f.write(bytes([data[100] ^ 1]))
    for _ in range(3):
        try:
            a = c.get("/v2/lab/x/blobs/" + want)
            assert a.status in (404, 500), a.status
        except Closed:
            pass  # cut before the end
        a = c.get("/v2/lab/x/blobs/" + want, headers=[("Range", "bytes=0-999")])
        assert a.status in (404, 500), a.status
    c.push_blob("lab/x", data)
    assert c.get("/v2/lab/x/blobs/" + want).body == data


def test_T25_embedded_data_must_match_its_descriptor(admin, repo):
    for data in (b"other", b"", b"payloaD"):
        d = dict(descriptor(b"payload", "application/x"), data=base64.b64encode(data).decode())
        a = admin.put_manifest(repo, "t", image_doc(EMPTY_CONFIG, [d]))
        assert a.status == 400 and a.code == "MANIFEST_INVALID", a


def test_T25_signature_tags_are_guarded_like_all_tags(alice, bob, repo):
    """cosign keeps signatures at sha256-….sig: only who may push puts or moves one."""
    d, doc = alice.push_image(repo, "t")
    tag = d.replace(":", "-") + ".sig"
    sig, sig_doc = alice.push_image(repo, tag, b"signature")
    fake = dumps(index_doc([], annotations={"fake": "1"}))
    assert bob.put_manifest(repo, tag, fake).status == 403
    assert bob.delete("/v2/%s/manifests/%s" % (repo, tag)).status == 404
    assert alice.pull(repo, tag) == sig_doc


# --- T28 deep and wide graphs
def test_T28_deep_index_and_diamonds(new_hub):
    """A chain of 100 indexes and a diamond with 2^40 paths: each step is one request, and the collector ends."""
    h = new_hub()
    c = h.admin()
    below = c.push_image("lab/deep", None, b"bottom")[1]
    kind = IMAGE
    for i in range(100):
        below = dumps(index_doc([descriptor(below, kind)], annotations={"i": str(i)}))
        kind = INDEX
        assert c.put_manifest("lab/deep", digest(below), below).status == 201
    pair = [DOC, dumps(index_doc([], annotations={"b": ""}))]
    for doc in pair:
        c.put_manifest("lab/diamond", digest(doc), doc)
    for i in range(40):
        kids = [descriptor(d, INDEX) for d in pair]
        pair = [dumps(index_doc(kids, annotations={"i": "%d%s" % (i, side)})) for side in "lr"]
        for doc in pair:
            assert c.put_manifest("lab/diamond", digest(doc), doc).status == 201
    for name, top in (("lab/deep", below), ("lab/diamond", pair[0])):
        assert c.put_manifest(name, "top", top).status == 201
        assert c.delete("/v2/%s/manifests/%s" % (name, digest(top))).status == 202
        assert c.put_manifest(name, "top", top).status == 201
    h.command("gc", "--dry-run")
    h.command("fsck")
    assert c.pull("lab/diamond", "top") == pair[0]


def test_T28_an_index_that_names_itself_or_a_circle_of_subjects(admin, repo):
    """Digests make true circles impossible; these are as near as one gets."""
    subject = dict(mediaType=INDEX, digest=digest(b"x" * 9), size=9)
    doc = dumps(index_doc([subject], subject=subject))
    assert admin.put_manifest(repo, "t", doc).status == 201
    a = admin.get("/v2/%s/referrers/%s" % (repo, subject["digest"]))
    assert [m["digest"] for m in a.json()["manifests"]] == [digest(doc)]


# --- T38 bombs of JSON
def bombs():
    index = dumps(index_doc([]))[:-1]
    yield b"[" * 1000000, INDEX
    yield index + b',"x":' + b"[" * 500000 + b"]" * 500000 + b"}", INDEX
    yield index + b',"x":' + b'{"a":' * 200000 + b"1" + b"}" * 200000 + b"}", INDEX
    yield index + b"," + b",".join(b'"k%d":1' % i for i in range(300000)) + b"}", INDEX
    yield index + b',"x":' + b"9" * 1000000 + b"}", INDEX
    yield index + b',"x":1e' + b"9" * 1000000 + b"}", INDEX
    yield index + b',"x":[' + b",".join([b"0"] * 500000) + b"]}", INDEX
    yield index + b',"x":"' + b"\\u0000" * 300000 + b'"}', INDEX
    yield index + b',"annotations":{' + b",".join(b'"\\u%04x\\u%04x":""' % (i & 0xfff, i >> 12) for i in range(200000)) + b"}}", INDEX
    yield dumps(image_doc(EMPTY_CONFIG, [descriptor(b"")] * 20000)), IMAGE
    yield b"{" + b'"a":{' * 100000, INDEX


def test_T38_json_bombs(new_hub):
    """Refused or, when within the caps, taken; the server neither grows nor stops answering."""
    h = new_hub()
    c = h.admin()
    assert c.put_manifest("lab/x", "ok", DOC).status == 201
    base = h.process_stat()[1]
    for i, (doc, kind) in enumerate(bombs()):
        a = c.put_manifest("lab/x", "bomb", doc, kind)
        assert a.status in (400, 413), (i, a)
        assert a.code == "MANIFEST_INVALID" and c.pull("lab/x", "ok") == DOC
    assert h.process_stat()[1] - base < 512 << 20


def test_T38_depth_just_below_the_cap_is_fine(admin, repo):
    for depth, status in ((50, 201), (80, 400)):
        doc = dumps(index_doc([]))[:-1] + b',"x":' + b"[" * depth + b"]" * depth + b"}"
        assert admin.put_manifest(repo, "t%d" % depth, doc, INDEX).status == status


def test_T38_keys_that_would_collide(admin, repo):
    keys = ["".join(p) for p in itertools.product(("Aa", "BB"), repeat=12)]
    doc = dumps(index_doc([], annotations={k: "" for k in keys}))
    a = admin.put_manifest(repo, "t", doc)
    assert a.status == 201 and admin.pull(repo, "t") == doc
