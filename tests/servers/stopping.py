#!/usr/bin/python3
"""An SSH server that lets its clients in as far as it is told and no further, for specs.

Orders stand in the control file, one a line. Those of a connection are those of its beginning:

    HOW STAGE     what it does instead of its answer at that stage, and from then on
    prompts 2,1   the rounds of keyboard-interactive and how many prompts each has; 1 by default.
                  The right answer to each is the password
    only 2,3      the orders are for these connections, of all that there were, and no others

HOW
  silent        nothing: the client's timeout ends it
  closes        closes the connection: the client says so at once
  garbage       bytes that are no SSH, then nothing
  floods        lines ahead of the version, or packets to be ignored, as fast as they are taken and
                without an end: they are no reason to wait for ever
  trickles      the same, one now and then
STAGE
  version       the server's greeting; with `halfway` it is sent but for its line end
  halfway
  kex           the client's offer of algorithms
  service       the question whether one may log in
  login         the question in which ways
  try           an attempt, in whatever way
  prompts       the answers to prompts
  channel, subsystem, hello                    SFTP's channel, its start, and its first packet
Each order that came to it is a line `fault HOW STAGE` on standard output.
"""
import argparse
import asyncio
import os
import signal
import socket

import asyncssh
from asyncssh import connection, packet
from asyncssh.packet import String

STAGES = {20: "kex", 5: "service", 50: "login", 61: "prompts", 90: "channel", 98: "subsystem",
          94: "hello"}
HOWS = "silent", "closes", "garbage", "floods", "trickles"
IGNORE = 2
LINE = b"not yet\r\n"


def say(*words):
    print(*words, flush=True)


def read_orders(count):
    """The orders of a connection, which is the one of this number."""
    with open(arguments.control, encoding="utf-8") as lines:
        orders = dict(line.split() for line in lines if line.strip())
    return orders if str(count) in orders.get("only", str(count)).split(",") else {}


async def pour(transport, send, pause):
    """Sends again and again, no faster than it is taken, for as long as somebody is there."""
    while not transport.is_closing():
        if transport.get_write_buffer_size() < 1 << 20:
            send()
        await asyncio.sleep(pause)


class Connection(connection.SSHServerConnection):
    """A connection, and where it stops."""

    orders, stopped, logins = {}, False, 0

    def stop(self, stage):
        """Whether an order comes to this stage; does what it says."""
        for how in HOWS:
            if not self.stopped and self.orders.get(how) == stage:
                self.stopped, self._inpbuf = True, b""
                say("fault", how, stage)
                getattr(self, how)(stage)
        return self.stopped

    def silent(self, stage):
        """Says nothing."""

    def closes(self, stage):
        self._transport.close()

    def garbage(self, stage):
        self._transport.write(bytes(range(256)) * 256)

    def floods(self, stage, pause=0):
        def lines():
            self._transport.write(LINE * (1 if pause else 1000))

        def packets():
            for _ in range(1 if pause else 100):
                self.send_packet(IGNORE, String(b"x" * 1000))
        send = lines if stage == "version" else packets
        self.pouring = asyncio.ensure_future(pour(self._transport, send, pause))

    def trickles(self, stage):
        self.floods(stage, 0.1)

    def _send_version(self):
        if self.stop("version"):
            return
        if self.orders.get("silent") == "halfway" or self.orders.get("closes") == "halfway":
            self._transport.write(b"SSH-2.0-half")
            self.stop("halfway")
            return
        super()._send_version()

    def data_received(self, data, datatype=None):
        if not self.stopped:
            super().data_received(data, datatype)


handle = packet.SSHPacketHandler.process_packet


def process_packet(handler, kind, number, content):
    """Looks at each packet before whoever it is for."""
    at = getattr(handler, "_conn", handler)
    stage = STAGES.get(kind)
    if stage == "login":
        at.logins += 1
        stage = "login" if at.logins == 1 else "try"
    return (stage and at.stop(stage)) or handle(handler, kind, number, content)


class Logins(asyncssh.SSHServer):
    """Who may log in, and how."""

    def connection_made(self, conn):
        self.rounds = [int(count) for count in conn.orders.get("prompts", "1").split(",")]

    def password_auth_supported(self):
        return "password" in arguments.methods

    def validate_password(self, username, password):
        return username == arguments.user and password == arguments.password

    def kbdint_auth_supported(self):
        return "keyboard-interactive" in arguments.methods

    def get_kbdint_challenge(self, username, lang, submethods):
        self.left = list(self.rounds)
        return self.challenge()

    def challenge(self):
        return "Login", "", "", [("Password: ", False)] * self.left.pop(0)

    def validate_kbdint_response(self, username, responses):
        if any(answer != arguments.password for answer in responses):
            return False
        return self.challenge() if self.left else True


async def main():
    loop = asyncio.get_running_loop()
    listener = socket.create_server((arguments.host, arguments.port), backlog=100)
    listener.setblocking(False)
    keys = [asyncssh.read_private_key(path) for path in arguments.host_key]
    say("ready", listener.getsockname()[1])
    options = asyncssh.SSHServerConnectionOptions(
        server_factory=Logins, server_host_keys=keys, login_timeout=0, config=[], allow_pty=False,
        agent_forwarding=False, sftp_factory=lambda channel: asyncssh.SFTPServer(
            channel, chroot=arguments.folder.encode()),
        authorized_client_keys=arguments.authorized if "publickey" in arguments.methods else None)
    count = 0
    while True:
        accepted, _ = await loop.sock_accept(listener)
        accepted.setblocking(False)
        count += 1
        made = Connection(loop, options, None, None)
        made.orders = read_orders(count)
        say("connection", count)
        await loop.connect_accepted_socket(lambda made=made: made, accepted)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    for name in "folder", "control", "authorized", "user", "password":
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--methods", default="publickey")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--host-key", action="append", required=True)
    arguments = parser.parse_known_args()[0]
    packet.SSHPacketHandler.process_packet = process_packet
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    asyncio.run(main())
