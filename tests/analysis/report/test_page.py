"""The page of the report in a real browser, opened as a file."""

import json
import os
import shutil
import time
from itertools import pairwise

import pytest
from support.generated_results import HOSTILE, Entry, Plan, write_results

from nasbench.analysis.report.report import report

pytestmark = pytest.mark.browser
FRONTS = "document.getElementById('pareto').data.filter(t => t.mode === 'lines+markers')"
RANKS = "return document.getElementById('rank-plot').data"
HYPERVOLUMES = "return document.getElementById('hypervolume').data.filter(t => t.hoverinfo === 'text')"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,1600",
)


@pytest.fixture(scope="module")
def browser(report_folder):
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        reason = "no Chromium: apt-get install chromium chromium-driver"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    chrome = webdriver.Chrome(options=options, service=Service(driver))
    chrome.set_page_load_timeout(120)
    chrome.get((report_folder / "out" / "report.html").as_uri())
    yield chrome
    chrome.quit()


@pytest.fixture
def page(browser):
    """The page in its state after loading."""
    select(browser, "filter-task", "rte")
    select(browser, "filter-seed", "all")
    select(browser, "filter-split", "validation")
    browser.execute_script("document.getElementById('chips-all').click()")
    select(browser, "filter-runs", "")
    return browser


def select(browser, element_id, value):
    script = """
        const element = document.getElementById(arguments[0]);
        element.value = arguments[1];
        element.dispatchEvent(new Event(arguments[2]));
    """
    browser.execute_script(script, element_id, value, "input" if element_id == "filter-runs" else "change")


def fronts(browser):
    """Number of points of each drawn front, by entry."""
    drawn = browser.execute_script(f"return {FRONTS}.map(t => [t.name, t.x.length])")
    found = {}
    for name, n in drawn:
        found.setdefault(name, []).append(n)
    return found


def chip(browser, name):
    chips = browser.find_elements("css selector", ".chip")
    return next(chip for chip in chips if chip.text == name)


def test_loading_the_page_sends_no_request_and_logs_no_error(browser):
    sent = [
        entry["params"]["request"]["url"]
        for entry in (json.loads(line["message"])["message"] for line in browser.get_log("performance"))
        if entry["method"] == "Network.requestWillBeSent"
    ]
    assert [url for url in sent if not url.startswith("data:")] == [browser.current_url]
    assert browser.current_url.startswith("file://")
    assert browser.get_log("browser") == []


def test_plots_are_drawn(page):
    for name in ("pareto", "hypervolume", "rank-plot"):
        assert page.execute_script(
            "return document.querySelectorAll(`#${arguments[0]} .scatterlayer .trace`).length", name
        )
    assert "12 runs" in page.find_element("id", "pareto-status").text


def test_hostile_name_shows_as_text(page):
    from selenium.common.exceptions import NoAlertPresentException

    assert chip(page, f"{HOSTILE}@small").is_displayed()
    assert HOSTILE in page.find_element("id", "leaderboard").text
    assert HOSTILE in page.find_element("id", "coverage").text
    traces = page.execute_script("return document.getElementById('pareto').data.map(t => [t.mode, t.name || ''])")
    number = next(i for i, (mode, name) in enumerate(traces) if mode == "lines+markers" and "script" in name)
    page.execute_script("Plotly.Fx.hover('pareto', [{curveNumber: arguments[0], pointNumber: 0}])", number)
    shown = ""
    for _ in range(50):  # Plotly draws the label after a moment
        shown = page.execute_script("return document.querySelector('#pareto .hoverlayer').textContent")
        if shown:
            break
        time.sleep(0.1)
    assert HOSTILE in shown
    with pytest.raises(NoAlertPresentException):
        page.switch_to.alert  # noqa: B018 - raises unless an alert is open
    assert page.execute_script("return document.scripts.length") == 3


