"""An issuer of tokens: an HTTPS server with the discovery document and the keys of as many issuers as a test names, each
below a path of its own. And a small authority that signs its certificate."""
import base64
import datetime
import http.server
import ipaddress
import json
import os
import ssl
import threading
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.x509.oid import NameOID


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(n):
    return b64(n.to_bytes((n.bit_length() + 7) // 8, "big"))


class Key:
    def __init__(self, kid, kind="RS256"):
        self.kid, self.alg = kid, kind
        self.private = rsa.generate_private_key(65537, 2048) if kind == "RS256" else ec.generate_private_key(ec.SECP256R1())

    def jwk(self):
        n = self.private.public_key().public_numbers()
        doc = {"kid": self.kid, "use": "sig", "alg": self.alg}
        if self.alg == "RS256":
            return dict(doc, kty="RSA", n=number(n.n), e=number(n.e))
        return dict(doc, kty="EC", crv="P-256", x=b64(n.x.to_bytes(32, "big")), y=b64(n.y.to_bytes(32, "big")))

    def pem(self):
        return self.private.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def sign(self, data):
        if self.alg == "RS256":
            return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        r, s = utils.decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def token(self, claims, **header):
        head = dict({"alg": self.alg, "kid": self.kid, "typ": "JWT"}, **header)
        head = {k: v for k, v in head.items() if v is not None}
        text = b64(json.dumps(head).encode()) + "." + b64(json.dumps(claims).encode())
        return text + "." + b64(self.sign(text.encode()))


def hs256(secret, claims, kid):
    text = b64(json.dumps({"alg": "HS256", "kid": kid, "typ": "JWT"}).encode()) + "." + b64(json.dumps(claims).encode())
    h = hmac.HMAC(secret, hashes.SHA256())
    h.update(text.encode())
    return text + "." + b64(h.finalize())


def claims(iss, aud, **more):
    now = int(time.time())
    doc = {"iss": iss, "aud": aud, "sub": "somebody", "iat": now, "nbf": now, "exp": now + 300, "jti": os.urandom(8).hex()}
    doc.update(more)
    return {k: v for k, v in doc.items() if v is not None}


def certificate(folder, *addresses):
    """(authority's file, certificate's file with its key)"""
    def name(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.utcnow()

    def cert(subject, public):
        return x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name("Test authority")).public_key(public).serial_number(
            x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=30))
    ca = cert("Test authority", ca_key.public_key()).add_extension(x509.BasicConstraints(True, None), True).sign(ca_key, hashes.SHA256())
    alt = [x509.IPAddress(ipaddress.ip_address(a)) if a[0].isdigit() else x509.DNSName(a) for a in addresses]
    own = cert(addresses[0], key.public_key()).add_extension(x509.SubjectAlternativeName(alt), False).sign(ca_key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    with open(folder + "/ca.pem", "wb") as f:
        f.write(ca.public_bytes(pem))
    with open(folder + "/site.pem", "wb") as f:
        f.write(own.public_bytes(pem) + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return folder + "/ca.pem", folder + "/site.pem"


class Issuer:
    """routes: path -> what a GET answers: a dict, or a function that gets the handler."""

    def __init__(self, folder):
        self.ca, cert = certificate(folder, "127.0.0.1", "localhost")
        self.routes, self.hits, issuer = {}, [], self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def reply(self, status, body=b"", **headers):
                self.send_response(status)
                for k, v in headers.items():
                    self.send_header(k, v)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                issuer.hits.append(self.path)
                made = issuer.routes.get(self.path)
                if callable(made):
                    made(self)
                elif made is None:
                    self.reply(404)
                else:
                    self.reply(200, json.dumps(made).encode())

            def do_POST(self):
                issuer.hits.append(self.path)
                issuer.post(self)

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass
        self.server = Server(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = "https://127.0.0.1:%d" % self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def add(self, name, *keys, **document):
        """An issuer at /name; returns its identifier."""
        iss = "%s/%s" % (self.url, name)
        self.routes["/%s/.well-known/openid-configuration" % name] = dict(
            {"issuer": iss, "jwks_uri": iss + "/keys"}, **document)
        self.routes["/%s/keys" % name] = {"keys": [k.jwk() for k in keys]}
        return iss

    def count(self, name):
        return sum(1 for path in list(self.hits) if path.startswith("/%s/" % name))

    def close(self):
        self.server.shutdown()
        self.server.server_close()
