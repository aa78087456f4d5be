import base64
from xml.etree import ElementTree as ET

import msgspec

from bundle.layout import QUALITY, QUALITY_PAGE, Bundle
from bundle.manifest import Precision, Tuned
from export.forms import Form
from export.page import render_quality
from export.report import Quality
from export.tuning import EngineTime, Trial, Tuning
from tests.page import Page


def read_quality(bundle: Bundle) -> Quality:
    return msgspec.json.decode((bundle.path / QUALITY).read_bytes(), type=Quality)


def test_the_page_of_a_bundle_has_every_figure_and_needs_no_network(exported: Bundle) -> None:
    quality = read_quality(exported)
    page = Page((exported.path / QUALITY_PAGE).read_text())
    assert page.open == []
    for gate in quality.gates:
        assert [gate.name, f"{gate.value:.5f}", f"{gate.bound} {gate.threshold:g}", "passed"] in page.rows
    for precision, parity in quality.parity.items():
        figures = (parity.cosine.mean, parity.cosine.first_percentile, parity.cosine.worst)
        assert [precision, *(f"{figure:.5f}" for figure in figures)] in [row[:4] for row in page.rows]
    for output_type, output in quality.outputs.items():
        assert [output_type, str(output.bytes)] in [row[:2] for row in page.rows]
    (picture,) = page.addresses
    svg = ET.fromstring(base64.b64decode(picture.removeprefix("data:image/svg+xml;base64,")))
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    assert "No STS data was at hand" in " ".join(page.words)


def test_every_sample_text_is_a_point_of_the_plot(exported: Bundle) -> None:
    for parity in read_quality(exported).parity.values():
        assert len(parity.tokens) == len(parity.distances) > 100
        worst = max(parity.distances)
        assert 1 - parity.cosine.worst >= worst - 1e-6, "the worst of both ways to embed is no better than of one"


def test_what_was_measured_is_shown_with_the_winner(exported: Bundle) -> None:
    speeds: dict[Precision, float] = {"int8": 1.0, "fp32": 0.5}
    engines = [
        EngineTime(
            engine=f"engine-{precision}", runtime="onnxruntime", precision=precision,
            tokens_per_second={"short": 1000.0 * speed}, speedup=speed, failed=[],
        )
        for precision, speed in speeds.items()
    ]  # fmt: skip
    trials = [
        Trial(change="kept change", speedup=1.2, speedups={"short": 1.2}, least=1.1, failed=[], kept=True),
        Trial(change="bad change", speedup=0, speedups={}, least=0, failed=["a gate"], kept=False),
    ]
    fastest = Tuned(features=("avx2",), runtime="onnxruntime", precision="int8")
    tuning = Tuning(form=Form(), trials=trials, engines=engines, fastest=fastest)
    rows = Page(render_quality("tiny", read_quality(exported), tuning)).rows
    assert ["engine-int8", "1.0", "1.00"] in rows
    assert ["engine-fp32", "0.5", "0.50"] in rows
    assert ["kept change", "1.20", "kept"] in rows
    assert ["bad change", "fails a gate"] in rows


def test_names_are_escaped(exported: Bundle) -> None:
    assert "<script>" not in render_quality("<script>alert(1)</script>", read_quality(exported), None)
