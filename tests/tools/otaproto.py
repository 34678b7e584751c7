"""A second encoder of the contract, apart from the C code: what docs/protocol.md says, in Python.

It can also write what the C encoders never would (maps with a key twice, lengths that are too long, any tag), so that
the decoders are tried with objects that were not made by their own side. Decoding is cbor2's.
"""
import hashlib
import hmac as hmac_module
import struct

import cbor2
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, utils

HMAC256, ES256, ESP256, SHA256, ED25519 = 5, -7, -9, -16, -19


class Raw(bytes):
    """Bytes that are CBOR, or what is to stand in its place."""


class Pairs(list):
    """A map whose pairs stay in this order, however often a key comes."""


class Tag:
    def __init__(self, number, value):
        self.number, self.value = number, value


def head(major, value):
    for limit, info, form in ((0x100, 24, ">B"), (0x10000, 25, ">H"), (0x100000000, 26, ">I"), (1 << 64, 27, ">Q")):
        if value < 24:
            return bytes([major << 5 | value])
        if value < limit:
            return bytes([major << 5 | info]) + struct.pack(form, value)
    raise ValueError(value)


def enc(item):
    """Deterministic CBOR (RFC 8949 section 4.2.1), but for Raw and Pairs."""
    if isinstance(item, Raw):
        return bytes(item)
    if item is None:
        return b"\xf6"
    if isinstance(item, bool):
        return b"\xf5" if item else b"\xf4"
    if isinstance(item, int):
        return head(0, item) if item >= 0 else head(1, -1 - item)
    if isinstance(item, (bytes, bytearray)):
        return head(2, len(item)) + bytes(item)
    if isinstance(item, str):
        return head(3, len(item.encode())) + item.encode()
    if isinstance(item, Pairs):
        return head(5, len(item)) + b"".join(enc(k) + enc(v) for k, v in item)
    if isinstance(item, (list, tuple)):
        return head(4, len(item)) + b"".join(enc(i) for i in item)
    if isinstance(item, dict):
        pairs = sorted((enc(k), enc(v)) for k, v in item.items())
        return head(5, len(pairs)) + b"".join(k + v for k, v in pairs)
    if isinstance(item, Tag):
        return head(6, item.number) + enc(item.value)
    raise TypeError(type(item))


def sha256(data):
    return hashlib.sha256(data).digest()


def hmac(key, data):
    return hmac_module.new(key, data, hashlib.sha256).digest()


