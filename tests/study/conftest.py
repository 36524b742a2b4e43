"""The results of a small study, as the tests of reports have them."""

from tests.reports.conftest import growing, study_files

__all__ = ["growing", "study_files"]
