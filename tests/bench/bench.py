#!/usr/bin/python3
"""make bench: Berth beside its peers in one run; ratios of interleaved pairs with their spread.

usage: bench.py BERTH LOAD [--only NAME,...] [--pairs N] [--distribution BINARY] [--json FILE] [--dir DIR]
Peers: nginx and docker-registry from Debian's packages; distribution v3 when its binary is named. Method: docs/benchmarks.md.
"""
import http.client
import argparse, base64, functools, hashlib, json, os, re, resource, shutil, signal, socket, ssl, statistics, subprocess, sys, tempfile, threading, time, urllib.request

http.client._MAXHEADERS = 1000  # a header for each tag
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
BASIC = "Basic " + base64.b64encode(b"admin:bench-password").decode()
RESULTS = []


def port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(p, proc):
    for _ in range(400):
        if proc.poll() is not None:
            raise SystemExit("a server ended: " + str(proc.args))
        try:
            socket.create_connection(("127.0.0.1", p), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise SystemExit("no server on %d" % p)


def rss_kb(pid):
    """Proportional set size of the process and its children: shared pages count once."""
    total = 0
    for p in [pid] + [int(x) for x in subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout.split()]:
        try:
            for line in open("/proc/%d/smaps_rollup" % p):
                if line.startswith("Rss:"):
                    total += int(line.split()[1])
        except OSError:
            pass
    return total


SERVERS = []


class Server:
    auth = "-"
    tls = False

    def url(self):
        return "%s://127.0.0.1:%d" % ("https" if self.tls else "http", self.port)

    def stop(self):
        self.proc.send_signal(signal.SIGTERM)
        try:
            self.proc.wait(30)
        except subprocess.TimeoutExpired:
            self.proc.kill()


class Berth(Server):
    name = "berth"
    auth = BASIC

    def __init__(self, binary, home, *flags, tls=False):
        self.port, self.home, self.tls = port(), home, tls
        env = dict(os.environ, BERTH_ADMIN_PASSWORD="bench-password")
        env.pop("BERTH_DATABASE", None)
        flags = list(flags) + (["--tls-self-signed"] if tls else [])
        self.began = time.monotonic()
        self.proc = subprocess.Popen([binary, "serve", "--data", home, "--listen", "127.0.0.1:%d" % self.port] + flags,
                                     stdout=subprocess.PIPE, stderr=open(home + ".log", "a"), env=env, text=True)
        while True:
            line = self.proc.stdout.readline()
            if not line:
                raise SystemExit("berth did not start; see %s.log" % home)
            if line.startswith("ready on"):
                break
        SERVERS.append(self.proc)
        self.ready_ms = (time.monotonic() - self.began) * 1000


class Distribution(Server):
    def __init__(self, binary, home, name, tls=None):
        self.name, self.port, self.home, self.tls = name, port(), home, bool(tls)
        os.makedirs(home, exist_ok=True)
        with open(home + ".yml", "w") as f:
            f.write("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage:\n  filesystem: {rootdirectory: %s}\n"
                    "  delete: {enabled: true}\n  cache: {blobdescriptor: inmemory}\nhttp: {addr: '127.0.0.1:%d', secret: x%s}\n" % (
                        home, self.port, ", tls: {certificate: %s, key: %s}" % tls if tls else ""))
        self.proc = subprocess.Popen([binary, "serve", home + ".yml"], stdout=open(home + ".log", "a"), stderr=subprocess.STDOUT,
                                     env=dict(os.environ, OTEL_TRACES_EXPORTER="none"))
        SERVERS.append(self.proc)
        wait_port(self.port, self.proc)


class Nginx(Server):
    name = "nginx"

    def __init__(self, home, root, tls=None):
        self.port, self.tls = port(), bool(tls)
        os.makedirs(home, exist_ok=True)
        ssl = "ssl_certificate %s; ssl_certificate_key %s; ssl_protocols TLSv1.2 TLSv1.3;" % tls if tls else ""
        with open(home + "/nginx.conf", "w") as f:
            f.write("""worker_processes auto; worker_rlimit_nofile 65536; pid %s/pid; error_log %s/error.log; daemon off; user root;
events { worker_connections 32768; multi_accept on; }
http { access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 100000000; keepalive_timeout 3600s;
open_file_cache max=200000 inactive=3600s; open_file_cache_valid 3600s; default_type application/vnd.oci.image.manifest.v1+json;
server { listen 127.0.0.1:%d %s backlog=4096; root %s; %s } }
""" % (home, home, self.port, "ssl" if tls else "", root, ssl))
        self.proc = subprocess.Popen(["/usr/sbin/nginx", "-p", home, "-c", home + "/nginx.conf"])
        SERVERS.append(self.proc)
        wait_port(self.port, self.proc)


def call(server, method, path, body=None, headers=None):
    h = {"Authorization": server.auth} if server.auth != "-" else {}
    h.update(headers or {})
    r = urllib.request.Request(server.url() + path, data=body, method=method, headers=h)
    with urllib.request.urlopen(r, context=ssl._create_unverified_context() if server.tls else None) as f:
        return f.read()


def report(name, value, unit, note=""):
    RESULTS.append({"name": name, "value": value, "unit": unit, "note": note})
    print("%-58s %12s %-8s %s" % (name, ("%.3f" % value) if isinstance(value, float) else value, unit, note), flush=True)


def pairs(name, ours, theirs, n, better="less", unit="s", peer="peer"):
    """Interleaved pairs; ratio > 1: ours is better. Order swaps from pair to pair."""
    a, b = [], []
    for i in range(n):
        for who, out in ((ours, a), (theirs, b)) if i % 2 == 0 else ((theirs, b), (ours, a)):
            out.append(who())
    ratio = sorted((y / x) if better == "less" else (x / y) for x, y in zip(a, b))
    report(name + ": berth", statistics.median(a), unit)
    report(name + ": " + peer, statistics.median(b), unit)
    report("%s: ratio to %s" % (name, peer), statistics.median(ratio), "x", "pairs %s" % " ".join("%.2f" % r for r in ratio))
    return statistics.median(ratio)


def load(opt, server, *args):
    out = subprocess.run([opt.load, args[0], "127.0.0.1", str(server.port), server.auth] + [str(x) for x in args[1:]] +
                         (["tls"] if server.tls else []), capture_output=True, text=True)
    if out.returncode != 0:
        raise SystemExit("load %s against %s: %s" % (args[0], server.name, out.stderr))
    return out.stdout.split()


# ---- manifests: 10,000 in 1,000 repositories, half by tag, half private, 100 tokens, 32 connections

def manifest_bytes(i):
    return json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                       "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": "sha256:" + hashlib.sha256(b"c%d" % i).hexdigest(), "size": 7},
                       "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": "sha256:" + hashlib.sha256(b"l%d.%d" % (i, k)).hexdigest(), "size": 1000 + k} for k in range(4)]},
                      separators=(",", ":")).encode()


