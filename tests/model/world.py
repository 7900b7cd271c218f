"""What the clients push: a fixed set of images, indexes and artifacts that share blobs, made from a seed, so that each
client knows all of them and the same bytes come and go again and again."""
import random

from registry import CONFIG, EMPTY, IMAGE, LAYER, descriptor, digest, dumps, image_doc, index_doc

LAYERS, IMAGES, INDEXES, ARTIFACTS = 48, 60, 10, 20
REPOS = ["model/a", "model/b", "model/deep/c"]
TAGS = ["t0", "t1", "t2", "t3"]


class Manifest:
    """blobs and children: digests; closure: all of what a puller of it reads."""

    def __init__(self, doc, blobs=(), children=(), subject=None):
        self.body = dumps(doc)
        self.digest, self.media_type = digest(self.body), doc["mediaType"]
        self.blobs, self.children, self.subject = tuple(blobs), tuple(children), subject


class World:
    def __init__(self, seed):
        rng = random.Random("%s/world" % seed)
        self.blobs, self.manifests, self.names = {}, {}, {}
        layers = [self.blob("layer%d" % i, rng.randbytes(rng.choice((200, 3000, 20000)))) for i in range(LAYERS)]
        self.images = []
        for i in range(IMAGES):
            config = self.blob("config%d" % i, dumps({"architecture": "amd64", "os": "linux", "n": i, "seed": seed}))
            used = sorted({i % LAYERS, (i + 1) % LAYERS, rng.randrange(LAYERS)})[:rng.randint(1, 3)]
            doc = image_doc(self.described(config, CONFIG), [self.described(layers[j], LAYER) for j in used])
            self.images.append(self.manifest("image%d" % i, doc, [config] + [layers[j] for j in used]))
        self.indexes = []
        for i in range(INDEXES):
            some = rng.sample(self.images, rng.randint(2, 3))
            doc = index_doc([dict(mediaType=IMAGE, digest=m.digest, size=len(m.body)) for m in some], annotations={"n": str(i)})
            self.indexes.append(self.manifest("index%d" % i, doc, (), [m.digest for m in some]))
        self.artifacts = []
        empty = self.blob("empty", b"{}")
        for i in range(ARTIFACTS):
            of = rng.choice(self.images)
            layer = self.blob("note%d" % i, rng.randbytes(300))
            doc = image_doc(self.described(empty, EMPTY), [self.described(layer, LAYER)], artifactType="text/x-note",
                            subject=dict(mediaType=IMAGE, digest=of.digest, size=len(of.body)))
            self.artifacts.append(self.manifest("artifact%d" % i, doc, [empty, layer], subject=of))

    def blob(self, name, data):
        d = digest(data)
        self.blobs[d], self.names[d] = data, name
        return d

    def described(self, d, media_type):
        return descriptor(self.blobs[d], media_type)

    def manifest(self, name, doc, blobs, children=(), subject=None):
        m = Manifest(doc, blobs, children, subject)
        self.manifests[m.digest], self.names[m.digest] = m, name
        return m

    def short(self, d):
        d = d if isinstance(d, str) else repr(d)
        return self.names.get(d, d if len(d) < 40 else d[:19] + "..")
