"""Who has delivered and who is late, as a person at the centre looks at it: in a terminal, in a file, in a page of an application."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from etl.cli import app
from etl.site import Site
from etl.status import Wanted, delivery_page, status_file, status_page
from expectations.faults import SetupFault
from tests.etl.conftest import CONTRACTS, HEADER, lines, put, run_all

SECRET, OTHER_SECRET = "Nguyễn Văn Kín", "9999999"
NASTY = "clinic_ha-noi_2025-05 <script>alert(1)<script>.csv"


@pytest.fixture
def site(new_site: Callable[..., Site]) -> Site:
    """Deliveries of every kind; three expected of May, of which one is missing."""
    site = new_site(contracts=CONTRACTS)
    faulty = lines(4) + f"12345,01/02/2020,{OTHER_SECRET},10.5,{SECRET}\n"
    put(site, "ha-noi/clinic/clinic_2025-05.csv", faulty)
    put(site, "nghe-an/clinic/clinic_2025-05.csv", HEADER + f"99,x,y,z,{SECRET}\n")
    put(site, "nghe-an/clinic/clinic_2025-04.csv", f"{SECRET};{OTHER_SECRET}\n{SECRET};Lượt khá\n")  # no header, but what is like one
    put(site, "bureau/harvest/harvest_2024.csv", "Tỉnh,Lúa\nHà Nội,5\nCả nước,5\n")
    run_all(site)
    with site.warehouse.transaction() as connection:
        for sender in ("ha-noi", "lai-chau", "cao-bang"):
            connection.execute(
                text("INSERT INTO control.expected (dataset, sender, period, due_at) VALUES ('clinic', :s, '2025-05-01', '9000-01-01Z')"),
                {"s": sender},
            )
        connection.execute(text("INSERT INTO control.expected (dataset, sender, period, due_at) VALUES ('clinic', 'cao-bang', '2025-06-01', '2025-07-11Z')"))  # fmt: skip
        connection.execute(text("UPDATE control.delivery SET file_name = :name WHERE sender = 'ha-noi'"), {"name": NASTY})
    return site


def words(page: str) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page[page.index("<body>") :])))


def row_of(page: str, name: str) -> list[str]:
    """The signs of one sender's row."""
    found = re.search(rf'<th scope="row" class="name">{name}</th>(.*?)</tr>', page, re.DOTALL)
    assert found, name
    return re.findall(r'aria-hidden="true">([^<]*)<', found[1])


def delivery_of(site: Site, sender: str, period: str) -> int:
    with site.warehouse.transaction() as connection:
        found = text("SELECT delivery_id FROM control.delivery WHERE sender = :s AND period = :p")
        return int(connection.execute(found, {"s": sender, "p": period}).scalar_one())


def test_the_matrix_shows_each_sender_and_period_with_a_sign_and_the_same_in_words(site: Site) -> None:
    page = status_page(site, "clinic")
    assert row_of(page, "Cao Bằng") == ["○", "·"]
    assert row_of(page, "Hà Nội") == ["!"]
    assert row_of(page, "Nghệ An") == ["✕*", "✕*"]
    assert f'href="/status/deliveries/{delivery_of(site, "ha-noi", "2025-05-01")}"' in page
    assert page.count('class="heard"') == page.count("<td class=") - page.count('<td class="right">')
    assert "2 older" not in page and "The last 1 periods; 2 older ones are not shown." in words(status_page(site, "clinic", last=1))


def test_the_summary_counts_states_and_names_who_is_missing(site: Site) -> None:
    said = words(status_page(site))
    assert "Kỳ 2025-06, chưa gửi: 1" in said and "Cao Bằng" in said and "0 % đúng ngay lần gửi đầu" in said
    with pytest.raises(SetupFault, match="there are acreage, clinic"):
        status_page(site, "nothing")


