#!/usr/bin/python3
"""An SFTP server that misbehaves on order, for specs: asyncssh's, with faults put in.

The faults stand in the control file, one a line, and may be changed while it runs:

    NAME [VALUE] [times=K] [after=K]     a VALUE in bytes unless said otherwise; 0 for none given

`after=K`: the first K occasions pass; `times=K`: it happens K times at most. Without them a fault
happens at every occasion. Each time is a line `fault NAME ...` on standard output. Bytes are those
of a file's contents; `down` are those that the client reads, `up` those that it writes.

What each is, and what a client must make of it:

Connection (an occasion is a connection)
  hang_up           closed as soon as accepted: server unavailable, or try again
  stall_banner      accepted, then silence: the connect timeout ends it
  garbage_banner    something that isn't SSH: an error that says so, and no waiting
  stall_kex         a banner, then silence: the connect timeout ends it
  stall_login       key exchange, then no answer to the login: the login timeout ends it
  other_host_key    shows other host keys; with after=1: only when it connects again. Refused, both
                    fingerprints said, nothing sent to it
  no_sftp           logs in, but there is no sftp subsystem: server unavailable, says so
  rekey N           new keys every N bytes: nothing to be seen, the same bytes
Data that goes down
  short_reads N     answers with N bytes at most: legal; the same bytes as ever
  empty_reads       answers with no bytes at all and no end: an error, no endless loop
  long_reads N      N bytes more than asked for: an error; never a byte twice or displaced
  reordered         answers pairs of reads in the wrong order: legal; the same bytes
  early_eof N       says that the file ends at N, though its size is larger: an error
  size_changes N    once N bytes went down, the file says to be a byte larger: an error
  mtime_changes N   once N bytes went down, the file says to be younger: an error
  shrinks N         once N bytes went down, the file has N bytes, by its size too: an error
  wrong_id N        the answer to the read after N bytes bears another request's id: an error
  huge_packet N     a packet of 2 GiB is announced after N bytes: an error, and no such memory
  cut_down N        the connection is cut after N bytes: reconnect and go on; give up in the end
  stall_down N      silence after N bytes (SSH itself goes on answering): the idle timeout ends it
Data that goes up
  no_space N        a write beyond N fails: an error, the part removed
  loses_writes N    what is written beyond N is taken with thanks and lost: the size is checked
  cut_up N, stall_up N                                                               as above
Folders
  endless_folder    a listing without an end: given up at some number of names
  evil_names        names in a listing with `/`, `..`, control characters, none at all: refused
  denied /PATH      to list that folder and to touch what is in it isn't permitted: an error that
                    names it
Attributes and extensions
  clock_skew S      all files are S seconds younger: doctor says so; nobody's parts pass for old
  bare_attributes   neither size nor time are told: legal, but no basis to work on: an error
  no_fsync, no_posix_rename                       not offered: goes without, says so on request
Any operation: open close read write stat fstat lstat setstat fsetstat opendir readdir remove mkdir
rmdir realpath rename posix_rename fsync
  fail OP           answers "failure"           fail=close: the write wasn't; the part is removed
  refuse OP         answers "permission denied"
  stall OP          never answers
  cut OP            not done, the connection is cut
  lose OP           done, then the connection is cut before it is answered: lose=rename, and the
                    client finds out that its file is there, whole, under its final name
  rename_overwrites a rename onto a name that exists replaces it: doctor finds out

Logins: the user's keys, a password, and keyboard-interactive with two rounds of prompts.
"""
import argparse
import asyncio
import os
import signal
import socket
import stat

import asyncssh
from asyncssh import sftp
from asyncssh.connection import SSHServerConnection
from asyncssh.packet import SSHPacket, String, UInt32