def test_hover_text_has_configuration_errors_and_parameters(page):
    text = page.execute_script(f"return {FRONTS}[0].text[0]")
    for part in (
        "seed 0",
        "evaluation ",
        "parameters ",
        "validation error 0.",
        "test error 0.",
        "heads=",
        "units=",
        "layers=",
    ):
        assert part in text


def test_filters_select_task_seed_and_split(page):
    both = fronts(page)
    assert len(both) == 6
    assert all(len(runs) == 2 for runs in both.values())
    select(page, "filter-seed", "1")
    one = fronts(page)
    assert all(len(runs) == 1 for runs in one.values())
    assert all(one[name][0] == both[name][1] for name in both)
    select(page, "filter-task", "mrpc")
    assert fronts(page) != one
    before = page.execute_script("return document.getElementById('pareto').data.at(-1).y")
    select(page, "filter-split", "test")
    assert page.execute_script("return document.getElementById('pareto').data.at(-1).y") != before
    assert "test error" in page.execute_script("return document.getElementById('pareto').layout.yaxis.title.text")


def test_ranks_of_few_scenarios_have_no_bands_and_no_brackets(page):
    """The page has two scenarios; intervals begin with six."""
    traces = page.execute_script(RANKS)
    assert [trace["hoverinfo"] for trace in traces] == ["text"] * 6
    for trace in traces:
        assert all("rank " in text and "[" not in text for text in trace["text"])
    assert page.find_element("id", "ranks-left-out").text == ""


@pytest.fixture
def odd_page(browser, tmp_path, write_run, monkeypatch):
    """RTE: runs with a budget of 100 s, of 10 s and of four evaluations. MRPC: four entries, one with two seeds."""
    monkeypatch.setattr("nasbench.analysis.report.report.FIGURES", {})
    points = [(1.0, 0.2, 0.2), (0.7, 0.3, 0.3), (0.5, 0.4, 0.4), (0.3, 0.5, 0.5)]
    results = tmp_path / "results"
    write_run(results, "rfp", None, "large", points)
    write_run(results, "ws-nas", "random", "small", points, budget_s=10.0)
    write_run(results, "ws-nas", "ehvi", "small", points, budget_s=None, max_evaluations=4)
    for method, space in (("rfp", "large"), ("head-pruning", "large"), ("layer-dropping", "layer"), ("mine", "small")):
        write_run(results, method, None, space, points, task="mrpc", budget_s=None, max_evaluations=4)
    write_run(results, "mine", None, "small", points[:2], task="mrpc", budget_s=None, max_evaluations=4, seed=1)
    report(results, tmp_path / "out")
    back = browser.current_url
    browser.get((tmp_path / "out" / "report.html").as_uri())
    yield browser
    browser.get(back)


def test_page_opens_with_the_scenario_that_has_most_entries(odd_page):
    assert odd_page.find_element("id", "filter-task").get_attribute("value") == "mrpc"
    assert len(fronts(odd_page)) == 4


def test_each_line_ends_with_the_budget_of_its_runs(odd_page):
    """All runs evaluate a network after 1, 2, 3 and 4 s."""
    select(odd_page, "filter-task", "rte")
    odd_page.execute_script("document.getElementById('chips-all').click()")
    ends = {}
    for name in ("rfp@large", "ws-nas/random@small", "ws-nas/ehvi@small"):
        (line,) = [one for one in odd_page.execute_script(HYPERVOLUMES) if one["name"].startswith(name)]
        assert line["x"][0] >= 1  # no value before the first evaluation
        assert line["x"][0] < 4
        assert all(value > 0 for value in line["y"])
        ends[name] = line["x"][-1]
    assert ends == {"rfp@large": 100, "ws-nas/random@small": 10, "ws-nas/ehvi@small": 4}


