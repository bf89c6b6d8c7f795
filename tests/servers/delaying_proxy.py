#!/usr/bin/python3
"""A TCP link of some length, for specs: a proxy that hands on late what it takes at once.

However much is under way, it is delivered when its time has come: the delay doesn't make the link
narrow. (TCP itself doesn't notice the delay: no slow start, no windows; a tun link has these.) The
orders stand in a control file, one a line, and are read again on SIGHUP:

    delay MS         each way; connecting takes a round trip, too
    rate_down B      bytes per second, down (to the client) and
    rate_up B        up; 0: no bound. Half a second of data may wait in front of such a link
    cut_down N ...   the connection is cut when N bytes went down it: one number for each connection
    cut_up N ...     to come; `*` behind the last one: it goes for all that follow
    stall_down N ... likewise: from then on that way is silent, but nothing is closed
    stall_up N ...
    stall            both ways of all connections are silent as long as this stands here
    cut              all connections are cut now
    refuse           new connections are closed at once
"""
import argparse
import asyncio
import collections
import selectors
import signal

BUFFER = 1 << 18
BACKLOG = 0.5  # seconds
END, CLOSED = b"", b"closed"  # stand for data: nothing follows; nor is anything taken
AHEAD = 1 << 24  # bytes that a receiver may leave untaken before the sender waits, too


class Orders:
    """What was ordered."""

    def __init__(self, path):
        self.path, self.pipes = path, set()
        self.read()

    def read(self):
        with open(self.path, encoding="utf-8") as lines:
            words = [line.split() for line in lines if line.strip()]
        self.found = {name: values for name, *values in words}
        self.delay = float(self.found.get("delay", ["0"])[0]) / 1000
        for pipe in list(self.pipes):
            if "cut" in self.found:
                pipe.cut("cut")
            else:
                pipe.wake()

    def take(self, name):
        """The next connection's number of bytes, or None."""
        values = self.found.get(name)
        if not values:
            return None
        if len(values) > 1 and values[1] == "*":
            return int(values[0])
        return int(values.pop(0))


class Pipe:
    """A connection through the proxy, both ways."""

    def __init__(self, client):
        orders.pipes.add(self)
        self.client, self.server = client, None
        self.up, self.down = Way(self, "up"), Way(self, "down")

    def wake(self):
        self.up.deliver()
        self.down.deliver()

    def cut(self, why):
        if self in orders.pipes:
            orders.pipes.discard(self)
            print("cut", why, self.down.count, self.up.count, flush=True)
            for end in self.client, self.server:
                if end:
                    end.transport.close()


class Way:
    """One way of a connection: what is under way, and when it is due."""

    def __init__(self, pipe, name):
        self.pipe, self.name = pipe, name
        self.queue, self.timer, self.target = collections.deque(), None, None
        self.free = self.count = 0
        self.cut_at, self.stall_at = orders.take("cut_" + name), orders.take("stall_" + name)
        self.rate = float(orders.found.get("rate_" + name, ["0"])[0])

    def put(self, data):
        """Takes what was sent, END or CLOSED. Gives for how many seconds the link is busy."""
        now = loop.time()
        self.free = max(self.free, now)
        if self.rate:
            self.free += len(data) / self.rate
        self.queue.append((self.free + orders.delay, data))
        if not self.timer:
            self.timer = loop.call_at(self.queue[0][0], self.deliver)
        return self.free - now

    def deliver(self):
        """Hands on all that is due."""
        if self.timer:
            self.timer.cancel()
            self.timer = None
        while self.queue and self.target and "stall" not in orders.found:
            if self.queue[0][0] > loop.time() + 5e-5:
                self.timer = loop.call_at(self.queue[0][0], self.deliver)
                return
            if not self.hand_on(self.queue.popleft()[1]):
                return

    def hand_on(self, data):
        if data is CLOSED:
            self.target.close()
            return False
        if data is END:
            if self.target.can_write_eof():
                self.target.write_eof()
            return True
        if self.stall_at is not None and self.count + len(data) >= self.stall_at:
            data = data[:max(0, self.stall_at - self.count)]
        if self.cut_at is not None and self.count + len(data) >= self.cut_at:
            self.target.write(data[:self.cut_at - self.count])
            self.count = self.cut_at
            self.pipe.cut("after " + self.name)
            return False
        self.count += len(data)
        self.target.write(data)
        return True


class End(asyncio.BufferedProtocol):
    """A socket: what is read from it goes `out`, its other end's way `back` to it."""

    def __init__(self, pipe=None):
        self.pipe, self.transport, self.out, self.back = pipe, None, None, None
        self.buffer, self.size, self.blockers = bytearray(BUFFER), BUFFER, set()

    def connection_made(self, transport):
        self.transport = transport
        transport.set_write_buffer_limits(high=AHEAD)
        if self.pipe:
            self.pipe.server, self.out, self.back = self, self.pipe.down, self.pipe.up
        else:
            if "refuse" in orders.found:
                transport.abort()
                return
            self.pipe = Pipe(self)
            self.out, self.back = self.pipe.up, self.pipe.down
            self.block("connecting")
            loop.call_later(3 * orders.delay, lambda: loop.create_task(self.connect()))
        self.back.target = transport
        if self.out.rate:
            self.size = max(512, min(BUFFER, int(self.out.rate / 200)))
        self.pipe.wake()

    async def connect(self):
        try:
            await loop.create_connection(lambda: End(self.pipe), arguments.to_host,
                                         arguments.to_port)
            self.unblock("connecting")
        except OSError:
            self.transport.abort()

    def block(self, why):
        self.blockers.add(why)
        self.transport.pause_reading()

    def unblock(self, why):
        self.blockers.discard(why)
        if not self.blockers and not self.transport.is_closing():
            self.transport.resume_reading()

    def get_buffer(self, sizehint):
        return memoryview(self.buffer)[:self.size]

    def buffer_updated(self, count):
        waiting = self.out.put(bytes(memoryview(self.buffer)[:count]))
        if waiting > BACKLOG:
            self.block("rate")
            loop.call_later(waiting - BACKLOG / 2, self.unblock, "rate")

    def other(self):
        return self.pipe.server if self is self.pipe.client else self.pipe.client

    def pause_writing(self):
        if self.other():
            self.other().block("receiver")

    def resume_writing(self):
        if self.other():
            self.other().unblock("receiver")

    def eof_received(self):
        self.out.put(END)
        return True

    def connection_lost(self, _):
        if self.out:
            self.out.put(CLOSED)
            orders.pipes.discard(self.pipe)


async def main():
    server = await loop.create_server(End, arguments.host, arguments.port, backlog=100)
    loop.add_signal_handler(signal.SIGHUP, reread)
    print("ready", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def reread():
    orders.read()
    print("ordered", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--to-host", required=True)
    parser.add_argument("--to-port", type=int, required=True)
    parser.add_argument("--control", required=True)
    arguments = parser.parse_args()
    orders = Orders(arguments.control)
    # select() counts in microseconds, where epoll rounds up to milliseconds.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    loop.run_until_complete(main())
