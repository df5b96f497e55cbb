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
CREATE INDEX delivery_sender ON control.delivery (sender);
CREATE INDEX rejection_sender ON control.rejection (sender);
CREATE INDEX reconciliation_sender ON control.reconciliation (sender);
CREATE INDEX decision_sender ON control.decision (sender);

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
    name text NOT NULL CHECK (name ~ '[^[:space:]]' AND name !~ '[[:cntrl:]]' AND length(name) <= 300),
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
    purpose text NOT NULL,
    legal_basis text NOT NULL,
    is_declared boolean NOT NULL DEFAULT false,
    source text,
    created_at timestamptz NOT NULL DEFAULT now(),
    created_by text NOT NULL DEFAULT session_user,
    revoked_at timestamptz,
    revoked_by text,
    revoked_because text,
    CONSTRAINT ends_after_it_begins CHECK (until_at IS NULL OR until_at > from_at),
    CONSTRAINT days_of_a_calendar CHECK (from_at BETWEEN '1900-01-01Z' AND '9998-12-31Z' AND coalesce(until_at, from_at) BETWEEN '1900-01-01Z' AND '9998-12-31Z'
        AND coalesce(periods_from, '1900-01-01') BETWEEN '0001-01-01' AND '9998-12-31' AND coalesce(periods_until, '1900-01-01') BETWEEN '0001-01-01' AND '9998-12-31'),
    CONSTRAINT reasons_in_words CHECK (purpose ~ '[^[:space:]]' AND legal_basis ~ '[^[:space:]]' AND coalesce(revoked_because, '-') ~ '[^[:space:]]'
        AND purpose || legal_basis || coalesce(revoked_because, '') !~ '[[:cntrl:]]'
        AND greatest(length(purpose), length(legal_basis), length(revoked_because)) <= 2000),
    CONSTRAINT plain_words CHECK (name ~ '^[A-Za-z0-9][A-Za-z0-9._/-]{0,150}$' AND array_to_string(datasets || provinces || communes || in_clear, ',') ~ '^[A-Za-z0-9._,-]*$'
        AND coalesce(array_ndims(datasets), 1) = 1 AND coalesce(array_ndims(provinces), 1) = 1 AND coalesce(array_ndims(communes), 1) = 1
        AND coalesce(array_ndims(in_clear), 1) = 1 AND coalesce(cardinality(communes), 0) <= 5000),
    CONSTRAINT names_something CHECK (coalesce(cardinality(datasets), 1) > 0 AND coalesce(cardinality(provinces), 1) > 0 AND coalesce(cardinality(communes), 1) > 0
        AND array_position(datasets, NULL) IS NULL AND array_position(provinces, NULL) IS NULL AND array_position(communes, NULL) IS NULL AND array_position(in_clear, NULL) IS NULL)
);
CREATE UNIQUE INDEX delegation_live_name ON control.delegation (name, (CASE WHEN is_declared THEN NULL ELSE grantor END)) NULLS NOT DISTINCT WHERE revoked_at IS NULL;
CREATE INDEX delegation_parent ON control.delegation (parent_id) WHERE revoked_at IS NULL;
COMMENT ON TABLE control.delegation IS 'Phân quyền khai thác, sử dụng; không xoá, chỉ thu hồi · Delegations, live and ended; none is ever deleted';
COMMENT ON COLUMN control.delegation.datasets IS 'Trống: mọi tập dữ liệu · NULL: every dataset, also those to come';
COMMENT ON COLUMN control.delegation.provinces IS 'Trống: mọi tỉnh · NULL: every province, and rows without one';
COMMENT ON COLUMN control.delegation.communes IS 'Trống: cả tỉnh · NULL: whole provinces';
COMMENT ON COLUMN control.delegation.periods_from IS 'Chỉ các kỳ từ ngày này: mã xã đổi nghĩa · Only periods from this day on: codes of communes change their meaning';
COMMENT ON COLUMN control.delegation.in_clear IS 'Trường hạn chế thấy rõ, dạng tập.trường; trống: tất cả · Restricted fields seen in clear, as dataset.field; NULL: all of them';
COMMENT ON COLUMN control.delegation.until_at IS 'Kết thúc, không kể thời điểm này · The first moment after its end';

CREATE TABLE control.access_turn (
    transaction xid8 PRIMARY KEY,
    gives boolean NOT NULL,
    ends bigint[] NOT NULL,
    reasons text[] NOT NULL
);
COMMENT ON TABLE control.access_turn IS 'Giao dịch đang xin đổi quyền; trống sau mỗi giao dịch · Transactions that ask for a change of access; empty between them';

CREATE TABLE control.commune (
    code text NOT NULL,
    name text NOT NULL,
    province_id text NOT NULL,
    valid_from date NOT NULL,
    valid_to date,
    PRIMARY KEY (code, province_id, valid_from)
);
COMMENT ON TABLE control.commune IS 'Danh mục xã theo thời gian · The dated list of communes';

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

