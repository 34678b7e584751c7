"""The C decoders against objects made by tests/tools/otaproto.py: the same bytes where both encode, and the right
refusal for each way to make an object wrong."""
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/tools"))
import otaproto as op  # noqa: E402

TOOL = pathlib.Path(os.environ.get("OTAD_BIN") or ROOT / "build/dev/bin").parent / "tests/proto_tool"
if not TOOL.exists():
    TOOL = ROOT / "build/dev/tests/proto_tool"


def span(start, length):
    return bytes((start + i) & 0xFF for i in range(length))


VENDOR, CLASS, DEVICE, NONCE = span(0x10, 16), span(0x30, 16), span(0x20, 16), span(0x40, 16)
NONCE_S, K_DEV, SECRET_ID = span(0x60, 16), span(0, 32), span(0x80, 8)
RELEASE = [op.Signer(i) for i in range(4)]
ED = op.Signer(0, op.ED25519)
SERVER, STRANGER, ROOT_KEYS = op.Signer(10), op.Signer(11), [op.Signer(20 + i) for i in range(4)]
IMAGE, OTHER = op.Image(b"first image"), op.Image(b"second image", 70000)
APP = [("app", IMAGE)]
TWO = [("app", IMAGE), ("net", OTHER)]
FIXED = [("app", (IMAGE, OTHER))]


def ask(*lines):
    """Names of the answers, and the bytes encoded again (None after a refusal)."""
    done = subprocess.run([str(TOOL)], input="".join(line + "\n" for line in lines), stdout=subprocess.PIPE, check=True,
                          universal_newlines=True, timeout=120)
    answers = [line.split() for line in done.stdout.splitlines()]
    assert len(answers) == len(lines)
    return [(words[0], bytes.fromhex(words[1]) if len(words) > 1 else None) for words in answers]


def keys(*signers):
    return ",".join(signer.text() for signer in signers)


def release(members=None, signers=None, **change):
    manifest = op.enc(op.manifest(100, VENDOR, CLASS, APP) if members is None else members)
    return op.envelope(manifest, RELEASE[:1] if signers is None else signers, **change)


def ask_release(envelope, ring=None, threshold=1):
    return ask(f"envelope {keys(*(ring or RELEASE[:1]))} {threshold} {envelope.hex()}")[0]


# Both encoders


@pytest.mark.parametrize("how", [
    {},
    {"invoke": True},
    {"text": span(9, 32)},
    {"device": DEVICE},
    {"components": TWO},
    {"components": FIXED, "invoke": True},
    {"components": [("app", IMAGE), ("net", (OTHER, IMAGE))], "device": DEVICE, "text": span(1, 32)},
    {"components": [("a", IMAGE), ("b", OTHER), ("c", IMAGE), ("d", OTHER)], "invoke": True},
], ids=lambda how: " ".join(how) or "plain")
def test_release_same_bytes(how):
    how = dict(how)
    members = op.manifest(1767225600, VENDOR, CLASS, how.pop("components", APP), **how)
    assert ask_release(release(members)) == ("OK", op.enc(members))


def test_other_objects_same_bytes():
    plain = op.ticket_payload(DEVICE, NONCE)
    full = op.ticket_payload(DEVICE, NONCE, 7, [span(0x80, 32), 366, 3], 86400, 1, None, ["https://updates.example/"])
    ticket = f"ticket {keys(SERVER)} {K_DEV.hex()} {DEVICE.hex()} {NONCE.hex()} "
    mac = op.ticket_mac(K_DEV, {**plain, 8: 2 ** 64 - 1})
    checkin = op.checkin(K_DEV, op.checkin_fields(DEVICE, NONCE, 5, 1, [100, span(1, 32)], 2, [span(2, 32), 1, 4096],
                                                  [span(3, 32), 1, 11, 121, 70000], 60, 3, span(4, 128)))
    small = op.checkin(K_DEV, op.checkin_fields(DEVICE, NONCE))
    request = op.enroll_request(K_DEV, SECRET_ID, VENDOR, CLASS, b"SN-1", NONCE)
    receipt = op.receipt(K_DEV, SECRET_ID, DEVICE, CLASS, NONCE, NONCE_S)
    answer = op.enroll_answer(K_DEV, NONCE, NONCE_S, DEVICE, receipt)
    body = {1: 1, 2: VENDOR, 3: CLASS, 4: b"SN-1", 5: ["http://otad.local/"], 8: root(1)}
    fresh = op.provision({**body, 6: SECRET_ID, 7: K_DEV, 9: ["mqtt://otad.local", "device", "pw", "otad/1"]})
    enrolled = op.provision({**body, 10: DEVICE, 11: K_DEV, 12: receipt})
    floors = {b"": 5, CLASS: 9}
    document = op.root_document(root_fields(1, epoch=2, floors=floors), ROOT_KEYS[:1])
    answers = ask(
        ticket + op.ticket_signed(SERVER, full).hex(), ticket + mac.hex(), f"checkin {K_DEV.hex()} {checkin.hex()}",
        f"checkin {K_DEV.hex()} {small.hex()}", f"request {K_DEV.hex()} {request.hex()}",
        f"receipt {K_DEV.hex()} {receipt.hex()}", f"answer {K_DEV.hex()} {NONCE.hex()} {answer.hex()}",
        f"provision {fresh.hex()}", f"provision {enrolled.hex()}", f"root {document.hex()}",
        f"notice {op.notice(77, 60).hex()}")
    assert answers == [("OK", made) for made in (
        op.enc(full), mac, checkin, small, request, receipt, answer, fresh, enrolled,
        op.enc(root_fields(1, epoch=2, floors=floors)), op.notice(77, 60))]


