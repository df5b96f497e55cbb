"""What must hold in the server's catalogue whatever the delegations are: flags, owners, memberships, views, functions, privileges.

Answers for: each invariant is one query that returns what breaks it, read from the catalogue alone. Refuses: trusting functions.sql,
but for the one question of what differs from what the delegations ask for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from expectations.faults import Message, SetupFault
from warehouse.access.findings import Finding, Kind
from warehouse.access.grantees import CENTRE
from warehouse.engine import check_version
from warehouse.logins import ANALYST, SERVICE, TASK
from warehouse.roles import GROUPS, PIPELINE, SCHEMAS

if TYPE_CHECKING:
    from sqlalchemy import Connection

CALLABLE = ("delegate", "revoke", "my_delegations")
"""What people may call; these run with the owner's rights."""
DEFINERS = (*CALLABLE, "take_turn", "new_leaf", "index_leaf", "attach_leaf")
"""`take_turn` is a trigger's, which nobody can call; the last three are a load's, for the loader alone."""

# Persons, groups and whoever belongs to one, but for the pipeline's own logins.
_OURS = """
    ours AS (
        WITH RECURSIVE below AS (
            SELECT oid, rolname FROM pg_roles WHERE rolname IN (SELECT role FROM control.grantee) OR rolname = ANY (:groups)
            UNION SELECT r.oid, r.rolname FROM below JOIN pg_auth_members m ON m.roleid = below.oid JOIN pg_roles r ON r.oid = m.member)
        SELECT oid, rolname FROM below WHERE rolname <> ALL (:pipeline)
    )"""
# Whatever these own or run shows more than a person may see.
_MIGHTY = "(r.rolsuper OR r.rolbypassrls OR r.rolname LIKE 'ndc\\_%' OR r.rolname = ANY (:pipeline))"


@dataclass(frozen=True, slots=True)
class Invariant:
    """`sql` returns (object, role, detail) of what breaks it; `told` is the sentence for one of them."""

    rule: str
    kind: Kind
    meaning: Message
    told: Message
    sql: str


