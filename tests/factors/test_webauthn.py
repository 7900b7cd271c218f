"""T12: ceremonies with a security key in software, whole and bent in one place each; a bent one is refused for its own reason."""
import json, os
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from fido2 import cbor, cose

from authenticator import AT, BE, BS, ED, NAMES, RSA_KEY, UP, UV, Authenticator, Key
from conftest import b64, unb64

RP, ORIGIN = "hub.example", "https://hub.example"


class Hub:
    """One user and the ceremonies with him."""

    def __init__(self, crypt, uv=False):
        self.crypt, self.handle = crypt, os.urandom(32)
        self.ask = {"rp": RP, "origin": ORIGIN, "uv": uv}

    def fresh(self):
        self.ask["challenge"] = b64(os.urandom(32))

    def register(self, key, bend=None, again=False, ids=()):
        if not again:
            self.fresh()
        options = self.crypt("creation", handle=b64(self.handle), name="jane", display="Jane \"J\" Doe", ids=list(ids), **self.ask)
        self.options = options
        return self.crypt("register", answer=key.create(options, ORIGIN, bend), **self.ask)

    def login(self, key, credential, bend=None, answer=None):
        if answer is None:
            self.fresh()
            self.options = self.crypt("request", ids=[credential["id"]], **self.ask)
            answer = key.get(self.options, ORIGIN, bend)
        self.answer = answer
        return self.crypt("login", handle=b64(self.handle), credential=credential, answer=answer, **self.ask)


@pytest.mark.parametrize("alg", NAMES, ids=NAMES.get)
@pytest.mark.parametrize("fmt", ["none", "packed"])
def test_ceremonies(crypt, alg, fmt):
    hub, key = Hub(crypt), Authenticator(alg, fmt=fmt)
    credential = hub.register(key)
    assert credential == {"id": b64(key.id), "key": b64(cbor.encode(key.key.cose)), "aaguid": b64(key.aaguid), "count": 1,
                          "verified": True, "eligible": False, "backed_up": False}
    assert hub.options["user"] == {"id": b64(hub.handle), "name": "jane", "displayName": "Jane \"J\" Doe"}
    assert hub.options["rp"]["id"] == RP and hub.options["attestation"] == "none"
    assert hub.options["authenticatorSelection"]["userVerification"] == "preferred"
    for count in (2, 3):
        now = hub.login(key, credential)
        assert now == dict(credential, count=count)
        assert hub.options["allowCredentials"] == [{"type": "public-key", "id": credential["id"]}]
        credential = now
    assert hub.options["rpId"] == RP and hub.options["challenge"] == hub.ask["challenge"]


def test_options_name_what_is_known(crypt):
    hub, key = Hub(crypt, uv=True), Authenticator()
    hub.register(key, ids=[b64(b"a" * 16), b64(b"b" * 1023)])
    assert [unb64(c["id"]) for c in hub.options["excludeCredentials"]] == [b"a" * 16, b"b" * 1023]
    assert hub.options["authenticatorSelection"]["userVerification"] == "required"


@pytest.mark.parametrize("flags", [UP, UP | UV, UP | BE, UP | BE | BS, UP | 2 | 32])
@pytest.mark.parametrize("extensions", [None, {"credProtect": 2, "hmac-secret": True}])
def test_flags_and_extensions(crypt, flags, extensions):
    hub, key = Hub(crypt), Authenticator(flags=flags, extensions=extensions)
    credential = hub.register(key)
    assert (credential["verified"], credential["eligible"], credential["backed_up"]) == (bool(flags & UV), bool(flags & BE), bool(flags & BS))
    assert "error" not in hub.login(key, credential)
    if flags & BE:  # a passkey may be copied later
        key.flags |= BS
        assert hub.login(key, credential)["backed_up"]


def test_keys_that_do_not_count(crypt):
    hub, key = Hub(crypt), Authenticator(count=0)
    credential = hub.register(key)
    for _ in range(2):
        assert hub.login(key, credential)["count"] == 0


