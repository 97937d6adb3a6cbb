"""An ending that is found stays, whatever signals come after it."""

import subprocess
import sys

ENDING = """
import os, signal, sys
from smlmbatch import cli
for number in cli.STOP_SIGNALS:
    signal.signal(number, cli._stop)
signal.pthread_sigmask(signal.SIG_BLOCK, cli.STOP_SIGNALS)
os.kill(os.getpid(), signal.SIGTERM)  # pending when the ending is found
cli._deafen()
signal.pthread_sigmask(signal.SIG_UNBLOCK, cli.STOP_SIGNALS)
class Slow:
    def __del__(self, kill=os.kill, me=os.getpid(), term=signal.SIGTERM):
        kill(me, term)  # after the interpreter has put its handlers back
slow = Slow()
sys.exit(2)
"""


def test_signals_at_the_end_change_nothing():
    ended = subprocess.run([sys.executable, "-c", ENDING], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", "")
