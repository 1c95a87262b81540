"""What every search server owes its users: the same tests for the one in memory, the client over HTTP and a real server."""

import json
from typing import Any

import pytest

from stream_triage.clients.search import Document, ResponseError, SearchServer
from stream_triage.settings import OpenSearchSettings
from stream_triage.setup.changes import Changes
from stream_triage.setup.indices import create_index_templates
from stream_triage.setup.installed import Installed
from stream_triage.setup.monitors import create_monitors
from stream_triage.setup.retention import create_retention

__all__ = ["SearchServerContract"]

KEYWORD = {"type": "keyword"}


class SearchServerContract:
    """A subclass sets these before each test. The prefix is that of no other test."""

    server: SearchServer
    prefix: str

    def document(self, name: str, version: int = 1, /, *, index: str = "", **fields: Any) -> Document:
        return Document.from_fields(index or self.prefix, name, version, fields or {"text": "x"})

    def put(self, *documents: Document) -> list[int]:
        return [response.status for response in self.server.bulk(documents)]

    def search(self, query: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
        body = {"query": query, "version": True, **more}
        return list(self.server.request("POST", f"{self.prefix}/_search", body)["hits"]["hits"])

    def names(self, query: dict[str, Any], **more: Any) -> list[str]:
        return sorted(hit["_id"] for hit in self.search(query, **more))

    def refresh(self) -> None:
        self.server.request("POST", f"{self.prefix}/_refresh")

    def test_versions(self) -> None:
        """A document is written once, replaced by a higher version, and kept where a lower or equal one comes."""
        assert self.put(self.document("a", 3), self.document("b", 1)) == [201, 201]
        responses = self.server.bulk([self.document("a", 3), self.document("a", 2), self.document("a", 4)])
        assert [response.status for response in responses] == [409, 409, 200]
        assert all(response.written and not response.rejected and not response.busy for response in responses)
        assert "version_conflict_engine_exception" in responses[0].reason
        assert "current version [3] is higher or equal to the one provided [2]" in responses[1].reason
        self.refresh()
        assert [(hit["_id"], hit["_version"]) for hit in self.search({"ids": {"values": ["a"]}})] == [("a", 4)]

    def test_searches_see_what_was_refreshed(self) -> None:
        """Neither a new document nor a new version is visible before; a read by id sees both at once."""
        self.put(self.document("a", 1, text="one"))
        self.refresh()
        self.put(self.document("a", 2, text="two"), self.document("b"))
        assert [hit["_source"]["text"] for hit in self.search({"match_all": {}})] == ["one"]
        docs = {"docs": [{"_index": self.prefix, "_id": name} for name in "abc"]}
        read = self.server.request("POST", "_mget?_source=false", docs)["docs"]
        assert [(doc["found"], doc.get("_version")) for doc in read] == [(True, 2), (True, 1), (False, None)]
        self.refresh()
        assert self.names({"match_all": {}}) == ["a", "b"]

    def test_reads_from_unknown_indices(self) -> None:
        """A document of an index that does not exist is not found; a search in it has no response."""
        docs = {"docs": [{"_index": f"{self.prefix}-none", "_id": "a"}]}
        (read,) = self.server.request("POST", "_mget?_source=false", docs)["docs"]
        assert not read.get("found")
        assert self.server.request("POST", f"{self.prefix}-none/_search", {"query": {"match_all": {}}}) == {}
        assert self.server.request("POST", f"{self.prefix}-none/_refresh") == {}
        assert self.server.request("POST", f"{self.prefix}-none*/_search", {})["hits"]["hits"] == []
        assert self.server.request("GET", f"{self.prefix}-none*/_mapping") == {}

    def test_queries(self) -> None:
        """By id, value, range, existence, and combinations of them."""
        self.make(name=KEYWORD, size={"type": "long"}, flag={"type": "boolean"})
        self.put(
            self.document("a", name="one", size=1, flag=True),
            self.document("b", name="two", size=2, flag=False),
            self.document("c", name=["one", "two"], size="3"),
            self.document("d", other="x"),
        )
        self.refresh()
        one, small = {"term": {"name": "one"}}, {"range": {"size": {"lt": 3}}}
        for query, names in (
            ({"ids": {"values": ["a", "d", "x"]}}, ["a", "d"]),
            (one, ["a", "c"]),
            ({"terms": {"name": ["two", "three"]}}, ["b", "c"]),
            ({"term": {"flag": True}}, ["a"]),
            (small, ["a", "b"]),
            ({"range": {"size": {"gte": 2, "lte": 3}}}, ["b", "c"]),
            ({"range": {"size": {"gt": 2}}}, ["c"]),
            ({"exists": {"field": "size"}}, ["a", "b", "c"]),
            ({"exists": {"field": "other"}}, []),
            ({"bool": {"filter": [one, small]}}, ["a"]),
            ({"bool": {"filter": [one], "must_not": [small]}}, ["c"]),
            ({"bool": {"must": small, "must_not": one}}, ["b"]),
            ({"bool": {"should": [one, small], "minimum_should_match": 1}}, ["a", "b", "c"]),
            ({"bool": {"should": [one, small], "minimum_should_match": 2}}, ["a"]),
            ({"bool": {"should": [one, small]}}, ["a", "b", "c"]),
            ({"bool": {"filter": [{"match_all": {}}], "should": [one]}}, ["a", "b", "c", "d"]),
        ):
            assert self.names(query) == names, query
            counted = self.server.request("POST", f"{self.prefix}/_count", {"query": query})
            assert counted["count"] == len(names)

    def test_unknown_query(self) -> None:
        """It is rejected, and the error has the status and the reason."""
        self.put(self.document("a"))
        with pytest.raises(ResponseError, match="status 400") as raised:
            self.search({"nonsense": {}})
        assert (raised.value.status, raised.value.busy) == (400, False)

    def make(self, **properties: object) -> None:
        """An index with these fields and no others."""
        self.server.request("PUT", self.prefix, {"mappings": {"dynamic": False, "properties": properties}})

    def test_what_a_search_returns(self) -> None:
        """Ten hits, or as many as asked for; all fields, some of them or none."""
        self.put(*(self.document(f"{number:02}", a={"b": 1, "c": 2}, **{"a.d": 3}, e=4) for number in range(12)))
        self.refresh()
        assert len(self.search({"match_all": {}})) == 10
        assert len(self.search({"match_all": {}}, size=11)) == 11
        (hit,) = self.search({"ids": {"values": ["00"]}})
        assert hit["_source"] == {"a": {"b": 1, "c": 2}, "a.d": 3, "e": 4}
        (hit,) = self.search({"ids": {"values": ["00"]}}, _source=["a.b", "e"])
        assert hit["_source"] == {"a": {"b": 1}, "e": 4}
        (hit,) = self.search({"ids": {"values": ["00"]}}, _source=["a"])
        assert hit["_source"] == {"a": {"b": 1, "c": 2}, "a.d": 3}
        (hit,) = self.search({"ids": {"values": ["00"]}}, _source=False)
        assert "_source" not in hit
        total = {"track_total_hits": True, "size": 0, "query": {"match_all": {}}}
        assert self.server.request("POST", f"{self.prefix}/_search", total)["hits"]["total"]["value"] == 12
        assert self.server.request("POST", f"{self.prefix}/_search?size=0", {})["hits"]["hits"] == []

    def test_values_that_do_not_fit(self) -> None:
        """Each is rejected by itself, with the field in the reason; the other documents are written."""
        self.make(
            name=KEYWORD,
            size={"type": "integer"},
            byte={"type": "byte"},
            share={"type": "float"},
            flag={"type": "boolean"},
            day={"type": "date"},
            object={"properties": {"name": KEYWORD}},
        )
        wrong: list[dict[str, Any]] = [
            {"name": {"not": "text"}},
            {"size": "many"},
            {"size": 2**31},
            {"size": True},
            {"byte": 128},
            {"share": "half"},
            {"flag": "maybe"},
            {"flag": 1},
            {"day": "yesterday"},
            {"object": "text"},
            {"name": "x" * 33_000},
        ]
        right: list[dict[str, Any]] = [
            {"name": 7},
            {"name": None, "size": None},
            {"size": "7"},
            {"size": 7.5},
            {"byte": -128},
            {"share": "0.5"},
            {"flag": "true"},
            {"day": "2026-11-01T08:00:00.123+01:00"},
            {"day": 1_793_491_200_000},
            {"object.name": "x"},
            {"object": {"name": ["x", "y"]}},
            {"unknown": {"of": ["any", {"kind": 1}]}},
        ]
        documents = [self.document(f"{number}", **fields) for number, fields in enumerate(wrong + right)]
        responses = self.server.bulk(documents)
        assert [response.status for response in responses] == [400] * len(wrong) + [201] * len(right)
        assert all(response.rejected and not response.written for response in responses[: len(wrong)])
        assert responses[1].reason.startswith(
            "mapper_parsing_exception: failed to parse field [size] of type [integer] in document with id '1'"
        )

    def test_ids_that_are_too_long(self) -> None:
        """512 bytes are allowed; one more makes the whole request fail."""
        assert self.put(self.document("ü" * 256)) == [201]
        with pytest.raises(ResponseError, match="status 400"):
            self.put(self.document("x" * 513))

    def test_keywords_that_are_too_long_to_search(self) -> None:
        """They are stored and not indexed."""
        self.make(name={**KEYWORD, "ignore_above": 3}, raw={**KEYWORD, "index": False, "doc_values": False})
        assert self.put(self.document("a", name="four", raw="x" * 40_000), self.document("b", name="one")) == [201, 201]
        self.refresh()
        assert self.names({"exists": {"field": "name"}}) == ["b"]
        assert self.names({"term": {"name": "four"}}) == []

    def test_guessed_fields(self) -> None:
        """Without a mapping the server guesses the type of a field, which stays as it is."""
        fields = {"text": "some words", "day": "2026-11-01", "size": 7, "share": 0.5, "flag": True, "in": {"ner": "x"}}
        assert self.put(self.document("a", **fields)) == [201]
        assert self.put(self.document("b", size="many"), self.document("c", day="then")) == [400, 400]
        (index,) = self.server.request("GET", f"{self.prefix}/_mapping").values()
        properties = index["mappings"]["properties"]
        kinds = {name: about["type"] for name, about in properties.items() if name != "in"}
        assert kinds == {"text": "text", "day": "date", "size": "long", "share": "float", "flag": "boolean"}
        assert properties["in"]["properties"]["ner"]["fields"] == {"keyword": {"type": "keyword", "ignore_above": 256}}
        self.refresh()
        assert self.names({"term": {"text.keyword": "some words"}}) == ["a"]
        assert self.names({"term": {"text": "some words"}}) == []
        assert self.names({"term": {"text": "words"}}) == ["a"]

    def test_objects_that_are_stored_only(self) -> None:
        """Objects that are not enabled, and the parts of nested ones, are no fields of the document."""
        nested = {"type": "nested", "properties": {"name": KEYWORD}}
        self.make(raw={"type": "object", "enabled": False}, nested=nested)
        assert self.put(self.document("a", raw={"text": "x"}, nested=[{"name": "y"}])) == [201]
        self.refresh()
        assert self.names({"exists": {"field": "raw.text"}}) == []
        assert self.names({"term": {"nested.name": "y"}}) == []
        assert self.search({"match_all": {}})[0]["_source"]["raw"] == {"text": "x"}

    def test_removing_by_query(self) -> None:
        """What a search sees is removed, and from searches with the next refresh; its version is remembered."""
        self.put(self.document("a", 5), self.document("b", 5))
        self.refresh()
        path = f"{self.prefix}/_delete_by_query?refresh=true&conflicts=proceed"
        removed = self.server.request("POST", path, {"query": {"ids": {"values": ["a", "c"]}}})
        assert (removed["deleted"], removed["version_conflicts"], removed["failures"]) == (1, 0, [])
        assert self.names({"match_all": {}}) == ["b"]
        responses = self.server.bulk([self.document("a", 5), self.document("a", 6), self.document("a", 7)])
        assert [response.status for response in responses] == [409, 409, 201]

    def test_removing_what_was_changed(self) -> None:
        """A document that was written since the last refresh is left, and counted as a conflict."""
        self.put(self.document("a", 1), self.document("b", 1))
        self.refresh()
        self.put(self.document("a", 2))
        path = f"{self.prefix}/_delete_by_query?conflicts=proceed"
        removed = self.server.request("POST", path, {"query": {"match_all": {}}})
        assert (removed["deleted"], removed["version_conflicts"]) == (1, 1)
        self.refresh()
        assert self.names({"match_all": {}}) == ["a"]
        self.put(self.document("a", 3))
        with pytest.raises(ResponseError, match="status 409"):
            self.server.request("POST", f"{self.prefix}/_delete_by_query", {"query": {"match_all": {}}})

    def test_index_templates(self) -> None:
        """An index gets the fields of the template that fits best and of its components; set-up changes nothing twice."""
        changes, again = Changes(), Changes()
        assert self.server.request("GET", f"_index_template/{self.prefix}-verdicts") == {}
        create_index_templates(self.server, self.prefix, changes)
        create_index_templates(self.server, self.prefix, again)
        assert (len(changes.done), again.done) == (6, [])
        (template,) = self.server.request("GET", f"_index_template/{self.prefix}-verdicts")["index_templates"]
        assert template["index_template"]["_meta"]["of"] == "stream-triage"
        index = f"{self.prefix}-verdicts-2026.11"
        assert self.put(self.document("a", index=index, **{"@timestamp": "2026-11-01", "triage": {"label": "L2"}})) == [201]
        assert self.put(self.document("b", index=index, triage={"version": "?"})) == [400]
        properties = self.server.request("GET", f"{index}/_mapping")[index]["mappings"]["properties"]
        assert properties["@timestamp"]["type"] == "date"  # of the component
        assert properties["triage"]["properties"]["label"]["type"] == "keyword"  # of the template

    def test_template_without_its_component(self) -> None:
        """It is rejected."""
        body = {"index_patterns": [f"{self.prefix}-x-*"], "composed_of": [f"{self.prefix}-none"]}
        with pytest.raises(ResponseError, match="status 400"):
            self.server.request("PUT", f"_index_template/{self.prefix}-x", body)

    def test_older_index_template_is_changed(self) -> None:
        """Set-up replaces one that another version made, and adds fields to the indices that are there."""
        name = f"{self.prefix}-lines"
        self.server.request("PUT", f"_index_template/{name}", {"index_patterns": [f"{name}-*"]})
        self.put(self.document("a", index=f"{name}-2026.11"))
        changes = Changes()
        create_index_templates(self.server, self.prefix, changes)
        assert f"update index template {name}" in changes.done
        assert any(change.endswith(f"to index {name}-2026.11") for change in changes.done)
        mapping = self.server.request("GET", f"{name}-2026.11/_mapping")[f"{name}-2026.11"]["mappings"]
        assert mapping["properties"]["triage"]["properties"]["why"]["type"] == "keyword"

    def test_fields_that_cannot_be_changed(self) -> None:
        """An index with another type of field keeps it, and set-up says so."""
        name = f"{self.prefix}-lines-2026.11"
        self.server.request("PUT", name, {"mappings": {"properties": {"message": {"type": "long"}}}})
        changes = Changes()
        create_index_templates(self.server, self.prefix, changes)
        assert len(changes.failed) == 1
        assert f"{name} has other types of fields and keeps them" in changes.failed[0]

    def test_plugins_that_are_missing(self) -> None:
        """Set-up goes on without what needs them."""
        changes, settings = Changes(), OpenSearchSettings(index_prefix=self.prefix)
        installed = Installed(self.server, self.prefix)
        create_retention(self.server, settings, changes, installed)
        create_monitors(self.server, settings, changes, installed)
        assert changes.failed == []
        assert len(changes.skipped) == 3
        assert all("is not installed in OpenSearch" in reason for reason in changes.skipped)

    def test_index_that_exists(self) -> None:
        """It is not created twice, and can be created again after it was deleted."""
        self.make()
        with pytest.raises(ResponseError, match="status 400"):
            self.make()
        self.server.request("DELETE", self.prefix)
        assert self.server.request("DELETE", self.prefix) == {}
        self.make()

    def test_bulk_without_documents(self) -> None:
        assert self.server.bulk([]) == []

    def test_field_capabilities(self) -> None:
        """Types of fields, over several indices."""
        self.server.request("PUT", f"{self.prefix}-1", {"mappings": {"properties": {"a": KEYWORD, "b": {"type": "text"}}}})
        self.server.request("PUT", f"{self.prefix}-2", {"mappings": {"properties": {"a": {"type": "long"}}}})
        capabilities = self.server.request("GET", f"{self.prefix}-*/_field_caps?fields=a,b,c")
        assert capabilities["indices"] == [f"{self.prefix}-1", f"{self.prefix}-2"]
        assert set(capabilities["fields"]) == {"a", "b"}
        assert set(capabilities["fields"]["a"]) == {"keyword", "long"}
        assert capabilities["fields"]["a"]["long"]["aggregatable"]
        assert not capabilities["fields"]["b"]["text"]["aggregatable"]
        assert set(self.server.request("GET", f"{self.prefix}-1/_field_caps?fields=*")["fields"]) >= {"a", "b"}

    def test_views_stay_as_they_were(self) -> None:
        """A search in a point in time sees neither later documents nor later versions, until it is deleted."""
        self.put(self.document("a", 1, text="one"))
        self.refresh()
        path = f"{self.prefix}/_search/point_in_time?keep_alive=1m&allow_partial_pit_creation=false"
        view = self.server.request("POST", path)["pit_id"]
        self.put(self.document("a", 2, text="two"), self.document("b"))
        self.refresh()
        body = {"query": {"match_all": {}}, "pit": {"id": view, "keep_alive": "1m"}}
        (hit,) = self.server.request("POST", "_search?allow_partial_search_results=false", body)["hits"]["hits"]
        assert hit["_source"]["text"] == "one"
        self.server.request("DELETE", "_search/point_in_time", {"pit_id": [view]})
        assert self.server.request("POST", "_search?allow_partial_search_results=false", body) == {}

    def test_sorted_pages(self) -> None:
        """In the order of several fields, from behind a document on; documents without a field come last."""
        self.make(size={"type": "long"}, name=KEYWORD)
        rows = [(2, "b"), (1, "b"), (2, "a"), (None, "c"), (1, "a")]
        self.put(*(self.document(f"{number}", size=size, name=name) for number, (size, name) in enumerate(rows)))
        self.refresh()
        sort = [{"size": {"order": "asc", "unmapped_type": "long"}}, {"name": "asc"}]
        hits = self.search({"match_all": {}}, sort=sort)
        assert [hit["_id"] for hit in hits] == ["4", "1", "2", "0", "3"]
        page = self.search({"match_all": {}}, sort=sort, size=2, search_after=hits[1]["sort"])
        assert [hit["_id"] for hit in page] == ["2", "0"]
        assert [hit["_id"] for hit in self.search({"match_all": {}}, sort=sort, search_after=hits[3]["sort"])] == ["3"]

    def test_groups(self) -> None:
        """The values of a field in their order, with their counts, a page at a time."""
        self.make(name=KEYWORD)
        self.put(*(self.document(f"{number}", name=name) for number, name in enumerate("bacab")), self.document("x", y=1))
        self.refresh()
        grouping: dict[str, Any] = {"size": 2, "sources": [{"run": {"terms": {"field": "name"}}}]}
        body = {"size": 0, "aggs": {"runs": {"composite": grouping}}}
        first = self.server.request("POST", f"{self.prefix}/_search", body)["aggregations"]["runs"]
        assert [(bucket["key"]["run"], bucket["doc_count"]) for bucket in first["buckets"]] == [("a", 2), ("b", 2)]
        grouping["after"] = first["after_key"]
        second = self.server.request("POST", f"{self.prefix}/_search", body)["aggregations"]["runs"]
        assert [bucket["key"]["run"] for bucket in second["buckets"]] == ["c"]
        grouping["after"] = second["after_key"]
        assert self.server.request("POST", f"{self.prefix}/_search", body)["aggregations"]["runs"]["buckets"] == []

    @pytest.mark.parametrize(
        ("limits", "milliseconds", "count"),
        [
            ({"from": "2026-11-01", "to": "2026-11-02"}, (1_793_491_200_000, 1_793_577_600_000), 2),
            ({"from": "2026-11-01T12:00"}, (1_793_534_400_000, None), 2),
            ({"to": "2026-11-01T12:00:00.001+01:00"}, (None, 1_793_530_800_001), 1),
            ({"from": "2026-11-02||-1d/d", "to": "1793534400000"}, (1_793_491_200_000, 1_793_534_400_000), 1),
            ({"from": "2026-11-01T10:40:31||/h", "to": "2026-11-01||+12h+1s"}, (1_793_527_200_000, 1_793_534_401_000), 2),
        ],
    )
    def test_times(self, limits: dict[str, str], milliseconds: tuple[int | None, int | None], count: int) -> None:
        """Dates in their formats and with date math, as the numbers that a filter takes; the end is left out."""
        self.make(day={"type": "date"})
        days = ("2026-11-01T10:59:59.999Z", "2026-11-01T12:00:00Z", "2026-11-02")
        self.put(*(self.document(day, day=day) for day in days))
        self.refresh()
        ranges = {"field": "day", "format": "strict_date_optional_time||epoch_millis", "ranges": [limits]}
        result = self.server.request("POST", f"{self.prefix}/_search?size=0", {"aggs": {"t": {"date_range": ranges}}})
        (bucket,) = result["aggregations"]["t"]["buckets"]
        assert (bucket.get("from"), bucket.get("to"), bucket["doc_count"]) == (*milliseconds, count)
        edges = dict(zip(("gte", "lt"), milliseconds, strict=True))
        given = {name: value for name, value in edges.items() if value is not None}
        assert len(self.names({"range": {"day": {**given, "format": "epoch_millis"}}})) == count

    def test_times_that_are_none(self) -> None:
        self.make(day={"type": "date"})
        ranges = {"field": "day", "format": "strict_date_optional_time||epoch_millis", "ranges": [{"from": "yesterday"}]}
        with pytest.raises(ResponseError, match="status 400"):
            self.server.request("POST", f"{self.prefix}/_search?size=0", {"aggs": {"t": {"date_range": ranges}}})

    def test_now(self) -> None:
        """Date math may begin with the time of the request."""
        self.make(day={"type": "date"})
        ranges = {"field": "day", "ranges": [{"from": "now-1d", "to": "now"}, {"from": "now-2w/d", "to": "now/m"}]}
        result = self.server.request("POST", f"{self.prefix}/_search?size=0", {"aggs": {"t": {"date_range": ranges}}})
        lengths = [bucket["to"] - bucket["from"] for bucket in result["aggregations"]["t"]["buckets"]]
        assert 86_400_000 in lengths
        assert max(lengths) // 86_400_000 in (14, 15)

    def test_responses_are_json(self) -> None:
        """What comes back is a copy: changing it changes nothing."""
        self.put(self.document("a", text={"b": "c"}))
        self.refresh()
        self.search({"match_all": {}})[0]["_source"]["text"]["b"] = "changed"
        (hit,) = self.search({"match_all": {}})
        assert json.loads(json.dumps(hit))["_source"] == {"text": {"b": "c"}}
