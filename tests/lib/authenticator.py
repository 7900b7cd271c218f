"""A security key in software over python3-fido2's classes. Each ceremony can be bent in one place:

    create(options, origin, bend) and get(options, origin, bend)

`bend` maps names of stages to functions that get what was made so far and return what goes on:
client (dict), client_json (bytes), flags, count, id, cose (dict), cose_bytes, auth (bytes), attestation (dict),
attestation_bytes, signed (bytes), signature, answer (dict), text (of the answer's JSON).
"""
import base64, hashlib, json, os, struct
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from fido2 import cbor, cose
from fido2.client import ClientData
from fido2.ctap2 import AttestedCredentialData, AuthenticatorData


def b64(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


UP, UV, BE, BS, AT, ED = 1, 4, 8, 16, 64, 128
RSA_KEY = rsa.generate_private_key(65537, 2048)  # one for the run: making them is slow
NAMES = {-7: "ES256", -8: "EdDSA", -257: "RS256"}


class Key:
    """The private half of one algorithm."""

    def __init__(self, alg):
        self.alg = alg
        self.private = {-7: lambda: ec.generate_private_key(ec.SECP256R1()), -8: ed25519.Ed25519PrivateKey.generate,
                        -257: lambda: RSA_KEY}[alg]()
        self.cose = cose.CoseKey.for_alg(alg).from_cryptography_key(self.private.public_key())

    def sign(self, data):
        if self.alg == -7:
            return self.private.sign(data, ec.ECDSA(hashes.SHA256()))
        if self.alg == -8:
            return self.private.sign(data)
        return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())


class Authenticator:
    def __init__(self, alg=-7, flags=UP | UV, count=1, extensions=None, fmt="none"):
        self.key, self.flags, self.count, self.extensions, self.fmt = Key(alg), flags, count, extensions, fmt
        self.id, self.aaguid, self.handle = os.urandom(32), os.urandom(16), b""

    def client(self, kind, options, origin, stage):
        client = stage("client", {"type": kind, "challenge": options["challenge"], "origin": origin, "crossOrigin": False})
        return stage("client_json", bytes(ClientData.build(**client)))

    def auth(self, rp, attested, stage):
        flags = stage("flags", self.flags | (AT if attested else 0) | (ED if self.extensions is not None else 0))
        count = stage("count", self.count)
        # Bent data are no longer AuthenticatorData to fido2, which would refuse to build them.
        data = stage("rp_hash", hashlib.sha256(rp.encode()).digest()) + struct.pack(">BI", flags, count) + attested
        if self.extensions is not None:
            data += cbor.encode(self.extensions)
        return stage("auth", data)

    def create(self, options, origin, bend=None):
        stage = lambda name, value: bend[name](value) if bend and name in bend else value
        assert {"type": "public-key", "alg": self.key.alg} in options["pubKeyCredParams"]
        self.handle = unb64(options["user"]["id"])
        client = self.client("webauthn.create", options, origin, stage)
        cred_id = stage("id", self.id)
        key = stage("cose_bytes", cbor.encode(stage("cose", dict(self.key.cose))))
        attested = self.aaguid + struct.pack(">H", stage("id_length", len(cred_id))) + cred_id + key
        data = self.auth(options["rp"]["id"], attested, stage)
        if not bend:  # the classes of fido2 agree that this is what it is meant to be
            assert AttestedCredentialData(attested).credential_id == self.id
            assert AuthenticatorData(data).credential_data.public_key == self.key.cose
        statement = {} if self.fmt == "none" else {"alg": self.key.alg, "sig": self.key.sign(data + hashlib.sha256(client).digest())}
        attestation = stage("attestation", {"fmt": self.fmt, "attStmt": statement, "authData": data})
        attestation = stage("attestation_bytes", cbor.encode(attestation))
        return self.answer(cred_id, {"clientDataJSON": b64(client), "attestationObject": b64(attestation)}, stage)

    def get(self, options, origin, bend=None):
        stage = lambda name, value: bend[name](value) if bend and name in bend else value
        self.count += 1 if self.count else 0
        client = self.client("webauthn.get", options, origin, stage)
        data = self.auth(options["rpId"], b"", stage)
        signed = stage("signed", data + hashlib.sha256(client).digest())
        signature = stage("signature", self.key.sign(signed))
        return self.answer(self.id, {"clientDataJSON": b64(client), "authenticatorData": b64(data), "signature": b64(signature),
                                     "userHandle": b64(self.handle)}, stage)

    @staticmethod
    def answer(cred_id, response, stage):
        answer = {"id": b64(cred_id), "rawId": b64(cred_id), "type": "public-key", "authenticatorAttachment": "cross-platform",
                  "clientExtensionResults": {}, "response": response}
        return stage("text", json.dumps(stage("answer", answer)))
