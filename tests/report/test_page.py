"""The page as a file: it needs no network, and takes nothing of a run for a tag."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re

import pytest
from fakes import make_loop
from runs import SCRIPT, grown, hostile, make_run

from miha.errors import StorageError
from miha.report.page import page, write_report
from miha.results.reader import load_run
from miha.storage.journal import Journal


def unpacked(text, name):
    packed = re.search(rf'<script [^>]*id="{name}">([^<]*)</script>', text).group(1)
    return gzip.decompress(base64.b64decode(packed)).decode()


def test_links_lead_from_where_the_page_is(tmp_path):
    result = make_run(tmp_path / "run #1")
    path = write_report(result, tmp_path / "pages.html")
    shown = json.loads(unpacked(path.read_text(), "content"))
    link = shown["table"]["rows"][0][-1]["link"]
    assert link == "run%20%231/population/1_0_model.zip"


def test_a_page_may_ask_nobody_and_run_its_own_script_only(result):
    text = write_report(result).read_text()
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]*)"', text).group(1))
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["connect-src"] == "'none'"
    script = re.search(r"<script>(.*)</script>", text, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert rules["script-src"] == f"'sha256-{digest}' 'unsafe-eval'"
    outside = text.split('id="plotly"')[0]
    assert "http://" not in outside and "https://" not in outside
    assert "connect-src 'self';" in html.unescape(page("live", None))


def test_names_of_the_run_are_never_markup_in_the_page(tmp_path):
    folder = tmp_path / "a<b>&"
    text = write_report(make_run(folder, hostile(), c=3, pop_size=6)).read_text()
    assert "<title>a&lt;b&gt;&amp; – MIHA</title>" in text
    assert SCRIPT not in text
    assert SCRIPT in json.dumps(json.loads(unpacked(text, "content"))["arguments"])


def test_a_page_replaces_the_one_before_and_is_gone_with_the_run_it_showed(tmp_path):
    result = make_run(tmp_path / "run")
    first = result.report()
    assert first == tmp_path / "run/report.html"
    before = first.read_text()
    Journal(tmp_path / "run/journal.jsonl").cut(6)
    assert load_run(tmp_path / "run").report().read_text() != before
    make_loop(tmp_path / "run", overwrite=True, seed=5)
    assert not first.exists()


def test_a_page_that_cannot_be_written_is_an_error_with_words(result, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"must have a place that is writable.*Name another"):
        result.report(tmp_path / "file" / "page.html")
    assert result.report(tmp_path / "new" / "page.html").exists()


def test_a_thousand_clones_take_less_than_five_megabytes(tmp_path):
    result = grown(make_run(tmp_path, n=3, c=1, pop_size=20), cycles=50)
    assert len(result.lineage) == 1000
    assert result.report().stat().st_size < 5e6
