"""The night's digests: each sender hears once what became of its deliveries, the operator last."""

from __future__ import annotations

from airflow.sdk import DAG, CronTriggerTimetable, task

from dags.common import DEFAULTS, SETTINGS, now, open_site


@task(task_id="send")
def send() -> dict[str, int]:
    """Send what is new and what earlier nights left; a channel that fails is tried again in the next night, and fails nothing here."""
    from etl.notify import send_notices

    done = send_notices(open_site(), now)
    return {"digests": len(done), "unsent": sum(len(one.failed) for one in done), "given_up": sum(len(one.given_up) for one in done)}


with DAG(
    "notices",
    schedule=CronTriggerTimetable("0 7 * * *", timezone=SETTINGS.timezone),
    start_date=None,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    description="Thông báo cho đơn vị gửi và người trực · Notices to senders and the operator",
    tags=["notices"],
):
    send()
