#!/usr/bin/python3
"""A proxy in front of PostgreSQL that knows its messages, for specs: it ends a connection, or lets
it hang, right before or after a certain one.

The order stands in the control file, and is that of all connections that begin from then on:

    WAY NUMBER WHEN HOW

WAY is up (to the server) or down, NUMBER counts the messages of that way from 1, WHEN is before or
after. HOW is cut: both ends are closed, what was sent before being delivered; or hold: nothing goes
either way any more until the server closes, and a line `held` says so. Without an order, the
connection's messages are recorded, one a line, in FILE.record when it ends: way, number, type, and
of a query or what answers it, its first words.
"""
import argparse
import asyncio

LARGEST = 1 << 26


async def read_message(reader, begins):
    """The next message; the client's first one has no type."""
    head = await reader.readexactly(4 if begins else 5)
    size = int.from_bytes(head[-4:], "big")
    if not 4 <= size <= LARGEST:
        raise ConnectionError(f"a message of {size} bytes")
    return head + await reader.readexactly(size - 4)


def read_order():
    """The order that stands there now: way, number, when, how."""
    with open(arguments.control, encoding="utf-8") as lines:
        words = lines.read().split()
    return (words[0], int(words[1]), words[2], words[3]) if words else None


def describe(way, number, message, begins):
    """A line for the record."""
    kind = "startup" if begins else chr(message[0])
    text = message[5:35].split(b"\0")[0].decode("ascii", "replace") if kind in ("Q", "C") else ""
    return f"{way} {number} {kind} {' '.join(text.split())}\n"


class Connection:
    """A connection through the proxy."""

    def __init__(self, client, server):
        self.client, self.server = client, server
        self.order, self.record, self.held = read_order(), [], False

    def close(self):
        self.client[1].close()
        self.server[1].close()

    def act(self):
        """Does what is ordered."""
        if self.order[3] == "cut":
            self.close()
            raise ConnectionError("cut")
        self.held = True
        print("held", flush=True)

    def hand_on(self, way, number, writer, message):
        """Sends one message, unless an order is in its way."""
        ordered = self.order[:2] == (way, number) if self.order else False
        if ordered and self.order[2] == "before":
            self.act()
        if not self.held:
            writer.write(message)
        if ordered and self.order[2] == "after":
            self.act()

    async def carry(self, way, reader, writer):
        """Hands on one way's messages until somebody closes."""
        number = 0
        try:
            while True:
                begins = way == "up" and number == 0
                message = await read_message(reader, begins)
                number += 1
                self.record.append(describe(way, number, message, begins))
                self.hand_on(way, number, writer, message)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            if not self.held or way == "down":
                self.close()

    async def run(self):
        await asyncio.gather(self.carry("up", self.client[0], self.server[1]),
                             self.carry("down", self.server[0], self.client[1]))
        if not self.order:
            with open(arguments.control + ".record", "w", encoding="utf-8") as record:
                record.writelines(self.record)
            print("recorded", flush=True)


async def accept(reader, writer):
    """A client has come."""
    try:
        server = await asyncio.open_connection("127.0.0.1", arguments.to_port)
    except OSError:
        writer.close()
        return
    await Connection((reader, writer), server).run()


async def main():
    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    print("ready", listener.sockets[0].getsockname()[1], flush=True)
    await listener.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--to-port", type=int, required=True)
    parser.add_argument("--control", required=True)
    arguments = parser.parse_args()
    asyncio.run(main())
