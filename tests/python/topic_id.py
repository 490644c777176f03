"""topic_id.py BOOTSTRAP TOPIC: prints the topic's id (Kafka's topic UUID) as UUIDs are written."""

import base64
import sys
import uuid

from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient


def main() -> None:
    bootstrap, topic = sys.argv[1:]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    described = admin.describe_topics(TopicCollection([topic]), request_timeout=20)
    # Kafka prints the 16 bytes in URL-safe base64.
    text = str(described[topic].result(timeout=30).topic_id)
    print(uuid.UUID(bytes=base64.urlsafe_b64decode(text + "==")))


if __name__ == "__main__":
    main()
