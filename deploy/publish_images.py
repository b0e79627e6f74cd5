"""Push the images, sign them and attest their bills of materials: make publish REGISTRY=... TAG=...

cosign signs without a key: the identity of the workflow that runs this script is the signer.
`--dry-run` prints the commands instead of running them.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Callable, Sequence

from build_images import TARGETS, tag

BILLS = {"monitor": "monitoring"}  # the other images contain the service's packages


def publish(registry: str, release: str, sbom: str, run: Callable[[Sequence[str]], str]) -> None:
    """Publish every image under a release; `run` executes a command and returns its output."""
    if not re.fullmatch(r"[\w][\w.-]{0,127}", release):
        sys.exit(f"tag {release!r}: expected a release such as 1.2.3")
    for target in TARGETS:
        name = f"{registry.rstrip('/')}/driftline-{target}"
        run(["docker", "tag", tag(target), f"{name}:{release}"])
        pushed = run(["docker", "push", f"{name}:{release}"])
        match = re.search(r"digest: (sha256:[0-9a-f]{64})", pushed)
        if match is None:
            sys.exit(f"{name}: docker push reported no digest")
        image = f"{name}@{match[1]}"  # between push and signature, someone could move the tag
        bill = f"{sbom}/driftline-{BILLS.get(target, 'service')}.cdx.json"
        run(["cosign", "sign", "--yes", image])
        run(["cosign", "attest", "--yes", "--type", "cyclonedx", "--predicate", bill, image])


def _execute(command: Sequence[str]) -> str:
    print(*command, flush=True)
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    print(done.stdout, flush=True)
    return done.stdout


def _print(command: Sequence[str]) -> str:
    print(*command)
    return f"digest: sha256:{'0' * 64}"


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--registry", required=True, help="host and owner, such as host/owner")
    options.add_argument("--tag", required=True)
    options.add_argument("--sbom", required=True, help="folder of the bills of materials")
    options.add_argument("--dry-run", action="store_true")
    arguments = options.parse_args()
    publish(
        arguments.registry, arguments.tag, arguments.sbom, _print if arguments.dry_run else _execute
    )
