"""A real browser: Debian's chromium without a window, over the DevTools protocol, with a virtual security key."""
import json
import os
import re
import shutil
import subprocess
import tempfile
import time

import websocket

DEADLINE = 60


class Chromium:
    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="berth-chromium-")
        self.err = open(os.path.join(self.dir, "stderr"), "w+")
        self.proc = subprocess.Popen(["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                                      "--disable-background-networking", "--disable-component-update", "--disable-sync",
                                      "--remote-debugging-port=0", "--user-data-dir=" + self.dir, "about:blank"],
                                     stdout=subprocess.DEVNULL, stderr=self.err, start_new_session=True, env=dict(os.environ, HOME=self.dir))
        self.n, self.events = 0, []
        self.ws = websocket.create_connection(self._address(), timeout=DEADLINE, suppress_origin=True)
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "WebAuthn"):
            self.call(domain + ".enable")

    def _address(self):
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end and self.proc.poll() is None:
            with open(os.path.join(self.dir, "stderr")) as f:
                found = re.search(r"ws://\S+", f.read())
            if found:
                return found.group(0)
            time.sleep(0.05)
        raise AssertionError("chromium did not start")

    def call(self, method, **params):
        self.n += 1
        message = {"id": self.n, "method": method, "params": params}
        if getattr(self, "session", None):
            message["sessionId"] = self.session
        self.ws.send(json.dumps(message))
        while True:
            got = json.loads(self.ws.recv())
            if got.get("id") == self.n:
                if "navigated or closed" in got.get("error", {}).get("message", ""):
                    return {"result": {}}  # the page was left meanwhile: it has no answer
                assert "error" not in got, (method, got)
                return got["result"]
            self.events.append(got)

    def key(self):
        """A virtual security key that says yes."""
        return self.call("WebAuthn.addVirtualAuthenticator", options={
            "protocol": "ctap2", "transport": "usb", "hasResidentKey": False, "hasUserVerification": True, "isUserVerified": True,
            "automaticPresenceSimulation": True})["authenticatorId"]

    def js(self, text):
        got = self.call("Runtime.evaluate", expression=text, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in got, got
        return got["result"].get("value")

    def until(self, text):
        """Waits until the script's value is true; a page that is being left has none."""
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            got = self.call("Runtime.evaluate", expression="!!(%s)" % text, returnByValue=True)
            if got["result"].get("value") is True:
                return
            time.sleep(0.05)
        raise AssertionError("waited in vain for %s; the page says: %s" % (text, self.js("document.body.innerText")))

    def go(self, url, ready="document.readyState == 'complete'"):
        self.call("Page.navigate", url=url)
        self.until("location.href.startsWith(%s) && %s" % (json.dumps(url), ready))

    def submit(self, action, **fields):
        """Fills the form and presses its button, as a person does."""
        form = "document.querySelector('form[action=%s]')" % json.dumps(action)
        for name, value in fields.items():
            self.js("%s.elements[%s].value = %s" % (form, json.dumps(name), json.dumps(value)))
        self.js("%s.querySelector('button').click()" % form)

    def complaints(self):
        """What the browser had to say about the pages: of the policy above all."""
        self.js("1")
        return [e["params"] for e in self.events if e["method"] in ("Log.entryAdded", "Runtime.exceptionThrown")
                and (e["method"] != "Log.entryAdded" or e["params"]["entry"]["level"] == "error")]

    def close(self):
        self.ws.close()
        self.proc.terminate()
        self.proc.wait()
        self.err.close()
        shutil.rmtree(self.dir, ignore_errors=True)