def repo_of(i):
    return ("library/pub%d" if (i // 10) % 2 == 0 else "admin/priv%d") % (i // 10)


def push_manifests(server, root, count):
    def some(part):
        import http.client
        c = http.client.HTTPConnection("127.0.0.1", server.port)
        for i in range(part, count, 8):
            m = manifest_bytes(i)
            c.request("PUT", "/v2/%s/manifests/v%d" % (repo_of(i), i % 10), m,
                      {"Authorization": server.auth, "Content-Type": "application/vnd.oci.image.manifest.v1+json"})
            r = c.getresponse()
            r.read()
            if r.status != 201:
                raise SystemExit("manifest %d: %d" % (i, r.status))
            if root:
                d = "%s/v2/%s/manifests" % (root, repo_of(i))
                os.makedirs(d, exist_ok=True)
                for n in ("v%d" % (i % 10), "sha256:" + hashlib.sha256(m).hexdigest()):
                    open(d + "/" + n, "wb").write(m)
    ts = [threading.Thread(target=some, args=(k,)) for k in range(8)]
    [t.start() for t in ts]
    [t.join() for t in ts]


def wrk_script(path, server, tokens, count):
    """Requests are made beforehand, so that the client's own cost is the same and small for all."""
    with open(path, "w") as f:
        f.write("local r={}\nlocal t={%s}\n" % ",".join('"%s"' % t for t in tokens))
        f.write("local d={%s}\n" % ",".join('"%s"' % hashlib.sha256(manifest_bytes(i)).hexdigest() for i in range(count)))
        f.write("""
init=function(args) math.randomseed(os.time()+tonumber(tostring({}):sub(8),16)%%100000)
for i=0,%d do local repo=math.floor(i/10)
 local name=(repo%%2==0 and "library/pub" or "admin/priv")..repo
 local ref=(i%%2==0) and ("v"..(i%%10)) or ("sha256:"..d[i+1])
 r[i+1]=wrk.format("GET","/v2/"..name.."/manifests/"..ref,{["Authorization"]="Bearer "..t[repo%%100+1],["Accept"]="application/vnd.oci.image.manifest.v1+json"}) end end
request=function() return r[math.random(#r)] end
local bad=0
response=nil
""" % (count - 1))


def wrk(server, script, seconds, connections=32, threads=2, path="/"):
    out = subprocess.run(["wrk", "-t%d" % threads, "-c%d" % connections, "-d%ds" % seconds, "--latency"] + (["-s", script] if script else []) +
                         [server.url() + path], capture_output=True, text=True).stdout
    if "Non-2xx" in out:
        raise SystemExit("wrk against %s: %s" % (server.name, out))
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s)", out)
    return (float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)),
            float(p99.group(1)) * {"us": 1e-3, "ms": 1, "s": 1000}[p99.group(2)])


