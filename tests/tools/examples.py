#!/usr/bin/env python3
"""Write the examples of docs/protocol.md anew, with the second encoder.

usage: examples.py docs/protocol.md

Each block ```hex NAME gets its bytes; everything else stays. Signatures of P-256 are random: run it when a format
changes, not otherwise. The private keys are those of otaproto.Signer(1), (2) and (3).
"""
import pathlib
import re
import sys
import textwrap
import uuid

import otaproto as op


def span(start, length):
    return bytes(range(start, start + length))


def examples():
    root_key, release_key, server_key = (op.Signer(i) for i in (1, 2, 3))
    vendor = uuid.uuid5(uuid.NAMESPACE_DNS, "example.com")
    cls = uuid.uuid5(vendor, "lamp").bytes
    serial = b"SN-1"
    # uuid5 takes text; the name of a device is bytes, here ASCII
    device = uuid.uuid5(vendor, serial.decode()).bytes
    vendor = vendor.bytes
    enroll_key, secret_id = span(0, 32), span(0x80, 8)
    nonce_d, nonce_s, nonce = span(0x40, 16), span(0x60, 16), span(0x20, 16)
    secret = op.hmac(enroll_key, secret_id)
    k_dev = op.device_key(secret, device, nonce_d, nonce_s)
    image = op.Image(b"firmware of the lamp, version 1.0\n")
    manifest = op.enc(op.manifest(1767225600, vendor, cls, [("app", image)], invoke=True,
                                  text=op.sha256(op.enc(op.enc({})))))
    digest = op.sha256(op.enc(manifest))
    release = op.envelope(manifest, [release_key])
    pubs = [(signer.alg, signer.pub) for signer in (root_key, release_key, server_key)]
    root = op.root_document(op.root_payload(1, pubs, {0: [1, 0], 1: [1, 1], 2: [1, 2]}, floors={cls: 1767225600}),
                            [root_key])
    receipt = op.receipt(enroll_key, secret_id, device, cls, nonce_d, nonce_s)
    fields = op.ticket_payload(device, nonce)
    work = op.ticket_payload(device, nonce, assignment=[digest, len(release), 1], poll=60)
    checkin = op.checkin_fields(device, nonce, 1025, 1, [1767225600, digest], 4, None, [digest, 1, 0, 0, 0], 73, 2)
    return {
        "enroll-key": enroll_key,
        "secret": secret,
        "k-dev": k_dev,
        "root-key": root_key.pub,
        "release-key": release_key.pub,
        "server-key": server_key.pub,
        "release": release,
        "ticket": op.ticket_signed(server_key, work),
        "ticket-idle": op.ticket_mac(k_dev, fields),
        "root": root,
        "checkin": op.checkin(k_dev, checkin),
        "enroll-request": op.enroll_request(secret, secret_id, vendor, cls, serial, nonce_d),
        "enroll-answer": op.enroll_answer(secret, nonce_d, nonce_s, device, receipt),
        "provisioning": op.provision({1: 1, 2: vendor, 3: cls, 4: serial, 5: ["http://otad.local:8484/"], 6: secret_id,
                                      7: secret, 8: root, 9: ["mqtt://otad.local", "device", "passw0rd", "otad/1"]}),
        "authorization": f"Authorization: OTA {device.hex()}.{op.hmac(k_dev, b'otad/fetch/1').hex()}".encode(),
        "notice": op.notice(7, 60),
    }


def main():
    path = pathlib.Path(sys.argv[1])
    made = examples()

    def block(found):
        name = found.group(1)
        return f"```hex {name}\n" + "\n".join(textwrap.wrap(made[name].hex(), 112)) + "\n```\n"

    path.write_text(re.sub(r"```hex ([a-z-]+)\n[0-9a-f\n]*```\n", block, path.read_text()))


if __name__ == "__main__":
    main()
