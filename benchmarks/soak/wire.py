"""Passes bytes on, both ways: ``python -m benchmarks.soak.wire PORT TO``. SIGUSR1 resets every connection."""

import asyncio
import signal
import socket
import struct
import sys

PIECE = 64 * 1024
_RESET = struct.pack("ii", 1, 0)
"""Linger for no time: closing sends a reset."""


async def main(port: int, to: int) -> None:
    open_now: set[asyncio.StreamWriter] = set()

    async def one_way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(PIECE):
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", to)
        except OSError:
            _reset(writer)
            return
        pair = {writer, far_writer}
        open_now.update(pair)
        try:
            await asyncio.gather(one_way(reader, far_writer), one_way(far_reader, writer))
        finally:
            open_now.difference_update(pair)

    def cut() -> None:
        for writer in list(open_now):
            _reset(writer)

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, cut)
    server = await asyncio.start_server(connected, "127.0.0.1", port, backlog=256)
    async with server:
        await server.serve_forever()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
