"""What the clients push: a fixed set of images, indexes and artifacts that share blobs, made from a seed, so that each
client knows all of them and the same bytes come and go again and again."""
import random

from registry import CONFIG, EMPTY, IMAGE, LAYER, descriptor, digest, dumps, image_doc, index_doc

LAYERS, IMAGES, INDEXES, ARTIFACTS = 48, 60, 10, 20
KEEPERS = 4  # each has images, indexes and artifacts of its own, of the same layers
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
        self.rng = rng
        self.layers = [self.blob("layer%d" % i, rng.randbytes(rng.choice((200, 3000, 20000)))) for i in range(LAYERS)]
        self.empty = self.blob("empty", b"{}")
        self.images = [self.image("image%d" % i, i) for i in range(IMAGES)]
        self.indexes = [self.index("index%d" % i, self.images) for i in range(INDEXES)]
        self.artifacts = [self.artifact("artifact%d" % i, rng.choice(self.images)) for i in range(ARTIFACTS)]
        self.kept = []
        for k in range(KEEPERS):
            images = [self.image("kept%d.%d" % (k, i), rng.randrange(LAYERS)) for i in range(18)]
            self.kept.append(images[:4] + [self.index("kept-index%d.%d" % (k, i), images[4:10]) for i in range(8)] +
                             [self.artifact("kept-artifact%d.%d" % (k, i), images[10 + i]) for i in range(8)])

    def image(self, name, n):
        config = self.blob(name + ".config", dumps({"architecture": "amd64", "os": "linux", "name": name}))
        used = sorted({n % LAYERS, (n + 1) % LAYERS, self.rng.randrange(LAYERS)})[:self.rng.randint(1, 3)]
        doc = image_doc(self.described(config, CONFIG), [self.described(self.layers[j], LAYER) for j in used])
        return self.manifest(name, doc, [config] + [self.layers[j] for j in used])

    def index(self, name, images):
        some = self.rng.sample(images, self.rng.randint(2, 3))
        doc = index_doc([dict(mediaType=IMAGE, digest=m.digest, size=len(m.body)) for m in some],
                        annotations={"n": name})
        return self.manifest(name, doc, (), [m.digest for m in some])

    def artifact(self, name, of):
        layer = self.blob(name + ".note", self.rng.randbytes(300))
        doc = image_doc(self.described(self.empty, EMPTY), [self.described(layer, LAYER)], artifactType="text/x-note",
                        subject=dict(mediaType=IMAGE, digest=of.digest, size=len(of.body)))
        return self.manifest(name, doc, [self.empty, layer], subject=of)

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
