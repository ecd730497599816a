"""What a caller may, by the permissions of its token."""

from caravan.kernel.tokens import Caller


def test_a_callers_permissions_are_read_exactly() -> None:
    caller = Caller(
        "carol",
        frozenset(
            {
                "org/org_1:admin",
                "org/org_2:member",
                "provider/prv_1:admin",
                "site/sit_1:agent",
                "service:broker",
                "odd",
                "org/",
            }
        ),
    )
    assert caller.organizations() == {"org_1", "org_2"}
    assert caller.is_org_admin("org_1")
    assert caller.is_org_member("org_1")
    assert caller.is_org_member("org_2")
    assert not caller.is_org_admin("org_2")
    assert not caller.is_org_member("org_3")
    assert caller.providers() == {"prv_1"}
    assert caller.is_provider_admin("prv_1")
    assert not caller.is_provider_admin("org_1")
    assert caller.sites() == {"sit_1"}
    assert caller.is_agent("sit_1")
    assert caller.is_service()
    assert caller.is_service("broker")
    assert not caller.is_service("catalog")
    assert not caller.is_platform_reader


def test_admin_and_finance_are_apart_but_both_read() -> None:
    admin, finance = Caller("a", frozenset({"platform:admin"})), Caller("f", frozenset({"platform:finance"}))
    assert admin.is_admin
    assert not admin.is_finance
    assert finance.is_finance
    assert not finance.is_admin
    assert admin.is_platform_reader
    assert finance.is_platform_reader


def test_the_office_of_programmes_is_neither_admin_nor_finance_nor_they_it() -> None:
    office = Caller("o", frozenset({"platform:programmes"}))
    assert office.is_office
    assert not (office.is_admin or office.is_finance or office.is_platform_reader)
    assert not Caller("p", frozenset({"platform:admin", "platform:finance"})).is_office


def test_a_subject_named_like_a_service_is_none() -> None:
    assert not Caller("service:broker", frozenset()).is_service("broker")
