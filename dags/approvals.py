"""A held delivery waits here for a person, in a run of its own, so that no nightly load waits with it.

    describe → decide (a person, or after the time set in NDC_APPROVAL_HOURS: reject) → carry_out

By form, REST or `ndc approve | reject`, the decision is written to the same table with who and why.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import DAG, Param, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from dags.common import DEFAULTS, SETTINGS, now, open_site

APPROVE, REJECT = "Approve · Chấp nhận", "Reject · Trả lại"


@task(task_id="describe")
def describe() -> dict[str, str]:
    """What the approver reads. Skips the rest when somebody has decided already."""
    from etl.approval import question

    found = question(open_site(), int(get_current_context()["params"]["delivery"]))
    if not found.is_open:
        raise AirflowSkipException("decided already")
    return {"subject": found.subject, "body": found.body}


@task(task_id="carry_out")
def carry_out(decision: dict[str, Any]) -> str:
    """Load the delivery or return it, in the name of the person who decided."""
    from etl.approval import answer

    user = decision.get("responded_by_user") or {}
    by = user.get("name") or user.get("id") or "time-out"
    reason = str((decision.get("params_input") or {}).get("reason") or "").strip()
    if not user:
        reason = f"no answer within {SETTINGS.approval_hours:g} hours"
    said = answer(
        open_site(),
        int(get_current_context()["params"]["delivery"]),
        is_approved=decision["chosen_options"] == [APPROVE],
        by=f"{by} (airflow)",
        reason=reason or "no reason given",
        now=now(),
    )
    return f"{said.vi} · {said.en}"


with DAG(
    "approve_delivery",
    schedule=None,
    catchup=False,
    default_args=DEFAULTS,
    params={"delivery": Param(type="integer", minimum=1, title="Đợt gửi · Delivery")},
    description="Một đợt gửi tạm giữ chờ người quyết định · A held delivery waits for a person",
    tags=["approval"],
):
    described = describe()
    decided = HITLOperator(
        task_id="decide",
        subject="{{ ti.xcom_pull(task_ids='describe')['subject'] }}",
        body="{{ ti.xcom_pull(task_ids='describe')['body'] }}",
        options=[APPROVE, REJECT],
        defaults=[REJECT],
        params={"reason": Param("", type="string", maxLength=2000, title="Lý do · Reason")},
        response_timeout=timedelta(hours=SETTINGS.approval_hours),
    )
    described >> decided
    carry_out(decided.output)
