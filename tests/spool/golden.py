#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later OR BSD-2-Clause
"""Spools of all three formats, written and read from their texts alone: docs/format.md, docs/format-audit.md,
docs/format-commitlog.md. Nothing here is shared with the library, the checksum included.

  golden.py write DIR          make DIR/CASE/ for each case, and DIR/cases: a line for each, then its records
  golden.py read FORMAT DIR    check every field of the spool in DIR and print its records

A line of `cases`: "case NAME FORMAT VERIFY-RESULT RECORDS", then for each record that a reader must give
"SEQ TIME LOST HEX". `read` prints the same lines, and dies of anything that the text does not allow.
"""
import os
import re
import struct
import sys

# ---- CRC-32C: polynomial 1edc6f41, reflected, bit by bit into a table ----

TABLE = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
    TABLE.append(byte)


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    for b in data:
        crc = TABLE[(crc ^ b) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


for text, crc in ((b"", 0), (b"a", 0xC1D04330), (b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA),
                  (b"\xff" * 32, 0x62A8AB43)):
    assert crc32c(text) == crc

# ---- native ----

ID = bytes(range(0x10, 0x20))
OTHER_ID = bytes(range(0x80, 0x90))


def native_header(first, ident=ID, flags=0, created=1700000000000000000):
    copy = b"SGSPOOL\n" + struct.pack("<HHI16sQQ12x", 1, 128, flags, ident, first, created)
    copy += struct.pack("<I", crc32c(copy))
    return copy * 2


def native_frame(seq, time, payload, at_risk=0, ident=ID):
    rest = struct.pack("<IQQII", len(payload), seq, time, at_risk, 0) + payload
    return struct.pack("<I", crc32c(ident + rest)) + rest


def native_name(first):
    return "%020d.spool" % first


# ---- audit ----

def audit_files(payloads, nanos=1700000000000000000, pid=4321):
    name = "%020d-%d.audit.bin" % (nanos, pid)
    data = b"".join(struct.pack("<I", len(p)) + p for p in payloads)
    side = b"".join(struct.pack("<I", crc32c(p)) for p in payloads)
    return {name: data, name + ".crc": side}


# ---- commit log ----

def log_header(version):
    return bytes([0x28, 0x64, 0x73, 0x29, 0x5E, 0x32, version, 0, 0, 0])


def log_commit(version, offset, payload, n=1, epoch=0):
    commit = struct.pack("<Q", offset) + (struct.pack("<Q", epoch) if version else b"")
    commit += struct.pack("<HI", n, len(payload)) + payload
    return commit + struct.pack("<I", crc32c(commit))


def log_name(offset):
    return "%020d.stdb.log" % offset


# ---- the cases ----

def payloads(n):
    out = []
    for i in range(n):
        size = (0, 1, 5, 32, 100, 3, 64, 0, 17, 400)[i % 10] if i < n - 1 else 23
        out.append(bytes((i * 13 + j * 7 + 1) & 0xFF for j in range(size)))
    return out


def native_cases():
    p = payloads(25)
    t = [1700000000000000000 + 1000 * i for i in range(25)]
    frames = [native_frame(i + 1, t[i], p[i], min(i, 4)) for i in range(25)]
    lines = [(i + 1, t[i], 0, p[i]) for i in range(25)]
    one = {native_name(1): native_header(1) + b"".join(frames)}
    yield "native-good", "native", 0, lines, one
    two = {native_name(1): native_header(1) + b"".join(frames[:10]),
           native_name(11): native_header(11, flags=1) + b"".join(frames[10:]) + bytes(5000)}
    yield "native-two-segments-and-zeros", "native", 0, lines, two
    torn = {native_name(1): one[native_name(1)][:-1]}
    yield "native-torn", "native", 1, lines[:24], torn
    flipped = bytearray(one[native_name(1)])
    flipped[128 + len(b"".join(frames[:3])) + 40] ^= 4
    rest = [(5, t[4], 1, p[4])] + lines[5:]
    yield "native-flipped", "native", 1, lines[:3] + rest, {native_name(1): bytes(flipped)}
    header = bytearray(one[native_name(1)])
    header[20] ^= 1
    yield "native-header-copy", "native", 1, lines, {native_name(1): bytes(header)}
    gap = {native_name(1): two[native_name(1)],
           native_name(13): native_header(13) + b"".join(frames[12:])}
    yield "native-gap", "native", 1, lines[:10] + [(13, t[12], 2, p[12])] + lines[13:], gap
    # A frame of another spool in a payload that is damaged is none of this one.
    inner = native_frame(2, 5, b"other", ident=OTHER_ID)
    outer = bytearray(native_frame(1, 1, inner))
    outer[0] ^= 1
    nested = {native_name(1): native_header(1) + bytes(outer) + native_frame(2, 2, b"mine")}
    yield "native-nested", "native", 1, [(2, 2, 1, b"mine")], nested


def audit_cases():
    p = payloads(25)
    lines = [(i + 1, 0, 0, p[i]) for i in range(25)]
    good = audit_files(p)
    name, side = sorted(good)
    yield "audit-good", "audit", 0, lines, good
    yield "audit-torn", "audit", 1, lines[:24], {name: good[name][:-1], side: good[side]}
    yield "audit-no-sidecar", "audit", 1, [], {name: good[name]}
    yield "audit-short-sidecar", "audit", 1, lines[:20], {name: good[name], side: good[side][:83]}
    flipped = bytearray(good[name])
    flipped[sum(4 + len(x) for x in p[:3])] ^= 0x80  # a length
    rest = [(5, 0, 1, p[4])] + lines[5:]
    yield "audit-flipped-length", "audit", 1, lines[:3] + rest, {name: bytes(flipped), side: good[side]}
    zeros = {name: good[name] + bytes(300), side: good[side] + bytes(40)}
    yield "audit-zeros", "audit", 1, lines, zeros


def log_cases():
    p = payloads(25)
    offsets = [i + i // 3 for i in range(26)]
    n = [offsets[i + 1] - offsets[i] for i in range(25)]
    lines = [(offsets[i] + 1, 0, 0, p[i]) for i in range(25)]
    for v in (0, 1):
        commits = [log_commit(v, offsets[i], p[i], n[i], i // 9 * v) for i in range(25)]
        good = log_header(v) + b"".join(commits)
        yield "log%d-good" % v, "commitlog", 0, lines, {log_name(0): good}
        two = {log_name(0): log_header(v) + b"".join(commits[:10]) + bytes(64),
               log_name(offsets[10]): log_header(v) + b"".join(commits[10:])}
        yield "log%d-two-segments" % v, "commitlog", 0, lines, two
        for cut in (1, 21):
            yield "log%d-torn-%d" % (v, cut), "commitlog", 1, lines[:24], {
                log_name(0): log_header(v) + b"".join(commits[:24]) + commits[24][:cut]}
        flipped = bytearray(good)
        flipped[10 + len(b"".join(commits[:3])) + 10 + 8 * v] ^= 0x80  # a length
        after = (offsets[4] + 1, 0, n[3], p[4])
        yield "log%d-flipped-length" % v, "commitlog", 1, lines[:3] + [after] + lines[5:], {
            log_name(0): bytes(flipped)}
        lying = bytearray(good)
        lying[6] ^= 1
        yield "log%d-lying-version" % v, "commitlog", 1, lines, {log_name(0): bytes(lying)}


def plain_cases():
    """The same payloads in each format, numbered from 1: what converting one gives must be the other."""
    p = payloads(25)
    yield "plain-native", "native", 0, [(i + 1, 7, 0, x) for i, x in enumerate(p)], {
        native_name(1): native_header(1) + b"".join(native_frame(i + 1, 7, x) for i, x in enumerate(p))}
    lines = [(i + 1, 0, 0, x) for i, x in enumerate(p)]
    yield "plain-audit", "audit", 0, lines, audit_files(p)
    for v in (0, 1):
        yield "plain-log%d" % v, "commitlog", 0, lines, {
            log_name(0): log_header(v) + b"".join(log_commit(v, i, x) for i, x in enumerate(p))}


def write(top):
    with open(os.path.join(top, "cases"), "w") as cases:
        for make in (native_cases, audit_cases, log_cases, plain_cases):
            for name, fmt, result, lines, files in make():
                os.mkdir(os.path.join(top, name))
                for file, data in files.items():
                    with open(os.path.join(top, name, file), "wb") as f:
                        f.write(data)
                cases.write("case %s %s %d %d\n" % (name, fmt, result, len(lines)))
                tell(lines, cases)


# ---- reading ----

def tell(lines, out):
    for seq, time, lost, payload in lines:
        out.write("%d %d %d %s\n" % (seq, time, lost, payload.hex() or "-"))


def files_like(top, pattern):
    return sorted(f for f in os.listdir(top) if re.fullmatch(pattern, f))


def load(top, name):
    with open(os.path.join(top, name), "rb") as f:
        return f.read()


def read_native(top):
    lines, ident, last, places = [], None, 0, {}
    for name in files_like(top, r"\d{20}\.spool"):
        data = load(top, name)
        magic, version, at, flags, own, first, created = struct.unpack_from("<8sHHI16sQQ", data)
        assert magic == b"SGSPOOL\n" and version == 1 and at == 128 and flags in (0, 1)
        assert data[48:60] == bytes(12) and data[:64] == data[64:128] and created > 1600000000 * 10**9
        assert struct.unpack_from("<I", data, 60)[0] == crc32c(data[:60])
        assert any(own) and ident in (None, own) and first == int(name[:20])
        assert not lines or first == last + 1
        ident, last = own, first - 1
        while at < len(data) and any(data[at:]):
            crc, size, seq, time, at_risk, zero = struct.unpack_from("<IIQQII", data, at)
            assert size <= 67108864 and at + 32 + size <= len(data) and zero == 0
            assert seq == last + 1 and at_risk < seq and crc == crc32c(ident + data[at + 4:at + 32 + size])
            lines.append((seq, time, 0, data[at + 32:at + 32 + size]))
            places[seq] = (int(name[:20]), at)
            last, at = seq, at + 32 + size
        assert at == len(data) or flags & 1
    read_index(top, ident, places)
    read_durable(top, ident, last)
    read_cursors(top, ident, last)
    return lines


def read_index(top, ident, places):
    for name in files_like(top, r"\d{20}\.index"):
        data = load(top, name)
        magic, version, entry, zero, first, zero2, crc = struct.unpack_from("<8sHHIQII", data)
        assert magic == b"SGINDEX\n" and version == 1 and entry == 24 and zero == zero2 == 0
        assert crc == crc32c(data[:28]) and first == int(name[:20]) and (len(data) - 32) % 24 == 0
        before = 0
        for at in range(32, len(data), 24):
            seq, place, crc, zero = struct.unpack_from("<QQII", data, at)
            assert crc == crc32c(ident + data[at:at + 16]) and zero == 0 and seq > before
            assert places[seq] == (first, place)
            before = seq


def read_durable(top, ident, last):
    data = load(top, "durable")
    magic, durable, appended, zero, crc = struct.unpack("<8sQQII", data)
    assert magic == b"SGDURBL\n" and durable <= appended <= last and zero == 0
    assert crc == crc32c(ident + data[:28])


def read_cursors(top, ident, last):
    for name in files_like(top, r"cursor-[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}"):
        data, good = load(top, name), []
        for slot in (data[:64], data[4096:4160]):
            if len(slot) < 64 or not any(slot):
                continue
            magic, version, zero, own, generation, acked, time, zero2, crc = struct.unpack("<8sH6s16sQQQII", slot)
            assert magic == b"SGCURSR\n" and version == 1 and zero == bytes(6) and zero2 == 0
            assert own == ident and crc == crc32c(slot[:60]) and time > 1600000000 * 10**9
            good.append((generation, acked))
        generation, acked = max(good)
        assert acked <= last
        print("cursor %s %d" % (name[7:], acked))


def read_audit(top):
    lines = []
    for name in files_like(top, r"\d{20}-\d+\.audit\.bin"):
        data, side, at, entry = load(top, name), load(top, name + ".crc"), 0, 0
        while at < len(data):
            size = struct.unpack_from("<I", data, at)[0]
            payload = data[at + 4:at + 4 + size]
            assert len(payload) == size and struct.unpack_from("<I", side, entry)[0] == crc32c(payload)
            lines.append((len(lines) + 1, 0, 0, payload))
            at, entry = at + 4 + size, entry + 4
        assert entry == len(side) and not (data and data[-4:] == bytes(4) and not lines[-1][3])
    return lines


def read_log(top):
    lines, expected, epoch = [], None, 0
    for name in files_like(top, r"\d{20}\.stdb\.log"):
        data, at = load(top, name), 10
        version = data[6]
        assert version in (0, 1) and data[:10] == log_header(version)
        assert expected in (None, int(name[:20]))
        expected = int(name[:20])
        while at < len(data):
            head = struct.unpack_from("<QQHI" if version else "<QHI", data, at)
            start, at = at, at + (22 if version else 14)
            offset, n, size = head[0], head[-2], head[-1]
            payload = data[at:at + size]
            assert offset == expected and n >= 1 and len(payload) == size
            assert struct.unpack_from("<I", data, at + size)[0] == crc32c(data[start:at + size])
            assert not version or head[1] >= epoch
            epoch = head[1] if version else epoch
            lines.append((offset + 1, 0, 0, payload))
            expected, at = offset + n, at + size + 4
    return lines


def main():
    if sys.argv[1] == "write":
        write(sys.argv[2])
    else:
        tell({"native": read_native, "audit": read_audit, "commitlog": read_log}[sys.argv[2]](sys.argv[3]), sys.stdout)


main()
