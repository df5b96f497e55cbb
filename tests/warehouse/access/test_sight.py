"""For any set of delegations, people and days: what each login really sees is what the oracle allows, by every way of looking."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, event, example, given, settings
from hypothesis import strategies as st

from tests.warehouse.access.ways import Look, differences, rights, workspaces
from tests.warehouse.access.world import DATASETS, HERE, PERIODS, PROVINCES, World
from warehouse.access.oracle import Grant, Oracle

SETS = int(os.environ.pop("NDC_TEST_SETS", "40"))  # taken out: ndc refuses settings that it does not know
PHASES = (Phase.explicit, Phase.generate, Phase.shrink)
SHARES = 4  # of the sets, so that the workers of the suite divide them
PEOPLE = ("ann", "bob", "cam", "dan")
GROUPS = ("north", "south", "east", "west", "union", "clinic", "institute", "centre", "auditor")
DAYS = (20, 80, 150, 7000)  # later days that are looked at; nothing begins or ends on one of them
BEGINS, ENDS = (-300, -1, 50), (-0.5, 60, 100, 6000)
CLEAR = st.sampled_from([(), None, ("visit.phone",), ("visit.phone", "visit.citizen", "card.citizen"), ("census.phone",)])


@dataclass(frozen=True)
class Terms:
    """A delegation to be: days are counted from now."""

    grantee: str
    datasets: tuple[str, ...] | None
    provinces: tuple[str, ...] | None
    communes: tuple[str, ...] | None
    periods_from: date | None
    periods_until: date | None
    in_clear: tuple[str, ...] | None
    begins: float | None
    ends: float | None
    may_redelegate: bool

    def columns(self, now: datetime) -> dict[str, Any]:
        """As columns of control.delegation, without what is as wide as can be."""
        said = {
            "datasets": self.datasets,
            "provinces": self.provinces,
            "communes": self.communes,
            "periods_from": self.periods_from,
            "periods_until": self.periods_until,
            "from_at": None if self.begins is None else now + timedelta(days=self.begins),
            "until_at": None if self.ends is None else now + timedelta(days=self.ends),
        }
        said = {name: list(value) if isinstance(value, tuple) else value for name, value in said.items() if value is not None}
        in_clear = None if self.in_clear is None else list(self.in_clear)
        return {**said, "grantee": self.grantee, "in_clear": in_clear, "may_redelegate": self.may_redelegate}


@dataclass(frozen=True)
class Step:
    """What a person tries with their own login: to give on by these terms, and perhaps to take it back in the end."""

    login: str
    terms: Terms
    workspace: bool
    takes_back: bool


@dataclass(frozen=True)
class Case:
    members: dict[str, frozenset[str]]
    owners: frozenset[str]
    own_in_clear: tuple[str, ...] | None
    declared: list[Terms]
    revoked: frozenset[int]
    steps: list[Step]
    day: float


def some(values: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...] | None]:
    subsets = st.lists(st.sampled_from(values), min_size=1, max_size=2, unique=True).map(lambda v: tuple(sorted(v)))
    return st.none() | subsets


@st.composite
def terms(draw: st.DrawFn, in_clear: st.SearchStrategy[Any], *, on: bool = False) -> Terms:
    first = draw(st.none() | st.sampled_from(PERIODS)) if draw(st.booleans()) else None
    begins, ends = draw(st.none() if on else st.sampled_from(BEGINS)), draw(st.none() | st.sampled_from(ENDS))
    if ends is not None and begins is not None and ends <= begins:
        ends = None
    return Terms(
        grantee=draw(st.sampled_from(GROUPS[:-2] + PEOPLE)),
        datasets=draw(some(DATASETS)),
        provinces=None if on and draw(st.integers(0, 3)) else draw(some(PROVINCES)),
        communes=draw(some(("K1", "K2"))) if draw(st.booleans()) else None,
        periods_from=first,
        periods_until=draw(st.none() | st.sampled_from(PERIODS)) if first is None else None,
        in_clear=draw(in_clear),
        begins=begins,
        ends=ends,
        may_redelegate=draw(st.booleans()),
    )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Mostly one choice of columns in clear, since differing ones are refused for whoever would see both."""
    usual = draw(CLEAR)
    in_clear = st.sampled_from([(), usual, usual, usual]) if draw(st.integers(0, 3)) else CLEAR
    alone = st.sampled_from(("north", "east", "clinic")).map(lambda group: frozenset([group]))  # may give on, without saying in whose name
    groups = alone | st.lists(st.sampled_from(GROUPS), max_size=3).map(frozenset)
    return Case(
        members={"ann": draw(alone), "bob": draw(groups), "cam": draw(groups), "dan": frozenset()},
        owners=draw(st.just(frozenset(PROVINCES)) | st.frozensets(st.sampled_from(PROVINCES))),
        own_in_clear=usual,
        declared=draw(st.lists(terms(in_clear), min_size=1, max_size=5)),
        revoked=frozenset(draw(st.lists(st.integers(0, 4), max_size=1))),
        steps=draw(
            st.lists(
                st.builds(
                    Step,
                    st.sampled_from(("ann", *PEOPLE)),
                    terms(in_clear, on=True),
                    st.sampled_from([False, False, True]),
                    st.sampled_from([False, False, True]),
                ),
                max_size=6,
            )
        ),
        day=draw(st.sampled_from(DAYS)),
    )