INVARIANTS = (
    Invariant(
        "row-security",
        "leak",
        Message("Mọi bảng và phân vùng đều bật và buộc bảo mật theo dòng", "Row security is enabled and forced on every table and partition"),
        Message("{object} chưa bật hoặc chưa buộc bảo mật theo dòng.", "Row security is not enabled and forced on {object}."),
        "SELECT c.oid::regclass::text, NULL, NULL FROM pg_class c WHERE c.relnamespace IN "
        "(SELECT oid FROM pg_namespace WHERE nspname IN ('national', 'personal', 'parts', 'control', 'mart')) AND c.relkind IN ('r', 'p') AND NOT (c.relrowsecurity AND c.relforcerowsecurity)",
    ),
    Invariant(
        "owner",
        "leak",
        Message("Mọi thứ trong các schema của hệ thống thuộc ndc_owner", "Everything in the system's schemas belongs to ndc_owner"),
        Message("{object} thuộc {role}, không thuộc ndc_owner.", "{object} belongs to {role}, not to ndc_owner."),
        "SELECT pg_describe_object(o.classid, o.objid, 0), o.role, NULL FROM ("
        "SELECT 'pg_class'::regclass AS classid, oid AS objid, relnamespace AS schema, pg_get_userbyid(relowner) AS role FROM pg_class WHERE relkind NOT IN ('i', 'I') "
        "UNION ALL SELECT 'pg_proc'::regclass, oid, pronamespace, pg_get_userbyid(proowner) FROM pg_proc "
        "UNION ALL SELECT 'pg_namespace'::regclass, oid, oid, pg_get_userbyid(nspowner) FROM pg_namespace) o "
        "WHERE o.schema IN (SELECT oid FROM pg_namespace WHERE nspname = ANY (:schemas)) AND o.role <> 'ndc_owner'",
    ),
    Invariant(
        "parts-closed",
        "leak",
        Message("Không ai có quyền gì trên schema parts và các phân vùng", "Nobody has any right on the schema parts or a partition"),
        Message("{role} có quyền {detail} trên {object}.", "{role} holds {detail} on {object}."),
        "SELECT a.object, coalesce(nullif(a.grantee, 0)::regrole::text, 'PUBLIC'), string_agg(DISTINCT a.privilege_type, ', ') FROM ("
        "SELECT 'schema parts' AS object, n.nspowner AS owner, x.* FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) x WHERE n.nspname = 'parts' "
        "UNION ALL SELECT c.oid::regclass::text, c.relowner, x.* FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) x WHERE c.relnamespace = 'parts'::regnamespace "
        "UNION ALL SELECT c.oid::regclass::text, c.relowner, x.* FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid "
        "CROSS JOIN LATERAL aclexplode(t.attacl) x WHERE c.relnamespace = 'parts'::regnamespace) a WHERE a.grantee <> a.owner GROUP BY 1, 2",
    ),
    Invariant(
        "public",
        "leak",
        Message("Không có quyền hay chính sách nào cho PUBLIC", "No right and no policy is for PUBLIC"),
        Message("PUBLIC có {detail} trên {object}.", "PUBLIC has {detail} on {object}."),
        "SELECT object, NULL, string_agg(DISTINCT what, ', ') FROM ("
        "SELECT p.polrelid::regclass::text AS object, 'policy ' || p.polname AS what FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid "
        "WHERE 0 = ANY (p.polroles) AND c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname = ANY (:schemas)) "
        "UNION ALL SELECT 'database ' || datname, x.privilege_type FROM pg_database CROSS JOIN LATERAL aclexplode(coalesce(datacl, acldefault('d', datdba))) x "
        "WHERE datname = current_database() AND x.grantee = 0 "
        "UNION ALL SELECT 'schema ' || nspname, x.privilege_type FROM pg_namespace CROSS JOIN LATERAL aclexplode(nspacl) x "
        "WHERE x.grantee = 0 AND (nspname = ANY (:schemas) OR nspname LIKE 'workspace\\_%' OR nspname = 'public' AND x.privilege_type = 'CREATE') "
        "UNION ALL SELECT c.oid::regclass::text, x.privilege_type FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) x "
        "WHERE x.grantee = 0 AND c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname = ANY (:schemas)) "
        "UNION ALL SELECT c.oid::regclass::text, x.privilege_type || ' (' || t.attname || ')' FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid "
        "CROSS JOIN LATERAL aclexplode(t.attacl) x WHERE x.grantee = 0 AND c.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname = ANY (:schemas)) "
        "UNION ALL SELECT p.oid::regprocedure::text, x.privilege_type FROM pg_proc p CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x "
        "WHERE x.grantee = 0 AND p.pronamespace IN (SELECT oid FROM pg_namespace WHERE nspname = ANY (:schemas))) f GROUP BY object",
    ),
    Invariant(
        "view",
        "leak",
        Message(
            "Khung nhìn chạy bằng quyền của người đọc; không có khung nhìn vật chất hoá hay bảng ngoài",
            "Views run with their reader's rights; there is no materialized view and no foreign table",
        ),
        Message("{object} cho thấy dòng bằng quyền của {role}.", "{object} shows rows with the rights of {role}."),
        "SELECT DISTINCT c.oid::regclass::text, r.rolname, NULL FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relkind IN ('v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') "
        "AND NOT (c.relkind = 'v' AND coalesce((SELECT option_value::boolean FROM pg_options_to_table(c.reloptions) WHERE option_name = 'security_invoker'), false)) "
        f"AND (n.nspname = ANY (:schemas) OR {_MIGHTY} AND EXISTS (SELECT FROM pg_rewrite w JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid "
        "JOIN pg_class t ON d.refclassid = 'pg_class'::regclass AND t.oid = d.refobjid WHERE w.ev_class = c.oid AND t.oid <> c.oid "
        "AND t.relnamespace IN (SELECT oid FROM pg_namespace WHERE nspname = ANY (:schemas))))",
    ),
    Invariant(
        "function",
        "leak",
        Message(
            "Không có hàm SECURITY DEFINER ngoài bốn hàm phân quyền và ba hàm nạp phân vùng, với search_path cố định",
            "No function is SECURITY DEFINER but the four for delegating and the three for loading a leaf, whose search_path is fixed",
        ),
        Message("{object} chạy bằng quyền của {role}.", "{object} runs with the rights of {role}."),
        "SELECT p.oid::regprocedure::text, r.rolname, NULL FROM pg_proc p JOIN pg_roles r ON r.oid = p.proowner JOIN pg_namespace n ON n.oid = p.pronamespace "
        f"WHERE p.prosecdef AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND (n.nspname = ANY (:schemas) OR {_MIGHTY}) AND NOT ("
        "n.nspname = 'control' AND p.proname = ANY (:definers) AND r.rolname = 'ndc_owner' AND coalesce('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false))",
    ),
    Invariant(
        "attribute",
        "leak",
        Message(
            "Không người hay nhóm nào là superuser, BYPASSRLS, CREATEROLE, CREATEDB hay REPLICATION; không nhóm nào đăng nhập được",
            "No person or group is superuser, BYPASSRLS, CREATEROLE, CREATEDB or REPLICATION; no group logs in",
        ),
        Message("{role} có thuộc tính {detail}.", "{role} has the attribute {detail}."),
        f"WITH {_OURS} SELECT 'role', o.rolname, concat_ws(', ', CASE WHEN r.rolsuper THEN 'SUPERUSER' END, CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' END, "
        "CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END, CASE WHEN r.rolcreatedb THEN 'CREATEDB' END, CASE WHEN r.rolreplication THEN 'REPLICATION' END, "
        "CASE WHEN r.rolcanlogin AND g.is_group THEN 'LOGIN' END) FROM ours o JOIN pg_roles r ON r.oid = o.oid CROSS JOIN LATERAL (SELECT o.rolname = ANY (:groups) "
        "OR EXISTS (SELECT FROM control.grantee WHERE role = o.rolname AND kind <> 'person') AS is_group) g "
        "WHERE r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolcanlogin AND g.is_group",
    ),
    Invariant(
        "belongings",
        "leak",
        Message("Người và nhóm chỉ sở hữu những gì trong vùng làm việc", "People and groups own only what is in a workspace"),
        Message("{role} sở hữu {object} ngoài vùng làm việc.", "{role} owns {object} outside of a workspace."),
        f"WITH {_OURS} SELECT pg_describe_object(d.classid, d.objid, 0), o.rolname, NULL FROM pg_shdepend d JOIN ours o ON o.oid = d.refobjid "
        "WHERE d.refclassid = 'pg_authid'::regclass AND d.deptype = 'o' AND d.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database())) "
        "AND d.classid <> 'pg_default_acl'::regclass AND coalesce((pg_identify_object(d.classid, d.objid, 0)).schema NOT LIKE 'workspace\\_%', true)",
    ),
    Invariant(
        "pipeline",
        "leak",
        Message(
            "Chỉ các tài khoản của hệ thống thuộc ndc_owner và ndc_loader, và không kế thừa; tài khoản của tác vụ chỉ thuộc ndc_loader",
            "Only the system's own logins belong to ndc_owner and ndc_loader, and inherit nothing of them; that of tasks belongs to ndc_loader alone",
        ),
        Message("{role} thuộc {object}{detail}.", "{role} belongs to {object}{detail}."),
        "SELECT DISTINCT m.roleid::regrole::text, r.rolname, CASE WHEN r.rolname = ANY (:pipeline) AND {inherits} THEN ' (INHERIT)' ELSE '' END "
        "FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE m.roleid::regrole::text IN ('ndc_owner', 'ndc_loader') AND (r.rolname <> ALL (:pipeline) OR {inherits}) "
        "OR r.rolname = :task AND m.roleid::regrole::text <> 'ndc_loader'",
    ),
    Invariant(
        "membership",
        "leak",
        Message("Ai thuộc nhóm nào thì đúng như control.membership", "Who belongs to which group is just as control.membership says"),
        Message("{role} thuộc {object} mà không được ghi nhận.", "{role} belongs to {object}, of which nothing is recorded."),
        f"WITH {_OURS}, {{recorded}} SELECT DISTINCT m.roleid::regrole::text, r.rolname, NULL FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member "
        "JOIN pg_roles g ON g.oid = m.roleid WHERE (m.roleid IN (SELECT oid FROM ours) OR m.member IN (SELECT oid FROM ours)) AND r.rolname <> ALL (:pipeline) "
        "AND g.rolname <> ALL (:powers) AND (r.rolname, g.rolname) NOT IN (SELECT login, role FROM recorded)",
    ),
    Invariant(
        "member-lost",
        "drift",
        Message("Ai được ghi trong control.membership thì thuộc nhóm đó", "Whoever control.membership names belongs to that group"),
        Message("{role} không thuộc {object}, dù được ghi nhận.", "{role} does not belong to {object}, though it is recorded."),
        "WITH {recorded} SELECT c.role, c.login, NULL FROM recorded c JOIN pg_roles l ON l.rolname = c.login JOIN pg_roles g ON g.rolname = c.role "
        "WHERE NOT EXISTS (SELECT FROM pg_auth_members m WHERE m.member = l.oid AND m.roleid = g.oid)",
    ),
    Invariant(
        "grant-option",
        "leak",
        Message("Không ai được chuyển quyền hay thêm thành viên bằng lệnh của PostgreSQL", "Nobody may pass rights or memberships on by PostgreSQL's own means"),
        Message("{role} có thể chuyển {object} cho người khác.", "{role} may pass {object} on."),
        f"WITH {_OURS} SELECT DISTINCT 'membership of ' || m.roleid::regrole::text, m.member::regrole::text, NULL FROM pg_auth_members m "
        "WHERE m.admin_option AND m.member IN (SELECT oid FROM ours) "
        "UNION SELECT a.object, a.grantee::regrole::text, NULL FROM ("
        "SELECT c.oid::regclass::text AS object, c.relnamespace AS schema, c.relowner AS owner, x.* FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) x "
        "UNION ALL SELECT c.oid::regclass::text, c.relnamespace, c.relowner, x.* FROM pg_class c JOIN pg_attribute t ON t.attrelid = c.oid CROSS JOIN LATERAL aclexplode(t.attacl) x "
        "UNION ALL SELECT 'schema ' || nspname, oid, nspowner, x.* FROM pg_namespace CROSS JOIN LATERAL aclexplode(nspacl) x) a "
        "WHERE a.is_grantable AND a.grantee NOT IN (0, a.owner) AND (a.schema IN (SELECT oid FROM pg_namespace WHERE nspname = ANY (:schemas)) OR a.object LIKE 'schema workspace\\_%')",
    ),
    Invariant(
        "default-privileges",
        "leak",
        Message(
            "Quyền mặc định chỉ chia sẻ trong vùng làm việc của chính tỉnh mình",
            "Default privileges share with nobody but the province whose workspace it is",
        ),
        Message("Mọi thứ {object} sẽ tạo được cấp {detail} cho {role}.", "Whatever {object} will make is granted to {role} ({detail})."),
        "SELECT d.defaclrole::regrole::text || coalesce(' (' || n.nspname || ')', ''), coalesce(nullif(x.grantee, 0)::regrole::text, 'PUBLIC'), string_agg(x.privilege_type, ', ') "
        "FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace CROSS JOIN LATERAL aclexplode(d.defaclacl) x "
        "WHERE x.grantee <> d.defaclrole AND NOT (x.grantee = 0 AND d.defaclobjtype IN ('f', 'T') AND n.nspname IS NULL) AND NOT EXISTS ("
        "SELECT FROM control.grantee g JOIN pg_roles r ON r.rolname = g.role WHERE g.kind = 'province' AND r.oid = x.grantee AND n.nspname = 'workspace_' || replace(g.id, '-', '_')) "
        "GROUP BY 1, 2",
    ),
    Invariant(
        "power",
        "leak",
        Message("Không người hay nhóm nào có vai trò đặc quyền của PostgreSQL", "No person or group has one of PostgreSQL's own powerful roles"),
        Message("{role} thuộc {object}.", "{role} belongs to {object}."),
        f"WITH {_OURS} SELECT m.roleid::regrole::text, o.rolname, NULL FROM pg_auth_members m JOIN ours o ON o.oid = m.member JOIN pg_roles g ON g.oid = m.roleid WHERE g.rolname = ANY (:powers)",
    ),
    Invariant(
        "parent",
        "leak",
        Message("Không phân quyền nào còn sống dưới một phân quyền đã hết", "No delegation lives on below one that has ended"),
        Message("Phân quyền «{object}» của {role} còn sống dưới «{detail}» đã hết.", "The delegation '{object}' of {role} lives on below '{detail}', which has ended."),
        "SELECT c.name, c.grantee, p.name FROM control.delegation c JOIN control.delegation p ON p.delegation_id = c.parent_id "
        "WHERE c.revoked_at IS NULL AND (c.until_at IS NULL OR c.until_at > now()) AND (p.revoked_at IS NOT NULL OR p.until_at <= now())",
    ),
)  # fmt: skip