def tokens_for(berth, n):
    out = []
    for k in range(n):
        scopes = "&".join("scope=repository:%s:pull" % repo_of(10 * (k + 100 * j)) for j in range(10))
        out.append(json.loads(call(berth, "GET", "/token?" + scopes))["token"])
    return out


def bench_manifests(opt, tmp):
    count, root = 10000, tmp + "/www"
    b = Berth(opt.berth, tmp + "/berth-manifests")
    began = time.monotonic()
    push_manifests(b, root, count)
    report("10,000 manifests pushed", time.monotonic() - began, "s")
    for tls in (False, True):
        if tls:
            b.stop()
            b = Berth(opt.berth, b.home, tls=True)
        n = Nginx(tmp + "/nginx-manifests", root, certificate(b))
        script = tmp + "/manifests.lua"
        wrk_script(script, b, tokens_for(b, 100), count)
        wrk(b, script, 3), wrk(n, script, 3)
        label = "TLS " if tls else ""
        pairs(label + "manifest GET, 32 connections", lambda: wrk(b, script, opt.seconds)[0], lambda: wrk(n, script, opt.seconds)[0],
              opt.pairs, "more", "req/s", "nginx")
        report(label + "RSS after manifest load", rss_kb(b.proc.pid) / 1024.0, "MiB")
        n.stop()
    b.stop()


# ---- blobs

def certificate(berth):
    """What the peer uses, too: the same key, so the same cost."""
    return (berth.home + "/keys/self.crt", berth.home + "/keys/self.key") if berth.tls else None


def bench_get(opt, tmp):
    b = Berth(opt.berth, tmp + "/berth-get")
    took, digest = load(opt, b, "put", 1 << 30, "admin/big")
    os.makedirs(tmp + "/wwwb", exist_ok=True)
    hexd = digest.split(":")[1]
    src = [os.path.join(d, f) for d, _, fs in os.walk(tmp + "/berth-get/blobs") for f in fs if f == hexd][0]
    shutil.copyfile(src, tmp + "/wwwb/blob")
    path = "/v2/admin/big/blobs/" + digest
    for tls in (False, True):
        if tls:
            b.stop()
            b = Berth(opt.berth, b.home, tls=True)
        n = Nginx(tmp + "/nginx-get", tmp + "/wwwb", certificate(b))
        load(opt, b, "get", path), load(opt, n, "get", "/blob")
        pairs(("TLS " if tls else "") + "blob GET 1 GiB", lambda: float(load(opt, b, "get", path)[0]),
              lambda: float(load(opt, n, "get", "/blob")[0]), opt.pairs if tls else opt.pairs * 3, "less", "s", "nginx")
        n.stop()
    b.stop()


