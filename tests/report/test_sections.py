from smlmbatch.report.sections import channel_titles


def fields(*names):
    """Fields of these channels' names, channels counted from 0; None = the field lacks it."""
    return [
        {"channels": [c for c, name in enumerate(own) if name is not None], "channel_names": [name for name in own if name is not None]}
        for own in names
    ]


def test_a_channel_has_the_name_that_all_its_fields_share():
    assert channel_titles(fields(("EGFR", "EREG"), ("EGFR", None))) == {0: "Channel 0: EGFR", 1: "Channel 1: EREG"}
    assert channel_titles(fields(("EGFR", "EREG"), ("EREG", "EREG"))) == {0: "Channel 0", 1: "Channel 1: EREG"}
    assert channel_titles(fields(("", "channel 1"), ("EGFR", "1"))) == {0: "Channel 0", 1: "Channel 1"}


def test_one_channel_needs_no_title():
    assert channel_titles(fields(("EGFR",), ("EREG",))) == {}
