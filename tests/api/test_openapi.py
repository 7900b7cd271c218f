"""/api/v1/openapi.json, and what all of /api/v1 has in common."""
import copy
import json

import pytest

from api import Api, Document, Undocumented


@pytest.fixture
def api(hub):
    a = Api(hub)
    yield a
    a.close()


def test_document_is_sound_and_public(api):
    a = api.get("/openapi.json", status=200)
    assert a.data["info"]["title"] == "Berth"
    assert api.head("/openapi.json", status=200).body == b""


def test_etag(api):
    a = api.get("/openapi.json", status=200)
    etag = a.get("ETag")
    assert etag[0] == etag[-1] == '"'
    for same in (etag, "W/" + etag, '"x", ' + etag, "*"):
        b = api.get("/openapi.json", headers={"If-None-Match": same}, status=304)
        assert b.get("ETag") == etag
    api.get("/openapi.json", headers={"If-None-Match": '"x"'}, status=200)


def test_errors_are_problems(api, anon):
    """RFC 9457; before a row is known the path decides."""
    a = api.get("/nothing/here", status=404)
    assert a.data["code"] == "not_found" and a.data["instance"] == a.get("X-Request-Id")
    a = api.put("/openapi.json", {}, status=405)
    assert a.data["code"] == "method" and a.get("Allow") == "GET, HEAD"
    a = api.get("/openapi.json", query={"x": "<y>"}, status=400)
    assert a.data["errors"] == [{"field": "x", "message": "is not known here"}]
    assert anon.get("/apis/v1").code == "UNSUPPORTED"


def test_slash_at_the_end_is_another_path(api):
    api.get("/openapi.json/", status=404)


def test_the_client_sees_lies(api):
    """The checks of tests/lib/api.py can fail."""
    a = api.get("/openapi.json", status=200)
    path = "/api/v1/openapi.json"
    doc = copy.deepcopy(api.document.doc)
    operation = doc["paths"][path]["get"]
    operation["responses"]["200"]["content"]["application/json"]["schema"] = {
        "type": "object", "properties": {"openapi": {"type": "string"}}, "additionalProperties": False}
    with pytest.raises(Undocumented, match="info"):
        Document(json.dumps(doc)).check_answer("GET", path, a)
    del operation["responses"]["200"]
    with pytest.raises(Undocumented, match="status 200"):
        Document(json.dumps(doc)).check_answer("GET", path, a)
    with pytest.raises(Undocumented, match="not documented"):
        api.document.check_accepted("GET", path, [("x", "1")], None)
    with pytest.raises(Undocumented, match="accepts a body"):
        api.document.check_accepted("GET", path, [], {"a": 1})
    del doc["paths"][path]
    with pytest.raises(Undocumented, match="without being documented"):
        Document(json.dumps(doc)).check_answer("GET", path, a)
    problem = api.get("/nothing")
    problem.body = problem.body.replace(b'"code"', b'"kode"')
    with pytest.raises(Undocumented, match="kode"):
        api.document.check_answer("GET", "/api/v1/nothing", problem)


def test_location_of_a_nested_repository(hub):
    """Its name is one segment: what Location says can be asked for."""
    api = Api(hub, "admin", hub.admin_password)
    path = api.post("/repositories", {"name": "admin/deep/er/still"}, status=201).get("Location")
    assert path == "/api/v1/repositories/admin/deep%2Fer%2Fstill"
    assert api.get(path[len("/api/v1"):], status=200).data["name"] == "admin/deep/er/still"
    api.close()
