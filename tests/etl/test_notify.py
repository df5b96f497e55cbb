"""Digests go out once to each channel over a real mail server, always lie in a file, and no address is ever shown."""

from __future__ import annotations

import json
import logging
import socket
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message as Mail
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from click.testing import Result
from typer.testing import CliRunner

from etl import notify
from etl.cli import app
from etl.contacts import Channel, read_contacts, unheard
from etl.notify import contacts_of, draft_notices, file_of, send_notices, tell_operator
from etl.run import Trouble
from etl.settings import read_settings
from etl.site import Site
from expectations.faults import Message, SetupFault
from tests.etl.conftest import lines, put, run_all
from tests.etl.snapshots import query

NIGHT = datetime(2026, 11, 25, 20, 0, tzinfo=UTC)
DAY = timedelta(days=1)
PASSWORD = "s3cretPassw0rd"
SECRETS = ("Nguyễn Văn Kín", "Trần Thị Mật", "9876", "8765", "31/02/2021")


@dataclass
class MailServer:
    """A mail server of this machine; letters to a mailbox in `refused` are not taken."""

    letters: list[tuple[str, Mail]] = field(default_factory=list)
    refused: set[str] = field(default_factory=set)
    port: int = 0

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802  # the server's
        if address in self.refused:
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802  # the server's
        self.letters += [(to, message_from_bytes(envelope.content)) for to in envelope.rcpt_tos]
        return "250 OK"

    def address(self, name: str) -> str:
        return f"mailto://127.0.0.1:{self.port}?mode=insecure&from=ndc%40example.org&to={name}%40example.org"

    def taken(self) -> list[str]:
        """To whom letters came since the last question."""
        found = sorted(to.split("@")[0] for to, _ in self.letters)
        self.letters.clear()
        return found


@pytest.fixture
def mail() -> Iterator[MailServer]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        server = MailServer(port=free.getsockname()[1])
    controller = Controller(server, hostname="127.0.0.1", port=server.port)
    controller.start()
    yield server
    controller.stop()


def write_contacts(site: Site, mail: MailServer, operator: tuple[str, ...] = ("operator",), **senders: tuple[str, ...]) -> Path:
    """The contacts of an installation, each by the names of mailboxes."""
    facts = {
        "operator": [mail.address(name) for name in operator],
        "senders": {sender.replace("_", "-"): [mail.address(name) for name in names] for sender, names in senders.items()},
    }
    file = site.settings.contacts_file
    file.write_text(json.dumps(facts))
    return file


def send(site: Site, now: datetime, *trouble: Trouble, only: str | None = None) -> list[notify.Sending]:
    return send_notices(site, lambda: now, trouble, only)


def test_one_letter_for_each_recipient_and_night_and_none_when_nothing_is_new(delivered: Site, mail: MailServer) -> None:
    write_contacts(delivered, mail, ha_noi=("province",), an_giang=("quiet",))
    done = send(delivered, NIGHT)
    assert [(s.sender, s.is_whole) for s in done] == [("ha-noi", True), (None, True)]
    (to, letter), (_, second) = mail.letters
    assert (to, str(make_header(decode_header(letter["subject"])))) == ("province@example.org", done[0].subject)
    kinds = {part.get_content_type(): part.get_payload(decode=True).decode() for part in letter.walk() if not part.is_multipart()}
    assert set(kinds) == {"text/plain", "text/html"}
    assert "TRẢ LẠI: Lượt khám theo cơ sở 2025-06, đợt gửi 3" in kinds["text/plain"]
    whole = " ".join(str(p.get_payload(decode=True).decode()) for one in (letter, second) for p in one.walk() if not p.is_multipart())
    assert [secret for secret in SECRETS if secret in whole] == []
    assert mail.taken() == ["operator", "province"]
    assert send(delivered, NIGHT) == [] and mail.taken() == []
    put(delivered, "ha-noi/clinic/clinic_2025-08.csv", lines(4))
    run_all(delivered)
    assert send(delivered, NIGHT) == [] and mail.taken() == []
    send(delivered, NIGHT + DAY)
    assert mail.taken() == ["operator", "province"]


