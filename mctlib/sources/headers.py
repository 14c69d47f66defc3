"""How the fields of a table are called in files: in English, German, French and Spanish."""

import re
import unicodedata
from collections.abc import Sequence

from mctlib.eventlog.personal import CONSENT, REFUSAL
from mctlib.sources.files import plain

PERSON = (
    "user|customer|member|candidate|applicant|client|person|employee|recruiter|contact|subscriber|"
    "actor|talent|(job_?)?seeker|lead|worker|"
    "profile|(be)?nutzer(in)?|kunden?|mitglieds?|bewerber(in)?|kandidaten?|teilnehmer(in)?|"
    "utilisateur|candidat|membre|abonne|usuario|cliente|candidato|miembro|persona|personne"
)
# what stands behind, and before, the name of what it tells apart
KEY = "id|uid|uuid|guid|key|no|nr|number|nummer|kennung|identifiant|numero"
ID_OF = "(id|identifiant|identificador|numero)_(de_)?(l_)?"
FIRM = (
    "account|company|employer|organi[sz]ation|org|workspace|tenant|agency|"
    "firm(a|en)|unternehmens?|arbeitgeber|konto|mandant(en)?"
)
OF_FIRM = "((associated|primary|current|parent|account)_)?"
CODES = "eur|usd|gbp|chf|sek|nok|dkk|pln|czk|aud|cad|jpy|inr|brl"  # of money, within a header
IN = rf"(_(in_)?({CODES}|euros?|netto|brutto))*"
CURRENCY = r"currency(_?code)?|waehrung|wahrung|devise|monnaie|moneda"
# A count since 1970, and what stands behind the name of one.
COUNT = r"(9[4-9]\d{7}|1\d{9})(\d{3}){0,3}(\.\d+)?"
UNIT = "_(ms|milli(second)?s|us|micro(second)?s|ns|nano(second)?s|s|sec(ond)?s|epoch|unix)$"
# Names of headers, as `word_of` gives them, that likely mean a canonical column; where several
# lists stand, a header of an earlier one is preferred.
LIKELY: dict[str, str | tuple[str, ...]] = {
    "user_id": (
        rf"({PERSON})_?({KEY})|{ID_OF}({PERSON})",
        r"distinct_id",
        r"(case|application)(_?(id|key|no|nr|number))?|case_concept_name",
        rf"{PERSON}|uid|who|visitor_?id|wer|qui|quien",
        r"(record_?)?id(_contact)?|uuid|guid|kennung|identifiant|identificador",
    ),
    "event": (
        r"event(_?(name|type|title|key|table_name))?",
        r"ereignis(_?(name|typ|art))?|(nom_(de_)?(l_)?)?evenement|(nombre_(del_)?)?evento",
        r"(activity|action)(_?(name|type))?|concept_name",
        r"aktion|aktivitat|vorgang|activite|accion|actividad",
        r"what(_happened)?|happened|step|task|operation|was(_passiert(_ist)?)?|schritt|etape|paso",
    ),
    "timestamp": (
        r"time_?stamp(_utc)?|time_timestamp|event_?(at|time(stamp)?|date|on)",
        r"zeitpunkt|zeitstempel|horodatage|marca_(de_)?tiempo",
        r"(created|occurred|happened|logged|recorded|tracked|client|start(ed)?|completed?|end(ed)?)"
        r"_?(at|time(_?stamp)?|on|date)",
        r"datum_(und_)?(uhr)?zeit|date_(et_)?heure|fecha_(y_)?hora|erstellt_am|cree_le|creado_el",
        r"((unix|epoch)_?)?(time(_?stamp|_utc)?|ts)|date_?time(_utc)?|date|when(_utc)?|at|epoch",
        r"occurred|created|logged",
        r"datum|uhrzeit|zeit|wann|heure|quand|fecha|hora|cuando",
    ),
    "event_id": r"event_?(uu)?id|insert_id|message_id",
    "anonymous_id": r"anonymous_?(id)?|device_id|cookie_id|visitor_id",
    "platform": (
        r"((device|client|user|mobile|app)_)?(plat[te]?forme?|plataforma|os|operating_system)"
        r"(_?(name|type|family))?|betriebssystem",
        r"device(_?(type|category|kind))?|gera?et|gerat|appareil|dispositivo",
    ),
    "app_version": r"(app_)?version",
    "channel": r"((acq(uisition)?|marketing|traffic|lead|sign_?up)_)?(channel|source)(_?name)?|"
    r"acq(uisition|uired_(by|via))?|kanal|quelle|herkunft|canal|origine?|fuente",
    "partner_id": r"(partner|creator|affiliate|influencer|partenaire|socio)(_?(id|name))?",
    "promo_code": r"(promo|coupon|discount|gutschein|rabatt|aktions)(_?code)?|"
    r"code_promo(tionnel)?|codigo_(promocional|de_descuento)",
    "signed_up_at": (
        r"(created|joined|registered|registration|sign(ed)?_?up)(_?(at|on|date|time))?|create_date",
        r"(registriert|angemeldet|beigetreten)(_(am|seit))?|"
        r"(registrierung|anmeldung|beitritt)(s_?datum)?|registrierungsdatum|anmeldedatum",
        r"inscrite?(_(le|depuis))?|(date_d_)?inscription|"
        r"registrad[oa](_el)?|(fecha_de_)?(registro|alta|inscripcion)",
    ),
    "account_id": (
        rf"{OF_FIRM}({FIRM})_?({KEY})",
        rf"{OF_FIRM}({FIRM})(_?name)?",
        rf"({ID_OF}|nom_(de_)?(l_)?|nombre_(de_)?(la_)?)?"
        r"(entreprise|societe|employeur|compte|empresa|empleador|cuenta)",
    ),
    "plan": r"(pricing_?)?(plan|tier)|subscription(_plan)?|tarif|paket|abo(nnement)?|formule|"
    r"forfait|suscripcion|tarifa",
    "churned_at": (
        r"(churned|cancell?ed|deleted)(_?(at|on|date))?",
        r"geku?e?ndigt(_am)?|kue?ndigung(s_?datum)?|resilie(_le)?|(date_de_)?resiliation|"
        r"(fecha_de_)?(baja|cancelacion)|cancelado(_el)?",
    ),
    "renewed_at": r"(renewed|renewal)(_?(at|on|date))?|verlae?ngert(_am)?|verlae?ngerung|"
    r"renouvele(_le)?|(date_de_)?renouvellement|renovado(_el)?|(fecha_de_)?renovacion",
    "revenue": r"(revenue|mrr|arr|umsatz|erlose?|chiffre_d_affaires|revenu|ingresos|facturacion)"
    rf"{IN}",
    "consent": (CONSENT, REFUSAL),
    "submitted_at": (
        r"(submitted|submit|completed|response|answered)_?(at|on|date|time).*|"
        r"date|timestamp|created(_at)?",
        r"(beantwortet|abgeschickt|eingereicht)(_am)?|datum|zeitpunkt|repondu_le|fecha",
    ),
    "micro_conversion": r"question|micro_?conversion|goal|topic|frage|thema|pregunta|tema",
    "answer": r"answer|response|reply|antwort|reponse|respuesta",
    "reason": r"reason|comment|why|grund|kommentar|warum|raison|commentaire|pourquoi|motivo|"
    r"comentario|razon",
    "day": r"day|date|week|tag|datum|woche|jour|semaine|dia|fecha|semana",
    "amount": r"(amount|spend|cost|fee|price|betrag|kosten|ausgaben|preis|montant|couts?|prix|"
    rf"depenses?|importe|monto|costes?|gastos?|precio){IN}",
    "kind": r"kind|type|category|art|typ|kategorie|categorie|tipo|categoria",
    "label": r"label|title|what|headline|titel|bezeichnung|was|titre|libelle|titulo",
}


def word_of(header: str, values: Sequence[str] = ()) -> str:
    """A header in small letters without accents, with _ for everything else.

    Where all its values are counts since 1970, without their unit.
    """
    letters = unicodedata.normalize("NFKD", plain(header).casefold())
    base = "".join(letter for letter in letters if not unicodedata.combining(letter))
    word = re.sub(r"[^a-z0-9]+", "_", base).strip("_")
    counts = [re.fullmatch(COUNT, value.strip()) for value in values]
    return re.sub(UNIT, "", word) if counts and all(counts) else word
