"""`driftline forward` forwards the local log to Kafka; `driftline topics` creates the topics."""

import click

from driftline.setting_names import require_known
from eventlog.kafka_settings import KAFKA_PREFIX, KafkaSettings
from eventlog.settings import from_environment


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [forward, topics]


@click.command()
def forward() -> None:
    """Forward the local log to Kafka until SIGTERM; run one forwarder per home.

    The settings are DRIFTLINE_KAFKA_*. If DRIFTLINE_FORWARDER_METRICS_PORT is set, the forwarder
    exposes metrics on this port.
    """
    from driftline.forwarder_process import run_forwarder  # noqa: PLC0415 - Kafka's client is slow to import

    require_known()
    run_forwarder()


@click.group()
def topics() -> None:
    """Create the Kafka topics."""


@topics.command()
@click.option(
    "--partitions",
    type=click.IntRange(1, 10_000),
    default=6,
    show_default=True,
    help="Number of partitions of each event topic.",
)
@click.option(
    "--replicas",
    type=click.IntRange(1, 100),
    default=1,
    show_default=True,
    help="Replication factor; use 3 in production.",
)
def create(partitions: int, replicas: int) -> None:
    """Create missing topics, and report existing topics with different settings."""
    from eventlog.kafka import create_topics  # noqa: PLC0415 - Kafka's client is slow to import

    settings = from_environment(KafkaSettings, KAFKA_PREFIX)
    created = create_topics(settings, partitions=partitions, replicas=replicas)
    for topic in created.created:
        click.echo(f"created {topic}")
    for difference in created.differences:
        click.echo(difference)
