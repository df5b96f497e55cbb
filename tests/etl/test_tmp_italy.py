import shutil, time
from tests.conftest import ROOT
from tests.etl.conftest import run_all
from tests.etl.snapshots import query
ITALY = ROOT/"examples"/"italy"
def test_x(new_site):
    site = new_site(contracts=ITALY/"contracts", reference=ITALY/"reference")
    shutil.copytree(ITALY/"inbox", site.settings.inbox, dirs_exist_ok=True)
    t=time.time(); res=run_all(site); print(time.time()-t)
    print({(d.dataset,d.state,d.lines_read,d.lines_loaded,d.lines_rejected) for d in res.done}, len(res.done), res.trouble, res.waiting)
    print(query(site, "SELECT period, count(*) FILTER (WHERE province_id='unassigned') u, sum(total_cases) FROM national.epidemic_daily GROUP BY 1 ORDER BY 1"))
    print(query(site, "SELECT * FROM national.epidemic_daily WHERE province_id='napoli' and period='2020-03-31'"))
    print(query(site, "SELECT * FROM control.reconciliation LIMIT 5"))
    print(query(site, "SELECT dataset, ties, count(*) FROM control.reconciliation r join control.delivery d using (delivery_id) group by 1,2"))
    assert 0
