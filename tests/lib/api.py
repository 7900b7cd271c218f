"""A client of /api/v1 that holds the server to its own document: every answer must be one that
/api/v1/openapi.json describes (status, media type, shape), and what the server accepts must be what it describes, too.

    api = Api(hub, "alice", "password")          or Api(hub, token=...), Api(hub)
    a = api.get("/orgs/acme", status=200)        a.data is the parsed answer
    api.post("/orgs", {"name": "acme"}, status=201)
    for org in api.all("/orgs"): ...             follows the pages of a list
"""
import json
import re
import urllib.parse

import jsonschema

from registry import Client

BASE = "/api/v1"
METHODS = {"get", "post", "put", "patch", "delete"}
_TIME = re.compile(r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)")
_formats = jsonschema.FormatChecker(formats=())


@_formats.checks("date-time")
def _is_time(value):
    return not isinstance(value, str) or _TIME.fullmatch(value) is not None


class Undocumented(AssertionError):
    """What the server did is not in its document."""


class Document:
    def __init__(self, text):
        self.doc = json.loads(text)
        assert self.doc["openapi"].startswith("3.1."), self.doc["openapi"]
        self.operations, ids = [], []
        for path, item in self.doc["paths"].items():
            assert set(item) <= METHODS, (path, set(item))
            for method, operation in item.items():
                self.operations.append((method, path.split("/"), operation))
                ids.append(operation["operationId"])
                self._check(path, operation)
        assert len(ids) == len(set(ids)), "an operationId stands twice"
        for name, schema in self.doc["components"]["schemas"].items():
            jsonschema.Draft202012Validator.check_schema(schema)
        self._resolve(self.doc)

    def _check(self, path, operation):
        assert operation["summary"] and operation["tags"] and operation["responses"], path
        named = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
        assert named == set(re.findall(r"\{([a-z_]+)\}", path)), path
        for p in operation["parameters"]:
            jsonschema.Draft202012Validator.check_schema(p["schema"])

    def _resolve(self, node):
        """Every reference leads somewhere."""
        if isinstance(node, list):
            for n in node:
                self._resolve(n)
        if isinstance(node, dict):
            ref = node.get("$ref")
            if isinstance(ref, str):
                at = self.doc
                assert ref.startswith("#/"), ref
                for part in ref[2:].split("/"):
                    at = at[part]
            for n in node.values():
                self._resolve(n)

    def find(self, method, path):
        """(operation, methods of the path); a literal segment comes before a parameter."""
        segments, found, methods = path.split("/"), [], set()
        for m, pattern, operation in self.operations:
            if len(pattern) != len(segments):
                continue
            if not all(p == s or (p.startswith("{") and s) for p, s in zip(pattern, segments)):
                continue
            methods.add(m)
            if m == ("get" if method == "HEAD" else method.lower()):
                found.append(([p.startswith("{") for p in pattern], operation))
        return (min(found, key=lambda f: f[0])[1] if found else None), methods

    def errors(self, schema, value):
        whole = {"allOf": [schema], "components": self.doc["components"]}
        found = jsonschema.Draft202012Validator(whole, format_checker=_formats).iter_errors(value)
        return ["%s: %s" % ("/".join(map(str, e.absolute_path)), e.message) for e in found]

    def check_answer(self, method, path, a):
        operation, methods = self.find(method, path)
        what = "%s %s: " % (method, path)
        if operation is None:  # nothing is promised but a refusal
            if a.status not in ((405,) if methods else (404,)) + (400, 429, 503):
                raise Undocumented(what + "answers %d without being documented" % a.status)
            self._check_body(what, self.doc["components"]["schemas"]["Problem"], a, method)
            return
        answer = operation["responses"].get(str(a.status))
        if answer is None:
            raise Undocumented(what + "status %d is not documented: %r" % (a.status, a))
        content = answer.get("content")
        if content is None:
            if a.body:
                raise Undocumented(what + "a body where none is documented: %r" % a)
            return
        if method == "HEAD":
            return
        media = (a.get("Content-Type") or "").split(";")[0]
        if media not in content:
            raise Undocumented(what + "the media type is not documented: %r" % a)
        if media.endswith("json"):
            self._check_body(what, content[media]["schema"], a, method)

    def _check_body(self, what, schema, a, method):
        found = [] if method == "HEAD" else self.errors(schema, json.loads(a.body))
        if found:
            raise Undocumented(what + "; ".join(found) + " in %r" % a.body)

    def check_accepted(self, method, path, query, body):
        """What was accepted must be what the document allows."""
        operation, _ = self.find(method, path)
        if operation is None:
            return
        params = {p["name"]: p["schema"] for p in operation["parameters"] if p["in"] == "query"}
        for name, value in query:
            if name not in params:
                raise Undocumented("%s %s accepts ?%s=, which is not documented" % (method, path, name))
            kinds = params[name].get("type")
            typed = json.loads(value) if kinds in ("integer", "boolean") else value
            found = self.errors(params[name], typed)
            if found:
                raise Undocumented("%s %s accepts ?%s=%s: %s" % (method, path, name, value, found))
        asked = operation.get("requestBody")
        if body is None:
            if asked and asked["required"]:
                raise Undocumented("%s %s accepts no body" % (method, path))
            return
        if asked is None:
            if body != {}:
                raise Undocumented("%s %s accepts a body, and documents none" % (method, path))
            return
        found = self.errors(asked["content"]["application/json"]["schema"], body)
        if found:
            raise Undocumented("%s %s accepts %r: %s" % (method, path, body, found))