OPERATIONS = {
    sftp.FXP_OPEN: "open", sftp.FXP_CLOSE: "close", sftp.FXP_READ: "read",
    sftp.FXP_WRITE: "write", sftp.FXP_STAT: "stat", sftp.FXP_FSTAT: "fstat",
    sftp.FXP_LSTAT: "lstat", sftp.FXP_SETSTAT: "setstat", sftp.FXP_FSETSTAT: "fsetstat",
    sftp.FXP_OPENDIR: "opendir", sftp.FXP_READDIR: "readdir", sftp.FXP_REMOVE: "remove",
    sftp.FXP_MKDIR: "mkdir", sftp.FXP_RMDIR: "rmdir", sftp.FXP_REALPATH: "realpath",
    sftp.FXP_RENAME: "rename", b"posix-rename@openssh.com": "posix_rename",
    b"fsync@openssh.com": "fsync",
}
EVIL = [b"line\nbreak.csv", b"\x1b[31mred.csv", b"nul\0.csv", b"../up.csv", b"/etc/passwd",
        b"below/it.csv", b"..", b".", b"", b"\xff\xfe.csv", b"x" * 5000]


def say(*words):
    print(*words, flush=True)


class Faults:
    """The faults ordered, read again whenever the control file is another one."""

    def __init__(self, path):
        self.path, self.seen, self.orders = path, None, {}
        self.down = 0  # bytes since the order, over all connections

    def get(self, name):
        """The order of this name, or None."""
        now = os.stat(self.path)
        if self.seen != (now.st_ino, now.st_mtime_ns):
            self.seen, self.orders, self.down = (now.st_ino, now.st_mtime_ns), {}, 0
            with open(self.path, encoding="utf-8") as lines:
                for words in filter(None, map(str.split, lines)):
                    limits = dict(word.split("=") for word in words[1:] if "=" in word)
                    plain = [word for word in words[1:] if "=" not in word]
                    value = plain[0] if plain else "0"
                    self.orders[words[0]] = {
                        "value": int(value) if value.lstrip("-").isdigit() else value,
                        "times": int(limits.get("times", -1)), "met": 0, "done": 0,
                        "after": int(limits.get("after", 0))}
        return self.orders.get(name)

    def value(self, name, default=None):
        """The value of a fault that is there all the time."""
        order = self.get(name)
        return order["value"] if order else default

    def happens(self, name, value=None):
        """An occasion for a fault: whether it happens. One with a value only where it is this."""
        order = self.get(name)
        if not order or (value is not None and order["value"] != value):
            return False
        order["met"] += 1
        if order["met"] <= order["after"] or order["done"] == order["times"]:
            return False
        order["done"] += 1
        say("fault", name, order["value"])
        return True


faults = None
host_keys = {}  # read once: looking whether an RSA key is one takes its time
never = asyncio.Event()  # it holds those that wait for ever


class Files(sftp.SFTPServer):
    """The files, and what is wrong with their contents."""

    def __init__(self, channel):
        super().__init__(channel, chroot=arguments.folder.encode())
        self.down = self.up = 0

    def map_path(self, path):
        denied = faults.value("denied")
        wanted = os.path.normpath(b"/" + path.lstrip(b"/"))
        if denied and wanted.startswith(denied.encode() + b"/"):
            raise sftp.SFTPPermissionDenied("Permission denied")
        return super().map_path(path)

    def read(self, file_obj, offset, size):
        end = faults.value("early_eof")
        shrunk = faults.value("shrinks")
        if shrunk is not None and faults.down >= shrunk:
            end = shrunk
        if end is not None:
            size = max(0, min(size, end - offset))
        size = min(size, faults.value("short_reads", size) or 1)
        data = super().read(file_obj, offset, size) if size else b""
        self.down += len(data)
        faults.down += len(data)
        more = faults.value("long_reads", 0) if data else 0
        return data + b"!" * more

    def write(self, file_obj, offset, data):
        full = faults.value("no_space")
        if full is not None and offset + len(data) > full:
            raise sftp.SFTPFailure("No space left on device")
        self.up += len(data)
        kept = faults.value("loses_writes")
        if kept is not None and offset + len(data) > kept:
            return len(data)
        return super().write(file_obj, offset, data)

    def rename(self, oldpath, newpath):
        if faults.get("rename_overwrites"):
            return self.posix_rename(oldpath, newpath)
        return super().rename(oldpath, newpath)

    def fsync(self, file_obj):
        os.fsync(file_obj.fileno())

    def listdir(self, path):
        if os.path.normpath(b"/" + path.lstrip(b"/")) == (faults.value("denied") or "").encode():
            raise sftp.SFTPPermissionDenied("Permission denied")
        names = super().listdir(path)
        if faults.get("evil_names"):
            attrs = sftp.SFTPAttrs(size=1, uid=0, gid=0, permissions=0o100644, atime=0, mtime=0)
            names += [sftp.SFTPName(name, name, attrs) for name in EVIL]
        return names

    def told(self, attributes):
        """Attributes as they are told."""
        told = sftp.SFTPAttrs.from_local(attributes)
        told.mtime += faults.value("clock_skew", 0)
        if stat.S_ISREG(attributes.st_mode):
            if faults.down >= faults.value("size_changes", float("inf")):
                told.size += 1
            if faults.down >= faults.value("mtime_changes", float("inf")):
                told.mtime += 60
            if faults.down >= faults.value("shrinks", float("inf")):
                told.size = min(told.size, faults.value("shrinks"))
        if faults.get("bare_attributes"):
            told.size = told.mtime = told.atime = None
        return told

    def stat(self, path):
        return self.told(super().stat(path))

    def lstat(self, path):
        return self.told(super().lstat(path))

    def fstat(self, file_obj):
        return self.told(super().fstat(file_obj))