def test_a_channel_that_failed_is_told_to_the_operator_and_tried_again_alone(delivered: Site, mail: MailServer) -> None:
    write_contacts(delivered, mail, ha_noi=("broken", "works"))
    mail.refused.add("broken@example.org")
    first, operator = send(delivered, NIGHT)
    assert (len(first.sent), [one.place for one in first.failed]) == (1, ["contacts.yaml:1 (mailto)"])
    assert "1 tin chưa gửi được" in operator.subject
    assert mail.taken() == ["operator", "works"]
    assert [s.is_whole for s in send(delivered, NIGHT)] == [False] and mail.taken() == []
    again = send(delivered, NIGHT + DAY)
    assert "contacts.yaml:1 (mailto) — lặp lại, từ 2 đêm" in operator_text(delivered, again)
    assert mail.taken() == ["operator"]
    mail.refused.clear()
    assert send(delivered, NIGHT + DAY)[0].is_whole and mail.taken() == ["broken"]
    assert send(delivered, NIGHT + DAY) == []
    told = query(delivered, "SELECT failures, sent_at IS NOT NULL AS is_sent FROM control.notice_channel ORDER BY failures DESC LIMIT 1")
    assert told == [{"failures": 3, "is_sent": True}]


def operator_text(site: Site, done: list[notify.Sending]) -> str:
    (file,) = [s.file for s in done if s.sender is None]
    assert file
    return file.read_text()


def test_a_channel_that_stays_silent_is_given_up_and_said_so(delivered: Site, mail: MailServer) -> None:
    write_contacts(delivered, mail, ha_noi=("broken",))
    mail.refused.add("broken@example.org")
    send(delivered, NIGHT)
    late = send(delivered, NIGHT + 7 * DAY)
    assert [s.given_up for s in late if s.sender == "ha-noi"] == [("contacts.yaml:1 (mailto)",)]
    assert all(s.sender != "ha-noi" for s in send(delivered, NIGHT + 8 * DAY))


def test_a_crash_before_or_between_channels_sends_the_rest_once(delivered: Site, mail: MailServer, monkeypatch: pytest.MonkeyPatch) -> None:
    write_contacts(delivered, mail, ha_noi=("one", "two"))
    real = notify._send_to
    left = iter([True, False])

    def killed(*arguments: Any) -> bool:
        if not next(left):
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(notify, "_send_to", killed)
    with pytest.raises(KeyboardInterrupt):
        send(delivered, NIGHT)
    assert mail.taken() == ["one"]
    monkeypatch.setattr(notify, "_send_to", real)
    send(delivered, NIGHT + DAY)
    assert mail.taken() == ["operator", "two"]
    assert query(delivered, "SELECT count(*) AS n FROM control.notice WHERE sender = 'ha-noi'") == [{"n": 1}]


def test_two_runs_at_once_send_one_letter_to_each(delivered: Site, mail: MailServer) -> None:
    write_contacts(delivered, mail, ha_noi=("province",))
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: send(delivered, NIGHT), range(2)))
    assert sorted(len(done) for done in both) in ([0, 2], [1, 1])
    assert mail.taken() == ["operator", "province"]
    assert logging.root.manager.disable == 0


def test_every_digest_is_a_file_that_its_owner_alone_reads(delivered: Site) -> None:
    (delivered.settings.outbox / "ha-noi" / "notices").mkdir(mode=0o755)
    for sending in send(delivered, NIGHT):
        assert sending.file and sending.file.with_suffix(".html").is_file()
        assert [secret for secret in SECRETS if secret in sending.file.read_text() + sending.file.with_suffix(".html").read_text()] == []
        assert stat.S_IMODE(sending.file.stat().st_mode) == 0o600
        assert stat.S_IMODE(sending.file.parent.stat().st_mode) == 0o700
    assert (delivered.settings.outbox / "ha-noi" / "notices" / "2026-11-26.txt").is_file()
    assert (delivered.settings.home / "notices" / "2026-11-26.txt").is_file()


def test_a_file_in_the_way_of_a_folder_does_not_keep_letters_back(delivered: Site, mail: MailServer) -> None:
    write_contacts(delivered, mail, ha_noi=("province",))
    in_the_way = delivered.settings.outbox / "ha-noi" / "notices"
    in_the_way.write_text("")
    first = send(delivered, NIGHT)[0]
    assert (first.sender, first.file, first.is_whole) == ("ha-noi", None, False)
    assert mail.taken() == ["operator", "province"]
    in_the_way.unlink()
    assert send(delivered, NIGHT)[0].is_whole and mail.taken() == [], "the file is made up for, the letter is not sent again"


