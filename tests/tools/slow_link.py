"""A TCP link between a port and a server with a limit of bytes per second, for seeing what takes time on a real one."""
import selectors
import socket
import threading
import time


class SlowLink:
    """Forwards 127.0.0.1:`port` (chosen by the kernel when 0) to `target`; each connection gets `rate` bytes a second.

    `rate` can be changed at any time; None is no limit. close() ends every connection.
    """

    def __init__(self, target, rate=None, port=0):
        self.target = target
        self.rate = rate
        self.passed = 0  # bytes from the server so far
        self._open = True
        self._sockets = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/"

    def _accept(self):
        while self._open:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target), 5)
            except OSError:
                continue
            threading.Thread(target=self._carry, args=(client, server), daemon=True).start()

    def _carry(self, client, server):
        with self._lock:
            self._sockets |= {client, server}
        try:
            with selectors.DefaultSelector() as ready:
                ready.register(client, selectors.EVENT_READ, server)
                ready.register(server, selectors.EVENT_READ, client)
                while self._open:
                    for key, _ in ready.select(1.0):
                        rate = self.rate
                        data = key.fileobj.recv(16384 if rate is None else max(min(16384, rate // 20), 1))
                        if not data:
                            return
                        key.data.sendall(data)
                        if key.fileobj is server:
                            self.passed += len(data)
                            if rate is not None:
                                time.sleep(len(data) / rate)
        except OSError:
            pass
        finally:
            with self._lock:
                self._sockets -= {client, server}
            client.close()
            server.close()

    def cut(self):
        """Drop every connection; new ones are taken."""
        with self._lock:
            for end in self._sockets:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def close(self):
        self._open = False
        try:
            self._listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listener.close()
        self.cut()
