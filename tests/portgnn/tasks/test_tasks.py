"""Tasks: that recipes, records and the registry agree on which there are."""

from __future__ import annotations

from typing import get_args

from portgnn.recipe import TaskName
from portgnn.tasks import TASKS


def test_a_recipe_can_name_every_task() -> None:
    assert get_args(TaskName) == ("auto", *TASKS)