@pytest.mark.parametrize("alg", [op.ESP256, op.ED25519])
def test_signed_by_c(alg):
    (_, release_made), (_, root_made), (_, ticket_made) = ask(*(f"sign {alg} {what}" for what in ("release", "root", "ticket")))
    pub, made = op.decode(release_made)
    envelope = op.decode(made)
    digest, block_made = op.decode(envelope.value[2])
    assert envelope.tag == 107 and digest == op.container(envelope.value[3])
    assert op.verify_sign1(alg, pub, "", op.decode(block_made), digest)
    assert not op.verify_sign1(alg, pub, "", op.decode(block_made), digest + b"x")
    pub, made = op.decode(root_made)
    authentication, payload = op.decode(made)
    assert op.verify_sign1(alg, pub, "otad/root/1", op.decode(authentication)[0], payload)
    pub, made = op.decode(ticket_made)
    assert op.verify_sign1(alg, pub, "otad/ticket/1", op.decode(made))
    assert op.decode(op.decode(made).value[2]) == op.ticket_payload(bytes(16), bytes(16), assignment=[bytes(32), 9, 1])


# Releases made wrong


def members(**change):
    return op.manifest(100, VENDOR, CLASS, change.pop("components", APP), **change)


def without(fields, *gone):
    return {key: value for key, value in fields.items() if key not in gone}


def raw_manifest(data):
    """An envelope around bytes that need not be a manifest."""
    return op.envelope(data, RELEASE[:1])


def params(change, gone=(), components=APP):
    """The shared sequence with its first override changed."""
    seq = op.shared_sequence(VENDOR, CLASS, components)
    at = seq.index(20)
    seq[at + 1] = {**without(seq[at + 1], *gone), **change}
    return seq


GOOD = op.enc(members())
SHARED = op.shared_sequence(VENDOR, CLASS, APP)
SHARED2 = op.shared_sequence(VENDOR, CLASS, TWO)
HTTP = "http://example.com/" + IMAGE.sha256.hex()

FRAMING = {
    "F2 nothing": (b"", {"CBOR"}),
    "F3 int too long": (raw_manifest(GOOD.replace(b"\x01\x01\x02", b"\x01\x18\x01\x02", 1)), {"CBOR"}),
    "F3 length too long": (op.enc(op.Tag(107, op.Raw(release()[2:].replace(b"\xa2\x02\x58", b"\xa2\x02\x59\x00", 1)))), {"CBOR"}),
    "F4 indefinite map": (b"\xd8\x6b\xbf" + release()[3:] + b"\xff", {"CBOR"}),
    "F4 indefinite in the manifest": (raw_manifest(b"\xbf" + GOOD[1:] + b"\xff"), {"CBOR"}),
    "F5 key 3 twice": (release(extra=[(3, GOOD)]), {"CBOR"}),
    "F5 key 2 twice": (release(before=[(2, b"")]), {"CBOR"}),
    "F5 in the manifest": (raw_manifest(op.enc(op.Pairs([*members().items(), (20, members()[20])]))), {"CBOR"}),
    "F5 in parameters": (release(members(shared=[20, op.Pairs([(1, VENDOR), *SHARED[1].items()]), *SHARED[2:]])),
                         {"CBOR"}),
    "F6 unsorted envelope": (release(swap=True), {"CBOR"}),
    "F6 unsorted manifest": (raw_manifest(op.enc(op.Pairs(reversed(members().items())))), {"CBOR"}),
    "F7 deep": (b"\xd8\x6b" + b"\x81" * 900, {"CBOR"}),
    "F7 deep manifest": (raw_manifest(b"\x81" * 500 + b"\x00"), {"CBOR"}),
    "F7 huge map": (b"\xd8\x6b\xba\xff\xff\xff\xff", {"CBOR"}),
    "F7 huge bstr": (b"\xd8\x6b\xa2\x02\x5b" + b"\xff" * 8, {"CBOR"}),
    "F7 long bstr": (b"\xd8\x6b\xa2\x02\x59\x03\xff\x00", {"CBOR"}),
    "F8 above the cap": (release().ljust(1025, b"\0"), {"TOO_LARGE"}),
    "F8 tag 1070": (release(tag=1070), {"CBOR"}),
    "F8 tag 108": (release(tag=108), {"CBOR"}),
    "F8 untagged": (release()[2:], {"CBOR"}),
    "F9 delegation": (release(before=[(1, b"")]), {"CBOR", "SEVER"}),
    "F9 key 99": (release(extra=[(99, b"")]), {"SEVER"}),
    "F9 integrated payload": (release(extra=[("#fw", b"payload")]), {"SEVER"}),
    "M14 install severed": (release(extra=[(20, members()[20])]), {"SEVER"}),
    "M14 text": (release(extra=[(23, op.enc({}))]), {"SEVER"}),
    "M14 candidate verification": (release(extra=[(18, b"\x80")]), {"SEVER"}),
    "only authentication": (op.enc(op.Tag(107, {2: op.enc([op.container(GOOD)])})), {"CBOR", "SEVER"}),
}

