"""Partners that touched fewer than ten users are told with others."""

import pandas as pd

from mctlib.attribution import attribution_windows
from mctlib.results import Page
from tests.support.logs import log_of


def world(aliases=None, **n_users):
    """Users whom a partner touches on day 70, and of whom every second one pays on day 71."""
    rows = [("nobody", "page", 0, None)]
    for partner, n in n_users.items():
        for i in range(n):
            user = f"{partner} {i}"
            rows += [(user, "signed_up", 65, None), (user, "page", 70, partner)]
            rows += [(user, "paid", 71, None)] * (i % 2)
    return log_of(rows, "partner_id", unit="D", aliases=aliases)


def credit(log, **options):
    ask = {"windows": ["7d"], "as_of": "2026-05-01", "rules": ["last"], "seed": 1}
    result = attribution_windows(log, "paid", start="signed_up", **ask, **options)
    return result, result.credit.set_index("partner_id")["credit"].to_dict()


def test_small_partners_share_a_name_in_every_table_and_all_their_credit():
    """Of 8, 6 and 30 users every second one pays: 4, 3 and 15."""
    result, found = credit(world(tiny=8, small=6, large=30))
    assert found == {"large": 15, "others": 7}
    assert (
        "Told together, so that no group has fewer than 10 users: small and tiny as others."
        in result.caveats
    )
    for table in result.tables.values():
        assert not table.isin(["tiny", "small"]).any(axis=None)
    assert not Page().publish("partners", result.partners, result.groups)[1].any()


def test_a_partner_alone_is_told_with_the_smallest_other_however_it_is_spelt():
    aliases = {"tiny": "Tiny Ltd", "tinny": "Tiny Ltd"}
    found = credit(world(aliases, tiny=4, tinny=4, middle=20, large=30))[1]
    assert found == {"large": 15, "others": 14}


def test_a_user_whom_two_small_partners_touched_is_one():
    """Six users of each, but the same ones: together they are six still, so a third one joins."""
    rows = [("nobody", "page", 0, None)]
    for i in range(6):
        rows += [(f"u{i}", "signed_up", 65, None), (f"u{i}", "page", 69, "one")]
        rows += [(f"u{i}", "page", 70, "two"), (f"u{i}", "paid", 71, None)]
    for i in range(20):
        rows += [(f"w{i}", "signed_up", 65, None), (f"w{i}", "page", 70, "three")]
    rows += [(f"x{i}", "signed_up", 65, None) for i in range(20)]
    rows += [(f"x{i}", "page", 70, "four") for i in range(20)]
    found = credit(log_of(rows, "partner_id", unit="D"))[1]
    assert found == {"four": 0, "others": 6} or found == {"three": 0, "others": 6}


def test_money_spent_on_small_partners_goes_with_them():
    spend = pd.DataFrame(
        {"partner_id": ["tiny", "middle"], "day": ["2026-03-10"] * 2, "amount": [50.0, 100.0]}
    )
    rows = [("nobody", "page", 0, None)]
    for partner, n in (("tiny", 6), ("middle", 20), ("large", 40)):
        for i in range(n):
            user = f"{partner} {i}"
            rows += [(user, "signed_up", 65, None), (user, "page", 70, partner)]
            rows += [(user, "paid", 71, None)]
    log = log_of(rows, "partner_id", unit="D", spend=spend)
    result, found = credit(log)
    assert found == {"large": 40, "others": 26}
    spent = result.partners.set_index("partner_id")["spend_amount"]
    assert spent["others"] == 150


def test_a_few_users_whose_tags_name_nobody_are_told_with_others_too():
    """Of 4, 20 and 30 users every second one pays: 2, 10 and 15."""
    rows = [("nobody", "page", 0, None, None)]
    for partner, utm, n in (("large", None, 30), ("middle", None, 20), (None, "odd", 4)):
        for i in range(n):
            user = f"{partner} {i}"
            rows += [(user, "signed_up", 65, None, None), (user, "page", 70, partner, utm)]
            rows += [(user, "paid", 71, None, None)] * (i % 2)
    result, found = credit(log_of(rows, "partner_id", "utm_source", unit="D"))
    assert found == {"large": 15, "others": 12}
    assert any("(unresolved utm) and middle as others" in said for said in result.caveats)
