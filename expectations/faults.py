"""The tree of faults that the system raises on purpose.

    Fault
    ├── SenderFault   the sender must mend its file; the delivery is returned, nothing is lost
    ├── SetupFault    we must mend a contract, a setting or an access; names file and line where there is one
    └── MachineFault  a database, disk or network does not answer; trying again later may help

Everything else is a fault of ours: it is reported with its trace. A message says what was found, where,
what was expected and what to do next, in Vietnamese and English, and holds no personal data.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    """One sentence in both languages."""

    vi: str
    en: str

    def __str__(self) -> str:
        return f"{self.en}\n{self.vi}"

    def fill(self, **values: object) -> Message:
        """The message with its {placeholders} filled; a brace in a value is left as it is."""
        vi, en = self.vi, self.en
        for name, value in values.items():
            vi = vi.replace("{" + name + "}", str(value))
            en = en.replace("{" + name + "}", str(value))
        return Message(vi, en)


class Fault(Exception):
    """A fault with a message for people. `rule` is a short identifier for machines."""

    def __init__(self, message: Message, *, rule: str = "fault") -> None:
        super().__init__(str(message))
        self.message = message
        self.rule = rule


class SenderFault(Fault):
    """The sender must mend its file."""


class SetupFault(Fault):
    """A contract, a setting or an access must be mended by those who run the system."""


class MachineFault(Fault):
    """A database, disk or network does not answer; trying again later may help."""
