"""A plan whose labels are nothing like the names: people read labels wherever they look.

The notebooks themselves run here, on the demo with such a plan, and every sentence, cell and
picture is searched for the names of events and micro-conversions.
"""

import json
import re
import shutil
from itertools import pairwise

import matplotlib.pyplot as plt
import matplotlib.text
import pytest
import yaml

import mctlib.report
from mctlib.report import display
from tests.support.project import ROOT

pytestmark = pytest.mark.integration

# event: the label that people read; the micro-conversions are called mc_0, mc_1, ...
LABELS = {
    "signed_up": "Anmeldung",
    "profile_completed": "Profil fertig",
    "resume_uploaded": "Lebenslauf da",
    "interview_scheduled": "Termin steht",
    "interview_reminder_set": "Erinnerung",
    "feedback_given": "Antwort",
    "application_submitted": "Bewerbung",
    "job_saved": "Merkliste",
    "job_viewed": "Anzeige gelesen",
    "session_ended": "Besuch",
    "email_clicked": "Postklick",
    "partner_visit": "Partnerbesuch",
    "subscription_started": "Abo",
    "recruiter_signed_up": "Werberin da",
    "first_job_posted": "Erste Anzeige",
    "candidate_shortlisted": "Kurzliste",
    "team_invited": "Team da",
    "account_deleted": "Konto weg",
    "help_desk_contacted": "Hilfe geholt",
}
NAME = {event: f"mc_{i}" for i, event in enumerate(LABELS)}
RAW = re.compile(rf"\b({'|'.join(LABELS)}|mc_\d+)\b".replace("_", "[_ ]"))
# What an analyst needs as it is written, an alert's own id, of which the response log may be; and
# by which runs know a headline, which nobody reads.
AS_WRITTEN = re.compile(
    r'\b\w+-((fall|rise|loss)-([a-z]+-)?)?\d{4}-\d\d-\d\d|"(name|about)": "\w+"'
)
ON_WEB = {"event": "profile_completed", "where": {"platform": {"not": "ios"}}}
# Parameters beside those of the params file, in which plain names are the plan's.
ASKED = {
    "funnel": {
        "window": "",
        "by": "creators",
        "exclude": [{"event": NAME["account_deleted"], "after": 1, "before": 2}],
    },
    "funnel, plain": {
        "competing": {"event": "account_deleted", "where": {"platform": {"present": True}}}
    },
    "activation": {
        "activation": [ON_WEB, NAME["interview_scheduled"]],
        "by": "creators",
        "reference": ["all others"],
    },
    "attribution": {"conversion": {"event": "subscription_started"}},
    "roi": {"start": [NAME["signed_up"]], "window": "", "covariates": ["job_viewed"]},
    "roi, metric": {"metric": "minutes"},
    "audit": {},
    "signals": {},
    "scorecard": {},
}
STEPS = ("signed_up", "profile_completed", "resume_uploaded", "interview_scheduled")
MORE = {  # of micro-conversions, by their events
    event: {
        "implies": [NAME[before]],
        "backend": True,
        "survey": event,
        "owner": "wachstum",
        "outcome": "activation",
        "priority": 1,
        "exposed": True,
    }
    for before, event in pairwise(STEPS)
}


def renamed(value):
    """Parameters in the plan's names."""
    if isinstance(value, list):
        return [renamed(each) for each in value]
    return NAME.get(value, value) if isinstance(value, str) else value


@pytest.fixture(scope="module")
def project(tmp_path_factory, demo_log):
    root = tmp_path_factory.mktemp("labels")
    (root / "params").mkdir()
    (root / "outputs").mkdir()
    (root / "outputs/store").symlink_to(ROOT / "outputs/store")
    plan = {
        "start": NAME["signed_up"],
        "active": [NAME["session_ended"]],
        "micro_conversions": {
            NAME[event]: {"label": label, "events": [event], "within": "14d"} | MORE.get(event, {})
            for event, label in LABELS.items()
        },
        "terms": {
            "activated": {
                "produkt": {"is": NAME["interview_scheduled"], "within": "30d"},
                "werbung": {"is": {"event": "email_clicked"}, "within": "7d"},
            }
        },
        "metrics": {
            "minutes": {
                "label": "Länge eines Besuchs",
                "kind": "mean",
                "of": NAME["session_ended"],
                "property": "minutes",
                "alert": True,
            }
        },
        "segments": {"creators": {"label": "Partner", "where": {"channel": "creator"}}},
    }
    (root / "params/plan.demo.yaml").write_text(yaml.safe_dump(plan))
    shutil.copy(ROOT / "params/data.demo.yaml", root / "params")
    return root


@pytest.fixture
def told(project, monkeypatch):
    """Everything that a notebook shows: texts of its outputs and of its pictures."""
    texts = []

    def shown(data, *, raw, metadata=None):
        texts.extend(str(part) for kind, part in data.items() if kind != "image/png")
        texts.append(json.dumps(metadata or {}, ensure_ascii=False))

    def drawn(draw, *tables, title, tells="", hero=False, of=None, **options):
        picture = draw(*tables, **options)
        figure = picture if hasattr(picture, "savefig") else picture.figure
        texts.extend([title, tells])
        texts.extend(text.get_text() for text in figure.findobj(matplotlib.text.Text))
        plt.close(figure)

    monkeypatch.setattr(display, "display", shown)
    monkeypatch.setattr(mctlib.report, "figure", drawn)
    monkeypatch.delenv("MCT_TABLES", raising=False)
    monkeypatch.chdir(project)
    return texts


@pytest.mark.parametrize("asked", ASKED)
def test_no_name_of_an_event_stands_where_people_read(asked, told):
    name = asked.partition(",")[0]
    given = yaml.safe_load((ROOT / f"params/{name}.yaml").read_text())
    given = {key: renamed(value) for key, value in given.items()} | ASKED[asked]
    notebook = json.loads((ROOT / f"notebooks/{name}.ipynb").read_text())
    space = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), space)
        if "parameters" in cell["metadata"].get("tags", []):
            space |= given
    said = AS_WRITTEN.sub("", "\n".join(told))
    assert sum(label in said for label in LABELS.values()) >= 2
    found = [said[max(0, m.start() - 80) : m.end() + 40] for m in RAW.finditer(said)]
    assert not found
