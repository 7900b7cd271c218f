"""The world that outbound calls are tested in; tests/net/run has made its network."""
import http.server
import ipaddress
import json
import os
import selectors
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from ends import Authority, free_port, listening, wait_for  # noqa: E402,F401 (for the tests)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NETCALL = os.environ.get("NETCALL") or os.path.join(ROOT, "build-test/tests/tools/netcall")
REPORTS = ("Sanitizer", "runtime error:", "BUG")
PUBLIC, PUBLIC_IDLE, PUBLIC6 = "93.184.216.34", "93.184.216.35", "2606:2800:220:1::1"
PRIVATE = ("127.0.0.1", "10.9.8.7", "100.64.1.1", "192.168.7.7", "169.254.169.254", "::1", "fd00::8")
CANARY_PORTS = (80, 443, 6379, 8443)
KNOCK = 7


class Netcall:
    """The C side: one process, a JSON line for each call."""

    def __init__(self, env=None):
        full = dict(os.environ, ASAN_OPTIONS="detect_leaks=1", UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1")
        full.update(env or {})
        self.err = tempfile.TemporaryFile("w+")
        self.proc = subprocess.Popen([NETCALL], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.err,
                                     universal_newlines=True, env=full)

    def __call__(self, do, **args):
        self.proc.stdin.write(json.dumps(dict(args, do=do)) + "\n")
        self.proc.stdin.flush()
        line = self.proc.stdout.readline()
        assert line, self.said()
        return json.loads(line)

    def said(self):
        self.err.seek(0)
        return self.err.read()

    def close(self):
        self.proc.stdin.close()
        code = self.proc.wait(60)
        said = self.said()
        assert code == 0 and not any(word in said for word in REPORTS), said


class Canaries:
    """Whoever connects to a private address is counted."""

    def __init__(self):
        self.hits, self.selector = [], selectors.DefaultSelector()
        for host in PRIVATE:
            for port in CANARY_PORTS + ((KNOCK,) if host == "127.0.0.1" else ()):
                s = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
                s.setblocking(False)
                self.selector.register(s, selectors.EVENT_READ, (host, port))
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            batch = []
            for key, _ in self.selector.select():
                try:
                    while True:
                        key.fileobj.accept()[0].close()
                        batch.append(key.data)
                except OSError:
                    pass
            self.hits.extend(batch)

    def count(self):
        """Hits since the last call; a knock of our own comes after all that were there before."""
        knock = ("127.0.0.1", KNOCK)
        with socket.create_connection(knock):
            pass
        wait_for("the canaries", lambda: knock in self.hits)
        found = list(self.hits)
        del self.hits[:len(found)]
        return [h for h in found if h != knock]


class Resolver:
    """A DNS server of time to live 0. names: name -> list of answers, a query takes the next one; an answer is a list
    of addresses."""

    def __init__(self):
        self.names, self.asked = {}, {}
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 53))
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            query, peer = self.sock.recvfrom(512)
            self.sock.sendto(self.answer(query), peer)

    def answer(self, query):
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode().lower())
            at += 1 + query[at]
        question, kind = query[12:at + 5], struct.unpack(">H", query[at + 1:at + 3])[0]
        name = ".".join(labels)
        family = {1: 4, 28: 6}.get(kind, 0)
        known = self.names.get(name)
        addresses = []
        if known and family:
            turn = self.asked.get((name, kind), 0)
            self.asked[name, kind] = turn + 1
            addresses = [ipaddress.ip_address(a) for a in known[turn % len(known)]]
            addresses = [a for a in addresses if a.version == family]
        out = query[:2] + struct.pack(">HHHHH", 0x8180 if known else 0x8183, 1, len(addresses), 0, 0) + question
        for a in addresses:
            out += struct.pack(">HHHIH", 0xC00C, kind, 1, 0, len(a.packed)) + a.packed
        return out


class Site(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    seen = []

    def log_message(self, *args):
        pass

    def reply(self, status, body=b"", **headers):
        self.send_response(status)
        for k, v in headers.items():
            self.send_header(k.replace("_", "-"), v)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.seen.append((self.path, dict(self.headers), ""))
        if self.path == "/ok?x=1":
            self.reply(200, b"hello", Content_Type="text/plain", Cache_Control="max-age=60")
        elif self.path.startswith("/to/"):
            self.reply(302, Location=self.path[4:])
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"x" * 65536)
            except OSError:
                self.close_connection = True
        elif self.path == "/silent":
            time.sleep(20)
        elif self.path == "/heads":
            self.send_response(200)
            for i in range(80):
                self.send_header("X-Filler-%d" % i, "y" * 1000)
            self.end_headers()
        else:
            self.reply(404)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.seen.append((self.path, dict(self.headers), body))
        self.reply(503, b"later", Retry_After="30")


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


def serve(host, port, context):
    Server.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = Server((host, port), Site)
    if context is not None: # the handshake is the connection thread's, not the accepting one's
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture(scope="session")
def folder():
    path = tempfile.mkdtemp(prefix="berth-net-")
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def authority(folder):
    os.mkdir(folder + "/ca")
    return Authority(folder + "/ca")


@pytest.fixture(scope="session")
def canaries():
    return Canaries()


@pytest.fixture(scope="session")
def resolver():
    r = Resolver()
    r.names.update({"good.test": [[PUBLIC]], "good6.test": [[PUBLIC6]], "other.test": [[PUBLIC]],
                    "inside.test": [["10.9.8.7"]], "mail.test": [["127.0.0.1"]], "ldap.test": [["127.0.0.1"]],
                    "log.test": [["127.0.0.1"]]})
    return r


@pytest.fixture(scope="session")
def site(authority, resolver):
    context = authority.context("good.test", "good6.test", "rebind.test", "both.test", "late.test", PUBLIC)
    serve(PUBLIC, 443, context)
    serve(PUBLIC, 8443, context)
    serve(PUBLIC6, 443, context)
    return Site


@pytest.fixture(scope="module")
def call(authority):
    n = Netcall()
    assert n("rules", allow="", ca=authority.ca)["rc"] == "OK"
    yield n
    n.close()