VERSION = "version"
DRIFT = "drift"
MEANINGS: Mapping[str, Message] = {
    VERSION: Message("Máy chủ không có lỗ hổng đã biết về bảo mật theo dòng", "The server has no known hole in row security"),
    **{invariant.rule: invariant.meaning for invariant in INVARIANTS},
    DRIFT: Message("Chính sách và quyền đúng như các phân quyền đòi hỏi", "Policies and rights are what the delegations ask for"),
}

# (login, role) of every membership that there should be.
_RECORDED = """recorded AS (
    SELECT p.role::text AS login, g.role::text AS role FROM control.membership m JOIN control.grantee p ON p.id = m.person JOIN control.grantee g ON g.id = m.grantee
    WHERE (m.until IS NULL OR m.until > now()) AND p.ended_at IS NULL AND (p.valid_until IS NULL OR p.valid_until > now())
    UNION SELECT role::text, 'ndc_people' FROM control.grantee WHERE kind = 'person' AND ended_at IS NULL AND (valid_until IS NULL OR valid_until > now())
    UNION SELECT CAST(:analyst AS text), role::text FROM control.grantee WHERE id = :centre AND EXISTS (SELECT FROM pg_roles WHERE rolname = CAST(:analyst AS text))
)"""


def find_broken(connection: Connection, pipeline: tuple[str, ...]) -> Iterator[Finding]:
    """What breaks an invariant. `pipeline` are the system's own logins. Runs as ndc_owner; changes nothing."""
    from sqlalchemy import text

    raw: Any = connection.connection.dbapi_connection
    inherits = "m.inherit_option" if raw.info.server_version >= 160000 else "r.rolinherit"
    powers = connection.execute(text("SELECT rolname FROM pg_roles WHERE rolname LIKE 'pg\\_%'")).scalars().all()
    values = {
        "schemas": list(SCHEMAS),
        "groups": [group for group in GROUPS if group not in PIPELINE],
        "pipeline": sorted({SERVICE, TASK, *pipeline}),
        "task": TASK,
        "definers": list(DEFINERS),
        "powers": list(powers),
        "analyst": ANALYST,
        "centre": CENTRE,
    }
    yield from _version(connection)
    for invariant in INVARIANTS:
        query = invariant.sql.replace("{recorded}", _RECORDED).replace("{inherits}", inherits)
        needed = {name: value for name, value in values.items() if f":{name}" in query}
        for thing, role, detail in connection.execute(text(query), needed):
            thing = thing.replace('"', "")
            yield Finding(invariant.kind, invariant.rule, thing, role, invariant.told.fill(object=thing, role=role, detail=detail))
    yield from _drift(connection)


def _version(connection: Connection) -> Iterator[Finding]:
    try:
        check_version(connection)
    except SetupFault as fault:
        yield Finding("leak", VERSION, "server", None, fault.message)


def _drift(connection: Connection) -> Iterator[Finding]:
    """What `ndc delegations apply` would change; row security has an invariant of its own."""
    from sqlalchemy import text

    query = "SELECT object, role, statement FROM control.access_drift() WHERE what <> 'row security'"
    for thing, role, statement in connection.execute(text(query)):
        thing = thing.replace('"', "")
        said = Message(
            f"{thing}: quyền thực tế khác với phân quyền; sẽ sửa bằng: {statement}",
            f"{thing}: what is live differs from what the delegations ask for; mended by: {statement}",
        )
        yield Finding("drift", DRIFT, thing, role, said)
