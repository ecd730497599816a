"""What runs held, as it is stored."""

import json

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from caravan.contracts.usage import Span
from caravan.kernel.clock import from_seconds
from services.accounting.usage.models import Spans

COUNTS = st.integers(0, 2**53 - 1)
SPANS = st.builds(
    lambda start, seconds, counts, accelerator: Span(
        start=from_seconds(start),
        end=from_seconds(start + seconds),
        nodes=counts[0] + 1,
        cpus=counts[1],
        memory_mib=counts[2],
        accelerators=counts[3],
        accelerator=accelerator,
    ),
    st.integers(0, 2**33),
    st.integers(1, 3600),
    st.tuples(st.integers(0, 2**53 - 2), COUNTS, COUNTS, COUNTS),
    st.sampled_from((None, "acc_nvidia-h100-80g")),
)


@given(st.lists(SPANS, max_size=4).map(tuple))
def test_spans_come_back_as_they_were_and_are_compact_json(spans: tuple[Span, ...]) -> None:
    stored = Spans().process_bind_param(spans, sqlite.dialect())
    assert Spans().process_result_value(stored, sqlite.dialect()) == spans
    plain = [span.model_dump(mode="json") for span in spans]
    assert stored == json.dumps(plain, ensure_ascii=False, separators=(",", ":"))