def test_a_passkey_says_whose_it_is(crypt):
    hub, key = Hub(crypt, uv=True), Authenticator()
    credential = hub.register(key)
    assert "error" not in hub.login(key, credential, {"answer": lambda a: dict(a, response=dict(a["response"], userHandle=None))})
    assert "error" not in hub.login(key, credential)


def test_an_answer_serves_one_challenge(crypt):
    hub, key = Hub(crypt), Authenticator()
    credential = hub.register(key)
    now = hub.login(key, credential)
    answer = hub.answer
    # The same answer to the same challenge: the counter stands. To another challenge: it is another.
    assert hub.login(key, now, answer=answer)["error"] == "DENIED"
    hub.fresh()
    assert "another challenge" in hub.login(key, credential, answer=answer)["text"]


def test_the_whole_key_counts(crypt):
    """Another key's signature, and a stored key of each other kind."""
    hub, key = Hub(crypt), Authenticator()
    credential = hub.register(key)
    for alg in NAMES:
        other = dict(credential, key=b64(cbor.encode(Key(alg).cose)))
        assert "its signature is wrong" in hub.login(key, other)["text"]
    assert hub.login(key, dict(credential, key=b64(unb64(credential["key"])[:-1])))["error"] == "CORRUPT"
    assert hub.login(key, dict(credential, key=b64(unb64(credential["key"]) + b"\0")))["error"] == "CORRUPT"


# --- bent ceremonies: (stage, function, words of the refusal[, options])

def put(**more):
    return lambda d: dict(d, **more)


def without(name):
    return lambda d: {k: v for k, v in d.items() if k != name}


def in_response(**more):
    return lambda a: dict(a, response=dict(a["response"], **more))


def raw(text):
    return lambda _: text


def nested(depth):
    return lambda b: cbor.encode({"fmt": "x", "attStmt": {}, "authData": b""}).replace(cbor.encode("attStmt") + b"\xa0",
                                                                                      cbor.encode("attStmt") + b"\xa1\x01" + b"\x81" * depth + b"\x01")


def flip(at):
    return lambda b: b[:at] + bytes([b[at] ^ 1]) + b[at + 1:]


