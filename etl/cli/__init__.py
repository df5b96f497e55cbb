"""The command `ndc`.

Answers for: people get tables, machines get `--json`; what goes wrong is one sentence in both languages and an exit code. Heavy
libraries are imported by the command that needs them, so that `ndc --help` answers at once.

Exit codes: 0 done · 1 something was returned or held, or places disagree · 2 wrong usage · 3 a contract, setting or access must be
mended · 4 the database, disk or network does not answer: try again later.
"""

from __future__ import annotations

import sys

import typer

from etl.cli import (
    access,
    backup,
    contracts,
    delegations,
    deliveries,
    demonstration,
    notify,
    people,
    proof,
    provinces,
    pseudonyms,
    sample,
    server,
    status,
    up,
    upkeep,
)
from etl.cli.output import say_fault
from expectations.faults import Fault, MachineFault, Message, SetupFault

app = typer.Typer(
    name="ndc",
    help="National data-centre pipeline: provincial extracts in, a lake and a warehouse out. Dữ liệu các tỉnh về trung tâm dữ liệu quốc gia.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for module in (deliveries, status, notify, server, demonstration, sample, upkeep, up):
    module.add_to(app)
app.add_typer(contracts.app, name="contracts")
app.add_typer(provinces.app, name="provinces")
app.add_typer(server.app, name="warehouse")
app.add_typer(delegations.declared, name="delegations")
app.add_typer(delegations.own, name="delegate")
proof.add_to(access.app)
app.add_typer(access.app, name="access")
app.add_typer(people.app, name="people")
app.add_typer(pseudonyms.app, name="pseudonyms")
app.add_typer(backup.app, name="backup")


def main() -> None:
    """Run the command; faults become a sentence and an exit code, everything else keeps its trace."""
    try:
        app()
    except SetupFault as fault:
        say_fault(fault)
        sys.exit(3)
    except MachineFault as fault:
        say_fault(fault)
        sys.exit(4)
    except Fault as fault:
        say_fault(fault)
        sys.exit(1)
    except UnicodeEncodeError:
        say_fault(SetupFault(Message("Chữ trên dòng lệnh không phải UTF-8.", "The text of the command line is not UTF-8.")))
        sys.exit(2)
    except KeyboardInterrupt:
        print("Đã dừng; lần chạy sau sẽ làm tiếp. · Stopped; a later run goes on.", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
