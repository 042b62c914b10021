"""An app that stores readings in batches, of which some may fail: bad readings, and a sensor that is not known yet.

Run `triggerfish run examples/batches/app.py`, and add one:
`redis-cli rpush readings '{"sensor": "a", "celsius": 21}'`.
"""

import os
import sqlite3

from pydantic import BaseModel

from triggerfish import App, BatchError, Reject, Retry

app = App("readings")
KNOWN = {"a", "b"}


class Reading(BaseModel):
    """An element of the list `readings`, as JSON."""

    sensor: str
    celsius: float


@app.list_trigger(keys="readings", batch_size=500, batch_window_ms=1000, concurrency=2, max_deliveries=2)
def store(readings: list[Reading]) -> None:
    """Store a batch in one transaction, without the readings that fail."""
    failures: dict[int, Exception] = {}
    rows = []
    for position, reading in enumerate(readings):
        if reading.celsius < -273.15:
            failures[position] = Reject("colder than possible")
        elif reading.sensor not in KNOWN:
            failures[position] = Retry(f"sensor {reading.sensor} is not known yet", after_seconds=1)
        else:
            rows.append((reading.sensor, reading.celsius))
    connection = sqlite3.connect(os.environ.get("READINGS_DATABASE", "readings.db"))
    with connection:
        connection.execute("CREATE TABLE IF NOT EXISTS readings (sensor TEXT, celsius REAL)")
        connection.executemany("INSERT INTO readings VALUES (?, ?)", rows)
    connection.close()
    print(f"stored {len(rows)} of {len(readings)}")
    if failures:
        raise BatchError(failures)
