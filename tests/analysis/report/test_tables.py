from support.generated_results import Entry, Plan, write_results

from nasbench.analysis.reading.results import read_results
from nasbench.analysis.report.tables import make_tables
from nasbench.analysis.scoring.scores import score


def test_comparison_table_pairs_entries_within_track_and_device_class(tmp_path) -> None:
    a, b = Entry("rfp", space="large", shift=0.05), Entry("ws-nas", "ehvi")
    for device, n_seeds in (("gpu", 4), ("cpu", 2)):
        for track, task in (("paper", "rte"), ("demo", "demo")):
            plan = Plan([a, b], [task], seeds=range(n_seeds), device_class=device, track=track, n_evaluations=9)
            write_results(tmp_path, plan)
    results = read_results(tmp_path)
    comparison = make_tables(results, score(results), [])["comparison"]
    found = comparison[["track", "device_class", "a", "b", "n", "n_unpaired"]].to_numpy().tolist()
    names = ["rfp@large", "ws-nas/ehvi@small"]
    assert found == [
        [track, device, *names, n, 0] for track in ("demo", "paper") for device, n in (("cpu", 2), ("gpu", 4))
    ]
    # A group with a single comparison needs no correction.
    assert comparison["p_holm"].tolist() == comparison["p"].tolist()
