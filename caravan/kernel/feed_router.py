"""GET /v1/feed and GET /v1/snapshot, the same for every service. The app provides its `Runtime`."""

from typing import Annotated, Any, Final

from fastapi import Query

from caravan.kernel import feed
from caravan.kernel.events import FeedPage, SnapshotPage
from caravan.kernel.problems import CursorGone
from caravan.kernel.runtime import Runtime
from caravan.kernel.web import Caller, Router, allow, problems, provided

MAX_WAIT_SECONDS: Final = 30.0

Follower = Annotated[
    Caller,
    allow(
        "service or platform admin",
        lambda caller: caller.is_service() or caller.is_admin,
        *("service:<name>", "platform:admin"),
    ),
]
_Runtime = Annotated[Runtime, provided(Runtime)]
feed_router: Final = Router(prefix="/v1", tags=["feed"])
"""The feed's routes, for `create_service_app`."""


@feed_router.get("/feed", response_model=FeedPage, responses=problems(CursorGone))
async def read_feed(
    caller: Follower,
    runtime: _Runtime,
    after: Annotated[
        str | None,
        Query(max_length=100, description="`next` of the page before: everything up to it is acknowledged."),
    ] = None,
    wait: Annotated[
        float, Query(ge=0, le=MAX_WAIT_SECONDS, description="How many seconds to wait for a first event.")
    ] = 0,
) -> dict[str, Any]:
    """Read what happened after a cursor, in order.

    The token's subject is registered as a follower; events are kept until every follower has acknowledged them. One that isn't a
    service of the platform is forgotten when it has not come for 7 days.
    """
    events, following = await feed.page(runtime.db, runtime.service, caller.subject, after, wait)
    return {"events": events, "next": following}


@feed_router.get("/snapshot", response_model=SnapshotPage)
async def read_snapshot(
    caller: Follower,
    runtime: _Runtime,
    after: Annotated[str, Query(max_length=200, description="`next` of the page before.")] = "",
) -> dict[str, Any]:
    """Read the current state of all entities, and the cursor to follow from once the last page is read.

    Follow from the first page's cursor: what changed while the pages were read comes again by the feed.
    """
    cursor, events, following = await runtime.db.read(feed.snapshot, runtime.service, after)
    return {"cursor": cursor, "events": events, "next": following}