def wide(grantee: str, *, may_redelegate: bool = False, **narrower: Any) -> Terms:
    return replace(Terms(grantee, None, None, None, None, None, (), None, None, may_redelegate), **narrower)


CHAIN = Case(  # what hangs on a delegation that is taken back goes with it
    members={"ann": frozenset(["north"]), "bob": frozenset(["clinic"]), "cam": frozenset(), "dan": frozenset()},
    owners=frozenset(PROVINCES),
    own_in_clear=None,
    declared=[wide("east", begins=-300, provinces=("south",))],
    revoked=frozenset(),
    steps=[
        Step("ann", wide("clinic", may_redelegate=True, in_clear=("visit.phone",)), workspace=True, takes_back=True),
        Step("bob", wide("cam", communes=("K1",), in_clear=("visit.phone",)), workspace=True, takes_back=False),
        Step("ann", wide("dan", periods_from=PERIODS[1], begins=50), workspace=True, takes_back=False),
    ],
    day=80,
)


_HELD = wide(
    "institute",
    datasets=("visit",),
    provinces=("north",),
    communes=("K1",),
    periods_from=PERIODS[1],
    periods_until=PERIODS[1],
    in_clear=("visit.phone",),
    begins=-1,
    ends=60,
    may_redelegate=True,
)
WIDER = Case(  # what fits is given on, and each part of it that reaches further is refused
    members={"ann": frozenset(["institute"]), "bob": frozenset(), "cam": frozenset(), "dan": frozenset()},
    owners=frozenset(PROVINCES),
    own_in_clear=("visit.phone",),
    declared=[_HELD],
    revoked=frozenset(),
    steps=[
        Step("ann", replace(wide("bob"), **part), workspace=False, takes_back=False)
        for part in (
            {"in_clear": ("visit.phone",)},
            {"datasets": ("card", "visit")},
            {"provinces": ("north", "south")},
            {"communes": ("K1", "K2")},
            {"in_clear": None},
            {"begins": -300},
            {"ends": 100},
        )
    ],
    day=80,
)


@pytest.fixture(scope="module")
def world(standing_world: World) -> Iterator[World]:
    for login in PEOPLE:
        standing_world.add_person(login=login, valid_days=90 if login == "dan" else None)
    yield standing_world
    standing_world.remove_people()