@functools.lru_cache(None)
def random_bytes(size):
    return memoryview(os.urandom(size))


def disk_write(path, size=1 << 30):
    """No byte twice: a disk that finds repetitions would be faster than it is for a blob."""
    data = random_bytes(size)
    began = time.monotonic()
    with open(path, "wb", buffering=0) as f:
        for at in range(0, size, 1 << 20):
            f.write(data[at:at + (1 << 20)])
        os.fsync(f.fileno())
    took = time.monotonic() - began
    os.unlink(path)
    return took


def peers(opt, tmp, what, tls=None):
    yield Distribution("docker-registry", tmp + "/docker-registry-" + what, "docker-registry", tls)
    if opt.distribution:
        yield Distribution(opt.distribution, tmp + "/distribution-" + what, "distribution v3", tls)


def bench_put(opt, tmp):
    size = 1 << 30
    for label, mode, tls in (("PUT 1 GiB", [], False), ("PATCH 1 GiB", ["patch"], False), ("TLS PUT 1 GiB", [], True)):
        b = Berth(opt.berth, tmp + "/berth-put", tls=tls)
        ours = lambda: float(load(opt, b, "put", size, "admin/big", *mode)[0])
        for peer in peers(opt, tmp, "put", certificate(b)):
            pairs(label, ours, lambda: float(load(opt, peer, "put", size, "admin/big", *mode)[0]), opt.pairs, "less", "s", peer.name)
            peer.stop()
            shutil.rmtree(peer.home, True)
        if not tls:
            pairs(label, ours, lambda: disk_write(tmp + "/disk"), opt.pairs, "less", "s", "disk with fsync")
        b.stop()
        shutil.rmtree(tmp + "/berth-put", True)


def fsyncs(server):
    for line in call(server, "GET", "/metrics").decode().splitlines():
        if line.startswith("berth_storage_fsyncs_total "):
            return int(float(line.split()[1]))


def commits(server):
    for line in call(server, "GET", "/metrics").decode().splitlines():
        if line.startswith("berth_db_commits_total "):
            return int(float(line.split()[1]))


def bench_storm(opt, tmp):
    for peer in peers(opt, tmp, "storm"):
        b = Berth(opt.berth, tmp + "/berth-storm")
        turn = [0]

        def one(server, images):
            turn[0] += 1
            return images / float(load(opt, server, "storm", 8, images, "admin/s%d" % turn[0])[0])
        one(b, 200), one(peer, 100)
        before, c0 = fsyncs(b), commits(b)
        one(b, 2000)
        report("storm: file fsyncs per image", (fsyncs(b) - before) / 2000, "")
        report("storm: database commits per image", (commits(b) - c0) / 2000, "")
        pairs("storm of small images, 8 clients", lambda: one(b, 2000), lambda: one(peer, 400), opt.pairs, "more", "images/s", peer.name)
        b.stop(), peer.stop()


def bench_many(opt, tmp):
    b = Berth(opt.berth, tmp + "/berth-many")
    time.sleep(1)
    idle, peak, stop = rss_kb(b.proc.pid), [0], threading.Event()

    def watch():
        while not stop.wait(0.05):
            peak[0] = max(peak[0], rss_kb(b.proc.pid))
    t = threading.Thread(target=watch)
    t.start()
    took = load(opt, b, "many", 64, 128 << 20, "admin/many")[0]
    stop.set(), t.join()
    report("64 clients pushing 128 MiB: seconds", float(took), "s")
    report("64 clients pushing 128 MiB: RSS over idle", (peak[0] - idle) / 1024.0, "MiB", "limit 64")
    b.stop()
    shutil.rmtree(tmp + "/berth-many", True)


