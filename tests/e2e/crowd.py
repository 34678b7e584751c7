"""Many devices at once, straight into the database of an otad that does not run."""
import contextlib
import os
import sqlite3


def populate(path, count):
    """Approved devices as the first one, with keys of their own."""
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        [row] = db.execute("SELECT d.board, d.created_at, e.secret_id FROM device d JOIN enrolment e ON e.device = d.id LIMIT 1")
        board, now, secret = row
        for number in range(count):
            cursor = db.execute(
                "INSERT INTO device (revision, uid, name, board, state, is_held, created_at, approved_at) "
                "VALUES (1, ?, ?, ?, 1, 0, ?, ?)", (f"{number:032x}", f"made-{number}", board, now, now))
            db.execute("INSERT INTO device_said (device, seen_at) VALUES (?, ?)", (cursor.lastrowid, now))
            db.execute("INSERT INTO enrolment (device, secret_id, nonce_d, nonce_s, state, at) VALUES (?, ?, ?, ?, 0, ?)",
                       (cursor.lastrowid, secret, os.urandom(16), os.urandom(16), now))