CLIENT = [  # the same of both ceremonies
    ("challenge of another", "client", put(challenge=b64(b"x" * 32)), "another challenge"),
    ("challenge padded", "client", lambda c: dict(c, challenge=c["challenge"] + "="), "another challenge"),
    ("challenge cut", "client", lambda c: dict(c, challenge=c["challenge"][:-2]), "another challenge"),
    ("challenge longer", "client", lambda c: dict(c, challenge=c["challenge"] + "AAAA"), "another challenge"),
    ("challenge gone", "client", without("challenge"), "another challenge"),
    ("challenge a number", "client", put(challenge=7), "another challenge"),
    ("origin of another", "client", put(origin="https://hub.example.evil.example"), "another origin"),
    ("origin of a part", "client", put(origin="https://a.hub.example"), "another origin"),
    ("origin by http", "client", put(origin="http://hub.example"), "another origin"),
    ("origin with port", "client", put(origin="https://hub.example:8443"), "another origin"),
    ("origin in capitals", "client", put(origin="https://HUB.example"), "another origin"),
    ("origin with slash", "client", put(origin="https://hub.example/"), "another origin"),
    ("origin null", "client", put(origin=None), "another origin"),
    ("origin gone", "client", without("origin"), "another origin"),
    ("in a frame", "client", put(crossOrigin=True), "(crossOrigin)"),
    ("crossOrigin a text", "client", put(crossOrigin="false"), "(crossOrigin)"),
    ("with a top origin", "client", put(topOrigin="https://evil.example"), "(topOrigin)"),
    ("type gone", "client", without("type"), "its type is not webauthn."),
    ("type of payment", "client", put(type="payment.get"), "its type is not webauthn."),
    ("client data no JSON", "client_json", lambda b: b[:-1], "client data: malformed JSON"),
    ("client data with more behind", "client_json", lambda b: b + b"{}", "bytes after the end"),
    ("client data with a member twice", "client_json", lambda b: b[:-1] + b', "origin": "https://hub.example"}', "duplicate object key"),
    ("client data too long", "client", put(pad="x" * 9000), "at most 8192"),
    ("client data no object", "client_json", lambda b: b"[" + b + b"]", "its type is not webauthn."),
    ("for another site", "rp_hash", flip(31), "another site (rpIdHash)"),
    ("nobody there", "flags", lambda f: f & ~UP, "nobody was there (UP)"),
    ("not verified", "flags", lambda f: f & ~UV, "not verified by PIN or finger (UV)", {"uv": True}),
    ("backed up without being able", "flags", lambda f: f | BS, "BS without BE"),
    ("authenticator data cut", "auth", lambda a: a[:36], "authenticator data are cut"),
    ("extensions cut", "auth", lambda a: a[:-1], "extensions are malformed", {"extensions": {"uvm": [[2, 4, 2]]}}),
    ("extensions announced only", "flags", lambda f: f | ED, "extensions are malformed"),
    ("extensions no map", "auth", lambda a: a[:-1] + b"\x01", "extensions are malformed", {"extensions": {}}),
    ("extensions with one twice", "auth", lambda a: a[:-1] + b"\xa2\x61a\xf5\x61a\xf4", "extensions are malformed", {"extensions": {}}),
    ("more behind the extensions", "auth", lambda a: a + b"\0", "bytes stand behind its authenticator data", {"extensions": {}}),
    ("more behind", "auth", lambda a: a + b"\0", "bytes stand behind its authenticator data"),
    ("unannounced extensions", "auth", lambda a: a + b"\xa0", "bytes stand behind its authenticator data"),
    ("answer no JSON", "text", lambda t: t[:-1], "malformed JSON"),
    ("answer of another type", "answer", put(type="password"), "type is not public-key"),
    ("answer with two ids", "answer", put(rawId=b64(b"z" * 32)), "id and rawId differ"),
    ("answer without id", "answer", without("id"), "id is missing"),
    ("answer with padded id", "answer", lambda a: dict(a, id=a["id"] + "="), "id is missing or not base64url"),
    ("answer without client data", "answer", in_response(clientDataJSON=None), "clientDataJSON is missing"),
    ("answer without response", "answer", without("response"), "clientDataJSON is missing"),
    ("answer too long", "answer", put(pad="x" * 70000), "at most 65536"),
]

