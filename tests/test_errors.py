"""What an error says is one line, whatever a damaged file put into it."""

import pickle

from hypothesis import given
from hypothesis import strategies as st

from smlmbatch.errors import InputError, Interrupted, was_asked_to_stop


@given(st.text(max_size=50), st.text(max_size=50))
def test_messages_are_one_printable_line(finding, want):
    error = InputError("f.csv", finding, want, "mend it")
    assert str(error).isprintable()
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_codes_for_a_terminal_and_endless_names_are_cut():
    error = InputError("f.csv", "found \x1b[31mred\n\u202eback", "x" * 5000, "é µ ok")
    assert error.finding == "found \ufffd[31mred \ufffdback"
    assert (len(error.want), error.want[-1]) == (1000, "\u2026")
    assert error.mend == "é µ ok"


def test_a_stop_is_seen_through_what_a_library_made_of_it():
    error = SystemError("returned a result with an exception set")
    error.__cause__ = Interrupted("stopped by SIGTERM")
    assert was_asked_to_stop(error)
    assert not was_asked_to_stop(SystemError("something else"))
    loop = ValueError("a")
    loop.__context__ = KeyError("b")
    loop.__context__.__context__ = loop
    assert not was_asked_to_stop(loop)