def test_runs_of_different_length_are_averaged_at_common_times(odd_page):
    """A run that ends after 2 s keeps its last value while the other run continues to 4 s."""
    script = "return JSON.parse(document.getElementById('report-data').textContent)"
    runs = [
        run
        for run in odd_page.execute_script(script)["runs"]
        if run["folder"].startswith("mrpc/") and "mine" in run["folder"]
    ]
    assert sorted(run["horizon_s"] for run in runs) == [2, 4]
    (line,) = [one for one in odd_page.execute_script(HYPERVOLUMES) if one["name"].startswith("mine@")]
    assert line["x"][-1] == 4
    assert line["y"][-1] == pytest.approx(sum(run["hypervolume"][-1] for run in runs) / 2)
    soon_after_2_s = max(y for x, y in zip(line["x"], line["y"], strict=True) if x <= 2.1)
    assert soon_after_2_s == pytest.approx(min(run["hypervolume"][-1] for run in runs))


def test_hypervolume_axis_fits_the_lines(page):
    low, high = page.execute_script("return document.getElementById('hypervolume').layout.yaxis.range")
    lines = [one["y"] for one in page.execute_script(HYPERVOLUMES)]
    ends = [line[-1] for line in lines]
    assert low < min(ends)
    assert max(ends) < high < max(ends) + 1
    assert low > 0.9 * min(line[len(line) // 5] for line in lines)


def test_line_of_the_full_network_depends_on_the_split_only(page):
    def drawn():
        return page.execute_script("return document.getElementById('pareto').layout.shapes.map(one => one.y0)")

    before = drawn()
    assert len(before) == 1
    select(page, "filter-seed", "1")
    chip(page, "rfp@large").click()
    assert drawn() == before
    select(page, "filter-split", "test")
    assert drawn() != before


def test_empty_plots_have_no_axes(page):
    page.execute_script("document.getElementById('chips-none').click()")
    for name in ("pareto", "hypervolume", "rank-plot"):
        assert page.execute_script("return document.getElementById(arguments[0]).layout.xaxis.visible", name) is False


def test_clicks_on_an_entry_hide_and_show_it(page):
    name = "ws-nas/ehvi@small"
    assert name in fronts(page)
    chip(page, name).click()
    assert chip(page, name).get_attribute("aria-pressed") == "false"
    assert name not in fronts(page)
    names = page.execute_script("return document.getElementById('hypervolume').data.map(t => t.name)")
    assert name not in names
    chip(page, name).click()
    assert name in fronts(page)


def test_entries_can_be_hidden_from_the_keyboard(page):
    from selenium.webdriver.common.keys import Keys

    chip(page, "rfp@large").send_keys(Keys.SPACE)
    assert "rfp@large" not in fronts(page)
    page.find_element("id", "chips-none").send_keys(Keys.ENTER)
    assert fronts(page) == {}


def test_runs_can_be_found_and_show_their_provenance(page):
    from selenium.webdriver.common.by import By

    def rows():
        return page.find_elements(By.CSS_SELECTOR, "#runs tbody tr")

    assert len(rows()) == 24
    select(page, "filter-runs", "mrpc/bert-base-cased/rfp")
    assert len(rows()) == 2
    assert page.find_element(By.ID, "runs-status").text == "2 of 2 runs"
    summary = rows()[0].find_element(By.TAG_NAME, "summary")
    page.execute_script("arguments[0].click()", summary)
    for _ in range(50):
        shown = rows()[0].text
        if "simulated" in shown:
            break
        time.sleep(0.1)
    assert '"nasbench": "simulated"' in shown


@pytest.fixture
def ranks_page(browser, tmp_path, monkeypatch):
    """GPU: six tasks that two entries share. CPU: three entries, of which two share a scenario."""
    monkeypatch.setattr("nasbench.analysis.report.report.FIGURES", {})
    tasks = ("rte", "mrpc", "stsb", "cola", "imdb", "sst2")
    pair = [Entry("ws-nas", "ehvi"), Entry("rfp", space="large")]
    write_results(tmp_path / "results", Plan(pair, tasks=tasks, seeds=[0], n_evaluations=9))
    write_results(tmp_path / "results", Plan(pair, tasks=["rte"], seeds=[0], n_evaluations=9, device_class="cpu"))
    alone = Plan([Entry(HOSTILE)], tasks=["mrpc"], seeds=[0], n_evaluations=9, device_class="cpu")
    write_results(tmp_path / "results", alone)
    report(tmp_path / "results", tmp_path / "out")
    back = browser.current_url
    browser.get((tmp_path / "out" / "report.html").as_uri())
    yield browser
    browser.get(back)


def test_ranks_have_bands_where_there_are_intervals_and_name_the_entries_left_out(ranks_page):
    options = ranks_page.execute_script("return [...document.getElementById('filter-track').options].map(o => o.text)")
    assert options == ["Paper models, CPU", "Paper models, GPU"]
    note = ranks_page.find_element("id", "ranks-left-out")
    assert [trace["hoverinfo"] for trace in ranks_page.execute_script(RANKS)] == ["text"] * 2
    assert note.text.endswith(f"Left out, because they lack runs that the shown entries share: {HOSTILE}@small.")
    select(ranks_page, "filter-track", "1")
    traces = ranks_page.execute_script(RANKS)
    assert [trace["hoverinfo"] for trace in traces] == ["skip", "text"] * 2
    assert all("[" in text for text in traces[1]["text"])
    assert note.text == ""
    assert ranks_page.get_log("browser") == []


def assert_fits(page):
    """The page is not wider than the window."""
    for _ in range(50):  # Plotly fits its plots to the window after a moment
        root = "document.documentElement"
        shown, needed = page.execute_script(f"return [{root}.clientWidth, {root}.scrollWidth]")
        if needed <= shown:
            break
        time.sleep(0.1)
    assert needed <= shown


@pytest.mark.parametrize("width", [420, 1440])
def test_leaderboard_scrolls_inside_its_region(page, width):
    size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        assert_fits(page)
        hidden, beyond, right = page.execute_script("""
            const region = document.querySelector('#leaderboard .scroll');
            region.scrollLeft = 10000;
            const last = region.querySelector('tbody tr:last-child td:last-child').getBoundingClientRect();
            const box = region.getBoundingClientRect();
            return [region.scrollWidth - region.clientWidth, last.right - box.right, box.right];
        """)
        assert right <= width
        assert beyond <= 1  # the last column can be reached
        # All columns fit a wide window, and scroll on a phone.
        assert (hidden > 100) == (width == 420)
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("width", [380, 800, 1600])
def test_page_fits_the_width_of_the_window(page, width):
    page.set_window_size(width, 1000)
    assert_fits(page)


def test_no_button_uploads_a_chart(page):
    titles = {button.get_attribute("data-title") for button in page.find_elements("css selector", ".modebar-btn")}
    assert titles == {"Download plot as a PNG", "Zoom", "Pan", "Zoom in", "Zoom out", "Reset axes"}


def test_screen_reader_finds_a_name_for_every_table_picture_and_plot(page):
    for selector, name in ((".plot", "aria-label"), (".gallery img", "alt"), (".scroll", "aria-label")):
        found = page.find_elements("css selector", selector)
        assert found, selector
        assert all(element.get_attribute(name) for element in found), selector
    tables = page.find_elements("css selector", "table")
    assert all(table.find_elements("css selector", "caption") for table in tables)
    levels = [int(heading.tag_name[1]) for heading in page.find_elements("css selector", "h1, h2, h3")]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_printed_page_shows_all_columns_and_no_controls(page):
    """In the width of a landscape A4 page without its margins, 1,032 pixels."""
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 1032, "height": 700, "deviceScaleFactor": 1, "mobile": False}
    )
    try:
        beyond = page.execute_script("""
            const ends = [...document.querySelectorAll('table tr > :last-child, .gallery img')];
            const beyond = (end) => end.getBoundingClientRect().right > window.innerWidth;
            return ends.filter(beyond).map((end) => end.outerHTML);
        """)
        assert beyond == []
        assert not page.find_element("css selector", ".filters").is_displayed()
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
