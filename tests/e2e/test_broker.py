"""The access rules that are shipped for mosquitto do what they say."""
import subprocess

import pytest

DEVICE = "00112233445566778899aabbccddeeff"
OTHER = "ffeeddccbbaa99887766554433221100"
BOARD = "0123456789abcdef0123456789abcdef"


def client(program, broker, user, *args, ident=DEVICE, timeout=5):
    return subprocess.Popen(
        [program, "-h", "127.0.0.1", "-p", str(broker.port), "-u", user, "-P", broker.passwords.get(user, "wrong"), "-i",
         ident, "-q", "1", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)


def heard(broker, reader, reader_id, topic, writer, writer_id):
    """Whether what `writer` publishes on `topic` reaches `reader`. Retained, so that the order does not matter; a
    marker the reader may always see tells when to stop."""
    publish = client("mosquitto_pub", broker, writer, "-t", topic, "-m", "x", "-r", ident=writer_id)
    publish.communicate(timeout=10)
    listen = client("mosquitto_sub", broker, reader, "-t", topic, "-C", "1", "-W", "1", ident=reader_id)
    out, _ = listen.communicate(timeout=10)
    return out.strip() == "x"


@pytest.mark.parametrize("topic,reader,reader_id,writer,writer_id,expected", [
    (f"otad/1/b/{BOARD}", "device", DEVICE, "otad", "server", True),
    (f"otad/1/d/{DEVICE}", "device", DEVICE, "otad", "server", True),
    (f"otad/1/d/{DEVICE}", "device", OTHER, "otad", "server", False),
    (f"otad/1/p/{DEVICE}", "otad", "server", "device", DEVICE, True),
    (f"otad/1/p/{DEVICE}", "otad", "server", "device", OTHER, False),
    (f"otad/1/p/{DEVICE}", "device", DEVICE, "device", DEVICE, False),
    (f"otad/1/b/{BOARD}", "device", DEVICE, "device", DEVICE, False),
    (f"otad/1/d/{DEVICE}", "device", DEVICE, "device", OTHER, False),
])
def test_topic(broker, topic, reader, reader_id, writer, writer_id, expected):
    assert heard(broker, reader, reader_id, topic, writer, writer_id) == expected


@pytest.mark.parametrize("user", ["nobody", "otad"])
def test_wrong_password(broker, user):
    broker.passwords[user] = "not this one"
    attempt = client("mosquitto_pub", broker, user, "-t", f"otad/1/b/{BOARD}", "-m", "x")
    _, err = attempt.communicate(timeout=10)
    assert attempt.returncode != 0 and "not authori" in err.lower()