C = op.container(GOOD)


def block(signer=RELEASE[0], payload=C, aad="", **change):
    attach = change.pop("attach", False)
    return op.sign1(signer, aad, payload, attach=attach, **change)


SIGNATURES = {
    "S1 no block": (release(signers=[]), {"SIG"}),
    "S2 zeros": (release(blocks=[block(sig=bytes(64))]), {"SIG"}),
    "S2 63": (release(blocks=[block(sig=bytes(63))]), {"SIG"}),
    "S2 65": (release(blocks=[block(sig=bytes(65))]), {"SIG"}),
    "S2 0": (release(blocks=[block(sig=b"")]), {"SIG"}),
    "S3 server key": (release(signers=[SERVER]), {"SIG"}),
    "S3 no role": (release(signers=[STRANGER]), {"SIG"}),
    **{f"S4 alg {alg}": (release(blocks=[block(alg=alg)]), {"ALG"}) for alg in (-19, -7, 5, 0, -46)},
    "S4 no alg": (release(blocks=[block(protected=op.enc({4: RELEASE[0].kid}))]), {"ALG", "COSE"}),
    "S4 alg unprotected": (release(blocks=[block(protected=op.enc({4: RELEASE[0].kid}), unprotected={1: -9})]),
                           {"ALG", "COSE"}),
    "S5 a further label": (release(blocks=[block(protected=op.enc({1: -9, 4: RELEASE[0].kid, 33: b""}))]), {"COSE"}),
    "S5 crit": (release(blocks=[block(protected=op.enc({1: -9, 2: [4], 4: RELEASE[0].kid}))]), {"COSE"}),
    "S5 unprotected": (release(blocks=[block(unprotected={4: RELEASE[0].kid})]), {"COSE"}),
    "S5 attached": (release(blocks=[block(attach=True)]), {"COSE"}),
    "S6 Sign": (release(blocks=[block(tag=98)]), {"COSE"}),
    "S6 Mac": (release(blocks=[block(tag=97)]), {"COSE"}),
    "S6 untagged": (release(blocks=[block()[1:]]), {"COSE"}),
    "S6 Mac0 with the public key": (release(blocks=[op.mac0(RELEASE[0].pub[:32], "", C, payload_slot=None)]), {"COSE"}),
    "S7 over the digest bytes": (release(blocks=[block(payload=op.sha256(op.enc(GOOD)))]), {"SIG"}),
    "S7 over the manifest": (release(blocks=[block(payload=GOOD)]), {"SIG"}),
    "S7 over the unwrapped digest": (release(container=op.enc([-16, op.sha256(GOOD)])), {"SIG"}),
    "S7 as a ticket": (release(blocks=[block(aad="otad/ticket/1")]), {"SIG"}),
    "S8 another manifest": (release(container=op.container(b"\xa0")), {"SIG"}),
    "S8 digest -44": (release(container=op.enc([-44, bytes(64)])), {"ALG"}),
    "S8 31 bytes": (release(container=op.enc([-16, op.sha256(op.enc(GOOD))[:31]])), {"SIG", "ALG"}),
    "S10 kid of A, signature of B": (release(blocks=[block(RELEASE[1], kid=RELEASE[0].kid)]), {"SIG"}),
    "S12 five blocks": (release(blocks=[block()] * 5), {"COSE"}),
    "S12 eight blocks": (release(blocks=[block(STRANGER)[:-66] + op.enc(b"")] * 8), {"COSE"}),
    "S12 255 blocks": (release(blocks=[b""] * 255), {"COSE", "CBOR"}),
}

