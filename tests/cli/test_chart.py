"""Bar charts: what stands in them, how long bars are, and that no name breaks one."""

from xml.etree import ElementTree as Xml

from hypothesis import given
from hypothesis import strategies as st

from caravan.cli.chart import LEFT, LONGEST, MOST, PART, WHOLE, WIDTH, Bar, Bars, drawn
from caravan.kernel.money import Money

SVG = "{http://www.w3.org/2000/svg}"


def bars(root: Xml.Element, colour: str) -> list[int]:
    """The widths of those of a colour, without the legend's."""
    return [int(one.attrib["width"]) for one in root.findall(f"{SVG}g/{SVG}rect") if one.get("fill") == colour]


def texts(root: Xml.Element) -> list[str]:
    return ["".join(one.itertext()) for one in root.iter(f"{SVG}text")]


def test_bars_are_as_long_as_their_amounts_over_all_groups() -> None:
    groups = (
        Bars("企业 Enterprises", [Bar("秦岭材料", Money(400_000), Money(100_000)), Bar("无用量", Money(-5), Money(0))]),
        Bars("算力中心 Centres", [Bar("西安中心", Money(200_000), Money(200_000))]),
    )
    root = Xml.fromstring(drawn("测算", "使用 used", "补贴 pays", groups))
    assert bars(root, WHOLE) == [LONGEST, 0, LONGEST // 2]
    assert bars(root, PART) == [LONGEST // 4, 0, LONGEST // 2]
    assert texts(root) == [
        "测算", "使用 used", "补贴 pays",
        "企业 Enterprises", "秦岭材料", "1,000.00 / 4,000.00", "无用量", "0.00 / -0.05",
        "算力中心 Centres", "西安中心", "2,000.00 / 2,000.00",
    ]  # fmt: skip


def test_names_are_escaped_and_long_ones_cut_with_the_whole_behind_them() -> None:
    name = '<b>"一家" & Söhne</b>' + "很长的名字" * 9
    text = drawn("t", "w", "p", [Bars("g", [Bar(name, Money(1), Money(1))])])
    root = Xml.fromstring(text)
    assert "<b>" not in text
    assert root.findtext(f"{SVG}g/{SVG}title") == name
    (shown,) = (one for one in texts(root) if one.startswith("<b>"))
    assert shown.endswith("…") and name.startswith(shown[:-1])


def test_what_has_too_many_bars_says_how_many_more_there_are() -> None:
    many = [Bar(str(number), Money(1), Money(0)) for number in range(MOST + 3)]
    root = Xml.fromstring(drawn("t", "w", "p", [Bars("g", many)]))
    assert len(bars(root, WHOLE)) == MOST
    assert "另有 3 个 3 more" in texts(root)


@given(st.lists(st.builds(Bar, st.text("某公司 ab"), *[st.builds(Money, st.integers(-(10**9), 10**12))] * 2)))
def test_everything_lies_on_the_page(some: list[Bar]) -> None:
    root = Xml.fromstring(drawn("t", "w", "p", [Bars("g", some)]))
    height = int(root.attrib["height"])
    for one in root.iter():
        if "y" in one.attrib:
            assert 0 <= int(one.attrib["x"]) <= LEFT + LONGEST + 8 < WIDTH
            assert int(one.attrib["y"]) < height
