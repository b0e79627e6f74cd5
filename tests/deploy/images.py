"""The images of the Dockerfile, read from the file."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from string import Template

import msgspec

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
TARGETS = ("service", "monitor", "forwarder", "tools")
_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"  # as Debian's images have it


@dataclass(frozen=True)
class Image:
    """What an engine knows of an image before it starts a container of it."""

    user: int
    account: str  # its line in /etc/passwd
    home: str
    folder: str  # where commands start
    environment: dict[str, str]
    entrypoint: list[str]
    command: list[str]
    health: list[str]  # empty: none
    volumes: list[str]
    stop_signal: str
    lock: str  # what is installed


def image(target: str) -> Image:
    """The image that `docker build --target` makes."""
    body = "\n".join(_stages(target))
    last = dict(re.findall(r"^([A-Z]+) (.*)$", body, re.MULTILINE))
    added = re.search(r"useradd --system --uid (\d+) --gid (\d+) --home-dir (\S+) (\w+)", body)
    built = re.findall(r"^COPY --from=(build-\w+) /opt", body, re.MULTILINE)
    assert added
    uid, gid, home, name = added.groups()
    return Image(
        user=int(last["USER"]),
        account=f"{name}:x:{uid}:{gid}::{home}:/bin/sh",
        home=home,
        folder=last["WORKDIR"],
        environment=_environment(body),
        entrypoint=_words(last["ENTRYPOINT"]),
        command=_words(last["CMD"]),
        health=_words(re.findall(r"HEALTHCHECK (?:NONE|.*?CMD (\[.*\]))", body)[-1]),
        volumes=last["VOLUME"].split(),
        stop_signal=last["STOPSIGNAL"],
        lock=re.findall(r"-r requirements/(\S+)", "\n".join(_stages(built[-1])))[-1],
    )


def _stages(name: str) -> list[str]:
    """The text of a stage and of those that it is made from, the first one first."""
    begin = re.search(rf"^FROM (\S+) AS {name}$", TEXT, re.MULTILINE)
    if begin is None:
        return []  # an image of another project
    return [*_stages(begin[1]), TEXT[begin.end() :].split("\nFROM ")[0]]


def _environment(body: str) -> dict[str, str]:
    found = {"PATH": _PATH}
    for line in re.findall(r"^ENV (.*)$", body, re.MULTILINE):
        for pair in shlex.split(line):
            name, _, value = pair.partition("=")
            found[name] = Template(value).substitute(found)
    return found


def _words(stated: str) -> list[str]:
    return msgspec.json.decode(stated, type=list[str]) if stated else []
