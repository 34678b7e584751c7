"""Raw HTTP: bytes out, answers in, no library between that would mend anything."""
import socket
import time


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def __repr__(self):
        return f"{self.status} ({len(self.body)} bytes)"


class Reader:
    """Answers out of a byte stream, as a strict client reads them."""

    def __init__(self, sock):
        self.sock = sock
        self.data = b""
        self.closed = False

    def fill(self):
        if self.closed:
            return False
        try:
            more = self.sock.recv(65536)
        except (TimeoutError, socket.timeout):
            return False
        except OSError:
            more = b""
        if not more:
            self.closed = True
            return False
        self.data += more
        return True

    def answer(self, is_head=False):
        """The next answer; None when nothing (whole) comes."""
        while b"\r\n\r\n" not in self.data:
            if not self.fill():
                return None
        head, self.data = self.data.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        headers = {}
        for line in lines[1:]:
            name, value = line.split(":", 1)
            headers[name.strip().lower()] = value.strip()
        if status == 100:
            return self.answer(is_head)
        body = b""
        if is_head or status in (204, 304):
            pass
        elif "content-length" in headers:
            need = int(headers["content-length"])
            while len(self.data) < need and self.fill():
                pass
            body, self.data = self.data[:need], self.data[need:]
        elif headers.get("transfer-encoding") == "chunked":
            body = self.chunks()
        else:
            while self.fill():
                pass
            body, self.data = self.data, b""
        return Answer(status, headers, body)

    def chunks(self):
        body = b""
        while True:
            while b"\r\n" not in self.data:
                if not self.fill():
                    return body
            size, self.data = self.data.split(b"\r\n", 1)
            need = int(size.split(b";")[0], 16)
            while len(self.data) < need + 2 and self.fill():
                pass
            body, self.data = body + self.data[:need], self.data[need + 2:]
            if need == 0:
                return body


def exchange(port, *pieces, heads=(), quiet_s=0.4, pause_s=0.02, limit_s=5.0):
    """Send the pieces with a pause between them; all answers until the peer closes or says nothing for `quiet_s`.
    `heads`: which answers (by number) belong to HEAD. Returns (answers, closed by the peer)."""
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.settimeout(quiet_s)
        for number, piece in enumerate(pieces):
            if number:
                time.sleep(pause_s)
            try:
                sock.sendall(piece)
            except OSError:
                break
        reader = Reader(sock)
        answers = []
        end = time.monotonic() + limit_s
        while time.monotonic() < end:
            answer = reader.answer(len(answers) in heads)
            if answer is None:
                break
            answers.append(answer)
        if not reader.closed:
            reader.fill()
        return answers, reader.closed