@pytest.mark.parametrize("share", range(SHARES))
def test_each_login_sees_what_the_oracle_allows(world: World, share: int) -> None:
    @settings(
        max_examples=SETS // SHARES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        phases=PHASES,
    )
    @given(cases())
    @example(CHAIN)
    @example(WIDER)
    def hold(case: Case) -> None:
        if enter(world, case):
            take_steps(world, case)
            look_around(world, 0)
            world.turn_clock(case.day)
            look_around(world, case.day)

    try:
        hold()
    finally:
        world.forget()
        world.apply()


def enter(world: World, case: Case) -> bool:
    """The people and what is declared; False when the columns in clear contradict, which the compiler finds just as the oracle does."""
    world.forget()
    for login, groups in case.members.items():
        world.belong(login, groups)
    for province in sorted(case.owners):
        own = ["east", "union", "west"] if province == "union" else [province]
        in_clear = None if case.own_in_clear is None else list(case.own_in_clear)
        world.enter(grantee=province, provinces=own, in_clear=in_clear, is_own=True, may_redelegate=True)
    now = world.now
    for number, wanted in enumerate(case.declared):
        revoked = {"revoked_at": now, "revoked_by": "x", "revoked_because": "y"} if number in case.revoked else {}
        world.enter(**wanted.columns(now), **revoked)
    with world.as_owner() as cursor:
        found = set(cursor.execute("SELECT login, dataset FROM control.column_conflict()").fetchall())
    expected = world.oracle().contradictions(now)
    assert found == expected
    event("columns contradict" if found else "compiles")
    if not found:
        world.apply()
    return not found


def take_steps(world: World, case: Case) -> None:
    """People give on with their own logins; each refusal is for the reason that the oracle gives."""
    given = []
    for number, step in enumerate(case.steps):
        oracle, now = world.oracle(), world.now
        expected = expected_refusal(oracle, step, now)
        said = step.terms.columns(now)
        arguments = {"p_" + name.removesuffix("_at"): value for name, value in said.items()}
        arguments |= {"p_purpose": "p", "p_legal_basis": "l", "p_name": f"step{number}", "p_workspace": step.workspace}
        call = ", ".join(f"{name} => %({name})s" for name in arguments)
        try:
            world.sessions[step.login].execute(f"SELECT control.delegate({call})".encode(), arguments)
            refusal = None
        except psycopg.Error as error:
            refusal = error.sqlstate
        assert refusal == expected, (step, refusal, expected)
        event(f"giving on: {refusal or 'done'}")
        if refusal is None and step.takes_back:
            given.append((f"step{number}", step.login))
    for name, login in given:
        if world.query("SELECT FROM control.delegation WHERE name = %s AND revoked_at IS NULL", name):  # it may have ended with its parent
            world.sessions[login].execute("SELECT control.revoke(%s, 'done')", (name,))


def expected_refusal(oracle: Oracle, step: Step, now: datetime) -> str | None:
    """The SQLSTATE of functions.sql with which these terms must be refused, or None."""
    speaks = [party for party in oracle.parties_of(step.login, now) if party.kind != "group"]
    may_give = [g for g in oracle.grants if g.may_redelegate and not g.has_ended(now)]
    givers = {holder.id for g in may_give if (holder := oracle.holder(g.grantee, now)) in speaks and holder}
    if len(givers) != 1:
        return "ND001"
    if oracle.holder(step.terms.grantee, now) is None:
        return "ND006"
    named = [f.split(".")[0] for f in step.terms.in_clear or ()]
    if step.terms.datasets is not None and not set(named) <= set(step.terms.datasets):
        return "ND006"
    (giver,) = givers
    held = [g for g in oracle.grants if not g.has_ended(now) and giver in (h.id for h in oracle.holders(_passed_on(g)))]
    for parent in sorted(held, key=lambda g: (g.grantee != giver, not g.is_own, g.delegation_id)):
        child = _child(step, parent, giver, now, oracle.last_moment(parent))
        if child is not None and not child.beyond(parent, oracle.last_moment(parent)):
            break
    else:
        return "ND002"
    if oracle.is_circular(step.terms.grantee, parent, now):
        return "ND004"
    if child.workspace_of is not None and (child.until_at is not None or (child.from_at is not None and child.from_at > now)):
        return "ND008"
    if child.until_at is not None and child.from_at is not None and child.until_at <= child.from_at:
        return "23514"
    after = Oracle((*oracle.grants, child), oracle.parties, oracle.members, oracle.datasets)
    return "ND007" if after.contradictions(now) else None