p256, p256_off = Key(-7).cose, dict(Key(-7).cose)
p256_off[-3] = p256_off[-2]
p384 = ec.generate_private_key(ec.SECP384R1()).public_key().public_numbers()
small = cose.RS256.from_cryptography_key(rsa.generate_private_key(65537, 1024).public_key())
CREATE = CLIENT + [
    ("type of get", "client", put(type="webauthn.get"), "its type is not webauthn.create"),
    ("no key", "flags", lambda f: f & ~AT, "brings no new key (AT)"),
    ("key cut off", "auth", lambda a: a[:37 + 17], "authenticator data are cut"),
    ("id of 15 bytes", "id", lambda i: i[:15], "has not 16 to 1023 bytes"),
    ("id of no bytes", "id_length", lambda n: 0, "has not 16 to 1023 bytes"),
    ("id of 1024 bytes", "id", lambda i: i * 32, "has not 16 to 1023 bytes"),
    ("id longer than all", "id_length", lambda n: 1000, "credential id is cut"),
    ("id shorter than said", "id_length", lambda n: n - 1, "another one inside than outside"),
    ("id of another outside", "answer", put(id=b64(b"z" * 32), rawId=b64(b"z" * 32)), "another one inside than outside"),
    ("key gone", "cose_bytes", raw(b""), "public key is malformed"),
    ("key no map", "cose_bytes", raw(b"\x01"), "public key is malformed"),
    ("key cut", "cose_bytes", lambda b: b[:-1], "public key is malformed"),
    ("key of indefinite length", "cose_bytes", lambda b: b"\xbf" + b[1:] + b"\xff", "public key is malformed"),
    ("key with a label twice", "cose_bytes", lambda b: b"\xa5" + b[1:5] + b"\x20\x06" + b[5:], "public key is malformed", {"alg": -8}),
    ("key with a long number", "cose_bytes", lambda b: b.replace(b"\x01\x02", b"\x01\x18\x02", 1), "public key is malformed"),
    ("key with more", "cose", lambda k: {**k, 4: b"x"}, "public key is malformed"),
    ("key with a private part", "cose", lambda k: {**k, -4: b"x" * 32}, "public key is malformed"),
    ("key without kind", "cose", lambda k: {l: v for l, v in k.items() if l != 1}, "public key is malformed"),
    ("key without algorithm", "cose", lambda k: {l: v for l, v in k.items() if l != 3}, "public key is malformed"),
    ("algorithm not asked for", "cose", lambda k: {**k, 3: -35}, "algorithm was not asked for"),
    ("algorithm with SHA-1", "cose", lambda k: {1: 3, 3: -65535, -1: b"\xff" * 256, -2: b"\1\0\1"}, "algorithm was not asked for"),
    ("algorithm of another kind", "cose", lambda k: {**k, 3: -8}, "does not fit its algorithm"),
    ("kind of another algorithm", "cose", lambda k: {**k, 1: 1}, "does not fit its algorithm"),
    ("curve of another algorithm", "cose", lambda k: {**k, -1: 2}, "does not fit its algorithm"),
    ("point on another curve", "cose", lambda k: {**k, -2: p384.x.to_bytes(48, "big"), -3: p384.y.to_bytes(48, "big")}, "size of its curve"),
    ("point on no curve", "cose", lambda k: p256_off, "not on its curve"),
    ("point short", "cose", lambda k: {**k, -2: k[-2][1:]}, "size of its curve"),
    ("point without y", "cose", lambda k: {l: v for l, v in k.items() if l != -3}, "does not fit its algorithm"),
    ("Ed25519 of 31 bytes", "cose", lambda k: {**k, -2: k[-2][1:]}, "has 32 bytes", {"alg": -8}),
    ("Ed25519 with y", "cose", lambda k: {**k, -3: k[-2]}, "does not fit its algorithm", {"alg": -8}),
    ("RSA of 1024 bits", "cose", lambda k: dict(small), "2048 to 8192 bits", {"alg": -257}),
    ("RSA with exponent 1", "cose", lambda k: {**k, -2: b"\1"}, "exponent is odd", {"alg": -257}),
    ("RSA with a huge exponent", "cose", lambda k: {**k, -2: b"\1" * 9}, "exponent is odd", {"alg": -257}),
    ("attestation gone", "attestation_bytes", raw(b""), "attestationObject is missing"),
    ("attestation cut", "attestation_bytes", lambda b: b[:-1], "attestation is malformed"),
    ("attestation with more behind", "attestation_bytes", lambda b: b + b"\0", "bytes stand behind its attestation"),
    ("attestation a list", "attestation_bytes", raw(b"\x80"), "attestation is malformed"),
    ("attestation without format", "attestation", without("fmt"), "not exactly fmt, attStmt and authData"),
    ("attestation without statement", "attestation", without("attStmt"), "not exactly fmt, attStmt and authData"),
    ("attestation with more members", "attestation", put(more={}), "attestation is malformed"),
    ("attestation with one twice", "attestation_bytes", lambda b: b"\xa4" + b[1:] + b"\x63fmt\x64none", "attestation is malformed"),
    ("attestation with data as text", "attestation", put(authData="x" * 200), "attestation is malformed"),
    ("attestation with a float", "attestation_bytes", lambda b: b"\xa3\x63fmt\x61x\x67attStmt\xa1\x01\xfb" + b"\0" * 8 + b"\x68authData\x41x", "attestation is malformed"),
    ("attestation with a tag", "attestation_bytes", lambda b: b"\xc0" + b, "attestation is malformed"),
    ("attestation with a tag inside", "attestation_bytes", raw(b"\xa3\x63fmt\x61x\x67attStmt\xa1\x01\xc0\x68authData\x41x"), "attestation is malformed"),
    ("attestation too deep", "attestation_bytes", nested(7), "attestation is malformed"),
    ("attestation of endless length", "attestation_bytes", lambda b: b"\xa3\x63fmt\x61x\x67attStmt\xa0\x68authData\x5b" + b"\xff" * 8, "attestation is malformed"),
    ("attestation none that speaks", "attestation", put(attStmt={"sig": b"x"}), "is none and says something"),
]
GET = CLIENT + [
    ("type of create", "client", put(type="webauthn.create"), "its type is not webauthn.get"),
    ("signature's first byte", "signature", flip(0), "signature is wrong"),
    ("signature of other data", "signed", flip(40), "signature is wrong"),
    ("signature with more behind", "signature", lambda s: s + b"\0", "signature is wrong"),
    ("signature cut", "signature", lambda s: s[:-1], "signature is wrong"),
    ("signature gone", "answer", in_response(signature=""), "signature is missing"),
    ("signature as r and s", "signature", lambda s: b"\1" * 64, "signature is wrong"),
    ("signature of zeros", "signature", raw(bytes.fromhex("3006020100020100")), "signature is wrong"),
    ("count that stands", "count", lambda n: 1, "counter did not go up"),
    ("count that falls to nothing", "count", lambda n: 0, "counter did not go up"),
    ("brings a key", "flags", lambda f: f | AT, "where none was asked for (AT)"),
    ("becomes a passkey", "flags", lambda f: f | BE, "something else about backups"),
    ("of another key", "answer", put(id=b64(b"z" * 32), rawId=b64(b"z" * 32)), "of another key"),
    ("of another user", "answer", in_response(userHandle=b64(b"u" * 32)), "of another user"),
    ("handle not base64url", "answer", in_response(userHandle="a"), "userHandle is missing or not base64url"),
    ("authenticator data gone", "answer", in_response(authenticatorData=None), "authenticatorData is missing"),
    ("authenticator data changed", "answer", lambda a: in_response(authenticatorData=b64(flip(36)(unb64(a["response"]["authenticatorData"]))))(a), "signature is wrong"),
    ("client data changed", "answer", lambda a: in_response(clientDataJSON=b64(unb64(a["response"]["clientDataJSON"]) + b" "))(a), "signature is wrong"),
]


