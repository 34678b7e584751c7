"""The access rules that are shipped for mosquitto do what they say."""
import subprocess

import pytest

DEVICE = "00112233445566778899aabbccddeeff"
OTHER = "ffeeddccbbaa99887766554433221100"
BOARD = "0123456789abcdef0123456789abcdef"
MARKER = "5555555555555555aaaaaaaaaaaaaaaa"


def client(program, broker, user, *args, ident=DEVICE):
    return subprocess.Popen(
        [program, "-h", "127.0.0.1", "-p", str(broker.port), "-u", user, "-P", broker.passwords.get(user, "wrong"), "-i",
         ident, "-q", "1", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)


def publish(broker, user, ident, topic, text):
    """Retained, so that who listens may come later."""
    client("mosquitto_pub", broker, user, "-t", topic, "-m", text, "-r", ident=ident).communicate(timeout=60)


def heard(broker, reader, reader_id, topic, writer, writer_id):
    """Whether what `writer` publishes on `topic` reaches `reader`. What a broker keeps it sends in the order of what was
    asked for: after a second topic, which this reader may always read, nothing comes of the first."""
    publish(broker, writer, writer_id, topic, "x")
    if reader == "device":
        marker = f"otad/1/b/{MARKER}"
        publish(broker, "otad", "server", marker, "end")
    else:
        marker = f"otad/1/p/{MARKER}"
        publish(broker, "device", MARKER, marker, "end")
    listen = client("mosquitto_sub", broker, reader, "-t", topic, "-t", marker, "-W", "60", ident=reader_id)
    lines = []
    while "end" not in lines:
        line = listen.stdout.readline()
        assert line, "the marker never came"
        lines.append(line.strip())
    listen.terminate()
    listen.communicate(timeout=60)
    assert lines in (["end"], ["x", "end"]), lines
    return lines[0] == "x"


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
    _, err = attempt.communicate(timeout=60)
    assert attempt.returncode != 0 and "not authori" in err.lower()
