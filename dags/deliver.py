"""The task that carries one delivery to its end, and tells the lineage of what it loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from dags.assets import loaded_alias, loaded_asset
from dags.common import now, open_site

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors.base import OperatorLineage
    from airflow.sdk import Context


class Deliver(BaseOperator):
    """Does one piece of work of the plan. `work` is as `etl.tasks.Work`."""

    LABEL: ClassVar[str] = "{{ task.work['label'] }}{% if outcome is defined %} · {{ outcome }}{% endif %}"

    def __init__(self, *, work: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.work = work
        self._done: list[Any] = []

    def execute(self, context: Context) -> list[Any]:
        from etl.tasks import carry_out

        done = carry_out(open_site(), self.work, now())  # type: ignore[arg-type]  # it was a Work before it went through JSON
        for one in done:
            self.log.info(
                "%s: %s; %s lines read, %s loaded, %s rejected", *(one[k] for k in ("label", "state", "read", "loaded", "rejected"))
            )
            if one["state"] == "stored":
                extra = {"delivery": one["delivery"], "period": one["period"]}
                context["outlet_events"][loaded_alias(one["dataset"])].add(loaded_asset(one["dataset"]), extra=extra)
        context["outcome"] = ", ".join(sorted({one["state"] for one in done}))  # type: ignore[typeddict-unknown-key]  # for the label
        self._done = done
        return [dict(one) for one in done]

    def get_openlineage_facets_on_complete(self, _: Any) -> OperatorLineage | None:
        from dags.lineage import lineage_of

        return lineage_of(open_site(), self._done)
