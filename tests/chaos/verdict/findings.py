"""What was verified in a run, and what was only counted."""

from collections.abc import Sequence
from dataclasses import dataclass, field

__all__ = ["Finding", "Verdict"]


@dataclass(frozen=True)
class Finding:
    """One verified property; `evidence` are lines that show what is wrong."""

    what: str
    found: str
    expected: str
    good: bool
    evidence: Sequence[str] = ()


@dataclass
class Verdict:
    """What was verified, and what was only counted."""

    findings: list[Finding] = field(default_factory=list)
    counted: dict[str, str] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether every finding is good."""
        return all(finding.good for finding in self.findings)

    def expect_none(self, what: str, wrong: Sequence[object], *, guaranteed: bool = True) -> None:
        """Verify that `wrong` is empty; only count its items if that is not guaranteed."""
        if guaranteed:
            self.findings.append(Finding(what, f"{len(wrong):,}", "0", not wrong, [str(one) for one in wrong]))
        else:
            self.counted[f"not guaranteed here: {what}"] = f"{len(wrong):,}"
