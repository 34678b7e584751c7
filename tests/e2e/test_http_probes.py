"""What otad answers to requests that are wrong, odd or hostile, byte for byte; and that nginx and haproxy in front
of it read them the same way. A difference is allowed only where it stands in DIFFERENT, and never in where a
request ends: nobody gets more answers than otad saw requests."""
import concurrent.futures
import json
import shutil
import signal

import pytest

import harness
from raw import exchange

H = b"Host: otad.example\r\n"
OK = b"GET /healthz HTTP/1.1\r\n" + H


def get(target=b"/healthz", *fields, version=b"HTTP/1.1", method=b"GET"):
    return method + b" " + target + b" " + version + b"\r\n" + b"".join(f + b"\r\n" for f in fields) + b"\r\n"


def host(*fields, target=b"/healthz", method=b"GET", body=b""):
    return get(target, b"Host: otad.example", *fields, method=method) + body


def chunked(body, *fields, target=b"/v1/boards", method=b"POST"):
    return host(b"Transfer-Encoding: chunked", *fields, target=target, method=method, body=body)


RIGHT = b"Authorization: Bearer @TOKEN@"
NEXT = host()  # a good request behind the probe: is it read as one?

# name: (bytes or list of pieces, the statuses in order). A trailing None: the connection stays open.
# 0 stands for: closed without an answer.
PROBES = {
    # good ones
    "plain": (host(), [200, None]),
    "two pipelined": (host() + host(), [200, 200, None]),
    "ten pipelined": (host() * 10, [200] * 10 + [None]),
    "split in the request line": ([b"GET /hea", b"lthz HTTP/1.1\r\n" + H + b"\r\n"], [200, None]),
    "split in a field": ([OK + b"X: a", b"b\r\n\r\n"], [200, None]),
    "split in the last line": ([OK + b"\r", b"\n"], [200, None]),
    "connection close": (host(b"Connection: close"), [200]),
    "connection close, then more": (host(b"Connection: close") + NEXT, [200]),
    "http 1.0": (get(b"/healthz", b"Host: a", version=b"HTTP/1.0"), [200]),
    "http 1.0 without host": (get(version=b"HTTP/1.0"), [200]),
    "head": (host(method=b"HEAD"), [200, None]),
    "head then get": (host(method=b"HEAD") + host(), [200, 200, None]),
    "query": (host(target=b"/healthz?a=b&c"), [200, None]),
    "encoded letters": (host(target=b"/%68ealthz"), [200, None]),
    "leading empty line": (b"\r\n" + host(), [200, None]),
    "field without a space": (host(b"X:y"), [200, None]),
    "field with spaces around": (host(b"X:   y  "), [200, None]),
    "empty field": (host(b"X:"), [200, None]),
    "unknown expectation": (host(b"Expect: miracles"), [200, None]),
    "upgrade is ignored": (host(b"Connection: upgrade", b"Upgrade: h2c"), [200, None]),
    "long field": (host(b"X: " + b"a" * 1500), [200, None]),
    "thirty fields": (host(*[b"X: y"] * 30), [200, None]),

    # request line
    "no version": (b"GET /healthz\r\n\r\n", [400]),
    "http 0.9": (b"GET /healthz\r\n", [400]),
    "http 2.0": (get(b"/healthz", b"Host: a", version=b"HTTP/2.0"), [505]),
    "http 1.2": (get(b"/healthz", b"Host: a", version=b"HTTP/1.2"), [400]),
    "version in small letters": (get(b"/healthz", b"Host: a", version=b"http/1.1"), [400]),
    "version with junk": (get(b"/healthz", b"Host: a", version=b"HTTP/1.1x"), [400]),
    "method in small letters": (host(method=b"get"), [501]),
    "unknown method": (host(method=b"BREW"), [501]),
    "options": (host(method=b"OPTIONS"), [501]),
    "trace": (host(method=b"TRACE"), [501]),
    "connect": (get(b"otad.example:80", b"Host: otad.example", method=b"CONNECT"), [400]),
    "asterisk": (host(target=b"*", method=b"OPTIONS"), [400]),
    "absolute target": (host(target=b"http://otad.example/healthz"), [400]),
    "target without slash": (host(target=b"healthz"), [400]),
    "dot segment": (host(target=b"/a/../healthz"), [400]),
    "dot segment at the start": (host(target=b"/../healthz"), [400]),
    "single dot": (host(target=b"/./healthz"), [400]),
    "encoded dots": (host(target=b"/a/%2e%2e/healthz"), [400]),
    "encoded slash": (host(target=b"/a%2fhealthz"), [400]),
    "encoded backslash": (host(target=b"/a%5chealthz"), [400]),
    "backslash": (host(target=b"/a\\healthz"), [400]),
    "double slash": (host(target=b"//healthz"), [400]),
    "double slash inside": (host(target=b"/v1//boards"), [400]),
    "encoded NUL": (host(target=b"/healthz%00"), [400]),
    "encoded newline": (host(target=b"/healthz%0d%0aX:y"), [400]),
    "NUL": (host(target=b"/healthz\0x"), [200, None]),
    "bad percent": (host(target=b"/healthz%zz"), [400]),
    "short percent": (host(target=b"/healthz%4"), [400]),
    "fragment": (host(target=b"/healthz#x"), [400]),
    "high byte": (host(target=b"/healthz\xff"), [400]),
    "tab for a space": (b"GET\t/healthz\tHTTP/1.1\r\n" + H + b"\r\n", [0]),
    "long target": (host(target=b"/" + b"a" * 2100), [400]),
    "very long target": (host(target=b"/" + b"a" * 5000), [414]),
    "nothing there": (host(target=b"/nothing"), [404, None]),
    "trailing slash": (host(target=b"/healthz/"), [404, None]),
    "other method": (host(b"Content-Length: 0", method=b"PUT"), [405, None]),

    # fields
    "no host": (get(), [400]),
    "two hosts": (get(b"/healthz", b"Host: a", b"Host: b"), [400]),
    "two equal hosts": (get(b"/healthz", b"Host: a", b"Host: a"), [400]),
    "empty host": (get(b"/healthz", b"Host:"), [400]),
    "host with a space": (get(b"/healthz", b"Host: a b"), [400]),
    "host with a slash": (get(b"/healthz", b"Host: a/b"), [400]),
    "host with a user": (get(b"/healthz", b"Host: u@a"), [400]),
    "space before the colon": (host(b"X : y"), [400]),
    "field without a colon": (host(b"nonsense"), [400]),
    "field without a name": (host(b": y"), [200, None]),
    "name with a space": (host(b"X Y: z"), [400]),
    "NUL in a name": (host(b"X\0Y: z"), [400]),
    "NUL in a value": (host(b"X: y\0z"), [200, None]),
    "control byte in a value": (host(b"X: y\x01z"), [400]),
    "too many fields": (host(*[b"X: y"] * 40), [400]),
    "header too large": (host(b"X: " + b"a" * 9000), [431]),
    "two authorizations": (host(b"Authorization: Bearer a", b"Authorization: Bearer b", target=b"/v1/boards"), [400]),
    "two ranges": (host(b"Range: bytes=0-1", b"Range: bytes=2-3"), [400]),
    "two content types": (host(b"Content-Type: a/b", b"Content-Type: c/d"), [400]),

    # where does the request end?
    "length and coding": (chunked(b"0\r\n\r\n", b"Content-Length: 5") + NEXT, [400]),
    "coding and length": (host(b"Content-Length: 5", b"Transfer-Encoding: chunked", target=b"/v1/boards", method=b"POST",
                               body=b"0\r\n\r\n") + NEXT, [400]),
    "two lengths": (host(b"Content-Length: 5", b"Content-Length: 6", target=b"/v1/boards", method=b"POST",
                         body=b"abcde") + NEXT, [400]),
    "two equal lengths": (host(b"Content-Length: 5", b"Content-Length: 5", target=b"/v1/boards", method=b"POST",
                               body=b"abcde") + NEXT, [400]),
    "list of lengths": (host(b"Content-Length: 5, 5", target=b"/v1/boards", method=b"POST", body=b"abcde") + NEXT, [400]),
    "plus length": (host(b"Content-Length: +5", target=b"/v1/boards", method=b"POST", body=b"abcde") + NEXT, [400]),
    "minus length": (host(b"Content-Length: -5", target=b"/v1/boards", method=b"POST") + NEXT, [400]),
    "hex length": (host(b"Content-Length: 0x5", target=b"/v1/boards", method=b"POST", body=b"abcde") + NEXT, [400]),
    "length with a blank": (host(b"Content-Length: 5 5", target=b"/v1/boards", method=b"POST", body=b"abcde") + NEXT, [400]),
    "empty length": (host(b"Content-Length:", target=b"/v1/boards", method=b"POST") + NEXT, [400]),
    "huge length": (host(b"Content-Length: 99999999999999999999", target=b"/v1/boards", method=b"POST") + NEXT, [413]),
    "coding xchunked": (host(b"Transfer-Encoding: xchunked", target=b"/v1/boards", method=b"POST", body=b"0\r\n\r\n")
                        + NEXT, [400]),
    "coding identity": (host(b"Transfer-Encoding: identity", target=b"/v1/boards", method=b"POST", body=b"0\r\n\r\n")
                        + NEXT, [400]),
    "coding gzip, chunked": (host(b"Transfer-Encoding: gzip, chunked", target=b"/v1/boards", method=b"POST",
                                  body=b"0\r\n\r\n") + NEXT, [400]),
    "coding twice": (chunked(b"0\r\n\r\n", b"Transfer-Encoding: chunked") + NEXT, [400]),
    "coding with a tab": (host(b"Transfer-Encoding:\tchunked", target=b"/v1/boards", method=b"POST", body=b"0\r\n\r\n")
                          + NEXT, [401]),
    "coding in http 1.0": (get(b"/v1/boards", b"Host: a", b"Transfer-Encoding: chunked", version=b"HTTP/1.0",
                               method=b"POST") + b"0\r\n\r\n" + NEXT, [400]),
    "folded coding": (host(b"Transfer-Encoding:\r\n chunked", target=b"/v1/boards", method=b"POST", body=b"0\r\n\r\n")
                      + NEXT, [401]),
    "get with a body": (host(b"Content-Length: 5", body=b"abcde") + NEXT, [413]),
    "get with a chunked body": (host(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n") + NEXT, [200, 200, None]),
    "delete with a body": (host(b"Content-Length: 5", target=b"/v1/boards/x", method=b"DELETE", body=b"abcde") + NEXT,
                           [401]),
    "no right, with a body": (host(b"Content-Length: 2", target=b"/v1/boards", method=b"POST", body=b"{}") + NEXT, [401]),
    "no right, without a body": (host(target=b"/v1/boards") + NEXT, [401, 200, None]),
    "body too large": (host(b"Content-Length: 2000000", RIGHT, target=b"/v1/boards", method=b"POST") + NEXT, [413]),
    "chunk size with junk": (chunked(b"5x\r\nabcde\r\n0\r\n\r\n", RIGHT, target=b"/v1/boards") + NEXT, [400]),
    "chunk size negative": (chunked(b"-5\r\nabcde\r\n0\r\n\r\n", RIGHT, target=b"/v1/boards") + NEXT, [400]),
    "chunk size empty": (chunked(b"\r\nabcde\r\n0\r\n\r\n", RIGHT, target=b"/v1/boards") + NEXT, [400]),
    "chunk size huge": (chunked(b"ffffffffffffffff1\r\nabcde\r\n0\r\n\r\n", RIGHT, target=b"/v1/boards") + NEXT, [413]),
    "chunk without its end": (chunked(b"5\r\nabcdefg\r\n0\r\n\r\n", RIGHT, target=b"/v1/boards") + NEXT, [400]),
    "good chunks": (chunked(b"3\r\nabc\r\n0\r\n\r\n", RIGHT, target=b"/v1/boards") + NEXT, [400, 200, None]),
    "chunk extension": (chunked(b"3;a=b\r\nabc\r\n0\r\n\r\n", RIGHT, target=b"/v1/boards") + NEXT, [400, 200, None]),
    "trailer": (chunked(b"3\r\nabc\r\n0\r\nX: y\r\n\r\n", RIGHT, target=b"/v1/boards") + NEXT, [400, 200, None]),
    "good body": (host(RIGHT, b"Content-Length: 3", target=b"/v1/boards", method=b"POST", body=b"abc") + NEXT,
                  [400, 200, None]),
    "body in pieces": ([host(RIGHT, b"Content-Length: 3", target=b"/v1/boards", method=b"POST"), b"a", b"bc" + NEXT],
                       [400, 200, None]),
    "expect continue": ([host(RIGHT, b"Content-Length: 3", b"Expect: 100-continue", target=b"/v1/boards", method=b"POST"),
                         b"abc"], [400, None]),
    "expect continue, refused": (host(RIGHT, b"Content-Length: 3000000", b"Expect: 100-continue", target=b"/v1/boards",
                                      method=b"POST"), [413]),
    "expect continue, no right": (host(b"Content-Length: 3", b"Expect: 100-continue", target=b"/v1/boards",
                                       method=b"POST"), [401]),
    "head of nothing": (host(target=b"/nothing", method=b"HEAD") + NEXT, [404, 200, None]),
    "binary noise": (bytes(range(256)) * 8, [400]),
    "tls hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), [0, None]),
    "http 2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [505]),
}

HEADS = {"head": (0,), "head then get": (0,), "head of nothing": (0,)}

def verdict(port, name, token):
    """The statuses that come back, and None behind them where the connection stays open."""
    pieces = PROBES[name][0]
    pieces = [piece.replace(b"@TOKEN@", token) for piece in (pieces if isinstance(pieces, list) else [pieces])]
    answers, closed = exchange(port, *pieces, heads=HEADS.get(name, ()), quiet_s=0.5 * harness.PATIENCE)
    statuses = [answer.status for answer in answers] or [0]
    return statuses + ([] if closed else [None])


@pytest.fixture(scope="module")
def otad(tmp_path_factory):
    process = harness.Otad(tmp_path_factory.mktemp("probes")).start()
    process.token = (process.data / "admin.token").read_bytes().strip()
    yield process
    assert process.stop() == 0


def verdicts(port, token):
    """Of all probes, several at once: most of the time is waiting for what does not come."""
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        return dict(zip(PROBES, pool.map(lambda name: verdict(port, name, token), PROBES)))


def test_probes(otad):
    assert len(PROBES) >= 100
    got = verdicts(otad.port, otad.token)
    wrong = [f"{name}: {got[name]}, not {PROBES[name][1]}" for name in PROBES if got[name] != PROBES[name][1]]
    assert not wrong, "\n".join(wrong)
    assert otad.status("/healthz") == 200


NGINX = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  upstream otad {{ server 127.0.0.1:{otad}; keepalive 4; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://otad; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
      proxy_request_buffering off;
    }}
  }}
}}
"""

HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 20s
  timeout server 20s
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  http-reuse always
  server otad 127.0.0.1:{otad}
"""


