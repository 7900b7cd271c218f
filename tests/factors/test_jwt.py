"""Tokens of others, made by jwcrypto and by hand: T01 and T11's part that room crypt decides."""
import base64, hashlib, hmac, json, random
import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from jwcrypto import jwk, jws

from conftest import b64, unb64

ALGS = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA"]
RSA = jwk.JWK.generate(kty="RSA", size=2048, kid="rsa")
KEYS = {"rsa": RSA, "p256": jwk.JWK.generate(kty="EC", crv="P-256", kid="p256"), "p384": jwk.JWK.generate(kty="EC", crv="P-384", kid="p384"),
        "ed": jwk.JWK.generate(kty="OKP", crv="Ed25519", kid="ed")}
KEY_OF = {"RS256": "rsa", "RS384": "rsa", "RS512": "rsa", "PS256": "rsa", "ES256": "p256", "ES384": "p384", "EdDSA": "ed"}
NOW = 1_800_000_000
CLAIMS = {"iss": "https://issuer.example", "sub": "repo:jane/app:ref:refs/heads/main", "aud": "hub.example", "iat": NOW - 5, "exp": NOW + 300}
EXPECT = {"iss": CLAIMS["iss"], "aud": "hub.example", "now": NOW}


def public(*names):
    return json.dumps({"keys": [json.loads(KEYS[n].export_public()) for n in names]})


ALL = public(*KEYS)


def sign(alg, claims=CLAIMS, key=None, **header):
    key = key or KEYS[KEY_OF[alg]]
    token = jws.JWS(json.dumps(claims))
    token.allowed_algs = ALGS + ["HS256", "PS384", "PS512", "ES512"]
    token.add_signature(key, alg, json.dumps({"alg": alg, **({"kid": key.get("kid")} if key.get("kid") else {}), **header}))
    return token.serialize(compact=True)


def verify(crypt, token, keys=ALL, algs=ALGS, **more):
    return crypt("jwt", set=keys, token=token, algs=algs, **more)


@pytest.mark.parametrize("alg", ALGS)
def test_each_algorithm(crypt, alg):
    got = verify(crypt, sign(alg, typ="JWT", x5t="ignored"), expect=EXPECT)
    assert got["claims"] == CLAIMS and got["header"]["typ"] == "JWT"
    assert "error" not in verify(crypt, sign(alg), algs=[alg])
    others = [a for a in ALGS if a != alg]
    assert "alg is not allowed" in verify(crypt, sign(alg), algs=others)["text"]
    one = public(KEY_OF[alg])
    assert "error" not in verify(crypt, sign(alg), keys=one)
    assert verify(crypt, sign(alg, kid="new"), keys=one)["error"] == "NOT_FOUND"


@pytest.mark.parametrize("alg", ALGS)
def test_bit_flips(crypt, alg):
    token, rnd = sign(alg), random.Random(alg)
    assert "error" not in verify(crypt, token)
    for _ in range(300):
        at = rnd.randrange(len(token))
        bad = token[:at] + chr(ord(token[at]) ^ 1 << rnd.randrange(7)) + token[at + 1:]
        assert "error" in verify(crypt, bad), bad


@pytest.mark.parametrize("alg", ["PS384", "PS512", "ES512", "HS256"])
def test_algorithms_that_are_not_taken(crypt, alg):
    key = {"P": RSA, "E": jwk.JWK.generate(kty="EC", crv="P-521", kid="p521"), "H": jwk.JWK.generate(kty="oct", size=256, kid="oct")}[alg[0]]
    keys = json.loads(ALL)
    if key is not RSA:
        keys["keys"].append(json.loads(key.export() if alg == "HS256" else key.export_public()))
    got = verify(crypt, sign(alg, key=key), keys=json.dumps(keys), algs=ALGS + [alg])
    assert got["error"] == "UNAUTHORIZED" and "alg is not allowed" in got["text"]


def test_public_keys_as_hmac_secrets(crypt):
    """The classic: HS256 with the bytes of the public key."""
    for name in KEYS:
        for secret in (KEYS[name].export_to_pem(), KEYS[name].export_public().encode(), ALL.encode()):
            for alg in ("HS256", "hs256"):
                head = b64(json.dumps({"alg": alg, "kid": name}).encode()) + "." + b64(json.dumps(CLAIMS).encode())
                got = verify(crypt, head + "." + b64(hmac.new(secret, head.encode(), hashlib.sha256).digest()))
                assert "alg is not allowed" in got["text"]


