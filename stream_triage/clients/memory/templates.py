"""Index templates in memory: their definitions in, the definition of a new index out."""

import copy
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from stream_triage.clients.memory.mapping import RequestError, merged

__all__ = ["KINDS", "IndexTemplates"]

KINDS: Final = ("_component_template", "_index_template")


class IndexTemplates:
    """Component templates and index templates by name, as OpenSearch keeps them."""

    def __init__(self) -> None:
        self._components: dict[str, dict[str, Any]] = {}
        self._templates: dict[str, dict[str, Any]] = {}

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """The response to a request for one of them. Raises `RequestError` (404) if it does not exist."""
        known, singular = self._of(kind), kind[1:]
        if name not in known:
            raise RequestError(404, "resource_not_found_exception", f"{singular} matching [{name}] not found")
        return {f"{singular}s": [{"name": name, singular: known[name]}]}

    def put(self, kind: str, name: str, definition: dict[str, Any]) -> dict[str, Any]:
        """Stores one of them. Raises `RequestError` (400) if it is composed of one that does not exist."""
        missing = set(definition.get("composed_of", [])) - self._components.keys()
        if missing:
            reason = f"index_template [{name}] invalid, cause [component templates {sorted(missing)} do not exist]"
            raise RequestError(400, "invalid_index_template_exception", reason)
        self._of(kind)[name] = copy.deepcopy(definition)
        return {"acknowledged": True}

    def definition_of(self, index: str, own: Mapping[str, Any]) -> dict[str, Any]:
        """Settings and mappings of a new index, `own` being those of the request that creates it.

        Of the index templates whose pattern fits, the one with the highest priority counts. Its components come first.
        """
        fitting = [
            template
            for template in self._templates.values()
            if any(fnmatchcase(index, pattern) for pattern in template["index_patterns"])
        ]
        if not fitting:
            return dict(own)
        template = max(fitting, key=lambda template: int(template.get("priority", 0)))
        definition: dict[str, Any] = {}
        for component in template.get("composed_of", []):
            definition = merged(definition, self._components[component]["template"])
        return merged(merged(definition, template.get("template", {})), own)

    def _of(self, kind: str) -> dict[str, dict[str, Any]]:
        return self._components if kind == "_component_template" else self._templates