# ---- standing connections, memory, start, pages

def held(opt, server, *args):
    p = subprocess.Popen([opt.load, args[0], "127.0.0.1", str(server.port), server.auth] + [str(x) for x in args[1:]],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    if p.stdout.readline().strip() != "held":
        raise SystemExit("load %s failed" % args[0])
    return p


def end_held(p):
    p.stdin.close()
    return p.stdout.read().strip()


def idle_p99(opt, b):
    """In turns, for on a shared machine the p99 of a server alone moves by more than the limit."""
    p99 = lambda: wrk(b, None, 2, 4, 1, "/healthz")[1]
    alone, beside = [], []
    for _ in range(opt.pairs):
        time.sleep(1)
        alone.append(p99())
        p = held(opt, b, "idle", 10000, "/healthz")
        time.sleep(1)
        beside.append(p99())
        end_held(p)
    report("10,000 idle connections: p99 of others", statistics.median(beside) / statistics.median(alone), "x",
           "limit 2; %s ms / %s ms" % (alone, beside))


def bench_idle(opt, tmp):
    for tls in (False, True):
        b = Berth(opt.berth, tmp + ("/berth-idle-tls" if tls else "/berth-idle"), "--max-connections-per-address=0", "--idle-timeout=1h", tls=tls)
        time.sleep(1)
        base = rss_kb(b.proc.pid)
        label = "TLS " if tls else ""
        report(label + "idle RSS", base / 1024.0, "MiB", "limit 25")
        p = held(opt, b, "idle", 10000, "/healthz", *(["tls"] if tls else []))
        report(label + "10,000 idle connections: RSS", rss_kb(b.proc.pid) / 1024.0, "MiB", "limit %d" % (300 if tls else 60))
        report(label + "still standing", int(end_held(p).split()[0]), "")
        if not tls:
            idle_p99(opt, b)
        b.stop()


def bench_slow(opt, tmp):
    b = Berth(opt.berth, tmp + "/berth-slow", "--max-connections-per-address=0", "--body-min-rate=0")
    took, digest = load(opt, b, "put", 8 << 20, "library/slow")
    threads = lambda: int(re.search(r"Threads:\s+(\d+)", open("/proc/%d/status" % b.proc.pid).read()).group(1))
    alone, t0 = [wrk(b, None, 3, 4, 1, "/healthz")[1] for _ in range(3)], threads()
    p = held(opt, b, "slow", 10000, "/v2/library/slow/blobs/" + digest)
    time.sleep(2)
    beside = [wrk(b, None, 3, 4, 1, "/healthz")[1] for _ in range(3)]
    report("10,000 readers at 1 B/s: p99 of others", statistics.median(beside) / statistics.median(alone), "x", "limit 2; %s ms / %s ms" % (alone, beside))
    report("10,000 readers at 1 B/s: threads before, with", "%d %d" % (t0, threads()), "")
    report("10,000 readers at 1 B/s: RSS", rss_kb(b.proc.pid) / 1024.0, "MiB")
    report("10,000 readers at 1 B/s: still standing", int(end_held(p).split()[0]), "")
    b.stop()


def timed(server, path, auth=None):
    import http.client
    c = http.client.HTTPConnection("127.0.0.1", server.port)
    best = []
    for _ in range(7):
        began = time.monotonic()
        c.request("GET", path, headers={"Authorization": auth or server.auth})
        r = c.getresponse()
        body = r.read()
        best.append((time.monotonic() - began) * 1000)
        if r.status != 200:
            raise SystemExit("%s: %d %s" % (path, r.status, body[:200]))
    return statistics.median(best), json.loads(body)


def bench_pages(opt, tmp):
    """100,000 tags in one repository, 100,000 repositories; filled through the API with few manifests."""
    home = tmp + "/berth-pages"
    b = Berth(opt.berth, home)
    m = manifest_bytes(1)
    digest = "sha256:" + hashlib.sha256(m).hexdigest()
    kind = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
    subprocess.run([opt.berth, "user", "add", "reader", "--data", home], input="reader-password\n", text=True, check=True)

    def fill(part):
        import http.client
        c = http.client.HTTPConnection("127.0.0.1", b.port)
        for k in range(part, 1000, 8):
            q = "&".join("tag=t%06d" % (k * 100 + j) for j in range(100))
            c.request("PUT", "/v2/admin/tags/manifests/%s?%s" % (digest, q), m, dict(kind, Authorization=b.auth))
            r = c.getresponse(); r.read()
            assert r.status == 201, r.status
        for k in range(part, 100000, 8):
            owner = "reader" if k % 10000 == 5 else "admin"
            c.request("PUT", "/v2/%s/repo%06d/manifests/v1" % (owner, k), m, dict(kind, Authorization=b.auth))
            r = c.getresponse(); r.read()
            assert r.status == 201, r.status
    ts = [threading.Thread(target=fill, args=(k,)) for k in range(8)]
    [t.start() for t in ts]
    [t.join() for t in ts]
    first, page = timed(b, "/v2/admin/tags/tags/list?n=1000")
    assert len(page["tags"]) == 1000
    last, page = timed(b, "/v2/admin/tags/tags/list?n=1000&last=t098999")
    assert len(page["tags"]) == 1000 and page["tags"][-1] == "t099999"
    report("page of 1,000 of 100,000 tags: first", first, "ms", "limit 5"), report("page of 1,000 of 100,000 tags: last", last, "ms", "limit 5")
    first, page = timed(b, "/v2/_catalog?n=1000")
    assert len(page["repositories"]) == 1000
    last, page = timed(b, "/v2/_catalog?n=1000&last=admin/repo098980")
    report("page of 1,000 of 100,000 repositories: first", first, "ms", "limit 5"), report("page of repositories: last (%d)" % len(page["repositories"]), last, "ms", "limit 5")
    reader = "Basic " + base64.b64encode(b"reader:reader-password").decode()
    few, page = timed(b, "/v2/_catalog?n=1000", reader)
    assert len(page["repositories"]) == 10, page
    report("page of repositories for who may read 10", few, "ms", "limit 5")
    b.stop()
    starts = []
    for _ in range(opt.pairs):
        b = Berth(opt.berth, home)
        starts.append(b.ready_ms)
        time.sleep(1)
        rss = rss_kb(b.proc.pid)
        b.stop()
    report("ready with 100,000 manifests", statistics.median(starts), "ms", "limit 100; %s" % " ".join("%.0f" % s for s in starts))
    report("idle RSS with 100,000 manifests", rss / 1024.0, "MiB", "limit 25")


ALL = {"manifests": bench_manifests, "get": bench_get, "put": bench_put, "storm": bench_storm, "many": bench_many, "idle": bench_idle,
       "slow": bench_slow, "pages": bench_pages}


def main():
    a = argparse.ArgumentParser()
    a.add_argument("berth"), a.add_argument("load")
    a.add_argument("--only", default=",".join(ALL))
    a.add_argument("--pairs", type=int, default=5)
    a.add_argument("--seconds", type=int, default=5)
    a.add_argument("--distribution"), a.add_argument("--json"), a.add_argument("--dir")
    opt = a.parse_args()
    opt.berth, opt.load = os.path.abspath(opt.berth), os.path.abspath(opt.load)
    tmp = tempfile.mkdtemp(prefix="berth-bench-", dir=opt.dir)
    print("machine: %d cores, %s" % (os.cpu_count(), time.strftime("%Y-%m-%d")))
    try:
        for name in opt.only.split(","):
            print("-- " + name, flush=True)
            ALL[name](opt, tmp)
    finally:
        [p.kill() for p in SERVERS if p.poll() is None]
        if opt.json:
            json.dump(RESULTS, open(opt.json, "w"), indent=1)
        shutil.rmtree(tmp, True)


main()
