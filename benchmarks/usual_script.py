"""The script most people would write: pandas reads and converts, Great Expectations validates, pandas writes Parquet and SQL.

`python -m benchmarks.usual_script FILE PARQUET TABLE COMMUNES`, with the database in DATABASE_URL. The same 14 rules as the
contract's; written straight down, as one would, and knowing nothing of this project. Prints what it took as JSON.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time

import great_expectations as gx
import great_expectations.expectations as gxe
import pandas as pd
import sqlalchemy as sa

COLUMNS = [
    *("dossier_code", "procedure_code", "procedure_name", "sector_code", "applicant_type", "applicant_name", "applicant_id", "email"),
    *("phone", "address", "summary", "commune_code", "received_on", "due_on", "finished_at", "returned_on", "status", "channel"),
    *("return_method", "unit_name", "fee_vnd", "online_payment"),
]
DATES = ["received_on", "due_on", "returned_on"]
NUMBERS = ["applicant_type", "status", "channel", "return_method", "fee_vnd", "online_payment"]
DOSSIER_CODE = r"^(?:[0-9]{3}\.[0-9]{2}\.[0-9]{2}\.H[0-9]{2}|H[0-9]{2}(?:\.[0-9]{2,3}){0,3})-[0-9]{6}-[0-9]{4,6}$"
PROCEDURE_CODE = r"^[1-9]\.[0-9]{6}(?:\.000\.[0-9]{2}\.[0-9]{2}\.[GH][0-9]{2})?$"


def main(file: str, parquet: str, table: str, communes: str) -> None:
    engine = sa.create_engine(os.environ["DATABASE_URL"])
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    batches = context.data_sources.add_pandas("files").add_dataframe_asset("file").add_batch_definition_whole_dataframe("whole")
    known = pd.read_csv(communes, dtype=str)
    codes = known[(known.province_id == "ha-noi") & (known.valid_from <= "2025-07-01") & known.valid_to.isna()].code.tolist()
    start, cpu = time.perf_counter(), time.process_time()

    frame = pd.read_csv(file, names=COLUMNS, header=0, dtype=str, on_bad_lines="skip")
    read = len(frame)
    bad = pd.Series(False, index=frame.index)
    for column in frame:
        frame[column] = frame[column].str.strip()
    for column in [*DATES, "finished_at"]:
        form = "%d/%m/%Y %H:%M:%S" if column == "finished_at" else "%d/%m/%Y"
        values = pd.to_datetime(frame[column], format=form, errors="coerce")
        bad |= values.isna() & frame[column].notna()
        frame[column] = values
    for column in NUMBERS:
        values = pd.to_numeric(frame[column].str.replace(".", "", regex=False), errors="coerce")
        bad |= values.isna() & frame[column].notna()
        frame[column] = values.astype("Int64")

    report = batches.get_batch({"dataframe": frame}).validate(suite(codes), result_format="COMPLETE")
    for result in report.results:
        bad.loc[result.result["unexpected_index_list"] or []] |= result.expectation_config.severity == "critical"
    good = frame[~bad]
    good.to_parquet(parquet, compression="zstd")
    good.to_sql(table, engine, if_exists="append", index=False, chunksize=10_000)

    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    from benchmarks.ours import peak_mb

    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak_mb": peak_mb(), "loaded": len(good), "rejected": read - len(good)}))


def suite(communes: list[str]) -> gx.ExpectationSuite:
    person, settled = "applicant_type == 1", "status in [9, 10]"
    return gx.ExpectationSuite(
        name="dossier",
        expectations=[
            gxe.ExpectColumnValuesToNotBeNull(column="dossier_code"),
            gxe.ExpectColumnValuesToMatchRegex(column="dossier_code", regex=DOSSIER_CODE),
            gxe.ExpectColumnValuesToBeUnique(column="dossier_code"),
            gxe.ExpectColumnValuesToMatchRegex(column="procedure_code", regex=PROCEDURE_CODE),
            gxe.ExpectColumnValuesToBeInSet(column="applicant_type", value_set=[1, 2]),
            gxe.ExpectColumnValuesToNotBeNull(column="applicant_name"),
            gxe.ExpectColumnValuesToMatchRegex(column="applicant_id", regex=r"^[0-9]{3}[0-3][0-9]{8}$", row_condition=person, condition_parser="pandas"),
            gxe.ExpectColumnValuesToBeInSet(column="commune_code", value_set=communes),
            gxe.ExpectColumnValuesToBeBetween(column="received_on", min_value=pd.Timestamp(2025, 7, 1), max_value=pd.Timestamp(2025, 7, 31)),
            gxe.ExpectColumnValuesToBeInSet(column="status", value_set=list(range(1, 11))),
            gxe.ExpectColumnValuesToBeInSet(column="channel", value_set=[1, 2, 3]),
            gxe.ExpectColumnValuesToBeBetween(column="fee_vnd", min_value=0, max_value=1_000_000_000),
            gxe.ExpectColumnPairValuesAToBeGreaterThanB(
                column_A="due_on", column_B="received_on", or_equal=True, ignore_row_if="either_value_is_missing", severity="warning"
            ),
            gxe.ExpectColumnValuesToNotBeNull(column="finished_at", row_condition=settled, condition_parser="pandas"),
        ],
    )  # fmt: skip


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main(*sys.argv[1:])