COLUMNS = (
    ("contract", "sha256", "Mã băm của nguyên văn · Hash of its text"),
    ("contract", "dataset", "Tập dữ liệu · Dataset"),
    ("contract", "version", "Phiên bản · Version"),
    ("contract", "text", "Nguyên văn · Word for word"),
    ("contract", "first_used", "Dùng lần đầu lúc · When it was first used"),
    ("dataset", "dataset", "Tập dữ liệu · Dataset"),
    ("dataset", "sha256", "Hợp đồng đang theo · The contract that the tables follow"),
    ("dataset", "migrated_at", "Cập nhật lúc · When the tables were brought up to it"),
    ("dataset", "label", "Tên gọi · What people call it"),
    ("dataset", "commune_field", "Cột mã xã · The column with the code of a commune"),
    ("delivery", "delivery_id", "Số đợt gửi · Number of the delivery"),
    ("delivery", "sender", "Đơn vị gửi · Who sent it"),
    ("delivery", "dataset", "Tập dữ liệu · Dataset; empty when the file could not be attributed"),
    ("delivery", "province_id", "Tỉnh của các dòng · Province of the rows; empty when a central body sends"),
    ("delivery", "period", "Kỳ, ngày đầu tiên · Period by its first day"),
    ("delivery", "sheet", "Trang tính · Sheet of the workbook"),
    ("delivery", "by_line", "Kỳ ghi ở từng dòng · Whether each line tells its period"),
    ("delivery", "file_name", "Tên tệp · Name of the file"),
    ("delivery", "sha256", "Mã băm của tệp · Hash of the bytes"),
    ("delivery", "size_bytes", "Cỡ tệp · Size in bytes"),
    ("delivery", "archive_path", "Nơi lưu nguyên bản · Where the bytes are kept"),
    ("delivery", "contract_sha256", "Hợp đồng đã xét · The contract that judged it"),
    ("delivery", "state", "Trạng thái · received, held, returned, loaded, stored or superseded"),
    ("delivery", "received_at", "Nhận lúc · When it came"),
    ("delivery", "lines_read", "Số dòng đọc · Lines read"),
    ("delivery", "lines_loaded", "Số dòng nạp · Lines loaded"),
    ("delivery", "lines_rejected", "Số dòng từ chối · Lines refused"),
    ("delivery", "lines_waiting", "Số dòng chờ · Lines of a held delivery that wait"),
    ("delivery", "lines_faulty", "Số dòng có lỗi · Lines with a fault of their own"),
    ("delivery", "row_checksum", "Tổng kiểm các dòng · Checksum of the rows, whatever their order"),
    ("delivery", "lake_path", "Tệp trong hồ · File in the lake"),
    ("delivery", "reasons", "Lý do giữ hoặc trả · Why it was held or returned"),
    ("delivery", "notices", "Lưu ý · What its sender should know"),
    ("delivery", "changed_at", "Thay đổi lúc · When this entry last changed"),
    ("delivery", "reported_at", "Đã có biên nhận lúc · When its receipt was written"),
    ("rejection", "delivery_id", "Đợt gửi · Delivery"),
    ("rejection", "line", "Dòng trong tệp · Line of the file"),
    ("rejection", "field", "Trường · Field"),
    ("rejection", "rule", "Quy tắc · Rule"),
    ("rejection", "severity", "Mức · error or warning"),
    ("rejection", "value", "Giá trị; không có với trường hạn chế · The value; never of a restricted field"),
    ("rejection", "message_vi", "Lời báo · Message in Vietnamese"),
    ("rejection", "message_en", "Lời báo tiếng Anh · Message in English"),
    ("rejection", "sender", "Đơn vị gửi · Who sent it"),
    ("reconciliation", "delivery_id", "Đợt gửi công bố · The delivery that declares"),
    ("reconciliation", "dataset", "Tập dữ liệu công bố · Dataset that declares"),
    ("reconciliation", "period", "Kỳ · Period"),
    ("reconciliation", "scope", "Phạm vi của tổng · What the total speaks for"),
    ("reconciliation", "is_total", "Tổng toàn bộ · Whether it is of the whole partition"),
    ("reconciliation", "measure", "Chỉ tiêu · Measure"),
    ("reconciliation", "unit", "Đơn vị tính · Unit"),
    ("reconciliation", "line", "Dòng trong tệp · Line of the file"),
    ("reconciliation", "declared", "Số công bố · Declared"),
    ("reconciliation", "computed", "Số tính được · Computed"),
    ("reconciliation", "difference", "Chênh lệch · Computed less declared"),
    ("reconciliation", "ties", "Khớp · Whether they tie"),
    ("reconciliation", "sender", "Đơn vị gửi · Who sent it"),
    ("decision", "delivery_id", "Đợt gửi · Delivery"),
    ("decision", "action", "Việc · approve or reject"),
    ("decision", "reason", "Lý do · Why"),
    ("decision", "decided_by", "Người quyết định · Who decided"),
    ("decision", "decided_at", "Lúc · When"),
    ("decision", "sender", "Đơn vị gửi · Who sent it"),
    ("province", "province_id", "Mã tỉnh bền vững · Stable id"),
    ("province", "name", "Tên · Name"),
    ("province", "full_name", "Tên đầy đủ · Full name"),
    ("province", "unit_type", "Loại đơn vị · Kind of unit"),
    ("province", "valid_from", "Từ ngày · From this day"),
    ("province", "valid_to", "Đến hết ngày · To this day"),
    ("province", "successor_id", "Tỉnh kế thừa · The province it went into"),
    ("province", "legal_basis", "Căn cứ · Act"),
    ("pseudonym_key", "fingerprint", "Dấu vân tay · Fingerprint"),
    ("pseudonym_key", "since", "Dùng từ · In use since"),
    ("pseudonym_key", "until", "Đến · Until"),
    ("grantee", "id", "Mã · Id, as delegations name it"),
    ("grantee", "role", "Vai trò cơ sở dữ liệu · Database role"),
    ("grantee", "kind", "Loại · group, province, organisation or person"),
    ("grantee", "name", "Tên · Name"),
    ("grantee", "valid_from", "Tỉnh có từ · A province exists from this moment"),
    ("grantee", "valid_until", "Tỉnh hết từ · A province has ended from this moment on"),
    ("grantee", "ended_at", "Chấm dứt lúc · When it was taken out or disabled"),
    ("delegation", "delegation_id", "Số · Number"),
    ("delegation", "name", "Tên · Name"),
    ("delegation", "parent_id", "Quyền gốc · The delegation it was given from"),
    ("delegation", "grantor", "Bên giao · Who grants"),
    ("delegation", "grantee", "Bên nhận · Who receives"),
    ("delegation", "periods_until", "Chỉ các kỳ đến ngày này · Only periods up to this day"),
    ("delegation", "is_own", "Dòng của chính tỉnh · Whether it is a provinces own rows"),
    ("delegation", "workspace_of", "Vùng làm việc được đọc · Whose workspace may be read"),
    ("delegation", "from_at", "Bắt đầu · Its first moment"),
    ("delegation", "may_redelegate", "Được giao lại · Whether it may be given on"),
    ("delegation", "purpose", "Mục đích · Purpose"),
    ("delegation", "legal_basis", "Căn cứ pháp lý · Legal basis"),
    ("delegation", "is_declared", "Khai báo trong tệp · Whether it stands in a file of the centre"),
    ("delegation", "source", "Từ đâu · Where it comes from"),
    ("delegation", "created_at", "Ghi lúc · When it was entered"),
    ("delegation", "created_by", "Người ghi · Login that entered it"),
    ("delegation", "revoked_at", "Thu hồi lúc · When it was revoked"),
    ("delegation", "revoked_by", "Người thu hồi · Login that revoked it"),
    ("delegation", "revoked_because", "Lý do thu hồi · Why it was revoked"),
    ("access_turn", "transaction", "Giao dịch · Transaction"),
    ("access_turn", "gives", "Có giao quyền · Whether it gives anything"),
    ("access_turn", "ends", "Các phân quyền thu hồi · Delegations that it ends"),
    ("access_turn", "reasons", "Lý do, theo thứ tự · Why, in their order"),
    ("commune", "code", "Mã xã · Code of the commune"),
    ("commune", "name", "Tên · Name"),
    ("commune", "province_id", "Tỉnh · Province"),
    ("commune", "valid_from", "Từ ngày · From this day"),
    ("commune", "valid_to", "Đến hết ngày · To this day"),
    ("membership", "person", "Người · Person"),
    ("membership", "grantee", "Thuộc · Whom the person belongs to"),
    ("membership", "since", "Từ · Since"),
    ("membership", "until", "Đến · Until"),
    ("membership", "added_by", "Người thêm · Login that added it"),
    ("membership", "legal_basis", "Căn cứ · Legal basis"),
    ("access_change", "change_id", "Số · Number"),
    ("access_change", "changed_at", "Lúc · When"),
    ("access_change", "login", "Tài khoản · Login"),
    ("access_change", "what", "Việc · What was done to what"),
    ("access_change", "name", "Tên · Of which delegation, grantee or person"),
    ("access_change", "before", "Trước · The row before"),
    ("access_change", "after", "Sau · The row after"),
    ("access_change", "legal_basis", "Căn cứ · Legal basis"),
)
"""What each column of the control tables is, in both languages; those with a comment of their own are left out."""


def upgrade() -> None:
    op.execute(TABLES)
    for table, column, comment in COLUMNS:
        literal = comment.replace("'", "''")
        op.execute(f"COMMENT ON COLUMN control.{table}.{column} IS '{literal}'")


def downgrade() -> None:
    op.execute(
        "DROP TABLE control.access_turn, control.commune, control.access_change, control.membership, control.delegation, control.grantee, control.pseudonym_key;"
        "ALTER TABLE control.dataset DROP COLUMN label, DROP COLUMN restricted, DROP COLUMN commune_field;"
        "ALTER TABLE control.rejection DROP COLUMN sender; ALTER TABLE control.reconciliation DROP COLUMN sender;"
        "ALTER TABLE control.decision DROP COLUMN sender"
    )