def forged():
    """Tokens that nobody with the keys made, by class."""
    mine = {"rsa": jwk.JWK.generate(kty="RSA", size=2048), "p256": jwk.JWK.generate(kty="EC", crv="P-256"),
            "p384": jwk.JWK.generate(kty="EC", crv="P-384"), "ed": jwk.JWK.generate(kty="OKP", crv="Ed25519")}
    for alg in ALGS:
        key, good = mine[KEY_OF[alg]], sign(alg)
        head, body, sig = good.split(".")
        for kid in KEYS:  # a stranger's key under each known name
            yield sign(alg, key=key, kid=kid)
            if kid != KEY_OF[alg]:  # the right key under another's name
                yield sign(alg, kid=kid)
        yield sign(alg, key=key)
        for name in ("jwk", "jku", "x5u", "x5c", "crit", "b64", "zip", "enc"):  # the right key, with what changes the meaning
            value = {"jwk": json.loads(key.export_public()), "x5c": ["AAAA"], "b64": False}.get(name, "https://evil.example/keys")
            header = b64(json.dumps({"alg": alg, "kid": KEY_OF[alg], name: value}).encode())
            yield header + "." + body + "." + sig
        for other in ALGS + ["none", "NONE", "", "HS256", "ES256K", "RS1"]:  # the alg of another
            if other != alg:
                yield b64(json.dumps({"alg": other, "kid": KEY_OF[alg]}).encode()) + "." + body + "." + sig
        evil = b64(json.dumps(dict(CLAIMS, sub="admin")).encode())
        yield head + "." + evil + "." + sig
        yield head + "." + body + "."
        yield head + "." + body
        yield head + ".." + sig
        yield "." + body + "." + sig
        yield good + "."
        yield good + "=" * (-len(sig) % 4) if len(sig) % 4 else good + "===="
        yield good + "\n"
        yield " " + good
        yield head + "." + body + "." + sig + "AAAA"
        yield head + "." + body + "." + b64(b"\0" * len(unb64(sig)))
        yield head + "." + body + "." + b64(b"\xff" * len(unb64(sig)))
        yield head + "." + body + "." + b64(unb64(sig)[:-1])
        if alg.startswith("ES"):
            raw = unb64(sig)
            half = len(raw) // 2
            r, s = int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big")
            yield head + "." + body + "." + b64(encode_dss_signature(r, s))  # ASN.1 where r and s are due
            yield head + "." + body + "." + b64(b"\0" + raw[:half] + b"\0" + raw[half:])
        yield sign(alg, key=KEYS[KEY_OF[alg]]).replace(head, b64(b'{"alg":"none","alg":"%s","kid":"%s"}' % (alg.encode(), KEY_OF[alg].encode())))
        yield json.dumps({"protected": head, "payload": body, "signature": sig})


def test_forged(crypt):
    n = 0
    for token in forged():
        got = verify(crypt, token)
        assert got.get("error") == "UNAUTHORIZED", (token, got)
        n += 1
    assert n >= 300, n


@pytest.mark.parametrize("text,words", [
    (b'{"sub":"a","sub":"b"}', "duplicate object key"), (b"[]", "are objects"), (b'"x"', "malformed JSON"), (b"", "malformed JSON"),
    (b'{"a":' + b"[" * 20 + b"]" * 20 + b"}", "nested too deep"), (b'{"a":1}{}', "bytes after the end"), (b'{"a":"\xff"}', "invalid UTF-8")])
def test_claims_that_the_issuer_should_not_sign(crypt, text, words):
    token = jws.JWS(text)
    token.add_signature(KEYS["p256"], "ES256", json.dumps({"alg": "ES256", "kid": "p256"}))
    assert words in verify(crypt, token.serialize(compact=True))["text"]


@pytest.mark.parametrize("change,words", [
    ({"iss": "https://issuer.example/"}, "iss"), ({"aud": "other.example"}, "aud"), ({"aud": ["a", "b"]}, "aud"), ({"exp": NOW - 60}, "exp has passed"),
    ({"nbf": NOW + 61}, "nbf"), ({"iat": NOW + 61}, "iat"), ({"sub": None}, "sub")])
def test_claims_are_checked(crypt, change, words):
    assert words in verify(crypt, sign("EdDSA", dict(CLAIMS, **change)), expect=EXPECT)["text"]


def test_private_keys_are_refused(crypt):
    for name in KEYS:
        keys = json.dumps({"keys": [json.loads(KEYS[name].export())]})
        assert "private key" in verify(crypt, sign("ES256"), keys=keys)["text"]