MANIFESTS = {
    "M1 version 0": (release({**members(), 1: 0}), {"MANIFEST_VERSION"}),
    "M1 version 2": (release({**members(), 1: 2}), {"MANIFEST_VERSION"}),
    "M1 no version": (release(without(members(), 1)), {"MANIFEST_VERSION"}),
    "M2 sequence 0": (release({**members(), 2: 0}), {"ROLLBACK"}),
    "M5 2^32": (release({**members(), 2: 1 << 32}), {"CBOR", "PARAM"}),
    "M5 2^63": (release({**members(), 2: 1 << 63}), {"CBOR", "PARAM"}),
    "no sequence": (release(without(members(), 2)), {"CBOR"}),
    "no common": (release(without(members(), 3)), {"COMPONENT"}),
    "no validate": (release(without(members(), 7)), {"COMMAND"}),
    "no install": (release(without(members(), 20)), {"COMMAND"}),
    "M6 short vendor": (release(members(shared=params({1: VENDOR[:15]}))), {"VENDOR"}),
    "M6 long class": (release(members(shared=params({2: CLASS + b"x"}))), {"CLASS"}),
    "M6 short device": (release(members(shared=params({24: DEVICE[:15]}) + [24, 15])), {"DEVICE"}),
    "M7 no vendor condition": (release(members(shared=SHARED[:2] + SHARED[4:])), {"COMMAND", "CONDITION"}),
    "M7 no class condition": (release(members(shared=SHARED[:4])), {"COMMAND", "CONDITION"}),
    "M7 no vendor": (release(members(shared=params({}, [1]))), {"VENDOR"}),
    "M7 no class": (release(members(shared=params({}, [2]))), {"CLASS"}),
    "M7 only for one of two": (release(members(components=TWO, shared=SHARED2[:8] + [12, 1, 20, SHARED2[11]])),
                               {"COMMAND", "CONDITION"}),
    "M7 another vendor for the second": (release(members(
        components=TWO, shared=SHARED2[:11] + [{**SHARED2[11], 1: CLASS}] + SHARED2[12:])), {"VENDOR"}),
    "M7 another class for the second": (release(members(
        components=TWO, shared=SHARED2[:11] + [{**SHARED2[11], 2: VENDOR}] + SHARED2[12:])), {"CLASS"}),
    "device condition without its parameter": (release(members(shared=SHARED + [24, 15])), {"COMMAND"}),
    "device parameter without its condition": (release(members(shared=params({24: DEVICE}))), {"COMMAND"}),
    **{f"M8 command {code}": (release(members(shared=SHARED + [code, 15])), {"COMMAND"})
       for code in (99, -1, 31, 18, 22, 32, 6, 14, 3, 1)},
    "M8 text as a command": (release(members(shared=SHARED + ["run", 15])), {"COMMAND"}),
    "M8 odd": (release(members(shared=SHARED + [1])), {"COMMAND"}),
    "M8 no array": (release({**members(), 7: op.enc({})}), {"COMMAND"}),
    "M8 policy 16": (release(members(validate=[3, 16])), {"COMMAND"}),
    "M8 policy null": (release(members(validate=[3, None])), {"COMMAND"}),
    "M8 try-each inside try-each": (release(members(components=FIXED, shared=op.shared_sequence(VENDOR, CLASS, FIXED)[:-1]
                                                    + [[op.enc([15, [op.variant(IMAGE, 0)] * 2])] * 2])), {"COMMAND"}),
    "try-each of three": (release(members(components=FIXED, shared=op.shared_sequence(VENDOR, CLASS, FIXED)[:-1]
                                          + [[op.variant(IMAGE, 0), op.variant(OTHER, 1), op.variant(OTHER, 2)]])), {"COMMAND"}),
    "try-each of one": (release(members(components=FIXED, shared=op.shared_sequence(VENDOR, CLASS, FIXED)[:-1]
                                        + [[op.variant(IMAGE, 0)]])), {"COMMAND"}),
    "try-each, slots swapped": (release(members(components=FIXED, shared=op.shared_sequence(VENDOR, CLASS, FIXED)[:-1]
                                                + [[op.variant(IMAGE, 1), op.variant(OTHER, 0)]])), {"PARAM"}),
    "try-each with nil": (release(members(components=FIXED, shared=op.shared_sequence(VENDOR, CLASS, FIXED)[:-1]
                                          + [[op.variant(IMAGE, 0), None]])), {"COMMAND"}),
    "M9 parameter 19": (release(members(shared=params({19: b""}))), {"PARAM"}),
    "M9 parameter 99": (release(members(shared=params({99: 0}))), {"PARAM"}),
    "M9 negative parameter": (release(members(shared=params({-1: 0}))), {"PARAM"}),
    "M9 strict order": (release(members(shared=params({12: True}))), {"PARAM"}),
    "M9 set-parameters": (release(members(shared=[19] + SHARED[1:])), {"COMMAND"}),
    "M10 index out of range": (release(members(components=TWO, validate=[12, 0, 3, 15, 12, 2, 3, 15])), {"COMPONENT"}),
    "M10 index true": (release(members(components=TWO, validate=[12, True, 3, 15])), {"COMPONENT"}),
    "M10 index array": (release(members(components=TWO, validate=[12, [0, 1], 3, 15])), {"COMPONENT"}),
    "M10 index of the only one": (release(members(validate=[12, 0, 3, 15])), {"COMPONENT"}),
    "M10 five": (release(members(ids=[[b"%d" % i] for i in range(5)])), {"COMPONENT"}),
    "M10 none": (release(members(ids=[])), {"COMPONENT"}),
    "M10 twice": (release(members(components=TWO, ids=[[b"app"], [b"app"]])), {"COMPONENT"}),
    "M10 nine bytes": (release(members(ids=[[b"123456789"]])), {"COMPONENT"}),
    "M10 empty id": (release(members(ids=[[b""]])), {"COMPONENT"}),
    "M10 two segments": (release(members(ids=[[b"a", b"b"]])), {"COMPONENT"}),
    "dependencies": (release({**members(), 3: op.enc({1: {}, 2: [[b"app"]], 4: op.enc(SHARED)})}), {"COMPONENT"}),
    "no shared sequence": (release({**members(), 3: op.enc({2: [[b"app"]]})}), {"COMMAND", "COMPONENT"}),
    "M11 fetch in shared": (release(members(shared=SHARED + [21, 15])), {"COMMAND"}),
    "M11 invoke in shared": (release(members(shared=SHARED + [23, 15])), {"COMMAND"}),
    "M11 invoke in install": (release(members(install=op.install_sequence(APP) + [23, 15])), {"COMMAND"}),
    "invoke of the second": (release({**members(components=TWO), 9: op.enc([12, 1, 23, 15])}), {"COMPONENT"}),
    "M12 no digest": (release(members(shared=params({}, [3]))), {"PARAM"}),
    "M12 no size": (release(members(shared=params({}, [14]))), {"PARAM"}),
    "M13 digest in install": (release(members(install=[20, {3: OTHER.digest(), 21: IMAGE.uri()}, 21, 15, 3, 15])), {"PARAM"}),
    "M13 override after fetch": (release(members(install=op.install_sequence(APP) + [20, {3: OTHER.digest()}])), {"COMMAND"}),
    "M13 digest in validate": (release(members(validate=[20, {3: OTHER.digest()}, 3, 15])), {"COMMAND"}),
    "digest -44": (release(members(shared=params({3: op.enc([-44, bytes(64)])}))), {"ALG"}),
    "digest of 31 bytes": (release(members(shared=params({3: op.enc([-16, bytes(31)])}))), {"PARAM"}),
    "digest not wrapped": (release(members(shared=params({3: [-16, bytes(32)]}))), {"PARAM"}),
    "M14 install as a digest": (release({**members(), 20: [-16, bytes(32)]}), {"SEVER"}),
    "M14 text in the manifest": (release({**members(), 23: op.enc({})}), {"SEVER"}),
    "M14 payload fetch": (release({**members(), 16: b"\x80"}), {"SEVER"}),
    "load": (release({**members(), 8: b"\x80"}), {"COMMAND"}),
    "uninstall": (release({**members(), 24: b"\x80"}), {"COMMAND"}),
    "reference URI": (release({**members(), 4: "https://example.com/"}), {"CBOR"}),
    "key 99": (release({**members(), 99: 0}), {"CBOR"}),
    **{f"M15 uri {i}": (release(members(install=[20, {21: uri}, 21, 15, 3, 15])), {"PARAM", "TOO_LARGE"})
       for i, uri in enumerate([HTTP, "//host/" + IMAGE.uri(), "../" + IMAGE.uri(), IMAGE.uri() + "\0", IMAGE.uri() + "?",
                                "i/%" + IMAGE.sha256.hex()[1:], IMAGE.uri().upper(), OTHER.uri(), "", "a" * 4096])},
    "M15 uri of bytes": (release(members(install=[20, {21: IMAGE.uri().encode()}, 21, 15, 3, 15])), {"PARAM"}),
    "P4 size 0": (release(members(shared=params({14: 0}))), {"PARAM"}),
    "P4 size 2^32": (release(members(shared=params({14: 1 << 32}))), {"PARAM"}),
    "no fetch": (release(members(install=[20, {21: IMAGE.uri()}, 3, 15])), {"COMMAND"}),
    "no check after the fetch": (release(members(install=[20, {21: IMAGE.uri()}, 21, 15])), {"COMMAND"}),
    "empty validate": (release(members(validate=[])), {"COMMAND"}),
    "manifest is no map": (raw_manifest(b"\x80"), {"CBOR"}),
    "manifest is nothing": (raw_manifest(b""), {"CBOR"}),
}


