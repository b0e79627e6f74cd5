"""Read predictions from Kafka without Driftline: `python examples/consumer.py broker:9092`."""

import json
import sys

from kafka import KafkaConsumer

reading = {"group_id": "my-team", "auto_offset_reset": "earliest", "max_poll_records": 500}
consumer = KafkaConsumer("driftline.predictions", bootstrap_servers=sys.argv[1:], **reading)
ids = set()
for record in consumer:
    headers = dict(record.headers)
    if headers["ce_id"] not in ids:  # delivery is at least once
        event, raw = json.loads(record.value), headers.get("driftline_raw", b"")
        print(event["model"], event["outcome"], event.get("outputs"), f"{len(raw)} raw", flush=True)
    ids.add(headers["ce_id"])
