"""A server between otactl and otad that says something else where a test wants it to, and remembers who asked for what."""
import http.client
import http.server
import re
import threading


class Meddler:
    """`says` maps "METHOD /path", a regular expression, to (status, JSON text); everything else is otad's. `asked` has (request line, headers)."""

    def __init__(self, otad, says=None):
        self.asked, says = [], says or {}
        meddler = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def pass_on(self):
                meddler.asked.append((self.requestline, dict(self.headers)))
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                for what, (status, text) in says.items():
                    if re.match(what, f"{self.command} {self.path}"):
                        self.answer(status, [("Content-Type", "application/json")], text.encode())
                        return
                there = http.client.HTTPConnection("127.0.0.1", otad.port, timeout=90)
                try:
                    there.request(self.command, self.path, body, {k: v for k, v in self.headers.items() if k.lower() != "connection"})
                    got = there.getresponse()
                    kept = [(k, v) for k, v in got.getheaders() if k.lower() not in ("connection", "content-length", "date")]
                    self.answer(got.status, kept, got.read())
                finally:
                    there.close()

            def answer(self, status, headers, body):
                self.send_response(status)
                for name, value in [*headers, ("Content-Length", str(len(body)))]:
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do_HEAD = do_CONNECT = pass_on

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