@pytest.mark.parametrize("table", [FRAMING, SIGNATURES, MANIFESTS], ids=["framing", "signatures", "manifests"])
def test_release_made_wrong(table):
    ring = keys(RELEASE[0])
    answers = ask(f"envelope {ring} 1 {release().hex()}",
                  *(f"envelope {ring} 1 {made.hex()}" for made, _ in table.values()))
    assert answers[0] == ("OK", GOOD)
    wrong = {name: answer for (name, (_, want)), (answer, _) in zip(table.items(), answers[1:]) if answer not in want}
    assert not wrong


def test_release_thresholds():
    twice = release(blocks=[block(), block()])
    two_kids = release(blocks=[block(), block(kid=RELEASE[1].kid)])
    good_and_bad = release(blocks=[block(), block(RELEASE[1], sig=bytes(64))])
    both, ring = release(signers=RELEASE[:2]), RELEASE[:3]
    mixed = release(signers=[ED, RELEASE[0]])
    assert ask_release(both, ring, 2)[0] == "OK"
    assert ask_release(both, ring, 3)[0] == "THRESHOLD"
    assert ask_release(mixed, [ED, RELEASE[0]], 2)[0] == "OK"
    assert ask_release(release(signers=RELEASE), RELEASE, 4)[0] == "OK"
    assert {ask_release(made, ring, 2)[0] for made in (twice, two_kids, good_and_bad)} == {"THRESHOLD"}
    # S12: a block of a known kid behind four others is never reached
    assert ask_release(release(blocks=[block(STRANGER)] * 4 + [block()]), ring, 1)[0] == "COSE"


