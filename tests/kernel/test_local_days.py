from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from caravan.kernel.clock import from_seconds
from caravan.kernel.local_days import local_days, midnight

ZONES = ("Asia/Shanghai", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "Asia/Kathmandu", "Pacific/Apia")
YEARS = 1_300_000_000, 1_800_000_000  # 2011, when Apia had no 30 December, to 2027


@given(
    st.sampled_from(ZONES), st.integers(*YEARS), st.integers(1, 400_000), st.lists(st.integers(0, 399_999), max_size=20)
)
def test_days_are_those_that_the_zones_clocks_show(name: str, start: int, length: int, some: list[int]) -> None:
    zone = ZoneInfo(name)
    days = list(local_days(zone, start, start + length))
    assert [day.start for day in days] == [start, *(day.end for day in days[:-1])]
    assert days[-1].end == start + length
    for day in days:
        assert day.start < day.end
        for second in (day.start, day.end - 1, *(start + one for one in some if day.start <= start + one < day.end)):
            local = from_seconds(second).astimezone(zone)
            assert local.date() == day.date
            assert day.second(local.hour * 3600 + local.minute * 60 + local.second) == second


@given(st.sampled_from(ZONES), st.integers(*YEARS), st.integers(1, 40))
def test_midnights_are_where_the_zones_days_begin(name: str, second: int, later: int) -> None:
    zone = ZoneInfo(name)
    first, end = midnight(zone, second), midnight(zone, second, 1)
    assert first <= second < end
    dates = {from_seconds(at).astimezone(zone).date() for at in (first, second, end - 1)}
    assert len(dates) == 1 and from_seconds(first - 1).astimezone(zone).date() not in dates
    days, at = 0, second
    while days < later:
        at, days = midnight(zone, at, 1), days + 1
    skipped = (from_seconds(at).astimezone(zone).date() - dates.pop()).days - later
    assert midnight(zone, second, later + skipped) == at