class Handler(sftp.SFTPServerHandler):
    """The packets, and what is wrong with them."""

    def __init__(self, *more):
        super().__init__(*more)
        self.held, self.mute, self.passed = None, False, set()
        self._extensions = [(name, data) for name, data in self._extensions
                            if not (name.startswith(b"fsync@") and faults.get("no_fsync")) and not
                            (name.startswith(b"posix-") and faults.get("no_posix_rename"))]

    def reaches(self, name, count):
        """Whether a fault of this connection happens now that a count is what it is."""
        at = faults.value(name)
        if at is None or name in self.passed or count < at:
            return False
        self.passed.add(name)
        return faults.happens(name)

    async def cut(self, at_once):
        """Ends the connection: at once, or when what was answered has gone out."""
        channel, connection = self._server.channel, self._server.connection
        self.mute = True
        for _ in range(0 if at_once else 200):
            if not channel._send_buf:
                break
            await asyncio.sleep(0.005)
        transport = connection._transport
        if transport:
            transport.abort() if at_once else transport.close()
        await never.wait()

    def answer(self, request, code, text):
        self.send_packet(sftp.FXP_STATUS, request,
                         UInt32(request), UInt32(code) + String(text) + String("en"))

    async def _process_packet(self, pkttype, pktid, packet):
        payload = packet.get_remaining_payload()
        if pkttype == sftp.FXP_EXTENDED:
            operation = OPERATIONS.get(SSHPacket(payload).get_string(), "extended")
        else:
            operation = OPERATIONS.get(pkttype, "other")
        if faults.happens("stall", operation):
            await never.wait()
        if faults.happens("cut", operation):
            await self.cut(True)
        if faults.happens("refuse", operation):
            return self.answer(pktid, sftp.FX_PERMISSION_DENIED, "Permission denied")
        if faults.happens("fail", operation):
            return self.answer(pktid, sftp.FX_FAILURE, "Failure")
        self.mute = faults.happens("lose", operation)
        if operation == "read" and faults.get("empty_reads"):
            self.send_packet(sftp.FXP_DATA, pktid, UInt32(pktid), String(b""))
        elif operation == "readdir" and faults.get("endless_folder"):
            self.send_endless(pktid)
        else:
            await super()._process_packet(pkttype, pktid, SSHPacket(payload))
        if self.mute:
            await self.cut(True)
        for way in "down", "up":
            count = getattr(self._server, way)
            if self.reaches("cut_" + way, count):
                await self.cut(False)
            if self.reaches("stall_" + way, count):
                await never.wait()
        await asyncio.sleep(0)  # so that a client with much to ask doesn't keep all others waiting

    def send_endless(self, request):
        names = []
        for number in range(100):
            attrs = sftp.SFTPAttrs(size=1, uid=0, gid=0, permissions=0o100644, atime=0, mtime=0)
            name = b"endless-%d-%d.csv" % (request, number)
            names.append(sftp.SFTPName(name, name, attrs))
        self.send_packet(sftp.FXP_NAME, request, UInt32(request), UInt32(len(names))
                         + b"".join(name.encode(3) for name in names))

    def send_packet(self, pkttype, pktid, *parts):
        if self.mute:
            return
        if pkttype == sftp.FXP_DATA and self.reaches("huge_packet", self._server.down):
            self._writer.write(UInt32(0x7fffffff) + bytes([pkttype]))
        if pkttype == sftp.FXP_DATA and self.reaches("wrong_id", self._server.down):
            parts = (UInt32(pktid + 1000000), *parts[1:])
        if pkttype == sftp.FXP_DATA and faults.get("reordered"):
            if self.held is None:
                self.held = (pkttype, pktid, *parts)
                asyncio.get_running_loop().call_later(0.02, self.release)
                return
        super().send_packet(pkttype, pktid, *parts)
        self.release()

    def release(self):
        """Sends the answer that another one overtook."""
        held, self.held = self.held, None
        if held and self._writer:
            super().send_packet(*held)