def test_release_on_a_device():
    digest = op.sha256(op.enc(GOOD))

    def target(vendor=VENDOR, cls=CLASS, floor=50, running=0, running_digest=b"", ids="app=4096"):
        return f"{vendor.hex()}:{cls.hex()}:{DEVICE.hex()}:{floor}:{running}:{running_digest.hex()}:0:{ids}"

    for_device = op.manifest(100, VENDOR, CLASS, APP, device=NONCE)
    two = op.manifest(100, VENDOR, CLASS, TWO)
    rows = [
        (release(), target(), "OK"),
        (release(), target(floor=101), "ROLLBACK"),                                         # M2
        (release(), target(floor=100, running=100, running_digest=digest), "ALREADY"),      # M3
        (release(), target(floor=100, running=100, running_digest=bytes(32)), "SEQ_REUSE"),  # M4
        (release(), target(vendor=CLASS), "VENDOR"),                                        # M6
        (release(), target(cls=VENDOR), "CLASS"),
        (release(for_device), target(), "DEVICE"),
        (release(), target(ids="boot=4096"), "COMPONENT"),                                  # M10
        (release(), target(ids="app=4096,net=4096"), "COMPONENT"),                          # M17
        (release(two), target(ids="app=4096"), "COMPONENT"),
        (release(two), target(ids="net=70000,app=4096"), "COMPONENT"),
        (release(two), target(ids="app=4096,net=69999"), "SLOT_SIZE"),                      # P4
        (release(two), target(ids="app=4096,net=70000"), "OK"),
        (release(), target(ids="app=11"), "OK"),
        (release(), target(ids="app=10"), "SLOT_SIZE"),
    ]
    answers = ask(*(f"run {keys(RELEASE[0])} 1 {where} {made.hex()}" for made, where, _ in rows))
    assert [answer for answer, _ in answers] == [want for _, _, want in rows]
    assert answers[0][1] == IMAGE.sha256


# Tickets, check-ins, enrollment


def test_tickets_made_wrong():
    fields = op.ticket_payload(DEVICE, NONCE)
    work = op.ticket_payload(DEVICE, NONCE, assignment=[span(1, 32), 400, 1])
    rows = {
        "T1 old nonce": (op.ticket_signed(SERVER, {**work, 3: NONCE_S}), {"NONCE"}),
        "T1 no nonce": (op.ticket_signed(SERVER, without(work, 3)), {"CBOR"}),
        "T1 nonce, MAC": (op.ticket_mac(K_DEV, {**fields, 3: NONCE_S}), {"NONCE"}),
        "T2 another device": (op.ticket_signed(SERVER, {**work, 2: CLASS}), {"DEVICE"}),
        "T6 release key": (op.ticket_signed(RELEASE[0], work), {"SIG"}),
        "T6 MAC with an assignment": (op.ticket_mac(K_DEV, work), {"COSE"}),
        "MAC with URLs": (op.ticket_mac(K_DEV, {**fields, 9: ["http://evil.example/"]}), {"COSE"}),
        "T7 poll 2^32": (op.ticket_mac(K_DEV, {**fields, 6: 1 << 32}), {"OK"}),
        "T7 poll 0": (op.ticket_mac(K_DEV, {**fields, 6: 0}), {"OK"}),
        "T8 forged": (op.ticket_mac(bytes(32), fields), {"SIG"}),
        "the device's own key": (op.mac0(op.d2s(K_DEV), "otad/ticket/1", op.enc(fields)), {"SIG"}),
        "as a root": (op.sign1(SERVER, "otad/root/1", op.enc(work)), {"SIG"}),
        "detached": (op.sign1(SERVER, "otad/ticket/1", op.enc(work), attach=False), {"COSE"}),
        "release of a role": (release(), {"COSE"}),
        "format 2": (op.ticket_mac(K_DEV, {**fields, 1: 2}), {"FORMAT"}),
        "reserved key": (op.ticket_mac(K_DEV, {**fields, 10: 0}), {"CBOR"}),
        "flags above 32 bits": (op.ticket_mac(K_DEV, {**fields, 7: 1 << 32}), {"CBOR"}),
        "all flags": (op.ticket_mac(K_DEV, {**fields, 7: (1 << 32) - 1}), {"OK"}),
        "four URLs": (op.ticket_signed(SERVER, {**fields, 9: ["http://a/"] * 4}), {"CBOR"}),
        "URL without its slash": (op.ticket_signed(SERVER, {**fields, 9: ["http://a"]}), {"CBOR"}),
        "URL of another scheme": (op.ticket_signed(SERVER, {**fields, 9: ["file:///etc/"]}), {"CBOR"}),
        "too large": (op.ticket_signed(SERVER, {**fields, 9: ["http://" + "a" * 1000 + "/"]}), {"TOO_LARGE"}),
    }
    start = f"ticket {keys(SERVER)} {K_DEV.hex()} {DEVICE.hex()} {NONCE.hex()} "
    answers = ask(*(start + made.hex() for made, _ in rows.values()))
    again = dict(zip(rows, answers))
    assert not {name: again[name][0] for name, (_, want) in rows.items() if again[name][0] not in want}
    clamped = op.ticket_mac(K_DEV, {**fields, 6: 7 * 86400}), op.ticket_mac(K_DEV, {**fields, 6: 10})
    assert (again["T7 poll 2^32"][1], again["T7 poll 0"][1]) == clamped


