"""Who may see what: grantees, delegations, memberships, and every change of them; whose each line of the ledger is."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = """
ALTER TABLE control.dataset
    ADD COLUMN label text,
    ADD COLUMN restricted text[] NOT NULL DEFAULT '{}',
    ADD COLUMN commune_field text;
COMMENT ON COLUMN control.dataset.restricted IS 'Các trường hạn chế, lưu ở personal.<tập dữ liệu> · Restricted fields, held in personal.<dataset>';

ALTER TABLE control.rejection ADD COLUMN sender text;
ALTER TABLE control.reconciliation ADD COLUMN sender text;
ALTER TABLE control.decision ADD COLUMN sender text;
UPDATE control.rejection r SET sender = d.sender FROM control.delivery d WHERE d.delivery_id = r.delivery_id;
UPDATE control.reconciliation r SET sender = d.sender FROM control.delivery d WHERE d.delivery_id = r.delivery_id;
UPDATE control.decision r SET sender = d.sender FROM control.delivery d WHERE d.delivery_id = r.delivery_id;
ALTER TABLE control.rejection ALTER COLUMN sender SET NOT NULL;
ALTER TABLE control.reconciliation ALTER COLUMN sender SET NOT NULL;
ALTER TABLE control.decision ALTER COLUMN sender SET NOT NULL;

CREATE TABLE control.pseudonym_key (
    fingerprint text PRIMARY KEY,
    since timestamptz NOT NULL DEFAULT now(),
    until timestamptz
);
CREATE UNIQUE INDEX pseudonym_key_current ON control.pseudonym_key ((true)) WHERE until IS NULL;
COMMENT ON TABLE control.pseudonym_key IS 'Dấu vân tay của khoá tạo bí danh · Fingerprints of the keys that made the pseudonyms; never the keys';

CREATE TABLE control.grantee (
    id text PRIMARY KEY,
    role name NOT NULL UNIQUE,
    kind text NOT NULL CHECK (kind IN ('group', 'province', 'organisation', 'person')),
    name text NOT NULL,
    province_id text,
    valid_from timestamptz,
    valid_until timestamptz,
    heir_id text,
    ended_at timestamptz
);
COMMENT ON TABLE control.grantee IS 'Ai có thể được phân quyền, và vai trò cơ sở dữ liệu tương ứng · Who can hold a delegation, and as which database role';
COMMENT ON COLUMN control.grantee.province_id IS 'Tỉnh của cơ quan hoặc người này · The province that an organisation or a person belongs to';
COMMENT ON COLUMN control.grantee.heir_id IS 'Tỉnh kế thừa sau sáp nhập · The province that takes its place after a merger';

CREATE TABLE control.delegation (
    delegation_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    parent_id bigint REFERENCES control.delegation,
    grantor text NOT NULL REFERENCES control.grantee,
    grantee text NOT NULL REFERENCES control.grantee,
    datasets text[],
    provinces text[],
    communes text[],
    periods_from date,
    periods_until date,
    in_clear text[],
    is_own boolean NOT NULL DEFAULT false,
    workspace_of text,
    from_at timestamptz NOT NULL,
    until_at timestamptz,
    may_redelegate boolean NOT NULL DEFAULT false,
    purpose text NOT NULL CHECK (purpose <> ''),
    legal_basis text NOT NULL CHECK (legal_basis <> ''),
    is_declared boolean NOT NULL DEFAULT false,
    source text,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL DEFAULT session_user,
    revoked_at timestamptz,
    revoked_by text,
    revoked_because text,
    CONSTRAINT ends_after_it_begins CHECK (until_at IS NULL OR until_at > from_at),
    CONSTRAINT names_something CHECK (coalesce(cardinality(datasets), 1) > 0 AND coalesce(cardinality(provinces), 1) > 0 AND coalesce(cardinality(communes), 1) > 0)
);
CREATE UNIQUE INDEX delegation_live_name ON control.delegation (name) WHERE revoked_at IS NULL;
CREATE INDEX delegation_parent ON control.delegation (parent_id) WHERE revoked_at IS NULL;
COMMENT ON TABLE control.delegation IS 'Phân quyền khai thác, sử dụng; không xoá, chỉ thu hồi · Delegations, live and ended; none is ever deleted';
COMMENT ON COLUMN control.delegation.datasets IS 'Trống: mọi tập dữ liệu · NULL: every dataset, also those to come';
COMMENT ON COLUMN control.delegation.provinces IS 'Trống: mọi tỉnh · NULL: every province, and rows without one';
COMMENT ON COLUMN control.delegation.communes IS 'Trống: cả tỉnh · NULL: whole provinces';
COMMENT ON COLUMN control.delegation.periods_from IS 'Chỉ các kỳ từ ngày này: mã xã đổi nghĩa · Only periods from this day on: codes of communes change their meaning';
COMMENT ON COLUMN control.delegation.in_clear IS 'Trường hạn chế thấy rõ, dạng tập.trường; trống: tất cả · Restricted fields seen in clear, as dataset.field; NULL: all of them';
COMMENT ON COLUMN control.delegation.until_at IS 'Kết thúc, không kể thời điểm này · The first moment after its end';

CREATE TABLE control.membership (
    person text NOT NULL REFERENCES control.grantee,
    grantee text NOT NULL REFERENCES control.grantee,
    since timestamptz NOT NULL DEFAULT now(),
    until timestamptz,
    added_by text NOT NULL DEFAULT session_user,
    legal_basis text
);
CREATE UNIQUE INDEX membership_live ON control.membership (person, grantee) WHERE until IS NULL;
COMMENT ON TABLE control.membership IS 'Người dùng thuộc cơ quan nào, từ khi nào · Which person belongs to whom, and since when';

CREATE TABLE control.access_change (
    change_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    login text NOT NULL DEFAULT session_user,
    actor text,
    what text NOT NULL,
    name text NOT NULL,
    before jsonb,
    after jsonb,
    legal_basis text
);
COMMENT ON TABLE control.access_change IS 'Nhật ký thay đổi quyền, chỉ thêm · Every change of who may see what; rows are only added';
COMMENT ON COLUMN control.access_change.actor IS 'Người đứng sau tài khoản dùng chung · The person behind a shared login, as the command was told';
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute(
        "DROP TABLE control.access_change, control.membership, control.delegation, control.grantee, control.pseudonym_key;"
        "ALTER TABLE control.dataset DROP COLUMN label, DROP COLUMN restricted, DROP COLUMN commune_field;"
        "ALTER TABLE control.rejection DROP COLUMN sender; ALTER TABLE control.reconciliation DROP COLUMN sender;"
        "ALTER TABLE control.decision DROP COLUMN sender"
    )
