"""Which deliveries are expected, until when, and what became of them; which periods were announced as settled to what follows."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

TABLES = """
CREATE TABLE control.expected (
    dataset text NOT NULL,
    sender text NOT NULL,
    period date NOT NULL,
    due_at timestamptz,
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

CREATE VIEW control.delivery_status WITH (security_invoker = true) AS
WITH entry AS NOT MATERIALIZED (
    -- A partition is a sender's: a central body's own, or that of the province whose rows they are, whoever delivered for it.
    -- Only what was loaded has a checksum, and keeps it when a newer delivery takes its place.
    SELECT *, coalesce(province_id, sender) AS whose,
        state IN ('loaded', 'stored') AS is_shown, state IN ('loaded', 'stored') OR (state = 'superseded' AND row_checksum IS NOT NULL) AS was_accepted
    FROM control.delivery WHERE dataset IS NOT NULL AND period IS NOT NULL
), delivered AS NOT MATERIALIZED (
    SELECT dataset, whose AS sender, period, count(*) AS deliveries,
        max(delivery_id) AS newest_id,
        max(delivery_id) FILTER (WHERE is_shown) AS shown_id,
        max(delivery_id) FILTER (WHERE state = 'held') AS held_id,
        max(delivery_id) FILTER (WHERE state = 'returned') AS returned_id,
        min(received_at) FILTER (WHERE was_accepted) AS accepted_at,
        (array_agg(was_accepted AND lines_rejected = 0 ORDER BY delivery_id) FILTER (WHERE was_accepted OR state IN ('held', 'returned')))[1] AS is_first_time_right
    FROM entry GROUP BY 1, 2, 3
), partition AS (
    SELECT e.dataset, e.sender, e.period, true AS is_expected, e.due_at,
        d.deliveries, d.newest_id, d.shown_id, d.held_id, d.returned_id, d.accepted_at, d.is_first_time_right
    FROM control.expected e LEFT JOIN delivered d ON d.dataset = e.dataset AND d.sender = e.sender AND d.period = e.period
    UNION ALL
    SELECT d.dataset, d.sender, d.period, false, NULL,
        d.deliveries, d.newest_id, d.shown_id, d.held_id, d.returned_id, d.accepted_at, d.is_first_time_right
    FROM delivered d
    WHERE NOT EXISTS (SELECT FROM control.expected e WHERE e.dataset = d.dataset AND e.sender = d.sender AND e.period = d.period)
)
SELECT p.dataset, p.sender, p.period, p.is_expected, p.due_at,
    CASE
        WHEN p.shown_id IS NOT NULL AND c.lines_rejected > 0 THEN 'in-part'
        WHEN p.shown_id IS NOT NULL AND c.lines_loaded = 0 THEN 'empty'
        WHEN p.shown_id IS NOT NULL AND p.accepted_at >= p.due_at THEN 'late'
        WHEN p.shown_id IS NOT NULL THEN 'accepted'
        WHEN p.held_id IS NOT NULL THEN 'held'
        WHEN p.returned_id IS NOT NULL THEN 'returned'
        WHEN p.due_at <= now() THEN 'missing'
        ELSE 'not-due'
    END AS state,
    coalesce(CASE WHEN p.shown_id IS NOT NULL THEN p.accepted_at WHEN p.held_id IS NOT NULL THEN c.received_at ELSE now() END >= p.due_at, false) AS is_late,
    c.delivery_id, p.accepted_at, c.lines_loaded, c.lines_rejected,
    CASE WHEN p.held_id > p.shown_id THEN 'held' WHEN p.returned_id > p.shown_id THEN 'returned' END AS correction,
    p.is_first_time_right, coalesce(p.deliveries, 0) AS deliveries
FROM partition p LEFT JOIN control.delivery c ON c.delivery_id = coalesce(p.shown_id, p.held_id, p.returned_id, p.newest_id);
COMMENT ON VIEW control.delivery_status IS 'Tình trạng từng đơn vị, từng kỳ · What became of each sender''s delivery for each period';
"""
COLUMNS = (
    ("expected", "dataset", "Tập dữ liệu · Dataset"),
    ("expected", "sender", "Đơn vị gửi · Sender"),
    ("expected", "period", "Ngày đầu kỳ · First day of the period"),
    ("expected", "due_at", "Hạn, không kể thời điểm này; trống: không có hạn · The first moment after the due date; empty: none"),
    ("expected", "frozen_at", "Ghi lúc · When it was written down"),
    ("delivery_status", "dataset", "Tập dữ liệu · Dataset"),
    ("delivery_status", "sender", "Đơn vị có dòng ở đây, dù ai gửi thay · Whose rows they are, whoever delivered for it"),
    ("delivery_status", "period", "Ngày đầu kỳ · First day of the period"),
    ("delivery_status", "is_expected", "Có trong lịch · Whether the calendar expects it"),
    ("delivery_status", "due_at", "Hạn, không kể thời điểm này; trống: không có hạn · The first moment after the due date; empty: none"),
    ("delivery_status", "state", "Tình trạng · not-due, missing, late, returned, in-part, accepted, empty or held"),
    ("delivery_status", "is_late", "Sau hạn mới đến, hoặc quá hạn chưa có · Came after the due date, or has not come since"),
    (
        "delivery_status",
        "delivery_id",
        "Đợt gửi đang hiển thị, hoặc đợt quyết định tình trạng · The delivery shown, else the one that makes the state",
    ),
    ("delivery_status", "accepted_at", "Đợt đầu tiên được chấp nhận đến lúc · When the first accepted delivery came"),
    ("delivery_status", "lines_loaded", "Số dòng nạp · Lines loaded"),
    ("delivery_status", "lines_rejected", "Số dòng từ chối · Lines refused"),
    ("delivery_status", "correction", "Đợt sửa sau đó: held, returned · What became of a later correction: held, returned"),
    (
        "delivery_status",
        "is_first_time_right",
        "Đợt đầu được nhận trọn vẹn · Whether the first delivery was accepted without a rejected line",
    ),
    ("delivery_status", "deliveries", "Số đợt gửi · How many deliveries there were"),
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
    op.execute("DROP VIEW control.delivery_status; DROP TABLE control.announcement, control.expected")
