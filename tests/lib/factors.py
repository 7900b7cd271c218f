"""Second factors as a person has them: an authenticator app (oathtool) and a security key (authenticator.py)."""
import json
import subprocess
import time

from api import Api
from authenticator import Authenticator  # noqa: F401 (for the tests)

PERIOD = 30
PASSWORD = "a-good-password-4711"  # of the users that the fixtures make


def login(hub, user, password):
    """An Api with a token of a login. What asks for a second factor is an error here."""
    a = Api(hub).post("/login", {"username": user, "password": password}, status=200)
    hub.secrets.add(a.data["token"])
    return Api(hub, token=a.data["token"])


class App:
    """An authenticator app."""

    def __init__(self, secret):
        self.secret, self.used = secret, None

    def code(self, step=0):
        """The code of now (step 0), the one before (-1) or after (1)."""
        at = time.time() + PERIOD * step
        out = subprocess.run(["oathtool", "--totp", "--base32", "--now", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at)), "-"],
                             input=self.secret, stdout=subprocess.PIPE, check=True, universal_newlines=True)
        return out.stdout.strip()

    def fresh(self):
        """A code whose step was not used: the hub takes steps from one before to one after now, upwards only."""
        def first():  # the step before now, unless it is about to be two before
            return int(time.time() - PERIOD / 3) // PERIOD
        step = first() if self.used is None else self.used + 1
        while step > int(time.time()) // PERIOD + 1:  # all that could be taken were: wait for time to go on
            time.sleep(0.2)
        step = max(step, first())
        self.used = step
        return self.code(step - int(time.time()) // PERIOD)


def add_app(api, **more):
    """A confirmed app and the recovery codes that came with it (None: not the first factor)."""
    a = api.post("/me/factors/totp", more or {}, status=201)
    api.hub.secrets.add(a.data["secret"])
    app = App(a.data["secret"])
    b = api.post("/me/factors/%d/confirm" % a.data["id"], {"code": app.fresh()}, status=200)
    app.id, app.uri = a.data["id"], a.data["uri"]
    for code in b.data["recovery_codes"] or []:
        api.hub.secrets.add(code)
    return app, b.data["recovery_codes"]


def add_key(api, key, origin, bend=None, **kw):
    a = api.post("/me/factors/webauthn/options", status=200)
    credential = key.create(json.loads(a.data["options"]), origin, bend)
    return api.post("/me/factors/webauthn", {"ticket": a.data["ticket"], "credential": credential, "name": "key"}, **kw)


def ticket(hub, user, password):
    a = Api(hub).post("/login", {"username": user, "password": password}, status=401)
    assert a.data["code"] == "second_factor_required", a
    hub.secrets.add(a.data["ticket"])
    return a.data["ticket"]


def login_factor(hub, user, password, status=200, **proof):
    return Api(hub).post("/login/factor", dict(ticket=ticket(hub, user, password), **proof), status=status)


def login_key(hub, user, password, key, origin, bend=None, status=200):
    t = ticket(hub, user, password)
    a = Api(hub).post("/login/factor/options", {"ticket": t}, status=200)
    return Api(hub).post("/login/factor", {"ticket": t, "webauthn": key.get(json.loads(a.data["options"]), origin, bend)}, status=status)