def test_pages_show_counts_and_no_value_of_any_file(site: Site) -> None:
    numbers = [delivery_of(site, s, p) for s, p in (("ha-noi", "2025-05-01"), ("nghe-an", "2025-05-01"), ("nghe-an", "2025-04-01"))]
    with site.warehouse.transaction() as connection:
        told = str(connection.execute(text("SELECT array_agg(reasons) FROM control.delivery")).scalar())
    assert "Lượt khá" in told  # what the sender is told does quote the file
    for page in (*(delivery_page(site, n) for n in numbers), status_page(site), status_page(site, "clinic"), status_file(site, Wanted())):
        assert not any(value in page for value in (SECRET, OTHER_SECRET, "Lượt khá<", "Lượt khá»", "12345"))
        assert "<script" not in page
    said = words(delivery_page(site, numbers[0]))
    assert (
        html.unescape(NASTY) in said
        and "5 = 4 nạp loaded + 1 từ chối rejected" in said
        and f"ha-noi/{numbers[0]:08d}-clinic-2025-05" in said
    )
    assert "Không nhận ra dòng tiêu đề." in words(delivery_page(site, numbers[2]))


def test_a_page_tells_the_story_of_a_partition(site: Site) -> None:
    first = delivery_of(site, "ha-noi", "2025-05-01")
    put(site, "ha-noi/clinic/clinic_2025-05.csv", lines(5))
    run_all(site)
    said = words(delivery_page(site, first))
    assert f"{first + 4} " in said and "đã được thay thế" in said and "Mọi đợt gửi cho kỳ này" in said
    assert row_of(status_page(site, "clinic"), "Hà Nội") == ["✓"]


def test_every_link_of_the_file_leads_to_a_place_in_it(site: Site) -> None:
    page = status_file(site, Wanted())
    places, links = set(re.findall(r' id="([^"]+)"', page)), re.findall(r'href="([^"]*)"', page)
    assert len(links) > 5 and {link[0] for link in links} == {"#"} and {link[1:] for link in links} <= places
    assert "src=" not in page and "url(" not in page


def test_the_command_writes_the_calendar_shows_it_and_makes_a_page(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("etl.cli.status.open_site", lambda: site)
    told = json.loads(CliRunner().invoke(app, ["status", "--json"]).stdout)
    assert {one["dataset"] for one in told["datasets"]} == {"acreage", "clinic", "harvest", "permit"} and "lines" not in told
    told = json.loads(CliRunner().invoke(app, ["status", "--period", "2025-05", "--sender", "ha-noi", "--json"]).stdout)
    assert [(line["sender"], line["period"], line["state"]) for line in told["lines"]] == [("ha-noi", "2025-05-01", "in-part")]
    shown = CliRunner().invoke(app, ["status", "--dataset", "clinic", "--period", "2025-05"]).stdout
    assert re.search(r"Hà Nội +! +0 %", shown) and "with rejected lines" in shown
    assert "clinic 2025-06" in CliRunner().invoke(app, ["status"]).stdout
    file = tmp_path / "new" / "status.html"
    assert CliRunner().invoke(app, ["status", "--html", str(file)]).exit_code == 0
    assert file.read_text().startswith("<!DOCTYPE html>") and list(file.parent.iterdir()) == [file]
    with pytest.raises(SetupFault, match="no sender 'nobody'"):
        CliRunner().invoke(app, ["status", "--sender", "nobody"], catch_exceptions=False)
    with pytest.raises(SetupFault, match="'2025-Q9' is not understood"):
        CliRunner().invoke(app, ["status", "--period", "2025-Q9"], catch_exceptions=False)


def test_nothing_yet_is_said_so(new_site: Callable[..., Site]) -> None:
    site = new_site(contracts=CONTRACTS)
    assert "No period is in the calendar yet" in words(status_page(site))
    assert "No period is in the calendar yet" in words(status_file(site, Wanted(period=date(2025, 5, 1))))
