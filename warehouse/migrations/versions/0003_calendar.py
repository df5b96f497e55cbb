"""Which deliveries are expected, until when; and which periods have been announced as settled to what follows from them."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

TABLES = """
CREATE TABLE control.expected (
    dataset text NOT NULL,
    sender text NOT NULL,
    period date NOT NULL,
    due_at timestamptz NOT NULL,
    frozen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (dataset, period, sender)
);
CREATE INDEX expected_sender ON control.expected (sender);
COMMENT ON TABLE control.expected IS 'Các đợt gửi phải có, không đổi sau khi ghi · Deliveries that are expected; a period''s are fixed when it ends';

CREATE TABLE control.announcement (
    dataset text NOT NULL,
    period date NOT NULL,
    is_complete boolean NOT NULL,
    announced_at timestamptz NOT NULL DEFAULT now(),
    announced_by text NOT NULL,
    PRIMARY KEY (dataset, period)
);
COMMENT ON TABLE control.announcement IS 'Các kỳ đã báo là xong cho các bước sau · Periods that were announced as settled, once each';
"""
COLUMNS = (
    ("expected", "dataset", "Tập dữ liệu · Dataset"),
    ("expected", "sender", "Đơn vị gửi · Sender"),
    ("expected", "period", "Ngày đầu kỳ · First day of the period"),
    ("expected", "due_at", "Hạn, không kể thời điểm này · The first moment after the due date"),
    ("expected", "frozen_at", "Ghi lúc · When it was written down"),
    ("announcement", "dataset", "Tập dữ liệu · Dataset"),
    ("announcement", "period", "Ngày đầu kỳ · First day of the period"),
    (
        "announcement",
        "is_complete",
        "Đủ các đơn vị, hay chỉ là đã quá hạn · Whether everybody had delivered, or only the due date had passed",
    ),
    ("announcement", "announced_at", "Báo lúc · When"),
    ("announcement", "announced_by", "Lượt chạy · By which run"),
)


def upgrade() -> None:
    op.execute(TABLES)
    for table, column, comment in COLUMNS:
        op.execute(f"COMMENT ON COLUMN control.{table}.{column} IS '{comment}'")


def downgrade() -> None:
    op.execute("DROP TABLE control.announcement, control.expected")
