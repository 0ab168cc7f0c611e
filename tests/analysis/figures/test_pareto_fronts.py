import numpy as np
import pandas as pd
import pytest

from nasbench.analysis.experiments.definitions import MissingRuns
from nasbench.analysis.figures import method_fronts
from nasbench.analysis.figures.paper import figure_9, figure_10
from nasbench.analysis.reading.results import read_results
from nasbench.analysis.scoring.fronts import front_mask
from nasbench.search.pareto import pareto_mask


def test_front_mask_of_all_runs_agrees_with_single_runs():
    rng = np.random.default_rng(0)
    for _ in range(20):
        frame = pd.DataFrame(
            {
                "run_row": np.sort(rng.integers(0, 5, 80)),
                "index": np.arange(80),
                "params": rng.integers(0, 8, 80) / 8,
                "error": np.where(rng.random(80) < 0.1, np.nan, rng.integers(0, 8, 80) / 8),
            },
            index=rng.permutation(80),
        )
        found = front_mask(frame)
        for _, run in frame.assign(found=found).groupby("run_row"):
            points = run[["error", "params"]].to_numpy()
            wanted = run[pareto_mask(points)].drop_duplicates(["error", "params"])  # of equal points the first
            assert run.loc[run["found"], "index"].tolist() == wanted["index"].tolist()


def test_figure_10_shows_the_fronts_of_one_seed(five_methods):
    data = figure_10.data(five_methods)
    assert (data["seed"] == 0).all()  # RFP has no run with seed 1
    assert data["algorithm"].nunique() == 5
    ws_nas = data[data["algorithm"] == "ws-nas/ehvi"]
    assert ws_nas[["params", "test_error"]].to_numpy().tolist() == [[0.3, 0.44], [0.6, 0.33], [1.0, 0.25]]
    # the mean of the full networks that HP and RFP fine-tuned with that seed
    assert ws_nas["full_error"].unique() == pytest.approx([(0.29 + 0.28) / 2])


def test_figures_9_and_10_show_the_papers_data_sets_and_models(tmp_path, write_run, five_methods):
    with pytest.raises(MissingRuns, match=r"figure 9.*nasbench experiment fig8"):
        figure_9.data(five_methods)  # RTE is not among the three data sets of figure 9
    with pytest.raises(MissingRuns, match=r"figure 10-roberta.*nasbench experiment fig8"):
        figure_10.data(five_methods, roberta=True)
    for task, model in (("rte", "roberta-base"), ("sst2", "roberta-base"), ("qnli", "bert-base-cased")):
        write_run(tmp_path, "rfp", None, "large", [(1.0, 0.2, 0.2)], task=task, model=model)
    results = read_results(tmp_path)

    def shown(data):
        return sorted(set(zip(data["task"], data["model"], strict=True)))

    assert shown(figure_9.data(results)) == [("qnli", "bert-base-cased")]
    assert shown(figure_10.data(results)) == [("qnli", "bert-base-cased"), ("rte", "bert-base-cased")]
    assert shown(figure_10.data(results, roberta=True)) == [("rte", "roberta-base"), ("sst2", "roberta-base")]


@pytest.mark.usefixtures("five_methods")
def test_method_fronts_show_the_scenario_with_most_methods(tmp_path, write_run):
    write_run(tmp_path, "rfp", None, "large", [(1.0, 0.2, 0.2)], task="cola")
    both = read_results(tmp_path)
    assert set(method_fronts.data(both)["task"]) == {"rte"}
    assert set(method_fronts.data(both, "cola/bert-base-cased/gpu")["task"]) == {"cola"}
    names = [text.get_text() for text in method_fronts.draw(method_fronts.data(both)).legends[0].get_texts()]
    assert names == ["HP", "LD", "RFP", "S-NAS (RS)", "WS-NAS (EHVI)", "full network"]
