"""Which columns and properties are personal by their name, and which of them are kept as hashes."""

import re

from mctlib.contract import UTM

# Keys whose values are personal data wherever they stand in `properties`.
REGULATED = "|".join(
    (
        r'[^"]*e[-_ ]?mail(?:[-_ ]?address)?',
        r'[^"]*phone(?:[-_ ]?number)?',
        r'(?:[^"]*[-_ .$])?ip(?:[-_ ]?addr(?:ess)?)?',
        r'[^"]*ipaddress',
        r'(?:[^"]*traits[_.])?\$?'
        r"(?:user|first|last|full|middle|sur|family|given|display|nick|contact)?[-_ ]?name",
        r'[^"]*(?:linked[-_ ]?in|xing)(?:[-_ ]?(?:url|profile|link))?',
    )
)
# Of a table of people also these; elsewhere such words mean other things (mobile: true).
OF_PEOPLE = "|".join(
    (
        r"(?:mobile|cell|handy|whatsapp|telegram|tel|telefon|telefax|fax)"
        r"(?:[-_ ]?(?:phone|number|no|nr))?\.?",
        r"(?:date[-_ ]of[-_ ])?birth(?:[-_ ]?da(?:y|te))?|dob|geburts(?:tag|datum)",
        r"vorname|nachname|contact|kontakt|(?:street|home|post(?:al)?)[-_ ]?address|adresse|iban",
    )
)
# Keys whose values name a person, a device or a visit: kept as hashes, deeper in JSON not at all.
OF_SOMEBODY = "|".join(
    (
        r'[^"]*(?:user|person|people|member|visitor|candidate|applicant|recruiter|employee|customer'
        r"|contact|lead|client|profile|account|device|cookie|session|advertising|vendor|android"
        r"|anonymous|anon|amplitude|pseudo|distinct)[-_ .]?(?:pseudo[-_ ]?)?(?:uu)?id",
        r'[^"]*distinct[-_ ]?id[^"]*',
        r'(?:[^"]*[-_ .$])?(?:idf[av]|ad[-_ ]?id|gaid|aaid|imei|cid)',
        r'[^"]*(?:user|device|browser)[-_ ]?fingerprint',
    )
)
# How a column of people is called that may say who refused, in lower case with _ between words.
CONSENT = r"(\w+_)?(consent\w*|opt_?in|einwilligung|zustimmung|gdpr|dsgvo|rgpd)(_\w+)?"
# The same of a column whose yes is a refusal.
REFUSAL = (
    r"(\w+_)?((opt(ed)?_?out|do_?not_?track|dnt|widerspruch|widersprochen)(_\w+)?|unsubscribed?)"
)
# Of these no value is hashed: who sent users is no person of ours.
PARTNERS = r"partner|affiliate|creator|influencer|promo|coupon|utm|campaign"
NEVER_HASHED = ("event", "partner_id", "promo_code", *UTM)


# Columns that loaders add: of two copies of a row they differ.
OF_LOADERS = "_(fivetran|airbyte|sdc)_.*"


def left_out(name: str, *, of_people: bool = False) -> bool:
    """Whether nothing is kept of the values of a column, of a table of people or of another."""
    names = f"{REGULATED}|{OF_LOADERS}"
    if of_people:
        # "Phone (mobile)" is a phone
        names, name = f"{names}|{OF_PEOPLE}", re.sub(r"\s*\(.*\)\s*$", "", name)
    return bool(re.fullmatch(names, name, re.IGNORECASE))


def may_refuse(name: str) -> bool:
    """Whether a column may say who gave no consent."""
    return bool(re.fullmatch(f"{CONSENT}|{REFUSAL}", _word(name)))


def refuses_by_yes(name: str) -> bool:
    """Whether a yes below this header is a no to being tracked."""
    return bool(re.fullmatch(REFUSAL, _word(name)))


def _word(name: str) -> str:
    return re.sub(r"\W+", "_", name.lower()).strip("_")


def is_id(name: str) -> bool:
    """Whether a column or property is called as ids of people, devices and visits are."""
    return bool(re.fullmatch(OF_SOMEBODY, name, re.IGNORECASE))


def of_partner(name: str) -> bool:
    """Whether it is one of those that sent users, whose ids stay readable."""
    return bool(re.search(PARTNERS, name, re.IGNORECASE))
