"""One DAG for each contract: what has arrived is received, each delivery is carried to its end, whoever must decide is asked.

    plan → deliver (one task for each delivery) → find_held → ask (one run of `approve_delivery` each) → summarise

A delivery that is returned or held is a task that did its work; a task fails when the pipeline must be mended, and is tried again when
the machine was at fault. `load_unattributed` takes the files that belong to no dataset. The ledger is the truth; a run that is lost is made
good by the next one.
"""

from __future__ import annotations

from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Asset, AssetAlias, CronTriggerTimetable, Param, TriggerRule, get_current_context, get_parsing_context, task

from dags.assets import loaded_alias, settled_alias, settled_asset
from dags.common import DEFAULTS, SETTINGS, now, open_site
from dags.deliver import Deliver
from expectations.faults import SetupFault
from expectations.heads import Head, read_heads
from warehouse.provinces import load_registry

_PERIODS = r"^(\d{4}(-Q[1-4]|-\d{2}(-\d{2})?)?(\.\.\d{4}(-Q[1-4]|-\d{2}(-\d{2})?)?)?)?$"


def _params(head: Head | None, provinces: list[str]) -> dict[str, Param]:
    chosen = {
        "periods": Param(
            "",
            type="string",
            pattern=_PERIODS,
            title="Kỳ · Periods",
            description="2025, 2025-Q2, 2025-06, 2025-06-10, hoặc khoảng · or a range: 2025-01..2025-06. Để trống: tất cả · Empty: all.",
        ),
        "dry_run": Param(
            False,
            type="boolean",
            title="Chạy thử · Dry run",
            description="Chỉ nói kết luận, không lưu gì · Only say the verdicts; nothing is stored.",
        ),
        "reload": Param(
            False,
            type="boolean",
            title="Nạp lại · Reload",
            description="Nạp lại từ kho lưu những gì đang hiển thị của các kỳ này · Load what is shown of these periods once more, from the archive.",
        ),
    }
    if head is None or head.is_central:
        return chosen
    listed = Param(
        [],
        type="array",
        items={"type": "string", "enum": provinces},
        examples=provinces,
        title="Tỉnh · Provinces",
        description="Để trống: tất cả · Empty: all.",
    )
    return {"provinces": listed, **chosen}


@task(task_id="plan")
def plan(dataset: str | None) -> list[dict[str, Any]]:
    """What there is to do. A run of a backfill loads the period that begins on its day once more."""
    from etl.tasks import plan as plan_load
    from etl.tasks import wish_of

    context = get_current_context()
    params = dict(context["params"])
    if context["dag_run"].run_type == "backfill":
        day = context["dag_run"].logical_date.astimezone(now().tzinfo).date()
        params |= {"periods": day.isoformat(), "reload": True}
    return [dict(work) for work in plan_load(open_site(), dataset, wish_of(params), now())]


@task(task_id="find_held", trigger_rule=TriggerRule.ALL_DONE)
def find_held(dataset: str | None) -> list[dict[str, Any]]:
    """The deliveries that wait for a person, each with the run that asks."""
    from etl.tasks import held

    return [{"conf": {"delivery": number}, "trigger_run_id": f"delivery-{number}"} for number in held(open_site(), dataset)]


@task(task_id="summarise", trigger_rule=TriggerRule.ALL_DONE, on_failure_callback=None)
def summarise(dataset: str | None, planned: list[dict[str, Any]] | None, outcomes: list[list[dict[str, Any]]] | None) -> dict[str, int]:
    """Count what came of it, and announce the periods that are settled now. Fails when a task of the run failed."""
    from etl.tasks import count_states, settled_periods

    context = get_current_context()
    outcomes = list(outcomes or [])
    counts = count_states(done for one in outcomes for done in one)
    if dataset and not context["params"]["dry_run"]:
        for period in settled_periods(open_site(), dataset, now(), context["run_id"]):
            alias = context["outlet_events"][settled_alias(dataset)]
            alias.add(settled_asset(dataset), extra={"period": period.period.start.isoformat(), "is_complete": period.is_complete})
    failed = len(planned) - len(outcomes) if planned is not None else 1
    if failed:
        raise RuntimeError(f"{failed} of the tasks failed; {counts}")
    return counts


def make_dag(head: Head | None, provinces: list[str]) -> DAG:
    """The DAG of a contract; without one, that of the files that belong to no dataset."""
    dataset = head.dataset if head else None
    hour, minute = (head.at if head else "01:30").split(":")
    with DAG(
        f"load_{dataset}" if dataset else "load_unattributed",
        schedule=CronTriggerTimetable(f"{int(minute)} {int(hour)} * * *", timezone=SETTINGS.timezone),
        start_date=None,
        catchup=False,
        max_active_runs=1,
        max_active_tasks=8,
        default_args=DEFAULTS,
        params=_params(head, provinces),
        description=head.name if head else "Tệp không thuộc tập dữ liệu nào · Files that belong to no dataset",
        doc_md=head.purpose if head else None,
        tags=["load", head.periodicity, head.sender] if head else ["load"],
    ) as dag:
        planned = plan(dataset)
        outlets: list[Asset | AssetAlias] = [loaded_alias(dataset)] if dataset else []
        delivered = Deliver.partial(task_id="deliver", outlets=outlets, map_index_template=Deliver.LABEL).expand(work=planned)
        waiting = find_held(dataset)
        asked = TriggerDagRunOperator.partial(
            task_id="ask", trigger_dag_id="approve_delivery", skip_when_already_exists=True, retries=1
        ).expand_kwargs(waiting)
        settled = [settled_alias(dataset)] if dataset else []
        summary = summarise.override(outlets=settled)(dataset, planned, delivered.output)
        delivered >> waiting
        asked >> summary
    return dag


def make_dags() -> None:
    """One for each contract; a task that runs needs only its own."""
    wanted = get_parsing_context().dag_id
    known = load_registry(SETTINGS.reference)
    provinces = sorted(known.ids)
    for head in (*read_heads(SETTINGS.contracts), None):
        name = f"load_{head.dataset}" if head else "load_unattributed"
        if wanted in (None, name):
            globals()[name] = make_dag(head, provinces)


try:
    make_dags()
except SetupFault as fault:  # said in the list of import errors, in place of a trace
    raise RuntimeError(f"{fault.message.vi} · {fault.message.en}") from None