def _passed_on(grant: Grant) -> Grant:
    """An heir may give on what its predecessor held, even as its own."""
    return Grant(grant.delegation_id, grant.grantee)


def _meaning(codes: tuple[str, ...], provinces: frozenset[str] | None, day: date) -> tuple[date | None, date | None] | None:
    """The periods in which commune codes mean what they mean on a day, by reference/communes.csv; None when one means nothing there."""
    with (HERE / "reference" / "communes.csv").open() as file:
        known = [row for row in csv.DictReader(file) if provinces is None or row["province_id"] in provinces]
    found = [
        next(
            (r for r in known if r["code"] == code and r["valid_from"] <= str(day) and (not r["valid_to"] or str(day) <= r["valid_to"])),
            None,
        )
        for code in codes
    ]
    if None in found:
        return None
    ends = [date.fromisoformat(r["valid_to"]) for r in found if r and r["valid_to"]]
    return max(date.fromisoformat(r["valid_from"]) for r in found if r), min(ends, default=None)


def _child(step: Step, parent: Grant, giver: str, now: datetime, holder_until: datetime | None) -> Grant | None:
    """What these terms make of a parent; None where a commune code means nothing."""
    wanted, said = step.terms, step.terms.columns(now)
    workspace = (giver if parent.is_own else parent.workspace_of or "none") if step.workspace else None
    wide: dict[str, Any] = {name: getattr(parent, name) for name in ("datasets", "provinces", "communes", "until_at")}
    narrow = {name: frozenset(value) if isinstance(value, list) else value for name, value in said.items()}
    bounds = {
        "periods_from": max(filter(None, (wanted.periods_from, parent.periods_from)), default=None),
        "periods_until": min(filter(None, (wanted.periods_until, parent.periods_until)), default=None),
    }
    from_at = max(filter(None, (now, parent.from_at)))
    wide["until_at"] = min(filter(None, (parent.until_at, holder_until)), default=None)
    if wanted.communes is not None and parent.communes is None:
        provinces = parent.provinces if wanted.provinces is None else frozenset(wanted.provinces)
        meant = _meaning(wanted.communes, provinces, (said.get("from_at") or from_at).date())
        if meant is None:
            return None
        bounds["periods_from"] = max(filter(None, (bounds["periods_from"], meant[0])), default=None)
        bounds["periods_until"] = min(filter(None, (bounds["periods_until"], meant[1])), default=None)
    return Grant(
        **{"delegation_id": 0, "parent_id": parent.delegation_id, "workspace_of": workspace, **wide, "from_at": from_at, **narrow, **bounds}
    )


def look_around(world: World, day: float) -> None:
    """Everybody looks at everything in every way, `day` days from now."""
    oracle = world.oracle()
    at = world.now + timedelta(days=day)
    for grant in oracle.grants:
        if grant.parent_id is not None:
            (parent,) = (g for g in oracle.grants if g.delegation_id == grant.parent_id)
            assert not grant.beyond(parent, oracle.last_moment(parent))
    found = []
    for login in PEOPLE:
        for dataset in DATASETS:
            found += differences(Look(world, oracle, login, dataset, at))
        found += rights(world, oracle, login, at, is_today=day == 0)
        if day == 0:
            found += workspaces(world, oracle, login, at)
    assert not found, "\n".join(found)
