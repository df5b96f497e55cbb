"""What an installation needs each night besides its deliveries: a backup, then the end of expired access, leftovers, the proof.

There is this DAG on the embedded server alone: whoever runs tasks there owns the server as well. Beside another server the
administrator's password reaches no task; `ndc upkeep` and `ndc backup create` are for the machine's own timer there.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow.sdk import DAG, CronTriggerTimetable, TriggerRule, task

from dags.common import DEFAULTS, SETTINGS, open_site

if TYPE_CHECKING:
    from etl.site import Site

KEPT = 7


def open_as_administrator() -> Site:
    """The installation with the logins that lie in its own folder; nothing of them is in the environment."""
    from etl.site import Site

    return Site(replace(open_site().settings, login="service"))


@task(task_id="backup")
def backup() -> dict[str, int]:
    """A backup under `<home>/backups`; the newest ones are kept."""
    from etl.backup import create_backup

    site = open_as_administrator()
    made = create_backup(site, site.settings.home / "backups", datetime.now(UTC), keep=KEPT)
    return dict(made.counts)


@task(task_id="keep_up", trigger_rule=TriggerRule.ALL_DONE)
def keep_up() -> dict[str, int]:
    """End what has expired, remove leftovers, prove who sees what. Fails, and so rings the alarm, when a person must look."""
    from etl.upkeep import keep_up as keep_site_up
    from expectations.faults import Message, SetupFault

    done = keep_site_up(open_as_administrator(), "upkeep (airflow)", datetime.now(UTC), on_step=print)
    findings = sorted({found.rule for found in done.proof.findings}) if done.proof else []
    if done.needs_a_person:
        rules, steps = ", ".join(findings) or "–", ", ".join(done.trouble) or "–"
        raise SetupFault(
            Message(
                f"Việc hằng đêm cần người xem: {len(done.left)} tệp; sai lệch về quyền: {rules}; bước lỗi: {steps}. Hãy chạy: ndc upkeep --dry-run",
                f"Upkeep needs a person: {len(done.left)} files; findings about access: {rules}; failed steps: {steps}. Run: ndc upkeep --dry-run",
            ),
            rule="upkeep",
        )
    return {"disabled": len(done.swept.disabled) if done.swept else 0, "removed": len(done.removed)}


if SETTINGS.warehouse_url is None:
    with DAG(
        "upkeep",
        schedule=CronTriggerTimetable("0 4 * * *", timezone=SETTINGS.timezone),
        start_date=None,
        catchup=False,
        max_active_runs=1,
        default_args=DEFAULTS,
        description="Sao lưu và việc hằng đêm · Backup and the night's upkeep",
        tags=["upkeep"],
    ):
        backup() >> keep_up()
