"""Finds where TFRecord records may begin in the middle of a file, by their headers; 64 MiB/s and more.

A header is a length and the masked CRC32C of its eight bytes, so that one that is none passes once in four billion
places; whoever needs certainty checks the data behind it too.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from estimators.records.tfrecord_framing import HEADER_BYTES, MASK_DELTA

_POLYNOMIAL = 0x82F63B78  # of CRC32C, reflected (RFC 3720, B.4)


def _crc_table() -> npt.NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(_POLYNOMIAL), table >> 1).astype(np.uint32)
    return table


_TABLE = _crc_table()


def possible_headers(data: bytes) -> list[int]:
    """The places in `data` where a whole header with the right checksum stands, lowest first.

    Records of 4 GiB and more are not looked for: TensorFlow parses none above 2 GiB.
    """
    octets = np.frombuffer(data, np.uint8)
    if len(octets) < HEADER_BYTES:
        return []
    # The upper half of a length is zero, which is rare inside of pictures and leaves little to compute.
    places = np.concatenate([np.flatnonzero(_words(data, shift) == 0) * 4 + shift for shift in range(4)]) - 4
    places = np.sort(places[(places >= 0) & (places <= len(octets) - HEADER_BYTES)])
    crc = np.full(len(places), 0xFFFFFFFF, np.uint32)
    for index in range(8):
        crc = _TABLE[(crc ^ octets[places + index]) & 0xFF] ^ crc >> np.uint32(8)
    crc = ~crc
    masked = (crc >> np.uint32(15) | crc << np.uint32(17)) + np.uint32(MASK_DELTA)
    stored = np.zeros(len(places), np.uint32)
    for index in range(4):
        stored |= octets[places + 8 + index].astype(np.uint32) << np.uint32(8 * index)
    found: list[int] = places[masked == stored].tolist()
    return found


def _words(data: bytes, shift: int) -> npt.NDArray[np.uint32]:
    return np.frombuffer(data, "<u4", count=(len(data) - shift) // 4, offset=shift)