@pytest.fixture(scope="module", params=["nginx", "haproxy"])
def proxy(request, otad, tmp_path_factory):
    program = shutil.which(request.param, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if not program:
        pytest.skip(f"skipped: no {request.param}")
    folder = tmp_path_factory.mktemp(request.param)
    port = harness.free_port()
    text = (NGINX if request.param == "nginx" else HAPROXY).format(folder=folder, port=port, otad=otad.port)
    config = folder / "conf"
    config.write_text(text)
    argv = [program, "-c", config, "-p", folder] if request.param == "nginx" else [program, "-db", "-f", config]
    process = harness.Process(request.param, argv, folder).start()
    harness.wait_for(request.param, lambda: harness.can_connect(port), alive=[process])
    process.port = port
    yield process
    process.child.send_signal(signal.SIGTERM)
    process.child.wait()
    process.child = None


def seen(otad):
    """Requests that otad has read, this question included."""
    return json.loads(otad.request("GET", "/healthz")[2])["requests"]


# Where a proxy decides before otad does, or asks otad something cleaner than it was asked. "0" is no answer at all.
DIFFERENT = {
    "nginx": {
        "http 1.0 without host": [400],
        "http 1.2": [200],  # read as 1.1
        "method in small letters": [400],
        "trace": [405],
        "absolute target": [200],  # turned into a path
        "NUL": [400],
        "tab for a space": [400],
        "field without a colon": [200],  # left out
        "field without a name": [400],
        "NUL in a value": [400],
        "header too large": [400],
        "huge length": [400],
        "coding xchunked": [501],
        "coding identity": [501],
        "coding gzip, chunked": [501],
        "coding with a tab": [501],
        "folded coding": [400],
        # otad ends the connection after these, nginx keeps the client's and reads on behind the body
        "get with a body": [413, 200],
        "delete with a body": [401, 200],
        "no right, with a body": [401, 200],
        "chunk size huge": [400],
        "tls hello": [400],
        "http 2 preface": [400],
    },
    "haproxy": {
        "http 2.0": [200],  # read as 1.1
        "http 1.2": [200],
        "NUL": [400],
        "tab for a space": [200],  # a blank of any kind
        "two equal hosts": [200],  # made one
        "field without a name": [400],
        "length and coding": [401],  # the length is dropped, as RFC 9112 6.3 allows
        "coding and length": [401],
        "two equal lengths": [401, 200],  # made one
        "list of lengths": [401, 200],
        "huge length": [400],
        "coding gzip, chunked": [422],
        "coding with a tab": [401, 200],
        "folded coding": [401, 200],
        "get with a body": [413, 200],
        "delete with a body": [401, 200],
        "no right, with a body": [401, 200],
        "chunk size huge": [400],
        "tls hello": [400],
        "http 2 preface": [],
    },
}


def test_through_a_proxy(otad, proxy):
    before = seen(otad)
    got = verdicts(proxy.port, otad.token)
    requests = seen(otad) - before - 1
    wrong = []
    answers = 0
    for name, (_, direct) in PROBES.items():
        through = [status for status in got[name] if status]
        answers += len(through)
        want = DIFFERENT[proxy.name].get(name, [status for status in direct if status])
        if through != want:
            wrong.append(f"{name}: {through} through {proxy.name}, not {want}")
    assert not wrong, "\n".join(wrong)
    # What decides: a request that otad read and nobody was answered for is one that the two cut differently.
    assert requests <= answers, f"otad read {requests} requests, the clients got {answers} answers"