def document_of(hub):
    """The document of this hub's program, read once."""
    if getattr(hub, "document", None) is None:
        a = Client(hub).get(BASE + "/openapi.json")
        assert a.status == 200 and a.get("Content-Type") == "application/json", a
        hub.document = Document(a.body)
    return hub.document


class Api:
    def __init__(self, hub, user=None, password=None, token=None):
        self.hub, self.client, self.document = hub, Client(hub, user, password, token=token), document_of(hub)

    def request(self, method, path, body=None, query=(), headers=(), status=None):
        """path is below /api/v1. body: what json can write, or bytes as they are. status: what it must be."""
        pairs = [(k, str(v)) for k, v in (query.items() if isinstance(query, dict) else query)]
        path, _, more = (BASE + path).partition("?")
        pairs += urllib.parse.parse_qsl(more, keep_blank_values=True)
        target = path + ("?" + urllib.parse.urlencode(pairs) if pairs else "")
        headers = list(headers.items()) if isinstance(headers, dict) else list(headers)
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        if data is not None and not any(k.lower() == "content-type" for k, _ in headers):
            headers.append(("Content-Type", "application/json"))
        a = self.client.request(method, target, headers=headers, body=data)
        self.document.check_answer(method, path, a)
        if a.status < 300 and not isinstance(body, bytes):
            self.document.check_accepted(method, path, pairs, body)
        a.data = json.loads(a.body) if a.body and (a.get("Content-Type") or "").endswith("json") else None
        assert status is None or a.status == status, a
        return a

    def get(self, path, **kw):
        return self.request("GET", path, **kw)

    def head(self, path, **kw):
        return self.request("HEAD", path, **kw)

    def post(self, path, body=None, **kw):
        return self.request("POST", path, body, **kw)

    def put(self, path, body=None, **kw):
        return self.request("PUT", path, body, **kw)

    def patch(self, path, body=None, **kw):
        return self.request("PATCH", path, body, **kw)

    def delete(self, path, **kw):
        return self.request("DELETE", path, **kw)

    def all(self, path, limit=None, **kw):
        """The items of all pages."""
        items, after = [], None
        while True:
            query = [("limit", limit)] * (limit is not None) + [("after", after)] * (after is not None)
            a = self.get(path, query=list(kw.items()) + query, status=200)
            items += a.data["items"]
            after = a.data["next"]
            if after is None:
                return items
            assert a.data["items"], "an empty page that is not the last one"

    def close(self):
        self.client.close()