def test_a_draft_changes_nothing(delivered: Site, mail: MailServer) -> None:
    write_contacts(delivered, mail, ha_noi=("province",))
    before = sorted(delivered.settings.home.rglob("*"))
    first, second = (draft_notices(delivered, NIGHT) for _ in range(2))
    assert first == second and [(d.digest.sender, d.channels) for d in first] == [
        ("ha-noi", ("contacts.yaml:1 (mailto)",)),
        (None, ("contacts.yaml:1 (mailto)",)),
    ]
    assert mail.taken() == [] and sorted(delivered.settings.home.rglob("*")) == before
    assert query(delivered, "SELECT count(*) AS n FROM control.notice") == [{"n": 0}]


def test_one_sender_alone_can_be_told(delivered: Site, mail: MailServer) -> None:
    write_contacts(delivered, mail, ha_noi=("province",))
    assert send(delivered, NIGHT, only="an-giang") == []
    assert [s.sender for s in send(delivered, NIGHT, only="ha-noi")] == ["ha-noi"]
    assert mail.taken() == ["province"]
    with pytest.raises(SetupFault, match=r"no sender 'ha-nai'\. Did you mean 'ha-noi'"):
        send(delivered, NIGHT, only="ha-nai")


def test_addresses_are_in_no_log_message_or_result(
    delivered: Site, mail: MailServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(1)
    token = "123456789:" + "a" * 35
    file = delivered.settings.contacts_file
    file.write_text(
        "operator:\n"
        f"  - mailto://someone:{PASSWORD}@127.0.0.1:{mail.port}?mode=insecure&from=x%40y.org&to=operator%40example.org\n"
        f"senders:\n  ha-noi:\n    - json://127.0.0.1:1/{PASSWORD}/\n    - form://127.0.0.1:{mail.port}/?token={token}\n"
    )
    with unheard():
        logging.getLogger("apprise").error("heard?")
    done = send(delivered, NIGHT)
    heard = "".join(record.getMessage() for record in caplog.records if record.name != "mail.log")  # that is the server's own
    said = repr(done) + repr(contacts_of(delivered)) + heard + "".join(capfd.readouterr())
    stored = str(query(delivered, "SELECT * FROM control.notice")) + str(query(delivered, "SELECT * FROM control.notice_channel"))
    files = "".join(s.file.read_text() for s in done if s.file)
    assert [len(s.failed) for s in done] == [2, 1]
    for secret in (PASSWORD, token, "someone", "127.0.0.1", "heard?"):
        assert secret not in said + stored + files
    assert "contacts.yaml:5 (json)" in files
    logging.getLogger("apprise").error("heard again")
    assert "heard again" in caplog.text


def test_what_is_unheard_would_have_shown_the_address(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    caplog.set_level(1)
    channel = Channel("json", "json-1", "contacts.yaml:1 (json)", f"json://127.0.0.1:1/{PASSWORD}/")
    assert notify._send_to(channel, "subject", "text", None) is False
    assert PASSWORD not in caplog.text
    monkeypatch.setattr(notify, "unheard", nullcontext)
    assert notify._send_to(channel, "subject", "text", None) is False
    assert PASSWORD in caplog.text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("operator:\n  - nowhere\n", ":2: this address of a channel is not understood"),
        ("operator:\n  - 12\n", ":2: this address of a channel is not understood"),
        ("operator: mailto://a:b@c\n", ":1: a list of addresses of channels is needed"),
        ("senders:\n  hue: []\n  ha-nai:\n    - mailto://a:b@example.org\n", ":3: there is no sender 'ha-nai'. Did you mean 'ha-noi'?"),
        ("operators: []\n", ":1: unknown key 'operators'. Did you mean 'operator'?"),
        ("senders: [x]\n", ":1: expected a group of keys, found a list"),
        ("operator: [\n", "not readable as YAML"),
    ],
)
def test_wrong_contacts_are_one_sentence_with_file_and_line_and_without_the_address(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "contacts.yaml"
    file.write_text(text)
    with pytest.raises(SetupFault) as fault:
        read_contacts(file, {"ha-noi", "hue"})
    assert f"{file}:" in fault.value.message.en and said in fault.value.message.en
    assert len(fault.value.message.en.splitlines()) == 1 and fault.value.message.vi != fault.value.message.en
    assert "nowhere" not in str(fault.value) and "a:b@" not in str(fault.value)


def test_a_file_of_contacts_that_was_named_must_be_there(tmp_path: Path) -> None:
    home = {"NDC_HOME": str(tmp_path)}
    assert contacts_of(Site(read_settings(home))).operator == ()
    with pytest.raises(SetupFault, match=r"nobody\.yaml"):
        contacts_of(Site(read_settings(home | {"NDC_CONTACTS": str(tmp_path / "nobody.yaml")})))


@pytest.mark.parametrize("link", ["ftp://x", "https://me:pw@x/", "https://x/?token=1", "x"])
def test_a_link_that_could_carry_a_secret_is_refused(link: str) -> None:
    with pytest.raises(SetupFault, match="NDC_LINK"):
        read_settings({"NDC_LINK": link})
    assert read_settings({"NDC_LINK": "https://ndc.example/status"}).link == "https://ndc.example/status"


def test_a_changed_password_is_the_same_channel_and_two_alike_are_two(tmp_path: Path) -> None:
    file = tmp_path / "contacts.yaml"

    def marks(*urls: str) -> list[str]:
        file.write_text(json.dumps({"operator": urls}))
        return [channel.mark for channel in read_contacts(file).operator]

    assert marks("mailtos://me:old@example.org") == marks("mailtos://me:new@example.org")
    bots = marks("tgram://123456789:abcdefg_hijklmnop/12315544", "tgram://193456789:abcdefg_hijklmnop/12315544")
    assert len(set(bots)) == 2


def test_the_operator_can_be_told_without_a_warehouse(tmp_path: Path, mail: MailServer) -> None:
    settings = replace(read_settings({"NDC_HOME": str(tmp_path)}), warehouse_url="postgresql://nobody@127.0.0.1:1/none")
    settings.contacts_file.write_text(json.dumps({"operator": [mail.address("operator"), mail.address("broken")]}))
    mail.refused.add("broken@example.org")
    assert tell_operator(settings, "ALARM", "The database is down.") == ["contacts.yaml:1 (mailto)"]
    assert mail.taken() == ["operator"]


def test_trouble_of_a_run_reaches_the_operator_and_nobody_else(delivered: Site, mail: MailServer) -> None:
    write_contacts(delivered, mail, ha_noi=("province",))
    done = send(delivered, NIGHT, Trouble("hue/clinic.csv", Message("Ổ đĩa đầy.", "The disk is full.")))
    assert "The disk is full." in operator_text(delivered, done)
    assert [s.file and "The disk is full." in s.file.read_text() for s in done] == [False, True]
    assert file_of(delivered.settings, notify.Notice(0, (NIGHT + DAY).date(), None, 2, "", "", "")).name == "2026-11-26-2.txt"


def test_the_command_prints_drafts_then_sends_and_says_which_channels_failed(
    delivered: Site, mail: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_contacts(delivered, mail, ha_noi=("broken",))
    mail.refused.add("broken@example.org")
    monkeypatch.setattr("etl.cli.notify.open_site", lambda: delivered)
    monkeypatch.setattr("etl.cli.notify.now_of", lambda site: NIGHT)

    def ndc(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["notify", *arguments])

    drafts = json.loads(ndc("--dry-run", "--json").stdout)
    assert [(d["sender"], d["channels"]) for d in drafts] == [
        ("ha-noi", ["contacts.yaml:1 (mailto)"]),
        (None, ["contacts.yaml:1 (mailto)"]),
    ]
    assert "TRẢ LẠI" in ndc("--dry-run").stdout and mail.taken() == []
    first = ndc("--json")
    assert first.exit_code == 4 and next((s["sender"], s["failed"]) for s in json.loads(first.stdout)) == (
        "ha-noi",
        ["contacts.yaml:1 (mailto)"],
    )
    mail.refused.clear()
    assert ndc().exit_code == 0 and mail.taken() == ["broken", "operator"]
    last = ndc()
    assert last.exit_code == 0 and "There is nothing new to tell." in last.stdout
