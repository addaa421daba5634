"""A memory card for nbdkit: it loses its power, is slow, or fails, as it is told through a small file.

    nbdkit -U SOCKET python card.py image=FILE control=FILE

What was written and not flushed is kept in memory and is gone with the power. The control file is an array of 64-bit words
in the machine's own order, which `tests/src/appliance/card.rs` writes and reads while the card works:

    0 fault             1 reads fail, 2 writes fail, 3 flushes fail (EIO), 4 there is no room for a write (ENOSPC)
    1 flush_ms          how long a flush takes
    2 bytes_per_second  how fast it writes; 0: as fast as it can
    3 lies              not 0: a flush is answered and nothing is kept
    4 cut               what of the un-flushed writes gets onto the card when the power goes:
                        1 nothing, 2 a random part, sector by sector, 3 the first few, 4 everything
    5 later             requests that are still answered before that
    6 seed              of the random part
    7 dead              not 0: every request fails at once, also one that takes its time
    8 reads, 9 writes, 10 bytes written, 11 flushes, 12 un-flushed writes at the cut, 13 bytes of them that were lost
"""

import errno
import mmap
import os
import random
import time

import nbdkit

API_VERSION = 2
SECTOR = 512
FAULT, FLUSH_MS, BYTES_PER_SECOND, LIES, CUT, LATER, SEED, DEAD = range(8)
READS, WRITES, BYTES, FLUSHES, PENDING, LOST = range(8, 14)
READ_FAILS, WRITE_FAILS, FLUSH_FAILS, FULL = range(1, 5)
NOTHING, RANDOM, FIRST_FEW, EVERYTHING = range(1, 5)
WORDS = 16
# Between two looks at whether it is dead.
NAP = 0.01

paths = {}
image = -1
words = None
# Offset and bytes of each un-flushed write, in the order in which they came.
pending = []


def config(key, value):
    paths[key] = os.path.abspath(value)


def config_complete():
    for key in ("image", "control"):
        if key not in paths:
            raise RuntimeError(f"{key}=FILE is missing")


def get_ready():
    global image, words
    image = os.open(paths["image"], os.O_RDWR)
    control = os.open(paths["control"], os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(control, WORDS * 8)
    words = memoryview(mmap.mmap(control, WORDS * 8)).cast("Q")
    os.close(control)


def thread_model():
    return nbdkit.THREAD_MODEL_SERIALIZE_ALL_REQUESTS


def open(readonly):
    return 1


def get_size(handle):
    return os.fstat(image).st_size


def can_flush(handle):
    return True


def can_fua(handle):
    return nbdkit.FUA_NATIVE


def fail(code):
    nbdkit.set_error(code)
    raise OSError(code, os.strerror(code))


def begin(fault, code=errno.EIO):
    """Every request begins here: the power may go, and what is wished for may fail."""
    if words[CUT] and not words[DEAD]:
        if words[LATER] == 0:
            lose_power()
        else:
            words[LATER] -= 1
    if words[DEAD]:
        fail(errno.EIO)
    if words[FAULT] == fault:
        fail(code)


def take(seconds):
    """Lets time pass, but not for a card that is dead, nor for one that has become faster meanwhile."""
    end = time.monotonic() + seconds()
    began = time.monotonic()
    while time.monotonic() < min(end, began + seconds()):
        if words[DEAD]:
            fail(errno.EIO)
        time.sleep(min(NAP, max(0.0, end - time.monotonic())))


def pread(handle, buffer, offset, flags):
    begin(READ_FAILS)
    words[READS] += 1
    end = offset + len(buffer)
    found = bytearray(os.pread(image, len(buffer), offset))
    for at, data in pending:
        low, high = max(at, offset), min(at + len(data), end)
        if low < high:
            found[low - offset : high - offset] = data[low - at : high - at]
    buffer[:] = found


def pwrite(handle, buffer, offset, flags):
    begin(WRITE_FAILS)
    if words[FAULT] == FULL:
        fail(errno.ENOSPC)
    rate = words[BYTES_PER_SECOND]
    if rate:
        take(lambda: len(buffer) / rate)
    words[WRITES] += 1
    words[BYTES] += len(buffer)
    pending.append((offset, bytes(buffer)))
    if flags & nbdkit.FLAG_FUA:
        keep()


def flush(handle, flags):
    begin(FLUSH_FAILS)
    keep()


def keep():
    take(lambda: words[FLUSH_MS] / 1000)
    # The fault, or the cut, may have come meanwhile.
    begin(FLUSH_FAILS)
    words[FLUSHES] += 1
    if words[LIES]:
        return
    for at, data in pending:
        os.pwrite(image, data, at)
    pending.clear()


def lose_power():
    chance = random.Random(words[SEED])
    part = chance.random()
    survivors = pending
    if words[CUT] == NOTHING:
        survivors = []
    elif words[CUT] == FIRST_FEW:
        survivors = pending[: chance.randint(0, len(pending))]
    lost = sum(len(data) for _, data in pending)
    for at, data in survivors:
        for start in range(0, len(data), SECTOR):
            if words[CUT] != RANDOM or chance.random() < part:
                sector = data[start : start + SECTOR]
                lost -= len(sector)
                os.pwrite(image, sector, at + start)
    words[PENDING], words[LOST] = len(pending), lost
    pending.clear()
    words[DEAD] = 1
