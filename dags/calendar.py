"""The calendar of what is expected, and the page that says who is late: each morning, and whenever a delivery was loaded.

It wakes up by the assets and looks into the ledger, so an event that is lost costs a day at most.
"""

from __future__ import annotations

from airflow.sdk import DAG, AssetAny, AssetOrTimeSchedule, CronTriggerTimetable, task

from dags.assets import loaded_asset
from dags.common import DEFAULTS, SETTINGS, now, open_site
from expectations.heads import read_heads

MORNING = CronTriggerTimetable("0 6 * * *", timezone=SETTINGS.timezone)
LOADED = [loaded_asset(head.dataset) for head in read_heads(SETTINGS.contracts)]


@task(task_id="freeze")
def freeze() -> int:
    """Write down what is expected of each period that has ended; returns the number of new lines."""
    from etl.calendar import freeze as freeze_calendar

    site = open_site()
    with site.warehouse.transaction() as connection:
        return freeze_calendar(connection, site.contracts, site.registry, now(), site.settings.timezone)


@task(task_id="write_page")
def write_page() -> str:
    """The status page as a file that stands alone, `<home>/status.html`."""
    from etl.status import Wanted, write_status_file

    site = open_site()
    file = site.settings.home / "status.html"
    write_status_file(site, Wanted(), file)
    return str(file)


with DAG(
    "calendar",
    schedule=AssetOrTimeSchedule(timetable=MORNING, assets=AssetAny(*LOADED)) if LOADED else MORNING,
    start_date=None,
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    description="Lịch gửi và trang tình trạng · The calendar and the status page",
    tags=["calendar"],
):
    freeze() >> write_page()
