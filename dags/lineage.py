"""What a delivery read and what it wrote, as OpenLineage says it: file → partition, with row counts and the verdict as quality facets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.openlineage.extractors.base import OperatorLineage
from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.generated.data_quality_assertions_dataset import Assertion, DataQualityAssertionsDatasetFacet
from openlineage.client.generated.output_statistics_output_dataset import OutputStatisticsOutputDatasetFacet

from etl.traces import find_traces

if TYPE_CHECKING:
    from etl.site import Site
    from etl.traces import Trace


def lineage_of(site: Site, done: Sequence[Any]) -> OperatorLineage | None:
    """The lineage of what a task loaded, in counts and names of rules; None when it loaded nothing."""
    found = find_traces(site, [one["delivery"] for one in done if one["state"] == "stored"])
    if not found:
        return None
    return OperatorLineage(inputs=[_read(trace) for trace in found], outputs=[_written(trace) for trace in found])


def _read(trace: Trace) -> InputDataset:
    checked = [Assertion(assertion=rule, success=lines == 0, actual=str(lines)) for rule, lines in trace.faults.items()]
    facet = DataQualityAssertionsDatasetFacet(assertions=checked)
    return InputDataset(trace.archive, trace.file, inputFacets={"dataQualityAssertions": facet})


def _written(trace: Trace) -> OutputDataset:
    rows = OutputStatisticsOutputDatasetFacet(rowCount=trace.rows)
    return OutputDataset(trace.warehouse, trace.partition, outputFacets={"outputStatistics": rows})
