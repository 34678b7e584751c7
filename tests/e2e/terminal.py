"""A program on a terminal of its own, and a person who answers what it asks."""
import os
import pty
import signal
import termios

from harness import Result


def on_terminal(argv, answers, env=None):
    """Run `argv`; whenever the next (question, reply) of `answers` has its question on the screen, type the reply.
    A Result whose `out` is the screen; its `echo`: does the terminal show again what is typed?"""
    argv = [str(word) for word in argv]
    pid, master = pty.fork()
    if pid == 0:
        # As at a person's terminal, also where the tests were started in the background, or with signals held back.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.execve(argv[0], argv, {**os.environ, **(env or {})})
    screen, at, answers = b"", 0, list(answers)
    while True:
        try:
            piece = os.read(master, 4096)
        except OSError:  # EIO: the other side is closed
            piece = b""
        if not piece:
            break
        screen += piece
        while answers and (found := screen.find(answers[0][0].encode(), at)) >= 0:
            at = found + len(answers[0][0])
            os.write(master, answers.pop(0)[1].encode() + b"\n")
    echo = bool(termios.tcgetattr(master)[3] & termios.ECHO)
    os.close(master)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    text = screen.decode(errors="replace").replace("\r\n", "\n")
    assert not answers, (f"never asked {answers[0][0]!r}", code, text)
    result = Result(argv, code, text, "")
    result.echo = echo
    return result
