from caravan.contracts.parties import credit_code_check
from tests.support import Person, Running, ok, pointers, refused

CODE = "91610131MA6TXXXX0" + credit_code_check("91610131MA6TXXXX0")
OTHER_CODE = "91610000MA6U000005"[:17] + credit_code_check("91610000MA6U000005"[:17])


async def test_an_organization_is_registered_read_and_renamed(operator: Person) -> None:
    made = await operator.post("/organizations", {"name": " 西安某科技有限公司 ", "credit_code": CODE})
    organization = ok(made, 201)
    assert organization["name"] == "西安某科技有限公司"
    assert made.headers["etag"] == '"1"'
    path = f"/organizations/{organization['id']}"

    changed = await operator.put(path, {"name": "Another name", "credit_code": CODE}, version=1)

    assert changed.headers["etag"] == '"2"'
    assert ok(await operator.get(path)) == organization | {"name": "Another name", "version": 2}


WRONG_CODES = [
    CODE[:17] + ("0" if CODE[17] != "0" else "1"),
    CODE[1] + CODE[0] + CODE[2:],
    CODE[:17],
    CODE + "0",
    CODE.lower(),
    "I" + CODE[1:],
    "9161 131MA6TXXXX0K",
]


async def test_a_wrong_credit_code_is_refused_by_name(operator: Person) -> None:
    for code in WRONG_CODES:
        problem = refused(await operator.post("/organizations", {"name": "A", "credit_code": code}), 422, "invalid")
        assert pointers(problem) == ["/credit_code"]
        assert problem["errors"][0]["code"] == "credit_code"
        assert code not in str(problem)


async def test_a_name_can_be_seen_and_reads_one_way(operator: Person) -> None:
    for name in ("\u3164", "\u2060\u200b", "\u00ad", "\u2800", "\u0301", "Centre\u202egnp", "\u2066Centre"):
        problem = refused(await operator.post("/organizations", {"name": name}), 422, "invalid")
        assert pointers(problem) == ["/name"], ascii(name)
    for name in ("🐪", "西安", "e\u0301lan"):
        ok(await operator.post("/organizations", {"name": name}), 201)


async def test_a_credit_code_stands_once(operator: Person) -> None:
    first = ok(await operator.post("/organizations", {"name": "A", "credit_code": CODE}), 201)
    second = ok(await operator.post("/organizations", {"name": "B", "credit_code": OTHER_CODE}), 201)

    again = refused(await operator.post("/organizations", {"name": "C", "credit_code": CODE}), 409, "already_exists")
    path = f"/organizations/{second['id']}"
    taken = refused(await operator.put(path, {"name": "B", "credit_code": CODE}, 1), 409, "already_exists")

    assert again["existing"] == taken["existing"] == first["id"]


async def test_a_change_needs_the_version_that_was_read(operator: Person) -> None:
    path = f"/organizations/{ok(await operator.post('/organizations', {'name': 'A'}), 201)['id']}"
    refused(await operator.put(path, {"name": "B"}), 428, "version_needed")
    ok(await operator.put(path, {"name": "B"}, version=1))
    refused(await operator.put(path, {"name": "C"}, version=1), 412, "stale")
    assert ok(await operator.get(path))["name"] == "B"


async def test_only_members_and_the_platform_see_an_organization(catalog: Running, operator: Person) -> None:
    mine = ok(await operator.post("/organizations", {"name": "Mine"}), 201)
    other = ok(await operator.post("/organizations", {"name": "Other"}), 201)
    member = catalog.person("member", f"org/{mine['id']}:member")

    assert ok(await member.get("/organizations"))["items"] == [mine]
    assert ok(await member.get(f"/organizations/{mine['id']}")) == mine
    hidden = await member.get(f"/organizations/{other['id']}")
    missing = await member.get("/organizations/org_" + "0" * 32)
    assert refused(hidden, 404, "not_found").keys() == refused(missing, 404, "not_found").keys()
    for path in ("/organizations", f"/organizations/{mine['id']}"):
        refused(
            await member.put(path, {}) if path != "/organizations" else await member.post(path, {}), 404, "not_found"
        )


async def test_the_platform_lists_all_organizations_in_pages(catalog: Running, operator: Person) -> None:
    made = [ok(await operator.post("/organizations", {"name": f"Number {n}"}), 201)["id"] for n in range(5)]
    for permission in ("platform:admin", "platform:finance", "service:accounting"):
        reader = catalog.person("reader", permission)
        listed: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            page = ok(await reader.get("/organizations", limit=2, **cursor))
            listed += [item["id"] for item in page["items"]]
            if page["next"] is None:
                break
            cursor = {"cursor": page["next"]}
        assert listed == made


async def test_an_admins_decision_is_in_the_audit_log(operator: Person, stranger: Person) -> None:
    made = ok(await operator.post("/organizations", {"name": "A"}), 201)
    (entry,) = ok(await operator.get("/audit", entity=made["id"]))["items"]
    assert (entry["subject"], entry["action"], entry["data"]) == ("operator", "create_organization", made)
    refused(await stranger.get("/audit"), 404, "not_found")
