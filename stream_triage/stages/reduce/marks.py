"""What the other stages know about single lines: marks, which go into a reduction before any relevance."""

from typing import Any, Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stream_triage.errors import BundleError

__all__ = ["ALWAYS", "Mark", "ReducerProfile", "Why"]

Why = Literal["evidence", "rule", "procedure", "anomaly", "rare", "relevant", "context", "new"]
# Kept in any reduction without a budget, and counted where a budget leaves no room for them.
ALWAYS: Final[tuple[Why, ...]] = ("evidence", "rule")


class Mark(NamedTuple):
    """A line worth reading, why, and how many lines of its template the source has."""

    source: str
    number: int
    why: Why
    repeats: int = 1


class ReducerProfile(BaseModel):
    """`reducer.json` of a bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rare: tuple[str, ...] = Field(description="keys that fewer than `rare_share` of the passing runs show")
    rare_share: float

    @classmethod
    def from_file(cls, profile: Any) -> "ReducerProfile":
        """From `reducer.json` of a bundle."""
        try:
            return cls.model_validate(profile)
        except ValidationError as error:
            raise BundleError(
                f"reducer.json of this bundle has {error.error_count()} invalid field(s); rebuild the bundle"
            ) from None
