"""Studies: many trainings as one table, with what the difference of two rows is worth."""

from __future__ import annotations

from portgnn.studies.progress import Told as Told
from portgnn.studies.running import Study as Study
from portgnn.studies.running import study as study
from portgnn.studies.space import Range as Range