def bent(cases):
    return [pytest.param(stage, how, words, more[0] if more else {}, id=name) for name, stage, how, words, *more in cases]


def key_for(options):
    return Authenticator(options.get("alg", -7), extensions=options.get("extensions"))


@pytest.mark.parametrize("stage,how,words,options", bent(CREATE))
def test_bent_registration(crypt, stage, how, words, options):
    hub, key = Hub(crypt, options.get("uv", False)), key_for(options)
    assert "error" not in hub.register(key)
    got = hub.register(key, {stage: how})
    assert got.get("error") in ("UNAUTHORIZED", "INVALID", "TOO_LARGE"), got
    assert words in got["text"]
    assert "error" not in hub.register(key)


@pytest.mark.parametrize("stage,how,words,options", bent(GET))
def test_bent_login(crypt, stage, how, words, options):
    hub, key = Hub(crypt, options.get("uv", False)), key_for(options)
    credential = hub.register(key)
    got = hub.login(key, credential, {stage: how})
    assert got.get("error") == ("DENIED" if "counter" in words else "INVALID" if got["text"].startswith("the security key's answer:")
                                else "TOO_LARGE" if "65536" in words else "UNAUTHORIZED"), got
    assert words in got["text"]
    assert "error" not in hub.login(key, credential)


@pytest.mark.parametrize("alg", NAMES, ids=NAMES.get)
def test_every_signed_bit_counts(crypt, alg):
    hub, key = Hub(crypt), Authenticator(alg)
    credential = hub.register(key)
    assert "error" not in hub.login(key, credential)
    whole = hub.answer
    answer = json.loads(whole)
    for part in ("authenticatorData", "clientDataJSON", "signature"):
        data = unb64(answer["response"][part])
        for at in range(len(data)):
            bad = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1:]
            got = hub.login(key, credential, answer=json.dumps(in_response(**{part: b64(bad)})(answer)))
            assert "error" in got, (part, at)
    assert "error" not in hub.login(key, credential, answer=whole)
