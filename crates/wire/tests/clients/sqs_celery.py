"""Celery with SQS as its broker: tasks go through the queue into a worker. Argument: the endpoint."""

import sys
import threading
import urllib.parse

from celery import Celery

endpoint = urllib.parse.urlsplit(sys.argv[1])
app = Celery("jobs", broker=f"sqs://AKIAIOSFODNN7EXAMPLE:secret@{endpoint.netloc}")
app.conf.update(
    broker_transport_options={
        "region": "us-east-1",
        "is_secure": False,
        "wait_time_seconds": 1,
        "polling_interval": 0.1,
        "predefined_queues": {},
    },
    task_default_queue="celery",
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)
WANTED = 5
done = []
all_done = threading.Event()


@app.task(name="add", acks_late=True)
def add(a, b):
    done.append(a + b)
    if len(done) == WANTED:
        all_done.set()


for n in range(WANTED):
    add.delay(n, n)

worker = app.Worker(pool="solo", concurrency=1, without_gossip=True, without_mingle=True, without_heartbeat=True, quiet=True)
threading.Thread(target=worker.start, daemon=True).start()
if not all_done.wait(30):
    print("FAILED: done so far", done)
    sys.exit(1)
assert sorted(done) == [0, 2, 4, 6, 8], done
worker.stop()
print("all well")
sys.stdout.flush()
import os  # noqa: E402

os._exit(0)  # the worker's threads would wait for their last poll
