"""A model process that misbehaves as its first argument says."""

import ctypes
import os
import signal
import socket
import struct
import sys
import time
from array import array

import msgspec
import numpy as np

from service.sessions.channel import ERROR, READY, RESULT, Channel
from service.sessions.child import ChildError, ChildSignature

HEAD = struct.Struct("<BxxxxxxxQQQ")


def main() -> None:
    behaviour, data = sys.argv[1], socket.socket(fileno=int(sys.argv[2]))
    channel = Channel(data, copies=False)
    channel.receive()
    if behaviour == "never starts":
        os._exit(7)
    text = msgspec.json.encode(ChildSignature([], [])).decode()
    channel.send_tensors(READY, 0, {"signature": np.array([text], np.object_)})
    behave = {
        "echoes": lambda run: channel.send_tensors(RESULT, run, {"pid": np.array([os.getpid()])}),
        "exits": lambda _: ctypes.CDLL(None).exit(3),  # as libjpeg does, past the interpreter
        "traps": lambda _: os.kill(os.getpid(), signal.SIGFPE),
        "hangs": lambda _: time.sleep(600),
        "answers another run": lambda run: channel.send_tensors(RESULT, run + 1, {}),
        "sends nonsense": lambda _: data.send(b"\xff" * 100),
        "sends an unknown error": lambda run: channel.send(
            ERROR, run, msgspec.msgpack.encode(ChildError("unknown", ""))
        ),
        "sends memory that may shrink": lambda run: send_descriptor(data, run, unsealed()),
        "sends a file": lambda run: send_descriptor(data, run, 0),
    }[behaviour]
    while True:
        behave(channel.receive().run)


def send_descriptor(data: socket.socket, run: int, descriptor: int) -> None:
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [descriptor]).tobytes())
    data.sendmsg([HEAD.pack(RESULT, run, 1, 64)], [rights])


def unsealed() -> int:
    memory = os.memfd_create("open", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(memory, 4096)
    return memory


if __name__ == "__main__":
    main()
