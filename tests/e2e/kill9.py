"""R1: kill -9 at random moments of mixed work, and what must be true after each."""
import random
import statistics
import time

import harness
import rig


def kills(fleet, count, longest_s, check_every=1, say=print):
    """`count` kills of a fleet that has its root and the board "lamp"; how many operations were acknowledged, and the
    times until ready in ms."""
    otad = fleet.otad
    secret, board = rig.secret_for(fleet)
    book = rig.Book()
    crew = rig.Crew(book, otad.port, fleet.token(), secret, board)
    api = rig.Api(otad.port, fleet.token())
    crew.enlist(api)
    ready = []
    # In its first lives it lives until it did one more kind of thing; how long that takes is the machine's affair.
    missing = list(book.acks)
    for number in range(count):
        crew.start()
        if missing:
            kind = missing.pop(0)
            harness.wait_for(f"an acknowledged {kind}", lambda k=kind: book.acks[k] or crew.odd, 60, alive=[otad])
        time.sleep(random.uniform(0.002, longest_s))  # the moment is to be a random one
        otad.kill9()
        crew.join()
        api.close()
        ready.append(rig.start_timed(otad))
        last = number == count - 1
        book.verify(api, every=last)
        if last or number % check_every == check_every - 1:
            rig.nothing_half(api)
            rig.check(otad)
    say(f"R1: {count} kills, {book.total} operations acknowledged, 0 lost, 0 half-visible; "
        f"ready after {statistics.median(ready):.0f} ms, worst {max(ready):.0f} ms  ("
        + ", ".join(f"{number} {kind}" for kind, number in book.acks.items()) + ")")
    return book, ready
