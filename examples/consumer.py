"""Read predictions from Kafka without Driftline: `python examples/consumer.py broker:9092`."""

import json
import sys

from kafka import KafkaConsumer

reading = {"group_id": "my-team", "auto_offset_reset": "earliest", "max_poll_records": 500}
consumer = KafkaConsumer("driftline.predictions", bootstrap_servers=sys.argv[1:], **reading)
seen = set()
for record in consumer:
    event_id = dict(record.headers)["ce_id"]
    if event_id not in seen:  # delivery is at least once
        event = json.loads(record.value)
        print(event["model"], event["outcome"], event.get("outputs"), flush=True)
    seen.add(event_id)
