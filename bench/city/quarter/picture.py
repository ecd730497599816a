"""What a preview says beside what was then paid, as one SVG."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final
from xml.etree import ElementTree as Xml

from caravan.cli import chart, estimates
from caravan.contracts.estimates import Preview
from caravan.kernel.money import Money

NAMESPACE: Final = "http://www.w3.org/2000/svg"


def beside(preview: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    """An SVG document: on the left the preview of all, as `caravan programmes preview --chart` draws it; on the right what was paid."""
    found = Preview.model_validate(preview["all"])
    Xml.register_namespace("", NAMESPACE)
    sides = [Xml.fromstring(text) for text in (estimates.charted(found), _paid(found, told))]
    width, height = (
        sum(int(one.get("width", "0")) for one in sides),
        max(int(one.get("height", "0")) for one in sides),
    )
    root = Xml.Element(f"{{{NAMESPACE}}}svg", {"width": str(width), "height": str(height)})
    root.set("viewBox", f"0 0 {width} {height}")
    Xml.SubElement(root, f"{{{NAMESPACE}}}rect", {"width": "100%", "height": "100%", "fill": "#ffffff"})
    for place, one in enumerate(sides):
        one.set("x", str(place * chart.WIDTH))
        root.append(one)
    return Xml.tostring(root, encoding="unicode") + "\n"


def _paid(found: Preview, told: Mapping[str, Any]) -> str:
    """In the preview's order. What was paid for earlier lines is of no centre: it has a bar of its own."""
    owns = told["organizations"]
    sold, paid = Counter[str](), Counter[str]()
    for own in owns.values():
        sold.update(own["sold"])
        paid.update(own["paid"])
    organizations = [
        chart.Bar(one.name, Money(sum(own["sold"].values())), Money(sum(own["pays"].values())))
        for one in found.organizations
        if (own := owns.get(one.organization))
    ]
    centres = [chart.Bar(one.name, Money(sold[one.provider]), Money(paid[one.provider])) for one in found.providers]
    earlier = Money(sum(own["earlier"] for own in owns.values()))
    return chart.drawn(
        f"{found.programme_name}：实际 paid",
        "使用金额 used",
        "补贴 paid by the programme",
        (
            chart.Bars("企业 Enterprises", organizations),
            chart.Bars("算力中心 Centres", [*centres, chart.Bar("以前账期 Earlier periods", Money(0), earlier)]),
        ),
    )
