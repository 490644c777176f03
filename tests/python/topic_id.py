"""topic_id.py BOOTSTRAP TOPIC: prints the topic's id (Kafka's topic UUID)."""

import sys

from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient


def main() -> None:
    bootstrap, topic = sys.argv[1:]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    described = admin.describe_topics(TopicCollection([topic]), request_timeout=20)
    print(described[topic].result(timeout=30).topic_id)


if __name__ == "__main__":
    main()
