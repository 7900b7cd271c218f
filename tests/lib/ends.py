"""Real other ends of outbound calls: an authority with certificates, rsyslog."""
import os
import signal
import socket
import ssl
import subprocess
import time

from berth import free_port


def wait_for(what, test, seconds=60):
    end = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < end, "waited too long for " + what
        time.sleep(0.02)


def listening(port, host="127.0.0.1"):
    with socket.socket() as s:
        return s.connect_ex((host, port)) == 0


class Authority:
    """A CA, and certificates by it."""

    def __init__(self, folder):
        self.dir, self.count = folder, 0
        self.ca, self.key = folder + "/ca.pem", folder + "/ca.key"
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
                     "-subj", "/CN=Test authority", "-keyout", self.key, "-out", self.ca)

    def openssl(self, *args):
        subprocess.run(["openssl"] + list(args), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def issue(self, *names, days=30):
        self.count += 1
        base = "%s/cert%d" % (self.dir, self.count)
        alt = ",".join(("IP:" if ":" in n or n[-1].isdigit() else "DNS:") + n for n in names)
        with open(base + ".ext", "w") as f:
            f.write("subjectAltName=%s\n" % alt)
        self.openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
                     "/CN=" + names[0], "-keyout", base + ".key", "-out", base + ".csr")
        self.openssl("x509", "-req", "-in", base + ".csr", "-CA", self.ca, "-CAkey", self.key, "-CAcreateserial",
                     "-days", str(days), "-extfile", base + ".ext", "-out", base + ".pem")
        return base + ".pem", base + ".key"

    def context(self, *names, days=30):
        c = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        c.load_cert_chain(*self.issue(*names, days=days))
        return c


LINE = "%pri%|%timereported:::date-rfc3339%|%hostname%|%app-name%|%msgid%|%msg%"
CONF = """global(workDirectory="{dir}" maxMessageSize="128k" defaultNetstreamDriverCAFile="{ca}"
       defaultNetstreamDriverCertFile="{cert}" defaultNetstreamDriverKeyFile="{key}")
module(load="imtcp")
template(name="line" type="string" string="{template}\\n")
input(type="imtcp" address="127.0.0.1" port="{tls}" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon")
input(type="imtcp" address="127.0.0.1" port="{tcp}" streamDriver.name="ptcp" streamDriver.mode="0")
action(type="omfile" file="{dir}/log" template="line")
"""


class Receiver:
    """rsyslogd of Debian, over TLS and plain TCP; a line of its file for each record, by the template."""

    def __init__(self, folder, authority, name, template=LINE):
        os.makedirs(folder)
        self.dir, self.tls, self.tcp = folder, free_port(), free_port()
        cert, key = authority.issue(name)
        with open(folder + "/conf", "w") as f:
            f.write(CONF.format(dir=folder, ca=authority.ca, cert=cert, key=key, tls=self.tls, tcp=self.tcp,
                                template=template))
        self.start()

    def start(self):
        with open(self.dir + "/said", "a") as said:
            self.proc = subprocess.Popen(["rsyslogd", "-n", "-f", self.dir + "/conf", "-i", self.dir + "/pid"],
                                         stdout=said, stderr=said)
        wait_for("rsyslogd", lambda: listening(self.tls) and listening(self.tcp))

    def stop(self):
        self.proc.send_signal(signal.SIGKILL)
        self.proc.wait(60)

    def lines(self):
        try:
            with open(self.dir + "/log", encoding="utf-8") as f:
                return f.read().splitlines()
        except FileNotFoundError:
            return []

    def has(self, n):
        wait_for("%d records" % n, lambda: len(self.lines()) >= n)
        return self.lines()
