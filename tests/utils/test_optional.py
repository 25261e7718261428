"""Packages that are imported when they are needed."""

from __future__ import annotations

import json

import pytest

from miha.errors import MihaError
from miha.utils.optional import MissingPackageError, need


def test_a_module_that_is_there_is_imported():
    assert need("json", "plot") is json


def test_a_missing_package_is_named_with_the_extra_that_installs_it():
    with pytest.raises(MissingPackageError, match=r"'no_such_package'.*pip install 'miha\[plot\]'"):
        need("no_such_package.part", "plot")
    assert issubclass(MissingPackageError, MihaError)
    assert issubclass(MissingPackageError, ImportError)


def test_a_package_that_lacks_another_one_says_so_itself(tmp_path, monkeypatch):
    (tmp_path / "incomplete.py").write_text("import no_such_package")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package") as caught:
        need("incomplete", "plot")
    assert not isinstance(caught.value, MissingPackageError)
