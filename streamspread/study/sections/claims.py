"""The paper's claims as a section of the report: the numbers, the verdicts, and what these depend on."""

from __future__ import annotations

from streamspread.reports import text
from streamspread.reports.collection import Collection, layer_names
from streamspread.reports.sections import Section, TitledTable
from streamspread.reports.table import Table
from streamspread.reports.texts import Texts, training_label
from streamspread.study.claims import (
    FEWEST,
    MAX_DECREASE_OF_INVERSE,
    TAU,
    Claim,
    Condition,
    Evidence,
    Verdict,
    judge,
    judge_under_conditions,
    of_paper,
)

_MARKS = {Verdict.holds: "✓", Verdict.fails: "✗", Verdict.unclear: "?", Verdict.unsettled: "?"}


def claims(collection: Collection, texts: Texts) -> Table:
    """The paper's claims at its threshold, with each network's numbers, and what a verdict takes."""
    rows = []
    for claim in judge(collection.networks):
        lines = [_numbers(evidence) for evidence in claim.evidence]
        rows.append([texts[f"claim_{claim.name}"], lines or ["–"], _verdict_lines(claim, texts)])
    rule = texts["verdict_rule"].format(images=text.count(FEWEST), fall=f"{MAX_DECREASE_OF_INVERSE:g}")
    header = [texts["claim"], texts["numbers"].format(tau=f"{TAU:g}"), texts["verdict"]]
    return Table.of_rows(header, rows, words=range(len(header)), notes=[rule])


def conditions(collection: Collection, texts: Texts) -> Table:
    """Whether the claims hold under other conditions: a row each, a column per claim."""
    judged = judge_under_conditions(collection)
    names = [claim.name for claim in judged[0].claims] if judged else []
    rows = [[_label(one, texts), *(_mark(claim, texts) for claim in one.claims)] for one in judged]
    header = [texts["circumstance"], *(texts[f"short_{name}"] for name in names)]
    return Table.of_rows(header, rows, words=range(len(header)))


def _numbers(evidence: Evidence) -> str:
    shares = ", ".join(f"{layer} {text.percent(share)}" for layer, share in evidence.spreads.items())
    return f"{evidence.network}: {shares}"


def _verdict_lines(claim: Claim, texts: Texts) -> list[str]:
    """The claim's verdict, and where each network contradicts it, or has too few images or other data."""
    lines = [f"{_MARKS.get(claim.verdict, '–')} {texts[f'verdict_{claim.verdict}']}"]
    reasons: dict[str, list[str]] = {}
    for evidence in claim.evidence:
        where = {"fails_at": evidence.fails, "unsettled_at": evidence.unsettled}
        found = [texts[key].format(where=", ".join(names)) for key, names in where.items() if names]
        if evidence.verdict is Verdict.other_data is not claim.verdict:
            found.append(texts["verdict_other_data"])
        for reason in found:
            reasons.setdefault(reason, []).append(evidence.network)
    return lines + [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]


def _mark(claim: Claim, texts: Texts) -> str:
    """The verdict as a sign, and the layers where any network contradicts the claim."""
    fails = {where for evidence in claim.evidence for where in evidence.fails}
    order = layer_names(evidence.spreads for evidence in claim.evidence)
    listed = sorted(fails, key=lambda where: order.index(where.split(" → ")[0]))
    return f"{_MARKS.get(claim.verdict, '–')} {', '.join(listed) or texts[f'verdict_{claim.verdict}']}"


def _label(condition: Condition, texts: Texts) -> str:
    if isinstance(condition.value, float):
        (value,) = text.fractions([condition.value])
    elif isinstance(condition.value, str):
        value = texts[f"part_{condition.value}"]
    else:
        value = training_label(condition.value, texts)
    networks = dict.fromkeys(evidence.network for claim in condition.claims for evidence in claim.evidence)
    return texts[f"case_{condition.kind}"].format(value=value, networks=", ".join(networks))


def _tables(collection: Collection, texts: Texts) -> list[TitledTable]:
    return [
        TitledTable(texts["claims"], "claims", claims(collection, texts)),
        TitledTable(texts["depends"], "depends", conditions(collection, texts)),
    ]


SECTION = Section(
    name="claims",
    title="section_claims",
    note="citation",
    shown=lambda collection: of_paper(collection.networks),
    tables=_tables,
)