def test_checkins_and_enrollment_made_wrong():
    fields = op.checkin_fields(DEVICE, NONCE)
    receipt = op.receipt(K_DEV, SECRET_ID, DEVICE, CLASS, NONCE, NONCE_S)
    request = op.enroll_request(K_DEV, SECRET_ID, VENDOR, CLASS, b"SN-1", NONCE)
    answer = op.enroll_answer(K_DEV, NONCE, NONCE_S, DEVICE, receipt)
    k = K_DEV.hex()
    rows = [
        (f"checkin {k} {op.checkin(bytes(32), fields).hex()}", "SIG"),                       # C1
        (f"checkin {k} {op.ticket_mac(K_DEV, fields).hex()}", "SIG"),
        (f"checkin {k} {op.checkin(K_DEV, fields, tag=18).hex()}", "ALG"),
        (f"checkin {k} {op.checkin(K_DEV, {**fields, 1: 2}).hex()}", "FORMAT"),
        (f"checkin {k} {op.checkin(K_DEV, {**fields, 7: 5}).hex()}", "CBOR"),
        (f"checkin {k} {op.checkin(K_DEV, {**fields, 13: 0}).hex()}", "CBOR"),
        (f"checkin {k} {op.checkin(K_DEV, {**fields, 4: -1}).hex()}", "CBOR"),
        (f"checkin {k} {op.checkin(K_DEV, fields, mac=bytes(31)).hex()}", "SIG"),
        (f"checkin {k} {op.mac0(op.d2s(K_DEV), 'otad/checkin/1', op.enc(fields), kid=SECRET_ID).hex()}", "COSE"),
        (f"checkin {k} {b'{}'.hex()}", "CBOR"),                                              # J1
        (f"request {bytes(32).hex()} {request.hex()}", "SIG"),                               # E1
        (f"request {k} {op.mac0(op.hmac(K_DEV, b'otad/enroll/1'), 'otad/enroll/1', op.enc({1: 1})).hex()}", "COSE"),
        (f"request {k} {op.enroll_request(K_DEV, SECRET_ID, VENDOR, CLASS, b'', NONCE).hex()}", "CBOR"),
        (f"request {k} {op.enroll_request(K_DEV, SECRET_ID, VENDOR, CLASS, b'x' * 33, NONCE).hex()}", "CBOR"),
        (f"request {k} {op.enroll_request(K_DEV, SECRET_ID, VENDOR, CLASS[:15], b'x', NONCE).hex()}", "CBOR"),
        (f"answer {k} {NONCE_S.hex()} {answer.hex()}", "NONCE"),
        (f"answer {bytes(32).hex()} {NONCE.hex()} {answer.hex()}", "SIG"),                   # E5
        (f"answer {k} {NONCE.hex()} {op.enroll_answer(K_DEV, NONCE, NONCE_S, DEVICE, b'').hex()}", "CBOR"),
        (f"receipt {bytes(32).hex()} {receipt.hex()}", "SIG"),
        (f"receipt {k} {answer.hex()}", "TOO_LARGE"),
        (f"receipt {k} {request.hex()}", "COSE"),
    ]
    assert [name for name, _ in ask(*(line for line, _ in rows))] == [want for _, want in rows]


# Root documents


def root_fields(version, root_keys=ROOT_KEYS[:1], threshold=1, release_key=ED, **more):
    pubs = [(signer.alg, signer.pub) for signer in (*root_keys, release_key, SERVER)]
    n = len(root_keys)
    return op.root_payload(version, pubs, {0: [threshold, *range(n)], 1: [1, n], 2: [1, n + 1]}, **more)


def root(version, **more):
    return op.root_document(root_fields(version, **more), ROOT_KEYS[:1])


def test_roots_made_wrong():
    good = root_fields(1)

    def make(change=None, roles=None, signers=ROOT_KEYS[:1]):
        return op.root_document({**good, **(change or {}), **({4: {**good[4], **roles}} if roles else {})}, signers)

    strange = [*good[3], [-46, bytes(56)], [-99, b"x"]]
    rows = {
        "good": (make(), "OK"),
        "RT3 threshold 0": (make(roles={1: [0, 1]}), "CBOR"),
        "RT3 threshold 5": (make(roles={1: [5, 1]}), "CBOR"),
        "RT3 threshold out of reach": (make(roles={1: [2, 1]}), "CBOR"),
        "RT3 index out of range": (make(roles={1: [1, 3]}), "CBOR"),
        "RT3 role missing": (make({4: without(good[4], 2)}), "CBOR"),
        "RT3 no release key": (make(roles={1: [1]}), "CBOR"),
        "RT3 nine keys": (make({3: good[3] + [[-99, b"%d" % i] for i in range(6)]}), "CBOR"),
        "RT3 one key in two roles": (make(roles={2: [1, 1]}), "CBOR"),
        "RT3 two keys with one kid": (make({3: good[3] + [good[3][1]]}), "CBOR"),
        "RT7 further keys": (make({3: strange}), "OK"),
        "RT7 a further role": (make({3: strange}, roles={3: [1, 3], 9: "any form"}), "OK"),
        "RT7 a role only through them": (make({3: strange}, roles={1: [1, 3]}), "ALG"),
        "Ed25519 server key": (make(roles={1: [1, 2], 2: [1, 1]}), "ALG"),
        "compressed point": (make({3: [good[3][0], [-9, good[3][2][1][:33]], good[3][2]]}), "CBOR"),
        "format 2": (make({1: 2}), "FORMAT"),
        "version 0": (make({2: 0}), "CBOR"),
        "epoch 2^32": (make({5: 1 << 32}), "CBOR"),
        "nine floors": (make({6: {span(i, 16): 1 for i in range(9)}}), "CBOR"),
        "floor of 15 bytes": (make({6: {CLASS[:15]: 1}}), "CBOR"),
        "floors unsorted": (make({6: op.Pairs([(CLASS, 1), (b"", 1)])}), "CBOR"),
        "floor twice": (make({6: op.Pairs([(CLASS, 1), (CLASS, 1)])}), "CBOR"),
        "no floors": (op.root_document(without(good, 6), ROOT_KEYS[:1]), "CBOR"),
        "no blocks": (op.root_document(good, []), "SIG"),
        "nine blocks": (op.root_document(good, [], blocks=[op.sign1(ROOT_KEYS[0], "otad/root/1", b"", attach=False,
                                                                    sig=bytes(64))] * 9), "COSE"),
        "attached": (op.root_document(good, [], blocks=[op.sign1(ROOT_KEYS[0], "otad/root/1", op.enc(good))]), "COSE"),
        "a MAC": (op.root_document(good, [], blocks=[op.mac0(K_DEV, "otad/root/1", b"", payload_slot=None)]), "COSE"),
        "by the release key": (make(signers=[ED]), "SIG"),
        "as a ticket": (op.root_document(good, [], blocks=[op.sign1(ROOT_KEYS[0], "otad/ticket/1", op.enc(good),
                                                                    attach=False)]), "SIG"),
        "cut": (make()[:-1], "CBOR"),
        "three members": (op.enc([b"", op.enc(good), b""]), "CBOR"),
    }
    # nine blocks of 84 bytes fit; the eighth block is the last that is looked at
    answers = ask(*(f"root {made.hex()}" for made, _ in rows.values()))
    assert not {name: got for (name, (_, want)), (got, _) in zip(rows.items(), answers) if got != want}