class Signer:
    """A key pair of P-256 (from its private number) or Ed25519 (from its 32-byte seed)."""

    def __init__(self, seed, alg=ESP256):
        self.alg = alg
        if alg == ED25519:
            self.key = ed25519.Ed25519PrivateKey.from_private_bytes(sha256(b"ed25519 %d" % seed))
            self.pub = self.key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        else:
            number = int.from_bytes(sha256(b"p256 %d" % seed), "big") >> 1
            self.key = ec.derive_private_key(number, ec.SECP256R1())
            self.pub = self.key.public_key().public_bytes(
                serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
        self.kid = sha256(self.pub)[:8]

    def sign(self, data):
        if self.alg == ED25519:
            return self.key.sign(data)
        r, s = utils.decode_dss_signature(self.key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def text(self):
        """As proto_tool takes it."""
        return f"{self.alg}:{self.pub.hex()}"


def verify(alg, pub, data, sig):
    try:
        if alg == ED25519:
            ed25519.Ed25519PublicKey.from_public_bytes(pub).verify(sig, data)
        else:
            der = utils.encode_dss_signature(int.from_bytes(sig[:32], "big"), int.from_bytes(sig[32:], "big"))
            key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), pub)
            key.verify(der, data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def to_sign(protected, aad, payload):
    return enc(["Signature1", protected, aad.encode(), payload])


def sign1(signer, aad, payload, attach=True, **change):
    """change: protected (bytes), unprotected, sig, tag, payload_slot, kid, alg."""
    protected = change.get("protected", enc({1: change.get("alg", signer.alg), 4: change.get("kid", signer.kid)}))
    sig = change.get("sig", signer.sign(to_sign(protected, aad, payload)))
    slot = change.get("payload_slot", payload if attach else None)
    return enc(Tag(change.get("tag", 18), [protected, change.get("unprotected", {}), slot, sig]))


def mac0(key, aad, payload, kid=None, **change):
    protected = change.get("protected", enc({1: HMAC256} if kid is None else {1: HMAC256, 4: kid}))
    tag = hmac(key, enc(["MAC0", protected, aad.encode(), payload]))
    return enc(Tag(change.get("tag", 17), [protected, change.get("unprotected", {}),
                                           change.get("payload_slot", payload), change.get("mac", tag)]))


# Derived keys


def d2s(k_dev):
    return hmac(k_dev, b"otad/d2s/1")


def s2d(k_dev):
    return hmac(k_dev, b"otad/s2d/1")


def device_key(secret, device, nonce_d, nonce_s):
    return hmac(secret, b"otad-dev-2" + device + nonce_d + nonce_s)


# Objects


def ticket_payload(device, nonce, root=1, assignment=None, poll=300, flags=0, counter=None, urls=None):
    fields = {1: 1, 2: device, 3: nonce, 4: root, 6: poll, 7: flags}
    for key, value in ((5, assignment), (8, counter), (9, urls)):
        if value is not None:
            fields[key] = value
    return fields


def ticket_signed(signer, fields, **change):
    return sign1(signer, "otad/ticket/1", enc(fields), **change)


def ticket_mac(k_dev, fields, **change):
    return mac0(s2d(k_dev), "otad/ticket/1", enc(fields), **change)


def root_payload(version, keys, roles, epoch=0, floors=None):
    """keys: [(alg, public key)], roles: {role: [threshold, index, ..]}."""
    return {1: 1, 2: version, 3: [list(key) for key in keys], 4: roles, 5: epoch, 6: floors or {}}


def root_document(payload, signers, blocks=None):
    body = enc(payload)
    if blocks is None:
        blocks = [sign1(signer, "otad/root/1", body, attach=False) for signer in signers]
    return enc([enc([Raw(block) for block in blocks]), body])


def checkin_fields(device, nonce, counter=0, root=1, running=None, state=0, target=None, result=None, uptime=0, flags=0,
                   receipt=None):
    fields = {1: 1, 2: device, 3: nonce, 4: counter, 5: root, 6: running, 7: state, 10: uptime, 11: flags}
    for key, value in ((8, target), (9, result), (12, receipt)):
        if value is not None:
            fields[key] = value
    return fields


def checkin(k_dev, fields, **change):
    return mac0(d2s(k_dev), "otad/checkin/1", enc(fields), **change)


def enroll_request(secret, secret_id, vendor, cls, serial, nonce_d):
    return mac0(hmac(secret, b"otad/enroll/1"), "otad/enroll/1",
                enc({1: 1, 2: vendor, 3: cls, 4: serial, 5: nonce_d}), kid=secret_id)


def enroll_answer(secret, nonce_d, nonce_s, device, receipt_bytes):
    return mac0(hmac(secret, b"otad/enrolled/1"), "otad/enrolled/1",
                enc({1: 1, 2: nonce_d, 3: nonce_s, 4: device, 5: receipt_bytes}))


def receipt(enroll_key, secret_id, device, cls, nonce_d, nonce_s):
    return mac0(hmac(enroll_key, b"otad/receipt/1"), "otad/receipt/1",
                enc({1: 1, 2: secret_id, 3: device, 4: cls, 5: nonce_d, 6: nonce_s}))


def provision(fields):
    body = enc(fields)
    return body + sha256(body)


def notice(revision, spread):
    return enc([1, revision, spread])


# Releases


class Image:
    def __init__(self, data, size=None):
        self.sha256, self.size = sha256(data), len(data) if size is None else size

    def digest(self):
        return enc([SHA256, self.sha256])

    def uri(self):
        return "i/" + self.sha256.hex()


def variant(image, slot):
    return enc([20, {3: image.digest(), 5: slot, 14: image.size, 21: image.uri()}, 5, 15])


def shared_sequence(vendor, cls, components, device=None):
    """components: [(name, Image or (Image, Image))]."""
    seq = []
    for i, (_, image) in enumerate(components):
        if len(components) > 1:
            seq += [12, i]
        params = {1: vendor, 2: cls}
        if device is not None:
            params[24] = device
        if not isinstance(image, tuple):
            params.update({3: image.digest(), 14: image.size})
        seq += [20, params, 1, 15, 2, 15]
        if device is not None:
            seq += [24, 15]
        if isinstance(image, tuple):
            seq += [15, [variant(one, slot) for slot, one in enumerate(image)]]
    return seq


def validate_sequence(components):
    many = len(components) > 1
    return [x for i in range(len(components)) for x in ([12, i] if many else []) + [3, 15]]


def install_sequence(components):
    seq = []
    for i, (_, image) in enumerate(components):
        if len(components) > 1:
            seq += [12, i]
        if not isinstance(image, tuple):
            seq += [20, {21: image.uri()}]
        seq += [21, 15, 3, 15]
    return seq


def manifest(sequence, vendor, cls, components, text=None, invoke=False, device=None, **change):
    """As a dict of encoded members, so that a test can take one out or put another in; change replaces the
    sequences shared, validate, install, or the list of component ids."""
    ids = change.get("ids", [[name.encode()] for name, _ in components])
    shared = change.get("shared", shared_sequence(vendor, cls, components, device))
    members = {
        1: 1,
        2: sequence,
        3: enc({2: ids, 4: enc(shared)}),
        7: enc(change.get("validate", validate_sequence(components))),
        20: enc(change.get("install", install_sequence(components))),
    }
    if invoke:
        members[9] = enc(([12, 0] if len(components) > 1 else []) + [23, 15])
    if text is not None:
        members[23] = [SHA256, text]
    return members


def container(manifest_bytes):
    """The SUIT_Digest that the blocks sign."""
    return enc([SHA256, sha256(enc(manifest_bytes))])


def envelope(manifest_bytes, signers, **change):
    """change: container, blocks, extra (pairs behind), before (pairs in front), tag, swap."""
    digest = change.get("container", container(manifest_bytes))
    blocks = change.get("blocks")
    if blocks is None:
        blocks = [sign1(signer, "", digest, attach=False) for signer in signers]
    pairs = [(2, enc([digest] + blocks)), (3, manifest_bytes)]
    if change.get("swap"):
        pairs.reverse()
    body = Pairs(list(change.get("before", [])) + pairs + list(change.get("extra", [])))
    return enc(Tag(change.get("tag", 107), body))


def decode(data):
    """For looking into what C wrote."""
    return cbor2.loads(data)


def verify_sign1(alg, pub, aad, block, payload=None):
    """Is `block` (a decoded tag 18) this key's, over its own payload or over the detached one?"""
    protected, unprotected, slot, sig = block.value
    assert block.tag == 18 and unprotected == {} and (slot is None) == (payload is not None)
    assert decode(protected) == {1: alg, 4: sha256(pub)[:8]}
    return verify(alg, pub, to_sign(protected, aad, slot if payload is None else payload), sig)
