"""The schedules of prefect.yaml in the nights when clocks change."""

import asyncio
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from prefect.server.schemas.schedules import CronSchedule
from ruamel.yaml import YAML

DEPLOYED = YAML(typ="safe").load((Path(__file__).parents[2] / "prefect.yaml").read_text())["deployments"]
SCHEDULES = [schedule for deployment in DEPLOYED for schedule in deployment.get("schedules", [])]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule["cron"])
@pytest.mark.parametrize("before", ["2027-03-20", "2027-10-23"], ids=["spring", "autumn"])
def test_it_fires_once_at_its_hour_whether_clocks_change_or_not(
    schedule: dict[str, str], before: str
) -> None:
    zone = ZoneInfo(schedule["timezone"])
    start = datetime.fromisoformat(before).replace(tzinfo=zone)
    weekly = not schedule["cron"].endswith("*")
    fires = asyncio.run(CronSchedule(**schedule).get_dates(n=3 if weekly else 20, start=start))
    there = [fire.astimezone(zone) for fire in fires]
    hour = int(schedule["cron"].split()[1])
    # An hour that a night lacks comes one later.
    assert {fire.hour for fire in there} <= {hour, hour + 1}
    days = [fire.toordinal() for fire in there]
    assert {later - day for day, later in pairwise(days)} == {7 if weekly else 1}
    assert sum(fire.hour != hour for fire in there) <= 1