def test_root_walk():
    cur = op.root_document(root_fields(5, ROOT_KEYS[:2], 2, epoch=3), ROOT_KEYS[:2])
    both, other = ROOT_KEYS[:2], op.Signer(30)
    rows = [
        (root_fields(6, both, 2, epoch=3), both, "OK"),
        (root_fields(7, both, 2, epoch=3), both, "ROOT_GAP"),               # RT1
        (root_fields(5, both, 2, epoch=3), both, "ROOT_GAP"),
        (root_fields(4, both, 2, epoch=3), both, "ROOT_GAP"),
        (root_fields(6, ROOT_KEYS[2:], 2, epoch=3), both, "SIG"),           # RT2, by the old keys alone
        (root_fields(6, ROOT_KEYS[2:], 2, epoch=3), ROOT_KEYS[2:], "SIG"),  # by the new keys alone
        (root_fields(6, ROOT_KEYS[2:], 2, epoch=3), ROOT_KEYS, "OK"),
        (root_fields(6, both, 2, epoch=3), both[:1], "THRESHOLD"),
        (root_fields(6, both, 2, epoch=3), both[:1] * 2, "THRESHOLD"),
        (root_fields(6, both, 2, epoch=4), both, "SIG"),                    # RT8
        (root_fields(6, both, 2, release_key=other, epoch=4), both, "OK"),
        (root_fields(6, both, 2, release_key=other, epoch=5), both, "EPOCH"),
        (root_fields(6, both, 2, release_key=other, epoch=2), both, "EPOCH"),
    ]
    answers = ask(*(f"next {cur.hex()} {op.root_document(fields, signers).hex()}" for fields, signers, _ in rows))
    assert [name for name, _ in answers] == [want for _, _, want in rows]


# Provisioning and notices


def test_provisioning_and_notices_made_wrong():
    good = {1: 1, 2: VENDOR, 3: CLASS, 4: b"SN-1", 5: ["http://otad.local/"], 6: SECRET_ID, 7: K_DEV, 8: b"root"}
    rows = [
        (f"provision {op.provision(good).hex()}", "OK"),
        (f"provision {(op.provision(good) + bytes([255]) * 100).hex()}", "OK"),
        (f"provision {(op.enc(good) + bytes(32)).hex()}", "DIGEST"),
        (f"provision {op.enc(good).hex()}", "CBOR"),
        (f"provision {op.provision({**good, 1: 2}).hex()}", "FORMAT"),
        (f"provision {op.provision(without(good, 7)).hex()}", "INVALID"),
        (f"provision {op.provision(without(good, 6, 7)).hex()}", "INVALID"),
        (f"provision {op.provision({**good, 10: DEVICE, 11: K_DEV}).hex()}", "INVALID"),
        (f"provision {op.provision({**good, 5: []}).hex()}", "INVALID"),
        (f"provision {op.provision({**good, 5: ['http://a/'] * 4}).hex()}", "CBOR"),
        (f"provision {op.provision({**good, 5: ['otad.local']}).hex()}", "INVALID"),
        (f"provision {op.provision({**good, 4: b'x' * 33}).hex()}", "INVALID"),
        (f"provision {op.provision({**good, 8: b'x' * 1025}).hex()}", "INVALID"),
        (f"provision {op.provision({**good, 9: ['mqtt://a', '', '', 'otad/+']}).hex()}", "INVALID"),
        (f"provision {op.provision({**good, 13: 0}).hex()}", "CBOR"),
        (f"notice {op.notice(1 << 32, 0).hex()}", "CBOR"),                   # T10
        (f"notice {op.enc([1, 1, 0, 'http://evil.example/']).hex()}", "CBOR"),
        (f"notice {(op.notice(1, 0) + bytes(32)).hex()}", "TOO_LARGE"),
        (f"notice {op.enc([2, 1, 0]).hex()}", "FORMAT"),
    ]
    assert [name for name, _ in ask(*(line for line, _ in rows))] == [want for _, want in rows]
    assert ask(f"notice {op.notice(1, 86400).hex()}")[0] == ("OK", op.notice(1, 3600))