class Logins(asyncssh.SSHServer):
    """Who may log in, and how."""

    def connection_made(self, conn):
        self.rounds = 0

    async def begin_auth(self, username):
        if faults.happens("stall_login"):
            await never.wait()
        return True

    def password_auth_supported(self):
        return "password" in arguments.methods

    def validate_password(self, username, password):
        return username == arguments.user and password == arguments.password

    def kbdint_auth_supported(self):
        return "keyboard-interactive" in arguments.methods

    def get_kbdint_challenge(self, username, lang, submethods):
        return "Login", "Two rounds", "", [("Password: ", False), ("Name of the shop: ", True)]

    def validate_kbdint_response(self, username, responses):
        self.rounds += 1
        if self.rounds == 1:
            if list(responses) != [arguments.password, arguments.shop]:
                return False
            return "Code", "", "", [("Code: ", False)]
        return list(responses) == [arguments.code]


async def serve(connection, loop):
    """Looks after a connection just accepted."""
    if faults.happens("hang_up"):
        return connection.close()
    if faults.happens("stall_banner"):
        return None
    if faults.happens("garbage_banner"):
        await loop.sock_sendall(connection, b"HTTP/1.1 400 Bad Request\r\n\r\n\0\xff" * 20000)
        return connection.close()
    if faults.happens("stall_kex"):
        return await loop.sock_sendall(connection, b"SSH-2.0-OpenSSH_9.2p1\r\n")
    keys = host_keys["other" if faults.happens("other_host_key") else "own"]
    more = {"rekey_bytes": faults.value("rekey")} if faults.get("rekey") else {}
    if not faults.happens("no_sftp"):
        more["sftp_factory"] = Files
    chosen = asyncssh.SSHServerConnectionOptions(
        server_factory=Logins, server_host_keys=keys, login_timeout=0, config=[],
        authorized_client_keys=arguments.authorized if "publickey" in arguments.methods else None,
        allow_pty=False, agent_forwarding=False, **more)
    await loop.connect_accepted_socket(
        lambda: SSHServerConnection(loop, chosen, None, None), connection)


async def main():
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in arguments.host else socket.AF_INET
    listener = socket.create_server((arguments.host, arguments.port), family=family, backlog=100)
    listener.setblocking(False)
    say("ready", listener.getsockname()[1])
    held = []  # a socket that nobody holds would be closed
    while True:
        connection, _ = await loop.sock_accept(listener)
        connection.setblocking(False)
        held.append((connection, loop.create_task(serve(connection, loop))))
        say("connection", len(held))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    for name in "folder", "control", "authorized", "user", "password", "shop", "code":
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--methods", default="publickey")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--host-key", action="append", required=True)
    parser.add_argument("--other-key", action="append", required=True)
    arguments = parser.parse_args()
    faults = Faults(arguments.control)
    host_keys["own"] = [asyncssh.read_private_key(path) for path in arguments.host_key]
    host_keys["other"] = [asyncssh.read_private_key(path) for path in arguments.other_key]
    sftp.SFTPServerHandler = Handler
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    asyncio.run(main())
