"""What is written from C++ while a library starts is hidden, unless it fails to start."""

from __future__ import annotations

import os

import pytest

from miha.utils.quiet import quiet


def test_what_is_written_to_the_file_of_errors_is_hidden(capfd, monkeypatch):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    with quiet():
        os.write(2, b"I0000 00:00 starting\n")
        assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3"
    os.write(2, b"later\n")
    assert capfd.readouterr().err == "later\n"


def test_it_is_shown_where_the_start_fails(capfd):
    with pytest.raises(ImportError, match="broken"), quiet():
        os.write(2, b"E0000 no library\n")
        raise ImportError("broken")
    assert capfd.readouterr().err == "E0000 no library\n"


def test_a_setting_of_the_users_stays(monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    with quiet():
        assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"
