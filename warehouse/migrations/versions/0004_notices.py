"""What was told to whom, and when; and which channels it has not reached yet."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

TABLES = """
CREATE TABLE control.notice (
    notice_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    night date NOT NULL,
    sender text,
    nth smallint NOT NULL DEFAULT 1,
    subject text NOT NULL,
    body text NOT NULL,
    page text NOT NULL,
    made_at timestamptz NOT NULL,
    finished_at timestamptz,
    CONSTRAINT one_each_night UNIQUE NULLS NOT DISTINCT (night, sender, nth),
    CONSTRAINT one_for_a_sender CHECK (sender IS NULL OR nth = 1)
);
CREATE INDEX notice_unfinished ON control.notice (notice_id) WHERE finished_at IS NULL;
COMMENT ON TABLE control.notice IS 'Bản tin đã lập: mỗi đơn vị gửi mỗi đêm một bản · Digests that were made: one for a sender and night';

CREATE TABLE control.notice_item (
    notice_id bigint NOT NULL REFERENCES control.notice,
    kind text NOT NULL CHECK (kind IN ('delivery', 'overdue', 'trouble', 'channel')),
    topic text NOT NULL,
    state text NOT NULL,
    since date NOT NULL,
    delivery_id bigint REFERENCES control.delivery
);
CREATE INDEX notice_item_notice ON control.notice_item (notice_id);
CREATE INDEX notice_item_topic ON control.notice_item (topic);
CREATE INDEX notice_item_delivery ON control.notice_item (delivery_id);
COMMENT ON TABLE control.notice_item IS 'Từng việc đã báo, để báo lần đầu hay lặp lại · Each thing that was told, by which the next digest knows what is new';

CREATE TABLE control.notice_channel (
    notice_id bigint NOT NULL REFERENCES control.notice,
    channel text NOT NULL,
    sent_at timestamptz,
    failed_at timestamptz,
    failures integer NOT NULL DEFAULT 0,
    PRIMARY KEY (notice_id, channel)
);
COMMENT ON TABLE control.notice_channel IS 'Kênh nào đã nhận bản tin · Which channels a digest has reached';
"""
COLUMNS = (
    ("notice", "notice_id", "Số bản tin · Number of the digest"),
    ("notice", "night", "Đêm · Night, as a day of the installation''s time zone"),
    ("notice", "sender", "Đơn vị gửi; trống: người vận hành · Sender; empty for the operator"),
    ("notice", "nth", "Bản thứ mấy trong đêm · Which one of the night; a sender gets one"),
    ("notice", "subject", "Tiêu đề · Subject line"),
    ("notice", "body", "Lời văn, không có dữ liệu · Text, without data"),
    ("notice", "page", "Bản HTML · The same as HTML"),
    ("notice", "made_at", "Lập lúc · When it was made"),
    ("notice", "finished_at", "Xong lúc: mọi kênh đã nhận hoặc đã thôi gửi · When nothing was left to send"),
    ("notice_item", "notice_id", "Số bản tin · Number of the digest"),
    ("notice_item", "kind", "Loại · delivery, overdue, trouble or channel"),
    ("notice_item", "topic", "Về việc gì: tập dữ liệu/kỳ/đơn vị, tệp hoặc kênh · About what: dataset/period/unit, file or channel"),
    ("notice_item", "state", "Trạng thái đã báo · The state that was told"),
    ("notice_item", "since", "Việc này còn mở từ đêm nào · The night since which this has been open"),
    ("notice_item", "delivery_id", "Đợt gửi · Delivery"),
    ("notice_channel", "notice_id", "Số bản tin · Number of the digest"),
    ("notice_channel", "channel", "Kênh, không có địa chỉ · Kind and mark of the channel, without its address"),
    ("notice_channel", "sent_at", "Gửi được lúc · When it was sent"),
    ("notice_channel", "failed_at", "Lỗi lần cuối lúc · When it last failed"),
    ("notice_channel", "failures", "Số lần lỗi · How often it failed"),
)


def upgrade() -> None:
    op.execute(TABLES)
    for table, column, comment in COLUMNS:
        op.execute(f"COMMENT ON COLUMN control.{table}.{column} IS '{comment}'")


def downgrade() -> None:
    op.execute("DROP TABLE control.notice_channel, control.notice_item, control.notice")
